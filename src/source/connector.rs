//! A connection with its client, pool and guards: the one door to a source.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::exchange::Exchanges;
use super::failure::Failure;
use super::guard::breaker::BreakerState;
use super::guard::rate::Known;
use super::guard::{Guards, Kept, Permit};
use super::made::{Made, Ready};
use super::reach::{Reach, Target};
use super::records::{KeyIndex, PageEnd, Reader};
use super::share::Sharing;
use super::sql::Pool;
use super::tally::{Counted, Tally};
use super::walk::Walk;
use super::wire::Wire;
use super::{AccessLog, Caller, Fetch, Fetched, PageAt, SourceError, audit, graphql, rest, sql, ticket};
use crate::base::code::ErrorCode;
use crate::egress::Http;
use crate::model::binding::connection::sign::{Secret, Session};
use crate::model::binding::connection::{Connection, TlsFiles};
use crate::model::binding::format::Protocol;
use crate::model::binding::request::Ask;
use crate::model::binding::request::template::Values;
use crate::model::config::egress::EgressConfig;

/// Pages of one read together are at most this many times `answer_bytes_max`.
const READ_FACTOR: usize = 8;

/// What all connectors share, as a handle: HTTP clients (one for each TLS setting, with its pool of connections) and, by source
/// and instance or by platform, the guards, which a reload does not reset while limits stay the same, and what is kept,
/// counted and known of rates and pauses, which no reload resets.
#[derive(Debug, Default, Clone)]
pub struct Shared(Arc<Among>);

#[derive(Debug, Default)]
struct Among {
    egress: Arc<EgressConfig>,
    /// As long as a connector has them.
    clients: Mutex<HashMap<TlsFiles, Weak<Http>>>,
    guards: Mutex<HashMap<String, Arc<Guards>>>,
    known: Mutex<HashMap<String, Arc<Known>>>,
    kept: Mutex<HashMap<String, Arc<Kept>>>,
    tallies: Mutex<HashMap<String, Arc<Tally>>>,
}

impl Shared {
    /// Within the operator's bounds.
    pub fn new(egress: EgressConfig) -> Self {
        Self(Arc::new(Among { egress: Arc::new(egress), ..Among::default() }))
    }

    /// Lets go of what no connector has any more.
    pub fn forget_unused(&self) {
        let mut guards = self.0.guards.lock().unwrap_or_else(PoisonError::into_inner);
        guards.retain(|_, guards| Arc::strong_count(guards) > 1);
        drop(guards);
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| Arc::strong_count(known) > 1);
        drop(known);
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| Arc::strong_count(kept) > 1);
        drop(kept);
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
    }

    /// A client for the source's own hosts, what keeps its connections, and where they lead.
    fn reach(&self, connection: &Connection) -> Result<Reach, String> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let http = match clients.get(&connection.tls).and_then(Weak::upgrade) {
            Some(http) => http,
            None => {
                let http = Arc::new(Http::new(&connection.tls, &self.0.egress)?);
                clients.retain(|_, known| known.strong_count() > 0);
                clients.insert(connection.tls.clone(), Arc::downgrade(&http));
                http
            }
        };
        drop(clients);
        let session = connection.sign.as_ref().and_then(|signing| signing.session.as_ref());
        let own = std::iter::once(&connection.base_url).chain(&connection.standbys).map(Secret::reveal);
        let client = http.to(own.chain(session.map(Session::url)))?;
        Reach::new(connection, client, http)
    }

    pub(crate) fn way(&self, connection: &Connection) -> Result<Way, String> {
        if !connection.is_at_its_platform() {
            return Err("the address is not at the platform's host".to_owned());
        }
        Ok(match connection.protocol {
            Protocol::Sql => {
                let pool = |url| Pool::new(connection, url, &self.0.egress);
                let standbys: Result<Box<[Pool]>, String> = connection.standbys.iter().map(pool).collect();
                Way::Sql(pool(&connection.base_url)?, standbys?)
            }
            Protocol::Audit => Way::Audit(None),
            Protocol::Rest | Protocol::Soap | Protocol::Graphql => Way::Http(Box::new(self.reach(connection)?)),
        })
    }

    /// Of the source's own address, or of one of its standbys; a platform has one set for all that is asked there.
    fn guards(&self, connection: &Connection, standby: Option<usize>) -> Arc<Guards> {
        let limits = &connection.limits;
        let place = standby.map(|standby| format!(" standby {standby}")).unwrap_or_default();
        let name = match &connection.platform {
            Some(ground) => format!("platform {}", ground.name),
            None => format!("{}{place}", connection.name()),
        };
        let in_flight = match connection.protocol {
            // A place is a connection.
            Protocol::Sql => limits.in_flight_max.min(sql::CONNECTIONS_MAX),
            _ => limits.in_flight_max,
        };
        let (rate, breaker) = (limits.per_second_max, &limits.breaker);
        let key = format!("{name} {in_flight} {rate:?} {breaker:?} {:?}", limits.slow_ms);
        let mut guards = self.0.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = Arc::clone(known.entry(name.clone()).or_default());
            Guards::new(name, limits, in_flight, known)
        };
        Arc::clone(guards.entry(key).or_insert_with(new))
    }

    /// What signs the calls of all sources of a platform is fetched once.
    fn kept(&self, connection: &Connection) -> Arc<Kept> {
        let shared = connection.platform.as_ref().filter(|ground| ground.signs);
        let name = shared.map_or_else(|| connection.name(), |ground| format!("platform {}", ground.name));
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(name).or_default())
    }

    fn tally(&self, connection: &Connection) -> Arc<Tally> {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tallies.entry(connection.name()).or_default())
    }
}

