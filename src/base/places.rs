//! Places for what is under way: so many at once, handed out in turn among those who wait.
//!
//! Whoever waits does so in a lane of its own, and lanes are served one after the other: who asks for much waits behind
//! itself, and others do not wait behind it; nor does it hold all places, where a lane may hold only so many: others need not
//! wait until one of its comes free. The waiting room is bounded. Where it is full, the last of the longest lane
//! makes room for who has fewer waiting, so nobody keeps others out by being many. Where it is said what is slow, slow
//! answers take places away, and quick ones give them back one by one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How many may wait for a place, and how many places one lane may hold.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Places of one lane; none: as many as there are.
    pub per_lane_max: Option<usize>,
    pub waiting_max: usize,
    /// Of one lane.
    pub waiting_per_lane_max: usize,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// As many wait as may.
    Full,
    /// As many of the lane wait as may.
    LaneFull,
    /// None came free before the deadline.
    TooLate,
    /// The room was full, and one of a shorter lane came in instead.
    MadeRoom,
}

/// `L` tells lanes apart.
#[derive(Debug)]
pub struct Places<L: Lane>(Arc<Hall<L>>);

/// What tells lanes apart.
pub trait Lane: Eq + Hash + Clone {}

impl<L: Eq + Hash + Clone> Lane for L {}

#[derive(Debug)]
struct Hall<L: Lane> {
    max: usize,
    room: Room,
    /// A longer answer takes places away; none: there are always `max`.
    slow: Option<Duration>,
    state: Mutex<State<L>>,
}

#[derive(Debug)]
struct State<L: Lane> {
    under_way: usize,
    /// Places there are now: 1 to `max`.
    most: usize,
    /// Quick answers since that last changed.
    quick: usize,
    /// When slow answers last took places away: what was sent before says nothing of the places there are since.
    shrunk: Option<Instant>,
    /// Places by lane, where a lane may only hold so many. None is 0.
    held: HashMap<L, usize>,
    waiting: usize,
    /// How many have waited: their numbers.
    number: u64,
    /// None of them is empty.
    lanes: HashMap<L, VecDeque<Waiter<L>>>,
    /// Whose turn is next: each lane once. Where places are free, all of these hold as many as they may.
    ring: VecDeque<L>,
}

#[derive(Debug)]
struct Waiter<L: Lane> {
    number: u64,
    place: oneshot::Sender<Place<L>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place<L: Lane> {
    /// None: it was given back.
    hall: Option<Arc<Hall<L>>>,
    /// Where it counts.
    lane: Option<L>,
}

/// One that waits; it leaves its lane when it is dropped.
struct Waiting<'h, L: Lane> {
    hall: &'h Hall<L>,
    lane: &'h L,
    number: u64,
    place: oneshot::Receiver<Place<L>>,
}

impl<L: Lane> Places<L> {
    pub fn new(max: usize, slow: Option<Duration>, room: Room) -> Self {
        let state = State {
            under_way: 0,
            most: max,
            quick: 0,
            shrunk: None,
            held: HashMap::new(),
            waiting: 0,
            number: 0,
            lanes: HashMap::new(),
            ring: VecDeque::new(),
        };
        Self(Arc::new(Hall { max, room, slow, state: Mutex::new(state) }))
    }

    /// A place, and whether it was waited for, no longer than the deadline.
    pub async fn enter(&self, lane: &L, deadline: Instant) -> Result<(Place<L>, bool), NoPlace> {
        let waiting = {
            let mut state = self.0.lock();
            if state.may_begin(lane, self.0.room) {
                let lane = state.begin(lane, self.0.room);
                return Ok((Place { hall: Some(Arc::clone(&self.0)), lane }, false));
            }
            let (number, place) = state.queue(lane, self.0.room)?;
            Waiting { hall: &self.0, lane, number, place }
        };
        // Nearly all find a place free: what waits has its timer elsewhere.
        Box::pin(waiting.wait(deadline)).await
    }

    /// Why one that comes now would not even wait; none: there is a place, or room to wait for one.
    pub fn turns_away(&self, lane: &L) -> Option<NoPlace> {
        let state = self.0.lock();
        if state.may_begin(lane, self.0.room) {
            return None;
        }
        state.room_for(lane, self.0.room).err()
    }

