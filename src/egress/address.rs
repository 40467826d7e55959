//! Addresses that the files declare, taken apart once; a call adds its path and query.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri, request};
use reqwest::Url;

use crate::base::percent::decoded;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("huxiang/", env!("CARGO_PKG_VERSION")));
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// As many headers as most calls have.
const HEADERS: usize = 12;

/// The text is no address that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is none that can be asked over HTTP")
    }
}

impl std::error::Error for Unfit {}

/// Scheme, name and port: a host declared with `https` is not asked in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub secure: bool,
    pub name: String,
    pub port: u16,
    /// As [`Address`] writes it, and so nearly every request: what is equal needs not be taken apart.
    authority: String,
}

impl Host {
    pub fn of(url: &Url) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let name = url.host_str()?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        };
        Some(Self { secure, name, port: url.port_or_known_default()?, authority })
    }

    /// Its address, without a path.
    pub fn origin(&self) -> Option<Uri> {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = format!("{}:{}", self.name, self.port);
        Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
    }

    pub fn is_of(&self, uri: &Uri) -> bool {
        let scheme = if self.secure { &Scheme::HTTPS } else { &Scheme::HTTP };
        let usual = if self.secure { 443 } else { 80 };
        if uri.scheme() != Some(scheme) {
            return false;
        }
        uri.authority().is_some_and(|authority| authority.as_str() == self.authority)
            || (uri.port_u16().unwrap_or(usual) == self.port
                && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.name)))
    }
}

/// A declared URL. What stands before its host (`user:password@`) is kept apart: it goes out as a header.
#[derive(Debug, Clone)]
pub struct Address {
    scheme: Scheme,
    authority: Authority,
    path: Box<str>,
    /// With its `?`, where there is one.
    query: Box<str>,
    headers: HeaderMap,
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, Unfit> {
        Self::of(&Url::parse(url).map_err(|_| Unfit)?)
    }

    fn of(url: &Url) -> Result<Self, Unfit> {
        let host = Host::of(url).ok_or(Unfit)?;
        let authority = host.authority;
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| Unfit)?);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT_ENCODING, GZIP);
        if !url.username().is_empty() || url.password().is_some() {
            headers.insert(AUTHORIZATION, basic(url).ok_or(Unfit)?);
        }
        Ok(Self {
            scheme: if host.secure { Scheme::HTTPS } else { Scheme::HTTP },
            authority: Authority::try_from(authority).map_err(|_| Unfit)?,
            path: url.path().into(),
            query: url.query().map(|query| format!("?{query}")).unwrap_or_default().into(),
            headers,
        })
    }

    /// What every request there begins with.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What the path of a call begins with: the declared one, without a `/` at its end.
    pub fn path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// The URL itself.
    pub fn whole(&self) -> Result<Uri, Unfit> {
        self.with_query(&self.query)
    }

    /// The URL with another query, `?` and all, or none.
    pub fn with_query(&self, query: &str) -> Result<Uri, Unfit> {
        self.at(format!("{}{query}", self.path))
    }

    /// Another place of the same host, by its path and query. What cannot stand in an address as it is, is encoded as
    /// browsers do; no path leads out of the host.
    pub fn at(&self, mut target: String) -> Result<Uri, Unfit> {
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        let target = if is_plain(&target) { target } else { written(&target)? };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| Unfit)?);
        Uri::from_parts(parts).map_err(|_| Unfit)
    }
}

/// A request to a whole URL, with what every request tells of the gateway.
pub fn request(method: Method, url: &Url) -> Result<request::Builder, Unfit> {
    let address = Address::of(url)?;
    let mut builder = http::Request::builder().method(method).uri(address.whole()?);
    if let Some(headers) = builder.headers_mut() {
        *headers = address.headers;
    }
    Ok(builder)
}

/// Whether parsing it as a URL's path and query would change nothing.
fn is_plain(target: &str) -> bool {
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'%' | b'?' | b'&' | b'=')
            || matches!(byte, b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b':' | b'@')
    };
    target.as_bytes().iter().all(plain)
        && !target.contains("/.")
        && !(target.contains('%') && target.to_ascii_lowercase().contains("/%2e"))
}

fn written(target: &str) -> Result<String, Unfit> {
    let url = Url::parse(&format!("http://x{target}")).map_err(|_| Unfit)?;
    Ok(match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

/// RFC 7617, of what stands before the host.
fn basic(url: &Url) -> Option<HeaderValue> {
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(base: &str, path: &str) -> String {
        let address = Address::parse(base).expect("an address");
        address.at(format!("{}{path}", address.path())).expect("a path").to_string()
    }

    #[test]
    fn a_call_goes_to_the_declared_path_and_what_stands_below_it() {
        for (base, path, whole) in [
            ("http://a.example", "/v1/x?id=1", "http://a.example/v1/x?id=1"),
            ("http://a.example/", "", "http://a.example/"),
            ("http://a.example", "?id=1", "http://a.example/?id=1"),
            ("HTTP://A.example:80/gate/", "/x", "http://a.example/gate/x"),
            ("https://[::1]:8443/gate", "?id=%E6%88%B7", "https://[::1]:8443/gate?id=%E6%88%B7"),
            ("http://a.example/gate", "/户/a b", "http://a.example/gate/%E6%88%B7/a%20b"),
            ("http://a.example/gate", "/../x/./y", "http://a.example/x/y"),
            ("http://a.example/gate", "/%2E%2e/x", "http://a.example/x"),
            ("http://a.example", "//b.example/x", "http://a.example//b.example/x"),
            ("http://a.example", "/x#part", "http://a.example/x"),
        ] {
            assert_eq!(below(base, path), whole, "{base} {path}");
            let joined = Url::parse(&format!("{}{path}", base.trim_end_matches('/'))).expect("a URL");
            assert_eq!(joined.as_str().split('#').next(), Some(whole), "as a URL is read");
        }
    }

    #[test]
    fn a_user_before_the_host_goes_out_as_a_header_and_nowhere_else() {
        let address = Address::parse("https://gate%40way:p%3A%C3%A9@a.example/x").expect("an address");
        assert_eq!(address.whole().expect("a path").to_string(), "https://a.example/x");
        assert_eq!(address.headers()[AUTHORIZATION], format!("Basic {}", STANDARD.encode("gate@way:p:é")));
        assert_eq!(address.headers()[HOST], "a.example");
        assert!(!format!("{address:?}").contains("Basic"));
    }

    #[test]
    fn a_host_is_its_scheme_name_and_port() {
        let host = Host::of(&Url::parse("https://a.example/x").expect("a URL")).expect("a host");
        let is = |uri: &str| host.is_of(&uri.parse().expect("a URI"));
        assert!(is("https://a.example/y") && is("https://a.example:443/") && is("https://A.example:443/"));
        assert!(!is("http://a.example/x") && !is("https://a.example:444/") && !is("https://b.example/") && !is("/x"));
    }
}
