//! Dates and times, in the offset +08:00.

use std::io::Write as _;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::{ConvertError, Converted, trimmed};
use crate::model::binding::conversion::date_pattern::{DatePattern, Part, Unit};

const NOT_A_DATE: ConvertError = ConvertError { reason: "the value is not a date of the binding's pattern" };
const NO_TIME: ConvertError = ConvertError { reason: "the value has no time of day" };

/// What a value holds, from the year on.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    minute: i8,
    second: i8,
    /// Of the value itself; without one it is +08:00.
    offset: Option<Offset>,
}

pub(super) fn date(text: &str, pattern: &DatePattern, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let parts = local(read(trimmed(text), pattern)?)?;
    if parts.hour.is_some() {
        civil(&parts)?;
    }
    let written = match (parts.month, parts.day) {
        (None, _) => {
            jiff::civil::Date::new(parts.year, 1, 1).map_err(|_| NOT_A_DATE)?;
            write!(out, "\"{:04}\"", parts.year)
        }
        (Some(month), None) => {
            jiff::civil::Date::new(parts.year, month, 1).map_err(|_| NOT_A_DATE)?;
            write!(out, "\"{:04}-{month:02}\"", parts.year)
        }
        (Some(month), Some(day)) => {
            jiff::civil::Date::new(parts.year, month, day).map_err(|_| NOT_A_DATE)?;
            write!(out, "\"{:04}-{month:02}-{day:02}\"", parts.year)
        }
    };
    written.map(|()| Converted::Value).map_err(|_| NOT_A_DATE)
}

pub(super) fn date_time(text: &str, pattern: &DatePattern, out: &mut Vec<u8>) -> Result<Converted, ConvertError> {
    let parts = local(read(trimmed(text), pattern)?)?;
    let at = civil(&parts)?;
    write!(
        out,
        "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+08:00\"",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
    .map(|()| Converted::Value)
    .map_err(|_| NOT_A_DATE)
}

fn civil(parts: &Parts) -> Result<DateTime, ConvertError> {
    let (Some(month), Some(day)) = (parts.month, parts.day) else {
        return Err(NO_TIME);
    };
    let hour = parts.hour.ok_or(NO_TIME)?;
    DateTime::new(parts.year, month, day, hour, parts.minute, parts.second, 0).map_err(|_| NOT_A_DATE)
}

/// The same moment in +08:00.
fn local(parts: Parts) -> Result<Parts, ConvertError> {
    let Some(offset) = parts.offset else {
        return Ok(parts);
    };
    let moment = offset.to_timestamp(civil(&parts)?).map_err(|_| NOT_A_DATE)?;
    of_moment(moment)
}

fn of_moment(moment: Timestamp) -> Result<Parts, ConvertError> {
    let at = Offset::constant(8).to_datetime(moment);
    if !(0..=9999).contains(&at.year()) {
        return Err(NOT_A_DATE);
    }
    Ok(Parts {
        year: at.year(),
        month: Some(at.month()),
        day: Some(at.day()),
        hour: Some(at.hour()),
        minute: at.minute(),
        second: at.second(),
        offset: None,
    })
}

fn read(text: &str, pattern: &DatePattern) -> Result<Parts, ConvertError> {
    match pattern {
        DatePattern::Iso => iso(text).ok_or(NOT_A_DATE),
        DatePattern::EpochMs => {
            let millis = text.parse().map_err(|_| NOT_A_DATE)?;
            of_moment(Timestamp::from_millisecond(millis).map_err(|_| NOT_A_DATE)?)
        }
        DatePattern::EpochS => {
            let seconds = text.parse().map_err(|_| NOT_A_DATE)?;
            of_moment(Timestamp::from_second(seconds).map_err(|_| NOT_A_DATE)?)
        }
        DatePattern::Parts(parts) => by_pattern(text, parts).ok_or(NOT_A_DATE),
    }
}

fn by_pattern(text: &str, pattern: &[Part]) -> Option<Parts> {
    let mut rest = text;
    let mut parts = Parts::default();
    for part in pattern {
        match *part {
            Part::Literal(c) => rest = rest.strip_prefix(c)?,
            Part::Number(unit, width) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                let length = if width == 0 { digits.min(2) } else { width };
                if length == 0 || digits < length {
                    return None;
                }
                let (number, after) = rest.split_at_checked(length)?;
                rest = after;
                set(&mut parts, unit, number)?;
            }
        }
    }
    rest.is_empty().then_some(parts)
}

fn set(parts: &mut Parts, unit: Unit, number: &str) -> Option<()> {
    match unit {
        Unit::Year => parts.year = number.parse().ok()?,
        Unit::Month => parts.month = Some(number.parse().ok()?),
        Unit::Day => parts.day = Some(number.parse().ok()?),
        Unit::Hour => parts.hour = Some(number.parse().ok()?),
        Unit::Minute => parts.minute = number.parse().ok()?,
        Unit::Second => parts.second = number.parse().ok()?,
    }
    Some(())
}

/// `2021`, `2021-03`, `2021-03-05`, then `T` or a space, `10:00`, `:00`, `.123`, and `Z` or `+08:00`.
fn iso(text: &str) -> Option<Parts> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = Parts::default();
    for (index, number) in date.split('-').enumerate() {
        let (unit, length) = match index {
            0 => (Unit::Year, 4),
            1 => (Unit::Month, 2),
            2 => (Unit::Day, 2),
            _ => return None,
        };
        set(&mut parts, unit, digits(number, length)?)?;
    }
    let Some(time) = time else {
        return Some(parts);
    };
    parts.day?;
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, ""),
    };
    parts.offset = iso_offset(offset)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    digits(fraction, fraction.len())?;
    for (index, number) in clock.split(':').enumerate() {
        let unit = match index {
            0 => Unit::Hour,
            1 => Unit::Minute,
            2 => Unit::Second,
            _ => return None,
        };
        set(&mut parts, unit, digits(number, 2)?)?;
    }
    Some(parts)
}

fn digits(text: &str, length: usize) -> Option<&str> {
    (!text.is_empty() && text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// The outer `None`: not an offset.
fn iso_offset(text: &str) -> Option<Option<Offset>> {
    match text {
        "" => return Some(None),
        "Z" | "z" => return Some(Some(Offset::UTC)),
        _ => {}
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let text = text.get(1..)?;
    let (hours, minutes) = match text.split_once(':') {
        Some(pair) => pair,
        None => (text.get(..2)?, text.get(2..).filter(|minutes| !minutes.is_empty()).unwrap_or("00")),
    };
    let hours: i64 = digits(hours, 2)?.parse().ok()?;
    let minutes: i64 = digits(minutes, 2)?.parse().ok()?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = sign * (hours * 3600 + minutes * 60);
    Offset::try_from(SignedDuration::from_secs(seconds)).ok().map(Some)
}
