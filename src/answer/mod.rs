//! The whole flow of a request: operation → authorize → plan → execute → project → audit → answer.
//!
//! The only door to the engine, for every transport. Nothing is answered before its audit record is durable.

mod at_once;
mod budget;
mod cache;
mod declared;
mod ending;
mod explain;
mod fate;
mod flow;
mod introspect;
mod planned;
mod record;
mod request;
mod scanned;
mod second;
mod start;
mod stream;
mod streaming;
pub mod versions;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::approval::{Approvals, used_up};
use crate::audit::{self, AuditRecord, AuditStore, RevokeError, SubjectKey};
use crate::base::clock::Clock;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::execute::drift::Drifts;
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
use crate::model::snapshot::Snapshot;
use crate::registry::{Known, Registry};
use crate::scan;
use crate::source::{CallContext, Period, Shared};
use crate::trace::{Span, Trace, Traces};
use crate::watch::Watch;

use at_once::AtOnce;
pub use budget::estimates_of;
use cache::Caches;
use ending::Ending;
pub use explain::{Looked, Standing};
pub use introspect::RoleSchema;
use planned::{Planned, plan_of};
pub use request::{Answer, GraphqlRequest, Outcome};
use second::Noted;
pub use start::StartError;
pub use stream::{Frame, Frames, Halt, Standing as StreamStanding};
use streaming::Streaming;
use versions::Versions;

/// The gateway: one snapshot, its sources and the audit store. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    snapshot: Arc<Snapshot>,
    connectors: Connectors,
    caches: Caches,
    kept: Arc<Kept>,
}

/// What snapshots follow one another under: made once.
struct Kept {
    audit: AuditStore,
    watch: Watch,
    subjects: SubjectKey,
    cursors: CursorSeal,
    quotas: Quotas,
    drifts: Drifts,
    clock: Clock,
    /// Calls to departments within a minute, by who pays for them.
    calls: Meter,
    /// Scans under way.
    scans: Arc<AtOnce>,
    /// What checks tokens in front of this gateway, where it is served.
    verifier: OnceLock<Arc<Verifier>>,
    approvals: Approvals,
    /// Clients, and what keeps to the limits of sources.
    shared: Shared,
    versions: Versions,
    traces: Traces,
    registry: OnceLock<Arc<Registry>>,
}

/// One request on its way.
struct Asked<'a> {
    identity: &'a Identity,
    request: &'a GraphqlRequest,
    request_id: &'a str,
    traceparent: Option<&'a str>,
    /// Where its spans are.
    trace: &'a Trace,
    /// It is a turn of this stream.
    stream: Option<&'a Streaming>,
}

