//! Holds the contract in `schema/` against the list of the 61 items, and against its own rules for frontends.

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
const DERIVED: [&str; 2] = ["WarningLevel", "CheckVerdict"];

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
    source: String,
    also_in: String,
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
            let [no, path, kind, zh, class, source, also_in] = std::array::from_fn(|_| cells.next().unwrap());
            Row { no, path, kind, zh, class, source, also_in }
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
    for Row { no, path, kind, zh, class, .. } in &rows {
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

/// Entities are joined by their keys, not compared: what police say of the members stands beside them
/// (`identity.registered`), and in the fields of each.
const NOT_COMPARED: [&str; 1] = ["identity.members"];

#[test]
fn what_two_departments_hold_is_bound_in_both_and_compared() {
    let (schema, rows) = (contract(), portrait());
    for path in NOT_COMPARED {
        let element = field(&schema, path).ty.inner_named_type();
        assert!(schema.get_object(element).unwrap().directives.has("key"), "{path} is a list of {element}: compare it");
    }
    let twice: Vec<&Row> = rows.iter().filter(|row| !row.also_in.is_empty()).collect();
    assert!(twice.iter().any(|row| row.path == "health.familyDoctor"), "the list tells who else holds an item");
    let bound = |source: &str, part: &str, path: &str| {
        let endpoints = yaml(&format!("resolvers/{source}.yaml"))["endpoints"].as_object().unwrap().clone();
        let names = endpoints.values().filter_map(|endpoint| endpoint[part].as_object());
        let is_of = |name: &str| name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        names.flat_map(|fields| fields.keys()).any(|name| is_of(name))
    };
    for Row { path, source, also_in, .. } in twice {
        assert!(bound(source, "fields", path), "{source} answers for {path}");
        assert_eq!(bound(also_in, "also", path), !NOT_COMPARED.contains(&path.as_str()), "{also_in} holds {path} too");
    }
}

#[test]
fn every_leaf_has_a_class_and_one_class_has_one_spelling() {
    let schema = contract();
    let known: BTreeSet<String> = portrait()
        .into_iter()
        .map(|row| row.class)
        .chain(["basic", "income", "access-log", "mandate", "verdict", "recognition", "tax"].map(str::to_owned))
        .collect();
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
        // Who looked is a list of the household itself.
        if name == "accessLog" {
            continue;
        }
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
    assert_eq!(values("ItemState"), ItemState::ALL.iter().map(|state| state.as_str().to_owned()).collect());
    assert_eq!(values("ErrorCode"), ErrorCode::ALL.iter().map(|code| code.as_str().to_owned()).collect());
}

fn yaml(path: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn texts(value: &serde_json::Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().map(|item| item.as_str().unwrap()).collect()).unwrap_or_default()
}

/// A leaf that has a class: its path from Household (or `Person.…`), its class, and the class of what it stands in.
struct Leaf {
    path: String,
    class: String,
    outer: String,
}

fn leaves(schema: &Schema) -> Vec<Leaf> {
    fn go(schema: &Schema, kind: &str, outer: Option<&str>, prefix: &str, out: &mut Vec<Leaf>) {
        let object = schema.get_object(kind).unwrap();
        let own = object.directives.get("class").and_then(|class| class.specified_argument_by_name("name"));
        let of_object = own.and_then(|name| name.as_str()).or(outer);
        for (name, field) in &object.fields {
            let path = format!("{prefix}{name}");
            let own = text(&field.directives, "class", "name");
            let class = own.as_deref().or(of_object);
            match schema.get_object(field.ty.inner_named_type()) {
                Some(inner) if !inner.directives.has("key") => {
                    go(schema, field.ty.inner_named_type(), class, &format!("{path}."), out);
                }
                _ => {
                    let class = class.unwrap().to_owned();
                    out.push(Leaf { path, outer: outer.unwrap_or(&class).to_owned(), class });
                }
            }
        }
    }
    let mut out = Vec::new();
    go(schema, "Household", None, "", &mut out);
    go(schema, "Person", None, "Person.", &mut out);
    out
}

fn covers(prefixes: &[&str], path: &str) -> bool {
    let bare = |prefix: &&str| prefix.strip_prefix("Household.").unwrap_or(prefix).to_owned();
    prefixes
        .iter()
        .map(bare)
        .any(|prefix| path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn roles() -> serde_json::Map<String, serde_json::Value> {
    yaml("config/roles.yaml")["roles"].as_object().unwrap().clone()
}

#[test]
fn every_grant_names_classes_fields_and_relations_that_are_there() {
    let schema = contract();
    let leaves = leaves(&schema);
    let classes: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.class.as_str()).collect();
    let relations = yaml("config/rules/relations.yaml");
    let gateway = yaml("config/gateway.yaml");
    for (role, content) in roles() {
        for network in texts(&content["networks"]) {
            assert!(gateway["networks"].get(network).is_some(), "{role}: network {network}");
        }
        for grant in content["grants"].as_array().unwrap() {
            assert!(relations["relations"].get(grant["relation"].as_str().unwrap()).is_some(), "{role}: {grant}");
            for class in texts(&grant["classes"]) {
                assert!(classes.contains(class), "{role}: class {class}");
            }
            let masked = grant["mask"].as_object().into_iter().flat_map(|mask| mask.keys().map(String::as_str));
            for path in texts(&grant["fields"]).into_iter().chain(texts(&grant["except"])).chain(masked) {
                assert!(leaves.iter().any(|leaf| covers(&[path], &leaf.path)), "{role}: field {path}");
            }
        }
    }
}

#[test]
fn no_role_gets_the_hidden_input_or_a_name_out_of_a_list_it_may_not_see() {
    let schema = contract();
    for (role, content) in roles() {
        for grant in content["grants"].as_array().unwrap() {
            let (classes, fields, except) =
                (texts(&grant["classes"]), texts(&grant["fields"]), texts(&grant["except"]));
            for leaf in leaves(&schema) {
                let by_field = covers(&fields, &leaf.path);
                let given = (by_field || classes.contains(&leaf.class.as_str())) && !covers(&except, &leaf.path);
                // Of what a relation to a person gives of a household, lists take names along only in the same grant.
                let relation = grant["relation"].as_str().unwrap();
                let to_person = ["self-person", "guardian"].contains(&relation) || relation.starts_with("consented");
                if !given || (to_person && !leaf.path.starts_with("Person.")) {
                    continue;
                }
                assert_ne!(leaf.path, "registry.personIds", "{role}");
                assert!(
                    by_field || classes.contains(&leaf.outer.as_str()),
                    "{role} gets {} without its list",
                    leaf.path
                );
            }
        }
    }
}

#[test]
fn the_supervisor_has_every_item_and_the_administrators_none() {
    let schema = contract();
    let roles = roles();
    let grant = &roles["supervisor"]["grants"][0];
    let (classes, except) = (texts(&grant["classes"]), texts(&grant["except"]));
    for leaf in leaves(&schema).iter().filter(|leaf| leaf.path != "registry.personIds" && leaf.class != "access-log") {
        assert!(classes.contains(&leaf.class.as_str()) && !covers(&except, &leaf.path), "{}", leaf.path);
    }
    for role in ["operator", "security-officer", "auditor", "public"] {
        assert!(roles[role]["grants"].as_array().unwrap().is_empty(), "{role}");
    }
}

#[test]
fn rules_read_fields_that_are_there() {
    let schema = contract();
    let mut conditions = Vec::new();
    for (name, relation) in yaml("config/rules/relations.yaml")["relations"].as_object().unwrap() {
        conditions.push((name.clone(), relation["when"].as_str().unwrap().to_owned()));
    }
    for (path, derived) in yaml("config/rules/warning.yaml")["derived"].as_object().unwrap() {
        assert!(field(&schema, path).directives.has("item"));
        for rule in derived["rules"].as_array().unwrap() {
            conditions.push((rule["id"].as_str().unwrap().to_owned(), rule["when"].as_str().unwrap().to_owned()));
        }
    }
    let gateway = yaml("config/gateway.yaml");
    let functions = ["startsWith", "exists", "all"];
    for (name, condition) in conditions {
        for word in condition.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
            if let Some(claim) = word.strip_prefix("principal.").and_then(|rest| rest.split('.').next()) {
                assert!(claim == "id" || gateway["principal"]["claims"].get(claim).is_some(), "{name}: claim {claim}");
            }
            if let Some(path) = word.strip_prefix("household.") {
                let names: Vec<&str> = path.split('.').filter(|name| !functions.contains(name)).collect();
                assert!(!names.is_empty(), "{name}");
                field(&schema, &names.join("."));
            }
        }
    }
}

#[test]
fn code_tables_have_each_code_once_and_values_of_their_enumeration() {
    let schema = contract();
    let enumerations = BTreeMap::from([
        ("sex", "Sex"),
        ("family-relation", "RelationToHead"),
        ("disability-kind", "DisabilityKind"),
        ("disability-grade", "DisabilityGrade"),
        ("employment-status", "EmploymentStatus"),
        ("low-income-category", "LowIncomeCategory"),
        ("registry-state", "RegistryState"),
        ("hardship-causes", "HardshipCause"),
        ("register-type", "RegisterType"),
        ("life-status", "LifeStatus"),
        ("identity-verdict", "IdentityVerdict"),
        ("dibao-status", "DibaoStatus"),
        ("support-kind", "SupportKind"),
        ("school-stage", "SchoolStage"),
        ("housing-safety-grade", "HousingSafetyGrade"),
        ("renovation-stage", "RenovationStage"),
        ("water-supply", "WaterSupply"),
        ("vehicle-kind", "VehicleKind"),
        ("disbursement-status", "DisbursementStatus"),
        ("marital-status", "MaritalStatus"),
        ("provident-fund-status", "ProvidentFundStatus"),
        ("transport-licence-kind", "TransportLicenceKind"),
        ("measure-kind", "MeasureKind"),
        ("measure-state", "MeasureState"),
        ("need-state", "NeedState"),
        ("need-origin", "NeedOrigin"),
        ("deposit-band", "DepositBand"),
    ]);
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("config/codes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let table = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let content = std::fs::read_to_string(&path).unwrap();
        let mut lines = content.lines();
        assert_eq!(lines.next(), Some("code,value,zh"), "{table}");
        let mut codes = BTreeSet::new();
        for line in lines {
            let [code, value, zh] = cells(line).try_into().unwrap_or_else(|_| panic!("{table}: {line}"));
            assert!(codes.insert(code) && !zh.is_empty(), "{table}: {line}");
            if let Some(kind) = enumerations.get(table.as_str()) {
                assert!(schema.get_enum(kind).unwrap().values.contains_key(value.as_str()), "{table}: {line}");
            }
        }
        seen.insert(table);
    }
    for table in enumerations.keys() {
        assert!(seen.contains(*table), "{table} is missing");
    }
    assert_eq!(std::fs::read_to_string(root().join("config/codes/nationality.csv")).unwrap().lines().count(), 57);
}
