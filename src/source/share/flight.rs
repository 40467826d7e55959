//! A call that several wait for: made by a task of its own, for as long as anybody waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::apart::APART;
use super::{Call, Table, Together};
use crate::base::code::ErrorCode;
use crate::source::connector::Connector;
use crate::source::failure::Failure;
use crate::source::{CallContext, Fetch, Fetched, Record, Remark, SourceError, Waiters};

/// How long lookups gather. Timers tick by the millisecond: it is over within two.
const GATHERING: Duration = Duration::from_millis(1);
type Ended = Arc<Result<Fetched, Failure>>;

/// Longer than any request: who waits has a deadline, and a call that nobody waits for ends.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A call that several may wait for.
#[derive(Debug)]
pub struct Flight {
    ended: watch::Sender<Option<Ended>>,
    /// What it asks; from when it goes out.
    pub call: OnceLock<Call>,
    pub goes_out: Notify,
    callers: AtomicU32,
    requests: AtomicU32,
    pub waiters: Arc<Waiters>,
}

/// A place among those who wait for a call.
pub struct Seat {
    flight: Arc<Flight>,
    told: watch::Receiver<Option<Ended>>,
    deadline: Instant,
    /// How long it would have waited alone, at most.
    alone_until: Instant,
    /// Alone, too, its keys would have been read from the records.
    reads_keys: bool,
    /// Where each of its keys is among the call's; none: the call is its own, or equal.
    pub places: Option<Box<[u32]>>,
    first: bool,
}

/// A flight's place in the table, as long as its task runs.
pub struct Boarded {
    connector: Arc<Connector>,
    flight: Arc<Flight>,
    /// With who has asked.
    lane: Option<(Call, usize)>,
    ended: Option<Result<Fetched, Failure>>,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            ended: watch::Sender::new(None),
            call: OnceLock::new(),
            goes_out: Notify::new(),
            callers: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            waiters: Arc::default(),
        }
    }
}

impl Flight {
    /// A call that goes out at once, and that others may join from now on.
    pub fn of(call: Call, table: &mut Table) -> Arc<Self> {
        let flight = Arc::new(Self { call: call.clone().into(), ..Self::default() });
        table.flights.insert(call, Arc::clone(&flight));
        flight
    }

    fn is_shared(&self) -> bool {
        self.callers.load(Ordering::Relaxed) > 1
    }
}

impl Boarded {
    pub fn new(connector: Arc<Connector>, flight: Arc<Flight>, lane: Option<(Call, usize)>) -> Self {
        Self { connector, flight, lane, ended: None }
    }

    pub async fn fly(mut self, context: CallContext) {
        if self.flight.call.get().is_none() {
            tokio::select! {
                () = self.flight.goes_out.notified() => {}
                () = sleep(GATHERING) => self.goes_out(),
            }
        }
        let flight = Arc::clone(&self.flight);
        let Some(call) = flight.call.get() else { return };
        let fetch = Fetch {
            template: &call.template,
            keys: &call.keys,
            inputs: &call.inputs,
            wanted: &call.wanted,
            deadline: Instant::now() + FAR,
            context: &context,
            page: call.page.clone(),
        };
        let connector = Arc::clone(&self.connector);
        let mut ended = connector.fetch_until(&fetch, &flight.requests, self.given_up()).await;
        if let Some(Ok(fetched)) = &mut ended {
            // Each finds its own by their key.
            fetched.records.sort_by_key(|record| record.key);
        }
        let was_sent = flight.requests.load(Ordering::Relaxed) > 0;
        if was_sent && flight.is_shared() && ended.as_ref().is_some_and(|ended| came_to_nothing(ended, call)) {
            self.keeps_apart(call);
        }
        self.ended = ended;
    }

    /// It may have been for the sake of one key, which the next batch may hold again.
    fn keeps_apart(&self, call: &Call) {
        let Some(sharing) = &self.connector.sharing else { return };
        sharing.table().apart.keep(&call.template, &call.keys, Instant::now());
        let (source, seconds) = (self.connector.connection().name(), APART.as_secs());
        tracing::debug!(%source, keys = call.keys.len(), "a gathered call came to nothing: its keys go out by themselves for {seconds} s");
    }

