//! `huxiang serve` as a process of its own, in a folder of its own, logging as much as it can.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use departments::Running;
use huxiang::base::fault::Faults;
use huxiang::identify::mint;
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value, json};

use crate::marks;
use crate::portal::{Portal, SECRET};
use crate::socket::Socket;
use crate::support::HOUSEHOLD;

/// What the officer on duty says: no household's words.
const REASON: &str = "typhoon, moving people tonight";

/// Counts for trusted documents alone.
const COUNTER: &str = "  counter:
    title: 窗口
    networks: [gov]
    documents: trusted
    grants:
      - relation: jurisdiction
        purposes: [duty]
        classes: [basic, contact, identity, welfare]
        except: [registry.personIds]
";

/// Somebody who asks.
#[derive(Clone)]
pub struct Caller {
    pub role: &'static str,
    pub token: String,
    /// What the proxy forwards for.
    pub forwarded: Option<&'static str>,
    pub purpose: Option<&'static str>,
    pub case: Option<&'static str>,
    /// Of an emergency.
    pub reason: Option<&'static str>,
}

pub struct Serving {
    root: PathBuf,
    variables: BTreeMap<String, String>,
    url: String,
    metrics: String,
    snapshot: Snapshot,
    client: reqwest::Client,
    process: AtomicU32,
    /// What happened, and how often.
    steps: Mutex<BTreeMap<&'static str, usize>>,
    /// Tokens, codes and what else is shown to the gateway and is to be kept nowhere.
    shown: Mutex<BTreeSet<String>>,
    /// Outputs of commands that are kept, to be searched.
    outputs: AtomicU32,
}

/// Killed at the latest when it is dropped.
pub struct Process(Child);

