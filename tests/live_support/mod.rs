//! A gateway as a process of its own over two endpoints that both tell under which version of the binding they were
//! asked: an answer in which they differ is of two versions.

#![allow(dead_code, reason = "each crate of tests uses its part")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::get;
use serde_json::{Value, json};

use crate::temporary::Temporary;

pub struct Live {
    pub url: String,
    pub client: reqwest::Client,
    pub audit: PathBuf,
    process: Child,
    log: PathBuf,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The service: whatever it is asked under is its answer. It takes a little while, so that versions change meanwhile.
async fn service() -> (String, tokio::task::JoinHandle<()>) {
    let told = |UrlPath((version, what, id)): UrlPath<(String, String, String)>| async move {
        tokio::time::sleep(Duration::from_millis(if what == "name" { 2 } else { 20 })).await;
        json!({ "id": id, "told": version }).to_string()
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/{version}/{what}/{id}", get(told));
    (url, tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") }))
}

/// A port for a gateway that is told it. Below those that systems give to whoever asks for any, so that no other test has
/// it between this look and the gateway's own.
pub fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(17);
    let mut ports = std::iter::repeat_with(|| begin.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let free = |offset: u32| {
        u16::try_from(20_000 + offset).ok().filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
    };
    ports.find_map(free).expect("ports have no end")
}

/// The binding in one of its versions.
pub fn binding(version: &str) -> String {
    format!(
        "source: people\ntitle: People\nbase_url: ${{PEOPLE_URL}}\nendpoints:\n\
         \x20 name: {{entity: Person, establishes: true, one: {{get: \"/{version}/name/{{key}}\"}}, fields: {{name: /told}}}}\n\
         \x20 city: {{entity: Person, one: {{get: \"/{version}/city/{{key}}\"}}, fields: {{city: /told}}}}\n"
    )
}

pub const SCHEMA: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
type Query { person(id: ID!): Person }
type Person @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String city: String }
"#;

pub const ROLES: &str = "roles:\n  public:\n    title: Everybody\n    networks: [local]\n    grants:\n      - {relation: any, classes: [open]}\n";

pub const CONFIG: &str = "listen: ${HUXIANG_LISTEN}\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: \"${AUDIT_STORE}\", key: \"${AUDIT_KEY}\"}\n\
    rates: {anonymous: {requests_per_minute: 10000000, upstream_calls_per_minute: 10000000}}\n";

/// The service, and a gateway's files in a folder of their own.
pub struct Place {
    pub root: Temporary,
    pub service_url: String,
    service: tokio::task::JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.abort();
    }
}

impl Place {
    /// With these files in place of what others have, or beside it.
    pub async fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = Temporary::new(&format!("live-{name}"));
        for folder in ["schema", "resolvers", "config/rules"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        let (service_url, service) = service().await;
        let usual = [
            ("schema/people.graphql", SCHEMA),
            ("config/rules/relations.yaml", "relations:\n  any: {on: Person, when: \"true\"}\n"),
            ("config/roles.yaml", ROLES),
            ("config/gateway.yaml", CONFIG),
        ];
        let place = Self { root, service_url, service };
        for (path, text) in usual.iter().chain(files) {
            place.write(path, text);
        }
        place
    }

    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.root.join(path), text).expect("a file");
    }

    /// Starts a gateway on the files; `name` tells its log and its audit store from others'.
    pub async fn start(&self, name: &str, variables: &[(&str, &str)]) -> Live {
        let live = self.spawn(name, variables);
        live.until("it answers", || async { live.ready().await }).await;
        live
    }

    pub fn spawn(&self, name: &str, variables: &[(&str, &str)]) -> Live {
        let port = free_port();
        let log = self.root.join(format!("{name}.log"));
        let process = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["serve", "--root"])
            .arg(&self.root)
            .env("HUXIANG_LISTEN", format!("127.0.0.1:{port}"))
            .env("AUDIT_STORE", self.root.join(format!("{name}.sqlite")))
            .env("AUDIT_KEY", "0123456789abcdef0123456789abcdef")
            .env("PEOPLE_URL", &self.service_url)
            .envs(variables.iter().copied())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("it starts");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        let audit = self.root.join(format!("{name}.sqlite"));
        Live { url: format!("http://127.0.0.1:{port}"), client, process, log, audit }
    }
}

impl Live {
    async fn ready(&self) -> bool {
        let answer = self.client.get(format!("{}/health/ready", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Waits for what comes within seconds; says what did not come, and what the gateway logged.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < Duration::from_secs(20), "not seen: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.process.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub async fn ask(&self, query: &str) -> Value {
        let body = json!({ "query": query }).to_string();
        let request = self.client.post(format!("{}/graphql", self.url)).header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.expect("a whole answer");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The version that answers now; an answer of two versions, or with an error, is none.
    pub async fn version(&self) -> String {
        let answer = self.ask("{ person(id: \"1\") { name city } }").await;
        let person = &answer["data"]["person"];
        assert_eq!(answer.get("errors"), None, "{answer}");
        assert_eq!(person["name"], person["city"], "an answer of two versions: {answer}");
        person["name"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
