//! The one task that writes: whatever waits goes into one transaction, and is acknowledged after its commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::chain::chain;
use super::reader::Reader;
use super::record::{AuditRecord, Kind, Outcome, timestamp};
use super::rows::{self, Linked, Stand, Statements};
use super::segment::{self, Opened};
use super::store::{AuditError, Head, Receipt, Waiting};
use super::tail::{self, Following};
use crate::base::code::ErrorCode;
use crate::model::config::{AuditConfig, ChainHash};

/// Records in one transaction.
const GROUP_MAX: usize = 256;
/// Where so many came together, more are on their way: those that come as soon as the commit has ended wait for others, as
/// long as it took and no longer than [`GATHER_MAX`]. A commit costs as much for many records as for few. What takes less
/// than [`GATHER_MIN`] is over before a timer would be.
const GATHER_FROM: usize = 3;
const GATHER_MIN: Duration = Duration::from_millis(1);
const GATHER_MAX: Duration = Duration::from_millis(5);
/// How often a group is tried again because another process has begun a new segment meanwhile.
const CLOSED_TRIES_MAX: usize = 3;

/// Where and how records are written, and what was written last.
pub(super) struct Writer {
    store: PathBuf,
    algorithm: ChainHash,
    rotate_bytes: u64,
    rotate_monthly: bool,
    open: Option<Opened>,
    statements: Statements,
    head: watch::Sender<Head>,
    healthy: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    following: Following,
}

/// What a transaction came to.
enum Committed {
    Done(Vec<Receipt>, Head),
    /// Another process has closed this segment.
    Closed,
    /// The segment is as large as it may become.
    Full,
}

impl Writer {
    pub async fn open(
        config: &AuditConfig,
        healthy: Arc<AtomicBool>,
        commits: Arc<AtomicU64>,
        following: Following,
    ) -> Result<(Self, watch::Receiver<Head>), AuditError> {
        let mut opened = segment::open_newest(&config.store, config.hash).await?;
        let (head, heads) = watch::channel(head_of(&mut opened).await?);
        let writer = Self {
            store: config.store.clone(),
            algorithm: config.hash,
            rotate_bytes: config.rotate_bytes(),
            rotate_monthly: config.rotate_monthly,
            open: Some(opened),
            statements: Statements::default(),
            head,
            healthy,
            commits,
            following,
        };
        Ok((writer, heads))
    }

    /// Runs until the last [`super::AuditStore`] is gone and the queue is empty.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        // How long the last commit took, where it was of several records, and when it ended.
        let mut last = (Duration::ZERO, Instant::now());
        while queue.recv_many(&mut group, GROUP_MAX).await > 0 {
            let (took, ended) = last;
            if took >= GATHER_MIN && ended.elapsed() < took {
                gather(&mut queue, &mut group, took.min(GATHER_MAX)).await;
            }
            let began = Instant::now();
            let result = self.write(&mut group).await;
            let is_shared = group.len() >= GATHER_FROM;
            last = (if is_shared { began.elapsed() } else { Duration::ZERO }, Instant::now());
            self.healthy.store(result.is_ok(), Ordering::Relaxed);
            match result {
                Ok(receipts) => {
                    let mut unsent = Vec::new();
                    for (waiting, receipt) in group.drain(..).zip(receipts) {
                        let (of, request_id) = (receipt.seq, waiting.request_id);
                        if waiting.ack.send(Ok(receipt)).is_err() {
                            unsent.push((of, request_id));
                        }
                    }
                    self.withdraw(unsent).await;
                }
                Err(error) => {
                    tracing::error!(%error, records = group.len(), "requests are refused");
                    self.open = None;
                    for waiting in group.drain(..) {
                        let _ = waiting.ack.send(Err(error.clone()));
                    }
                }
            }
        }
        if let Some(opened) = self.open {
            let _ = opened.connection.close().await;
        }
    }

    /// Says of records that came to disk after nobody waited for them any more that what they tell of was not sent.
    async fn withdraw(&mut self, unsent: Vec<(i64, String)>) {
        let withdrawn = |(of, request_id): (i64, String)| {
            let mut record = AuditRecord::gateway(Kind::Outcome, &request_id).with("unsent", true);
            (record.of, record.outcome) = (Some(of), Outcome::Rejected);
            record.errors.insert(ErrorCode::AuditUnavailable);
            let json = serde_json::to_string(&record).ok()?;
            // Nobody waits for this one, and nothing is sent of it.
            Some(Waiting::new(record, json, oneshot::channel().0))
        };
        let mut group: Vec<Waiting> = unsent.into_iter().filter_map(withdrawn).collect();
        if group.is_empty() {
            return;
        }
        if let Err(error) = self.write(&mut group).await {
            tracing::error!(%error, records = group.len(), "records stand as sent whose answers were not");
            self.open = None;
        }
    }

    async fn write(&mut self, group: &mut [Waiting]) -> Result<Vec<Receipt>, AuditError> {
        for _ in 0..CLOSED_TRIES_MAX {
            let mut opened = self.opened().await?;
            let committed = match commit(&mut opened, group, self.rotate_bytes, &mut self.statements).await {
                Ok(committed) => committed,
                Err(error) => {
                    let _ = opened.connection.close().await;
                    return Err(error);
                }
            };
            if !opened.is_in_place() {
                return Err(opened.moved().await);
            }
            match committed {
                Committed::Done(receipts, head) => {
                    self.open = Some(opened);
                    tail::hand_over(&self.following, group, &receipts, head.segment);
                    self.head.send_replace(head);
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    return Ok(receipts);
                }
                Committed::Closed => {}
                Committed::Full => self.open = Some(self.rotate(opened).await?),
            }
        }
        Err(AuditError("other processes begin one segment after the other".to_owned()))
    }

    /// The segment to write to; opened anew after a fault, so that the store mends itself once its cause is gone.
    async fn opened(&mut self) -> Result<Opened, AuditError> {
        let opened = match self.open.take() {
            Some(opened) if opened.is_in_place() => opened,
            Some(opened) => return Err(opened.moved().await),
            None => {
                let opened = segment::open_again(&self.store, self.algorithm).await?;
                if let Err(lost) = self.is_the_same_store(&opened).await {
                    let _ = opened.connection.close().await;
                    return Err(lost);
                }
                opened
            }
        };
        self.rotated(opened).await
    }

    /// A store that lacks what was written to it is another one, or lost its tail.
    async fn is_the_same_store(&self, opened: &Opened) -> Result<(), AuditError> {
        let known = self.head.borrow().clone();
        let lost = || {
            AuditError(format!(
                "{} does not hold record {}, which was written to it; put the store back as it was",
                opened.path.display(),
                known.seq
            ))
        };
        if opened.about.store != *known.store {
            return Err(lost());
        }
        if known.seq == 0 {
            return Ok(());
        }
        let found = Reader::new(&self.store).entry(known.seq).await.map_err(|error| AuditError(error.to_string()))?;
        let same = found.is_some_and(|entry| entry.hash == super::key::hex(&known.hash));
        if same { Ok(()) } else { Err(lost()) }
    }

    /// Begins a new segment where the open one is of another month.
    async fn rotated(&self, opened: Opened) -> Result<Opened, AuditError> {
        let is_used = self.head.borrow().seq >= opened.about.first_seq;
        if is_used && self.is_of_another_month(&opened) { self.rotate(opened).await } else { Ok(opened) }
    }

    async fn rotate(&self, mut opened: Opened) -> Result<Opened, AuditError> {
        segment::close(&mut opened).await?;
        tracing::info!(segment = opened.about.number, "the audit store begins a new segment");
        segment::begin_after(&self.store, opened, self.algorithm).await
    }

    fn is_of_another_month(&self, opened: &Opened) -> bool {
        let month = |time: &str| time.get(..7).map(str::to_owned);
        self.rotate_monthly && month(&opened.about.opened) != month(&timestamp(Timestamp::now()))
    }
}

