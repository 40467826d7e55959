//! When the next call may go out: an exact sliding window (in no second more calls than the source allows, by its own
//! count), and the pause that the source asked for. A call has reached the source when it is answered, and no later than
//! [`ARRIVED`] after it was sent; a second after that, the place it took is free again. Callers who wait go in turn, and each one's
//! calls in order: who asks for much waits behind itself. Who waits holds nothing but its place in the queue, which a pause
//! leaves as it is, and is woken when those before it go out or away, or a place comes free sooner than it seemed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Lane;

/// A second, and what clocks may differ by.
const WINDOW: Duration = Duration::from_millis(1_005);
/// A call without an answer has reached the source this long after it was sent.
const ARRIVED: Duration = Duration::from_millis(150);
/// No source is left alone for longer because it asked for it.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Who waited goes out no later than this before the deadline: less would bring no answer.
const ENOUGH: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Rate {
    /// None: as many as come.
    max: Option<usize>,
    known: Arc<Known>,
}

/// What one system was sent and asked for: the same for all that reckon with it, each by a maximum of its own.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Calls that went out and that the source may still count: at most `max`.
    sent: Vec<Sent>,
    /// Who waits: each caller once, who is next first. None of them is empty.
    ring: VecDeque<Queue>,
    /// Of the next call.
    next: u64,
    /// How long the last call that was answered took to arrive, as far as that counts.
    lag: Duration,
    /// Nothing goes out before.
    paused: Option<Instant>,
}

/// The waiting calls of one caller.
#[derive(Debug)]
struct Queue {
    lane: Lane,
    /// In the order of their numbers.
    calls: VecDeque<Waiting>,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    number: u64,
    deadline: Instant,
    wake: Arc<Notify>,
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
    deadline: Instant,
    wake: Option<Arc<Notify>>,
}

/// A call that went out; its number, where it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone(Option<u64>);

/// Why no call goes out before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    Rate,
    Pause,
}

