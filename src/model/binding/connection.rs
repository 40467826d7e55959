//! Source-level settings of a binding, compiled: one [`Connection`] an instance, variables filled in.

pub mod cipher;
pub mod instances;
pub mod mounted;
pub mod sign;
pub mod territory;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::format::{Authority, DividedBy, Encoding, Format, Limits, Protocol, SourceFile};
use crate::base::fault::{Faults, Place, SourceText};
use crate::base::pointer::Pointer;
use crate::model::binding::platform::{self, Ground, PlatformEntry, Platforms};
use crate::model::binding::request::reading::{self, ErrorReading};
use crate::model::binding::{headers, limits};
use crate::model::config::egress::EgressConfig;
use crate::model::yaml::{self, Spanned};
use cipher::Cipher;
pub use instances::Instance;
use instances::Variables;
use mounted::{Found, Where};
use sign::{Delegation, Origin, Secret, Signing};

/// Where a database URL names no port.
const POSTGRES_PORT: u16 = 5432;

/// How one source (or one instance of it) is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub source: Arc<str>,
    /// What it stands on, with other sources.
    pub platform: Option<Arc<Ground>>,
    pub instance: Option<Instance>,
    pub protocol: Protocol,
    /// Without a `/` at its end. May hold a password (databases): never print it.
    pub base_url: Secret,
    /// Other addresses of the source, asked by its endpoints' fallbacks: as [`standbys`] names them.
    pub standbys: Box<[Secret]>,
    /// Sent with every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub encoding: Encoding,
    /// XML for SOAP sources.
    pub format: Format,
    pub sign: Option<Arc<Signing>>,
    pub tls: TlsFiles,
    pub ciphers: Box<[Cipher]>,
    pub limits: Limits,
    pub authority: Authority,
    /// Equal calls join the one under way.
    pub shares_calls: bool,
    pub errors: Option<ErrorReading>,
    /// Where an answer lists the paths of what is masked in it.
    pub masked: Option<Pointer>,
    /// What of this stands in files of secrets, and changes with them: see [`Connection::with`].
    pub mounted: Box<[(Where, Origin)]>,
}

/// PEM texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    pub ca: Option<Secret>,
    /// The client's certificate chain …
    pub certificate: Option<Secret>,
    /// … and its private key.
    pub key: Option<Secret>,
}

impl TlsFiles {
    /// Certificate chain and private key of the client, where both are there.
    pub fn identity(&self) -> Option<Secret> {
        let (certificate, key) = self.certificate.as_ref().zip(self.key.as_ref())?;
        Some(Secret::new(format!("{}\n{}\n", certificate.reveal(), key.reveal())))
    }

    /// How many private keys there are in both texts; one that stands in both is one.
    pub fn keys(&self) -> usize {
        let texts = [&self.certificate, &self.key].into_iter().flatten();
        let blocks = texts.flat_map(|text| text.reveal().split("-----BEGIN ").skip(1));
        let keys = blocks.filter_map(|block| block.split_once("PRIVATE KEY-----")).filter_map(|(kind, rest)| {
            // Of a label, and not of another block's end.
            let inside = rest.split_once("-----END").filter(|_| !kind.contains('-'))?.0;
            Some(inside.split_whitespace().collect::<String>())
        });
        keys.collect::<HashSet<String>>().len()
    }
}

impl Connection {
    /// One connection, or one an instance; those with faults are left out. Instance lists and PEM files are read
    /// beside the binding file.
    pub fn compile(
        file: &SourceFile,
        text: &Arc<SourceText>,
        variables: &dyn Fn(&str) -> Option<String>,
        egress: &EgressConfig,
        platforms: &Platforms,
        faults: &mut Faults,
    ) -> Vec<Self> {
        limits::check(file, egress.replicas, text, faults);
        let before = faults.len();
        let platform = platforms.of(file, text, faults);
        if file.platform.is_some() && (platform.is_none() || faults.len() > before) {
            // Without it, it is not known where and how the source is asked.
            return Vec::new();
        }
        let mut compiler = Compiler { file, text, variables, egress, platform, faults };
        let Some(list) = &file.instances else {
            return compiler.connection(None).into_iter().collect();
        };
        let Some(csv) = instances::open(text, &list.value.file, compiler.faults) else { return Vec::new() };
        let divided = list.value.by == Some(DividedBy::Territory);
        let needed: &[&str] = if divided { &["id", "title", "territory"] } else { &["id", "title"] };
        let mut instances = instances::read(&csv, needed, variables, compiler.faults);
        if divided {
            territory::read(&csv, &mut instances, &file.territory, compiler.faults);
        }
        instances.into_iter().filter_map(|instance| compiler.connection(Some(instance))).collect()
    }

