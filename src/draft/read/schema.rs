//! JSON Schema, as OpenAPI has it → members. Every walk is bounded in depth and in steps.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::example::Made;

use crate::draft::name;
use crate::draft::types::{Member, Shape, Types};

/// Fields of one operation; what an operation answers beyond is left out.
const FIELDS_MAX: usize = 150;
/// References followed from one to the next, and schemas within schemas of one value.
const HOPS_MAX: usize = 24;
/// Schemas looked at for one operation.
const STEPS_MAX: usize = 3_000;
const ENUM_MAX: usize = 200;

pub struct Schemas<'a> {
    root: &'a Value,
    pub types: Types,
    /// References that lead nowhere, with what is wrong.
    pub broken: Vec<(String, &'static str)>,
    /// Those that were told.
    told: HashSet<String>,
    made: &'a Made,
    /// What was laid together already, by where it stands.
    laid: HashMap<*const Value, Flat<'a>>,
    steps: usize,
    fields: usize,
    depth: usize,
    depth_max: usize,
}

/// A schema with its references followed and its parts (`allOf`, `oneOf`, `anyOf`) laid together.
#[derive(Default, Clone)]
pub struct Flat<'a> {
    pub name: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub format: Option<&'a str>,
    pub properties: Vec<(&'a str, &'a Value)>,
    /// Names that every form of it has.
    pub required: Vec<&'a str>,
    known: HashSet<&'a str>,
    pub items: Option<&'a Value>,
    pub values: Option<&'a Vec<Value>>,
    pub maximum: Option<f64>,
    /// Its example does not fit into 32 bits.
    pub is_long: bool,
    pub description: Option<&'a str>,
    pub decide: Option<&'static str>,
    /// What the schema is made of, to see where it contains itself.
    parts: Vec<&'a Value>,
}

impl<'a> Flat<'a> {
    pub fn is_object(&self) -> bool {
        !self.properties.is_empty()
    }

    pub fn is_list(&self) -> bool {
        self.kind == Some("array") || (self.kind.is_none() && self.items.is_some())
    }

    /// Lays one of several forms to the rest.
    fn absorb(&mut self, form: Self) {
        self.name = self.name.or(form.name);
        self.kind = self.kind.or(form.kind);
        self.format = self.format.or(form.format);
        self.items = self.items.or(form.items);
        self.values = self.values.or(form.values);
        self.maximum = self.maximum.or(form.maximum);
        self.is_long |= form.is_long;
        self.description = self.description.or(form.description);
        self.decide = self.decide.or(form.decide);
        self.parts = form.parts.into_iter().fold(std::mem::take(&mut self.parts), |mut parts, part| {
            if !parts.iter().any(|known| std::ptr::eq(*known, part)) {
                parts.push(part);
            }
            parts
        });
        for (name, schema) in form.properties {
            if self.known.insert(name) {
                self.properties.push((name, schema));
            }
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self.kind, Some("string" | "integer" | "number" | "boolean")) || self.values.is_some()
    }
}

impl<'a> Schemas<'a> {
    /// `depth_max`: value objects in value objects.
    pub fn new(root: &'a Value, depth_max: usize, made: &'a Made) -> Self {
        let (types, laid, broken, told) = (Types::default(), HashMap::new(), Vec::new(), HashSet::new());
        Self { root, types, laid, broken, told, made, steps: 0, fields: 0, depth: 0, depth_max }
    }

