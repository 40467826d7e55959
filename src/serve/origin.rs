//! Requests that a browser makes for another site's page: refused, but for the sites that `cors.origins` lists.
//!
//! Two things tell them: `Sec-Fetch-Site`, which pages cannot write, and `Origin`. A request with neither is no page's, or
//! one that has to carry what pages can send only after a preflight (see `check_headers`).

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::identify::Declared;
use crate::model::config::cors::Cors;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Beside what requests declare: what a page of another site may send and read.
const HEADERS: [&str; 4] = ["authorization", "content-type", "x-requested-with", "traceparent"];
const EXPOSED: &str = "x-request-id, retry-after";
/// What an answer depends on.
const VARY: &str = "origin, access-control-request-method, access-control-request-headers";

/// Whose page asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// This gateway's own, or no page at all.
    Own,
    /// One that is listed: the origin, as it was sent.
    Listed(HeaderValue),
    /// Any other.
    Foreign,
}

/// Reads it off a request's headers. Where a browser says that it is the same site, a proxy between may have changed
/// `Host`; where it says nothing, `Origin` must be where the request went.
pub fn site(parts: &Parts, cors: &Cors, is_tls: bool) -> Site {
    let headers = &parts.headers;
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (origin, second) = (origins.next(), origins.next());
    if second.is_some() {
        return Site::Foreign;
    }
    if let Some(origin) = origin
        && cors.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    {
        return Site::Listed(origin.clone());
    }
    let own = match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"same-origin") => true,
        // Typed into the address bar, or a bookmark: there is no page, so there is no origin.
        Some(b"none") => origin.is_none(),
        Some(_) => false,
        None => origin.is_none_or(|origin| is_here(origin, parts, is_tls)),
    };
    if own { Site::Own } else { Site::Foreign }
}

fn is_here(origin: &HeaderValue, parts: &Parts, is_tls: bool) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else { return false };
    // Behind a front that ends TLS, pages are of https and the listener is not.
    (scheme == "https" || !is_tls) && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

/// Whether it is the question that a browser asks before the request itself.
pub fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to it, for a listed site. What is not in it, the browser does not send.
pub fn preflight(cors: &Cors, methods: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    let allowed: Vec<&str> = HEADERS.into_iter().chain(Declared::HEADERS).collect();
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age_s.into());
    response
}

/// Lets a listed site's page read the answer, whatever it is.
pub fn mark(headers: &mut HeaderMap, site: &Site, cors: &Cors) {
    if cors.origins.is_empty() {
        return;
    }
    headers.insert(header::VARY, HeaderValue::from_static(VARY));
    let Site::Listed(origin) = site else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if cors.credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
