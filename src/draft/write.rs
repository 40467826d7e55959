//! A draft as its two files.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::arrange::{Arranged, Endpoint, Entity, KeyOf, Query};
use super::types::{Definition, Member, Shape};
use super::{Draft, Wanted};
use crate::model::contract::Contract;

const COMMENT_MAX: usize = 110;
/// Operations that are left out are told up to here.
const LEFT_OUT_MAX: usize = 50;

/// `CIVIL_AFFAIRS_URL` for the source `civil-affairs`.
pub fn variable(source: &str, what: &str) -> String {
    format!("{}_{what}", source.to_ascii_uppercase().replace('-', "_"))
}

pub fn write(arranged: Arranged, wanted: &Wanted, contract: Option<&Contract>) -> Draft {
    let binding = binding(&arranged, wanted);
    let contract = contract_text(&arranged, wanted, contract);
    let decisions = [&binding, &contract].map(|text| text.matches("# decide: ").count()).iter().sum();
    Draft { binding, contract, bound: arranged.bound, left_out: arranged.left_out, decisions }
}

/// One line of what others wrote, fit for a comment.
fn line(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || !is_printable(c)).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.chars().count() > COMMENT_MAX {
            out = out.chars().take(COMMENT_MAX).collect();
            out.push('…');
            break;
        }
    }
    out
}

fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text in YAML: plain where nothing could be read into it, else in quotation marks.
fn text(value: &str) -> String {
    let plain = !value.is_empty()
        && value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
        && !value.ends_with('.')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&value.to_ascii_lowercase().as_str());
    if plain {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                let _ = if u32::from(c) < 0x1_0000 {
                    write!(out, "\\u{:04x}", u32::from(c))
                } else {
                    write!(out, "\\U{:08x}", u32::from(c))
                };
            }
        }
    }
    out.push('"');
    out
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Object(members) => {
            let all: Vec<String> =
                members.iter().map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn binding(arranged: &Arranged, wanted: &Wanted) -> String {
    let mut out =
        String::from("# A draft. Every `# decide:` is for somebody who knows the source; then take the mark away.\n");
    for about in &arranged.about {
        let _ = writeln!(out, "# {}", line(about));
    }
    let _ = writeln!(out, "source: {}", text(&wanted.source));
    let _ = writeln!(out, "title: {}", text(&wanted.title));
    out.push_str("# decide: steward: {head: …, person: …}, and the territory: division codes that it covers\n");
    if let Some(protocol) = arranged.protocol {
        let _ = writeln!(out, "protocol: {protocol}");
    }
    let _ = writeln!(out, "base_url: ${{{}}}", variable(&wanted.source, "URL"));
    for decide in &arranged.decide {
        let _ = writeln!(out, "# decide: {}", line(decide));
    }
    if !arranged.headers.is_empty() {
        let headers: Map<String, Value> =
            arranged.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let _ = writeln!(out, "headers: {}", flow(&Value::Object(headers)));
    }
    if !arranged.sign.is_empty() {
        let _ = writeln!(out, "sign: {}", flow(&Value::Object(arranged.sign.clone())));
    }
    if let Some(envelope) = &arranged.envelope {
        if envelope.guessed {
            let _ = writeln!(
                out,
                "# decide: which values of {} mean success, and which mean that there is no record (`absent`)",
                envelope.ok
            );
        }
        let is: Vec<Value> = envelope.is.iter().map(|value| json!(value)).collect();
        let mut members = Map::new();
        members.insert("ok".to_owned(), json!({"at": envelope.ok, "is": is}));
        members.insert("data".to_owned(), json!(envelope.data));
        if let Some(message) = &envelope.message {
            members.insert("message".to_owned(), json!(message));
        }
        let _ = writeln!(out, "envelope: {}", flow(&Value::Object(members)));
    }
    if arranged.entities.iter().any(|entity| !entity.endpoints.is_empty()) {
        out.push_str("endpoints:\n");
        for entity in &arranged.entities {
            for endpoint in &entity.endpoints {
                self::endpoint(endpoint, entity, &mut out);
            }
        }
    }
    if !arranged.queries.is_empty() {
        out.push_str("queries:\n");
        for query in &arranged.queries {
            self::query(query, &mut out);
        }
    }
    left_out(&arranged.left_out, &mut out);
    out
}

fn endpoint(endpoint: &Endpoint, entity: &Entity, out: &mut String) {
    let _ = writeln!(out, "  # {}", line(&endpoint.label));
    for decide in &endpoint.decide {
        let _ = writeln!(out, "  # decide: {}", line(decide));
    }
    let _ = writeln!(out, "  {}:\n    entity: {}", text(&endpoint.name), entity.name);
    if let Some(key) = &endpoint.key {
        let _ = writeln!(out, "    key: {}", text(key));
    }
    if endpoint.establishes {
        out.push_str("    establishes: true\n");
    }
    for (name, request) in [("one", &endpoint.one), ("many", &endpoint.many)] {
        if let Some(request) = request {
            let _ = writeln!(out, "    {name}: {}", flow(&Value::Object(request.clone())));
        }
    }
    out.push_str("    fields:\n");
    for member in &endpoint.fields {
        field(member, "", 6, out);
    }
}

fn query(query: &Query, out: &mut String) {
    let _ = writeln!(out, "  # {}", line(&query.label));
    for decide in &query.decide {
        let _ = writeln!(out, "  # decide: {}", line(decide));
    }
    let _ = writeln!(out, "  {}:\n    ask: {}", text(&query.name), flow(&Value::Object(query.request.clone())));
    let _ = match &query.key {
        KeyOf::At(at) => writeln!(out, "    key_at: {}", text(at)),
        KeyOf::Text(key) => writeln!(out, "    key: {}", text(key)),
    };
    if !query.fields.is_empty() {
        out.push_str("    fields:\n");
        for member in &query.fields {
            field(member, "", 6, out);
        }
    }
}

fn field(member: &Member, above: &str, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    let path = format!("{above}{}", member.name);
    if let Some(decide) = member.decide.as_ref() {
        let _ = writeln!(out, "{pad}# decide: {path}: {}", line(decide));
    }
    match &member.shape {
        Shape::Object { inside, .. } => {
            for member in inside {
                field(member, &format!("{path}."), indent, out);
            }
        }
        Shape::List { inside, .. } => {
            let _ = writeln!(out, "{pad}{}:\n{pad}  list: {}\n{pad}  fields:", text(&path), text(&member.pointer));
            for member in inside {
                field(member, "", indent + 4, out);
            }
        }
        Shape::Entity { .. } => {
            let _ = writeln!(out, "{pad}{}: {}", text(&path), flow(&json!({"ref": member.pointer})));
        }
        Shape::Leaf { list: false, options, .. } if options.is_empty() => {
            let _ = writeln!(out, "{pad}{}: {}", text(&path), text(&member.pointer));
        }
        Shape::Leaf { list, options, .. } => {
            let mut mapping = Map::new();
            mapping.insert(if *list { "list" } else { "at" }.to_owned(), json!(member.pointer));
            mapping.extend(options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
            let _ = writeln!(out, "{pad}{}: {}", text(&path), flow(&Value::Object(mapping)));
        }
    }
}

fn left_out(left_out: &[(String, String)], out: &mut String) {
    if left_out.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "# decide: {} operations that read are left out; write an endpoint for those that are wanted:",
        left_out.len()
    );
    for (name, why) in left_out.iter().take(LEFT_OUT_MAX) {
        let _ = writeln!(out, "#   {}", line(&format!("{name}: {why}")));
    }
    if left_out.len() > LEFT_OUT_MAX {
        let _ = writeln!(out, "#   and {} more", left_out.len() - LEFT_OUT_MAX);
    }
}

fn contract_text(arranged: &Arranged, wanted: &Wanted, contract: Option<&Contract>) -> String {
    let types = &arranged.types;
    let written = |name: &str| types.written(name).to_owned();
    let class = format!("@class(name: {}, level: 4)", json!(wanted.source));
    let mut body = String::new();
    for entity in &arranged.entities {
        body.push_str(
            "\n# decide: which data classes and levels; until then all is of one class, at the highest level\n",
        );
        if entity.existing {
            let _ = writeln!(body, "extend type {} {{", entity.name);
        } else {
            let _ = writeln!(
                body,
                "type {} @key(fields: \"{}\") {class} {{\n  {}: ID!",
                entity.name, entity.key, entity.key
            );
        }
        for member in &entity.fields {
            sdl_field(member, &written, if entity.existing { &class } else { "" }, &mut body);
        }
        body.push_str("}\n");
    }
    let used = used(arranged);
    for definition in &types.definitions {
        match definition {
            Definition::Object { name, fields } if used.contains(name.as_str()) => {
                let _ = writeln!(body, "\ntype {} {{", written(name));
                fields.iter().for_each(|member| sdl_field(member, &written, "", &mut body));
                body.push_str("}\n");
            }
            Definition::Enum { name, values } if used.contains(name.as_str()) => {
                let _ = writeln!(body, "\nenum {} {{\n  {}\n}}", written(name), values.join("\n  "));
            }
            _ => {}
        }
    }
    let queries = queries(arranged, contract);
    let mut out = String::from(
        "# A draft: the types that the binding beside it fills. Every `# decide:` is for who keeps the contract.\n",
    );
    head(contract, &body, &queries, &mut out);
    if !queries.is_empty() {
        let query = contract.map_or("Query", |contract| &contract.query_type);
        let extend = if contract.is_some() { "extend " } else { "" };
        let _ = writeln!(out, "\n{extend}type {query} {{\n{queries}}}");
    }
    out.push_str(&body);
    out
}

fn sdl_field(member: &Member, written: &dyn Fn(&str) -> String, class: &str, out: &mut String) {
    if let Some(description) = member.description.as_deref().map(line).filter(|text| !text.is_empty()) {
        let _ = writeln!(out, "  {}", json!(description));
    }
    let gap = if class.is_empty() { "" } else { " " };
    let _ = writeln!(out, "  {}: {}{gap}{class}", member.name, member.type_written(written));
}

/// Types that the entities lead to.
fn used(arranged: &Arranged) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    let mut next: Vec<&Member> = arranged.entities.iter().flat_map(|entity| &entity.fields).collect();
    while let Some(member) = next.pop() {
        match &member.shape {
            Shape::Leaf { kind, .. } => {
                used.insert(kind.as_str());
            }
            Shape::Object { kind, inside } | Shape::List { kind, inside } => {
                if used.insert(kind.as_str()) {
                    next.extend(inside);
                }
            }
            Shape::Entity { .. } => {}
        }
    }
    used
}

