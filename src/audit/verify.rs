//! Verifying the store: every record's hash, every record's place, every segment, and what was signed of them.

use std::collections::BTreeMap;
use std::path::Path;

use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::chain::chain;
use super::checkpoint::{Checkpoint, Kept, Removed};
use super::index;
use super::key::hex;
use super::reader::ReadError;
use super::record::AuditRecord;
use super::segment::{About, Segment, about, readable, segments};
use super::store::Receipt;

/// After how many records progress is told.
const PROGRESS_EVERY: u64 = 20_000;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Its text or its hash is not what was written.
    Altered,
    /// A column beside the text says something else than the text.
    Mislabelled,
    /// It is not there; the next one that is.
    Removed { next: i64 },
    /// Another record stands in its place; where this one stands now, if anywhere.
    Reordered { now_at: Option<i64> },
    /// The records before it are not those it was written after.
    Replaced,
    /// A household's or person's list of records is not what the records say.
    Index,
    /// The segment ended with a later record than it holds, or a checkpoint names a later one.
    TailCut { signed: i64 },
    /// The chain fits, but it is not the one that was signed; the newest signed record before that is right.
    Rewritten { after: i64, time: String },
    /// A segment is not there, and no signed checkpoint says that it was removed past its time.
    SegmentMissing,
    /// The segment is not the one that follows the one before.
    SegmentForeign,
    /// It cannot be read.
    Unreadable(String),
    /// A checkpoint that none of the keys has signed.
    BadSignature(String),
    /// There are checkpoints, and none of this store.
    NoCheckpoint,
}

/// The first record that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub segment: Option<u32>,
    pub seq: Option<i64>,
    pub wrong: Wrong,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(segment) = self.segment {
            write!(f, "segment {segment}, ")?;
        }
        if let Some(seq) = self.seq {
            write!(f, "record {seq}: ")?;
        }
        match &self.wrong {
            Wrong::Altered => f.write_str("altered: its text or hash is not what was written"),
            Wrong::Mislabelled => f.write_str("altered: a column beside its text says something else than the text"),
            Wrong::Removed { next } => write!(f, "removed: the next record is {next}"),
            Wrong::Reordered { now_at: Some(at) } => {
                write!(f, "reordered: it stands at {at}, and another in its place")
            }
            Wrong::Reordered { now_at: None } => f.write_str("reordered: another record stands in its place"),
            Wrong::Replaced => f.write_str("it was written after other records than those that stand before it"),
            Wrong::Index => {
                f.write_str("the index of subjects was altered: the record is hidden from, or added to, one")
            }
            Wrong::TailCut { signed } => {
                write!(f, "the tail was cut off: this is the last record, and {signed} was written")
            }
            Wrong::Rewritten { after, time } => write!(
                f,
                "rewritten: the chain fits, but this is not the record that was signed at {time}; changed is something \
                 after record {after}"
            ),
            Wrong::SegmentMissing => f.write_str("the segment is missing, and no signed checkpoint names its removal"),
            Wrong::SegmentForeign => f.write_str("the segment does not follow the one before it"),
            Wrong::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Wrong::BadSignature(place) => write!(f, "{place}: a checkpoint that none of the keys has signed"),
            Wrong::NoCheckpoint => f.write_str("there are checkpoints, and none of this store: it was replaced"),
        }
    }
}

/// What was verified.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub segments: usize,
    pub records: u64,
    pub first_seq: Option<i64>,
    pub last: Option<Receipt>,
    /// Checkpoints that fit.
    pub checkpoints: usize,
    /// The newest record that a checkpoint names: up to it nothing can have been cut off or written anew.
    pub signed_to: Option<i64>,
    /// The first fault of the chain, and of the checkpoints.
    pub faults: Vec<Fault>,
}

/// Walks the whole store, beside a running gateway or without one. `progress` is told how many records were seen.
///
/// Without `kept` checkpoints, a tail that was cut off and a chain that was written anew with right hashes are not
/// found; with them, they are found up to the newest.
pub async fn verify(
    store: &Path,
    kept: Option<&Kept>,
    progress: &mut (dyn FnMut(u64) + Send + Sync),
) -> Result<Report, ReadError> {
    let found = segments(store).map_err(|error| ReadError(format!("{}: {error}", store.display())))?;
    if found.is_empty() {
        return Err(ReadError(format!("there is no store at {}", store.display())));
    }
    let mut walk = Walk::new(progress);
    if let Some(kept) = kept {
        walk.signatures(kept);
    }
    for segment in &found {
        if let Err(fault) = walk.segment(segment, kept).await {
            walk.report.faults.push(fault);
            return Ok(walk.report);
        }
    }
    walk.end();
    Ok(walk.report)
}

struct Walk<'p> {
    report: Report,
    /// The end of what was walked: store id, segment, record and hash.
    store: Option<String>,
    segment: u32,
    seq: i64,
    hash: Vec<u8>,
    /// Checkpoints of this store, not yet reached, by their record.
    ahead: BTreeMap<i64, Checkpoint>,
    signed_to: i64,
    progress: &'p mut (dyn FnMut(u64) + Send + Sync),
}

