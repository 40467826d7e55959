//! What a request may cost in calls to departments: decided by the plan's estimate, before the first of them.

use std::sync::Arc;

use serde_json::Map;

use super::{Asked, DocumentLimits, Executed, Inner, Planned};
use crate::base::code::ErrorCode;
use crate::engine::authorize::authorize;
use crate::engine::error::RequestError;
use crate::engine::operation::Document;
use crate::engine::plan;
use crate::engine::plan::cost::{self, Assumed};
use crate::model::access::Rights;
use crate::model::snapshot::Snapshot;

/// Sources that a refusal names.
const NAMED_MAX: usize = 3;

impl Inner {
    /// Executes where the estimate is within the caller's limit and within what a minute allows. What was made beyond the
    /// estimate ends at the same limit, and is settled afterwards.
    pub(super) async fn within_budget(&self, asked: &Asked<'_>, planned: &Planned) -> Result<Executed, RequestError> {
        let calls_max = self.calls_max(planned) / asked.request.others.saturating_add(1);
        let assumed = Assumed::of(&self.snapshot, &planned.plan, &planned.variables);
        let estimate = cost::total(&self.snapshot, &planned.plan, assumed);
        if estimate > calls_max {
            return Err(self.too_costly(planned, assumed, estimate, calls_max));
        }
        // Before anything is noted: what is refused here uses up no approval and declares no emergency.
        let ready = self.ready(asked, planned)?;
        let paid = self
            .kept
            .calls
            .take(asked.identity, u64::try_from(estimate).unwrap_or(u64::MAX))
            .map_err(|busy| RequestError::rate_limited("calls to departments", busy.retry_after_s))?;
        let executed = match self.note(asked, planned).await {
            Ok(noted) => Ok(self.execute(asked, planned, ready, noted, calls_max).await),
            Err(error) => Err(error),
        };
        let made = executed.as_ref().map_or(0, |executed| executed.log.entries().len());
        paid.settle(u64::try_from(made).unwrap_or(u64::MAX));
        executed
    }

    /// The widest of the caller's roles, within the gateway's own limit.
    pub(super) fn calls_max(&self, planned: &Planned) -> usize {
        let overall = self.snapshot.config.limits.upstream_calls_max;
        let roles = self.snapshot.access.counting(planned.asking.presented());
        roles.map(|role| role.doors.upstream_calls_max.unwrap_or(overall)).max().unwrap_or(overall).min(overall)
    }

    /// Says what it would cost and where: the departments are those of the caller's own plan.
    fn too_costly(&self, planned: &Planned, assumed: Assumed, estimate: usize, calls_max: usize) -> RequestError {
        let most: Vec<String> = cost::by_source(&self.snapshot, &planned.plan, assumed)
            .into_iter()
            .take(NAMED_MAX)
            .map(|(source, calls)| format!("{} {calls}", self.snapshot.bindings.source(source).title))
            .collect();
        let message = format!(
            "this would take about {estimate} calls to departments, and {calls_max} are allowed; ask for fewer entities \
             at once (`first`, aliases) or for fewer fields. Most go to: {}",
            most.join(", ")
        );
        RequestError::new(ErrorCode::LimitExceeded, message)
    }
}

/// The operations of a document, by name, with the calls that each is reckoned to take under these grants. Variables are
/// not known: pages have their default size.
pub fn estimates_of(snapshot: &Snapshot, text: &str, grants: Vec<usize>) -> Result<Vec<(String, usize)>, RequestError> {
    let limits = DocumentLimits::of(&snapshot.config.limits);
    let document = Document::parse(text, &snapshot.contract, limits)?;
    let rights = Arc::new(Rights::new(&snapshot.access, grants));
    let names = document.valid.operations.named.keys().map(|name| Some(name.as_str()));
    let anonymous = document.valid.operations.anonymous.is_some().then_some(None);
    names
        .chain(anonymous)
        .map(|name| {
            let variables = Map::new();
            let collected = document.collect(&snapshot.contract, document.named(name)?, &variables, limits)?;
            let plan = plan::build(snapshot, &authorize(Arc::new(collected), Arc::clone(&rights)))?;
            let assumed = Assumed::of(snapshot, &plan, &variables);
            Ok((name.unwrap_or("(without a name)").to_owned(), cost::total(snapshot, &plan, assumed)))
        })
        .collect()
}
