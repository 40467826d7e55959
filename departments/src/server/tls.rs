//! Certificates for the departments that want one: made anew at every start, gone with the process.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

/// All in PEM.
pub(super) struct Certificates {
    pub(super) ca: String,
    pub(super) client_cert: String,
    pub(super) client_key: String,
    pub(super) acceptor: TlsAcceptor,
}

pub(super) fn make(bind: IpAddr) -> io::Result<Certificates> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Demo departments");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let (server_cert, server_key) = leaf(&issuer, "Demo department", Some(bind))?;
    let (client_cert, client_key) = leaf(&issuer, "Demo gateway", None)?;
    let ca = issuer.pem();
    let acceptor = acceptor(&ca, &server_cert, &server_key)?;
    Ok(Certificates { ca, client_cert, client_key, acceptor })
}

fn leaf(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, address: Option<IpAddr>) -> io::Result<(String, String)> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.extend(address.map(SanType::IpAddress));
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, issuer).map_err(io::Error::other)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn acceptor(ca: &str, certificate: &str, key: &str) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(io::Error::other)?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(io::Error::other)?],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?,
        )
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
