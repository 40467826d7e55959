//! `securitySchemes` → headers and `sign`; secrets are variables.

use serde_json::{Value, json};

use super::openapi::object;
use super::schema::Schemas;
use crate::draft::operation::Found;
use crate::draft::write::variable;

pub fn read<'a>(document: &'a Value, source: &str, schemas: &mut Schemas<'a>, found: &mut Found) {
    let declared = document.pointer("/components/securitySchemes").or_else(|| document.get("securityDefinitions"));
    let Some(Value::Object(declared)) = declared else { return };
    let asked: Vec<&str> = document
        .get("security")
        .and_then(Value::as_array)
        .and_then(|alternatives| alternatives.iter().filter_map(Value::as_object).find(|all| !all.is_empty()))
        .map(|all| all.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let chosen: Vec<&str> = match asked.is_empty() {
        true => declared.keys().take(1).map(String::as_str).collect(),
        false => asked,
    };
    if declared.len() > chosen.len() {
        let all: Vec<&str> = declared.keys().map(String::as_str).take(8).collect();
        found.decide.push(format!("how the gateway signs: the document knows {}", all.join(", ")));
    }
    for name in chosen {
        let Some((scheme, _)) = declared.get(name).and_then(|scheme| schemas.resolve(scheme)) else { continue };
        one(scheme, name, source, found);
    }
}

fn one(scheme: &Value, name: &str, source: &str, found: &mut Found) {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    let variable = |what: &str| format!("${{{}}}", variable(source, what));
    let basic = |found: &mut Found| {
        found.sign = object([
            ("scheme", json!("basic")),
            ("user", json!(variable("USER"))),
            ("password", json!(variable("PASSWORD"))),
        ]);
    };
    match (text("type"), text("in"), text("scheme").to_ascii_lowercase().as_str()) {
        ("apiKey", "header", _) if is_header(text("name")) => {
            let what = crate::draft::name::upper(text("name")).unwrap_or_else(|| "API_KEY".to_owned());
            found.headers.push((text("name").to_owned(), variable(what.strip_prefix("X_").unwrap_or(&what))));
        }
        ("apiKey", "query", _) if !text("name").is_empty() && found.sign.is_empty() => {
            let what = crate::draft::name::upper(text("name")).unwrap_or_else(|| "API_KEY".to_owned());
            found.sign =
                object([("scheme", json!("api-key")), ("query", json!(text("name"))), ("key", json!(variable(&what)))]);
        }
        ("basic", ..) | ("http", _, "basic") => basic(found),
        ("http", _, "bearer") => {
            found.headers.push(("Authorization".to_owned(), format!("Bearer {}", variable("TOKEN"))))
        }
        ("oauth2", ..) => {
            let flow = scheme.pointer("/flows/clientCredentials").or((text("flow") == "application").then_some(scheme));
            let Some(url) = flow.and_then(|flow| flow.get("tokenUrl")).and_then(Value::as_str) else {
                let what = format!("how the gateway gets a token: `{name}` is OAuth 2.0 without client credentials");
                found.decide.push(what);
                return found.headers.push(("Authorization".to_owned(), format!("Bearer {}", variable("TOKEN"))));
            };
            let fits = url.starts_with('/') || url.starts_with("https://") || url.starts_with("http://");
            let (token_url, id) = (if fits { url.to_owned() } else { format!("/{url}") }, variable("CLIENT_ID"));
            found.sign = object([
                ("scheme", json!("oauth2")),
                ("token_url", json!(token_url)),
                ("client_id", json!(id)),
                ("client_secret", json!(variable("CLIENT_SECRET"))),
            ]);
            found.decide.push("sign: which `scope`, if any".to_owned());
        }
        (kind, place, _) => {
            let place = if place.is_empty() { String::new() } else { format!(" in {place}") };
            found.decide.push(format!("how the gateway signs: `{name}` is {kind}{place}, which is not drafted"));
        }
    }
}

fn is_header(name: &str) -> bool {
    http::HeaderName::try_from(name).is_ok()
}
