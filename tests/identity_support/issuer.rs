//! Keys and tokens of issuers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

pub struct Key {
    pub id: Option<String>,
    pair: rcgen::KeyPair,
}

impl Key {
    pub fn new(id: Option<&str>) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self { id: id.map(str::to_owned), pair }
    }

    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    pub fn private_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    pub fn jwk(&self) -> Value {
        let der: String = self.public_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(der).unwrap();
        let mut jwk =
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "x": URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])});
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    /// Signed with this key, naming its id.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.id.clone(), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &EncodingKey::from_ed_pem(self.private_pem().as_bytes()).unwrap()).unwrap()
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A clerk's claims, with changes; null takes one away.
pub fn clerk(change: Value) -> Value {
    let mut claims = json!({"iss": "https://id", "aud": "huxiang", "sub": "zhang", "iat": now(), "exp": now() + 600,
        "roles": ["clerk"]});
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// How a [`JwksServer`] answers.
#[derive(Clone)]
pub enum Reply {
    Keys(Vec<Value>),
    /// Keys with an entity tag and a Cache-Control; 304 where that tag is asked for.
    Tagged(Vec<Value>, &'static str, &'static str),
    Text(u16, String),
    /// Status 302 to another address.
    Elsewhere(String),
    Huge,
    Never,
}

/// Serves a key set, as a test says; counts how often it is asked.
pub struct JwksServer {
    pub url: String,
    reply: Arc<Mutex<Reply>>,
    asked: Arc<AtomicUsize>,
    /// How often it answered that nothing has changed.
    unchanged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl JwksServer {
    pub async fn start(reply: Reply) -> Self {
        let (reply, asked) = (Arc::new(Mutex::new(reply)), Arc::new(AtomicUsize::new(0)));
        let unchanged = Arc::new(AtomicUsize::new(0));
        let (now, count, same) = (Arc::clone(&reply), Arc::clone(&asked), Arc::clone(&unchanged));
        let routes = Router::new().fallback(move |headers: axum::http::HeaderMap| {
            count.fetch_add(1, Ordering::SeqCst);
            let reply = now.lock().unwrap().clone();
            let known = headers.get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
            let same = Arc::clone(&same);
            async move {
                let response = answer(reply, known.as_deref()).await;
                if response.status() == StatusCode::NOT_MODIFIED {
                    same.fetch_add(1, Ordering::SeqCst);
                }
                response
            }
        });
        let (url, task) = super::serve_routes(routes).await;
        Self { url: format!("{url}/jwks"), reply, asked, unchanged, task }
    }

    pub fn set(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// How often it said since the last time that nothing has changed.
    pub fn unchanged(&self) -> usize {
        self.unchanged.swap(0, Ordering::SeqCst)
    }

    pub fn taken(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

async fn answer(reply: Reply, known: Option<&str>) -> Response {
    match reply {
        Reply::Tagged(_, tag, control) if known == Some(tag) => {
            (StatusCode::NOT_MODIFIED, [("etag", tag), ("cache-control", control)]).into_response()
        }
        Reply::Tagged(keys, tag, control) => {
            ([("etag", tag), ("cache-control", control)], Json(json!({ "keys": keys }))).into_response()
        }
        Reply::Keys(keys) => Json(json!({ "keys": keys })).into_response(),
        Reply::Text(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Reply::Elsewhere(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Reply::Huge => format!("{{\"keys\": [{}]}}", " ".repeat(4 << 20)).into_response(),
        Reply::Never => std::future::pending().await,
    }
}
