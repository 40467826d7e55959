//! Removing segments past their time: whole ones, the oldest first, each after a signed checkpoint has named the cut.

use std::path::Path;
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};
use sqlx::Connection;

use super::checkpoint::{PublicKey, Removed, read};
use super::key::hex;
use super::record::{AuditRecord, Kind, timestamp};
use super::segment::{About, Segment, about, readable, segments, sync_folder};
use super::store::{AuditError, AuditStore, WeakStore};
use super::verify::verify;
use crate::identify::Identity;

/// How often it is looked whether a segment is past its time; the first time soon after the start.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3_600);
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(60);

/// Looks for ever, until the store is let go.
pub(super) async fn run(store: WeakStore) {
    let mut next = FIRST_LOOK_AFTER;
    loop {
        tokio::time::sleep(next).await;
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.retire(Timestamp::now()).await {
            tracing::error!(error = error.0, "segments past their time are kept");
        }
        next = LOOK_EVERY;
    }
}

impl AuditStore {
    /// Removes the segments that were past their time at `now`, and gives their numbers. Where anything is not sure (a
    /// fault anywhere in the store, a checkpoint that cannot be kept, no folder of checkpoints), nothing is removed: without
    /// the signed cut at hand, what is left would never verify again.
    pub async fn retire(&self, now: Timestamp) -> Result<Vec<u32>, AuditError> {
        let Some(checkpoints) = self.checkpoints() else { return Ok(Vec::new()) };
        let Some((folder, keys)) = checkpoints.place() else { return Ok(Vec::new()) };
        let before = before(now, self.retention_months())?;
        let past = past(self.path(), &before).await?;
        if past.is_empty() {
            return Ok(Vec::new());
        }
        is_whole(self.path(), folder, &keys).await?;
        let mut removed = Vec::new();
        for (segment, about) in past {
            let Some(closed) = about.closed else { break };
            let cut = Removed { segment: segment.number, seq: closed.last_seq, hash: hex(&closed.last_hash) };
            let here = Identity::at(std::net::Ipv4Addr::LOCALHOST.into());
            let record = AuditRecord::event(Kind::Retention, "retention", &here, "retention");
            let record = record.with("segment", cut.segment).with("seq", cut.seq).with("hash", cut.hash.clone());
            self.append(record).await?;
            let head = self.head().borrow().clone();
            checkpoints.write(&head, Some(cut)).await?;
            remove(&segment.path).map_err(|error| AuditError(format!("{}: {error}", segment.path.display())))?;
            tracing::info!(segment = segment.number, "a segment of the audit store past its time was removed");
            removed.push(segment.number);
        }
        Ok(removed)
    }
}

/// As records write it: what is older is past its time.
fn before(now: Timestamp, months: u32) -> Result<String, AuditError> {
    let zone = TimeZone::fixed(Offset::constant(8));
    let span = Span::new().try_months(i64::from(months));
    let before = span.and_then(|span| now.to_zoned(zone).checked_sub(span));
    before.map(|before| timestamp(before.timestamp())).map_err(|error| AuditError(error.to_string()))
}

/// The oldest segments, as far as all of them were closed before a time, and hold nothing newer. Never the newest.
async fn past(store: &Path, before: &str) -> Result<Vec<(Segment, About)>, AuditError> {
    let mut found = segments(store).map_err(|error| AuditError(format!("{}: {error}", store.display())))?;
    found.pop();
    let mut past = Vec::new();
    for segment in found {
        let mut connection = readable(&segment.path).await?;
        let about = about(&mut connection).await?;
        let newest: Option<String> =
            sqlx::query_scalar("SELECT max(time) FROM audit").fetch_one(&mut connection).await?;
        connection.close().await?;
        let is_past = about.closed.as_ref().is_some_and(|closed| closed.time.as_str() < before)
            && newest.is_none_or(|newest| newest.as_str() < before);
        if !is_past {
            break;
        }
        past.push((segment, about));
    }
    Ok(past)
}

async fn is_whole(store: &Path, folder: &Path, keys: &[PublicKey]) -> Result<(), AuditError> {
    let kept = read(folder, keys).map_err(|error| AuditError(format!("{}: {error}", folder.display())))?;
    let report = verify(store, Some(&kept), &mut |_| {}).await.map_err(|error| AuditError(error.to_string()))?;
    match report.faults.first() {
        None => Ok(()),
        Some(fault) => Err(AuditError(format!("the store is not whole ({fault})"))),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    std::fs::remove_file(path)?;
    for end in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        // Closed segments have none, unless somebody was reading when it was closed.
        let _ = std::fs::remove_file(beside);
    }
    sync_folder(path)
}
