//! The whole flow of a request: operation → authorize → plan → execute → project → audit → answer.
//!
//! The only door to the engine, for every transport. Nothing is answered before its audit record is durable.

mod budget;
mod cache;
mod declared;
mod ending;
mod explain;
mod introspect;
mod record;
mod request;
mod second;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::approval::Approvals;
use crate::audit::{self, AuditRecord, AuditStore, RevokeError, SubjectKey};
use crate::base::clock::Clock;
use crate::base::code::ErrorCode;
use crate::engine::authorize::{Asking, active_grants, authorize};
use crate::engine::error::RequestError;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::execute::quota::Quotas;
use crate::engine::execute::{CallLog, Connectors, ENTITIES_MAX, Execution};
use crate::engine::frame::RootAnswer;
use crate::engine::operation::{Document, DocumentLimits};
use crate::engine::periods::periods;
use crate::engine::plan::cost::Assumed;
use crate::engine::plan::{self, Plan};
use crate::engine::project::answer::{self as projection, Response};
use crate::identify::rate::Meter;
use crate::identify::{Identity, Revocation, RevocationError, RevocationOrder, Revocations, Verifier};
use crate::model::access::{Approved, Presented, Rights, Role};
use crate::model::config::{AuditConfig, GatewayConfig};
use crate::model::snapshot::Snapshot;
use crate::source::{AccessLog, CallContext, Caller, Connector, Period, Shared};
use crate::watch::Watch;

pub use budget::estimates_of;
use cache::Caches;
use ending::{Ending, GRACE};
pub use explain::{Looked, Standing};
pub use introspect::RoleSchema;
pub use request::{Answer, GraphqlRequest, Outcome};
use second::Noted;

/// The gateway: one snapshot, its sources and the audit store. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    snapshot: Arc<Snapshot>,
    connectors: Connectors,
    audit: AuditStore,
    watch: Watch,
    subjects: SubjectKey,
    cursors: CursorSeal,
    quotas: Quotas,
    caches: Caches,
    clock: Clock,
    /// Calls to departments within a minute, by who pays for them.
    calls: Meter,
    /// What checks tokens in front of this gateway, where it is served.
    verifier: OnceLock<Arc<Verifier>>,
    approvals: Approvals,
}

/// Why the gateway cannot start.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// One request on its way.
struct Asked<'a> {
    identity: &'a Identity,
    request: &'a GraphqlRequest,
    request_id: &'a str,
    traceparent: Option<&'a str>,
}

/// An operation planned for the caller.
struct Planned {
    asking: Asking,
    document: Arc<Document>,
    variables: Map<String, Value>,
    rights: Arc<Rights>,
    plan: Arc<Plan>,
}

/// What is there before any department is asked.
struct Ready {
    introspection: Map<String, Value>,
    periods: Arc<[Period]>,
}

/// What execution and projection came to.
struct Executed {
    roots: Vec<Option<RootAnswer>>,
    log: CallLog,
    response: Response,
    noted: Noted,
}

impl Gateway {
    /// Connects the sources and opens the audit store.
    pub async fn start(snapshot: Snapshot) -> Result<Self, StartError> {
        Self::start_at(snapshot, Clock::system()).await
    }

    /// As [`Self::start`], at the time that a clock tells.
    pub async fn start_at(snapshot: Snapshot, clock: Clock) -> Result<Self, StartError> {
        let audit = AuditStore::open(&recording(&snapshot)).await.map_err(|error| StartError(error.to_string()))?;
        let watch = Watch::start(snapshot.config.alerts.clone(), audit.clone());
        let subjects = SubjectKey::new(Arc::clone(&snapshot.config.audit.key));
        let cursors = CursorSeal::new(&snapshot.config.audit.key);
        let approvals = Approvals::new(&snapshot.config, subjects.clone(), audit.clone(), clock.clone());
        if snapshot.access.needs_second_persons() {
            approvals.open().await.map_err(StartError)?;
        }
        let shared =
            Shared::new(snapshot.config.egress.clone(), Some(Arc::new(AccessLog::new(&snapshot, clock.clone()))));
        let mut connectors: Connectors = Vec::with_capacity(snapshot.bindings.sources.len());
        for source in &snapshot.bindings.sources {
            let connect = |connection: &Arc<crate::model::binding::connection::Connection>| {
                Connector::new((**connection).clone(), &shared).map(Arc::new)
            };
            let connected: Result<Vec<_>, String> = source.connections.iter().map(connect).collect();
            connectors.push(
                connected
                    .map_err(|error| StartError(format!("the source `{}` cannot be connected: {error}", source.id)))?,
            );
        }
        Ok(Self {
            inner: Arc::new(Inner {
                calls: Meter::of_calls(&snapshot.config.rates),
                snapshot: Arc::new(snapshot),
                connectors,
                watch,
                audit,
                subjects,
                cursors,
                quotas: Quotas::default(),
                caches: Caches::default(),
                verifier: OnceLock::new(),
                clock,
                approvals,
            }),
        })
    }

