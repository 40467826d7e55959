//! Holds the contract in `schema/` against the list of the 61 items, and against its own rules for frontends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use apollo_compiler::Schema;
use apollo_compiler::ast::DirectiveList;
use apollo_compiler::schema::{ExtendedType, FieldDefinition, ObjectType};
use apollo_compiler::validation::Valid;
use huxiang::base::code::{ErrorCode, ItemState};

/// Enumerations the gateway itself fills: closed, so without `UNRECOGNIZED`, and without a raw code beside them.
const CLOSED: [&str; 2] = ["ItemState", "ErrorCode"];
/// Enumerations the rules fill: nobody sends a raw code.
const DERIVED: [&str; 1] = ["WarningLevel"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn contract() -> Valid<Schema> {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("schema")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut builder = Schema::builder();
    for path in files {
        builder = builder.parse(std::fs::read_to_string(&path).unwrap(), &path);
    }
    builder.build().unwrap_or_else(|e| panic!("{}", e.errors)).validate().unwrap_or_else(|e| panic!("{}", e.errors))
}

struct Row {
    no: String,
    path: String,
    kind: String,
    zh: String,
    class: String,
}

/// RFC 4180 without line breaks in cells.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

fn portrait() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/data/portrait.csv")).unwrap();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    assert!(lines.next().unwrap().starts_with("no,path,type,zh,class,"));
    lines
        .map(|line| {
            let mut cells = cells(line).into_iter();
            let [no, path, kind, zh, class] = std::array::from_fn(|_| cells.next().unwrap());
            Row { no, path, kind, zh, class }
        })
        .collect()
}

fn objects(schema: &Schema) -> impl Iterator<Item = (&str, &ObjectType)> {
    schema.types.iter().filter_map(|(name, kind)| match kind {
        ExtendedType::Object(object) if !kind.is_built_in() => Some((name.as_str(), object.as_ref())),
        _ => None,
    })
}

fn text(directives: &DirectiveList, directive: &str, argument: &str) -> Option<String> {
    let value = directives.get(directive)?.specified_argument_by_name(argument)?;
    value.as_str().map(str::to_owned).or_else(|| value.to_i32().map(|n| n.to_string()))
}

fn field<'a>(schema: &'a Schema, path: &str) -> &'a FieldDefinition {
    let mut kind = "Household";
    let mut found = None;
    for name in path.split('.') {
        let field = schema.type_field(kind, name).unwrap_or_else(|_| panic!("{path}: no field {name} in {kind}"));
        kind = field.ty.inner_named_type().as_str();
        found = Some(field);
    }
    found.unwrap()
}

#[test]
fn every_item_of_the_portrait_is_at_its_path_with_its_type_name_and_class() {
    let schema = contract();
    let rows = portrait();
    assert_eq!(rows.len(), 65);
    for Row { no, path, kind, zh, class } in &rows {
        let field = field(&schema, path);
        assert_eq!(field.ty.to_string(), *kind, "{path}");
        assert_eq!(text(&field.directives, "class", "name").as_ref(), Some(class), "{path}");
        if no == "0" {
            assert!(field.directives.get("item").is_none(), "the hidden input is not an item");
        } else {
            assert_eq!(text(&field.directives, "item", "no").as_ref(), Some(no), "{path}");
            assert_eq!(text(&field.directives, "item", "zh").as_ref(), Some(zh), "{path}");
        }
    }
    let numbered: Vec<String> = objects(&schema)
        .flat_map(|(_, object)| object.fields.values().filter_map(|field| text(&field.directives, "item", "no")))
        .collect();
    let once: BTreeSet<&String> = numbered.iter().collect();
    assert_eq!((numbered.len(), once.len()), (64, 64), "each number stands once: 61 items, P1 to P3");
}

#[test]
fn every_leaf_has_a_class_and_one_class_has_one_spelling() {
    let schema = contract();
    let known: BTreeSet<String> =
        portrait().into_iter().map(|row| row.class).chain(["basic".to_owned(), "income".to_owned()]).collect();
    let mut missing = Vec::new();
    for entity in ["Household", "Person", "HouseholdConnection"] {
        walk(&schema, entity, None, entity, &known, &mut missing);
    }
    assert!(missing.is_empty(), "no class of their own or inherited: {missing:?}");
}

fn walk(
    schema: &Schema,
    kind: &str,
    inherited: Option<&str>,
    path: &str,
    known: &BTreeSet<String>,
    missing: &mut Vec<String>,
) {
    let object = schema.get_object(kind).unwrap();
    let own = object
        .directives
        .get("class")
        .and_then(|class| class.specified_argument_by_name("name").and_then(|name| name.as_str()).map(str::to_owned));
    let of_object = own.as_deref().or(inherited);
    for (name, field) in &object.fields {
        let path = format!("{path}.{name}");
        let own = text(&field.directives, "class", "name");
        if let Some(directive) = field.directives.get("class") {
            let level = directive.specified_argument_by_name("level").and_then(|level| level.to_i32());
            assert!(level.is_some_and(|level| (1..=4).contains(&level)), "{path}: level 1 to 4");
        }
        let class = own.as_deref().or(of_object);
        if let Some(class) = class {
            assert!(known.contains(class), "{path}: unknown class {class}");
        }
        let inner = field.ty.inner_named_type();
        match schema.get_object(inner) {
            // An entity starts anew: it does not inherit from the field that refers to it.
            Some(object) if object.directives.has("key") => {}
            Some(_) => walk(schema, inner, class, &path, known, missing),
            None if class.is_none() => missing.push(path),
            None => {}
        }
    }
}

