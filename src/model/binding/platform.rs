//! `config/platforms.yaml`: systems that several sources stand on, and which share its limits, its breaker and its session.
//!
//! The operator declares a platform and lists the sources that may stand on it; a binding, published ones too, only names
//! it. What signs the calls is the platform's: it goes to the platform's own host alone, whatever a binding says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use super::connection::mounted::Where;
use super::connection::sign::Secret;
use super::connection::sign::format::{Scheme, Sign};
use super::connection::{Connection, TlsFiles, is_placeholder};
use super::format::{Authority, Encoding, Format, Limits, Named, Protocol, SourceFile, Tls};
use super::limits::BreakerLimits;
use crate::base::fault::{self, Faults, Place, SourceText, did_you_mean};
use crate::model::config::egress::EgressConfig;
use crate::model::yaml::{self, Spanned};

/// Platforms that several sources stand on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlatformsFile {
    /// By name: lower-case letters, digits and `-`.
    pub platforms: BTreeMap<String, Spanned<PlatformEntry>>,
}

/// A platform that several sources stand on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlatformEntry {
    /// Its name, as people read it.
    pub title: Option<String>,
    /// Where it is: `http(s)://…`; `${NAME}` stands for a variable. The sources on it are asked at this host alone.
    pub base_url: Spanned<String>,
    /// The ids of the sources that may stand on it.
    pub sources: Vec<Spanned<String>>,
    /// What it bears, all its sources together.
    #[serde(default)]
    pub limits: PlatformLimits,
    /// How requests are signed; a session is fetched once for all sources. Absent: each source signs as its binding says.
    pub sign: Option<Spanned<Sign>>,
    /// Its authority, and the gateway's client certificate; absent: as each binding says.
    pub tls: Option<Tls>,
}

impl PlatformEntry {
    /// As a source that has nothing but an address: what both have is checked alike.
    pub(super) fn into_source(self, name: &str) -> SourceFile {
        let PlatformLimits { in_flight_max, slow_ms, per_second_max, breaker } = self.limits;
        SourceFile {
            source: Spanned::new(name.to_owned(), self.base_url.referenced, self.base_url.defined),
            title: self.title.unwrap_or_default(),
            steward: None,
            protocol: Protocol::default(),
            platform: None,
            base_url: Some(self.base_url),
            territory: Vec::new(),
            authority: Authority::default(),
            shares_calls: None,
            headers: BTreeMap::new(),
            encoding: Encoding::default(),
            format: Format::default(),
            sign: self.sign,
            tls: self.tls,
            ciphers: Named::new(),
            limits: Limits { in_flight_max, slow_ms, per_second_max, breaker, ..Limits::default() },
            envelope: None,
            errors: None,
            masked: None,
            instances: None,
            withhold: Vec::new(),
            switched_off_for: Vec::new(),
            quota: Vec::new(),
            endpoints: Named::new(),
            queries: Named::new(),
        }
    }
}

/// What a platform bears, all its sources together. The rest of `limits` stays each source's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformLimits {
    /// Calls under way at once.
    pub in_flight_max: usize,
    /// An answer that takes longer than this takes places of `in_flight_max` away, down to one; quicker ones give them back.
    pub slow_ms: Option<u64>,
    /// Calls in any sliding second; further calls wait inside their deadline. Absent: as many as come.
    pub per_second_max: Option<u32>,
    /// When it is left alone because it fails.
    pub breaker: BreakerLimits,
}

impl Default for PlatformLimits {
    fn default() -> Self {
        let Limits { in_flight_max, slow_ms, per_second_max, breaker, .. } = Limits::default();
        Self { in_flight_max, slow_ms, per_second_max, breaker }
    }
}

/// The platforms that are declared.
#[derive(Debug, Default)]
pub struct Platforms {
    declared: BTreeMap<String, Platform>,
    /// Not all of the file could be read: what seems not to be there may be.
    partial: bool,
}

#[derive(Debug)]
struct Platform {
    sources: Vec<String>,
    /// None: it has faults of its own.
    connection: Option<Connection>,
}

impl Platforms {
    /// Reads the file; without one there are no platforms.
    pub fn load(
        path: &Path,
        variables: &dyn Fn(&str) -> Option<String>,
        egress: &EgressConfig,
        faults: &mut Faults,
    ) -> Self {
        if !path.exists() {
            return Self::default();
        }
        match fault::read(path, faults) {
            Some(text) => Self::read(&text, variables, egress, faults),
            None => Self { partial: true, ..Self::default() },
        }
    }

    pub fn read(
        text: &Arc<SourceText>,
        variables: &dyn Fn(&str) -> Option<String>,
        egress: &EgressConfig,
        faults: &mut Faults,
    ) -> Self {
        let Some(mut read) = yaml::readable::<PlatformsFile>(text, faults) else {
            return Self { partial: true, ..Self::default() };
        };
        let (before, partial) = (faults.len(), !read.is_whole());
        let mut declared = BTreeMap::new();
        for (name, entry) in std::mem::take(&mut read.value.platforms) {
            let place = yaml::key(text, &name, &entry);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
                let hint = "lower-case letters, digits and `-`";
                faults.add(text, place, format!("`{name}` is not a platform's name"), hint);
            }
            let platform = Platform::compile(&name, entry.value, text, variables, egress, faults);
            declared.insert(name, platform);
        }
        read.forget_consequences(text, before, faults);
        Self { declared, partial }
    }

    /// The platform that a binding stands on. Whether there is none of that name, or one that does not list the source, is
    /// told alike: a department's binding finds out nothing of others' platforms.
    pub(super) fn of<'p>(
        &'p self,
        file: &SourceFile,
        text: &Arc<SourceText>,
        faults: &mut Faults,
    ) -> Option<&'p Connection> {
        let named = file.platform.as_ref()?;
        let source = &file.source.value;
        let own = |platform: &Platform| platform.sources.iter().any(|listed| listed == source);
        match self.declared.get(&named.value).filter(|platform| own(platform)) {
            Some(platform) => {
                check(file, platform.connection.as_ref(), text, faults);
                platform.connection.as_ref()
            }
            None if self.partial => None,
            None => {
                let known = self.declared.iter().filter(|(_, platform)| own(platform)).map(|(name, _)| name.as_str());
                let otherwise = "the operator declares it in config/platforms.yaml, and lists the source there";
                let hint = did_you_mean(&named.value, known, otherwise);
                let message = format!("there is no platform `{}` that lists the source `{source}`", named.value);
                faults.add(text, yaml::span(named), message, hint);
                None
            }
        }
    }
}

