//! A request that takes too long: the caller is told so, on record, and the work that comes to its end all the same says
//! that it was not sent.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot, watch};

use crate::audit::{AuditRecord, Kind, Outcome};
use crate::base::code::ErrorCode;

/// How long the engine may take beyond a request's own deadline before the gateway gives up on it.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long a reader of the log waits for the record of what was sent instead.
const TOLD_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent of a request is decided once: its answer, or that it took too long.
pub(super) struct Ending {
    is_decided: AtomicBool,
    /// The number of the record of what was sent instead.
    instead: Mutex<Option<oneshot::Receiver<i64>>>,
    /// Nobody waits for the answer any more.
    gone: watch::Receiver<bool>,
}

/// Held by who waits for the answer: once it is dropped, nobody does.
pub(super) struct Waits(watch::Sender<bool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Ending {
    /// With where to tell the record of what was sent instead of the answer, and what stands for who waits.
    pub fn new() -> (Self, oneshot::Sender<i64>, Waits) {
        let (told, instead) = oneshot::channel();
        let (waits, gone) = watch::channel(false);
        (Self { is_decided: AtomicBool::new(false), instead: Mutex::new(Some(instead)), gone }, told, Waits(waits))
    }

    /// Tells once nobody waits for the answer any more.
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.gone.clone()
    }

    /// Whether it is for whoever calls this to send; true once.
    pub fn decide(&self) -> bool {
        !self.is_decided.swap(true, Ordering::AcqRel)
    }

    /// What the work was that nothing was sent of: a record of its own, which goes on from that of what was sent. What
    /// was read was shown to nobody.
    pub async fn unsent(&self, record: AuditRecord) -> AuditRecord {
        let instead = self.instead.lock().await.take();
        let of = match instead {
            Some(instead) => tokio::time::timeout(TOLD_TIMEOUT, instead).await.ok().and_then(Result::ok),
            None => None,
        };
        let mut record = AuditRecord {
            kind: Kind::Outcome,
            of,
            outcome: Outcome::Rejected,
            errors: BTreeSet::from([ErrorCode::DeadlineExceeded]),
            answer: None,
            ..record
        };
        for access in &mut record.access {
            access.unanswered.append(&mut access.read);
            access.unanswered.append(&mut access.masked);
        }
        record
    }
}
