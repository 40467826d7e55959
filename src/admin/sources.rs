//! For operators: the departments' systems, and how they do. Numbers and codes, nothing of who was read.

use async_graphql::{Context, Object, Result, SimpleObject};

use super::session::{Only, operator, session};
use crate::answer::Gateway;
use crate::engine::execute::drift::Drift;
use crate::engine::execute::quota::Used;
use crate::model::binding::format::{Authority, Protocol};
use crate::model::binding::hand::format::Per;
use crate::model::binding::{Source, SourceId};
use crate::model::config::admin::Part;
use crate::source::{BreakerState, Connector, Counted, Latency};

#[derive(Default)]
pub struct SourceQuery;

/// A department's system, as its binding declares it and as it answers.
#[derive(SimpleObject)]
struct SourceState {
    id: String,
    title: String,
    protocol: &'static str,
    /// Whether it is called in the gateway's name or the caller's.
    authority: &'static str,
    /// The platform that it stands on: limits, breaker and session are shared with the other sources there.
    platform: Option<String>,
    /// Prefixes of the division codes it covers; empty: everywhere.
    territory: Vec<String>,
    /// Systems behind it.
    instances: usize,
    /// Operations bound.
    endpoints: usize,
    /// It is not asked, and what it fills is not available.
    withdrawn: bool,
    /// Of all its systems together.
    #[graphql(flatten)]
    traffic: Traffic,
    /// Each of its systems, where it has several.
    systems: Vec<SystemState>,
    /// The circuit breakers of its systems; none where they are switched off.
    breakers: Vec<BreakerInfo>,
    /// What the department allows single roles, and what is left of it now.
    quotas: Vec<QuotaState>,
    /// Where its answers no longer match its binding.
    drift: Vec<DriftState>,
}

/// One of several systems behind a source.
#[derive(SimpleObject)]
struct SystemState {
    /// The source's id and the instance's.
    name: String,
    #[graphql(flatten)]
    traffic: Traffic,
}

/// What decides whether a system is asked.
#[derive(SimpleObject)]
struct BreakerInfo {
    /// The source's id, or its and the instance's.
    name: String,
    /// Which of the standby addresses of fallbacks it is of, from 1; none: the system's own.
    standby: Option<usize>,
    /// `CLOSED`: it is asked. `OPEN`: it failed too often and is not asked. `HALF_OPEN`: it is tried with few requests.
    state: &'static str,
    /// How often it has opened since the start.
    opened: u64,
    /// When it last opened or closed.
    since: Option<String>,
    /// Of an open one: when the system is tried again.
    retry_at: Option<String>,
}

/// What was counted since the start of the process; a change of the files does not begin it anew.
#[derive(SimpleObject)]
struct Traffic {
    /// Reads that have ended, however: answered, failed or given up. One may be several requests.
    calls: u64,
    /// Requests sent, pages and tries included.
    requests: u64,
    /// Requests that had to wait for their turn (`limits.in_flight_max`, `limits.per_second_max`).
    waited: u64,
    /// Calls under way now.
    under_way: u64,
    answered: u64,
    /// Calls that nobody waited for any more.
    given_up: u64,
    /// Calls that failed, by code.
    errors: Vec<CodeCount>,
    /// None, where nothing was sent yet.
    latency_ms: Option<LatencyMs>,
    last_answered_at: Option<String>,
    /// The last time the source did not do what it should.
    last_failure: Option<Failed>,
}

#[derive(SimpleObject)]
struct CodeCount {
    code: &'static str,
    count: u64,
}

/// How long calls took, the wait for their turn included.
#[derive(SimpleObject)]
struct LatencyMs {
    /// Half of them took at most this.
    p50: f64,
    p90: f64,
    p99: f64,
}

#[derive(SimpleObject)]
struct Failed {
    code: &'static str,
    at: String,
}

/// What a department allows one role.
#[derive(SimpleObject)]
struct QuotaState {
    role: String,
    /// Counts what is asked from there; none: from anywhere.
    network: Option<String>,
    /// Whether the role shares it (`role`) or each principal has one (`principal`): then this is the one most used.
    per: &'static str,
    /// In any 60 seconds.
    calls_per_minute: Option<Amount>,
    /// In any 24 hours.
    entities_per_day: Option<Amount>,
}

#[derive(SimpleObject)]
struct Amount {
    most: u64,
    used: u64,
    left: u64,
}

/// One way in which an endpoint's answers do not match the binding, since it was first seen.
#[derive(SimpleObject)]
struct DriftState {
    endpoint: String,
    /// The contract's field.
    path: String,
    /// `NEW_CODE`, `MISSING_FIELD` or `CHANGED_FORM`.
    kind: &'static str,
    /// Values that did not match; of a missing field, records without it.
    count: u64,
    first_at: String,
    last_at: String,
    /// What the first example looked like: digits are 0, letters a.
    shape: String,
}