fn queries(arranged: &Arranged, contract: Option<&Contract>) -> String {
    let mut out = String::new();
    let known = |name: &str| {
        arranged.queries.iter().any(|query| query.name == name)
            || contract.is_some_and(|contract| contract.queries.iter().any(|query| *query.name == *name))
    };
    let is_keyless = |entity: &Entity| {
        arranged.queries.iter().any(|query| query.entity == entity.name && matches!(query.key, KeyOf::Text(_)))
    };
    let keyed = |entity: &&Entity| !entity.existing && !entity.endpoints.is_empty() && !is_keyless(entity);
    for entity in arranged.entities.iter().filter(keyed) {
        let mut name = super::name::camel(&entity.name).unwrap_or_else(|| entity.name.clone());
        while known(&name) {
            name.push_str("ByKey");
        }
        let _ = writeln!(out, "  {name}({}: ID!): {}", entity.key, entity.name);
    }
    for query in &arranged.queries {
        let arguments: Vec<String> = query
            .arguments
            .iter()
            .map(|(name, kind, finds)| {
                let finds = finds.as_ref().map(|by| format!(" @finds(by: \"{by}\")")).unwrap_or_default();
                format!("{name}: {kind}{finds}")
            })
            .collect();
        if query.arguments.iter().any(|(_, _, finds)| finds.is_some()) {
            out.push_str(
                "  # decide: by which fields its arguments find (`@finds`): who may not read those finds nothing\n",
            );
        }
        let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
        let kind = if query.list { format!("[{}!]!", query.entity) } else { query.entity.clone() };
        let _ = writeln!(out, "  {}{arguments}: {kind}", query.name);
    }
    out
}

/// The directives and scalars that the contract does not have yet.
fn head(contract: Option<&Contract>, body: &str, queries: &str, out: &mut String) {
    let directives = [
        ("key", "(fields: String!) on OBJECT", body),
        ("class", "(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT", body),
        ("finds", "(by: String!) on ARGUMENT_DEFINITION", queries),
    ];
    for (name, form, text) in directives {
        let known = contract.is_some_and(|contract| contract.full.directive_definitions.contains_key(name));
        if !known && text.contains(&format!("@{name}(")) {
            let _ = writeln!(out, "directive @{name}{form}");
        }
    }
    for name in ["Date", "DateTime", "Decimal"] {
        let known = contract.is_some_and(|contract| contract.full.types.contains_key(name));
        let named = [format!(": {name}\n"), format!(": {name} "), format!(": [{name}!]")];
        if !known && named.iter().any(|form| body.contains(form)) {
            let _ = writeln!(out, "scalar {name}");
        }
    }
}
