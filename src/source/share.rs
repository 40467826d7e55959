//! Calls that callers share: lookups by key gather into the source's batches, and equal calls join the one under way.
//!
//! Only of sources that are asked in the gateway's own name (`authority: gateway`): of a caller, nothing goes out but the ids
//! of its request and trace, which are then the first one's. Calls are compared whole, and the templates by identity, so that
//! requests of two snapshots never meet. Nothing is kept: what has ended is forgotten before it is told.

mod apart;
mod flight;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connector::{Connector, today};
use super::{CallContext, Fetch, Fetched, PageAt, SourceError};
use crate::base::pointer::Pointer;
use crate::model::binding::connection::Connection;
use crate::model::binding::format::{Authority, Protocol};
use crate::model::binding::request::CallTemplate;
use apart::Apart;
use flight::{Boarded, Flight, Seat};

/// Stands for the several that a gathered call is of.
const SEVERAL: usize = 0;

/// How a call may be shared.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'c> {
    /// That of the call.
    pub template: &'c Arc<CallTemplate>,
    /// What keys of the same endpoint are asked with together.
    pub batch: Option<&'c Arc<CallTemplate>>,
    /// As in the call, to be kept.
    pub inputs: &'c Arc<[(Arc<str>, String)]>,
    /// As in the call, to be kept.
    pub wanted: &'c Arc<[Pointer]>,
    /// The request: its own calls do not wait for one another. Never 0.
    pub asker: usize,
}

/// What a call had to do with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Its keys went out with others'.
    Gathered,
    /// It was the same as another's, or another's the same as it.
    Joined,
    /// Its keys went out with others', and when that came to nothing by themselves.
    Apart,
}

impl Together {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gathered => "gathered",
            Self::Joined => "joined",
            Self::Apart => "apart",
        }
    }
}

/// Of one connection: what is under way, or about to be, that others may share.
#[derive(Debug)]
pub(crate) struct Sharing {
    /// A batch's answer tells what is whose.
    gathers: bool,
    /// The binding says `shares_calls`.
    joins: bool,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// By what keys are asked with.
    lanes: HashMap<Call, Lane>,
    /// Which equal ones may join.
    flights: HashMap<Call, Arc<Flight>>,
    /// Keys that do not gather: of batches that came to nothing, be it for the sake of one of them.
    apart: Apart<CallTemplate>,
}

/// Everything that decides what goes out; of a lane, without the keys.
#[derive(Debug, Clone)]
struct Call {
    template: Arc<CallTemplate>,
    keys: Box<[Arc<str>]>,
    inputs: Arc<[(Arc<str>, String)]>,
    wanted: Arc<[Pointer]>,
    page: Option<PageAt>,
    /// The date may be in a request; of a lane, it is that on which its keys go out.
    day: i64,
}

/// Lookups that differ in their keys alone.
#[derive(Debug, Default)]
struct Lane {
    /// Whose calls are under way, once for each.
    under_way: Vec<usize>,
    gathering: Option<Gathering>,
}

/// Keys that have not gone out yet.
#[derive(Debug)]
struct Gathering {
    flight: Arc<Flight>,
    /// What a single key is asked with.
    one: Arc<CallTemplate>,
    keys: Vec<Arc<str>>,
    index: HashMap<Arc<str>, u32>,
}

/// What becomes of a call.
enum Turn<'c> {
    /// It is made by who asks.
    Own(Option<Box<UnderWay<'c>>>),
    /// It is waited for.
    Seat(Seat),
}

/// A call of one's own, beside which others gather.
struct UnderWay<'c> {
    sharing: &'c Sharing,
    lane: Call,
    asker: usize,
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.template, &other.template)
            && self.keys == other.keys
            && self.inputs == other.inputs
            && self.wanted == other.wanted
            && self.page == other.page
            && self.day == other.day
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.template).hash(state);
        self.keys.hash(state);
        self.inputs.hash(state);
        self.page.hash(state);
    }
}

