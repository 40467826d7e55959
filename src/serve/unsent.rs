//! Answers that their clients have not taken yet: so many bytes of them at most. A client that takes its answer slowly holds
//! no turn, but its answer is held for it. Where all together are too much, the connections that have had theirs waiting
//! longest are cut: when a further one comes, and when those that have come at once have waited for long enough.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;

/// Smaller answers are not counted: the system's own buffers take them, or the number of connections bounds them.
const COUNTED_BYTES_MIN: usize = 64 << 10;
/// Nobody is cut sooner: a client that reads has had most of a large answer by then.
const SOONEST: Duration = Duration::from_secs(1);

/// By which a connection is told to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    is_given: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    fn give(&self) {
        self.0.is_given.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// What was waited for is sent: if it was given for that, it is of the past.
    pub fn forget(&self) {
        self.0.is_given.store(false, Ordering::Release);
    }

    /// Whether it was given; if it is later, the task is woken.
    pub fn poll(&self, context: &Context<'_>) -> bool {
        self.0.waker.register(context.waker());
        self.0.is_given.load(Ordering::Acquire)
    }
}

/// All answers that are held for clients.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    number: u64,
    /// By number, so in the order in which they came.
    answers: BTreeMap<u64, Waiting>,
    /// A task looks again, because they were too much and none had waited for long.
    looks_again: bool,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    since: Instant,
    cut: Cut,
}

/// An answer that is counted as long as any of it is there.
struct Counted {
    answer: Bytes,
    number: u64,
    unsent: Arc<Unsent>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unsent.lock().leave(self.number);
    }
}

impl Unsent {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: Mutex::default() })
    }

    /// The answer, counted until it is sent or its connection ends.
    pub fn hold(self: &Arc<Self>, answer: Bytes, cut: &Cut) -> Bytes {
        if answer.len() < COUNTED_BYTES_MIN {
            return answer;
        }
        let mut held = self.lock();
        let (number, again) = held.enter(answer.len(), cut, self.bytes_max, Instant::now());
        if let Some(again) = again.filter(|_| !held.looks_again) {
            held.looks_again = true;
            tokio::spawn(look_again(Arc::downgrade(self), again));
        }
        drop(held);
        Bytes::from_owner(Counted { answer, number, unsent: Arc::clone(self) })
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Only ever changed whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The answer's number, and when to look again.
    fn enter(&mut self, bytes: usize, cut: &Cut, bytes_max: usize, now: Instant) -> (u64, Option<Instant>) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.number += 1;
        self.answers.insert(self.number, Waiting { bytes, since: now, cut: cut.clone() });
        (self.number, self.look(bytes_max, now))
    }

    /// Cuts what is too much; when to look again, where more is than may be cut by now.
    fn look(&self, bytes_max: usize, now: Instant) -> Option<Instant> {
        // What is cut is taken off when its connection lets go of it, which is soon.
        let mut left = self.bytes;
        for waiting in self.answers.values() {
            if left <= bytes_max {
                return None;
            }
            let soonest = waiting.since + SOONEST;
            if now < soonest {
                return Some(soonest);
            }
            waiting.cut.give();
            left = left.saturating_sub(waiting.bytes);
        }
        None
    }

    fn leave(&mut self, number: u64) {
        if let Some(waiting) = self.answers.remove(&number) {
            self.bytes = self.bytes.saturating_sub(waiting.bytes);
        }
    }
}

/// Until they are no longer too much.
async fn look_again(unsent: Weak<Unsent>, mut at: Instant) {
    loop {
        tokio::time::sleep_until(at.into()).await;
        let Some(unsent) = unsent.upgrade() else { return };
        let mut held = unsent.lock();
        match held.look(unsent.bytes_max, Instant::now()) {
            Some(next) => at = next,
            None => {
                held.looks_again = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_had_an_answer_waiting_longest_is_cut_and_nobody_at_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut held = Held::default();
        let cuts: Vec<Cut> = (0..4).map(|_| Cut::default()).collect();
        let given = || cuts.iter().map(|cut| cut.0.is_given.load(Ordering::Acquire)).collect::<Vec<_>>();
        let (first, again) = held.enter(60, &cuts[0], 100, at(0));
        assert_eq!(again, None);
        let (_, again) = held.enter(60, &cuts[1], 100, at(500));
        assert_eq!(given(), [false; 4], "too much, but none has waited for long");
        assert_eq!(again, Some(at(1_000)), "looked at again when the first has");
        held.enter(10, &cuts[2], 100, at(1_200));
        assert_eq!(given(), [true, false, false, false]);
        held.leave(first);
        held.leave(first);
        assert_eq!(held.bytes, 70);
        held.enter(20, &cuts[3], 100, at(9_000));
        assert_eq!(given(), [true, false, false, false], "there is room");
    }
}
