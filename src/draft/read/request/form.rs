//! Bodies as forms have them: `formData` of OpenAPI 2.0, `application/x-www-form-urlencoded` of 3.x.

use serde_json::Value;

use super::{One, Parameter, Schemas, is_kind, of_kind, parameter};

/// Where their parameters stand.
pub(super) const PLACE: &str = "formData";
const URLENCODED: &str = "application/x-www-form-urlencoded";

/// Whether the body is a form: of JSON and a form, JSON is drafted.
pub(super) fn is_one<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> bool {
    if !one.old {
        let content = content(one, schemas);
        return content
            .is_some_and(|content| of_kind(content, "application/json").is_none() && form(content).is_some());
    }
    declared(one, schemas).next().is_some()
}

/// What `formData` declares, of the operation and of its path.
fn declared<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> impl Iterator<Item = &'a Value> + use<'a> {
    let holders = [one.operation, one.item].into_iter();
    let all = holders.flat_map(|holder| holder.get("parameters").and_then(Value::as_array).into_iter().flatten());
    let all: Vec<&Value> = all.filter_map(|parameter| schemas.resolve(parameter).map(|(found, _)| found)).collect();
    all.into_iter().filter(|parameter| parameter.get("in").and_then(Value::as_str) == Some(PLACE))
}

fn content<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> Option<&'a Value> {
    schemas.resolve(one.operation.get("requestBody")?)?.0.get("content")
}

fn form(content: &Value) -> Option<&Value> {
    of_kind(content, URLENCODED)
}

/// The parameters of a POST's form; none where its body is no form.
pub(super) fn parameters<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> Result<Vec<Parameter<'a>>, String> {
    if one.old { old(one, schemas) } else { new(one, schemas) }
}

fn old<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> Result<Vec<Parameter<'a>>, String> {
    let declared: Vec<&Value> = declared(one, schemas).collect();
    let takes = one.operation.get("consumes").or(schemas.root().get("consumes")).and_then(Value::as_array);
    let is_form = |kind: &Value| kind.as_str().is_some_and(|kind| is_kind(kind, URLENCODED));
    let multipart = takes.is_some_and(|kinds| !kinds.is_empty() && !kinds.iter().any(is_form));
    let mut found: Vec<Parameter> = Vec::new();
    for given in declared {
        let text = |key: &str| given.get(key).and_then(Value::as_str);
        let Some(name) = text("name") else { continue };
        let required = given.get("required").and_then(Value::as_bool) == Some(true);
        let file = text("type") == Some("file");
        if required && (file || multipart || one.method != "post") {
            return Err(format!("it needs `{name}` in a form that a binding cannot send"));
        }
        if !file && one.method == "post" && !found.iter().any(|known| known.name == name) {
            found.push(parameter(given, name, PLACE, required, schemas));
        }
    }
    Ok(found)
}

fn new<'a>(one: &One<'a>, schemas: &mut Schemas<'a>) -> Result<Vec<Parameter<'a>>, String> {
    if one.method != "post" || !is_one(one, schemas) {
        return Ok(Vec::new());
    }
    let Some(form) = content(one, schemas).and_then(form) else { return Ok(Vec::new()) };
    let Some(schema) = form.get("schema") else { return Ok(Vec::new()) };
    let flat = schemas.flat(schema);
    let mut found = Vec::new();
    for (name, property) in &flat.properties {
        let required = flat.required.contains(name);
        let inner = schemas.flat(property);
        if inner.is_object() || inner.format == Some("binary") {
            if required {
                return Err(format!("it needs `{name}`, which is more than a form's text"));
            }
            continue;
        }
        let style = form.get("encoding").and_then(|encoding| encoding.get(*name));
        let style = |key: &str| style.and_then(|style| style.get(key));
        // Lists are repeated where nothing else is said.
        let joined = match (style("style").and_then(Value::as_str), style("explode").and_then(Value::as_bool)) {
            (Some("spaceDelimited"), _) => " ",
            (Some("pipeDelimited"), _) => "|",
            (_, Some(false)) => ",",
            _ => "",
        };
        found.push(Parameter { joined, ..parameter(property, name, PLACE, required, schemas) });
    }
    Ok(found)
}
