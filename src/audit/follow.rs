//! Records that go on from another: a write's outcome from its intent, a stream's frames from its opening.

use std::collections::BTreeSet;

use super::reader::{Entry, PAGE_MAX, ReadError, Reader, Search};
use super::record::{AuditRecord, Kind, Outcome};
use super::store::{AuditError, AuditStore, Receipt};
use crate::base::code::ErrorCode;

/// A write whose intent is durable: only now may it be forwarded. What became of it is told with [`Intent::end`]; an
/// intent without an outcome is a write of which nobody knows how it ended ([`Reader::unfinished`]).
#[must_use = "the write's outcome has to be recorded"]
pub struct Intent {
    store: AuditStore,
    record: AuditRecord,
    seq: i64,
}

/// A stream whose opening, which is its first frame, is durable. Each frame is recorded before it is sent.
pub struct Frames {
    store: AuditStore,
    seq: i64,
    sent: u64,
}

impl AuditStore {
    /// Records that a write is about to be forwarded: who, what for, of whom, to which source.
    pub async fn intend(&self, record: AuditRecord) -> Result<Intent, AuditError> {
        let record = AuditRecord { kind: Kind::Intent, ..record };
        let seq = self.append(record.clone()).await?.seq;
        Ok(Intent { store: self.clone(), record, seq })
    }

    /// Records that a stream is opened, with what its first frame holds.
    pub async fn stream(&self, record: AuditRecord) -> Result<(Frames, Receipt), AuditError> {
        let receipt = self.append(record).await?;
        Ok((Frames { store: self.clone(), seq: receipt.seq, sent: 1 }, receipt))
    }
}

impl Intent {
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Records how the write ended; `answer` is the digest of what the caller is told of it.
    pub async fn end(
        self,
        outcome: Outcome,
        errors: BTreeSet<ErrorCode>,
        answer: Option<String>,
    ) -> Result<Receipt, AuditError> {
        let record = AuditRecord { kind: Kind::Outcome, of: Some(self.seq), outcome, errors, answer, ..self.record };
        self.store.append(record).await
    }
}

impl Frames {
    /// Records the next frame: `record` says what is in it, and holds the digest of its bytes.
    pub async fn frame(&mut self, record: AuditRecord) -> Result<Receipt, AuditError> {
        let record = AuditRecord { kind: Kind::Frame, of: Some(self.seq), ..record };
        let receipt = self.store.append(record.with("frame", self.sent.saturating_add(1))).await?;
        self.sent = self.sent.saturating_add(1);
        Ok(receipt)
    }

    /// Records how the stream ended.
    pub async fn end(&self, record: AuditRecord) -> Result<Receipt, AuditError> {
        let record = AuditRecord { kind: Kind::Outcome, of: Some(self.seq), ..record };
        self.store.append(record.with("frames", self.sent)).await
    }
}

impl Reader {
    /// Intents without an outcome, newest first, at most `first`: writes under way, or cut off by a crash.
    pub async fn unfinished(&self, first: usize) -> Result<Vec<Entry>, ReadError> {
        let kinds = vec![Kind::Intent, Kind::Outcome];
        let mut search = Search { kinds, first: PAGE_MAX, ..Search::default() };
        let (mut ended, mut found) = (BTreeSet::new(), Vec::new());
        loop {
            let page = self.search(&search).await?;
            for entry in page.entries {
                search.before = Some(entry.seq);
                match entry.record.kind {
                    Kind::Outcome => {
                        ended.extend(entry.record.of);
                    }
                    // An intent is older than its outcome, so that has been seen.
                    _ if !ended.remove(&entry.seq) => found.push(entry),
                    _ => {}
                }
                if found.len() >= first {
                    return Ok(found);
                }
            }
            if !page.has_more {
                return Ok(found);
            }
        }
    }
}
