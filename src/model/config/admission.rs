//! `admission:`: how many requests are worked on at once, and how many wait for that. What is more is refused before any of
//! it is read.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use crate::model::yaml::Spanned;

/// Requests at once for each core: they mostly wait for departments, and each costs memory rather than time.
const IN_FLIGHT_PER_CORE: usize = 512;
/// However many cores there are: a request needs a connection (`limits.connections_max`, 4 096), and those that wait or are
/// refused need theirs too.
const IN_FLIGHT_MOST: usize = 1_024;
const WAITING_MS: u64 = 2_000;
/// One caller may fill this part of the waiting room, and hold all but this part of the places.
const CALLERS_PART: usize = 4;

/// As it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionEntry {
    /// Requests worked on at once; absent: 512 for each core, 1 024 at most.
    pub in_flight_max: Option<Spanned<u64>>,
    /// Of one principal, or (without a token) of one address, so that others find a place; absent: three quarters.
    pub in_flight_per_caller_max: Option<Spanned<u64>>,
    /// Requests that wait for one of these to end; absent: as many as are worked on at once.
    pub waiting_max: Option<Spanned<u64>>,
    /// Of one caller; absent: a quarter of `waiting_max`.
    pub waiting_per_caller_max: Option<Spanned<u64>>,
    /// A request that waited this long is refused; absent: 2 000.
    pub waiting_ms_max: Option<Spanned<u64>>,
}

/// Checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    pub in_flight_max: usize,
    pub in_flight_per_caller_max: usize,
    pub waiting_max: usize,
    pub waiting_per_caller_max: usize,
    pub waiting: Duration,
}

impl Admission {
    pub(super) fn read(entry: &AdmissionEntry, reader: &mut Reader<'_>) -> Self {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let cores = available_parallelism().map_or(1, NonZero::get);
        let most = u64::try_from(cores.saturating_mul(IN_FLIGHT_PER_CORE).min(IN_FLIGHT_MOST)).unwrap_or(u64::MAX);
        let in_flight_max = count(reader.within("in_flight_max", &entry.in_flight_max, 1..=100_000, most));
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let part = number((in_flight_max - in_flight_max / CALLERS_PART).max(1));
        let name = "in_flight_per_caller_max";
        let in_flight_per_caller_max = count(reader.within(name, &entry.in_flight_per_caller_max, 1..=100_000, part));
        let as_many = number(in_flight_max);
        let waiting_max = count(reader.within("waiting_max", &entry.waiting_max, 0..=100_000, as_many));
        let part = number((waiting_max / CALLERS_PART).max(1));
        let of_caller = reader.within("waiting_per_caller_max", &entry.waiting_per_caller_max, 1..=100_000, part);
        let ms = reader.within("waiting_ms_max", &entry.waiting_ms_max, 1..=60_000, WAITING_MS);
        Self {
            in_flight_max,
            in_flight_per_caller_max,
            waiting_max,
            waiting_per_caller_max: count(of_caller),
            waiting: Duration::from_millis(ms),
        }
    }
}
