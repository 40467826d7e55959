//! GraphQL over HTTP: what comes in is checked before it is read, and read before it is parsed.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::future::join_all;

use super::ask::{Api, Asking, is_subscription, trace};
use super::door::{Admitted, Refusal, admit, bad};
use super::negotiate::{Media, accepted, accepts_events, status};
use super::origin::{self, Site};
use super::refusals::Refused;
use super::request::{self, Sent};
use super::unsent::Cut;
use super::{Answer, App, Gateway, GraphqlRequest, Outcome, RequestId, Turn, certificate, socket, stream};
use crate::base::code::ErrorCode;
use crate::identify::Identity;
use crate::model::config::cors::Cors;
use crate::trace::Parent;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

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

/// The answers to a request, and as what they are sent.
struct Answering<'a, G> {
    asking: Asking<'a, G>,
    media: Media,
    cut: Cut,
}

async fn respond<G: Gateway>(app: &Arc<App<G>>, id: &str, api: Api, request: Request) -> Response<Body> {
    // The gateway's own API is for its own pages and for programs, never for other sites' pages.
    let none = Cors::default();
    let cors = if api == Api::Contract { &app.cors } else { &none };
    let (mut parts, body) = request.into_parts();
    let site = origin::site(&parts, cors, app.is_tls);
    let gateway = app.gateway.now();
    let methods = methods(app, &*gateway, api);
    let asks_upgrade = socket::names_it(&parts);
    let mut response = match site {
        Site::Listed(_) if origin::is_preflight(&parts) => origin::preflight(cors, methods),
        Site::Foreign => {
            let message = "pages of other sites may not ask here; the operator can list them under `cors.origins`";
            refused(id, &parts.headers, Refusal::with_code(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message))
        }
        Site::Listed(_) | Site::Own if parts.method == Method::OPTIONS => options(methods),
        Site::Listed(_) | Site::Own if api == Api::Contract && socket::is_asked(&parts) => {
            let opened = async {
                if matches!(site, Site::Listed(_)) && !cors.credentials {
                    certificate::forget(app, &mut parts)?;
                }
                socket::open(app, id, &mut parts).await
            };
            opened.await.unwrap_or_else(|refusal| refused(id, &parts.headers, refusal))
        }
        Site::Listed(_) | Site::Own => match answer(app, &gateway, id, api, &parts, body).await {
            Ok(response) => response,
            Err(refusal) => refused(id, &parts.headers, refusal),
        },
    };
    if asks_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A front that takes the upgrade for granted sends on what is no request of its own.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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
    let trace = trace(app, parts);
    let cut = parts.extensions.get::<Cut>().cloned().unwrap_or_default();
    let answering = Answering { asking: Asking { app, gateway, id, api }, media, cut };
    match sent.map_err(bad)? {
        Sent::One(request) => {
            let (identity, request) = answering.asking.prepared(parts, &identity, request, is_get)?;
            if takes_events && is_subscription(&request) {
                return Ok(answering.stream(parts, identity, request, trace, turn));
            }
            Ok(answering.one(identity, request, trace, turn).await)
        }
        // Of a batch, nothing is streamed.
        Sent::Batch(_) if media == Media::EventStream => Err(not_acceptable()),
        Sent::Batch(requests) => {
            // The first is paid for.
            app.requests.take(&identity, u64::try_from(requests.len()).unwrap_or(u64::MAX).saturating_sub(1))?;
            let prepare = |request| answering.asking.prepared(parts, &identity, request, is_get);
            let prepared = requests.into_iter().map(prepare);
            Ok(answering.batch(prepared.collect::<Result<_, _>>()?, trace, turn).await)
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

impl<G: Gateway> Answering<'_, G> {
    async fn one(&self, identity: Identity, sent: GraphqlRequest, trace: Parent, turn: Turn) -> Response<Body> {
        let id = self.asking.id.to_owned();
        let Answer { status: outcome, body } = self.asking.answer(identity, sent, id, trace, turn).await;
        let body = if self.media == Media::EventStream { stream::alone(&body) } else { body };
        let mut out = response(status(outcome, self.media), self.media, self.asking.app.unsent.hold(body, &self.cut));
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
        let frames = self.asking.subscribe(parts, identity, sent, trace, turn);
        let body = stream::events(frames, Arc::clone(&self.asking.app.unsent), self.cut.clone());
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
            let sent = GraphqlRequest { others, ..sent };
            self.asking.answer(identity, sent, format!("{}-{at}", self.asking.id), trace, turn.clone())
        });
        let mut body = BytesMut::from("[");
        for (at, answer) in join_all(asked).await.into_iter().enumerate() {
            body.extend_from_slice(if at == 0 { b"" } else { b"," });
            body.extend_from_slice(&answer.body);
        }
        body.extend_from_slice(b"]");
        response(StatusCode::OK, self.media, self.asking.app.unsent.hold(body.freeze(), &self.cut))
    }
}

fn response(status: StatusCode, media: Media, body: Bytes) -> Response<Body> {
    let mut out = Response::new(Body::from(body));
    *out.status_mut() = status;
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    out
}
