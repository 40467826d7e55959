//! The rules in config/rules/ against the contract in schema/.

use std::collections::BTreeMap;
use std::path::Path;

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use huxiang::base::fault::{self, Faults};
use huxiang::model::rule::{self, ClaimType, FieldKind, FieldType, FieldTypes, Rules, Truth};
use serde_json::{Value, json};

struct Sdl(Schema);

impl FieldTypes for Sdl {
    fn field(&self, type_name: &str, field: &str) -> Option<FieldType> {
        let definition = self.0.get_object(type_name)?.fields.get(field)?;
        let name = definition.ty.inner_named_type();
        let kind = match self.0.types.get(name) {
            Some(ExtendedType::Object(_)) => FieldKind::Object,
            Some(ExtendedType::Enum(_)) => FieldKind::Enum,
            _ => FieldKind::Scalar,
        };
        Some(FieldType { name: name.to_string(), list: definition.ty.is_list(), kind })
    }
    fn fields(&self, type_name: &str) -> Vec<String> {
        let object = self.0.get_object(type_name);
        object.map(|object| object.fields.keys().map(ToString::to_string).collect()).unwrap_or_default()
    }
    fn enum_values(&self, type_name: &str) -> Option<Vec<String>> {
        self.0.get_enum(type_name).map(|definition| definition.values.keys().map(ToString::to_string).collect())
    }
    fn subjects(&self, type_name: &str, field: &str) -> Option<String> {
        let definition = self.0.get_object(type_name)?.fields.get(field)?;
        let entity = definition.directives.get("subjects")?.specified_argument_by_name("entity")?;
        entity.as_str().map(str::to_owned)
    }
    fn territory(&self, type_name: &str) -> Option<Vec<String>> {
        let by = self.0.get_object(type_name)?.directives.get("territory")?.specified_argument_by_name("by")?;
        by.as_str().map(|path| path.split('.').map(str::to_owned).collect())
    }
}

fn files(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn rules() -> Rules {
    let mut builder = Schema::builder();
    for path in files("schema", "graphql") {
        builder = builder.parse(std::fs::read_to_string(&path).unwrap(), &path);
    }
    let contract = Sdl(builder.build().unwrap());
    let texts = ["id", "household", "person", "department", "enterprise"].map(|name| (name, ClaimType::String));
    let lists = ["grids", "divisions"].map(|name| (name, ClaimType::StringList));
    let claims: BTreeMap<String, ClaimType> =
        texts.into_iter().chain(lists).map(|(name, kind)| (name.to_owned(), kind)).collect();
    let mut faults = Faults::default();
    let files: Vec<_> =
        files("config/rules", "yaml").iter().filter_map(|path| fault::read(path, &mut faults)).collect();
    let rules = rule::load(&files, &contract, &claims, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render());
    rules
}

fn relation(rules: &Rules, name: &str, entity: &Value, principal: &Value) -> Truth {
    let relation = rules.relations.iter().find(|relation| relation.name == name).unwrap();
    relation.when.evaluate(entity, principal, jiff::civil::date(2025, 6, 1))
}

#[test]
fn all_rules_hold_against_the_contract_and_the_paired_cadre_is_recognized() {
    let rules = rules();
    let household = json!({"id": "1", "help": {"cadre": {"id": "c1", "until": null}}});
    assert_eq!(relation(&rules, "paired", &household, &json!({"id": "c1"})), Truth::True);
    assert_eq!(relation(&rules, "paired", &household, &json!({"id": "c2"})), Truth::False);
    assert_eq!(relation(&rules, "paired", &json!({"help": {"cadre": null}}), &json!({})), Truth::False);
    assert_eq!(relation(&rules, "of-health", &json!({}), &json!({"department": "police"})), Truth::False);
    assert_eq!(relation(&rules, "jurisdiction", &json!({}), &json!({"divisions": ["331122"]})), Truth::Unknown);
}

#[test]
fn a_warning_without_its_inputs_is_undetermined_and_not_green() {
    let rules = rules();
    let derived = rules.derived.iter().find(|derived| derived.path() == "risk.warning").unwrap();
    let rule::Derived::Ladder(ladder) = derived else { panic!("a ladder") };
    let today = jiff::civil::date(2025, 6, 1);
    let nothing = ladder.decide(&json!({}), &json!({}), today);
    assert_eq!((nothing.level, nothing.complete, nothing.undetermined.len()), (None, false, ladder.rules.len()));
    let burdened = json!({"medical": {"selfPaid12Months": "30000.00", "insured": true}});
    let decided = ladder.decide(&burdened, &json!({}), today);
    assert_eq!((decided.level.as_deref(), decided.complete), (Some("RED"), false));
    assert_eq!(
        decided.fired.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(),
        ["medical-burden", "medical-watch"]
    );
}
