//! Booleans.

use super::raw::Raw;
use super::{ConvertError, Converted, trimmed};
use crate::model::binding::conversion::Conversion;

/// By the code table; else by `yes` and `no` (where only one is given, everything else is the other); else `true`,
/// `false`, `1` and `0`. JSON's own true and false always count.
pub(super) fn boolean(raw: &Raw<'_>, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let error = ConvertError::new("the value means neither true nor false");
    let text = trimmed(raw.scalar().ok_or(error)?);
    let is = |list: &[String]| list.iter().any(|value| value == text);
    let coded = conversion.codes.as_ref().and_then(|codes| codes.get(text)).map(|row| row.value == "true");
    let value = match (coded, raw, &conversion.yes, &conversion.no) {
        (Some(value), ..) => value,
        (None, _, Some(yes), _) if is(yes) => true,
        (None, _, _, Some(no)) if is(no) => false,
        (None, Raw::Bool(value), ..) => *value,
        (None, _, Some(_), None) => false,
        (None, _, None, Some(_)) => true,
        (None, _, Some(_), Some(_)) => return Err(error),
        (None, _, None, None) => match text {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(error),
        },
    };
    out.extend_from_slice(if value { b"true" } else { b"false" });
    Ok(Converted::Value)
}
