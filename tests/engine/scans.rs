//! Scans over the demo: what supervisors ask over a division, decided by what all departments hold. What must come out is
//! computed from the generator alone.

use std::collections::BTreeSet;
use std::time::Duration;

use departments::expected::{at, portrait};
use departments::{Fault, Options};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::{World, ask, caller, edit_limits, records, repository, supervisor, world, world_edited};

const VILLAGE: &str = "331122101348";
const TOWN: &str = "331122101";

const SCAN: &str = "query($division: ID!, $where: HouseholdFilter, $first: Int, $after: String, $verdict: ScanVerdict,
                          $among: [ID!], $orderBy: [HouseholdOrder!]) {
  households(division: $division, where: $where, first: $first, after: $after, verdict: $verdict, among: $among,
             orderBy: $orderBy) {
    edges { cursor node { id } missing { source state code fields message } }
    pageInfo { hasNextPage endCursor }
    coverage { candidates total evaluated matched undetermined whole ended
               missing { source sourceTitle state code count fields message }
               plan { sources fields calls estimatedCalls estimatedMs asked left ms } }
  }
}";

async fn scan(world: &World, identity: &Identity, variables: Value) -> Value {
    ask(&world.gateway, identity, SCAN, variables).await
}

/// As the supervisor of the county, who may; the page.
async fn page(world: &World, variables: Value) -> Value {
    let mut answer = scan(world, &supervisor(), variables).await;
    assert_eq!(answer["errors"], Value::Null, "{answer:#}");
    answer["data"]["households"].take()
}

fn ids(page: &Value) -> Vec<String> {
    let edges = page["edges"].as_array().unwrap();
    edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()).collect()
}

/// The households of a division of which this is so, as the generator has them.
fn households(world: &World, division: &str, is_so: impl Fn(&Value) -> bool) -> Vec<String> {
    let of = world.departments.world();
    of.village_household_ids(division).filter(|id| is_so(&portrait(of, id).unwrap())).collect()
}

fn receives_dibao(portrait: &Value) -> bool {
    at(portrait, "assistance.dibaoStatus") == "RECEIVING"
}

fn has_a_vehicle(portrait: &Value) -> bool {
    at(portrait, "assets.vehicles").as_array().is_some_and(|vehicles| !vehicles.is_empty())
}

fn dibao() -> Value {
    json!({ "assistance": { "dibaoStatus": { "eq": "RECEIVING" } } })
}

fn vehicle() -> Value {
    json!({ "assets": { "vehicles": { "count": { "gt": 0 } } } })
}

/// Households on which departments disagree are in neither: the generator tells of one department.
fn without(mut all: Vec<String>, page: &Value) -> Vec<String> {
    let shown: BTreeSet<String> = ids(page).into_iter().collect();
    all.retain(|id| !shown.contains(id));
    all
}

#[tokio::test]
async fn who_receives_dibao_and_has_a_car_is_found_by_two_departments_and_nothing_is_dropped() {
    let world = world().await;
    let both = json!({ "and": [dibao(), vehicle()] });
    let found = page(&world, json!({ "division": VILLAGE, "where": both, "first": 50 })).await;
    let open =
        page(&world, json!({ "division": VILLAGE, "where": both, "first": 50, "verdict": "UNDETERMINED" })).await;
    let expected = households(&world, VILLAGE, |home| receives_dibao(home) && has_a_vehicle(home));
    assert_eq!(ids(&found), without(expected.clone(), &open), "{found:#}");
    assert!(!expected.is_empty(), "the village has some");
    let coverage = &found["coverage"];
    let all = households(&world, VILLAGE, |_| true).len();
    assert_eq!(coverage["candidates"], json!(all));
    assert_eq!(coverage["evaluated"], json!(all));
    assert_eq!(coverage["matched"], json!(ids(&found).len()));
    assert_eq!(coverage["undetermined"], json!(ids(&open).len()));
    assert_eq!(coverage["ended"], "LISTED");
    for edge in open["edges"].as_array().unwrap() {
        assert_eq!(edge["missing"][0]["code"], "CONFLICT", "nobody is silent here: {edge}");
    }
}

