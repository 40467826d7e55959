//! A whole gateway over a contract and bindings of a test's own.

use std::net::{IpAddr, Ipv4Addr};

use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use crate::temporary::Temporary;

pub struct Whole {
    gateway: Gateway,
    folder: Folder,
}

/// Removed at the end.
struct Folder(Temporary);

impl Whole {
    /// With one role, `clerk`, that has all of one entity of the class `open`. Every variable `${…_URL}` is the address.
    pub async fn new(name: &str, entity: &str, contract: &str, files: &[(&str, &str)], url: &str) -> Self {
        let folder = Folder(Temporary::new(&format!("whole-{name}")));
        let write = |path: &str, text: &str| {
            let path = folder.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("schema/directives.graphql", &std::fs::read_to_string("schema/directives.graphql").unwrap());
        write("schema/contract.graphql", contract);
        files.iter().for_each(|(path, text)| write(path, text));
        write(
            "config/gateway.yaml",
            "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: a.sqlite, key: \"${KEY}\"}\n",
        );
        write("config/rules/relations.yaml", &format!("relations:\n  any: {{on: {entity}, when: \"true\"}}\n"));
        write(
            "config/roles.yaml",
            "roles:\n  clerk:\n    title: Clerk\n    networks: [local]\n    grants:\n      \
             - {relation: any, classes: [open]}\n",
        );
        let variables = |name: &str| match name {
            "KEY" => Some("k".repeat(32)),
            _ => name.ends_with("_URL").then(|| url.to_owned()),
        };
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&folder.0), &variables, &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        Self { gateway: Gateway::start(snapshot).await.unwrap(), folder }
    }

    /// As monitoring reads them.
    pub fn metrics(&self) -> String {
        huxiang::admin::metrics(&self.gateway).finish()
    }

    /// The audit records, read beside the gateway.
    pub async fn records(&self) -> Vec<Value> {
        let options = SqliteConnectOptions::new().filename(self.folder.0.join("a.sqlite")).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(row.get::<&str, _>("record")).unwrap()).collect()
    }

    /// As the clerk.
    pub async fn ask(&self, query: &str) -> Value {
        self.ask_as("p", query).await
    }

    /// As one of several clerks.
    pub async fn ask_as(&self, id: &str, query: &str) -> Value {
        let principal = Principal {
            id: id.to_owned(),
            issuer: "test".to_owned(),
            roles: vec!["clerk".to_owned()],
            actors: Vec::new(),
            claims: Map::new(),
        };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let identity = Identity::new(Some(principal), address, vec!["local".to_owned()], Declared::default());
        let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
        let answer = self.gateway.answer(identity, request, "r".to_owned(), None).await;
        serde_json::from_slice(&answer.body).unwrap()
    }
}
