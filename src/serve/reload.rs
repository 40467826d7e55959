//! The files and the registry, watched: a version without faults comes into force while requests go on; one with faults
//! does not.
//!
//! What a request began with, it ends with. `gateway.yaml` is read at the start only: addresses, issuers, networks and
//! stores do not change under those who hold them.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::answer::Gateway;
use crate::answer::versions::{InForce, Refused};
use crate::audit::{AuditRecord, Kind};
use crate::base::current::Current;
use crate::base::fault::Faults;
use crate::identify::Identity;
use crate::model::config::GatewayConfig;
use crate::model::files::{Seen, Stamp};
use crate::model::snapshot::{Folders, Snapshot, Variables};
use crate::registry::{Registry, Set};

/// Under what the records of the gateway itself stand.
const ITSELF: &str = "configuration";
/// How often the registry is looked at where files are not.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// A trouble that lasts is told again this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What a gateway is made of, and what is made anew when that changes.
pub struct Reload {
    folders: Folders,
    variables: Variables,
    current: Current<Gateway>,
    registry: Option<Arc<Registry>>,
    began_with: Beginning,
    /// The text of `gateway.yaml` that was looked at last.
    settings: String,
    outage: Outage,
    hangups: bool,
}

/// What the snapshot that a process begins with was made of.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Before the files were loaded.
    pub seen: Seen,
    /// Of the registry; 0: nothing is published.
    pub revision: i64,
}

/// A registry that cannot be read: told when that begins, now and then, and when it is over.
#[derive(Default)]
struct Outage(Option<Instant>);

impl Outage {
    fn look<T>(&mut self, read: Result<T, String>) -> Option<T> {
        let error = match read {
            Ok(read) => {
                if self.0.take().is_some() {
                    tracing::info!("the registry can be read again");
                }
                return Some(read);
            }
            Err(error) => error,
        };
        if self.0.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.0 = Some(Instant::now());
            tracing::error!(error, "the registry cannot be read; what is in force stays in force");
        }
        None
    }
}

/// Why nothing changed.
enum Unchanged {
    /// The files are as they were.
    Same,
    /// They changed while they were read, or could not be taken: to be tried again.
    Again,
    /// They have faults.
    Faults(String),
}

impl Reload {
    /// For a gateway that was made from these files, as they were then.
    pub fn new(
        (folders, variables): (Folders, Variables),
        registry: Option<Arc<Registry>>,
        current: Current<Gateway>,
        began_with: Beginning,
    ) -> Self {
        let settings = began_with.seen.settings.clone();
        Self { folders, variables, registry, current, began_with, settings, outage: Outage::default(), hangups: false }
    }

    /// Looks at SIGHUP too, which otherwise ends the process.
    pub fn at_hangups(self) -> Self {
        Self { hangups: true, ..self }
    }

    /// Puts on record what the gateway begins with.
    pub async fn begin(&self) -> Result<(), String> {
        let gateway = self.current.now();
        let (digest, revision) = (self.began_with.seen.digest.clone(), self.began_with.revision);
        self.in_force(&gateway, InForce { number: 1, digest, revision, since: gateway.clock().now() }).await
    }

    /// Looks every so often (`reload.every_ms`); never ends.
    pub async fn run(mut self) {
        let every = self.current.now().snapshot().config.reload_every_ms;
        let watched = every > 0;
        let every = if watched { Duration::from_millis(every) } else { FOLLOW_EVERY };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hangups = Hangups::new(self.hangups);
        let mut seen = self.began_with.seen.stamp.clone();
        let mut taken = seen.clone();
        let mut revision = self.known_revision();
        let mut again = false;
        loop {
            let told = tokio::select! {
                _ = ticks.tick() => again,
                () = hangups.next() => true,
                () = published(self.registry.as_deref()) => true,
            };
            // Another gateway may have published.
            let newest = self.newest_revision().await.unwrap_or(revision);
            let told = told || newest != revision;
            if !told && !watched {
                continue;
            }
            let now = self.stamp();
            // Files that still change are left alone until they do not.
            let settled = now == seen;
            seen = now;
            if !told && (!settled || seen == taken) {
                continue;
            }
            let changed = self.change().await;
            again = matches!(changed, Err(Unchanged::Again));
            match changed {
                Err(Unchanged::Again) => {}
                Ok(()) | Err(Unchanged::Same) => (taken, revision) = (seen.clone(), newest),
                Err(Unchanged::Faults(faults)) => {
                    (taken, revision) = (seen.clone(), newest);
                    tracing::error!("the changed files have faults; what was in force stays in force\n{faults}");
                }
            }
        }
    }

    fn stamp(&self) -> Stamp {
        self.folders.stamp(documents(&self.current.now()).as_deref())
    }

    fn known_revision(&self) -> i64 {
        self.current.now().versions().known().in_force.map_or(0, |version| version.revision)
    }

