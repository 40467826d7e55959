//! What keeps a weak source alive, and the gateway from waiting for it.

pub(crate) mod breaker;
pub(crate) mod rate;
pub(crate) mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::secret::Secrets;
use super::session::Sessions;
use super::tally::Tally;
use super::ticket::Tickets;
use crate::base::code::ErrorCode;
use crate::base::places::{Place, Places, Room};
use crate::model::binding::format::Limits;
use breaker::{Breaker, BreakerState, Change, Health, Pass};
use rate::{Gone, Known, Late, Rate};
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
    /// `known`: what other guards of the same system know of it.
    pub fn new(name: String, limits: &Limits, in_flight_max: usize, known: Arc<Known>) -> Arc<Self> {
        Arc::new(Self {
            name,
            breaker: limits.breaker.enabled.then(|| Breaker::new(&limits.breaker, Instant::now())),
            places: Places::new(in_flight_max, limits.slow_ms.map(Duration::from_millis), ROOM),
            rate: Rate::new(limits.per_second_max, known),
            retries: Budget::default(),
        })
    }

    /// Waits for its turn, no longer than the deadline, and not at all where the breaker is open. The call is under way as
    /// long as the permit is held. What goes out is counted in the source's tally.
    pub async fn enter(&self, tally: &Tally, lane: &Lane, deadline: Instant) -> Result<Permit<'_>, Failure> {
        let mut permit = self.admit(lane, deadline).await?;
        permit.go(tally, lane, deadline).await?;
        Ok(permit)
    }

    /// Waits for its place alone: what takes time before a call can be sent (a connection to open) comes between that and
    /// [`Permit::go`].
    pub async fn admit(&self, lane: &Lane, deadline: Instant) -> Result<Permit<'_>, Failure> {
        // Looked at once, and again after each wait.
        let mut now = Instant::now();
        if let Some(wait) = self.breaker.as_ref().and_then(|breaker| breaker.open_for(now)) {
            return Err(suspended(wait));
        }
        let entered = self.places.enter(lane, deadline).await;
        let (place, waited) = entered.map_err(|_| busy("limits.in_flight_max"))?;
        if waited {
            now = Instant::now();
        }
        let pass = self.breaker.as_ref().map(|breaker| breaker.admit(now)).transpose().map_err(suspended)?;
        Ok(Permit { guards: self, pass, place: Some(place), gone: None, waited, sent: now, given_up: None })
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
    /// None: what the call is sent on has it.
    place: Option<Place<Lane>>,
    /// None: it has a place, and was not sent yet.
    gone: Option<Gone>,
    waited: bool,
    /// Or when it had its place.
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

    /// Waits until it may go out, no longer than the deadline: from then on it counts as sent. Who waits longer tells nothing
    /// of the system.
    pub async fn go(&mut self, tally: &Tally, lane: &Lane, deadline: Instant) -> Result<(), Failure> {
        let given_up = self.given_up.take();
        let rate = &self.guards.rate;
        let mut now = Instant::now();
        let turn = rate.reserve(lane, now, deadline).map_err(late)?;
        let gone = loop {
            let until = match turn.go(now) {
                Ok(gone) => break gone,
                Err(until) => until,
            };
            self.waited = true;
            turn.wait(until).await;
            now = Instant::now();
            if let Some(why) = turn.is_late(now) {
                return Err(late(why));
            }
            if let Some(wait) = self.pass.as_ref().and_then(|pass| pass.open_for(now)) {
                return Err(suspended(wait));
            }
        };
        tally.sent(self.waited);
        (self.gone, self.sent, self.given_up) = (Some(gone), now, given_up);
        Ok(())
    }

    /// It failed while what it needs was being opened: a request to the system all the same.
    pub fn failed_before(&self, tally: &Tally) {
        tally.sent(self.waited);
    }

    /// The place, for what may go on when nobody waits for the call any more: it is free when that drops it.
    pub fn hand_over(&mut self) -> Option<Place<Lane>> {
        self.place.take()
    }

    /// The call has ended; how tells something of the system. (Dropped without, it tells nothing.)
    pub fn end(mut self, health: Health, now: Instant) {
        self.ended(health, now);
    }

    fn ended(&mut self, health: Health, now: Instant) {
        self.given_up = None;
        let source = &self.guards.name;
        if let Some(gone) = self.gone {
            self.guards.rate.answered(gone, now);
        }
        if health != Health::Unknown {
            self.guards.places.ended(self.sent, now, health == Health::Silent);
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