impl Rate {
    pub fn new(per_second_max: Option<u32>, known: Arc<Known>) -> Self {
        let max = per_second_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX).max(1));
        Self { max, known }
    }

    /// The caller's next place in the queue; none where its turn would not come before the deadline.
    pub fn reserve(&self, lane: &Lane, now: Instant, deadline: Instant) -> Result<Turn<'_>, Late> {
        let mut state = self.lock();
        let start = state.paused.map_or(now, |until| now.max(until));
        if start > now && start + ENOUGH >= deadline {
            return Err(Late::Pause);
        }
        let (number, mut wake) = (state.next, None);
        if let Some(max) = self.max {
            state.forget(now);
            let at = state.free_at(state.before_next(lane), max, start);
            if at > start && at + ENOUGH >= deadline {
                return Err(Late::Rate);
            }
            let own = wake.insert(Arc::default());
            state.queue(lane, Waiting { number, deadline, wake: Arc::clone(own) });
        }
        state.next += 1;
        Ok(Turn { rate: self, number, deadline, wake })
    }

    /// The call was answered: the source has counted it by now.
    pub fn answered(&self, gone: Gone, now: Instant) {
        let (Some(number), Some(max)) = (gone.0, self.max) else { return };
        let state = &mut *self.lock();
        if let Some(sent) = state.sent.iter_mut().find(|sent| sent.number == number) {
            sent.arrived = Some(now);
            let lag = now.saturating_duration_since(sent.at).min(ARRIVED);
            state.lag = lag;
            state.wake(max);
        }
    }

    /// The source asks to be left alone until then.
    pub fn pause(&self, until: Instant, now: Instant) {
        let until = until.min(now + PAUSE_MAX);
        let mut state = self.lock();
        let until = state.paused.map_or(until, |known| known.max(until));
        state.paused = Some(until);
        let waiting = state.ring.iter().flat_map(|queue| &queue.calls);
        waiting.filter(|call| until + ENOUGH >= call.deadline).for_each(|call| call.wake.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the list usable: it is only ever whole.
        self.known.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Whether the call goes out now, from when on it counts as sent; else when to ask again.
    pub fn go(&self, now: Instant) -> Result<Gone, Instant> {
        let mut state = self.rate.lock();
        if let Some(paused) = state.paused.filter(|until| *until > now) {
            return Err(paused);
        }
        let Some(max) = self.rate.max else { return Ok(Gone(None)) };
        state.forget(now);
        let Some((turn, behind)) = state.find(self.number) else { return Err(self.deadline) };
        if behind > 0 {
            // Woken once it is the first of its caller's.
            return Err(self.deadline);
        }
        let until = state.free_at(state.rank(turn, behind), max, now);
        if until > now {
            return Err(until);
        }
        state.sent.push(Sent { number: self.number, at: now, arrived: None });
        state.leave(self.number, true);
        state.wake(max);
        Ok(Gone(Some(self.number)))
    }

    /// Until then, or until something has changed for the call; and no longer than it could still go out.
    pub async fn wait(&self, until: Instant) {
        let enough = self.deadline.checked_sub(ENOUGH).unwrap_or(self.deadline);
        let changed = async {
            match &self.wake {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        // Few wait.
        let _ = Box::pin(timeout_at(until.min(enough), changed)).await;
    }

    /// Why a call that waited will not go out before its deadline.
    pub fn is_late(&self, now: Instant) -> Option<Late> {
        let paused = self.rate.lock().paused.filter(|until| *until > now);
        match paused {
            Some(until) if until + ENOUGH >= self.deadline => Some(Late::Pause),
            _ => (now + ENOUGH >= self.deadline).then_some(Late::Rate),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let (Some(_), Some(max)) = (&self.wake, self.rate.max) {
            let mut state = self.rate.lock();
            if state.leave(self.number, false) {
                state.wake(max);
            }
        }
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        self.sent.retain(|sent| sent.over() > now);
    }

    fn queue(&mut self, lane: &Lane, call: Waiting) {
        match self.ring.iter_mut().find(|queue| queue.lane == *lane) {
            Some(queue) => queue.calls.push_back(call),
            None => self.ring.push_back(Queue { lane: lane.clone(), calls: VecDeque::from([call]) }),
        }
    }

    /// Something has changed: those who may go now look again, and who is next, that it knows when.
    fn wake(&self, max: usize) {
        let free = max.saturating_sub(self.sent.len()).max(1);
        let first = self.ring.iter().take(free).filter_map(|queue| queue.calls.front());
        first.for_each(|call| call.wake.notify_one());
    }

    /// Where a call waits: at which turn, and behind how many of its caller's own.
    fn find(&self, number: u64) -> Option<(usize, usize)> {
        let own = |queue: &Queue| queue.calls.binary_search_by_key(&number, |call| call.number).ok();
        self.ring.iter().enumerate().find_map(|(turn, queue)| Some((turn, own(queue)?)))
    }

    /// How many go before a call that waits there: of each other caller one a round, and one more where its turn is sooner.
    fn rank(&self, turn: usize, behind: usize) -> usize {
        let queues = self.ring.iter().enumerate();
        queues
            .map(|(at, queue)| if at == turn { behind } else { queue.calls.len().min(behind + usize::from(at < turn)) })
            .sum()
    }

    /// How many would go before a further call of the caller.
    fn before_next(&self, lane: &Lane) -> usize {
        let own = self.ring.iter().enumerate().find(|(_, queue)| queue.lane == *lane);
        own.map_or_else(|| self.rank(self.ring.len(), 0), |(turn, queue)| self.rank(turn, queue.calls.len()))
    }

    /// A call waits no more; where it went out, its caller's turn was that. Whether it waited until now.
    fn leave(&mut self, number: u64, went: bool) -> bool {
        let Some((turn, behind)) = self.find(number) else { return false };
        let Some(queue) = self.ring.get_mut(turn) else { return false };
        queue.calls.remove(behind);
        let is_last = queue.calls.is_empty();
        if (is_last || went)
            && let Some(queue) = self.ring.remove(turn)
            && !is_last
        {
            self.ring.push_back(queue);
        }
        true
    }

    /// When the call with so many before it in the queue may go out: now, where there are places for all of them; else when
    /// enough of those that were sent are over. Further behind, as it will be if all goes out at once.
    fn free_at(&self, before: usize, max: usize, now: Instant) -> Instant {
        let mut over: Vec<Instant> = self.sent.iter().map(|sent| sent.over()).filter(|over| *over > now).collect();
        // More than `max` were sent where another version of the files allows more.
        let Some(behind) = (before + over.len()).checked_sub(max) else { return now };
        let round = WINDOW + self.lag;
        over.extend(std::iter::repeat_n(now + round, max.saturating_sub(over.len())));
        over.sort_unstable();
        if let Some(at) = over.get(behind) {
            return *at;
        }
        let (behind, first) = (behind - over.len(), over.len() - max);
        let last = over.get(first + behind % max).copied().unwrap_or(now + round);
        let rounds = u32::try_from(behind / max).unwrap_or(u32::MAX).saturating_add(1);
        round.checked_mul(rounds).and_then(|more| last.checked_add(more)).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests;
