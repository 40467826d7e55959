//! Whom the gateway connects to over HTTP: the hosts that its files declare, and nobody else.
//!
//! The only place where clients are made. Each client knows the hosts and ports it was made for; redirects are not
//! followed, proxies of the environment are not used, and a name that resolves to an address outside the operator's
//! bounds is as if it did not resolve. No other room sees which client library it is.

mod address;
mod answer;
mod resolve;
mod tls;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::Url;

use crate::model::binding::connection::TlsFiles;
use crate::model::config::egress::EgressConfig;
use address::Host;
pub use address::{Address, Unfit, request};
pub use answer::{Answer, Unread};
use resolve::Bounded;
pub use resolve::Unresolved;

const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that nothing is heard of is asked whether it is there: so often, this many times.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 3;
/// One over which something was sent that the other side does not acknowledge for so long is given up.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

type Inner = Pooled<HttpsConnector<HttpConnector<Bounded>>, Full<Bytes>>;

/// Connections of one TLS setting, with their pool. It asks nobody by itself: see [`Http::to`].
#[derive(Debug, Clone)]
pub struct Http {
    inner: Inner,
    rule: Arc<EgressConfig>,
}

impl Http {
    /// The error says what in the settings is of no use.
    pub fn new(tls: &TlsFiles, rule: &Arc<EgressConfig>) -> Result<Self, String> {
        let mut tcp = HttpConnector::new_with_resolver(Bounded(Arc::clone(rule)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        let inner = Pooled::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(HttpsConnector::from((tcp, tls::config(tls)?)));
        Ok(Self { inner, rule: Arc::clone(rule) })
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
        Ok(Client { inner: self.inner.clone(), hosts: hosts.into() })
    }
}

/// Sends requests to the hosts it was made for.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Inner,
    hosts: Arc<[Host]>,
}

impl Client {
    /// Sends a request as it is: see [`Address::headers`] and [`request`] for what each one tells of the gateway. The answer
    /// is there as soon as its head is; there is no deadline but the caller's.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, Unanswered> {
        if !self.hosts.iter().any(|host| host.is_of(request.uri())) {
            return Err(Unanswered::Undeclared);
        }
        let answered = self.inner.request(request.map(Full::new)).await;
        answered.map(Answer::new).map_err(|error| Unanswered::Failed(Box::new(error)))
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The URL's host was not declared; nothing was sent.
    Undeclared,
    /// Its text is for those who know the address: it may name the host.
    Failed(Box<hyper_util::client::legacy::Error>),
}

impl Unanswered {
    /// Whether what came is no answer of HTTP, or one whose headers do not end.
    pub fn is_not_http(&self) -> bool {
        let Self::Failed(error) = self else { return false };
        let mut source = error.source();
        while let Some(inner) = source {
            if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
                return true;
            }
            source = inner.source();
        }
        false
    }

    /// Whether no connection came about.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_connect())
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared => f.write_str("the address is of another host than was declared, and is not asked"),
            Self::Failed(error) => match told(error) {
                Some(why) => write!(f, "{why}"),
                None => write!(f, "{error}"),
            },
        }
    }
}

impl std::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Undeclared => None,
            Self::Failed(error) => Some(&**error),
        }
    }
}

/// The innermost reason: what wraps it says only in which step it came up.
fn told<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e (dyn std::error::Error + 'static)> {
    let mut reason = error.source()?;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    Some(reason)
}