impl Process {
    /// `SIGKILL`: nothing is tidied up.
    pub fn kill(mut self) {
        self.0.kill().expect("it runs until now");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder is there").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A collector of traces, which keeps what it is sent to be searched.
async fn collector(root: &Path) -> String {
    let (root, count) = (root.to_owned(), std::sync::Arc::new(AtomicU32::new(0)));
    let collect = move |body: axum::body::Bytes| async move {
        let at = count.fetch_add(1, Ordering::SeqCst);
        std::fs::write(root.join(format!("posted-{at}.spans")), body).expect("a file");
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = axum::Router::new().route("/v1/traces", axum::routing::post(collect));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

impl Serving {
    pub async fn prepare(mut variables: BTreeMap<String, String>, portal: &Portal) -> Self {
        let root = std::env::temp_dir().join(format!("huxiang-canary-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        variables.insert("HUXIANG_COLLECTOR".to_owned(), collector(&root).await);
        for folder in ["schema", "resolvers", "config"] {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &root.join("input").join(folder));
        }
        let config = root.join("input/config/gateway.yaml");
        let text = std::fs::read_to_string(&config).expect("the configuration");
        // Every door is open.
        let mut text = text;
        for (from, to) in [
            ("batch_max: 0", "batch_max: 2"),
            ("get_queries: false", "get_queries: true"),
            ("\nlisten: ", "\nmetrics: {listen: \"${HUXIANG_METRICS}\"}\nlisten: "),
            ("\naudit:", "\ntraces: {url: \"${HUXIANG_COLLECTOR}/v1/traces\"}\naudit:"),
        ] {
            assert!(text.contains(from), "gateway.yaml has `{from}`");
            text = text.replacen(from, to, 1);
        }
        let demo = text.find("  # A real one:").expect("the demo's issuer ends there");
        text.insert_str(demo, &portal.as_issuer());
        std::fs::write(&config, text).expect("a file");
        let roles = root.join("input/config/roles.yaml");
        let text = std::fs::read_to_string(&roles).expect("the roles");
        std::fs::write(&roles, format!("{}\n{COUNTER}", text.trim_end())).expect("a file");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let (port, metrics) = (free().expect("a port").port(), free().expect("a port"));
        variables.insert("HUXIANG_METRICS".to_owned(), metrics.to_string());
        variables.insert("DEMO_ISSUER_PUBLIC_KEY".to_owned(), key.public_key_pem());
        variables.insert("DEMO_ISSUER_PRIVATE_KEY".to_owned(), key.serialize_pem());
        variables.insert("PORTAL_PUBLIC_KEY".to_owned(), portal.public_pem());
        variables.insert("PORTAL_SECRET".to_owned(), SECRET.to_owned());
        variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
        variables.insert("HUXIANG_LISTEN".to_owned(), format!("127.0.0.1:{port}"));
        std::fs::create_dir_all(root.join("tmp")).expect("a folder");
        let mut faults = Faults::default();
        let folders = Folders::under(&root.join("input"));
        let snapshot = Snapshot::load(&folders, &|name| variables.get(name).cloned(), &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        let url = format!("http://127.0.0.1:{port}");
        Self {
            root,
            variables,
            url,
            metrics: format!("http://{metrics}/metrics"),
            snapshot,
            client,
            process: AtomicU32::new(0),
            steps: Mutex::default(),
            shown: Mutex::new([SECRET.to_owned()].into()),
            outputs: AtomicU32::new(0),
        }
    }

    /// Something was done and seen to have worked.
    pub fn done(&self, step: &'static str) {
        *self.steps.lock().expect("nobody panics here").entry(step).or_default() += 1;
    }

    pub fn steps(&self) -> BTreeMap<&'static str, usize> {
        self.steps.lock().expect("nobody panics here").clone()
    }

    /// What was shown to the gateway is looked for as well. Of a token, what its issuer wrote and signed.
    pub fn show(&self, text: &str) {
        let parts = text.split('.').skip(usize::from(text.contains('.'))).filter(|part| !part.is_empty());
        self.shown.lock().expect("nobody panics here").extend(parts.map(str::to_owned));
    }

    pub fn shown(&self) -> BTreeSet<String> {
        self.shown.lock().expect("nobody panics here").clone()
    }

    /// Runs a command beside the gateway, over the same files, logging as much as it can; what it prints is kept to be
    /// searched.
    pub fn command(&self, arguments: &[&str], token: &str) -> Output {
        self.show(token);
        let output = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(arguments)
            .arg("--root")
            .arg(self.root.join("input"))
            .current_dir(&self.root)
            .envs(&self.variables)
            .env("TMPDIR", self.root.join("tmp"))
            .env("HUXIANG_LOG", "trace")
            .env("HUXIANG_TOKEN", token)
            .output()
            .expect("the command runs");
        let at = self.outputs.fetch_add(1, Ordering::SeqCst);
        for (name, text) in [("out", &output.stdout), ("err", &output.stderr)] {
            std::fs::write(self.root.join(format!("command-{at}.{name}")), text).expect("a file");
        }
        output
    }

    /// What monitoring reads, kept to be searched.
    pub async fn read_metrics(&self) {
        let answer = self.client.get(&self.metrics).send().await.expect("an answer");
        let text = answer.text().await.expect("a whole answer");
        assert!(text.contains("huxiang_source_calls_total{source=\"civil-affairs\",code=\"OK\"}"), "{text}");
        let at = self.outputs.fetch_add(1, Ordering::SeqCst);
        std::fs::write(self.root.join(format!("metrics-{at}.prom")), text).expect("a file");
        self.done("metrics");
    }

    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is no household's: the operator's files and variables, and who the officials are that ask.
    pub fn inputs(&self, departments: &Running) -> String {
        let household = departments.world().household(HOUSEHOLD).expect("the household is there");
        let mut all: String = self.variables.values().cloned().collect::<Vec<_>>().join("\n");
        all.push_str(&format!("\n{}\n{}\n", household.cadre_id, household.grid));
        for file in marks::files(&self.root.join("input")) {
            if !file.to_string_lossy().contains("sqlite") {
                all.push_str(&std::fs::read_to_string(file).unwrap_or_default());
            }
        }
        all
    }

    /// Starts and waits until it answers. It logs everything there is to log.
    pub fn start(&self, round: usize) -> Process {
        let log = |name: &str| File::create(self.root.join(format!("{name}-{round}.log"))).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["serve", "--root"])
            .arg(self.root.join("input"))
            .current_dir(&self.root)
            .envs(&self.variables)
            .env("TMPDIR", self.root.join("tmp"))
            .env("HUXIANG_LOG", "trace")
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .expect("the gateway starts");
        self.process.store(child.id(), Ordering::SeqCst);
        let process = Process(child);
        for _ in 0..600 {
            let ready = std::net::TcpStream::connect(self.url.trim_start_matches("http://"));
            // Whoever asks a port that nobody has yet may be given that very port, and be connected to itself.
            if ready.is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok()) {
                return process;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = std::fs::read_to_string(self.root.join(format!("stderr-{round}.log"))).unwrap_or_default();
        panic!("the gateway does not listen: {}", said.lines().last().unwrap_or_default());
    }

    /// One a role, standing as near to the household as the role can.
    pub fn callers(&self, departments: &Running) -> Vec<Caller> {
        let household = departments.world().household(HOUSEHOLD).expect("the household is there");
        let person = household.head().id_number.clone();
        let of = |role, id: &str, claims: Value, forwarded, purpose, case| {
            let claims = claims.as_object().cloned().unwrap_or_default();
            let issuer = &self.snapshot.config.issuers[0];
            let claims: Map<String, Value> = claims;
            let token = mint(issuer, id, &[String::from(role)], &claims, Duration::from_secs(3600)).expect("a token");
            Caller { role, token, forwarded, purpose, case, reason: None }
        };
        let public = Some("203.0.113.7");
        vec![
            of("household", "h-1", json!({"household": HOUSEHOLD, "person": person}), public, None, None),
            of("cadre", &household.cadre_id, json!({}), None, Some("help"), None),
            of("grid-worker", "g-1", json!({"grids": [household.grid]}), None, Some("grid-watch"), None),
            of("town-officer", "t-1", json!({"divisions": ["331122101"]}), None, Some("duty"), None),
            of(
                "department-officer",
                "d-1",
                json!({"divisions": ["331122"], "department": "health"}),
                None,
                Some("duty"),
                None,
            ),
            of("supervisor", "s-1", json!({"divisions": ["331122"]}), None, Some("supervision"), Some("JD-2026-0001")),
            of("verifier", "v-1", json!({"divisions": ["331122"]}), None, Some("recognition"), Some("HD-2026-0001")),
            of("counter", "c-1", json!({"divisions": ["331122"]}), None, Some("duty"), None),
            of("auditor", "a-1", json!({}), None, None, None),
            of("security-officer", "o-1", json!({}), None, None, None),
            Caller { role: "acting cadre", ..of("cadre", &household.cadre_id, json!({}), None, Some("acting"), None) },
            Caller {
                reason: Some(REASON),
                ..of("duty-officer", "n-1", json!({"divisions": ["331122"]}), None, Some("emergency"), None)
            },
        ]
    }

    /// Id numbers of the household that is asked about.
    pub fn members(&self, departments: &Running) -> Vec<String> {
        let household = departments.world().household(HOUSEHOLD).expect("the household is there");
        household.members.iter().take(2).map(|member| member.id_number.clone()).collect()
    }

    fn with(&self, caller: &Caller, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        self.show(&caller.token);
        let mut request = request
            .header("accept", "application/graphql-response+json")
            .header("authorization", format!("Bearer {}", caller.token));
        for (name, value) in
            [("x-purpose", caller.purpose), ("x-case", caller.case), ("x-forwarded-for", caller.forwarded)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }

    pub async fn ask(&self, caller: &Caller, query: &str, variables: &Value) -> (u16, Value) {
        let body = json!({"query": query, "variables": variables});
        self.post(caller, "/graphql", body, None).await
    }

    /// Two operations in one body.
    pub async fn batch(&self, caller: &Caller, query: &str, variables: [&Value; 2]) -> (u16, Value) {
        let body = variables.map(|variables| json!({"query": query, "variables": variables}));
        self.post(caller, "/graphql", json!(body), None).await
    }

    /// A subscription to its end, as text.
    pub async fn stream(&self, caller: &Caller, query: &str, variables: &Value) -> String {
        let body = json!({"query": query, "variables": variables}).to_string();
        let post = self.client.post(format!("{}/graphql", self.url)).header("content-type", "application/json");
        let response = self.with(caller, post.header("accept", "text/event-stream").body(body)).send().await;
        response.expect("a stream").text().await.expect("a whole stream")
    }

    /// A WebSocket of the caller.
    async fn opened(&self, caller: &Caller) -> Socket {
        self.show(&caller.token);
        let address = self.url.trim_start_matches("http://").parse().expect("an address");
        let mut payload = json!({"Authorization": format!("Bearer {}", caller.token)});
        for (name, value) in [("X-Purpose", caller.purpose), ("X-Case", caller.case)] {
            payload[name] = json!(value);
        }
        Socket::begun(address, payload).await
    }

    /// The frames of a subscription over a WebSocket.
    pub async fn socket(&self, caller: &Caller, query: &str, variables: &Value) -> Vec<Value> {
        let mut socket = self.opened(caller).await;
        socket.subscribe("1", query, variables.clone()).await;
        socket.all("1").await
    }

    /// How WebSockets end on which a household's id stands where none should.
    pub async fn closed_socket(&self, caller: &Caller, variables: &Value) -> (u16, String) {
        for text in [
            variables["id"].to_string(),
            json!({"type": variables["id"]}).to_string(),
            format!("{{{}", variables["id"]),
        ] {
            let mut socket = self.opened(caller).await;
            socket.send_text(&text).await;
            assert_eq!(socket.closed().await.0, 4400);
        }
        let mut socket = self.opened(caller).await;
        let id = variables["id"].as_str().expect("an id");
        for _ in 0..2 {
            socket
                .subscribe(
                    id,
                    "subscription { households(division: \"331122101000\") { progress { done } } }",
                    json!({}),
                )
                .await;
        }
        socket.closed().await
    }

    /// Relying on an approval.
    pub async fn ask_with(&self, caller: &Caller, approval: &Value, query: &str, variables: &Value) -> (u16, Value) {
        self.post(caller, "/graphql", json!({"query": query, "variables": variables}), Some(approval)).await
    }

    pub async fn admin(&self, caller: &Caller, query: &str, variables: &Value) -> Value {
        self.post(caller, "/admin/graphql", json!({"query": query, "variables": variables}), None).await.1
    }

    async fn post(&self, caller: &Caller, path: &str, mut body: Value, approval: Option<&Value>) -> (u16, Value) {
        if let Some(reason) = caller.reason {
            body["extensions"] = json!({"breakGlass": reason});
        }
        if let Some(approval) = approval {
            body["extensions"] = json!({"approval": approval});
        }
        let url = format!("{}{path}", self.url);
        let post = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let response = self.with(caller, post).send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a whole answer");
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:.200}")))
    }

    /// As a careless client would: the id in the URL, where such are taken, and where they are not.
    pub async fn get_in_the_url(&self, caller: &Caller, household: &str) {
        let query = format!("query=%7Bhousehold(id:%22{household}%22)%7Bid%7D%7D");
        let extensions = caller.reason.map(|reason| json!({"breakGlass": reason}).to_string());
        let extensions =
            extensions.map_or_else(String::new, |text| format!("&extensions={}", text.replace(' ', "%20")));
        for (path, taken) in [
            (format!("/graphql?{query}{extensions}"), caller.role != "counter"),
            (format!("/admin/graphql?{query}"), false),
            (format!("/households/{household}"), false),
        ] {
            let get = self.client.get(format!("{}{path}", self.url));
            let response = self.with(caller, get).send().await.expect("an answer");
            let status = response.status();
            let text = response.text().await.expect("a whole answer");
            assert!(if taken { status.is_success() } else { status.is_client_error() }, "{path}: {status} {text:.200}");
            if taken && text.contains(&format!("\"id\":\"{household}\"")) {
                self.done("GET with the id in the query");
            }
        }
    }

    /// By the document's id, its variables in the URL.
    pub async fn get_document(&self, caller: &Caller, id: &str, variables: &Value) -> Value {
        let mut url = reqwest::Url::parse(&format!("{}/graphql", self.url)).expect("a URL");
        url.query_pairs_mut().append_pair("documentId", id).append_pair("variables", &variables.to_string());
        let response = self.with(caller, self.client.get(url)).send().await.expect("an answer");
        serde_json::from_slice(&response.bytes().await.expect("a whole answer")).expect("an answer in JSON")
    }

    /// By the document's id, or whatever else the body says.
    pub async fn post_body(&self, caller: &Caller, body: Value) -> Value {
        self.post(caller, "/graphql", body, None).await.1
    }

    /// Without a token.
    pub async fn post_openly(&self, path: &str, body: &Value) -> (u16, Value) {
        let post = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let response = post.body(body.to_string()).send().await.expect("an answer");
        let status = response.status().as_u16();
        let answer = response.bytes().await.expect("a whole answer");
        (status, serde_json::from_slice(&answer).expect("an answer in JSON"))
    }

    /// The answer, byte for byte.
    pub async fn raw(&self, caller: &Caller, query: &str, variables: &Value) -> Vec<u8> {
        let body = json!({"query": query, "variables": variables}).to_string();
        let post = self.client.post(format!("{}/graphql", self.url)).header("content-type", "application/json");
        let response = self.with(caller, post.body(body)).send().await.expect("an answer");
        response.bytes().await.expect("a whole answer").to_vec()
    }

    /// Asks for ever, as somebody who may see everything; ends with the gateway.
    pub fn load(&self, household: &'static str) -> impl Future<Output = ()> + Send + 'static {
        let issuer = &self.snapshot.config.issuers[0];
        let claims = Map::from_iter([("divisions".to_owned(), json!(["331122"]))]);
        let token =
            mint(issuer, "s-2", &["supervisor".to_owned()], &claims, Duration::from_secs(600)).expect("a token");
        let query = crate::support::document::portrait(&self.snapshot.contract);
        let body = json!({"query": query, "variables": {"id": household}}).to_string();
        let (client, url) = (self.client.clone(), format!("{}/graphql", self.url));
        async move {
            loop {
                let asked = (0..8).map(|_| {
                    let request = client
                        .post(&url)
                        .header("content-type", "application/json")
                        .header("accept", "application/graphql-response+json")
                        .header("authorization", format!("Bearer {token}"))
                        .header("x-purpose", "supervision")
                        .header("x-case", "JD-2026-0001");
                    request.body(body.clone()).send()
                });
                if futures::future::join_all(asked).await.iter().all(Result::is_err) {
                    return;
                }
            }
        }
    }

    /// Files that a process has open for writing and that are not under its folder.
    pub fn files_written_elsewhere(&self, process: &Process) -> Vec<String> {
        self.open_elsewhere(process.0.id())
    }

    /// As [`Self::files_written_elsewhere`], of the process started last.
    pub fn written_elsewhere_now(&self) -> Vec<String> {
        self.open_elsewhere(self.process.load(Ordering::SeqCst))
    }

    fn open_elsewhere(&self, process: u32) -> Vec<String> {
        let writes = |info: &str| {
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
            u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 0b11 != 0)
        };
        let folder = PathBuf::from(format!("/proc/{process}/fd"));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let info =
                std::fs::read_to_string(format!("/proc/{process}/fdinfo/{}", entry.file_name().to_string_lossy()));
            let is_file = target.is_absolute() && !target.starts_with("/dev") && !target.starts_with(&self.root);
            if is_file && writes(&info.unwrap_or_default()) {
                found.push(target.display().to_string());
            }
        }
        found
    }
}
