//! Signing requests, as the formats of [`Sign`](crate::model::binding::format::Sign) say.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::Url;
use sha2::{Digest, Sha256};
use sm3::Sm3;

use super::failure::Failure;
use super::json;
use crate::base::code::ErrorCode;
use crate::model::binding::connection::sign::Signing;
use crate::model::binding::format::HmacHash;

/// What is signed.
pub(crate) struct Signed<'a> {
    pub method: &'a Method,
    pub url: &'a Url,
    /// Query parameters, not encoded.
    pub query: &'a [(String, String)],
    /// A JSON body's text.
    pub json: Option<&'a str>,
    pub body: &'a [u8],
}

/// Adds the signature's headers. OAuth 2 tokens are not signatures: see [`super::token`].
pub(crate) fn sign(signing: &Signing, signed: &Signed<'_>, headers: &mut HeaderMap) -> Result<(), Failure> {
    let timestamp = jiff::Timestamp::now().as_second().to_string();
    match signing {
        Signing::HmacParams { hash, app_key, secret } => {
            let nonce = nonce();
            let text = parameters(signed, &timestamp, &nonce)?;
            let mac = hex(&hmac(*hash, secret.reveal(), text.as_bytes())?);
            let values = [("x-app-key", app_key), ("x-timestamp", &timestamp), ("x-nonce", &nonce), ("x-sign", &mac)];
            for (name, value) in values {
                headers.insert(HeaderName::from_static(name), header(value)?);
            }
        }
        Signing::HmacHeader { hash, header: name, key_id, secret } => {
            let path = match signed.url.query() {
                Some(query) => format!("{}?{query}", signed.url.path()),
                None => signed.url.path().to_owned(),
            };
            let digest = hex(&Sha256::digest(signed.body));
            let text = format!("{}\n{path}\n{timestamp}\n{digest}", signed.method);
            let mac = STANDARD.encode(hmac(*hash, secret.reveal(), text.as_bytes())?);
            headers.insert(name.clone(), header(&format!("{key_id}:{timestamp}:{mac}"))?);
        }
        Signing::Basic { user, password } => {
            headers.insert(http::header::AUTHORIZATION, basic(user, password.reveal())?);
        }
        Signing::Oauth2 { .. } => {}
    }
    Ok(())
}

/// `a=1&b=2&nonce=…&timestamp=…`, sorted by name, then value.
fn parameters(signed: &Signed<'_>, timestamp: &str, nonce: &str) -> Result<String, Failure> {
    let mut all: Vec<(String, String)> = signed.query.to_vec();
    if let Some(body) = signed.json.filter(|body| body.starts_with('{')) {
        for (name, value) in json::members(body)? {
            all.push((name, json::text(value)?.into_owned()));
        }
    }
    all.push(("timestamp".to_owned(), timestamp.to_owned()));
    all.push(("nonce".to_owned(), nonce.to_owned()));
    all.sort();
    let mut text = String::new();
    for (name, value) in all {
        let and = if text.is_empty() { "" } else { "&" };
        let _ = write!(text, "{and}{name}={value}");
    }
    Ok(text)
}

pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

pub(crate) fn header(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| Failure::new(ErrorCode::ValueInvalid, "a header's value cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn hmac(hash: HmacHash, secret: &str, text: &[u8]) -> Result<Vec<u8>, Failure> {
    fn mac<M: Mac + KeyInit>(secret: &str, text: &[u8]) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(text);
        Some(mac.finalize().into_bytes().to_vec())
    }
    let made = match hash {
        HmacHash::Sm3 => mac::<Hmac<Sm3>>(secret, text),
        HmacHash::Sha256 => mac::<Hmac<Sha256>>(secret, text),
    };
    made.ok_or_else(|| Failure::new(ErrorCode::Internal, "the signing key is of no use"))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// 32 hex digits that do not come again; nobody needs to be unable to guess them.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Each RandomState has keys of its own.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(count);
    format!("{:016x}{count:016x}", hasher.finish())
}