    /// What was sent then has ended, with an answer or without; what was given up was slow, however soon that was.
    pub fn ended(&self, sent: Instant, now: Instant, given_up: bool) {
        let Some(slow) = self.0.slow else { return };
        let mut state = self.0.lock();
        if given_up || now.saturating_duration_since(sent) > slow {
            if state.shrunk.is_none_or(|at| sent >= at) {
                state.most = state.most.saturating_sub((state.most / 5).max(1)).max(1);
                (state.shrunk, state.quick) = (Some(now), 0);
            }
            return;
        }
        state.quick += 1;
        if state.quick >= state.most && state.most < self.0.max {
            state.most += 1;
            state.quick = 0;
        }
    }

    /// How many are under way, and how many wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.under_way, state.waiting)
    }

    /// How many there are now.
    #[cfg(test)]
    fn most(&self) -> usize {
        self.0.lock().most
    }
}

impl<L: Lane> Waiting<'_, L> {
    async fn wait(mut self, deadline: Instant) -> Result<(Place<L>, bool), NoPlace> {
        match timeout_at(deadline, &mut self.place).await {
            // A place that comes free at the deadline is too late: nothing is begun for nobody.
            Ok(Ok(place)) if Instant::now() < deadline => Ok((place, true)),
            Ok(Err(_)) => Err(NoPlace::MadeRoom),
            _ => Err(NoPlace::TooLate),
        }
    }
}

impl<L: Lane> Hall<L> {
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        // Only ever changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place back and hands on what is free, to whoever's turn it is: nobody comes in between.
    fn hand_on(self: &Arc<Self>, lane: Option<L>) {
        let mut back = Some(lane);
        loop {
            let (waiter, lane) = {
                let mut state = self.lock();
                if let Some(lane) = back.take() {
                    state.end(lane);
                }
                let Some(next) = state.next(self.room) else { return };
                next
            };
            if let Err(mut place) = waiter.place.send(Place { hall: Some(Arc::clone(self)), lane }) {
                // Nobody waits for it any more. (Dropped as it is, it would hand on once more, within this.)
                place.hall = None;
                back = Some(place.lane.take());
            }
        }
    }
}

impl<L: Lane> State<L> {
    /// Whether the lane holds as many as it may.
    fn is_sated(&self, lane: &L, room: Room) -> bool {
        room.per_lane_max.is_some_and(|most| self.held.get(lane).is_some_and(|held| *held >= most))
    }

    /// Whether one of the lane may begin: a place is free, and whoever waits holds as many as they may.
    fn may_begin(&self, lane: &L, room: Room) -> bool {
        self.under_way < self.most && (self.waiting == 0 || room.per_lane_max.is_some()) && !self.is_sated(lane, room)
    }

    /// Takes a place; where it counts.
    fn begin(&mut self, lane: &L, room: Room) -> Option<L> {
        self.under_way += 1;
        room.per_lane_max?;
        *self.held.entry(lane.clone()).or_default() += 1;
        Some(lane.clone())
    }

