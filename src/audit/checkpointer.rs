//! The task that signs checkpoints and brings them to their places.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use reqwest::Url;
use tokio::sync::{Mutex, Notify, watch};

use super::checkpoint::{Checkpoint, Kept, PublicKey, Removed, Signer, append, read};
use super::key::hex;
use super::reader::Reader;
use super::record::timestamp;
use super::store::{AuditError, Head};
use crate::egress::{self, Client, Http};
use crate::model::binding::connection::TlsFiles;
use crate::model::config::CheckpointConfig;

/// How long one place may take.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon a checkpoint that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Signs where the chain stands, and says how far that has come.
pub(super) struct Checkpointer {
    signer: Signer,
    config: CheckpointConfig,
    client: Option<(Client, Url)>,
    /// The newest record that a checkpoint names, in all places.
    covered: AtomicI64,
    /// Since when checkpoints fail; `None`: they do not.
    failing: std::sync::Mutex<Option<Instant>>,
    /// One is written at a time.
    writing: Mutex<()>,
    /// Somebody waits for one.
    wanted: Notify,
}

impl Checkpointer {
    /// Compares the store with the newest checkpoint that was kept: one that lacks what was signed is not written to.
    pub async fn start(config: &CheckpointConfig, reader: &Reader, head: &Head) -> Result<Arc<Self>, AuditError> {
        let pem = config.key.read().map_err(|error| AuditError(format!("the checkpoint key: {error}")))?;
        let signer = Signer::from_pem(&pem).map_err(AuditError)?;
        let failed = |error: String| AuditError(format!("the checkpoint URL: {error}"));
        let client = match &config.url {
            Some(url) => {
                let http = Http::new(&TlsFiles::default(), &Arc::new(config.egress.clone())).map_err(failed)?;
                let client = http.to([url.as_str()]).map_err(failed)?;
                Some((client, Url::parse(url).map_err(|error| failed(error.to_string()))?))
            }
            None => None,
        };
        let covered = match &config.directory {
            Some(folder) => covered(folder, &signer, reader, head).await?,
            None => 0,
        };
        Ok(Arc::new(Self {
            signer,
            config: config.clone(),
            client,
            covered: AtomicI64::new(covered),
            failing: std::sync::Mutex::default(),
            writing: Mutex::default(),
            wanted: Notify::new(),
        }))
    }

    /// Until the writer has ended; then once more.
    pub async fn run(self: Arc<Self>, mut head: watch::Receiver<Head>) {
        let every = Duration::from_secs(u64::from(self.config.every_seconds));
        let mut due = tokio::time::Instant::now() + every;
        loop {
            let has_ended = tokio::select! {
                changed = head.changed() => changed.is_err(),
                () = tokio::time::sleep_until(due) => false,
                () = self.wanted.notified() => { due = tokio::time::Instant::now(); false }
            };
            let now = head.borrow_and_update().clone();
            let uncovered = now.seq - self.covered.load(Ordering::Relaxed);
            let is_due = tokio::time::Instant::now() >= due;
            let is_enough = uncovered >= i64::from(self.config.every_records) && !self.is_failing();
            if uncovered > 0 && (has_ended || is_due || is_enough) {
                let written = self.write(&now, None).await;
                due = tokio::time::Instant::now() + if written.is_ok() { every } else { RETRY_AFTER.min(every) };
            } else if is_due {
                due = tokio::time::Instant::now() + every;
            }
            if has_ended {
                return;
            }
        }
    }

    /// Signs and keeps one, in all places.
    pub async fn write(&self, head: &Head, removed: Option<Removed>) -> Result<(), AuditError> {
        let _one = self.writing.lock().await;
        let checkpoint = self.signer.sign(Checkpoint {
            v: 1,
            store: head.store.to_string(),
            segment: head.segment,
            seq: head.seq,
            algorithm: head.algorithm.as_str().to_owned(),
            hash: hex(&head.hash),
            time: timestamp(Timestamp::now()),
            removed,
            key: String::new(),
            signature: String::new(),
        });
        let kept = self.keep(checkpoint).await;
        let mut failing = self.failing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &kept {
            Ok(()) => {
                self.covered.fetch_max(head.seq, Ordering::Relaxed);
                *failing = None;
            }
            Err(error) => {
                tracing::error!(error = error.0, "a checkpoint of the audit store could not be kept");
                failing.get_or_insert_with(Instant::now);
            }
        }
        kept
    }

