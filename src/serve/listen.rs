//! The listener: connection cap, TLS, timeouts against slow clients, graceful stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::addresses::Addresses;
use super::framing::Framing;
use super::socket::Takeover;
use super::stream::Stopping;
use super::write_limit::WriteLimit;
use super::{Peer, ServeError};
use crate::identify::{CertificateError, certificate_from_der, client_verifier};
use crate::model::access::ClientCertificate;
use crate::model::config::{ClientCertificates, GatewayConfig, HEAD_BYTES_MIN, Limits, TlsConfig};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that are taken after a stop, at most: the system keeps as many for a listener (as tokio opens one). Whoever comes
/// faster than they are taken does not hold up the stop.
const LAST_MAX: usize = 1024;
/// After `accept` fails (no file descriptors left), before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TLS 1.2 and 1.3 with HTTP/1.1 (ALPN), from PEM. The error names the file.
pub fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let fault = |what: &str, error: String| ServeError(format!("tls.{what}: {error}"));
    let cert = config.cert.read().map_err(|e| fault("cert", e.to_string()))?;
    let key = config.key.read().map_err(|e| fault("key", e.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
        .collect::<Result<_, _>>()
        .map_err(|e| fault("cert", format!("not a PEM certificate: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| fault("key", format!("not a PEM private key: {e}")))?;
    let clients = match &config.client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(ca) => {
            let ca = ca.read().map_err(|e| fault("client_ca", e.to_string()))?;
            let required = config.client_certificates == ClientCertificates::Required;
            client_verifier(&ca, required).map_err(|e| fault("client_ca", e))?
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fault("cert", e.to_string()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|e| fault("cert", format!("certificate and key do not go together: {e}")))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Serves until `stop` ends; then takes no more connections than have come by then and than there is room for, lets the requests
/// under way end within `limits.shutdown_ms` of the stop, and cuts what is left.
pub async fn run(
    listener: TcpListener,
    app: Router,
    tls: Option<TlsAcceptor>,
    config: &GatewayConfig,
    stop: impl Future<Output = ()>,
) {
    let limits = &config.limits;
    let slots = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
    let (stopping, stopped) = watch::channel(false);
    let mut taking = Taking {
        app,
        tls,
        config,
        addresses: Addresses::new(limits.connections_per_address_max),
        bounds: Bounds::of(limits),
        stopped,
        connections: JoinSet::new(),
    };
    tokio::pin!(stop);
    loop {
        let accepted = async {
            // Above the cap nothing is accepted: further clients wait in the kernel's queue.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
            Some(_) = taking.connections.join_next() => continue,
        };
        let (Ok(slot), Ok((stream, peer))) =
            (slot, accepted.inspect_err(|error| tracing::warn!(%error, "a connection could not be accepted")))
        else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        taking.take(slot, stream, peer);
    }
    // What the system took for us before the stop may hold requests already: closing the listener would reset it.
    let end = Instant::now() + Duration::from_millis(limits.shutdown_ms);
    for _ in 0..LAST_MAX {
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { break };
        let Some(Ok((stream, peer))) = come(listener.accept()).await.filter(|_| Instant::now() < end) else { break };
        taking.take(slot, stream, peer);
    }
    drop(listener);
    let _ = stopping.send(true);
    let mut connections = taking.connections;
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout_at(end, all).await.is_err() {
        tracing::warn!("requests were still under way at the end of shutdown_ms and are cut");
        connections.shutdown().await;
    }
}

/// What is there by now, the runtime having had its turn.
async fn come<T>(coming: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        come = coming => Some(come),
        () = looked() => None,
    }
}

/// Ends when others have had a turn. As a rule the runtime has looked at what came over the network by then (whoever yields goes on
/// after that); it promises no more than the turn. What it has not seen is closed unread, and was not begun.
async fn looked() {
    tokio::task::yield_now().await;
}

/// Takes connections.
struct Taking<'c> {
    app: Router,
    tls: Option<TlsAcceptor>,
    config: &'c GatewayConfig,
    addresses: Addresses,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
    connections: JoinSet<()>,
}

impl Taking<'_> {
    fn take(&mut self, slot: OwnedSemaphorePermit, stream: TcpStream, peer: SocketAddr) {
        // Behind a listed proxy stand many; it is for the proxy to bound each.
        let is_proxy = self.config.networks.is_proxy(peer.ip());
        let place = if is_proxy { Some(None) } else { self.addresses.enter(peer.ip()).map(Some) };
        let Some(place) = place else {
            tracing::debug!(address = %peer.ip(), "the address has as many connections as it may: one more was closed");
            return;
        };
        let (app, tls, bounds, stopped) = (self.app.clone(), self.tls.clone(), self.bounds, self.stopped.clone());
        self.connections.spawn(async move {
            let _slot = (slot, place);
            connection(stream, peer, app, tls, bounds, stopped).await;
        });
    }
}

/// What one connection may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    io_timeout: Duration,
    headers_max: usize,
    head_bytes_max: usize,
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        Self {
            io_timeout: Duration::from_millis(limits.read_timeout_ms),
            headers_max: limits.headers_max,
            head_bytes_max: limits.head_bytes_max.max(HEAD_BYTES_MIN),
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => http(stream, Peer::new(peer.ip(), None), app, bounds, stopped).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => match certificate(&stream) {
                Ok(certificate) => http(stream, Peer::new(peer.ip(), certificate), app, bounds, stopped).await,
                Err(error) => tracing::warn!(%error, "a connection was closed"),
            },
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

/// The client's certificate, which the handshake has verified.
fn certificate(stream: &TlsStream<TcpStream>) -> Result<Option<ClientCertificate>, CertificateError> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(<[_]>::first).map(|der| certificate_from_der(der)).transpose()
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    app: Router,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
) {
    let inner = TowerToHyperService::new(app);
    let stopping = Stopping(stopped.clone());
    let (stream, cut) = WriteLimit::new(stream, bounds.io_timeout);
    let (stream, doubtful) = Framing::new(stream);
    let takeover = Takeover::default();
    let of_requests = takeover.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(doubtful.clone());
        request.extensions_mut().insert(cut.clone());
        request.extensions_mut().insert(stopping.clone());
        request.extensions_mut().insert(of_requests.clone());
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.io_timeout)
        .max_headers(bounds.headers_max)
        .max_buf_size(bounds.head_bytes_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let stop = async {
        drop(stopped.wait_for(|stopped| *stopped).await);
        looked().await;
    };
    let result = tokio::select! {
        // First: a request that has come is begun before the connection is told to end, which closes it where it is idle.
        biased;
        result = &mut connection => result,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match result {
        // A socket goes on here, so that its connection's place is held and a stop waits for it.
        Ok(()) => takeover.go_on().await,
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Ends at SIGTERM or SIGINT (elsewhere than on Unix: Ctrl-C).
pub async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => drop(terminate.recv().await),
                Err(_) => std::future::pending::<()>().await,
            }
        };
        tokio::select! { () = interrupt => {}, () = terminate => {} }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