    /// The document.
    pub fn root(&self) -> &'a Value {
        self.root
    }

    /// The schema of an answer that is described by an example alone.
    pub fn made(&self, holder: &'a Value) -> Option<&'a Value> {
        self.made.get(&std::ptr::from_ref(holder))
    }

    fn broken(&mut self, target: &str, why: &'static str) {
        if self.told.insert(target.to_owned()) {
            self.broken.push((target.to_owned(), why));
        }
    }

    /// Begins the next operation.
    pub fn begin(&mut self) {
        (self.steps, self.fields) = (0, 0);
    }

    /// What a `$ref` stands for; itself where it is none.
    pub fn resolve(&mut self, value: &'a Value) -> Option<(&'a Value, Option<&'a str>)> {
        let (mut value, mut name) = (value, None);
        for _ in 0..HOPS_MAX {
            let Some(target) = value.get("$ref").and_then(Value::as_str) else { return Some((value, name)) };
            let Some(inside) = target.strip_prefix('#') else {
                self.broken(target, "it is in another document, which is not fetched");
                return None;
            };
            let decoded = percent_decoded(inside);
            let Some(found) = self.root.pointer(&decoded) else {
                self.broken(target, "there is nothing at that place");
                return None;
            };
            name = target.rsplit('/').next().or(name);
            value = found;
        }
        let target = value.get("$ref").and_then(Value::as_str).unwrap_or_default();
        self.broken(target, "it leads back to itself");
        None
    }

    /// As [`Self::resolve`], of what is said of an answer; the error says why there is nothing.
    pub fn of_answer(&mut self, value: &'a Value) -> Result<&'a Value, String> {
        if let Some((found, _)) = self.resolve(value) {
            return Ok(found);
        }
        // The reference that leads nowhere is the last of those that were followed.
        let mut target = value.get("$ref").and_then(Value::as_str).unwrap_or_default();
        for _ in 0..HOPS_MAX {
            let inside = target.strip_prefix('#').and_then(|inside| self.root.pointer(&percent_decoded(inside)));
            match inside.and_then(|inside| inside.get("$ref")).and_then(Value::as_str) {
                Some(next) => target = next,
                None => break,
            }
        }
        Err(match target.strip_prefix('#') {
            None => format!("the answer's description is in another file; bundle the document ({target})"),
            Some(_) => format!("the answer's description is to be at {target}, which leads nowhere"),
        })
    }

    pub fn flat(&mut self, schema: &'a Value) -> Flat<'a> {
        let place = std::ptr::from_ref(schema);
        if let Some(known) = self.laid.get(&place) {
            return known.clone();
        }
        let mut flat = Flat::default();
        self.lay(schema, &mut flat, 0);
        if self.steps <= STEPS_MAX {
            self.laid.insert(place, flat.clone());
        }
        flat
    }

    fn lay(&mut self, schema: &'a Value, flat: &mut Flat<'a>, depth: usize) {
        self.steps += 1;
        if depth > HOPS_MAX || self.steps > STEPS_MAX {
            return;
        }
        let Some((schema, named)) = self.resolve(schema) else { return };
        if flat.parts.iter().any(|part| std::ptr::eq(*part, schema)) {
            return;
        }
        flat.parts.push(schema);
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        flat.name = flat.name.or(named).or(text("title"));
        flat.description = flat.description.or(text("description")).or(text("title"));
        flat.format = flat.format.or(text("format"));
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            _ => None,
        };
        flat.kind = flat.kind.or(kind);
        flat.items = flat.items.or(schema.get("items").filter(|items| items.is_object()));
        flat.values = flat.values.or(schema.get("enum").and_then(Value::as_array));
        flat.maximum = flat.maximum.or(schema.get("maximum").and_then(Value::as_f64));
        let example =
            schema.get("example").or_else(|| schema.get("default")).or_else(|| schema.get("examples")?.get(0));
        flat.is_long |= example.and_then(Value::as_f64).is_some_and(|example| example.abs() > f64::from(i32::MAX));
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                if flat.known.insert(name) {
                    flat.properties.push((name, property));
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        flat.required.extend(required.filter_map(Value::as_str));
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            parts.iter().for_each(|part| self.lay(part, flat, depth + 1));
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(Value::Array(variants)) = schema.get(key) {
                self.variants(variants, flat, depth + 1);
            }
        }
    }

    /// One of several forms: objects give all their fields, scalars the first scalar.
    fn variants(&mut self, variants: &'a [Value], flat: &mut Flat<'a>, depth: usize) {
        let mut forms = Vec::new();
        for variant in variants {
            // What is laid already is not laid again: a form that holds the whole would be walked without end.
            let mut form = Flat { parts: flat.parts.clone(), ..Flat::default() };
            self.lay(variant, &mut form, depth);
            if form.kind != Some("null") && (form.is_object() || form.is_list() || form.is_scalar()) {
                forms.push(form);
            }
        }
        if forms.len() > 1 {
            flat.decide = Some("the document gives several forms");
        }
        if flat.properties.is_empty() && forms.iter().any(|form| form.is_scalar()) {
            forms.retain(|form| form.is_scalar());
            forms.truncate(1);
        } else if forms.iter().any(|form| form.is_list()) {
            forms.retain(|form| form.is_list());
            forms.truncate(1);
        }
        for form in forms {
            flat.absorb(form);
        }
    }

    /// The one field of an answer that is a plain value, or (at `items`) a list of them.
    pub fn scalars(&mut self, flat: &Flat<'a>, items: Option<String>, wish: &str) -> Option<Member> {
        let name = if items.is_some() { "values" } else { "value" };
        let shape = flat.is_scalar().then(|| self.leaf(flat, items.is_some(), wish, name))?;
        let (pointer, decide) = (items.unwrap_or_default(), flat.decide.map(str::to_owned));
        Some(Member { name: name.to_owned(), pointer, shape, description: flat.description.map(str::to_owned), decide })
    }

    /// The fields of an object, by their properties.
    pub fn members(&mut self, flat: &Flat<'a>, wish: &str) -> Vec<Member> {
        let mut above = Vec::new();
        self.inside(flat, "", wish, &mut above)
    }

    fn inside(&mut self, flat: &Flat<'a>, at: &str, wish: &str, above: &mut Vec<&'a Value>) -> Vec<Member> {
        let depth = above.len();
        above.extend(&flat.parts);
        let mut taken = HashSet::new();
        let mut members = Vec::new();
        // Scalars first: what is cut off is what is nested.
        let mut properties: Vec<(usize, &str, Flat<'a>)> = Vec::new();
        for (number, (property, schema)) in flat.properties.iter().enumerate() {
            properties.push((number, property, self.flat(schema)));
        }
        properties.sort_by_key(|(_, _, inner)| !inner.is_scalar());
        for (number, property, inner) in properties {
            if self.fields >= FIELDS_MAX || self.steps > STEPS_MAX {
                break;
            }
            let named = name::camel(property);
            let unnamed = named.is_none();
            let field = named.unwrap_or_else(|| format!("field{}", number + 1));
            let pointer = format!("{at}/{}", property.replace('~', "~0").replace('/', "~1"));
            if inner.parts.iter().any(|part| above.iter().any(|known| std::ptr::eq(*known, *part))) {
                continue;
            }
            let Some(shape) = self.shape(&inner, &pointer, &format!("{wish} {field}"), &field, above) else { continue };
            self.fields += 1;
            let mut decide = inner.decide.map(str::to_owned);
            if unnamed {
                decide = Some(format!("a name for {property}"));
            } else if is_money(&field) && matches!(&shape, Shape::Leaf { kind, .. } if kind == "Decimal") {
                decide = Some("`unit: fen`, if it is money and not in yuan".to_owned());
            }
            let name = name::unique(field, &mut taken);
            let description = inner.description.map(str::to_owned);
            if let Shape::Leaf { kind, list: false, options } = &shape
                && options.iter().any(|(key, _)| *key == "map")
                && kind != "Boolean"
            {
                members.push(Member {
                    name: name.clone(),
                    pointer: pointer.clone(),
                    shape: shape.clone(),
                    description,
                    decide,
                });
                let code = name::unique(format!("{name}Code"), &mut taken);
                let shape = Shape::Leaf { kind: "String".to_owned(), list: false, options: Vec::new() };
                members.push(Member { name: code, pointer, shape, description: None, decide: None });
                continue;
            }
            members.push(Member { name, pointer, shape, description, decide });
        }
        above.truncate(depth);
        members
    }

    fn shape(
        &mut self,
        flat: &Flat<'a>,
        at: &str,
        wish: &str,
        field: &str,
        above: &mut Vec<&'a Value>,
    ) -> Option<Shape> {
        let own = flat.name.map_or_else(|| wish.to_owned(), str::to_owned);
        if flat.is_list() {
            let element = self.flat(flat.items?);
            if element.parts.iter().any(|part| above.iter().any(|known| std::ptr::eq(*known, *part))) {
                return None;
            }
            if element.is_object() {
                let own = element.name.map_or_else(|| name::singular(wish), str::to_owned);
                let inside = self.deeper(&element, "", &own, above)?;
                return Some(Shape::List { kind: self.types.object(&own, &inside), inside });
            }
            return element.is_scalar().then(|| self.leaf(&element, true, wish, field));
        }
        if flat.is_object() {
            let inside = self.deeper(flat, at, &own, above)?;
            return Some(Shape::Object { kind: self.types.object(&own, &inside), inside });
        }
        flat.is_scalar().then(|| self.leaf(flat, false, &own, field))
    }

    fn deeper(&mut self, flat: &Flat<'a>, at: &str, wish: &str, above: &mut Vec<&'a Value>) -> Option<Vec<Member>> {
        if self.depth >= self.depth_max {
            return None;
        }
        self.depth += 1;
        let inside = self.inside(flat, at, wish, above);
        self.depth -= 1;
        Some(inside).filter(|inside| !inside.is_empty())
    }

    fn leaf(&mut self, flat: &Flat<'a>, list: bool, wish: &str, field: &str) -> Shape {
        let plain = |kind: &str| Shape::Leaf { kind: kind.to_owned(), list, options: Vec::new() };
        let texts: Option<Vec<&str>> =
            flat.values.map(|values| values.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect());
        if let Some(texts) = texts.filter(|texts| !texts.is_empty() && texts.len() <= ENUM_MAX) {
            return self.types.codes(wish, &texts, list);
        }
        let is_id = field == "id" || field.ends_with("Id") || field.ends_with("Ids");
        match (flat.kind, flat.format) {
            (Some("boolean"), _) => plain("Boolean"),
            (Some("integer" | "number"), _) if is_id => plain("String"),
            (Some("integer"), Some("int32")) => plain("Int"),
            (Some("integer"), Some("int64" | "uint32" | "uint64")) => plain("Decimal"),
            (Some("integer"), _) if flat.is_long => plain("Decimal"),
            (Some("integer"), _) if flat.maximum.is_none_or(|most| most <= f64::from(i32::MAX)) => plain("Int"),
            (Some("integer" | "number"), _) => plain("Decimal"),
            (_, Some("date")) => plain("Date"),
            (_, Some("date-time")) => plain("DateTime"),
            _ => plain("String"),
        }
    }
}

/// Whether a schema tells no form.
pub fn says_nothing(schema: &Value) -> bool {
    const TELLING: [&str; 7] = ["$ref", "properties", "items", "allOf", "oneOf", "anyOf", "enum"];
    let form = match schema.get("type") {
        Some(Value::String(kind)) => matches!(kind.as_str(), "object" | "array"),
        Some(_) => false,
        None => true,
    };
    form && TELLING.iter().all(|key| schema.get(*key).is_none_or(|value| value == &Value::Object(Map::new())))
}

fn is_money(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    ["amount", "price", "balance", "fee", "cost", "salary", "income", "money", "total"]
        .iter()
        .any(|word| field.contains(word))
}

fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(code.unwrap_or(*byte));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}
