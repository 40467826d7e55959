//! Whom the gateway connects to over HTTP: the hosts that its files declare, and nobody else.
//!
//! The only place where clients are made. Each client knows the hosts and ports it was made for; redirects are not
//! followed, proxies of the environment are not used, and a name that resolves to an address outside the operator's
//! bounds is as if it did not resolve.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{RequestBuilder, Url};

use crate::model::binding::connection::TlsFiles;
use crate::model::config::egress::{EgressConfig, Refused};

const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of one TLS setting, with their pool. It asks nobody by itself: see [`Http::to`].
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    rule: Arc<EgressConfig>,
}

impl Http {
    /// The error says what in the settings is of no use.
    pub fn new(tls: &TlsFiles, rule: &Arc<EgressConfig>) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .gzip(true)
            .dns_resolver(Bounded(Arc::clone(rule)))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .user_agent(concat!("huxiang/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &tls.ca {
            let authorities = reqwest::Certificate::from_pem_bundle(ca.reveal().as_bytes())
                .map_err(|_| "tls.ca is not a PEM certificate".to_owned())?;
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(identity) = tls.identity() {
            let identity = reqwest::Identity::from_pem(identity.reveal().as_bytes())
                .map_err(|_| "tls.client_cert and tls.client_key are not a PEM certificate and its key".to_owned())?;
            builder = builder.identity(identity);
        }
        let client = builder.build();
        let client = client.map_err(|error| format!("the HTTP client cannot be made: {}", error.without_url()))?;
        Ok(Self { client, rule: Arc::clone(rule) })
    }

    /// A client for the hosts of these declared URLs alone. The error names none of them: URLs may hold secrets.
    pub fn to<'a>(&self, urls: impl IntoIterator<Item = &'a str>) -> Result<Client, String> {
        let mut hosts = Vec::new();
        for url in urls {
            let url = Url::parse(url).map_err(|_| "a declared address is not a URL".to_owned())?;
            let host = Host::of(&url).ok_or_else(|| "a declared address is not one of HTTP".to_owned())?;
            self.rule.check(&host.name, host.port).map_err(|refused| refused.to_string())?;
            hosts.push(host);
        }
        Ok(Client { client: self.client.clone(), hosts: hosts.into() })
    }
}

/// Sends requests to the hosts it was made for.
#[derive(Debug, Clone)]
pub struct Client {
    client: reqwest::Client,
    hosts: Arc<[Host]>,
}

/// The URL's host was not declared; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undeclared;

impl std::fmt::Display for Undeclared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the address is of another host than was declared, and is not asked")
    }
}

impl std::error::Error for Undeclared {}

impl Client {
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Undeclared> {
        let host = Host::of(&url).ok_or(Undeclared)?;
        if self.hosts.contains(&host) { Ok(self.client.request(method, url)) } else { Err(Undeclared) }
    }
}

/// Scheme, name and port: a host declared with `https` is not asked in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    secure: bool,
    name: String,
    port: u16,
}

impl Host {
    fn of(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { secure, name: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }
}

/// Why a name led to no address.
#[derive(Debug)]
pub struct Unresolved(pub String);

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unresolved {}

/// Resolves as the system does, and leaves out the addresses that may not be connected to.
struct Bounded(Arc<EgressConfig>);

impl Resolve for Bounded {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|_| Unresolved("its host name is not known here".to_owned()))?;
            let permitted: Vec<_> = found.filter(|at| rule.permits(at.ip())).collect();
            if permitted.is_empty() {
                return Err(Unresolved(Refused::Address.to_string()).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
