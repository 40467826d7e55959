//! Errors of a request, as callers see them. What operators see goes to tracing where it happens.

use crate::base::code::ErrorCode;

/// The request as a whole is refused; nothing was asked of any source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    pub code: ErrorCode,
    pub message: String,
    /// Several faults of one document, each with line and column in it.
    pub details: Vec<(String, Option<(usize, usize)>)>,
}

impl RequestError {
    pub fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message, details: Vec::new() }
    }
}
