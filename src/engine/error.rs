//! Errors of a request, as callers see them. What operators see goes to tracing where it happens.

use crate::base::code::ErrorCode;

/// Characters of one message: it may quote the document, which a caller can make as long as a body may be.
const MESSAGE_MAX: usize = 400;

/// The request as a whole is refused; nothing was asked of any source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    pub code: ErrorCode,
    pub message: String,
    /// Several faults of one document, each with line and column in it.
    pub details: Vec<(String, Option<(usize, usize)>)>,
    /// Of [`ErrorCode::RateLimited`] and [`ErrorCode::Overloaded`]: when it would pass.
    pub retry_after_s: Option<u64>,
}

impl RequestError {
    pub fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message: shortened(message), details: Vec::new(), retry_after_s: None }
    }

    /// Too much was asked within a minute; `of_what` says of what.
    pub fn rate_limited(of_what: &str, retry_after_s: u64) -> Self {
        let message = format!("too many {of_what} within a minute; try again in {retry_after_s} s");
        Self { retry_after_s: Some(retry_after_s), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// There is more to do than is taken on: of this caller, or of all.
    pub fn overloaded(of_caller: bool, retry_after_s: u64) -> Self {
        let message = match of_caller {
            true => format!(
                "as many of your requests wait as may; wait for their answers, or try again in {retry_after_s} s"
            ),
            false => format!("there is more to do here than can be taken on; try again in {retry_after_s} s"),
        };
        Self { retry_after_s: Some(retry_after_s), ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// One fault more of the document.
    pub fn detail(&mut self, message: String, place: Option<(usize, usize)>) {
        self.details.push((shortened(message), place));
    }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}
