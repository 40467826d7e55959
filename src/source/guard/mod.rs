//! What keeps a weak source alive, and the gateway from waiting for it.

pub(crate) mod body;
pub(crate) mod rate;
pub(crate) mod retry;

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::Failure;
use super::secret::Secrets;
use super::session::Sessions;
use super::tally::Tally;
use super::ticket::Tickets;
use crate::base::code::ErrorCode;
use crate::model::binding::format::Limits;
use rate::Rate;

/// The guards of one source (or instance); they outlive reloads.
#[derive(Debug)]
pub(crate) struct Guards {
    in_flight: Semaphore,
    rate: Option<Rate>,
    tally: Arc<Tally>,
    pub sessions: Sessions,
    pub secrets: Arc<Secrets>,
    pub tickets: Tickets,
}

impl Guards {
    /// What goes out under them is counted in the tally.
    pub fn new(limits: &Limits, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Semaphore::new(limits.in_flight_max),
            rate: limits.per_second_max.map(Rate::per_second),
            tally,
            sessions: Sessions::default(),
            secrets: Arc::default(),
            tickets: Tickets::default(),
        })
    }

    /// Waits for its turn, no longer than the deadline. The call is under way as long as the permit is held.
    pub async fn enter(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        let mut waited = self.in_flight.available_permits() == 0;
        let permit = match timeout_at(deadline, self.in_flight.acquire()).await {
            // A place that comes free at the deadline is too late: nothing is sent for nobody.
            Ok(Ok(permit)) if Instant::now() < deadline => permit,
            _ => return Err(busy("limits.in_flight_max")),
        };
        if let Some(rate) = &self.rate {
            let now = Instant::now();
            let turn = rate.reserve(now, deadline).ok_or_else(|| busy("limits.per_second_max"))?;
            waited |= turn > now;
            sleep_until(turn).await;
        }
        self.tally.sent(waited);
        Ok(permit)
    }
}

fn busy(limit: &str) -> Failure {
    Failure::new(ErrorCode::SourceBusy, format!("the wait for its turn ({limit}) passed the deadline"))
}
