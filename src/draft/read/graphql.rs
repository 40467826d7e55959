//! GraphQL SDL, plain or of a federation subgraph: types with a `@key` and root fields that take a key are entities, the
//! rest are root queries.

use std::collections::HashSet;
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::{InputValueDefinition, Type};
use apollo_compiler::diagnostic::ToCliReport as _;
use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use serde_json::{Map, Value, json};

use super::openapi::object;
use super::request::of_keys;
use crate::base::fault::{Faults, Place, SourceText};
use crate::base::nesting;
use crate::draft::name;
use crate::draft::operation::{Asked, Found, Key, Operation, Record};
use crate::draft::types::{Member, Shape, Types};
use crate::draft::{Limits, Wanted};

const NESTING_MAX: usize = 32;
const TOKENS_MAX: usize = 4_000_000;
/// Faults of GraphQL told at most.
const FAULTS_MAX: usize = 10;
/// Keys in one call.
const BATCH: u64 = 100;
const ENUM_MAX: usize = 200;

/// Whether a text looks like SDL.
pub fn is_sdl(text: &str) -> bool {
    let words =
        ["type ", "schema ", "schema{", "extend ", "interface ", "enum ", "scalar ", "directive ", "union ", "input "];
    let line = |line: &str| words.iter().any(|word| line.starts_with(word));
    let braced = text.contains('{') && !text.trim_start().starts_with(['{', '[', '<']);
    braced
        && text.lines().any(line)
        && !text.lines().any(|line| line.starts_with("openapi:") || line.starts_with("swagger:"))
}

pub fn read(
    file: &Arc<SourceText>,
    wanted: &Wanted,
    limits: Limits,
    taken: HashSet<String>,
    faults: &mut Faults,
) -> Option<Found> {
    let schema = parse(file, faults)?;
    let mut types = Types::default();
    types.taken = taken;
    let mut reading =
        Reading { schema: &schema, wanted, limits, types, above: Vec::new(), fields: 0, resolved: HashSet::new() };
    let mut found = Found { protocol: Some("graphql"), ..Found::default() };
    found.decide.push("how the gateway signs; a schema does not say".to_owned());
    reading.entities(&mut found);
    reading.queries(&mut found);
    found.types = reading.types;
    Some(found)
}

fn parse(file: &Arc<SourceText>, faults: &mut Faults) -> Option<Schema> {
    if nesting::check(&file.text, NESTING_MAX, TOKENS_MAX).is_err() {
        let hint = "cut the schema to the types that are wanted";
        faults.add(file, Place::default(), "the schema is nested too deeply, or too long", hint);
        return None;
    }
    // Subgraphs extend types that other subgraphs define, and use directives that they only link.
    let builder = Schema::builder().adopt_orphan_extensions().ignore_builtin_redefinitions();
    match builder.parse(file.text.as_str(), &file.path).build() {
        Ok(schema) => Some(schema),
        Err(with_errors) => {
            for diagnostic in with_errors.errors.iter().take(FAULTS_MAX) {
                let range = diagnostic.error.location().and_then(|at| at.line_column_range(diagnostic.sources));
                let place = range.map_or_else(Place::default, |range| Place {
                    line: range.start.line,
                    column: range.start.column,
                    length: 1,
                });
                faults.add(file, place, diagnostic.error.to_string(), "correct the schema, or take the part out");
            }
            None
        }
    }
}

struct Reading<'a> {
    schema: &'a Schema,
    wanted: &'a Wanted,
    limits: Limits,
    types: Types,
    /// Types that the one being read is in.
    above: Vec<String>,
    /// Fields of this operation.
    fields: usize,
    /// Types, with their keys, that the source gives through `_entities`.
    resolved: HashSet<(String, String)>,
}

/// What a root field gives.
struct Given {
    record: Record,
    items: Option<String>,
    pages: Option<Value>,
}

