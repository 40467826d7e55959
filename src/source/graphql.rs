//! GraphQL sources: the selection set is built from the wanted pointers, nothing else is named.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::connector::Call;
use super::failure::{Failure, redacted};
use super::records::{PageEnd, holds};
use super::rest::page_parameters;
use super::{Fetched, PageAt, Remark, Said, charset, json};
use crate::base::code::ErrorCode;
use crate::base::json::{Json, JsonValue};
use crate::base::pointer::Pointer;
use crate::model::binding::format::Encoding;
use crate::model::binding::request::PageBy;
use crate::model::binding::request::graphql::{GraphqlAsk, GraphqlField, GraphqlVariable, is_name};
use crate::model::binding::request::reading::ErrorReading;
use crate::model::binding::request::template::{json_number, json_text, key_list};
use crate::source::wire::{Outgoing, Plain, content_type};

/// Fields to select, nested.
#[derive(Debug, Default)]
struct Selection(BTreeMap<String, Selection>);

impl Selection {
    /// Numbers are places in lists, not fields.
    fn add(&mut self, segments: &[Box<str>]) -> Result<(), Failure> {
        let mut here = self;
        for segment in segments.iter().filter(|segment| segment.parse::<usize>().is_err()) {
            if !is_name(segment) {
                let detail = format!("`{segment}` is not a GraphQL field; correct the pointer in the binding");
                return Err(Failure::new(ErrorCode::Internal, detail));
            }
            here = here.0.entry(segment.to_string()).or_default();
        }
        Ok(())
    }

    fn print(&self, out: &mut String) {
        if self.0.is_empty() {
            return;
        }
        out.push('{');
        for (n, (name, inside)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(' ');
            }
            out.push_str(name);
            inside.print(out);
        }
        out.push('}');
    }
}

/// One page of a read.
pub(crate) async fn page(
    call: &Call<'_>,
    ask: &GraphqlAsk,
    at: &PageAt,
    out: &mut Fetched,
) -> Result<PageEnd, Failure> {
    let mut body = String::from("{\"query\":");
    json_text(&document(call, ask, at)?, &mut body);
    body.push_str(",\"variables\":");
    variables(call, ask, &mut body)?;
    extensions(call, &mut body);
    body.push('}');
    let reply = call.wire()?.send(&outgoing(call, body)?).await?;
    let ok = reply.status.is_success();
    let status = reply.status;
    let refused = || {
        let detail = format!("the source answered with HTTP status {}", status.as_u16());
        Failure::new(ErrorCode::SourceError, detail).with_status(status)
    };
    let text = charset::decode(reply.body, Encoding::Auto, content_type(&reply.headers), false);
    let answer = match text.and_then(json::read) {
        Ok(answer) => answer,
        Err(_) if !ok => return Err(refused()),
        Err(bad) => return Err(bad),
    };
    let errors = Errors::read(answer.root(), call.connection().errors.as_ref())?;
    if !ok && errors.0.is_empty() {
        return Err(refused());
    }
    let end = read(call, ask, &answer, &errors, out)?;
    masked(call, ask, answer.root(), out)?;
    Ok(end)
}

/// Notes what the answer says is masked in it. One that does not say is no answer: a part of a value would look like all
/// of it.
fn masked(call: &Call<'_>, ask: &GraphqlAsk, answer: JsonValue<'_>, out: &mut Fetched) -> Result<(), Failure> {
    let Some(at) = &call.connection().masked else { return Ok(()) };
    let listed = json::find(answer, at).filter(|paths| paths.is_list());
    let listed = listed.ok_or_else(|| Failure::bad(format!("the answer has no list at `{at}` (masked)")))?;
    let items: &[Box<str>] = call.fetch.template.reading.items.as_ref().map_or(&[], Pointer::segments);
    for listed in listed.elements() {
        let names = path(listed)?;
        let names = names.iter().filter(|part| part.parse::<u32>().is_err()).map(|part| part.as_str().into());
        let names: Vec<Box<str>> = names.collect();
        let Some((root, inside)) = names.split_first() else { continue };
        let key = match ask {
            GraphqlAsk::Aliases { .. } => root.strip_prefix('a').and_then(|key| key.parse().ok()),
            _ => None,
        };
        if let Some(inside) = inside.strip_prefix(items) {
            out.remarks.push(Remark { key, path: inside.into(), what: Said::Masked });
        }
    }
    Ok(())
}

