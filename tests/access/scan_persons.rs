//! Scans of persons: who is nobody's of the caller's divisions is nobody, what is masked is not compared, and a relation to
//! single persons is none to many.

use std::collections::{BTreeMap, BTreeSet};

use departments::Fault;
use departments::expected::{at, portrait};
use serde_json::{Value, json};

use crate::scans::{Seen, VILLAGE, seen, town_officer, verifier};
use crate::support::{World, caller, records, supervisor, world};

/// Of the same town, and of none.
const NEIGHBOUR: &str = "331122101347";
const NOWHERE: &str = "999999102001";
/// Persons of a village of 21 households.
const PERSONS: usize = 78;

const SCAN: &str = "query($division: ID!, $where: PersonFilter, $first: Int, $after: String, $among: [ID!],
    $verdict: ScanVerdict) {
  persons(division: $division, where: $where, first: $first, after: $after, among: $among, verdict: $verdict) {
    nodes { idNumber household { id } }
    edges { cursor missing { source code fields } }
    pageInfo { hasNextPage endCursor }
    coverage { candidates total evaluated matched undetermined whole ended missing { source code count fields } }
  }
}";

async fn scan(world: &World, identity: &huxiang::identify::Identity, division: &str, filter: Value) -> Seen {
    seen(world, identity, SCAN, json!({ "division": division, "where": filter, "first": 100 })).await
}

fn coverage(seen: &Seen) -> &Value {
    &seen.answer["data"]["persons"]["coverage"]
}

fn ids(seen: &Seen) -> Vec<String> {
    let nodes = seen.answer["data"]["persons"]["nodes"].as_array();
    let nodes = nodes.unwrap_or_else(|| panic!("it is answered: {}", seen.answer));
    nodes.iter().map(|node| node["idNumber"].as_str().unwrap().to_owned()).collect()
}

/// All persons of a village as the departments hold them, with the number of their household, in the department's order.
fn persons(world: &World, village: &str) -> Vec<(String, Value)> {
    let of = world.departments.world();
    let of_household = |id: String| {
        let portrait = portrait(of, &id).unwrap();
        let members = at(&portrait, "identity.members").as_array().unwrap().clone();
        members.into_iter().map(|member| (id.clone(), member)).collect::<Vec<_>>()
    };
    of.village_household_ids(village).flat_map(of_household).collect()
}

