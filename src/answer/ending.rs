//! A request that takes too long: the caller is told so, on record, and the work that comes to its end all the same says
//! that it was not sent.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

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
}

impl Ending {
    /// With where to tell the record of what was sent instead of the answer.
    pub fn new() -> (Self, oneshot::Sender<i64>) {
        let (told, instead) = oneshot::channel();
        (Self { is_decided: AtomicBool::new(false), instead: Mutex::new(Some(instead)) }, told)
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
