//! What keeps a weak source alive, and the gateway from waiting for it.

pub(crate) mod body;
pub(crate) mod rate;
pub(crate) mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::Failure;
use super::secret::Secrets;
use super::session::Sessions;
use super::ticket::Tickets;
use crate::base::code::ErrorCode;
use crate::model::binding::format::Limits;
use rate::Rate;

/// The guards of one source (or instance); they outlive reloads.
#[derive(Debug)]
pub(crate) struct Guards {
    in_flight: Semaphore,
    rate: Option<Rate>,
    calls: AtomicU64,
    pub sessions: Sessions,
    pub secrets: Arc<Secrets>,
    pub tickets: Tickets,
}

impl Guards {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Semaphore::new(limits.in_flight_max),
            rate: limits.per_second_max.map(Rate::per_second),
            calls: AtomicU64::new(0),
            sessions: Sessions::default(),
            secrets: Arc::default(),
            tickets: Tickets::default(),
        })
    }

    /// Waits for its turn, no longer than the deadline. The call is under way as long as the permit is held.
    pub async fn enter(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = match timeout_at(deadline, self.in_flight.acquire()).await {
            // A place that comes free at the deadline is too late: nothing is sent for nobody.
            Ok(Ok(permit)) if Instant::now() < deadline => permit,
            _ => return Err(busy("limits.in_flight_max")),
        };
        if let Some(rate) = &self.rate {
            let turn = rate.reserve(Instant::now(), deadline).ok_or_else(|| busy("limits.per_second_max"))?;
            sleep_until(turn).await;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(permit)
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

fn busy(limit: &str) -> Failure {
    Failure::new(ErrorCode::SourceBusy, format!("the wait for its turn ({limit}) passed the deadline"))
}
