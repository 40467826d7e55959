//! What was asked of each department, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;

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

/// Bytes of answers kept, all sources together; what comes after is not.
const ANSWERS_BYTES_MAX: usize = 512 << 20;

/// Bodies by source, and how many bytes they have.
type Answers = (usize, BTreeMap<String, Vec<Bytes>>);

#[derive(Clone, Default)]
pub(super) struct Log {
    sources: Arc<Mutex<BTreeMap<String, Requests>>>,
    answers: Arc<Mutex<Answers>>,
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

    /// Counts a request that is not kept.
    pub(super) fn count(&self, source: &str) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.get_mut(source) {
            Some((calls, _)) => *calls += 1,
            None => drop(sources.insert(source.to_owned(), (1, VecDeque::new()))),
        }
    }

    /// Keeps what a source said.
    pub(super) fn said(&self, source: &str, body: Bytes) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.0 + body.len() <= ANSWERS_BYTES_MAX {
            answers.0 += body.len();
            answers.1.entry(source.to_owned()).or_default().push(body);
        }
    }

    pub(super) fn answers_of(&self, source: &str) -> Vec<Bytes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.1.get(source).cloned().unwrap_or_default()
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
