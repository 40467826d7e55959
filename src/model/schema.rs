//! JSON Schemas of the files that users write, made from the very types that read them: for completion and documentation
//! in editors, and for the reference in `docs/`.

pub mod reference;

use std::sync::Arc;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::access::RolesFile;
use super::binding::format::SourceFile;
use super::binding::platform::PlatformsFile;
use super::config::format::ConfigFile;
use super::rule::RulesFile;
use super::yaml;
use crate::base::fault::{Faults, SourceText};

/// A kind of file that users write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Binding,
    Gateway,
    Roles,
    Rules,
    Platforms,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Binding, Self::Platforms, Self::Gateway, Self::Roles, Self::Rules];

    pub fn name(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Gateway => "gateway",
            Self::Roles => "roles",
            Self::Rules => "rules",
            Self::Platforms => "platforms",
        }
    }

    /// Where such files stand.
    pub fn files(self) -> &'static str {
        match self {
            Self::Binding => "resolvers/*.yaml",
            Self::Gateway => "config/gateway.yaml",
            Self::Roles => "config/roles.yaml",
            Self::Rules => "config/rules/*.yaml",
            Self::Platforms => "config/platforms.yaml",
        }
    }

    /// Whether the file is one of this kind, by its shape alone: what the schema tells too.
    pub fn reads(self, file: &Arc<SourceText>, faults: &mut Faults) -> bool {
        match self {
            Self::Binding => yaml::read::<SourceFile>(file, faults).is_some(),
            Self::Gateway => yaml::read::<ConfigFile>(file, faults).is_some(),
            Self::Roles => yaml::read::<RolesFile>(file, faults).is_some(),
            Self::Rules => yaml::read::<RulesFile>(file, faults).is_some(),
            Self::Platforms => yaml::read::<PlatformsFile>(file, faults).is_some(),
        }
    }

    /// The schema, in draft 7, which editors know best.
    pub fn schema(self) -> Value {
        let generator = SchemaSettings::draft07().into_generator();
        let schema = match self {
            Self::Binding => generator.into_root_schema_for::<SourceFile>(),
            Self::Gateway => generator.into_root_schema_for::<ConfigFile>(),
            Self::Roles => generator.into_root_schema_for::<RolesFile>(),
            Self::Rules => generator.into_root_schema_for::<RulesFile>(),
            Self::Platforms => generator.into_root_schema_for::<PlatformsFile>(),
        };
        let mut schema = schema.to_value();
        plain(&mut schema);
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".to_owned(), json!(self.files()));
        }
        schema
    }
}

/// Without what only this program's types mean: nulls for what may be left out, widths of numbers, links between types.
fn plain(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(plain),
        Value::Object(members) => {
            optional(members);
            if members.get("type").is_some_and(Value::is_string) || members.contains_key("minimum") {
                members.remove("format");
            }
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = without_links(text);
            }
            members.values_mut().for_each(plain);
        }
        _ => {}
    }
}

/// What may be left out need not be written as null too.
fn optional(members: &mut Map<String, Value>) {
    let null = json!("null");
    if let Some(Value::Array(types)) = members.get("type")
        && let [one, other] = types.as_slice()
        && *other == null
    {
        let one = one.clone();
        members.insert("type".to_owned(), one);
    }
    if let Some(Value::Array(all)) = members.get("anyOf")
        && let [one, other] = all.as_slice()
        && other.get("type") == Some(&null)
    {
        let one = one.clone();
        members.remove("anyOf");
        match one {
            // Beside `$ref`, draft 7 knows nothing else.
            Value::Object(of) if of.contains_key("$ref") && !members.is_empty() => {
                members.insert("allOf".to_owned(), json!([of]));
            }
            Value::Object(of) => members.extend(of),
            _ => {}
        }
    }
    if members.get("default").is_some_and(|default| default.is_null() || *default == json!({}) || *default == json!([]))
    {
        members.remove("default");
    }
}

/// A link of a doc comment (``[`Type`]``, `[text](place)`) as its words.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once("`]") else {
            out.push_str("[`");
            rest = after;
            continue;
        };
        out.push_str(&format!("`{}`", name.rsplit("::").next().unwrap_or(name)));
        rest = match tail.strip_prefix('(').and_then(|link| link.split_once(')')) {
            Some((_, tail)) => tail,
            None => tail,
        };
    }
    out.push_str(rest);
    out
}
