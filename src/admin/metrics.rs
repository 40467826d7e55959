//! What the gateway counts, in the Prometheus text format: for operators' monitoring, at a listener of its own.
//!
//! Labels hold ids of sources and systems, roles, networks and codes, which the files declare: nothing of who asked, of
//! whom, or what for. So their number is bounded by the files.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::answer::Gateway;
use crate::model::binding::hand::format::Per;
use crate::source::{BOUNDS_US, BreakerPhase, BreakerState, Connector, Counted};

/// Metrics as text; each family stands together, each series once.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
    family: &'static str,
    seen: BTreeSet<String>,
}

impl Text {
    /// Begins a family: its samples follow.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        self.seen.clear();
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.series("", labels, value);
    }

    /// One number by itself.
    pub fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    fn series(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        if self.seen.insert(format!("{suffix}{labels}")) {
            let _ = writeln!(self.out, "{}{suffix}{labels} {value}", self.family);
        }
    }

    pub fn finish(self) -> String {
        self.out
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds as seconds, without floating point.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// All that is counted behind the listener.
pub fn metrics(gateway: &Gateway) -> Text {
    let mut text = Text::default();
    text.family("huxiang_build_info", "gauge", "The gateway's version.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    audit(gateway, &mut text);
    versions(gateway, &mut text);
    let systems: Vec<System> = gateway.connectors().iter().flatten().map(|connector| System::of(connector)).collect();
    sources(&systems, &mut text);
    latencies(&systems, &mut text);
    breakers(&systems, &mut text);
    quotas(gateway, &mut text);
    drifts(gateway, &mut text);
    text
}

fn audit(gateway: &Gateway, text: &mut Text) {
    let audit = gateway.audit();
    let help = "Scans under way, queries and streams.";
    text.single("huxiang_scans_in_flight", "gauge", help, gateway.scans_under_way());
    text.single("huxiang_ready", "gauge", "1: requests are answered now.", u8::from(gateway.ready()));
    text.family(
        "huxiang_audit_records_total",
        "counter",
        "Durable audit records since the start: of requests, KIND REQUEST.",
    );
    for ((kind, outcome), count) in audit.records() {
        text.sample(&[("kind", kind), ("outcome", outcome)], count);
    }
    let help = "Records that could not be written: nothing was answered.";
    text.single("huxiang_audit_failures_total", "counter", help, audit.failures());
    let help = "Transactions, each of one or more records.";
    text.single("huxiang_audit_commits_total", "counter", help, audit.commits());
    let help = "Alerts on unusual reading since the start.";
    text.single("huxiang_alerts_raised_total", "counter", help, gateway.watch().raised());
    let help = "Alerts that wait to be acknowledged.";
    text.single("huxiang_alerts_open", "gauge", help, gateway.watch().open());
    if let Some(spans) = gateway.traces().exported() {
        let help = "Spans that the collector of traces took.";
        text.single("huxiang_spans_exported_total", "counter", help, spans.exported);
        let help = "Spans that there was no room for, or that the collector did not take.";
        text.single("huxiang_spans_dropped_total", "counter", help, spans.dropped);
    }
}

fn versions(gateway: &Gateway, text: &mut Text) {
    let known = gateway.versions().known();
    if let Some(version) = known.in_force {
        let help = "Number of the version of the files in force, from 1 at the start.";
        text.single("huxiang_version", "gauge", help, version.number);
    }
    let help = "1: the newest files have faults, and the version before them stays in force.";
    text.single("huxiang_version_refused", "gauge", help, u8::from(known.refused.is_some()));
    let help = "1: gateway.yaml was changed since the start.";
    text.single("huxiang_needs_restart", "gauge", help, u8::from(!known.waiting.is_empty()));
}

/// One system behind a source.
struct System {
    source: String,
    /// Empty, where it is the only one.
    system: String,
    counted: Counted,
    breakers: Vec<(usize, BreakerState)>,
}

impl System {
    fn of(connector: &Connector) -> Self {
        let connection = connector.connection();
        Self {
            source: connection.source.to_string(),
            system: connection.instance.as_ref().map_or_else(String::new, |instance| instance.id.to_string()),
            counted: connector.counted(),
            breakers: connector.breakers(),
        }
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("source", &self.source), ("system", &self.system)]
    }

    fn with<'l>(&'l self, name: &'l str, value: &'l str) -> [(&'l str, &'l str); 3] {
        let [source, system] = self.labels();
        [source, system, (name, value)]
    }
}

