//! The demo behind a listener that can be stopped, for streams of scans, whatever the transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use departments::{Fault, Options};
use huxiang::answer::Gateway;
use huxiang::base::current::Current;
use huxiang::identify::{Identity, RevocationOrder, Revoked, Verifier, mint};
use huxiang::model::snapshot::Snapshot;
use huxiang::serve;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{World, ask, supervisor, world_edited};

pub const VILLAGE: &str = "331122101348";
pub const TOWN: &str = "331122101";
pub const JSON: &str = "application/graphql-response+json";
pub const EVENTS: &str = "text/event-stream";

pub const STREAM: &str = "subscription($division: ID!, $where: HouseholdFilter, $first: Int, $after: String) {
  households(division: $division, where: $where, first: $first, after: $after) {
    progress { candidates total evaluated matched undetermined calls elapsedMs resume done ended }
    page { edges { cursor node { id registry { headName } } } pageInfo { endCursor } coverage { candidates matched ended } }
  }
}";
pub const PAGE: &str = "query($division: ID!, $where: HouseholdFilter, $first: Int, $after: String) {
  households(division: $division, where: $where, first: $first, after: $after) {
    edges { cursor node { id registry { headName } } } pageInfo { endCursor hasNextPage } coverage { candidates matched undetermined ended }
  }
}";
/// The demo behind a listener that can be stopped, and what is in force can be switched.
pub struct Running {
    pub world: World,
    pub address: SocketAddr,
    pub current: Current<Gateway>,
    pub verifier: Arc<Verifier>,
    pub client: reqwest::Client,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: tokio::task::JoinHandle<()>,
    pub refreshed: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.served.abort();
        self.refreshed.abort();
    }
}

impl Running {
    pub async fn start(edit: impl FnOnce(&mut Snapshot)) -> Self {
        let world = world_edited(Options { latency: false, ..Options::default() }, edit).await;
        let config = world.gateway.snapshot().config.clone();
        let verifier = Arc::new(Verifier::open(&config).await.unwrap());
        let refreshed = tokio::spawn(Arc::clone(&verifier).keep_fresh());
        world.gateway.served_behind(Arc::clone(&verifier));
        let current: Current<Gateway> = Arc::new(world.gateway.clone()).into();
        let app = serve::app(&config, Arc::clone(&verifier), current.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            serve::run(listener, app, None, &config, async { drop(stopped.await) }).await;
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { world, address, current, verifier, client, stop: Some(stop), served, refreshed }
    }

    pub fn token(&self, id: &str) -> String {
        let issuer = &self.world.gateway.snapshot().config.issuers[0];
        let claims = Map::from_iter([("divisions".to_owned(), json!(["331122"]))]);
        mint(issuer, id, &["supervisor".to_owned()], &claims, Duration::from_secs(600)).unwrap()
    }

    /// Who the token of `supervisor-1` speaks for.
    pub fn caller(&self) -> Identity {
        let mut identity = supervisor();
        let issuer = self.world.gateway.snapshot().config.issuers[0].issuer.clone();
        identity.principal.iter_mut().for_each(|principal| principal.issuer = issuer.clone());
        identity
    }

    pub async fn sent(&self, who: &str, accept: &str, body: Value) -> reqwest::Response {
        let request = self.client.post(format!("http://{}/graphql", self.address));
        let request = request.header("content-type", "application/json").header("accept", accept);
        let request = request.header("authorization", format!("Bearer {}", self.token(who)));
        let request = request.header("x-purpose", "supervision").header("x-case", "JD-2026-0001");
        request.body(body.to_string()).send().await.unwrap()
    }

    pub async fn ask(&self, who: &str, query: &str, variables: Value) -> Value {
        let response = self.sent(who, JSON, json!({ "query": query, "variables": variables })).await;
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// The rows of all pages of the query, from a cursor on.
    pub async fn pages(&self, variables: &Value, after: Value) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), after);
        loop {
            let mut variables = variables.clone();
            variables["after"] = after;
            let answer = ask(&self.world.gateway, &self.caller(), PAGE, variables).await;
            assert_eq!(answer["errors"], Value::Null, "{answer:#}");
            let page = &answer["data"]["households"];
            rows.extend(nodes(page));
            if page["pageInfo"]["hasNextPage"] == false {
                return rows;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }

    pub fn calls(&self) -> usize {
        self.world.departments.log("police").len()
    }

    pub fn slow(&self, ms: u64) {
        self.world.departments.set_fault("police", Fault::Slow(Duration::from_millis(ms)));
    }

    /// Takes all tokens of somebody away.
    pub async fn revoke(&self, who: &str) {
        let issuer = self.world.gateway.snapshot().config.issuers[0].issuer.clone();
        let what = Revoked::Principal { id: who.to_owned(), before: None };
        let by = (issuer.clone(), "officer-1".to_owned());
        self.verifier.revoke(RevocationOrder { issuer, what, by, reason: "lost".to_owned() }).await.unwrap();
    }
}

pub fn nodes(page: &Value) -> Vec<Value> {
    page["edges"].as_array().into_iter().flatten().map(|edge| edge["node"].clone()).collect()
}

pub fn rows(frames: &[Value]) -> Vec<Value> {
    frames.iter().flat_map(|frame| nodes(&frame["data"]["households"]["page"])).collect()
}

pub fn progress(frame: &Value) -> &Value {
    &frame["data"]["households"]["progress"]
}

/// Asks the police of each person.
pub fn vehicles(division: &str, first: usize) -> Value {
    json!({ "division": division, "first": first, "where": { "assets": { "vehicles": { "count": { "gte": 0 } } } } })
}

pub fn dibao(division: &str, first: usize) -> Value {
    json!({ "division": division, "first": first, "where": { "assistance": { "dibaoStatus": { "eq": "RECEIVING" } } } })
}
