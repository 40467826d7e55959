//! Who gets in, and to what: tokens, networks, purposes, cases, relations, introspection, masks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use departments::expected::{ITEMS, at, portrait};
use huxiang::identify::{Identity, Verifier, mint};
use huxiang::serve;
use serde_json::{Map, Value, json};

use crate::access_oracle::{self, Access, Caller, Contract, Roles};
use crate::support::{self, HOUSEHOLD, World, ask, caller, supervisor, world};
use crate::temporary::Temporary;

const NEIGHBOUR: &str = "331122101348000009";
const ABROAD: &str = "330109102202000001";
const ABSENT: &str = "331122101348000099";

const PORTRAIT: &str = r#"query($id: ID!) { household(id: $id) { id registry { headName phone causes } medical { insured }
    assistance { dibaoMonthly } items { no state code message source claims { value } } } }"#;

fn with(mut identity: Identity, purpose: &str, case: Option<&str>) -> Identity {
    identity.purpose = (!purpose.is_empty()).then(|| purpose.to_owned());
    identity.case = case.map(str::to_owned);
    identity
}

/// Every role as it is meant to come, made for the demo's household.
fn callers(world: &World) -> BTreeMap<String, Identity> {
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let here = json!(["331122"]);
    let household = caller("household", json!({"household": HOUSEHOLD, "person": known.members[0].id_number}));
    let cadre = caller("cadre", json!({"id": known.cadre_id}));
    let mut found = BTreeMap::from([
        ("household".to_owned(), household),
        ("cadre".to_owned(), with(cadre, "help", None)),
        ("grid-worker".to_owned(), with(caller("grid-worker", json!({"grids": [known.grid]})), "grid-watch", None)),
        ("town-officer".to_owned(), with(caller("town-officer", json!({"divisions": here})), "duty", None)),
        (
            "department-officer".to_owned(),
            with(caller("department-officer", json!({"divisions": here, "department": "health"})), "duty", None),
        ),
        ("supervisor".to_owned(), supervisor()),
        (
            "verifier".to_owned(),
            with(caller("verifier", json!({"divisions": here})), "recognition", Some("HD-2026-0001")),
        ),
    ]);
    for role in ["enterprise", "public", "operator", "security-officer", "auditor"] {
        let mut identity = caller(role, json!({"divisions": here, "household": HOUSEHOLD}));
        if role == "enterprise" {
            identity.networks = vec!["public-proxy".to_owned()];
        }
        found.insert(role.to_owned(), identity);
    }
    found
}

fn as_caller(identity: &Identity) -> Caller {
    let principal = identity.principal.as_ref().unwrap();
    Caller {
        id: principal.id.clone(),
        roles: principal.roles.clone(),
        networks: identity.networks.clone(),
        purpose: identity.purpose.clone(),
        case: identity.case.clone(),
        certificate: None,
        claims: principal.claims.clone(),
        issuer: principal.issuer.clone(),
        ..Caller::default()
    }
}

fn codes(answer: &Value) -> BTreeSet<String> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    errors.map(|error| error["extensions"]["code"].as_str().unwrap().to_owned()).collect()
}

/// The household itself is null, and FORBIDDEN is all that is said.
fn assert_nothing(answer: &Value, who: &str) {
    assert_eq!(answer["data"], json!({"household": null}), "{who}: {answer}");
    assert_eq!(codes(answer), BTreeSet::from(["FORBIDDEN".to_owned()]), "{who}: {answer}");
}

async fn of(world: &World, identity: &Identity, id: &str) -> Value {
    ask(&world.gateway, identity, PORTRAIT, json!({"id": id})).await
}

