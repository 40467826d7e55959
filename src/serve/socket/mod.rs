//! GraphQL over WebSockets: the subprotocol `graphql-transport-ws`, as the library graphql-ws says it. A socket is opened by an
//! upgrade of `/graphql`, which passes what any request passes; its operations pass the door one by one.

mod close;
mod fee;
mod message;
mod operation;
mod places;
mod session;
mod under_way;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use futures::future::BoxFuture;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::door::{self, Refusal, bad};
use super::framing::Doubtful;
use super::{App, Gateway};
use crate::base::code::ErrorCode;
use crate::identify::rate::Payer;
use fee::Fee;
use places::Full;
pub use places::Sockets;

const SUBPROTOCOL: &str = "graphql-transport-ws";
/// To whom there was no room for a socket.
const RETRY_AFTER_S: &str = "10";
const OF_CALLER: &str = "you have as many WebSockets open as you may (`sockets.per_caller_max`): close one";

/// Where an upgrade leaves what goes on over its connection, which the listener waits for as for any connection.
#[derive(Clone, Default)]
pub struct Takeover(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Takeover {
    fn leave(&self, going_on: BoxFuture<'static, ()>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(going_on);
    }

    /// Goes on, where anything was left.
    pub async fn go_on(&self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(going_on) = left {
            going_on.await;
        }
    }
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked(parts: &Parts) -> bool {
    parts.method == Method::GET && names_it(parts)
}

/// Whether a front may take a request for one that asks for a WebSocket. Many clients ask for `h2c` beside each request, which
/// is left alone.
pub(super) fn names_it(parts: &Parts) -> bool {
    let names = |value: &HeaderValue| {
        let names = value.to_str().unwrap_or_default().split(',');
        names.into_iter().any(|name| name.trim().eq_ignore_ascii_case("websocket"))
    };
    parts.headers.get_all(header::UPGRADE).iter().any(names)
}

/// The answer to an upgrade: what comes then over its connection are messages.
pub(super) async fn open<G: Gateway>(
    app: &Arc<App<G>>,
    id: &str,
    parts: &mut Parts,
) -> Result<Response<Body>, Refusal> {
    if app.sockets.bounds.at_once_max == 0 {
        let message = "WebSockets are not taken here; subscribe by POST, with `Accept: text/event-stream`";
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    let is_empty = |length: &HeaderValue| length.as_bytes() == b"0";
    if parts.headers.contains_key(header::TRANSFER_ENCODING)
        || !parts.headers.get(header::CONTENT_LENGTH).is_none_or(is_empty)
    {
        return Err(bad("an upgrade has no body").with(header::CONNECTION, "close"));
    }
    let mut response = handshake(parts)?;
    if !offers(&parts.headers) {
        return Err(bad(format!(
            "ask for the subprotocol `{SUBPROTOCOL}` (Sec-WebSocket-Protocol); there is no other here"
        )));
    }
    let identity = door::known(app, parts).await?;
    if identity.principal.is_none() {
        // Who asks is said later, if ever: until then it is a visitor of that address.
        app.requests.is_spent(identity.address)?;
    }
    let (Some(upgrade), Some(takeover)) =
        (parts.extensions.remove::<OnUpgrade>(), parts.extensions.remove::<Takeover>())
    else {
        return Err(bad("this connection cannot be upgraded; use HTTP/1.1"));
    };
    let place = app.sockets.enter(Payer::of(&identity)).map_err(|full| {
        let message = match full {
            Full::AtOnce => format!("as many WebSockets are open as may be: try again in {RETRY_AFTER_S} s"),
            Full::OfCaller => format!("{OF_CALLER}, or try again in {RETRY_AFTER_S} s"),
        };
        let refusal = Refusal::with_code(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded, message);
        refusal.with(header::RETRY_AFTER, RETRY_AFTER_S)
    })?;
    if let Some(doubtful) = parts.extensions.get::<Doubtful>() {
        doubtful.upgraded();
    }
    let opened = session::Opened {
        app: Arc::clone(app),
        id: id.into(),
        parts: Arc::new(parts.clone()),
        address: identity.address,
        fee: Fee::new(app, identity.address),
        place,
    };
    takeover.leave(Box::pin(opened.run(upgrade)));
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// What the protocol itself asks of the head.
fn handshake(parts: &Parts) -> Result<Response<Body>, Refusal> {
    let mut request = Request::new(());
    request.method_mut().clone_from(&parts.method);
    *request.version_mut() = parts.version;
    request.headers_mut().clone_from(&parts.headers);
    create_response_with_body(&request, Body::empty).map_err(|error| match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            let refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, "send `Sec-WebSocket-Version: 13`");
            refusal.with(header::SEC_WEBSOCKET_VERSION, "13").with(header::UPGRADE, "websocket")
        }
        _ => bad("this is no upgrade to a WebSocket (RFC 6455): look at Connection, Upgrade and Sec-WebSocket-Key"),
    })
}

fn offers(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = offered.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    names.any(|name| name.trim() == SUBPROTOCOL)
}
