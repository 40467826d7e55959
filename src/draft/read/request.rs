//! Parameters and bodies → how an operation is asked.

mod form;

use serde_json::{Map, Value, json};

use super::openapi::One;
use super::pages::Cut;
use super::schema::Schemas;
use crate::draft::Wanted;
use crate::draft::name;
use crate::draft::operation::{Asked, Key};

/// Words by which a POST says that it reads.
const READS: [&str; 13] =
    ["get", "query", "search", "find", "list", "batch", "lookup", "select", "check", "verify", "fetch", "read", "page"];
/// Names of keys that say nothing of what they are the key of.
const GENERIC: [&str; 8] = ["id", "key", "code", "name", "no", "number", "uuid", "slug"];
/// Keys in one call where the document does not say.
const BATCH: u64 = 100;

pub struct Asking {
    pub asked: Asked,
    pub request: Map<String, Value>,
    pub decide: Vec<String>,
    /// For an answer that is a list.
    pub cut: Cut,
}

struct Parameter<'a> {
    name: &'a str,
    place: &'a str,
    required: bool,
    list: bool,
    numbers: bool,
    /// What stands for a list in a query or a path.
    joined: &'static str,
    /// A value the document gives: it must be this one, or may be.
    fixed: Option<String>,
    items_max: Option<u64>,
    maximum: Option<u64>,
}

impl Parameter<'_> {
    /// It stands beside others, each with its name.
    fn is_given(&self) -> bool {
        matches!(self.place, "query" | form::PLACE)
    }
}

/// The error says why the operation cannot be asked; empty where it does not read.
pub fn read<'a>(one: &One<'a>, schemas: &mut Schemas<'a>, wanted: &Wanted) -> Result<Asking, String> {
    let parameters = parameters(one, schemas)?;
    let mut asking =
        Asking { asked: Asked::With(Vec::new()), request: Map::new(), decide: Vec::new(), cut: Cut::default() };
    let (mut query, mut headers, mut form) = (Map::new(), Map::new(), Map::new());
    // What stands after `#` tells operations of one path apart.
    let path = one.path.split('#').next().unwrap_or_default();
    let (path, given) = path.split_once('?').unwrap_or((path, ""));
    let mut path = path.to_owned();
    for pair in given.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.insert(name.to_owned(), json!(value));
    }
    let undeclared =
        |name: &&str| !parameters.iter().any(|parameter| parameter.place == "path" && parameter.name == *name);
    if let Some(name) = in_braces(one.path).find(undeclared) {
        return Err(format!("its path has `{{{name}}}`, which the document does not declare"));
    }
    let is_key = |parameter: &Parameter| {
        let named = wanted.keys.iter().any(|(name, _)| name == parameter.name);
        named || (wanted.entity.is_none() && parameter.required && parameter.fixed.is_none())
    };
    let mut keys: Vec<&Parameter> = parameters.iter().filter(|parameter| is_key(parameter)).collect();
    let post = one.method == "post";
    if post && !form::is_one(one, schemas) {
        return body(one, schemas, wanted, &parameters);
    }
    if post && !reads(one) {
        return Err(String::new());
    }
    if keys.is_empty() && wanted.entity.is_none() {
        let batch = |parameter: &&Parameter| parameter.list && parameter.is_given() && of_keys(parameter.name);
        keys.extend(parameters.iter().find(batch));
    }
    if let (Some(_), true) = (&wanted.entity, keys.is_empty()) {
        return Err("it takes none of the parameters given with --key".to_owned());
    }
    for parameter in &parameters {
        if keys.iter().any(|key| std::ptr::eq(*key, parameter)) || !parameter.required {
            continue;
        }
        let Some(fixed) = &parameter.fixed else {
            return Err(format!("it needs `{}` too", parameter.name));
        };
        asking.decide.push(format!("`{}` is always {}", parameter.name, fixed));
        match parameter.place {
            "path" => path = path.replace(&format!("{{{}}}", parameter.name), fixed),
            "header" => drop(headers.insert(parameter.name.to_owned(), json!(fixed))),
            form::PLACE => drop(form.insert(parameter.name.to_owned(), json!(fixed))),
            _ => drop(query.insert(parameter.name.to_owned(), json!(fixed))),
        }
    }
    // A filter (`status`, `q`) is an argument and no key.
    let filter = |key: &Parameter| wanted.entity.is_none() && key.place != "path" && !of_keys(key.name);
    let single = keys.len() == 1 && !keys.iter().any(|key| filter(key));
    for key in &keys {
        let placeholder = match (single, key.list) {
            (true, true) if key.place == "path" && key.joined.is_empty() => "{keys:,}".to_owned(),
            (true, true) if key.joined.is_empty() => "{keys}".to_owned(),
            (true, true) => format!("{{keys:{}}}", key.joined),
            (true, false) => "{key}".to_owned(),
            (false, false) => format!("{{arg.{}}}", argument(key.name)),
            (false, true) => {
                asking.decide.push(format!("`{}` takes a list: one value is asked with", key.name));
                format!("{{arg.{}}}", argument(key.name))
            }
        };
        match key.place {
            "path" => path = path.replace(&format!("{{{}}}", key.name), &placeholder),
            "header" => drop(headers.insert(key.name.to_owned(), json!(placeholder))),
            form::PLACE => drop(form.insert(key.name.to_owned(), json!(placeholder))),
            _ => drop(query.insert(key.name.to_owned(), json!(placeholder))),
        }
    }
    asking.request.insert(one.method.to_owned(), json!(path));
    if post {
        asking.request.insert("form".to_owned(), Value::Object(form));
    }
    for (name, map) in [("query", query), ("headers", headers)] {
        if !map.is_empty() {
            asking.request.insert(name.to_owned(), Value::Object(map));
        }
    }
    for parameter in parameters.iter().filter(|parameter| parameter.is_given() && !parameter.required) {
        asking.cut.add(parameter.name, parameter.fixed.as_deref(), parameter.maximum);
    }
    asking.asked = match keys.as_slice() {
        [key] if single && key.list => {
            asking.request.insert("batch_max".to_owned(), json!(key.items_max.unwrap_or(BATCH).clamp(1, 5_000)));
            if key.items_max.is_none() {
                asking.decide.push("batch_max: how many keys does one call take?".to_owned());
            }
            Asked::Many(Key { required: key.required, ..key_of(one.path, key.name, key.place) })
        }
        [key] if single => Asked::One(key_of(one.path, key.name, key.place)),
        several => Asked::With(
            several.iter().map(|key| (argument(key.name), if key.numbers { "Int!" } else { "String!" })).collect(),
        ),
    };
    Ok(asking)
}

