//! Clues for entry and exit: told to who re-checks, found over a division, and changing nothing.

use std::collections::BTreeSet;

use departments::Fault;
use departments::expected::{at, portrait};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::second_persons::verifier;
use crate::support::{World, ask, caller, supervisor, world};

const VILLAGE: &str = "331122101348";

/// Ids of those whom a clue is found of.
async fn flagged(world: &World, identity: &Identity, list: &str, rule: &str) -> Value {
    let query = "query($where: HouseholdFilter) { households(division: \"331122101348\", where: $where, first: 100) {
        nodes { id } coverage { candidates matched undetermined missing { source } } } }";
    let of = json!({ list: { "some": { "id": { "eq": rule }, "verdict": { "eq": "FLAGGED" } } } });
    ask(&world.gateway, identity, query, json!({ "where": { "adjustment": of } })).await
}

fn ids(answer: &Value) -> BTreeSet<String> {
    let nodes = answer["data"]["households"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
}

/// Of the village, by what the generator says.
fn those(world: &World, is: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let known = world.departments.world();
    let of = |id: &String| portrait(known, id).is_some_and(|portrait| is(&portrait));
    known.village_household_ids(VILLAGE).filter(of).collect()
}

fn amount(portrait: &Value, path: &str) -> Option<f64> {
    at(portrait, path).as_str()?.parse().ok()
}

fn assisted(portrait: &Value) -> bool {
    let status = at(portrait, "assistance.dibaoStatus");
    status == "RECEIVING" || status == "PENDING" || !at(portrait, "assistance.extremePoverty").is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_division_is_re_checked_for_exit_and_entry_by_what_departments_hold() {
    let world = world().await;
    let businesses = those(&world, |portrait| {
        at(portrait, "assets.businesses").as_array().is_some_and(|all| all.iter().any(|one| one["active"] == true))
    });
    let units = |portrait: &Value| -> BTreeSet<String> {
        let all = at(portrait, "assets.realEstate").as_array().cloned().unwrap_or_default();
        all.iter().map(|unit| unit["unitNumber"].to_string()).collect()
    };
    let houses = those(&world, |portrait| units(portrait).len() >= 2);
    assert!(!businesses.is_empty());
    assert_eq!(ids(&flagged(&world, &verifier(), "exit", "runs-business").await), businesses);
    assert_eq!(ids(&flagged(&world, &supervisor(), "exit", "several-houses").await), houses);
    let costs =
        those(&world, |portrait| amount(portrait, "medical.selfPaid12Months").is_some_and(|paid| paid >= 30000.0));
    let found = ids(&flagged(&world, &verifier(), "entry", "costs-without-aid").await);
    assert!(found.is_subset(&costs), "{found:?} {costs:?}");
    // Where departments disagree about the income, it is on no side.
    let poor =
        |portrait: &Value| !assisted(portrait) && amount(portrait, "income.perCapita").is_some_and(|is| is < 11952.0);
    let answer = flagged(&world, &verifier(), "entry", "dibao-not-received").await;
    let (found, poor) = (ids(&answer), those(&world, poor));
    assert!(found.is_subset(&poor), "{found:?} {poor:?}");
    let undetermined = answer["data"]["households"]["coverage"]["undetermined"].as_u64().unwrap();
    assert!((poor.len() - found.len()) as u64 <= undetermined, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_be_struck_off_is_not_told_for_a_departments_silence() {
    let world = world().await;
    let before = ids(&flagged(&world, &verifier(), "exit", "owns-car").await);
    assert!(!before.is_empty());
    world.departments.set_fault("police", Fault::Http500);
    let answer = flagged(&world, &verifier(), "exit", "owns-car").await;
    let coverage = &answer["data"]["households"]["coverage"];
    assert_eq!((&coverage["matched"], &coverage["undetermined"]), (&json!(0), &coverage["candidates"]), "{answer}");
    let all = those(&world, |_| true);
    assert_eq!(coverage["candidates"], all.len(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clues_are_for_those_who_re_check_and_nobody_else() {
    let world = world().await;
    let query =
        "query($id: ID!) { household(id: $id) { adjustment { exit { id verdict } entry { id verdict } entryAlone { id
        verdict } } } }";
    let id = json!({ "id": "331122101348000001" });
    let told = |answer: &Value| {
        let clues = &answer["data"]["household"]["adjustment"];
        ["exit", "entry", "entryAlone"].map(|list| clues[list].is_array())
    };
    assert_eq!(told(&ask(&world.gateway, &supervisor(), query, id.clone()).await), [true, true, true]);
    // Of disabilities, the verifier knows nothing.
    assert_eq!(told(&ask(&world.gateway, &verifier(), query, id.clone()).await), [true, true, false]);
    let mut officer = caller("town-officer", json!({ "divisions": ["331122"] }));
    officer.purpose = Some("duty".to_owned());
    world.departments.clear_logs();
    assert_eq!(told(&ask(&world.gateway, &officer, query, id).await), [false, false, false]);
    // What it may not be told of is not read for it.
    for source in ["market-regulation", "natural-resources", "banks/01"] {
        assert!(world.departments.log(source).is_empty(), "{source}");
    }
}
