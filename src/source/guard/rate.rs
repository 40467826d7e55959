//! When the next call may go out: an exact sliding window (in no second more calls than the source allows, by its own
//! count), and the pause that the source asked for. A call has reached the source when it is answered, and no later than
//! [`ARRIVED`] after it was sent; a second after that, the place it took is free again. Who waits goes in order, and holds
//! nothing but its place in the queue.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A second, and what clocks may differ by.
const WINDOW: Duration = Duration::from_millis(1_005);
/// A call without an answer has reached the source this long after it was sent.
const ARRIVED: Duration = Duration::from_millis(150);
/// No source is left alone for longer because it asked for it.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Who waited goes out no later than this before the deadline: less would bring no answer.
const ENOUGH: Duration = Duration::from_millis(100);
/// Who is not first asks again no sooner.
const AGAIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Rate {
    /// None: as many as come.
    max: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that went out and that the source may still count: at most `max`.
    sent: Vec<Sent>,
    /// The numbers of those that wait, in order.
    waiting: VecDeque<u64>,
    /// Of the next call.
    next: u64,
    /// How long the last call that was answered took to arrive, as far as that counts.
    lag: Duration,
    /// Nothing goes out before.
    paused: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u64,
    at: Instant,
    /// When the source was known to have it.
    arrived: Option<Instant>,
}

impl Sent {
    /// From then on, the source counts it no more.
    fn over(self) -> Instant {
        self.arrived.unwrap_or(self.at + ARRIVED).min(self.at + ARRIVED) + WINDOW
    }
}

/// A place in the queue, left when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'r> {
    rate: &'r Rate,
    number: u64,
    /// Not before.
    at: Instant,
}

/// A call that went out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone(u64);

/// Why no call goes out before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Rate,
    Pause,
}

