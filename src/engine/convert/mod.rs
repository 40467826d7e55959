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
    let start = out.len();
    let converted = write(raw.trim(), conversion, out);
    if converted.is_err() {
        out.truncate(start);
    }
    converted
}

/// As [`convert`], of a value of an answer: what is known of it already is not looked at again.
pub fn convert_value(
    value: JsonValue<'_>,
    conversion: &Conversion,
    out: &mut Vec<u8>,
) -> Result<Converted, ConvertError> {
    if value.plain().is_some_and(|text| is_passed_on(text, conversion)) {
        out.extend_from_slice(value.raw().as_bytes());
        return Ok(Converted::Value);
    }
    convert(value.raw(), conversion, out)
}

/// Whether a text is a value as it is: one that is not blank, of a slot that takes texts as they are. Few are not seen to be.
pub fn is_passed_on(text: &str, conversion: &Conversion) -> bool {
    // From 0xE4 on no byte begins white space (U+3000 is E3 80 80).
    conversion.is_plain_text() && matches!(text.as_bytes().first(), Some(b'!'..=b'~' | 0xe4..))
}

fn write(text: &str, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    if text == UNDECIPHERED {
        return Err(ConvertError::new("the value cannot be decrypted (`cipher`)"));
    }
    let raw = raw::read(text)?;
    if let Some(scalar) = raw.scalar()
        && (scalar.trim().is_empty() || conversion.nulls.iter().any(|null| null == scalar.trim()))
    {
        return Ok(null(out));
    }
    if matches!(raw, Raw::Null) {
        return Ok(null(out));
    }
    match &conversion.kind {
        Kind::Text | Kind::Id => text_value(&raw, conversion, out),
        Kind::Int => decimal::int(scalar(&raw, "an Int is a number")?, conversion, out),
        Kind::Decimal => decimal::decimal(scalar(&raw, "a Decimal is a number")?, conversion, out),
        Kind::Boolean => boolean::boolean(&raw, conversion, out),
        Kind::Date => date::date(scalar(&raw, "a Date is a text or a number")?, &conversion.date, out),
        Kind::DateTime => date::date_time(scalar(&raw, "a DateTime is a text or a number")?, &conversion.date, out),
        Kind::Enum(values) => enumeration(scalar(&raw, "an enumeration's value is a text")?, values, conversion, out),
        Kind::GeoJson => geojson::geojson(&raw, out),
        Kind::Any => any(&raw, text, out),
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
    match codes.get(text.trim()) {
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
    let text = text.trim();
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
