//! A small gateway (farms, one source) behind a real listener, with the files a test gives it.
#![allow(dead_code, reason = "each crate of tests uses its part")]

pub mod issuer;
pub mod pki;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use huxiang::answer::Gateway;
use huxiang::base::fault::Faults;
use huxiang::identify::Verifier;
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::serve;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::temporary::Temporary;

const SCHEMA: &str = include_str!("../data/farms/contract.graphql");
const RELATIONS: &str = "relations:\n  any: {on: Farm, when: \"true\"}\n";
pub const BINDING: &str = "source: farms\ntitle: Farms\nbase_url: ${FARMS_URL}\nlimits: {retries_max: 0}\nendpoints:\n  farm:\n    entity: Farm\n    \
    establishes: true\n    one: {get: \"/farm/{key}\"}\n    fields: {name: /name}\n";
pub const ROLES: &str =
    "roles:\n  clerk:\n    title: Clerk\n    networks: [office]\n    grants: [{relation: any, classes: [open]}]\n";

/// A folder of this test run's own, removed at the end.
pub struct Folder(pub Temporary);

impl Folder {
    pub fn new() -> Self {
        Self(Temporary::new("identity"))
    }

    pub fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// What a test writes besides the fixed part.
#[derive(Default)]
pub struct Files {
    /// Lines of `gateway.yaml` after `listen`, `networks`, `proxies` and `audit`.
    pub gateway: String,
    pub roles: Option<String>,
    pub binding: Option<String>,
    /// The contract has `farms` too, which the binding answers.
    pub listing: bool,
    /// Values of `${NAME}`; `FARMS_URL` is the source's unless it is given.
    pub variables: BTreeMap<String, String>,
}

pub struct World {
    pub address: SocketAddr,
    pub snapshot: Arc<Snapshot>,
    pub verifier: Arc<Verifier>,
    pub farms: Farms,
    pub folder: Folder,
    served: tokio::task::JoinHandle<()>,
    fresh: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.fresh.abort();
        self.served.abort();
    }
}

/// The files in a folder, or what loading says of them.
pub fn load(folder: &Folder, files: &Files) -> Result<Snapshot, String> {
    let schema = if files.listing { SCHEMA.replace("farm(id", "farms: [Farm!]\n  farm(id") } else { SCHEMA.to_owned() };
    folder.put("schema/contract.graphql", &schema);
    folder.put("config/rules/relations.yaml", RELATIONS);
    folder.put("config/roles.yaml", files.roles.as_deref().unwrap_or(ROLES));
    folder.put("resolvers/farms.yaml", files.binding.as_deref().unwrap_or(BINDING));
    std::fs::create_dir_all(folder.0.join("config/codes")).unwrap();
    let fixed = "listen: 127.0.0.1:0\nnetworks: {office: [127.0.0.0/8, 203.0.113.0/24]}\nproxies: [127.0.0.1]\n\
        audit: {store: audit.sqlite, key: 0123456789abcdef0123456789abcdef}\n";
    folder.put("config/gateway.yaml", &format!("{fixed}{}", files.gateway));
    let mut faults = Faults::default();
    Snapshot::load(&Folders::under(&folder.0), &|name| files.variables.get(name).cloned(), &mut faults)
        .ok_or_else(|| faults.render())
}

pub async fn world(files: Files) -> World {
    world_in(Folder::new(), files).await
}

pub async fn world_in(folder: Folder, mut files: Files) -> World {
    let farms = Farms::start().await;
    files.variables.entry("FARMS_URL".to_owned()).or_insert_with(|| farms.url.clone());
    let snapshot = load(&folder, &files).unwrap_or_else(|faults| panic!("{faults}"));
    let config = snapshot.config.clone();
    let verifier = Arc::new(Verifier::open(&config).await.unwrap());
    let _ = verifier.refresh().await;
    let fresh = tokio::spawn(Arc::clone(&verifier).keep_fresh());
    let gateway = Gateway::start(snapshot).await.unwrap();
    let snapshot = Arc::clone(gateway.snapshot());
    let app = serve::app(&config, Arc::clone(&verifier), Arc::new(gateway)).unwrap();
    let tls = config.tls.as_ref().map(|tls| serve::acceptor(tls).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move { serve::run(listener, app, tls, &config, std::future::pending()).await });
    World { address, snapshot, verifier, farms, folder, served, fresh }
}

impl World {
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.snapshot.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    /// Asks for a farm; gives status and answer.
    pub async fn ask(&self, client: &reqwest::Client, token: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        self.send(client, token, headers, "{ farm(id: \"1\") { name } }").await
    }

    pub async fn query(&self, token: &str, query: &str) -> Value {
        self.send(&client(), token, &[], query).await.1
    }

    async fn send(&self, client: &reqwest::Client, token: &str, headers: &[(&str, &str)], query: &str) -> (u16, Value) {
        let mut request = client
            .post(self.url("/graphql"))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .body(json!({ "query": query }).to_string());
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

impl World {
    /// The status alone.
    pub async fn ask_plain(&self, token: &str) -> u16 {
        self.ask(&client(), token, &[]).await.0
    }
}

/// Whether an answer has the farm's name.
pub fn has_name(answer: &Value) -> bool {
    answer["data"]["farm"]["name"] == "Hill"
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The one source. What it is asked is kept.
pub struct Farms {
    pub url: String,
    pub asked: Arc<Mutex<Vec<String>>>,
    /// Where it sends every caller, with status 302, if anywhere.
    pub elsewhere: Arc<Mutex<Option<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Farms {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Farms {
    pub async fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let elsewhere = Arc::new(Mutex::new(None::<String>));
        let (log, to) = (Arc::clone(&asked), Arc::clone(&elsewhere));
        let routes = Router::new().fallback(move |uri: Uri, _: Bytes| async move {
            log.lock().unwrap().push(uri.to_string());
            let mut headers = HeaderMap::new();
            if let Some(to) = to.lock().unwrap().as_ref() {
                headers.insert("location", to.parse().unwrap());
                return (StatusCode::FOUND, headers, String::new());
            }
            (StatusCode::OK, headers, json!({"name": "Hill", "id": "1"}).to_string())
        });
        let (url, task) = serve_routes(routes).await;
        Self { url, asked, elsewhere, task }
    }

    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// Serves routes on a loopback port of their own.
pub async fn serve_routes(routes: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }))
}