/// A connection with its client and guards. Cheap to share behind an `Arc`; calls run side by side.
#[derive(Debug)]
pub struct Connector {
    /// As it was when the files were loaded.
    connection: Connection,
    guards: Arc<Guards>,
    kept: Arc<Kept>,
    /// One that does not answer does not take the places of calls to another.
    standby_guards: Box<[Arc<Guards>]>,
    pub(super) tally: Arc<Tally>,
    made: Made,
    exchanges: Option<Arc<Exchanges>>,
    /// What callers share of its calls.
    pub(super) sharing: Option<Sharing>,
}

#[derive(Debug)]
pub(crate) enum Way {
    Http(Box<Reach>),
    /// And those of the standbys.
    Sql(Pool, Box<[Pool]>),
    Audit(Option<Arc<AccessLog>>),
}

impl Connector {
    /// Opens no connection yet. The error says what in the settings is of no use.
    pub fn new(connection: Connection, shared: &Shared) -> Result<Self, String> {
        let made = Made::new(&connection, shared)?;
        let tally = shared.tally(&connection);
        let guards = shared.guards(&connection, None);
        let kept = shared.kept(&connection);
        // All of a platform is one system.
        let standbys = 0..if connection.platform.is_some() { 0 } else { connection.standbys.len() };
        let standby_guards = standbys.map(|at| shared.guards(&connection, Some(at))).collect();
        let sharing = Sharing::of(&connection);
        Ok(Self { connection, guards, kept, standby_guards, tally, made, exchanges: None, sharing })
    }

    /// With the gateway's own records, where these are what the source answers from.
    pub fn reading(mut self, log: &Arc<AccessLog>) -> Self {
        if self.connection.protocol == Protocol::Audit {
            self.made = Made::of(&self.connection, Way::Audit(Some(Arc::clone(log))));
        }
        self
    }

    /// Keeping what goes over the wire, values and all: for who tries a binding by hand.
    pub fn watched(self, exchanges: &Arc<Exchanges>) -> Self {
        Self { exchanges: Some(Arc::clone(exchanges)), ..self }
    }

    /// As it was loaded: what its files of secrets hold by now may be something else.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the source may be asked in this caller's name: where calls carry a token, one of the caller's roles has to be
    /// a role there.
    pub fn speaks_for(&self, caller: Option<&Caller>) -> bool {
        self.connection.delegation().is_none_or(|delegation| {
            let known =
                |caller: &Caller| !caller.principal.is_empty() && !delegation.roles_there(&caller.roles).is_empty();
            caller.is_some_and(known)
        })
    }

    /// Deadline of one call: the endpoint's, else the source's.
    pub fn timeout(&self, endpoint: Option<Duration>) -> Duration {
        endpoint.unwrap_or(Duration::from_millis(self.connection.limits.timeout_ms))
    }

    /// What was counted since the start.
    pub fn counted(&self) -> Counted {
        self.tally.counted()
    }

    /// The circuit breaker of its own address (0), then those of its standbys (from 1); none where they are switched off.
    pub fn breakers(&self) -> Vec<(usize, BreakerState)> {
        let all = std::iter::once(&self.guards).chain(&self.standby_guards).enumerate();
        all.filter_map(|(at, guards)| Some((at, guards.breaker()?))).collect()
    }