    /// The verifier that checks tokens in front of this gateway, so that tokens can be revoked through it. Said once.
    pub fn served_behind(&self, verifier: Arc<Verifier>) {
        let _ = self.inner.verifier.set(verifier);
    }

    /// The list of revoked tokens; an error where there is none to this gateway.
    pub fn revocations(&self) -> Result<&Revocations, RevocationError> {
        self.verifier()?.revocations()
    }

    /// Revokes tokens for `identity`, who may: that has been looked at.
    pub async fn revoke(
        &self,
        identity: &Identity,
        request_id: &str,
        order: RevocationOrder,
    ) -> Result<Revocation, RevokeError> {
        let verifier = self.verifier().map_err(RevokeError::List)?;
        audit::revoke(verifier, &self.inner.audit, &self.inner.subjects, identity, request_id, order).await
    }

    fn verifier(&self) -> Result<&Verifier, RevocationError> {
        let none = || RevocationError::Store("this gateway checks no tokens".to_owned());
        self.inner.verifier.get().map(AsRef::as_ref).ok_or_else(none)
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.inner.snapshot
    }

    /// Whether requests can be answered now.
    pub fn ready(&self) -> bool {
        self.inner.audit.is_healthy()
    }

    /// Approvals and emergencies.
    pub fn approvals(&self) -> &Approvals {
        &self.inner.approvals
    }

    /// What decides which day and hour it is.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Where records go.
    pub fn audit(&self) -> &AuditStore {
        &self.inner.audit
    }

    /// What is known of unusual reading.
    pub fn watch(&self) -> &Watch {
        &self.inner.watch
    }

    /// Under which subjects stand in the records.
    pub fn subjects(&self) -> &SubjectKey {
        &self.inner.subjects
    }

    /// The connectors, by source and instance.
    pub fn connectors(&self) -> &Connectors {
        &self.inner.connectors
    }

    /// The answer, once its record is durable; without it, nothing is answered.
    pub async fn audited(&self, record: AuditRecord, answer: Answer, request_id: &str) -> Answer {
        self.inner.audited(record, answer, request_id, None).await
    }

    /// Answers a request. What was begun is finished and audited even if the caller goes away.
    pub async fn answer(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        traceparent: Option<String>,
    ) -> Answer {
        let inner = Arc::clone(&self.inner);
        let mut failed = AuditRecord::new(&request_id, &identity);
        failed.document = request.query.as_deref().map(|text| inner.subjects.document(text));
        let id = request_id.clone();
        let (ending, told) = Ending::new();
        let ending = Arc::new(ending);
        let of_flow = Arc::clone(&ending);
        let mut flow = tokio::spawn(async move {
            let asked = Asked {
                identity: &identity,
                request: &request,
                request_id: &request_id,
                traceparent: traceparent.as_deref(),
            };
            inner.answer(&asked, &of_flow).await
        });
        let limit = Duration::from_millis(self.inner.snapshot.config.limits.request_timeout_ms).saturating_add(GRACE);
        let ended = match tokio::time::timeout(limit, &mut flow).await {
            Ok(ended) => ended,
            Err(_) if ending.decide() => {
                let message = "the request took too long; ask for less".to_owned();
                let late = RequestError::new(ErrorCode::DeadlineExceeded, message);
                return self.inner.failed(failed, &late, &id, Some(told)).await;
            }
            // Its record is being written, which does not take for ever.
            Err(_) => flow.await,
        };
        match ended {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(request = %id, %error, "the flow of a request failed");
                let message = "the gateway failed; tell the operator the request id".to_owned();
                self.inner.failed(failed, &RequestError::new(ErrorCode::Internal, message), &id, None).await
            }
        }
    }

    /// The plan of a request as text, without executing it.
    pub fn plan_text(
        &self,
        identity: &Identity,
        request: &GraphqlRequest,
        assumed: Assumed,
    ) -> Result<String, RequestError> {
        plan_text(&self.inner.snapshot, &self.inner.caches, identity, request, assumed)
    }
}

