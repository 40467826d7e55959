//! What claims of tokens are read as.

use serde_json::{Map, Value};

use crate::base::pointer::Pointer;
use crate::model::config::ClaimType;

/// Gateways between a caller and this one.
const ACTORS_MAX: usize = 8;
/// Characters of one's name.
const ACTOR_CHARS_MAX: usize = 128;
/// Roles of one token.
const ROLES_MAX: usize = 64;

/// A list of texts, or one text with roles between blanks (as OAuth scopes are written). No claim: no roles.
pub(super) fn roles(value: Option<&Value>) -> Option<Vec<String>> {
    let roles: Vec<String> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    (roles.len() <= ROLES_MAX).then_some(roles)
}

/// The actors of a token, the current one first (RFC 8693, section 4.1). No claim: the subject acts for itself.
pub(super) fn actors(mut act: Option<&Value>) -> Option<Vec<String>> {
    let mut actors = Vec::new();
    while let Some(actor) = act {
        let name = actor.get("sub").and_then(Value::as_str)?;
        let fits =
            !name.trim().is_empty() && name.chars().count() <= ACTOR_CHARS_MAX && !name.chars().any(char::is_control);
        if !fits || actors.len() == ACTORS_MAX {
            return None;
        }
        actors.push(name.to_owned());
        act = actor.get("act");
    }
    Some(actors)
}

pub(super) fn fits(value: &Value, kind: ClaimType) -> bool {
    match kind {
        ClaimType::Text => value.is_string(),
        ClaimType::Int => value.is_i64(),
        ClaimType::Bool => value.is_boolean(),
        ClaimType::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
    }
}

/// An empty text claims nothing: as the prefix of a division it would stand for all of them, and as an id it would be
/// equal to another that is empty.
pub(super) fn without_empty(value: &Value) -> Option<Value> {
    let empty = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    match value {
        Value::Array(list) => Some(Value::Array(list.iter().filter(|value| !empty(value)).cloned().collect())),
        value => (!empty(value)).then(|| value.clone()),
    }
}

pub(super) fn pointer<'a>(token: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let parsed = Pointer::parse(pointer).ok()?;
    let (first, rest) = parsed.segments().split_first()?;
    rest.iter().try_fold(token.get(first.as_ref())?, |value, segment| value.get(segment.as_ref()))
}

/// NumericDate (RFC 7519), fractions cut.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0 && *n < 1e15).map(|n| n as u64))
}