/// A plan that is run, and what is left for it.
struct Running<'a> {
    plan: &'a Plan,
    calls: CallLog,
    deadline: tokio::time::Instant,
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
    /// The verifier that checks tokens in front of this gateway, so that tokens can be revoked through it. Said once.
    pub fn served_behind(&self, verifier: Arc<Verifier>) {
        let _ = self.inner.kept.verifier.set(verifier);
    }

    /// The registry whose bindings this gateway serves too. Said once.
    pub fn registered_in(&self, registry: Arc<Registry>) {
        let _ = self.inner.kept.registry.set(registry);
    }

    /// None: this gateway has none.
    pub fn registry(&self) -> Option<&Arc<Registry>> {
        self.inner.kept.registry.get()
    }

    /// The documents that frontends are known by here: the trusted ones, and those that were asked not long ago.
    pub fn known_documents(&self) -> Vec<Known> {
        let snapshot = &self.inner.snapshot;
        let limits = DocumentLimits::of(&snapshot.config.limits);
        let trusted = snapshot.documents.all().into_iter().filter_map(|(id, text)| {
            let document = Document::parse(text, &snapshot.contract, limits).ok()?;
            Some(Known { id: Some(id.to_owned()), document: Arc::new(document) })
        });
        let caches = &self.inner.caches;
        let parsed = |text: &Arc<str>| {
            let document = Document::parse(text, &snapshot.contract, limits).ok()?;
            Some((Arc::clone(text), Arc::new(document)))
        };
        let asked = caches.documents().into_iter().chain(caches.former().filter_map(parsed));
        let asked = asked.filter(|(text, _)| !snapshot.documents.contains(text));
        trusted.chain(asked.map(|(_, document)| Known { id: None, document })).collect()
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
        audit::revoke(verifier, &self.inner.kept.audit, &self.inner.kept.subjects, identity, request_id, order).await
    }

    fn verifier(&self) -> Result<&Verifier, RevocationError> {
        let none = || RevocationError::Store("this gateway checks no tokens".to_owned());
        self.inner.kept.verifier.get().map(AsRef::as_ref).ok_or_else(none)
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.inner.snapshot
    }

    /// Whether requests can be answered now.
    pub fn ready(&self) -> bool {
        self.inner.kept.audit.is_healthy()
    }

    /// Approvals and emergencies.
    pub fn approvals(&self) -> &Approvals {
        &self.inner.kept.approvals
    }

    /// What decides which day and hour it is.
    pub fn clock(&self) -> &Clock {
        &self.inner.kept.clock
    }

    /// What is known of the versions of the files.
    pub fn versions(&self) -> &Versions {
        &self.inner.kept.versions
    }

    /// Where records go.
    pub fn audit(&self) -> &AuditStore {
        &self.inner.kept.audit
    }

    /// What is known of unusual reading.
    pub fn watch(&self) -> &Watch {
        &self.inner.kept.watch
    }

    /// Where the spans of requests go.
    pub fn traces(&self) -> &Traces {
        &self.inner.kept.traces
    }

    /// Under which subjects stand in the records.
    pub fn subjects(&self) -> &SubjectKey {
        &self.inner.kept.subjects
    }

    /// How many scans are under way, queries and streams.
    pub fn scans_under_way(&self) -> usize {
        self.inner.kept.scans.count()
    }

    /// What is left of the sources' quotas.
    pub fn quotas(&self) -> &Quotas {
        &self.inner.kept.quotas
    }

    /// Where sources' answers no longer match their bindings.
    pub fn drifts(&self) -> &Drifts {
        &self.inner.kept.drifts
    }

    /// The connectors, by source and instance.
    pub fn connectors(&self) -> &Connectors {
        &self.inner.connectors
    }

    /// The answer, once its record is durable; without it, nothing is answered.
    pub async fn audited(&self, record: AuditRecord, answer: Answer, request_id: &str) -> Answer {
        self.inner.audited(record, answer, (request_id, None), None).await
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
    let asked = Asked { identity, request, request_id: "", traceparent: None, trace: &Trace::default(), stream: None };
    let planned = plan_of(snapshot, caches, &asked, Clock::system().now(), None, None)?;
    let denied = |slot| planned.asking.denied(snapshot, slot).to_string();
    let text = plan::print::text(snapshot, &planned.plan, &planned.rights, assumed, denied);
    Ok(planned.scan.map_or_else(String::new, |scan| scan::print::text(snapshot, &scan)) + &text)
}

