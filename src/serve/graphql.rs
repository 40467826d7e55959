//! GraphQL over HTTP: what comes in is checked before it is read, and read before it is parsed.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};

use super::kind::{Kind, selected};
use super::negotiate::{Media, accepted, is_json, names_graphql_response, status};
use super::{Answer, App, ENGINE_GRACE, Gateway, GraphqlRequest, Outcome, Peer, RequestId, certificate, ids, request};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::rate::Busy;
use crate::identify::{AuthError, ClientCertificate, Declared, Identity, Principal, caller_address};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request refused before the engine saw it.
struct Refusal {
    status: StatusCode,
    error: Box<RequestError>,
    /// A header the status asks for.
    header: Option<(HeaderName, String)>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with_code(status, ErrorCode::BadRequest, message)
    }

    fn with_code(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, error: Box::new(RequestError::new(code, message.into())), header: None }
    }

    fn with(self, header: HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((header, value.into())), ..self }
    }
}

/// What a request is for. Both pass the same checks; only what answers differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    /// The contract.
    Contract,
    /// The gateway's own API: by POST, and no trusted documents.
    Admin,
}

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        let error = Box::new(RequestError::rate_limited("requests", busy.retry_after_s));
        Self { status: StatusCode::TOO_MANY_REQUESTS, error, header: None }
            .with(header::RETRY_AFTER, busy.retry_after_s.to_string())
    }
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

async fn respond<G: Gateway>(app: &App<G>, id: &str, api: Api, request: Request) -> Response<Body> {
    let media = accepted(request.headers());
    match answer(app, id, api, media, request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::info!(request_id = %id, status = refusal.status.as_u16(), reason = %refusal.error.message, "refused");
            let media = media.unwrap_or(Media::Json);
            let mut out = response(refusal.status, media, Answer::refused(&refusal.error, id).body);
            if let Some((name, value)) = refusal.header
                && let Ok(value) = HeaderValue::from_str(&value)
            {
                out.headers_mut().insert(name, value);
            }
            out
        }
    }
}

async fn answer<G: Gateway>(
    app: &App<G>,
    id: &str,
    api: Api,
    media: Option<Media>,
    request: Request,
) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let is_get = check_method(app, api, &parts)?;
    let media = media.ok_or_else(|| {
        let types = "accept application/graphql-response+json or application/json";
        Refusal::new(StatusCode::NOT_ACCEPTABLE, types)
    })?;
    check_headers(&parts, is_get, app.limits.body_bytes_max)?;
    let address = address(app, &parts)?;
    let certificate = certificate::of_caller(app, &parts, address).map_err(|error| rejected(app, address, &error))?;
    let principal = principal(app, address, &parts.headers, certificate.as_deref()).await?;
    let networks = app.networks.of(address);
    let identity = Identity { principal, networks, certificate, ..Identity::at(address) };
    app.requests.take(&identity, 1)?;
    let sent = if is_get { request::from_uri(&parts.uri) } else { request::from_body(&read(app, body).await?) };
    let sent = sent.map_err(bad)?;
    let sent = trusted(app, api, sent, is_get)?;
    for name in Declared::HEADERS {
        if parts.headers.get_all(name).iter().nth(1).is_some() {
            return Err(bad(format!("the header {name} is sent twice")));
        }
    }
    let header = |name: &'static str| parts.headers.get(name).map(HeaderValue::as_bytes);
    let declared = Declared::from(&sent.extensions, header).map_err(bad)?;
    let identity = identity.declaring(declared);
    let trace = ids::traceparent(parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()));
    Ok(ask(app, id, api, media, identity, sent, trace).await)
}

/// Whether it is a GET; other methods than POST (and GET, where it is on) are refused.
fn check_method<G: Gateway>(app: &App<G>, api: Api, parts: &Parts) -> Result<bool, Refusal> {
    let get_possible = api == Api::Contract && (app.get_queries || app.gateway.has_documents());
    let allow = if get_possible { "GET, POST" } else { "POST" };
    match parts.method {
        Method::POST => Ok(false),
        Method::GET if get_possible => Ok(true),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {allow}")).with(header::ALLOW, allow)),
    }
}

/// What the headers alone decide. A browser cannot send either kind of request across sites without asking first:
/// a JSON body needs a preflight, and a GET must carry something that no link, image or form can.
fn check_headers(parts: &Parts, is_get: bool, body_bytes_max: usize) -> Result<(), Refusal> {
    let headers = &parts.headers;
    if is_get {
        let forcing = [header::AUTHORIZATION, HeaderName::from_static("x-requested-with")];
        let asks_first = forcing.iter().any(|name| headers.contains_key(name));
        if asks_first || names_graphql_response(headers) || is_json(headers) {
            return Ok(());
        }
        let hint = "a GET needs `Accept: application/graphql-response+json` or an X-Requested-With header";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, hint));
    }
    if !is_json(headers) || headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let hint = "send the request as application/json in UTF-8, not compressed";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, hint));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > body_bytes_max)) {
        return Err(too_large(body_bytes_max));
    }
    Ok(())
}

