//! `huxiang serve`: the gateway, until SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{Done, RootArgs, Stop, load};
use crate::answer::Gateway;
use crate::base::current::Current;
use crate::identify::Verifier;
use crate::model::config::GatewayConfig;
use crate::model::snapshot::{Folders, Snapshot, Variables};
use crate::registry::Registry;
use crate::serve;
use crate::serve::refusals::Summing;
use crate::serve::reload::{Beginning, Reload};

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    root: RootArgs,
    /// Log as JSON, one object a line
    #[arg(long)]
    log_json: bool,
}

pub fn run(args: &ServeArgs) -> Done {
    log("info", args.log_json);
    let (snapshot, beginning) = load::to_serve(&args.root)?;
    super::runtime()?.block_on(async {
        let environment: Variables = Arc::new(|name: &str| std::env::var(name).ok());
        let ready = Ready::new(snapshot, beginning, load::folders(&args.root), environment).await?;
        let ready = ready.reloading_at_hangups();
        tracing::info!(address = %ready.address, "serving");
        let stop = stop_signal()?;
        ready.serve(stop).await;
        tracing::info!("stopped");
        Ok(0)
    })
}

/// Tracing to standard error; `HUXIANG_LOG` says what (as in `info,huxiang::source=debug`).
pub fn log(default: &str, json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HUXIANG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Where there is a subscriber already (in tests), it stays.
    let _ = if json { subscriber.json().try_init() } else { subscriber.with_ansi(false).try_init() };
}

/// Ends at SIGTERM or Ctrl-C.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Stop> {
    Ok(serve::stop_signal())
}

/// A gateway with its listener bound: clients can connect, and are answered once [`Ready::serve`] runs.
pub struct Ready {
    pub address: SocketAddr,
    pub gateway: Gateway,
    listener: TcpListener,
    app: Router,
    reload: Reload,
    summing: Summing,
    metrics: Option<(TcpListener, Router)>,
    tls: Option<TlsAcceptor>,
    config: GatewayConfig,
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Stop> {
    let failed = |error| Stop::failed(format!("error: cannot listen at {address}: {error}; is another one running?"));
    TcpListener::bind(address).await.map_err(failed)
}

impl Ready {
    /// `folders` and `variables` are what the snapshot was made from, and `beginning` is how they were then; it is made
    /// anew when they change.
    pub async fn new(
        snapshot: Snapshot,
        beginning: Beginning,
        folders: Folders,
        variables: Variables,
    ) -> Result<Self, Stop> {
        let config = snapshot.config.clone();
        let verifier =
            Arc::new(Verifier::open(&config).await.map_err(|error| Stop::failed(format!("error: {error}")))?);
        for fault in verifier.refresh().await {
            // The issuer may come back: tokens of the others are good meanwhile.
            tracing::warn!(%fault, "an issuer's keys cannot be fetched");
        }
        tokio::spawn(Arc::clone(&verifier).keep_fresh());
        let gateway = Gateway::start(snapshot).await.map_err(|error| Stop::failed(format!("error: {error}")))?;
        gateway.served_behind(Arc::clone(&verifier));
        let failed = |error: serve::ServeError| Stop::failed(format!("error: {error}"));
        let tls = config.tls.as_ref().map(serve::acceptor).transpose().map_err(failed)?;
        let current = Current::from(Arc::new(gateway.clone()));
        let application = serve::application(&config, verifier, current.clone()).map_err(failed)?;
        let serve::Application { router: app, metrics, summing } = application;
        let listener = listen(config.listen).await?;
        let metrics = match config.metrics {
            Some(address) => Some((listen(address).await?, metrics)),
            None => None,
        };
        let stopped = |error: String| Stop::failed(format!("error: {error}"));
        let made_from = (folders.clone(), Arc::clone(&variables));
        let (audit, clock) = (gateway.audit().clone(), gateway.clock().clone());
        let registry = Registry::open(&config, made_from, audit, clock).await.map_err(stopped)?.map(Arc::new);
        if let Some(registry) = &registry {
            gateway.registered_in(Arc::clone(registry));
        }
        let reload = Reload::new((folders, variables), registry, current, beginning);
        reload.begin().await.map_err(stopped)?;
        let address = listener.local_addr().map_err(|error| Stop::failed(format!("error: {error}")))?;
        Ok(Self { address, gateway, listener, app, reload, summing, metrics, tls, config })
    }

    /// Looks at the files at SIGHUP too.
    pub fn reloading_at_hangups(self) -> Self {
        Self { reload: self.reload.at_hangups(), ..self }
    }

    /// Until `stop` ends, and then until the requests under way are answered and what was refused is on record.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let reloading = tokio::spawn(self.reload.run());
        let (running, mut ended) = watch::channel(());
        let metrics = self.metrics.map(|(listener, app)| {
            let config = self.config.clone();
            let stop = async move { drop(ended.changed().await) };
            tokio::spawn(async move { serve::run(listener, app, None, &config, stop).await })
        });
        serve::run(self.listener, self.app, self.tls, &self.config, stop).await;
        drop(running);
        if let Some(metrics) = metrics {
            let _ = metrics.await;
        }
        reloading.abort();
        self.summing.ended().await;
        self.gateway.audit().settle().await;
        self.gateway.traces().settle().await;
    }
}
