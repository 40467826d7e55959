//! What was asked of each department, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// One request, as the department got it.
#[derive(Debug, Clone)]
pub struct Logged {
    pub method: String,
    pub path: String,
    /// As sent, percent-encoded.
    pub query: String,
    /// As text: GBK is decoded.
    pub body: String,
    /// Header names are lower case.
    pub headers: Vec<(String, String)>,
    pub at: SystemTime,
}

/// Requests kept a source; the oldest go first.
const KEPT: usize = 100_000;

/// How many came, and the latest of them.
type Requests = (u64, VecDeque<Logged>);

#[derive(Clone, Default)]
pub(super) struct Log {
    sources: Arc<Mutex<BTreeMap<String, Requests>>>,
}

impl Log {
    pub(super) fn push(&self, source: &str, entry: Logged) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let (calls, entries) = sources.entry(source.to_owned()).or_default();
        *calls += 1;
        entries.push_back(entry);
        if entries.len() > KEPT {
            entries.pop_front();
        }
    }

    pub(super) fn of(&self, source: &str) -> Vec<Logged> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(source).map(|(_, entries)| entries.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(source, (calls, _))| (source.clone(), *calls)).collect()
    }

    pub(super) fn clear(&self) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
