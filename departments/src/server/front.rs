//! What stands before every department: the request log, its rate, its latency and its faults.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::Fault;
use super::log::{Log, Logged};
use super::rate::Rate;
use crate::world::Roll;

/// Bytes a department reads of one request.
const BODY_MAX: usize = 16 << 20;
/// Bytes of one answer, where answers are kept.
const ANSWER_MAX: usize = 64 << 20;

#[derive(Clone)]
pub(super) struct Front {
    pub(super) source: Arc<str>,
    pub(super) log: Log,
    pub(super) fault: Arc<Mutex<Fault>>,
    /// `None`: answers at once.
    pub(super) latency_ms: Option<(u64, u64)>,
    /// `None`: takes as many calls as come.
    pub(super) rate: Option<Arc<Rate>>,
    /// What is asked is kept, see [`super::Running::log`]; else it is counted.
    pub(super) keep_requests: bool,
    /// What is answered is kept, see [`super::Running::answers`].
    pub(super) keep_answers: bool,
}

impl Front {
    pub(super) fn before(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, pass))
    }

    fn latency(&self, path: &str, body: &str) -> Duration {
        let Some((from, to)) = self.latency_ms else { return Duration::ZERO };
        let mut roll = Roll::new(from, path, body);
        Duration::from_millis(from + roll.below(to.saturating_sub(from)))
    }
}

async fn pass(State(front): State<Front>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let body = text(&bytes);
    let wait = front.latency(parts.uri.path(), &body);
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    if front.keep_requests {
        let logged = Logged {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body,
            headers: parts.headers.iter().map(header).collect(),
            at: SystemTime::now(),
        };
        front.log.push(&front.source, logged);
    } else {
        front.log.count(&front.source);
    }
    if let Some(Err(sent_away)) = front.rate.as_ref().map(|rate| rate.admit()) {
        return *sent_away;
    }
    let fault = *front.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = if let Fault::Slow(longer) = fault { wait + longer } else { wait };
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let response = fault.apply(next.run(Request::from_parts(parts, Body::from(bytes))).await).await;
    if !front.keep_answers {
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_MAX).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    front.log.said(&front.source, bytes.clone());
    Response::from_parts(parts, Body::from(bytes))
}

/// UTF-8, or else GBK.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::GBK.decode(bytes).0.into_owned(),
    }
}