impl Call {
    fn new(fetch: &Fetch<'_>, offer: Offer<'_>) -> Self {
        Self { keys: fetch.keys.into(), page: fetch.page.clone(), day: today().0, ..Self::lane(offer.template, offer) }
    }

    fn lane(batch: &Arc<CallTemplate>, offer: Offer<'_>) -> Self {
        Self {
            template: Arc::clone(batch),
            keys: Box::default(),
            inputs: Arc::clone(offer.inputs),
            wanted: Arc::clone(offer.wanted),
            page: None,
            day: 0,
        }
    }
}

impl Connector {
    /// As [`Self::fetch`], by a call that others share where that may be: each gets what it would have got alone.
    pub async fn fetch_together(
        self: &Arc<Self>,
        fetch: &Fetch<'_>,
        offer: &Offer<'_>,
    ) -> (Result<Fetched, SourceError>, Option<Together>) {
        let _under_way = match self.turn(fetch, *offer) {
            Turn::Own(under_way) => under_way,
            // Waiting for others' calls takes more room than most calls need.
            Turn::Seat(seat) => return Box::pin(self.seated(seat, fetch)).await,
        };
        (self.asked(fetch).await, None)
    }

    async fn seated(&self, mut seat: Seat, fetch: &Fetch<'_>) -> (Result<Fetched, SourceError>, Option<Together>) {
        if let Some(ended) = seat.wait().await {
            if ended.is_ok() && !seat.is_first() {
                self.tally.shared();
            }
            return (ended, seat.together());
        }
        drop(seat);
        (self.asked(fetch).await, Some(Together::Apart))
    }

    /// Decides at once: what is under way now is what counts.
    fn turn(self: &Arc<Self>, fetch: &Fetch<'_>, offer: Offer<'_>) -> Turn<'_> {
        let Some(sharing) = &self.sharing else { return Turn::Own(None) };
        let batch = offer.batch.filter(|batch| sharing.gathers && gathers(offer.template, batch, fetch));
        let joins = sharing.joins && offer.template.ticket().is_none();
        if batch.is_none() && !joins {
            return Turn::Own(None);
        }
        let patience = self.timeout(fetch.template.timeout());
        let own = joins.then(|| Call::new(fetch, offer));
        let mut table = sharing.table();
        if let Some(flight) = own.as_ref().and_then(|own| table.flights.get(own)) {
            return Turn::Seat(Seat::on(flight, None, false, fetch, patience));
        }
        let Some(batch) = batch.filter(|batch| !table.apart.holds(batch, fetch.keys)) else {
            let Some(own) = own else { return Turn::Own(None) };
            let flight = Flight::of(own, &mut table);
            drop(table);
            return Turn::Seat(self.begin(flight, None, fetch));
        };
        let key = Call::lane(batch, offer);
        let lane = table.lanes.entry(key.clone()).or_default();
        if lane.gathering.as_ref().is_some_and(|gathering| !gathering.takes(fetch.keys, batch.batch_max())) {
            sharing.goes_out(&mut table, &key);
        } else if let Some(gathering) = &mut lane.gathering {
            let places = gathering.add(fetch.keys);
            let seat = Seat::on(&gathering.flight, Some(places), false, fetch, patience);
            if gathering.keys.len() >= batch.batch_max() {
                sharing.goes_out(&mut table, &key);
            }
            return Turn::Seat(seat);
        } else if lane.under_way.iter().all(|asker| *asker == offer.asker) {
            lane.under_way.push(offer.asker);
            let Some(own) = own else {
                return Turn::Own(Some(Box::new(UnderWay { sharing, lane: key, asker: offer.asker })));
            };
            let flight = Flight::of(own, &mut table);
            drop(table);
            return Turn::Seat(self.begin(flight, Some((key, offer.asker)), fetch));
        }
        let mut gathering = Gathering {
            flight: Arc::new(Flight::default()),
            one: Arc::clone(offer.template),
            keys: Vec::with_capacity(fetch.keys.len()),
            index: HashMap::new(),
        };
        let (places, flight) = (gathering.add(fetch.keys), Arc::clone(&gathering.flight));
        table.lanes.entry(key.clone()).or_default().gathering = Some(gathering);
        drop(table);
        let mut seat = self.begin(flight, Some((key, SEVERAL)), fetch);
        seat.places = Some(places);
        Turn::Seat(seat)
    }

    /// The first seat, and the task that makes the call.
    fn begin(self: &Arc<Self>, flight: Arc<Flight>, lane: Option<(Call, usize)>, fetch: &Fetch<'_>) -> Seat {
        let context = CallContext { waiters: Some(Arc::clone(&flight.waiters)), ..fetch.context.clone() };
        let seat = Seat::on(&flight, None, true, fetch, self.timeout(fetch.template.timeout()));
        tokio::spawn(Boarded::new(Arc::clone(self), flight, lane).fly(context));
        seat
    }
}

