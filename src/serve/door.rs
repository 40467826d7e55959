//! The one door: who asks is known, has asked no more than allowed, and has its turn, before anything of the request itself
//! is looked at.
//!
//! Every handler that answers goes through [`admit`], and every operation that comes over a socket through [`admit_message`], which
//! is the same but for what HTTP alone has; `tests/repo/tidy.rs` holds them to it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};

use super::framing::Doubtful;
use super::negotiate::is_json;
use super::{App, Halt, Peer, Turn, certificate};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::rate::{Busy, Payer};
use crate::identify::{
    AuthError, CertificateError, ClientCertificate, ForwardedError, Identity, Principal, caller_address,
};
use crate::model::config::Limits;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How long who was refused may go on sending.
const LET_GO: Duration = Duration::from_secs(2);
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// A request refused before the engine saw it.
pub(super) struct Refusal {
    pub status: StatusCode,
    pub error: Box<RequestError>,
    /// Headers the status asks for.
    pub headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with_code(status, ErrorCode::BadRequest, message)
    }

    pub fn with_code(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, error: Box::new(RequestError::new(code, message.into())), headers: Vec::new() }
    }

    pub fn with(mut self, header: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

impl Refusal {
    pub fn header_values(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_str(value).ok()?)))
    }
}

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        let error = Box::new(RequestError::rate_limited("requests", busy.retry_after_s));
        Self { status: StatusCode::TOO_MANY_REQUESTS, error, headers: Vec::new() }
            .with(header::RETRY_AFTER, busy.retry_after_s.to_string())
    }
}

/// What any request must be, whatever it is for: of one reading, and no longer than it may be.
pub(super) fn shape(request: &Request, limits: &Limits) -> Result<(), Refusal> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    if url > limits.url_bytes_max {
        let message = format!("the URL is longer than {} bytes; send the request by POST", limits.url_bytes_max);
        return Err(Refusal::with_code(StatusCode::URI_TOO_LONG, ErrorCode::LimitExceeded, message));
    }
    // The listener stops reading somewhere above it.
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.saturating_add(url) > limits.head_bytes_max {
        let message = format!("the request's head is longer than {} bytes", limits.head_bytes_max);
        let refusal =
            Refusal::with_code(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorCode::LimitExceeded, message);
        return Err(refusal.with(header::CONNECTION, "close"));
    }
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !plain || codings.next().is_some() || request.extensions().get::<Doubtful>().is_some_and(Doubtful::is_set) {
        let message = "the request's length can be read in two ways; send one Content-Length, or one \
                       `Transfer-Encoding: chunked`";
        return Err(bad(message).with(header::CONNECTION, "close"));
    }
    Ok(())
}

/// A request that may be worked on.
pub(super) struct Admitted {
    /// Whose it is; what it declares is not in it.
    pub identity: Identity,
    /// Empty, where none was to be read.
    pub body: Bytes,
    pub turn: Turn,
}

/// Checks headers, address, certificate and token, counts the request, reads its body (`None`: it is a GET), and waits for
/// its turn. Who sends slowly holds nothing but its own connection meanwhile; and whom there is no room for is told before
/// that.
pub(super) async fn admit<G>(app: &App<G>, parts: &Parts, body: Option<Body>) -> Result<Admitted, Refusal> {
    let is_get = body.is_none();
    let asked = async {
        check_headers(parts, is_get, app.limits.body_bytes_max)?;
        asking(app, parts).await
    };
    let (identity, payer) = match asked.await {
        Ok(asking) => asking,
        Err(refusal) => {
            // Who waits for word before it sends the body does not send it now: what comes next is another request.
            if parts.headers.contains_key(header::EXPECT) {
                return Err(refusal.with(header::CONNECTION, "close"));
            }
            if let Some(body) = body {
                let_go(app, body);
            }
            return Err(refusal);
        }
    };
    let body = match body {
        Some(body) => read(app, body).await?,
        None => Bytes::new(),
    };
    let turn = app.turns.take(&payer).await?;
    Ok(Admitted { identity, body, turn })
}

/// As [`admit`], of an operation that came over a socket: `parts` are those of the socket's upgrade, with what its connection was
/// begun with. All of it is looked at again for each operation.
pub(super) async fn admit_message<G>(app: &App<G>, parts: &Parts) -> Result<Admitted, Refusal> {
    let (identity, payer) = asking(app, parts).await?;
    let turn = app.turns.take(&payer).await?;
    Ok(Admitted { identity, body: Bytes::new(), turn })
}