    /// Reads records. The error's code is one of the SOURCE_* codes, or INPUT_MISSING or VALUE_INVALID where a
    /// value the request needs is not there or cannot be sent.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, SourceError> {
        self.asked(&fetch).await
    }

    pub(super) async fn asked(&self, fetch: &Fetch<'_>) -> Result<Fetched, SourceError> {
        let calls = AtomicU32::new(0);
        let counting = self.tally.begin();
        let read = self.read(fetch, &calls).await;
        counting.end(read.as_ref().err().map(|failure| failure.code), calls.load(Ordering::Relaxed));
        match read {
            Ok(fetched) => Ok(Fetched { calls: calls.into_inner(), ..fetched }),
            Err(Failure { code, detail, down, said, not_now: _ }) => {
                Err(SourceError { code, detail, calls: calls.into_inner(), down, said })
            }
        }
    }

    /// A read for several, until `given_up` says that nobody waits any more and whether that was for a deadline's sake; none
    /// where it was not.
    pub(super) async fn fetch_until(
        &self,
        fetch: &Fetch<'_>,
        calls: &AtomicU32,
        given_up: impl Future<Output = bool>,
    ) -> Option<Result<Fetched, Failure>> {
        let counting = self.tally.begin();
        let waiters = fetch.context.waiters.as_deref();
        // Why is seen while the call still waits for it.
        let given_up = async {
            let late = given_up.await;
            waiters.filter(|_| late).map(|waiters| waiters.too_late(calls.load(Ordering::Relaxed)))
        };
        let read = tokio::select! {
            biased;
            late = given_up => match late {
                None => return None,
                Some(late) => Err(late),
            },
            read = self.read(fetch, calls) => read,
        };
        counting.end(read.as_ref().err().map(|failure| failure.code), calls.load(Ordering::Relaxed));
        Some(read)
    }

    async fn read(&self, fetch: &Fetch<'_>, calls: &AtomicU32) -> Result<Fetched, Failure> {
        let template = fetch.template;
        if fetch.keys.len() > template.batch_max().max(1) {
            return Err(Failure::new(ErrorCode::Internal, "more keys than one call takes (batch_max)"));
        }
        if template.many && fetch.keys.is_empty() {
            return Ok(Fetched::default());
        }
        let made = self.made.now(&self.connection, &self.kept.secrets)?;
        let (keys, written) = (KeyIndex::new(fetch.keys), today());
        let deadline = self.deadline(fetch);
        let call = Call { connector: self, made: &made, fetch, keys: &keys, today: &written.1, deadline, calls };
        let mut fetched = Fetched::default();
        if template.page().is_some() || template.ticket().is_some() {
            Box::pin(call.several(&mut fetched)).await?;
        } else {
            call.page(fetch.page.as_ref().unwrap_or(&PageAt::First), &mut fetched).await?;
        }
        Ok(fetched)
    }

    /// Of a request that goes out now.
    fn deadline(&self, fetch: &Fetch<'_>) -> Instant {
        fetch.deadline.min(Instant::now() + self.timeout(fetch.template.timeout()))
    }
}

/// One page's call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub connector: &'a Connector,
    made: &'a Ready,
    pub fetch: &'a Fetch<'a>,
    pub keys: &'a KeyIndex<'a>,
    today: &'a str,
    pub deadline: Instant,
    calls: &'a AtomicU32,
}

impl<'a> Call<'a> {
    /// What may take several requests: an answer in pages, or to a ticket.
    async fn several(&self, out: &mut Fetched) -> Result<(), Failure> {
        let (fetch, template) = (self.fetch, self.fetch.template);
        if let (Some(ticket), Ask::Http(ask)) = (template.ticket(), &template.ask) {
            return Box::pin(ticket::read(self, ask, ticket, out)).await;
        }
        let mut at = fetch.page.clone().unwrap_or(PageAt::First);
        let mut walk = Walk::default();
        let mut deadline = self.deadline;
        loop {
            let call = Call { deadline, ..*self };
            let end = call.page(&at, out).await?;
            let Some(page) = template.page() else { return Ok(()) };
            let Some(next) = walk.next(page, &at, end)? else { return Ok(()) };
            if fetch.page.is_some() || walk.pages >= page.pages_max {
                out.next = Some(next);
                return Ok(());
            }
            if out.bytes > self.connector.connection.limits.answer_bytes_max.saturating_mul(READ_FACTOR) {
                return Err(Failure::bad("the pages of the answer are together too large (limits.answer_bytes_max)"));
            }
            at = next;
            deadline = self.connector.deadline(fetch);
        }
    }

