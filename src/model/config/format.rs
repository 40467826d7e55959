//! `config/gateway.yaml` as it is written. Unknown keys are faults; [`super::GatewayConfig`] is what the gateway runs on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::model::yaml::Spanned;

/// What the operator sets. Any text may hold `${NAME}`, or `${NAME:-default}` for a variable that may be missing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Address and port.
    pub listen: Spanned<String>,
    /// Where monitoring reads what is counted; without it, nowhere.
    pub metrics: Option<MetricsEntry>,
    /// Names that requests may be for (`Host`), on any port; `"*"` is any name.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// The listener's certificate; leave it out where a front ends TLS.
    pub tls: Option<TlsFiles>,
    /// How listed proxies forward client certificates.
    pub forwarded_certificate: Option<ForwardedCertificateEntry>,
    /// Whose tokens count.
    #[serde(default)]
    pub issuers: Vec<IssuerEntry>,
    /// Names for address ranges (CIDR), which `roles.yaml` uses.
    #[serde(default)]
    pub networks: BTreeMap<String, Vec<Spanned<String>>>,
    /// Only from these addresses is `X-Forwarded-For` believed.
    #[serde(default)]
    pub proxies: Vec<Spanned<String>>,
    /// Whom the gateway connects to.
    #[serde(default)]
    pub egress: EgressEntry,
    /// What one request, and the listener, may take.
    #[serde(default)]
    pub limits: super::Limits,
    /// How many requests are worked on at once, and how many wait for that; what is more is refused.
    #[serde(default)]
    pub admission: super::admission::AdmissionEntry,
    /// What a scan over many entities may take.
    #[serde(default)]
    pub scans: super::scans::ScansEntry,
    /// How many WebSockets are open, and what each may take.
    #[serde(default)]
    pub sockets: super::sockets::SocketsEntry,
    /// What a minute may have.
    #[serde(default)]
    pub rates: super::rates::RatesEntry,
    /// Pages of which other sites may ask from a browser.
    #[serde(default)]
    pub cors: super::cors::CorsEntry,
    /// What is switched on.
    #[serde(default)]
    pub graphql: GraphqlEntry,
    /// What rules may read of a token.
    #[serde(default)]
    pub principal: PrincipalEntry,
    /// Name → what it is.
    #[serde(default)]
    pub purposes: BTreeMap<String, super::Purpose>,
    /// Where approvals and emergencies are kept.
    #[serde(default)]
    pub approvals: ApprovalsEntry,
    /// Where records go and how they are chained.
    pub audit: AuditEntry,
    /// Where revoked tokens are listed.
    #[serde(default)]
    pub revocations: RevocationsEntry,
    /// Who may do what at the gateway's own API; without it there is none.
    pub admin: Option<AdminEntry>,
    /// What those whose data was read are shown of it.
    #[serde(default)]
    pub access_log: AccessLogEntry,
    /// What counts as unusual reading.
    #[serde(default)]
    pub alerts: AlertsEntry,
    /// How changed files come into force.
    #[serde(default)]
    pub reload: ReloadEntry,
    /// Traces of requests; without it, there are none.
    pub traces: Option<TracesEntry>,
    /// Bindings that departments publish themselves.
    pub registry: Option<RegistryEntry>,
}

/// Traces of requests, to an OpenTelemetry collector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracesEntry {
    /// Where spans are posted, OTLP over HTTP: the whole address, such as `https://collector.example.gov.cn/v1/traces`.
    pub url: Spanned<String>,
    /// Headers of what is posted, such as `authorization: "Bearer ${COLLECTOR_TOKEN}"`.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// PEM of the authorities of the collector's server; without it, the system's.
    pub ca: Option<Spanned<String>>,
    /// The share of requests that are traced, from 0 to 1, where the `traceparent` of a listed proxy does not say it.
    pub ratio: Option<Spanned<f64>>,
    /// The `traceparent` of whoever asks says it, not of listed proxies alone.
    #[serde(default)]
    pub trust_parents: bool,
    /// The name it goes by at the collector.
    pub service: Option<String>,
    /// Spans that wait for the collector at most; further ones are dropped, and counted.
    pub queue_max: Option<Spanned<u64>>,
}

/// What is counted, for monitoring.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsEntry {
    /// Address and port of `/metrics`, plain HTTP without tokens: not the public listener's.
    pub listen: Spanned<String>,
}

/// Bindings that departments publish themselves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryEntry {
    /// An SQLite file, or `postgres://…` where several gateways share it.
    pub store: Spanned<String>,
    /// The claim (text, or list of texts) that says for which sources a steward and a head of department speak.
    pub sources: Spanned<String>,
}

/// How changed files come into force.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadEntry {
    /// How often the files are looked at; 0: only when the process is told to (SIGHUP).
    pub every_ms: Option<Spanned<u64>>,
}

