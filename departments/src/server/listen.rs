//! A listener that can be stopped (connections are refused, open ones cut) and taken up again on its port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(super) struct Listening {
    pub(super) address: SocketAddr,
    up: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    down: watch::Receiver<bool>,
}

impl Listening {
    /// Waits until the listener is really gone (or there again).
    pub(super) fn set(&self, up: bool) {
        self.up.send_replace(up);
        // The task follows on its own threads; callers are tests that go on at once, so see it through.
        for _ in 0..2_000 {
            if *self.down.borrow() != up {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn listen(address: SocketAddr, router: Router, tls: Option<TlsAcceptor>) -> io::Result<Listening> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (up, ups) = watch::channel(true);
    let (downs, down) = watch::channel(false);
    let task = tokio::spawn(run(listener, address, router, tls, ups, downs));
    Ok(Listening { address, up, task, down })
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut ups: watch::Receiver<bool>,
    downs: watch::Sender<bool>,
) {
    let mut listener = Some(listener);
    let tls = tls.map(Arc::new);
    loop {
        if let Some(open) = listener.take() {
            accept(&open, &router, tls.as_ref(), &mut ups).await;
            drop(open);
        }
        downs.send_replace(true);
        while !*ups.borrow_and_update() {
            if ups.changed().await.is_err() {
                return;
            }
        }
        match TcpListener::bind(address).await {
            Ok(again) => listener = Some(again),
            Err(error) => {
                tracing::warn!(%address, %error, "cannot take the port up again; trying on");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        }
        downs.send_replace(false);
    }
}

/// Serves until told to stop; the connections end with it.
async fn accept(
    listener: &TcpListener,
    router: &Router,
    tls: Option<&Arc<TlsAcceptor>>,
    ups: &mut watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            changed = ups.changed() => {
                if changed.is_err() || !*ups.borrow() {
                    connections.shutdown().await;
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let router = router.clone();
                let tls = tls.cloned();
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, router).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, router).await;
                            }
                        }
                    }
                });
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to a department ended early");
    }
}