    // A request holds as many of these as it makes calls at once: what is not REST stands elsewhere.
    async fn page(&self, at: &PageAt, out: &mut Fetched) -> Result<PageEnd, Failure> {
        match (&self.fetch.template.ask, &self.made.way) {
            (Ask::Http(ask), Way::Http(_)) => rest::page(self, ask, at, out).await,
            (Ask::Graphql(ask), Way::Http(_)) => Box::pin(graphql::page(self, ask, at, out)).await,
            (Ask::Sql(ask), Way::Sql(own, standbys)) => {
                let pool = self.fetch.template.standby().and_then(|at| standbys.get(at)).unwrap_or(own);
                Box::pin(sql::page(self, pool, ask, at, out)).await
            }
            (Ask::Audit(ask), Way::Audit(log)) => Box::pin(audit::page(self, log.as_deref(), ask, out)).await,
            _ => Err(Failure::new(ErrorCode::Internal, "the request is of another protocol than its source")),
        }
    }

    pub fn connection(&self) -> &'a Connection {
        &self.made.connection
    }

    /// How long the source is given for an answer.
    pub fn patience(&self) -> Duration {
        self.connector.timeout(self.fetch.template.timeout())
    }

    /// How long it is given to begin one; none: no less than for all of it.
    fn first_byte(&self) -> Option<Duration> {
        let limits = &self.connector.connection.limits;
        self.fetch.template.first_byte().or(limits.first_byte_ms.map(Duration::from_millis))
    }

    fn reach(&self) -> Result<&'a Reach, Failure> {
        match &self.made.way {
            Way::Http(reach) => Ok(reach),
            _ => Err(Failure::new(ErrorCode::Internal, "the source is not asked over HTTP")),
        }
    }

    /// Where the request goes.
    pub fn target(&self) -> Result<&'a Target, Failure> {
        Ok(self.reach()?.target(self.fetch.template.standby()))
    }

    fn guards(&self) -> &'a Guards {
        let standby = self.fetch.template.standby().and_then(|at| self.connector.standby_guards.get(at));
        standby.unwrap_or(&self.connector.guards)
    }

    /// Waits for the call's turn.
    pub async fn enter(&self) -> Result<Permit<'a>, Failure> {
        let mut permit = self.admit().await?;
        self.go(&mut permit).await?;
        Ok(permit)
    }

    /// Waits for its place alone.
    pub async fn admit(&self) -> Result<Permit<'a>, Failure> {
        let context = self.fetch.context;
        let permit = self.guards().admit(&context.principal, context.turn_until(self.deadline)).await?;
        Ok(permit.given_up_after(self.patience(), context.waiters.as_deref().map(|waiters| &waiters.late)))
    }

    /// Waits until what has a place may go out.
    pub async fn go(&self, permit: &mut Permit<'a>) -> Result<(), Failure> {
        let context = self.fetch.context;
        permit.go(&self.connector.tally, &context.principal, context.turn_until(self.deadline)).await
    }

    pub fn kept(&self) -> &'a Kept {
        &self.connector.kept
    }

    pub fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted did not go out.
    pub fn uncount(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn key_count(&self) -> u32 {
        u32::try_from(self.fetch.keys.len()).unwrap_or(u32::MAX)
    }

    pub fn values(&self) -> Values<'a> {
        Values { keys: self.fetch.keys, inputs: self.fetch.inputs, today: self.today, sealing: Some(self.made) }
    }

    pub fn reader(&self) -> Reader<'a> {
        let xml = self.connection().format == crate::model::binding::format::Format::Xml;
        Reader { fetch: self.fetch, keys: self.keys, xml, connection: self.connection() }
    }

    pub fn wire(&self) -> Result<Wire<'a>, Failure> {
        Ok(Wire {
            connection: self.connection(),
            client: &self.reach()?.client,
            target: self.target()?,
            guards: self.guards(),
            tally: &self.connector.tally,
            kept: self.kept(),
            context: self.fetch.context,
            deadline: self.deadline,
            patience: self.patience(),
            first_byte: self.first_byte(),
            calls: self.calls,
            exchanges: self.connector.exchanges.as_deref(),
        })
    }
}

/// `yyyy-MM-dd` at +08:00, with the number of its day: written once a day, not once a call.
pub(super) fn today() -> Arc<(i64, String)> {
    static WRITTEN: ArcSwapOption<(i64, String)> = ArcSwapOption::const_empty();
    let (now, zone) = (jiff::Timestamp::now(), jiff::tz::offset(8));
    let day = now.as_second().saturating_add(zone.seconds().into()).div_euclid(86_400);
    if let Some(written) = WRITTEN.load_full().filter(|written| written.0 == day) {
        return written;
    }
    let written = Arc::new((day, zone.to_datetime(now).date().to_string()));
    WRITTEN.store(Some(Arc::clone(&written)));
    written
}