impl Rate {
    pub fn new(per_second_max: Option<u32>) -> Self {
        let max = per_second_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX).max(1));
        Self { max, state: Mutex::default() }
    }

    /// The next place in the queue; none where its turn would not come before the deadline.
    pub fn reserve(&self, now: Instant, deadline: Instant) -> Result<Turn<'_>, Late> {
        let mut state = self.lock();
        let start = state.paused.map_or(now, |until| now.max(until));
        if start >= deadline {
            return Err(Late::Pause);
        }
        let number = state.next;
        if let Some(max) = self.max {
            state.forget(now);
            let at = state.free_at(state.waiting.len(), max, start);
            if at > start && at + ENOUGH >= deadline {
                return Err(Late::Rate);
            }
            state.waiting.push_back(number);
        }
        state.next += 1;
        Ok(Turn { rate: self, number, at: start })
    }

    /// Whether it is too late for a call that waited.
    pub fn is_too_late(now: Instant, deadline: Instant) -> bool {
        now + ENOUGH >= deadline
    }

    /// The call was answered: the source has counted it by now.
    pub fn answered(&self, gone: Gone, now: Instant) {
        if self.max.is_none() {
            return;
        }
        let state = &mut *self.lock();
        if let Some(sent) = state.sent.iter_mut().find(|sent| sent.number == gone.0) {
            sent.arrived = Some(now);
            let lag = now.saturating_duration_since(sent.at).min(ARRIVED);
            state.lag = lag;
        }
    }

    /// The source asks to be left alone until then.
    pub fn pause(&self, until: Instant, now: Instant) {
        let until = until.min(now + PAUSE_MAX);
        let mut state = self.lock();
        state.paused = Some(state.paused.map_or(until, |known| known.max(until)));
    }

    /// Whether it asked for that while a call waited for its turn.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.lock().paused.is_some_and(|until| until > now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the list usable: it is only ever whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Whether the call goes out now, from when on it counts as sent; else when to ask again.
    pub fn go(&self, now: Instant) -> Result<Gone, Instant> {
        if self.at > now {
            return Err(self.at);
        }
        if let Some(max) = self.rate.max {
            let mut state = self.rate.lock();
            state.forget(now);
            let rank = state.waiting.binary_search(&self.number).unwrap_or_else(|rank| rank);
            let until = state.free_at(rank, max, now);
            if until > now {
                // Those before it may leave: who is not next looks again halfway.
                let free = max.saturating_sub(state.sent.len());
                let again = if rank > free { now + (until - now) / 2 } else { until };
                return Err(again.max(now + AGAIN));
            }
            state.waiting.remove(rank);
            state.sent.push(Sent { number: self.number, at: now, arrived: None });
        }
        Ok(Gone(self.number))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.rate.lock();
        if let Ok(rank) = state.waiting.binary_search(&self.number) {
            state.waiting.remove(rank);
        }
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        self.sent.retain(|sent| sent.over() > now);
    }

    /// When the call with so many before it in the queue may go out: now, where there are places for all of them; else when
    /// enough of those that were sent are over. Further behind, as it will be if all goes out at once.
    fn free_at(&self, before: usize, max: usize, now: Instant) -> Instant {
        let free = max.saturating_sub(self.sent.len());
        let Some(behind) = before.checked_sub(free) else { return now };
        let mut over: Vec<Instant> = self.sent.iter().map(|sent| sent.over()).collect();
        over.sort_unstable();
        let round = WINDOW + self.lag;
        over.extend(std::iter::repeat_n(now + round, free));
        over.sort_unstable();
        let rounds = u32::try_from(behind / max).unwrap_or(u32::MAX);
        let last = over.get(behind % max).copied().unwrap_or(now + round);
        round.checked_mul(rounds).and_then(|more| last.checked_add(more)).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What comes next in a simulation: by time, then in the order of the calls.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum What {
        Answered(usize),
        Wakes(usize),
        Comes(usize),
    }

    /// Calls that come at these times, each answered after `answer`, each given up after `patience`; `late`: how much later
    /// than asked a call wakes up. When each went out, of those that did, in order.
    fn run(
        rate: &Rate,
        comes: impl Iterator<Item = Duration>,
        patience: Duration,
        answer: Duration,
        late: impl Fn(usize) -> Duration,
    ) -> Vec<Instant> {
        let start = Instant::now();
        let mut events: BTreeSet<(Instant, What)> =
            comes.enumerate().map(|(n, at)| (start + at, What::Comes(n))).collect();
        let mut calls: HashMap<usize, (Turn<'_>, Instant)> = HashMap::new();
        let mut gone: HashMap<usize, Gone> = HashMap::new();
        let mut went = Vec::new();
        while let Some((now, what)) = events.pop_first() {
            let n = match what {
                What::Answered(n) => {
                    rate.answered(gone[&n], now);
                    continue;
                }
                What::Comes(n) => {
                    let deadline = now + patience;
                    let Ok(turn) = rate.reserve(now, deadline) else { continue };
                    calls.insert(n, (turn, deadline));
                    n
                }
                What::Wakes(n) => n,
            };
            let (turn, deadline) = &calls[&n];
            match turn.go(now) {
                Ok(of) => {
                    went.push(now);
                    gone.insert(n, of);
                    calls.remove(&n);
                    events.insert((now + answer, What::Answered(n)));
                }
                Err(_) if Rate::is_too_late(now, *deadline) => {
                    calls.remove(&n);
                }
                Err(until) => {
                    assert!(until > now, "it would ask again and again");
                    events.insert((until.min(*deadline) + late(n), What::Wakes(n)));
                }
            }
        }
        went
    }

    fn most_in_a_second(went: &[Instant]) -> usize {
        went.iter()
            .map(|from| went.iter().filter(|at| *at >= from && **at - *from <= ms(1_000)).count())
            .max()
            .unwrap_or(0)
    }

    #[tokio::test]
    async fn no_window_of_a_second_holds_more_calls_than_allowed_however_late_they_go_out() {
        for (max, answer) in [(1, 500), (3, 0), (3, 40), (5, 300), (5, 5_000)] {
            let rate = Rate::new(Some(max));
            let late = |n: usize| ms(u64::try_from(n * 71 % 300).unwrap());
            let went = run(&rate, (0..60).map(|n| ms(n * 37)), ms(30_000), ms(answer), late);
            let most = most_in_a_second(&went);
            assert!(most <= usize::try_from(max).unwrap(), "{max} {answer}: {most}");
            assert!(went.len() >= 20.min(usize::try_from(max).unwrap() * 15), "{max} {answer}: {}", went.len());
        }
    }

    #[tokio::test]
    async fn in_sustained_overload_a_source_is_asked_nearly_as_often_as_it_allows() {
        // What is answered later than a call takes to arrive keeps its place that much longer.
        for (answer, least) in [(2, 95), (100, 85), (300, 80)] {
            let rate = Rate::new(Some(5));
            let went = run(&rate, (0..3_000).map(|n| ms(n * 10)), ms(2_000), ms(answer), |_| ms(1));
            assert!(went.len() >= 150 * least / 100, "answered after {answer} ms: {} of 150", went.len());
            assert!(most_in_a_second(&went) <= 5);
        }
    }

    #[tokio::test]
    async fn those_that_wait_and_leave_hold_no_place() {
        let rate = Rate::new(Some(1));
        let now = Instant::now();
        let first = rate.reserve(now, now + ms(100)).unwrap();
        assert!(first.go(now).is_ok());
        for _ in 0..100 {
            drop(rate.reserve(now, now + ms(5_000)).unwrap());
        }
        let turn = rate.reserve(now, now + ms(5_000)).unwrap();
        assert_eq!(turn.go(now).unwrap_err(), now + ARRIVED + WINDOW);
        assert!(turn.go(now + ARRIVED + WINDOW).is_ok());
    }

    #[tokio::test]
    async fn who_waits_through_a_standstill_still_goes_at_the_rate() {
        let rate = Rate::new(Some(5));
        let went = run(&rate, (0..20).map(|_| ms(0)), ms(60_000), ms(10), |n| if n < 12 { ms(6_000) } else { ms(0) });
        assert_eq!(went.len(), 20);
        assert!(most_in_a_second(&went) <= 5);
    }

    #[tokio::test]
    async fn a_turn_that_would_come_after_the_deadline_is_not_given() {
        let rate = Rate::new(Some(1));
        let now = Instant::now();
        let first = rate.reserve(now, now + ms(100)).unwrap();
        assert!(matches!(rate.reserve(now, now + ms(100)), Err(Late::Rate)));
        assert!(rate.reserve(now, now + ms(2_000)).is_ok());
        assert!(first.go(now).is_ok());
    }

    #[tokio::test]
    async fn a_pause_is_kept_and_bounded() {
        let rate = Rate::new(None);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        rate.pause(now + 2 * second, now);
        rate.pause(now + second, now);
        let at = |turn: Result<Turn<'_>, Late>| turn.map(|turn| turn.at);
        assert_eq!(at(rate.reserve(now, now + second)), Err(Late::Pause));
        assert_eq!(at(rate.reserve(now, now + 5 * second)), Ok(now + 2 * second));
        rate.pause(now + 86_400 * second, now);
        assert_eq!(at(rate.reserve(now, now + 100 * second)), Ok(now + PAUSE_MAX));
    }
}
