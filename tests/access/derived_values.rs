//! Yes or no without the value: a derived field tells on which side of a line something is, and nothing of its inputs.

use departments::expected::{at, portrait};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::files::Files;
use crate::support::{World, ask, caller, supervisor, world};

const VILLAGE: &str = "331122101348";

/// Every household of the village, with what the generator says of it.
fn households(world: &World) -> Vec<(String, Value)> {
    let known = world.departments.world();
    known.village_household_ids(VILLAGE).filter_map(|id| Some((id.clone(), portrait(known, &id)?))).collect()
}

fn town_officer() -> Identity {
    let mut identity = caller("town-officer", json!({"divisions": ["331122"]}));
    identity.purpose = Some("duty".to_owned());
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_deposits_is_told_whether_they_are_over_the_line() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { assets { overDepositLine ownsCar deposits { overThreshold } vehicles { plate } } income { belowLine } } }";
    let (mut over, mut cars, mut undetermined, mut unreckoned) = (0, 0, 0, 0);
    for (id, portrait) in households(&world) {
        let answer = ask(&world.gateway, &town_officer(), query, json!({"id": id})).await;
        let household = &answer["data"]["household"];
        let assets = &household["assets"];
        assert!(assets["deposits"].is_null() && assets["vehicles"].is_null(), "{answer}");
        let vehicles = at(&portrait, "assets.vehicles").as_array().unwrap();
        for plate in vehicles.iter().filter_map(|vehicle| vehicle["plate"].as_str()) {
            assert!(!answer.to_string().contains(plate), "{answer}");
        }
        let car = vehicles.iter().any(|vehicle| vehicle["kind"] == "CAR" || vehicle["kind"] == "BUS");
        assert_eq!(assets["ownsCar"], car, "{id}: {answer}");
        cars += usize::from(car);
        match at(&portrait, "assets.deposits.overThreshold") {
            // Without a mandate no bank is asked: not known, and never "no".
            Value::Null => {
                assert_eq!(assets["overDepositLine"], Value::Null, "{id}: {answer}");
                undetermined += 1;
            }
            expected => {
                assert_eq!(&assets["overDepositLine"], expected, "{id}: {answer}");
                over += usize::from(*expected == true);
            }
        }
        let income = at(&portrait, "income.perCapita").as_str().map(|text| text.parse::<f64>().unwrap());
        let below = &household["income"]["belowLine"];
        match income {
            Some(income) if !below.is_null() => assert_eq!(*below, income < 11952.0, "{id}: {answer}"),
            // Departments may disagree about it.
            Some(_) => {}
            // Whoever's income nobody reckoned is on no side of the line.
            None => {
                assert_eq!(*below, Value::Null, "{id}: {answer}");
                unreckoned += 1;
            }
        }
    }
    assert!(over > 0 && cars > 0 && undetermined > 0 && unreckoned > 0, "{over} {cars} {undetermined} {unreckoned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_a_grant_of_its_own_and_its_inputs_are_not_asked_without() {
    let world = world().await;
    let id = households(&world)[0].0.clone();
    let query = "query($id: ID!) { household(id: $id) { id assets { ownsCar } } }";
    let mut officer = caller("department-officer", json!({"divisions": ["331122"], "department": "police"}));
    officer.purpose = Some("duty".to_owned());
    world.departments.clear_logs();
    let answer = ask(&world.gateway, &officer, query, json!({"id": id})).await;
    assert_eq!(answer["data"]["household"], json!({"id": id, "assets": {"ownsCar": null}}), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    assert!(world.departments.log("police").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_can_be_derived() {
    let world = world().await;
    let rules = "derived:\n\
        \x20 registry.agriCode: {on: Household, declassifies: x, value: \"household.registry.labourCount > 0 ? 'on' : 'off'\"}\n\
        \x20 registry.category: {on: Household, declassifies: x, value: \"household.registry.memberCount > 1 ? 'DIBAO' : 'MARGINAL'\"}\n";
    // What rules fill no source fills: these two are taken out of the binding.
    let files = Files::copied("kinds")
        .edit("config/rules/verdicts.yaml", |text| text.replace("derived:\n", rules))
        .edit("resolvers/agriculture.yaml", |text| lines_without(&text, &["registry.agriCode:", "registry.category:"]))
        .edit("resolvers/civil-affairs.yaml", |text| lines_without(&text, &["registry.category:"]));
    let gateway = files.gateway(&world).await;
    let (id, expected) = households(&world).remove(0);
    let query = "query($id: ID!) { household(id: $id) { registry { agriCode category } } }";
    let answer = ask(&gateway, &supervisor(), query, json!({"id": id})).await;
    let several = at(&expected, "registry.memberCount").as_i64().unwrap() > 1;
    let category = if several { "DIBAO" } else { "MARGINAL" };
    let registry = &answer["data"]["household"]["registry"];
    assert_eq!(registry["category"], category, "{answer}");
    assert!(["on", "off"].contains(&registry["agriCode"].as_str().unwrap()), "{answer}");
}

fn lines_without(text: &str, starts: &[&str]) -> String {
    let keep = |line: &&str| !starts.iter().any(|start| line.trim_start().starts_with(start));
    text.lines().filter(keep).map(|line| format!("{line}\n")).collect()
}

/// A value that hangs on what two departments hold differently is none of both; one that does not hang on it is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_hangs_on_what_departments_disagree_about_is_in_conflict() {
    let world = world().await;
    let rules = "derived:\n\
        \x20 registry.agriCode: {on: Household, declassifies: x, value: \"household.assistance.dibaoStatus == 'RECEIVING' ? 'on' : 'off'\"}\n\
        \x20 registry.phone: {on: Household, declassifies: x, value: \"household.registry.memberCount > 0 || household.assistance.dibaoStatus == 'RECEIVING' ? 'on' : 'off'\"}\n";
    let files = Files::copied("conflict")
        .edit("config/rules/verdicts.yaml", |text| text.replace("derived:\n", rules))
        .edit("resolvers/agriculture.yaml", |text| lines_without(&text, &["registry.agriCode:", "registry.phone:"]));
    let gateway = files.gateway(&world).await;
    let query = "query($id: ID!) { household(id: $id) { registry { agriCode phone } \
                 items(no: [2, 4]) { path state code message } } }";
    // Sequence 8: agriculture and civil affairs disagree on the dibao status.
    let answer = ask(&gateway, &supervisor(), query, json!({"id": format!("{VILLAGE}000008")})).await;
    let household = &answer["data"]["household"];
    assert_eq!(household["registry"], json!({"agriCode": null, "phone": "on"}), "{answer}");
    let of = |path: &str| household["items"].as_array().unwrap().iter().find(|item| item["path"] == path).unwrap();
    assert_eq!(of("registry.agriCode")["state"], "CONFLICT", "{answer}");
    assert_eq!(of("registry.agriCode")["code"], "CONFLICT", "{answer}");
    assert_eq!(of("registry.phone")["state"], "ANSWERED", "{answer}");
    let told = answer["errors"].as_array().unwrap().iter().find(|error| error["extensions"]["code"] == "CONFLICT");
    assert_eq!(told.unwrap()["path"], json!(["household", "registry", "agriCode"]), "{answer}");
    // Where they agree it is a value like any other.
    let answer = ask(&gateway, &supervisor(), query, json!({"id": format!("{VILLAGE}000001")})).await;
    let code = answer["data"]["household"]["registry"]["agriCode"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(["on", "off"].contains(&code), "{answer}");
}
