//! `config/gateway.yaml`: listener, TLS, token issuers, networks, limits and the audit store, checked at load.

pub mod admin;
pub mod admission;
mod audit;
pub mod cors;
pub mod egress;
pub(super) mod format;
pub mod hosts;
pub mod login;
pub mod rates;
mod reader;
pub mod scans;
pub mod sockets;
pub mod traces;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::yaml;
use crate::base::fault::{Faults, SourceText, read};
use admin::AdminConfig;
pub use audit::{AuditConfig, ChainHash, CheckpointConfig};
use egress::EgressConfig;
use login::LoginConfig;
use reader::Reader;
use watch::{AccessLogConfig, AlertsConfig};

/// Looks up `${NAME}` in the environment (or, in the demo, in the process).
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the operator decides. Paths are as the file gives them, made absolute against the folder of `config/`.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    pub listen: SocketAddr,
    /// Where `/metrics` is; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The names it answers to.
    pub hosts: hosts::Hosts,
    pub tls: Option<TlsConfig>,
    pub forwarded_certificate: Option<ForwardedCertificate>,
    pub issuers: Vec<Issuer>,
    pub networks: Networks,
    pub egress: EgressConfig,
    pub limits: Limits,
    /// How many requests are worked on at once, and how many wait.
    pub admission: admission::Admission,
    /// What a scan may take.
    pub scans: scans::Scans,
    /// What WebSockets may take.
    pub sockets: sockets::Sockets,
    pub rates: rates::Rates,
    pub cors: cors::Cors,
    pub graphql: GraphqlConfig,
    /// The principal's claims that rules may read, with their types.
    pub claims: BTreeMap<String, ClaimType>,
    /// What requests may declare as their purpose.
    pub purposes: BTreeMap<String, Purpose>,
    /// The file of approvals and emergencies; without it, one beside the audit store.
    pub approvals: Option<PathBuf>,
    pub audit: AuditConfig,
    /// An SQLite file: the tokens that were revoked.
    pub revocations: PathBuf,
    /// Who may do what at the gateway's own API; `None`: there is none.
    pub admin: Option<AdminConfig>,
    pub access_log: AccessLogConfig,
    pub alerts: AlertsConfig,
    /// How often the files are looked at for changes; 0: only when the process is told to.
    pub reload_every_ms: u64,
    /// Where traces go; `None`: nowhere, and there are none.
    pub traces: Option<traces::TracesConfig>,
    /// Where departments publish bindings themselves; `None`: nowhere.
    pub registry: Option<RegistryConfig>,
}

/// The registry of bindings.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// An SQLite file's path, or the URL of a PostgreSQL database; may hold a password: never print it.
    pub store: RegistryStore,
    /// The claim that says for which sources somebody speaks.
    pub claim: String,
}

/// Where versions are kept.
#[derive(Clone)]
pub enum RegistryStore {
    File(PathBuf),
    Postgres(Arc<str>),
}

impl std::fmt::Debug for RegistryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(_) => f.write_str("a PostgreSQL database"),
        }
    }
}

/// What a request may be made for, as people read it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// As people read it, in Chinese.
    pub zh: String,
    /// As people read it, in English.
    pub en: String,
    /// What it covers.
    pub description: Option<String>,
}

/// A secret or certificate: in a file, or (where a variable holds it) the PEM text itself.
#[derive(Clone)]
pub enum Pem {
    File(PathBuf),
    Text(Arc<str>),
}

impl Pem {
    /// The PEM's bytes. The error names the file, never its content.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                std::fs::read(path).map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", path.display())))
            }
            Self::Text(text) => Ok(text.as_bytes().to_vec()),
        }
    }
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "Pem({})", path.display()),
            Self::Text(_) => f.write_str("Pem(text)"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The chain, the server's own certificate first.
    pub cert: Pem,
    pub key: Pem,
    /// The authorities of client certificates. `None`: clients are not asked for one.
    pub client_ca: Option<Pem>,
    pub client_certificates: ClientCertificates,
}

/// Whether a client without a certificate is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    #[default]
    Optional,
    Required,
}

/// How listed proxies that end TLS forward the client's certificate.
#[derive(Debug, Clone)]
pub struct ForwardedCertificate {
    pub header: HeaderName,
    /// The authorities it is verified against once more.
    pub ca: Pem,
}

/// Who signs tokens, and with which keys.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The `iss` claim, compared whole.
    pub issuer: String,
    /// The `aud` claim must be or hold this.
    pub audience: String,
    pub algorithms: Vec<TokenAlgorithm>,
    pub jwks: Option<JwksFrom>,
    pub jwks_limits: JwksLimits,
    /// The authorities of the servers behind the issuer's URLs; `None`: the system's.
    pub ca: Option<Pem>,
    pub keys: Vec<Pem>,
    /// How a portal's code is exchanged for a token.
    pub login: Option<LoginConfig>,
    /// Tokens that are valid for longer are refused.
    pub token_minutes_max: u64,
    /// A demo issuer: `huxiang token` may sign with `signing_key`.
    pub demo: bool,
    pub signing_key: Option<Pem>,
    /// Our name of a claim (`id`, `roles`, or one of `principal.claims`) → its name, or JSON Pointer, in the token.
    pub claims: BTreeMap<String, String>,
}

/// The only signature algorithms there are here (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    Rs256,
    Es256,
    EdDsa,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksFrom {
    File(PathBuf),
    /// Fetched at start, and again every few minutes.
    Url(String),
}

