//! operation → authorize → plan: what a request asks for, as far as its caller may have it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Asked, Caches, cache, declared};
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, active_grants, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::operation::{Document, DocumentLimits};
use crate::engine::plan::{self, Plan};
use crate::identify::Identity;
use crate::model::access::{Approved, Presented, Rights};
use crate::model::snapshot::Snapshot;
use crate::scan::ScanPlan;

/// An operation planned for the caller.
pub(super) struct Planned {
    pub asking: Asking,
    pub document: Arc<Document>,
    pub variables: Map<String, Value>,
    pub rights: Arc<Rights>,
    pub plan: Arc<Plan>,
    /// Where it is a scan: what decides on what the plan answers.
    pub scan: Option<ScanPlan>,
}

impl Planned {
    /// Whether it names an approval that is used up, and does not go on under a use of it.
    pub fn is_used_up(&self) -> bool {
        let goes_on = |scan: &ScanPlan| scan.approval.as_ref()?.given.as_ref().map(|given| given.goes_on);
        let is_used_up = self.asking.approved.as_ref().is_some_and(|approved| approved.is_used_up);
        is_used_up && !self.scan.as_ref().and_then(goes_on).unwrap_or(false)
    }
}

/// operation → authorize → plan. `cursors` opens the one that a scan goes on from.
pub(super) fn plan_of(
    snapshot: &Snapshot,
    caches: &Caches,
    asked: &Asked<'_>,
    now: Timestamp,
    approved: Option<Approved>,
    cursors: Option<&CursorSeal>,
) -> Result<Planned, RequestError> {
    declared::check(snapshot, asked.identity)?;
    let text = asked
        .request
        .query
        .as_deref()
        .ok_or_else(|| RequestError::new(ErrorCode::BadRequest, "the request has no `query`".to_owned()))?;
    let limits = DocumentLimits::of(&snapshot.config.limits);
    let name = asked.request.operation_name.as_deref();
    let asking = Asking { approved, ..asking_for(snapshot, asked.identity, text, now)? };
    let document = caches.document(text, || Document::parse(text, &snapshot.contract, limits))?;
    let operation = match asked.stream {
        Some(_) => document.subscription(name)?,
        None => document.operation(name)?,
    };
    let variables = document.variables(&snapshot.contract, operation, &asked.request.variables)?;
    let active = active_grants(&snapshot.access, &asking);
    let rights = caches.rights(active, |active| Rights::new(&snapshot.access, active));
    let collect = || document.collect(&snapshot.contract, operation, &variables, limits);
    if document.scans() {
        // It may hold a condition, so nothing of it is kept.
        let collected = collect()?;
        let collected = Arc::new(match asked.stream {
            Some(stream) => stream.going_on(collected, &variables),
            None => collected,
        });
        if let Some(scan) = ScanPlan::build(snapshot, &asking, &collected, &variables, cursors)? {
            if asked.stream.is_some() && scan.stats.is_none() && scan.first == 0 {
                let message = "a stream shows at least one at once: ask with `first: 0` as a query".to_owned();
                return Err(RequestError::new(ErrorCode::ValidationFailed, message));
            }
            let (rights, plan) = (Arc::clone(&scan.rights), Arc::clone(&scan.answering));
            return Ok(Planned { asking, document, variables, rights, plan, scan: Some(scan) });
        }
        let plan = Arc::new(plan::build(snapshot, &authorize(collected, Arc::clone(&rights)))?);
        return Ok(Planned { asking, document, variables, rights, plan, scan: None });
    }
    let key = cache::PlanKey::new(text, name, &document, &variables, &rights);
    let plan = caches.plan(key, || plan::build(snapshot, &authorize(Arc::new(collect()?), Arc::clone(&rights))))?;
    Ok(Planned { asking, document: Arc::clone(&document), variables, rights, plan, scan: None })
}

/// Who asks for this document. A role that may only run trusted documents does not count for any other; where the caller
/// has no other role, that is told before anything is parsed.
fn asking_for(snapshot: &Snapshot, identity: &Identity, text: &str, now: Timestamp) -> Result<Asking, RequestError> {
    let asking = Asking { trusted: snapshot.documents.contains(text), ..Asking::new(identity, now) };
    let presented = asking.presented();
    let counts = |presented| snapshot.access.counting(presented).next().is_some();
    if !counts(presented) && counts(Presented { trusted: true, ..presented }) {
        let message = "your role runs only trusted documents: send the `documentId` of one, or its text to the letter";
        return Err(RequestError::new(ErrorCode::Forbidden, message.to_owned()));
    }
    Ok(asking)
}
