//! How a caller stands to one entity, relation by relation: for `huxiang access explain`. Asks departments only for what
//! relations read, and is on record as every look is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Map;

use super::{DocumentLimits, Gateway, Inner};
use crate::audit::{Access, AuditRecord, Kind, Outcome, timestamp};
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, active_grants, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::{CallLog, Execution};
use crate::engine::frame::Failure;
use crate::engine::operation::Document;
use crate::engine::plan;
use crate::engine::project::answer::message;
use crate::identify::Identity;
use crate::model::access::{RelationId, Rights, SlotSet};
use crate::model::contract::{EntityId, RootKind, Shape, SlotId};
use crate::source::{CallContext, Caller};
use crate::trace::Trace;

/// What the gateway's clock may differ by from the machine's within one look.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(60);

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

/// How a caller stands to one entity, and as whom that was judged.
pub struct Looked {
    pub asking: Asking,
    pub standing: BTreeMap<RelationId, Standing>,
}

/// What was read to find out: whose facts, and for whom the caller would act.
#[derive(Default)]
struct Read {
    used: BTreeMap<(EntityId, String), SlotSet>,
    on_behalf_of: BTreeSet<(EntityId, Arc<str>)>,
}

/// One look.
struct Look<'a> {
    identity: &'a Identity,
    asking: Asking,
    entity: EntityId,
    key: &'a str,
    request_id: &'a str,
}

impl Gateway {
    /// How the caller stands to one entity in the relations of the grants that count now, by the gateway's clock. On
    /// record before it is told, also where it cannot be told. Nothing is used up and no emergency is declared: the
    /// record says what was only assumed.
    pub async fn standing(
        &self,
        identity: &Identity,
        entity: EntityId,
        key: &str,
        request_id: &str,
    ) -> Result<Looked, RequestError> {
        let inner = &self.inner;
        let began = Instant::now();
        let asking = Asking { trusted: true, ..Asking::new(identity, inner.kept.clock.now()) };
        let mut record =
            inner.assumed(AuditRecord::event(Kind::Admin, request_id, identity, "accessExplain"), identity);
        let mut look = Look { identity, asking, entity, key, request_id };
        let found = inner.look(&mut look, &mut record).await;
        let counting = inner.snapshot.access.counting(look.asking.presented());
        record.counting = Some(counting.map(|role| role.name.to_string()).collect());
        match &found {
            Ok(found) if found.values().any(|standing| matches!(standing, Standing::NotAvailable(_))) => {
                record.outcome = Outcome::Partial;
            }
            Ok(_) => {}
            Err(error) => {
                record.outcome = Outcome::Rejected;
                record.errors.insert(error.code);
            }
        }
        record.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        inner.kept.audit.append(record).await.map_err(|error| {
            tracing::error!(request = request_id, %error, "the audit record could not be written: nothing is told");
            let message = "the audit record could not be written, so nothing is told; try again later";
            RequestError::new(ErrorCode::AuditUnavailable, message.to_owned())
        })?;
        found.map(|standing| Looked { asking: look.asking, standing })
    }
}

impl Inner {
    /// What the look only assumes: an emergency that is not declared, an approval that is not used up, another time.
    fn assumed(&self, mut record: AuditRecord, identity: &Identity) -> AuditRecord {
        let now = self.kept.clock.now();
        if now.duration_since(Timestamp::now()).abs() > CLOCKS_APART_MAX {
            record = record.with("assumedTime", timestamp(now));
        }
        if let Some(reason) = &identity.break_glass {
            record = record.with("assumedBreakGlass", self.kept.subjects.argument("breakGlass", reason));
        }
        if let Some(id) = &identity.approval {
            record = record.with("assumedApproval", self.kept.subjects.argument("approval", id));
        }
        record
    }