fn read(
    call: &Call<'_>,
    ask: &GraphqlAsk,
    answer: &Arc<Json>,
    errors: &Errors<'_>,
    out: &mut Fetched,
) -> Result<PageEnd, Failure> {
    let member = |name: &str| Pointer::parse(&format!("/data/{name}")).unwrap_or_default();
    let value = |name: &str| json::find(answer.root(), &member(name));
    let reader = call.reader();
    match ask {
        GraphqlAsk::Plain { .. } | GraphqlAsk::Argument { .. } => {
            let partial = matches!(ask, GraphqlAsk::Argument { .. }) && call.connection().errors.is_some();
            if partial && !errors.0.is_empty() {
                let key = if call.fetch.template.many { Of::All } else { Of::Key(0) };
                let (all, nothing) = (value("r"), |data: Option<JsonValue<'_>>| data.is_none_or(JsonValue::is_null));
                let of = |path: &[String]| (path.first()? == "r").then_some((key, 1));
                errors.partly(call, of, |_| nothing(all), out)?;
                if nothing(all) {
                    return Ok(PageEnd::default());
                }
            } else if !errors.0.is_empty() {
                return Err(errors.failure(call));
            }
            let data = value("r").ok_or_else(missing)?;
            let cursor = reader.cursor(data)?;
            out.total = reader.total(data);
            Ok(PageEnd { count: reader.data(answer, data, None, out)?, cursor, mark: None })
        }
        GraphqlAsk::Aliases { .. } => {
            let failed = errors.keys(
                call,
                |path| Some((path.first()?.strip_prefix('a')?.parse().ok()?, 1)),
                out,
                |key| value(&format!("a{key}")).is_none_or(JsonValue::is_null),
            )?;
            let given = |key: &u32| !failed.contains(key) && !out.refused.contains(key);
            for key in (0..call.key_count()).filter(given).collect::<Vec<u32>>() {
                let data = value(&format!("a{key}")).ok_or_else(missing)?;
                if call.fetch.template.reading.items.is_none() && data.is_list() {
                    for item in data.elements() {
                        reader.data(answer, item, Some(key), out)?;
                    }
                } else {
                    reader.data(answer, data, Some(key), out)?;
                }
            }
            out.failed.extend(failed);
            Ok(PageEnd::default())
        }
        GraphqlAsk::Entities { .. } => {
            let list = value("_entities").filter(|list| list.is_list());
            let entities: Option<Vec<JsonValue<'_>>> = list.map(|list| list.elements().collect());
            let of = |path: &[String]| match path {
                [first, index, ..] if first == "_entities" => Some((index.parse().ok()?, 2)),
                _ => None,
            };
            let there = |key: u32| entities.as_ref()?.get(usize::try_from(key).ok()?).copied();
            let failed = errors.keys(call, of, out, |key| there(key).is_none_or(JsonValue::is_null))?;
            let entities = entities.ok_or_else(missing)?;
            if u32::try_from(entities.len()).ok() != Some(call.key_count()) {
                return Err(Failure::bad("the answer has not as many entities as were asked for"));
            }
            let refused = out.refused.clone();
            let given = |key: &u32| !failed.contains(key) && !refused.contains(key);
            for (entity, key) in entities.into_iter().zip(0..).filter(|(_, key)| given(key)) {
                reader.data(answer, entity, Some(key), out)?;
            }
            out.failed.extend(failed);
            Ok(PageEnd::default())
        }
    }
}

fn missing() -> Failure {
    Failure::bad("the answer lacks a field that was asked for")
}

/// The answer's `errors`.
struct Errors<'t>(Vec<Told<'t>>);

