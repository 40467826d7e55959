//! The facts of a check of recognition: each department's own, to who checks, and to nobody else.

use std::collections::{BTreeMap, BTreeSet};

use departments::expected::{RECOGNITION, at, portrait};
use huxiang::identify::Identity;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::second_persons::{demo, given, relying_on, verifier, wanted};
use crate::support::{HOUSEHOLD, World, ask, caller, supervisor, world};

const VILLAGE: &str = "331122101348";
/// Whose officers have which lists.
const DEPARTMENTS: [(&str, &[&str]); 8] = [
    ("civil-affairs", &["marriages"]),
    ("human-resources", &["unemploymentBenefits"]),
    ("housing", &["purchases"]),
    ("natural-resources", &["land"]),
    ("agriculture", &["machinerySubsidies"]),
    ("provident-fund", &["providentFund"]),
    ("transport", &["licences"]),
    ("tax", &["declaredIncomes", "invoices"]),
];

/// The lists with what the contract says of their elements.
fn lists(world: &World) -> BTreeMap<String, Vec<String>> {
    let snapshot = world.gateway.snapshot();
    let contract = &snapshot.contract;
    let below = |path: &str| -> Vec<String> {
        let inside = contract.slots.iter().filter_map(|slot| slot.path.strip_prefix(path)?.strip_prefix('.'));
        inside.map(str::to_owned).collect()
    };
    RECOGNITION.iter().map(|path| (path["recognition.".len()..].to_owned(), below(path))).collect()
}

/// A query for all of these lists; with the persons that they tell of, or without.
fn query(world: &World, persons: bool) -> String {
    let told = |name: &String| persons || !["name", "idNumber"].contains(&name.as_str());
    let all = lists(world).into_iter().map(|(list, fields)| {
        format!("{list} {{ {} }}", fields.into_iter().filter(told).collect::<Vec<_>>().join(" "))
    });
    format!("query($id: ID!) {{ household(id: $id) {{ recognition {{ {} }} }} }}", all.collect::<Vec<_>>().join(" "))
}

async fn facts(world: &World, who: &Identity, persons: bool, household: &str) -> (Value, Value) {
    let mut answer = ask(&world.gateway, who, &query(world, persons), json!({ "id": household })).await;
    (answer["data"]["household"]["recognition"].take(), answer)
}

/// What the generator says of a list.
fn held(world: &World, household: &str, list: &str) -> Value {
    let expected = portrait(world.departments.world(), household).unwrap();
    at(&expected, &format!("recognition.{list}")).clone()
}

/// Amounts are compared as numbers: a database keeps no zeros at their end.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| same(value, &other[name]))
        }
        (Value::String(one), Value::String(other)) if one != other => {
            let number = |text: &str| text.parse::<Decimal>().ok().filter(|_| text.contains('.'));
            number(one).is_some() && number(one) == number(other)
        }
        _ => one == other,
    }
}

fn without_persons(mut list: Value) -> Value {
    for element in list.as_array_mut().into_iter().flatten() {
        element.as_object_mut().unwrap().retain(|name, _| !["name", "idNumber"].contains(&name.as_str()));
    }
    list
}

/// Lists that were refused, or whose fields were.
fn refused(answer: &Value) -> BTreeSet<&str> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    let refused = errors.filter(|error| error["extensions"]["code"] == "FORBIDDEN");
    let paths = refused.filter_map(|error| error["extensions"]["paths"].as_array()).flatten();
    paths.filter_map(|path| path[2].as_str()).collect()
}