/// The plan of a request as text, for a snapshot that serves nobody.
pub fn plan_text_of(
    snapshot: &Snapshot,
    identity: &Identity,
    request: &GraphqlRequest,
    assumed: Assumed,
) -> Result<String, RequestError> {
    plan_text(snapshot, &Caches::default(), identity, request, assumed)
}

fn plan_text(
    snapshot: &Snapshot,
    caches: &Caches,
    identity: &Identity,
    request: &GraphqlRequest,
    assumed: Assumed,
) -> Result<String, RequestError> {
    let asked = Asked { identity, request, request_id: "", traceparent: None };
    let planned = plan_of(snapshot, caches, &asked, Clock::system().now(), None)?;
    Ok(plan::print::text(snapshot, &planned.plan, &planned.rights, assumed, |slot| {
        planned.asking.denied(snapshot, slot).to_string()
    }))
}

impl Inner {
    async fn answer(&self, asked: &Asked<'_>, ending: &Ending) -> Answer {
        let began = Instant::now();
        let (approved, not_approved) = match self.approved(asked).await {
            Ok(approved) => (approved, None),
            Err(error) => (None, Some(error)),
        };
        // Where the approval is refused, only so that the record tells of whom the request was.
        let planned = plan_of(&self.snapshot, &self.caches, asked, self.clock.now(), approved);
        let executed = match (not_approved, &planned) {
            (Some(error), _) => Err(error),
            (None, Ok(planned)) => self.within_budget(asked, planned).await,
            (None, Err(error)) => Err(error.clone()),
        };
        let record = self.record(asked, planned.as_ref().ok(), executed.as_ref(), began);
        let answer = match executed {
            Ok(Executed { response: Response { too_much: Some(error), .. }, .. }) => {
                Answer::refused(&error, asked.request_id)
            }
            Ok(executed) => Answer { status: Outcome::Ok, body: Bytes::from(executed.response.body) },
            Err(error) => Answer::refused(&error, asked.request_id),
        };
        if !ending.decide() {
            if let Err(error) = self.audit.append(ending.unsent(record).await).await {
                tracing::error!(request = asked.request_id, %error, "what came too late could not be recorded");
            }
            return answer;
        }
        self.audited(record, answer, asked.request_id, None).await
    }

    /// The answer to a request that failed as a whole, once its record is durable.
    async fn failed(
        &self,
        mut record: AuditRecord,
        error: &RequestError,
        request_id: &str,
        told: Option<oneshot::Sender<i64>>,
    ) -> Answer {
        record.outcome = audit::Outcome::Rejected;
        record.errors.insert(error.code);
        self.audited(record, Answer::refused(error, request_id), request_id, told).await
    }

    /// The answer, once its record is durable; without it, nothing is answered. The record's number is told.
    async fn audited(
        &self,
        mut record: AuditRecord,
        answer: Answer,
        request_id: &str,
        told: Option<oneshot::Sender<i64>>,
    ) -> Answer {
        record.answer = Some(self.subjects.answer(&answer.body));
        match self.audit.append(record).await {
            Ok(receipt) => {
                // Nobody may be waiting for it.
                told.and_then(|told| told.send(receipt.seq).err());
                answer
            }
            Err(error) => {
                tracing::error!(request = request_id, %error, "the audit record could not be written: nothing is answered");
                let message = "the audit record could not be written, so nothing is answered; try again later";
                Answer::refused(&RequestError::new(ErrorCode::AuditUnavailable, message.to_owned()), request_id)
            }
        }
    }

    /// What needs no department and may be refused.
    fn ready(&self, asked: &Asked<'_>, planned: &Planned) -> Result<Ready, RequestError> {
        let introspection = if planned.plan.operation.introspects {
            introspect::answer(&self.snapshot, &self.caches, planned, asked.request.operation_name.as_deref())?
        } else {
            Map::new()
        };
        Ok(Ready { introspection, periods: periods(&self.snapshot, &planned.plan.operation, &planned.variables)? })
    }