/// The listener's certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The listener's certificate chain, PEM.
    pub cert: Spanned<String>,
    /// Its private key, PEM.
    pub key: Spanned<String>,
    /// PEM of the authorities whose client certificates count.
    pub client_ca: Option<Spanned<String>>,
    /// Whether clients without a certificate are let in.
    pub client_certificates: Option<Spanned<super::ClientCertificates>>,
}

/// How listed proxies forward client certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardedCertificateEntry {
    /// The header in which a proxy that ends TLS forwards its client's certificate.
    pub header: Spanned<String>,
    /// PEM of the authorities it is verified against once more.
    pub ca: Spanned<String>,
}

/// Where revoked tokens are listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationsEntry {
    /// An SQLite file; absent: `revocations.sqlite` beside the audit store.
    pub store: Option<Spanned<String>>,
}

/// Whom the gateway connects to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EgressEntry {
    /// The only hosts that may be named: `id.example.gov.cn`, `*.example.gov.cn`, `10.0.0.1:8443`; absent: whatever
    /// is named.
    pub hosts: Option<Vec<Spanned<String>>>,
    /// The only addresses (CIDR) that connections go to; absent: all but special ones.
    pub addresses: Option<Vec<Spanned<String>>>,
    /// The folder of the files that bindings may name as secrets; absent: `/run/secrets`.
    pub secrets: Option<Spanned<String>>,
    /// How many gateways ask the same sources, this one among them: each takes its part of a source's `limits.per_second_max`;
    /// absent: it is the only one.
    pub replicas: Option<Spanned<u32>>,
}

/// Who signs tokens, and with which keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerEntry {
    /// The token's `iss`, compared whole.
    pub issuer: Spanned<String>,
    /// The token's `aud` must be it, or hold it.
    pub audience: Spanned<String>,
    /// Of `RS256`, `ES256`, `EdDSA`.
    pub algorithms: Vec<Spanned<String>>,
    /// A JWKS file, or an `https` URL that is fetched at start and again.
    pub jwks: Option<Spanned<String>>,
    /// The URL is fetched again this often; absent: 300 000.
    pub jwks_refresh_ms: Option<Spanned<u64>>,
    /// For an unknown key it is fetched at once, but no more often than this; absent: 10 000.
    pub jwks_pause_ms_min: Option<Spanned<u64>>,
    /// Where it cannot be fetched, the keys fetched before count this long; absent: 14 400 000.
    pub jwks_stale_ms_max: Option<Spanned<u64>>,
    /// PEM of the authorities of the servers behind the issuer's URLs; absent: the system's.
    pub ca: Option<Spanned<String>>,
    /// Tokens that are valid for longer are refused; absent: 44 640.
    pub token_minutes_max: Option<Spanned<u64>>,
    /// How a portal's code is exchanged for a token.
    pub login: Option<super::login::LoginEntry>,
    /// PEM files, or variables that hold PEM.
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    /// A demo issuer: `huxiang token` may sign for it. Never in production.
    #[serde(default)]
    pub demo: bool,
    /// The demo issuer's private key.
    pub signing_key: Option<Spanned<String>>,
    /// Our name of a claim (`id`, `roles`, or one of `principal.claims`), and its name or JSON Pointer in this
    /// issuer's tokens.
    #[serde(default)]
    pub claims: BTreeMap<String, Spanned<String>>,
}

/// What is switched on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphqlEntry {
    /// Queries by GET: ids in them stand in URLs, and so in the logs of everything between.
    pub get_queries: bool,
    /// The page `/graphiql`.
    pub graphiql: bool,
    /// A folder of trusted documents.
    pub trusted_documents: Option<Spanned<String>>,
    /// Who may ask for the schema.
    pub introspection: super::Introspection,
    /// Operations in one body, 100 at most; absent: batches are not taken.
    pub batch_max: Option<Spanned<u32>>,
}

impl Default for GraphqlEntry {
    fn default() -> Self {
        Self {
            get_queries: false,
            graphiql: false,
            trusted_documents: None,
            introspection: super::Introspection::On,
            batch_max: None,
        }
    }
}

/// What rules may read of a token.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalEntry {
    /// What rules may read as `principal.NAME`, with its type.
    pub claims: BTreeMap<String, Spanned<super::ClaimType>>,
}

/// Where approvals and emergencies are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalsEntry {
    /// An SQLite file; absent: `approvals.sqlite` beside the audit store.
    pub store: Option<Spanned<String>>,
}

/// Where records go and how they are chained.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// An SQLite file: the first segment; later ones stand beside it.
    pub store: Spanned<String>,
    /// At least 32 bytes: the key of the digests that stand in the records for ids, arguments and answers.
    pub key: Spanned<String>,
    /// What records are chained with: `sha256` (the default) or `sm3`.
    pub hash: Option<Spanned<String>>,
    /// A new segment is begun when the open one has this many MiB; absent: 1 024.
    pub rotate_mb: Option<Spanned<u32>>,
    /// A new segment is begun with each month, unless this is false.
    pub rotate_monthly: Option<bool>,
    /// The claim (text) that says for which organisation a principal works; recorded with it.
    pub organisation: Option<Spanned<String>>,
    /// The claim (list of texts) that says for which divisions; recorded with it.
    pub divisions: Option<Spanned<String>>,
    /// Segments whose newest record is older are removed; absent: 36.
    pub retention_months: Option<Spanned<u32>>,
    /// Signed checkpoints, to another place.
    pub checkpoints: Option<CheckpointEntry>,
}

