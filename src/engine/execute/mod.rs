//! The plan → frames: entities with what their sources answered. The only step of the engine with IO.
//!
//! For every node: the relation stage tells how the caller stands to each entity; then all fetches whose inputs are
//! there run at once, each as soon as what it comes after is there; nodes below begin when the slot that names their
//! entities is answered. A fetch is made only for entities of which the caller may have something of it.

pub(crate) mod advance;
mod call;
pub(crate) mod candidates;
pub mod cursor;
pub mod drift;
mod fetch;
mod groups;
mod listing;
mod node;
pub mod quota;
mod root;
mod rows;
mod subjects;
pub(crate) mod total;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::authorize::Asking;
use super::frame::RootAnswer;
use super::plan::{NodeId, Plan};
use crate::base::code::ErrorCode;
use crate::model::access::Rights;
use crate::model::binding::{Bindings, SourceId};
use crate::model::snapshot::Snapshot;
use crate::source::{CallContext, Connector};
use crate::trace::Trace;

pub(crate) use advance::keep;
pub use root::{key_of, looked_for};

/// Connectors by source, and by instance of the source.
pub type Connectors = Vec<Vec<Arc<Connector>>>;

/// One request's execution.
pub struct Execution<'a> {
    pub snapshot: &'a Snapshot,
    pub plan: &'a Plan,
    pub rights: &'a Rights,
    pub asking: &'a Asking,
    pub connectors: &'a Connectors,
    pub variables: &'a Map<String, Value>,
    /// In the gateway's own name.
    pub context: CallContext,
    /// In the caller's name, for sources with `authority: caller`.
    pub caller_context: CallContext,
    /// Where the spans of its calls are.
    pub trace: &'a Trace,
    pub deadline: Instant,
    pub calls: CallLog,
    pub cursors: &'a cursor::CursorSeal,
    pub quotas: &'a quota::Quotas,
    pub drifts: &'a drift::Drifts,
}

/// Entities of one request, at all places together: lists of entities inside one another multiply.
pub const ENTITIES_MAX: usize = 20_000;

/// Upstream calls and entities of one request: bounded, and noted for the audit.
#[derive(Debug)]
pub struct CallLog {
    left: AtomicUsize,
    entities_left: AtomicUsize,
    too_many_entities: AtomicBool,
    has_missed: AtomicBool,
    made: Mutex<Vec<(SourceId, Option<ErrorCode>)>>,
}

impl CallLog {
    pub fn new(calls_max: usize) -> Self {
        Self {
            left: AtomicUsize::new(calls_max),
            entities_left: AtomicUsize::new(ENTITIES_MAX),
            too_many_entities: AtomicBool::new(false),
            has_missed: AtomicBool::new(false),
            made: Mutex::new(Vec::new()),
        }
    }

    /// Calls that may still be made.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes a call; false where none is left.
    pub(super) fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Takes entities; false where there are not so many left, and then the request is refused as a whole.
    pub(super) fn take_entities(&self, count: usize) -> bool {
        let taken = self
            .entities_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count))
            .is_ok();
        if !taken {
            self.too_many_entities.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Whether the request reaches more than [`ENTITIES_MAX`] entities, so that some are missing.
    pub fn has_too_many_entities(&self) -> bool {
        self.too_many_entities.load(Ordering::Relaxed)
    }

    /// Entities are counted anew, since those of the stretch before are let go, and so is whether a call was missed.
    pub fn begin_stretch(&self) {
        self.entities_left.store(ENTITIES_MAX, Ordering::Relaxed);
        self.has_missed.store(false, Ordering::Relaxed);
    }

    /// A call was not made for the gateway's own reasons: it had no more calls, or its turn did not come in time.
    pub(super) fn miss(&self) {
        self.has_missed.store(true, Ordering::Relaxed);
    }

    /// Whether a call was missed since the stretch began, so that what is not known is not the departments' doing.
    pub fn has_missed(&self) -> bool {
        self.has_missed.load(Ordering::Relaxed)
    }

    /// Notes how a call ended.
    pub(super) fn note(&self, source: SourceId, failed: Option<ErrorCode>) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((source, failed));
    }

    /// The calls made, and how each ended.
    pub fn entries(&self) -> Vec<(SourceId, Option<ErrorCode>)> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ids of the sources called, each once, in order.
    pub fn sources(&self, bindings: &Bindings) -> Vec<Arc<str>> {
        let mut ids: Vec<Arc<str>> = self
            .entries()
            .iter()
            .filter(|(_, failed)| *failed != Some(ErrorCode::QuotaExceeded))
            .map(|(source, _)| Arc::clone(&bindings.source(*source).id))
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

impl Execution<'_> {
    /// Executes the plan: an answer for every root selection that has entities.
    pub async fn run(&self) -> Vec<Option<RootAnswer>> {
        let roots = &self.plan.roots;
        let mut nodes: Vec<NodeId> = roots.iter().flatten().copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let answered = futures::future::join_all(nodes.into_iter().map(|node| self.roots(node))).await;
        let mut answers: Vec<Option<RootAnswer>> = roots.iter().map(|_| None).collect();
        for (at, answer) in answered.into_iter().flatten() {
            if let Some(place) = answers.get_mut(at) {
                *place = Some(answer);
            }
        }
        answers
    }
}
