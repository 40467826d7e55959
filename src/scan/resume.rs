//! Statistics that go on in another request: what was reckoned so far and where, sealed, and held by the caller.
//!
//! Nothing is stored here. What is sealed is bound to who asked and to everything that was asked, so it goes on with that
//! statistic and no other; its length tells nothing of the figures in it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::coverage::Coverage;
use super::reckon::Reckoning;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::execute::candidates::NO_APPROVAL;
use crate::engine::execute::cursor::{CursorSeal, RESUME_CHARS_MAX};
use crate::model::snapshot::Snapshot;

/// Lengths of what is sealed are multiples of this.
const PADDED_TO: usize = 1_024;

/// The approval by which a statistic has come so far.
pub fn approval(seal: &CursorSeal, bound: &str, resume: &str) -> Result<Option<Arc<str>>, RequestError> {
    let text = seal.open_resume(bound, resume).ok_or_else(not_of_this)?;
    let (approval, _) = text.split_once(' ').ok_or_else(not_of_this)?;
    Ok((approval != NO_APPROVAL).then(|| approval.into()))
}

fn not_of_this() -> RequestError {
    let message = "`resume` is not of this statistic: give it back unchanged, with the same arguments, in the name that it was \
                   given to; or leave it out, and begin anew";
    RequestError::new(ErrorCode::ValidationFailed, message.to_owned())
}

/// How far a statistic has come, over all of its requests.
#[derive(Debug, Default)]
pub struct Progress {
    pub coverage: Coverage,
    pub reckoning: Reckoning,
    /// Behind the last entity that was looked at; `None`: none was.
    pub place: Option<String>,
}

impl Progress {
    /// `approval`: the id of the one that it goes by.
    pub fn sealed(
        &self,
        snapshot: &Snapshot,
        seal: &CursorSeal,
        bound: &str,
        approval: Option<&str>,
    ) -> Result<String, RequestError> {
        let kept = json!([self.place, self.coverage.kept(snapshot), self.reckoning.kept()]);
        let mut text = format!("{} {kept}", approval.unwrap_or(NO_APPROVAL));
        let length = text.len().next_multiple_of(PADDED_TO);
        text.extend(std::iter::repeat_n(' ', length.saturating_sub(text.len())));
        let sealed = seal.seal_text(bound, text);
        if sealed.is_empty() || sealed.len() > RESUME_CHARS_MAX {
            let message = "this statistic does not end within one request, and has too many groups to go on in another; group \
                           by less, or ask for a smaller division";
            return Err(RequestError::new(ErrorCode::LimitExceeded, message.to_owned()));
        }
        Ok(sealed)
    }

    pub fn opened(snapshot: &Snapshot, seal: &CursorSeal, bound: &str, resume: &str) -> Result<Self, RequestError> {
        let progress = seal.open_resume(bound, resume).and_then(|text| {
            let (_, kept) = text.split_once(' ')?;
            let kept: Value = serde_json::from_str(kept).ok()?;
            Some(Self {
                place: kept.get(0)?.as_str().map(str::to_owned),
                coverage: Coverage::restored(snapshot, kept.get(1)?)?,
                reckoning: Reckoning::restored(kept.get(2)?)?,
            })
        });
        progress.ok_or_else(not_of_this)
    }
}