/// One of them.
struct Told<'t> {
    /// Of what it is: one place where the binding says nothing else.
    paths: Vec<Vec<String>>,
    message: Option<JsonValue<'t>>,
    refused: bool,
}

/// Whose a path is.
#[derive(Clone, Copy)]
enum Of {
    Key(u32),
    All,
}

impl<'t> Errors<'t> {
    fn read(answer: JsonValue<'t>, reading: Option<&ErrorReading>) -> Result<Self, Failure> {
        let list = answer.member("errors");
        let mut all = Vec::new();
        for error in list.into_iter().flat_map(JsonValue::elements) {
            let listed = reading.and_then(|reading| reading.paths.as_ref()).and_then(|at| json::find(error, at));
            let paths = match listed.filter(|paths| paths.is_list()) {
                Some(paths) => paths.elements().map(path).collect::<Result<_, _>>()?,
                None => vec![error.member("path").map_or(Ok(Vec::new()), path)?],
            };
            let refused = match reading.and_then(|reading| reading.refused.as_ref()) {
                Some(test) => holds(test, error)?,
                None => false,
            };
            all.push(Told { paths, message: error.member("message"), refused });
        }
        Ok(Self(all))
    }

    fn failure(&self, call: &Call<'_>) -> Failure {
        let message = self.0.first().and_then(|error| json::text(error.message?).ok()).unwrap_or_default();
        let message = redacted(&message, call.fetch.keys, call.fetch.inputs);
        Failure::new(ErrorCode::SourceError, "the source answered with errors").saying(Some(message))
    }

