//! Days of the Gregorian calendar: as much of a calendar as the world needs.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A day. Displays as ISO 8601 (`2024-03-10`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    pub y: i32,
    pub m: u32,
    pub d: u32,
}

impl Date {
    pub const fn new(y: i32, m: u32, d: u32) -> Self {
        Self { y, m, d }
    }

    /// The day it is now in China (+08:00).
    pub fn today() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) as i64;
        Self::from_days((seconds + 8 * 3600).div_euclid(86_400))
    }

    /// Days since 1970-01-01, by Howard Hinnant's `days_from_civil`.
    pub fn days(self) -> i64 {
        let y = i64::from(self.y) - i64::from(self.m <= 2);
        let era = y.div_euclid(400);
        let year_of_era = y - era * 400;
        let shifted = i64::from((self.m + 9) % 12);
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(self.d) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    pub fn from_days(days: i64) -> Self {
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z - era * 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let d = (doy - (153 * mp + 2) / 5 + 1) as u32;
        let m = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        Self { y: (yoe + era * 400) as i32 + i32::from(m <= 2), m, d }
    }

    pub fn plus_days(self, days: i64) -> Self {
        Self::from_days(self.days() + days)
    }

    /// Full years from this day (a birth) to `on`.
    pub fn age_on(self, on: Date) -> i32 {
        on.y - self.y - i32::from((on.m, on.d) < (self.m, self.d))
    }

    /// `yyyyMMdd`
    pub fn compact(self) -> String {
        format!("{:04}{:02}{:02}", self.y, self.m, self.d)
    }

    /// `yyyy/M/d`
    pub fn slashed(self) -> String {
        format!("{}/{}/{}", self.y, self.m, self.d)
    }

    /// `yyyy年M月d日`
    pub fn chinese(self) -> String {
        format!("{}年{}月{}日", self.y, self.m, self.d)
    }

    /// From `yyyyMMdd` or `yyyy-MM-dd`; `None` for what is no day.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let date = Self::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?);
        (Self::from_days(date.days()) == date).then_some(date)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.y, self.m, self.d)
    }
}