    /// What has gathered until now.
    fn goes_out(&self) {
        let Some((sharing, (key, _))) = self.connector.sharing.as_ref().zip(self.lane.as_ref()) else { return };
        let mut table = sharing.table();
        let gathering = table.lanes.get(key).and_then(|lane| lane.gathering.as_ref());
        if gathering.is_some_and(|gathering| Arc::ptr_eq(&gathering.flight, &self.flight)) {
            sharing.goes_out(&mut table, key);
        }
    }

    /// Returns when nobody waits any more, and nobody can begin to; tells whether one waited until its deadline.
    async fn given_up(&self) -> bool {
        loop {
            self.flight.ended.closed().await;
            let Some(sharing) = &self.connector.sharing else { return false };
            let mut table = sharing.table();
            // Others take their seats under the same lock.
            if self.flight.ended.receiver_count() == 0 {
                self.forget(&mut table);
                return self.flight.waiters.late.load(Ordering::Relaxed);
            }
        }
    }

    fn forget(&self, table: &mut Table) {
        let Some(call) = self.flight.call.get() else { return };
        if table.flights.get(call).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            table.flights.remove(call);
        }
    }
}

/// However the task ends: nobody waits for it in vain.
impl Drop for Boarded {
    fn drop(&mut self) {
        if let Some(sharing) = &self.connector.sharing {
            self.goes_out();
            let mut table = sharing.table();
            self.forget(&mut table);
            if let Some((key, asker)) = &self.lane {
                sharing.ended(&mut table, key, *asker);
            }
        }
        let broken = || Err(Failure::new(ErrorCode::Internal, "the call that was waited for was not made to its end"));
        self.flight.ended.send_replace(Some(Arc::new(self.ended.take().unwrap_or_else(broken))));
    }
}

impl Seat {
    /// `patience`: how long the call may take.
    pub fn on(
        flight: &Arc<Flight>,
        places: Option<Box<[u32]>>,
        first: bool,
        fetch: &Fetch<'_>,
        patience: Duration,
    ) -> Self {
        flight.callers.fetch_add(1, Ordering::Relaxed);
        flight.waiters.add(fetch.deadline);
        Self {
            told: flight.ended.subscribe(),
            flight: Arc::clone(flight),
            deadline: fetch.deadline,
            alone_until: fetch.deadline.min(Instant::now() + patience),
            reads_keys: fetch.template.many,
            places,
            first,
        }
    }

    /// Whether the call is its own, whoever else is answered by it.
    pub fn is_first(&self) -> bool {
        self.first
    }

    pub fn together(&self) -> Option<Together> {
        let how = if self.places.is_some() { Together::Gathered } else { Together::Joined };
        self.flight.is_shared().then_some(how)
    }

    /// What it gets of the call's answer; none: that must be asked without the others.
    pub async fn wait(&mut self) -> Option<Result<Fetched, SourceError>> {
        let told = timeout_at(self.deadline, self.told.wait_for(Option::is_some)).await;
        let Ok(ended) = told.map(|told| told.ok().and_then(|ended| ended.clone())) else {
            self.flight.waiters.late.store(true, Ordering::Relaxed);
            return Some(Err(self.error(self.too_late())));
        };
        let ended = ended?;
        let beside_others = self.places.is_some() && self.flight.is_shared();
        match (&*ended, &self.places) {
            (Err(failure), _) if beside_others && self.is_of_a_key(failure) => None,
            (Err(failure), _) if self.is_for_the_firsts_sake(failure.code) => None,
            (Err(failure), _) => Some(Err(self.error(failure.clone()))),
            (Ok(fetched), Some(places)) if beside_others && self.is_in_doubt(fetched, places) => None,
            (Ok(fetched), Some(places)) => Some(Ok(self.counted(own(fetched, places)))),
            (Ok(fetched), None) => Some(Ok(self.counted(fetched.clone()))),
        }
    }

    /// Whether it may be for the sake of one key that the call failed: then the others' may be answered without it. Where nothing
    /// was sent, it is what could not be written into the request.
    fn is_of_a_key(&self, failure: &Failure) -> bool {
        let was_sent = self.flight.requests.load(Ordering::Relaxed) > 0;
        let of_the_source = matches!(failure.code, ErrorCode::SourceError | ErrorCode::SourceBadAnswer);
        is_of_a_key(failure) && (was_sent || !of_the_source)
    }

    /// Whether it got no turn because it stood where the first one stood, or waited no longer than those before it. Where it
    /// has waited as long as it would have alone, and where the source was asked and says that it is busy, it is not.
    fn is_for_the_firsts_sake(&self, code: ErrorCode) -> bool {
        let was_sent = self.flight.requests.load(Ordering::Relaxed) > 0;
        code == ErrorCode::SourceBusy && !was_sent && !self.first && Instant::now() < self.alone_until
    }