/// Signed checkpoints of the audit records, to another place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointEntry {
    /// A folder: one file of JSON lines a store and month.
    pub directory: Option<Spanned<String>>,
    /// Each checkpoint is also posted there as JSON, over `https`.
    pub url: Option<Spanned<String>>,
    /// An Ed25519 private key, a PEM file or a variable that holds PEM.
    pub key: Spanned<String>,
    /// After so many records; absent: 1 000.
    pub every_records: Option<Spanned<u32>>,
    /// After so long, where there are new records; absent: 60.
    pub every_seconds: Option<Spanned<u32>>,
    /// Nothing is answered once checkpoints have failed for so long.
    pub refuse_after_seconds: Option<u32>,
}

/// Roles of `roles.yaml` by what they may do at the gateway's own API; absent: there is none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminEntry {
    /// Roles that see health, sources and the configuration in force.
    pub operator: Vec<Spanned<String>>,
    /// Roles that see alerts and revocations, acknowledge and revoke.
    pub security_officer: Vec<Spanned<String>>,
    /// Roles that search the audit records.
    pub auditor: Vec<Spanned<String>>,
    /// Roles that see the access statistics of their divisions.
    pub supervisor: Vec<Spanned<String>>,
    /// Roles that submit bindings of their sources to the registry.
    pub steward: Vec<Spanned<String>>,
    /// Roles that approve the bindings of their sources.
    pub department_head: Vec<Spanned<String>>,
}

/// What those whose data was read are shown of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogEntry {
    /// Hours after which a look appears.
    pub delay_hours: u32,
    /// The id of who looked is shown too.
    pub show_principal: bool,
    /// Looks that appear late or never.
    pub hidden: Vec<Spanned<HiddenEntry>>,
}

/// Looks that appear late or never: of one of the roles, for one of the purposes, where both are given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HiddenEntry {
    /// Looks of these roles.
    pub roles: Vec<Spanned<String>>,
    /// Looks for these purposes.
    pub purposes: Vec<Spanned<String>>,
    /// Days after which they appear; absent: never.
    pub until_days: Option<u32>,
}

/// What counts as unusual reading.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsEntry {
    /// `22:00-06:00`, +08:00.
    pub night: Option<Spanned<String>>,
    /// Only entities of this type are counted.
    pub entity: Option<Spanned<String>>,
    /// Rules by name.
    pub rules: BTreeMap<String, Spanned<AlertEntry>>,
}

/// One rule of unusual reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertEntry {
    /// What is counted.
    pub when: When,
    /// Only entities of this type are counted.
    pub entity: Option<Spanned<String>>,
    /// How many at least.
    pub count: usize,
    /// In so many minutes.
    pub within_minutes: u32,
    /// Not for whoever has one of these roles.
    #[serde(default)]
    pub except_roles: Vec<Spanned<String>>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Different entities read.
    Any,
    /// Different entities asked for to which the caller stood in no relation.
    Unrelated,
    /// Different entities read at night.
    Night,
    /// Refused looks before one that was not refused.
    AfterRefusals,
}

impl JsonSchema for super::ClaimType {
    fn schema_name() -> Cow<'static, str> {
        "ClaimType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a claim holds: a text, a whole number, a truth value, or a list of texts.",
            "enum": ["string", "int", "bool", ["string"]],
        })
    }
}

impl JsonSchema for super::Introspection {
    fn schema_name() -> Cow<'static, str> {
        "Introspection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Who may ask for the schema: all but roles that say otherwise (`true`), nobody (`false`), or only \
                            roles that say `introspection: true` (`per-role`).",
            "enum": [true, false, "per-role"],
        })
    }
}

// By hand: `string` and `[string]` are both YAML of their own, and a wrong one should say what is allowed.
impl<'de> Deserialize<'de> for super::ClaimType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = super::ClaimType;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`string`, `int`, `bool` or `[string]`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "string" => Ok(super::ClaimType::Text),
                    "int" => Ok(super::ClaimType::Int),
                    "bool" => Ok(super::ClaimType::Bool),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let first: Option<String> = seq.next_element()?;
                let second: Option<String> = seq.next_element()?;
                match (first.as_deref(), second) {
                    (Some("string"), None) => Ok(super::ClaimType::Texts),
                    _ => Err(serde::de::Error::invalid_value(serde::de::Unexpected::Seq, &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

// By hand: a truth value and a text are both allowed, and anything else should be told so.
impl<'de> Deserialize<'de> for super::Introspection {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = super::Introspection;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true`, `false` or `per-role`")
            }
            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(if on { super::Introspection::On } else { super::Introspection::Off })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "per-role" => Ok(super::Introspection::PerRole),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
