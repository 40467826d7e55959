//! What second persons have to do with a request: the approval it carries, the emergency it declares.
//!
//! Both are noted durably before anything is fetched, and only where the plan relies on them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Asked, Inner, Planned, Streaming};
use crate::approval::{Act, Opened};
use crate::audit::timestamp;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::operation::{Selection, What};
use crate::engine::plan::{Origin, Plan};
use crate::engine::project::answer::FrameTold;
use crate::model::access::condition::BreakGlass;
use crate::model::access::{Approved, Grant, SlotSet};
use crate::model::snapshot::Snapshot;
use crate::scan::Concerned;

/// What was noted of a request, for its answer and its record.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    /// Members of the answer's `extensions`.
    pub extensions: Map<String, Value>,
    /// Details of the audit record.
    pub details: Vec<(String, Value)>,
    /// Whom a scan concerned.
    pub concerned: Concerned,
    /// Of a frame of a stream: how far it has come.
    pub frame: Option<FrameTold>,
}

impl Inner {
    /// The approval that the request names.
    pub(super) async fn approved(&self, asked: &Asked<'_>) -> Result<Option<Approved>, RequestError> {
        match &asked.identity.approval {
            Some(id) if asked.stream.is_some_and(Streaming::has_taken_approval) => {
                self.kept.approvals.presented_taken(asked.identity, id).await.map(Some)
            }
            Some(id) => self.kept.approvals.presented(asked.identity, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Uses up what the plan relies on; refused, nothing is fetched. What was used up for a stream holds for all its turns.
    pub(super) async fn note(&self, asked: &Asked<'_>, planned: &Planned) -> Result<Noted, RequestError> {
        if let Some(noted) = asked.stream.and_then(Streaming::noted) {
            return Ok(noted);
        }
        let noted = self.noted(asked, planned).await?;
        if let Some(stream) = asked.stream {
            stream.note(&noted);
        }
        Ok(noted)
    }

    async fn noted(&self, asked: &Asked<'_>, planned: &Planned) -> Result<Noted, RequestError> {
        let mut noted = Noted::default();
        let access = &self.snapshot.access;
        let act = Act { access, identity: asked.identity, request_id: asked.request_id };
        if let Some(reason) = &asked.identity.break_glass {
            self.break_glass(&act, planned, reason, &mut noted).await?;
        }
        let by_approval = |relation| access.relation(relation).is_some_and(|relation| relation.approved);
        let of_scan = planned.scan.as_ref().and_then(|scan| scan.approval.as_ref());
        // Who is only told what it would take has not begun.
        let only_plans = planned.scan.as_ref().is_some_and(|scan| scan.stats.is_none() && scan.first == 0);
        if let Some(approval) = of_scan.filter(|approval| approval.given.is_none()) {
            // Whom it is asked of, and by whom it is given, name it so.
            noted.extensions.insert("scan".to_owned(), json!({ "entity": approval.entity, "key": approval.key }));
        }
        let given = of_scan.and_then(|approval| approval.given.as_ref());
        let relies = planned.plan.nodes.iter().flat_map(|node| &node.relations).any(|need| by_approval(need.relation))
            || (given.is_some() && !only_plans);
        if let Some(approved) = planned.asking.approved.as_ref().filter(|_| relies) {
            // One use is good for all pages of a scan.
            if given.is_some_and(|given| given.goes_on) {
                noted.details.push(("approvalGoesOn".to_owned(), json!(true)));
            } else {
                self.kept.approvals.take(&act, &approved.id).await?;
            }
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
        // Each rule has its own review: who reviews by one says nothing for another.
        let mut rules: BTreeMap<(BTreeSet<&str>, u32), BTreeSet<&str>> = BTreeMap::new();
        for (grant, rule) in self.relied_on(planned, broken) {
            let review_by = rule.review_by.iter().map(|role| &**role).collect();
            rules.entry((review_by, rule.review_hours_max)).or_default().insert(&*grant.role);
        }
        let mut opened = Vec::with_capacity(rules.len());
        for ((review_by, hours), roles) in &rules {
            let one = self.kept.approvals.break_glass(act, reason, review_by, *hours).await?;
            tracing::warn!(
                request_id = act.request_id,
                emergency = one.id,
                ?roles,
                "break-glass access: it waits for a review"
            );
            opened.push(one);
        }
        opened.sort_by_key(|one| one.due_at);
        let told = |one: &Opened| json!({ "id": one.id, "reviewBefore": timestamp(one.due_at) });
        let Some((first, others)) = opened.split_first() else { return Ok(()) };
        let mut told_first = told(first);
        noted.details.push(("breakGlass".to_owned(), json!(first.id)));
        if !others.is_empty() {
            if let Some(told_first) = told_first.as_object_mut() {
                told_first.insert("also".to_owned(), others.iter().map(told).collect());
            }
            let ids: Vec<&str> = others.iter().map(|one| &*one.id).collect();
            noted.details.push(("breakGlassAlso".to_owned(), json!(ids)));
        }
        noted.extensions.insert("breakGlass".to_owned(), told_first);
        Ok(())
    }

    /// Of the grants for an emergency, those that make a difference to this plan. A section (what has no class) comes with
    /// what is in it: a grant gives it to nobody who has it by another grant of the same relation.
    fn relied_on<'g>(
        &'g self,
        planned: &Planned,
        broken: Vec<(&'g Grant, &'g BreakGlass)>,
    ) -> Vec<(&'g Grant, &'g BreakGlass)> {
        let touched = touched(&self.snapshot, &planned.plan);
        let (mut valued, mut sections) = (SlotSet::new(), SlotSet::new());
        for slot in touched.iter() {
            let of = if self.snapshot.contract.slot(slot).class.is_some() { &mut valued } else { &mut sections };
            of.insert(slot);
        }
        let by_value = |grant: &Grant| grant.slots.intersects(&valued);
        let active: Vec<&Grant> =
            planned.rights.key.iter().filter_map(|at| self.snapshot.access.grants.get(*at)).collect();
        let counts = |grant: &&&Grant| grant.conditions.break_glass.is_none() || by_value(grant);
        let has_otherwise = |grant: &Grant, slot| {
            active.iter().filter(counts).any(|other| other.relation == grant.relation && other.slots.contains(slot))
        };
        let alone = |grant: &Grant| grant.slots.intersection(&sections).iter().any(|slot| !has_otherwise(grant, slot));
        broken.into_iter().filter(|(grant, _)| by_value(grant) || alone(grant)).collect()
    }
}

/// The slots whose grants decide what a plan finds, reads and tells: those shown; what its roots are found by; what the
/// rules of shown derived fields read, which is told where it is given. The date that a shown list is cut by is of no
/// grant that does not give the list.
fn touched(snapshot: &Snapshot, plan: &Plan) -> SlotSet {
    let contract = &snapshot.contract;
    let mut touched = SlotSet::new();
    for node in &plan.nodes {
        touched.union(&node.shown);
        if let Origin::Query(at) = node.origin {
            let finds = contract.queries.get(at).into_iter().flat_map(|query| &query.finds_by);
            finds.flat_map(|finds| &finds.slots).for_each(|slot| touched.insert(*slot));
        }
        let mut reads: Vec<&Selection> = node.derived.iter().flat_map(|need| &need.reads).collect();
        while let Some(read) = reads.pop() {
            reads.extend(&read.children);
            if let What::Slot(slot) = read.what {
                touched.insert(slot);
            }
        }
    }
    touched
}
