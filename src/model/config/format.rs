//! `config/gateway.yaml` as it is written. Unknown keys are faults; [`super::GatewayConfig`] is what the gateway runs on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// Any text may hold `${NAME}`, or `${NAME:-default}` for a variable that may be missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub listen: Spanned<String>,
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    pub tls: Option<TlsFiles>,
    pub forwarded_certificate: Option<ForwardedCertificateEntry>,
    #[serde(default)]
    pub issuers: Vec<IssuerEntry>,
    #[serde(default)]
    pub networks: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    pub proxies: Vec<Spanned<String>>,
    #[serde(default)]
    pub egress: EgressEntry,
    #[serde(default)]
    pub limits: super::Limits,
    #[serde(default)]
    pub rates: super::rates::RatesEntry,
    #[serde(default)]
    pub cors: super::cors::CorsEntry,
    #[serde(default)]
    pub graphql: GraphqlEntry,
    #[serde(default)]
    pub principal: PrincipalEntry,
    /// Name → what it is.
    #[serde(default)]
    pub purposes: BTreeMap<String, super::Purpose>,
    #[serde(default)]
    pub approvals: ApprovalsEntry,
    pub audit: AuditEntry,
    #[serde(default)]
    pub revocations: RevocationsEntry,
    pub admin: Option<AdminEntry>,
    #[serde(default)]
    pub access_log: AccessLogEntry,
    #[serde(default)]
    pub alerts: AlertsEntry,
    #[serde(default)]
    pub reload: ReloadEntry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadEntry {
    /// How often the files are looked at; 0: only when the process is told to (SIGHUP).
    pub every_ms: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub cert: Spanned<String>,
    pub key: Spanned<String>,
    pub client_ca: Option<Spanned<String>>,
    pub client_certificates: Option<Spanned<super::ClientCertificates>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardedCertificateEntry {
    pub header: Spanned<String>,
    pub ca: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationsEntry {
    pub store: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressEntry {
    pub hosts: Option<Vec<Spanned<String>>>,
    pub addresses: Option<Vec<Spanned<String>>>,
    pub secrets: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerEntry {
    pub issuer: Spanned<String>,
    pub audience: Spanned<String>,
    pub algorithms: Vec<Spanned<String>>,
    pub jwks: Option<Spanned<String>>,
    pub jwks_refresh_ms: Option<Spanned<u64>>,
    pub jwks_pause_ms_min: Option<Spanned<u64>>,
    pub jwks_stale_ms_max: Option<Spanned<u64>>,
    pub ca: Option<Spanned<String>>,
    pub token_minutes_max: Option<Spanned<u64>>,
    pub login: Option<super::login::LoginEntry>,
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub demo: bool,
    pub signing_key: Option<Spanned<String>>,
    #[serde(default)]
    pub claims: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphqlEntry {
    pub get_queries: bool,
    pub graphiql: bool,
    pub trusted_documents: Option<Spanned<String>>,
    pub introspection: super::Introspection,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalEntry {
    pub claims: BTreeMap<String, Spanned<super::ClaimType>>,
}

/// Where approvals and emergencies are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalsEntry {
    pub store: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    pub store: Spanned<String>,
    pub key: Spanned<String>,
    pub hash: Option<Spanned<String>>,
    pub rotate_mb: Option<Spanned<u32>>,
    pub rotate_monthly: Option<bool>,
    /// The claim (text) that says for which organisation a principal works; recorded with it.
    pub organisation: Option<Spanned<String>>,
    /// The claim (list of texts) that says for which divisions; recorded with it.
    pub divisions: Option<Spanned<String>>,
    pub retention_months: Option<Spanned<u32>>,
    pub checkpoints: Option<CheckpointEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointEntry {
    pub directory: Option<Spanned<String>>,
    pub url: Option<Spanned<String>>,
    pub key: Spanned<String>,
    pub every_records: Option<Spanned<u32>>,
    pub every_seconds: Option<Spanned<u32>>,
    pub refuse_after_seconds: Option<u32>,
}

/// Roles of `roles.yaml` by what they may do at the gateway's own API; absent: there is none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminEntry {
    pub operator: Vec<Spanned<String>>,
    pub security_officer: Vec<Spanned<String>>,
    pub auditor: Vec<Spanned<String>>,
    pub supervisor: Vec<Spanned<String>>,
}

/// What those whose data was read are shown of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogEntry {
    /// Hours after which a look appears.
    pub delay_hours: u32,
    /// The id of who looked is shown too.
    pub show_principal: bool,
    pub hidden: Vec<Spanned<HiddenEntry>>,
}

/// Looks that appear late or never: of one of the roles, for one of the purposes, where both are given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HiddenEntry {
    pub roles: Vec<Spanned<String>>,
    pub purposes: Vec<Spanned<String>>,
    /// Days after which they appear; absent: never.
    pub until_days: Option<u32>,
}

/// What counts as unusual reading.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsEntry {
    /// `22:00-06:00`, +08:00.
    pub night: Option<Spanned<String>>,
    /// Only entities of this type are counted.
    pub entity: Option<Spanned<String>>,
    pub rules: BTreeMap<String, Spanned<AlertEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertEntry {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
