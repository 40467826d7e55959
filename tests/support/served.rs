//! The whole gateway behind a real listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use huxiang::identify::{Verifier, mint};
use huxiang::serve;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::World;

pub struct Served {
    pub world: World,
    pub address: SocketAddr,
    client: reqwest::Client,
    token: String,
    task: tokio::task::JoinHandle<()>,
    refreshed: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        self.refreshed.abort();
    }
}

impl Served {
    pub async fn start(world: World) -> Self {
        let config = world.gateway.snapshot().config.clone();
        let verifier = Arc::new(Verifier::open(&config).await.expect("the issuer's keys are read"));
        let refreshed = tokio::spawn(Arc::clone(&verifier).keep_fresh());
        world.gateway.served_behind(Arc::clone(&verifier));
        let app = serve::app(&config, verifier, Arc::new(world.gateway.clone())).expect("the routes are made");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let served_with = config.clone();
        let task =
            tokio::spawn(async move { serve::run(listener, app, None, &served_with, std::future::pending()).await });
        let claims = Map::from_iter([("divisions".to_owned(), json!(["331122"]))]);
        let roles = ["supervisor".to_owned()];
        let token =
            mint(&config.issuers[0], "supervisor-1", &roles, &claims, Duration::from_secs(600)).expect("a token");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { world, address, client, token, task, refreshed }
    }

    /// Posts a body as the supervisor, with purpose and case; gives status and answer.
    pub async fn post(&self, body: String) -> (u16, Value) {
        let request = self
            .client
            .post(format!("http://{}/graphql", self.address))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .header("authorization", format!("Bearer {}", self.token))
            .header("x-purpose", "supervision")
            .header("x-case", "JD-2026-0001");
        let answer = request.body(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a whole answer");
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:.200}"));
        (status, json)
    }

    /// A token of the demo's issuer.
    pub fn token_for(&self, role: &str) -> String {
        let issuer = &self.world.gateway.snapshot().config.issuers[0];
        mint(issuer, &format!("{role}-1"), &[role.to_owned()], &Map::new(), Duration::from_secs(600)).expect("a token")
    }

    pub async fn ask(&self, query: &str, variables: Value) -> (u16, Value) {
        self.post(json!({ "query": query, "variables": variables }).to_string()).await
    }
}
