//! TLS towards those who are asked: whose certificates are good, and the gateway's own.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::model::binding::connection::TlsFiles;

/// Without authorities of its own, those of the system count. The error says which of the files is of no use.
pub(super) fn config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let failed = |error: rustls::Error| format!("the HTTP client cannot be made: {error}");
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let builder = match &files.ca {
        Some(ca) => builder.with_root_certificates(authorities(ca.reveal())?),
        None => {
            let of_the_system = Verifier::new(provider).map_err(failed)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(of_the_system))
        }
    };
    let mut config = match files.identity() {
        Some(identity) => {
            if files.keys() > 1 {
                return Err(
                    "tls.client_cert and tls.client_key hold several private keys; leave the certificate's".to_owned()
                );
            }
            let unfit = || "tls.client_cert and tls.client_key are not a PEM certificate and its key".to_owned();
            let pem = identity.reveal().as_bytes();
            let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| unfit())?;
            if chain.is_empty() {
                return Err(unfit());
            }
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| unfit())?;
            builder.with_client_auth_cert(chain, key).map_err(|_| unfit())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let unfit = || "tls.ca is not a PEM certificate".to_owned();
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store.add(certificate.map_err(|_| unfit())?).map_err(|_| unfit())?;
    }
    if store.is_empty() { Err(unfit()) } else { Ok(store) }
}
