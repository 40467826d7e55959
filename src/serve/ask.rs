//! Asks the gateway, whatever the transport: once `door` has let an operation in. There is one ask of each kind, and they are here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use futures::FutureExt;

use super::door::{Refusal, bad};
use super::kind::{Kind, selected};
use super::{Answer, App, ENGINE_GRACE, Frames, Gateway, GraphqlRequest, Peer, Turn, stream};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::{Declared, Identity};
use crate::trace::Parent;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a request is for. Both pass the same checks; only what answers differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// The contract.
    Contract,
    /// The gateway's own API: by POST, and no trusted documents.
    Admin,
}

/// What operations are asked with.
pub(super) struct Asking<'a, G> {
    pub app: &'a Arc<App<G>>,
    /// In force when the request began; all its operations end with it.
    pub gateway: &'a Arc<G>,
    /// The request's.
    pub id: &'a str,
    pub api: Api,
}

/// What an operation belongs to, by the headers of its request.
pub(super) fn trace<G>(app: &App<G>, parts: &Parts) -> Parent {
    let from_proxy = parts.extensions.get::<Peer>().is_some_and(|peer| app.networks.is_proxy(peer.address));
    Parent::read(parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()), from_proxy)
}

/// Whether its answer is a stream. Where the text cannot be read, the engine says so.
pub(super) fn is_subscription(sent: &GraphqlRequest) -> bool {
    selected(sent.query.as_deref().unwrap_or(""), sent.operation_name.as_deref()) == Some(Kind::Subscription)
}

/// What is declared of a request, by its `extensions` and its headers.
pub(super) fn declared(sent: &GraphqlRequest, parts: &Parts) -> Result<Declared, Refusal> {
    for name in Declared::HEADERS {
        if parts.headers.get_all(name).iter().nth(1).is_some() {
            return Err(bad(format!("the header {name} is sent twice")));
        }
    }
    let header = |name: &'static str| parts.headers.get(name).map(HeaderValue::as_bytes);
    Declared::from(&sent.extensions, header).map_err(bad)
}

/// Puts a trusted document's text in its place, and keeps GET to queries.
fn trusted<G: Gateway>(
    app: &App<G>,
    gateway: &G,
    api: Api,
    mut sent: GraphqlRequest,
    is_get: bool,
) -> Result<GraphqlRequest, Refusal> {
    match &sent.document_id {
        Some(_) if api == Api::Admin => return Err(bad("the admin API has no trusted documents; send `query`")),
        Some(id) => match gateway.document(id) {
            Some(text) => sent.query = Some(text.to_string()),
            // What clients of automatic persisted queries take as: send the text, always.
            None if sent.extensions.contains_key("persistedQuery") => return Err(bad("PersistedQueryNotSupported")),
            None => return Err(bad("this document is not known here; send `query`, or have the document registered")),
        },
        None if is_get && !app.get_queries => {
            let message = "GET takes only trusted documents here; send queries by POST";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message).with(header::ALLOW, "POST"));
        }
        None => {}
    }
    let query = sent.query.as_deref().unwrap_or("");
    if is_get && !matches!(selected(query, sent.operation_name.as_deref()), None | Some(Kind::Query)) {
        let message = "GET takes only queries; send this operation by POST";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message).with(header::ALLOW, "POST"));
    }
    Ok(sent)
}

impl<G: Gateway> Asking<'_, G> {
    /// Who asks, with what the request declares; and the text that its document names.
    pub fn prepared(
        &self,
        parts: &Parts,
        identity: &Identity,
        sent: GraphqlRequest,
        is_get: bool,
    ) -> Result<(Identity, GraphqlRequest), Refusal> {
        let sent = trusted(self.app, &**self.gateway, self.api, sent, is_get)?;
        let declared = declared(&sent, parts)?;
        Ok((identity.clone().declaring(declared), sent))
    }

    /// The frames of a subscription, as they come. That it is refused is told in the first of them, too.
    pub fn subscribe(
        &self,
        parts: &Parts,
        identity: Identity,
        sent: GraphqlRequest,
        trace: Parent,
        turn: Turn,
    ) -> Frames {
        let standing = stream::Admitted::new(self.app, self.gateway, &identity, parts);
        self.gateway.subscribe(identity, sent, self.id.to_owned(), Some(trace), turn, standing)
    }

    /// Asks the engine; an operation that panics or never ends costs itself and no other.
    pub async fn answer(
        &self,
        identity: Identity,
        sent: GraphqlRequest,
        id: String,
        trace: Parent,
        turn: Turn,
    ) -> Answer {
        let limit = Duration::from_millis(self.app.limits.request_timeout_ms).saturating_add(ENGINE_GRACE);
        let asked = async {
            match self.api {
                Api::Contract => self.gateway.answer(identity, sent, id.clone(), Some(trace), turn).await,
                // Rare, and larger than what most requests go through.
                Api::Admin => Box::pin(self.gateway.admin(identity, sent, id.clone(), turn)).await,
            }
        };
        match tokio::time::timeout(limit, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(request_id = %id, "answering panicked");
                let message = "a fault of the gateway; tell the operator the request id".to_owned();
                Answer::refused(&RequestError::new(ErrorCode::Internal, message), &id)
            }
            Err(_) => {
                let message = "the request took too long; ask for less".to_owned();
                Answer::refused(&RequestError::new(ErrorCode::DeadlineExceeded, message), &id)
            }
        }
    }
}
