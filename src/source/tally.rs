//! What is counted of a source: calls, how they ended and how long they took. Numbers alone, of bounded size.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::base::code::ErrorCode;

const CODES: usize = ErrorCode::ALL.len();

/// Upper bounds of the classes that calls are counted in by how long they took, in microseconds.
pub const BOUNDS_US: [u64; 26] = [
    500, 1_000, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 70_000, 100_000, 150_000, 200_000,
    300_000, 500_000, 700_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000, 20_000_000,
    60_000_000,
];
/// The last one has no bound.
const CLASSES: usize = BOUNDS_US.len() + 1;

/// The counts of one source (or instance). They outlive reloads, whatever becomes of the source's limits.
#[derive(Debug)]
pub(crate) struct Tally {
    requests: AtomicU64,
    waited: AtomicU64,
    under_way: AtomicU64,
    answered: AtomicU64,
    given_up: AtomicU64,
    shared: AtomicU64,
    failed: [AtomicU64; CODES],
    took: [AtomicU64; CLASSES],
    took_us: AtomicU64,
    /// Milliseconds since 1970; 0: never.
    answered_at: AtomicI64,
    failure: Mutex<Option<LastFailure>>,
}

/// The last time the source itself did not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastFailure {
    pub code: ErrorCode,
    pub at: Timestamp,
}

/// What was counted since the start, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Reads of the source that have ended, however. One read may be several requests: pages, tries.
    pub calls: u64,
    /// Requests sent, tries included; token requests are not counted.
    pub requests: u64,
    /// Requests that had to wait for their turn (`limits.in_flight_max`, `limits.per_second_max`).
    pub waited: u64,
    /// Calls that have not ended, those that wait for their turn included.
    pub under_way: u64,
    pub answered: u64,
    /// Calls that nobody waited for any more.
    pub given_up: u64,
    /// Reads that another caller's call answered; they are no calls.
    pub shared: u64,
    /// Those that failed, by code; none that is 0.
    pub failed: Vec<(ErrorCode, u64)>,
    pub latency: Latency,
    pub answered_at: Option<Timestamp>,
    pub failure: Option<LastFailure>,
}

/// How long calls took for which anything was sent, the wait for their turn included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// How many stand in each class: [`BOUNDS_US`], and one for what took longer.
    pub classes: [u64; CLASSES],
    /// All together.
    pub sum: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { classes: [0; CLASSES], sum: Duration::ZERO }
    }
}

impl Latency {
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// What this share of the calls (in percent) took at most, in microseconds, as near as its class tells; none where
    /// nothing was measured.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        let rank = count.checked_mul(percent)?.div_ceil(100).max(1);
        let (mut below, mut lower) = (0, 0);
        for (at, inside) in self.classes.iter().enumerate().filter(|_| count > 0) {
            // Of what took longer than the last bound nothing more is known.
            let upper = BOUNDS_US.get(at).copied().unwrap_or(lower);
            if below + inside >= rank {
                return Some(lower + (upper - lower) * (rank - below) / inside);
            }
            (below, lower) = (below + inside, upper);
        }
        None
    }
}

impl Counted {
    /// Several systems as one.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.requests += other.requests;
        self.waited += other.waited;
        self.under_way += other.under_way;
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.shared += other.shared;
        for (code, count) in other.failed {
            match self.failed.iter_mut().find(|(known, _)| *known == code) {
                Some((_, known)) => *known += count,
                None => self.failed.push((code, count)),
            }
        }
        for (known, further) in self.latency.classes.iter_mut().zip(other.latency.classes) {
            *known += further;
        }
        self.latency.sum += other.latency.sum;
        self.answered_at = self.answered_at.max(other.answered_at);
        self.failure = [self.failure, other.failure].into_iter().flatten().max_by_key(|failure| failure.at);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            waited: AtomicU64::default(),
            under_way: AtomicU64::default(),
            answered: AtomicU64::default(),
            given_up: AtomicU64::default(),
            shared: AtomicU64::default(),
            failed: array::from_fn(|_| AtomicU64::default()),
            took: array::from_fn(|_| AtomicU64::default()),
            took_us: AtomicU64::default(),
            answered_at: AtomicI64::default(),
            failure: Mutex::default(),
        }
    }
}