    async fn keep(&self, checkpoint: Checkpoint) -> Result<(), AuditError> {
        if let Some((client, url)) = &self.client {
            let failed = |error: String| AuditError(format!("checkpoint URL: {error}"));
            let body = serde_json::to_vec(&checkpoint).map_err(|error| failed(error.to_string()))?;
            let request = egress::request(Method::POST, url).map_err(|error| failed(error.to_string()))?;
            let request = request.header("content-type", "application/json").body(body.into());
            let request = request.map_err(|error| failed(error.to_string()))?;
            let Ok(sent) = tokio::time::timeout(PLACE_TIMEOUT, client.send(request)).await else {
                return Err(failed(format!("no answer within {} s", PLACE_TIMEOUT.as_secs())));
            };
            let status = sent.map_err(|error| failed(error.to_string()))?.status();
            if !status.is_success() {
                return Err(failed(format!("answered {status}")));
            }
        }
        if let Some(folder) = self.config.directory.clone() {
            let place = folder.display().to_string();
            let kept = tokio::task::spawn_blocking(move || append(&folder, &checkpoint));
            let failed = |error: String| AuditError(format!("{place}: {error}"));
            match tokio::time::timeout(PLACE_TIMEOUT, kept).await {
                Ok(Ok(kept)) => kept.map_err(|error| failed(error.to_string()))?,
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(_) => return Err(failed(format!("no answer within {} s", PLACE_TIMEOUT.as_secs()))),
            }
        }
        Ok(())
    }

    /// The folder of checkpoints, and whose signatures count there.
    pub fn place(&self) -> Option<(&Path, [PublicKey; 1])> {
        Some((self.config.directory.as_deref()?, [self.signer.public_key()]))
    }

    fn failing_since(&self) -> Option<Instant> {
        *self.failing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn is_failing(&self) -> bool {
        self.failing_since().is_some()
    }

    /// Whether records may be written: not once checkpoints have failed for longer than configured.
    pub fn allows(&self) -> Result<(), AuditError> {
        let (Some(since), Some(after)) = (self.failing_since(), self.config.refuse_after_seconds) else {
            return Ok(());
        };
        if since.elapsed() < Duration::from_secs(u64::from(after)) {
            return Ok(());
        }
        Err(AuditError(format!("checkpoints have failed for more than {after} s; see the log")))
    }

    /// Asks for a checkpoint now, and waits until it covers `seq`.
    pub async fn settle(&self, seq: i64, within: Duration) {
        let until = Instant::now() + within;
        while self.covered.load(Ordering::Relaxed) < seq && Instant::now() < until {
            self.wanted.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How far the kept checkpoints cover the store; an error where the store is not what was signed.
async fn covered(folder: &Path, signer: &Signer, reader: &Reader, head: &Head) -> Result<i64, AuditError> {
    let failed = |error: std::io::Error| AuditError(format!("{}: {error}", folder.display()));
    let (path, keys) = (folder.to_path_buf(), [signer.public_key()]);
    let kept = tokio::task::spawn_blocking(move || match path.try_exists() {
        Ok(false) => Ok(Kept::default()),
        _ => read(&path, &keys),
    });
    let mut kept = kept.await.map_err(|error| AuditError(error.to_string()))?.map_err(failed)?;
    let Some(newest) = kept.by_store.remove(&*head.store).and_then(|mut kept| kept.pop()) else {
        return match kept.by_store.keys().next() {
            None => nothing_kept(folder, reader, head),
            Some(other) => Err(AuditError(format!(
                "{} holds checkpoints under this key of another store ({other}), and none of this one: the store was \
                 replaced. Put it back; a store begun anew on purpose needs a folder and a key of its own",
                folder.display()
            ))),
        };
    };
    let found = reader.entry(newest.seq).await.map_err(|error| AuditError(error.to_string()))?;
    if found.is_none_or(|entry| entry.hash != newest.hash) {
        return Err(AuditError(format!(
            "the store does not hold record {} as the checkpoint of {} names it: its tail was cut off, or it is an \
             older copy. Put the store back as it was; to go on without it, move store and checkpoints away, and keep them",
            newest.seq, newest.time
        )));
    }
    Ok(newest.seq)
}

/// Where no checkpoint of this key is kept. Segments are removed only once their cut is signed and kept, so a store that
/// begins with a later one was signed; whether any other was, nothing tells.
fn nothing_kept(folder: &Path, reader: &Reader, head: &Head) -> Result<i64, AuditError> {
    let (place, records) = (folder.display(), head.seq);
    if reader.first_segment()?.is_some_and(|first| first > 1) {
        return Err(AuditError(format!(
            "{place} holds no checkpoint of this key, and segments of this store were removed after one was kept: is the \
             storage mounted, and is it the key? Put the folder back as it was; without it, what is left cannot be verified"
        )));
    }
    if records > 0 {
        tracing::warn!(
            records,
            "{place} holds no checkpoint of this key, and the store has records: what was cut off or written anew before \
             now is not found. Right where checkpoints are new; otherwise see that the storage is mounted, and that it is \
             the key"
        );
    }
    Ok(0)
}
