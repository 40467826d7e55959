//! The gateway's clock, set by a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use huxiang::base::clock::Clock;
use jiff::Timestamp;

/// A clock that a test sets.
#[derive(Clone)]
pub struct SetClock(Arc<AtomicI64>);

impl SetClock {
    /// By a day and minute here: `2026-06-01T09:00`.
    pub fn at(time: &str) -> Self {
        let hand = Self(Arc::default());
        hand.set(time);
        hand
    }

    pub fn set(&self, time: &str) {
        let time: Timestamp = format!("{time}:00+08:00").parse().unwrap();
        self.0.store(time.as_second(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Clock::new(move || Timestamp::from_second(time.load(Ordering::SeqCst)).unwrap())
    }
}