impl Inner {
    async fn answer(&self, asked: &Asked<'_>, ending: &Ending, span: &mut Span) -> Answer {
        let began = Instant::now();
        let (approved, not_approved) = match self.approved(asked).await {
            Ok(approved) => (approved, None),
            Err(error) => (None, Some(error)),
        };
        // Where the approval is refused, only so that the record tells of whom the request was.
        let mut planning = asked.trace.step("plan");
        let planned =
            plan_of(&self.snapshot, &self.caches, asked, self.kept.clock.now(), approved, Some(&self.kept.cursors));
        match &planned {
            Ok(planned) => planning.count("huxiang.fetches", planned.plan.fetches()),
            Err(error) => planning.failed(error.code),
        }
        drop(planning);
        let executed = match (not_approved, &planned) {
            (Some(error), _) => Err(error),
            (None, Ok(planned)) if planned.is_used_up() => Err(used_up()),
            (None, Ok(planned)) => match &planned.scan {
                Some(scan) => self.scanned(asked, planned, scan, ending.gone()).await,
                None => self.within_budget(asked, planned).await,
            },
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
        told(span, &record);
        let _auditing = asked.trace.step("audit");
        if !ending.decide() {
            if let Err(error) = self.kept.audit.append(ending.unsent(record).await).await {
                tracing::error!(request = asked.request_id, %error, "what came too late could not be recorded");
            }
            return answer;
        }
        self.audited(record, answer, (asked.request_id, asked.stream), None).await
    }

    /// The answer to a request that failed as a whole, once its record is durable.
    async fn failed(
        &self,
        mut record: AuditRecord,
        error: &RequestError,
        (request_id, stream): (&str, Option<&Streaming>),
        told: Option<oneshot::Sender<i64>>,
    ) -> Answer {
        record.outcome = audit::Outcome::Rejected;
        record.errors.insert(error.code);
        self.audited(record, Answer::refused(error, request_id), (request_id, stream), told).await
    }

    /// The answer, once its record is durable; without it, nothing is answered. The record's number is told.
    async fn audited(
        &self,
        mut record: AuditRecord,
        answer: Answer,
        (request_id, stream): (&str, Option<&Streaming>),
        told: Option<oneshot::Sender<i64>>,
    ) -> Answer {
        record.answer = Some(self.kept.subjects.answer(&answer.body));
        let written = match stream {
            Some(stream) => stream.record(&self.kept.audit, record).await,
            None => self.kept.audit.append(record).await,
        };
        match written {
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
        let running = Running { plan: &planned.plan, calls: CallLog::new(calls_max), deadline: self.deadline() };
        let execution = self.execution(asked, planned, &ready.periods, running);
        let roots = execution.run().await;
        let log = execution.calls;
        self.project(asked, planned, ready, noted, roots, log)
    }

    /// When a request that begins now is to be answered.
    fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_millis(self.snapshot.config.limits.request_timeout_ms)
    }

    /// One that runs a plan for the caller.
    fn execution<'a>(
        &'a self,
        asked: &Asked<'a>,
        planned: &'a Planned,
        periods: &Arc<[Period]>,
        running: Running<'a>,
    ) -> Execution<'a> {
        let Running { plan, calls, deadline } = running;
        let context = CallContext {
            traceparent: asked.traceparent.map(str::to_owned),
            request_id: asked.request_id.to_owned(),
            trace: Trace::default(),
            caller: None,
            principal: planned.asking.principal(),
            asker: planned.asking.asker(),
            periods: Arc::clone(periods),
            waiters: None,
        };
        let caller = self.caller(asked.identity, &planned.asking);
        Execution {
            snapshot: &self.snapshot,
            plan,
            rights: &planned.rights,
            asking: &planned.asking,
            connectors: &self.connectors,
            variables: &planned.variables,
            caller_context: CallContext { caller: Some(caller), ..context.clone() },
            context,
            trace: asked.trace,
            deadline,
            calls,
            cursors: &self.kept.cursors,
            quotas: &self.kept.quotas,
            drifts: &self.kept.drifts,
        }
    }

    /// Writes what was executed.
    fn project(
        &self,
        asked: &Asked<'_>,
        planned: &Planned,
        ready: Ready,
        noted: Noted,
        roots: Vec<Option<RootAnswer>>,
        log: CallLog,
    ) -> Executed {
        let called = match planned.scan.as_ref().filter(|scan| scan.stats.is_some()) {
            // Whether anybody was left to be asked about tells of groups that are kept back.
            Some(scan) => scan.sources(&self.snapshot.bindings),
            None => log.sources(&self.snapshot.bindings),
        };
        let parts = projection::Parts {
            snapshot: &self.snapshot,
            plan: &planned.plan,
            asking: &planned.asking,
            variables: &planned.variables,
            roots: &roots,
            introspection: &ready.introspection,
            request_id: asked.request_id,
            extensions: &noted.extensions,
            frame: noted.frame.as_ref(),
            called: &called,
            whole: asked.request.extensions.get("masked") == Some(&serde_json::Value::Bool(true)),
            bytes_max: self.snapshot.config.limits.answer_bytes_max / asked.request.others.saturating_add(1),
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

/// What the span of a request tells: what its record does, but for who asked and of whom.
fn told(span: &mut Span, record: &AuditRecord) {
    span.tell("huxiang.request_id", || record.request_id.clone());
    span.tell("huxiang.outcome", || record.outcome.as_str());
    span.tell("huxiang.roles", || record.counting.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "));
    if let Some(digest) = &record.document {
        span.tell("huxiang.document", || digest.clone());
    }
    if let Some(id) = &record.document_id {
        span.tell("huxiang.document_id", || id.clone());
        // Names in other documents are texts of callers.
        span.tell("graphql.operation.name", || record.operation.clone().unwrap_or_default());
    }
    span.tell("huxiang.errors", || record.errors.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" "));
    if let (true, Some(code)) = (record.outcome == audit::Outcome::Rejected, record.errors.iter().next()) {
        span.failed(*code);
    }
}
