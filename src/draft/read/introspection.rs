//! What a GraphQL server says of itself → SDL.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Wrappers around one type.
const WRAPPED_MAX: usize = 8;

/// The SDL, or what is missing. `value` is the whole answer, or its `data`.
pub fn sdl(value: &Value) -> Result<String, &'static str> {
    let data = value.get("data").unwrap_or(value);
    if let Some(sdl) = data.pointer("/_service/sdl").and_then(Value::as_str) {
        return Ok(sdl.to_owned());
    }
    let schema = data.get("__schema").ok_or("it holds no `__schema`")?;
    let types = schema.get("types").and_then(Value::as_array).ok_or("its `__schema` has no `types`")?;
    let mut out = String::new();
    if let Some(query) = schema.pointer("/queryType/name").and_then(Value::as_str).filter(|name| is_name(name)) {
        let _ = writeln!(out, "schema {{ query: {query} }}");
    }
    for one in types {
        let (Some(name), Some(kind)) = (text(one, "name"), text(one, "kind")) else { continue };
        let builtin = ["Int", "Float", "String", "Boolean", "ID"].contains(&name);
        if !is_name(name) || name.starts_with("__") || builtin {
            continue;
        }
        if ["SCALAR", "ENUM", "OBJECT", "INTERFACE", "UNION", "INPUT_OBJECT"].contains(&kind) {
            described(one, "", &mut out);
        }
        match kind {
            "SCALAR" => {
                let _ = writeln!(out, "scalar {name}");
            }
            "ENUM" => {
                let values: Vec<&str> = all(one, "enumValues").filter_map(|value| text(value, "name")).collect();
                let values: Vec<&str> = values.into_iter().filter(|name| is_name(name)).collect();
                let _ = writeln!(out, "enum {name} {{ {} }}", values.join(" "));
            }
            "OBJECT" | "INTERFACE" => {
                let word = if kind == "OBJECT" { "type" } else { "interface" };
                let _ = writeln!(out, "{word} {name} {{");
                all(one, "fields").for_each(|field| self::field(field, &mut out));
                out.push_str("}\n");
            }
            "UNION" => {
                let members: Vec<&str> = all(one, "possibleTypes").filter_map(|member| text(member, "name")).collect();
                let members: Vec<&str> = members.into_iter().filter(|name| is_name(name)).collect();
                let _ = writeln!(out, "union {name} = {}", members.join(" | "));
            }
            "INPUT_OBJECT" => {
                let fields: Vec<String> = all(one, "inputFields").filter_map(argument).collect();
                let _ = writeln!(out, "input {name} {{ {} }}", fields.join(" "));
            }
            _ => {}
        }
    }
    Ok(out)
}

fn field(field: &Value, out: &mut String) {
    let (Some(name), Some(kind)) = (text(field, "name").filter(|name| is_name(name)), field.get("type")) else {
        return;
    };
    let Some(kind) = written(kind, 0) else { return };
    described(field, "  ", out);
    let arguments: Vec<String> = all(field, "args").filter_map(argument).collect();
    let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
    let _ = writeln!(out, "  {name}{arguments}: {kind}");
}

fn argument(argument: &Value) -> Option<String> {
    let name = text(argument, "name").filter(|name| is_name(name))?;
    let kind = written(argument.get("type")?, 0)?;
    // What it has by itself does not matter, only that there is something.
    let optional = argument.get("defaultValue").is_some_and(|value| !value.is_null());
    Some(format!("{name}: {}", if optional { kind.trim_end_matches('!') } else { &kind }))
}

fn written(kind: &Value, depth: usize) -> Option<String> {
    if depth > WRAPPED_MAX {
        return None;
    }
    let inner = || written(kind.get("ofType")?, depth + 1);
    match text(kind, "kind")? {
        "NON_NULL" => Some(format!("{}!", inner()?.trim_end_matches('!'))),
        "LIST" => Some(format!("[{}]", inner()?)),
        _ => text(kind, "name").filter(|name| is_name(name)).map(str::to_owned),
    }
}

fn described(one: &Value, indent: &str, out: &mut String) {
    if let Some(description) = text(one, "description").filter(|text| !text.trim().is_empty()) {
        let line: Vec<&str> = description.split_whitespace().collect();
        let line: String = line.join(" ").chars().filter(|c| !c.is_control()).take(300).collect();
        let _ = writeln!(out, "{indent}{}", json!(line));
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn all<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The question that a server says of itself with.
pub const QUESTION: &str = "query { __schema { queryType { name } types { kind name description \
    fields(includeDeprecated: false) { name description args { name defaultValue type { ...T } } type { ...T } } \
    inputFields { name defaultValue type { ...T } } enumValues { name } possibleTypes { name } } } } \
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
    ofType { kind name } } } } } }";
/// Asked first: a subgraph's own SDL, with its keys.
pub const SERVICE: &str = "query { _service { sdl } }";
