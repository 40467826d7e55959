//! The files, watched: a version of them without faults comes into force while requests go on; one with faults does not.
//!
//! What a request began with, it ends with. `gateway.yaml` is read at the start only: addresses, issuers, networks and
//! stores do not change under those who hold them.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::answer::Gateway;
use crate::answer::versions::{InForce, Refused};
use crate::audit::{AuditRecord, Kind};
use crate::base::current::Current;
use crate::base::fault::Faults;
use crate::identify::Identity;
use crate::model::files::Stamp;
use crate::model::snapshot::{Folders, Snapshot};

/// Looks up `${NAME}`.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Under what the records of the gateway itself stand.
const ITSELF: &str = "configuration";

/// What a gateway is made of, and what is made anew when that changes.
pub struct Reload {
    folders: Folders,
    variables: Variables,
    current: Current<Gateway>,
    /// The text of `gateway.yaml` that the process began with.
    began_with: String,
    hangups: bool,
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
    /// For a gateway that was made from these files.
    pub fn new(folders: Folders, variables: Variables, current: Current<Gateway>) -> Self {
        let began_with = std::fs::read_to_string(folders.config.join("gateway.yaml")).unwrap_or_default();
        Self { folders, variables, current, began_with, hangups: false }
    }

    /// Looks at SIGHUP too, which otherwise ends the process.
    pub fn at_hangups(self) -> Self {
        Self { hangups: true, ..self }
    }

    /// Puts on record what the gateway begins with.
    pub async fn begin(&self) -> Result<(), String> {
        let gateway = self.current.now();
        let digest = self.folders.digest(documents(&gateway).as_deref());
        self.in_force(&gateway, 1, digest).await
    }

    /// Looks every so often (`reload.every_ms`); never ends.
    pub async fn run(self) {
        let every = self.current.now().snapshot().config.reload_every_ms;
        let mut ticks = (every > 0).then(|| interval(Duration::from_millis(every)));
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut hangups = Hangups::new(self.hangups);
        let mut seen = self.stamp();
        let mut taken = seen.clone();
        loop {
            let told = tokio::select! {
                () = tick(&mut ticks) => false,
                () = hangups.next() => true,
            };
            let now = self.stamp();
            // Files that still change are left alone until they do not.
            let settled = now == seen;
            seen = now;
            if !told && (!settled || seen == taken) {
                continue;
            }
            match self.change().await {
                Err(Unchanged::Again) => {}
                Ok(()) | Err(Unchanged::Same) => taken.clone_from(&seen),
                Err(Unchanged::Faults(faults)) => {
                    taken.clone_from(&seen);
                    tracing::error!("the changed files have faults; what was in force stays in force\n{faults}");
                }
            }
        }
    }

    fn stamp(&self) -> Stamp {
        self.folders.stamp(documents(&self.current.now()).as_deref())
    }

    /// Takes the files as they are now, if they are other than those in force and have no faults.
    async fn change(&self) -> Result<(), Unchanged> {
        let former = self.current.now();
        let versions = former.versions();
        let known = versions.known();
        let config = former.snapshot().config.clone();
        let (folders, variables, of_documents) =
            (self.folders.clone(), Arc::clone(&self.variables), documents(&former));
        let loaded = tokio::task::spawn_blocking(move || {
            let digest = folders.digest(of_documents.as_deref());
            let mut faults = Faults::default();
            let snapshot = Snapshot::load_under(config, &folders, &*variables, &mut faults);
            // What changed meanwhile was perhaps read half.
            let same = folders.digest(of_documents.as_deref()) == digest;
            same.then(|| (digest, snapshot.ok_or_else(|| faults.render())))
        });
        let Ok(Some((digest, loaded))) = loaded.await else { return Err(Unchanged::Again) };
        let text = std::fs::read_to_string(self.folders.config.join("gateway.yaml")).unwrap_or_default();
        let needs_restart = text != self.began_with;
        if needs_restart && !known.needs_restart {
            tracing::warn!("gateway.yaml was changed: it comes into force when the gateway is started again");
        }
        versions.note(|known| known.needs_restart = needs_restart);
        if known.in_force.as_ref().is_some_and(|version| version.digest == digest) {
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
        if let Err(error) = self.in_force(&next, number, digest).await {
            tracing::error!("{error}; the changed files are not taken yet");
            return Err(Unchanged::Again);
        }
        self.current.switch(next);
        Ok(())
    }

    async fn in_force(&self, gateway: &Gateway, number: u64, digest: String) -> Result<(), String> {
        let nobody = Identity::at(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let record = AuditRecord::event(Kind::Configuration, ITSELF, &nobody, "inForce")
            .with("number", number)
            .with("digest", digest.clone());
        gateway.audit().append(record).await.map_err(|error| error.to_string())?;
        tracing::info!(number, digest, sources = gateway.snapshot().bindings.sources.len(), "in force");
        let since = gateway.clock().now();
        gateway.versions().note(|known| {
            known.in_force = Some(InForce { number, digest, since });
            known.refused = None;
        });
        Ok(())
    }
}

fn documents(gateway: &Gateway) -> Option<PathBuf> {
    gateway.snapshot().config.graphql.trusted_documents.clone()
}

async fn tick(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
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
