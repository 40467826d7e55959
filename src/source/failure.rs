//! Why a call failed, before it is known how many requests were sent; and what operators may read of it.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::base::code::ErrorCode;
use crate::egress::Undeclared;
use crate::model::binding::request::template::Unfilled;

/// Longest message of a source that is kept, in characters.
const MESSAGE_MAX: usize = 160;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: ErrorCode,
    pub detail: String,
    /// The endpoint is not there for now: another may be asked in its place.
    pub down: bool,
}

impl Failure {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), down: false }
    }

    /// The endpoint did not answer, or says that it cannot for now.
    pub fn down(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { down: true, ..Self::new(code, detail) }
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::SourceBadAnswer, detail)
    }

    pub fn timeout() -> Self {
        Self::down(ErrorCode::SourceTimeout, "no answer before the deadline (limits.timeout_ms)")
    }
}

impl From<Undeclared> for Failure {
    fn from(undeclared: Undeclared) -> Self {
        Self::new(ErrorCode::SourceUnreachable, undeclared.to_string())
    }
}

impl From<Unfilled> for Failure {
    fn from(unfilled: Unfilled) -> Self {
        match unfilled {
            Unfilled::Missing(name) => {
                Self::new(ErrorCode::InputMissing, format!("the request needs `{{{name}}}`, which is not there"))
            }
            Unfilled::Unfit(why) => Self::new(ErrorCode::ValueInvalid, why),
        }
    }
}

/// A source's message without the values it was asked with and without long numbers (ids, telephones, amounts).
pub(crate) fn redacted(message: &str, keys: &[Arc<str>], inputs: &[(Arc<str>, String)]) -> String {
    let mut text: String = message.chars().take(4 * MESSAGE_MAX).collect();
    for value in keys.iter().map(AsRef::as_ref).chain(inputs.iter().map(|(_, value)| value.as_str())) {
        if value.chars().count() > 1 && text.contains(value) {
            text = text.replace(value, "…");
        }
    }
    let (mut out, mut digits) = (String::new(), String::new());
    for c in text.chars().chain(std::iter::once('\n')) {
        if c.is_numeric() {
            digits.push(c);
            continue;
        }
        if digits.chars().count() > 4 {
            digits = "…".to_owned();
        }
        let _ = write!(out, "{digits}{}", if c.is_control() { ' ' } else { c });
        digits.clear();
    }
    out.trim().chars().take(MESSAGE_MAX).collect()
}
