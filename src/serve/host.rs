//! The name that a request asks for: one that leads here by right, or it is refused with 421.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::ServeError;
use super::door::{Refusal, bad};
use crate::base::code::ErrorCode;
use crate::identify::certificate_from_der;
use crate::model::config::GatewayConfig;
use crate::model::config::hosts::Hosts;

/// Whether the process lives, and is ready, is for balancers and supervisors, by whatever name; it tells nothing else.
const EXEMPT: [&str; 2] = ["/health/live", "/health/ready"];

/// The names that are listed, and those of the listener's own certificate.
pub fn names(config: &GatewayConfig) -> Result<Hosts, ServeError> {
    let Some(tls) = &config.tls else { return Ok(config.hosts.clone()) };
    let fault = |error: String| ServeError(format!("tls.cert: {error}"));
    let pem = tls.cert.read().map_err(|error| fault(error.to_string()))?;
    let own = CertificateDer::pem_slice_iter(&pem).next().and_then(Result::ok);
    // One that cannot be read is told by the listener, if at all.
    let shown = own.and_then(|der| certificate_from_der(&der).ok());
    let names = shown.into_iter().flat_map(|shown| shown.names);
    Ok(config.hosts.clone().with_names(names.filter_map(|name| name.strip_prefix("dns:").map(str::to_owned))))
}

/// Every name that a request carries must be one: `Host`, and what stands in the request line (`:authority` in HTTP/2).
/// One without any is no page's: browsers always say it.
pub fn check(request: &Request, hosts: &Hosts) -> Result<(), Refusal> {
    if EXEMPT.contains(&request.uri().path()) {
        return Ok(());
    }
    let mut sent = request.headers().get_all(header::HOST).iter();
    let (host, second) = (sent.next(), sent.next());
    if second.is_some() {
        return Err(bad("the request has two Host headers; send one"));
    }
    let written = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let is_known = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| hosts.holds(name.trim()));
    if host.map(HeaderValue::as_bytes).into_iter().chain(written).all(is_known) {
        return Ok(());
    }
    let message =
        "this gateway does not answer to the name that the request is for; the operator can list it under `hosts`";
    Err(Refusal::with_code(StatusCode::MISDIRECTED_REQUEST, ErrorCode::BadRequest, message))
}
