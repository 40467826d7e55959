//! OpenAPI 2.0 (Swagger), 3.0 and 3.1, in JSON or YAML.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use serde_saphyr::options::DuplicateKeyPolicy;

use super::schema::{Flat, Schemas};
use super::{example, paths, request, security};
use crate::base::fault::{Faults, Place, SourceText};
use crate::draft::Wanted;
use crate::draft::name;
use crate::draft::operation::{Asked, Envelope, Found, Operation, Record};

/// Bytes of one document.
const BYTES_MAX: usize = 64 << 20;
/// Members that hold the records of an answer, the likeliest first.
const LISTS: [&str; 12] = [
    "items", "list", "records", "rows", "data", "results", "result", "content", "values", "entries", "value",
    "elements",
];
/// Members that hold the data of an envelope, and those that say whether the answer counts.
const DATA: [&str; 6] = ["data", "result", "body", "payload", "response", "results"];
const OK: [&str; 8] = ["success", "code", "retCode", "errcode", "errCode", "errno", "resultCode", "status"];
const MESSAGES: [&str; 8] = ["message", "msg", "errmsg", "errMsg", "error", "retMsg", "resultMsg", "desc"];

/// An operation, with what its answer seems to be wrapped in.
struct Candidate {
    operation: Operation,
    envelope: Option<Envelope>,
}

/// `depth`: objects in objects, at most.
pub fn read(
    document: &Value,
    file: &Arc<SourceText>,
    wanted: &Wanted,
    taken: HashSet<String>,
    depth: usize,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Option<Found> {
    let old = version(document, file, faults)?;
    let Some(Value::Object(paths)) = document.get("paths") else {
        faults.add(
            file,
            Place::default(),
            "the document has no `paths`",
            "an OpenAPI document names its operations there",
        );
        return None;
    };
    let made = example::schemas(document);
    let mut schemas = Schemas::new(document, depth, &made);
    schemas.types.taken = taken;
    let mut found = Found { about: about(document), ..Found::default() };
    security::read(document, &wanted.source, &mut schemas, &mut found);
    let mut candidates = Vec::new();
    let mut names = HashSet::new();
    let mut fields = 0;
    for (path, item) in paths {
        if fields > crate::draft::FIELDS_MAX && depth > crate::draft::DEPTH_MIN {
            found.is_cut = true;
            break;
        }
        if wanted.only.as_ref().is_some_and(|only| !path.starts_with(only.as_str())) {
            continue;
        }
        let Some((item, _)) = schemas.resolve(item) else { continue };
        for method in ["get", "post"] {
            let Some(operation) = item.get(method).filter(|operation| operation.is_object()) else { continue };
            schemas.begin();
            let name = operation_name(method, path, operation, &mut names);
            let one = One { old, method, path, item, operation, name };
            match one.read(&mut schemas, wanted) {
                Ok(candidate) => {
                    fields += candidate.operation.record.count();
                    candidates.push(candidate);
                }
                // A POST that does not read is nothing that was left out.
                Err(why) if method == "get" || !why.is_empty() => {
                    found.left_out.push((format!("{} {path}", method.to_uppercase()), why));
                }
                Err(_) => {}
            }
        }
    }
    settle_envelope(candidates, &mut found);
    for (target, why) in std::mem::take(&mut schemas.broken) {
        let hint = "what it stands for is left out; bundle the document into one file, or correct the reference";
        warnings.add(file, place_of(&file.text, &target), format!("`{target}` is not followed: {why}"), hint);
    }
    found.types = schemas.types;
    Some(found)
}

/// A document as a tree, whichever it is written in.
pub fn parse(file: &Arc<SourceText>, faults: &mut Faults) -> Option<Value> {
    let text = file.text.as_str();
    if text.len() > BYTES_MAX {
        let hint = "cut the document to the operations that are wanted";
        faults.add(file, Place::default(), format!("the document is longer than {BYTES_MAX} bytes"), hint);
        return None;
    }
    let (place, message) = if text.trim_start().starts_with('{') {
        match serde_json::from_str(text) {
            Ok(value) => return Some(paths::in_braces(value)),
            Err(error) => (Place { line: error.line(), column: error.column(), length: 1 }, plain(&error.to_string())),
        }
    } else {
        let budget = serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 16_000_000, max_depth: 128 };
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins, budget: budget };
        match serde_saphyr::from_str_with_options(text, options) {
            Ok(value) => return Some(paths::in_braces(value)),
            Err(error) => {
                let place = error.location().map(crate::model::yaml::at).unwrap_or_default();
                (place, plain(error.without_snippet().to_string().lines().next().unwrap_or_default()))
            }
        }
    };
    faults.add(file, place, format!("the document cannot be read: {message}"), "it is JSON or YAML, in UTF-8");
    None
}