#[Object]
impl SourceQuery {
    /// The departments' systems.
    #[graphql(guard = "Only(&[Part::Operator])", visible = "operator")]
    async fn sources(&self, context: &Context<'_>) -> Result<Vec<SourceState>> {
        let gateway = &session(context)?.gateway;
        let sources = gateway.snapshot().bindings.sources.iter().zip(gateway.connectors());
        Ok((0..).zip(sources).map(|(at, (source, systems))| state(gateway, SourceId(at), source, systems)).collect())
    }
}

fn state(gateway: &Gateway, id: SourceId, source: &Source, systems: &[std::sync::Arc<Connector>]) -> SourceState {
    let mut all = Counted::default();
    systems.iter().for_each(|system| all.add(system.counted()));
    let bindings = &gateway.snapshot().bindings;
    SourceState {
        id: source.id.to_string(),
        title: source.title.to_string(),
        protocol: source.connections.first().map_or("", |connection| protocol(connection.protocol)),
        authority: match source.authority {
            Authority::Gateway => "gateway",
            Authority::Caller => "caller",
        },
        platform: source
            .connections
            .first()
            .and_then(|first| first.platform.as_ref())
            .map(|ground| ground.name.to_string()),
        territory: source.territory.clone(),
        instances: source.connections.len(),
        endpoints: bindings.endpoints.iter().filter(|endpoint| endpoint.source == id).count(),
        withdrawn: source.withdrawn,
        traffic: traffic(&all),
        systems: match systems {
            [_] => Vec::new(),
            systems => systems.iter().map(|system| system_state(system)).collect(),
        },
        breakers: systems.iter().flat_map(|system| breakers(system)).collect(),
        quotas: gateway.quotas().used(source).into_iter().map(quota).collect(),
        drift: gateway.drifts().of(&source.id).into_iter().map(drift).collect(),
    }
}

fn drift(drift: Drift) -> DriftState {
    DriftState {
        endpoint: drift.endpoint.to_string(),
        path: drift.path.to_string(),
        kind: drift.kind.as_str(),
        count: drift.count,
        first_at: drift.first_at.to_string(),
        last_at: drift.last_at.to_string(),
        shape: drift.shape,
    }
}

fn system_state(system: &Connector) -> SystemState {
    SystemState { name: system.connection().name(), traffic: traffic(&system.counted()) }
}

fn breakers(system: &Connector) -> impl Iterator<Item = BreakerInfo> {
    let name = system.connection().name();
    system.breakers().into_iter().map(move |(at, BreakerState { phase, opened, since, retry_at })| BreakerInfo {
        name: name.clone(),
        standby: (at > 0).then_some(at),
        state: phase.as_str(),
        opened,
        since: since.map(|at| at.to_string()),
        retry_at: retry_at.map(|at| at.to_string()),
    })
}

fn traffic(counted: &Counted) -> Traffic {
    Traffic {
        calls: counted.calls,
        requests: counted.requests,
        waited: counted.waited,
        under_way: counted.under_way,
        answered: counted.answered,
        given_up: counted.given_up,
        errors: counted.failed.iter().map(|(code, count)| CodeCount { code: code.as_str(), count: *count }).collect(),
        latency_ms: latency(&counted.latency),
        last_answered_at: counted.answered_at.map(|at| at.to_string()),
        last_failure: counted.failure.map(|last| Failed { code: last.code.as_str(), at: last.at.to_string() }),
    }
}

fn latency(latency: &Latency) -> Option<LatencyMs> {
    let ms = |percent| {
        let us = u32::try_from(latency.percentile_us(percent)?).unwrap_or(u32::MAX);
        Some(f64::from(us) / 1_000.0)
    };
    Some(LatencyMs { p50: ms(50)?, p90: ms(90)?, p99: ms(99)? })
}

fn quota(used: Used<'_>) -> QuotaState {
    let amount = |most: Option<u32>, used: u64| {
        most.map(u64::from).map(|most| Amount { most, used, left: most.saturating_sub(used) })
    };
    QuotaState {
        role: used.quota.role.name.to_string(),
        network: used.quota.network.as_ref().map(|network| network.name.to_string()),
        per: match used.quota.per {
            Per::Role => "role",
            Per::Principal => "principal",
        },
        calls_per_minute: amount(used.quota.calls_per_minute, used.calls),
        entities_per_day: amount(used.quota.entities_per_day, used.entities),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rest => "rest",
        Protocol::Graphql => "graphql",
        Protocol::Soap => "soap",
        Protocol::Sql => "sql",
        Protocol::Audit => "audit",
    }
}
