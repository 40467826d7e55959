//! `huxiang serve` as a process of its own over the demo's departments, and what can be seen of it from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use departments::Running;
use http_body_util::Full;
use huxiang::base::fault::Faults;
use huxiang::identify::mint;
use huxiang::model::snapshot::{Folders, Snapshot};
use hyper::Request;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::support::document;
use crate::support::files::Files;

const SMALL: &str = "query($id: ID!) { household(id: $id) { registry { headName } assistance { dibaoMonthly } items(no: [\"3\"]) { state } } }";
const LIST: &str = "{ households(division: \"331122101348\", first: 5) { nodes { id assistance { dibaoMonthly } } } }";
const CALLERS: u32 = 30;

pub struct Process {
    child: Mutex<Child>,
    files: Files,
    url: String,
    metrics: String,
    watcher: reqwest::Client,
    client: Client,
    portrait: String,
    households: Vec<String>,
    tokens: Vec<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("nobody panicked with it");
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How a request ended.
pub enum Ended {
    Answered {
        status: u16,
        body: Value,
        took: Duration,
    },
    /// Without an answer, or with one that is no JSON.
    Lost(String),
}

/// What the process has of the system's.
pub struct Sample {
    pub memory_mib: f64,
    pub files: u32,
    pub tasks: u32,
    pub version: u32,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

/// Looks at health and metrics, each time over a connection of its own.
fn watcher() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
    builder.pool_max_idle_per_host(0).build().expect("a client")
}

impl Process {
    pub async fn start(name: &str, departments: &Running) -> Self {
        Self::start_for(name, departments, "331122", |files| files).await
    }

    /// Whose callers answer for a division; with changes to the files.
    pub async fn start_for(
        name: &str,
        departments: &Running,
        division: &str,
        edit: impl FnOnce(Files) -> Files,
    ) -> Self {
        let files = edit(Files::copied(&format!("soak-{name}"))).edit("config/gateway.yaml", |text| {
            text.replacen("\nlisten: ", "\nmetrics: {listen: \"${HUXIANG_METRICS}\"}\nlisten: ", 1)
        });
        let (listen, metrics) = (free_port(), free_port());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key pair");
        let mut variables: BTreeMap<String, String> = departments.variables();
        for (name, value) in [
            ("DEMO_ISSUER_PUBLIC_KEY", key.public_key_pem()),
            ("DEMO_ISSUER_PRIVATE_KEY", key.serialize_pem()),
            ("AUDIT_KEY", "0123456789abcdef0123456789abcdef".to_owned()),
            ("HUXIANG_LISTEN", format!("127.0.0.1:{listen}")),
            ("HUXIANG_METRICS", format!("127.0.0.1:{metrics}")),
            ("HUXIANG_AUDIT", files.0.join("audit.sqlite").display().to_string()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&files.0), &|name| variables.get(name).cloned(), &mut faults);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
        let claims = Map::from_iter([("divisions".to_owned(), json!([division]))]);
        let token = |n: u32| {
            let (issuer, roles) = (&snapshot.config.issuers[0], ["supervisor".to_owned()]);
            mint(issuer, &format!("supervisor-{n}"), &roles, &claims, Duration::from_secs(86_400)).expect("a token")
        };
        let child = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["serve", "--root"])
            .arg(&files.0)
            .envs(&variables)
            .env("HUXIANG_LOG", "warn")
            .stderr(std::fs::File::create(files.0.join("log")).expect("a file"))
            .spawn()
            .expect("it starts");
        let process = Self {
            child: Mutex::new(child),
            url: format!("http://127.0.0.1:{listen}"),
            metrics: format!("http://127.0.0.1:{metrics}"),
            watcher: watcher(),
            client: Client::new(SocketAddr::from(([127, 0, 0, 1], listen))),
            portrait: document::portrait(&snapshot.contract),
            households: departments.world().village_household_ids("331122101348").collect(),
            tokens: (0..CALLERS).map(token).collect(),
            files,
        };
        let began = Instant::now();
        while !process.is_ready().await {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not get ready\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        process
    }

    async fn is_ready(&self) -> bool {
        let answer = self.watcher.get(format!("{}/health/ready", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// `huxiang scan` by the first of the callers.
    pub fn scan(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
        command.args(["scan", "--purpose", "supervision", "--case", "JD-2026-0001"]).args(arguments);
        command.env("HUXIANG_GATEWAY", &self.url).env("HUXIANG_TOKEN", &self.tokens[0]);
        command
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let file = format!("/proc/{}/status", self.child.lock().expect("it").id());
        let status = std::fs::read_to_string(file).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }

    pub fn root(&self) -> &Path {
        &self.files.0
    }

    /// The last lines that it logged.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.files.0.join("log")
    }

    /// The `n`th of a course: mostly small requests, lists and whole portraits, and now and then what is refused.
    pub async fn ask(&self, n: u32) -> Ended {
        let at = |count: usize| usize::try_from(n).expect("it fits") % count;
        let (token, id) = (&self.tokens[at(self.tokens.len())], &self.households[at(self.households.len())]);
        match n % 16 {
            0 | 8 => self.sent(token, &self.portrait, id).await,
            3 | 11 => self.sent(token, LIST, id).await,
            5 => self.sent("no.token.here", SMALL, id).await,
            13 => self.sent(token, "{ no such thing", id).await,
            _ => self.sent(token, SMALL, id).await,
        }
    }

    pub async fn portrait(&self) -> Ended {
        self.sent(&self.tokens[0], &self.portrait, &self.households[0]).await
    }

    async fn sent(&self, token: &str, query: &str, household: &str) -> Ended {
        let began = Instant::now();
        let body = json!({ "query": query, "variables": { "id": household } }).to_string();
        let request = Request::post("/graphql")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .header("authorization", format!("Bearer {token}"))
            .header("x-purpose", "supervision")
            .header("x-case", "JD-2026-0001")
            .body(Full::from(body))
            .expect("a request");
        let (status, body) = match self.client.ask(request).await {
            Ok(answer) => answer,
            Err(error) => return Ended::Lost(format!("{query:.40} {error}")),
        };
        match serde_json::from_slice(&body) {
            Ok(body) => Ended::Answered { status, body, took: began.elapsed() },
            Err(error) => Ended::Lost(format!("{status}: {error}: {:.100}", String::from_utf8_lossy(&body))),
        }
    }

    /// Requests that crossed the closing of an idle connection, and were sent once more.
    pub fn sent_again(&self) -> usize {
        self.client.again()
    }

    /// One number of the metrics.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = async { self.watcher.get(format!("{}/metrics", self.metrics)).send().await?.text().await };
        let text = text.await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    }

    pub async fn sample(&self) -> Sample {
        let process = format!("/proc/{}", self.child.lock().expect("it").id());
        let files = std::fs::read_dir(format!("{process}/fd")).expect("its descriptors").count();
        let number = async |name| self.metric(name).await.round() as u32;
        Sample {
            memory_mib: self.status("VmRSS:"),
            files: u32::try_from(files).expect("few"),
            tasks: number("huxiang_tasks").await,
            version: number("huxiang_version").await,
        }
    }

    pub fn terminate(&self) {
        let id = self.child.lock().expect("it").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    }

    /// Its exit code; none: it does not end.
    pub async fn ended(&self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.lock().expect("it").try_wait().expect("it can be waited for") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}
