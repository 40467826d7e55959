//! Whom the gateway connects to over HTTP: the hosts that its files declare, and nobody else.
//!
//! The only place where clients are made. Each client knows the hosts and ports it was made for; redirects are not
//! followed, proxies of the environment are not used, and a name that resolves to an address outside the operator's
//! bounds is as if it did not resolve. No other room sees which client library it is.

mod address;
mod answer;
mod pool;
mod resolve;
mod tls;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Url;

use crate::model::binding::connection::TlsFiles;
use crate::model::config::egress::EgressConfig;
use address::Host;
pub use address::{Address, Unfit, request};
pub use answer::{Answer, Unread};
use pool::{Connecting, Pool};
use resolve::Bounded;
pub use resolve::Unresolved;

/// A connection that nobody has used for so long is not used again.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// One that nothing is heard of is asked whether it is there: so often, this many times.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 3;
/// One over which something was sent that the other side does not acknowledge for so long is given up.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// Connections of one TLS setting, in a pool for each host. It asks nobody by itself: see [`Http::to`].
#[derive(Debug, Clone)]
pub struct Http {
    connecting: Connecting,
    /// Of the hosts that a client has.
    pools: Arc<Mutex<HashMap<Host, Weak<Pool>>>>,
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
        let connecting = HttpsConnector::from((tcp, tls::config(tls)?));
        Ok(Self { connecting, pools: Arc::default(), rule: Arc::clone(rule) })
    }

    /// A client for the hosts of these declared URLs alone. The error names none of them: URLs may hold secrets.
    pub fn to<'a>(&self, urls: impl IntoIterator<Item = &'a str>) -> Result<Client, String> {
        let mut hosts = Vec::new();
        for url in urls {
            let url = Url::parse(url).map_err(|_| "a declared address is not a URL".to_owned())?;
            let host = Host::of(&url).ok_or_else(|| "a declared address is not one of HTTP".to_owned())?;
            self.rule.check(&host.name, host.port).map_err(|refused| refused.to_string())?;
            let pool = self.pool(&host).ok_or_else(|| "a declared address is not one of HTTP".to_owned())?;
            hosts.push((host, pool));
        }
        Ok(Client { hosts: hosts.into() })
    }

    fn pool(&self, host: &Host) -> Option<Arc<Pool>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(host).and_then(Weak::upgrade) {
            return Some(pool);
        }
        let pool = Arc::new(Pool::new(host.origin()?, self.connecting.clone(), IDLE_MAX));
        pools.retain(|_, known| known.strong_count() > 0);
        pools.insert(host.clone(), Arc::downgrade(&pool));
        Some(pool)
    }
}

/// Sends requests to the hosts it was made for.
#[derive(Debug, Clone)]
pub struct Client {
    hosts: Arc<[(Host, Arc<Pool>)]>,
}

impl Client {
    /// Sends a request as it is: see [`Address::headers`] and [`request`] for what each one tells of the gateway. The answer
    /// is there as soon as its head is; there is no deadline but the caller's.
    // What is waited in holds no request: calls under way are many, and each holds one of these.
    pub fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Answer, Unanswered>> + Send + use<> {
        let declared = self.hosts.iter().find(|(host, _)| host.is_of(request.uri()));
        let sent = declared.map(|(_, pool)| {
            let mut request = request.map(Full::new);
            // RFC 9112, 3.2.1: the host stands in its header alone.
            let target = request.uri().path_and_query().cloned();
            *request.uri_mut() = target.map_or_else(Uri::default, Uri::from);
            pool.send(request)
        });
        async move {
            let (response, lent) = sent.ok_or(Unanswered::Undeclared)?.await?;
            Ok(Answer::new(response, lent))
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The URL's host was not declared; nothing was sent.
    Undeclared,
    /// No connection came about. The text is for those who know the address: it may name the host.
    Unconnected(Box<dyn Error + Send + Sync>),
    /// The connection ended before the answer's head did, or what came is none.
    Failed(Box<hyper::Error>),
}

impl Unanswered {
    /// Whether what came is no answer of HTTP, or one whose headers do not end.
    pub fn is_not_http(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_parse())
    }

    /// Whether no connection came about.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Unconnected(_))
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            None => f.write_str("the address is of another host than was declared, and is not asked"),
            Some(error) => write!(f, "{}", told(error)),
        }
    }
}

impl Error for Unanswered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Undeclared => None,
            Self::Unconnected(error) => Some(&**error),
            Self::Failed(error) => Some(&**error),
        }
    }
}

/// The innermost reason: what wraps it says only in which step it came up.
fn told<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut reason = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason
}
