//! Signed requests: `X-App-Key`, `X-Timestamp`, `X-Nonce`, `X-Sign`.
//!
//! The signature is HMAC-SM3 in hex over `a=1&b=2&nonce=…&timestamp=…`: the query's parameters and the body's
//! top-level members sorted by name, values not encoded, what is not a text as compact JSON. A timestamp
//! (Unix seconds or milliseconds) holds for five minutes, a nonce once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sm3::Sm3;

use super::failed;
use crate::server::{app_key, secret};

const HOLDS_SECONDS: i64 = 300;
const NONCES_KEPT: usize = 50_000;

#[derive(Clone)]
pub(super) struct Guard {
    app_key: String,
    secret: String,
    nonces: Arc<Mutex<(BTreeSet<String>, VecDeque<String>)>>,
}

impl Guard {
    pub(super) fn new(id: &str) -> Self {
        Self { app_key: app_key(id), secret: secret(id), nonces: Arc::default() }
    }

    fn first_use(&self, nonce: &str) -> bool {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *nonces;
        if !known.insert(nonce.to_owned()) {
            return false;
        }
        order.push_back(nonce.to_owned());
        if order.len() > NONCES_KEPT
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    fn refusal(&self, headers: &HeaderMap, parameters: BTreeMap<String, String>) -> Option<&'static str> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let (timestamp, nonce) = (header("x-timestamp"), header("x-nonce"));
        if header("x-app-key") != self.app_key || nonce.is_empty() {
            return Some("应用标识无效");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64;
        let sent = timestamp.parse().unwrap_or(0);
        let sent = if sent > 100_000_000_000 { sent / 1000 } else { sent };
        if (now - sent).abs() > HOLDS_SECONDS {
            return Some("时间戳已过期");
        }
        let text = signed_text(parameters, timestamp, nonce);
        let mut mac = Hmac::<Sm3>::new_from_slice(self.secret.as_bytes()).expect("any length of key");
        mac.update(text.as_bytes());
        match unhex(header("x-sign")) {
            Some(sign) if mac.verify_slice(&sign).is_ok() => (!self.first_use(nonce)).then_some("请求重复"),
            _ => Some("签名错误"),
        }
    }
}

pub(super) fn signed_text(mut parameters: BTreeMap<String, String>, timestamp: &str, nonce: &str) -> String {
    parameters.insert("timestamp".to_owned(), timestamp.to_owned());
    parameters.insert("nonce".to_owned(), nonce.to_owned());
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, 16 << 20).await else { return failed(1413, "请求过大").into_response() };
    let mut parameters =
        Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
    if let Ok(Value::Object(members)) = serde_json::from_slice(&bytes) {
        parameters.extend(members.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        }));
    }
    if let Some(reason) = guard.refusal(&parts.headers, parameters) {
        return failed(1401, reason).into_response();
    }
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}
