//! Mocked departments: every request that is made must be one of the scenario's, and each of those is made once.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

/// One request and what it is answered with.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `GET /path?query`.
    line: String,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
    answer_headers: Vec<(String, String)>,
    answer: String,
}

impl Exchange {
    pub fn request(text: &str, place: &str) -> Self {
        let (line, headers, body) = parts(text, place);
        Self { line, headers, body, status: 0, answer_headers: Vec::new(), answer: String::new() }
    }

    pub fn answer(&mut self, text: &str, place: &str) {
        let (status, headers, body) = parts(text, place);
        self.status = status.parse().unwrap_or_else(|_| panic!("{place}: `{status}` is not an HTTP status"));
        self.answer_headers = headers;
        self.answer = body;
    }

    fn is(&self, line: &str, headers: &HeaderMap, body: &str) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        self.line == line
            && self.headers.iter().all(|(name, value)| header(name) == Some(value))
            && (self.body.is_empty() || same(&self.body, body))
    }

    /// The request that must be there before this one is answered.
    fn waits_for(&self) -> Option<&str> {
        self.answer_headers.iter().find(|(name, _)| name == "wait-for").map(|(_, line)| line.as_str())
    }

    fn response(&self) -> Response {
        let mut response = Response::builder().status(self.status);
        let mut charset = encoding_rs::UTF_8;
        for (name, value) in &self.answer_headers {
            response = response.header(name, value);
            let label = value.split("charset=").nth(1).filter(|_| name == "content-type");
            charset = label.and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes())).unwrap_or(charset);
        }
        response.body(Body::from(charset.encode(&self.answer).0.into_owned())).unwrap()
    }
}

/// First line, headers, body.
fn parts(text: &str, place: &str) -> (String, Vec<(String, String)>, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_else(|| panic!("{place}: the block is empty"));
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{place}: `{line}` is not a header"));
        (name.to_lowercase(), value.to_owned())
    };
    (first.to_owned(), lines.map(header).collect(), body.trim_end().to_owned())
}

/// JSON as values; any other text but for blanks.
fn same(expected: &str, actual: &str) -> bool {
    match (serde_json::from_str::<Value>(expected), serde_json::from_str::<Value>(actual)) {
        (Ok(expected), Ok(actual)) => expected == actual,
        _ => {
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            bare(expected) == bare(actual)
        }
    }
}

#[derive(Default)]
struct Seen {
    open: Vec<Exchange>,
    unexpected: Vec<String>,
    arrived: Vec<String>,
}

pub struct Departments {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Departments {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Departments {
    pub async fn start(exchanges: Vec<Exchange>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { open: exchanges, ..Seen::default() }));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, seen, serving }
    }

    /// Requests that were made and are none of the scenario's, and those that were not made.
    pub fn differences(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let mut out = String::new();
        for request in &seen.unexpected {
            let _ = writeln!(out, "not in the scenario: {request}");
        }
        for exchange in &seen.open {
            let _ = writeln!(out, "nobody asked: {} {}", exchange.line, exchange.body);
        }
        out
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Seen>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let charset = kind.split("charset=").nth(1).and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
    let body = charset.unwrap_or(encoding_rs::UTF_8).decode(&body).0;
    let line = format!("{method} {uri}");
    let taken = {
        let mut seen = seen.lock().unwrap();
        seen.arrived.push(line.clone());
        let at = seen.open.iter().position(|exchange| exchange.is(&line, &headers, &body));
        if at.is_none() {
            seen.unexpected.push(format!("{line} {body}"));
        }
        at.map(|at| seen.open.remove(at))
    };
    let Some(exchange) = taken else {
        return Response::builder().status(StatusCode::IM_A_TEAPOT).body(Body::empty()).unwrap();
    };
    // As long as it takes: who waits for this answer first will give up.
    while exchange.waits_for().is_some_and(|other| !seen.lock().unwrap().arrived.iter().any(|line| line == other)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    exchange.response()
}