    /// A place came free that counted there.
    fn end(&mut self, lane: Option<L>) {
        self.under_way -= 1;
        if let Some(lane) = lane
            && let Some(held) = self.held.get_mut(&lane)
        {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&lane);
            }
        }
    }

    /// Whether one more of the lane may wait, and which lane's last one makes room for it.
    fn room_for(&self, lane: &L, room: Room) -> Result<Option<&L>, NoPlace> {
        let own = self.lanes.get(lane).map_or(0, VecDeque::len);
        if own >= room.waiting_per_lane_max {
            return Err(NoPlace::LaneFull);
        }
        if self.waiting < room.waiting_max {
            return Ok(None);
        }
        // As many lanes as who wait: all are of one.
        if self.lanes.len() == self.waiting {
            return Err(NoPlace::Full);
        }
        let longest = self.lanes.iter().max_by_key(|(_, waiting)| waiting.len());
        match longest {
            Some((longest, waiting)) if waiting.len() > own.saturating_add(1) => Ok(Some(longest)),
            _ => Err(NoPlace::Full),
        }
    }

    /// The number of who waits from now on, and where its place comes.
    fn queue(&mut self, lane: &L, room: Room) -> Result<(u64, oneshot::Receiver<Place<L>>), NoPlace> {
        if let Some(longest) = self.room_for(lane, room)?.cloned() {
            // More than one wait there, so the lane stays.
            let last = self.lanes.get_mut(&longest).and_then(VecDeque::pop_back);
            self.waiting -= usize::from(last.is_some());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting += 1;
        self.number += 1;
        let waiter = Waiter { number: self.number, place: sender };
        match self.lanes.get_mut(lane) {
            Some(waiting) => waiting.push_back(waiter),
            None => {
                self.lanes.insert(lane.clone(), VecDeque::from([waiter]));
                self.ring.push_back(lane.clone());
            }
        }
        Ok((self.number, receiver))
    }

    /// Who gets the next free place, which is taken from now on, and where it counts.
    fn next(&mut self, room: Room) -> Option<(Waiter<L>, Option<L>)> {
        if self.under_way >= self.most {
            return None;
        }
        let at = self.ring.iter().position(|lane| !self.is_sated(lane, room))?;
        let lane = self.ring.remove(at)?;
        let waiting = self.lanes.get_mut(&lane)?;
        let waiter = waiting.pop_front()?;
        let is_last = waiting.is_empty();
        self.waiting -= 1;
        let counts = self.begin(&lane, room);
        if is_last {
            self.lanes.remove(&lane);
        } else {
            self.ring.push_back(lane);
        }
        Some((waiter, counts))
    }

    /// Takes who waits no more out of its lane, where it still is there.
    fn leave(&mut self, lane: &L, number: u64) {
        let Some(waiting) = self.lanes.get_mut(lane) else { return };
        // Numbers ascend within a lane.
        let Ok(at) = waiting.binary_search_by_key(&number, |waiter| waiter.number) else { return };
        waiting.remove(at);
        self.waiting -= 1;
        if waiting.is_empty() {
            self.lanes.remove(lane);
            self.ring.retain(|other| other != lane);
        }
    }
}

impl<L: Lane> Drop for Waiting<'_, L> {
    fn drop(&mut self) {
        // A place that is on its way is given back when the receiver is dropped, after this.
        self.hall.lock().leave(self.lane, self.number);
    }
}

