//! GraphQL over HTTP: what comes in is checked before it is read, and read before it is parsed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::join_all;

use super::door::{Admitted, Refusal, admit, bad};
use super::kind::{Kind, selected};
use super::negotiate::{Media, accepted, accepts_events, status};
use super::origin::{self, Site};
use super::refusals::Refused;
use super::request::{self, Sent};
use super::stream;
use super::unsent::Cut;
use super::{Answer, App, ENGINE_GRACE, Gateway, GraphqlRequest, Outcome, Peer, RequestId, Turn};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::{Declared, Identity};
use crate::model::config::cors::Cors;
use crate::trace::Parent;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a request is for. Both pass the same checks; only what answers differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    /// The contract.
    Contract,
    /// The gateway's own API: by POST, and no trusted documents.
    Admin,
}

pub async fn handle<G: Gateway>(
    State(app): State<Arc<App<G>>>,
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
) -> Response<Body> {
    respond(&app, &id, Api::Contract, request).await
}

pub async fn admin<G: Gateway>(
    State(app): State<Arc<App<G>>>,
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
) -> Response<Body> {
    respond(&app, &id, Api::Admin, request).await
}

/// The operations that answer to a request, and what it is called.
struct Asking<'a, G> {
    app: &'a Arc<App<G>>,
    /// In force when the request began; all its operations end with it.
    gateway: &'a Arc<G>,
    id: &'a str,
    api: Api,
    media: Media,
    cut: Cut,
}

async fn respond<G: Gateway>(app: &Arc<App<G>>, id: &str, api: Api, request: Request) -> Response<Body> {
    // The gateway's own API is for its own pages and for programs, never for other sites' pages.
    let none = Cors::default();
    let cors = if api == Api::Contract { &app.cors } else { &none };
    let (parts, body) = request.into_parts();
    let site = origin::site(&parts, cors, app.is_tls);
    let gateway = app.gateway.now();
    let methods = methods(app, &*gateway, api);
    let mut response = match site {
        Site::Listed(_) if origin::is_preflight(&parts) => origin::preflight(cors, methods),
        Site::Foreign => {
            let message = "pages of other sites may not ask here; the operator can list them under `cors.origins`";
            refused(id, &parts.headers, Refusal::with_code(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message))
        }
        Site::Listed(_) | Site::Own if parts.method == Method::OPTIONS => options(methods),
        Site::Listed(_) | Site::Own => match answer(app, &gateway, id, api, &parts, body).await {
            Ok(response) => response,
            Err(refusal) => refused(id, &parts.headers, refusal),
        },
    };
    origin::mark(response.headers_mut(), &site, cors);
    response
}

pub(super) fn refused(id: &str, headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let media = accepted(headers).unwrap_or(Media::Json);
    let mut out = response(refusal.status, media, Answer::refused(&refusal.error, id).body);
    out.headers_mut().extend(refusal.header_values());
    out.extensions_mut().insert(Refused { reason: refusal.error.message.clone() });
    out
}

fn methods<G: Gateway>(app: &App<G>, gateway: &G, api: Api) -> &'static str {
    let get = api == Api::Contract && (app.get_queries || gateway.has_documents());
    if get { "GET, POST, OPTIONS" } else { "POST, OPTIONS" }
}

fn options(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

async fn answer<G: Gateway>(
    app: &Arc<App<G>>,
    gateway: &Arc<G>,
    id: &str,
    api: Api,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let is_get = is_get(parts, methods(app, &**gateway, api))?;
    let takes_events = api == Api::Contract && accepts_events(&parts.headers);
    let not_acceptable = || {
        let types = "accept application/graphql-response+json or application/json";
        Refusal::new(StatusCode::NOT_ACCEPTABLE, types)
    };
    let media = accepted(&parts.headers).or(takes_events.then_some(Media::EventStream)).ok_or_else(not_acceptable)?;
    let Admitted { identity, body, turn } = admit(app, parts, (!is_get).then_some(body)).await?;
    let batch_max = if api == Api::Contract { app.batch_max } else { 0 };
    let sent = match is_get {
        true => request::from_uri(&parts.uri).map(Sent::One),
        false => request::from_body(&body, batch_max),
    };
    let from_proxy = parts.extensions.get::<Peer>().is_some_and(|peer| app.networks.is_proxy(peer.address));
    let trace = Parent::read(parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()), from_proxy);
    let cut = parts.extensions.get::<Cut>().cloned().unwrap_or_default();
    let asking = Asking { app, gateway, id, api, media, cut };
    match sent.map_err(bad)? {
        Sent::One(request) => {
            let (identity, request) = asking.prepared(parts, &identity, request, is_get)?;
            let query = request.query.as_deref().unwrap_or("");
            if takes_events && selected(query, request.operation_name.as_deref()) == Some(Kind::Subscription) {
                return Ok(asking.stream(parts, identity, request, trace, turn));
            }
            Ok(asking.one(identity, request, trace, turn).await)
        }
        // Of a batch, nothing is streamed.
        Sent::Batch(_) if media == Media::EventStream => Err(not_acceptable()),
        Sent::Batch(requests) => {
            // The first is paid for.
            app.requests.take(&identity, u64::try_from(requests.len()).unwrap_or(u64::MAX).saturating_sub(1))?;
            let prepared = requests.into_iter().map(|request| asking.prepared(parts, &identity, request, is_get));
            Ok(asking.batch(prepared.collect::<Result<_, _>>()?, trace, turn).await)
        }
    }
}

