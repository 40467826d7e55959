//! What a scan tells beside its answer: coverage, reasons, calls, introspection, records; and by whose grants it is made.

use std::collections::BTreeSet;

use departments::{Fault, Options};
use huxiang::base::clock::Clock;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::scans::{SCAN, VILLAGE, scan, seen, town_officer, verifier, without_cursors};
use crate::support::{World, ask, caller, config, edit_limits, records, supervisor, world, world_at, world_edited};

#[tokio::test(flavor = "multi_thread")]
async fn coverage_counts_nobody_outside_the_divisions() {
    let world = world().await;
    let filter = || json!({ "registry": { "labourCount": { "gte": 0 } } });
    let everybody = scan(&world, &town_officer(&["331122101"]), "331122101000", filter()).await;
    let whole = everybody.coverage()["candidates"].as_u64().unwrap();
    assert!(whole > 60, "the town is more than the villages below: {whole}");
    for (divisions, expected) in [
        (&[VILLAGE][..], 21),
        (&["331122101347", VILLAGE], 42),
        // A village that is none, and one abroad of which the asked division holds nothing.
        (&[VILLAGE, "331122101999"], 21),
        (&[VILLAGE, "330109102001"], 21),
    ] {
        let found = scan(&world, &town_officer(divisions), "331122101000", filter()).await;
        let coverage = found.coverage();
        assert_eq!(coverage["candidates"], expected, "{divisions:?}: {}", found.answer);
        let counts = ["evaluated", "matched", "undetermined"].map(|name| coverage[name].as_u64().unwrap());
        assert_eq!((counts[0], counts[1] + counts[2]), (expected, expected), "{divisions:?}: {coverage}");
        assert!(found.ids().iter().all(|id| divisions.iter().any(|of| id.starts_with(of))), "{}", found.answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_without_a_condition_looks_at_everybody_too() {
    let world = world().await;
    let query = "query($division: ID!, $among: [ID!]) {
        households(division: $division, among: $among, first: 100) { ...Told nodes { id } } }
        fragment Told on HouseholdConnection { said: coverage { candidates matched whole } }";
    for (among, expected) in [(Value::Null, 21), (json!(["331122101348000001", "331122101348000002"]), 2)] {
        let found = seen(&world, &supervisor(), query, json!({ "division": VILLAGE, "among": among })).await;
        let said = &found.answer["data"]["households"]["said"];
        assert_eq!(*said, json!({ "candidates": expected, "matched": expected, "whole": true }), "{}", found.answer);
        assert_eq!(found.ids().len(), expected);
    }
}

/// Whether a department is well, by what the whole answer of a scan says.
async fn told_of(world: &World, fault: (&str, Fault), filter: &Value) -> String {
    world.departments.set_fault(fault.0, fault.1);
    let found = scan(world, &town_officer(&[VILLAGE]), VILLAGE, filter.clone()).await;
    world.departments.set_fault(fault.0, Fault::None);
    assert!(found.calls.iter().all(|(source, _)| source != fault.0), "{} is asked", fault.0);
    without_cursors(found).answer.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_department_that_may_not_be_asked_shows_nowhere() {
    let world = world().await;
    let open = json!({ "registry": { "category": { "in": ["DIBAO", "OTHER"] } } });
    let refused = json!({ "or": [open, { "health": { "majorIllnesses": { "count": { "gt": 0 } } } }] });
    for filter in [open, refused] {
        let well = told_of(&world, ("health", Fault::None), &filter).await;
        for source in ["health", "market-regulation", "natural-resources"] {
            for fault in [Fault::Http500, Fault::Nonsense] {
                assert_eq!(told_of(&world, (source, fault), &filter).await, well, "{source} {filter}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_verdict_is_open_is_told_as_it_is_to_who_reads_the_verdict() {
    // Nobody is too slow here.
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world = world_edited(options, |snapshot| {
        snapshot.config.limits.request_timeout_ms = 60_000;
        edit_limits(snapshot, |_, limits| limits.timeout_ms = 30_000);
    })
    .await;
    let plain = "query($division: ID!) { households(division: $division, first: 100) { nodes { id
        assets { overDepositLine } } } }";
    let over = json!({ "assets": { "overDepositLine": { "eq": true } } });
    for silent in [&[][..], &["banks"], &["civil-affairs"]] {
        silent.iter().for_each(|source| world.departments.set_fault(source, Fault::Nonsense));
        for officer in [verifier(&[VILLAGE]), town_officer(&[VILLAGE])] {
            let read = ask(&world.gateway, &officer, plain, json!({ "division": VILLAGE })).await;
            let nodes = read["data"]["households"]["nodes"].as_array().unwrap();
            let reasons = |list: &Value, of: &dyn Fn(&Value) -> Value| -> BTreeSet<String> {
                list.as_array().into_iter().flatten().map(|one| of(one).to_string()).collect()
            };
            let read_why = reasons(&read["errors"], &|error| {
                let told = &error["extensions"];
                json!([told["source"], told["state"], told["code"], told["count"], error["message"]])
            });
            let open = scan(&world, &officer, VILLAGE, over.clone()).await;
            let scan_why = reasons(&open.coverage()["missing"], &|missing| {
                assert_eq!(missing["fields"], json!(["assets.overDepositLine"]), "not what it is derived from");
                json!([missing["source"], missing["state"], missing["code"], missing["count"], missing["message"]])
            });
            assert_eq!(scan_why, read_why, "{silent:?}: {}", open.answer);
            let unread = nodes.iter().filter(|node| node["assets"]["overDepositLine"].is_null()).count();
            assert_eq!(open.coverage()["undetermined"], unread, "{silent:?}: {}", open.answer);
            // Nothing of a single household either.
            let each = json!({ "division": VILLAGE, "where": over, "first": 100, "verdict": "UNDETERMINED" });
            let each = seen(&world, &officer, SCAN, each).await;
            let text = each.answer.to_string();
            assert_eq!(each.ids().len(), unread);
            for inside in ["deposits", "mandate", "overThreshold"] {
                assert!(!text.contains(inside), "{inside}: {text}");
            }
        }
        silent.iter().for_each(|source| world.departments.set_fault(source, Fault::None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_asked_than_the_condition_and_the_matches_take() {
    let world = world().await;
    let nobody = json!({ "id": { "eq": "331122101347000001" } });
    let query = "query($where: HouseholdFilter) { households(division: \"331122101348\", where: $where, first: 100) {
        nodes { id health { majorIllnesses { name } } assets { vehicles { plate } } loans { microloans { bank } } } } }";
    let nobody = seen(&world, &supervisor(), query, json!({ "where": nobody })).await;
    assert!(nobody.ids().is_empty());
    assert!(nobody.calls.iter().all(|(source, _)| source == "agriculture"), "{:?}", nobody.paths());
    // Of the one that matches, and of nobody else, the rest is asked for.
    let one = "331122101348000002";
    let found = seen(&world, &supervisor(), query, json!({ "where": { "id": { "eq": one } } })).await;
    assert_eq!(found.ids(), BTreeSet::from([one.to_owned()]));
    let of = world.departments.world();
    let others = of.village_household_ids(VILLAGE).filter(|id| id != one).map(|id| of.household(&id).unwrap());
    let others: Vec<String> = others.flat_map(|home| home.members).map(|member| member.id_number).collect();
    for (source, call) in found.calls.iter().filter(|(source, _)| source != "agriculture") {
        let text = format!("{} {} {}", call.path, call.query, call.body);
        assert!(others.iter().all(|other| !text.contains(other.as_str())), "{source}: {text}");
    }
}

/// The cadre's role as if it might scan, and answered for a village besides.
async fn world_of_scanning_cadres() -> World {
    let roles = config("roles.yaml");
    let (role, relation) =
        ("  cadre:\n    title: 结对干部\n    networks: [gov]\n", "    grants:\n      - relation: paired\n");
    let scans = "    scans: {statistics: true, candidates_max: 100, named_max: 100}\n";
    let own = "    grants:\n      - {relation: jurisdiction, purposes: [help], fields: [id, registry.division]}\n      \
               - relation: paired\n";
    let (before, after) = roles.split_once(role).unwrap();
    let after = after.replacen(relation, own, 1);
    world_at(Clock::system(), &[("roles.yaml", format!("{before}{role}{scans}{after}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_household_by_household_is_not_scanned_by() {
    let world = world_of_scanning_cadres().await;
    let household = world.departments.world().household("331122101348000001").unwrap();
    let mut cadre = caller("cadre", json!({ "id": household.cadre_id, "divisions": [VILLAGE] }));
    cadre.purpose = Some("help".to_owned());
    let read = "query($id: ID!) { household(id: $id) { registry { category headName } } }";
    let read = ask(&world.gateway, &cadre, read, json!({ "id": household.id })).await;
    assert!(read["data"]["household"]["registry"]["headName"].is_string(), "the cadre reads it: {read}");
    let own = &household.id;
    for condition in [
        json!({ "registry": { "headName": { "exists": true } } }),
        json!({ "and": [{ "id": { "eq": own } }, { "registry": { "category": { "eq": "DIBAO" } } }] }),
        json!({ "help": { "cadre": { "id": { "eq": household.cadre_id } } } }),
        json!({ "identity": { "members": { "count": { "gt": 1 } } } }),
        json!({ "registry": { "grid": { "exists": true } } }),
    ] {
        let found = scan(&world, &cadre, VILLAGE, condition.clone()).await;
        assert!(found.is_refused(), "{condition}: {}", found.answer);
        let among = json!({ "division": VILLAGE, "where": condition, "among": [own] });
        assert!(seen(&world, &cadre, SCAN, among).await.is_refused(), "{condition}");
    }
    // What is found by the division's grant is shown by that grant alone.
    let query = "query($where: HouseholdFilter) { households(division: \"331122101348\", where: $where, first: 100) {
        nodes { id registry { headName } } coverage { candidates } } }";
    let found = seen(&world, &cadre, query, json!({ "where": { "id": { "eq": own } } })).await;
    let page = &found.answer["data"]["households"];
    assert_eq!(page["nodes"], json!([{ "id": own, "registry": { "headName": null } }]), "{}", found.answer);
    assert_eq!((found.code(), &page["coverage"]["candidates"]), ("FORBIDDEN", &json!(21)));
    assert!(!found.answer.to_string().contains(&household.head().name));
}

/// Callers who read households, and whom no grant lets scan.
fn who_may_not_scan() -> [Identity; 5] {
    let mut cadre = caller("cadre", json!({ "id": "GB331122101348001", "divisions": [VILLAGE] }));
    cadre.purpose = Some("help".to_owned());
    let mut grid_worker = caller("grid-worker", json!({ "grids": ["331122101348-G1"], "divisions": [VILLAGE] }));
    grid_worker.purpose = Some("grid-watch".to_owned());
    let mut on_duty = caller("duty-officer", json!({ "divisions": [VILLAGE] }));
    on_duty.purpose = Some("emergency".to_owned());
    on_duty.break_glass = Some("a slope above the village is sliding".to_owned());
    let mut without_case = supervisor();
    without_case.case = None;
    let household = caller("household", json!({ "household": "331122101348000001", "divisions": [VILLAGE] }));
    [cadre, grid_worker, on_duty, household, without_case]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_role_that_scans_nothing_makes_a_listing_a_scan() {
    let world = world().await;
    for identity in who_may_not_scan() {
        for more in [
            "where: {id: {eq: \"331122101348000001\"}}) { nodes { id } }",
            "among: [\"331122101348000001\"]) { nodes { id } }",
            "verdict: UNDETERMINED) { nodes { id } }",
            "orderBy: [{by: registry_memberCount}]) { nodes { id } }",
            "first: 0) { coverage { plan { calls } } }",
            "first: 3) { ... { ...C } }",
        ] {
            let fragment = if more.contains("...C") {
                "fragment C on HouseholdConnection { told: coverage { candidates } }"
            } else {
                ""
            };
            let query = format!("{{ households(division: \"{VILLAGE}\", {more} }} {fragment}");
            let found = seen(&world, &identity, &query, json!({})).await;
            assert!(found.is_refused(), "{:?} {query}: {}", identity.roles(), found.answer);
        }
    }
}

const SHOWN: &str = "{
  filter: __type(name: \"HouseholdFilter\") { inputFields { name } }
  assets: __type(name: \"AssetsFilter\") { inputFields { name } }
  income: __type(name: \"IncomeFilter\") { inputFields { name } }
  person: __type(name: \"PersonFilter\") { inputFields { name } }
  vehicle: __type(name: \"VehicleFilter\") { name }
  kinds: __type(name: \"VehicleKindFilter\") { name }
  sort: __type(name: \"HouseholdSortable\") { enumValues { name } }
  coverage: __type(name: \"ScanCoverage\") { name }
  verdict: __type(name: \"ScanVerdict\") { name }
  connection: __type(name: \"HouseholdConnection\") { fields { name } }
  query: __type(name: \"Query\") { fields { name args { name } } }
  __schema { types { name kind } }
}";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_what_may_be_scanned_by_and_to_others_that_there_is_nothing() {
    let world = world().await;
    let told = ask(&world.gateway, &town_officer(&[VILLAGE]), SHOWN, json!({})).await["data"].clone();
    assert_eq!(
        names(&told["assets"]["inputFields"]),
        ["and", "or", "not", "exists", "itemState", "farmland", "overDepositLine", "ownsCar"]
    );
    let (income, person) = (names(&told["income"]["inputFields"]), names(&told["person"]["inputFields"]));
    assert!(income.contains(&"belowLine") && !income.contains(&"perCapita"), "{income:?}");
    assert!(person.contains(&"name") && !person.contains(&"idNumber") && !person.contains(&"birthDate"), "{person:?}");
    assert_eq!((&told["vehicle"], &told["kinds"]), (&Value::Null, &Value::Null));
    let sorted = names(&told["sort"]["enumValues"]);
    assert!(sorted.contains(&"assets_farmland") && !sorted.contains(&"income_perCapita"), "{sorted:?}");
    let supervisors = ask(&world.gateway, &supervisor(), SHOWN, json!({})).await["data"].clone();
    assert_eq!(supervisors["vehicle"]["name"], "VehicleFilter");
    // The last of them has no grant that counts, and is shown nothing of the contract at all.
    for identity in &who_may_not_scan()[..4] {
        let role = identity.roles()[0].to_owned();
        let told = ask(&world.gateway, identity, SHOWN, json!({})).await["data"].clone();
        for none in ["filter", "assets", "person", "vehicle", "sort", "coverage", "verdict"] {
            assert_eq!(told[none], Value::Null, "{role} {none}");
        }
        let fields = told["query"]["fields"].as_array().into_iter().flatten();
        for field in fields.filter(|field| field["name"] == "households") {
            assert_eq!(names(&field["args"]), ["division", "first", "after"], "{role}");
        }
        assert!(!names(&told["connection"]["fields"]).contains(&"coverage"), "{role}");
        let types = told["__schema"]["types"].as_array().unwrap();
        let of_scans = |one: &&Value| {
            let name = one["name"].as_str().unwrap();
            one["kind"] == "INPUT_OBJECT"
                || name.starts_with("Scan")
                || name.ends_with("Sortable")
                || name == "Subscription"
        };
        assert_eq!(types.iter().find(of_scans), None, "{role}");
    }
    // A field that is not there is told without those that are.
    let wrong =
        "{ households(division: \"331122101348\", where: {assets: {vehicle: {count: {eq: 0}}}}) { nodes { id } } }";
    let told = ask(&world.gateway, &caller("cadre", json!({})), wrong, json!({})).await;
    assert_eq!(told["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{told}");
    for hidden in ["vehicles", "realEstate", "deposits", "farmland", "ownsCar"] {
        assert!(!told.to_string().contains(hidden), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_scan_counts_and_names_and_holds_no_value() {
    let world = world().await;
    let household = world.departments.world().household("331122101348000001").unwrap();
    let (head, number) = (&household.head().name, &household.head().id_number);
    let secrets =
        [head.as_str(), number, "12345.67", "1999-12-31", "DIBAO", &household.id, VILLAGE, "浙K", &household.phone];
    let filter = json!({ "or": [
        { "registry": { "headName": { "eq": head }, "phone": { "startsWith": household.phone } } },
        { "registry": { "category": { "eq": "DIBAO" } }, "income": { "perCapita": { "lt": "12345.67" } } },
        { "identity": { "members": { "some": { "idNumber": { "in": [number] }, "birthDate": { "lt": "1999-12-31" } } } } },
    ] });
    let literal = format!(
        "query($d: Decimal = \"12345.67\") {{ households(division: \"{VILLAGE}\", first: 50, among: [\"{}\"], where: {{
           income: {{perCapita: {{lt: $d}}}}, identity: {{members: {{some: {{name: {{eq: \"{head}\"}}}}}}}},
           assets: {{vehicles: {{none: {{plate: {{startsWith: \"浙K\"}}}}}}}} }}) {{ nodes {{ id }} }} }}",
        household.id
    );
    let found = scan(&world, &supervisor(), VILLAGE, filter.clone()).await;
    assert!(found.ids().contains(&household.id), "{}", found.answer);
    let by_literal = seen(&world, &supervisor(), &literal, json!({})).await;
    assert_eq!(by_literal.answer["errors"], Value::Null);
    // Refused for the field, and for the division.
    assert!(scan(&world, &town_officer(&[VILLAGE]), VILLAGE, filter.clone()).await.is_refused());
    assert!(scan(&world, &supervisor(), "330109102001", filter).await.is_refused());
    let records = records(&world.folder).await;
    assert_eq!(records.len(), 4);
    for record in &records {
        // Who asked, and for what territory, is known of the token.
        let mut record = record.clone();
        record["who"] = Value::Null;
        let text = record.to_string();
        let told = secrets.iter().find(|secret| text.contains(**secret));
        assert_eq!(told, None, "{text}");
    }
    let (details, coverage) = (&records[0]["details"]["scan"], found.coverage());
    for count in ["candidates", "evaluated", "matched", "undetermined", "ended"] {
        assert_eq!(details[count], coverage[count], "{details}");
    }
    let fields: BTreeSet<&str> = details["fields"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        fields.is_superset(&["income.perCapita", "registry.headName", "identity.members.idNumber"].into()),
        "{details}"
    );
    assert!(details["condition"].as_str().is_some_and(|digest| digest.len() == 64), "{details}");
    assert_ne!(details["condition"], records[1]["details"]["scan"]["condition"]);
    assert_eq!(records[1]["details"]["scan"]["among"], 1);
    // Those that are shown are named, by their digests; candidates are not.
    let named: BTreeSet<&str> = records[0]["access"].as_array().unwrap().iter().flat_map(households).collect();
    assert_eq!(named.len(), found.ids().len(), "{}", records[0]);
    for refused in &records[2..] {
        assert_eq!((&refused["outcome"], &refused["errors"]), (&json!("REJECTED"), &json!(["FORBIDDEN"])), "{refused}");
    }
}

/// The households that a record says were seen, as digests.
fn households(access: &Value) -> Vec<&str> {
    let subjects = access["subjects"].as_array().filter(|_| access["entity"] == "Household");
    subjects.into_iter().flatten().filter_map(Value::as_str).collect()
}
