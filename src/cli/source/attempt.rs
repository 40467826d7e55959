//! What of a binding can be asked with the keys that were given, and asking it: the very calls that the gateway makes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::Stop;
use crate::base::fault::{Faults, did_you_mean};
use crate::base::pointer::Pointer;
use crate::engine::project::trace::{self, Traced};
use crate::model::binding::connection::Connection;
use crate::model::binding::mapping::Mapping;
use crate::model::binding::request::CallTemplate;
use crate::model::binding::{Source, SourceId};
use crate::model::config::egress::EgressConfig;
use crate::model::snapshot::Parts;
use crate::source::{CallContext, Caller, Connector, Exchange, Exchanges, Fetch, Fetched, PageAt, Shared, SourceError};

/// What a read may take altogether, beside the deadline of its calls.
const READ_MAX: Duration = Duration::from_secs(120);

/// `--key`: a value, and what it is the value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub name: Option<String>,
    pub value: String,
}

impl Given {
    /// `VALUE`, or `NAME=VALUE` where the name is one of a field, an input or an argument.
    pub fn parse(text: &str) -> Self {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => Self { name: Some(name.to_owned()), value: value.to_owned() },
            _ => Self { name: None, value: text.to_owned() },
        }
    }
}

/// One endpoint or root query with what it is asked with.
pub struct Attempt<'a> {
    pub name: Arc<str>,
    /// What the answer is about.
    pub entity: Arc<str>,
    pub template: &'a CallTemplate,
    pub mapping: &'a Mapping,
    pub keys: Vec<Arc<str>>,
    pub inputs: Vec<(Arc<str>, String)>,
}

/// What came of it.
pub struct Tried {
    pub exchanges: Vec<Exchange>,
    pub answer: Result<Fetched, SourceError>,
    /// By record, in the order of the answer: whose it is, and its fields.
    pub records: Vec<(Option<Arc<str>>, Vec<Traced>)>,
    pub unread: Vec<(String, Value)>,
    pub total: Duration,
}

/// The source of a binding among what was loaded.
pub fn source_of<'a>(parts: &'a Parts, id: &str) -> Option<(SourceId, &'a Source)> {
    let at = parts.bindings.sources.iter().position(|source| *source.id == *id)?;
    Some((SourceId(u32::try_from(at).ok()?), parts.bindings.sources.get(at)?))
}

/// What can be asked, and for the rest what is missing: the names that `--key` would take.
pub fn choose<'a>(
    parts: &'a Parts,
    source: SourceId,
    given: &[Given],
    only: Option<&str>,
) -> Result<(Vec<Attempt<'a>>, Vec<String>), Stop> {
    let contract = &parts.contract;
    let (mut attempts, mut missing) = (Vec::new(), Vec::new());
    let mut names: Vec<&str> = Vec::new();
    let value_of =
        |names: &[&str]| given.iter().find(|one| one.name.as_deref().is_some_and(|name| names.contains(&name)));
    for endpoint in parts.bindings.endpoints.iter().filter(|endpoint| endpoint.source == source) {
        names.push(&endpoint.name);
        if only.is_some_and(|only| *only != *endpoint.name) {
            continue;
        }
        let key = contract.slot(endpoint.key);
        let named = |one: &Given| one.name.as_deref().is_none_or(|name| *name == *key.path || *name == *key.name);
        let keys: Vec<Arc<str>> = given.iter().filter(|one| named(one)).map(|one| one.value.as_str().into()).collect();
        let Some((template, size)) = endpoint.template(keys.len()) else { continue };
        let mut inputs = Vec::new();
        let mut lacking = Vec::new();
        if keys.is_empty() {
            lacking.push(format!("{}=…", key.path));
        }
        for (name, slot) in &endpoint.with {
            match value_of(&[name, &contract.slot(*slot).path]) {
                Some(one) => inputs.push((Arc::clone(name), one.value.clone())),
                None => lacking.push(format!("{name}=…")),
            }
        }
        if !lacking.is_empty() {
            missing.push(format!("{}: --key {}", endpoint.name, lacking.join(" --key ")));
            continue;
        }
        if keys.len() > size {
            let message =
                format!("error: `{}` takes {size} keys in one call, and {} were given", endpoint.name, keys.len());
            return Err(Stop::failed(message));
        }
        let entity = Arc::clone(&contract.entity(endpoint.entity).name);
        let name = Arc::clone(&endpoint.name);
        attempts.push(Attempt { name, entity, template, mapping: &endpoint.mapping, keys, inputs });
    }
    for query in parts.bindings.queries.iter().flatten().filter(|query| query.source == source) {
        names.push(&query.name);
        let needed = query.ask.needs_inputs();
        // A listing that takes nothing is asked only where it is meant.
        if only.map_or(needed.is_empty() && !given.is_empty(), |only| *only != *query.name) {
            continue;
        }
        let mut inputs = Vec::new();
        let mut lacking = Vec::new();
        for input in needed {
            let short = input.strip_prefix("arg.").unwrap_or(input);
            match value_of(&[input, short]) {
                Some(one) => inputs.push((Arc::clone(input), one.value.clone())),
                None => lacking.push(format!("{short}=…")),
            }
        }
        if !lacking.is_empty() {
            missing.push(format!("{}: --key {}", query.name, lacking.join(" --key ")));
            continue;
        }
        let entity = Arc::clone(&contract.entity(query.entity).name);
        let name = Arc::clone(&query.name);
        attempts.push(Attempt {
            name,
            entity,
            template: &query.ask,
            mapping: &query.mapping,
            keys: Vec::new(),
            inputs,
        });
    }
    if let Some(only) = only.filter(|only| !names.contains(only)) {
        let hint = did_you_mean(only, names.iter().copied(), &format!("there are {}", names.join(", ")));
        return Err(Stop::failed(format!("error: the binding has no endpoint or query `{only}`; {hint}")));
    }
    Ok((attempts, missing))
}

