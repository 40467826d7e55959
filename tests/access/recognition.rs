//! The check of recognition: every rule with its verdict and what it rests on; values to those alone who may see them.

use std::collections::{BTreeMap, BTreeSet};

use departments::Fault;
use departments::expected::{at, portrait};
use huxiang::base::clock::Clock;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::second_persons::verifier;
use crate::support::files::Files;
use crate::support::{World, ask, caller, config, records, repository, supervisor, world, world_at};

const VILLAGE: &str = "331122101348";
const CHECK: &str = "query($id: ID!) { household(id: $id) { recognition { check { id zh en rule verdict state code
    thresholds { id value unit since } sources { source instance sourceTitle state code validOn } inputs { path value } } } } }";

fn households(world: &World) -> Vec<(String, Value)> {
    let known = world.departments.world();
    known.village_household_ids(VILLAGE).filter_map(|id| Some((id.clone(), portrait(known, &id)?))).collect()
}

fn officer() -> Identity {
    let mut identity = caller("town-officer", json!({ "divisions": ["331122"] }));
    identity.purpose = Some("duty".to_owned());
    identity
}

/// The lines of one household's check, by their ids.
async fn checked(world: &World, identity: &Identity, id: &str) -> BTreeMap<String, Value> {
    let answer = ask(&world.gateway, identity, CHECK, json!({ "id": id })).await;
    let lines = answer["data"]["household"]["recognition"]["check"].as_array();
    let lines = lines.unwrap_or_else(|| panic!("{answer}"));
    lines.iter().map(|line| (line["id"].as_str().unwrap().to_owned(), line.clone())).collect()
}

fn list<'a>(portrait: &'a Value, path: &str) -> &'a [Value] {
    at(portrait, path).as_array().map_or(&[], Vec::as_slice)
}