/// Whether it is a GET; other methods than POST (and GET, where it is on) are refused.
fn is_get(parts: &Parts, methods: &'static str) -> Result<bool, Refusal> {
    match parts.method {
        Method::POST => Ok(false),
        Method::GET if methods.starts_with("GET") => Ok(true),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {methods}")).with(header::ALLOW, methods)),
    }
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
    fn prepared(
        &self,
        parts: &Parts,
        identity: &Identity,
        sent: GraphqlRequest,
        is_get: bool,
    ) -> Result<(Identity, GraphqlRequest), Refusal> {
        let sent = trusted(self.app, &**self.gateway, self.api, sent, is_get)?;
        for name in Declared::HEADERS {
            if parts.headers.get_all(name).iter().nth(1).is_some() {
                return Err(bad(format!("the header {name} is sent twice")));
            }
        }
        let header = |name: &'static str| parts.headers.get(name).map(HeaderValue::as_bytes);
        let declared = Declared::from(&sent.extensions, header).map_err(bad)?;
        Ok((identity.clone().declaring(declared), sent))
    }

    async fn one(&self, identity: Identity, sent: GraphqlRequest, trace: Parent, turn: Turn) -> Response<Body> {
        let Answer { status: outcome, body } = self.ask(identity, sent, self.id.to_owned(), trace, turn).await;
        let body = if self.media == Media::EventStream { stream::alone(&body) } else { body };
        let mut out = response(status(outcome, self.media), self.media, self.app.unsent.hold(body, &self.cut));
        if let Outcome::TryLater { retry_after_s } = outcome {
            out.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
        }
        if out.status() == StatusCode::UNAUTHORIZED {
            out.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"huxiang\""));
        }
        out
    }

    /// The frames of a subscription, as they come. That it is refused is told in the first of them, too.
    fn stream(
        &self,
        parts: &Parts,
        identity: Identity,
        sent: GraphqlRequest,
        trace: Parent,
        turn: Turn,
    ) -> Response<Body> {
        let standing = stream::Admitted::new(self.app, self.gateway, &identity, parts);
        let frames = self.gateway.subscribe(identity, sent, self.id.to_owned(), Some(trace), turn, standing);
        let body = stream::events(frames, Arc::clone(&self.app.unsent), self.cut.clone());
        let mut out = Response::new(body);
        let content_type = HeaderValue::from_static(Media::EventStream.content_type());
        out.headers_mut().insert(header::CONTENT_TYPE, content_type);
        // A proxy that gathers events before it passes them on holds them back.
        out.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        out
    }

    /// Each operation is asked as if it came alone, with an id and a record of its own; they share the limits of one
    /// request. The answers stand in their order.
    async fn batch(&self, prepared: Vec<(Identity, GraphqlRequest)>, trace: Parent, turn: Turn) -> Response<Body> {
        let others = prepared.len().saturating_sub(1);
        let asked = prepared.into_iter().enumerate().map(|(at, (identity, sent))| {
            self.ask(identity, GraphqlRequest { others, ..sent }, format!("{}-{at}", self.id), trace, turn.clone())
        });
        let mut body = BytesMut::from("[");
        for (at, answer) in join_all(asked).await.into_iter().enumerate() {
            body.extend_from_slice(if at == 0 { b"" } else { b"," });
            body.extend_from_slice(&answer.body);
        }
        body.extend_from_slice(b"]");
        response(StatusCode::OK, self.media, self.app.unsent.hold(body.freeze(), &self.cut))
    }

    /// Asks the engine; an operation that panics or never ends costs itself and no other.
    async fn ask(&self, identity: Identity, sent: GraphqlRequest, id: String, trace: Parent, turn: Turn) -> Answer {
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

fn response(status: StatusCode, media: Media, body: Bytes) -> Response<Body> {
    let mut out = Response::new(Body::from(body));
    *out.status_mut() = status;
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    out
}
