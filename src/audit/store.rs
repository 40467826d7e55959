//! The audit store: an SQLite file, one row a record, each row chained to the one before by SHA-256.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::record::{AuditRecord, hex};
use super::writer;

/// Records waiting to be written; when it is full, requests wait.
const QUEUE_MAX: usize = 1_024;
/// How long a request waits for its record before it is refused.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS audit (\
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, request_id TEXT NOT NULL, record TEXT NOT NULL, \
    prev BLOB NOT NULL, hash BLOB NOT NULL) STRICT";

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

/// The record is on disk, as row `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub seq: i64,
    /// Of this row and, through it, of all before; hex.
    pub hash: String,
}

/// A record on its way to the writer.
pub(super) struct Waiting {
    pub time: String,
    pub request_id: String,
    pub json: String,
    pub ack: oneshot::Sender<Result<Receipt, AuditError>>,
}

/// Takes records; a single writer task commits all that wait as one transaction. Cheap to clone.
#[derive(Clone)]
pub struct AuditStore {
    queue: mpsc::Sender<Waiting>,
    healthy: Arc<AtomicBool>,
}

impl AuditStore {
    /// Opens or makes the file (readable by its owner alone) and starts the writer on the current runtime.
    pub async fn open(path: &Path) -> Result<Self, AuditError> {
        let opened = connect(path).await?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let healthy = Arc::new(AtomicBool::new(true));
        tokio::spawn(writer::run(path.to_path_buf(), opened, waiting, Arc::clone(&healthy)));
        Ok(Self { queue, healthy })
    }

    /// Writes the record; when this returns a receipt, it survives a crash of the process and of the machine.
    pub async fn append(&self, record: AuditRecord) -> Result<Receipt, AuditError> {
        let json = serde_json::to_string(&record).map_err(|e| AuditError(e.to_string()))?;
        let (ack, answer) = oneshot::channel();
        let waiting = Waiting { time: record.time, request_id: record.request_id, json, ack };
        let written = async {
            self.queue.send(waiting).await.map_err(|_| AuditError("the writer has stopped".to_owned()))?;
            answer.await.map_err(|_| AuditError("the writer has stopped".to_owned()))?
        };
        match tokio::time::timeout(APPEND_TIMEOUT, written).await {
            Ok(result) => result,
            Err(_) => Err(AuditError(format!("no answer within {} s", APPEND_TIMEOUT.as_secs()))),
        }
    }

    /// Whether the last write went well; for `/health/ready`.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

/// A connection and the file it was opened on.
pub(super) struct Opened {
    pub connection: SqliteConnection,
    identity: FileIdentity,
}

impl Opened {
    /// SQLite goes on writing into a file that was moved away or deleted; such records would be lost unseen.
    pub fn is_still_at(&self, path: &Path) -> bool {
        FileIdentity::of(path).is_some_and(|now| now == self.identity)
    }
}

#[derive(PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| Self(found.dev(), found.ino()))
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|_| Self(0, 0))
    }
}

pub(super) async fn connect(path: &Path) -> Result<Opened, AuditError> {
    let owned: PathBuf = path.to_path_buf();
    create(&owned).map_err(|e| AuditError(format!("{}: {e}", owned.display())))?;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(3))
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::query(TABLE).execute(&mut connection).await?;
    let identity = FileIdentity::of(path).ok_or_else(|| AuditError(format!("{} is no file", path.display())))?;
    Ok(Opened { connection, identity })
}

/// Makes the file if it is not there, for its owner alone.
fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The hash of a row: SHA-256 over the previous row's hash, the row's number (8 bytes, big-endian) and the record.
pub(super) fn chain(prev: &[u8], seq: i64, record: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(prev);
    hash.update(seq.to_be_bytes());
    hash.update(record.as_bytes());
    hash.finalize().to_vec()
}

pub(super) fn receipt(seq: i64, hash: &[u8]) -> Receipt {
    Receipt { seq, hash: hex(hash) }
}

/// Where the chain is broken.
#[derive(Debug)]
pub enum ChainFault {
    /// The row's content, its number or the row before it was changed or taken out.
    Broken {
        seq: i64,
    },
    Store(AuditError),
}

impl std::fmt::Display for ChainFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken { seq } => write!(f, "the chain of audit records is broken at row {seq}"),
            Self::Store(error) => write!(f, "the audit store cannot be read: {}", error.0),
        }
    }
}

impl std::error::Error for ChainFault {}

/// Walks the whole store and gives the last row's receipt (`None`: it is empty). A cut tail shows only against a
/// receipt kept elsewhere.
pub async fn verify_chain(path: &Path) -> Result<Option<Receipt>, ChainFault> {
    use futures::TryStreamExt;
    let fault = |error: sqlx::Error| ChainFault::Store(error.into());
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await.map_err(fault)?;
    let (mut prev, mut seq) = (Vec::new(), 0_i64);
    {
        let mut rows = sqlx::query("SELECT seq, record, prev, hash FROM audit ORDER BY seq").fetch(&mut connection);
        while let Some(row) = rows.try_next().await.map_err(fault)? {
            let at: i64 = row.try_get("seq").map_err(fault)?;
            let record: String = row.try_get("record").map_err(fault)?;
            let stored_prev: Vec<u8> = row.try_get("prev").map_err(fault)?;
            let hash: Vec<u8> = row.try_get("hash").map_err(fault)?;
            if at != seq + 1 || stored_prev != prev || hash != chain(&prev, at, &record) {
                return Err(ChainFault::Broken { seq: at });
            }
            (prev, seq) = (hash, at);
        }
    }
    connection.close().await.map_err(fault)?;
    Ok((seq > 0).then(|| receipt(seq, &prev)))
}

#[cfg(test)]
mod tests;