/// Who asks, where there is room for a request of theirs.
async fn asking<G>(app: &App<G>, parts: &Parts) -> Result<(Identity, Payer), Refusal> {
    let identity = identified(app, parts).await?;
    let payer = Payer::of(&identity);
    app.turns.look(&payer)?;
    Ok((identity, payer))
}

/// Takes what still comes of a body that is not read, for a moment: a connection that is closed on who still sends loses the
/// refusal too.
fn let_go<G>(app: &App<G>, body: Body) {
    let mut left = app.limits.body_bytes_max;
    let mut chunks = body.into_data_stream();
    let mut coming = Box::pin(async move {
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(fewer) => left = fewer,
                None => return,
            }
        }
    });
    // Mostly, all of it came with the head.
    if coming.as_mut().now_or_never().is_none() {
        tokio::spawn(tokio::time::timeout(LET_GO, coming));
    }
}

/// Whose request it is, counted as one of theirs.
pub(super) async fn identified<G>(app: &App<G>, parts: &Parts) -> Result<Identity, Refusal> {
    let identity = known(app, parts).await?;
    app.requests.take(&identity, 1)?;
    Ok(identity)
}

/// Whose it is, by address, certificate and token.
pub(super) async fn known<G>(app: &App<G>, parts: &Parts) -> Result<Identity, Refusal> {
    let address = address(app, &parts.headers, parts.extensions.get::<Peer>());
    let address = address.ok_or_else(|| bad(ForwardedError.to_string()))?;
    let certificate = certificate::of_caller(app, parts, address).map_err(|error| rejected(app, address, &error))?;
    let principal = principal(app, address, &parts.headers, certificate.as_deref()).await?;
    let networks = app.networks.of(address);
    Ok(Identity { principal, networks, certificate, ..Identity::at(address) })
}

/// What the headers alone decide. A browser cannot send either kind of request across sites without asking first:
/// a JSON body needs a preflight, and a GET must carry something that no link, image or form can.
fn check_headers(parts: &Parts, is_get: bool, body_bytes_max: usize) -> Result<(), Refusal> {
    let headers = &parts.headers;
    if is_get {
        // `Accept` is none of them: a page may set it without asking.
        if headers.contains_key(header::AUTHORIZATION) || headers.contains_key(REQUESTED_WITH) || is_json(headers) {
            return Ok(());
        }
        let hint = "a GET needs an Authorization or X-Requested-With header, or `Content-Type: application/json`";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, hint));
    }
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        let hint = "send the body as it is: compressed ones are not taken";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, hint).with(header::ACCEPT_ENCODING, "identity"));
    }
    if !is_json(headers) {
        let hint = "send the request as application/json in UTF-8";
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

pub(super) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

/// The caller's address, where proxies stand between. `None`: a listed proxy forwards what is none.
pub(super) fn address<G>(app: &App<G>, headers: &HeaderMap, peer: Option<&Peer>) -> Option<IpAddr> {
    // Without a known peer nothing is believed: 0.0.0.0 is in no network.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let forwarded: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    caller_address(peer, forwarded.into_iter(), &app.networks).ok()
}

/// The credentials of a request that goes on after it was admitted.
pub(super) fn authorization(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::AUTHORIZATION).cloned()
}

/// Whether whoever was admitted would be admitted now: the token is good still, and they may ask once more.
pub(super) async fn still<G>(
    app: &App<G>,
    identity: &Identity,
    authorization: Option<&HeaderValue>,
) -> Result<(), Halt> {
    let checked =
        app.verifier.authenticate(authorization.map(HeaderValue::as_bytes), identity.certificate.as_deref()).await;
    let refused = |code, message: String| Halt::Refused(RequestError::new(code, message));
    if identity.certificate.as_ref().is_some_and(|shown| shown.is_over()) {
        return Err(refused(ErrorCode::Unauthenticated, CertificateError::Expired.to_string()));
    }
    match checked {
        Ok(principal) if principal == identity.principal => {}
        Ok(_) => return Err(refused(ErrorCode::Unauthenticated, "the token is of somebody else by now".to_owned())),
        Err(error @ AuthError::Unavailable) => {
            return Err(refused(ErrorCode::AuthenticationUnavailable, error.to_string()));
        }
        Err(error) => return Err(refused(ErrorCode::Unauthenticated, error.to_string())),
    }
    app.requests.take(identity, 1).map(drop).map_err(|busy| Halt::Wait(busy.retry_after_s))
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
    checked.map_err(|error| match error {
        AuthError::Unavailable => {
            let code = ErrorCode::AuthenticationUnavailable;
            let refusal = Refusal::with_code(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string());
            refusal.with(header::RETRY_AFTER, "5")
        }
        error => rejected(app, address, &error),
    })
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