impl Reading<'_> {
    /// Types that the source gives by their key, through `_entities`.
    fn entities(&mut self, found: &mut Found) {
        let schema = self.schema;
        for (type_name, definition) in &schema.types {
            let ExtendedType::Object(definition) = definition else { continue };
            let mut keys = definition.directives.iter().filter(|directive| directive.name == "key").peekable();
            if keys.peek().is_none() || self.wanted.entity.is_some() {
                continue;
            }
            let label = format!("_entities {type_name}");
            let fields = |directive: &apollo_compiler::schema::Component<apollo_compiler::ast::Directive>| {
                let resolvable = directive.specified_argument_by_name("resolvable").and_then(|value| value.to_bool());
                let fields =
                    directive.specified_argument_by_name("fields").and_then(|value| value.as_str().map(str::to_owned));
                fields.filter(|_| resolvable != Some(false))
            };
            let all: Vec<String> = keys.filter_map(fields).collect();
            let Some(key) = all.iter().find(|key| definition.fields.contains_key(key.trim())) else {
                let why = match all.is_empty() {
                    true => "the source does not resolve it".to_owned(),
                    false => format!("its key, `{}`, is of several fields", all.join("` or `")),
                };
                found.left_out.push((label, why));
                continue;
            };
            let key = key.trim();
            let request = object([
                ("entities", json!({"typename": type_name.as_str(), "key": key})),
                ("batch_max", json!(BATCH)),
            ]);
            let record = match self.record(type_name) {
                Ok(record) => record,
                Err(why) => {
                    found.left_out.push((label, why));
                    continue;
                }
            };
            self.resolved.insert((type_name.to_string(), key.to_owned()));
            let asked = Asked::Many(Key {
                parameter: key.to_owned(),
                group: group(type_name, key),
                last: true,
                required: true,
                generic: false,
            });
            found.operations.push(Operation {
                field: None,
                name: name::camel(type_name).unwrap_or_else(|| "entity".to_owned()),
                label,
                summary: definition.description.as_ref().map(|text| text.to_string()),
                asked,
                request,
                batch: None,
                decide: vec!["batch_max: how many keys does one call take?".to_owned()],
                record,
            });
        }
    }

    fn queries(&mut self, found: &mut Found) {
        let schema = self.schema;
        let root = schema.schema_definition.query.as_ref().map_or("Query", |name| name.as_str());
        let Some(root) = schema.get_object(root) else { return };
        let mut fields: Vec<_> = root.fields.iter().filter(|(name, _)| !name.starts_with('_')).collect();
        fields.sort_by_key(|(name, _)| name.as_str().to_owned());
        for (name, field) in fields {
            if self.wanted.only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
                continue;
            }
            match self.query(name, field) {
                Ok(operation) => found.operations.push(operation),
                Err(why) => found.left_out.push((format!("query {name}"), why)),
            }
        }
    }

    fn query(&mut self, field_name: &str, field: &FieldDefinition) -> Result<Operation, String> {
        let required: Vec<&InputValueDefinition> =
            field.arguments.iter().map(|argument| &**argument).filter(|argument| argument.is_required()).collect();
        let wanted = |name: &str| self.wanted.keys.iter().any(|(key, _)| key == name);
        let key = self.key(field, &required);
        if self.wanted.entity.is_some() && !key.is_some_and(|key| wanted(&key.name)) {
            return Err("it takes none of the arguments given with --key".to_owned());
        }
        let given = self.given(field)?;
        let Given { record, items, pages } = given;
        let mut request = object([("field", json!(field_name))]);
        let mut decide = Vec::new();
        let others = required.iter().filter(|one| key.is_none_or(|key| key.name != one.name));
        let constants = others.map(|one| self.constant(one, key.is_some())).collect::<Result<Vec<Value>, _>>()?;
        if !constants.is_empty() {
            let named = constants.iter().filter_map(|constant| constant.get("name")?.as_str());
            decide.extend(named.map(|name| format!("constants: which value has `{name}`, always?")));
            request.insert("constants".to_owned(), json!(constants));
        }
        let (mut batch, mut asked) = (None, Asked::With(Vec::new()));
        if let Some(key) = key {
            let kind = key.ty.inner_named_type().as_str();
            let scalar = matches!(self.schema.types.get(kind), Some(ExtendedType::Scalar(_)));
            if !scalar || (!of_keys(&key.name) && self.wanted.entity.is_none()) {
                return Err(format!("it is asked by `{}`, which is no key", key.name));
            }
            if is_nested(&key.ty) {
                return Err(format!("its `{}` is a list of lists", key.name));
            }
            request.insert("argument".to_owned(), json!({"name": key.name.as_str(), "type": key.ty.to_string()}));
            let kind = field.ty.inner_named_type().as_str();
            let own = name::camel(&key.name).is_some_and(|key| record.members.iter().any(|member| member.name == key));
            let last = !record.list && (own || is_id(&key.name));
            let group =
                if last || key.ty.is_list() { group(kind, &name::singular(&key.name)) } else { plain_group(&key.name) };
            let generic = is_id(&name::singular(&key.name));
            let told = Key { parameter: key.name.to_string(), group, last, required: true, generic };
            if key.ty.is_list() {
                request.insert("batch_max".to_owned(), json!(BATCH));
                decide.push("batch_max: how many keys does one call take?".to_owned());
                asked = Asked::Many(told);
            } else {
                let resolved = last && self.resolved.contains(&(kind.to_owned(), key.name.to_string()));
                if pages.is_none() && !resolved {
                    let mut many = request.clone();
                    many.insert("aliases".to_owned(), json!(true));
                    many.insert("batch_max".to_owned(), json!(BATCH / 2));
                    many.extend(
                        items.iter().filter(|items| !items.is_empty()).map(|at| ("items".to_owned(), json!(at))),
                    );
                    batch = Some(many);
                    decide.push("batch_max: how many keys does one document take?".to_owned());
                }
                asked = Asked::One(told);
            }
        }
        let many = matches!(asked, Asked::Many(_));
        if let Some(items) = items.filter(|items| !many || !items.is_empty()) {
            request.insert("items".to_owned(), json!(items));
        }
        if let Some(pages) = pages.filter(|_| !many) {
            request.insert("pages".to_owned(), pages);
            decide.push("pages: how many records does a page take?".to_owned());
        }
        Ok(Operation {
            field: None,
            name: name::camel(field_name).unwrap_or_else(|| "field".to_owned()),
            label: format!("query {field_name}"),
            summary: field.description.as_ref().map(|text| text.to_string()),
            asked,
            request,
            batch,
            decide,
            record,
        })
    }

    /// The argument that a field is asked for by: one that it needs, if any could be a key.
    fn key<'f>(
        &self,
        field: &'f FieldDefinition,
        required: &[&'f InputValueDefinition],
    ) -> Option<&'f InputValueDefinition> {
        let wanted = |name: &str| self.wanted.keys.iter().any(|(key, _)| key == name);
        let all = || field.arguments.iter().map(|argument| &**argument);
        if self.wanted.entity.is_some() {
            // `user(id: ID): User` is asked for one all the same.
            return required.iter().copied().chain(all()).find(|argument| wanted(&argument.name));
        }
        let is_constant = |argument: &InputValueDefinition| self.constant(argument, false).is_ok();
        match required {
            [] if field.ty.is_list() => None,
            [] => all().find(|one| of_keys(&one.name) && (one.ty.is_list() || is_id(&one.name))),
            // What is no key is told.
            [one] => Some(*one).filter(|one| of_keys(&one.name) || !is_constant(one)),
            several => {
                let first = |fits: &dyn Fn(&str) -> bool| several.iter().copied().find(|one| fits(&one.name));
                first(&is_id).or_else(|| first(&of_keys))
            }
        }
    }

    /// An argument that is needed beside the key (or in a listing, where nobody could think of a value): the value that it
    /// always has.
    fn constant(&self, argument: &InputValueDefinition, keyed: bool) -> Result<Value, String> {
        let (name, kind) = (argument.name.as_str(), argument.ty.inner_named_type());
        let value = match self.schema.types.get(kind) {
            _ if argument.ty.is_list() => None,
            Some(ExtendedType::Enum(definition)) => definition.values.keys().next().map(|value| json!(value.as_str())),
            Some(ExtendedType::Scalar(_)) if kind == "Boolean" => Some(json!(false)),
            Some(ExtendedType::Scalar(_)) if keyed && matches!(kind.as_str(), "Int" | "Float") => Some(json!(0)),
            Some(ExtendedType::Scalar(_)) if keyed => Some(json!("decide")),
            _ => None,
        };
        match value {
            Some(value) => Ok(json!({"name": name, "type": argument.ty.to_string(), "value": value})),
            None if keyed => Err(format!("it needs `{name}` too, for which there is no constant")),
            None => Err(format!("it is asked by `{name}`, which is no key")),
        }
    }

    /// What a root field gives: an object, a list, a connection, or a plain value.
    fn given(&mut self, field: &FieldDefinition) -> Result<Given, String> {
        if is_nested(&field.ty) {
            return Err("it gives lists of lists".to_owned());
        }
        let (list, element) = (field.ty.is_list(), field.ty.inner_named_type().to_string());
        if let Some((items, node)) = (!list).then(|| self.connection(&element)).flatten() {
            let mut record = self.record(&node)?;
            if items == "/edges" {
                record.members.iter_mut().for_each(|member| member.begin_at("/node"));
            }
            record.list = true;
            return Ok(Given { record, items: Some(items.to_owned()), pages: self.pages(field, &element) });
        }
        if let Some(shape) = self.leaf(&element, list) {
            let name = if list { "values" } else { "value" };
            let member =
                Member { name: name.to_owned(), pointer: String::new(), shape, description: None, decide: None };
            let record = Record { name: None, list: false, members: vec![member] };
            return Ok(Given { record, items: None, pages: None });
        }
        let mut record = self.record(&element)?;
        record.list = list;
        Ok(Given { record, items: list.then(String::new), pages: None })
    }

    /// Where a connection's list is, and the type of what is connected.
    fn connection(&self, kind: &str) -> Option<(&'static str, String)> {
        let connection = self.schema.get_object(kind)?;
        let list =
            |name: &str| connection.fields.get(name).filter(|field| field.ty.is_list() && field.arguments.is_empty());
        if let Some(nodes) = list("nodes") {
            return Some(("/nodes", nodes.ty.inner_named_type().to_string()));
        }
        let edge = self.schema.get_object(list("edges")?.ty.inner_named_type())?;
        let node = edge.fields.get("node").filter(|node| !node.ty.is_list())?;
        Some(("/edges", node.ty.inner_named_type().to_string()))
    }

    fn pages(&self, field: &FieldDefinition, kind: &str) -> Option<Value> {
        let page = self.schema.get_object(kind)?.fields.get("pageInfo")?;
        self.schema.get_object(page.ty.inner_named_type())?.fields.get("endCursor")?;
        field.argument_by_name("after")?;
        let mut pages = object([("cursor", json!("after")), ("next", json!("/pageInfo/endCursor"))]);
        if field.argument_by_name("first").is_some() {
            pages.extend(object([("size_parameter", json!("first")), ("size", json!(100))]));
        }
        Some(Value::Object(pages))
    }

    fn record(&mut self, kind: &str) -> Result<Record, String> {
        self.fields = 0;
        let members = self.members(kind, "").unwrap_or_default();
        if let Some(ExtendedType::Union(_)) = self.schema.types.get(kind) {
            return Err(format!("`{kind}` is a union, whose fields a binding cannot ask for by their types"));
        }
        if members.is_empty() {
            return Err(format!("no field of `{kind}` could be bound"));
        }
        Ok(Record { name: Some(kind.to_owned()), list: false, members })
    }

    /// The fields of an object or an interface; pointers begin at `at`.
    fn members(&mut self, kind: &str, at: &str) -> Option<Vec<Member>> {
        let schema = self.schema;
        let fields = match schema.types.get(kind)? {
            ExtendedType::Object(definition) => &definition.fields,
            ExtendedType::Interface(definition) => &definition.fields,
            _ => return None,
        };
        if self.above.len() > self.limits.depth || self.above.iter().any(|above| above == kind) {
            return None;
        }
        self.above.push(kind.to_owned());
        let asked = |field: &&FieldDefinition| {
            let external = is_marked(&field.directives, "external") || is_marked(&field.directives, "inaccessible");
            !field.name.starts_with("__") && !external && !field.arguments.iter().any(|argument| argument.is_required())
        };
        let mut all: Vec<&FieldDefinition> = fields.values().map(|field| &***field).filter(asked).collect();
        // Plain values first: what is cut off is what is nested.
        all.sort_by_key(|field| self.leaf(field.ty.inner_named_type(), false).is_none());
        let mut taken = HashSet::new();
        let mut members = Vec::new();
        for field in all {
            if self.fields >= self.limits.fields {
                break;
            }
            self.member(field, at, &mut taken, &mut members);
        }
        self.above.pop();
        Some(members)
    }

    fn member(&mut self, field: &FieldDefinition, at: &str, taken: &mut HashSet<String>, members: &mut Vec<Member>) {
        let list = field.ty.is_list();
        if is_nested(&field.ty) {
            return;
        }
        let kind = field.ty.inner_named_type().as_str();
        let pointer = format!("{at}/{}", field.name);
        let shape = match self.leaf(kind, list) {
            Some(leaf) => leaf,
            None => {
                let Some(inside) =
                    self.members(kind, if list { "" } else { &pointer }).filter(|inside| !inside.is_empty())
                else {
                    return;
                };
                let kind = self.types.object(kind, &inside);
                if list { Shape::List { kind, inside } } else { Shape::Object { kind, inside } }
            }
        };
        self.fields += 1;
        let name = name::unique(name::camel(&field.name).unwrap_or_else(|| field.name.to_string()), taken);
        let description = field.description.as_ref().map(|text| text.to_string());
        let own = matches!(self.schema.types.get(kind), Some(ExtendedType::Scalar(scalar)) if !scalar.is_built_in());
        let decide = own.then(|| format!("how the scalar {kind} is written, and what it is here"));
        let is_enum = matches!(&shape, Shape::Leaf { list: false, options, .. } if !options.is_empty());
        members.push(Member { name: name.clone(), pointer: pointer.clone(), shape, description, decide });
        if is_enum {
            let name = name::unique(format!("{name}Code"), taken);
            let shape = Shape::Leaf { kind: "String".to_owned(), list: false, options: Vec::new() };
            members.push(Member { name, pointer, shape, description: None, decide: None });
        }
    }

    /// A scalar or an enumeration; `None` for anything else, and for scalars that hold anything.
    fn leaf(&mut self, kind: &str, list: bool) -> Option<Shape> {
        let plain = |kind: &str| Some(Shape::Leaf { kind: kind.to_owned(), list, options: Vec::new() });
        match self.schema.types.get(kind)? {
            ExtendedType::Enum(definition) if definition.values.len() <= ENUM_MAX => {
                let mut values: Vec<String> = definition.values.keys().map(ToString::to_string).collect();
                let map: Map<String, Value> = values.iter().map(|value| (value.clone(), json!(value))).collect();
                values.retain(|value| value != "UNRECOGNIZED");
                values.push("UNRECOGNIZED".to_owned());
                let kind = self.types.enumeration(kind, &values);
                Some(Shape::Leaf { kind, list, options: vec![("map", Value::Object(map))] })
            }
            ExtendedType::Enum(_) => plain("String"),
            ExtendedType::Scalar(_) => match kind.to_ascii_lowercase().as_str() {
                "int" => plain("Int"),
                "float" | "bigint" | "long" | "int64" | "uint64" | "decimal" | "bigdecimal" | "money" => {
                    plain("Decimal")
                }
                "boolean" => plain("Boolean"),
                "date" | "localdate" => plain("Date"),
                "datetime" | "timestamp" | "instant" | "offsetdatetime" | "localdatetime" => plain("DateTime"),
                "json" | "jsonobject" | "any" | "_any" | "map" | "object" | "upload" | "_fieldset" => None,
                _ => plain("String"),
            },
            _ => None,
        }
    }
}

/// A list of lists.
fn is_nested(kind: &Type) -> bool {
    matches!(kind, Type::List(inner) | Type::NonNullList(inner) if inner.is_list())
}

fn is_marked(directives: &apollo_compiler::ast::DirectiveList, name: &str) -> bool {
    directives.iter().any(|directive| directive.name == name)
}

fn is_id(name: &str) -> bool {
    ["id", "key", "uuid", "code", "slug"].contains(&name.to_ascii_lowercase().as_str())
}

fn plain_group(name: &str) -> String {
    name::camel(name).unwrap_or_else(|| "key".to_owned())
}

/// What the key of a type is called among all keys.
fn group(kind: &str, key: &str) -> String {
    let (kind, key) = (plain_group(kind), plain_group(key));
    if key == "id" {
        format!("{kind}Id")
    } else if key.starts_with(&kind) {
        key
    } else {
        format!("{kind}By{}", name::pascal(&key).unwrap_or_default())
    }
}