impl<'p> Walk<'p> {
    fn new(progress: &'p mut (dyn FnMut(u64) + Send + Sync)) -> Self {
        Self {
            report: Report::default(),
            store: None,
            segment: 0,
            seq: 0,
            hash: Vec::new(),
            ahead: BTreeMap::new(),
            signed_to: 0,
            progress,
        }
    }

    fn fault(&self, seq: i64, wrong: Wrong) -> Fault {
        Fault { segment: Some(self.segment), seq: Some(seq), wrong }
    }

    fn signatures(&mut self, kept: &Kept) {
        if let Some(place) = kept.unsigned.first() {
            let wrong = Wrong::BadSignature(place.clone());
            self.report.faults.push(Fault { segment: None, seq: None, wrong });
        }
    }

    /// What is signed of this store. Of two that name one record and differ, both are held against it.
    fn signed(&mut self, kept: Option<&Kept>, store: &str) -> Result<Vec<Removed>, Fault> {
        let Some(kept) = kept else { return Ok(Vec::new()) };
        let Some(of_store) = kept.by_store.get(store) else {
            if kept.by_store.is_empty() {
                return Ok(Vec::new());
            }
            return Err(Fault { segment: None, seq: None, wrong: Wrong::NoCheckpoint });
        };
        for checkpoint in of_store {
            let other = self.ahead.insert(checkpoint.seq, checkpoint.clone());
            if let Some(other) = other.filter(|other| other.hash != checkpoint.hash) {
                let wrong = Wrong::Rewritten { after: 0, time: other.time };
                return Err(Fault { segment: Some(checkpoint.segment), seq: Some(checkpoint.seq), wrong });
            }
        }
        Ok(of_store.iter().filter_map(|checkpoint| checkpoint.removed.clone()).collect())
    }

    async fn segment(&mut self, segment: &Segment, kept: Option<&Kept>) -> Result<(), Fault> {
        let unreadable = |seq: Option<i64>, error: String| Fault {
            segment: Some(segment.number),
            seq,
            wrong: Wrong::Unreadable(error),
        };
        let mut connection = readable(&segment.path).await.map_err(|error| unreadable(None, error.to_string()))?;
        let about = about(&mut connection).await.map_err(|error| unreadable(None, error.0))?;
        self.enter(segment, &about, kept)?;
        self.records(&mut connection, &about).await?;
        self.leave(&mut connection, &about).await?;
        let _ = connection.close().await;
        Ok(())
    }

    /// Whether the segment is the one that is to come now.
    fn enter(&mut self, segment: &Segment, about: &About, kept: Option<&Kept>) -> Result<(), Fault> {
        let expected = self.segment + 1;
        let at = |number: u32, wrong: Wrong| Fault { segment: Some(number), seq: None, wrong };
        if about.number != segment.number || self.store.as_ref().is_some_and(|store| *store != about.store) {
            return Err(at(segment.number, Wrong::SegmentForeign));
        }
        if self.store.is_none() {
            self.store = Some(about.store.clone());
            let removed = self.signed(kept, &about.store)?;
            if about.number > 1 {
                let cut = removed.into_iter().find(|removed| {
                    removed.segment + 1 == about.number
                        && removed.seq + 1 == about.first_seq
                        && removed.hash == hex(&about.prev)
                });
                let Some(cut) = cut else { return Err(at(about.number - 1, Wrong::SegmentMissing)) };
                (self.segment, self.seq, self.hash) = (cut.segment, cut.seq, about.prev.clone());
                // What was signed of the records that were removed can be held against nothing any more.
                self.ahead = self.ahead.split_off(&(cut.seq + 1));
            }
            self.report.first_seq = Some(about.first_seq);
        } else if segment.number != expected {
            return Err(at(expected, Wrong::SegmentMissing));
        }
        self.segment = about.number;
        if about.first_seq != self.seq + 1 || about.prev != self.hash {
            return Err(at(about.number, Wrong::SegmentForeign));
        }
        self.report.segments += 1;
        Ok(())
    }

    async fn records(&mut self, connection: &mut SqliteConnection, about: &About) -> Result<(), Fault> {
        let mut bad = None;
        {
            let mut rows = sqlx::query("SELECT * FROM audit ORDER BY seq").fetch(&mut *connection);
            loop {
                let row = match rows.try_next().await {
                    Ok(Some(row)) => row,
                    Ok(None) => break,
                    Err(error) => return Err(self.fault(self.seq + 1, Wrong::Unreadable(error.to_string()))),
                };
                let stored =
                    Stored::of(&row).map_err(|error| self.fault(self.seq + 1, Wrong::Unreadable(error.to_string())))?;
                if !stored.follows(about, self.seq, &self.hash) {
                    bad = Some(stored);
                    break;
                }
                if !stored.is_labelled_right(about) {
                    return Err(self.fault(stored.seq, Wrong::Mislabelled));
                }
                (self.seq, self.hash) = (stored.seq, stored.hash);
                self.checkpoint()?;
                self.report.records += 1;
                self.report.last = Some(Receipt::new(self.seq, &self.hash));
                if self.report.records.is_multiple_of(PROGRESS_EVERY) {
                    (self.progress)(self.report.records);
                }
            }
        }
        match bad {
            Some(stored) => Err(self.explain(connection, about, &stored).await),
            None => Ok(()),
        }
    }