    /// The keys that errors belong to; where one belongs to none, or no key is left, the whole answer failed. `key` gives
    /// whose a path is, and how many parts of it lead to the record.
    fn keys(
        &self,
        call: &Call<'_>,
        key: impl Fn(&[String]) -> Option<(u32, usize)>,
        out: &mut Fetched,
        nothing: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, Failure> {
        let known = |path: &[String]| key(path).filter(|(key, _)| *key < call.key_count());
        let mut failed = Vec::new();
        if call.connection().errors.is_some() {
            let empty: Vec<bool> = (0..call.key_count()).map(nothing).collect();
            let is_empty = |of: Of| match of {
                Of::Key(key) => usize::try_from(key).ok().and_then(|key| empty.get(key)).is_none_or(|empty| *empty),
                Of::All => false,
            };
            self.partly(call, |path| known(path).map(|(key, skip)| (Of::Key(key), skip)), is_empty, out)?;
            failed = std::mem::take(&mut out.failed);
            failed.extend(&out.refused);
        } else {
            for path in self.0.iter().flat_map(|error| &error.paths) {
                match known(path) {
                    Some((key, _)) if failed.contains(&key) => {}
                    Some((key, _)) => failed.push(key),
                    None => return Err(self.failure(call)),
                }
            }
        }
        let all = u32::try_from(failed.len()).ok() == Some(call.key_count());
        if !failed.is_empty() && all && out.refused.is_empty() {
            return Err(self.failure(call));
        }
        failed.retain(|key| !out.refused.contains(key));
        Ok(failed)
    }

    /// What is missing for an error, as far as it is told: a field, or all of a key.
    fn partly(
        &self,
        call: &Call<'_>,
        of: impl Fn(&[String]) -> Option<(Of, usize)>,
        nothing: impl Fn(Of) -> bool,
        out: &mut Fetched,
    ) -> Result<(), Failure> {
        let items: &[Box<str>] = call.fetch.template.reading.items.as_ref().map_or(&[], Pointer::segments);
        for Told { paths, refused, .. } in &self.0 {
            for path in paths {
                let (of, skip) = of(path).ok_or_else(|| self.failure(call))?;
                let names = path.iter().skip(skip).filter(|part| part.parse::<usize>().is_err());
                let names: Vec<Box<str>> = names.map(|part| part.as_str().into()).collect();
                let inside = names.strip_prefix(items).filter(|inside| !inside.is_empty() && !nothing(of));
                let key = match of {
                    Of::Key(key) => Some(key),
                    Of::All => None,
                };
                match (inside, key) {
                    (Some(inside), key) => {
                        let what = if *refused { Said::Refused } else { Said::Failed };
                        out.remarks.push(Remark { key, path: inside.into(), what });
                    }
                    (None, Some(key)) if *refused => add(&mut out.refused, key),
                    (None, Some(key)) if call.key_count() > 1 => add(&mut out.failed, key),
                    (None, None) if *refused => (0..call.key_count()).for_each(|key| add(&mut out.refused, key)),
                    (None, _) => return Err(self.failure(call)),
                }
            }
        }
        Ok(())
    }
}

fn add(keys: &mut Vec<u32>, key: u32) {
    if !keys.contains(&key) {
        keys.push(key);
    }
}

/// A response path; none where it is not there.
fn path(path: JsonValue<'_>) -> Result<Vec<String>, Failure> {
    path.elements().map(|part| json::text(part).map(|text| text.into_owned())).collect()
}

fn outgoing(call: &Call<'_>, body: String) -> Result<Outgoing, Failure> {
    let address = &call.target()?.address;
    let uri = address.at(address.path().to_owned())?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let signed = call.connection().sign.is_some();
    let plain = signed.then(|| Box::new(Plain { json: Some(body.clone()), ..Plain::default() }));
    Ok(Outgoing { method: Method::POST, uri, headers, body: Bytes::from(body), plain })
}

fn document(call: &Call<'_>, ask: &GraphqlAsk, at: &PageAt) -> Result<String, Failure> {
    let selection = selection(call)?;
    let paging: String =
        page_parameters(call, at).into_iter().map(|(name, _, json)| format!(" {name}:{json}")).collect();
    // Named `c0`, `c1` …: constants are variables too, for only those can hold every value of every type.
    let call_of = |field: &GraphqlField, key: &str, paging: &str| {
        let constants =
            field.constants.iter().enumerate().map(|(n, (constant, _))| format!(" {}:$c{n}", constant.name));
        let arguments = format!("{key}{}{paging}", constants.collect::<String>());
        if arguments.is_empty() {
            field.name.to_string()
        } else {
            format!("{}({})", field.name, arguments.trim_start())
        }
    };
    let query = |declared: &str, field: &GraphqlField, selected: &str| {
        let constants =
            field.constants.iter().enumerate().map(|(n, (constant, _))| format!(" $c{n}:{}", constant.kind));
        let declared = format!("{declared}{}", constants.collect::<String>());
        let declared = if declared.is_empty() { declared } else { format!("({})", declared.trim()) };
        format!("query{declared}{{{selected}}}")
    };
    Ok(match ask {
        GraphqlAsk::Plain { field } => query("", field, &format!("r:{}{selection}", call_of(field, "", &paging))),
        GraphqlAsk::Argument { field, argument: GraphqlVariable { name, kind, .. } } => {
            let called = call_of(field, &format!("{name}:$k"), &paging);
            query(&format!("$k:{kind}"), field, &format!("r:{called}{selection}"))
        }
        GraphqlAsk::Aliases { field, argument: GraphqlVariable { name, kind, .. } } => {
            let (mut declared, mut fields) = (String::new(), String::new());
            for key in 0..call.key_count() {
                let _ = write!(declared, "$k{key}:{kind} ");
                let called = call_of(field, &format!("{name}:$k{key}"), "");
                let _ = write!(fields, "a{key}:{called}{selection} ");
            }
            query(declared.trim_end(), field, fields.trim_end())
        }
        GraphqlAsk::Entities { typename, .. } => {
            let selection = if selection.is_empty() { "{__typename}" } else { &selection };
            format!("query($r:[_Any!]!){{_entities(representations:$r){{... on {typename}{selection}}}}}")
        }
    })
}

/// What is read of the field's value: the wanted fields of its records, their key, the next cursor, how many there are.
fn selection(call: &Call<'_>) -> Result<String, Failure> {
    let template = call.fetch.template;
    let reading = &template.reading;
    let items: &[Box<str>] = reading.items.as_ref().map_or(&[], Pointer::segments);
    let of_record = |pointer: &Pointer| -> Vec<Box<str>> { items.iter().chain(pointer.segments()).cloned().collect() };
    let mut selection = Selection::default();
    selection.add(items)?;
    let own = reading.item_key.iter().chain(reading.only.as_ref().map(|only| &only.at));
    for pointer in call.fetch.wanted.iter().chain(own) {
        selection.add(&of_record(pointer))?;
    }
    if call.fetch.wanted.is_empty() && reading.item_key.is_none() && reading.only.is_none() {
        selection.add(&[items, &["__typename".into()]].concat())?;
    }
    if let Some(PageBy::Cursor { next, .. }) = template.page().map(|page| &page.by) {
        selection.add(next.segments())?;
    }
    if let Some(total) = &reading.total {
        selection.add(total.segments())?;
    }
    let mut out = String::new();
    selection.print(&mut out);
    Ok(out)
}

/// What a caller in whose name a token is sent declares beside it; and that the answer is to say what is masked in it.
fn extensions(call: &Call<'_>, out: &mut String) {
    let mut sent: Map<String, Value> = Map::new();
    if let Some(caller) = call.fetch.context.caller.as_ref().filter(|_| call.connection().delegates()) {
        let declared = [("purpose", &caller.purpose), ("case", &caller.case)];
        sent.extend(declared.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))));
    }
    if call.connection().masked.is_some() {
        sent.insert("masked".to_owned(), Value::Bool(true));
    }
    if !sent.is_empty() {
        let _ = write!(out, ",\"extensions\":{}", Value::Object(sent));
    }
}

