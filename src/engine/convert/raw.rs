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
    if is_short(text.as_bytes()) {
        return Ok(Raw::Number(text));
    }
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(_) => Ok(Raw::Number(text)),
        Err(_) => Err(ConvertError::new("the number is out of range, or not JSON")),
    }
}

/// Whether it is a number of few digits, with no exponent: those are in range, however they stand.
fn is_short(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    digits.len() <= 15 && is_unsigned(digits)
}

/// Whether it is a number as JSON has it, with neither sign nor exponent.
pub(super) fn is_unsigned(digits: &[u8]) -> bool {
    let begins = match digits {
        [b'0', rest @ ..] => matches!(rest, [] | [b'.', ..]),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let ends = digits.last().is_some_and(u8::is_ascii_digit);
    let mut others = digits.iter().filter(|byte| !byte.is_ascii_digit());
    begins && ends && matches!((others.next(), others.next()), (None | Some(b'.'), None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_that_is_seen_to_be_one_is_one_for_others_too(text in "-?[0-2]{0,3}[.e+-]?[0-9]{0,3}.?") {
            let others = serde_json::from_str::<serde_json::Number>(&text).is_ok_and(|_| text.trim() == text);
            prop_assert!(!is_short(text.as_bytes()) || others, "{}", text);
            prop_assert!(is_short(text.as_bytes()) || !others || text.contains(['e', 'E']), "{}", text);
        }
    }
}
