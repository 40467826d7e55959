//! An exact sliding window: in no second more calls than the source allows.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A second, and what calls may drift between being sent and being counted by the source.
const WINDOW: Duration = Duration::from_millis(1_020);

#[derive(Debug)]
pub(crate) struct Rate {
    max: usize,
    /// When the last `max` calls go out, in order; some may lie ahead.
    turns: Mutex<VecDeque<Instant>>,
}

impl Rate {
    pub fn per_second(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).max(1);
        Self { max, turns: Mutex::new(VecDeque::new()) }
    }

    /// The moment the next call may go out; `None`, and nothing reserved, where that is not before the deadline.
    pub fn reserve(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        // A panic elsewhere leaves the list usable: it is only ever whole.
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut turn = turns.back().map_or(now, |last| now.max(*last));
        if turns.len() >= self.max {
            turn = turns.front().map_or(turn, |first| turn.max(*first + WINDOW));
        }
        if turn >= deadline {
            return None;
        }
        if turns.len() >= self.max {
            turns.pop_front();
        }
        turns.push_back(turn);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_window_of_a_second_holds_more_calls_than_allowed() {
        let rate = Rate::per_second(3);
        let start = Instant::now();
        let late = start + Duration::from_secs(60);
        let turns: Vec<Instant> =
            (0..40_u64).filter_map(|n| rate.reserve(start + Duration::from_millis(n * 37), late)).collect();
        assert_eq!(turns.len(), 40);
        for window in turns.windows(4) {
            assert!(window[3] - window[0] > Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn a_turn_after_the_deadline_is_not_reserved() {
        let rate = Rate::per_second(1);
        let now = Instant::now();
        assert_eq!(rate.reserve(now, now + Duration::from_millis(100)), Some(now));
        assert_eq!(rate.reserve(now, now + Duration::from_millis(100)), None);
        assert_eq!(rate.reserve(now, now + Duration::from_secs(2)), Some(now + WINDOW));
    }
}
