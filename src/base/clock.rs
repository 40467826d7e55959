//! The one clock that decides what counts now: which day it is, whether a grant's hours are on, when an approval ends.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// Tells the time; tests set one of their own. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A date, or date and time, at +08:00 (or with an offset of its own), as people write it. The error says how.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let own = || text.parse::<Timestamp>();
    let zone = TimeZone::fixed(Offset::constant(8));
    own()
        .or_else(|_| text.parse::<DateTime>()?.to_zoned(zone).map(|at| at.timestamp()))
        .map_err(|_| "write a date or a time as 2026-06-01 or 2026-06-01T09:00".to_owned())
}

/// Date and time at +08:00, the only offset of the gateway's times.
pub fn local(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::fixed(Offset::constant(8))).datetime()
}
