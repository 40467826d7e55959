//! Places of calls under way: so many at once, handed out in turn among those who wait.
//!
//! Each caller has a lane of its own, and lanes are served one after the other: who asks for much waits behind itself, and
//! others do not wait behind it. Where the binding says what is slow, slow answers take places away, and quick ones give
//! them back one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Calls that wait at once; further ones are turned away.
const WAITING_MAX: usize = 10_000;

/// Who waits; none: a visitor, or the gateway itself.
pub(crate) type Lane = Option<Arc<str>>;

#[derive(Debug)]
pub(crate) struct Places(Arc<Hall>);

#[derive(Debug)]
struct Hall {
    max: usize,
    /// A longer answer takes places away; none: there are always `max`.
    slow: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    under_way: usize,
    /// Places there are now: 1 to `max`.
    most: usize,
    /// Quick answers since that last changed.
    quick: usize,
    /// When slow answers last took places away: what was sent before says nothing of the places there are since.
    shrunk: Option<Instant>,
    waiting: usize,
    lanes: HashMap<Lane, VecDeque<oneshot::Sender<Place>>>,
    /// Whose turn is next: each lane once.
    ring: VecDeque<Lane>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Hall>>);

impl Places {
    pub fn new(max: usize, slow: Option<Duration>) -> Self {
        let state = State {
            under_way: 0,
            most: max,
            quick: 0,
            shrunk: None,
            waiting: 0,
            lanes: HashMap::new(),
            ring: VecDeque::new(),
        };
        Self(Arc::new(Hall { max, slow, state: Mutex::new(state) }))
    }

    /// A place, and whether it was waited for; none: there was none before the deadline.
    pub async fn enter(&self, lane: &Lane, deadline: Instant) -> Option<(Place, bool)> {
        let place = {
            let mut state = self.0.lock();
            if state.waiting == 0 && state.under_way < state.most {
                state.under_way += 1;
                return Some((Place(Some(Arc::clone(&self.0))), false));
            }
            state.queue(lane)?
        };
        match timeout_at(deadline, place).await {
            // A place that comes free at the deadline is too late: nothing is sent for nobody.
            Ok(Ok(place)) if Instant::now() < deadline => Some((place, true)),
            _ => None,
        }
    }

    /// How many there are now.
    #[cfg(test)]
    fn most(&self) -> usize {
        self.0.lock().most
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Only ever changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what is free.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some(next) = self.lock().next() else { return };
            if let Err(mut place) = next.send(Place(Some(Arc::clone(self)))) {
                // Nobody waits for it any more. (Dropped as it is, it would hand out once more, within this.)
                place.0 = None;
                self.lock().under_way -= 1;
            }
        }
    }
}

impl State {
    /// None: too many wait.
    fn queue(&mut self, lane: &Lane) -> Option<oneshot::Receiver<Place>> {
        if self.waiting >= WAITING_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting += 1;
        match self.lanes.get_mut(lane) {
            Some(waiting) => waiting.push_back(sender),
            None => {
                self.lanes.insert(lane.clone(), VecDeque::from([sender]));
                self.ring.push_back(lane.clone());
            }
        }
        Some(receiver)
    }

    /// Who gets the next free place, which is taken from now on.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        if self.under_way >= self.most {
            return None;
        }
        let lane = self.ring.pop_front()?;
        let waiting = self.lanes.get_mut(&lane)?;
        let sender = waiting.pop_front();
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.ring.push_back(lane);
        }
        self.waiting -= 1;
        self.under_way += 1;
        sender
    }
}

impl Place {
    /// What was sent then has ended, with an answer or without.
    pub fn ended(&self, sent: Instant, now: Instant) {
        let Some((hall, slow)) = self.0.as_ref().and_then(|hall| Some((hall, hall.slow?))) else { return };
        let mut state = hall.lock();
        if now.saturating_duration_since(sent) > slow {
            if state.shrunk.is_none_or(|at| sent >= at) {
                state.most = state.most.saturating_sub((state.most / 5).max(1)).max(1);
                (state.shrunk, state.quick) = (Some(now), 0);
            }
            return;
        }
        state.quick += 1;
        if state.quick >= state.most && state.most < hall.max {
            state.most += 1;
            state.quick = 0;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(hall) = self.0.take() {
            hall.lock().under_way -= 1;
            hall.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn places_that_nobody_waits_for_any_more_are_not_lost() {
        let places = Places::new(1, None);
        let (held, _) = places.enter(&None, later(1_000)).await.expect("a place");
        for _ in 0..5 {
            assert!(places.enter(&None, later(2)).await.is_none());
        }
        drop(held);
        for _ in 0..3 {
            assert!(places.enter(&None, later(1_000)).await.is_some());
        }
        assert_eq!(places.0.lock().under_way, 0);
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let places = Places::new(1, None);
        let _held = places.enter(&None, later(1_000)).await.expect("a place");
        let _waiting: Vec<_> = (0..WAITING_MAX).map(|_| places.0.lock().queue(&None).expect("it waits")).collect();
        assert!(places.enter(&Some("other".into()), later(60_000)).await.is_none(), "at once");
    }

    #[tokio::test]
    async fn slow_answers_take_places_away_down_to_one_and_quick_ones_give_them_back() {
        let ms = Duration::from_millis;
        let places = Places::new(20, Some(ms(100)));
        let (place, _) = places.enter(&None, later(1_000)).await.expect("a place");
        let start = Instant::now();
        place.ended(start, start + ms(150));
        place.ended(start, start + ms(160));
        assert_eq!(places.most(), 16, "once for what was sent together");
        let mut now = start + ms(200);
        for _ in 0..40 {
            place.ended(now, now + ms(150));
            now += ms(200);
        }
        assert_eq!(places.most(), 1);
        (0..400).for_each(|_| place.ended(now, now + ms(50)));
        assert_eq!(places.most(), 20);
    }
}