    /// Relation by relation; what was read and of whom goes into the record, also where the look ends in an error.
    async fn look(
        &self,
        look: &mut Look<'_>,
        record: &mut AuditRecord,
    ) -> Result<BTreeMap<RelationId, Standing>, RequestError> {
        let (access, contract) = (&self.snapshot.access, &self.snapshot.contract);
        let mut read = Read::default();
        let mut found: BTreeMap<RelationId, Standing> = BTreeMap::new();
        let ended = self.relations(look, &mut found, &mut read, record).await;
        let holds = found.iter().filter(|(_, standing)| **standing == Standing::Yes);
        let relations: BTreeSet<String> =
            holds.filter_map(|(id, _)| access.relation(*id)).map(|relation| relation.name.to_string()).collect();
        let of = |id: EntityId, key: &str| self.kept.subjects.subject(&contract.entity(id).name, key);
        let looked_at = (look.entity, look.key.to_owned());
        read.used.entry(looked_at.clone()).or_default();
        for (whom, used) in read.used {
            let (entity, used) = (contract.entity(whom.0).name.to_string(), self.names(used.iter()));
            let mut seen = Access { entity, used, ..Access::default() };
            if whom == looked_at {
                seen.relations.clone_from(&relations);
                seen.on_behalf_of = read.on_behalf_of.iter().map(|(id, key)| of(*id, key)).collect();
            }
            record.add(of(whom.0, &whom.1), seen);
        }
        ended.map(|()| found)
    }

    async fn relations(
        &self,
        look: &mut Look<'_>,
        found: &mut BTreeMap<RelationId, Standing>,
        read: &mut Read,
        record: &mut AuditRecord,
    ) -> Result<(), RequestError> {
        let access = &self.snapshot.access;
        if let Some(id) = &look.identity.approval {
            look.asking.approved = Some(self.kept.approvals.check(look.identity, id).await?);
        }
        let counting = access.active(look.asking.presented());
        let possible: BTreeSet<usize> = active_grants(&self.snapshot.access, &look.asking).into_iter().collect();
        let handed_down = self.snapshot.contract.entity(look.entity).via.is_some();
        let relations: BTreeSet<RelationId> =
            counting.iter().filter_map(|at| access.grants.get(*at)).map(|grant| grant.relation).collect();
        for relation in relations {
            let of_relation = |at: &&usize| access.grants.get(**at).is_some_and(|grant| grant.relation == relation);
            let grants: Vec<usize> = possible.iter().filter(of_relation).copied().collect();
            let on = access.relation(relation).map(|relation| relation.on);
            let standing = if on != Some(look.entity) && !handed_down {
                Standing::ElsewhereOnly
            } else if grants.is_empty() {
                Standing::RuledOut
            } else {
                self.stands(look, grants, read, record).await?
            };
            found.insert(relation, standing);
        }
        Ok(())
    }

    async fn stands(
        &self,
        look: &Look<'_>,
        grants: Vec<usize>,
        read: &mut Read,
        record: &mut AuditRecord,
    ) -> Result<Standing, RequestError> {
        let Look { identity, asking, key, request_id, .. } = look;
        let entity = look.entity;
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
            trace: Trace::default(),
            request_id: (*request_id).to_owned(),
            caller: None,
            principal: asking.principal(),
            asker: asking.asker(),
            periods: Default::default(),
            waiters: None,
        };
        // In nobody's name: who explains is not who would ask.
        let caller = Caller { roles: Vec::new(), ..self.caller(identity, asking) };
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
            trace: &Trace::default(),
            deadline: tokio::time::Instant::now() + Duration::from_millis(limits.request_timeout_ms),
            calls: CallLog::new(limits.upstream_calls_max),
            cursors: &self.kept.cursors,
            quotas: &self.kept.quotas,
            drifts: &self.kept.drifts,
        };
        let stood = execution.standing(node, key).await;
        for (source, failed) in execution.calls.entries() {
            record.called(&self.snapshot.bindings.source(source).id, failed);
        }
        for (entity, key, used) in stood.used {
            read.used.entry((entity, key.to_string())).or_default().union(&used);
        }
        read.on_behalf_of.extend(stood.on_behalf_of);
        Ok(match (stood.holds, stood.undecided) {
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
        let limits = DocumentLimits::of(&self.snapshot.config.limits);
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
