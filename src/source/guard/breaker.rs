//! The circuit breaker: a system that fails again and again is left alone for a while, then tried with few requests.
//!
//! Closed, requests pass, and how they end is counted over a window; too many failures open it. Open, every request fails
//! at once. After a while it is half-open: a few requests pass, and how they end decides. A pass counts only for the round
//! of the state that it was given in: what was sent before the breaker opened says nothing of the system now.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::model::binding::limits::BreakerLimits;

/// Parts of the window: a failure counts for it, exact to one of them.
const PARTS: usize = 10;

/// So long without an answer says something however much time the source is given: callers rarely wait longer.
const LONG: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Breaker {
    limits: BreakerLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Changes with the phase.
    round: u64,
    window: Window,
    /// How often it has opened since the start.
    opened: u64,
    since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { under_way: u32, answered: u32 },
}

/// As operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerPhase {
    /// The system is asked.
    Closed,
    /// It is tried with few requests.
    HalfOpen,
    /// It is not asked.
    Open,
}

impl BreakerPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::HalfOpen => "HALF_OPEN",
            Self::Open => "OPEN",
        }
    }
}

/// A breaker at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerState {
    pub phase: BreakerPhase,
    /// How often it has opened since the start.
    pub opened: u64,
    /// When it last opened, opened again or closed; none: never.
    pub since: Option<Timestamp>,
    /// Open: when the system is tried again.
    pub retry_at: Option<Timestamp>,
}

/// What a request's end tells of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answered, be it with a refusal.
    Well,
    Ill,
    /// As ill, in that no answer came, or began, in time.
    Silent,
    /// Nothing: the request was not sent, or had too little time.
    Unknown,
}

impl Health {
    /// Of a request without an answer: one that had not half its time tells nothing, nor one that had less than a request
    /// can wait for.
    pub fn unanswered(took: Duration, patience: Duration) -> Self {
        if took >= (patience / 2).min(LONG) { Self::Silent } else { Self::Unknown }
    }

    fn is_ill(self) -> bool {
        matches!(self, Self::Ill | Self::Silent)
    }
}

/// What a request's end changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
}

impl Breaker {
    pub fn new(limits: &BreakerLimits, now: Instant) -> Self {
        let state = State { phase: Phase::Closed, round: 0, window: Window::new(limits, now), opened: 0, since: None };
        Self { limits: limits.clone(), state: Mutex::new(state) }
    }

    /// How long it stays open, where it is: asked before a request waits for its turn.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.lock().phase {
            Phase::Open { until } if until > now => Some(until - now),
            _ => None,
        }
    }

    /// Lets a request pass; the error says after how long it may be worth asking again (zero: the system is being tried).
    pub fn admit(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => {}
            Phase::Open { until } if until > now => return Err(until - now),
            Phase::Open { .. } => state.enter(Phase::HalfOpen { under_way: 1, answered: 0 }),
            Phase::HalfOpen { under_way, answered } => {
                // No more than still decide: of those that pass at once, all can be answered.
                if under_way + answered >= self.limits.probes_max {
                    return Err(Duration::ZERO);
                }
                state.phase = Phase::HalfOpen { under_way: under_way + 1, answered };
            }
        }
        Ok(Pass { breaker: self, round: state.round, ended: false })
    }

    pub fn state(&self, now: Instant) -> BreakerState {
        let state = self.lock();
        let (phase, retry_in) = match state.phase {
            Phase::Closed => (BreakerPhase::Closed, None),
            Phase::Open { until } if until > now => (BreakerPhase::Open, Some(until - now)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => (BreakerPhase::HalfOpen, None),
        };
        let retry_at = retry_in.and_then(|wait| Timestamp::now().checked_add(wait).ok());
        BreakerState { phase, opened: state.opened, since: state.since, retry_at }
    }

    fn ended(&self, round: u64, health: Health, now: Instant) -> Option<Change> {
        let mut state = self.lock();
        if state.round != round {
            return None;
        }
        match (state.phase, health) {
            (Phase::Closed, Health::Unknown) | (Phase::Open { .. }, _) => None,
            (Phase::Closed, health) => {
                state.window.count(health.is_ill(), now);
                let failing = health.is_ill() && state.window.is_full(&self.limits, now);
                failing.then(|| self.open(&mut state, now))
            }
            (Phase::HalfOpen { .. }, Health::Ill | Health::Silent) => Some(self.open(&mut state, now)),
            (Phase::HalfOpen { answered, .. }, Health::Well) if answered + 1 >= self.limits.probes_max => {
                state.enter(Phase::Closed);
                state.window = Window::new(&self.limits, now);
                state.since = Some(Timestamp::now());
                Some(Change::Closed)
            }
            (Phase::HalfOpen { under_way, answered }, health) => {
                let answered = answered + u32::from(health == Health::Well);
                state.phase = Phase::HalfOpen { under_way: under_way.saturating_sub(1), answered };
                None
            }
        }
    }

    fn open(&self, state: &mut State, now: Instant) -> Change {
        state.enter(Phase::Open { until: now + Duration::from_millis(self.limits.open_ms) });
        state.opened += 1;
        state.since = Some(Timestamp::now());
        Change::Opened
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only ever changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.round += 1;
    }
}

/// A request that passed. Dropped before its end, it tells nothing, and another may pass in its place.
#[derive(Debug)]
pub(crate) struct Pass<'b> {
    breaker: &'b Breaker,
    round: u64,
    ended: bool,
}

