//! From a department's value to the contract's: pure functions on the text of one JSON value.
//!
//! Numbers never go through floating point, and an error never holds the value.

mod boolean;
pub mod combine;
mod date;
mod decimal;
mod geojson;
mod image;
mod raw;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::base::json::JsonValue;
use crate::model::binding::conversion::{Conversion, Kind, UNDECIPHERED};
use raw::Raw;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converted {
    Value,
    Null,
    /// A code that no table knows: `UNRECOGNIZED` in an enumeration, the raw code in a text.
    Unrecognized,
}

/// A value that does not fit its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertError {
    /// Why, without the value.
    pub reason: &'static str,
}

impl ConvertError {
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl std::fmt::Display for ConvertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for ConvertError {}

/// Appends the contract's JSON of `raw` (the text of one JSON value) to `out`; on an error `out` is as before.
///
/// Null, blank texts and the binding's `null:` values become `null`. Code tables are looked up with the trimmed text;
/// for a String slot the table's value counts, or its `zh` where the value is empty.
pub fn convert(raw: &str, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let text = raw.trim();
    write(&raw::read(text)?, text, conversion, out)
}

/// As [`convert`], of a value of an answer: what is known of it already is not looked at again.
pub fn convert_value(
    value: JsonValue<'_>,
    conversion: &Conversion,
    out: &mut Vec<u8>,
) -> Result<Converted, ConvertError> {
    let plain = value.plain();
    if let Some(text) = plain.filter(|text| is_passed_on(text, conversion)) {
        return spliced(text, out);
    }
    let text = value.raw();
    let raw = plain.map_or_else(|| raw::read(text), |plain| Ok(Raw::Text(Cow::Borrowed(plain))))?;
    write(&raw, text, conversion, out)
}

/// Whether a text is a value as it is: one that is not blank, of a slot that takes texts as they are. Few are not seen to be.
pub fn is_passed_on(text: &str, conversion: &Conversion) -> bool {
    conversion.is_plain_text() && is_begun(text)
}

/// Whether a text is seen to begin with no white space; of few that do not, it is not seen.
fn is_begun(text: &str) -> bool {
    // From 0xE4 on no byte begins white space (U+3000 is E3 80 80).
    matches!(text.as_bytes().first(), Some(b'!'..=b'~' | 0xe4..))
}

/// As [`str::trim`], which takes characters apart; where there is nothing to trim, two bytes mostly show it.
fn trimmed(text: &str) -> &str {
    let text = if is_begun(text) { text } else { text.trim_start() };
    match text.as_bytes().last() {
        Some(b'!'..=b'~') => text,
        _ => text.trim_end(),
    }
}

/// Of a value that was read, and its whole text. On an error `out` is as before.
fn write(raw: &Raw<'_>, text: &str, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    match raw {
        Raw::Null => return Ok(null(out)),
        Raw::Compound(UNDECIPHERED) => return Err(ConvertError::new("the value cannot be decrypted (`cipher`)")),
        Raw::Compound(_) => {}
        Raw::Bool(_) | Raw::Number(_) | Raw::Text(_) => {
            if raw.scalar().is_some_and(|scalar| is_null(scalar, conversion)) {
                return Ok(null(out));
            }
        }
    }
    let start = out.len();
    let converted = write_there(raw, text, conversion, out);
    if converted.is_err() {
        out.truncate(start);
    }
    converted
}

/// Whether a scalar stands for nothing: a blank one, and what the binding says.
fn is_null(scalar: &str, conversion: &Conversion) -> bool {
    if conversion.nulls.is_empty() {
        return !is_begun(scalar) && scalar.trim_start().is_empty();
    }
    let scalar = trimmed(scalar);
    scalar.is_empty() || conversion.nulls.iter().any(|null| null == scalar)
}

/// As [`write()`], of a value that is there.
fn write_there(
    raw: &Raw<'_>,
    text: &str,
    conversion: &Conversion,
    out: &mut Vec<u8>,
) -> Result<Converted, ConvertError> {
    match &conversion.kind {
        Kind::Text | Kind::Id => text_value(raw, conversion, out),
        Kind::Int => decimal::int(scalar(raw, "an Int is a number")?, conversion, out),
        Kind::Decimal => decimal::decimal(scalar(raw, "a Decimal is a number")?, conversion, out),
        Kind::Boolean => boolean::boolean(raw, conversion, out),
        Kind::Date => date::date(scalar(raw, "a Date is a text or a number")?, &conversion.date, out),
        Kind::DateTime => date::date_time(scalar(raw, "a DateTime is a text or a number")?, &conversion.date, out),
        Kind::Enum(values) => enumeration(scalar(raw, "an enumeration's value is a text")?, values, conversion, out),
        Kind::GeoJson => geojson::geojson(raw, out),
        Kind::Any => any(raw, text, out),
    }
}

fn null(out: &mut Vec<u8>) -> Converted {
    out.extend_from_slice(b"null");
    Converted::Null
}

/// Texts, numbers as they are written, `true` and `false`.
fn scalar<'a>(raw: &'a Raw<'_>, reason: &'static str) -> Result<&'a str, ConvertError> {
    match raw {
        Raw::Text(_) | Raw::Number(_) => raw.scalar().ok_or(ConvertError::new(reason)),
        _ => Err(ConvertError::new(reason)),
    }
}

fn text_value(raw: &Raw<'_>, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let text = raw.scalar().ok_or(ConvertError::new("a text is not an object or a list"))?;
    if conversion.image {
        return image::image(text, out);
    }
    let Some(codes) = &conversion.codes else {
        return match raw {
            Raw::Text(Cow::Borrowed(text)) => spliced(text, out),
            _ => string(text, out),
        };
    };
    match codes.get(trimmed(text)) {
        Some(row) if row.value.is_empty() => string(&row.zh, out),
        Some(row) => string(&row.value, out),
        None => string(text, out).map(|_| Converted::Unrecognized),
    }
}

fn enumeration(
    text: &str,
    values: &[String],
    conversion: &Conversion,
    out: &mut Vec<u8>,
) -> Result<Converted, ConvertError> {
    let text = trimmed(text);
    let known = |value: &&str| values.iter().any(|known| known == value);
    let coded = conversion.codes.as_ref().and_then(|codes| codes.get(text)).map(|row| row.value.as_str());
    if let Some(value) = coded.filter(known).or(Some(text).filter(known)) {
        return string(value, out);
    }
    if !known(&"UNRECOGNIZED") {
        return Err(ConvertError::new("the enumeration does not have this value"));
    }
    string("UNRECOGNIZED", out).map(|_| Converted::Unrecognized)
}

fn any(raw: &Raw<'_>, text: &str, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    // Whatever is nested must be sound too: the reader that cut it out did not look inside.
    if matches!(raw, Raw::Compound(_)) {
        serde_json::from_str::<serde_json::Value>(text).map_err(|_| ConvertError::new("the JSON is broken"))?;
    }
    out.extend_from_slice(text.as_bytes());
    Ok(Converted::Value)
}

/// A JSON string of what stood in one, with nothing escaped.
fn spliced(text: &str, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(Converted::Value)
}

/// A JSON string.
fn string(text: &str, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    serde_json::to_writer(out, text).map_err(|_| ConvertError::new("the text cannot be written"))?;
    Ok(Converted::Value)
}