/// Adds to a group what comes within the time, as far as there is room.
async fn gather(queue: &mut mpsc::Receiver<Waiting>, group: &mut Vec<Waiting>, wait: Duration) {
    if group.len() >= GROUP_MAX {
        return;
    }
    tokio::time::sleep(wait).await;
    while group.len() < GROUP_MAX
        && let Ok(waiting) = queue.try_recv()
    {
        group.push(waiting);
    }
}

async fn head_of(opened: &mut Opened) -> Result<Head, AuditError> {
    let (seq, hash) = last(&mut opened.connection, opened.about.first_seq, &opened.about.prev).await?;
    Ok(head(opened, seq, hash))
}

fn head(opened: &Opened, seq: i64, hash: Vec<u8>) -> Head {
    let about = &opened.about;
    Head { store: about.store.as_str().into(), segment: about.number, seq, hash, algorithm: about.algorithm }
}

/// The newest record's number and hash; in an empty segment, those that the one before ended with.
async fn last(connection: &mut SqliteConnection, first_seq: i64, prev: &[u8]) -> Result<(i64, Vec<u8>), AuditError> {
    let newest = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
    Ok(match newest.fetch_optional(connection).await? {
        Some(row) => (row.try_get("seq")?, row.try_get("hash")?),
        None => (first_seq - 1, prev.to_vec()),
    })
}

/// Numbers the records of a group, chains them and makes them durable.
async fn commit(
    opened: &mut Opened,
    group: &[Waiting],
    bytes_max: u64,
    statements: &mut Statements,
) -> Result<Committed, AuditError> {
    let Stand { is_closed, pages, mut seq, hash: mut prev } =
        rows::begin(&mut opened.connection, &opened.about).await?;
    let is_full = seq >= opened.about.first_seq && pages.saturating_mul(opened.page_bytes) >= bytes_max;
    if is_closed || is_full {
        rows::rollback(&mut opened.connection).await?;
        return Ok(if is_closed { Committed::Closed } else { Committed::Full });
    }
    opened.unindexed.catch_up(&mut opened.connection, seq).await?;
    let mut records = Vec::with_capacity(group.len());
    for waiting in group {
        seq += 1;
        opened.unindexed.add(&mut opened.connection, seq, &waiting.subjects).await?;
        let hash = chain(opened.about.algorithm, &prev, seq, &waiting.json);
        records.push(Linked { waiting, seq, prev, hash: hash.clone() });
        prev = hash;
    }
    statements.commit(&mut opened.connection, opened.about.algorithm, &records).await?;
    let receipts = records.iter().map(|record| Receipt::new(record.seq, &record.hash)).collect();
    Ok(Committed::Done(receipts, head(opened, seq, prev)))
}