fn too_large(body_bytes_max: usize) -> Refusal {
    let message = format!("the body is larger than {body_bytes_max} bytes");
    Refusal::with_code(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitExceeded, message)
        .with(header::CONNECTION, "close")
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

fn address<G>(app: &App<G>, parts: &Parts) -> Result<IpAddr, Refusal> {
    // Without a known peer nothing is believed: 0.0.0.0 is in no network.
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let forwarded: Vec<&[u8]> = parts.headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    caller_address(peer, forwarded.into_iter(), &app.networks).map_err(|error| bad(error.to_string()))
}

/// Who the token speaks for. Once the address has no requests left, only tokens checked before are looked at, so that
/// nobody can have signatures checked for ever.
async fn principal<G>(
    app: &App<G>,
    address: IpAddr,
    headers: &HeaderMap,
    certificate: Option<&ClientCertificate>,
) -> Result<Option<Principal>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    if first.is_some_and(|header| !app.verifier.knows(header.as_bytes())) {
        app.requests.is_spent(address)?;
    }
    let checked = match second {
        Some(_) => Err(AuthError::NotBearer),
        None => app.verifier.authenticate(first.map(HeaderValue::as_bytes), certificate).await,
    };
    checked.map_err(|error| rejected(app, address, &error))
}

/// What is shown is not accepted: it counts against the address, as a request that shows nothing does.
fn rejected<G>(app: &App<G>, address: IpAddr, error: &impl std::fmt::Display) -> Refusal {
    if let Err(busy) = app.requests.take_rejected(address) {
        return busy.into();
    }
    let message = error.to_string();
    let challenge =
        format!("Bearer realm=\"huxiang\", error=\"invalid_token\", error_description=\"{}\"", plain(&message));
    Refusal::with_code(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
        .with(header::WWW_AUTHENTICATE, challenge)
}

/// Without the characters that a quoted string may not hold.
fn plain(message: &str) -> String {
    message.chars().filter(|c| (' '..='~').contains(c) && *c != '"' && *c != '\\').collect()
}

async fn read<G>(app: &App<G>, body: Body) -> Result<Bytes, Refusal> {
    let max = app.limits.body_bytes_max;
    let reading = async {
        let mut out = BytesMut::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| bad("the body broke off"))?;
            if out.len() + chunk.len() > max {
                return Err(too_large(max));
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    };
    match tokio::time::timeout(Duration::from_millis(app.limits.read_timeout_ms), reading).await {
        Ok(result) => result,
        Err(_) => {
            let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
            Err(refusal.with(header::CONNECTION, "close"))
        }
    }
}

/// Puts a trusted document's text in its place, and keeps GET to queries.
fn trusted<G: Gateway>(
    app: &App<G>,
    api: Api,
    mut sent: GraphqlRequest,
    is_get: bool,
) -> Result<GraphqlRequest, Refusal> {
    match &sent.document_id {
        Some(_) if api == Api::Admin => return Err(bad("the admin API has no trusted documents; send `query`")),
        Some(id) => match app.gateway.document(id) {
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

/// Asks the engine; one that panics or never ends costs this request and no other.
async fn ask<G: Gateway>(
    app: &App<G>,
    id: &str,
    api: Api,
    media: Media,
    identity: Identity,
    sent: GraphqlRequest,
    trace: String,
) -> Response<Body> {
    let limit = Duration::from_millis(app.limits.request_timeout_ms).saturating_add(ENGINE_GRACE);
    let asked = async {
        match api {
            Api::Contract => app.gateway.answer(identity, sent, id.to_owned(), Some(trace)).await,
            Api::Admin => app.gateway.admin(identity, sent, id.to_owned()).await,
        }
    };
    let Answer { status: outcome, body } =
        match tokio::time::timeout(limit, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(request_id = %id, "answering panicked");
                let message = "a fault of the gateway; tell the operator the request id".to_owned();
                Answer::refused(&RequestError::new(ErrorCode::Internal, message), id)
            }
            Err(_) => {
                let message = "the request took too long; ask for less".to_owned();
                Answer::refused(&RequestError::new(ErrorCode::DeadlineExceeded, message), id)
            }
        };
    let mut out = response(status(outcome, media), media, body);
    if let Outcome::TryLater { retry_after_s } = outcome {
        out.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    }
    if out.status() == StatusCode::UNAUTHORIZED {
        out.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"huxiang\""));
    }
    out
}

fn response(status: StatusCode, media: Media, body: Bytes) -> Response<Body> {
    let mut out = Response::new(Body::from(body));
    *out.status_mut() = status;
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    out
}
