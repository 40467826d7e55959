//! Numbers, exactly.

use std::borrow::Cow;
use std::io::Write as _;

use rust_decimal::Decimal;

use super::raw::is_unsigned;
use super::{ConvertError, Converted};
use crate::base::decimal::exact;
use crate::model::binding::conversion::Conversion;

const NOT_A_NUMBER: ConvertError = ConvertError { reason: "the text is not a decimal number" };
const TOO_LARGE: ConvertError = ConvertError { reason: "the number does not fit a Decimal exactly" };
/// Digits before or after the point that an exponent may add.
const SHIFT_MAX: i32 = 28;

pub(super) fn decimal(text: &str, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    if conversion.shift == 0 && is_plain(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(Converted::Value);
    }
    let value = shifted(parse(text, conversion.thousands)?, conversion.shift)?;
    write(value, out)
}

/// Whether it stands as a Decimal is written: `0`, `12`, `12.50`, with no more digits than a Decimal holds.
fn is_plain(text: &str) -> bool {
    text.len() <= 28 && is_unsigned(text.as_bytes())
}

pub(super) fn write(value: Decimal, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    write!(out, "\"{value}\"").map_err(|_| TOO_LARGE)?;
    Ok(Converted::Value)
}

pub(super) fn int(text: &str, conversion: &Conversion, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    // As it stands, where an Int is written so.
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = matches!(digits.as_bytes().first(), Some(b'1'..=b'9')) || text == "0";
    if is_plain && digits.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok() {
        out.extend_from_slice(text.as_bytes());
        return Ok(Converted::Value);
    }
    let value = parse(text, conversion.thousands)?;
    if !value.fract().is_zero() {
        return Err(ConvertError::new("an Int is a whole number"));
    }
    let value =
        i32::try_from(value.trunc()).map_err(|_| ConvertError::new("the number does not fit an Int (32 bits)"))?;
    write!(out, "{value}").map_err(|_| TOO_LARGE)?;
    Ok(Converted::Value)
}

/// `-12.50`, `1.25e3`, full-width digits; with `thousands` also `1,234,567.8`.
fn parse(text: &str, thousands: bool) -> Result<Decimal, ConvertError> {
    let text = ascii(text.trim());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text.as_ref(), 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NOT_A_NUMBER)?),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let grouped = if thousands { ungrouped(unsigned)? } else { Cow::Borrowed(unsigned) };
    let (whole, fraction) = grouped.split_once('.').unwrap_or((&grouped, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(NOT_A_NUMBER);
    }
    let value = exact(&grouped).ok_or(TOO_LARGE)?;
    let value = if mantissa.starts_with('-') && !value.is_zero() { -value } else { value };
    shifted(value, exponent)
}

/// Full-width digits and signs as ASCII.
fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let narrow = |c: char| match c {
        '０'..='９' | '，' | '．' | '－' | '＋' => {
            u32::from(c).checked_sub(0xFEE0).and_then(char::from_u32).unwrap_or(c)
        }
        c => c,
    };
    Cow::Owned(text.chars().map(narrow).collect())
}

/// Without separators; groups after the first have three digits, the first has one to three.
fn ungrouped(text: &str) -> Result<Cow<'_, str>, ConvertError> {
    if !text.contains(',') {
        return Ok(Cow::Borrowed(text));
    }
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let sound = whole
        .split(',')
        .enumerate()
        .all(|(index, group)| if index == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 });
    if !sound || fraction.is_some_and(|fraction| fraction.contains(',')) {
        return Err(NOT_A_NUMBER);
    }
    Ok(Cow::Owned(text.replace(',', "")))
}

/// Times a power of ten, exactly.
fn shifted(mut value: Decimal, power: i32) -> Result<Decimal, ConvertError> {
    if value.is_zero() && power > 0 {
        return Ok(Decimal::ZERO);
    }
    if !(-SHIFT_MAX..=SHIFT_MAX).contains(&power) {
        return Err(TOO_LARGE);
    }
    let scale = i64::from(value.scale()) - i64::from(power);
    if let Ok(scale) = u32::try_from(scale) {
        value.set_scale(scale).map_err(|_| TOO_LARGE)?;
        return Ok(value);
    }
    value.set_scale(0).map_err(|_| TOO_LARGE)?;
    let mut missing = scale.unsigned_abs();
    while missing > 0 {
        value = value.checked_mul(Decimal::TEN).ok_or(TOO_LARGE)?;
        missing -= 1;
    }
    Ok(value)
}
