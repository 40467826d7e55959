//! Dates as the contract writes them, whole or partial, as the span of days they may mean.

use jiff::civil::Date;

/// The first and the last day a date may mean; the same day where it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first: Date,
    pub last: Date,
}

impl Span {
    pub(super) fn day(day: Date) -> Self {
        Self { first: day, last: day }
    }

    /// `2021`, `2021-03`, `2021-03-05`, or a date and time, of which the date counts.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = match text.find(['T', ' ']) {
            Some(at) => text.get(..at)?,
            None => text,
        };
        let mut parts = text.split('-');
        let year = digits(parts.next()?, 4)?;
        let month = parts.next().map(|part| digits(part, 2));
        let day = parts.next().map(|part| digits(part, 2));
        if parts.next().is_some() {
            return None;
        }
        match (month, day) {
            (None, _) => Some(Self { first: Date::new(year, 1, 1).ok()?, last: Date::new(year, 12, 31).ok()? }),
            (Some(month), None) => {
                let first = Date::new(year, i8::try_from(month?).ok()?, 1).ok()?;
                Some(Self { first, last: first.last_of_month() })
            }
            (Some(month), Some(day)) => {
                Some(Self::day(Date::new(year, i8::try_from(month?).ok()?, i8::try_from(day?).ok()?).ok()?))
            }
        }
    }

    pub(super) fn whole(self) -> Option<Date> {
        (self.first == self.last).then_some(self.first)
    }

    /// `None` where a partial date leaves it open.
    pub(super) fn less(self, other: Self) -> Option<bool> {
        if self.last < other.first {
            Some(true)
        } else if self.first >= other.last {
            Some(false)
        } else {
            None
        }
    }

    /// `None` where a partial date leaves it open.
    pub(super) fn equals(self, other: Self) -> Option<bool> {
        if self.last < other.first || other.last < self.first {
            return Some(false);
        }
        Some(self.whole()? == other.whole()?)
    }
}

fn digits(text: &str, length: usize) -> Option<i16> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Whole days from the first to the second; negative where the second is earlier.
pub(super) fn days_between(from: Span, to: Span) -> Option<i64> {
    let (from, to) = (from.whole()?, to.whole()?);
    Some(i64::from(from.until(to).ok()?.get_days()))
}

/// Completed years from the first to the second, as ages are counted; partial dates count where they do not matter.
pub(super) fn years_between(from: Span, to: Span) -> Option<i64> {
    let least = completed_years(from.last, to.first);
    (least == completed_years(from.first, to.last)).then_some(least)
}

fn completed_years(from: Date, to: Date) -> i64 {
    if to < from {
        return -completed_years(to, from);
    }
    let years = i64::from(to.year()) - i64::from(from.year());
    if (to.month(), to.day()) < (from.month(), from.day()) { years - 1 } else { years }
}