fn sources(systems: &[System], text: &mut Text) {
    let help = "Calls of sources that have ended, by how: OK, an error code, or GIVEN_UP.";
    text.family("huxiang_source_calls_total", "counter", help);
    for system in systems {
        text.sample(&system.with("code", "OK"), system.counted.answered);
        if system.counted.given_up > 0 {
            text.sample(&system.with("code", "GIVEN_UP"), system.counted.given_up);
        }
        for (code, count) in &system.counted.failed {
            text.sample(&system.with("code", code.as_str()), count);
        }
    }
    text.family("huxiang_source_requests_total", "counter", "Requests sent to sources, pages and tries included.");
    systems.iter().for_each(|system| text.sample(&system.labels(), system.counted.requests));
    text.family("huxiang_source_waited_requests_total", "counter", "Requests that had to wait for their turn.");
    systems.iter().for_each(|system| text.sample(&system.labels(), system.counted.waited));
    let help = "Reads that were answered by a call of another caller, and are no calls of their own.";
    text.family("huxiang_source_shared_reads_total", "counter", help);
    systems.iter().for_each(|system| text.sample(&system.labels(), system.counted.shared));
    text.family("huxiang_source_calls_under_way", "gauge", "Calls that have not ended.");
    systems.iter().for_each(|system| text.sample(&system.labels(), system.counted.under_way));
    text.family("huxiang_source_last_answered_timestamp_seconds", "gauge", "When the source last answered.");
    for system in systems {
        if let Some(at) = system.counted.answered_at {
            text.sample(&system.labels(), at.as_second());
        }
    }
}

fn latencies(systems: &[System], text: &mut Text) {
    let help = "How long calls took for which anything was sent, waits included.";
    text.family("huxiang_source_call_seconds", "histogram", help);
    for system in systems {
        let latency = &system.counted.latency;
        let mut below = 0;
        for (bound, count) in BOUNDS_US.iter().zip(latency.classes) {
            below += count;
            text.series("_bucket", &system.with("le", &seconds(*bound)), below);
        }
        text.series("_bucket", &system.with("le", "+Inf"), latency.count());
        text.series("_sum", &system.labels(), seconds(microseconds(latency.sum)));
        text.series("_count", &system.labels(), latency.count());
    }
}

fn breakers(systems: &[System], text: &mut Text) {
    let all: Vec<(&System, String, BreakerState)> = systems
        .iter()
        .flat_map(|system| system.breakers.iter().map(move |(at, state)| (system, *at, *state)))
        .map(|(system, at, state)| (system, if at == 0 { String::new() } else { at.to_string() }, state))
        .collect();
    let help = "Circuit breakers: 0 closed, 1 half-open, 2 open (the source is not asked).";
    text.family("huxiang_source_breaker_state", "gauge", help);
    for (system, standby, state) in &all {
        let number = match state.phase {
            BreakerPhase::Closed => 0,
            BreakerPhase::HalfOpen => 1,
            BreakerPhase::Open => 2,
        };
        text.sample(&system.with("standby", standby), number);
    }
    text.family("huxiang_source_breaker_opened_total", "counter", "How often circuit breakers opened.");
    for (system, standby, state) in &all {
        text.sample(&system.with("standby", standby), state.opened);
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn drifts(gateway: &Gateway, text: &mut Text) {
    text.family("huxiang_source_drift_total", "counter", "Where answers of sources no longer match their bindings.");
    for source in &gateway.snapshot().bindings.sources {
        for drift in gateway.drifts().of(&source.id) {
            let (endpoint, path, kind) = (&*drift.endpoint, &*drift.path, drift.kind.as_str());
            text.sample(&[("source", &source.id), ("endpoint", endpoint), ("path", path), ("kind", kind)], drift.count);
        }
    }
}

fn quotas(gateway: &Gateway, text: &mut Text) {
    let help = "What is left of what a department allows a role: calls in a minute, entities in a day; where each principal \
                has a quota, of the one most used.";
    text.family("huxiang_source_quota_left", "gauge", help);
    for source in &gateway.snapshot().bindings.sources {
        for used in gateway.quotas().used(source) {
            let per = if used.quota.per == Per::Principal { "principal" } else { "role" };
            let network = used.quota.network.as_ref().map_or("", |network| &network.name);
            let role = &used.quota.role.name;
            for (of, most, used) in [
                ("calls", used.quota.calls_per_minute, used.calls),
                ("entities", used.quota.entities_per_day, used.entities),
            ] {
                if let Some(most) = most {
                    let labels =
                        [("source", &*source.id), ("role", role), ("network", network), ("per", per), ("of", of)];
                    text.sample(&labels, u64::from(most).saturating_sub(used));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_without_rounding() {
        assert_eq!([500, 1_000_000, 1_500_000, 60_000_000, 0].map(seconds), ["0.0005", "1", "1.5", "60", "0"]);
    }

    #[test]
    fn labels_are_escaped_and_no_series_stands_twice() {
        let mut text = Text::default();
        text.family("a", "gauge", "A.");
        text.sample(&[("l", "x\"\\\n"), ("none", "")], 1);
        text.sample(&[("l", "x\"\\\n")], 2);
        assert_eq!(text.finish(), "# HELP a A.\n# TYPE a gauge\na{l=\"x\\\"\\\\\\n\"} 1\n");
    }
}
