//! The whole gateway with the demo departments, in one process: what end-to-end tests stand on.
#![allow(dead_code, reason = "each crate of tests uses its part")]

pub mod document;
pub mod files;
pub mod served;
pub mod sources;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use departments::world::Date;
use departments::{Options, Running};
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::clock::Clock;
use huxiang::base::fault::Faults;
use huxiang::identify::{Identity, Principal};
use huxiang::model::binding::format::Limits;
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use crate::temporary::Temporary;

/// The household that the documents name.
pub const HOUSEHOLD: &str = "331122101348000001";

pub struct World {
    pub departments: Running,
    pub gateway: Gateway,
    /// Holds the audit store.
    pub folder: Temporary,
}

/// Departments that answer at once, and the repository's own files.
pub async fn world() -> World {
    world_with(Options { latency: false, ..Options::default() }).await
}

pub async fn world_with(options: Options) -> World {
    world_edited(options, |_| {}).await
}

/// With a change to the snapshot before the gateway starts on it: shorter deadlines, other limits.
pub async fn world_edited(options: Options, edit: impl FnOnce(&mut Snapshot)) -> World {
    let departments = departments::start(options).await.expect("the departments start");
    let folder = Temporary::new("world");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut snapshot = snapshot(root, departments.variables(), &folder);
    edit(&mut snapshot);
    let gateway = Gateway::start(snapshot).await.expect("the gateway starts");
    World { departments, gateway, folder }
}

/// On a day of its own: the departments' world and the gateway's clock are both there, at nine in the morning.
pub async fn world_on(today: Date, edit: impl FnOnce(&mut Snapshot)) -> World {
    let options = Options { latency: false, rates: false, today: Some(today), ..Options::default() };
    let departments = departments::start(options).await.expect("the departments start");
    let folder = Temporary::new("world");
    let mut snapshot = snapshot(repository(), departments.variables(), &folder);
    edit(&mut snapshot);
    let at = huxiang::base::clock::parse(&format!("{today}T09:00")).expect("a time");
    let gateway = Gateway::start_at(snapshot, Clock::new(move || at)).await.expect("the gateway starts");
    World { departments, gateway, folder }
}

/// With other files laid over the repository's `config/`, at the time that a clock tells.
pub async fn world_at(clock: Clock, files: &[(&str, String)]) -> World {
    let departments =
        departments::start(Options { latency: false, ..Options::default() }).await.expect("the departments start");
    let folder = Temporary::new("world");
    lay_over(&repository().join("config"), &folder.join("config"));
    for (path, text) in files {
        std::fs::write(folder.join("config").join(path), text).expect("the file is written");
    }
    let folders = Folders { config: folder.join("config"), ..Folders::under(repository()) };
    let snapshot = snapshot_of(&folders, departments.variables(), &folder);
    let gateway = Gateway::start_at(snapshot, clock).await.expect("the gateway starts");
    World { departments, gateway, folder }
}

/// A file of the repository's `config/`.
pub fn config(path: &str) -> String {
    std::fs::read_to_string(repository().join("config").join(path)).expect("the file is there")
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn lay_over(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            lay_over(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A gateway over the files under `root`.
pub async fn gateway(root: &Path, variables: BTreeMap<String, String>, folder: &Path) -> Gateway {
    Gateway::start(snapshot(root, variables, folder)).await.expect("the gateway starts")
}

fn snapshot(root: &Path, variables: BTreeMap<String, String>, folder: &Path) -> Snapshot {
    snapshot_of(&Folders::under(root), variables, folder)
}

fn snapshot_of(folders: &Folders, mut variables: BTreeMap<String, String>, folder: &Path) -> Snapshot {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
    variables.insert("DEMO_ISSUER_PUBLIC_KEY".to_owned(), key.public_key_pem());
    variables.insert("DEMO_ISSUER_PRIVATE_KEY".to_owned(), key.serialize_pem());
    variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(folders, &|name| variables.get(name).cloned(), &mut faults);
    let Some(mut snapshot) = snapshot else { panic!("the files have faults:\n{}", faults.render()) };
    snapshot.config.audit.store = folder.join("audit.sqlite");
    snapshot.config.revocations = folder.join("revocations.sqlite");
    snapshot
}

/// Changes the limits of connections, by the id of their source.
pub fn edit_limits(snapshot: &mut Snapshot, edit: impl Fn(&str, &mut Limits)) {
    for source in &mut snapshot.bindings.sources {
        for connection in &mut source.connections {
            let connection = std::sync::Arc::get_mut(connection).expect("nobody else holds it yet");
            edit(&source.id, &mut connection.limits);
        }
    }
}

/// A caller with a role, in the government's network unless it is a household.
pub fn caller(role: &str, claims: Value) -> Identity {
    let mut claims: Map<String, Value> = claims.as_object().cloned().unwrap_or_default();
    let id = claims.remove("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_else(|| format!("{role}-1"));
    let network = if role == "household" { "public-proxy" } else { "gov" };
    let principal =
        Principal { id, issuer: "test".to_owned(), roles: vec![role.to_owned()], actors: Vec::new(), claims };
    Identity::new(
        Some(principal),
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        vec![network.to_owned()],
        huxiang::identify::Declared::default(),
    )
}

/// The supervisor of the county, with purpose and case.
pub fn supervisor() -> Identity {
    let mut identity = caller("supervisor", json!({ "divisions": ["331122"] }));
    identity.purpose = Some("supervision".to_owned());
    identity.case = Some("JD-2026-0001".to_owned());
    identity
}

/// Asks, and gives the response as JSON.
pub async fn ask(gateway: &Gateway, identity: &Identity, query: &str, variables: Value) -> Value {
    let request = GraphqlRequest {
        query: Some(query.to_owned()),
        variables: variables.as_object().cloned().unwrap_or_default(),
        ..GraphqlRequest::default()
    };
    let answer = gateway.answer(identity.clone(), request, "test-request".to_owned(), None).await;
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("the answer is not JSON: {error}: {}", String::from_utf8_lossy(&answer.body)))
}

/// Asks the gateway's own API.
pub async fn admin(gateway: &Gateway, identity: &Identity, query: &str, variables: Value) -> Value {
    let request = GraphqlRequest {
        query: Some(query.to_owned()),
        variables: variables.as_object().cloned().unwrap_or_default(),
        ..GraphqlRequest::default()
    };
    let answer =
        huxiang::admin::answer(gateway.clone(), identity.clone(), request, "test-request".to_owned(), ()).await;
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("the answer is not JSON: {error}: {}", String::from_utf8_lossy(&answer.body)))
}

/// The audit records of a store, read beside the gateway.
pub async fn records(folder: &Path) -> Vec<Value> {
    let options = SqliteConnectOptions::new().filename(folder.join("audit.sqlite")).read_only(true);
    let mut connection = options.connect().await.expect("the store is there");
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut connection).await.expect("records");
    connection.close().await.expect("the store is closed");
    rows.iter().map(|row| serde_json::from_str(row.get::<&str, _>("record")).expect("a record is JSON")).collect()
}
