//! Client certificates: verified in the handshake, or forwarded by a proxy that ended it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::access::ClientCertificate;

/// Alternative names of one certificate that are looked at.
const NAMES_MAX: usize = 64;
/// Bytes of a forwarded certificate, as written in its header.
const FORWARDED_BYTES_MAX: usize = 16 << 10;

/// Why a certificate is of no use. The text names nothing of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    Unreadable,
    /// Not from the configured authorities, or not valid now.
    NotTrusted,
    Expired,
    /// A listed proxy sent the header twice.
    Twice,
}

impl std::fmt::Display for CertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the client certificate cannot be read",
            Self::NotTrusted => "the client certificate is not of an authority that is accepted here, or not valid now",
            Self::Expired => "the client certificate has expired; connect with a new one",
            Self::Twice => "the client certificate is forwarded twice; the proxy must set its header, not add to it",
        })
    }
}

impl std::error::Error for CertificateError {}

/// Verifies client certificates against the authorities of a PEM bundle. The error says what is wrong with the bundle.
pub fn client_verifier(authorities: &[u8], required: bool) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|error| format!("not a PEM certificate: {error}"))?;
        roots.add(certificate).map_err(|error| format!("not an authority's certificate: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| error.to_string())
}

/// What a certificate says, read from its DER. It is not verified here.
pub fn from_der(der: &[u8]) -> Result<ClientCertificate, CertificateError> {
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
    if !rest.is_empty() {
        return Err(CertificateError::Unreadable);
    }
    let alternative = parsed.subject_alternative_name().map_err(|_| CertificateError::Unreadable)?;
    let names = alternative.iter().flat_map(|found| &found.value.general_names);
    Ok(ClientCertificate {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names: names.filter_map(name).take(NAMES_MAX).collect(),
        thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(der)),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("dns:{name}")),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        GeneralName::URI(name) => Some(format!("uri:{name}")),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
            };
            address.map(|address| format!("ip:{address}"))
        }
        _ => None,
    }
}

/// Reads and verifies the certificates that a proxy forwards.
pub struct ForwardedCertificates {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ForwardedCertificates {
    /// `authorities`: a PEM bundle; certificates of intermediate authorities stand in it too, since proxies forward
    /// only the client's own.
    pub fn new(authorities: &[u8]) -> Result<Self, String> {
        client_verifier(authorities, true).map(|verifier| Self { verifier })
    }

    /// From the header's values: RFC 9440 (`:base64 of DER:`), or PEM in percent-encoding (as nginx and Envoy write
    /// it). An empty one is none. Only headers of a listed proxy may be given to this.
    pub fn read<'a>(
        &self,
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<ClientCertificate>, CertificateError> {
        let value = match (values.next(), values.next()) {
            (_, Some(_)) => return Err(CertificateError::Twice),
            (None, _) => return Ok(None),
            (Some(value), None) => value.trim_ascii(),
        };
        if value.is_empty() {
            return Ok(None);
        }
        let der = der(value).ok_or(CertificateError::Unreadable)?;
        let trusted = self.verifier.verify_client_cert(&CertificateDer::from(der.as_slice()), &[], UnixTime::now());
        trusted.map_err(|_| CertificateError::NotTrusted)?;
        from_der(&der).map(Some)
    }
}

fn der(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() > FORWARDED_BYTES_MAX {
        return None;
    }
    if let Some(inside) = value.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":")) {
        return STANDARD.decode(inside).ok();
    }
    let pem = unescaped(value)?;
    let mut found = CertificateDer::pem_slice_iter(&pem);
    match (found.next(), found.next()) {
        (Some(Ok(first)), None) => Some(first.to_vec()),
        _ => None,
    }
}

/// Percent-decoded; `+` stands for itself, as it is one of base64's characters.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(out)
}