impl<L: Lane> Drop for Place<L> {
    fn drop(&mut self) {
        if let Some(hall) = self.hall.take() {
            hall.hand_on(self.lane.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lane = Option<&'static str>;

    const ROOM: Room = Room { per_lane_max: None, waiting_max: 100, waiting_per_lane_max: 100 };

    fn later(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    fn queued(places: &Places<Lane>, lane: Lane) -> Result<(u64, oneshot::Receiver<Place<Lane>>), NoPlace> {
        places.0.lock().queue(&lane, places.0.room)
    }

    #[tokio::test]
    async fn places_that_nobody_waits_for_any_more_are_not_lost() {
        let places = Places::new(1, None, ROOM);
        let (held, _) = places.enter(&None, later(1_000)).await.expect("a place");
        for _ in 0..5 {
            assert_eq!(places.enter(&None, later(2)).await.err(), Some(NoPlace::TooLate));
        }
        assert_eq!(places.counts(), (1, 0), "who gives up waits no more");
        let gone = queued(&places, None).expect("it waits");
        drop(gone);
        drop(held);
        for _ in 0..3 {
            assert!(places.enter(&None::<&str>, later(1_000)).await.is_ok());
        }
        assert_eq!(places.counts(), (0, 0));
    }

    #[tokio::test]
    async fn no_more_wait_than_may_in_all_and_of_one_lane() {
        let places = Places::new(1, None, Room { per_lane_max: None, waiting_max: 5, waiting_per_lane_max: 3 });
        let _held = places.enter(&None, later(1_000)).await.expect("a place");
        let lanes = ["a", "a", "a", "b", "b"];
        let waiting: Vec<_> = lanes.iter().map(|lane| queued(&places, Some(lane)).expect("it waits")).collect();
        assert_eq!(queued(&places, Some("a")).err(), Some(NoPlace::LaneFull));
        assert_eq!(places.turns_away(&Some("a")), Some(NoPlace::LaneFull));
        assert_eq!(queued(&places, Some("b")).err(), Some(NoPlace::Full), "a has no more than it would have");
        assert_eq!(places.turns_away(&Some("b")), Some(NoPlace::Full));
        assert_eq!(places.turns_away(&Some("c")), None);
        drop(waiting);
    }

    #[tokio::test]
    async fn who_has_fewer_waiting_takes_the_room_of_the_last_of_who_has_most() {
        let places = Places::new(1, None, Room { per_lane_max: None, waiting_max: 4, waiting_per_lane_max: 4 });
        let held = places.enter(&None, later(1_000)).await.expect("a place");
        let mut flood: Vec<_> = (0..4).map(|_| queued(&places, Some("many")).expect("it waits").1).collect();
        let (_, mut few) = queued(&places, Some("few")).expect("room is made");
        assert_eq!(places.counts(), (1, 4));
        assert!(matches!(flood[3].try_recv(), Err(oneshot::error::TryRecvError::Closed)), "the last one is sent away");
        drop(held);
        let first = flood[0].try_recv().expect("the longest lane's first was there first");
        drop(first);
        drop(few.try_recv().expect("then the other lane's turn"));
        drop(flood[1].try_recv().expect("and the rest in turn"));
        drop(flood);
        assert_eq!(places.counts(), (0, 0));
    }

    #[tokio::test]
    async fn lanes_are_served_in_turn_also_where_some_leave() {
        let places = Arc::new(Places::new(1, None, ROOM));
        let held = places.enter(&None, later(1_000)).await.expect("a place");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for lane in ["a", "a", "gone", "b"] {
            let (places, order) = (Arc::clone(&places), Arc::clone(&order));
            let task = tokio::spawn(async move {
                let _place = places.enter(&Some(lane), later(5_000)).await.expect("a place");
                order.lock().expect("it").push(lane);
            });
            tokio::task::yield_now().await;
            if lane == "gone" {
                task.abort();
                tokio::task::yield_now().await;
            } else {
                tasks.push(task);
            }
        }
        assert_eq!(places.counts(), (1, 3));
        drop(held);
        for task in tasks {
            task.await.expect("it ends");
        }
        assert_eq!(*order.lock().expect("it"), ["a", "b", "a"]);
        assert_eq!(places.counts(), (0, 0));
        assert!(places.0.lock().lanes.is_empty() && places.0.lock().ring.is_empty());
    }

    #[tokio::test]
    async fn one_lane_never_holds_all_places_and_others_need_not_wait_for_its() {
        let room = Room { per_lane_max: Some(2), ..ROOM };
        let places = Places::new(3, None, room);
        let enter = |lane, ms| {
            let places = &places;
            async move { places.enter(&lane, later(ms)).await.map(|(place, _)| place) }
        };
        let mut held = [enter(Some("many"), 1).await.expect("a place"), enter(Some("many"), 1).await.expect("a place")];
        assert_eq!(enter(Some("many"), 5).await.err(), Some(NoPlace::TooLate), "one is free, and not for it");
        let (_, mut waits) = queued(&places, Some("many")).expect("it waits");
        let other = enter(Some("other"), 1).await.expect("it need not wait, though others do");
        assert_eq!(enter(Some("third"), 5).await.err(), Some(NoPlace::TooLate), "all are taken");
        drop(other);
        assert!(waits.try_recv().is_err(), "it holds as many as it may");
        let third = enter(Some("third"), 1).await.expect("so others go first");
        drop(std::mem::replace(&mut held[0], third));
        drop(waits.try_recv().expect("one of its own came free"));
        drop(held);
        assert_eq!(places.counts(), (0, 0));
        let state = places.0.lock();
        assert!(state.held.is_empty() && state.lanes.is_empty() && state.ring.is_empty());
    }

    #[tokio::test]
    async fn slow_answers_take_places_away_down_to_one_and_quick_ones_give_them_back() {
        let ms = Duration::from_millis;
        let places = Places::<Option<&str>>::new(20, Some(ms(100)), ROOM);
        let start = Instant::now();
        places.ended(start, start + ms(150), false);
        places.ended(start, start + ms(160), false);
        assert_eq!(places.most(), 16, "once for what was sent together");
        let mut now = start + ms(200);
        for _ in 0..40 {
            places.ended(now, now + ms(150), false);
            now += ms(200);
        }
        assert_eq!(places.most(), 1);
        (0..400).for_each(|_| places.ended(now, now + ms(50), false));
        assert_eq!(places.most(), 20);
        now += ms(200);
        places.ended(now, now + ms(50), true);
        assert_eq!(places.most(), 16, "given up is slow");
    }
}