/// Whether these keys can go out with others'. Those that fill more than half of a batch leave little room, and gain little.
/// Tickets are one asker's, and pages may end before all keys are answered.
fn gathers(alone: &CallTemplate, batch: &CallTemplate, fetch: &Fetch<'_>) -> bool {
    let fits = fetch.keys.len().saturating_mul(2) <= batch.batch_max();
    let at_once = |template: &CallTemplate| template.page().is_none() && template.ticket().is_none();
    fits && !fetch.keys.is_empty() && fetch.page.is_none() && at_once(alone) && at_once(batch)
}

impl Sharing {
    /// None: nothing of the connection is shared.
    pub fn of(connection: &Connection) -> Option<Self> {
        let own_name = connection.authority == Authority::Gateway && !connection.delegates();
        // What the gateway's own records are asked for depends on the request.
        if !own_name || connection.protocol == Protocol::Audit {
            return None;
        }
        let (gathers, joins) = (connection.masked.is_none(), connection.shares_calls);
        (gathers || joins).then(|| Self { gathers, joins, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of a lane that have gathered go out.
    fn goes_out(&self, table: &mut Table, key: &Call) {
        let Some(lane) = table.lanes.get_mut(key) else { return };
        let Some(Gathering { flight, one, keys, .. }) = lane.gathering.take() else { return };
        lane.under_way.push(SEVERAL);
        let template = if keys.len() == 1 { &one } else { &key.template };
        let day = if self.joins { today().0 } else { 0 };
        let call = Call { template: Arc::clone(template), keys: keys.into(), day, ..key.clone() };
        if self.joins && !table.flights.contains_key(&call) {
            table.flights.insert(call.clone(), Arc::clone(&flight));
        }
        // Nobody else sets it: it was taken out of the lane here.
        let _ = flight.call.set(call);
        flight.goes_out.notify_one();
    }

    /// A call of the lane has ended. Where no other is under way, those that gather have nothing to wait for.
    fn ended(&self, table: &mut Table, key: &Call, asker: usize) {
        let Some(lane) = table.lanes.get_mut(key) else { return };
        if let Some(at) = lane.under_way.iter().position(|one| *one == asker) {
            lane.under_way.swap_remove(at);
        }
        match (lane.under_way.is_empty(), &lane.gathering) {
            (true, None) => drop(table.lanes.remove(key)),
            (true, Some(_)) => self.goes_out(table, key),
            (false, _) => {}
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.sharing.ended(&mut self.sharing.table(), &self.lane, self.asker);
    }
}

impl Gathering {
    fn takes(&self, keys: &[Arc<str>], max: usize) -> bool {
        let new = keys.iter().filter(|key| !self.index.contains_key(*key)).count();
        self.keys.len().saturating_add(new) <= max
    }

    /// Where each of the keys is.
    fn add(&mut self, keys: &[Arc<str>]) -> Box<[u32]> {
        let place = |key: &Arc<str>| {
            *self.index.entry(Arc::clone(key)).or_insert_with(|| {
                self.keys.push(Arc::clone(key));
                u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
            })
        };
        keys.iter().map(place).collect()
    }
}
