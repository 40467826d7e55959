//! Mutual TLS: the client's certificate is shown, and only the binding's authority is trusted.

use std::sync::Arc;

use huxiang::base::code::ErrorCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::mounted::{A_LOOK, Mounted};
use crate::support::{Asked, compile_with, record};

struct Certificates {
    ca: String,
    /// Certificate and key.
    server: (String, String),
    client: (String, String),
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    Certificates { server: leaf(), client: leaf(), ca: issuer.pem() }
}

async fn serve(certificates: &Certificates) -> String {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der(&certificates.ca)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![der(&certificates.server.0)],
            PrivateKeyDer::from_pem_slice(certificates.server.1.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}").await;
            });
        }
    });
    format!("https://localhost:{port}")
}

fn asked(url: &str, tls: &str, certificates: &Certificates) -> Asked {
    let yaml = format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{tls}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {{get: /a}}\n"
    );
    let variable = |name: &str| {
        Some(match name {
            "URL" => url.to_owned(),
            "CA" => certificates.ca.clone(),
            "CERT" => certificates.client.0.clone(),
            "KEY" => certificates.client.1.clone(),
            _ => return None,
        })
    };
    compile_with(&yaml, &variable).unwrap_or_else(|faults| panic!("{faults}"))
}

#[tokio::test]
async fn only_with_its_certificate_and_authority_is_the_source_reached() {
    let certificates = certificates();
    let url = serve(&certificates).await;
    let both = "tls: {ca: \"${CA}\", client_cert: \"${CERT}\", client_key: \"${KEY}\"}";
    assert_eq!(asked(&url, both, &certificates).one("k", &[]).await.unwrap(), [record(0, r#"{"a":1}"#)]);
    for tls in ["tls: {ca: \"${CA}\"}", "tls: {client_cert: \"${CERT}\", client_key: \"${KEY}\"}", ""] {
        let error = asked(&url, tls, &certificates).one("k", &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceUnreachable, "{tls}");
    }
}

#[tokio::test]
async fn certificates_and_keys_in_files_are_used_as_soon_as_they_are_replaced() {
    let (good, other) = (certificates(), certificates());
    let url = serve(&good).await;
    let mounted = Mounted::new("tls");
    mounted.put("ca.pem", &good.ca);
    mounted.put("tls.crt", &other.client.0);
    mounted.put("tls.key", &other.client.1);
    let tls = "tls: {ca: \"${file:ca.pem}\", client_cert: \"${file:tls.crt}\", client_key: \"${file:tls.key}\"}";
    let asked = mounted.compile(tls, &url).unwrap();
    let code = async || asked.one("k", &[]).await.map_err(|error| error.code);
    assert_eq!(code().await, Err(ErrorCode::SourceUnreachable), "the server does not know who signed it");
    mounted.put("tls.crt", &good.client.0);
    mounted.put("tls.key", &good.client.1);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(code().await, Ok(vec![record(0, r#"{"a":1}"#)]));
    // A certificate whose key is not there yet: the last pair counts for a moment, and no longer.
    mounted.put("tls.crt", &other.client.0);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(code().await, Ok(vec![record(0, r#"{"a":1}"#)]));
    tokio::time::sleep(2 * A_LOOK).await;
    assert_eq!(code().await, Err(ErrorCode::Internal));
    mounted.put("tls.crt", &good.client.0);
    mounted.put("ca.pem", &other.ca);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(code().await, Err(ErrorCode::SourceUnreachable), "the authority is another one");
}

/// In the operator's words, and without what the other end said.
#[tokio::test]
async fn why_a_source_is_not_reached_is_told() {
    let certificates = certificates();
    let url = serve(&certificates).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = plain.accept().await {
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
            });
        }
    });
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let told = [
        (url.clone(), "", "an authority that is not known signed it; name that authority in `tls.ca`"),
        (url.clone(), "tls: {ca: \"${CA}\"}", "perhaps it asks for a client certificate (`tls`)"),
        (format!("https://localhost:{plain_port}"), "", "it does not speak TLS at that port: is it `http://`?"),
        (format!("http://localhost:{free}"), "", "nothing listens at its address and port"),
        ("http://nowhere.invalid".to_owned(), "", "its host name is not known here"),
    ];
    for (url, tls, why) in told {
        let error = asked(&url, tls, &certificates).one("k", &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceUnreachable, "{url} {tls}");
        assert!(error.detail.starts_with("the source cannot be reached: "), "{url} {tls}: {}", error.detail);
        assert!(error.detail.ends_with(why), "{url} {tls}: {}", error.detail);
    }
}

/// What a command at the command line says of a gateway that it does not reach.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_gateway_is_not_reached_is_told_with_the_way_out() {
    let certificates = certificates();
    let tls = serve(&certificates).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let missing = axum::Router::new().fallback(async || axum::http::StatusCode::NOT_FOUND);
    tokio::spawn(async move { axum::serve(plain, missing).await });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = "say where it is: --gateway URL, or HUXIANG_GATEWAY";
    let cases = [
        (
            format!("http://localhost:{free}"),
            "nothing listens at its address and port",
            "start it (`huxiang serve`), or say",
        ),
        ("http://no-such-host.invalid".to_owned(), "its host name is not known here", place),
        (tls.clone(), "an authority that is not known signed it; name that authority in --ca FILE", "--ca FILE names"),
        (tls.replace("https", "http"), "does not speak HTTP there: is it `https://`?", place),
        (format!("https://localhost:{port}"), "it does not speak TLS at that port: is it `http://`?", place),
        (
            format!("http://localhost:{port}"),
            "(HTTP status 404) is no admin API",
            "without `admin` in its config/gateway.yaml",
        ),
    ];
    for (url, why, hint) in cases {
        let asked = url.clone();
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
                .args(["source", "status", "--gateway", &asked])
                .env("HUXIANG_TOKEN", "a-token")
                .output()
                .unwrap()
        });
        let output = output.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&url) && said.contains(why) && said.contains(hint), "{url}: {said}");
        assert!(!said.contains("a-token"), "{said}");
    }
}
