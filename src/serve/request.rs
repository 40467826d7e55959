//! A GraphQL request as HTTP carries it: the JSON body of a POST, or the parameters of a GET.

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Map, Value};

use super::GraphqlRequest;

/// From a POST's body. The error says what is not as GraphQL over HTTP asks.
pub fn from_body(body: &[u8]) -> Result<GraphqlRequest, String> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| format!("the body is not JSON (line {}, column {})", e.line(), e.column()))?;
    let mut object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return Err("batches are not taken; send one request at a time".to_owned()),
        _ => return Err("the body must be a JSON object with `query`".to_owned()),
    };
    check(GraphqlRequest {
        query: text(&mut object, "query")?,
        document_id: text(&mut object, "documentId")?,
        operation_name: text(&mut object, "operationName")?,
        variables: map(object.remove("variables"), "variables")?,
        extensions: map(object.remove("extensions"), "extensions")?,
    })
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
    })
}

fn check(request: GraphqlRequest) -> Result<GraphqlRequest, String> {
    match (&request.query, &request.document_id) {
        (Some(_), None) | (None, Some(_)) => Ok(request),
        (Some(_), Some(_)) => Err("give `query` or `documentId`, not both".to_owned()),
        (None, None) => Err("the request has no `query`".to_owned()),
    }
}

fn text(object: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match object.remove(name) {
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
