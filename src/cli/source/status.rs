//! `huxiang source status`: how the departments' systems do, as a running gateway sees them.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::gateway::GatewayArgs;
use crate::cli::text;
use crate::cli::{Done, Stop};

const QUERY: &str = "{ sources { id title platform withdrawn calls answered givenUp requests waited underWay errors { code count } \
    latencyMs { p50 p90 p99 } lastAnsweredAt lastFailure { code at } \
    systems { name calls answered underWay errors { code count } latencyMs { p50 p90 p99 } lastFailure { code at } } \
    breakers { name standby state opened since retryAt } \
    quotas { role network per callsPerMinute { most used left } entitiesPerDay { most used left } } \
    drift { endpoint path kind count firstAt lastAt shape } } }";

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this source
    source: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// 1, where answers of a source no longer match its binding.
pub fn run(args: &StatusArgs) -> Done {
    let data = args.gateway.ask(QUERY, json!({}))?;
    let mut sources = list(&data, "sources").to_vec();
    if let Some(wanted) = &args.source {
        sources.retain(|source| string(source, "id") == wanted);
        if sources.is_empty() {
            return Err(Stop::failed(format!("error: the gateway has no source `{wanted}`")));
        }
    }
    if args.json {
        text::out(&format!("{}\n", Value::from(sources.clone())));
    } else {
        text::out(&told(&sources));
    }
    Ok(u8::from(sources.iter().any(|source| !list(source, "drift").is_empty())))
}

fn told(sources: &[Value]) -> String {
    let mut rows =
        vec![["source", "calls", "failed", "now", "p50 ms", "p90", "p99", "last failure"].map(str::to_owned)];
    for source in sources {
        rows.push(row(source, string(source, "id")));
        rows.extend(list(source, "systems").iter().map(|system| row(system, &format!("  {}", string(system, "name")))));
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = text::width(cell).max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| text::pad(cell, width)).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for source in sources {
        for line in notes(source) {
            out.push_str(&format!("{}: {line}\n", string(source, "id")));
        }
    }
    out
}

fn row(of: &Value, name: &str) -> [String; 8] {
    let failed: u64 = list(of, "errors").iter().map(|error| number(error, "count")).sum();
    let latency = of.get("latencyMs").unwrap_or(&Value::Null);
    let ms = |name| latency.get(name).and_then(Value::as_f64).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    let failure = of.get("lastFailure").filter(|failure| !failure.is_null());
    let failure = failure.map_or(String::new(), |last| format!("{} {}", string(last, "code"), string(last, "at")));
    let count = |name| number(of, name).to_string();
    [name.to_owned(), count("calls"), failed.to_string(), count("underWay"), ms("p50"), ms("p90"), ms("p99"), failure]
}

/// What stands below the table.
fn notes(source: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    if source.get("withdrawn") == Some(&Value::Bool(true)) {
        notes.push("withdrawn: it is not asked".to_owned());
    }
    if let Some(platform) = source.get("platform").and_then(Value::as_str) {
        notes.push(format!("stands on the platform {platform}: its limits, breaker and session are shared there"));
    }
    let counted = |error: &Value| format!("{} {}", string(error, "code"), number(error, "count"));
    let errors: Vec<String> = list(source, "errors").iter().map(counted).collect();
    if !errors.is_empty() {
        notes.push(format!("failed: {}", errors.join(", ")));
    }
    notes.extend(list(source, "breakers").iter().filter_map(breaker));
    for quota in list(source, "quotas") {
        for (name, of) in [("callsPerMinute", "calls a minute"), ("entitiesPerDay", "entities a day")] {
            if let Some(amount) = quota.get(name).filter(|amount| !amount.is_null()) {
                let (left, most) = (number(amount, "left"), number(amount, "most"));
                let (role, per) = (string(quota, "role"), string(quota, "per"));
                notes.push(format!("quota of {role} (per {per}): {left} of {most} {of} left"));
            }
        }
    }
    for drift in list(source, "drift") {
        let (kind, path, endpoint) = (string(drift, "kind"), string(drift, "path"), string(drift, "endpoint"));
        let (count, shape, at) = (number(drift, "count"), string(drift, "shape"), string(drift, "firstAt"));
        notes.push(format!("{kind} {path} (endpoint {endpoint}): {count} times since {at}, first {shape}"));
    }
    notes
}

/// None: it has always been closed.
fn breaker(of: &Value) -> Option<String> {
    let (opened, since) = (number(of, "opened"), string(of, "since"));
    let said = match string(of, "state") {
        "OPEN" => format!("open since {since}, tried again at {}", string(of, "retryAt")),
        "HALF_OPEN" => format!("half-open since {since}, being tried"),
        _ if opened > 0 => format!("closed since {since}"),
        _ => return None,
    };
    let standby = of.get("standby").and_then(Value::as_u64);
    let standby = standby.map_or(String::new(), |standby| format!(" standby {standby}"));
    Some(format!("circuit breaker of {}{standby}: {said} (opened {opened} times)", string(of, "name")))
}

fn list<'v>(of: &'v Value, name: &str) -> &'v [Value] {
    of.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn string<'v>(of: &'v Value, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or_default()
}