fn plain(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// Whether it is version 2.
fn version(document: &Value, file: &Arc<SourceText>, faults: &mut Faults) -> Option<bool> {
    let text = |key: &str| match document.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match (text("swagger"), text("openapi")) {
        (Some(two), _) if two.starts_with('2') => Some(true),
        (_, Some(three)) if three.starts_with("3.") || three == "3" => Some(false),
        (Some(other), _) | (_, Some(other)) => {
            let place = place_of(&file.text, &other);
            faults.add(file, place, format!("version {other} of OpenAPI is not known"), "2.0, 3.0 and 3.1 are");
            None
        }
        _ => {
            let hint = "it begins with `openapi: 3…` or `swagger: \"2.0\"`";
            faults.add(file, Place::default(), "the file is not an OpenAPI document", hint);
            None
        }
    }
}

/// Where a text first stands.
fn place_of(text: &str, wanted: &str) -> Place {
    let Some(before) = text.find(wanted).and_then(|at| text.get(..at)) else { return Place::default() };
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1, length: wanted.chars().count() }
}

fn about(document: &Value) -> Vec<String> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let mut about = Vec::new();
    if let Some(title) = text("/info/title") {
        about.push(format!("{title} {}", text("/info/version").unwrap_or_default()).trim_end().to_owned());
    }
    if let Some(url) = text("/servers/0/url") {
        about.push(format!("the document says it is at {url}"));
    } else if let Some(host) = text("/host") {
        let scheme = text("/schemes/0").unwrap_or("https");
        about.push(format!("the document says it is at {scheme}://{host}{}", text("/basePath").unwrap_or_default()));
    } else if let Some(path) = text("/basePath") {
        about.push(format!("the document says it is below {path}"));
    }
    about
}

fn operation_name(method: &str, path: &str, operation: &Value, taken: &mut HashSet<String>) -> String {
    let given = operation.get("operationId").and_then(Value::as_str).and_then(name::camel);
    let wished = given.unwrap_or_else(|| {
        let literal: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && !part.contains('{')).collect();
        let prefix = if method == "post" { "post " } else { "" };
        let wished = name::camel(&format!("{prefix}{}", literal.join(" "))).unwrap_or_else(|| "root".to_owned());
        // `/houses` took the name of `/houses/{id}`, which is one of them.
        let one = Some(name::singular(&wished)).filter(|one| taken.contains(&wished) && !taken.contains(one));
        one.filter(|_| path.ends_with('}')).unwrap_or(wished)
    });
    name::unique(wished, taken)
}

/// One operation, as it stands in the document.
pub(super) struct One<'a> {
    pub old: bool,
    pub method: &'a str,
    pub path: &'a str,
    pub item: &'a Value,
    pub operation: &'a Value,
    pub name: String,
}

/// What is said of the answer where all is well.
struct Answered<'a> {
    schema: &'a Value,
    /// It has a `Link` header.
    link: bool,
    /// The schema is that of an example.
    is_example: bool,
}

impl<'a> Answered<'a> {
    /// `holder`: a response (OpenAPI 2.0), or one media type of it.
    fn of(holder: &'a Value, link: bool, schemas: &mut Schemas<'a>) -> Result<Self, String> {
        if let Some(schema) = schemas.made(holder) {
            return Ok(Self { schema, link, is_example: true });
        }
        let schema = holder.get("schema").ok_or("the document does not say what its answer holds")?;
        schemas.of_answer(schema)?;
        Ok(Self { schema, link, is_example: false })
    }
}