#[tokio::test]
async fn what_one_department_rules_out_is_not_asked_of_the_next() {
    let world = world().await;
    world.departments.clear_logs();
    let found =
        page(&world, json!({ "division": VILLAGE, "where": { "and": [vehicle(), dibao()] }, "first": 50 })).await;
    let plan = found["coverage"]["plan"].as_array().unwrap();
    assert_eq!(plan.len(), 2, "{plan:#?}");
    assert_eq!(
        plan[0]["fields"],
        json!(["assistance.dibaoStatus"]),
        "one call for all comes before one for each person"
    );
    assert_eq!(plan[1]["sources"], json!(["police"]));
    assert!(plan[1]["asked"].as_u64() < plan[0]["asked"].as_u64(), "{plan:#?}");
    assert_eq!(plan[1]["asked"], plan[0]["left"]);
    let people: usize = households_of(&world, &found).iter().sum();
    assert!(people > 0);
    let asked = world.departments.log("police").len();
    let of_all: usize = world
        .departments
        .world()
        .village_household_ids(VILLAGE)
        .map(|id| world.departments.world().household(&id).unwrap().members.len())
        .sum();
    assert!(asked < of_all, "{asked} of {of_all}");
}

fn households_of(world: &World, page: &Value) -> Vec<usize> {
    ids(page).iter().map(|id| world.departments.world().household(id).unwrap().members.len()).collect()
}

#[tokio::test]
async fn pages_put_together_are_one_scan() {
    let world = world().await;
    let both = json!({ "and": [dibao(), { "registry": { "causes": { "some": { "eq": "ILLNESS" } } } }] });
    let whole = page(&world, json!({ "division": TOWN, "where": both, "first": 200 })).await;
    assert_eq!(whole["coverage"]["ended"], "LISTED", "{whole:#}");
    assert!(ids(&whole).len() > 20, "{}", ids(&whole).len());
    let (mut found, mut after) = (Vec::new(), Value::Null);
    let mut counts = [0, 0, 0];
    loop {
        let part = page(&world, json!({ "division": TOWN, "where": both, "first": 7, "after": after })).await;
        found.extend(ids(&part));
        for (count, name) in counts.iter_mut().zip(["candidates", "matched", "undetermined"]) {
            *count += part["coverage"][name].as_u64().unwrap();
        }
        after = part["pageInfo"]["endCursor"].clone();
        if part["pageInfo"]["hasNextPage"] == false {
            break;
        }
        assert_eq!(part["coverage"]["ended"], "PAGE_FULL");
    }
    assert_eq!(found, ids(&whole));
    let of_whole = ["candidates", "matched", "undetermined"].map(|name| whole["coverage"][name].as_u64().unwrap());
    assert_eq!(counts, of_whole);
}

