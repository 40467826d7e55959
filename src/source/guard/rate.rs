//! When the next call may go out: an exact sliding window (in no second more calls than the source allows), and the pause
//! that the source asked for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A second, and what calls may drift between being sent and being counted by the source.
const WINDOW: Duration = Duration::from_millis(1_020);
/// No source is left alone for longer because it asked for it.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Rate {
    /// None: as many as come.
    max: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last `max` calls go out, in order; some may lie ahead.
    turns: VecDeque<Instant>,
    /// Nothing goes out before.
    paused: Option<Instant>,
}

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

    /// The moment the next call may go out; where that is not before the deadline, nothing is reserved.
    pub fn reserve(&self, now: Instant, deadline: Instant) -> Result<Instant, Late> {
        let mut state = self.lock();
        let start = state.paused.map_or(now, |until| now.max(until));
        if start >= deadline {
            return Err(Late::Pause);
        }
        let Some(max) = self.max else { return Ok(start) };
        let mut turn = state.turns.back().map_or(start, |last| start.max(*last));
        if state.turns.len() >= max {
            turn = state.turns.front().map_or(turn, |first| turn.max(*first + WINDOW));
        }
        if turn >= deadline {
            return Err(Late::Rate);
        }
        if state.turns.len() >= max {
            state.turns.pop_front();
        }
        state.turns.push_back(turn);
        Ok(turn)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_window_of_a_second_holds_more_calls_than_allowed() {
        let rate = Rate::new(Some(3));
        let start = Instant::now();
        let late = start + Duration::from_secs(60);
        let turns: Vec<Instant> =
            (0..40_u64).filter_map(|n| rate.reserve(start + Duration::from_millis(n * 37), late).ok()).collect();
        assert_eq!(turns.len(), 40);
        for window in turns.windows(4) {
            assert!(window[3] - window[0] > Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn a_turn_after_the_deadline_is_not_reserved() {
        let rate = Rate::new(Some(1));
        let now = Instant::now();
        assert_eq!(rate.reserve(now, now + Duration::from_millis(100)), Ok(now));
        assert_eq!(rate.reserve(now, now + Duration::from_millis(100)), Err(Late::Rate));
        assert_eq!(rate.reserve(now, now + Duration::from_secs(2)), Ok(now + WINDOW));
    }

    #[tokio::test]
    async fn a_pause_is_kept_and_bounded() {
        let rate = Rate::new(None);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        rate.pause(now + 2 * second, now);
        rate.pause(now + second, now);
        assert_eq!(rate.reserve(now, now + second), Err(Late::Pause));
        assert_eq!(rate.reserve(now, now + 5 * second), Ok(now + 2 * second));
        rate.pause(now + 86_400 * second, now);
        assert_eq!(rate.reserve(now, now + 100 * second), Ok(now + PAUSE_MAX));
    }
}