impl Tally {
    /// A call begins; it ends with what is given back.
    pub fn begin(&self) -> Counting<'_> {
        self.under_way.fetch_add(1, Relaxed);
        Counting { tally: self, began: Instant::now(), ended: false }
    }

    /// A request goes out.
    pub fn sent(&self, waited: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.waited.fetch_add(waited.into(), Relaxed);
    }

    /// A read was answered by a call of somebody else.
    pub fn shared(&self) {
        self.shared.fetch_add(1, Relaxed);
    }

    pub fn counted(&self) -> Counted {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let failed: Vec<(ErrorCode, u64)> = ErrorCode::ALL
            .iter()
            .zip(&self.failed)
            .map(|(code, counter)| (*code, count(counter)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let (answered, given_up) = (count(&self.answered), count(&self.given_up));
        let mut classes = [0; CLASSES];
        classes.iter_mut().zip(&self.took).for_each(|(class, counter)| *class = count(counter));
        Counted {
            calls: failed.iter().map(|(_, count)| count).sum::<u64>() + answered + given_up,
            requests: count(&self.requests),
            waited: count(&self.waited),
            under_way: count(&self.under_way),
            answered,
            given_up,
            shared: count(&self.shared),
            failed,
            latency: Latency { classes, sum: Duration::from_micros(count(&self.took_us)) },
            answered_at: Timestamp::from_millisecond(self.answered_at.load(Relaxed))
                .ok()
                .filter(|at| at.as_millisecond() != 0),
            failure: *self.failure.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn took(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(counter) = self.took.get(class) {
            counter.fetch_add(1, Relaxed);
        }
        self.took_us.fetch_add(us, Relaxed);
    }
}

/// A call under way. Dropped before its end, it was given up.
pub(crate) struct Counting<'a> {
    tally: &'a Tally,
    began: Instant,
    ended: bool,
}

impl Counting<'_> {
    /// The call has ended, after this many requests.
    pub fn end(mut self, failed: Option<ErrorCode>, requests: u32) {
        self.ended = true;
        if requests > 0 {
            self.tally.took(self.began.elapsed());
        }
        let now = Timestamp::now();
        let Some(code) = failed else {
            self.tally.answered.fetch_add(1, Relaxed);
            self.tally.answered_at.fetch_max(now.as_millisecond(), Relaxed);
            return;
        };
        let counters = ErrorCode::ALL.iter().zip(&self.tally.failed);
        if let Some((_, counter)) = counters.into_iter().find(|(known, _)| **known == code) {
            counter.fetch_add(1, Relaxed);
        }
        if is_its_own(code) {
            let failure = LastFailure { code, at: now };
            *self.tally.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.tally.under_way.fetch_sub(1, Relaxed);
        if !self.ended {
            self.tally.given_up.fetch_add(1, Relaxed);
        }
    }
}

/// Whether it is the source that did not do what it should.
fn is_its_own(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::SourceTimeout
            | ErrorCode::SourceUnreachable
            | ErrorCode::SourceError
            | ErrorCode::SourceBadAnswer
            | ErrorCode::SourceBusy
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_in_the_class_of_the_call_they_name() {
        let tally = Tally::default();
        assert_eq!(tally.counted().latency.percentile_us(50), None);
        (0..90).for_each(|_| tally.took(Duration::from_millis(4)));
        (0..9).for_each(|_| tally.took(Duration::from_millis(120)));
        tally.took(Duration::from_secs(3_600));
        let latency = tally.counted().latency;
        let of = |percent| latency.percentile_us(percent).unwrap_or_default();
        assert!((3_000..=5_000).contains(&of(50)) && (3_000..=5_000).contains(&of(90)), "{} {}", of(50), of(90));
        assert!((100_000..=150_000).contains(&of(99)), "{}", of(99));
        assert_eq!(of(100), 60_000_000, "no more is known of it than that it took longer");
        assert_eq!(latency.count(), 100);
    }

    #[test]
    fn a_call_that_nobody_waits_for_is_under_way_no_more_and_is_counted() {
        let tally = Tally::default();
        let begun = tally.begin();
        assert_eq!((tally.counted().under_way, tally.counted().calls), (1, 0));
        drop(begun);
        let counted = tally.counted();
        assert_eq!((counted.under_way, counted.calls, counted.given_up), (0, 1, 1));
        tally.begin().end(Some(ErrorCode::InputMissing), 0);
        assert_eq!(tally.counted().failure, None, "it was not the source's");
        assert_eq!(tally.counted().latency.count(), 0, "nothing was sent");
    }
}