fn variables(call: &Call<'_>, ask: &GraphqlAsk, out: &mut String) -> Result<(), Failure> {
    let values = call.values();
    let scalar = |numbers: bool, key: &str, out: &mut String| {
        if numbers {
            return json_number(key, out);
        }
        json_text(key, out);
        Ok(())
    };
    out.push('{');
    let before = out.len();
    match ask {
        GraphqlAsk::Plain { .. } => {}
        GraphqlAsk::Argument { argument, .. } => {
            out.push_str("\"k\":");
            if argument.kind.trim_start().starts_with('[') && !values.keys.is_empty() {
                key_list(&values, argument.numbers, out)?;
            } else {
                let missing = || Failure::new(ErrorCode::InputMissing, "the request's argument has no value");
                scalar(argument.numbers, values.key().ok_or_else(missing)?, out)?;
            }
        }
        GraphqlAsk::Aliases { argument, .. } => {
            for (n, key) in values.keys.iter().enumerate() {
                let _ = write!(out, "{}\"k{n}\":", if n > 0 { "," } else { "" });
                scalar(argument.numbers, key, out)?;
            }
        }
        GraphqlAsk::Entities { typename, key: field } => {
            out.push_str("\"r\":[");
            for (n, key) in values.keys.iter().enumerate() {
                let _ = write!(out, "{}{{\"__typename\":\"{typename}\",\"{field}\":", if n > 0 { "," } else { "" });
                json_text(key, out);
                out.push('}');
            }
            out.push(']');
        }
    }
    if let GraphqlAsk::Plain { field } | GraphqlAsk::Argument { field, .. } | GraphqlAsk::Aliases { field, .. } = ask {
        for (n, (_, value)) in field.constants.iter().enumerate() {
            let _ = write!(out, "{}\"c{n}\":{value}", if out.len() > before { "," } else { "" });
        }
    }
    out.push('}');
    Ok(())
}