/// How keys from a URL are kept. Times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct JwksLimits {
    /// They are fetched again this often.
    pub refresh_ms: u64,
    /// For a key that is not known they are fetched at once, but no more often than this.
    pub pause_ms_min: u64,
    /// Where they cannot be fetched, those fetched before count this long.
    pub stale_ms_max: u64,
}

impl Default for JwksLimits {
    fn default() -> Self {
        Self { refresh_ms: 300_000, pause_ms_min: 10_000, stale_ms_max: 4 * 3_600_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimType {
    Text,
    Int,
    Bool,
    Texts,
}

/// Named address ranges, and the proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    pub named: BTreeMap<String, Vec<IpNet>>,
    pub proxies: Vec<IpNet>,
}

impl Networks {
    /// The names of all networks that hold the address.
    pub fn of(&self, address: IpAddr) -> Vec<String> {
        let address = address.to_canonical();
        let holds = |ranges: &Vec<IpNet>| ranges.iter().any(|range| range.contains(&address));
        self.named.iter().filter(|(_, ranges)| holds(ranges)).map(|(name, _)| name.clone()).collect()
    }

    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|range| range.contains(&address.to_canonical()))
    }
}

/// The least a head may be limited to: what the HTTP library reads at once.
pub const HEAD_BYTES_MIN: usize = 8 << 10;

/// Limits of one request and of the listener. Times in milliseconds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request.
    pub body_bytes_max: usize,
    /// Of a request's head: request line and headers.
    pub head_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Bytes of path and query.
    pub url_bytes_max: usize,
    /// Selection depth.
    pub depth_max: usize,
    /// Aliases in a document.
    pub aliases_max: usize,
    /// Tokens of a document.
    pub tokens_max: usize,
    /// Brackets open at once, of all kinds; checked before any parser runs.
    pub nesting_max: usize,
    /// Calls to departments for one request.
    pub upstream_calls_max: usize,
    /// Bytes of one answer; each field counts as some bytes more, so that this bounds the work too.
    pub answer_bytes_max: usize,
    /// Bytes of large answers that clients have not taken yet, all together; above that, those that have waited longest are
    /// dropped with their connections.
    pub unsent_bytes_max: usize,
    /// A request's own deadline.
    pub request_timeout_ms: u64,
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Of one address that is no listed proxy; further ones are closed.
    pub connections_per_address_max: usize,
    /// For a request's head (so also between requests), for its body, and for taking some of the answer: a client that is
    /// slower is dropped.
    pub read_timeout_ms: u64,
    /// How often refused requests are summed up.
    pub refusals_every_ms: u64,
    /// How long requests under way may take to end after the signal to stop.
    pub shutdown_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            head_bytes_max: 64 << 10,
            headers_max: 64,
            url_bytes_max: 8 << 10,
            depth_max: 16,
            aliases_max: 200,
            tokens_max: 10_000,
            nesting_max: 64,
            upstream_calls_max: 2_000,
            answer_bytes_max: 32 << 20,
            unsent_bytes_max: 512 << 20,
            request_timeout_ms: 10_000,
            connections_max: 4_096,
            connections_per_address_max: 256,
            read_timeout_ms: 10_000,
            refusals_every_ms: 60_000,
            shutdown_ms: 15_000,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct GraphqlConfig {
    /// Queries by GET. Off by default: ids in a query would stand in URLs, and so in logs.
    pub get_queries: bool,
    pub graphiql: bool,
    /// A folder of `<sha256 in hex>.graphql`, which clients name by `documentId`.
    pub trusted_documents: Option<PathBuf>,
    pub introspection: Introspection,
    /// Operations of one batch; 0: batches are not taken.
    pub batch_max: usize,
}

/// Who may ask for the schema. What they see of it is pruned to what their grants give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Introspection {
    Off,
    /// Everybody but roles that say `introspection: false`.
    #[default]
    On,
    /// Only roles that say `introspection: true`.
    PerRole,
}

impl GatewayConfig {
    /// The file of approvals and emergencies.
    pub fn approvals_store(&self) -> PathBuf {
        self.approvals.clone().unwrap_or_else(|| self.audit.store.with_file_name("approvals.sqlite"))
    }

    /// The keys at the top of the file that two texts of it do not agree in; what is no YAML is told as `(unreadable)`.
    pub fn changed(before: &str, after: &str) -> Vec<String> {
        type Keys = BTreeMap<String, serde_json::Value>;
        let read = |text: &str| serde_saphyr::from_str::<Keys>(text).ok();
        let (Some(before), Some(after)) = (read(before), read(after)) else { return vec!["(unreadable)".to_owned()] };
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        all.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
    }

    /// Reads and checks the file. `None` where any fault was added; relative paths are taken from `base`.
    pub fn load(path: &Path, base: &Path, variables: Variables<'_>, faults: &mut Faults) -> Option<Self> {
        Self::parse(&read(path, faults)?, base, variables, faults)
    }

    /// As [`Self::load`], from a text already read.
    pub fn parse(text: &Arc<SourceText>, base: &Path, variables: Variables<'_>, faults: &mut Faults) -> Option<Self> {
        let before = faults.len();
        let file: format::ConfigFile = yaml::read(text, faults)?;
        let config = Reader { text, base, variables, faults }.config(file);
        if faults.len() == before { config } else { None }
    }
}

#[cfg(test)]
mod tests;