/// What was asked of whom: source, method, path, how often.
fn calls(world: &World) -> BTreeMap<(String, String, String), usize> {
    let mut found = BTreeMap::new();
    for source in world.departments.sources() {
        for call in world.departments.log(&source) {
            *found.entry((source.clone(), call.method, call.path)).or_default() += 1;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_gets_exactly_its_items_of_its_own_household() {
    let world = world().await;
    let contract = Contract::read();
    let roles = Roles::read(&contract);
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ items {{ no state }} }} }}");
    for (role, identity) in callers(&world) {
        let caller = as_caller(&identity);
        let relations = access_oracle::relations(world.departments.world(), &caller, &expected);
        let answer = ask(&world.gateway, &identity, &query, json!({})).await;
        let states: BTreeMap<&str, &str> = answer["data"]["household"]["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| (item["no"].as_str().unwrap(), item["state"].as_str().unwrap()))
            .collect();
        for item in ITEMS {
            let field = contract.field("Household", item.path);
            let inside = format!("{}.", item.path);
            let parts =
                contract.fields.values().filter(|part| part.entity == "Household" && part.path.starts_with(&inside));
            let given =
                parts.chain([field]).any(|part| roles.of_some(&contract, &caller, &relations, part) != Access::No);
            let shown = states.get(item.no).is_some_and(|state| *state != "REFUSED");
            assert_eq!(shown, given, "{role}, item {}: {:?}", item.path, states.get(item.no));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_household_is_nothing() {
    let world = world().await;
    for (role, identity) in callers(&world) {
        let other = if ["household", "cadre"].contains(&role.as_str()) { NEIGHBOUR } else { ABROAD };
        assert_nothing(&of(&world, &identity, other).await, &role);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_household_looks_and_costs_like_an_unrelated_one() {
    let world = world().await;
    for (role, identity) in callers(&world) {
        let unrelated = if ["household", "cadre", "grid-worker"].contains(&role.as_str()) { NEIGHBOUR } else { ABROAD };
        let mut seen = Vec::new();
        for id in [unrelated, ABSENT] {
            world.departments.clear_logs();
            let request = huxiang::answer::GraphqlRequest {
                query: Some(PORTRAIT.to_owned()),
                variables: json!({"id": id}).as_object().unwrap().clone(),
                ..Default::default()
            };
            let answer = world.gateway.answer(identity.clone(), request, "same".to_owned(), None).await;
            seen.push((answer.body, calls(&world)));
        }
        if role == "grid-worker" {
            // The neighbour is of the same village, and may be of the same grid.
            let grid = world.departments.world().household(NEIGHBOUR).unwrap().grid;
            if identity.principal.as_ref().unwrap().claims["grids"] == json!([grid]) {
                continue;
            }
        }
        assert_eq!(seen[0], seen[1], "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_foreign_network_a_role_does_not_count() {
    let world = world().await;
    for (role, mut identity) in callers(&world) {
        let own = identity.networks.clone();
        for network in ["gov", "public-proxy", "elsewhere"].iter().filter(|network| own != [**network]) {
            identity.networks = vec![(*network).to_owned()];
            world.departments.clear_logs();
            let answer = of(&world, &identity, HOUSEHOLD).await;
            assert_nothing(&answer, &format!("{role} from {network}"));
            assert!(calls(&world).is_empty(), "{role} from {network}: {:?}", calls(&world));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_purpose_or_case_the_supervisor_gets_nothing() {
    let world = world().await;
    let fit = supervisor();
    let cases = [
        ("no purpose", with(fit.clone(), "", Some("JD-2026-0001"))),
        ("another purpose", with(fit.clone(), "help", Some("JD-2026-0001"))),
        ("no case", with(fit.clone(), "supervision", None)),
        ("a case with something before", with(fit.clone(), "supervision", Some("xJD-2026-0001"))),
        ("a case with something after", with(fit.clone(), "supervision", Some("JD-2026-0001\nx"))),
        ("a case with a line end", with(fit.clone(), "supervision", Some("JD-2026-0001\n"))),
        ("another office's case", with(fit.clone(), "supervision", Some("HD-2026-0001"))),
        ("a short case", with(fit.clone(), "supervision", Some("JD-2026-01"))),
        ("digits of another script", with(fit.clone(), "supervision", Some("JD-2026-٠٠٠١"))),
    ];
    for (what, identity) in cases {
        world.departments.clear_logs();
        assert_nothing(&of(&world, &identity, HOUSEHOLD).await, what);
        assert!(calls(&world).is_empty(), "{what}: {:?}", calls(&world));
    }
    for divisions in [json!(["330109"]), json!([]), Value::Null] {
        let mut identity = fit.clone();
        identity.principal.as_mut().unwrap().claims.insert("divisions".to_owned(), divisions.clone());
        assert_nothing(&of(&world, &identity, HOUSEHOLD).await, &format!("divisions {divisions}"));
    }
    assert_eq!(of(&world, &fit, HOUSEHOLD).await["data"]["household"]["id"], HOUSEHOLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_limited_to_purposes_declares_no_other() {
    let world = world().await;
    let mut identity = supervisor();
    let claims = |identity: &mut Identity, list: Value| {
        identity.principal.as_mut().unwrap().claims.insert("purposes".to_owned(), list);
    };
    claims(&mut identity, json!(["help"]));
    assert_nothing(&of(&world, &identity, HOUSEHOLD).await, "supervision with a token for help");
    claims(&mut identity, json!(["supervision"]));
    assert_eq!(of(&world, &identity, HOUSEHOLD).await["data"]["household"]["id"], HOUSEHOLD);
    // The claim counts only if the configuration reads it.
    assert!(world.gateway.snapshot().config.claims.contains_key("purposes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_and_the_public_get_no_households_data_and_no_department_is_asked() {
    let world = world().await;
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let person = &known.members[0].id_number;
    let queries = [
        format!(r#"{{ household(id: "{HOUSEHOLD}") {{ __typename id registry {{ __typename headName }} items {{ no state }} }} }}"#),
        format!(r#"{{ householdByCode(code: "{}") {{ __typename id registry {{ __typename headName }} }} }}"#, known.agri_code),
        format!(r#"{{ person(idNumber: "{person}") {{ __typename name household {{ id }} }} }}"#),
        r#"{ households(division: "331122101348") { nodes { id registry { headName } } edges { cursor } pageInfo { hasNextPage endCursor } } }"#.to_owned(),
    ];
    let callers = callers(&world);
    for role in ["operator", "security-officer", "auditor", "enterprise", "public"] {
        for query in &queries {
            world.departments.clear_logs();
            let answer = ask(&world.gateway, &callers[role], query, json!({})).await;
            let (_, root) = answer["data"].as_object().unwrap().iter().next().unwrap();
            let empty = json!({"nodes": [], "edges": [], "pageInfo": {"hasNextPage": false, "endCursor": null}});
            assert!(root.is_null() || *root == empty, "{role}: {answer}");
            assert!(calls(&world).is_empty(), "{role} {query}: {:?}", calls(&world));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_whose_department_is_silent_is_no_and_the_reason_is_told() {
    let world = world().await;
    let cadre = &callers(&world)["cadre"];
    world.departments.stop("help");
    world.departments.clear_logs();
    let answer = of(&world, cadre, HOUSEHOLD).await;
    assert_eq!(answer["data"], json!({"household": null}));
    let error = &answer["errors"][0]["extensions"];
    assert_eq!(
        (&error["code"], &error["source"], &error["state"]),
        (&json!("SOURCE_UNREACHABLE"), &json!("help"), &json!("UNAVAILABLE"))
    );
    let asked: BTreeSet<String> = calls(&world).into_keys().map(|(source, _, _)| source).collect();
    assert_eq!(asked, BTreeSet::from(["agriculture".to_owned()]));
    world.departments.resume("help");
    assert_eq!(of(&world, cadre, HOUSEHOLD).await["data"]["household"]["id"], HOUSEHOLD);
}

const INTROSPECTION: &str =
    "{ __schema { types { name fields { name type { name ofType { name ofType { name } } } } } } }";

/// `Type.field` of all that introspection tells.
fn told(answer: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for of in answer["data"]["__schema"]["types"].as_array().into_iter().flatten() {
        let name = of["name"].as_str().unwrap();
        found.insert(name.to_owned());
        let fields = of["fields"].as_array().into_iter().flatten();
        found.extend(fields.map(|field| format!("{name}.{}", field["name"].as_str().unwrap())));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_only_what_may_be_seen() {
    let world = world().await;
    let contract = Contract::read();
    let roles = Roles::read(&contract);
    let entities = BTreeSet::from(["Household".to_owned(), "Person".to_owned()]);
    for (role, identity) in callers(&world) {
        let answer = ask(&world.gateway, &identity, INTROSPECTION, json!({})).await;
        let told = told(&answer);
        let caller = as_caller(&identity);
        let mut may: BTreeMap<String, bool> = BTreeMap::new();
        for field in contract.fields.values().filter(|field| field.leaf) {
            let (parent, name) = field.path.rsplit_once('.').unwrap_or(("", &field.path));
            let parent = if parent.is_empty() { field.entity } else { &contract.field(field.entity, parent).type_name };
            *may.entry(format!("{parent}.{name}")).or_default() |= roles.could(&caller, field);
        }
        for (field, may) in &may {
            // A grant for a relation that the token rules out need not show.
            assert!(*may || !told.contains(field), "{role} is told of {field}");
        }
        assert!(!told.contains("Registry.personIds"), "{role}");
        if role == "supervisor" {
            assert!(may.iter().filter(|(_, may)| **may).all(|(field, _)| told.contains(field)));
        }
        if ["operator", "security-officer", "auditor", "enterprise", "public"].contains(&role.as_str()) {
            assert!(told.is_disjoint(&entities), "{role}: {told:?}");
        }
    }
    let grid_worker = &callers(&world)["grid-worker"];
    let query = r#"{ a: __type(name: "MajorIllness") { name } b: __type(name: "Registry") { fields { name } } c: __type(name: "ChronicBenefit") { name } }"#;
    let answer = ask(&world.gateway, grid_worker, query, json!({})).await;
    assert_eq!((&answer["data"]["a"], &answer["data"]["c"]), (&Value::Null, &Value::Null), "{answer}");
    let fields: Vec<&str> =
        answer["data"]["b"]["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert!(
        fields.contains(&"headName") && !fields.contains(&"causes") && !fields.contains(&"personIds"),
        "{fields:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hidden_input_works_for_nobody_and_no_message_suggests_names() {
    let world = world().await;
    let query = |fields: &str| format!("{{ household(id: \"{HOUSEHOLD}\") {{ {fields} }} }}");
    for (role, identity) in callers(&world) {
        for fields in [
            "registry { personIds }",
            "registry { a: personIds }",
            "...F } } fragment F on Household { registry { personIds } } query B { household(id: \"1\") { id",
        ] {
            world.departments.clear_logs();
            let answer = ask(&world.gateway, &identity, &query(fields), json!({})).await;
            assert!(
                answer["data"].is_null() && codes(&answer) == BTreeSet::from(["VALIDATION_FAILED".to_owned()]),
                "{role}: {answer}"
            );
            assert!(calls(&world).is_empty());
        }
        for fields in [
            "registry { personIdz }",
            "registry { headNam }",
            "registry { person }",
            "medica { insured }",
            "items(numbers: 1) { no }",
        ] {
            let answer = ask(&world.gateway, &identity, &query(fields), json!({})).await;
            let text = answer["errors"].to_string();
            for name in ["personIds", "headName", "medical", "Did you mean", "did you mean"] {
                assert!(!text.contains(name), "{role}: {text}");
            }
        }
        let answer =
            ask(&world.gateway, &identity, &query("items(no: [\"0\"]) { no path } registry { __typename }"), json!({}))
                .await;
        assert!(!answer.to_string().contains("personIds"), "{role}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_valid_for_every_role_or_for_none() {
    let world = world().await;
    let valid = format!(
        "query A($x: Boolean = true) {{ household(id: \"{HOUSEHOLD}\") {{ health {{ majorIllnesses @include(if: $x) {{ name illness }} }} photos {{ house {{ base64 }} }} }} }}"
    );
    let invalid = format!("{{ household(id: \"{HOUSEHOLD}\") {{ health {{ illnesses }} }} }}");
    let mut errors = BTreeSet::new();
    for (role, identity) in callers(&world) {
        let answer = ask(&world.gateway, &identity, &valid, json!({})).await;
        assert!(answer["data"].is_object() && !codes(&answer).contains("VALIDATION_FAILED"), "{role}: {answer}");
        errors.insert(ask(&world.gateway, &identity, &invalid, json!({})).await.to_string());
    }
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_is_masked_in_claims_and_in_the_inputs_of_rules_too() {
    let world = world().await;
    let officer = &callers(&world)["town-officer"];
    let query = r#"query($id: ID!) { household(id: $id) { income { perCapita }
        identity { headIdNumber members { idNumber } } risk { warning { level rules { id inputs { path value } } undetermined } }
        items(no: ["13", "54", "61"]) { no state claims { source value } } } }"#;
    let mut fired = 0;
    let ids: Vec<String> = world.departments.world().village_household_ids("331122101348").collect();
    for id in ids {
        let expected = portrait(world.departments.world(), &id).unwrap();
        let answer = ask(&world.gateway, officer, query, json!({"id": id})).await;
        let text = answer.to_string();
        let household = world.departments.world().household(&id).unwrap();
        for member in &household.members {
            assert!(!text.contains(&member.id_number), "{text}");
        }
        if let Some(income) = at(&expected, "income.perCapita").as_str() {
            assert!(!text.contains(income.trim_end_matches(".00")), "{income} in {text}");
        }
        let rules = at(&expected, "risk.warning.rules").as_array().unwrap();
        let by_income = |id: &Value| id.as_str().is_some_and(|id| id.starts_with("income-"));
        fired += usize::from(rules.iter().any(|rule| by_income(&rule["id"])));
        let shown =
            answer["data"]["household"]["risk"]["warning"]["rules"].as_array().unwrap_or_else(|| panic!("{text}"));
        assert!(!shown.iter().any(|rule| by_income(&rule["id"])), "{text}");
    }
    assert!(fired > 0, "no household of the village has a rule of income");
}

/// A YAML file without some of its sections.
fn without(text: &str, sections: &[&str]) -> String {
    let mut left_out = false;
    let kept = |line: &&str| {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) {
            left_out = sections.iter().any(|section| line.starts_with(&format!("{section}:")));
        }
        !left_out
    };
    text.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

/// A gateway over the repository's files with other roles, and the folder of its files and its audit store.
async fn with_roles(world: &World, name: &str, roles: &str) -> (huxiang::answer::Gateway, Temporary) {
    let root = Temporary::new(&format!("access-{name}"));
    for folder in ["schema", "resolvers", "config", "config/codes", "config/documents", "config/rules"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
        for file in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, root.join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    std::fs::write(root.join("config/roles.yaml"), roles).unwrap();
    // The roles that the gateway's own file and quotas name are not among these.
    for (path, sections) in [
        ("config/gateway.yaml", &["admin", "access_log", "alerts"][..]),
        ("resolvers/natural-resources.yaml", &["quota"]),
    ] {
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        std::fs::write(root.join(path), without(&text, sections)).unwrap();
    }
    let gateway = support::gateway(&root, world.departments.variables(), &root).await;
    (gateway, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_gives_nothing_inside_a_list_of_a_class_that_is_not_given() {
    let world = world().await;
    let roles = "roles:\n  names: {title: x, networks: [gov], grants: [{relation: any, classes: [basic, identity]}]}\n\
        \x20 beside: {title: x, networks: [gov], grants: [{relation: any, classes: [basic, identity], fields: [health.majorIllnesses.code]}]}\n\
        \x20 both: {title: x, networks: [gov], grants: [{relation: any, classes: [basic, health]}, {relation: any, classes: [basic, identity]}]}\n\
        \x20 named: {title: x, networks: [gov], grants: [{relation: any, classes: [basic], fields: [health.majorIllnesses, health.majorIllnesses.name]}]}\n\
        \x20 except: {title: x, networks: [gov], grants: [{relation: any, classes: [basic, health, identity], except: [health.majorIllnesses.name, medical]}]}\n";
    let (gateway, _root) = with_roles(&world, "lists", roles).await;
    let ill = world.departments.world().village_household_ids("331122101348").find(|id| {
        portrait(world.departments.world(), id).is_some_and(|portrait| {
            at(&portrait, "health.majorIllnesses").as_array().is_some_and(|list| !list.is_empty())
        })
    });
    let query = "query($id: ID!) { household(id: $id) { registry { headName } health { majorIllnesses { name idNumber code } } medical { chronicBenefits { name code } uninsured { name } } } }";
    let mut seen = BTreeMap::new();
    for role in ["names", "beside", "both", "named", "except"] {
        let answer = ask(&gateway, &caller(role, json!({})), query, json!({"id": ill})).await;
        let household = answer["data"]["household"].clone();
        let first = household["health"]["majorIllnesses"][0].clone();
        let there = |name: &str| first[name].is_string();
        seen.insert(
            role,
            (household["registry"]["headName"].is_string(), there("name"), there("idNumber"), there("code")),
        );
        if role != "both" {
            assert_eq!(household["medical"]["chronicBenefits"], Value::Null, "{role}: {answer}");
        }
    }
    let expected = BTreeMap::from([
        ("names", (true, false, false, false)),
        ("beside", (true, false, false, true)),
        // Grants add up field by field: neither gives the names in the list.
        ("both", (true, false, false, true)),
        ("named", (false, true, false, true)),
        ("except", (true, false, true, true)),
    ]);
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_of_visits_are_for_who_is_given_images_and_not_asked_for_otherwise() {
    let world = world().await;
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let expected = at(&expected, "help.visits").as_array().unwrap();
    let taken = expected.iter().filter(|visit| visit["photo"].is_object()).count();
    assert!(taken > 0 && taken < expected.len(), "{taken} of {}", expected.len());
    let query = format!(
        "{{ household(id: \"{HOUSEHOLD}\") {{ help {{ visits {{ on by found photo {{ takenOn mediaType base64 }} }} }} }} }}"
    );
    let callers = callers(&world);
    for (role, sees_images) in [("supervisor", true), ("cadre", false), ("town-officer", false)] {
        world.departments.clear_logs();
        let answer = ask(&world.gateway, &callers[role], &query, json!({})).await;
        let mut expected = expected.clone();
        if !sees_images {
            expected.iter_mut().for_each(|visit| visit["photo"] = Value::Null);
        }
        assert_eq!(answer["data"]["household"]["help"]["visits"], json!(expected), "{role}: {answer}");
        // Refused at every visit alike: which of them have a photo is not told.
        let count = answer["errors"][0]["extensions"]["count"].as_u64();
        assert_eq!(count, (!sees_images).then_some(expected.len() as u64), "{role}: {answer}");
        assert!(sees_images || codes(&answer) == BTreeSet::from(["FORBIDDEN".to_owned()]), "{role}: {answer}");
        let asked = world.departments.log("help").iter().any(|call| call.body.contains("photo"));
        assert_eq!(asked, sees_images, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_masked_only_if_every_grant_that_gives_it_masks_it() {
    let world = world().await;
    let grant = |mask: &str| format!("{{relation: any, classes: [basic, identity, contact], mask: {{{mask}}}}}");
    let (name, phone) = (grant("registry.headName: name"), grant("registry.phone: phone"));
    let class = grant("contact: phone");
    // The field by itself, whichever of the two stands first.
    let field = grant("contact: address, registry.phone: phone");
    let roles = format!(
        "roles:\n  one: {{title: x, networks: [gov], grants: [{name}]}}\n  two: {{title: x, networks: [gov], grants: [{name}, {phone}]}}\n  \
        same: {{title: x, networks: [gov], grants: [{name}, {name}]}}\n  class: {{title: x, networks: [gov], grants: [{class}]}}\n  \
        field: {{title: x, networks: [gov], grants: [{field}]}}\n"
    );
    let (gateway, _root) = with_roles(&world, "masks", &roles).await;
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ registry {{ headName phone address }} }} }}");
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let mut seen = BTreeMap::new();
    for role in ["one", "two", "same", "class", "field"] {
        let answer = ask(&gateway, &caller(role, json!({})), &query, json!({})).await;
        let registry = &answer["data"]["household"]["registry"];
        seen.insert(
            role,
            (registry["headName"] == known.head().name.as_str(), registry["phone"] == known.phone.as_str()),
        );
        if role == "class" {
            // The mask of telephones does not fit an address, but fits its type: it is never shown in full.
            assert_ne!(registry["address"], known.address.as_str(), "{answer}");
        }
        if role == "field" {
            let phone = registry["phone"].as_str().unwrap();
            assert!(phone.starts_with(&known.phone[..3]) && phone.ends_with(&known.phone[7..]), "{answer}");
        }
    }
    let expected = BTreeMap::from([
        ("one", (false, true)),
        ("two", (true, true)),
        ("same", (false, true)),
        ("class", (true, false)),
        ("field", (true, false)),
    ]);
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mask_of_a_class_does_not_fit_is_not_given_at_all() {
    let world = world().await;
    let roles = "roles:\n  banded: {title: x, networks: [gov], grants: [\
        {relation: any, classes: [basic, income, asset], mask: {income: band, asset: band}}]}\n";
    let (gateway, _root) = with_roles(&world, "class-mask", roles).await;
    let known = world.departments.world();
    let with_income = known.village_household_ids("331122101348").find(|id| {
        let portrait = portrait(known, id).unwrap();
        ["income.perCapita", "income.perCapitaYear"].iter().all(|path| !at(&portrait, path).is_null())
            && at(&portrait, "assets.vehicles").as_array().is_some_and(|list| !list.is_empty())
    });
    let query = "query($id: ID!) { household(id: $id) { income { perCapita perCapitaYear perCapitaMethod }
        assets { vehicles { plate registeredOn } } } }";
    let answer = ask(&gateway, &caller("banded", json!({})), query, json!({"id": with_income.unwrap()})).await;
    let household = &answer["data"]["household"];
    let band = household["income"]["perCapita"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(band.contains(['-', '+', '<']) && !band.contains('.'), "{answer}");
    assert_eq!(household["income"]["perCapitaYear"], Value::Null, "{answer}");
    assert_eq!(household["income"]["perCapitaMethod"], Value::Null, "{answer}");
    // A list is given, with nothing in it that is told as it is.
    let vehicles = household["assets"]["vehicles"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert!(!vehicles.is_empty(), "{answer}");
    for vehicle in vehicles {
        assert_eq!(vehicle, &json!({"plate": null, "registeredOn": null}), "{answer}");
    }
    assert_eq!(codes(&answer), BTreeSet::from(["FORBIDDEN".to_owned()]), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_split_by_what_each_household_may_be_asked_for() {
    let world = world().await;
    let roles = "roles:\n  mixed: {title: x, networks: [gov], grants: [\
        {relation: any, classes: [basic], fields: [help.cadre.name, education.students.school]},\
        {relation: paired, classes: [help, narrative, welfare, risk]}]}\n";
    let (gateway, _root) = with_roles(&world, "batch", roles).await;
    let all: Vec<_> = world.departments.world().village_household_ids("331122101348").collect();
    let known = |id: &String| world.departments.world().household(id).unwrap();
    let cadre = known(&all[0]).cadre_id;
    let caller = caller("mixed", json!({"id": cadre}));
    let query = "{ households(division: \"331122101348\", first: 21) { nodes { id assistance { dibaoMonthly }
        help { cadre { name phone } visits { on } } education { students { school } } risk { warning { level } } } } }";
    world.departments.clear_logs();
    let answer = ask(&gateway, &caller, query, json!({})).await;
    let nodes = answer["data"]["households"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 21, "{answer}");
    // Whoever has almost nothing has no cadre either.
    let paired = |id: &str| {
        portrait(world.departments.world(), id).is_some_and(|portrait| at(&portrait, "help.cadre.id") == cadre.as_str())
    };
    let mine: BTreeSet<&String> = all.iter().filter(|id| paired(id)).collect();
    assert!((2..=5).contains(&mine.len()));
    for node in nodes {
        let is_mine = mine.contains(&node["id"].as_str().unwrap().to_owned());
        for value in [&node["help"]["cadre"]["phone"], &node["help"]["visits"], &node["risk"]["warning"]] {
            assert!(is_mine || value.is_null(), "{node}");
        }
        assert!(!is_mine || node["help"]["cadre"]["phone"].is_string(), "{node}");
    }
    let others: Vec<_> = all.iter().filter(|id| !mine.contains(id)).map(known).collect();
    for call in
        world.departments.log("help").iter().filter(|call| call.body.contains("phone") || call.body.contains("visits"))
    {
        assert!(others.iter().all(|other| !call.body.contains(&other.id)), "{}", call.body);
    }
    for source in ["civil-affairs", "medical-insurance", "health", "water", "human-resources", "police"] {
        let calls = world.departments.log(source);
        assert!(!calls.is_empty(), "{source}");
        for call in calls {
            let told = format!("{}{}", call.query, call.body);
            assert!(
                others.iter().flat_map(|other| &other.members).all(|member| !told.contains(&member.id_number)),
                "{source}"
            );
        }
    }
    // Rules read the stage of schooling where the warning may be told, and nowhere else.
    let students: Vec<_> =
        world.departments.log("education").into_iter().filter(|call| call.body.contains("students")).collect();
    let (with_stage, without): (Vec<_>, Vec<_>) = students.iter().partition(|call| call.body.contains("stageCode"));
    assert!(!with_stage.is_empty() && !without.is_empty(), "{students:?}");
    for call in with_stage {
        assert!(others.iter().flat_map(|other| &other.members).all(|member| !call.body.contains(&member.id_number)));
    }
}

/// The gateway behind a real listener.
struct Served {
    url: String,
    client: reqwest::Client,
    served: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start(world: &World) -> Self {
        let config = &world.gateway.snapshot().config;
        let verifier = Arc::new(Verifier::load(config).unwrap());
        let app = serve::app(config, verifier, Arc::new(world.gateway.clone())).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/graphql", listener.local_addr().unwrap());
        let served_with = config.clone();
        let served =
            tokio::spawn(async move { serve::run(listener, app, None, &served_with, std::future::pending()).await });
        Self { url, client: reqwest::Client::builder().no_proxy().build().unwrap(), served }
    }

    /// Status and body.
    async fn post(&self, token: Option<&str>, from: Option<&str>) -> (u16, Value) {
        let body = json!({"query": "query($id: ID!) { household(id: $id) { id } }", "variables": {"id": HOUSEHOLD},
            "extensions": {"purpose": "supervision", "case": "JD-2026-0001"}});
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("x-forwarded-for", from);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.served.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_that_is_good_in_every_respect_counts() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let world = world().await;
    let served = Served::start(&world).await;
    let issuer = &world.gateway.snapshot().config.issuers[0];
    let pem = issuer.signing_key.as_ref().unwrap().read().unwrap();
    let key = EncodingKey::from_ed_pem(&pem).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let good = json!({"iss": issuer.issuer, "aud": issuer.audience, "sub": "s1", "iat": now, "exp": now + 60, "roles": ["supervisor"], "divisions": ["331122"]});
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let signed = |claims: &Value| encode(&Header::new(Algorithm::EdDSA), claims, &key).unwrap();
    let (status, answer) = served.post(Some(&signed(&good)), None).await;
    assert_eq!((status, &answer["data"]["household"]["id"]), (200, &json!(HOUSEHOLD)), "{answer}");

    let public = rcgen::KeyPair::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap().public_key_pem();
    let other = EncodingKey::from_ed_pem(
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem().as_bytes(),
    )
    .unwrap();
    let parts: Vec<String> = signed(&good).split('.').map(str::to_owned).collect();
    let none = {
        use base64::Engine as _;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        format!("{header}.{}.", parts[1])
    };
    let bad = [
        ("expired", signed(&changed("exp", json!(now - 120)))),
        ("without expiry", signed(&changed("exp", Value::Null))),
        ("without the time of its issue", signed(&changed("iat", Value::Null))),
        ("for another audience", signed(&changed("aud", json!("other")))),
        ("of another issuer", signed(&changed("iss", json!("https://elsewhere")))),
        ("not valid yet", signed(&changed("nbf", json!(now + 600)))),
        ("alg none", none),
        (
            "HS256 with the public key",
            encode(&Header::new(Algorithm::HS256), &good, &EncodingKey::from_secret(public.as_bytes())).unwrap(),
        ),
        ("signed by another key", encode(&Header::new(Algorithm::EdDSA), &good, &other).unwrap()),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("with claims of another type", signed(&changed("divisions", json!("331122")))),
        ("roles that are no texts", signed(&changed("roles", json!([1])))),
    ];
    for (what, token) in bad {
        world.departments.clear_logs();
        let (status, answer) = served.post(Some(&token), None).await;
        assert_eq!((status, answer.get("data")), (401, None), "{what}: {answer}");
        assert_eq!(codes(&answer), BTreeSet::from(["UNAUTHENTICATED".to_owned()]), "{what}");
        assert!(calls(&world).is_empty(), "{what}");
    }
    let (status, answer) = served.post(None, None).await;
    assert_eq!(status, 200);
    assert_nothing(&answer, "no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_household_counts_only_through_the_listed_proxy() {
    let world = world().await;
    let served = Served::start(&world).await;
    let issuer = &world.gateway.snapshot().config.issuers[0];
    let person = world.departments.world().household(HOUSEHOLD).unwrap().members[0].id_number.clone();
    let claims: Map<String, Value> = json!({"household": HOUSEHOLD, "person": person}).as_object().unwrap().clone();
    let token = mint(issuer, "h1", &["household".to_owned()], &claims, Duration::from_secs(60)).unwrap();
    let (_, answer) = served.post(Some(&token), Some("203.0.113.7")).await;
    assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD, "{answer}");
    for from in [None, Some("198.51.100.1"), Some("203.0.113.7, 198.51.100.1"), Some("10.1.2.3")] {
        let (_, answer) = served.post(Some(&token), from).await;
        assert_nothing(&answer, &format!("{from:?}"));
    }
}
