//! A GraphQL request as HTTP carries it: the JSON body of a POST, or the parameters of a GET.

use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::GraphqlRequest;
use crate::model::documents::digest;

/// A member that stands twice is refused: whoever looks at requests on their way here may have seen the other one.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    query: Option<Value>,
    document_id: Option<Value>,
    operation_name: Option<Value>,
    variables: Option<Value>,
    extensions: Option<Value>,
}

/// What a body holds.
#[derive(Debug)]
pub enum Sent {
    One(GraphqlRequest),
    /// At least one.
    Batch(Vec<GraphqlRequest>),
}

/// From a POST's body, which may be a batch of at most so many (0: none are taken). The error says what is not as
/// GraphQL over HTTP asks.
pub fn from_body(body: &[u8], batch_max: usize) -> Result<Sent, String> {
    let broken = |e: serde_json::Error| format!("the body is not JSON (line {}, column {})", e.line(), e.column());
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') if batch_max > 0 => return batch(body, batch_max).map(Sent::Batch),
        first => {
            let _: IgnoredAny = serde_json::from_slice(body).map_err(broken)?;
            return Err(match first {
                Some(b'[') => "batches are not taken; send one request at a time".to_owned(),
                _ => "the body must be a JSON object with `query`".to_owned(),
            });
        }
    }
    let body: Body = serde_json::from_slice(body).map_err(|e| match e.classify() {
        Category::Data => "a member of the body is given twice".to_owned(),
        _ => broken(e),
    })?;
    body.request().map(Sent::One)
}

impl Body {
    fn request(self) -> Result<GraphqlRequest, String> {
        check(GraphqlRequest {
            query: text(self.query, "query")?,
            document_id: text(self.document_id, "documentId")?,
            operation_name: text(self.operation_name, "operationName")?,
            variables: map(self.variables, "variables")?,
            extensions: map(self.extensions, "extensions")?,
            others: 0,
        })
    }
}

/// Counted before anything is kept of it.
fn batch(body: &[u8], batch_max: usize) -> Result<Vec<GraphqlRequest>, String> {
    let entries: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|e| format!("the body is not JSON (line {}, column {})", e.line(), e.column()))?;
    match entries.len() {
        0 => return Err("the batch is empty".to_owned()),
        count if count > batch_max => {
            return Err(format!("the batch has {count} operations, and {batch_max} are allowed; send fewer at once"));
        }
        _ => {}
    }
    let one = |(at, entry): (usize, &RawValue)| match entry.get().starts_with('{') {
        true => serde_json::from_str::<Body>(entry.get())
            .map_err(|_| format!("operation {at} of the batch: a member is given twice"))?
            .request()
            .map_err(|message| format!("operation {at} of the batch: {message}")),
        false => Err(format!("operation {at} of the batch must be a JSON object with `query`")),
    };
    entries.into_iter().enumerate().map(one).collect()
}

/// From a GET's parameters; `variables` and `extensions` are JSON texts in them.
pub fn from_uri(uri: &Uri) -> Result<GraphqlRequest, String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| "the URL's parameters cannot be read".to_owned())?;
    let one = |name: &str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(format!("`{name}` is given twice")),
            (first, None) => Ok(first.filter(|value| !value.is_empty())),
        }
    };
    let json = |name: &str| match one(name)? {
        None => Ok(Map::new()),
        Some(text) => map(Some(serde_json::from_str(&text).map_err(|_| format!("`{name}` is not JSON"))?), name),
    };
    check(GraphqlRequest {
        query: one("query")?,
        document_id: one("documentId")?,
        operation_name: one("operationName")?,
        variables: json("variables")?,
        extensions: json("extensions")?,
        others: 0,
    })
}

fn check(mut request: GraphqlRequest) -> Result<GraphqlRequest, String> {
    if let Some(hash) = persisted(&request.extensions)? {
        match (&request.query, &request.document_id) {
            (Some(query), _) if digest(query) != hash => {
                return Err("`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`".to_owned());
            }
            (None, Some(id)) if *id != hash => {
                return Err("`documentId` and `extensions.persistedQuery` differ; send one of them".to_owned());
            }
            (None, _) => request.document_id = Some(hash),
            _ => {}
        }
    }
    match (&request.query, &request.document_id) {
        (Some(_), None) | (None, Some(_)) => Ok(request),
        (Some(_), Some(_)) => Err("give `query` or `documentId`, not both".to_owned()),
        (None, None) => Err("the request has no `query`".to_owned()),
    }
}

/// The hash of an automatic persisted query. It names a trusted document or nothing: a text that is sent with it is run
/// as any other, and not kept.
pub fn persisted(extensions: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(value) = extensions.get("persistedQuery").filter(|value| !value.is_null()) else { return Ok(None) };
    match value.get("sha256Hash").and_then(Value::as_str) {
        Some(hash) => Ok(Some(hash.to_ascii_lowercase())),
        None => Err("`extensions.persistedQuery` must have a `sha256Hash`".to_owned()),
    }
}

fn text(value: Option<Value>, name: &str) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a string")),
    }
}

fn map(value: Option<Value>, name: &str) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(format!("`{name}` must be a JSON object")),
    }
}
