//! What comes in and what goes out, whatever the transport.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Gateway;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::trace::Parent;

/// A GraphQL request, as any transport hands it over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphqlRequest {
    pub query: Option<String>,
    /// The trusted document that `query` was taken from.
    pub document_id: Option<String>,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
    pub extensions: Map<String, Value>,
    /// Other operations of the same batch: they share the limits of one request.
    pub others: usize,
}

/// How a request ended, for the status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Executed, maybe in part.
    Ok,
    /// Not executed: the answer has no `data`.
    RequestError(ErrorCode),
    /// Not executed now: too much was asked within a minute.
    TryLater { retry_after_s: u64 },
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: Outcome,
    /// The complete JSON of the response.
    pub body: Bytes,
}

impl Gateway {
    /// As [`Gateway::answer_holding`], with nothing to hold.
    pub async fn answer(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        parent: Option<Parent>,
    ) -> Answer {
        self.answer_holding(identity, request, request_id, parent, ()).await
    }
}

impl Answer {
    /// The answer to a request that is refused as a whole.
    pub fn refused(error: &RequestError, request_id: &str) -> Self {
        let (status, extensions) = match error.retry_after_s {
            Some(seconds) => (
                Outcome::TryLater { retry_after_s: seconds },
                json!({ "code": error.code, "requestId": request_id, "retryAfterSeconds": seconds }),
            ),
            None => (Outcome::RequestError(error.code), json!({ "code": error.code, "requestId": request_id })),
        };
        let errors: Vec<Value> = if error.details.is_empty() {
            vec![json!({ "message": error.message, "extensions": extensions })]
        } else {
            error
                .details
                .iter()
                .map(|(message, place)| match place {
                    Some((line, column)) => json!({ "message": message, "locations": [{ "line": line, "column": column }], "extensions": extensions }),
                    None => json!({ "message": message, "extensions": extensions }),
                })
                .collect()
        };
        let body = json!({ "errors": errors, "extensions": { "requestId": request_id } });
        Self { status, body: Bytes::from(body.to_string()) }
    }
}