/// Asks. Of a list that the source cuts into pages, the first page.
pub async fn ask(
    attempt: &Attempt<'_>,
    parts: &Parts,
    connection: &Connection,
    caller: &Caller,
    egress: &EgressConfig,
) -> Result<Tried, Stop> {
    let exchanges = Arc::new(Exchanges::default());
    let shared = Shared::new(egress.clone());
    let failed = |why: String| Stop::failed(format!("error: the source cannot be asked: {why}"));
    let connector = Connector::new(connection.clone(), &shared).map_err(failed)?.watched(&exchanges);
    let context =
        CallContext { request_id: "source-try".to_owned(), caller: Some(caller.clone()), ..CallContext::default() };
    let wanted: Vec<Pointer> = match attempt.template.selects_fields() {
        true => attempt.mapping.wanted_pointers(&|_| true),
        false => Vec::new(),
    };
    let began = Instant::now();
    let answer = connector
        .fetch(Fetch {
            template: attempt.template,
            keys: &attempt.keys,
            inputs: &attempt.inputs,
            wanted: &wanted,
            deadline: began + READ_MAX,
            context: &context,
            page: attempt.template.page().map(|_| PageAt::First),
        })
        .await;
    let total = began.elapsed();
    let (mut records, mut unread): (_, Vec<(String, Value)>) = (Vec::new(), Vec::new());
    let reading = &attempt.template.reading;
    let mut known: Vec<&Pointer> = reading.item_key.iter().collect();
    known.extend(reading.only.as_ref().map(|only| &only.at));
    for record in answer.iter().flat_map(|fetched| &fetched.records) {
        let key = usize::try_from(record.key).ok().and_then(|at| attempt.keys.get(at)).cloned();
        records.push((key, trace::fields(&parts.contract, attempt.mapping, record.json.value(), None)));
        let value = serde_json::from_str(record.json.raw()).unwrap_or_default();
        for (at, example) in trace::unread(attempt.mapping, &value, &known) {
            if !unread.iter().any(|(there, _)| *there == at) {
                unread.push((at, example));
            }
        }
    }
    Ok(Tried { exchanges: exchanges.take(), answer, records, unread, total })
}

/// The connection that is asked: the only one, or the instance that is named; without a name, the first.
pub fn connection<'a>(source: &'a Source, instance: Option<&str>) -> Result<&'a Arc<Connection>, Stop> {
    let id = |connection: &Connection| connection.instance.as_ref().map(|instance| instance.id.clone());
    let found = match instance {
        Some(wanted) => source.connections.iter().find(|connection| id(connection).as_deref() == Some(wanted)),
        None => source.connections.first(),
    };
    found.ok_or_else(|| {
        let known: Vec<String> = source.connections.iter().filter_map(|connection| id(connection)).collect();
        Stop::failed(match instance {
            Some(wanted) => {
                let hint = did_you_mean(wanted, known.iter().map(String::as_str), "the instance list has others");
                format!("error: there is no instance `{wanted}`; {hint}")
            }
            None => "error: the source has no instance that could be asked".to_owned(),
        })
    })
}

/// Faults of a file that is to be asked: none may be there.
pub fn refused(faults: &Faults) -> Result<(), Stop> {
    if faults.is_empty() { Ok(()) } else { Err(super::super::load::refused(faults)) }
}
