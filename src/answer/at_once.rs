//! Scans under way: so many at once, and so many of one caller. A scan holds its place as long as it asks departments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::identify::rate::Payer;
use crate::model::config::scans::Scans;

/// When it is worth trying again: a page of a scan takes some seconds.
const RETRY_AFTER_S: u64 = 10;

/// Places of scans. Who finds none is told so at once.
#[derive(Debug)]
pub(super) struct AtOnce {
    most: usize,
    per_caller_max: usize,
    /// None is 0.
    under_way: Mutex<HashMap<Payer, usize>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Under {
    of: Arc<AtOnce>,
    payer: Payer,
}

impl AtOnce {
    pub fn new(scans: &Scans) -> Arc<Self> {
        let (most, per_caller_max) = (scans.at_once_max, scans.per_caller_max);
        Arc::new(Self { most, per_caller_max, under_way: Mutex::default() })
    }

    pub fn enter(self: &Arc<Self>, identity: &Identity) -> Result<Under, RequestError> {
        let payer = Payer::of(identity);
        let mut under_way = self.lock();
        let own = under_way.get(&payer).copied().unwrap_or_default();
        let message = if own >= self.per_caller_max {
            format!(
                "{own} scans of yours are under way, as many as may be at once (`scans.per_caller_max`): wait for one to end, \
                 or stop one"
            )
        } else if under_way.values().sum::<usize>() >= self.most {
            format!("{} scans are under way here, as many as may be at once: try again in {RETRY_AFTER_S} s", self.most)
        } else {
            under_way.insert(payer, own + 1);
            drop(under_way);
            return Ok(Under { of: Arc::clone(self), payer });
        };
        let retry_after_s = Some(RETRY_AFTER_S);
        Err(RequestError { retry_after_s, ..RequestError::new(ErrorCode::Overloaded, message) })
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Payer, usize>> {
        // Only ever changed whole.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut under_way = self.of.lock();
        let left = under_way.get(&self.payer).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            under_way.remove(&self.payer);
        } else {
            under_way.insert(self.payer, left);
        }
    }
}