impl<'a> One<'a> {
    fn read(&self, schemas: &mut Schemas<'a>, wanted: &Wanted) -> Result<Candidate, String> {
        let asking = request::read(self, schemas, wanted)?;
        let Answered { schema, link, is_example } = self.answer(schemas)?;
        let flat = schemas.flat(schema);
        let (envelope, data) = match self.envelope(&flat, schemas) {
            Some((envelope, data)) => (Some(envelope), data),
            None => (None, flat),
        };
        let cut = asking.cut.pages(&data, link, schemas);
        let (record, items) = self.record(data, &envelope, schemas)?;
        let mut request = asking.request;
        let many = matches!(asking.asked, Asked::Many(_));
        if let Some(items) = items.filter(|items| !many || !items.is_empty()) {
            request.insert("items".to_owned(), json!(items));
        }
        let mut decide = asking.decide;
        if is_example {
            decide.push(
                "fields: an example is all that the document says; are there others, and of these types?".to_owned(),
            );
        }
        match cut.filter(|_| record.list && !many) {
            Some((pages, what)) => {
                request.insert("pages".to_owned(), pages);
                decide.push(what);
            }
            None if record.list && !many && asking.cut.is_cut() => {
                decide.push("pages: it has a parameter for them, but its answer does not tell of the next".to_owned());
            }
            None => {}
        }
        let summary = ["summary", "description"].iter().find_map(|key| self.operation.get(*key)?.as_str());
        let operation = Operation {
            field: None,
            name: self.name.clone(),
            label: format!("{} {}", self.method.to_uppercase(), self.path),
            summary: summary.map(str::to_owned),
            asked: asking.asked,
            request,
            batch: None,
            decide,
            record,
        };
        Ok(Candidate { operation, envelope })
    }

    fn answer(&self, schemas: &mut Schemas<'a>) -> Result<Answered<'a>, String> {
        let responses = self.operation.get("responses").and_then(Value::as_object);
        let responses = responses.ok_or("the document does not say what it answers")?;
        let fine = ["200", "2XX", "2xx", "201", "203", "default"].iter().find_map(|status| responses.get(*status));
        let response = schemas.of_answer(fine.ok_or("the document has no answer with status 200")?)?;
        let headers = response.get("headers").and_then(Value::as_object);
        let link = headers.is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case("link")));
        if self.old {
            return Answered::of(response, link, schemas);
        }
        let content = response
            .get("content")
            .and_then(Value::as_object)
            .ok_or("the document does not say what its answer holds")?;
        let json = content.iter().find(|(kind, _)| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind == "*/*" || kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
        });
        let (_, media) = json.or_else(|| content.iter().find(|(kind, _)| kind.contains("json"))).ok_or_else(|| {
            let kinds: Vec<&str> = content.keys().take(3).map(String::as_str).collect();
            format!("it answers {}, not JSON", if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") })
        })?;
        Answered::of(media, link, schemas)
    }

    /// `{code, message, data}` and its like.
    fn envelope(&self, flat: &Flat<'a>, schemas: &mut Schemas<'a>) -> Option<(Envelope, Flat<'a>)> {
        let property = |name: &str| flat.properties.iter().find(|(known, _)| *known == name).map(|(_, schema)| *schema);
        let (data, inside) = DATA.iter().find_map(|name| Some((*name, property(name)?)))?;
        let (ok, test) = OK.iter().find_map(|name| Some((*name, property(name)?)))?;
        if flat.properties.len() > 8 {
            return None;
        }
        let test = schemas.flat(test);
        let (is, guessed) = match test.kind {
            Some("boolean") => (vec!["true".to_owned()], false),
            Some("integer" | "number" | "string") | None => (vec!["0".to_owned(), "200".to_owned()], true),
            _ => return None,
        };
        let inside = schemas.flat(inside);
        (inside.is_object() || inside.is_list()).then(|| {
            let message = MESSAGES.iter().find(|name| property(name).is_some()).map(|name| format!("/{name}"));
            (Envelope { ok: format!("/{ok}"), is, data: format!("/{data}"), message, guessed }, inside)
        })
    }

    /// The record that the data holds, and where the list of them is.
    fn record(
        &self,
        data: Flat<'a>,
        envelope: &Option<Envelope>,
        schemas: &mut Schemas<'a>,
    ) -> Result<(Record, Option<String>), String> {
        let (data, items) = if data.is_list() {
            (schemas.flat(data.items.ok_or("the list's elements have no form")?), Some(String::new()))
        } else {
            match self.list_inside(&data, envelope.is_some(), schemas) {
                Some((pointer, element)) => (element, Some(pointer)),
                None => (data, None),
            }
        };
        if !data.is_object() {
            let value = schemas.scalars(&data, items, &self.name);
            let value = value.ok_or("it answers neither an object with properties nor a plain value")?;
            return Ok((Record { name: None, list: false, members: vec![value] }, None));
        }
        let wish = data.name.map_or_else(|| self.name.clone(), str::to_owned);
        let members = schemas.members(&data, &wish);
        if members.is_empty() {
            return Err("no property of its answer could be bound".to_owned());
        }
        Ok((Record { name: data.name.map(str::to_owned), list: items.is_some(), members }, items))
    }

    /// The one list of objects of a page.
    fn list_inside(&self, data: &Flat<'a>, wrapped: bool, schemas: &mut Schemas<'a>) -> Option<(String, Flat<'a>)> {
        let mut lists = Vec::new();
        for (name, schema) in &data.properties {
            let flat = schemas.flat(schema);
            if let Some(element) = flat.is_list().then_some(flat.items).flatten() {
                let element = schemas.flat(element);
                if element.is_object() {
                    lists.push((*name, element));
                }
            }
        }
        let single = lists.len() == 1;
        let at = LISTS.iter().find_map(|known| lists.iter().position(|(name, _)| name == known));
        let page = data.properties.iter().all(|(name, _)| lists.iter().any(|(list, _)| list == name) || of_pages(name));
        let at = at
            .filter(|_| single && (page || wrapped || data.properties.len() <= 6))
            .or((single && page).then_some(0))?;
        let (name, element) = lists.into_iter().nth(at)?;
        Some((format!("/{}", name.replace('~', "~0").replace('/', "~1")), element))
    }
}

