//! The audit store: takes records, gives a receipt once they are durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Map;
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpointer::Checkpointer;
use super::key::{SubjectDigest, SubjectKey, hex};
use super::reader::Reader;
use super::record::AuditRecord;
use super::retention;
use super::tail::{Following, Tail};
use super::writer::Writer;
use crate::base::current::Current;
use crate::model::config::watch::Recorded;
use crate::model::config::{AuditConfig, ChainHash};

/// Records waiting to be written; when it is full, requests wait.
const QUEUE_MAX: usize = 1_024;
/// As long as the JSON of most records.
const JSON_ROOM: usize = 4 << 10;
/// How long a request waits for its record before it is refused.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last checkpoint.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The record could not be made durable, so the request must not be answered. The text is for operators.
#[derive(Debug, Clone)]
pub struct AuditError(pub String);

impl std::fmt::Display for AuditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the audit store cannot be written: {}", self.0)
    }
}

impl std::error::Error for AuditError {}

impl From<sqlx::Error> for AuditError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

/// The record is on disk, as number `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub seq: i64,
    /// Of this record and, through it, of all before; hex.
    pub hash: String,
}

impl Receipt {
    pub(super) fn new(seq: i64, hash: &[u8]) -> Self {
        Self { seq, hash: hex(hash) }
    }
}

/// The newest record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The store's id.
    pub store: Arc<str>,
    pub segment: u32,
    /// 0: there is no record yet.
    pub seq: i64,
    pub hash: Vec<u8>,
    pub algorithm: ChainHash,
}

/// A record on its way to the writer.
pub(super) struct Waiting {
    pub time: String,
    pub kind: &'static str,
    pub request_id: String,
    pub json: String,
    /// The subjects of its accesses, by which it is found.
    pub subjects: Vec<SubjectDigest>,
    /// For who follows the records.
    pub record: Option<Box<AuditRecord>>,
    pub ack: oneshot::Sender<Result<Receipt, AuditError>>,
}

impl Waiting {
    pub fn new(record: AuditRecord, json: String, ack: oneshot::Sender<Result<Receipt, AuditError>>) -> Self {
        let subjects = record.access.iter().flat_map(|access| &access.subjects).copied().collect();
        let (time, kind, request_id) = (record.time.clone(), record.kind.as_str(), record.request_id.clone());
        Self { time, kind, request_id, json, subjects, record: Some(Box::new(record)), ack }
    }
}

/// How many records of which kind and outcome.
type Written = BTreeMap<(&'static str, &'static str), u64>;

/// Takes records; a single writer task commits all that wait as one transaction. Cheap to clone.
#[derive(Clone)]
pub struct AuditStore {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

/// A store that does not keep its writer going: the writer ends with the last [`AuditStore`].
#[derive(Clone)]
pub struct WeakStore {
    queue: mpsc::WeakSender<Waiting>,
    shared: Arc<Shared>,
}

struct Shared {
    healthy: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    written: Mutex<Written>,
    failures: AtomicU64,
    head: watch::Receiver<Head>,
    following: Following,
    path: PathBuf,
    recorded: Current<Recorded>,
    subjects: SubjectKey,
    checkpoints: Option<Arc<Checkpointer>>,
    retention_months: u32,
}

impl WeakStore {
    /// `None`: the writer has ended, or is about to.
    pub fn upgrade(&self) -> Option<AuditStore> {
        Some(AuditStore { queue: self.queue.upgrade()?, shared: Arc::clone(&self.shared) })
    }
}

impl AuditStore {
    /// Opens or makes the store (readable by its owner alone) and starts the writer on the current runtime.
    pub async fn open(config: &AuditConfig) -> Result<Self, AuditError> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (healthy, commits) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let following = Following::default();
        let (writer, head) =
            Writer::open(config, Arc::clone(&healthy), Arc::clone(&commits), Arc::clone(&following)).await?;
        let checkpoints = match &config.checkpoints {
            Some(checkpoints) => {
                let now = head.borrow().clone();
                Some(Checkpointer::start(checkpoints, &Reader::new(&config.store), &now).await?)
            }
            None => None,
        };
        tokio::spawn(writer.run(waiting));
        let shared = Shared {
            healthy,
            commits,
            written: Mutex::default(),
            failures: AtomicU64::default(),
            head: head.clone(),
            following,
            path: config.store.clone(),
            recorded: Arc::new(config.recorded.clone()).into(),
            subjects: SubjectKey::new(Arc::clone(&config.key)),
            checkpoints,
            retention_months: config.retention_months,
        };
        let store = Self { queue, shared: Arc::new(shared) };
        if let Some(checkpoints) = store.checkpoints() {
            tokio::spawn(Arc::clone(checkpoints).run(head));
            tokio::spawn(retention::run(store.downgrade()));
        }
        Ok(store)
    }

