//! What fields of this API take as arguments.

use async_graphql::Result;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use super::session::refused;
use crate::base::code::ErrorCode;
use crate::identify::check_reason;

/// The beginning of a period: a day (+08:00) or a time with its offset.
pub fn from(text: &str) -> Result<Timestamp> {
    moment(text, 0)
}

/// The end of a period; a day is in it as a whole.
pub fn to(text: &str) -> Result<Timestamp> {
    moment(text, 1)
}

fn moment(text: &str, days: i64) -> Result<Timestamp> {
    let day = || {
        let date: Date = text.parse().ok()?;
        let date = date.checked_add(jiff::Span::new().days(days)).ok()?;
        Some(date.to_zoned(TimeZone::fixed(Offset::constant(8))).ok()?.timestamp())
    };
    let found = if text.len() == 10 { day() } else { text.parse().ok() };
    found.ok_or_else(|| bad("write a day (`2026-03-10`) or a time with its offset (`2026-03-10T08:00:00+08:00`)"))
}

/// How many at most: up to `max`.
pub fn first(first: Option<usize>, default: usize, max: usize) -> Result<usize> {
    let first = first.unwrap_or(default);
    if (1..=max).contains(&first) { Ok(first) } else { Err(bad(format!("`first` is from 1 to {max}"))) }
}

/// A reason that people wrote. It stands in the records: it must not name a household.
pub fn reason(text: &str) -> Result<&str> {
    let text = text.trim();
    check_reason(text).map_err(bad)?;
    Ok(text)
}

pub fn bad(message: impl Into<String>) -> async_graphql::Error {
    refused(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_whole_and_other_texts_are_refused() {
        let text = |at: Result<Timestamp>| at.ok().map(|at| at.to_string());
        assert_eq!(text(from("2026-03-10")).as_deref(), Some("2026-03-09T16:00:00Z"));
        assert_eq!(text(to("2026-03-10")).as_deref(), Some("2026-03-10T16:00:00Z"));
        assert_eq!(text(to("2026-03-10T08:00:00+08:00")).as_deref(), Some("2026-03-10T00:00:00Z"));
        for wrong in ["", "2026", "2026-13-01", "yesterday", "2026-03-10T08:00:00"] {
            assert_eq!(text(from(wrong)), None, "{wrong}");
        }
        assert!(reason(" ok ").is_err() && reason("a\nreason").is_err() && reason(&"x".repeat(401)).is_err());
        assert_eq!(reason("  agreed with the town ").ok(), Some("agreed with the town"));
        assert!(first(None, 50, 100).is_ok_and(|n| n == 50) && first(Some(0), 1, 2).is_err());
    }
}
