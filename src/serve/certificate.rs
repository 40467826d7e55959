//! Which client certificate a request counts with.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};

use super::door::Refusal;
use super::{App, Peer, ServeError};
use crate::base::code::ErrorCode;
use crate::identify::{CertificateError, ClientCertificate, ForwardedCertificates};
use crate::model::config::ForwardedCertificate;

pub fn forwarded(config: &ForwardedCertificate) -> Result<(HeaderName, ForwardedCertificates), ServeError> {
    let fault = |error: String| ServeError(format!("forwarded_certificate.ca: {error}"));
    let ca = config.ca.read().map_err(|error| fault(error.to_string()))?;
    Ok((config.header.clone(), ForwardedCertificates::new(&ca).map_err(fault)?))
}

/// Takes away what a browser showed by itself. With an upgrade it shows a certificate to every site's page, with other requests only
/// where `cors.credentials` lets it. Refused where nobody may ask without one: the page's other requests are not even taken.
pub(super) fn forget<G>(app: &App<G>, parts: &mut Parts) -> Result<(), Refusal> {
    if app.needs_certificate {
        let message = "pages of other sites ask without a client certificate, and here nobody may; the operator can set \
                       `cors.credentials`";
        return Err(Refusal::with_code(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message));
    }
    if let Some(peer) = parts.extensions.get_mut::<Peer>() {
        peer.certificate = None;
    }
    if let Some((header, _)) = &app.forwarded {
        parts.headers.remove(header);
    }
    Ok(())
}

/// The caller's certificate: the connection's own where the caller is at its other end, and the forwarded one where a
/// listed proxy is. From anybody else the header is not looked at; a proxy's own certificate is never its clients'.
pub fn of_caller<G>(
    app: &App<G>,
    parts: &Parts,
    caller: IpAddr,
) -> Result<Option<Arc<ClientCertificate>>, CertificateError> {
    let Some(peer) = parts.extensions.get::<Peer>() else { return Ok(None) };
    let mut shown = None;
    if let Some((header, reader)) = app.forwarded.as_ref().filter(|_| app.networks.is_proxy(peer.address)) {
        shown = reader.read(parts.headers.get_all(header).iter().map(HeaderValue::as_bytes))?.map(Arc::new);
    }
    if shown.is_none() && caller == peer.address {
        shown.clone_from(&peer.certificate);
    }
    // A connection may outlive its certificate.
    match shown {
        Some(shown) if shown.is_over() => Err(CertificateError::Expired),
        shown => Ok(shown),
    }
}