fn those(world: &World, village: &str, is: impl Fn(&Value) -> bool) -> Vec<String> {
    let all = persons(world, village).into_iter().filter(|(_, person)| is(person));
    all.map(|(_, person)| person["idNumber"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_of_a_division_are_listed_page_by_page_and_each_once() {
    let world = world().await;
    let query = "query($division: ID!, $after: String) { persons(division: $division, first: 50, after: $after) {
        nodes { idNumber name household { id } } pageInfo { hasNextPage endCursor } } }";
    let (mut found, mut after, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = seen(&world, &supervisor(), query, json!({ "division": VILLAGE, "after": after })).await;
        found.extend(page.answer["data"]["persons"]["nodes"].as_array().unwrap().clone());
        pages += 1;
        // No id number stands in an address.
        let listed = page.calls.iter().filter(|(_, call)| call.path.ends_with("/list"));
        assert!(listed.clone().count() > 0);
        for (_, call) in listed {
            assert!(
                found.iter().all(|node| !call.query.contains(node["idNumber"].as_str().unwrap())),
                "{}",
                call.query
            );
        }
        let info = &page.answer["data"]["persons"]["pageInfo"];
        after = info["endCursor"].clone();
        if info["hasNextPage"] == false {
            break;
        }
    }
    let expected: Vec<Value> = persons(&world, VILLAGE)
        .into_iter()
        .map(|(id, person)| json!({"idNumber": person["idNumber"], "name": person["name"], "household": {"id": id}}))
        .collect();
    assert_eq!((found.len(), pages), (PERSONS, 2));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_are_found_by_what_departments_hold_of_them_and_of_their_household() {
    let world = world().await;
    let of = world.departments.world();
    let dead = those(&world, VILLAGE, |person| person["lifeStatus"] == "DECEASED");
    assert!(!dead.is_empty());
    let found = scan(&world, &supervisor(), VILLAGE, json!({ "lifeStatus": { "eq": "DECEASED" } })).await;
    assert_eq!(ids(&found), dead, "{}", found.answer);
    let told = coverage(&found);
    assert_eq!((&told["candidates"], &told["total"], &told["whole"]), (&json!(PERSONS), &json!(PERSONS), &json!(true)));
    // What agriculture itself tells is not asked of anybody else.
    let heads = those(&world, VILLAGE, |person| person["relation"] == "HEAD");
    let found = scan(&world, &supervisor(), VILLAGE, json!({ "relation": { "eq": "HEAD" } })).await;
    assert_eq!(ids(&found), heads);
    assert!(found.calls.iter().all(|(source, _)| source == "agriculture"), "{:?}", found.paths());
    // Of their household.
    let at_risk: BTreeSet<String> = of
        .village_household_ids(VILLAGE)
        .filter(|id| at(&portrait(of, id).unwrap(), "housing.safetyGrade") == "D")
        .collect();
    let expected: Vec<String> = persons(&world, VILLAGE)
        .into_iter()
        .filter(|(id, person)| at_risk.contains(id) && person["sex"] == "FEMALE")
        .map(|(_, person)| person["idNumber"].as_str().unwrap().to_owned())
        .collect();
    assert!(!expected.is_empty());
    let condition = json!({ "sex": { "eq": "FEMALE" }, "household": { "housing": { "safetyGrade": { "eq": "D" } } } });
    let found = scan(&world, &supervisor(), VILLAGE, condition).await;
    // Where two departments disagree of the grade, nobody is found by it.
    let open = coverage(&found)["undetermined"].as_u64().unwrap();
    assert!(ids(&found).iter().all(|id| expected.contains(id)) && ids(&found).len() > expected.len() / 2, "{open}");
    assert!(ids(&found).len() + usize::try_from(open).unwrap() >= expected.len(), "{}", found.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_department_leaves_persons_undetermined_and_never_makes_them_none() {
    let world = world().await;
    world.departments.set_fault("police", Fault::Nonsense);
    let condition = json!({ "lifeStatus": { "eq": "DECEASED" }, "relation": { "eq": "PARENT" } });
    let found = scan(&world, &supervisor(), VILLAGE, condition.clone()).await;
    let parents = those(&world, VILLAGE, |person| person["relation"] == "PARENT");
    assert_eq!((ids(&found).len(), &coverage(&found)["undetermined"]), (0, &json!(parents.len())), "{}", found.answer);
    assert_eq!(coverage(&found)["missing"][0]["source"], "police");
    let open = json!({ "division": VILLAGE, "where": condition, "first": 100, "verdict": "UNDETERMINED" });
    assert_eq!(ids(&seen(&world, &supervisor(), SCAN, open).await), parents);
    // Where nobody can be listed there is no answer, and not nobody.
    world.departments.set_fault("agriculture", Fault::Nonsense);
    let found = scan(&world, &supervisor(), VILLAGE, json!({ "relation": { "eq": "PARENT" } })).await;
    assert!(found.answer["data"]["persons"].is_null() && !found.answer["errors"].is_null(), "{}", found.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mask_hides_of_persons_is_not_compared_and_nobody_is_asked() {
    let world = world().await;
    let officer = town_officer(&["331122101"]);
    let stats = "query($where: PersonFilter) { personStats(division: \"331122101348\", where: $where,
        measures: [{count: true}]) { groups { values { value } } } }";
    for condition in [
        json!({ "birthDate": { "lt": "1960-01-01" } }),
        json!({ "birthDate": { "gteDaysAgo": 20000 } }),
        json!({ "birthDate": { "exists": true } }),
        json!({ "idNumber": { "eq": "331122199001011230" } }),
        json!({ "household": { "income": { "perCapita": { "lt": "12000" } } } }),
        json!({ "household": { "identity": { "headIdNumber": { "in": ["331122199001011230"] } } } }),
        json!({ "household": { "assets": { "vehicles": { "count": { "gt": 0 } } } } }),
        json!({ "household": { "identity": { "members": { "some": { "birthDate": { "lt": "1960-01-01" } } } } } }),
    ] {
        for condition in
            [condition.clone(), json!({ "not": condition }), json!({ "or": [condition, { "sex": { "eq": "MALE" } }] })]
        {
            let found = scan(&world, &officer, VILLAGE, condition.clone()).await;
            assert!(found.is_refused(), "{condition}: {} {:?}", found.answer, found.paths());
            let found = seen(&world, &officer, stats, json!({ "where": condition })).await;
            assert!(found.is_refused(), "{condition}: {} {:?}", found.answer, found.paths());
        }
    }
    // Whose number is masked is listed to nobody as found; how many there are is told.
    let open = json!({ "relation": { "eq": "PARENT" } });
    assert!(scan(&world, &officer, VILLAGE, open.clone()).await.is_refused());
    let found = seen(&world, &officer, stats, json!({ "where": open })).await;
    let parents = those(&world, VILLAGE, |person| person["relation"] == "PARENT").len();
    let value = &found.answer["data"]["personStats"]["groups"][0]["values"][0]["value"];
    assert_eq!(value, &json!(parents.to_string()), "{}", found.answer);
    // An order would tell what is masked as well.
    let ordered = "{ persons(division: \"331122101348\", orderBy: [{by: birthDate}]) { nodes { name } } }";
    assert!(seen(&world, &officer, ordered, json!({})).await.is_refused());
    assert!(!seen(&world, &supervisor(), ordered, json!({})).await.answer["data"]["persons"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_the_callers_divisions_there_is_nobody() {
    let world = world().await;
    let verifier = verifier(&[VILLAGE]);
    let filter = || json!({ "relation": { "eq": "HEAD" } });
    let nowhere = scan(&world, &verifier, NOWHERE, filter()).await;
    assert!(nowhere.is_refused());
    for outside in [NEIGHBOUR, "330109102001", "331123", "34"] {
        let found = scan(&world, &verifier, outside, filter()).await;
        assert!(found.is_refused(), "{outside}: {}", found.answer);
        assert_eq!(found.with(outside, NOWHERE), nowhere.with(NOWHERE, NOWHERE), "{outside}");
    }
    // What is asked for too widely is cut to the caller's own, and counts nobody else.
    let own = scan(&world, &verifier, VILLAGE, filter()).await;
    assert_eq!((ids(&own).len(), &coverage(&own)["candidates"]), (21, &json!(PERSONS)), "{}", own.answer);
    for wide in ["", "33", "331122000000", "331122101"] {
        let found = scan(&world, &verifier, wide, filter()).await;
        assert_eq!(
            (ids(&found), coverage(&found), found.paths()),
            (ids(&own), coverage(&own), own.paths()),
            "{wide:?}"
        );
        let text: String = found.calls.iter().map(|(_, call)| format!("{} {}", call.query, call.body)).collect();
        assert!(!text.contains(NEIGHBOUR), "{wide:?}: {text}");
    }
    // Keys outside are keys of nobody.
    let inside = ids(&own)[0].clone();
    let outside = those(&world, NEIGHBOUR, |_| true)[0].clone();
    let absent = "331122190001010005";
    let among = |key: &str| json!({ "division": "331122", "where": filter(), "among": [inside, key], "first": 9 });
    let nobody = seen(&world, &verifier, SCAN, among(absent)).await;
    let found = seen(&world, &verifier, SCAN, among(&outside)).await;
    assert_eq!((ids(&found), coverage(&found)), (ids(&nobody), coverage(&nobody)), "{}", found.answer);
    assert_eq!((ids(&found), &coverage(&found)["candidates"]), (vec![inside.clone()], &json!(1)), "{}", found.answer);
    // The caller's own, outside the division that is asked for.
    let wide = crate::scans::verifier(&["331122101"]);
    let of = json!({ "division": NEIGHBOUR, "among": [inside, outside], "first": 9 });
    let found = seen(&world, &wide, SCAN, of).await;
    assert_eq!((ids(&found), &coverage(&found)["candidates"]), (vec![outside], &json!(1)), "{}", found.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_to_single_persons_or_households_is_none_to_many() {
    let world = world().await;
    let of = world.departments.world();
    let household = of.village_household_ids(VILLAGE).next().unwrap();
    let person = those(&world, VILLAGE, |_| true)[0].clone();
    let mut cadre = caller("cadre", json!({ "divisions": [VILLAGE] }));
    cadre.purpose = Some("help".to_owned());
    for caller in [caller("household", json!({ "household": household, "person": person })), cadre] {
        for query in [
            "{ persons(division: \"331122101348\", where: {relation: {eq: HEAD}}) { nodes { name } } }",
            "{ persons(division: \"331122101348\") { coverage { candidates } } }",
            "{ personStats(division: \"331122101348\", measures: [{count: true}]) { groups { suppressed } } }",
        ] {
            let found = seen(&world, &caller, query, json!({})).await;
            assert!(found.is_refused(), "{query}: {}", found.answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_are_counted_by_their_households_division() {
    let world = world().await;
    let query = "query($digits: Int) { personStats(division: \"331122101\", where: {relation: {eq: PARENT}},
        groupBy: [{by: household_registry_division_code, digits: $digits}], measures: [{count: true}]) {
        groups { key { field value } values { value } } coverage { candidates whole } } }";
    let found = seen(&world, &town_officer(&["331122101"]), query, json!({ "digits": 12 })).await;
    let of = world.departments.world();
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for id in of.village_household_ids("331122101") {
        let members = of.household(&id).unwrap().members;
        let parents = members.iter().filter(|member| ["51", "52"].contains(&member.relation)).count();
        *expected.entry(id[..12].to_owned()).or_default() += parents;
    }
    let groups = found.answer["data"]["personStats"]["groups"].as_array();
    let groups = groups.unwrap_or_else(|| panic!("{}", found.answer));
    let told: BTreeMap<String, usize> = groups
        .iter()
        .map(|group| {
            let number = group["values"][0]["value"].as_str().unwrap().parse().unwrap();
            (group["key"][0]["value"].as_str().unwrap().to_owned(), number)
        })
        .collect();
    assert_eq!(told, expected);
    assert_eq!(groups[0]["key"][0]["field"], "household.registry.division.code");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_names_the_persons_of_whom_something_was_found() {
    let world = world().await;
    let dead = those(&world, VILLAGE, |person| person["lifeStatus"] == "DECEASED");
    scan(&world, &supervisor(), VILLAGE, json!({ "lifeStatus": { "eq": "DECEASED" } })).await;
    let record = records(&world.folder).await.pop().unwrap();
    assert_eq!(record["details"]["scan"]["query"], "persons", "{record}");
    assert_eq!(record["details"]["scan"]["candidates"], PERSONS);
    let key = std::sync::Arc::clone(&world.gateway.snapshot().config.audit.key);
    let subject =
        |id: &String| huxiang::audit::SubjectKey::new(std::sync::Arc::clone(&key)).subject("Person", id).to_string();
    let named: BTreeSet<String> = record["access"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|access| access["entity"] == "Person")
        .flat_map(|access| access["subjects"].as_array().unwrap())
        .map(|subject| subject.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, dead.iter().map(subject).collect(), "{record}");
    assert!(dead.iter().all(|id| !record.to_string().contains(id.as_str())));

    // What is compared of their household is used of the household, though nobody is shown.
    let of = world.departments.world();
    let receives = |id: &String| at(&portrait(of, id).unwrap(), "assistance.dibaoStatus") == "RECEIVING";
    let condition = json!({ "relation": { "eq": "HEAD" }, "household": { "assistance": { "dibaoStatus": { "eq": "RECEIVING" } } } });
    let query = "query($where: PersonFilter) { persons(division: \"331122101348\", where: $where, first: 100) {
        nodes { sex } coverage { matched undetermined } } }";
    let found = seen(&world, &supervisor(), query, json!({ "where": condition })).await;
    let record = records(&world.folder).await.pop().unwrap();
    let households: Vec<String> = of.village_household_ids(VILLAGE).filter(receives).collect();
    let matched = usize::try_from(coverage(&found)["matched"].as_u64().unwrap()).unwrap();
    assert!(matched > 0 && matched <= households.len(), "{}", found.answer);
    // Items stand there by their numbers.
    let used = |access: &&Value| access["used"].as_array().unwrap().contains(&json!("16"));
    let named: BTreeSet<&str> = record["access"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|access| access["entity"] == "Household")
        .filter(used)
        .flat_map(|access| access["subjects"].as_array().unwrap())
        .map(|subject| subject.as_str().unwrap())
        .collect();
    let key = std::sync::Arc::clone(&world.gateway.snapshot().config.audit.key);
    let subject =
        |id: &String| huxiang::audit::SubjectKey::new(std::sync::Arc::clone(&key)).subject("Household", id).to_string();
    let expected: BTreeSet<String> = households.iter().map(subject).collect();
    assert_eq!(named.len(), matched, "{record:#}");
    assert!(named.iter().all(|subject| expected.contains(*subject)), "{record:#}");
}
