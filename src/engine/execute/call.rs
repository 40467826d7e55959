//! One batch of keys → one call of one connector, traced for operators.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Execution;
use super::quota::Charge;
use crate::base::code::ErrorCode;
use crate::base::pointer::Pointer;
use crate::engine::frame::Failure;
use crate::model::binding::format::Authority;
use crate::model::binding::request::CallTemplate;
use crate::model::binding::{Endpoint, Source, SourceId};
use crate::source::{CallContext, Connector, Fetch, Fetched, Offer, PageAt, SourceError};
use crate::trace::Span;

/// A call to make.
pub(super) struct Call<'c> {
    pub source: SourceId,
    /// The endpoint, or the query.
    pub name: &'c str,
    pub connector: &'c Arc<Connector>,
    pub template: &'c Arc<CallTemplate>,
    /// What several keys of its endpoint are asked with: lookups of others may go out together with it.
    pub batch: Option<&'c Arc<CallTemplate>>,
    pub keys: &'c [Arc<str>],
    pub inputs: &'c Arc<[(Arc<str>, String)]>,
    pub wanted: &'c Arc<[Pointer]>,
    pub page: Option<PageAt>,
    /// What the call is counted against.
    pub charges: &'c [Charge],
}

/// What a call brought.
pub(super) struct Called {
    pub fetched: Fetched,
    pub at: Timestamp,
    /// The endpoint's fallback answered.
    pub fallback: bool,
}

impl Execution<'_> {
    /// Calls, and where the endpoint is not there its fallback, within the request's budget and deadline.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Called, Failure> {
        if !call.connector.speaks_for(self.caller_context.caller.as_ref()) {
            return Err(Failure::refused(call.source));
        }
        match self.once(call, call.template, call.batch).await? {
            Ok(fetched) => Ok(Called { fetched, at: Timestamp::now(), fallback: false }),
            // Rare, and as large as the call itself.
            Err(error) => Box::pin(self.elsewhere(call, error)).await,
        }
    }

    /// What the endpoint's fallback answers, where it has one that may be asked; else why there is no answer.
    async fn elsewhere(&self, call: &Call<'_>, error: SourceError) -> Result<Called, Failure> {
        let elsewhere = call.template.fallback().filter(|_| error.down);
        if let Some(template) = elsewhere.filter(|_| Instant::now() < self.deadline)
            && let Ok(Ok(fetched)) = self.once(call, template, call.batch.and_then(|batch| batch.fallback())).await
        {
            return Ok(Called { fetched, at: Timestamp::now(), fallback: true });
        }
        Err(match error.code {
            ErrorCode::InputMissing => Failure::undetermined(ErrorCode::InputMissing, call.source),
            ErrorCode::SourcePending => Failure::pending(call.source),
            code => Failure::unavailable(code, call.source),
        })
    }

    /// One request for what is asked. The outer error: it was not made.
    async fn once(
        &self,
        call: &Call<'_>,
        template: &Arc<CallTemplate>,
        batch: Option<&Arc<CallTemplate>>,
    ) -> Result<Result<Fetched, SourceError>, Failure> {
        let source = self.snapshot.bindings.source(call.source);
        if !self.calls.take() {
            self.calls.miss();
            return Err(Failure::unavailable(ErrorCode::LimitExceeded, call.source));
        }
        if !self.quotas.take_call(call.charges, std::time::Instant::now()) {
            self.calls.note(call.source, Some(ErrorCode::QuotaExceeded));
            return Err(Failure::over_quota(call.source));
        }
        let context = if source.authority == Authority::Caller { &self.caller_context } else { &self.context };
        let mut span = self.trace.call("call");
        let below = self.trace.is_on().then(|| {
            let trace = span.trace();
            Box::new(CallContext { traceparent: trace.traceparent(), trace, ..context.clone() })
        });
        let context = below.as_deref().unwrap_or(context);
        let fetch = Fetch {
            template,
            keys: call.keys,
            inputs: call.inputs,
            wanted: call.wanted,
            deadline: self.deadline,
            context,
            page: call.page.clone(),
        };
        let asker = std::ptr::from_ref(&self.calls).addr();
        let offer = Offer { template, batch, inputs: call.inputs, wanted: call.wanted, asker };
        let (answered, together) = call.connector.fetch_together(&fetch, &offer).await;
        if let Some(together) = together {
            span.tell("huxiang.shared", || together.as_str());
        }
        span.tell("huxiang.source", || source.id.to_string());
        span.tell("huxiang.endpoint", || call.name.to_owned());
        if source.instanced {
            span.tell("huxiang.system", || call.connector.connection().name());
        }
        span.count("huxiang.keys", call.keys.len());
        if self.trace.is_on() {
            self.tell_health(&mut span, call);
        }
        match &answered {
            Ok(fetched) => {
                span.tell("huxiang.requests", || i64::from(fetched.calls));
                span.count("huxiang.records", fetched.records.len());
            }
            Err(error) => {
                span.tell("huxiang.requests", || i64::from(error.calls));
                span.failed(error.code);
            }
        }
        self.calls.note(call.source, answered.as_ref().err().map(|error| error.code));
        // A department's own 429 is an answer; where nothing was sent, its turn did not come.
        if answered.as_ref().is_err_and(|error| error.calls == 0 && error.code == ErrorCode::SourceBusy) {
            self.calls.miss();
        }
        let (source, request) = (&source.id, &context.request_id);
        match &answered {
            Ok(fetched) if call.page.is_none() && fetched.next.is_some() => {
                tracing::warn!(%source, %request, "a source has more pages than are read at once (pages_max)");
            }
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::SourcePending => {
                tracing::debug!(%source, %request, "a source works on what it was asked");
            }
            // The detail is in words of ours and holds no value; it is for the operator alone.
            Err(error) => {
                let hint = error.said.as_ref().map(|_| "`huxiang source try` shows what the source says of it");
                tracing::warn!(%source, code = %error.code, detail = %error.detail, hint, %request, "a source failed");
            }
        }
        Ok(answered)
    }

    /// How the source stands: what `huxiang source status` tells of it, as far as this call knows.
    fn tell_health(&self, span: &mut Span, call: &Call<'_>) {
        let source = &self.snapshot.bindings.source(call.source).id;
        if let Some((_, breaker)) = call.connector.breakers().first() {
            span.tell("huxiang.breaker", || breaker.phase.as_str());
        }
        if let Some(left) = self.quotas.calls_left(call.charges, std::time::Instant::now()) {
            span.count("huxiang.quota_left", left);
        }
        let drifts = self.drifts.of(source).iter().filter(|drift| *drift.endpoint == *call.name).count();
        span.count("huxiang.drifts", drifts);
    }

    pub(super) fn source_of(&self, endpoint: &Endpoint) -> (&Source, &[Arc<Connector>]) {
        let connectors = self.connectors.get(endpoint.source.index()).map_or(&[][..], Vec::as_slice);
        (self.snapshot.bindings.source(endpoint.source), connectors)
    }
}