    /// From now on, what is recorded of who asked and what for is this.
    pub fn record_of_callers(&self, recorded: Recorded) {
        self.shared.recorded.switch(recorded);
    }

    /// Writes the record; when this returns a receipt, it survives a crash of the process and of the machine.
    pub async fn append(&self, record: AuditRecord) -> Result<Receipt, AuditError> {
        let what = (record.kind.as_str(), record.outcome.as_str());
        let written = self.write(record).await;
        match &written {
            Ok(_) => *self.shared.written.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1,
            Err(_) => drop(self.shared.failures.fetch_add(1, Ordering::Relaxed)),
        }
        written
    }

    async fn write(&self, mut record: AuditRecord) -> Result<Receipt, AuditError> {
        if let Some(checkpoints) = self.checkpoints() {
            checkpoints.allows()?;
        }
        let recorded = self.shared.recorded.now();
        record.record_claims(&recorded);
        record.record_declared(&recorded, &self.shared.subjects);
        let mut json = Vec::with_capacity(JSON_ROOM);
        serde_json::to_writer(&mut json, &record).map_err(|e| AuditError(e.to_string()))?;
        let json = String::from_utf8(json).map_err(|e| AuditError(e.to_string()))?;
        let (ack, answer) = oneshot::channel();
        record.claims = Map::new();
        let waiting = Waiting::new(record, json, ack);
        let written = async {
            self.queue.send(waiting).await.map_err(|_| AuditError("the writer has stopped".to_owned()))?;
            answer.await.map_err(|_| AuditError("the writer has stopped".to_owned()))?
        };
        match tokio::time::timeout(APPEND_TIMEOUT, written).await {
            Ok(result) => result,
            Err(_) => Err(AuditError(format!("no answer within {} s", APPEND_TIMEOUT.as_secs()))),
        }
    }

    /// Whether the last write and the last checkpoint went well; for `/health/ready`.
    pub fn is_healthy(&self) -> bool {
        let is_signed = self.checkpoints().is_none_or(|checkpoints| !checkpoints.is_failing());
        self.shared.healthy.load(Ordering::Relaxed) && is_signed
    }

    /// Transactions so far, each of one or more records, made durable with one fsync.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Records that became durable through [`Self::append`] since the start, by kind and outcome.
    pub fn records(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that could not be written since the start.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Before the process ends: waits, not for long, until a checkpoint covers all that was written.
    pub async fn settle(&self) {
        let seq = self.shared.head.borrow().seq;
        if let Some(checkpoints) = self.checkpoints() {
            checkpoints.settle(seq, SETTLE_TIMEOUT).await;
        }
    }

    /// The records after number `at`, as they become durable.
    pub fn follow(&self, at: i64) -> Tail {
        Tail::new(self.reader(), self.head(), &self.shared.following, at)
    }

    /// The newest record that is durable; wait on it to hear of new ones, and read them with [`Reader::after`].
    pub fn head(&self) -> watch::Receiver<Head> {
        self.shared.head.clone()
    }

    pub fn downgrade(&self) -> WeakStore {
        WeakStore { queue: self.queue.downgrade(), shared: Arc::clone(&self.shared) }
    }

    pub fn reader(&self) -> Reader {
        Reader::new(self.path())
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(super) fn checkpoints(&self) -> Option<&Arc<Checkpointer>> {
        self.shared.checkpoints.as_ref()
    }

    pub(super) fn retention_months(&self) -> u32 {
        self.shared.retention_months
    }
}

#[cfg(test)]
mod tests;