    /// `None`: it cannot be known now, and what is in force stays.
    async fn newest_revision(&mut self) -> Option<i64> {
        let read = self.registry.as_ref()?.revision().await;
        self.outage.look(read)
    }

    /// What is published now; without a registry, nothing is.
    async fn set(&mut self) -> Result<Set, Unchanged> {
        let Some(registry) = &self.registry else { return Ok(Set::default()) };
        let read = registry.set().await;
        self.outage.look(read).ok_or(Unchanged::Again)
    }

    /// Takes the files as they are now, if they are other than those in force and have no faults.
    async fn change(&mut self) -> Result<(), Unchanged> {
        let former = self.current.now();
        let versions = former.versions();
        let known = versions.known();
        let config = former.snapshot().config.clone();
        let (folders, variables, of_documents) =
            (self.folders.clone(), Arc::clone(&self.variables), documents(&former));
        let Set { revision, bindings } = self.set().await?;
        let loaded = tokio::task::spawn_blocking(move || {
            let digest = folders.digest(of_documents.as_deref());
            let mut faults = Faults::default();
            let snapshot = Snapshot::load_under(config, &folders, &bindings, &*variables, &mut faults);
            // What changed meanwhile was perhaps read half.
            let same = folders.digest(of_documents.as_deref()) == digest;
            same.then(|| (digest, snapshot.ok_or_else(|| faults.render())))
        });
        let Ok(Some((digest, loaded))) = loaded.await else { return Err(Unchanged::Again) };
        self.look_at_settings(&former);
        let same = |version: &InForce| version.digest == digest && version.revision == revision;
        if known.in_force.as_ref().is_some_and(same) {
            versions.note(|known| known.refused = None);
            return Err(Unchanged::Same);
        }
        let refused = |faults: String| {
            let since = former.clock().now();
            versions
                .note(|known| known.refused = Some(Refused { digest: digest.clone(), since, faults: faults.clone() }));
            Unchanged::Faults(faults)
        };
        let snapshot = loaded.map_err(refused)?;
        let next = former.following(snapshot).await.map_err(|error| refused(format!("error: {error}\n")))?;
        let number = known.in_force.map_or(1, |version| version.number).saturating_add(1);
        // On record before it counts.
        let version = InForce { number, digest, revision, since: former.clock().now() };
        if let Err(error) = self.in_force(&next, version).await {
            tracing::error!("{error}; the changed files are not taken yet");
            return Err(Unchanged::Again);
        }
        next.takes_over();
        self.current.switch(next);
        Ok(())
    }

    /// `gateway.yaml`, which waits for a restart: what of it was changed is told, and whether it can be started with.
    fn look_at_settings(&mut self, gateway: &Gateway) {
        let settings = self.folders.settings();
        if settings == self.settings {
            return;
        }
        let waiting = GatewayConfig::changed(&self.began_with.seen.settings, &settings);
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "gateway.yaml was changed: these keys wait until the gateway is started again");
        }
        gateway.versions().note(|known| known.waiting = waiting);
        let (mut faults, path) = (Faults::default(), self.folders.config.join("gateway.yaml"));
        let base = self.folders.config.parent().unwrap_or(Path::new("."));
        if GatewayConfig::load(&path, base, &*self.variables, &mut faults).is_none() {
            tracing::error!("with gateway.yaml as it is now, the gateway does not start again\n{}", faults.render());
        }
        self.settings = settings;
    }

    async fn in_force(&self, gateway: &Gateway, version: InForce) -> Result<(), String> {
        let InForce { number, digest, revision, .. } = &version;
        let nobody = Identity::at(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let mut record = AuditRecord::event(Kind::Configuration, ITSELF, &nobody, "inForce")
            .with("number", *number)
            .with("digest", digest.clone())
            .with("revision", *revision);
        let waiting = gateway.versions().known().waiting;
        if !waiting.is_empty() {
            record = record.with("waiting", waiting);
        }
        gateway.audit().append(record).await.map_err(|error| error.to_string())?;
        let (sources, awaited) = (gateway.snapshot().bindings.sources.len(), gateway.snapshot().awaited().len());
        tracing::info!(number, digest, revision, sources, awaited, "in force");
        gateway.versions().note(|known| {
            known.in_force = Some(version);
            known.refused = None;
        });
        Ok(())
    }
}

fn documents(gateway: &Gateway) -> Option<PathBuf> {
    gateway.snapshot().config.graphql.trusted_documents.clone()
}

async fn published(registry: Option<&Registry>) {
    match registry {
        Some(registry) => registry.changed().await,
        None => pending().await,
    }
}

/// SIGHUP, where there is such a thing.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    #[cfg(unix)]
    fn new(wanted: bool) -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { signal: wanted.then(|| signal(SignalKind::hangup()).ok()).flatten() }
    }

    #[cfg(not(unix))]
    fn new(_: bool) -> Self {
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            if signal.recv().await.is_none() {
                pending::<()>().await;
            }
            return;
        }
        pending().await
    }
}
