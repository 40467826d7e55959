//! `source try --record`: an exchange with made-up values, as Markdown that `source test` runs. What is written comes of the
//! made-up values alone: they are asked with and answered once more, by a server of this machine.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::super::Stop;
use super::attempt::{Attempt, Tried};
use super::made_up::MadeUp;
use super::replay;
use crate::model::binding::connection::Connection;
use crate::model::binding::format::{Format, SourceFile};
use crate::model::snapshot::Parts;
use crate::source::Exchange;

/// One endpoint's section.
pub async fn scenario(
    attempt: &Attempt<'_>,
    tried: &Tried,
    parts: &Parts,
    connection: &Connection,
) -> Result<String, Stop> {
    let name = &attempt.name;
    let answered: Vec<&Exchange> = tried.exchanges.iter().filter(|exchange| exchange.status.is_some()).collect();
    // Further tries of the same request are one; a ticket is handed in and asked after.
    let kept = if attempt.template.ticket().is_some() { 0 } else { answered.len().saturating_sub(1) };
    let answered = answered.get(kept..).unwrap_or_default();
    if answered.is_empty() {
        return Err(Stop::failed(format!(
            "error: `{name}` had no answer that could be kept: only exchanges over HTTP can be recorded"
        )));
    }
    let Some(made_up) = MadeUp::new(attempt.template, attempt.mapping, &attempt.keys) else {
        return Err(Stop::failed("error: the system gives no random numbers, and without them nothing is recorded"));
    };
    let responses: Vec<String> = answered.iter().map(|exchange| response(exchange, &made_up, connection)).collect();
    let keys: Vec<Arc<str>> = attempt.keys.iter().map(|key| made_up.text(key).into()).collect();
    let inputs: Vec<(Arc<str>, String)> =
        attempt.inputs.iter().map(|(name, value)| (Arc::clone(name), made_up.text(value))).collect();
    let again = Attempt {
        name: Arc::clone(name),
        entity: Arc::clone(&attempt.entity),
        template: attempt.template,
        mapping: attempt.mapping,
        keys,
        inputs,
    };
    let replayed = replay::replayed(&again, parts, connection, &responses).await?;
    let inputs: serde_json::Map<_, _> =
        again.inputs.iter().map(|(name, value)| (name.to_string(), value.as_str().into())).collect();
    let keys: Vec<&str> = again.keys.iter().map(AsRef::as_ref).collect();
    let asked = json!({"source": &*connection.source, "endpoint": &**name, "keys": keys, "inputs": inputs});
    let exchanges: String = replay::requests_of(&replayed)
        .iter()
        .zip(&responses)
        .map(|(request, response)| format!("```http request\n{request}```\n```http response\n{response}```\n"))
        .collect();
    let fields = replay::outcome_of(&replayed);
    Ok(format!("## {name}\n\n```json try\n{asked:#}\n```\n{exchanges}```json fields\n{fields:#}\n```\n"))
}

/// An answer with made-up values, in UTF-8.
fn response(exchange: &Exchange, made_up: &MadeUp, connection: &Connection) -> String {
    let kind = if connection.format == Format::Xml { "text/xml" } else { "application/json" };
    let body = match (made_up.json(&exchange.answer), connection.format) {
        (Some(json), _) => json,
        (None, Format::Xml) => made_up.xml(&exchange.answer),
        (None, Format::Json) => made_up.text(&exchange.answer),
    };
    let status = exchange.status.unwrap_or_default();
    format!("{status}\ncontent-type: {kind}; charset=utf-8\n\n{}\n", body.trim_end())
}

/// The whole file.
pub fn write(path: &Path, file: &SourceFile, scenarios: &[String]) -> Result<(), Stop> {
    let id = &file.source.value;
    let head = format!(
        "# {id}, recorded\n\nAll values are made up, of the shape that the department's had. Run it without the department's \
         system:\n`huxiang source test FILE --root DIR`.\n"
    );
    replay::put(path, &format!("{head}\n{}", scenarios.join("\n")))
}
