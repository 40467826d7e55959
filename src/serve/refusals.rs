//! Requests refused before the contract was looked at: the first of an address is logged at once, all of them are summed
//! up, in the log and in one audit record an address, every `limits.refusals_every_ms` and at the end. A flood writes no record each.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Gateway;
use crate::base::current::Current;
use crate::identify::rate::site;
use crate::model::config::Networks;

/// Addresses that are told apart within one interval; further ones are summed up together.
const ADDRESSES_MAX: usize = 1_000;

/// How long the last summing up may take.
const ENDED_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request was refused; stands in its response until that leaves.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub reason: String,
}

/// How often which status was answered.
pub type Counts = BTreeMap<u16, u64>;

#[derive(Debug, Default)]
struct Interval {
    by_address: HashMap<IpAddr, Counts>,
    others: Counts,
}

/// What was refused since it was last summed up.
#[derive(Debug, Default)]
pub struct Refusals {
    interval: Mutex<Interval>,
    totals: Mutex<Counts>,
}

impl Refusals {
    /// Counts a refusal, and logs it where it is the first of its kind from there.
    pub(super) fn log(&self, request_id: &str, address: IpAddr, status: StatusCode, refused: &Refused) {
        if self.note(address, status) {
            tracing::info!(request_id, status = status.as_u16(), reason = %refused.reason, "refused");
        } else {
            tracing::debug!(request_id, status = status.as_u16(), reason = %refused.reason, "refused");
        }
    }

    /// Counts a refusal; whether it is the first of its kind from there.
    fn note(&self, address: IpAddr, status: StatusCode) -> bool {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner).entry(status.as_u16()).or_default() += 1;
        let address = site(address);
        let mut interval = self.interval.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = interval.by_address.len() >= ADDRESSES_MAX && !interval.by_address.contains_key(&address);
        let counts = match is_full {
            true => &mut interval.others,
            false => interval.by_address.entry(address).or_default(),
        };
        let count = counts.entry(status.as_u16()).or_default();
        *count += 1;
        *count == 1
    }

    /// All since the start.
    pub(super) fn totals(&self) -> Counts {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By address; `None`: of all addresses that were too many to tell apart.
    fn take(&self) -> Vec<(Option<IpAddr>, Counts)> {
        let interval = std::mem::take(&mut *self.interval.lock().unwrap_or_else(PoisonError::into_inner));
        let of_addresses = interval.by_address.into_iter().map(|(address, counts)| (Some(address), counts));
        let of_others = (!interval.others.is_empty()).then_some((None, interval.others));
        of_addresses.chain(of_others).collect()
    }
}

/// What sums up, for as long as the application is there and once more when it is gone.
pub struct Summing(JoinHandle<()>);

impl Summing {
    /// Waits, not for long, until all that was refused is summed up; when nothing is served any more.
    pub async fn ended(self) {
        if tokio::time::timeout(ENDED_TIMEOUT, self.0).await.is_err() {
            tracing::error!("the last refused requests could not be summed up in time");
        }
    }
}

/// Sums up in the background. `app`: closed when the application is gone.
pub(super) fn sum_up<G: Gateway>(
    refusals: Arc<Refusals>,
    gateway: Current<G>,
    networks: Networks,
    every: Duration,
    mut app: watch::Receiver<()>,
) -> Summing {
    Summing(tokio::spawn(async move {
        loop {
            let is_gone = tokio::time::timeout(every, app.changed()).await.is_ok();
            for (address, counts) in refusals.take() {
                let from = address.map_or_else(|| "others".to_owned(), |address| address.to_string());
                tracing::warn!(address = from, statuses = ?counts, "requests were refused");
                let networks = address.map(|address| networks.of(address)).unwrap_or_default();
                gateway.now().refused(address, networks, counts).await;
            }
            if is_gone {
                return;
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_in_bounded_memory_and_the_first_is_told() {
        let refusals = Refusals::default();
        let address = |n: u32| IpAddr::V4(n.into());
        assert!(refusals.note(address(1), StatusCode::UNAUTHORIZED));
        assert!(!refusals.note(address(1), StatusCode::UNAUTHORIZED));
        assert!(refusals.note(address(1), StatusCode::TOO_MANY_REQUESTS));
        for n in 2..50_000 {
            refusals.note(address(n), StatusCode::UNAUTHORIZED);
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), ADDRESSES_MAX + 1);
        let of = |address: Option<IpAddr>| taken.iter().find(|(known, _)| *known == address).map(|(_, counts)| counts);
        assert_eq!(of(Some(address(1))), Some(&Counts::from([(401, 2), (429, 1)])));
        let total: u64 = taken.iter().flat_map(|(_, counts)| counts.values()).sum();
        assert_eq!(total, 50_001, "none is lost");
        assert!(refusals.take().is_empty());
    }
}
