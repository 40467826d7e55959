//! Answers that a document describes by an example alone → the schema that the example has.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::schema::says_nothing;

/// Values of one example that are looked at, how deep, and how many elements of one list.
const VALUES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 16;
const ELEMENTS_MAX: usize = 20;

/// Schemas by where they are wanted: a response (OpenAPI 2.0), or one media type of it.
pub type Made = HashMap<*const Value, Value>;

/// For all answers of a document whose form nothing else tells.
pub fn schemas(document: &Value) -> Made {
    let mut made = Made::new();
    let operations = members(document.get("paths")).flat_map(|item| members(Some(item)));
    let responses = operations.flat_map(|operation| members(operation.get("responses")));
    let shared = members(document.pointer("/components/responses")).chain(members(document.get("responses")));
    for response in responses.chain(shared) {
        for holder in members(response.get("content")).chain([response]) {
            if holder.get("schema").is_none_or(says_nothing)
                && let Some(example) = example(holder, document)
            {
                made.insert(std::ptr::from_ref(holder), of(&example));
            }
        }
    }
    made
}

fn members(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::values)
}

/// `example`, the first of `examples` (by media type in OpenAPI 2.0), or one that the schema gives.
fn example(holder: &Value, document: &Value) -> Option<Value> {
    let of_schema = |schema: &Value| schema.get("example").or_else(|| schema.get("examples")?.get(0)).cloned();
    let named = |examples: &Value| {
        let all = examples.as_object()?;
        let typed = all.iter().find(|(kind, _)| kind.split(';').next().unwrap_or_default().trim().ends_with("json"));
        if let Some((_, example)) = typed.filter(|(_, example)| example.get("value").is_none()) {
            return Some(example.clone());
        }
        all.values().find_map(|example| {
            let target = example.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            target.map_or(Some(example), |target| document.pointer(target))?.get("value").cloned()
        })
    };
    let found = holder.get("example").cloned().or_else(|| holder.get("examples").and_then(named));
    let found = found.or_else(|| holder.get("schema").and_then(of_schema))?;
    // Many documents hold the JSON as a text.
    let inside = found.as_str().filter(|text| text.trim_start().starts_with(['{', '[']));
    Some(inside.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(found))
}

fn of(example: &Value) -> Value {
    schema(example, 0, &mut 0)
}

fn schema(example: &Value, depth: usize, seen: &mut usize) -> Value {
    *seen += 1;
    if depth > DEPTH_MAX || *seen > VALUES_MAX {
        return json!({});
    }
    match example {
        Value::Null => json!({"type": "string"}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(number) if number.is_f64() => json!({"type": "number"}),
        Value::Number(number) => json!({"type": "integer", "example": number}),
        Value::String(text) => match format(text) {
            Some(format) => json!({"type": "string", "format": format}),
            None => json!({"type": "string"}),
        },
        Value::Array(elements) => {
            let mut items: Option<Value> = None;
            for element in elements.iter().take(ELEMENTS_MAX) {
                let one = schema(element, depth + 1, seen);
                items = Some(match items.take() {
                    Some(known) => both(known, one),
                    None => one,
                });
            }
            items.map_or(json!({"type": "array"}), |items| json!({"type": "array", "items": items}))
        }
        Value::Object(members) => {
            let properties: Map<String, Value> =
                members.iter().map(|(name, member)| (name.clone(), schema(member, depth + 1, seen))).collect();
            json!({"type": "object", "properties": properties})
        }
    }
}

/// What fits two elements of one list. Where they differ in kind, a text does where both are plain, else the first.
fn both(known: Value, other: Value) -> Value {
    let kind = |schema: &Value| schema.get("type").and_then(Value::as_str).map(str::to_owned);
    match (kind(&known).as_deref(), kind(&other).as_deref()) {
        (Some("object"), Some("object")) => {
            let properties = |schema: Value| match schema {
                Value::Object(mut members) => match members.remove("properties") {
                    Some(Value::Object(properties)) => properties,
                    _ => Map::new(),
                },
                _ => Map::new(),
            };
            let mut all = properties(known);
            for (name, schema) in properties(other) {
                let merged = match all.remove(&name) {
                    Some(known) => both(known, schema),
                    None => schema,
                };
                all.insert(name, merged);
            }
            json!({"type": "object", "properties": all})
        }
        (Some("array"), Some("array")) => match (known.get("items").cloned(), other.get("items").cloned()) {
            (Some(one), Some(other)) => json!({"type": "array", "items": both(one, other)}),
            (Some(_), None) => known,
            _ => other,
        },
        (Some("integer"), Some("integer")) => {
            let size = |schema: &Value| schema.get("example").and_then(Value::as_f64).unwrap_or_default().abs();
            if size(&other) > size(&known) { other } else { known }
        }
        (Some("integer" | "number"), Some("integer" | "number")) => json!({"type": "number"}),
        (Some("object" | "array"), _) | (None, _) => known,
        // A null was looked at before.
        (Some("string"), Some("object" | "array")) if known.get("format").is_none() => other,
        (_, Some("object" | "array") | None) => known,
        _ if known == other => known,
        _ => json!({"type": "string"}),
    }
}

fn format(text: &str) -> Option<&'static str> {
    if text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10 {
        return Some("date");
    }
    // Times without an offset are those of +08:00 to the gateway.
    let is_time = text.len() >= 19 && text.as_bytes().get(10) == Some(&b'T');
    (is_time && text.trim_end_matches('Z').parse::<jiff::civil::DateTime>().is_ok()).then_some("date-time")
}
