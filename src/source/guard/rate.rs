//! When the next call may go out: an exact sliding window (in no second more calls than the source allows, by its own
//! count), and the pause that the source asked for. A call has reached the source when it is answered, and no later than
//! [`ARRIVED`] after it was sent; a second after that, the place it took is free again.

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

#[derive(Debug)]
pub(crate) struct Rate {
    /// None: as many as come.
    max: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls in the order of their turns; those that no later call has to keep away from any more are gone.
    calls: VecDeque<Sent>,
    /// The number of the first of them.
    first: u64,
    /// Nothing goes out before.
    paused: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    /// When it goes out, or went.
    at: Instant,
    /// When the source was known to have it.
    arrived: Option<Instant>,
}

impl Sent {
    /// From then on, the source has counted it for a second.
    fn over(self) -> Instant {
        self.arrived.unwrap_or(self.at + ARRIVED).min(self.at + ARRIVED) + WINDOW
    }
}

/// A call's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    number: u64,
    /// Not before.
    pub at: Instant,
}

/// Why no call goes out before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Rate,
    Pause,
}

impl Rate {
    pub fn new(per_second_max: Option<u32>) -> Self {
        Self { max: per_second_max.map(|max| u64::from(max.max(1))), state: Mutex::default() }
    }

    /// The turn of the next call; where that is not before the deadline, none is given.
    pub fn reserve(&self, now: Instant, deadline: Instant) -> Result<Turn, Late> {
        let mut state = self.lock();
        let start = state.paused.map_or(now, |until| now.max(until));
        if start >= deadline {
            return Err(Late::Pause);
        }
        let Some(max) = self.max else { return Ok(Turn { number: 0, at: start }) };
        while state.calls.front().is_some_and(|call| call.over() <= now) {
            state.calls.pop_front();
            state.first += 1;
        }
        let number = state.first + u64::try_from(state.calls.len()).unwrap_or(u64::MAX);
        let mut at = state.calls.back().map_or(start, |last| start.max(last.at));
        // By then it will be known that the source had it at once: else its turn comes a little later.
        if let Some(before) = number.checked_sub(max).and_then(|before| state.call(before)) {
            at = at.max(before.arrived.map_or(before.at, |arrived| arrived.min(before.at + ARRIVED)) + WINDOW);
        }
        if at >= deadline {
            return Err(Late::Rate);
        }
        state.calls.push_back(Sent { at, arrived: None });
        Ok(Turn { number, at })
    }

    /// Whether the call goes out now, from when on it counts as sent; else when to ask again. Turns that were kept waiting,
    /// for whatever reason, move those behind them.
    pub fn go(&self, turn: Turn, now: Instant) -> Result<(), Instant> {
        let Some(max) = self.max else { return if turn.at <= now { Ok(()) } else { Err(turn.at) } };
        let mut state = self.lock();
        let before = turn.number.checked_sub(max).and_then(|before| state.call(before)).map(|before| before.over());
        let until = before.map_or(turn.at, |over| over.max(turn.at));
        if until > now {
            return Err(until);
        }
        if let Some(call) = state.call_mut(turn.number) {
            call.at = now;
        }
        Ok(())
    }

    /// The call was answered: the source has counted it by now.
    pub fn answered(&self, turn: Turn, now: Instant) {
        if self.max.is_some()
            && let Some(call) = self.lock().call_mut(turn.number)
        {
            call.arrived = Some(now);
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

impl State {
    fn call(&self, number: u64) -> Option<Sent> {
        self.calls.get(usize::try_from(number.checked_sub(self.first)?).ok()?).copied()
    }

    fn call_mut(&mut self, number: u64) -> Option<&mut Sent> {
        self.calls.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn no_window_of_a_second_holds_more_calls_than_allowed_however_late_they_go_out() {
        let rate = Rate::new(Some(3));
        let start = Instant::now();
        let late = start + Duration::from_secs(60);
        let mut arrivals: Vec<Instant> = Vec::new();
        let mut waiting: Vec<(Turn, Instant)> = Vec::new();
        for n in 0..40_u64 {
            let now = start + ms(n * 37);
            waiting.push((rate.reserve(now, late).unwrap(), now));
        }
        // They are woken up to 300 ms after their turns, arrive up to 100 ms after that, and not all are answered.
        for (n, (turn, reserved)) in waiting.into_iter().enumerate() {
            let n = u64::try_from(n).unwrap();
            let mut now = reserved.max(turn.at) + ms(n * 71 % 300);
            while let Err(until) = rate.go(turn, now) {
                now = until + ms(n * 13 % 7);
            }
            let arrived = now + ms(n * 29 % 100);
            arrivals.push(arrived);
            if n % 3 != 0 {
                rate.answered(turn, arrived + ms(1));
            }
        }
        arrivals.sort();
        assert_eq!(arrivals.len(), 40);
        for window in arrivals.windows(4) {
            assert!(window[3] - window[0] > Duration::from_secs(1), "{:?}", window[3] - window[0]);
        }
    }

    #[tokio::test]
    async fn a_source_that_answers_at_once_is_asked_as_often_as_it_allows() {
        let rate = Rate::new(Some(10));
        let start = Instant::now();
        let mut now = start;
        for _ in 0..101 {
            let turn = rate.reserve(now, now + Duration::from_secs(10)).unwrap();
            now = now.max(turn.at);
            while let Err(until) = rate.go(turn, now) {
                now = until;
            }
            rate.answered(turn, now + ms(2));
        }
        let took = now - start;
        assert!(took < ms(10_150), "{took:?}");
    }

    #[tokio::test]
    async fn a_turn_after_the_deadline_is_not_reserved() {
        let rate = Rate::new(Some(1));
        let now = Instant::now();
        let at = |turn: Result<Turn, Late>| turn.map(|turn| turn.at);
        assert_eq!(at(rate.reserve(now, now + ms(100))), Ok(now));
        assert_eq!(at(rate.reserve(now, now + ms(100))), Err(Late::Rate));
        assert_eq!(at(rate.reserve(now, now + ms(2_000))), Ok(now + WINDOW));
    }

    #[tokio::test]
    async fn a_pause_is_kept_and_bounded() {
        let rate = Rate::new(None);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        rate.pause(now + 2 * second, now);
        rate.pause(now + second, now);
        let at = |turn: Result<Turn, Late>| turn.map(|turn| turn.at);
        assert_eq!(at(rate.reserve(now, now + second)), Err(Late::Pause));
        assert_eq!(at(rate.reserve(now, now + 5 * second)), Ok(now + 2 * second));
        rate.pause(now + 86_400 * second, now);
        assert_eq!(at(rate.reserve(now, now + 100 * second)), Ok(now + PAUSE_MAX));
    }
}
