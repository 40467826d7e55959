//! The reference of all files, in Markdown, out of their schemas.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Kind;

const HEAD: &str = "# Reference of the files

Every key of every file, as the gateway reads it: made from the types that read them, as are the JSON Schemas in
[schema/](schema/binding.json), which `huxiang schema binding`, `platforms`, `gateway`, `roles` and `rules` print. What the keys are
for is told in [bindings](bindings.md), [access](access.md) and [operations](operations.md). An unknown key is a fault.

In an editor with the YAML language server, a first line like this gives completion and these texts:

```yaml
# yaml-language-server: $schema=../docs/schema/binding.json
```
";

/// The whole reference.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    for kind in Kind::ALL {
        of_kind(kind, &mut out);
    }
    out
}

fn of_kind(kind: Kind, out: &mut String) {
    let schema = kind.schema();
    let none = Map::new();
    let definitions = schema.get("definitions").and_then(Value::as_object).unwrap_or(&none);
    let writer = Writer { kind, definitions };
    let _ = writeln!(out, "\n## {}\n", kind.files());
    writer.body(&schema, out);
    let mut order: Vec<&str> = Vec::new();
    follow(&schema, definitions, &mut order);
    for name in order {
        let Some(definition) = definitions.get(name) else { continue };
        let _ = writeln!(out, "\n### {}\n", writer.title(name));
        writer.body(definition, out);
    }
}

/// The definitions in the order in which a reader comes to them.
fn follow<'s>(schema: &'s Value, definitions: &'s Map<String, Value>, order: &mut Vec<&'s str>) {
    match schema {
        Value::Array(all) => all.iter().for_each(|one| follow(one, definitions, order)),
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(named)
                && !order.contains(&name)
            {
                order.push(name);
                if let Some(definition) = definitions.get(name) {
                    follow(definition, definitions, order);
                }
            }
            let inside = members.iter().filter(|(key, _)| *key != "definitions" && *key != "$ref");
            inside.for_each(|(_, one)| follow(one, definitions, order));
        }
        _ => {}
    }
}

fn named(reference: &Value) -> Option<&str> {
    reference.as_str()?.strip_prefix("#/definitions/")
}

struct Writer<'s> {
    kind: Kind,
    definitions: &'s Map<String, Value>,
}

impl Writer<'_> {
    /// `binding: Limits`
    fn title(&self, name: &str) -> String {
        let name = name.strip_suffix("Entry").or_else(|| name.strip_suffix("File")).unwrap_or(name);
        format!("{}: {}", self.kind.name(), if name == "FullField" { "Field as a mapping" } else { name })
    }

    fn link(&self, name: &str) -> String {
        let title = self.title(name);
        let anchor = title.to_lowercase().replace(": ", "-").replace(' ', "-");
        let text = title.split_once(": ").map_or(title.as_str(), |(_, text)| text);
        format!("[{text}](#{anchor})")
    }

    fn body(&self, schema: &Value, out: &mut String) {
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            let _ = writeln!(out, "{}", wrapped(text));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            let _ = writeln!(out, "\n| key | | default | |\n| --- | --- | --- | --- |");
            for (name, property) in properties {
                let default = match property.get("default") {
                    _ if required.iter().any(|one| one == name) => "required".to_owned(),
                    Some(Value::String(text)) => format!("`{text}`"),
                    Some(value) => format!("`{value}`"),
                    None => String::new(),
                };
                let meaning = self.meaning(property);
                let _ = writeln!(out, "| `{name}` | {} | {default} | {meaning} |", self.shape(property));
            }
        } else if let Some(all) = schema.get("oneOf").and_then(Value::as_array) {
            let _ = writeln!(out, "\n| value | |\n| --- | --- |");
            for one in all {
                let text = one.get("description").and_then(Value::as_str).unwrap_or_default();
                for value in values(one) {
                    let _ = writeln!(out, "| `{value}` | {} |", cell(text));
                }
            }
        } else {
            let _ = writeln!(out, "\n{}.", upper(&self.shape(schema)));
        }
    }

    /// What a key says, else what its type says.
    fn meaning(&self, property: &Value) -> String {
        let own = property.get("description").and_then(Value::as_str);
        let of_type = || {
            let name = reference(property)?;
            self.definitions.get(name)?.get("description")?.as_str()
        };
        cell(own.or_else(of_type).unwrap_or_default())
    }

    /// A type, as people read it.
    fn shape(&self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            return self.link(name);
        }
        let listed = values(schema);
        if !listed.is_empty() {
            return listed.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        if let Some(all) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return all.iter().map(|one| self.shape(one)).collect::<Vec<_>>().join(", or ");
        }
        match schema.get("type") {
            Some(Value::String(name)) => match name.as_str() {
                "string" => "text".to_owned(),
                "integer" | "number" => "number".to_owned(),
                "boolean" => "`true`, `false`".to_owned(),
                "array" => format!("list of {}", schema.get("items").map_or_else(String::new, |of| self.shape(of))),
                "object" => match schema.get("additionalProperties") {
                    Some(of @ Value::Object(_)) => format!("names, each with {}", self.shape(of)),
                    _ => "mapping".to_owned(),
                },
                other => other.to_owned(),
            },
            Some(Value::Array(_)) => "text, number, `true`, `false`, null".to_owned(),
            _ => "anything".to_owned(),
        }
    }
}

/// The definition that a schema is nothing but a reference to.
fn reference(schema: &Value) -> Option<&str> {
    let all = schema.get("allOf").and_then(Value::as_array);
    let direct = schema.get("$ref");
    direct.or_else(|| all.and_then(|all| all.first())?.get("$ref")).and_then(named)
}

/// The values that an enumeration lists.
fn values(schema: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let listed = schema.get("enum").and_then(Value::as_array);
    schema
        .get("const")
        .map(|value| vec![text(value)])
        .or_else(|| Some(listed?.iter().map(text).collect()))
        .unwrap_or_default()
}

/// In a table, on one line.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// At 120 columns.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 118 {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
