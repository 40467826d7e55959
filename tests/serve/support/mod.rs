//! A gateway that records what it is asked, behind a real listener.
#![allow(dead_code, reason = "each crate of tests uses its part")]

pub mod socket;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use huxiang::base::code::ErrorCode;
use huxiang::base::fault::{Faults, SourceText};
use huxiang::engine::error::RequestError;
use huxiang::identify::{Identity, Verifier, mint};
use huxiang::model::config::cors::Cors;
use huxiang::model::config::rates::Rates;
use huxiang::model::config::{ClientCertificates, ForwardedCertificate, GatewayConfig, Pem, TlsConfig};
use huxiang::serve::refusals::Counts;
use huxiang::serve::{self, Answer, Frame, Frames, Gateway, GraphqlRequest, LoggedIn, Outcome, StreamStanding, Turn};
use huxiang::trace::{Parent, Traces};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());

/// Address, networks, and how often which status.
pub type Refused = (Option<IpAddr>, Vec<String>, Counts);
pub type Seen = (Identity, GraphqlRequest, String, Option<String>);

pub struct Recorder {
    pub seen: Mutex<Vec<Seen>>,
    ready: AtomicBool,
    documents: Vec<&'static str>,
    pub refused: Mutex<Vec<Refused>>,
    /// Frames that were taken of streams, and whether one of them was dropped.
    pub taken: Arc<tokio::sync::watch::Sender<(usize, bool)>>,
}

impl Recorder {
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Answers `SLEEP ms` after a while, `BIG n` with n bytes, `PANIC` not at all, an error code with that error, anything else with data.
    async fn recorded(&self, who: Identity, request: GraphqlRequest, id: String, trace: Option<Parent>) -> Answer {
        let query = request.query.clone().unwrap_or_default();
        // As it would be passed on.
        let (_, trace) = Traces::default().request(trace);
        self.seen.lock().unwrap().push((who, request, id, trace));
        if let Some(ms) = query.strip_prefix("SLEEP ") {
            tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
        }
        if let Some(bytes) = query.strip_prefix("BIG ") {
            let body = vec![b' '; bytes.parse().unwrap()].into();
            return Answer { status: Outcome::Ok, body };
        }
        let codes = [
            ErrorCode::ParseFailed,
            ErrorCode::ValidationFailed,
            ErrorCode::LimitExceeded,
            ErrorCode::Unauthenticated,
            ErrorCode::Forbidden,
            ErrorCode::AuditUnavailable,
            ErrorCode::DeadlineExceeded,
        ];
        let status = match codes.iter().find(|code| code.as_str() == query) {
            Some(code) => Outcome::RequestError(*code),
            None => Outcome::Ok,
        };
        assert_ne!(query, "PANIC");
        Answer { status, body: json!({"data": {"a": 1}}).to_string().into() }
    }
}

impl Gateway for Recorder {
    async fn answer(
        &self,
        who: Identity,
        request: GraphqlRequest,
        id: String,
        trace: Option<Parent>,
        _turn: Turn,
    ) -> Answer {
        self.recorded(who, request, id, trace).await
    }

    /// `subscription { N frames of B bytes }` (at least 2: an empty list and blanks), one after the other as fast as they are taken, then the end; `subscription { late
    /// MS }`, one frame after a while, and `subscription { broken }`, one frame and then nothing, not even the end. When the
    /// frames are dropped, the last that was taken is told.
    fn subscribe(
        &self,
        _: Identity,
        request: GraphqlRequest,
        _: String,
        _: Option<Parent>,
        turn: Turn,
        _: impl StreamStanding,
    ) -> Frames {
        let (sender, frames) = tokio::sync::mpsc::channel(1);
        let query = request.query.unwrap_or_default();
        let words: Vec<String> = query.split_whitespace().map(str::to_owned).collect();
        let taken = Arc::clone(&self.taken);
        tokio::spawn(async move {
            let _turn = turn;
            let number = |at: usize| words[at].parse::<usize>().unwrap();
            let (count, bytes) = match words[2].as_str() {
                "late" => {
                    tokio::time::sleep(Duration::from_millis(number(3) as u64)).await;
                    (1, 2)
                }
                "broken" => (1, 2),
                _ => (number(2), number(5)),
            };
            for _ in 0..count {
                let frame = format!("[]{}", " ".repeat(bytes.saturating_sub(2)));
                if sender.send(Frame::Next(frame.into())).await.is_err() {
                    taken.send_modify(|(_, is_gone)| *is_gone = true);
                    return;
                }
                taken.send_modify(|(count, _)| *count += 1);
            }
            if words[2] == "broken" {
                // What was sent is on its way by then.
                tokio::time::sleep(Duration::from_millis(300)).await;
            } else {
                let _ = sender.send(Frame::Complete).await;
            }
        });
        frames.into()
    }