    async fn execute(
        &self,
        asked: &Asked<'_>,
        planned: &Planned,
        ready: Ready,
        noted: Noted,
        calls_max: usize,
    ) -> Executed {
        let config = &self.snapshot.config;
        let Ready { introspection, periods } = ready;
        let context = CallContext {
            traceparent: asked.traceparent.map(str::to_owned),
            request_id: asked.request_id.to_owned(),
            caller: None,
            periods,
        };
        let caller = Caller {
            principal: asked.identity.principal.as_ref().map_or_else(String::new, |principal| principal.id.clone()),
            purpose: planned.asking.purpose.clone(),
            case: planned.asking.case.clone(),
        };
        let execution = Execution {
            snapshot: &self.snapshot,
            plan: &planned.plan,
            rights: &planned.rights,
            asking: &planned.asking,
            connectors: &self.connectors,
            variables: &planned.variables,
            caller_context: CallContext { caller: Some(caller), ..context.clone() },
            context,
            deadline: tokio::time::Instant::now() + Duration::from_millis(config.limits.request_timeout_ms),
            calls: CallLog::new(calls_max),
            cursors: &self.cursors,
            quotas: &self.quotas,
        };
        let roots = execution.run().await;
        let log = execution.calls;
        let called = log.sources(&self.snapshot.bindings);
        let parts = projection::Parts {
            snapshot: &self.snapshot,
            plan: &planned.plan,
            asking: &planned.asking,
            variables: &planned.variables,
            roots: &roots,
            introspection: &introspection,
            request_id: asked.request_id,
            extensions: &noted.extensions,
            called: &called,
            bytes_max: config.limits.answer_bytes_max / asked.request.others.saturating_add(1),
        };
        let response = if log.has_too_many_entities() {
            let message = format!("the operation reaches more than {ENTITIES_MAX} entities; ask for fewer at once");
            Response::too_much(message)
        } else {
            projection::write(&parts)
        };
        Executed { roots, log, response, noted }
    }
}

/// The audit's settings, with what may stand in records of purposes and cases.
fn recording(snapshot: &Snapshot) -> AuditConfig {
    let access = &snapshot.access;
    let forms = |role: &Role| -> Vec<(Arc<str>, Regex)> {
        let grants = role.grants.iter().filter_map(|grant| access.grants.get(*grant));
        grants.filter_map(|grant| Some((Arc::clone(&role.name), grant.conditions.case.clone()?))).collect()
    };
    let mut audit = snapshot.config.audit.clone();
    audit.recorded.purposes = snapshot.config.purposes.keys().cloned().collect();
    audit.recorded.cases = access.roles.iter().flat_map(forms).collect();
    audit
}

fn document_limits(config: &GatewayConfig) -> DocumentLimits {
    DocumentLimits {
        depth_max: config.limits.depth_max,
        aliases_max: config.limits.aliases_max,
        tokens_max: config.limits.tokens_max,
        nesting_max: config.limits.nesting_max,
    }
}

/// operation → authorize → plan.
fn plan_of(
    snapshot: &Snapshot,
    caches: &Caches,
    asked: &Asked<'_>,
    now: Timestamp,
    approved: Option<Approved>,
) -> Result<Planned, RequestError> {
    declared::check(snapshot, asked.identity)?;
    let text = asked
        .request
        .query
        .as_deref()
        .ok_or_else(|| RequestError::new(ErrorCode::BadRequest, "the request has no `query`".to_owned()))?;
    let limits = document_limits(&snapshot.config);
    let name = asked.request.operation_name.as_deref();
    let asking = Asking { approved, ..asking_for(snapshot, asked.identity, text, now)? };
    let document = caches.document(text, || Document::parse(text, &snapshot.contract, limits))?;
    let operation = document.operation(name)?;
    let variables = document.variables(&snapshot.contract, operation, &asked.request.variables)?;
    let active = active_grants(snapshot, &asking);
    let rights = caches.rights(active, |active| Rights::new(&snapshot.access, active));
    let key = cache::PlanKey::new(text, name, &document, &variables, &rights);
    let plan = caches.plan(key, || {
        let collected = document.collect(&snapshot.contract, operation, &variables, limits)?;
        plan::build(snapshot, &authorize(Arc::new(collected), Arc::clone(&rights)))
    })?;
    Ok(Planned { asking, document: Arc::clone(&document), variables, rights, plan })
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
