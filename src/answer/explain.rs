//! How a caller stands to one entity, relation by relation: for `huxiang access explain`. Asks departments only for what
//! relations read, and is on record as every look is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::{Gateway, Inner, document_limits};
use crate::audit::{Access, AuditRecord, Kind};
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, active_grants, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::{CallLog, Execution};
use crate::engine::frame::Failure;
use crate::engine::operation::Document;
use crate::engine::plan;
use crate::engine::project::answer::message;
use crate::identify::Identity;
use crate::model::access::{RelationId, Rights};
use crate::model::contract::{EntityId, RootKind, Shape, SlotId};
use crate::source::{CallContext, Caller};

/// How the caller stands in one relation to an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Yes,
    No,
    /// The token alone rules it out: nobody was asked.
    RuledOut,
    /// It could not be decided, and so counts as no: who did not answer, and what to do.
    NotAvailable(String),
    /// It is a relation to other entities, such as the members of this one.
    ElsewhereOnly,
}

impl Gateway {
    /// How the caller stands to one entity in the relations of the grants that count now. On record before it is told.
    pub async fn standing(
        &self,
        identity: &Identity,
        entity: EntityId,
        key: &str,
        request_id: &str,
    ) -> Result<BTreeMap<RelationId, Standing>, RequestError> {
        let inner = &self.inner;
        let access = &inner.snapshot.access;
        let asking = Asking { trusted: true, ..Asking::new(identity, inner.clock.now()) };
        let counting = access.active(asking.presented());
        let possible: BTreeSet<usize> = active_grants(&inner.snapshot, &asking).into_iter().collect();
        let mut found: BTreeMap<RelationId, Standing> = BTreeMap::new();
        let mut record = AuditRecord::event(Kind::Admin, request_id, identity, "accessExplain");
        let handed_down = inner.snapshot.contract.entity(entity).via.is_some();
        let relations: BTreeSet<RelationId> =
            counting.iter().filter_map(|at| access.grants.get(*at)).map(|grant| grant.relation).collect();
        for relation in relations {
            let of_relation = |at: &&usize| access.grants.get(**at).is_some_and(|grant| grant.relation == relation);
            let grants: Vec<usize> = possible.iter().filter(of_relation).copied().collect();
            let on = access.relation(relation).map(|relation| relation.on);
            let standing = if on != Some(entity) && !handed_down {
                Standing::ElsewhereOnly
            } else if grants.is_empty() {
                Standing::RuledOut
            } else {
                inner.stands(&asking, identity, entity, key, grants, request_id, &mut record).await?
            };
            found.insert(relation, standing);
        }
        let name = |relation: &RelationId| access.relation(*relation).map(|relation| relation.name.to_string());
        let holds = found.iter().filter(|(_, standing)| **standing == Standing::Yes);
        let entity = inner.snapshot.contract.entity(entity).name.to_string();
        let relations = holds.filter_map(|(relation, _)| name(relation)).collect();
        record.add(inner.subjects.subject(&entity, key), Access { entity, relations, ..Access::default() });
        inner.audit.append(record).await.map_err(|error| {
            tracing::error!(request = request_id, %error, "the audit record could not be written: nothing is told");
            let message = "the audit record could not be written, so nothing is told; try again later";
            RequestError::new(ErrorCode::AuditUnavailable, message.to_owned())
        })?;
        Ok(found)
    }
}