#[tokio::test]
async fn a_cursor_among_matches_does_not_go_on_among_those_that_are_undetermined() {
    let world = world().await;
    let mut asked = json!({ "division": TOWN, "where": dibao(), "first": 3 });
    asked["after"] = page(&world, asked.clone()).await["pageInfo"]["endCursor"].clone();
    asked["verdict"] = json!("UNDETERMINED");
    let refused = scan(&world, &supervisor(), asked.clone()).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{refused:#}");
    asked["verdict"] = json!("MATCHED");
    assert_eq!(ids(&page(&world, asked).await).len(), 3);
}

#[tokio::test]
async fn what_a_silent_department_leaves_open_is_undetermined_and_decided_once_it_answers() {
    let world = world().await;
    world.departments.set_fault("police", Fault::Http500);
    let both = json!({ "and": [dibao(), vehicle()] });
    let found = page(&world, json!({ "division": VILLAGE, "where": both, "first": 50 })).await;
    assert_eq!(ids(&found), [""; 0], "who has a car is not known of anybody");
    assert_eq!(found["coverage"]["whole"], false);
    let open =
        page(&world, json!({ "division": VILLAGE, "where": both, "first": 50, "verdict": "UNDETERMINED" })).await;
    // Who is known not to receive it is decided, whatever the police hold.
    let possible = households(&world, VILLAGE, receives_dibao);
    let open_ids = ids(&open);
    assert!(possible.iter().all(|id| open_ids.contains(id)), "{possible:?} {open_ids:?}");
    let police = open["coverage"]["missing"].as_array().unwrap().iter().find(|missing| missing["source"] == "police");
    let police = police.unwrap_or_else(|| panic!("{open:#}"));
    assert_eq!((&police["state"], &police["fields"]), (&json!("UNAVAILABLE"), &json!(["assets.vehicles"])));
    assert_eq!(police["count"], json!(open_ids.len()));
    // Well again, they are asked for by their keys, and by nobody else's.
    world.departments.set_fault("police", Fault::None);
    let again = json!({ "division": VILLAGE, "where": both, "first": 50, "among": open_ids });
    let decided = page(&world, again).await;
    assert_eq!(decided["coverage"]["candidates"], json!(open_ids.len()));
    let expected = households(&world, VILLAGE, |home| receives_dibao(home) && has_a_vehicle(home));
    let still_open =
        json!({ "division": VILLAGE, "where": both, "first": 50, "among": open_ids, "verdict": "UNDETERMINED" });
    let still_open = page(&world, still_open).await;
    assert_eq!(ids(&decided), without(expected, &still_open));
}

#[tokio::test]
async fn who_does_not_ask_for_coverage_is_told_that_a_department_is_silent() {
    let world = world().await;
    let asked = async |more: &str| {
        let query = format!(
            "{{ households(division: \"{VILLAGE}\", where: {{ assets: {{ vehicles: {{ count: {{ gt: 0 }} }} }} }}) {{ nodes {{ id }} {more} }} }}"
        );
        ask(&world.gateway, &supervisor(), &query, json!({})).await
    };
    assert_eq!(asked("").await["errors"], Value::Null, "nobody is silent");
    world.departments.set_fault("police", Fault::Http500);
    for more in ["", "pageInfo { hasNextPage }", "coverage { candidates }"] {
        let answer = asked(more).await;
        assert_eq!(answer["data"]["households"]["nodes"], json!([]), "{answer:#}");
        let told = answer["errors"].as_array().unwrap_or_else(|| panic!("{more}: {answer:#}"));
        let of_police =
            |error: &&Value| error["extensions"]["source"] == "police" && error["path"] == json!(["households"]);
        assert!(told.iter().any(|error| of_police(&error)), "{more}: {answer:#}");
    }
    for more in ["coverage { whole }", "coverage { undetermined }", "coverage { missing { source } }"] {
        assert_eq!(asked(more).await["errors"], Value::Null, "{more}");
    }
}

#[tokio::test]
async fn a_fact_that_two_departments_disagree_about_decides_nothing_but_can_be_asked_for() {
    let world = world().await;
    let conflict = json!({ "assistance": { "dibaoStatus": { "itemState": { "in": ["CONFLICT"] } } } });
    let found = page(&world, json!({ "division": TOWN, "where": conflict, "first": 200 })).await;
    assert!(!ids(&found).is_empty());
    for filter in [dibao(), json!({ "not": dibao() })] {
        let open = json!({ "division": TOWN, "where": filter, "first": 200, "verdict": "UNDETERMINED" });
        assert_eq!(ids(&page(&world, open).await), ids(&found));
    }
}

#[tokio::test]
async fn matches_come_in_the_order_that_is_asked_for() {
    let world = world().await;
    let both = json!({ "and": [dibao(), { "registry": { "causes": { "some": { "eq": "ILLNESS" } } } }] });
    let of = |first: usize| {
        json!({ "division": TOWN, "where": both, "first": first,
                "orderBy": [{ "by": "assistance_dibaoMonthly", "descending": true }] })
    };
    let amount = |id: &String| -> rust_decimal::Decimal {
        let home = portrait(world.departments.world(), id).unwrap();
        at(&home, "assistance.dibaoMonthly").as_str().unwrap().parse().unwrap()
    };
    let found = page(&world, of(10)).await;
    let amounts: Vec<_> = ids(&found).iter().map(amount).collect();
    assert_eq!(amounts.len(), 10);
    assert!(amounts.is_sorted_by(|a, b| a >= b), "{amounts:?}");
    let all = page(&world, json!({ "division": TOWN, "where": both, "first": 200 })).await;
    let open = page(&world, json!({ "division": TOWN, "where": both, "first": 200, "verdict": "UNDETERMINED" })).await;
    assert_eq!(open["coverage"]["matched"], all["coverage"]["matched"]);
    let least = *amounts.last().unwrap();
    let greater = ids(&all).iter().filter(|id| amount(id) > least).count();
    assert!(greater < 10, "{greater} have more than {least}, and ten are shown");
    // The second page of an order would have to begin anew.
    let after = json!({ "division": TOWN, "first": 10, "after": found["pageInfo"]["endCursor"].as_str().unwrap_or("x"),
                        "orderBy": [{ "by": "assistance_dibaoMonthly" }] });
    let refused = scan(&world, &supervisor(), after).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{refused}");
}

#[tokio::test]
async fn conditions_go_through_lists_members_and_derived_fields() {
    let world = world().await;
    type IsSo = fn(&Value) -> bool;
    let conditions: [(Value, IsSo); 4] = [
        (json!({ "registry": { "memberCount": { "gte": 4 } } }), |home| {
            at(home, "registry.memberCount").as_u64().unwrap() >= 4
        }),
        (json!({ "registry": { "causes": { "some": { "eq": "ILLNESS" } } } }), |home| {
            at(home, "registry.causes").as_array().unwrap().iter().any(|cause| cause == "ILLNESS")
        }),
        (json!({ "assistance": { "temporaryAid": { "none": { "amount": { "gt": "0" } } } } }), |home| {
            at(home, "assistance.temporaryAid").as_array().is_none_or(Vec::is_empty)
        }),
        (json!({ "registry": { "recognizedOn": { "lt": "2024-01-01" } } }), |home| {
            at(home, "registry.recognizedOn").as_str().is_some_and(|on| on < "2024-01-01")
        }),
    ];
    for (filter, is_so) in conditions {
        let found = page(&world, json!({ "division": VILLAGE, "where": filter, "first": 50 })).await;
        let open =
            page(&world, json!({ "division": VILLAGE, "where": filter, "first": 50, "verdict": "UNDETERMINED" })).await;
        assert_eq!(ids(&found), without(households(&world, VILLAGE, is_so), &open), "{filter}");
    }
}

#[tokio::test]
async fn what_a_role_may_not_read_in_full_over_a_division_is_not_scanned_by() {
    let world = world().await;
    let deposits = json!({ "division": VILLAGE, "first": 5,
                           "where": { "assets": { "deposits": { "total": { "exists": true } } } } });
    let mut verifier = caller("verifier", json!({ "divisions": ["331122"] }));
    (verifier.purpose, verifier.case) = (Some("recognition".to_owned()), Some("HD-2026-0001".to_owned()));
    world.departments.clear_logs();
    for (who, variables) in [
        (verifier, deposits.clone()),
        (caller("cadre", json!({ "divisions": ["331122"] })), json!({ "division": VILLAGE, "where": dibao() })),
        // Another county, and one that is not there.
        (supervisor(), json!({ "division": "331123101001", "where": dibao() })),
        (supervisor(), json!({ "division": "339999999999", "where": dibao() })),
    ] {
        let answer = scan(&world, &who, variables.clone()).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{variables} {answer}");
        assert_eq!(answer["data"], Value::Null);
    }
    let asked: u64 = world.departments.calls().values().sum();
    assert_eq!(asked, 0, "nobody was asked");
}

#[tokio::test]
async fn a_scan_is_on_record_with_its_counts_and_without_a_value() {
    let world = world().await;
    let found = page(&world, json!({ "division": VILLAGE, "where": dibao(), "first": 50 })).await;
    let record = records(&world.folder).await.pop().unwrap();
    let told = &record["details"]["scan"];
    assert_eq!(told["query"], "households");
    assert_eq!(told["matched"], found["coverage"]["matched"]);
    assert_eq!(told["candidates"], found["coverage"]["candidates"]);
    assert_eq!(told["fields"], json!(["assistance.dibaoStatus"]));
    let named: usize =
        record["access"].as_array().unwrap().iter().map(|access| access["subjects"].as_array().unwrap().len()).sum();
    assert!(named >= ids(&found).len(), "those that were shown are named");
    let text = record.to_string();
    for value in ["RECEIVING", VILLAGE, &ids(&found)[0]] {
        assert!(!text.contains(value), "{value} stands in the record: {text}");
    }
}

/// Of a village, with everything that leaves it open.
async fn both(world: &World, filter: &Value) -> (Value, Value) {
    let of = |verdict: &str| json!({ "division": VILLAGE, "where": filter, "first": 50, "verdict": verdict });
    (page(world, of("MATCHED")).await, page(world, of("UNDETERMINED")).await)
}

#[tokio::test]
async fn a_bank_that_does_not_answer_is_no_bank_without_an_account() {
    let world = world().await;
    let account = |quantifier: &str| json!({ "assets": { "deposits": { "banks": { (quantifier): { "hasAccount": { "eq": true } } } } } });
    let (some, _) = both(&world, &account("some")).await;
    let (none, _) = both(&world, &account("none")).await;
    assert!(!ids(&some).is_empty() && ids(&none).is_empty(), "{some:#} {none:#}");
    world.departments.set_fault("banks", Fault::Http500);
    let (none_now, open) = both(&world, &account("none")).await;
    assert_eq!(ids(&none_now), [""; 0], "of nobody is it known: {none_now:#}");
    assert!(ids(&some).iter().all(|id| ids(&open).contains(id)), "{open:#}");
    let (some_now, _) = both(&world, &account("some")).await;
    assert_eq!(ids(&some_now), [""; 0]);
}

#[tokio::test]
async fn whether_two_departments_disagree_is_not_known_while_one_of_them_is_silent() {
    let world = world().await;
    let conflict = json!({ "funds": { "disbursements": { "itemState": { "in": ["CONFLICT"] } } } });
    let (found, open) = both(&world, &conflict).await;
    let conflicts = ids(&found);
    assert!(!conflicts.is_empty() && ids(&open).is_empty(), "{found:#} {open:#}");
    world.departments.set_fault("civil-affairs", Fault::Http500);
    let (found, open) = both(&world, &conflict).await;
    assert_eq!(ids(&found), [""; 0]);
    assert!(conflicts.iter().all(|id| ids(&open).contains(id)), "{open:#}");
    let missing = &open["edges"][0]["missing"][0];
    let told = (&missing["source"], &missing["fields"]);
    assert_eq!(told, (&json!("civil-affairs"), &json!(["funds.disbursements"])), "{open:#}");
}

#[tokio::test]
async fn keys_that_nobody_holds_and_those_of_other_divisions_are_no_candidates() {
    let world = world().await;
    let of = world.departments.world();
    let here = of.village_household_ids(VILLAGE).next().unwrap();
    let beside = of.village_household_ids("331122101349").next().unwrap();
    let beyond = of.village_household_ids("331123").next().unwrap();
    for filter in [dibao(), json!({ "not": dibao() }), json!({ "assets": { "vehicles": { "count": { "gte": 0 } } } })] {
        let among =
            json!({ "division": VILLAGE, "where": filter, "among": [here, beside, beyond, "331122101348999999"] });
        let found = page(&world, among).await;
        assert_eq!(found["coverage"]["candidates"], 1, "{filter} {found:#}");
        assert!(ids(&found).iter().all(|id| *id == here), "{found:#}");
    }
}

#[tokio::test]
async fn a_section_exists_where_anything_in_it_does() {
    let world = world().await;
    let (there, open) = both(&world, &json!({ "disability": { "exists": true } })).await;
    let (not_there, _) = both(&world, &json!({ "disability": { "exists": false } })).await;
    let holds = |home: &Value| {
        // What the federation keeps from a supervisor is not there for the condition either.
        let told = |certificate: &Value| certificate["kind"] != "PSYCHIATRIC";
        let certificates = at(home, "disability.certificates").as_array().is_some_and(|list| list.iter().any(told));
        let subsidies = ["disability.livingSubsidy", "disability.nursingSubsidy"];
        certificates || subsidies.iter().any(|path| !at(home, path).is_null())
    };
    assert_eq!(ids(&there), without(households(&world, VILLAGE, holds), &open), "{there:#}");
    assert_eq!(ids(&not_there), without(households(&world, VILLAGE, |home| !holds(home)), &open), "{not_there:#}");
    assert!(!ids(&there).is_empty() && !ids(&not_there).is_empty());
}

#[tokio::test]
async fn a_source_that_is_cut_off_by_the_requests_own_time_leaves_nobody_undetermined() {
    let options = Options { latency: false, ..Options::default() };
    let edit = |snapshot: &mut huxiang::model::snapshot::Snapshot| {
        snapshot.config.limits.request_timeout_ms = 1_500;
        edit_limits(snapshot, |_, limits| limits.timeout_ms = 5_000);
    };
    let world = world_edited(options, edit).await;
    world.departments.set_fault("police", Fault::Slow(Duration::from_secs(4)));
    let open = json!({ "division": VILLAGE, "where": vehicle(), "verdict": "UNDETERMINED" });
    let answer = scan(&world, &supervisor(), open).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{answer:#}");
    let record = records(&world.folder).await.pop().unwrap();
    let police = record["sources"].as_array().unwrap().iter().find(|source| source["source"] == "police");
    assert!(police.is_some(), "what was called is on record, though nothing is answered: {record:#}");
}

#[tokio::test]
async fn whoever_a_condition_was_told_of_is_named_in_the_record_though_nobody_is_shown() {
    let world = world().await;
    let of = world.departments.world();
    let key = of.village_household_ids(VILLAGE).find(|id| receives_dibao(&portrait(of, id).unwrap())).unwrap();
    let subject = |record: &Value| -> BTreeSet<String> {
        let all = record["access"].as_array().unwrap().iter();
        all.flat_map(|access| access["subjects"].as_array().unwrap().iter().map(ToString::to_string)).collect()
    };
    ask(&world.gateway, &supervisor(), "query($id: ID!) { household(id: $id) { id } }", json!({ "id": key })).await;
    let named = subject(&records(&world.folder).await.pop().unwrap());
    for variables in [
        json!({ "division": VILLAGE, "among": [key], "where": { "not": dibao() } }),
        json!({ "division": VILLAGE, "verdict": "UNDETERMINED", "where": { "and": [{ "id": { "eq": key } }, dibao()] } }),
    ] {
        let answer = page(&world, variables.clone()).await;
        assert_eq!(ids(&answer), [""; 0], "{answer:#}");
        let record = records(&world.folder).await.pop().unwrap();
        assert!(named.is_subset(&subject(&record)), "{variables} {record:#}");
        let of_key = record["access"].as_array().unwrap().iter().find(|access| {
            access["subjects"].as_array().unwrap().iter().any(|subject| named.contains(&subject.to_string()))
        });
        let used = of_key.unwrap()["used"].as_array().unwrap();
        assert!(used.contains(&json!("16")), "the item that was compared: {record:#}");
    }
}

#[tokio::test]
async fn an_empty_condition_is_a_mistake_and_told_as_one() {
    let world = world().await;
    for filter in [json!({}), json!({ "and": [{}, dibao()] }), json!({ "registry": {} }), json!({ "not": {} })] {
        let answer = scan(&world, &supervisor(), json!({ "division": VILLAGE, "where": filter })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{filter} {answer}");
    }
}

#[tokio::test]
async fn a_scan_without_a_condition_goes_over_everybody() {
    let world = world().await;
    let all = households(&world, VILLAGE, |_| true);
    let found = page(&world, json!({ "division": VILLAGE, "first": 50, "verdict": "MATCHED" })).await;
    assert_eq!(ids(&found), all, "{found:#}");
    let keys = json!({ "division": VILLAGE, "first": 50, "among": &all[..3] });
    assert_eq!(ids(&page(&world, keys).await), all[..3]);
}

#[tokio::test]
async fn a_listing_that_cannot_be_read_is_refused_and_never_nobody() {
    let world = world().await;
    world.departments.set_fault("agriculture", Fault::Http500);
    for verdict in ["MATCHED", "UNDETERMINED"] {
        let variables = json!({ "division": VILLAGE, "where": dibao(), "verdict": verdict });
        let answer = scan(&world, &supervisor(), variables).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_ERROR", "{answer:#}");
        assert_eq!(answer["data"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_stops_the_scan_and_its_calls() {
    let world = world().await;
    world.departments.set_fault("police", Fault::Slow(Duration::from_millis(300)));
    world.departments.clear_logs();
    let identity = supervisor();
    let asked = scan(&world, &identity, json!({ "division": TOWN, "where": vehicle(), "first": 200 }));
    assert!(tokio::time::timeout(Duration::from_millis(900), asked).await.is_err(), "it takes longer");
    tokio::time::sleep(Duration::from_millis(700)).await;
    let asked = world.departments.log("police").len();
    assert!(asked > 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.departments.log("police").len(), asked, "nobody is asked any more");
    let record = records(&world.folder).await.pop().unwrap();
    assert_eq!(record["details"]["scan"]["ended"], "CANCELLED", "{record:#}");
}

/// What stands in blocks of GraphQL in a document.
fn documents(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("docs").join(name)).unwrap();
    let blocks = text.split("\n```graphql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned());
    blocks.filter(|block| block.contains("where:")).collect()
}

#[tokio::test]
async fn the_questions_of_the_supervisors_page_are_answered_as_they_stand_there() {
    let world = world().await;
    let documents = documents("supervisors.md");
    assert!(documents.len() >= 2, "{}", documents.len());
    for document in documents {
        let answer = ask(&world.gateway, &supervisor(), &document, json!({ "division": VILLAGE })).await;
        assert_eq!(answer["errors"], Value::Null, "{document} {answer:#}");
        let (root, all) = if document.contains("persons(") { ("persons", 78) } else { ("households", 21) };
        let coverage = &answer["data"][root]["coverage"];
        assert_eq!(coverage["candidates"], all, "{document}");
        let nodes = answer["data"][root]["nodes"].as_array().unwrap();
        assert!(!nodes.is_empty() || coverage["matched"] == 0, "{document} {answer:#}");
    }
}

#[tokio::test]
async fn elements_are_counted_where_nothing_is_asked_of_them() {
    // Both departments answer with the fields that are named, and with no others.
    let world = world().await;
    for (path, filter) in [
        ("help.plan", json!({ "help": { "plan": { "count": { "eq": 3 } } } })),
        ("projects", json!({ "projects": { "count": { "eq": 1 } } })),
    ] {
        let count = filter.pointer(&format!("/{}/count/eq", path.replace('.', "/"))).unwrap().as_u64().unwrap();
        let as_many = |home: &Value| at(home, path).as_array().map_or(0, Vec::len) as u64 == count;
        let found = page(&world, json!({ "division": VILLAGE, "where": filter, "first": 50 })).await;
        let expected = households(&world, VILLAGE, as_many);
        assert_eq!(ids(&found), expected, "{found:#}");
        let (above, below) = path.split_once('.').map_or(("", path), |(above, below)| (above, below));
        let list = format!("{below} {{ __typename }}");
        let list = if above.is_empty() { list } else { format!("{above} {{ {list} }}") };
        let query = format!("query($id: ID!) {{ household(id: $id) {{ {list} }} }}");
        let answer = ask(&world.gateway, &supervisor(), &query, json!({ "id": expected[0] })).await;
        let list = answer["data"]["household"].pointer(&format!("/{}", path.replace('.', "/"))).unwrap();
        assert_eq!(list.as_array().unwrap().len() as u64, count, "{answer:#}");
    }
}

#[tokio::test]
async fn what_a_scan_of_a_county_takes_is_known_from_the_list_alone() {
    let world = world().await;
    let limited =
        json!({ "and": [dibao(), { "disability": { "certificates": { "some": { "grade": { "eq": "ONE" } } } } }] });
    world.departments.clear_logs();
    let asked = json!({ "division": "331122", "where": limited, "first": 0 });
    let planned = page(&world, asked.clone()).await;
    assert_eq!(world.departments.calls().into_iter().collect::<Vec<_>>(), [("agriculture".to_owned(), 1)]);
    let total = world.departments.world().households_in("331122");
    assert_eq!((&planned["coverage"]["total"], &planned["coverage"]["candidates"]), (&json!(total), &json!(0)));
    // Ten calls a second, each for one person.
    let stages = planned["coverage"]["plan"].as_array().unwrap();
    let federation =
        stages.iter().find(|stage| stage["sources"] == json!(["disabled-federation"])).expect("it is asked");
    let (calls, ms) = (federation["estimatedCalls"].as_u64().unwrap(), federation["estimatedMs"].as_u64().unwrap());
    assert!(calls > 1_000 && ms == calls * 100, "{federation}");
    // Gone on with, it is what is left of them.
    let first = page(&world, json!({ "division": TOWN, "where": dibao(), "first": 5 })).await;
    let all = world.departments.world().households_in(TOWN);
    assert_eq!(first["coverage"]["total"], all);
    let after = &first["pageInfo"]["endCursor"];
    let rest = page(&world, json!({ "division": TOWN, "where": dibao(), "first": 0, "after": after })).await;
    let whole = page(&world, json!({ "division": TOWN, "where": dibao(), "first": 0 })).await;
    let calls = |page: &Value| page["coverage"]["plan"][0]["estimatedCalls"].as_u64().unwrap();
    assert!(calls(&rest) <= calls(&whole) && rest["coverage"]["total"] == all, "{rest:#}");
    // Where it cannot be read, it is told of a stretch, and nothing is refused.
    world.departments.set_fault("agriculture", Fault::Http500);
    let silent = page(&world, asked).await;
    assert_eq!(silent["coverage"]["total"], Value::Null);
    assert!(!silent["coverage"]["plan"].as_array().unwrap().is_empty(), "{silent:#}");
}
