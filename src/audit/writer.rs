//! The one task that writes: whatever waits goes into one transaction, and is acknowledged after its commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::mpsc;

use super::store::{AuditError, Opened, Receipt, Waiting, chain, connect, receipt};

/// Records in one transaction.
const GROUP_MAX: usize = 256;

/// Runs until the last [`super::AuditStore`] is gone and the queue is empty.
pub async fn run(path: PathBuf, opened: Opened, mut queue: mpsc::Receiver<Waiting>, healthy: Arc<AtomicBool>) {
    let mut current = Some(opened);
    let mut group = Vec::with_capacity(GROUP_MAX);
    while queue.recv_many(&mut group, GROUP_MAX).await > 0 {
        let result = write(&path, &mut current, &group).await;
        healthy.store(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(receipts) => {
                for (waiting, receipt) in group.drain(..).zip(receipts) {
                    let _ = waiting.ack.send(Ok(receipt));
                }
            }
            Err(error) => {
                tracing::error!(%error, records = group.len(), "requests are refused");
                current = None;
                for waiting in group.drain(..) {
                    let _ = waiting.ack.send(Err(error.clone()));
                }
            }
        }
    }
    if let Some(opened) = current {
        let _ = opened.connection.close().await;
    }
}

/// Opens anew after a fault, so that the store mends itself once its cause is gone.
async fn write(path: &Path, current: &mut Option<Opened>, group: &[Waiting]) -> Result<Vec<Receipt>, AuditError> {
    if current.as_ref().is_some_and(|opened| !opened.is_still_at(path)) {
        *current = None;
        return Err(AuditError(format!("{} was moved, deleted or replaced", path.display())));
    }
    let mut opened = match current.take() {
        Some(opened) => opened,
        None => connect(path).await?,
    };
    let receipts = commit(&mut opened.connection, group).await?;
    if !opened.is_still_at(path) {
        return Err(AuditError(format!("{} was moved, deleted or replaced", path.display())));
    }
    *current = Some(opened);
    Ok(receipts)
}

async fn commit(connection: &mut SqliteConnection, group: &[Waiting]) -> Result<Vec<Receipt>, AuditError> {
    // IMMEDIATE: the last row is read under the write lock, so that two gateways on one file keep one chain.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let last = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
    let (mut seq, mut prev) = match last.fetch_optional(&mut *transaction).await? {
        Some(row) => (row.try_get::<i64, _>("seq")?, row.try_get::<Vec<u8>, _>("hash")?),
        None => (0, Vec::new()),
    };
    let mut receipts = Vec::with_capacity(group.len());
    for waiting in group {
        seq += 1;
        let hash = chain(&prev, seq, &waiting.json);
        let insert = "INSERT INTO audit (seq, time, request_id, record, prev, hash) VALUES (?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(seq)
            .bind(&waiting.time)
            .bind(&waiting.request_id)
            .bind(&waiting.json)
            .bind(&prev)
            .bind(&hash)
            .execute(&mut *transaction)
            .await?;
        receipts.push(receipt(seq, &hash));
        prev = hash;
    }
    transaction.commit().await?;
    Ok(receipts)
}
