//! A gateway over the matrix's departments, asked through its listener as a client would.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use huxiang::answer::Gateway;
use huxiang::base::fault::Faults;
use huxiang::identify::{Verifier, mint};
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::serve;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing_subscriber::fmt::MakeWriter;

use super::department::Speaks;

/// Deadline of a call: long for departments that answer at once, on a machine that is busy too.
pub const TIMEOUT_MS: u64 = 1_500;
/// What the endpoints have that are to begin their answers soon.
pub const FIRST_BYTE_MS: u64 = 700;
/// How long a breaker stays open.
pub const OPEN_MS: u64 = 50;

pub struct Door {
    pub folder: PathBuf,
    gateway: SocketAddr,
    metrics: SocketAddr,
    client: reqwest::Client,
    token: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn contract(all: &[Speaks]) -> String {
    let parts: String = all.iter().fold(String::new(), |mut parts, speaks| {
        let _ = writeln!(parts, "  {0}: Part!\n  {0}Soon: Part!", speaks.name());
        parts
    });
    format!(
        "scalar Decimal\ntype Query {{ thing(id: ID!): Thing }}\n\
         type Thing @key(fields: \"id\") @class(name: \"open\", level: 1) {{\n  id: ID!\n  well: String\n{parts}}}\n\
         type Part {{ text: String count: Int amount: Decimal }}\n"
    )
}

/// One failure opens the breaker, so that a request after the fault shows that it closes again.
fn binding(speaks: Speaks) -> String {
    let name = speaks.name();
    let (head, one) = match speaks {
        Speaks::Json => (
            "envelope: {ok: {at: /ok, is: true}, data: /data, message: /message}",
            "{get: /json, query: {id: \"{key}\"}}",
        ),
        Speaks::Xml => ("format: xml\nenvelope: {data: /answer/data}", "{get: /xml, query: {id: \"{key}\"}}"),
        Speaks::Soap => (
            "protocol: soap\nenvelope: {data: /AskResponse/data}",
            "{post: /soap, action: Ask, xml: \"<Ask><id>{key}</id></Ask>\"}",
        ),
        Speaks::Graphql => ("protocol: graphql", "{field: thing, argument: {name: id, type: ID!}}"),
        Speaks::Sqlite => ("protocol: sql", "{view: things, key_column: id}"),
        Speaks::Postgres => ("protocol: sql", "{view: fault_things, key_column: id}"),
    };
    let soon = match speaks {
        // Where nobody waits for a first byte, as any other.
        Speaks::Sqlite | Speaks::Postgres => String::new(),
        _ => format!("    first_byte_ms: {FIRST_BYTE_MS}\n"),
    };
    format!(
        "source: {name}\ntitle: Of {name}\nbase_url: \"${{{}_URL}}\"\n{head}\n\
         limits: {{timeout_ms: {TIMEOUT_MS}, answer_bytes_max: 65536, breaker: {{failures_min: 1, failures_percent: 1, \
         open_ms: {OPEN_MS}, probes_max: 1}}}}\nendpoints:\n  e:\n    entity: Thing\n    one: {one}\n    \
         fields: {{{name}.text: /text, {name}.count: /count, {name}.amount: /amount}}\n  soon:\n    entity: Thing\n\
         {soon}    one: {one}\n    fields: {{{name}Soon.text: /text, {name}Soon.count: /count, {name}Soon.amount: /amount}}\n",
        name.to_uppercase()
    )
}

const WELL: &str = "source: well\ntitle: The well one\nbase_url: ${WELL_URL}\nlimits: {timeout_ms: 20000}\nendpoints:\n  \
                    e:\n    entity: Thing\n    establishes: true\n    one: {get: /well, query: {id: \"{key}\"}}\n    \
                    fields: {well: /ok}\n";

impl Door {
    /// `urls` of the sources, by their names; a folder of the test's own is removed at the end.
    pub async fn open(folder: PathBuf, urls: BTreeMap<String, String>) -> Self {
        let all: Vec<Speaks> = Speaks::ALL.into_iter().filter(|speaks| urls.contains_key(speaks.name())).collect();
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("schema/directives.graphql", &std::fs::read_to_string("schema/directives.graphql").unwrap());
        write("schema/contract.graphql", &contract(&all));
        all.iter().for_each(|speaks| write(&format!("resolvers/{}.yaml", speaks.name()), &binding(*speaks)));
        write("resolvers/well.yaml", WELL);
        write(
            "config/gateway.yaml",
            "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: a.sqlite, key: \"${KEY}\"}\n\
             issuers:\n  - {issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], keys: ['${PUBLIC}'], demo: true, \
             signing_key: '${PRIVATE}'}\nlimits: {request_timeout_ms: 30000}\n",
        );
        write("config/rules/relations.yaml", "relations:\n  any: {on: Thing, when: \"true\"}\n");
        write(
            "config/roles.yaml",
            "roles:\n  clerk:\n    title: Clerk\n    networks: [local]\n    grants:\n      \
             - {relation: any, classes: [open]}\n",
        );
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let variables = |name: &str| match name {
            "KEY" => Some("k".repeat(32)),
            "PUBLIC" => Some(key.public_key_pem()),
            "PRIVATE" => Some(key.serialize_pem()),
            _ => urls.get(&name.strip_suffix("_URL")?.to_lowercase()).cloned(),
        };
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&folder), &variables, &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        let config = snapshot.config.clone();
        let gateway = Gateway::start(snapshot).await.unwrap();
        let verifier = Arc::new(Verifier::load(&config).unwrap());
        let app = serve::application(&config, verifier, Arc::new(gateway)).unwrap();
        let mut tasks = Vec::new();
        let mut addresses = Vec::new();
        for router in [app.router, app.metrics] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let config = config.clone();
            tasks.push(tokio::spawn(async move {
                serve::run(listener, router, None, &config, std::future::pending()).await;
            }));
        }
        let token = mint(&config.issuers[0], "clerk-1", &["clerk".to_owned()], &Map::new(), Duration::from_secs(3_600))
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { folder, gateway: addresses[0], metrics: addresses[1], client, token, tasks }
    }

    /// The well source's field, and those of another.
    pub async fn ask(&self, speaks: Speaks) -> Value {
        self.ask_for(speaks.name()).await
    }

    /// The same from the endpoint with `first_byte_ms`.
    pub async fn ask_soon(&self, speaks: Speaks) -> Value {
        self.ask_for(&format!("{0}: {0}Soon", speaks.name())).await
    }

    async fn ask_for(&self, part: &str) -> Value {
        let query = format!("{{ thing(id: \"x\") {{ well {part} {{ text count amount }} }} }}");
        let request = self
            .client
            .post(format!("http://{}/graphql", self.gateway))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(json!({ "query": query }).to_string());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        let headers = format!("{:?}", answer.headers());
        assert!(!headers.contains(super::CANARY), "{headers}");
        serde_json::from_slice(&answer.bytes().await.expect("a whole answer")).expect("JSON")
    }

    pub async fn metrics(&self) -> String {
        let answer = self.client.get(format!("http://{}/metrics", self.metrics)).send().await.expect("metrics");
        answer.text().await.expect("text")
    }

    /// All that the gateway wrote to disk.
    pub fn written(&self) -> Vec<u8> {
        let folders = [self.folder.clone(), self.folder.join("config")];
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let stores =
            files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("a.sqlite")));
        let all: Vec<u8> = stores.flat_map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!all.is_empty(), "the audit store is there");
        all
    }
}

/// All that is logged, down to the last trace of the libraries.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn listening() -> Self {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter("trace").with_ansi(false).with_writer(log.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber of this file");
        log
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
