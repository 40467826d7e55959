//! Asking the gateway, and asking again where it could not answer just now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ScanArgs;
use super::bar::Watch;
use crate::cli::Stop;
use crate::cli::gateway::Door;

/// Longer than a gateway takes for a request, also where its operator lets one take minutes.
const TIMEOUT: Duration = Duration::from_secs(300);
const ACCEPT: &str = "application/graphql-response+json";
/// Further tries of one request.
const TRIES_MAX: u32 = 5;
/// Nobody waits longer than that for one more try.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Codes of what passes.
const PASSING: [&str; 10] = [
    "RATE_LIMITED",
    "OVERLOADED",
    "SOURCE_BUSY",
    "SOURCE_TIMEOUT",
    "SOURCE_UNREACHABLE",
    "SOURCE_SUSPENDED",
    "SOURCE_PENDING",
    "DEADLINE_EXCEEDED",
    "AUTHENTICATION_UNAVAILABLE",
    "AUDIT_UNAVAILABLE",
];

/// Who asks what for, of which gateway.
pub struct Asker {
    door: Door,
    /// What is declared with every request: here, since headers take no Chinese.
    declared: Value,
    /// There is a gateway: it has answered before.
    is_there: AtomicBool,
}

/// What a gateway answered to one document.
pub struct Answer {
    pub data: Value,
    pub errors: Vec<Value>,
    pub extensions: Value,
    pub request: String,
}

/// Why there is none, or why it is of no use.
struct Failed {
    stop: Stop,
    /// After this time it may be asked again; none: it would say the same.
    again: Option<Duration>,
}

impl Asker {
    pub fn new(args: &ScanArgs, token: &str) -> Result<Self, Stop> {
        let mut declared = Map::from_iter([("masked".to_owned(), json!(true))]);
        let given = [("purpose", &args.purpose), ("case", &args.case), ("approval", &args.approval)];
        declared.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))));
        Ok(Self {
            door: args.gateway.door("graphql", token)?,
            declared: Value::Object(declared),
            is_there: AtomicBool::new(false),
        })
    }

    /// Asks, with this root needed: an answer without it is told as what it is, an error. `None`: it was stopped.
    pub async fn ask(
        &self,
        query: &str,
        variables: &Map<String, Value>,
        root: &str,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Answer>, Stop> {
        let body = json!({ "query": query, "variables": variables, "extensions": self.declared }).to_string();
        let mut tries = 0;
        loop {
            let Some(asked) = watch.over(self.once(&body, root, tries)).await else { return Ok(None) };
            let failed = match asked {
                Ok(answer) => return Ok(Some(answer)),
                Err(failed) => failed,
            };
            let Some(wait) = failed.again.filter(|_| tries < TRIES_MAX) else { return Err(failed.stop) };
            if wait > WAIT_MAX {
                return Err(failed.stop);
            }
            tries += 1;
            let seconds = wait.as_secs_f32().ceil();
            let why = failed.stop.message.lines().next().unwrap_or_default().trim_start_matches("error: ");
            watch.say(&format!("{why}; asking again in {seconds} s (try {tries} of {TRIES_MAX})"));
            if watch.over(tokio::time::sleep(wait)).await.is_none() {
                return Ok(None);
            }
        }
    }

    async fn once(&self, body: &str, root: &str, tries: u32) -> Result<Answer, Failed> {
        let pause = Duration::from_secs(1_u64.checked_shl(tries).unwrap_or(u64::MAX));
        // Where none ever answered, the address may be wrong: that is told at once.
        let is_there = self.is_there.load(Ordering::Relaxed);
        let posted = self.door.post(&[("accept", ACCEPT)], body.to_owned(), TIMEOUT).await;
        let (head, bytes) = posted
            .map_err(|silent| Failed { again: (silent.passes && is_there).then_some(pause), stop: silent.stop })?;
        self.is_there.store(true, Ordering::Relaxed);
        let after = head.headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let again = after.map_or(pause, Duration::from_secs);
        read(head.status, &bytes, root).map_err(|(stop, passes)| Failed { stop, again: passes.then_some(again) })
    }
}

/// What was answered, if it has the root; else what is to be said, and whether it passes.
fn read(status: StatusCode, bytes: &Bytes, root: &str) -> Result<Answer, (Stop, bool)> {
    let busy = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(bytes) else {
        let message = format!("error: what answers there (HTTP status {}) is no GraphQL endpoint", status.as_u16());
        let hint = "--gateway URL says where a gateway is, without /graphql";
        return Err((Stop::failed(format!("{message}\n  = hint: {hint}")), busy));
    };
    let data = answer.remove("data").unwrap_or_default();
    let errors = match answer.remove("errors") {
        Some(Value::Array(errors)) => errors,
        _ => Vec::new(),
    };
    let extensions = answer.remove("extensions").unwrap_or_default();
    let request = extensions.get("requestId").and_then(Value::as_str).unwrap_or_default().to_owned();
    if data.get(root).is_some_and(|root| !root.is_null()) {
        return Ok(Answer { data, errors, extensions, request });
    }
    let code = |error: &Value| error.pointer("/extensions/code").and_then(Value::as_str).map(str::to_owned);
    let passes = busy || errors.iter().filter_map(code).any(|code| PASSING.contains(&code.as_str()));
    Err((Stop::refused(told(&errors, &request)), passes))
}

/// The gateway's errors, in its words.
fn told(errors: &[Value], request: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for error in errors {
        let message = error.get("message").and_then(Value::as_str).unwrap_or("an error");
        let code = error.pointer("/extensions/code").and_then(Value::as_str);
        let line = format!("error: {}{}", message.trim_end(), code.map_or(String::new(), |code| format!(" ({code})")));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let codes = |wanted: &str| errors.iter().any(|error| error.pointer("/extensions/code") == Some(&json!(wanted)));
    if lines.is_empty() {
        lines.push("error: the gateway answered nothing".to_owned());
    }
    if codes("UNAUTHENTICATED") {
        lines.push(
            "  = hint: take a new token (--token-file FILE, or HUXIANG_TOKEN); an export goes on with --resume"
                .to_owned(),
        );
    } else if codes("FORBIDDEN") {
        lines.push(
            "  = hint: `--purpose`, `--case` and `--approval` say what for; `huxiang access` what a role may scan by"
                .to_owned(),
        );
    } else if codes("VALIDATION_FAILED") {
        lines.push(
            "  = hint: `huxiang schema` prints what conditions there are; members of `--where` are named as fields are"
                .to_owned(),
        );
    }
    if !request.is_empty() {
        lines.push(format!("  = request: {request}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let of = |status, body: Value| read(status, &Bytes::from(body.to_string()), "farms").err();
        let code = |code| json!({"data": {"farms": null}, "errors": [{"message": "no", "extensions": {"code": code}}]});
        let (stop, passes) = of(StatusCode::OK, code("SOURCE_BUSY")).unwrap();
        assert!(passes && stop.message.contains("no (SOURCE_BUSY)"), "{}", stop.message);
        assert!(!of(StatusCode::OK, code("FORBIDDEN")).unwrap().1);
        assert!(of(StatusCode::SERVICE_UNAVAILABLE, json!("busy")).unwrap().1);
        assert!(!of(StatusCode::NOT_FOUND, json!("nothing")).unwrap().1);
        assert!(of(StatusCode::OK, json!({"data": {"farms": {}}})).is_none());
    }
}
