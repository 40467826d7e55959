//! Asking the gateway as a client does: over HTTP, with a token.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::roles::DemoRole;
use crate::cli::Stop;
use crate::model::contract::Contract;

/// Longer than the gateway takes for any request.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Client {
    http: reqwest::Client,
    url: String,
    document: String,
    /// Number and path of the items, in the contract's order.
    items: Vec<(u32, String)>,
}

/// One household as one role sees it.
pub struct View {
    pub role: String,
    pub network: String,
    pub household: String,
    pub sources: Vec<String>,
    pub millis: u128,
    pub items: Vec<Item>,
    /// Of the answer's `errors`: code and message.
    pub errors: Vec<(String, String)>,
}

pub struct Item {
    pub no: u32,
    pub path: String,
    pub state: String,
    pub value: Value,
    pub source_title: String,
    pub message: String,
}

impl Client {
    pub fn new(address: SocketAddr, document: String, contract: &Contract) -> Result<Self, Stop> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Stop::failed(format!("error: no HTTP client can be made: {error}")))?;
        let items = contract
            .items
            .iter()
            .filter_map(|item| Some((item.no.parse().ok()?, contract.slot(item.slot).path.to_string())))
            .collect();
        Ok(Self { http, url: format!("http://{address}/graphql"), document, items })
    }

    /// The whole portrait, as `role` sees it.
    pub async fn view(&self, role: &DemoRole, household: &str) -> Result<View, Stop> {
        let body = json!({"query": self.document, "variables": {"id": household}});
        let mut request = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .header("authorization", format!("Bearer {}", role.token))
            .body(body.to_string());
        for (name, value) in headers(role) {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let failed = |error: reqwest::Error| Stop::failed(format!("error: the gateway did not answer: {error}"));
        let response = request.send().await.map_err(failed)?;
        let bytes = response.bytes().await.map_err(failed)?;
        let millis = began.elapsed().as_millis();
        let answer: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Stop::failed(format!("error: the gateway's answer is not JSON: {error}")))?;
        Ok(self.read(role, household, &answer, millis))
    }

    fn read(&self, role: &DemoRole, household: &str, answer: &Value, millis: u128) -> View {
        let entity = answer.get("data").and_then(Value::as_object).and_then(|data| data.values().next());
        let errors: Vec<(String, String)> = list(answer.get("errors"))
            .iter()
            .map(|error| (text(error.pointer("/extensions/code")), text(error.get("message"))))
            .collect();
        let states = list(entity.and_then(|entity| entity.get("items")));
        let items = self
            .items
            .iter()
            .map(|(no, path)| {
                let state = states.iter().find(|state| text(state.get("path")) == *path);
                item(*no, path, state, entity.unwrap_or(&Value::Null), &errors)
            })
            .collect();
        let sources = list(answer.pointer("/extensions/sourcesCalled")).iter().map(|name| text(Some(name))).collect();
        View {
            role: role.name.clone(),
            network: role.network.clone(),
            household: household.to_owned(),
            sources,
            millis,
            items,
            errors,
        }
    }
}

/// What the role sends beside its token.
pub fn headers(role: &DemoRole) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    headers.extend(role.purpose.map(|purpose| ("X-Purpose", purpose.to_owned())));
    headers.extend(role.case.map(|case| ("X-Case", case.to_owned())));
    headers.extend(role.break_glass.map(|reason| ("X-Break-Glass", reason.to_owned())));
    headers.extend(role.forwarded.map(|address| ("X-Forwarded-For", address.to_string())));
    headers
}

fn item(no: u32, path: &str, info: Option<&Value>, entity: &Value, errors: &[(String, String)]) -> Item {
    let value = path.split('.').try_fold(entity, |at, name| at.get(name)).cloned().unwrap_or(Value::Null);
    let Some(info) = info else {
        // No household, and so no states: it is not given, or whoever knows of it did not answer.
        let (code, first) = errors.first().cloned().unwrap_or_default();
        let message = match errors.len() {
            0 | 1 => first,
            more => format!("{first}, and {} more grants", more - 1),
        };
        let state = if code.starts_with("SOURCE") { "UNAVAILABLE" } else { "REFUSED" };
        return Item {
            no,
            path: path.to_owned(),
            state: state.to_owned(),
            value,
            source_title: String::new(),
            message,
        };
    };
    Item {
        no,
        path: path.to_owned(),
        state: text(info.get("state")),
        value,
        source_title: text(info.get("sourceTitle")),
        message: text(info.get("message")),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl View {
    pub fn count(&self, state: &str) -> usize {
        self.items.iter().filter(|item| item.state == state).count()
    }

    pub fn as_json(&self) -> Value {
        let items: Vec<Value> = self
            .items
            .iter()
            .map(|item| json!({"no": item.no, "path": item.path, "state": item.state, "value": item.value}))
            .collect();
        let mut view = Map::new();
        for (name, value) in [
            ("role", json!(self.role)),
            ("network", json!(self.network)),
            ("household", json!(self.household)),
            ("answered", json!(self.count("ANSWERED"))),
            ("refused", json!(self.count("REFUSED"))),
            ("unavailable", json!(self.count("UNAVAILABLE"))),
            ("sources_called", json!(self.sources.len())),
            ("millis", json!(u64::try_from(self.millis).unwrap_or(u64::MAX))),
            ("items", Value::Array(items)),
        ] {
            view.insert(name.to_owned(), value);
        }
        Value::Object(view)
    }
}
