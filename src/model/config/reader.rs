//! From the file as written to the checked configuration; every fault is added, none stops the reading.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;

use super::admin::AdminConfig;
use super::admission::Admission;
use super::cors::Cors;
use super::egress::{EgressConfig, Host};
use super::hosts::Hosts;
use super::rates::Rates;
use super::scans::Scans;
use super::sockets::Sockets;
use super::watch::{AccessLogConfig, AlertsConfig};
use super::{
    ClaimType, ForwardedCertificate, GatewayConfig, GraphqlConfig, HEAD_BYTES_MIN, Issuer, JwksFrom, JwksLimits,
    Limits, Networks, Pem, RegistryConfig, RegistryStore, TlsConfig, TokenAlgorithm, Variables, format,
};
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::yaml::{self, Spanned};

/// A month: how long an issuer's tokens may be valid where nothing is said.
const TOKEN_MINUTES_MAX: u64 = 31 * 24 * 60;
const RELOAD_EVERY_MS: u64 = 1_000;
const REPLICAS_MAX: u32 = 1_000;

pub struct Reader<'a> {
    pub text: &'a Arc<SourceText>,
    pub base: &'a Path,
    pub variables: Variables<'a>,
    pub faults: &'a mut Faults,
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, at: &Spanned<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, yaml::place_of(at), message, hint);
    }

    /// The text with its variables filled in; a missing variable is a fault.
    pub(super) fn fill(&mut self, at: &Spanned<String>) -> String {
        let mut out = String::new();
        let mut rest = at.value.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((inside, tail)) = after.split_once('}') else {
                self.fault(at, "`${` without `}`", "write `${NAME}` or `${NAME:-default}`");
                return out;
            };
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
            match (self.variables)(name).or_else(|| default.map(str::to_owned)) {
                Some(value) => out.push_str(&value),
                None => {
                    let hint = format!("set {name} in the gateway's environment");
                    self.fault(at, format!("the variable `{name}` is not set"), hint);
                }
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    pub(super) fn path(&mut self, at: &Spanned<String>) -> PathBuf {
        self.base.join(self.fill(at))
    }

    pub(super) fn pem(&mut self, at: &Spanned<String>) -> Pem {
        let text = self.fill(at);
        if text.trim_start().starts_with("-----BEGIN") {
            return Pem::Text(text.into());
        }
        let path = self.base.join(&text);
        if !text.is_empty() && !path.is_file() {
            let hint = "give a PEM file's path (from the folder that holds config/), or a variable with the PEM text";
            // As written: what a variable holds may be a secret that is no PEM.
            self.fault(at, format!("there is no file `{}`", at.value), hint);
        }
        Pem::File(path)
    }

    fn replicas(&mut self, replicas: &Spanned<u32>) -> Option<NonZeroU32> {
        if !(1..=REPLICAS_MAX).contains(&replicas.value) {
            let hint = format!("it is between 1 and {REPLICAS_MAX}: as many gateways as ask the same sources");
            self.faults.add(self.text, yaml::span(replicas), "egress.replicas is out of range", hint);
        }
        NonZeroU32::new(replicas.value)
    }

    pub fn config(&mut self, file: format::ConfigFile) -> Option<GatewayConfig> {
        let listen = self.address(&file.listen, "127.0.0.1:8080");
        let metrics = file.metrics.as_ref().and_then(|entry| self.metrics(entry, listen));
        let tls = file.tls.as_ref().map(|tls| self.tls(tls));
        let forwarded_certificate = file.forwarded_certificate.as_ref().and_then(|entry| self.forwarded(entry, &file));
        let claims: BTreeMap<String, ClaimType> =
            file.principal.claims.iter().map(|(name, kind)| (name.clone(), kind.value)).collect();
        let egress = EgressConfig {
            hosts: file.egress.hosts.as_ref().map(|hosts| hosts.iter().filter_map(|at| self.host(at)).collect()),
            addresses: file.egress.addresses.as_ref().map(|ranges| self.ranges(ranges)),
            secrets: file.egress.secrets.as_ref().map(|at| self.path(at)),
            owner: None,
            replicas: file.egress.replicas.as_ref().and_then(|replicas| self.replicas(replicas)),
        };
        let issuers = file.issuers.iter().filter_map(|entry| self.issuer(entry, &claims, &egress)).collect();
        self.twice(&file.issuers);
        let named = file.networks.iter().map(|(name, ranges)| (name.clone(), self.ranges(ranges))).collect();
        let proxies = self.ranges(&file.proxies);
        let graphql = GraphqlConfig {
            get_queries: file.graphql.get_queries,
            graphiql: file.graphql.graphiql,
            trusted_documents: file.graphql.trusted_documents.as_ref().map(|at| self.path(at)),
            introspection: file.graphql.introspection,
            batch_max: file.graphql.batch_max.as_ref().map_or(0, |at| self.batch_max(at)),
        };
        let audit = self.audit(&file.audit, &claims, &egress);
        let approvals = file.approvals.store.as_ref().map(|at| self.path(at));
        // Beside the audit records, where nothing is said.
        let revocations = match &file.revocations.store {
            Some(at) => self.path(at),
            None => audit.store.with_file_name("revocations.sqlite"),
        };
        let traces = file.traces.as_ref().and_then(|entry| self.traces(entry, &egress));
        self.limits(&file.limits);
        let known = file.networks.keys().map(String::as_str);
        let rates = Rates::read(&file.rates, known, self.text, self.faults);
        Some(GatewayConfig {
            hosts: Hosts::read(&file.hosts, self),
            listen: listen?,
            metrics,
            tls,
            forwarded_certificate,
            issuers,
            networks: Networks { named, proxies },
            egress,
            limits: file.limits,
            admission: Admission::read(&file.admission, self),
            scans: Scans::read(&file.scans, self),
            sockets: Sockets::read(&file.sockets, self),
            rates,
            cors: Cors::read(&file.cors, self.text, self.faults),
            graphql,
            claims,
            purposes: file.purposes,
            approvals,
            audit,
            revocations,
            access_log: AccessLogConfig::read(file.access_log, self.text, self.faults),
            alerts: AlertsConfig::read(file.alerts, self.text, self.faults),
            reload_every_ms: self.reload_every_ms(&file.reload),
            traces,
            registry: file.registry.as_ref().map(|entry| self.registry(entry, &file.principal.claims)),
            admin: file.admin.map(|entry| AdminConfig::read(entry, self.text, self.faults)),
        })
    }

    fn address(&mut self, at: &Spanned<String>, example: &str) -> Option<SocketAddr> {
        let address = self.fill(at).parse::<SocketAddr>().ok();
        if address.is_none() {
            self.fault(at, "this is not an address and port", format!("write for example `{example}`"));
        }
        address
    }

    fn metrics(&mut self, entry: &format::MetricsEntry, listen: Option<SocketAddr>) -> Option<SocketAddr> {
        let address = self.address(&entry.listen, "127.0.0.1:9464")?;
        if address.port() != 0 && listen.is_some_and(|listen| listen.port() == address.port()) {
            let hint =
                "give metrics a port of their own, for example `127.0.0.1:9464`: whoever reaches it may read them";
            self.fault(&entry.listen, "metrics are not served at the port of `listen`", hint);
        }
        Some(address)
    }

    fn registry(
        &mut self,
        entry: &format::RegistryEntry,
        claims: &BTreeMap<String, Spanned<ClaimType>>,
    ) -> RegistryConfig {
        let claim = entry.sources.value.clone();
        let declared = claims.get(&claim).map(|kind| kind.value);
        if !matches!(declared, Some(ClaimType::Text | ClaimType::Texts)) {
            let known = claims.keys().map(String::as_str);
            let hint = did_you_mean(&claim, known, "declare it under `principal.claims` as `string` or `[string]`");
            self.fault(&entry.sources, format!("there is no claim `{claim}` that holds texts"), hint);
        }
        let store = self.fill(&entry.store);
        let is_url = store.starts_with("postgres://") || store.starts_with("postgresql://");
        let store =
            if is_url { RegistryStore::Postgres(store.into()) } else { RegistryStore::File(self.base.join(store)) };
        RegistryConfig { store, claim }
    }

    fn reload_every_ms(&mut self, entry: &format::ReloadEntry) -> u64 {
        let Some(at) = &entry.every_ms else { return RELOAD_EVERY_MS };
        if at.value != 0 && !(100..=3_600_000).contains(&at.value) {
            let hint = "between 100 and 3 600 000, or 0: only at SIGHUP";
            self.faults.add(self.text, yaml::span(at), "`reload.every_ms` is out of range", hint);
        }
        at.value
    }

    fn tls(&mut self, tls: &format::TlsFiles) -> TlsConfig {
        if let (Some(asked), None) = (&tls.client_certificates, &tls.client_ca) {
            let hint = "give `client_ca`, the PEM of the authorities whose certificates count";
            self.faults.add(
                self.text,
                yaml::span(asked),
                "client certificates are asked for without `client_ca`",
                hint,
            );
        }
        TlsConfig {
            cert: self.pem(&tls.cert),
            key: self.pem(&tls.key),
            client_ca: tls.client_ca.as_ref().map(|at| self.pem(at)),
            client_certificates: tls.client_certificates.as_ref().map(|asked| asked.value).unwrap_or_default(),
        }
    }

    fn forwarded(
        &mut self,
        entry: &format::ForwardedCertificateEntry,
        file: &format::ConfigFile,
    ) -> Option<ForwardedCertificate> {
        if file.proxies.is_empty() {
            let hint = "list the proxies that set it under `proxies`; from anybody else the header is not looked at";
            self.fault(&entry.header, "no proxy is listed that could forward a certificate", hint);
        }
        let ca = self.pem(&entry.ca);
        match HeaderName::try_from(entry.header.value.as_str()) {
            Ok(header) => Some(ForwardedCertificate { header, ca }),
            Err(_) => {
                self.fault(&entry.header, "this is not a header's name", "write for example `Client-Cert` (RFC 9440)");
                None
            }
        }
    }

    fn issuer(
        &mut self,
        entry: &format::IssuerEntry,
        claims: &BTreeMap<String, ClaimType>,
        egress: &EgressConfig,
    ) -> Option<Issuer> {
        let issuer = self.fill(&entry.issuer);
        let audience = self.fill(&entry.audience);
        if issuer.is_empty() || audience.is_empty() {
            self.fault(&entry.issuer, "issuer and audience must not be empty", "write the token's `iss` and `aud`");
        }
        let algorithms: Vec<_> = entry.algorithms.iter().filter_map(|at| self.algorithm(at)).collect();
        if entry.algorithms.is_empty() {
            self.fault(&entry.issuer, "no algorithm is listed", "list what the issuer signs with: RS256, ES256, EdDSA");
        }
        let keys: Vec<_> = entry.keys.iter().map(|at| self.pem(at)).collect();
        let jwks = entry.jwks.as_ref().and_then(|at| self.jwks(at, egress));
        if entry.keys.is_empty() && entry.jwks.is_none() {
            self.fault(&entry.issuer, "the issuer has no keys", "give `jwks` (a file or an https URL) or `keys`");
        }
        let jwks_limits = self.jwks_limits(entry);
        let login = entry.login.as_ref().and_then(|login| self.login(login, egress));
        let minutes = &entry.token_minutes_max;
        let token_minutes_max = self.within("token_minutes_max", minutes, 1..=527_040, TOKEN_MINUTES_MAX);
        let ca = entry.ca.as_ref().map(|at| self.pem(at));
        let signing_key = entry.signing_key.as_ref().map(|at| self.pem(at));
        if let (Some(at), false) = (&entry.signing_key, entry.demo) {
            let hint = "remove it, or mark the issuer `demo: true`; a gateway never signs for a real issuer";
            self.fault(at, "only a demo issuer has a signing key", hint);
        }
        for (name, at) in &entry.claims {
            let known = claims.keys().map(String::as_str).chain(["id", "roles"]);
            if known.clone().all(|other| other != name) {
                let hint = did_you_mean(name, known, "declare it under `principal.claims` first");
                self.fault(at, format!("`{name}` is no claim of the principal"), hint);
            }
        }
        let claims = entry.claims.iter().map(|(name, at)| (name.clone(), at.value.clone())).collect();
        Some(Issuer {
            issuer,
            audience,
            algorithms,
            jwks,
            jwks_limits,
            ca,
            login,
            token_minutes_max,
            keys,
            demo: entry.demo,
            signing_key,
            claims,
        })
    }

    fn jwks_limits(&mut self, entry: &format::IssuerEntry) -> JwksLimits {
        let JwksLimits { refresh_ms, pause_ms_min, stale_ms_max } = JwksLimits::default();
        JwksLimits {
            refresh_ms: self.within("jwks_refresh_ms", &entry.jwks_refresh_ms, 1_000..=86_400_000, refresh_ms),
            pause_ms_min: self.within("jwks_pause_ms_min", &entry.jwks_pause_ms_min, 100..=3_600_000, pause_ms_min),
            stale_ms_max: self.within("jwks_stale_ms_max", &entry.jwks_stale_ms_max, 1_000..=604_800_000, stale_ms_max),
        }
    }

    pub(super) fn within(
        &mut self,
        name: &str,
        at: &Option<Spanned<u64>>,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(at) = at else { return default };
        if !range.contains(&at.value) {
            let hint = format!("it is between {} and {}", range.start(), range.end());
            self.faults.add(self.text, yaml::span(at), format!("`{name}` is out of range"), hint);
        }
        at.value
    }

    fn twice(&mut self, entries: &[format::IssuerEntry]) {
        for (at, entry) in entries.iter().enumerate() {
            if entries.iter().take(at).any(|other| other.issuer.value == entry.issuer.value) {
                self.fault(&entry.issuer, "this issuer is listed twice", "put all its keys into one entry");
            }
            let Some(login) = &entry.login else { continue };
            let names = entries.iter().take(at).filter_map(|other| other.login.as_ref());
            if names.clone().any(|other| other.name.value == login.name.value) {
                self.fault(&login.name, "two issuers have a login of this name", "give each a name of its own");
            }
        }
    }

    fn algorithm(&mut self, at: &Spanned<String>) -> Option<TokenAlgorithm> {
        match at.value.as_str() {
            "RS256" => Some(TokenAlgorithm::Rs256),
            "ES256" => Some(TokenAlgorithm::Es256),
            "EdDSA" => Some(TokenAlgorithm::EdDsa),
            other => {
                let hint = "RS256, ES256 and EdDSA are; shared secrets (HS…) and `none` never";
                self.fault(at, format!("the algorithm `{other}` is not accepted"), hint);
                None
            }
        }
    }

    /// A file, or a URL.
    fn jwks(&mut self, at: &Spanned<String>, egress: &EgressConfig) -> Option<JwksFrom> {
        let text = self.fill(at);
        if text.contains("://") {
            return self.url(at, text, egress).map(JwksFrom::Url);
        }
        let path = self.base.join(&text);
        if !path.is_file() {
            // As written: what a variable holds may be a secret.
            self.fault(at, format!("there is no file `{}`", at.value), "give a JWKS file's path or an https URL");
        }
        Some(JwksFrom::File(path))
    }

    /// An address of the operator's: encrypted, unless it is on this machine, and within the operator's bounds.
    pub(super) fn url(&mut self, at: &Spanned<String>, text: String, egress: &EgressConfig) -> Option<String> {
        let url = reqwest::Url::parse(&text).ok();
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            self.fault(at, "this is not a URL", "write for example `https://id.example.gov.cn/jwks.json`");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.fault(at, "the URL has no name and no password in it", "secrets have keys of their own");
            return None;
        }
        let here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if url.scheme() != "https" && !(url.scheme() == "http" && here) {
            self.fault(at, "keys, tokens, checkpoints and traces must not travel in the clear", "use an https URL");
            return None;
        }
        let port = url.port_or_known_default().unwrap_or(443);
        if let Err(refused) = egress.check(host, port) {
            self.fault(at, refused.to_string(), "add it to `egress`, or correct the address");
            return None;
        }
        Some(text)
    }

    fn host(&mut self, at: &Spanned<String>) -> Option<Host> {
        let text = self.fill(at);
        let host = Host::parse(&text);
        if host.is_none() {
            let hint =
                "write for example `idp.example.gov.cn`, `*.example.gov.cn` or `10.0.0.1:8443`, without a scheme";
            self.fault(at, format!("`{}` is no host", at.value), hint);
        }
        host
    }

    fn ranges(&mut self, entries: &[Spanned<String>]) -> Vec<IpNet> {
        let mut out = Vec::new();
        for at in entries {
            let text = self.fill(at);
            let one = text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or(one) {
                Ok(range) => out.push(range),
                Err(_) => {
                    let hint = "write for example `10.20.0.0/16`, `2001:db8::/32` or one address";
                    self.fault(at, format!("`{}` is no address range", at.value), hint);
                }
            }
        }
        out
    }

    /// Above this a batch is no convenience any more.
    fn batch_max(&mut self, at: &Spanned<u32>) -> usize {
        const BATCH_MAX: u32 = 100;
        if at.value > BATCH_MAX {
            let hint = format!("at most {BATCH_MAX}: the operations of a batch share the limits of one request");
            self.faults.add(self.text, yaml::span(at), "this is too large a batch", hint);
        }
        usize::try_from(at.value).unwrap_or(0)
    }

    fn limits(&mut self, limits: &Limits) {
        let sizes = [
            limits.body_bytes_max,
            limits.depth_max,
            limits.tokens_max,
            limits.nesting_max,
            limits.upstream_calls_max,
            limits.answer_bytes_max,
            limits.unsent_bytes_max,
            limits.connections_max,
            limits.connections_per_address_max,
            limits.headers_max,
            limits.url_bytes_max,
        ];
        let times = [limits.request_timeout_ms, limits.read_timeout_ms, limits.refusals_every_ms];
        if sizes.contains(&0) || times.contains(&0) {
            let place = Place::default();
            self.faults.add(self.text, place, "a limit of 0 lets nothing through", "leave it out for the default");
        }
        if limits.head_bytes_max < HEAD_BYTES_MIN {
            let message = format!("`limits.head_bytes_max` is less than {HEAD_BYTES_MIN}");
            self.faults.add(self.text, Place::default(), message, "leave it out for the default");
        }
    }
}
