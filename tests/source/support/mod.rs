//! A source to ask: a binding as text, a real listener, and the records that come back.

pub mod mounted;
pub mod signed;
pub mod whole;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use huxiang::base::fault::{Faults, SourceText};
use huxiang::base::pointer::Pointer;
use huxiang::model::binding::connection::Connection;
use huxiang::model::binding::format::SourceFile;
use huxiang::model::binding::platform::Platforms;
use huxiang::model::binding::request::CallTemplate;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{CallContext, Connector, Fetch, Fetched, PageAt, Shared, SourceError};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A source at `/a` that notes when it is asked; its address, and the moments so far.
pub async fn noting() -> (String, Arc<Mutex<Vec<std::time::Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&times);
    let note = axum::routing::get(async move || {
        log.lock().unwrap().push(std::time::Instant::now());
        "{}"
    });
    (serve(Router::new().route("/a", note)).await, times)
}

/// Whether never more than so many calls lie within one second.
pub fn at_most_in_a_second(times: &Mutex<Vec<std::time::Instant>>, most: usize) -> bool {
    let mut times = times.lock().unwrap().clone();
    times.sort();
    times.windows(most + 1).all(|window| window[most] - window[0] > Duration::from_secs(1))
}

/// Serves on a free port; the address has no `/` at its end.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

pub struct Asked {
    pub connector: Connector,
    pub one: Option<CallTemplate>,
    pub many: Option<CallTemplate>,
    pub context: CallContext,
}

pub fn compile(yaml: &str, url: &str) -> Result<Asked, String> {
    compile_with(yaml, &|name| (name == "URL").then(|| url.to_owned()))
}

pub fn compile_with(yaml: &str, variables: &dyn Fn(&str) -> Option<String>) -> Result<Asked, String> {
    compile_within(yaml, variables, &EgressConfig::default())
}

/// Within the operator's bounds.
pub fn compile_within(
    yaml: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    egress: &EgressConfig,
) -> Result<Asked, String> {
    compile_on(yaml, variables, egress, "platforms: {}", &Shared::default())
}

/// With platforms, and beside other sources.
pub fn compile_on(
    yaml: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    egress: &EgressConfig,
    platforms: &str,
    shared: &Shared,
) -> Result<Asked, String> {
    let text = SourceText::new("resolvers/test.yaml", yaml);
    let file: SourceFile = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let mut faults = Faults::default();
    let platforms = SourceText::new("config/platforms.yaml", platforms);
    let platforms = Platforms::read(&platforms, variables, egress, &mut faults);
    let connections = Connection::compile(&file, &text, variables, egress, &platforms, &mut faults);
    let endpoint = &file.endpoints.values().next().expect("the binding has an endpoint").value;
    let mut template = |request, many| {
        let template = CallTemplate::compile(request, file.protocol, many, file.envelope.as_ref(), &text, &mut faults);
        template.map(|template| template.with_times_of(endpoint).with_encrypted(Vec::new()))
    };
    let one = endpoint.one.as_ref().and_then(|request| template(request, false));
    let many = endpoint.many.as_ref().and_then(|request| template(request, true));
    if !faults.is_empty() {
        return Err(faults.render());
    }
    let connection = connections.into_iter().next().expect("a connection");
    let connector = Connector::new(connection, shared)?;
    Ok(Asked { connector, one, many, context: CallContext::default() })
}

impl Asked {
    pub fn new(yaml: &str, url: &str) -> Self {
        compile(yaml, url).unwrap_or_else(|faults| panic!("{faults}"))
    }

    pub async fn one(&self, key: &str, wanted: &[&str]) -> Result<Vec<(u32, String)>, SourceError> {
        self.fetch(self.one.as_ref().expect("one"), &[key], wanted, None).await.map(|fetched| records(&fetched))
    }

    pub async fn many(&self, keys: &[&str], wanted: &[&str]) -> Result<Vec<(u32, String)>, SourceError> {
        self.fetch(self.many.as_ref().expect("many"), keys, wanted, None).await.map(|fetched| records(&fetched))
    }

    pub async fn fetch(
        &self,
        template: &CallTemplate,
        keys: &[&str],
        wanted: &[&str],
        page: Option<PageAt>,
    ) -> Result<Fetched, SourceError> {
        let keys: Vec<Arc<str>> = keys.iter().map(|key| (*key).into()).collect();
        let wanted: Vec<Pointer> = wanted.iter().map(|pointer| Pointer::parse(pointer).unwrap()).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        let fetch =
            Fetch { template, keys: &keys, inputs: &[], wanted: &wanted, deadline, context: &self.context, page };
        self.connector.fetch(fetch).await
    }
}

pub fn records(fetched: &Fetched) -> Vec<(u32, String)> {
    fetched.records.iter().map(|record| (record.key, record.json.raw().to_owned())).collect()
}

pub fn record(key: u32, json: &str) -> (u32, String) {
    (key, json.to_owned())
}
