//! A server that answers as its document says, and echoes what it was asked for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::document::plain;

pub struct Route {
    /// As the document has it: `/pets/{petId}`.
    pub path: String,
    pub answer: Value,
}

pub struct Mock {
    pub url: String,
    state: Arc<Served>,
    server: tokio::task::JoinHandle<()>,
}

struct Served {
    routes: Vec<Route>,
    /// The last answer by the document's path.
    answered: Mutex<BTreeMap<String, Value>>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Mock {
    pub async fn start(routes: Vec<Route>) -> Self {
        let state = Arc::new(Served { routes, answered: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { url, state, server }
    }

    pub fn forget(&self) {
        self.state.answered.lock().unwrap().clear();
    }

    /// What was last answered at a path of the document.
    pub fn answered(&self, path: &str) -> Option<Value> {
        self.state.answered.lock().unwrap().get(path).cloned()
    }
}

async fn answer(State(served): State<Arc<Served>>, uri: Uri) -> (StatusCode, String) {
    let query: Vec<(String, String)> = uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    let fitting = served.routes.iter().filter_map(|route| Some((route, matched(&route.path, uri.path(), &query)?)));
    // The one with the most said in it.
    let literal = |route: &Route, given: &[(String, String)]| {
        let braces: usize = given.iter().map(|(name, _)| name.len() + 2).sum();
        (given.len(), usize::MAX - route.path.len().saturating_sub(braces))
    };
    let Some((route, given)) = fitting.min_by_key(|(route, given)| literal(route, given)) else {
        return (StatusCode::NOT_FOUND, "{}".to_owned());
    };
    let mut body = route.answer.clone();
    let last = route.path.trim_end_matches('/').ends_with('}');
    for (at, (name, value)) in given.iter().enumerate() {
        echo(&mut body, name, value, last && at + 1 == given.len());
    }
    let further = query.iter().any(|(name, value)| is_further(name, value));
    for (name, value) in &query {
        let values: Vec<&str> = match query.iter().filter(|(other, _)| other == name).count() {
            1 => value.split(',').collect(),
            _ => query.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect(),
        };
        echo_many(&mut body, name, &values);
    }
    if further {
        emptied(&mut body);
        return (StatusCode::OK, body.to_string());
    }
    linked(&mut body, &format!("{}?mock-page=2", uri.path()), "", 0);
    served.answered.lock().unwrap().insert(route.path.clone(), body.clone());
    (StatusCode::OK, body.to_string())
}

/// There is one page of everything.
fn is_further(name: &str, value: &str) -> bool {
    let number = value.parse::<u64>().ok();
    match plain(name).as_str() {
        "page" | "pageno" | "pagenumber" | "pagenum" | "pageindex" | "currentpage" => {
            number.is_some_and(|number| number > 1)
        }
        "offset" | "skip" | "start" | "startindex" => number.is_some_and(|number| number > 1),
        "cursor" | "after" | "pagetoken" | "nexttoken" | "nextpagetoken" | "continuationtoken" | "marker" => true,
        "nextcursor" | "pageafter" | "pagecursor" | "mockpage" => true,
        _ => false,
    }
}

fn is_next(name: &str) -> bool {
    let name = plain(name);
    name.starts_with("next") || ["cursor", "endcursor", "after", "continuationtoken"].contains(&name.as_str())
}

/// Addresses of a next page are of this server.
fn linked(body: &mut Value, page: &str, under: &str, depth: usize) {
    let Value::Object(members) = body else { return };
    for (name, member) in members.iter_mut() {
        let path = plain(&format!("{under}{name}"));
        let address =
            |text: &str| text.starts_with("http") || ["link", "url", "href"].iter().any(|word| path.contains(word));
        match member {
            Value::String(text) if is_next(name) && address(text) => *text = page.to_owned(),
            Value::Object(_) if depth < 2 => linked(member, page, name, depth + 1),
            _ => {}
        }
    }
}

fn emptied(body: &mut Value) {
    match body {
        Value::Array(items) => items.clear(),
        Value::Object(members) => members.iter_mut().for_each(|(name, member)| match member {
            _ if is_next(name) => *member = Value::Null,
            Value::Array(items) if items.iter().any(Value::is_object) => items.clear(),
            Value::Object(inner) => {
                inner.values_mut().filter(|inner| inner.is_array()).for_each(emptied);
                inner.iter_mut().filter(|(name, _)| is_next(name)).for_each(|(_, next)| *next = Value::Null);
            }
            _ => {}
        }),
        _ => {}
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((decoded(name), decoded(value)))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%')
            .then(|| after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()));
        match hex.flatten() {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path's parameters, if the path is of the template; `{a}.json` and `{a}:{b}` are taken too. What a template has
/// after `?` must be in the query.
fn matched(template: &str, path: &str, query: &[(String, String)]) -> Option<Vec<(String, String)>> {
    let (template, fixed) = template.split_once('?').unwrap_or((template, ""));
    if !fixed.split('&').filter_map(pair).all(|given| query.contains(&given) || given.1.contains('{')) {
        return None;
    }
    let template = template.split('#').next()?;
    let (mut parts, mut given) = (template.split('/'), path.split('/'));
    let mut found = Vec::new();
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(part), Some(value)) => segment(part, &decoded(value), &mut found)?,
            _ => return None,
        }
    }
}

fn segment(part: &str, value: &str, found: &mut Vec<(String, String)>) -> Option<()> {
    let Some((before, rest)) = part.split_once('{') else { return (decoded(part) == value).then_some(()) };
    let (name, after) = rest.split_once('}')?;
    let value = value.strip_prefix(before)?;
    let literal = after.split('{').next().unwrap_or_default();
    if literal.is_empty() {
        found.push((name.to_owned(), value.to_owned()));
        return after.is_empty().then_some(());
    }
    let (own, rest) = value.split_once(literal)?;
    found.push((name.to_owned(), own.to_owned()));
    segment(&after[literal.len()..], rest, found)
}

/// The value as another is: a number stays a number.
fn like(old: &Value, value: &str) -> Option<Value> {
    match old {
        Value::String(_) => Some(json!(value)),
        Value::Number(_) => value.parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

/// The thing that is asked for has the id that it is asked by: under the parameter's name wherever that stands, else, of
/// a path that ends with it, as its `id`.
fn echo(body: &mut Value, name: &str, value: &str, last: bool) {
    let own = body.as_object().is_some_and(|members| members.keys().any(|member| plain(member) == plain(name)));
    named(body, &plain(name), value, 0);
    if !own && last {
        identified(body, value, 0);
    }
}

fn named(body: &mut Value, name: &str, value: &str, depth: usize) -> bool {
    let mut found = false;
    match body {
        Value::Object(members) if depth < 4 => {
            for (member, old) in members.iter_mut() {
                match like(old, value).filter(|_| plain(member) == name) {
                    Some(new) => (*old, found) = (new, true),
                    None => found |= named(old, name, value, depth + 1),
                }
            }
        }
        // Elements of a list are told apart by such a member.
        Value::Array(_) => {}
        _ => {}
    }
    found
}

/// An object's own `id`; of an object without one, that of an object in it.
fn identified(body: &mut Value, value: &str, depth: usize) -> bool {
    let Value::Object(members) = body else { return false };
    if let Some((_, old)) = members.iter_mut().find(|(member, _)| plain(member) == "id") {
        if let Some(new) = like(old, value) {
            *old = new;
        }
        return true;
    }
    depth < 2 && members.values_mut().any(|inner| identified(inner, value, depth + 1))
}

/// A list that is asked for by many keys has those.
fn echo_many(body: &mut Value, name: &str, values: &[&str]) {
    let singular = plain(name).trim_end_matches('s').to_owned();
    match body {
        Value::Array(items) => {
            for (item, value) in items.iter_mut().zip(values) {
                let Value::Object(members) = item else { continue };
                let own = members.keys().find(|member| plain(member) == singular).cloned();
                let own =
                    own.or_else(|| (singular.ends_with("id") && members.contains_key("id")).then(|| "id".to_owned()));
                if let Some((old, new)) = own.and_then(|own| {
                    let old = members.get_mut(&own)?;
                    let new = like(old, value)?;
                    Some((old, new))
                }) {
                    *old = new;
                }
            }
        }
        Value::Object(members) => members.values_mut().for_each(|inner| {
            if inner.is_array() {
                echo_many(inner, name, values);
            }
        }),
        _ => {}
    }
}
