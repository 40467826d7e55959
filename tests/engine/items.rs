//! `items(no:)`: which items are told of, and what is asked of departments for it.

use std::collections::BTreeSet;

use departments::expected::{at, portrait};
use serde_json::{Value, json};

use crate::support::{self, HOUSEHOLD, World, ask, supervisor, world};

async fn told(world: &World, fields: &str) -> Value {
    world.departments.clear_logs();
    let query = format!("{{ household(id: \"{HOUSEHOLD}\") {{ {fields} }} }}");
    let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    assert!(answer["data"]["household"].is_object(), "{answer}");
    answer["data"]["household"].clone()
}

fn numbers(household: &Value) -> BTreeSet<&str> {
    household["items"].as_array().unwrap().iter().map(|item| item["no"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_those_named_or_those_selected_beside_or_all() {
    let world = world().await;
    for named in ["no: \"16\"", "no: [\"16\"]", "no: 16", "no: [16]"] {
        let household = told(&world, &format!("items({named}) {{ no }} registry {{ phone }}")).await;
        assert_eq!(numbers(&household), BTreeSet::from(["16"]), "{named}");
    }
    // In sections; what is no item tells none.
    let household = told(&world, "items { no } registry { phone causesCode } assistance { dibaoStatus }").await;
    assert_eq!(numbers(&household), BTreeSet::from(["4", "16"]));
    let household = told(&world, "items { no }").await;
    assert_eq!(numbers(&household).len(), world.gateway.snapshot().contract.items.len());
    // An item with fields is one: its fields are none.
    let household = told(&world, "items { no } education { students { school } }").await;
    assert_eq!(numbers(&household), BTreeSet::from(["32"]));
    // What is selected of another entity is none of this one's.
    let household = told(&world, "items { no } projects { name } identity { residence { place } }").await;
    let beside = numbers(&household).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let through =
        "items { no } projects { name } identity { residence { place } members { household { registry { phone } } } }";
    let household = told(&world, through).await;
    assert!(numbers(&household).is_superset(&beside.iter().map(String::as_str).collect()), "{household}");
    assert!(!numbers(&household).contains("4"), "{household}");
}

/// Its own fields are read for it; those of another class inside it, names and numbers of persons, are not.
#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_state_of_an_item_asks_for_what_is_of_its_class_alone() {
    let world = world().await;
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let students = at(&expected, "education.students").as_array().unwrap().len();
    assert!(students > 0, "there is somebody at school");
    let household = told(&world, "items(no: [\"32\"]) { no state claims { value } }").await;
    assert_eq!(household["items"][0]["state"], "ANSWERED", "{household}");
    let asked = world.departments.log("education");
    assert!(!asked.is_empty());
    for call in asked {
        assert!(call.body.contains("school") && call.body.contains("stageCode"), "{}", call.body);
        assert!(!call.body.contains("name"), "{}", call.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_and_a_claim_tell_when_the_gateway_got_them() {
    let world = world().await;
    // A value, an object, an object of several fields, and one that is derived: it was got nowhere.
    let before = jiff::Timestamp::now();
    let household =
        told(&world, "items(no: [\"39\", \"6\", \"27\", \"61\"]) { no fetchedAt claims { fetchedAt } }").await;
    let after = jiff::Timestamp::now();
    let got = |text: &Value| {
        let text = text.as_str().unwrap_or_else(|| panic!("{household}"));
        assert!(text.ends_with("+08:00"), "{household}");
        // Told to the second.
        let at: jiff::Timestamp = text.parse().unwrap();
        assert!(at.as_second() >= before.as_second() && at <= after, "{before} {after}: {household}");
    };
    for item in household["items"].as_array().unwrap() {
        match item["no"].as_str() {
            Some("61") => assert_eq!(item["fetchedAt"], Value::Null, "{household}"),
            _ => got(&item["fetchedAt"]),
        }
        item["claims"].as_array().unwrap().iter().for_each(|claim| got(&claim["fetchedAt"]));
    }
    let of_grade = household["items"].as_array().unwrap().iter().find(|item| item["no"] == "39").unwrap();
    assert!(!of_grade["claims"].as_array().unwrap().is_empty(), "{household}");
}

/// The records of a listing hold some items: their department is heard beside the others who hold them, as where one household
/// is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_tells_of_an_item_is_a_claim_as_any_other() {
    let world = world().await;
    let items = "items(no: [\"3\", \"7\", \"11\"]) { no state claims { source value } }";
    let query = format!("{{ households(division: \"331122101348\", first: 50) {{ nodes {{ id {items} }} }} }}");
    let listed = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    let nodes = listed["data"]["households"]["nodes"].as_array().unwrap();
    let mut conflicts = BTreeSet::new();
    for node in nodes {
        let query = format!("query($id: ID!) {{ household(id: $id) {{ id {items} }} }}");
        let alone = ask(&world.gateway, &supervisor(), &query, json!({ "id": node["id"] })).await;
        assert_eq!(*node, alone["data"]["household"]);
        let differing = node["items"].as_array().unwrap().iter().filter(|item| item["state"] == "CONFLICT");
        conflicts.extend(differing.map(|item| item["no"].as_str().unwrap()));
    }
    // Two departments disagree on the category of one, and on how many live in another.
    assert_eq!((nodes.len(), conflicts), (21, BTreeSet::from(["11", "7"])));
}

/// Whether its fields are selected beside it or not, and whichever others are asked with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_has_the_same_state_however_it_is_asked() {
    let world = world().await;
    let states = |household: &Value| -> Vec<(String, String)> {
        let items = household["items"].as_array().unwrap().iter();
        items
            .map(|item| (item["no"].as_str().unwrap().to_owned(), item["state"].as_str().unwrap().to_owned()))
            .collect()
    };
    let portrait = support::document::portrait(&world.gateway.snapshot().contract);
    let answer = ask(&world.gateway, &supervisor(), &portrait, json!({"id": HOUSEHOLD})).await;
    let beside: std::collections::BTreeMap<String, String> = states(&answer["data"]["household"]).into_iter().collect();
    assert!(beside.len() > 50, "{answer}");
    let together: std::collections::BTreeMap<String, String> =
        states(&told(&world, "items { no state }").await).into_iter().collect();
    for (no, state) in &beside {
        let alone = told(&world, &format!("items(no: [\"{no}\"]) {{ no state }}")).await;
        assert_eq!(alone["items"][0]["state"], **state, "item {no}, alone and with its fields");
        assert_eq!(together[no], *state, "item {no}, with all others and with its fields");
    }
}