    /// As for the contract.
    async fn admin(&self, who: Identity, request: GraphqlRequest, id: String, _turn: Turn) -> Answer {
        self.recorded(who, request, id, None).await
    }

    async fn refused(&self, address: Option<IpAddr>, networks: Vec<String>, counts: Counts) {
        self.refused.lock().unwrap().push((address, networks, counts));
    }

    async fn logged_in(&self, _: LoggedIn) -> Result<(), RequestError> {
        Ok(())
    }

    fn document(&self, id: &str) -> Option<Arc<str>> {
        self.documents.iter().find(|text| sha256(text) == id).map(|text| (*text).into())
    }

    fn has_documents(&self) -> bool {
        !self.documents.is_empty()
    }

    fn metrics(&self) -> huxiang::admin::MetricsText {
        huxiang::admin::MetricsText::default()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

pub struct Options {
    pub get_queries: bool,
    pub graphiql: bool,
    pub documents: Vec<&'static str>,
    pub no_proxies: bool,
    pub request_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub shutdown_ms: u64,
    pub connections_max: usize,
    pub tls: Option<(String, String)>,
    pub client_ca: Option<String>,
    pub client_certificates: ClientCertificates,
    /// The authority of certificates that the listed proxies forward in `client-cert`.
    pub forwarded_ca: Option<String>,
    pub connections_per_address_max: usize,
    pub refusals_every_ms: u64,
    pub rates: Rates,
    pub origins: Vec<&'static str>,
    pub credentials: bool,
    pub batch_max: usize,
    /// How long a stream may run, where it is not what gateway.yaml says.
    pub streams: Option<Duration>,
    /// Lines of gateway.yaml besides.
    pub more: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            get_queries: false,
            graphiql: false,
            documents: Vec::new(),
            no_proxies: false,
            request_timeout_ms: 10_000,
            read_timeout_ms: 5_000,
            shutdown_ms: 5_000,
            connections_max: 100,
            tls: None,
            client_ca: None,
            client_certificates: ClientCertificates::Optional,
            forwarded_ca: None,
            connections_per_address_max: 100,
            refusals_every_ms: 60_000,
            rates: Rates::default(),
            origins: Vec::new(),
            credentials: false,
            batch_max: 0,
            streams: None,
            more: "",
        }
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub gateway: Arc<Recorder>,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: tokio::task::JoinHandle<()>,
    metrics: axum::Router,
}

impl Running {
    pub async fn start(options: Options) -> Self {
        let mut config = config_with(options.more);
        config.graphql.get_queries = options.get_queries;
        config.graphql.graphiql = options.graphiql;
        if options.no_proxies {
            config.networks.proxies.clear();
        }
        config.rates = options.rates;
        config.limits.refusals_every_ms = options.refusals_every_ms;
        config.graphql.batch_max = options.batch_max;
        config.cors = Cors {
            origins: options.origins.iter().map(|origin| (*origin).to_owned()).collect(),
            credentials: options.credentials,
            max_age_s: 600,
        };
        config.scans.time_max = options.streams.unwrap_or(config.scans.time_max);
        config.limits.body_bytes_max = 65_536;
        config.limits.request_timeout_ms = options.request_timeout_ms;
        config.limits.read_timeout_ms = options.read_timeout_ms;
        config.limits.shutdown_ms = options.shutdown_ms;
        config.limits.connections_per_address_max = options.connections_per_address_max;
        config.limits.connections_max = options.connections_max;
        config.forwarded_certificate = options.forwarded_ca.map(|ca| {
            let header = "client-cert".parse().unwrap();
            ForwardedCertificate { header, ca: Pem::Text(ca.into()) }
        });
        config.tls = options.tls.map(|(cert, key)| {
            let client_ca = options.client_ca.map(|ca| Pem::Text(ca.into()));
            let (cert, key) = (Pem::Text(cert.into()), Pem::Text(key.into()));
            TlsConfig { cert, key, client_ca, client_certificates: options.client_certificates }
        });
        let gateway = Arc::new(Recorder {
            seen: Mutex::default(),
            ready: AtomicBool::new(true),
            documents: options.documents,
            refused: Mutex::default(),
            taken: Arc::new(tokio::sync::watch::channel((0, false)).0),
        });
        let verifier = Arc::new(Verifier::load(&config).unwrap());
        let application = serve::application(&config, verifier, Arc::clone(&gateway)).unwrap();
        let (app, metrics) = (application.router, application.metrics);
        let tls = config.tls.as_ref().map(|tls| serve::acceptor(tls).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served_with = config.clone();
        let served = tokio::spawn(async move {
            serve::run(listener, app, tls, &served_with, async { drop(stopped.await) }).await;
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, client, gateway, stop: Some(stop), served, metrics }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self) -> reqwest::RequestBuilder {
        self.client.post(self.url("/graphql")).header("content-type", "application/json")
    }

    /// What is counted, as monitoring reads it.
    pub async fn metrics(&self) -> String {
        let asked = http::Request::get("/metrics").header("host", "localhost").body(axum::body::Body::empty()).unwrap();
        let answer = tower_service::Service::call(&mut self.metrics.clone(), asked).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.gateway.seen.lock().unwrap().clone()
    }

    /// Posts the body in chunks, without saying its length, and gives the status.
    pub async fn raw_chunked(&self, body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in body.as_bytes().chunks(8_192) {
            let head = format!("{:x}\r\n", chunk.len());
            let chunk = [head.as_bytes(), chunk, b"\r\n"].concat();
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        status(&mut stream).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// The status of the next response; 0 where the connection ends instead.
pub async fn status(stream: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    while head.len() < 12 {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return 0,
        }
    }
    String::from_utf8_lossy(&head)[9..12].parse().unwrap()
}

fn config() -> GatewayConfig {
    config_with("")
}

fn config_with(more: &str) -> GatewayConfig {
    let text = "listen: 127.0.0.1:0\n\
        issuers:\n  - {issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], keys: ['${PUBLIC}'], \
        demo: true, signing_key: '${PRIVATE}'}\n\
        networks: {local: [127.0.0.0/8], outside: [203.0.113.0/24]}\nproxies: [127.0.0.1]\n\
        audit: {store: unused.sqlite, key: 0123456789abcdef0123456789abcdef}\n"
        .to_owned()
        + more;
    let variables = |name: &str| match name {
        "PUBLIC" => Some(KEY.public_key_pem()),
        "PRIVATE" => Some(KEY.serialize_pem()),
        _ => None,
    };
    let mut faults = Faults::default();
    let file = SourceText::new("gateway.yaml", text);
    let config = GatewayConfig::parse(&file, std::path::Path::new("."), &variables, &mut faults);
    config.unwrap_or_else(|| panic!("{}", faults.render()))
}

pub fn token(roles: &[&str]) -> String {
    token_of("zhang", roles)
}

pub fn token_of(id: &str, roles: &[&str]) -> String {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    mint(&config().issuers[0], id, &roles, &Map::new(), Duration::from_secs(60)).unwrap()
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