impl Pass<'_> {
    /// Whether the breaker has opened since: a request that waited is not sent any more.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        self.breaker.open_for(now)
    }

    pub fn end(mut self, health: Health, now: Instant) -> Option<Change> {
        self.ended = true;
        self.breaker.ended(self.round, health, now)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.breaker.ended(self.round, Health::Unknown, Instant::now());
        }
    }
}

/// How requests ended over the last while, in parts of it.
#[derive(Debug)]
struct Window {
    began: Instant,
    part: Duration,
    counts: [Count; PARTS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// Which part since the beginning it is of.
    part: u128,
    all: u64,
    ill: u64,
}

impl Window {
    fn new(limits: &BreakerLimits, now: Instant) -> Self {
        let part = Duration::from_millis(limits.window_ms) / u32::try_from(PARTS).unwrap_or(1);
        Self { began: now, part: part.max(Duration::from_millis(1)), counts: [Count::default(); PARTS] }
    }

    fn part(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.began).as_nanos() / self.part.as_nanos().max(1)
    }

    fn count(&mut self, ill: bool, now: Instant) {
        let part = self.part(now);
        let at = usize::try_from(part % self.counts.len() as u128).unwrap_or(0);
        let Some(count) = self.counts.get_mut(at) else { return };
        if count.part != part {
            *count = Count { part, ..Count::default() };
        }
        count.all += 1;
        count.ill += u64::from(ill);
    }

    /// Whether there are as many failures as open the breaker.
    fn is_full(&self, limits: &BreakerLimits, now: Instant) -> bool {
        let part = self.part(now);
        let counting = self.counts.iter().filter(|count| count.part + self.counts.len() as u128 > part);
        let (all, ill) = counting.fold((0, 0), |(all, ill), count| (all + count.all, ill + count.ill));
        ill >= u64::from(limits.failures_min) && ill * 100 >= all * u64::from(limits.failures_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(start: Instant) -> Breaker {
        let limits = BreakerLimits { failures_min: 4, failures_percent: 50, probes_max: 2, ..BreakerLimits::default() };
        Breaker::new(&limits, start)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn end(breaker: &Breaker, health: Health, now: Instant) -> Option<Change> {
        breaker.admit(now).expect("it passes").end(health, now)
    }

    #[tokio::test]
    async fn so_many_failures_in_the_window_open_it_and_older_ones_do_not_count() {
        let start = Instant::now();
        let breaker = breaker(start);
        (0..3).for_each(|_| assert_eq!(end(&breaker, Health::Ill, start), None));
        let later = start + ms(10_000);
        (0..3).for_each(|_| assert_eq!(end(&breaker, Health::Ill, later), None));
        assert_eq!(end(&breaker, Health::Ill, later + ms(8_000)), Some(Change::Opened));
        assert_eq!(breaker.admit(later + ms(8_001)).err(), Some(ms(4_999)));
        assert_eq!(breaker.state(later + ms(8_001)).phase, BreakerPhase::Open);
    }

    #[test]
    fn a_source_that_is_given_longer_than_requests_wait_is_told_to_hang() {
        assert_eq!(Health::unanswered(ms(900), ms(2_000)), Health::Unknown);
        assert_eq!(Health::unanswered(ms(1_000), ms(2_000)), Health::Silent);
        assert_eq!(Health::unanswered(ms(9_900), ms(30_000)), Health::Silent);
    }

    #[tokio::test]
    async fn failures_that_are_a_small_share_do_not_open_it() {
        let start = Instant::now();
        let breaker = breaker(start);
        (0..9).for_each(|_| assert_eq!(end(&breaker, Health::Well, start), None));
        (0..8).for_each(|_| assert_eq!(end(&breaker, Health::Ill, start), None));
        assert_eq!(end(&breaker, Health::Unknown, start), None);
        assert_eq!(end(&breaker, Health::Ill, start), Some(Change::Opened));
    }

    #[tokio::test]
    async fn half_open_lets_few_pass_and_as_many_answers_close_it() {
        let start = Instant::now();
        let breaker = breaker(start);
        let before = breaker.admit(start).expect("it passes");
        let _opens: Vec<_> = (0..4).map(|_| end(&breaker, Health::Ill, start)).collect();
        let now = start + ms(5_000);
        assert_eq!(breaker.state(now).phase, BreakerPhase::HalfOpen);
        let (first, second) = (breaker.admit(now).expect("one"), breaker.admit(now).expect("two"));
        assert!(breaker.admit(now).is_err(), "no third");
        // Nobody waits for it any more: it wedges nothing.
        drop(first);
        let third = breaker.admit(now).expect("in its place");
        assert!(breaker.admit(now).is_err());
        assert_eq!(before.end(Health::Ill, now), None, "it was sent before");
        assert_eq!(second.end(Health::Well, now), None);
        assert!(breaker.admit(now).is_err(), "one is still awaited");
        assert_eq!(third.end(Health::Well, now), Some(Change::Closed));
        (0..3).for_each(|_| assert_eq!(end(&breaker, Health::Ill, now), None));
        assert_eq!(breaker.state(now).opened, 1);
    }

    #[tokio::test]
    async fn a_failure_while_half_open_opens_it_again() {
        let start = Instant::now();
        let breaker = breaker(start);
        let _opens: Vec<_> = (0..4).map(|_| end(&breaker, Health::Ill, start)).collect();
        let now = start + ms(6_000);
        let (first, second) = (breaker.admit(now).expect("one"), breaker.admit(now).expect("two"));
        assert_eq!(first.end(Health::Ill, now), Some(Change::Opened));
        assert_eq!(second.end(Health::Well, now), None, "it is of a round that is over");
        assert_eq!(breaker.admit(now).err(), Some(ms(5_000)));
        assert_eq!(breaker.state(now).opened, 2);
    }
}
