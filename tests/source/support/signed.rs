//! What a listener received of a signed request, and digests that are none of the gateway's code.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::routing::any;
use hmac::{KeyInit, Mac};

use super::{Asked, serve};

/// What a listener received.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {self:?}")).to_str().unwrap()
    }

    pub fn parameter(&self, name: &str) -> String {
        let found = self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no parameter {name}: {self:?}")).1.to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Asks with the binding, and gives what the listener received.
pub async fn received(sign: &str, request: &str) -> Received {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let route = any(async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        *keep.lock().unwrap() = Some(Received {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        "{}"
    });
    let url = serve(Router::new().fallback(route)).await;
    let asked = Asked::new(&binding(sign, request), &url);
    asked.one("k 1", &[]).await.unwrap();
    let received = seen.lock().unwrap().clone();
    received.expect("the listener was asked")
}

pub fn binding(sign: &str, request: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{sign}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {request}\n"
    )
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn hmac<M: Mac + KeyInit>(key: &str, text: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
