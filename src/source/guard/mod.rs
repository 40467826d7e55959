//! What keeps a weak source alive, and the gateway from waiting for it.

pub(crate) mod breaker;
pub(crate) mod rate;
pub(crate) mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::secret::Secrets;
use super::session::Sessions;
use super::tally::Tally;
use super::ticket::Tickets;
use crate::base::code::ErrorCode;
use crate::base::places::{Place, Places, Room};
use crate::model::binding::format::Limits;
use breaker::{Breaker, BreakerState, Change, Health, Pass};
use rate::{Gone, Late, Rate};
use retry::Budget;

/// Calls that wait at once for places of one system; further ones are turned away.
const ROOM: Room = Room { per_lane_max: None, waiting_max: 10_000, waiting_per_lane_max: 10_000 };

/// Who waits; none: a visitor, or the gateway itself.
pub(crate) type Lane = Option<Arc<str>>;

/// The guards of one address of a source (or instance), or of a platform that several stand on; they outlive reloads.
#[derive(Debug)]
pub(crate) struct Guards {
    /// As operators read it.
    name: String,
    breaker: Option<Breaker>,
    places: Places<Lane>,
    rate: Rate,
    pub retries: Budget,
}

/// What is kept between the calls of one source (or instance), or of all sources on a platform that signs them; it
/// outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub sessions: Sessions,
    pub secrets: Arc<Secrets>,
    pub tickets: Tickets,
}

impl Guards {
    pub fn new(name: String, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            name,
            breaker: limits.breaker.enabled.then(|| Breaker::new(&limits.breaker, Instant::now())),
            places: Places::new(limits.in_flight_max, limits.slow_ms.map(Duration::from_millis), ROOM),
            rate: Rate::new(limits.per_second_max),
            retries: Budget::default(),
        })
    }

    /// Waits for its turn, no longer than the deadline, and not at all where the breaker is open. The call is under way as
    /// long as the permit is held. What goes out is counted in the source's tally.
    pub async fn enter(&self, tally: &Tally, lane: &Lane, deadline: Instant) -> Result<Permit<'_>, Failure> {
        // Looked at once, and again after each wait.
        let mut now = Instant::now();
        if let Some(wait) = self.breaker.as_ref().and_then(|breaker| breaker.open_for(now)) {
            return Err(suspended(wait));
        }
        let entered = self.places.enter(lane, deadline).await;
        let (place, mut waited) = entered.map_err(|_| busy("limits.in_flight_max"))?;
        if waited {
            now = Instant::now();
        }
        let pass = self.breaker.as_ref().map(|breaker| breaker.admit(now)).transpose().map_err(suspended)?;
        let mut turn = self.rate.reserve(now, deadline).map_err(late)?;
        let gone = loop {
            let until = match turn.go(now) {
                Ok(gone) => break gone,
                Err(until) => until,
            };
            waited = true;
            sleep_until(until.min(deadline)).await;
            now = Instant::now();
            if Rate::is_too_late(now, deadline) {
                return Err(late(Late::Rate));
            }
            if let Some(wait) = pass.as_ref().and_then(|pass| pass.open_for(now)) {
                return Err(suspended(wait));
            }
            if self.rate.is_paused(now) {
                drop(turn);
                turn = self.rate.reserve(now, deadline).map_err(late)?;
            }
        };
        tally.sent(waited);
        Ok(Permit { guards: self, pass, place, gone, sent: now, given_up: None })
    }

    /// The source asks to be left alone for a while.
    pub fn pause(&self, wait: Duration) {
        let now = Instant::now();
        self.rate.pause(now.checked_add(wait).unwrap_or(now), now);
    }

    /// None: it is switched off.
    pub fn breaker(&self) -> Option<BreakerState> {
        self.breaker.as_ref().map(|breaker| breaker.state(Instant::now()))
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Permit<'g> {
    guards: &'g Guards,
    pass: Option<Pass<'g>>,
    place: Place<Lane>,
    gone: Gone,
    pub sent: Instant,
    /// How long it may take, and whether somebody waited until the deadline.
    given_up: Option<(Duration, &'g AtomicBool)>,
}

impl<'g> Permit<'g> {
    /// Dropped once `late` is set, the call counts as one without an answer until its deadline.
    pub fn given_up_after(mut self, patience: Duration, late: Option<&'g AtomicBool>) -> Self {
        self.given_up = late.map(|late| (patience, late));
        self
    }

    /// The call has ended; how tells something of the system. (Dropped without, it tells nothing.)
    pub fn end(mut self, health: Health, now: Instant) {
        self.ended(health, now);
    }

    fn ended(&mut self, health: Health, now: Instant) {
        self.given_up = None;
        let source = &self.guards.name;
        self.guards.rate.answered(self.gone, now);
        if health != Health::Unknown {
            self.place.ended(self.sent, now);
        }
        match self.pass.take().and_then(|pass| pass.end(health, now)) {
            Some(Change::Opened) => {
                tracing::warn!(%source, "the circuit breaker opened: the source is not asked for now")
            }
            Some(Change::Closed) => tracing::info!(%source, "the circuit breaker closed: the source answers again"),
            None => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some((patience, _)) = self.given_up.take().filter(|(_, late)| late.load(Ordering::Relaxed)) {
            let now = Instant::now();
            self.ended(Health::unanswered(now - self.sent, patience), now);
        }
    }
}

fn suspended(wait: Duration) -> Failure {
    let detail = match wait.as_millis().div_ceil(1_000) {
        0 => "it failed too often (limits.breaker), and is being tried with few requests".to_owned(),
        seconds => format!("it failed too often (limits.breaker); it is asked again in {seconds} s"),
    };
    Failure::down(ErrorCode::SourceSuspended, detail)
}

fn late(late: Late) -> Failure {
    match late {
        Late::Rate => busy("limits.per_second_max"),
        Late::Pause => {
            let detail = "it asked to be left alone (429 with Retry-After) for longer than the deadline";
            Failure::new(ErrorCode::SourceBusy, detail)
        }
    }
}

fn busy(limit: &str) -> Failure {
    Failure::new(ErrorCode::SourceBusy, format!("the wait for its turn ({limit}) passed the deadline"))
}