    /// What happened at the first record that does not fit.
    async fn explain(&self, connection: &mut SqliteConnection, about: &About, bad: &Stored) -> Fault {
        let expected = self.seq + 1;
        // The record that was written here, if it stands elsewhere: it names the hash before it.
        let mine: Option<i64> = sqlx::query_scalar("SELECT seq FROM audit WHERE prev = ? AND seq <> ?")
            .bind(&self.hash)
            .bind(expected)
            .fetch_optional(&mut *connection)
            .await
            .unwrap_or(None);
        if bad.seq > expected {
            let wrong = match mine {
                Some(at) => Wrong::Reordered { now_at: Some(at) },
                None => Wrong::Removed { next: bad.seq },
            };
            return self.fault(expected, wrong);
        }
        if mine.is_some() {
            return self.fault(expected, Wrong::Reordered { now_at: mine });
        }
        if bad.prev == self.hash {
            // Another record's text under this one's hashes?
            let others = sqlx::query("SELECT seq, record FROM audit WHERE seq <> ? ORDER BY abs(seq - ?) LIMIT 1000");
            let others = others.bind(expected).bind(expected).fetch_all(connection).await.unwrap_or_default();
            let moved = others.iter().find_map(|row| {
                let (at, record): (i64, &str) = (row.try_get("seq").ok()?, row.try_get("record").ok()?);
                (chain(about.algorithm, &self.hash, expected, record) == bad.hash).then_some(at)
            });
            return match moved {
                Some(at) => self.fault(expected, Wrong::Reordered { now_at: Some(at) }),
                None => self.fault(expected, Wrong::Altered),
            };
        }
        let is_whole = chain(about.algorithm, &bad.prev, bad.seq, &bad.record) == bad.hash;
        self.fault(expected, if is_whole { Wrong::Replaced } else { Wrong::Altered })
    }

    /// Holds what was signed of the record against it.
    fn checkpoint(&mut self) -> Result<(), Fault> {
        let Some(checkpoint) = self.ahead.remove(&self.seq) else { return Ok(()) };
        if checkpoint.hash != hex(&self.hash) || checkpoint.segment != self.segment {
            let wrong = Wrong::Rewritten { after: self.signed_to, time: checkpoint.time };
            return Err(self.fault(self.seq, wrong));
        }
        self.signed_to = self.seq;
        self.report.checkpoints += 1;
        self.report.signed_to = Some(self.seq);
        Ok(())
    }

    /// What a segment says of its own end, and of its subjects.
    async fn leave(&mut self, connection: &mut SqliteConnection, about: &About) -> Result<(), Fault> {
        if let Some(closed) = &about.closed {
            if closed.last_seq > self.seq {
                return Err(self.fault(self.seq, Wrong::TailCut { signed: closed.last_seq }));
            }
            if closed.last_seq != self.seq || closed.last_hash != self.hash {
                return Err(self.fault(self.seq, Wrong::Replaced));
            }
        }
        match index::first_wrong(connection, about.first_seq, self.seq).await {
            Ok(None) => Ok(()),
            Ok(Some(seq)) => Err(self.fault(seq, Wrong::Index)),
            Err(error) => Err(self.fault(self.seq, Wrong::Unreadable(error.0))),
        }
    }

    /// What was signed and is not there any more.
    fn end(&mut self) {
        (self.progress)(self.report.records);
        if let Some((signed, checkpoint)) = self.ahead.pop_last() {
            let wrong = Wrong::TailCut { signed };
            // The checkpoint of an empty store names no record.
            if signed > self.seq {
                self.report.faults.push(self.fault(self.seq, wrong));
            } else if signed > 0 {
                let wrong = Wrong::Rewritten { after: self.signed_to, time: checkpoint.time };
                self.report.faults.push(self.fault(signed, wrong));
            }
        }
    }
}

/// A row as it stands.
struct Stored {
    seq: i64,
    time: String,
    kind: String,
    request_id: String,
    record: String,
    algorithm: String,
    prev: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn of(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            time: row.try_get("time")?,
            kind: row.try_get("kind")?,
            request_id: row.try_get("request_id")?,
            record: row.try_get("record")?,
            algorithm: row.try_get("algorithm")?,
            prev: row.try_get("prev")?,
            hash: row.try_get("hash")?,
        })
    }

    fn follows(&self, about: &About, seq: i64, prev: &[u8]) -> bool {
        self.seq == seq + 1 && self.prev == prev && self.hash == chain(about.algorithm, prev, self.seq, &self.record)
    }

    /// Whether the columns by which records are found say what the record says.
    fn is_labelled_right(&self, about: &About) -> bool {
        let Ok(record) = serde_json::from_str::<AuditRecord>(&self.record) else { return false };
        (self.time == record.time && self.kind == record.kind.as_str() && self.request_id == record.request_id)
            && self.algorithm == about.algorithm.as_str()
    }
}
