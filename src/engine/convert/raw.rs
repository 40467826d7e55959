//! One raw JSON value, read once and checked.

use std::borrow::Cow;

use serde::Deserialize;

use super::ConvertError;

pub(super) enum Raw<'a> {
    Null,
    Bool(bool),
    /// As it is written: all digits.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An object or a list, unread.
    Compound(&'a str),
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl Raw<'_> {
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Number(text) => Some(text),
            Self::Text(text) => Some(text),
            Self::Null | Self::Compound(_) => None,
        }
    }
}

/// Lone surrogates and numbers that no JSON reader may represent (`1e999`) are errors.
pub(super) fn read(text: &str) -> Result<Raw<'_>, ConvertError> {
    match text.as_bytes().first() {
        // As it stands, where nothing in it is escaped.
        Some(b'"') if let Some(inside) = plain(text) => Ok(Raw::Text(Cow::Borrowed(inside))),
        Some(b'"') => serde_json::from_str::<Borrowed<'_>>(text)
            .map(|borrowed| Raw::Text(borrowed.0))
            .map_err(|_| ConvertError::new("the text is not sound JSON (a lone surrogate, or a broken escape)")),
        Some(b'{' | b'[') => Ok(Raw::Compound(text)),
        Some(b'-' | b'0'..=b'9') => number(text),
        _ => match text {
            "null" => Ok(Raw::Null),
            "true" => Ok(Raw::Bool(true)),
            "false" => Ok(Raw::Bool(false)),
            _ => Err(ConvertError::new("this is not JSON")),
        },
    }
}

/// What stands between the quotes, where it is no other than that.
fn plain(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    inside.bytes().all(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20).then_some(inside)
}

fn number(text: &str) -> Result<Raw<'_>, ConvertError> {
    // So few digits are in range, however they stand.
    let digits = text.strip_prefix('-').unwrap_or(text);
    let short = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if short && (digits == "0" || !digits.starts_with('0')) && !digits.is_empty() {
        return Ok(Raw::Number(text));
    }
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(_) => Ok(Raw::Number(text)),
        Err(_) => Err(ConvertError::new("the number is out of range, or not JSON")),
    }
}