    /// A platform, as the sources on it are reached; one, or none where it has faults.
    pub(super) fn of_platform(
        name: &str,
        entry: PlatformEntry,
        text: &Arc<SourceText>,
        variables: &dyn Fn(&str) -> Option<String>,
        egress: &EgressConfig,
        faults: &mut Faults,
    ) -> Vec<Self> {
        let file = entry.into_source(name);
        limits::check(&file, egress.replicas, text, faults);
        let mut compiler = Compiler { file: &file, text, variables, egress, platform: None, faults };
        compiler.connection(None).into_iter().collect()
    }

    pub fn delegation(&self) -> Option<&Delegation> {
        self.sign.as_ref().and_then(|signing| signing.delegation.as_ref())
    }

    /// Whether calls carry a token in the caller's name.
    pub fn delegates(&self) -> bool {
        self.delegation().is_some()
    }

    /// Whether its addresses are at the host of the platform it stands on, if it stands on one.
    pub fn is_at_its_platform(&self) -> bool {
        let mut addresses = std::iter::once(&self.base_url).chain(&self.standbys);
        self.platform.as_ref().is_none_or(|on| addresses.all(|address| platform::is_at(&on.base_url, address.reveal())))
    }

    /// As operators read it: `banks/abc`.
    pub fn name(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{}/{}", self.source, instance.id),
            None => self.source.to_string(),
        }
    }
}

/// The addresses of the fallbacks of a file, as they are written, each once.
pub fn standbys(file: &SourceFile) -> Vec<&Spanned<String>> {
    let mut all: Vec<&Spanned<String>> = Vec::new();
    let fallbacks = file.endpoints.values().filter_map(|endpoint| endpoint.value.fallback.as_ref());
    for url in fallbacks.filter_map(|fallback| fallback.value.base_url.as_ref()) {
        if !all.iter().any(|known| known.value == url.value) {
            all.push(url);
        }
    }
    all
}

struct Compiler<'a> {
    file: &'a SourceFile,
    text: &'a Arc<SourceText>,
    variables: Variables<'a>,
    egress: &'a EgressConfig,
    /// That the source stands on.
    platform: Option<&'a Connection>,
    faults: &'a mut Faults,
}

