//! Which version of the files is in force, and which could not come into force.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// What is known of the versions of one gateway, for those who run it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Versions(Arc<Mutex<Known>>);

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// None, where nobody looks after versions (tools and tests).
    pub in_force: Option<InForce>,
    /// The newest, where it has faults: what was in force before stays.
    pub refused: Option<Refused>,
    /// Keys of `gateway.yaml` that are not as this process began with: they wait for a restart.
    pub waiting: Vec<String>,
}

/// A version that requests are answered with.
#[derive(Debug, Clone)]
pub struct InForce {
    /// From 1 at the start of the process.
    pub number: u64,
    /// Of the files; hex.
    pub digest: String,
    /// Of the registry; 0: nothing is published.
    pub revision: i64,
    pub since: Timestamp,
}

/// A version that was not taken.
#[derive(Debug, Clone)]
pub struct Refused {
    pub digest: String,
    pub since: Timestamp,
    /// What is wrong with it, as a compiler would print it.
    pub faults: String,
}

impl Versions {
    pub fn known(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
