//! `huxiang source test`: recorded exchanges, answered by a server on this machine instead of the department's.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use clap::Args;
use serde_json::{Value, json};

use super::super::load::{self, Environment};
use super::super::{Done, Stop, runtime, text};
use super::attempt::{self, Attempt, Given, Tried};
use super::show;
use crate::base::fault::Faults;
use crate::model::binding::connection::Connection;
use crate::model::binding::connection::sign::Secret;
use crate::model::binding::format::Encoding;
use crate::model::config::egress::EgressConfig;
use crate::model::snapshot::{Folders, Parts};
use crate::source::{Caller, Exchange};

#[derive(Debug, Args)]
pub struct TestArgs {
    /// What `source try --record` wrote
    file: PathBuf,
    /// The folder with schema/, resolvers/ and config/
    #[arg(long, default_value = ".", value_name = "DIR")]
    root: PathBuf,
}

/// A recorded exchange.
#[derive(Debug, Default, Clone)]
pub struct Scenario {
    pub name: String,
    /// Source, endpoint, keys and inputs.
    pub asked: Value,
    /// In the order in which they were made, each with its answer.
    pub requests: Vec<String>,
    pub responses: Vec<String>,
    pub fields: Value,
}

pub fn run(args: &TestArgs) -> Done {
    let failed = |why: String| Stop::failed(format!("error: {}: {why}", args.file.display()));
    let text = std::fs::read_to_string(&args.file).map_err(|error| failed(error.to_string()))?;
    let scenarios = read(&text).map_err(failed)?;
    let folders = Folders::under(&args.root);
    let environment = Environment::with_placeholders(&folders);
    let mut faults = Faults::default();
    let parts = Parts::load(&folders, &|name| environment.get(name), &mut faults);
    // Who else fills the contract does not matter here: it may be the registry.
    faults.forget(0, |fault| fault.file.path == folders.resolvers);
    let Some(parts) = parts.filter(|_| faults.is_empty()) else { return Err(load::refused(&faults)) };
    let runtime = runtime()?;
    let mut wrong = 0;
    for scenario in &scenarios {
        let differences = runtime.block_on(differences(scenario, &parts))?;
        let verdict = if differences.is_empty() { "ok" } else { "DIFFERS" };
        text::out(&format!("{verdict}  {}\n", scenario.name));
        differences.iter().for_each(|line| text::out(&format!("    {line}\n")));
        wrong += usize::from(!differences.is_empty());
    }
    text::out(&format!("{}, {wrong} with differences\n", show::counted(scenarios.len(), "exchange")));
    Ok(u8::from(wrong > 0))
}

/// The scenarios of a file: one a second-level heading.
fn read(text: &str) -> Result<Vec<Scenario>, String> {
    let mut all: Vec<Scenario> = Vec::new();
    let mut block: Option<(&str, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        match (&mut block, line) {
            (Some((kind, text)), "```") => {
                let (kind, text) = (*kind, std::mem::take(text));
                block = None;
                let scenario =
                    all.last_mut().ok_or_else(|| format!("line {number}: a block before the first `## `"))?;
                let parsed = || serde_json::from_str(&text).map_err(|error| format!("line {number}: {error}"));
                match kind {
                    "json try" => scenario.asked = parsed()?,
                    "json fields" => scenario.fields = parsed()?,
                    "http request" => scenario.requests.push(text),
                    "http response" => scenario.responses.push(text),
                    _ => return Err(format!("line {number}: a block of another kind: `{kind}`")),
                }
            }
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {
                if let Some(name) = line.strip_prefix("## ") {
                    all.push(Scenario { name: name.to_owned(), ..Scenario::default() });
                } else if let Some(kind) = line.strip_prefix("```") {
                    block = Some((kind, String::new()));
                }
            }
        }
    }
    match (block, all.is_empty()) {
        (Some(_), _) => Err("a block is not closed".to_owned()),
        (None, true) => Err("there is no `## ` with an exchange".to_owned()),
        (None, false) => Ok(all),
    }
}

/// What is otherwise than it was recorded.
async fn differences(scenario: &Scenario, parts: &Parts) -> Result<Vec<String>, Stop> {
    let word = |name: &str| scenario.asked.get(name).and_then(Value::as_str).unwrap_or_default();
    let Some((id, source)) = attempt::source_of(parts, word("source")) else {
        return Ok(vec![format!("there is no source `{}`", word("source"))]);
    };
    let keys = scenario.asked.get("keys").and_then(Value::as_array).into_iter().flatten();
    let mut given: Vec<Given> =
        keys.filter_map(Value::as_str).map(|key| Given { name: None, value: key.to_owned() }).collect();
    let inputs = scenario.asked.get("inputs").and_then(Value::as_object).into_iter().flatten();
    given.extend(
        inputs.filter_map(|(name, value)| Some(Given { name: Some(name.clone()), value: value.as_str()?.to_owned() })),
    );
    let (attempts, missing) = attempt::choose(parts, id, &given, Some(word("endpoint")))?;
    let Some(attempt) = attempts.first() else { return Ok(missing) };
    let connection = attempt::connection(source, None)?;
    let tried = replayed(attempt, parts, connection, &scenario.responses).await?;
    let mut out = Vec::new();
    let requests = requests_of(&tried);
    let as_recorded = scenario.requests.iter().zip(&requests).all(|(recorded, now)| same_request(recorded, now));
    if scenario.requests.len() != requests.len() || !as_recorded {
        let (recorded, now) = (scenario.requests.join("\n"), requests.join("\n"));
        out.push(format!("the request is another: recorded {:?}, now {:?}", recorded.trim(), now.trim()));
    }
    compare(&scenario.fields, &outcome_of(&tried), &mut out);
    Ok(out)
}