fn in_braces(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0))
}

fn argument(name: &str) -> String {
    name::camel(name).unwrap_or_else(|| "argument".to_owned())
}

pub fn of_keys(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["id", "ids", "code", "codes", "key", "keys", "number", "numbers"].iter().any(|ending| name.ends_with(ending))
}

pub fn key_of(path: &str, parameter: &str, place: &str) -> Key {
    let last = place == "path" && path.trim_end_matches('/').ends_with(&format!("{{{parameter}}}"));
    let singular = name::singular(parameter);
    let mut group = name::camel(&singular).unwrap_or_else(|| "key".to_owned());
    let generic = GENERIC.contains(&group.to_ascii_lowercase().as_str());
    if generic {
        let before = path.split(&format!("{{{parameter}}}")).next().unwrap_or_default();
        let literal =
            before.split('/').rfind(|part| part.chars().any(|c| c.is_ascii_alphabetic()) && !part.contains('{'));
        if let Some(literal) = literal {
            group = name::camel(&format!("{} {group}", name::singular(literal))).unwrap_or(group);
        }
    }
    Key { parameter: parameter.to_owned(), group, last, required: true, generic }
}

fn parameters<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> Result<Vec<Parameter<'a>>, String> {
    let mut found: Vec<Parameter> = Vec::new();
    for holder in [one.operation, one.item] {
        for parameter in holder.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let Some((parameter, _)) = schemas.resolve(parameter) else { continue };
            let text = |key: &str| parameter.get(key).and_then(Value::as_str);
            let (Some(name), Some(place)) = (text("name"), text("in")) else { continue };
            let required = place == "path" || parameter.get("required").and_then(Value::as_bool) == Some(true);
            let given_elsewhere = place == "header"
                && ["accept", "authorization", "content-type"].contains(&name.to_ascii_lowercase().as_str());
            let known = found.iter().any(|known| known.name == name && known.place == place);
            if given_elsewhere || known || place == "body" {
                continue;
            }
            if required && place == "cookie" {
                return Err(format!("it needs `{name}` in a {place}, which a binding cannot give"));
            }
            if matches!(place, "query" | "path" | "header") {
                found.push(self::parameter(parameter, name, place, required, schemas));
            }
        }
    }
    found.extend(form::parameters(one, schemas)?);
    Ok(found)
}

/// What a content of this kind holds; a kind may have parameters (`; charset=utf-8`).
fn of_kind<'a>(content: &'a Value, kind: &str) -> Option<&'a Value> {
    let found = content.as_object()?.iter().find(|(given, _)| is_kind(given, kind));
    found.map(|(_, media)| media)
}

fn is_kind(given: &str, kind: &str) -> bool {
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}

