//! `limits` of a binding: what the source bears, as it is written and checked.

use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::format::{Protocol, SourceFile};
use crate::base::fault::{Faults, SourceText};
use crate::model::yaml;

/// What the source bears.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Deadline of one call, its wait in the queue and further tries included.
    pub timeout_ms: u64,
    /// A source that has not begun to answer so long after a request went out (status and headers) is given up; one that has
    /// begun may take the whole deadline. Of sources that are asked over HTTP. Absent: no less than the deadline.
    pub first_byte_ms: Option<u64>,
    /// Calls under way at once.
    pub in_flight_max: usize,
    /// An answer that takes longer than this takes places of `in_flight_max` away, down to one; quicker ones give them back.
    /// Absent: there are always `in_flight_max`.
    pub slow_ms: Option<u64>,
    /// Calls in any sliding second, of all gateways together (`egress.replicas`); further calls wait inside their deadline.
    /// Absent: as many as come.
    pub per_second_max: Option<u32>,
    /// Bytes of one answer, after decompression.
    pub answer_bytes_max: usize,
    /// Further tries of a read that got 429, 503 or no connection, `Retry-After` honoured, while the deadline allows.
    pub retries_max: u32,
    /// Further tries are at most this share of the first ones; the first ten are free.
    pub retries_percent: u32,
    /// When the source is left alone because it fails.
    pub breaker: BreakerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: 2_000,
            first_byte_ms: None,
            in_flight_max: 64,
            slow_ms: None,
            per_second_max: None,
            answer_bytes_max: 8 << 20,
            retries_max: 1,
            retries_percent: 20,
            breaker: BreakerLimits::default(),
        }
    }
}

impl Limits {
    /// What one of several gateways may take: whole calls, so that in no second all of them together take more.
    pub fn part_of(&self, replicas: Option<NonZeroU32>) -> Self {
        let replicas = replicas.unwrap_or(NonZeroU32::MIN);
        Self { per_second_max: self.per_second_max.map(|max| (max / replicas).max(1)), ..self.clone() }
    }
}

/// The circuit breaker. A failure is a request without a connection or without an answer in time, or a status from 500 on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerLimits {
    /// `false`: the source is asked however often it fails.
    pub enabled: bool,
    /// So many failures within `window_ms` open it, …
    pub failures_min: u32,
    /// … where they are at least this share of all requests in it.
    pub failures_percent: u32,
    /// How long a failure counts.
    pub window_ms: u64,
    /// How long the source is not asked; then it is tried.
    pub open_ms: u64,
    /// So many requests at once try it; as many answers in a row close the breaker, one failure opens it again.
    pub probes_max: u32,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { enabled: true, failures_min: 10, failures_percent: 50, window_ms: 10_000, open_ms: 5_000, probes_max: 3 }
    }
}

/// Adds a fault for each limit that is out of range, and for a rate of which not every gateway could have a part.
pub fn check(file: &SourceFile, replicas: Option<NonZeroU32>, text: &Arc<SourceText>, faults: &mut Faults) {
    let (limits, at) = (&file.limits, yaml::span(&file.source));
    let breaker = &limits.breaker;
    first_byte(file, text, faults);
    let wrong = [
        ("timeout_ms", (1..=600_000).contains(&limits.timeout_ms), "between 1 and 600 000"),
        ("in_flight_max", (1..=10_000).contains(&limits.in_flight_max), "between 1 and 10 000"),
        (
            "per_second_max",
            limits.per_second_max.is_none_or(|n| (1..=100_000).contains(&n)),
            "between 1 and 100 000; leave it out where there is none",
        ),
        ("answer_bytes_max", (1..=1 << 30).contains(&limits.answer_bytes_max), "between 1 and 1 GiB"),
        (
            "slow_ms",
            limits.slow_ms.is_none_or(|ms| (1..=600_000).contains(&ms)),
            "between 1 and 600 000; leave it out where places do not change",
        ),
        ("retries_percent", limits.retries_percent <= 100, "at most 100"),
        ("retries_max", limits.retries_max <= 10, "at most 10"),
        (
            "breaker.failures_min",
            (1..=100_000).contains(&breaker.failures_min),
            "between 1 and 100 000; `enabled: false` switches the breaker off",
        ),
        ("breaker.failures_percent", (1..=100).contains(&breaker.failures_percent), "between 1 and 100"),
        ("breaker.window_ms", (100..=600_000).contains(&breaker.window_ms), "between 100 and 600 000"),
        ("breaker.open_ms", (1..=600_000).contains(&breaker.open_ms), "between 1 and 600 000"),
        ("breaker.probes_max", (1..=1_000).contains(&breaker.probes_max), "between 1 and 1 000"),
    ];
    if let Some((max, replicas)) = limits.per_second_max.zip(replicas).filter(|(max, all)| (1..all.get()).contains(max))
    {
        let message =
            format!("limits.per_second_max: {max} cannot be split among {replicas} gateways (egress.replicas)");
        let hint = "less than one call a second each could not be kept exactly: let fewer gateways ask the source, or agree on \
                    more with the department";
        faults.add(text, at, message, hint);
    }
    for (name, fits, range) in wrong {
        if !fits {
            faults.add(text, at, format!("limits.{name} is out of range"), format!("it is {range}"));
        }
    }
}

/// The wait for an answer's beginning, the source's and those of its endpoints.
fn first_byte(file: &SourceFile, text: &Arc<SourceText>, faults: &mut Faults) {
    let limits = &file.limits;
    let own = limits.first_byte_ms.map(|ms| (ms, yaml::span(&file.source), "limits.first_byte_ms", limits.timeout_ms));
    let endpoints = file.endpoints.values().filter_map(|endpoint| {
        let (endpoint, timeout_ms) = (&endpoint.value, endpoint.value.timeout_ms.unwrap_or(limits.timeout_ms));
        endpoint.first_byte_ms.as_ref().map(|ms| (ms.value, yaml::span(ms), "first_byte_ms", timeout_ms))
    });
    for (ms, at, name, timeout_ms) in own.into_iter().chain(endpoints) {
        if matches!(file.protocol, Protocol::Sql | Protocol::Audit) {
            let hint = "take it out; `timeout_ms` bounds how long rows are waited for";
            faults.add(text, at, format!("{name} is of sources that are asked over HTTP"), hint);
        } else if !(1..=timeout_ms).contains(&ms) {
            let hint = format!(
                "it is between 1 and the call's deadline (`timeout_ms`), {timeout_ms}; leave it out where there is none"
            );
            faults.add(text, at, format!("{name} is out of range"), hint);
        }
    }
}
