//! What keeps a weak source alive, and the gateway from waiting for it.

pub(crate) mod body;
pub(crate) mod breaker;
pub(crate) mod rate;
pub(crate) mod retry;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::Failure;
use super::secret::Secrets;
use super::session::Sessions;
use super::tally::Tally;
use super::ticket::Tickets;
use crate::base::code::ErrorCode;
use crate::model::binding::format::Limits;
use breaker::{Breaker, BreakerState, Change, Health, Pass};
use rate::Rate;

/// The guards of one address of a source (or instance), or of a platform that several stand on; they outlive reloads.
#[derive(Debug)]
pub(crate) struct Guards {
    /// As operators read it.
    name: String,
    breaker: Option<Breaker>,
    in_flight: Semaphore,
    rate: Option<Rate>,
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
            in_flight: Semaphore::new(limits.in_flight_max),
            rate: limits.per_second_max.map(Rate::per_second),
        })
    }

    /// Waits for its turn, no longer than the deadline, and not at all where the breaker is open. The call is under way as
    /// long as the permit is held. What goes out is counted in the source's tally.
    pub async fn enter(&self, tally: &Tally, deadline: Instant) -> Result<Permit<'_>, Failure> {
        if let Some(wait) = self.breaker.as_ref().and_then(|breaker| breaker.open_for(Instant::now())) {
            return Err(suspended(wait));
        }
        let mut waited = self.in_flight.available_permits() == 0;
        let place = match timeout_at(deadline, self.in_flight.acquire()).await {
            // A place that comes free at the deadline is too late: nothing is sent for nobody.
            Ok(Ok(place)) if Instant::now() < deadline => place,
            _ => return Err(busy("limits.in_flight_max")),
        };
        let admitted = self.breaker.as_ref().map(|breaker| breaker.admit(Instant::now()));
        let pass = admitted.transpose().map_err(suspended)?;
        if let Some(rate) = &self.rate {
            let now = Instant::now();
            let turn = rate.reserve(now, deadline).ok_or_else(|| busy("limits.per_second_max"))?;
            waited |= turn > now;
            sleep_until(turn).await;
            if let Some(wait) = pass.as_ref().and_then(|pass| pass.open_for(Instant::now())) {
                return Err(suspended(wait));
            }
        }
        tally.sent(waited);
        Ok(Permit { guards: self, pass, _place: place })
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
    _place: SemaphorePermit<'g>,
}

impl Permit<'_> {
    /// The call has ended; how tells something of the system. (Dropped without, it tells nothing.)
    pub fn end(self, health: Health) {
        let source = &self.guards.name;
        match self.pass.and_then(|pass| pass.end(health, Instant::now())) {
            Some(Change::Opened) => {
                tracing::warn!(%source, "the circuit breaker opened: the source is not asked for now")
            }
            Some(Change::Closed) => tracing::info!(%source, "the circuit breaker closed: the source answers again"),
            None => {}
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

fn busy(limit: &str) -> Failure {
    Failure::new(ErrorCode::SourceBusy, format!("the wait for its turn ({limit}) passed the deadline"))
}