/// Asks a server of this machine that answers so, one request after the other, unsigned and without TLS.
pub async fn replayed(
    attempt: &Attempt<'_>,
    parts: &Parts,
    connection: &Connection,
    responses: &[String],
) -> Result<Tried, Stop> {
    let failed = |error: std::io::Error| Stop::failed(format!("error: no server could be started here: {error}"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(Mutex::new(VecDeque::from(responses.to_vec())));
    let routes = Router::new().fallback(answer).with_state(state);
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut here = connection.clone();
    here.base_url = Secret::new(format!("http://{address}"));
    here.headers.clear();
    here.encoding = Encoding::Auto;
    here.sign = None;
    here.tls = Default::default();
    here.standbys = Default::default();
    here.mounted = Default::default();
    here.limits.retries_max = 0;
    let caller = Caller { principal: "source-try".to_owned(), ..Caller::default() };
    let tried = attempt::ask(attempt, parts, &here, &caller, &EgressConfig::default()).await;
    serving.abort();
    tried
}

async fn answer(
    State(responses): State<Arc<Mutex<VecDeque<String>>>>,
    _method: Method,
    _uri: Uri,
    _headers: HeaderMap,
    _body: Bytes,
) -> Response {
    let text = responses.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default();
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse::<u16>().ok()).unwrap_or(500);
    let mut response = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        response = response.header(name, value);
    }
    response.body(Body::from(body.to_owned())).unwrap_or_default()
}

/// The requests as they are recorded: from the path on, without what every call tells.
pub fn requests_of(tried: &Tried) -> Vec<String> {
    tried.exchanges.iter().map(request_of).collect()
}

fn request_of(exchange: &Exchange) -> String {
    let from_path = exchange.url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut out = format!("{} /{from_path}\n", exchange.method);
    for (name, value) in &exchange.headers {
        if !matches!(name.as_str(), "accept" | "x-request-id" | "traceparent" | "x-principal" | "x-purpose" | "x-case")
        {
            out.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !exchange.body.is_empty() {
        let laid_out = serde_json::from_str::<Value>(&exchange.body).map(|value| format!("{value:#}"));
        out.push_str(&format!("\n{}\n", laid_out.unwrap_or_else(|_| exchange.body.clone())));
    }
    out
}

fn same_request(recorded: &str, now: &str) -> bool {
    let parts = |text: &str| {
        let (head, body) = text.trim_end().split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let body =
            serde_json::from_str::<Value>(body).unwrap_or_else(|_| body.split_whitespace().collect::<String>().into());
        (head.trim().to_owned(), body)
    };
    parts(recorded) == parts(now)
}

/// What was read, as it is recorded.
pub fn outcome_of(tried: &Tried) -> Value {
    let records: Vec<Value> = tried
        .records
        .iter()
        .map(|(key, fields)| {
            let fields: serde_json::Map<String, Value> = fields
                .iter()
                .map(show::field)
                .map(|field| {
                    let path = field.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
                    let outcome = field.get("outcome").cloned().unwrap_or_default();
                    let value = field.get("value").cloned().unwrap_or_default();
                    (path, if outcome == "value" { value } else { json!({ "outcome": outcome, "value": value }) })
                })
                .collect();
            json!({"key": key.as_deref(), "fields": fields})
        })
        .collect();
    let failure = tried.answer.as_ref().err().map(|error| error.code.as_str());
    json!({"failure": failure, "records": records})
}

fn compare(recorded: &Value, now: &Value, out: &mut Vec<String>) {
    if recorded.get("failure") != now.get("failure") {
        let (recorded, now) = (recorded.get("failure").cloned(), now.get("failure").cloned());
        out.push(format!("the call: recorded {}, now {}", recorded.unwrap_or_default(), now.unwrap_or_default()));
    }
    let records = |of: &Value| of.get("records").and_then(Value::as_array).cloned().unwrap_or_default();
    let (recorded, now) = (records(recorded), records(now));
    if recorded.len() != now.len() {
        out.push(format!("recorded {}, now {}", show::counted(recorded.len(), "record"), now.len()));
    }
    for (recorded, now) in recorded.iter().zip(&now) {
        let fields = |of: &Value| of.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
        let (recorded, now) = (fields(recorded), fields(now));
        for (path, value) in &recorded {
            match now.get(path) {
                Some(other) if other == value => {}
                Some(other) => out.push(format!("{path}: recorded {value}, now {other}")),
                None => out.push(format!("{path}: recorded {value}, now nothing reads it")),
            }
        }
        for (path, value) in now.iter().filter(|(path, _)| !recorded.contains_key(*path)) {
            out.push(format!("{path}: not recorded, now {value}"));
        }
    }
}

/// Writes a file.
pub fn put(path: &Path, text: &str) -> Result<(), Stop> {
    std::fs::write(path, text)
        .map_err(|error| Stop::failed(format!("error: {} cannot be written: {error}", path.display())))
}