fn parameter<'a>(
    parameter: &'a Value,
    name: &'a str,
    place: &'a str,
    required: bool,
    schemas: &mut Schemas<'a>,
) -> Parameter<'a> {
    let media = || of_kind(parameter.get("content")?, "application/json")?.get("schema");
    let schema = parameter.get("schema").or_else(media).unwrap_or(parameter);
    let flat = schemas.flat(schema);
    let items = flat.items.map(|items| schemas.flat(items));
    let list = flat.is_list();
    let kind = items.as_ref().filter(|_| list).and_then(|items| items.kind).or(flat.kind);
    let style = parameter.get("style").and_then(Value::as_str);
    let explode = parameter.get("explode").and_then(Value::as_bool);
    let joined = match (parameter.get("collectionFormat").and_then(Value::as_str), style) {
        (Some("multi"), _) => "",
        (Some("ssv"), _) | (_, Some("spaceDelimited")) => " ",
        (Some("tsv"), _) => "\t",
        (Some("pipes"), _) | (_, Some("pipeDelimited")) => "|",
        (Some(_), _) => ",",
        // OpenAPI 2.0 has the type beside the name, and commas where it says nothing.
        (None, _) if parameter.get("schema").is_none() && parameter.get("type").is_some() => ",",
        _ if explode == Some(false) || place != "query" => ",",
        _ => "",
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    };
    let (schema, _) = schemas.resolve(schema).unwrap_or((schema, None));
    let whole = |key: &str| schema.get(key).and_then(Value::as_u64);
    let fixed = schema.get("default").and_then(text).or_else(|| flat.values?.first().and_then(text));
    Parameter {
        name,
        place,
        required,
        list,
        numbers: matches!(kind, Some("integer" | "number")),
        joined,
        fixed,
        items_max: whole("maxItems"),
        maximum: whole("maximum"),
    }
}

/// Whether a POST says that it reads.
fn reads(one: &One<'_>) -> bool {
    let mut said = name_words(&one.name);
    said.extend(one.path.rsplit('/').next().map(name_words).unwrap_or_default());
    said.iter().any(|word| READS.contains(&word.as_str()))
}

/// A POST that reads: its body holds a list of keys, or one.
fn body<'a>(
    one: &One<'a>,
    schemas: &mut Schemas<'a>,
    wanted: &Wanted,
    parameters: &[Parameter],
) -> Result<Asking, String> {
    if !reads(one) {
        return Err(String::new());
    }
    if one.path.contains(['?', '{']) {
        return Err("its path has parameters beside its body".to_owned());
    }
    if let Some(needed) = parameters.iter().find(|parameter| parameter.required) {
        return Err(format!("it needs `{}` beside its body", needed.name));
    }
    let schema = if one.old {
        let given = one.operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let body =
            given.filter_map(|given| schemas.resolve(given)).find(|(given, _)| given.get("in") == Some(&json!("body")));
        body.and_then(|(body, _)| body.get("schema"))
    } else {
        let body = one.operation.get("requestBody").and_then(|body| schemas.resolve(body));
        body.and_then(|(body, _)| of_kind(body.get("content")?, "application/json")?.get("schema"))
    };
    let flat = schemas.flat(schema.ok_or_else(String::new)?);
    let mut asking =
        Asking { asked: Asked::With(Vec::new()), request: Map::new(), decide: Vec::new(), cut: Cut::default() };
    asking.request.insert("post".to_owned(), json!(one.path));
    let placeholder = |name: &str, kind: Option<&str>| {
        format!("{{{name}{}}}", if matches!(kind, Some("integer" | "number")) { "#" } else { "" })
    };
    if flat.is_list() {
        let items = schemas.flat(flat.items.ok_or_else(String::new)?);
        if items.is_object() || items.is_list() || wanted.entity.is_some() {
            return Err("its body is a list of something else than keys".to_owned());
        }
        asking.request.insert("body".to_owned(), json!(placeholder("keys", items.kind)));
        asking.request.insert("batch_max".to_owned(), json!(BATCH));
        asking.decide.push("batch_max: how many keys does one call take?".to_owned());
        asking.asked = Asked::Many(key_of(one.path, "id", "body"));
        return Ok(asking);
    }
    let required = &flat.required;
    let mut keyed = None;
    let mut body = Map::new();
    for (name, property) in &flat.properties {
        let inner = schemas.flat(property);
        let given = wanted.keys.iter().any(|(key, _)| key == name);
        let element = inner.items.filter(|_| inner.is_list()).map(|items| schemas.flat(items));
        let scalars = element.as_ref().is_some_and(|element| !element.is_object() && !element.is_list());
        let fits = given
            || (wanted.entity.is_none()
                && (scalars && of_keys(name) || required.as_slice() == [*name] && !inner.is_object()));
        if fits && keyed.is_none() {
            let kind = element.as_ref().map_or(inner.kind, |element| element.kind);
            body.insert((*name).to_owned(), json!(placeholder(if scalars { "keys" } else { "key" }, kind)));
            keyed = Some((*name, scalars));
        } else if required.contains(name) {
            return Err(format!("it needs `{name}` too"));
        }
    }
    let (name, many) = keyed.ok_or("its body holds nothing that looks like keys")?;
    asking.request.insert("body".to_owned(), Value::Object(body));
    let key = key_of(one.path, name, "body");
    asking.asked = if many {
        asking.request.insert("batch_max".to_owned(), json!(BATCH));
        asking.decide.push("batch_max: how many keys does one call take?".to_owned());
        Asked::Many(key)
    } else {
        Asked::One(key)
    };
    Ok(asking)
}

fn name_words(text: &str) -> Vec<String> {
    let upper = name::upper(text).unwrap_or_default();
    upper.split('_').map(str::to_ascii_lowercase).collect()
}