/// Members that speak of the page and not of what is on it.
fn of_pages(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "total",
        "count",
        "page",
        "size",
        "limit",
        "offset",
        "next",
        "prev",
        "more",
        "cursor",
        "links",
        "meta",
        "object",
        "url",
        "kind",
        "etag",
        "last",
        "first",
        "incomplete",
        "success",
        "status",
        "code",
        "message",
        "msg",
        "errors",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// One envelope for the source, where all answers have it; else pointers go through it.
fn settle_envelope(candidates: Vec<Candidate>, found: &mut Found) {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for envelope in candidates.iter().filter_map(|candidate| candidate.envelope.as_ref()) {
        *counts.entry((envelope.ok.clone(), envelope.data.clone())).or_default() += 1;
    }
    let all = counts.len() == 1 && candidates.iter().all(|candidate| candidate.envelope.is_some());
    if all {
        found.envelope = candidates.iter().find_map(|candidate| candidate.envelope.clone());
    } else if let Some(((ok, _), count)) = counts.iter().max_by_key(|(_, count)| **count) {
        found.decide.push(format!(
            "{count} of the answers say whether they count at {ok}, others do not: no `envelope` for all"
        ));
    }
    for Candidate { mut operation, envelope } in candidates {
        if let Some(envelope) = envelope.filter(|_| !all) {
            through(&mut operation, &envelope.data);
        }
        found.operations.push(operation);
    }
}

/// Pointers begin outside the envelope.
fn through(operation: &mut Operation, data: &str) {
    if let Some(Value::Object(pages)) = operation.request.get_mut("pages") {
        for key in ["next", "link"] {
            if let Some(Value::String(at)) = pages.get_mut(key).filter(|at| **at != "header") {
                at.insert_str(0, data);
            }
        }
    }
    match operation.request.get("items").and_then(Value::as_str) {
        Some(items) => {
            let items = format!("{data}{items}");
            operation.request.insert("items".to_owned(), json!(items));
        }
        None if operation.record.list => {
            operation.request.insert("items".to_owned(), json!(data));
        }
        None => operation.record.members.iter_mut().for_each(|member| member.begin_at(data)),
    }
}

pub(super) fn object(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