    /// Whether an answer says something that may be for the sake of others' keys; or does not tell of one of these what it would
    /// have told of it alone.
    fn is_in_doubt(&self, fetched: &Fetched, places: &[u32]) -> bool {
        let Some(call) = self.flight.call.get() else { return true };
        let of_all = fetched.remarks.iter().any(|remark| remark.key.is_none());
        if fetched.next.is_some()
            || of_all
            || all_refused(fetched, call)
            || places.iter().any(|key| fetched.failed.contains(key))
        {
            return true;
        }
        // Alone it would have been asked, or read, no other way.
        if call.keys.len() == 1 || self.reads_keys {
            return false;
        }
        let has_record = |place: u32| fetched.records.binary_search_by_key(&place, |record| record.key).is_ok();
        let mut without = places.iter().filter(|place| !has_record(**place)).peekable();
        if without.peek().is_none() {
            return false;
        }
        // Alone, the one record of a key is that key's, however the source writes it.
        let separators = call.template.separators();
        without.any(|place| {
            let Some(key) = usize::try_from(*place).ok().and_then(|place| call.keys.get(place)) else { return true };
            fetched.strangers
                || separators.iter().any(|separator| key.contains(separator))
                || call.keys.iter().any(|other| other != key && alike(other, key))
        })
    }

    fn too_late(&self) -> Failure {
        self.flight.waiters.too_late(self.flight.requests.load(Ordering::Relaxed))
    }

    /// The requests sent are the first one's.
    fn requests(&self) -> u32 {
        if self.first { self.flight.requests.load(Ordering::Relaxed) } else { 0 }
    }

    fn counted(&self, fetched: Fetched) -> Fetched {
        Fetched { calls: self.requests(), ..fetched }
    }

    fn error(&self, Failure { code, detail, down, said, not_now: _ }: Failure) -> SourceError {
        SourceError { code, detail, calls: self.requests(), down, said }
    }
}

fn is_of_a_key(failure: &Failure) -> bool {
    use ErrorCode::{SourceBusy, SourceSuspended, SourceTimeout, SourceUnreachable};
    !failure.not_now && !matches!(failure.code, SourceUnreachable | SourceTimeout | SourceBusy | SourceSuspended)
}

fn all_refused(fetched: &Fetched, call: &Call) -> bool {
    !fetched.refused.is_empty() && fetched.refused.len() >= call.keys.len()
}

/// Whether a call brought none of its several keys anything, be it for the sake of one. That a source is not reached, not asked, or
/// down is not: alone, its keys would fare no better, and it would be asked more often.
fn came_to_nothing(ended: &Result<Fetched, Failure>, call: &Call) -> bool {
    call.keys.len() > 1
        && match ended {
            Ok(fetched) => all_refused(fetched, call),
            Err(failure) if failure.code == ErrorCode::SourceTimeout => failure.down,
            Err(failure) => is_of_a_key(failure) && !failure.down,
        }
}

/// Whether a source may take two keys for one: they differ in case, blanks or leading zeros alone.
fn alike(one: &str, other: &str) -> bool {
    let bare = |key: &str| key.trim().trim_start_matches('0').to_lowercase();
    bare(one) == bare(other)
}

/// The part of an answer that is of the keys at these places. Its records stand in the order of their keys.
fn own(fetched: &Fetched, places: &[u32]) -> Fetched {
    let mut own = Fetched { next: fetched.next.clone(), total: fetched.total, ..Fetched::default() };
    for (place, key) in places.iter().zip(0_u32..) {
        let from = fetched.records.partition_point(|record| record.key < *place);
        let records = fetched.records.iter().skip(from).take_while(|record| record.key == *place);
        own.records.extend(records.map(|record| Record { key, json: record.json.clone() }));
        own.failed.extend(fetched.failed.contains(place).then_some(key));
        own.refused.extend(fetched.refused.contains(place).then_some(key));
        let remarks = fetched.remarks.iter().filter(|remark| remark.key == Some(*place)).cloned();
        own.remarks.extend(remarks.map(|remark| Remark { key: Some(key), ..remark }));
    }
    own.remarks.extend(fetched.remarks.iter().filter(|remark| remark.key.is_none()).cloned());
    own.bytes = own.records.iter().map(|record| record.json.raw().len()).sum();
    own
}