#[test]
fn everything_is_described_in_english_and_chinese() {
    let schema = contract();
    let mut bad = Vec::new();
    let mut check = |what: String, description: Option<&str>| {
        let text = description.unwrap_or_default();
        let english = text.split_whitespace().next().is_some_and(|word| word.is_ascii());
        let chinese = text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        if !(english && chinese && text.ends_with('。')) {
            bad.push(what);
        }
    };
    for (name, kind) in schema.types.iter().filter(|(_, kind)| !kind.is_built_in()) {
        check(name.to_string(), kind.description().map(|d| &**d));
        match kind {
            ExtendedType::Object(object) => {
                for (field_name, field) in &object.fields {
                    check(format!("{name}.{field_name}"), field.description.as_deref());
                    for argument in &field.arguments {
                        check(format!("{name}.{field_name}({})", argument.name), argument.description.as_deref());
                    }
                }
            }
            ExtendedType::Enum(kind) => {
                for (value, definition) in &kind.values {
                    check(format!("{name}.{value}"), definition.description.as_deref());
                }
            }
            ExtendedType::Scalar(_) => {}
            other => panic!("{name}: {other:?} is not used in this contract"),
        }
    }
    for directive in schema.directive_definitions.values().filter(|directive| !directive.is_built_in()) {
        check(format!("@{}", directive.name), directive.description.as_deref());
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn enumerations_have_unrecognized_and_the_raw_code_beside_them() {
    let schema = contract();
    for (name, kind) in schema.types.iter().filter(|(_, kind)| !kind.is_built_in()) {
        if let ExtendedType::Enum(kind) = kind {
            let closed = CLOSED.contains(&name.as_str());
            assert_eq!(kind.values.contains_key("UNRECOGNIZED"), !closed, "{name}");
        }
    }
    for (name, object) in objects(&schema) {
        for (field_name, field) in &object.fields {
            let inner = field.ty.inner_named_type();
            let is_enum = schema.get_enum(inner).is_some();
            if is_enum && !CLOSED.contains(&inner.as_str()) && !DERIVED.contains(&inner.as_str()) {
                let code = object.fields.get(format!("{field_name}Code").as_str());
                let code = code.unwrap_or_else(|| panic!("{name}.{field_name}Code is missing"));
                let expected = if field.ty.is_list() { "[String!]" } else { "String" };
                assert_eq!(code.ty.to_string(), expected, "{name}.{field_name}Code");
            }
        }
    }
}

#[test]
fn sections_are_non_null_leaves_and_lists_nullable() {
    let schema = contract();
    let household = schema.get_object("Household").unwrap();
    for (name, field) in household.fields.iter().filter(|(_, field)| field.directives.get("item").is_none()) {
        assert!(field.ty.is_non_null(), "section {name}");
        if name != "items" {
            let section = schema.get_object(field.ty.inner_named_type()).unwrap();
            for (leaf, field) in &section.fields {
                assert!(!field.ty.is_non_null(), "{name}.{leaf} must be nullable");
            }
        }
    }
}

#[test]
fn long_lists_take_from_to_and_first_and_are_cut_by_a_date_of_their_elements() {
    let schema = contract();
    let mut long = BTreeMap::new();
    for (_, object) in objects(&schema) {
        for field in object.fields.values() {
            if let (Some(no), Some(date)) =
                (text(&field.directives, "item", "no"), text(&field.directives, "list", "date"))
            {
                let arguments: Vec<String> =
                    field.arguments.iter().map(|argument| format!("{}: {}", argument.name, argument.ty)).collect();
                assert_eq!(arguments, ["from: Date", "to: Date", "first: Int"]);
                let by = schema.type_field(field.ty.inner_named_type(), &date).unwrap();
                assert_eq!(by.ty.to_string(), "Date", "item {no} is cut by {date}");
                long.insert(no, date);
            }
        }
    }
    assert_eq!(long.keys().map(String::as_str).collect::<Vec<_>>(), ["21", "28", "51", "58"]);
}

#[test]
fn states_and_codes_are_those_of_the_gateway() {
    let schema = contract();
    let values = |name: &str| -> BTreeSet<String> {
        schema.get_enum(name).unwrap().values.keys().map(ToString::to_string).collect()
    };
    let states = [
        ItemState::Answered,
        ItemState::NoRecord,
        ItemState::Masked,
        ItemState::Refused,
        ItemState::Pending,
        ItemState::Unavailable,
        ItemState::Undetermined,
        ItemState::Conflict,
    ];
    assert_eq!(values("ItemState"), states.map(|state| state.as_str().to_owned()).into());
    let codes = [
        ErrorCode::BadRequest,
        ErrorCode::ParseFailed,
        ErrorCode::ValidationFailed,
        ErrorCode::LimitExceeded,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::SourceTimeout,
        ErrorCode::SourceUnreachable,
        ErrorCode::SourceError,
        ErrorCode::SourceBadAnswer,
        ErrorCode::SourceBusy,
        ErrorCode::ValueInvalid,
        ErrorCode::OutsideTerritory,
        ErrorCode::InputMissing,
        ErrorCode::DeadlineExceeded,
        ErrorCode::AuditUnavailable,
        ErrorCode::Internal,
    ];
    assert_eq!(values("ErrorCode"), codes.map(|code| code.as_str().to_owned()).into());
}
