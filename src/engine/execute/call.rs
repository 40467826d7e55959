//! One batch of keys → one call of one connector, traced for operators.

use std::sync::Arc;

use jiff::Timestamp;

use super::Execution;
use super::quota::Charge;
use crate::base::code::ErrorCode;
use crate::base::pointer::Pointer;
use crate::engine::frame::Failure;
use crate::model::binding::format::Authority;
use crate::model::binding::request::CallTemplate;
use crate::model::binding::{Endpoint, Source, SourceId};
use crate::source::{Connector, Fetch, Fetched, PageAt};

/// A call to make.
pub(super) struct Call<'c> {
    pub source: SourceId,
    pub connector: &'c Connector,
    pub template: &'c CallTemplate,
    pub keys: &'c [Arc<str>],
    pub inputs: &'c [(Arc<str>, String)],
    pub wanted: &'c [Pointer],
    pub page: Option<PageAt>,
    /// What the call is counted against.
    pub charges: &'c [Charge],
}

impl Execution<'_> {
    /// Calls, within the request's budget and deadline.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<(Fetched, Timestamp), Failure> {
        let source = self.snapshot.bindings.source(call.source);
        if !self.calls.take() {
            return Err(Failure::unavailable(ErrorCode::LimitExceeded, call.source));
        }
        if !self.quotas.take_call(call.charges, std::time::Instant::now()) {
            self.calls.note(call.source, Some(ErrorCode::QuotaExceeded));
            return Err(Failure::over_quota(call.source));
        }
        let context = if source.authority == Authority::Caller { &self.caller_context } else { &self.context };
        let fetch = Fetch {
            template: call.template,
            keys: call.keys,
            inputs: call.inputs,
            wanted: call.wanted,
            deadline: self.deadline,
            context,
            page: call.page,
        };
        let all = fetch.page.is_none();
        let answered = call.connector.fetch(fetch).await;
        if answered.as_ref().is_ok_and(|fetched| all && fetched.next.is_some()) {
            tracing::warn!(source = %source.id, request = %context.request_id, "a source has more pages than are read at once (pages_max)");
        }
        let now = Timestamp::now();
        self.calls.note(call.source, answered.as_ref().err().map(|error| error.code));
        answered.map(|fetched| (fetched, now)).map_err(|error| {
            // The detail holds no household's value; it is for the operator alone.
            tracing::warn!(source = %source.id, code = %error.code, detail = %error.detail, request = %context.request_id, "a source failed");
            match error.code {
                ErrorCode::InputMissing => Failure::undetermined(error.code, call.source),
                code => Failure::unavailable(code, call.source),
            }
        })
    }

    pub(super) fn source_of(&self, endpoint: &Endpoint) -> (&Source, &[Arc<Connector>]) {
        let connectors = self.connectors.get(endpoint.source.index()).map_or(&[][..], Vec::as_slice);
        (self.snapshot.bindings.source(endpoint.source), connectors)
    }
}
