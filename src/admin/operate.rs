//! For operators: health, the configuration in force. Nothing of who read what.

use async_graphql::{Context, Object, Result, SimpleObject};

use super::session::{Only, operator, session};
use crate::model::config::Introspection;
use crate::model::config::admin::Part;

#[derive(Default)]
pub struct OperatorQuery;

/// Whether the gateway can answer.
#[derive(SimpleObject)]
struct Health {
    /// Requests are answered now.
    ready: bool,
    /// The last audit record could be written; without it nothing is answered.
    audit_writable: bool,
    /// Alerts on unusual reading since the start; who and what is the security officer's to see.
    alerts_raised: u64,
    /// Alerts that wait to be acknowledged.
    alerts_open: usize,
}

/// What the files in force declare, counted.
#[derive(SimpleObject)]
struct Configuration {
    /// Token issuers.
    issuers: Vec<String>,
    /// Names of the networks.
    networks: Vec<String>,
    /// Names of the roles.
    roles: Vec<String>,
    /// Fields of the contract.
    fields: usize,
    grants: usize,
    sources: usize,
    introspection: bool,
    get_queries: bool,
    /// The version of the files that requests are answered with; none, where nobody looks after versions.
    version: Option<Version>,
    /// The newest version of the files, where it has faults: the one before it stays in force.
    refused: Option<RefusedVersion>,
    /// `gateway.yaml` was changed since the start: it comes into force with the next.
    needs_restart: bool,
    /// The keys of `gateway.yaml` that were changed.
    waiting: Vec<String>,
    /// Fields and queries of the contract that wait for a source (`@awaited`).
    awaited: Vec<String>,
}

/// A version of the contract, the bindings, the rules and the roles.
#[derive(SimpleObject)]
struct Version {
    /// From 1 at the start of the process.
    number: u64,
    /// SHA-256 of the files; stands in the audit record of kind CONFIGURATION too.
    digest: String,
    /// Of the registry; 0: nothing is published.
    revision: i64,
    since: String,
}

/// A version that did not come into force.
#[derive(SimpleObject)]
struct RefusedVersion {
    digest: String,
    since: String,
    /// As `huxiang check` prints them.
    faults: String,
}

#[Object]
impl OperatorQuery {
    /// Whether the gateway can answer.
    #[graphql(guard = "Only(&[Part::Operator])", visible = "operator")]
    async fn health(&self, context: &Context<'_>) -> Result<Health> {
        let gateway = &session(context)?.gateway;
        Ok(Health {
            ready: gateway.ready(),
            audit_writable: gateway.audit().is_healthy(),
            alerts_raised: gateway.watch().raised(),
            alerts_open: gateway.watch().open(),
        })
    }

    /// What the files in force declare.
    #[graphql(guard = "Only(&[Part::Operator])", visible = "operator")]
    async fn configuration(&self, context: &Context<'_>) -> Result<Configuration> {
        let snapshot = session(context)?.gateway.snapshot();
        let config = &snapshot.config;
        let known = session(context)?.gateway.versions().known();
        Ok(Configuration {
            version: known.in_force.map(|version| Version {
                number: version.number,
                digest: version.digest,
                revision: version.revision,
                since: version.since.to_string(),
            }),
            refused: known.refused.map(|refused| RefusedVersion {
                digest: refused.digest,
                since: refused.since.to_string(),
                faults: refused.faults,
            }),
            needs_restart: !known.waiting.is_empty(),
            waiting: known.waiting,
            awaited: snapshot.awaited(),
            issuers: config.issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
            networks: config.networks.named.keys().cloned().collect(),
            roles: snapshot.access.roles.iter().map(|role| role.name.to_string()).collect(),
            fields: snapshot.contract.slots.iter().filter(|slot| !slot.hidden).count(),
            grants: snapshot.access.grants.len(),
            sources: snapshot.bindings.sources.len(),
            introspection: config.graphql.introspection != Introspection::Off,
            get_queries: config.graphql.get_queries,
        })
    }
}