impl Compiler<'_> {
    fn connection(&mut self, instance: Option<Instance>) -> Option<Connection> {
        let file = self.file;
        let before = self.faults.len();
        let mut mounted = Vec::new();
        let base_url = self.base_url(instance.as_ref());
        let mut standby_urls = Vec::new();
        for url in standbys(file) {
            let Some(found) = self.address(url, yaml::span(url), instance.as_ref()) else { continue };
            note(&mut mounted, Where::Standby(standby_urls.len()), found.origin);
            standby_urls.push(Secret::new(found.text));
        }
        let headers = self.headers(instance.as_ref(), &mut mounted);
        let sign = file.sign.as_ref().and_then(|sign| self.sign(&sign.value, instance.as_ref()));
        let sign = sign.map(|(signing, session)| {
            note(&mut mounted, Where::Session, session);
            Arc::new(signing)
        });
        let tls = self.tls(instance.as_ref(), &mut mounted);
        let ciphers = self.ciphers(instance.as_ref(), &mut mounted);
        let errors = file.errors.as_ref().map(|errors| {
            if file.protocol != Protocol::Graphql {
                let hint = "take it out; other protocols say it in `envelope`";
                self.faults.add(self.text, yaml::span(errors), "only a graphql source has `errors`", hint);
            }
            ErrorReading::compile(&errors.value, self.text, self.faults)
        });
        let masked = file.masked.as_ref().and_then(|masked| self.masked(masked));
        let shares_calls = self.shares_calls();
        if self.faults.len() > before {
            return None;
        }
        let base_url = base_url?;
        note(&mut mounted, Where::BaseUrl, base_url.origin);
        let mut connection = Connection {
            platform: None,
            source: file.source.value.as_str().into(),
            instance,
            protocol: file.protocol,
            base_url: Secret::new(base_url.text),
            standbys: standby_urls.into(),
            headers,
            encoding: file.encoding,
            format: if file.protocol == Protocol::Soap { Format::Xml } else { file.format },
            sign,
            tls,
            ciphers,
            limits: file.limits.part_of(self.egress.replicas),
            authority: file.authority,
            shares_calls,
            errors,
            masked,
            mounted: mounted.into(),
        };
        if let Some(platform) = self.platform {
            platform::put_on(platform, &mut connection);
        }
        Some(connection)
    }

    /// Only where what goes out is the same whoever asks.
    fn shares_calls(&mut self) -> bool {
        let Some(shares) = self.file.shares_calls.as_ref().filter(|shares| shares.value) else { return false };
        let why = match (self.file.authority, self.file.protocol) {
            (Authority::Caller, _) => "calls in a caller's name are never shared",
            (_, Protocol::Audit) => "what is read of the gateway's own records depends on who asks",
            _ => return true,
        };
        self.faults.add(self.text, yaml::span(shares), why, "take `shares_calls` out");
        false
    }

    /// A text in which no file may stand.
    fn masked(&mut self, masked: &Spanned<String>) -> Option<Pointer> {
        let file = self.file;
        if file.protocol != Protocol::Graphql {
            let hint = "take it out; other protocols have no paths of what they show in part";
            self.faults.add(self.text, yaml::span(masked), "only a graphql source has `masked`", hint);
        }
        // What a listing tells beside its keys is kept without the rest of its answer.
        for query in file.queries.values().filter(|query| !query.value.fields.is_empty()) {
            let message = "a query of a source with `masked` tells no `fields`";
            let hint = "take them out: they are asked for by an endpoint, which reads what is masked";
            self.faults.add(self.text, yaml::span(query), message, hint);
        }
        reading::pointer(masked, self.text, self.faults)
    }

    fn fill(&mut self, value: &str, at: Place, instance: Option<&Instance>) -> Option<String> {
        if value.contains("${file:") {
            let hint = "files hold addresses, headers, PEM texts and what `sign` is made of; use a variable here";
            self.faults.add(self.text, at, "a file cannot be read here", hint);
            return None;
        }
        instances::substitute(value, self.variables, instance)
            .map_err(|name| instances::undefined(self.text, at, &name, self.faults))
            .ok()
    }

    /// Where faults of the address are shown: at it, or at the source's name where there is none.
    fn at(&self) -> Place {
        self.file.base_url.as_ref().map_or_else(|| yaml::span(&self.file.source), yaml::span)
    }

    fn base_url(&mut self, instance: Option<&Instance>) -> Option<Found> {
        let file = self.file;
        let at = self.at();
        let written = match (&file.base_url, file.protocol) {
            (None, _) if self.platform.is_some() => {
                let text = self.platform?.base_url.reveal().to_owned();
                return Some(Found { text, origin: Origin::default() });
            }
            (None, Protocol::Audit) => return Some(Found { text: String::new(), origin: Origin::default() }),
            (Some(_), Protocol::Audit) => {
                let hint = "the records are where `audit.store` of gateway.yaml says";
                self.faults.add(self.text, at, "a source with protocol audit has no `base_url`", hint);
                return None;
            }
            (None, _) => {
                self.faults.add(
                    self.text,
                    at,
                    "the source has no `base_url`",
                    "say where it is: `base_url: https://…`",
                );
                return None;
            }
            (Some(url), _) => url,
        };
        self.address(written, at, instance)
    }

    /// An address this protocol can call, and the operator lets be called.
    fn address(&mut self, written: &Spanned<String>, at: Place, instance: Option<&Instance>) -> Option<Found> {
        let mut found = self.found_in_address(&written.value, at, instance)?;
        if let Some(platform) = self.platform.filter(|_| found.text.starts_with('/')) {
            let text = platform.base_url.clone();
            found = Found { text: text.reveal().to_owned(), origin: Origin::Text(text) }.and(found);
        }
        let text = match mounted::address(self.file.protocol, &found.text) {
            Ok(text) => text.to_owned(),
            Err(unfit) => {
                self.faults.add(self.text, at, format!("`base_url` {}", unfit.what), unfit.hint);
                return None;
            }
        };
        if self.platform.is_some_and(|platform| !platform::may_be_at(&platform.base_url, &text)) {
            let hint = "its calls are signed with what is the platform's: write a path below its address, or nothing";
            self.faults.add(self.text, at, "the address is not at the platform's host", hint);
            return None;
        }
        self.within(&text, at)?;
        Some(Found { text, origin: found.origin })
    }

    /// Whether the operator lets this host be connected to. (Files of SQLite have none.)
    fn within(&mut self, url: &str, at: Place) -> Option<()> {
        let Ok(url) = reqwest::Url::parse(url) else { return Some(()) };
        if url.scheme() == "sqlite" {
            return Some(());
        }
        let Some(host) = url.host_str().filter(|host| !is_placeholder(host)) else { return Some(()) };
        let port = url.port_or_known_default().unwrap_or(POSTGRES_PORT);
        let Err(refused) = self.egress.check(host, port) else { return Some(()) };
        let hint = "let the operator add it to `egress` in config/gateway.yaml, or correct the address";
        self.faults.add(self.text, at, refused.to_string(), hint);
        None
    }

    fn headers(
        &mut self,
        instance: Option<&Instance>,
        mounted: &mut Vec<(Where, Origin)>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, value) in &self.file.headers {
            let at = yaml::span(value);
            let Some(found) = self.found(&value.value, at, instance) else { continue };
            match (headers::name(name), HeaderValue::from_bytes(found.text.as_bytes())) {
                (Err((message, hint)), _) => self.faults.add(self.text, at, message, hint),
                (Ok(name), Ok(mut value)) => {
                    // It may be a key.
                    value.set_sensitive(true);
                    note(mounted, Where::Header(headers.len()), found.origin);
                    headers.push((name, value));
                }
                (Ok(_), Err(_)) => {
                    self.faults.add(self.text, at, format!("`{name}` is not a header that can be sent"), "");
                }
            }
        }
        headers
    }

    fn tls(&mut self, instance: Option<&Instance>, mounted: &mut Vec<(Where, Origin)>) -> TlsFiles {
        let Some(tls) = &self.file.tls else { return TlsFiles::default() };
        let at = self.at();
        let mut pem = |place: Where, value: &Option<String>| {
            let written = value.as_deref()?;
            let found = self.found(written, at, instance)?;
            let text = self.pem(found.text, written, matches!(found.origin, Origin::Text(_)), at)?;
            note(mounted, place, found.origin);
            Some(Secret::new(text))
        };
        let (ca, certificate, key) =
            (pem(Where::Ca, &tls.ca), pem(Where::Certificate, &tls.client_cert), pem(Where::Key, &tls.client_key));
        if tls.client_cert.is_some() != tls.client_key.is_some() {
            let hint = "`client_cert` and `client_key` go together";
            self.faults.add(self.text, at, "`tls` has a certificate without its key, or a key alone", hint);
        }
        let files = TlsFiles { ca, certificate, key };
        if files.keys() > 1 {
            let hint = "leave the one that belongs to `client_cert`: it could not be known which is meant";
            self.faults.add(self.text, at, format!("`tls` has {} private keys", files.keys()), hint);
        }
        files
    }

    /// The PEM text itself, or the file beside the binding. Faults name it as it is written: what a variable holds may be
    /// a secret.
    fn pem(&mut self, value: String, written: &str, beside: bool, at: Place) -> Option<String> {
        if value.contains("-----BEGIN") {
            return Some(value);
        }
        if !beside {
            self.faults.add(self.text, at, format!("`{written}` is not PEM"), "");
            return None;
        }
        let path = self.text.path.parent().unwrap_or(Path::new(".")).join(&value);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.contains("-----BEGIN") => Some(text),
            Ok(_) => {
                self.faults.add(self.text, at, format!("`{written}` is not PEM"), "");
                None
            }
            Err(error) => {
                let message = format!("the file `{written}` cannot be read: {error}");
                self.faults.add(
                    self.text,
                    at,
                    message,
                    "give the PEM text, or a file's path from the folder of this binding",
                );
                None
            }
        }
    }
}

/// Notes what is read from a file.
fn note(mounted: &mut Vec<(Where, Origin)>, place: Where, origin: Origin) {
    if origin.is_mounted() {
        mounted.push((place, origin));
    }
}

/// What stands for a variable that is not set when files are only looked at (`.invalid`, or `1` for a host): nothing
/// that could be connected to.
pub(super) fn is_placeholder(host: &str) -> bool {
    host.ends_with(".invalid") || host == "0.0.0.1"
}
