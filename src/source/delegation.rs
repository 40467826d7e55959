//! Tokens in the caller's name: a new one for each call, good for a minute, for one audience.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Header, encode};
use serde_json::{Map, Value, json};

use super::Caller;
use super::failure::Failure;
use super::sign::nonce;
use crate::base::code::ErrorCode;
use crate::model::binding::connection::sign::delegation::signing_key;
use crate::model::binding::connection::sign::{Delegation, Secret};

/// From `iat` to `exp`.
const LIFE_SECONDS: u64 = 60;

/// Signed with the gateway's own key: never the token that the caller showed. The caller's id, roles and claims are in it
/// as the binding maps them, the declared purpose as the only one of `purposes`, and who acts in `act`: this gateway, for those who asked it.
pub(crate) fn token(delegation: &Delegation, key: &Secret, caller: &Caller) -> Result<Secret, Failure> {
    let unfit = || Failure::new(ErrorCode::Internal, "`sign.key` is no key that tokens can be signed with");
    let (algorithm, key) = signing_key(key.reveal()).ok_or_else(unfit)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut claims = Map::new();
    for name in &delegation.claims {
        claims.extend(caller.claims.get(name).map(|value| (name.clone(), value.clone())));
    }
    let standard = [
        ("iss", json!(delegation.issuer)),
        ("aud", json!(delegation.audience)),
        ("sub", json!(caller.principal)),
        ("iat", json!(now)),
        ("exp", json!(now.saturating_add(LIFE_SECONDS))),
        ("jti", json!(nonce())),
        ("roles", json!(delegation.roles_there(&caller.roles))),
        ("purposes", json!(caller.purpose.iter().collect::<Vec<_>>())),
        ("act", actors(&delegation.actor, &caller.actors)),
    ];
    // Last: no claim of the caller's stands in their place.
    claims.extend(standard.map(|(name, value)| (name.to_owned(), value)));
    let header = Header { kid: delegation.key_id.clone(), ..Header::new(algorithm) };
    encode(&header, &Value::Object(claims), &key).map(Secret::new).map_err(|_| unfit())
}

fn actors(own: &str, before: &[String]) -> Value {
    let before = before.iter().rev().fold(None, |inner: Option<Value>, actor| {
        Some(inner.map_or_else(|| json!({ "sub": actor }), |inner| json!({ "sub": actor, "act": inner })))
    });
    before.map_or_else(|| json!({ "sub": own }), |before| json!({ "sub": own, "act": before }))
}