impl Inner {
    #[expect(clippy::too_many_arguments, reason = "one relation of one look")]
    async fn stands(
        &self,
        asking: &Asking,
        identity: &Identity,
        entity: EntityId,
        key: &str,
        grants: Vec<usize>,
        request_id: &str,
        record: &mut AuditRecord,
    ) -> Result<Standing, RequestError> {
        let rights = Arc::new(Rights::new(&self.snapshot.access, grants));
        let Some((start, end)) = self.smallest(entity, &rights) else { return Ok(Standing::ElsewhereOnly) };
        let quoted = serde_json::to_string(key).unwrap_or_default();
        let is_number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
        let plan = match self.planned(&format!("{start}{quoted}{end}"), &rights) {
            Err(_) if is_number => self.planned(&format!("{start}{key}{end}"), &rights),
            planned => planned,
        };
        let plan = plan.map_err(|_| {
            RequestError::new(ErrorCode::ValidationFailed, "the key is not one of that type".to_owned())
        })?;
        let Some(node) = plan.roots.iter().flatten().next().copied() else { return Ok(Standing::ElsewhereOnly) };
        let context = CallContext {
            traceparent: None,
            request_id: request_id.to_owned(),
            caller: None,
            periods: Default::default(),
        };
        let caller = Caller {
            principal: identity.principal.as_ref().map_or_else(String::new, |principal| principal.id.clone()),
            purpose: asking.purpose.clone(),
            case: asking.case.clone(),
        };
        let limits = &self.snapshot.config.limits;
        let variables = Map::new();
        let execution = Execution {
            snapshot: &self.snapshot,
            plan: &plan,
            rights: &rights,
            asking,
            connectors: &self.connectors,
            variables: &variables,
            caller_context: CallContext { caller: Some(caller), ..context.clone() },
            context,
            deadline: tokio::time::Instant::now() + Duration::from_millis(limits.request_timeout_ms),
            calls: CallLog::new(limits.upstream_calls_max),
            cursors: &self.cursors,
            quotas: &self.quotas,
        };
        let (related, undecided) = execution.standing(node, key).await;
        for (source, failed) in execution.calls.entries() {
            record.called(&self.snapshot.bindings.source(source).id, failed);
        }
        Ok(match (related, undecided) {
            (true, _) => Standing::Yes,
            (false, Some(failure)) => Standing::NotAvailable(self.told(failure)),
            (false, None) => Standing::No,
        })
    }

    fn told(&self, failure: Failure) -> String {
        let title = failure.source.map_or("", |source| &self.snapshot.bindings.source(source).title);
        format!("{}: {}", failure.code, message(failure, title))
    }

    fn planned(&self, text: &str, rights: &Arc<Rights>) -> Result<plan::Plan, RequestError> {
        let limits = document_limits(&self.snapshot.config);
        let document = Document::parse(text, &self.snapshot.contract, limits)?;
        let operation = document.operation(None)?;
        let collected = document.collect(&self.snapshot.contract, operation, &Map::new(), limits)?;
        plan::build(&self.snapshot, &authorize(Arc::new(collected), Arc::clone(rights)))
    }

    /// A document with one value of the entity, in front of and after its key: what the rights give nearest to the top.
    fn smallest(&self, entity: EntityId, rights: &Rights) -> Option<(String, String)> {
        let contract = &self.snapshot.contract;
        let query = contract.queries.iter().find(|query| query.entity == entity && by_key(&query.kind).is_some())?;
        let is_value = |slot: &SlotId| {
            let found = contract.slot(*slot);
            let within_types =
                std::iter::once(*slot).chain(contract.above(*slot)).any(|slot| contract.slot(slot).is_type);
            let value = matches!(found.shape, Shape::Leaf(_) | Shape::LeafList(_));
            found.entity == entity && value && !within_types && !found.hidden
        };
        let slot =
            rights.any.iter().filter(is_value).min_by_key(|slot| contract.slot(*slot).path.split('.').count())?;
        let path = &contract.slot(slot).path;
        let selection = path.rsplit('.').map(str::to_owned).reduce(|inner, outer| format!("{outer} {{ {inner} }}"))?;
        Some((format!("{{ {}({}: ", query.name, by_key(&query.kind)?), format!(") {{ {selection} }} }}")))
    }
}

fn by_key(kind: &RootKind) -> Option<&str> {
    match kind {
        RootKind::ByKey { argument } => Some(argument),
        _ => None,
    }
}
