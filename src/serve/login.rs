//! `POST /login/NAME/start` and `/login/NAME/token`: logging in through an issuer's portal.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::door::{Admitted, Refusal, admit, bad};
use super::origin::{self, Site};
use super::refusals::Refused;
use super::{Answer, App, Gateway, LoggedIn, RequestId};
use crate::base::code::ErrorCode;
use crate::identify::{Identity, LoginDone, LoginError, Principal};

const METHODS: &str = "POST, OPTIONS";

pub async fn handle<G: Gateway>(
    State(app): State<Arc<App<G>>>,
    Extension(RequestId(id)): Extension<RequestId>,
    Path((name, step)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let site = origin::site(&parts, &app.cors, app.is_tls);
    let answered = match site {
        Site::Foreign => {
            let message = "pages of other sites may not log in here; the operator can list them under `cors.origins`";
            Err(Refusal::with_code(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message))
        }
        Site::Listed(_) if origin::is_preflight(&parts) => Ok(origin::preflight(&app.cors, METHODS)),
        Site::Listed(_) | Site::Own => answer(&app, &id, (&name, &step), &parts, body).await,
    };
    let mut response = answered.unwrap_or_else(|refusal| refused(&id, refusal));
    origin::mark(response.headers_mut(), &site, &app.cors);
    response
}

async fn answer<G: Gateway>(
    app: &App<G>,
    id: &str,
    (name, step): (&str, &str),
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    if parts.method != Method::POST {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "use POST");
        return Err(refusal.with(header::ALLOW, METHODS));
    }
    let Admitted { identity, body, turn: _turn } = admit(app, parts, Some(body)).await?;
    let answered = match step {
        "start" => app.verifier.begin_login(name, &parsed(&body)?).map(|begun| json(&begun)),
        "token" => {
            let done = app.verifier.exchange_code(name, &parsed(&body)?).await;
            recorded(app, id, name, &identity, &done).await?;
            done.map(|(done, _)| json(&done))
        }
        _ => Err(LoginError::Unknown),
    };
    answered.map_err(|error| {
        // Whoever tries codes pays for two requests each.
        match app.requests.take_rejected(identity.address) {
            Ok(()) => failed(&error),
            Err(busy) => busy.into(),
        }
    })
}

/// Records who logged in, or that a code got no token; what never came to the issuer is summed up with other refusals.
/// How many there can be is bounded by the rates: one that fails counts twice.
async fn recorded<G: Gateway>(
    app: &App<G>,
    id: &str,
    name: &str,
    identity: &Identity,
    done: &Result<(LoginDone, Principal), LoginError>,
) -> Result<(), Refusal> {
    let (principal, failed) = match done {
        Ok((_, principal)) => (Some(principal.clone()), None),
        Err(error) if error.is_of_the_issuer() => (None, Some(status_of(error).1)),
        Err(_) => return Ok(()),
    };
    let issuer = app.verifier.login_issuer(name).unwrap_or_default().to_owned();
    let identity = Identity { principal, ..identity.clone() };
    let login = LoggedIn { identity, request_id: id.to_owned(), issuer, failed };
    let recorded = app.gateway.now().logged_in(login).await;
    recorded.map_err(|error| Refusal::with_code(StatusCode::SERVICE_UNAVAILABLE, error.code, error.message))
}

/// The reason is not told on: it might quote a code.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| bad("the body is not the JSON object that is asked for here; see the documentation"))
}

fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn failed(error: &LoginError) -> Refusal {
    let (status, code) = status_of(error);
    Refusal::with_code(status, code, error.to_string())
}

fn status_of(error: &LoginError) -> (StatusCode, ErrorCode) {
    match error {
        LoginError::Unknown => (StatusCode::NOT_FOUND, ErrorCode::BadRequest),
        LoginError::Request(_) => (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
        LoginError::Busy | LoginError::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::AuthenticationUnavailable)
        }
        LoginError::Refused | LoginError::Answer(_) | LoginError::Token(_) => {
            (StatusCode::FORBIDDEN, ErrorCode::Unauthenticated)
        }
    }
}

fn refused(id: &str, refusal: Refusal) -> Response<Body> {
    let mut out = Response::new(Body::from(Answer::refused(&refusal.error, id).body));
    *out.status_mut() = refusal.status;
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out.headers_mut().extend(refusal.header_values());
    out.extensions_mut().insert(Refused { reason: refusal.error.message.clone() });
    out
}
