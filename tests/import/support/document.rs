//! An OpenAPI document as its own server would know it: operations, and answers made from their schemas. Shares
//! nothing with `src/draft`.

use std::path::Path;

use serde_json::{Map, Value, json};

/// Schemas within schemas; what lies deeper is left out, as a server leaves out what is optional.
const DEPTH_MAX: usize = 9;
/// Values of one answer.
const VALUES_MAX: usize = 4_000;

pub struct Document {
    pub root: Value,
    old: bool,
}

/// An operation that reads.
pub struct Get<'a> {
    pub path: &'a str,
    item: &'a Value,
    operation: &'a Value,
}

/// Lower case, letters and digits only: `pet_id` and `petId` are one name.
pub fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Document {
    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let text = text.trim_start_matches('\u{feff}');
        let mut root: Value = match serde_json::from_str(text) {
            Ok(root) => root,
            Err(_) => {
                let budget = serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 16_000_000, max_depth: 128 };
                let duplicate_keys = serde_saphyr::options::DuplicateKeyPolicy::LastWins;
                let options = serde_saphyr::options! { duplicate_keys: duplicate_keys, budget: budget };
                serde_saphyr::from_str_with_options(text, options).ok()?
            }
        };
        let old = root.get("swagger").is_some();
        let paths = root.get_mut("paths")?;
        if let Some(written) = paths.as_object_mut() {
            *paths = std::mem::take(written).into_iter().map(|(path, item)| (in_braces(&path), item)).collect();
        }
        Some(Self { root, old })
    }

    pub fn gets(&self) -> Vec<Get<'_>> {
        let paths = self.root["paths"].as_object();
        let each = paths.into_iter().flatten().filter_map(|(path, item)| {
            let item = self.followed(item)?;
            let operation = item.get("get").filter(|operation| operation.is_object())?;
            Some(Get { path, item, operation })
        });
        each.collect()
    }

    fn followed<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        let mut value = value;
        for _ in 0..20 {
            let Some(target) = value.get("$ref").and_then(Value::as_str) else { return Some(value) };
            let pointer = target.strip_prefix('#')?.replace("%7B", "{").replace("%7D", "}").replace("%20", " ");
            value = self.root.pointer(&pointer)?;
        }
        None
    }

    /// The parameter that the gateway's argument (or key) of this name stands for: a value that it may have.
    pub fn parameter(&self, get: &Get<'_>, name: &str) -> Option<(String, Value)> {
        let declared = [get.operation, get.item].into_iter().flat_map(|holder| holder["parameters"].as_array());
        let all: Vec<&Value> = declared.flatten().filter_map(|parameter| self.followed(parameter)).collect();
        let found =
            all.iter().find(|parameter| parameter["name"].as_str().is_some_and(|known| plain(known) == plain(name)))?;
        let schema = found.get("schema").unwrap_or(found);
        let mut made = Making { document: self, values: 0, serial: 7 };
        let followed = self.followed(schema)?;
        let free = kind(followed) == Some("string")
            && ["enum", "format", "example"].iter().all(|key| followed.get(key).is_none());
        let given = found.get("example").filter(|example| self.fits(example, schema, 0));
        // A text that could be a number too: where the document calls an id a text here and a number there.
        let mut value = match given {
            Some(given) => given.clone(),
            None if free => json!("10007"),
            None => made.value(schema, None, 0)?,
        };
        if let Value::Array(items) = &value {
            value = items.first().cloned()?;
        }
        Some((found["name"].as_str()?.to_owned(), value).filter_scalar())
    }

    /// The schema of the answer where all is well, and a whole answer that the document gives as an example: one of them at
    /// least.
    fn described<'a>(&'a self, get: &Get<'a>) -> Option<(Option<&'a Value>, Option<&'a Value>)> {
        let responses = get.operation["responses"].as_object()?;
        let fine = ["200", "2XX", "2xx", "201", "203", "default"].iter().find_map(|status| responses.get(*status));
        let response = self.followed(fine?)?;
        if self.old {
            let examples = response["examples"].as_object();
            let example = examples.and_then(|all| all.values().find(|e| !e.is_string()).or(all.values().next()));
            return Some((response.get("schema"), example));
        }
        let content = response["content"].as_object()?;
        let (_, media) = content.iter().find(|(kind, _)| kind.contains("json") || kind.starts_with("*/*"))?;
        let named = media["examples"].as_object().and_then(|examples| self.followed(examples.values().next()?));
        let example = media.get("example").or_else(|| named?.get("value"));
        Some((media.get("schema"), example))
    }

    /// What the operation answers: an example that is as its schema says, else values by their types.
    pub fn answer(&self, get: &Get<'_>) -> Option<Value> {
        let (schema, example) = self.described(get)?;
        // A schema that says nothing is none; an example may be JSON as a text.
        let tells = |schema: &&Value| match self.followed(schema).and_then(Value::as_object) {
            Some(schema) => !schema.keys().all(|key| ["description", "title"].contains(&key.as_str())),
            None => true,
        };
        let Some(schema) = schema.filter(tells) else {
            let example = example?;
            let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| example.clone());
            return Some(example.as_str().map_or_else(|| example.clone(), read));
        };
        if let Some(example) = example.filter(|example| self.fits(example, schema, 0)) {
            return Some(example.clone());
        }
        let seed = get.path.bytes().fold(17_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 9_000);
        Making { document: self, values: 0, serial: seed + 100 }.value(schema, None, 0)
    }

    /// Whether a value is of a schema, as far as types, enumerations, required members and date formats go.
    fn fits(&self, value: &Value, schema: &Value, depth: usize) -> bool {
        let Some(schema) = self.followed(schema) else { return false };
        if depth > DEPTH_MAX {
            return true;
        }
        if value.is_null() {
            return depth > 0;
        }
        let all = |key: &str| schema[key].as_array().into_iter().flatten();
        if !all("allOf").all(|part| self.fits(value, part, depth + 1)) {
            return false;
        }
        for key in ["oneOf", "anyOf"] {
            if schema[key].is_array() && !all(key).any(|part| self.fits(value, part, depth + 1)) {
                return false;
            }
        }
        if schema["enum"].is_array() && !all("enum").any(|known| known == value) {
            return false;
        }
        match kind(schema) {
            Some("string") => value.as_str().is_some_and(|text| match schema["format"].as_str() {
                Some("date") => text.parse::<jiff::civil::Date>().is_ok(),
                Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
                _ => true,
            }),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.as_array().is_some_and(|items| {
                items.iter().all(|item| schema["items"].is_null() || self.fits(item, &schema["items"], depth + 1))
            }),
            _ if schema["properties"].is_object() => value.as_object().is_some_and(|members| {
                let required = all("required").filter_map(Value::as_str).all(|name| members.contains_key(name));
                let each = |(name, member): (&String, &Value)| {
                    schema["properties"].get(name).is_none_or(|schema| self.fits(member, schema, depth + 1))
                };
                required && members.iter().all(each)
            }),
            Some("object") => value.is_object(),
            _ => true,
        }
    }
}

