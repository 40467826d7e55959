//! What second persons have to do with a request: the approval it carries, the emergency it declares.
//!
//! Both are noted durably before anything is fetched, and only where the plan relies on them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Asked, Inner, Planned};
use crate::approval::Act;
use crate::audit::timestamp;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::model::access::condition::BreakGlass;
use crate::model::access::{Approved, Grant};

/// What was noted of a request, for its answer and its record.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    /// Members of the answer's `extensions`.
    pub extensions: Map<String, Value>,
    /// Details of the audit record.
    pub details: Vec<(String, Value)>,
}

impl Inner {
    /// The approval that the request names.
    pub(super) async fn approved(&self, asked: &Asked<'_>) -> Result<Option<Approved>, RequestError> {
        match &asked.identity.approval {
            Some(id) => self.approvals.check(asked.identity, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Uses up what the plan relies on; refused, nothing is fetched.
    pub(super) async fn note(&self, asked: &Asked<'_>, planned: &Planned) -> Result<Noted, RequestError> {
        let mut noted = Noted::default();
        let access = &self.snapshot.access;
        let act = Act { access, identity: asked.identity, request_id: asked.request_id };
        if let Some(reason) = &asked.identity.break_glass {
            self.break_glass(&act, planned, reason, &mut noted).await?;
        }
        let by_approval = |relation| access.relation(relation).is_some_and(|relation| relation.approved);
        let relies = planned.plan.nodes.iter().flat_map(|node| &node.relations).any(|need| by_approval(need.relation));
        if let Some(approved) = planned.asking.approved.as_ref().filter(|_| relies) {
            self.approvals.take(&act, &approved.id).await?;
            noted.extensions.insert("approval".to_owned(), json!({ "id": approved.id }));
            noted.details.push(("approval".to_owned(), json!(approved.id)));
        }
        Ok(noted)
    }

    async fn break_glass(
        &self,
        act: &Act<'_>,
        planned: &Planned,
        reason: &str,
        noted: &mut Noted,
    ) -> Result<(), RequestError> {
        let grants = planned.rights.key.iter().filter_map(|at| act.access.grants.get(*at));
        let broken: Vec<(&Grant, &BreakGlass)> =
            grants.filter_map(|grant| Some((grant, grant.conditions.break_glass.as_ref()?))).collect();
        if broken.is_empty() {
            let message = "no role of yours that counts here gives anything in an emergency; leave the reason out";
            return Err(RequestError::new(ErrorCode::Forbidden, message.to_owned()));
        }
        let relied: Vec<&(&Grant, &BreakGlass)> = broken
            .iter()
            .filter(|(grant, _)| planned.plan.nodes.iter().any(|node| node.shown.intersects(&grant.slots)))
            .collect();
        let Some(hours) = relied.iter().map(|(_, rule)| rule.review_hours_max).min() else { return Ok(()) };
        let review_by: BTreeSet<&str> =
            relied.iter().flat_map(|(_, rule)| rule.review_by.iter().map(|role| &**role)).collect();
        let opened = self.approvals.break_glass(act, reason, &review_by, hours).await?;
        let roles: BTreeSet<&str> = relied.iter().map(|(grant, _)| &*grant.role).collect();
        tracing::warn!(
            request_id = act.request_id,
            emergency = opened.id,
            ?roles,
            "break-glass access: it waits for a review"
        );
        let due = timestamp(opened.due_at);
        noted.extensions.insert("breakGlass".to_owned(), json!({ "id": opened.id, "reviewBefore": due }));
        noted.details.push(("breakGlass".to_owned(), json!(opened.id)));
        Ok(())
    }
}
