//! One gateway over two sources that say what they are told to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::Identity;
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::Value;

/// What the sources say, by the first part of their path.
type Said = Arc<Mutex<HashMap<&'static str, Vec<u8>>>>;

pub struct World {
    pub runtime: tokio::runtime::Runtime,
    pub gateway: Gateway,
    pub issuer: Issuer,
    said: Said,
}

/// Whose tokens the gateway believes.
pub struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().expect("a key"))
    }

    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }

    /// The public key as SubjectPublicKeyInfo (RFC 8410).
    fn pem(&self) -> String {
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend_from_slice(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }
}

/// A folder of this process's own.
pub fn folder() -> PathBuf {
    let base = std::env::var_os("FUZZ_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("huxiang-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for stores");
    folder
}

/// The contract that is fuzzed.
pub fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contract")
}

/// Environment variables that the contract's files name.
pub fn variable(name: &str, url: &str, issuer: &str) -> Option<String> {
    match name {
        "FUZZ_URL" => Some(url.to_owned()),
        "ISSUER_KEY" => Some(issuer.to_owned()),
        "AUDIT_STORE" => Some(folder().join("audit.sqlite").display().to_string()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    }
}

pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let said = Said::default();
        let issuer = Issuer::new();
        let gateway = runtime.block_on(start(Arc::clone(&said), &issuer.pem()));
        World { runtime, gateway, issuer, said }
    })
}

async fn start(said: Said, issuer: &str) -> Gateway {
    let say = |State(said): State<Said>, uri: Uri| async move {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().find(|(path, _)| uri.path().starts_with(**path)).map(|(_, body)| body.clone()).unwrap_or_default()
    };
    let routes = Router::new().fallback(say).with_state(said);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut faults = Faults::default();
    let variables = |name: &str| variable(name, &url, issuer);
    let snapshot = Snapshot::load(&Folders::under(&contract()), &variables, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    Gateway::start(snapshot).await.expect("the gateway starts")
}

impl World {
    /// What the source under a path says from now on.
    pub fn say(&self, path: &'static str, body: &[u8]) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(path, body.to_vec());
    }

    /// Panics where the answer is none.
    pub fn ask(&self, query: &str, variables: &Value) {
        let identity =
            Identity { networks: vec!["anywhere".to_owned()], ..Identity::at(IpAddr::V4(Ipv4Addr::LOCALHOST)) };
        let request = GraphqlRequest {
            query: Some(query.to_owned()),
            variables: variables.as_object().cloned().unwrap_or_default(),
            ..GraphqlRequest::default()
        };
        let body = self.runtime.block_on(self.gateway.answer(identity, request, "r".to_owned(), None)).body;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
        for error in answer["errors"].as_array().into_iter().flatten() {
            assert_ne!(error["extensions"]["code"], "INTERNAL", "{answer:#}");
        }
        assert!(answer.get("data").is_some() || answer.get("errors").is_some(), "{answer:#}");
    }
}
