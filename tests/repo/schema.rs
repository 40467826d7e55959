//! The published JSON Schemas and the reference: made from the types that read the files, and telling what those take.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use huxiang::base::fault::{Faults, SourceText};
use huxiang::model::schema::{Kind, reference};
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository that is made; `UPDATE_EXPECTED=1` makes it anew.
fn made(path: &str, text: &str) {
    let path = root().join(path);
    if std::env::var("UPDATE_EXPECTED").is_ok() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is not what is made: UPDATE_EXPECTED=1 cargo test --test repo schema", path.display());
}

#[test]
fn published_schemas_are_what_the_command_prints() {
    for kind in Kind::ALL {
        let output = Command::new(env!("CARGO_BIN_EXE_huxiang")).args(["schema", kind.name()]).output().unwrap();
        assert!(output.status.success());
        made(&format!("docs/schema/{}.json", kind.name()), &String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn the_reference_is_made_from_the_types_and_every_link_in_it_leads_somewhere() {
    let text = reference::markdown();
    made("docs/reference.md", &text);
    let anchor = |title: &str| title.to_lowercase().replace(": ", "-").replace(' ', "-");
    let anchors: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|known| known == link), "#{link}");
    }
    for key in ["batch_max", "combine", "request_timeout_ms", "break_glass", "declassifies", "renew_on"] {
        assert!(text.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn every_key_is_documented_in_its_schema() {
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        let schema = kind.schema();
        let definitions = schema["definitions"].as_object().cloned().unwrap_or_default();
        for (name, of) in definitions.iter().map(|(name, of)| (name.as_str(), of)).chain([("", &schema)]) {
            for (key, property) in of["properties"].as_object().into_iter().flatten() {
                if property["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
                    missing.push(format!("{}: {name}.{key}", kind.name()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// As much of draft 7 as the schemas use; a keyword that it does not know ends the test.
struct Validator<'s> {
    root: &'s Value,
}

impl Validator<'_> {
    /// Where a value does not fit, and why.
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let members = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return Err(format!("{at}: nothing may stand here")),
            other => other.as_object().unwrap(),
        };
        for (keyword, rule) in members {
            match keyword.as_str() {
                "$schema" | "title" | "description" | "definitions" | "default" => {}
                "$ref" => {
                    let pointer = rule.as_str().unwrap().trim_start_matches('#');
                    self.check(self.root.pointer(pointer).unwrap(), value, at)?;
                }
                "allOf" => rule.as_array().unwrap().iter().try_for_each(|one| self.check(one, value, at))?,
                "anyOf" | "oneOf" => {
                    let all = rule.as_array().unwrap();
                    let fits = all.iter().map(|one| self.check(one, value, at));
                    let failed: Vec<String> = fits.clone().filter_map(Result::err).collect();
                    let fitting = all.len() - failed.len();
                    if fitting == 0 || keyword == "oneOf" && fitting > 1 {
                        return Err(format!("{at}: fits {fitting}: {}", failed.join("; ")));
                    }
                }
                "const" if value != rule => return Err(format!("{at}: is not {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => return Err(format!("{at}: is none of {rule}")),
                "const" | "enum" => {}
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    if !types.iter().any(|name| is(value, name.as_str().unwrap())) {
                        return Err(format!("{at}: is not of type {rule}"));
                    }
                }
                "minimum" => {
                    if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) {
                        return Err(format!("{at}: is less than {rule}"));
                    }
                }
                "maximum" => {
                    if value.as_f64().is_some_and(|number| number > rule.as_f64().unwrap()) {
                        return Err(format!("{at}: is more than {rule}"));
                    }
                }
                "pattern" => {
                    assert_eq!(rule, "^(/.*)?$");
                    if value.as_str().is_some_and(|text| !text.is_empty() && !text.starts_with('/')) {
                        return Err(format!("{at}: is not a pointer"));
                    }
                }
                "required" => {
                    let missing =
                        |name: &&Value| value.as_object().is_some_and(|of| !of.contains_key(name.as_str().unwrap()));
                    if let Some(name) = rule.as_array().unwrap().iter().find(missing) {
                        return Err(format!("{at}: lacks {name}"));
                    }
                }
                "properties" => {
                    for (name, of) in rule.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(of, value, &format!("{at}/{name}"))?;
                        }
                    }
                }
                "additionalProperties" => {
                    let known = schema["properties"].as_object();
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if known.is_none_or(|known| !known.contains_key(name)) {
                            self.check(rule, value, &format!("{at}/{name}"))?;
                        }
                    }
                }
                "items" => {
                    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, value, &format!("{at}/{n}"))?;
                    }
                }
                other => panic!("the validator of this test does not know `{other}`"),
            }
        }
        Ok(())
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

fn validate(kind: Kind, value: &Value) -> Result<(), String> {
    let schema = kind.schema();
    Validator { root: &schema }.check(&schema, value, "")
}

fn kind_of(path: &str) -> Option<Kind> {
    match path {
        _ if !path.ends_with(".yaml") => None,
        _ if path.contains("resolvers/") => Some(Kind::Binding),
        _ if path.ends_with("config/gateway.yaml") => Some(Kind::Gateway),
        _ if path.ends_with("config/roles.yaml") => Some(Kind::Roles),
        _ if path.ends_with("config/platforms.yaml") => Some(Kind::Platforms),
        _ if path.contains("config/rules/") => Some(Kind::Rules),
        _ => None,
    }
}

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Every file of a kind in the repository that is without fault, and the files that scenarios hold.
fn good() -> Vec<(Kind, String, String)> {
    let mut paths = Vec::new();
    for folder in [
        "resolvers",
        "config",
        "examples",
        "fuzz/contract",
        "tests/data/blog",
        "tests/data/library",
        "tests/data/farms",
        "tests/data/faulty/base",
    ] {
        files(&root().join(folder), &mut paths);
    }
    let mut all: Vec<(Kind, String, String)> = paths
        .into_iter()
        .filter_map(|path| {
            let name = path.display().to_string();
            Some((kind_of(&name)?, name, fs::read_to_string(path).unwrap()))
        })
        .collect();
    let mut scenarios = Vec::new();
    files(&root().join("tests/scenarios"), &mut scenarios);
    for path in scenarios.iter().filter(|path| !path.ends_with("README.md")) {
        let text = fs::read_to_string(path).unwrap();
        for block in text.split("\n```yaml ").skip(1) {
            let (name, rest) = block.split_once('\n').unwrap();
            let body = rest.split("\n```").next().unwrap();
            let Some(kind) = kind_of(name) else { continue };
            all.push((kind, format!("{}: {name}", path.display()), body.to_owned()));
        }
    }
    all
}

#[test]
fn every_file_that_the_gateway_takes_fits_its_schema() {
    let good = good();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (kind, name, text) in &good {
        *counts.entry(kind.name()).or_default() += 1;
        let value: Value = serde_saphyr::from_str(text).unwrap();
        if let Err(why) = validate(*kind, &value) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts.len() == 5 && counts["binding"] > 40, "{counts:?}");
}

/// Every mapping of every such file, with one key more.
#[test]
fn what_the_gateway_refuses_for_an_unknown_key_its_schema_refuses_and_nothing_else() {
    const UNKNOWN: &str = "unknown_key";
    let (mut refused, mut taken) = (0, 0);
    let schemas = Kind::ALL.map(|kind| (kind, kind.schema()));
    for (kind, name, text) in good() {
        let schema = schemas.iter().find(|(of, _)| *of == kind).map(|(_, schema)| schema).unwrap();
        let whole: Value = serde_saphyr::from_str(&text).unwrap();
        let mut mappings = Vec::new();
        find(&whole, String::new(), &mut mappings);
        for pointer in mappings {
            let mut changed = whole.clone();
            changed.pointer_mut(&pointer).unwrap()[UNKNOWN] = json!("/x");
            let file = SourceText::new("file.yaml", changed.to_string());
            let reads = kind.reads(&file, &mut Faults::default());
            let fits = Validator { root: schema }.check(schema, &changed, "");
            // Where any key may stand, the value may be none: that is told once the file is read.
            let key_is_refused = fits.as_ref().is_err_and(|why| why.contains("/unknown_key: nothing may stand here"));
            assert!(if reads { !key_is_refused } else { fits.is_err() }, "{name}{pointer}: {reads} {fits:?}");
            if reads { taken += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 300 && taken > 50, "{refused} {taken}");
}

fn find(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, inside) in members {
                find(inside, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
            found.push(at);
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(n, inside)| find(inside, format!("{at}/{n}"), found)),
        _ => {}
    }
}

/// Faults of shape that tests tell of, beside unknown keys: other types, values that are none of a list, keys left out.
#[test]
fn faults_of_shape_do_not_fit_the_schema() {
    let mut cases = Vec::new();
    files(&root().join("tests/data/faulty"), &mut cases);
    let mut seen = 0;
    for expected in cases.iter().filter(|path| path.ends_with("expected.txt")) {
        let told = fs::read_to_string(expected).unwrap();
        for fault in told.split("\nerror: ").map(|fault| fault.trim_start_matches("error: ")) {
            let shape = fault.starts_with("unknown key") || fault.contains("is not a value of this key");
            let file = fault.lines().find_map(|line| line.trim().strip_prefix("--> ")?.split(':').next());
            let (true, Some(file)) = (shape, file) else { continue };
            let text = fs::read_to_string(expected.with_file_name(file)).unwrap();
            let Ok(value) = serde_saphyr::from_str::<Value>(&text) else { continue };
            assert!(validate(kind_of(file).unwrap(), &value).is_err(), "{}: {fault}", expected.display());
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}