/// A household of which the departments hold some of all of these lists, as far as there is one.
fn one_with(world: &World, wanted: &[&str]) -> String {
    let ids = world.departments.world().village_household_ids(VILLAGE);
    let count = |id: &String| {
        wanted.iter().filter(|list| held(world, id, list).as_array().is_some_and(|list| !list.is_empty())).count()
    };
    let found = ids.max_by_key(count).unwrap();
    assert!(count(&found) > 0, "no household has any of {wanted:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_are_what_the_departments_hold() {
    let world = world().await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for household in world.departments.world().village_household_ids(VILLAGE) {
        let (recognition, answer) = facts(&world, &supervisor(), true, &household).await;
        assert!(answer.get("errors").is_none(), "{household}: {answer}");
        for (list, _) in lists(&world) {
            let told = &recognition[&list];
            let held = held(&world, &household, &list);
            assert!(same(told, &held), "{household} {list}: {told} and not {held}");
            *seen.entry(list).or_default() += usize::from(told.as_array().is_some_and(|list| !list.is_empty()));
        }
    }
    assert_eq!(seen.len(), RECOGNITION.len());
    assert!(seen.values().all(|households| *households >= 2), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_has_what_tax_knows_only_with_an_approval_and_without_names() {
    let (world, _) = demo().await;
    let tax = ["declaredIncomes", "invoices"];
    let household = one_with(&world, &tax);
    let (recognition, answer) = facts(&world, &verifier(), true, &household).await;
    for (list, _) in lists(&world) {
        let expected = if tax.contains(&list.as_str()) { Value::Null } else { held(&world, &household, &list) };
        assert!(same(&recognition[&list], &expected), "{list}: {recognition}");
    }
    assert_eq!(refused(&answer), BTreeSet::from(tax));
    assert!(world.departments.log("tax").is_empty(), "what is refused is not asked for");

    let mut approved = vec![];
    for _ in 0..2 {
        approved.push(relying_on(verifier(), &given(&world, &wanted(&household)).await.id));
    }
    let (recognition, answer) = facts(&world, &approved[0], false, &household).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    for list in tax {
        assert_eq!(recognition[list], without_persons(held(&world, &household, list)), "{list}");
    }
    // The approval opens amounts: whose they are is not in it.
    let (recognition, answer) = facts(&world, &approved[1], true, &household).await;
    let told = tax.iter().filter_map(|list| recognition[list].as_array()).flatten();
    assert!(told.clone().count() > 0 && told.clone().all(|one| one["name"].is_null() && one["idNumber"].is_null()));
    assert!(refused(&answer).iter().all(|list| tax.contains(list)) && !refused(&answer).is_empty(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn officers_have_their_own_departments_lists_and_ask_no_other() {
    let world = world().await;
    for (department, own) in DEPARTMENTS {
        let mut officer = caller("department-officer", json!({"divisions": ["331122"], "department": department}));
        officer.purpose = Some("duty".to_owned());
        let household = one_with(&world, own);
        world.departments.clear_logs();
        let (recognition, answer) = facts(&world, &officer, false, &household).await;
        for (list, _) in lists(&world) {
            let mine = own.contains(&list.as_str());
            let expected = if mine { without_persons(held(&world, &household, &list)) } else { Value::Null };
            assert!(same(&recognition[&list], &expected), "{department} {list}: {recognition}");
            assert_eq!(refused(&answer).contains(list.as_str()), !mine, "{department} {list}: {answer}");
        }
        // Agriculture is asked where the household is.
        let asked: BTreeSet<String> = world.departments.calls().into_keys().collect();
        let may = BTreeSet::from(["agriculture".to_owned(), department.to_owned()]);
        assert!(asked.is_subset(&may), "{department}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_told_or_has_a_department_asked() {
    let world = world().await;
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let declared = |role: &str, claims: Value, purpose: &str| {
        let mut who = caller(role, claims);
        who.purpose = (!purpose.is_empty()).then(|| purpose.to_owned());
        who
    };
    let head = at(&expected, "identity.headIdNumber");
    let others = [
        declared("household", json!({"household": HOUSEHOLD, "person": head}), ""),
        declared("cadre", json!({"id": at(&expected, "help.cadre.id")}), "help"),
        declared("town-officer", json!({"divisions": ["331122"]}), "duty"),
        declared("grid-worker", json!({"grids": [at(&expected, "registry.grid")]}), "grid-watch"),
        declared("department-officer", json!({"divisions": ["331122"], "department": "police"}), "duty"),
    ];
    for who in others {
        let role = who.principal.as_ref().unwrap().roles.clone();
        world.departments.clear_logs();
        let (recognition, answer) = facts(&world, &who, true, HOUSEHOLD).await;
        let lists: BTreeSet<String> = lists(&world).into_keys().collect();
        assert!(lists.iter().all(|list| recognition[list].is_null()), "{role:?}: {recognition}");
        let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("{role:?}: {answer}"));
        assert!(errors.iter().all(|error| error["extensions"]["code"] == "FORBIDDEN"), "{role:?}: {answer}");
        let asked = world.departments.calls();
        for (department, _) in DEPARTMENTS.iter().filter(|(department, _)| *department != "agriculture") {
            assert!(!asked.contains_key(*department), "{role:?}: {asked:?}");
        }
    }
}