trait Scalar {
    fn filter_scalar(self) -> Self;
}

impl Scalar for (String, Value) {
    fn filter_scalar(self) -> Self {
        if self.1.is_object() || self.1.is_array() || self.1.is_null() { (self.0, json!("any-1")) } else { self }
    }
}

fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ if schema["properties"].is_object() => Some("object"),
        _ if schema["items"].is_object() => Some("array"),
        _ => None,
    }
}

/// Answers in the making.
struct Making<'a> {
    document: &'a Document,
    values: usize,
    /// Texts and numbers differ from one another by it.
    serial: u64,
}

impl Making<'_> {
    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn value(&mut self, schema: &Value, name: Option<&str>, depth: usize) -> Option<Value> {
        let schema = self.document.followed(schema)?;
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return None;
        }
        let given = [schema.get("const"), schema.get("example"), schema["examples"].get(0)];
        if let Some(given) =
            given.into_iter().flatten().find(|given| !given.is_null() && self.document.fits(given, schema, 0))
        {
            return Some(given.clone());
        }
        if let Some(known) = schema["enum"].as_array().and_then(|known| known.iter().find(|value| !value.is_null())) {
            return Some(known.clone());
        }
        let parts = schema["allOf"].as_array().into_iter().flatten();
        let variants = [&schema["oneOf"], &schema["anyOf"]].into_iter().filter_map(Value::as_array);
        let variant = variants.filter_map(|all| all.iter().find(|one| kind(one) != Some("null"))).collect::<Vec<_>>();
        let mut whole: Option<Value> = None;
        for part in parts.chain(variant) {
            whole = laid(whole, self.value(part, name, depth + 1));
        }
        let own = match kind(schema) {
            Some("object") => Some(self.object(schema, depth)),
            Some("array") => Some(self.array(&schema["items"], name, depth)),
            Some("integer") if whole.is_none() => Some(self.integer(schema)),
            Some("number") if whole.is_none() => {
                let whole = self.integer(schema);
                let least = schema["maximum"].as_f64().is_some_and(|most| most <= 1.0);
                Some(if least { json!(0.5) } else { json!(whole.as_i64().unwrap_or(1) as f64 + 0.25) })
            }
            Some("boolean") if whole.is_none() => Some(json!(self.next().is_multiple_of(2))),
            Some("string") if whole.is_none() => Some(self.text(schema, name)),
            _ => None,
        };
        match (whole, own) {
            (Some(Value::Object(whole)), Some(own @ Value::Object(_))) => laid(Some(Value::Object(whole)), Some(own)),
            (Some(whole), _) => Some(whole),
            (None, own) => own,
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut members = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = self.value(property, Some(name), depth + 1) {
                members.insert(name.clone(), value);
            }
        }
        if members.is_empty() && schema["additionalProperties"].is_object() {
            let value = self.value(&schema["additionalProperties"], None, depth + 1);
            members.extend(value.map(|value| ("some-key".to_owned(), value)));
        }
        Value::Object(members)
    }

    /// Two elements; the second has no examples in common with the first where it can be told apart.
    fn array(&mut self, items: &Value, name: Option<&str>, depth: usize) -> Value {
        let Some(first) = self.value(items, name, depth + 1) else { return json!([]) };
        let Some(mut second) = self.value(items, name, depth + 1) else { return json!([first]) };
        if let (Some(one), Some(other)) = (first.as_object(), second.as_object_mut()) {
            for (name, value) in other.iter_mut().filter(|(name, value)| one.get(*name) == Some(*value)) {
                let keyed = ["id", "uuid", "key", "code", "slug", "name"].contains(&plain(name).as_str());
                if keyed || name.ends_with("Id") || name.ends_with("_id") {
                    match value {
                        Value::String(text) => text.push('2'),
                        Value::Number(number) => *value = json!(number.as_i64().unwrap_or(0) + 1),
                        _ => {}
                    }
                }
            }
        }
        json!([first, second])
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let bound = |key: &str| schema[key].as_f64().filter(|bound| bound.abs() < 1e15).map(|bound| bound as i64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        let next = self.next() as i64;
        json!(next.clamp(least.unwrap_or(i64::MIN), most.unwrap_or(i64::MAX).max(least.unwrap_or(i64::MIN))))
    }

    fn text(&mut self, schema: &Value, name: Option<&str>) -> Value {
        let next = self.next();
        json!(match schema["format"].as_str() {
            Some("date") => format!("2024-05-{:02}", next % 28 + 1),
            Some("date-time") => format!("2024-05-{:02}T08:30:00Z", next % 28 + 1),
            Some("uuid") => format!("00000000-0000-4000-8000-{next:012}"),
            Some("email") => format!("a{next}@example.org"),
            Some("uri" | "url") => format!("https://example.org/{next}"),
            _ => format!(
                "{}-{next}",
                name.map(plain).filter(|name| !name.is_empty()).unwrap_or_else(|| "text".to_owned())
            ),
        })
    }
}

/// One object over another; of anything else, the first.
fn laid(under: Option<Value>, over: Option<Value>) -> Option<Value> {
    match (under, over) {
        (Some(Value::Object(mut under)), Some(Value::Object(over))) => {
            under.extend(over);
            Some(Value::Object(under))
        }
        (Some(under), _) => Some(under),
        (None, over) => over,
    }
}

/// Paths as a framework writes them: `/a/<int:b>` is `/a/{b}`.
fn in_braces(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        Some(inside) => format!("{{{}}}", inside.rsplit(':').next().unwrap_or(inside)),
        None => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
