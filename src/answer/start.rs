//! A gateway from a snapshot, and one that follows another while requests go on.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use regex::Regex;

use super::at_once::AtOnce;
use super::cache::Caches;
use super::versions::Versions;
use super::{Gateway, Inner, Kept};
use crate::approval::Approvals;
use crate::audit::{AuditStore, SubjectKey};
use crate::base::clock::Clock;
use crate::engine::execute::Connectors;
use crate::engine::execute::cursor::CursorSeal;
use crate::engine::execute::drift::Drifts;
use crate::engine::execute::quota::Quotas;
use crate::identify::rate::Meter;
use crate::model::access::Role;
use crate::model::binding::connection::Connection;
use crate::model::binding::format::Protocol;
use crate::model::config::AuditConfig;
use crate::model::snapshot::Snapshot;
use crate::source::{AccessLog, Connector, Shared};
use crate::trace::Traces;
use crate::watch::Watch;

/// Why the gateway cannot start.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Gateway {
    /// Connects the sources and opens the audit store.
    pub async fn start(snapshot: Snapshot) -> Result<Self, StartError> {
        Self::start_at(snapshot, Clock::system()).await
    }

    /// As [`Self::start`], at the time that a clock tells.
    pub async fn start_at(snapshot: Snapshot, clock: Clock) -> Result<Self, StartError> {
        let audit = AuditStore::open(&recording(&snapshot)).await.map_err(|error| StartError(error.to_string()))?;
        let watch = Watch::start(snapshot.config.alerts.clone(), audit.clone());
        let subjects = SubjectKey::new(Arc::clone(&snapshot.config.audit.key));
        let cursors = CursorSeal::new(&snapshot.config.audit.key);
        let approvals = Approvals::new(&snapshot.config, subjects.clone(), audit.clone(), clock.clone());
        let kept = Kept {
            calls: Meter::of_calls(&snapshot.config.rates),
            scans: AtOnce::new(&snapshot.config.scans),
            shared: Shared::new(snapshot.config.egress.clone()),
            audit,
            watch,
            subjects,
            cursors,
            quotas: Quotas::default(),
            drifts: Drifts::default(),
            clock,
            verifier: OnceLock::new(),
            approvals,
            versions: Versions::default(),
            traces: Traces::start(snapshot.config.traces.as_ref()).map_err(StartError)?,
            registry: OnceLock::new(),
        };
        Self::on(snapshot, Arc::new(kept), &[], Caches::default()).await
    }

    /// The same gateway on another snapshot: same records, same limits of sources, same connections to them. This one
    /// answers what it was asked to its end.
    pub async fn following(&self, snapshot: Snapshot) -> Result<Self, StartError> {
        let Inner { kept, connectors, caches, .. } = &*self.inner;
        Self::on(snapshot, Arc::clone(kept), connectors, caches.following()).await
    }

    /// What is kept over snapshots is told of the new one when it comes into force: records tell of callers what it says,
    /// and the next answers of its endpoints are all looked at for drift.
    pub fn takes_over(&self) {
        self.audit().record_of_callers(recording(self.snapshot()).recorded);
        self.drifts().begin_anew();
    }

    async fn on(
        snapshot: Snapshot,
        kept: Arc<Kept>,
        former: &[Vec<Arc<Connector>>],
        caches: Caches,
    ) -> Result<Self, StartError> {
        if snapshot.access.needs_second_persons() {
            kept.approvals.open().await.map_err(StartError)?;
        }
        let log = Arc::new(AccessLog::new(&snapshot, kept.clock.clone()));
        let former: HashMap<String, &Arc<Connector>> =
            former.iter().flatten().map(|connector| (connector.connection().name(), connector)).collect();
        let mut connectors: Connectors = Vec::with_capacity(snapshot.bindings.sources.len());
        for source in &snapshot.bindings.sources {
            let connect = |connection: &Arc<Connection>| match former.get(&connection.name()) {
                // What nobody changed keeps its connections.
                Some(known) if known.connection() == &**connection && connection.protocol != Protocol::Audit => {
                    Ok(Arc::clone(known))
                }
                _ => Ok(Arc::new(Connector::new((**connection).clone(), &kept.shared)?.reading(&log))),
            };
            let connected: Result<Vec<_>, String> = source.connections.iter().map(connect).collect();
            connectors.push(
                connected
                    .map_err(|error| StartError(format!("the source `{}` cannot be connected: {error}", source.id)))?,
            );
        }
        kept.shared.forget_unused();
        Ok(Self { inner: Arc::new(Inner { snapshot: Arc::new(snapshot), connectors, caches, kept }) })
    }
}

/// The audit's settings, with what may stand in records of purposes and cases.
fn recording(snapshot: &Snapshot) -> AuditConfig {
    let access = &snapshot.access;
    let forms = |role: &Role| -> Vec<(Arc<str>, Regex)> {
        let grants = role.grants.iter().filter_map(|grant| access.grants.get(*grant));
        grants.filter_map(|grant| Some((Arc::clone(&role.name), grant.conditions.case.clone()?))).collect()
    };
    let mut audit = snapshot.config.audit.clone();
    audit.recorded.purposes = snapshot.config.purposes.keys().cloned().collect();
    audit.recorded.cases = access.roles.iter().flat_map(forms).collect();
    audit
}