impl Platform {
    fn compile(
        name: &str,
        mut entry: PlatformEntry,
        text: &Arc<SourceText>,
        variables: &dyn Fn(&str) -> Option<String>,
        egress: &EgressConfig,
        faults: &mut Faults,
    ) -> Self {
        let sources = entry.sources.iter().map(|source| source.value.clone()).collect();
        let (before, at) = (faults.len(), yaml::span(&entry.base_url));
        let delegation = entry.sign.take_if(|sign| sign.value.scheme.value == Scheme::Delegation);
        if let Some(sign) = delegation {
            let message = "a platform does not sign in callers' names";
            let hint = "leave `sign` out here; each binding says which roles and claims it passes on";
            faults.add(text, yaml::span(&sign.value.scheme), message, hint);
        }
        let connections = Connection::of_platform(name, entry, text, variables, egress, faults);
        let mut connection = connections.into_iter().next().filter(|_| faults.len() == before);
        if connection.take_if(|of| of.mounted.iter().any(|(place, _)| *place == Where::BaseUrl)).is_some() {
            let hint = "use a variable: where a platform is decides where its secrets may go, and does not change while running";
            faults.add(text, at, "a platform's address does not stand in a file of secrets", hint);
        }
        Self { sources, connection }
    }
}

/// What a binding says itself though its platform says it.
fn check(file: &SourceFile, platform: Option<&Connection>, text: &Arc<SourceText>, faults: &mut Faults) {
    let at = file.platform.as_ref().map_or_else(Place::default, yaml::span);
    if matches!(file.protocol, Protocol::Sql | Protocol::Audit) {
        faults.add(text, at, "only sources that are asked over HTTP stand on a platform", "leave `platform` out");
    }
    let (own, default) = (&file.limits, Limits::default());
    let shared = [
        ("in_flight_max", own.in_flight_max != default.in_flight_max),
        ("slow_ms", own.slow_ms != default.slow_ms),
        ("per_second_max", own.per_second_max != default.per_second_max),
        ("breaker", own.breaker != default.breaker),
    ];
    for (name, written) in shared {
        if written {
            let hint = "take it out; it is set in config/platforms.yaml for all sources on the platform";
            faults.add(text, at, format!("limits.{name} is the platform's"), hint);
        }
    }
    let Some(platform) = platform else { return };
    if let Some(sign) = file.sign.as_ref().filter(|_| platform.sign.is_some()) {
        let hint = "take it out; the platform's calls are signed as config/platforms.yaml says";
        faults.add(text, yaml::span(&sign.value.scheme), "`sign` is the platform's", hint);
    }
    if file.tls.is_some() && platform.tls != TlsFiles::default() {
        faults.add(text, at, "`tls` is the platform's", "take it out; it is set in config/platforms.yaml");
    }
}

/// What a source stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The platform's name.
    pub name: Arc<str>,
    pub base_url: Secret,
    /// How the source's calls are signed is the platform's.
    pub signs: bool,
}

/// Gives a source's connection what its platform says; its address is at the platform's host already.
pub(super) fn put_on(platform: &Connection, connection: &mut Connection) {
    let Limits { in_flight_max, slow_ms, per_second_max, breaker, .. } = &platform.limits;
    connection.limits.slow_ms = *slow_ms;
    connection.limits.in_flight_max = *in_flight_max;
    connection.limits.per_second_max = *per_second_max;
    connection.limits.breaker = breaker.clone();
    let (signs, tls) = (platform.sign.is_some(), platform.tls != TlsFiles::default());
    if signs {
        connection.sign.clone_from(&platform.sign);
    }
    if tls {
        connection.tls = platform.tls.clone();
    }
    let of_its = |place: Where| match place {
        Where::Session => signs,
        Where::Ca | Where::Certificate | Where::Key => tls,
        Where::BaseUrl | Where::Standby(_) | Where::Header(_) | Where::Cipher(_) => false,
    };
    let its = platform.mounted.iter().filter(|(place, _)| of_its(*place)).cloned();
    connection.mounted = connection.mounted.iter().cloned().chain(its).collect();
    let name = Arc::clone(&platform.source);
    connection.platform = Some(Arc::new(Ground { name, base_url: platform.base_url.clone(), signs }));
}

/// Whether an address is at the platform's own host, where alone its secrets go; what stands for a variable may be.
pub(super) fn may_be_at(platform: &Secret, url: &str) -> bool {
    let unknown = |url: &str| Url::parse(url).is_ok_and(|url: Url| url.host_str().is_some_and(is_placeholder));
    is_at(platform, url) || unknown(platform.reveal()) || unknown(url)
}

/// As [`may_be_at`], once calls are made.
pub(super) fn is_at(platform: &Secret, url: &str) -> bool {
    let (Ok(own), Ok(url)) = (Url::parse(platform.reveal()), Url::parse(url)) else { return false };
    own.origin() == url.origin()
}
