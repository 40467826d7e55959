//! What goes over the wire, kept for an integrator who tries a binding by hand: only by a connector that was told to. The
//! gateway never tells one to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde_json::{Map, Value};

use super::blank::{BLANK, Blanks};
use super::charset;
use super::sign::Sealed;
use super::wire::Outgoing;
use crate::model::binding::connection::Connection;
use crate::model::binding::format::Format;

/// Headers that are no secret though they are not of the request's template.
const TOLD: [&str; 6] = ["accept", "traceparent", "x-request-id", "x-principal", "x-purpose", "x-case"];
/// Those of every request to everybody, where the binding does not say them itself.
const USUAL: [&str; 3] = ["host", "user-agent", "accept-encoding"];

/// One request, and what came of it. Secrets are blanked; values are as they are.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// None: there was no answer.
    pub status: Option<u16>,
    pub answer_headers: Vec<(String, String)>,
    pub answer: String,
    pub answer_bytes: usize,
    /// Until the answer's head was there.
    pub head: Option<Duration>,
    pub total: Duration,
}

/// The requests of a connector, tries included, in order.
#[derive(Debug, Default)]
pub struct Exchanges(Mutex<Vec<Exchange>>);

impl Exchanges {
    pub(crate) fn add(&self, exchange: Exchange) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// All so far; they are kept no longer.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Exchange {
    pub(crate) fn sent(&mut self, out: &Outgoing, sealed: &Sealed, connection: &Connection) {
        self.method = out.method.to_string();
        self.url = shown_url(out, sealed);
        let own = |name: &str| connection.headers.iter().any(|(own, _)| own == name);
        self.headers = sealed
            .headers
            .iter()
            .filter(|(name, _)| own(name.as_str()) || !USUAL.contains(&name.as_str()))
            .map(|(name, value)| {
                let told = out.headers.get(name) == Some(value) || TOLD.contains(&name.as_str());
                let value =
                    if told && !own(name.as_str()) { String::from_utf8_lossy(value.as_bytes()) } else { BLANK.into() };
                (name.to_string(), value.into_owned())
            })
            .collect();
        self.body = if sealed.body == out.body {
            let content_type = out.headers.get("content-type").and_then(|value| value.to_str().ok());
            let text = charset::decode(out.body.clone(), connection.encoding, content_type, false);
            text.unwrap_or_else(|_| String::from_utf8_lossy(&out.body).into_owned())
        } else {
            shown_body(out, sealed)
        };
    }

    /// `token`: that of the session, wherever it comes back.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap, after: Duration, token: Option<&str>) {
        self.status = Some(status.as_u16());
        self.head = Some(after);
        self.answer_headers = headers
            .iter()
            .map(|(name, value)| {
                let cookie = name == http::header::SET_COOKIE;
                let value = if cookie { BLANK.into() } else { String::from_utf8_lossy(value.as_bytes()) };
                (name.to_string(), without(value.into_owned(), token))
            })
            .collect();
    }

    pub(crate) fn read(
        &mut self,
        body: &Bytes,
        content_type: Option<&str>,
        connection: &Connection,
        token: Option<&str>,
    ) {
        self.answer_bytes = body.len();
        let text = charset::decode(body.clone(), connection.encoding, content_type, connection.format == Format::Xml);
        self.answer = without(text.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()), token);
    }
}

fn without(text: String, token: Option<&str>) -> String {
    match token {
        Some(token) => Blanks::new([token]).text(&text),
        None => text,
    }
}

/// As it was sent, without what signing added.
fn shown_url(out: &Outgoing, sealed: &Sealed) -> String {
    let text = sealed.uri.to_string();
    let (Ok(mut url), Ok(own)) = (Url::parse(&text), Url::parse(&out.uri.to_string())) else { return text };
    let known: Vec<_> = own.query_pairs().collect();
    let all_known = url.query_pairs().all(|pair| known.contains(&pair));
    if all_known {
        return url.to_string();
    }
    let shown = shown_parameters(out.uri.query().unwrap_or_default(), url.query().unwrap_or_default());
    url.set_query(None);
    format!("{url}?{shown}")
}

/// Encoded parameters, with the values of those that signing added blanked.
fn shown_parameters(own: &str, sent: &str) -> String {
    let own: Vec<&str> = own.split('&').collect();
    let shown = sent.split('&').map(|part| {
        let name = part.split('=').next().unwrap_or_default();
        if own.contains(&part) { part.to_owned() } else { format!("{name}={BLANK}") }
    });
    shown.collect::<Vec<String>>().join("&")
}

/// A body to which signing added members, or parameters.
fn shown_body(out: &Outgoing, sealed: &Sealed) -> String {
    if out.plain.as_ref().is_some_and(|plain| plain.form.is_some()) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return shown_parameters(&text(&out.body), &text(&sealed.body));
    }
    let parse = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    let (Some(sent), Some(own)) = (parse(&sealed.body), parse(&out.body).or(Some(Map::new()))) else {
        return BLANK.to_owned();
    };
    let shown = sent.into_iter().map(|(name, value)| {
        let value = if own.get(&name) == Some(&value) { value } else { BLANK.into() };
        (name, value)
    });
    Value::Object(shown.collect()).to_string()
}