fn amount(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Units of real estate: one that several own is registered to each.
fn units(portrait: &Value) -> BTreeSet<String> {
    list(portrait, "assets.realEstate").iter().map(|unit| unit["unitNumber"].to_string()).collect()
}

/// What some rules come to by what the generator says.
fn expected(portrait: &Value) -> BTreeMap<&'static str, bool> {
    let any = |path: &str, is: &dyn Fn(&Value) -> bool| list(portrait, path).iter().any(is);
    BTreeMap::from([
        ("owns-car", any("assets.vehicles", &|vehicle| vehicle["kind"] == "CAR" || vehicle["kind"] == "BUS")),
        ("runs-business", any("assets.businesses", &|business| business["active"] == true)),
        ("several-houses", units(portrait).len() >= 2),
        ("member-deceased", any("identity.members", &|member| member["lifeStatus"] == "DECEASED")),
        ("member-moved", any("identity.members", &|member| !member["movedOn"].is_null())),
        ("wage-income", any("employment.workers", &|worker| amount(&worker["monthlyWage"]) >= 4000.0)),
        ("pension-income", any("employment.pensions", &|pension| amount(&pension["monthly"]) >= 2000.0)),
        ("uninsured", *at(portrait, "medical.insured") == false),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_told_with_its_verdict_and_no_value_to_who_has_the_verdicts_alone() {
    let world = world().await;
    let (mut flagged, mut undetermined) = (0, 0);
    for (id, portrait) in households(&world) {
        let lines = checked(&world, &officer(), &id).await;
        for (rule, holds) in expected(&portrait) {
            let verdict = if holds { "FLAGGED" } else { "CLEAR" };
            assert_eq!(lines[rule]["verdict"], verdict, "{id}: {}", lines[rule]);
            flagged += usize::from(holds);
        }
        for line in lines.values() {
            let sources = line["sources"].as_array().unwrap();
            assert!(!sources.is_empty(), "{id}: {line}");
            assert_eq!(line["verdict"].is_null(), line["state"] != "ANSWERED", "{id}: {line}");
            let is_open = line["verdict"].is_null() && line["state"] != "NO_RECORD";
            assert_eq!(is_open, !line["code"].is_null(), "{id}: {line}");
            undetermined += usize::from(line["verdict"].is_null());
            // A town may not see vehicles, nor what banks say.
            if ["owns-car", "deposits-over-line", "bank-account"].contains(&line["id"].as_str().unwrap()) {
                assert!(line["inputs"].is_null(), "{id}: {line}");
                assert!(sources.iter().all(|source| source["validOn"].is_null()), "{id}: {line}");
                assert!(sources.iter().all(|source| source["state"] != "NO_RECORD"), "{id}: {line}");
            }
        }
        for plate in list(&portrait, "assets.vehicles").iter().filter_map(|vehicle| vehicle["plate"].as_str()) {
            assert!(!json!(lines).to_string().contains(plate), "{id}");
        }
    }
    assert!(flagged > 20 && undetermined > 0, "{flagged} {undetermined}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_the_values_is_told_what_was_compared_with_what() {
    let world = world().await;
    let (id, portrait) = households(&world)
        .into_iter()
        .find(|(_, portrait)| list(portrait, "employment.pensions").len() == 1)
        .expect("somebody draws a pension");
    let line = &checked(&world, &supervisor(), &id).await["pension-income"];
    let amount = list(&portrait, "employment.pensions")[0]["monthly"].clone();
    assert!(!amount.is_null());
    assert_eq!(line["inputs"], json!([{ "path": "employment.pensions.monthly", "value": "1" }]), "{line}");
    assert_eq!(line["thresholds"][0]["id"], "pension-monthly", "{line}");
    assert_eq!(line["thresholds"][0]["value"], "2000", "{line}");
    assert_eq!(line["rule"], "household.employment.pensions.exists(p, p.monthly >= threshold('pension-monthly'))");
    let sources = line["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 1, "{line}");
    assert_eq!(sources[0]["source"], "human-resources", "{line}");
    // The verifier sees pensions too, but not what banks hold: that has a grant of its own.
    let lines = checked(&world, &verifier(), &id).await;
    assert!(lines["pension-income"]["inputs"].is_array() && lines["deposits-over-line"]["inputs"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bank_is_told_by_itself_to_who_may_see_what_banks_say_and_to_nobody_else() {
    let world = world().await;
    let over = |portrait: &Value| at(portrait, "assets.deposits.overThreshold").clone();
    let (id, _) = households(&world).into_iter().find(|(_, portrait)| over(portrait) == false).unwrap();
    let (rich, _) = households(&world).into_iter().find(|(_, portrait)| over(portrait) == true).unwrap();
    let line = &checked(&world, &supervisor(), &id).await["deposits-over-line"];
    let banks = |line: &Value| -> Vec<Value> {
        line["sources"].as_array().unwrap().iter().filter(|source| source["source"] == "banks").cloned().collect()
    };
    assert_eq!((&line["verdict"], banks(line).len()), (&json!("CLEAR"), 73), "{line}");
    assert!(banks(line).iter().all(|bank| bank["state"] == "ANSWERED" && bank["instance"].is_string()));
    world.departments.set_fault("banks/05", Fault::Http500);
    let line = &checked(&world, &supervisor(), &id).await["deposits-over-line"];
    // Of 73, 72 say no: that is not known to be no.
    assert_eq!((&line["verdict"], &line["state"]), (&Value::Null, &json!("UNDETERMINED")), "{line}");
    let silent: Vec<Value> = banks(line).into_iter().filter(|bank| bank["state"] != "ANSWERED").collect();
    assert_eq!(silent.len(), 1, "{line}");
    assert_eq!((&silent[0]["instance"], &silent[0]["state"]), (&json!("05"), &json!("UNAVAILABLE")), "{line}");
    // Who may not see what banks say is not told which of them is silent: the others' answers would follow from it.
    for id in [&id, &rich] {
        let line = &checked(&world, &officer(), id).await["deposits-over-line"];
        let told = banks(line);
        assert_eq!((told.len(), &told[0]["instance"]), (1, &Value::Null), "{line}");
        assert_eq!(told[0]["state"], "UNAVAILABLE", "{line}");
    }
    // One that says yes is enough, whoever else is silent.
    let over = checked(&world, &officer(), &rich).await["deposits-over-line"]["verdict"].clone();
    assert!(over == "FLAGGED" || over.is_null(), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_department_leaves_the_verdicts_of_the_others() {
    let world = world().await;
    let (id, _) = households(&world).into_iter().next().unwrap();
    let before = checked(&world, &officer(), &id).await;
    world.departments.set_fault("market-regulation", Fault::Http500);
    let after = checked(&world, &officer(), &id).await;
    for (rule, line) in &after {
        if rule == "runs-business" {
            assert_eq!((&line["verdict"], &line["state"]), (&Value::Null, &json!("UNDETERMINED")), "{line}");
            assert_eq!(line["sources"][0]["source"], "market-regulation", "{line}");
            assert_eq!(line["sources"][0]["state"], "UNAVAILABLE", "{line}");
            assert_eq!(line["sources"][0]["code"], line["code"], "{line}");
        } else {
            assert_eq!(line["verdict"], before[rule]["verdict"], "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_checked_at_once_and_found_by_what_a_rule_came_to() {
    let world = world().await;
    let cars: Vec<String> = households(&world)
        .into_iter()
        .filter(|(_, portrait)| expected(portrait)["owns-car"])
        .map(|(id, _)| id)
        .collect();
    let query = "query($where: HouseholdFilter, $among: [ID!]) { households(division: \"331122101348\", where: $where, among: $among,
        first: 100) { nodes { id recognition { check { id verdict } } } coverage { candidates matched undetermined missing {
        source count } } } }";
    let flagged = json!({ "recognition": { "check": { "some": { "id": { "eq": "owns-car" }, "verdict": { "eq": "FLAGGED" } } } } });
    let ids = |answer: &Value| -> Vec<String> {
        let nodes = answer["data"]["households"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
        nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
    };
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "where": flagged })).await;
    assert_eq!(ids(&answer), cars, "{answer}");
    let among: Vec<&String> = cars.iter().take(2).collect();
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "among": among, "where": flagged })).await;
    assert_eq!(answer["data"]["households"]["coverage"]["candidates"], among.len(), "{answer}");
    assert_eq!(ids(&answer).len(), among.len(), "{answer}");
    // Whose vehicles nobody tells is undetermined, not clear; for that department's silence.
    world.departments.set_fault("police", Fault::Http500);
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "where": flagged })).await;
    let coverage = &answer["data"]["households"]["coverage"];
    assert_eq!(coverage["matched"], 0, "{answer}");
    assert_eq!(coverage["undetermined"], coverage["candidates"], "{answer}");
    let blamed = coverage["missing"].as_array().unwrap();
    assert!(blamed.iter().any(|missing| missing["source"] == "police"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_holds_from_its_day_on_and_before_the_first_nothing_is_said() {
    let files = |values: &str| {
        let thresholds = config("rules/thresholds.yaml");
        let (before, after) = thresholds.split_once("  pension-monthly:").unwrap();
        let after = after.replacen("- {since: 2021-01-01, value: \"2000\"}", values, 1);
        [("rules/thresholds.yaml", format!("{before}  pension-monthly:{after}"))]
    };
    let two = "- {since: 2020-01-01, value: \"0\"}\n      - {since: 2999-01-01, value: \"99999999\"}";
    let world = world_at(Clock::system(), &files(two)).await;
    let (id, _) = households(&world)
        .into_iter()
        .find(|(_, portrait)| !list(portrait, "employment.pensions").is_empty())
        .expect("somebody draws a pension");
    let line = &checked(&world, &officer(), &id).await["pension-income"];
    assert_eq!((&line["verdict"], &line["thresholds"][0]["value"]), (&json!("FLAGGED"), &json!("0")), "{line}");
    let world = world_at(Clock::system(), &files("- {since: 2999-01-01, value: \"2000\"}")).await;
    let line = &checked(&world, &officer(), &id).await["pension-income"];
    assert_eq!((&line["verdict"], &line["thresholds"][0]["value"]), (&Value::Null, &Value::Null), "{line}");
    assert_eq!((&line["state"], &line["code"]), (&json!("UNDETERMINED"), &json!("INPUT_MISSING")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_rule_came_to_its_verdict_is_no_condition() {
    let world = world().await;
    for of in
        [json!({ "sources": { "some": { "source": { "eq": "banks" } } } }), json!({ "zh": { "startsWith": "有" } })]
    {
        let query =
            "query($where: HouseholdFilter) { households(division: \"331122101348\", where: $where) { nodes { id } } }";
        let filter = json!({ "recognition": { "check": { "some": of } } });
        let answer = ask(&world.gateway, &supervisor(), query, json!({ "where": filter })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{answer}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("compare `id` and `verdict`"), "{answer}");
    }
}

/// The page's queries are asked as they stand there.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_page_is_answered_to_who_checks() {
    let world = world().await;
    let page = std::fs::read_to_string(repository().join("docs/checks.md")).unwrap();
    let blocks = |kind: &str| -> Vec<String> {
        let begin = format!("```{kind}\n");
        page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let (queries, variables) = (blocks("graphql"), blocks("json"));
    assert!(queries.len() >= 5 && queries.len() == variables.len());
    for (query, variables) in queries.iter().zip(&variables) {
        let variables: Value = serde_json::from_str(variables).unwrap();
        for identity in [verifier(), supervisor()] {
            // A verifier has no statistics.
            if query.contains("householdStats") && identity.purpose.as_deref() == Some("recognition") {
                continue;
            }
            let answer = ask(&world.gateway, &identity, query, variables.clone()).await;
            assert_eq!(answer["errors"], Value::Null, "{query}: {answer}");
            assert!(answer["data"].to_string().len() > 80, "{query}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_hears_eleven_departments_and_all_banks() {
    let world = world().await;
    let (id, _) = households(&world)
        .into_iter()
        .find(|(_, portrait)| at(portrait, "assets.deposits.overThreshold").is_boolean())
        .expect("a mandate that holds");
    let lines = checked(&world, &supervisor(), &id).await;
    assert_eq!(lines.len(), 22, "{:?}", lines.keys());
    let (mut departments, mut banks) = (BTreeSet::new(), BTreeSet::new());
    for source in lines.values().flat_map(|line| line["sources"].as_array().unwrap()) {
        match &source["instance"] {
            Value::String(bank) => drop(banks.insert(bank.clone())),
            _ => drop(departments.insert(source["source"].as_str().unwrap().to_owned())),
        }
    }
    assert_eq!((departments.len(), banks.len()), (11, 73), "{departments:?}");
}

/// A field inside a line is a field: without a grant of it, it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_inside_a_line_needs_a_grant_too() {
    let world = world().await;
    let files = Files::copied("line").edit("config/roles.yaml", |roles| {
        roles.replace(
            "adjustment, recognition.marriages,",
            "adjustment, recognition.check.sources, recognition.marriages,",
        )
    });
    let gateway = files.gateway(&world).await;
    let query = "query($id: ID!) { household(id: $id) { recognition { check { id verdict sources { source } } } } }";
    let answer = ask(&gateway, &officer(), query, json!({ "id": format!("{VILLAGE}000001") })).await;
    let lines = answer["data"]["household"]["recognition"]["check"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(lines.len(), 22, "{answer}");
    assert!(lines.iter().all(|line| line["id"].is_string() && line["sources"].is_null()), "{answer}");
    let codes: BTreeSet<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["extensions"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, BTreeSet::from(["FORBIDDEN"]), "{answer}");
}

/// What rules read is on record, also where the gate fetched it for a relation.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_read_is_on_record() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { recognition { check { id verdict } } } }";
    ask(&world.gateway, &verifier(), query, json!({ "id": format!("{VILLAGE}000001") })).await;
    let records = records(&world.folder).await;
    let household = &records.last().expect("a record")["access"][0];
    let used: Vec<&str> = household["used"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    // 45, contracted land: agriculture alone holds it, in the record that the relation is decided by.
    assert!(used.contains(&"45") && used.contains(&"47"), "{household}");
}
