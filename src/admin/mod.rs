//! The gateway's own API (`/admin/graphql`): what those do who run, secure, audit and supervise it.
//!
//! It stands behind the same door as the contract: same tokens, networks and limits. Each field says which part may ask
//! it; nobody else may. What is asked is audited before it is answered, as every request is.

mod alerts;
mod inputs;
mod metrics;
mod operate;
mod records;
mod registry;
mod revocations;
mod schema;
mod second;
mod session;
mod sources;
mod statistics;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::Value::Null;
use async_graphql::{Response, ServerError, Variables};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Gateway, GraphqlRequest, Outcome};
use crate::audit::{self, AuditRecord, Kind};
use crate::base::code::ErrorCode;
use crate::base::nesting::{self, TooMuch};
use crate::engine::error::RequestError;
use crate::identify::Identity;

pub use metrics::{Text as MetricsText, metrics};
pub use schema::sdl;
pub use session::Session;

/// Brackets open at once in a document; checked before the parser, which recurses.
const NESTING_MAX: usize = 24;
const TOKENS_MAX: usize = 2_000;

/// Answers a request to the admin API. What was begun is finished and audited even if the caller goes away; `held` is held until
/// then.
pub async fn answer(
    gateway: Gateway,
    identity: Identity,
    request: GraphqlRequest,
    request_id: String,
    held: impl Send + 'static,
) -> Answer {
    let (behind, who, id) = (gateway.clone(), identity.clone(), request_id.clone());
    let answering = async move {
        let _held = held;
        answer_to_end(gateway, identity, request, request_id).await
    };
    match tokio::spawn(answering).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(request = %id, %error, "an admin request failed");
            let message = "the gateway failed; tell the operator the request id".to_owned();
            let refused = Answer::refused(&RequestError::new(ErrorCode::Internal, message), &id);
            let mut record = AuditRecord::new(&id, &who);
            record.kind = Kind::Admin;
            record.outcome = audit::Outcome::Rejected;
            record.errors.insert(ErrorCode::Internal);
            behind.audited(record, refused, &id).await
        }
    }
}

async fn answer_to_end(gateway: Gateway, identity: Identity, request: GraphqlRequest, request_id: String) -> Answer {
    let began = Instant::now();
    let mut record = AuditRecord::new(&request_id, &identity);
    record.kind = Kind::Admin;
    record.document = request.query.as_deref().map(|text| gateway.subjects().document(text));
    record.operation = request.operation_name.as_deref().map(|name| gateway.subjects().name(name));
    let session = Arc::new(Session::new(gateway.clone(), identity, request_id.clone()));
    let answer = match execute(&session, request).await {
        Ok(response) => {
            record.errors = response.errors.iter().map(code_of).collect();
            record.outcome = outcome(&response);
            rendered(&response, &request_id)
        }
        Err(error) => {
            record.errors = BTreeSet::from([error.code]);
            record.outcome = audit::Outcome::Rejected;
            Answer::refused(&error, &request_id)
        }
    };
    record.access = session.asked();
    record.counting = Some(session.roles.clone());
    for (name, value) in session.details() {
        record = record.with(&name, value);
    }
    record.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    gateway.audited(record, answer, &request_id).await
}

async fn execute(session: &Arc<Session>, request: GraphqlRequest) -> Result<Response, RequestError> {
    let refused = |code, message: String| RequestError::new(code, message);
    let text = request.query.unwrap_or_default();
    let limits = &session.gateway.snapshot().config.limits;
    nesting::check(&text, limits.nesting_max.min(NESTING_MAX), limits.tokens_max.min(TOKENS_MAX)).map_err(|over| {
        let message = match over {
            TooMuch::Nesting => "the document is nested too deeply",
            TooMuch::Tokens => "the document is too long",
        };
        refused(ErrorCode::LimitExceeded, format!("{message}; ask for less at once"))
    })?;
    let mut asked = async_graphql::Request::new(text)
        .variables(Variables::from_json(Value::Object(request.variables)))
        .data(Arc::clone(session));
    if let Some(name) = request.operation_name {
        asked = asked.operation_name(name);
    }
    if !session.may_introspect() {
        asked = asked.disable_introspection();
    }
    let limit = Duration::from_millis(limits.request_timeout_ms);
    let late =
        || refused(ErrorCode::DeadlineExceeded, "the request took too long; ask for a shorter period".to_owned());
    tokio::time::timeout(limit, schema::schema().execute(asked)).await.map_err(|_| late())
}

/// The code that an error carries; one without is the document's own fault.
fn code_of(error: &ServerError) -> ErrorCode {
    let said = error.extensions.as_ref().and_then(|values| values.get("code"));
    let codes = [
        ErrorCode::BadRequest,
        ErrorCode::Forbidden,
        ErrorCode::LimitExceeded,
        ErrorCode::AuditUnavailable,
        ErrorCode::Conflict,
        ErrorCode::Internal,
    ];
    let named = |code: &&ErrorCode| said == Some(&async_graphql::Value::from(code.as_str()));
    codes.iter().find(named).copied().unwrap_or(ErrorCode::ValidationFailed)
}

fn outcome(response: &Response) -> audit::Outcome {
    match (&response.data, response.errors.is_empty()) {
        (_, true) => audit::Outcome::Answered,
        (Null, false) => audit::Outcome::Rejected,
        (_, false) => audit::Outcome::Partial,
    }
}

/// The response's JSON: every error with its code and the request's id, as in the contract's answers.
fn rendered(response: &Response, request_id: &str) -> Answer {
    let errors: Vec<Value> = response
        .errors
        .iter()
        .map(|error| {
            let mut shown = serde_json::to_value(error).unwrap_or_default();
            if let Some(members) = shown.as_object_mut() {
                let extensions = json!({ "code": code_of(error), "requestId": request_id });
                members.insert("extensions".to_owned(), extensions);
            }
            shown
        })
        .collect();
    let mut body = Map::new();
    // Without a path the document itself was refused: nothing was executed.
    let whole = response.errors.first().filter(|error| response.data == Null && error.path.is_empty());
    if whole.is_none() {
        body.insert("data".to_owned(), serde_json::to_value(&response.data).unwrap_or_default());
    }
    if !errors.is_empty() {
        body.insert("errors".to_owned(), Value::Array(errors));
    }
    body.insert("extensions".to_owned(), json!({ "requestId": request_id }));
    let status = whole.map_or(Outcome::Ok, |error| Outcome::RequestError(code_of(error)));
    Answer { status, body: Bytes::from(Value::Object(body).to_string()) }
}
