//! Tokens of the demo issuer, for trying the gateway out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use crate::model::config::Issuer;

#[derive(Debug)]
pub enum MintError {
    /// The issuer is a real one; its tokens come from there.
    NotDemo,
    NoSigningKey,
    Key(String),
    /// A claim that the gateway sets itself was given.
    Reserved(String),
}

impl std::fmt::Display for MintError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotDemo => f.write_str("tokens are made only for an issuer marked `demo: true` in gateway.yaml"),
            Self::NoSigningKey => f.write_str("the demo issuer has no `signing_key` in gateway.yaml"),
            Self::Key(why) => write!(f, "the demo issuer's signing key must be an Ed25519 key in PKCS#8 PEM: {why}"),
            Self::Reserved(name) => write!(f, "the claim `{name}` is set by the gateway; leave it out"),
        }
    }
}

impl std::error::Error for MintError {}

/// A token (EdDSA) of a demo issuer for `id` with these roles and further claims, valid from now for `valid`.
pub fn mint(
    issuer: &Issuer,
    id: &str,
    roles: &[String],
    claims: &Map<String, Value>,
    valid: Duration,
) -> Result<String, MintError> {
    if !issuer.demo {
        return Err(MintError::NotDemo);
    }
    let pem = issuer.signing_key.as_ref().ok_or(MintError::NoSigningKey)?;
    let pem = pem.read().map_err(|e| MintError::Key(e.to_string()))?;
    let key = EncodingKey::from_ed_pem(&pem).map_err(|e| MintError::Key(e.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut body = Map::new();
    for (name, value) in [
        ("iss", json!(issuer.issuer)),
        ("aud", json!(issuer.audience)),
        ("sub", json!(id)),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now.saturating_add(valid.as_secs()))),
        ("roles", json!(roles)),
    ] {
        body.insert(name.to_owned(), value);
    }
    for (name, value) in claims {
        if body.insert(name.clone(), value.clone()).is_some() {
            return Err(MintError::Reserved(name.clone()));
        }
    }
    encode(&Header::new(Algorithm::EdDSA), &body, &key).map_err(|e| MintError::Key(e.to_string()))
}
