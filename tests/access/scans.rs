//! Scans as an attack: what may not be read may not be filtered by, and neither answers, counts nor calls tell of it.

use std::collections::BTreeSet;

use departments::expected::{at, portrait};
use departments::{Fault, Logged};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::{World, ask, caller, supervisor, world};

pub const VILLAGE: &str = "331122101348";
/// Of the same town, of another county, and of none.
const NEIGHBOUR: &str = "331122101347";
const ABROAD: &str = "330109102001";
const NOWHERE: &str = "999999102001";

pub const SCAN: &str =
    "query Found($division: ID!, $where: HouseholdFilter, $first: Int, $after: String, $among: [ID!],
    $verdict: ScanVerdict) {
  households(division: $division, where: $where, first: $first, after: $after, among: $among, verdict: $verdict) {
    nodes { id }
    edges { cursor missing { source state code fields message } }
    pageInfo { hasNextPage endCursor }
    coverage { candidates total evaluated matched undetermined whole ended
               missing { source sourceTitle state code count fields message } }
  }
}";

/// Answers for the households of a town: with the duty that it takes, and without a case number.
pub fn town_officer(divisions: &[&str]) -> Identity {
    let mut officer = caller("town-officer", json!({ "divisions": divisions }));
    officer.purpose = Some("duty".to_owned());
    officer
}

pub fn verifier(divisions: &[&str]) -> Identity {
    let mut verifier = caller("verifier", json!({ "divisions": divisions }));
    verifier.purpose = Some("recognition".to_owned());
    verifier.case = Some("HD-2026-0001".to_owned());
    verifier
}

fn officer_of(department: &str) -> Identity {
    let mut officer = caller("department-officer", json!({ "divisions": [VILLAGE], "department": department }));
    officer.purpose = Some("duty".to_owned());
    officer
}

/// One answer, and every call that was made for it.
pub struct Seen {
    pub answer: Value,
    pub calls: Vec<(String, Logged)>,
}

impl Seen {
    pub fn code(&self) -> &str {
        self.answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }

    /// Refused as a whole, before any department was asked.
    pub fn is_refused(&self) -> bool {
        self.code() == "FORBIDDEN" && self.answer.get("data").is_none() && self.calls.is_empty()
    }

    pub fn coverage(&self) -> &Value {
        &self.answer["data"]["households"]["coverage"]
    }

    pub fn ids(&self) -> BTreeSet<String> {
        let nodes = self.answer["data"]["households"]["nodes"].as_array();
        let nodes = nodes.unwrap_or_else(|| panic!("it is answered: {}", self.answer));
        nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
    }

    pub fn cursor(&self) -> Value {
        self.answer["data"]["households"]["pageInfo"]["endCursor"].clone()
    }

    /// What an onlooker at the departments sees: which of them was called, where, and how often.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            self.calls.iter().map(|(source, call)| format!("{source} {} {}", call.method, call.path)).collect();
        paths.sort();
        paths
    }

    /// As if it had been asked about something else.
    pub fn with(&self, this: &str, other: &str) -> (String, Vec<String>) {
        let moved = |text: &String| text.replace(this, other);
        (moved(&self.answer.to_string()), self.paths().iter().map(moved).collect())
    }
}

pub async fn seen(world: &World, identity: &Identity, query: &str, variables: Value) -> Seen {
    world.departments.clear_logs();
    let answer = ask(&world.gateway, identity, query, variables).await;
    let mut calls = Vec::new();
    for source in world.departments.calls().into_keys() {
        calls.extend(world.departments.log(&source).into_iter().map(|call| (source.to_string(), call)));
    }
    Seen { answer, calls }
}

pub async fn scan(world: &World, identity: &Identity, division: &str, filter: Value) -> Seen {
    seen(world, identity, SCAN, json!({ "division": division, "where": filter, "first": 100 })).await
}

/// The same condition, wherever it can stand inside another one.
fn hidden(condition: &Value) -> Vec<Value> {
    let open = json!({ "registry": { "category": { "eq": "DIBAO" } } });
    let mut all = vec![
        condition.clone(),
        json!({ "not": condition }),
        json!({ "or": [open, condition] }),
        json!({ "and": [open, { "not": { "or": [open, { "and": [condition] }] } }] }),
    ];
    // Further than this no condition goes.
    if condition.pointer("/identity/members").is_none() {
        for quantifier in ["some", "every", "none"] {
            all.push(json!({ "identity": { "members": { quantifier: { "household": condition } } } }));
        }
    }
    all
}

/// What the town officer is refused or shown masked, by every operator that could tell of it.
fn closed_to_the_town() -> Vec<Value> {
    let vehicles = |of: Value| json!({ "assets": { "vehicles": of } });
    let illnesses = |of: Value| json!({ "health": { "majorIllnesses": of } });
    let members = |of: Value| json!({ "identity": { "members": { "some": of } } });
    let income = |of: Value| json!({ "income": { "perCapita": of } });
    vec![
        vehicles(json!({ "some": { "plate": { "exists": true } } })),
        vehicles(json!({ "every": { "kind": { "eq": "CAR" } } })),
        vehicles(json!({ "none": { "ownerName": { "startsWith": "蓝" } } })),
        vehicles(json!({ "some": { "exists": true } })),
        vehicles(json!({ "count": { "eq": 0 } })),
        vehicles(json!({ "itemState": { "in": ["NO_RECORD"] } })),
        illnesses(json!({ "count": { "gt": 0 } })),
        illnesses(json!({ "some": { "diagnosedOn": { "ltDaysAgo": 365 } } })),
        json!({ "assets": { "deposits": { "overThreshold": { "eq": true } } } }),
        json!({ "assets": { "deposits": { "exists": true } } }),
        json!({ "assets": { "deposits": { "itemState": { "in": ["ANSWERED", "CONFLICT"] } } } }),
        // A section is there where anything in it is.
        json!({ "assets": { "exists": false } }),
        json!({ "employment": { "workers": { "some": { "idNumber": { "in": ["331122199001011230"] } } } } }),
        // Masked.
        income(json!({ "lt": "12000" })),
        income(json!({ "in": ["12000.00", "9000"] })),
        income(json!({ "exists": true })),
        income(json!({ "itemState": { "in": ["ANSWERED"] } })),
        json!({ "income": { "exists": true } }),
        json!({ "identity": { "headIdNumber": { "eq": "331122199001011230" } } }),
        members(json!({ "birthDate": { "gte": "1990-01-01" } })),
        members(json!({ "birthDate": { "gteDaysAgo": 20000 } })),
        members(json!({ "idNumber": { "ne": "331122199001011230" } })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_masked_is_not_filtered_by_wherever_it_stands_and_nobody_is_asked() {
    let world = world().await;
    let officer = town_officer(&["331122101"]);
    for condition in closed_to_the_town().iter().flat_map(hidden) {
        let found = scan(&world, &officer, VILLAGE, condition.clone()).await;
        assert!(found.is_refused(), "{condition}: {} {:?}", found.answer, found.paths());
    }
    // As literals, with a variable inside, as an order, and for those that stay open.
    for query in [
        "{ households(division: \"331122101348\", where: {income: {perCapita: {lt: \"12000\"}}}) { nodes { id } } }",
        "query($x: Decimal = \"12000\") { households(division: \"331122101348\", where: {or: [{registry: {grid: {exists:
         true}}}, {income: {perCapita: {lt: $x}}}]}) { nodes { id } } }",
        "{ households(division: \"331122101348\", orderBy: [{by: income_perCapita}]) { nodes { id } } }",
        "{ households(division: \"331122101348\", where: {not: {assets: {vehicles: {count: {eq: 0}}}}}, verdict:
         UNDETERMINED, among: [\"331122101348000001\"]) { edges { missing { code } } } }",
    ] {
        let found = seen(&world, &officer, query, json!({})).await;
        assert!(found.is_refused(), "{query}: {}", found.answer);
    }
    // The supervisor reads all of it in full.
    let mut told = 0;
    for condition in closed_to_the_town() {
        let found = scan(&world, &supervisor(), VILLAGE, condition.clone()).await;
        assert_eq!(found.answer["errors"], Value::Null, "{condition}");
        assert!(!found.calls.is_empty(), "{condition}");
        told += found.ids().len();
    }
    assert!(told > 50, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_is_masked_cannot_be_closed_in_on() {
    let world = world().await;
    let (mut refused, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for line in ["0", "6000", "12000", "17928.5", "99999999"] {
        let condition = json!({ "income": { "perCapita": { "lt": line } } });
        let found = scan(&world, &town_officer(&[VILLAGE]), VILLAGE, condition.clone()).await;
        assert!(found.is_refused(), "{}", found.answer);
        refused.insert(found.answer.to_string());
        answered.insert(scan(&world, &supervisor(), VILLAGE, condition).await.ids());
    }
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(answered.len() > 3, "who may read it closes in on it: {answered:?}");
    // On which side of the declared line it is, the town may know: a verdict of its own.
    let below = json!({ "income": { "belowLine": { "eq": true } } });
    let verdict = scan(&world, &town_officer(&[VILLAGE]), VILLAGE, below).await.ids();
    let line = json!({ "income": { "perCapita": { "lt": "11952" } } });
    assert_eq!(verdict, scan(&world, &supervisor(), VILLAGE, line).await.ids());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_equal_or_they_are_not_but_have_no_beginning() {
    let world = world().await;
    for condition in [
        json!({ "id": { "startsWith": "3311221013480000" } }),
        json!({ "identity": { "headIdNumber": { "startsWith": "331122" } } }),
        json!({ "identity": { "members": { "some": { "idNumber": { "startsWith": "331122" } } } } }),
        json!({ "identity": { "members": { "some": { "household": { "id": { "gt": "3" } } } } } }),
        json!({ "identity": { "headIdNumber": { "contains": "1990" } } }),
    ] {
        let found = scan(&world, &supervisor(), VILLAGE, condition.clone()).await;
        assert_eq!(found.code(), "VALIDATION_FAILED", "{condition}: {}", found.answer);
        assert!(found.answer.get("data").is_none() && found.calls.is_empty(), "{condition}");
    }
    let one = json!({ "id": { "eq": "331122101348000005" } });
    assert_eq!(scan(&world, &supervisor(), VILLAGE, one).await.ids().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_department_withholds_is_not_there_for_conditions_either() {
    let world = world().await;
    let of = world.departments.world();
    let ill: BTreeSet<String> = of
        .village_household_ids(VILLAGE)
        .filter(|id| {
            let portrait = portrait(of, id).unwrap();
            let list = at(&portrait, "health.majorIllnesses").as_array().unwrap();
            list.iter().any(|illness| illness["code"].as_str().unwrap().starts_with('F'))
        })
        .collect();
    assert!(!ill.is_empty() && ill.len() < 5, "{ill:?}");
    let illnesses = |of: Value| json!({ "health": { "majorIllnesses": of } });
    let of_the_mind = || json!({ "code": { "startsWith": "F" } });
    // The department's own officer finds them.
    let own = scan(&world, &officer_of("health"), VILLAGE, illnesses(json!({ "some": of_the_mind() }))).await;
    assert_eq!(own.ids(), ill);
    // Others find nobody by them, neither by their being there, nor by their being all, some or none, nor by their number.
    let plain = "query($division: ID!) { households(division: $division, first: 100) { nodes { id
        health { majorIllnesses { code } } items(no: [\"26\"]) { state } } } }";
    let plain = ask(&world.gateway, &supervisor(), plain, json!({ "division": VILLAGE })).await;
    let nodes = plain["data"]["households"]["nodes"].as_array().unwrap();
    let read = |is: &dyn Fn(&Value, usize) -> bool| -> BTreeSet<String> {
        let count = |node: &Value| node["health"]["majorIllnesses"].as_array().unwrap().len();
        let those = nodes.iter().filter(|node| is(node, count(node)));
        those.map(|node| node["id"].as_str().unwrap().to_owned()).collect()
    };
    let everybody = read(&|_, _| true);
    let state = |state: &'static str| read(&move |node: &Value, _| node["items"][0]["state"] == state);
    for (condition, expected) in [
        (json!({ "some": of_the_mind() }), BTreeSet::new()),
        (json!({ "none": of_the_mind() }), everybody.clone()),
        (json!({ "every": { "not": of_the_mind() } }), everybody.clone()),
        (json!({ "every": of_the_mind() }), read(&|_, count| count == 0)),
        (json!({ "some": { "code": { "in": ["F20.0"] } } }), BTreeSet::new()),
        (json!({ "count": { "gt": 0 } }), read(&|_, count| count > 0)),
        (json!({ "count": { "eq": 1 } }), read(&|_, count| count == 1)),
        (json!({ "some": { "exists": true } }), read(&|_, count| count > 0)),
        (json!({ "itemState": { "in": ["ANSWERED"] } }), state("ANSWERED")),
        (json!({ "itemState": { "in": ["NO_RECORD"] } }), state("NO_RECORD")),
        (json!({ "itemState": { "in": ["CONFLICT"] } }), BTreeSet::new()),
    ] {
        let found = scan(&world, &supervisor(), VILLAGE, illnesses(condition.clone())).await;
        assert_eq!(found.ids(), expected, "{condition}");
        let coverage = found.coverage();
        assert_eq!((&coverage["undetermined"], &coverage["missing"]), (&json!(0), &json!([])), "{condition}");
        // Through a member it is the same household.
        let through = json!({ "identity": { "members": { "some": { "household": illnesses(condition.clone()) } } } });
        assert_eq!(scan(&world, &supervisor(), VILLAGE, through).await.ids(), expected, "{condition}");
    }
    assert!(state("NO_RECORD").is_superset(&ill), "who has nothing else has nothing: the test would show it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_counted_though_nothing_in_it_is_compared() {
    let world = world().await;
    let of = world.departments.world();
    for path in
        ["assets.vehicles", "health.majorIllnesses", "education.students", "help.plan", "help.visits", "projects"]
    {
        let held = |id: &String| at(&portrait(of, id).unwrap(), path).as_array().is_some_and(|list| !list.is_empty());
        // What departments withhold is another test's.
        let expected: BTreeSet<String> = of.village_household_ids(VILLAGE).filter(held).collect();
        let filter = json!({ "count": { "gt": 0 } });
        let filter = path.rsplit('.').fold(filter, |inside, name| json!({ name: inside }));
        let found = scan(&world, &supervisor(), VILLAGE, filter).await;
        let is_close = expected.difference(&found.ids()).count() <= usize::from(path == "health.majorIllnesses");
        assert!(found.ids().is_subset(&expected) && is_close, "{path}: {expected:?}, {}", found.answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_are_members_is_known_to_who_reads_their_numbers_masked() {
    let world = world().await;
    for officer in [town_officer(&[VILLAGE]), supervisor()] {
        for (state, expected) in [("ANSWERED", 21), ("NO_RECORD", 0)] {
            let condition = json!({ "identity": { "members": { "itemState": { "in": [state] } } } });
            let found = scan(&world, &officer, VILLAGE, condition).await;
            assert_eq!(found.ids().len(), expected, "{state}: {}", found.answer);
            assert_eq!(found.coverage()["undetermined"], 0, "{state}: {}", found.answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_division_is_answered_and_asked_for_as_one_that_is_not_there() {
    let world = world().await;
    let officer = town_officer(&[VILLAGE]);
    let filter = || json!({ "registry": { "category": { "eq": "DIBAO" } } });
    let nowhere = scan(&world, &officer, NOWHERE, filter()).await;
    assert!(nowhere.is_refused());
    for outside in
        [NEIGHBOUR, ABROAD, "331122101347000", "331122102000", "331123", "331122101349", "330109000000", "34"]
    {
        let found = scan(&world, &officer, outside, filter()).await;
        assert!(found.is_refused(), "{outside}: {}", found.answer);
        assert_eq!(found.with(outside, NOWHERE), nowhere.with(NOWHERE, NOWHERE), "{outside}");
        // And without a condition.
        let query = "query($division: ID!) { households(division: $division) { coverage { candidates } } }";
        let found = seen(&world, &officer, query, json!({ "division": outside })).await;
        assert!(found.is_refused(), "{outside}: {}", found.answer);
    }
    // What is asked for too widely is cut to the caller's own, and counts nobody else.
    let own = scan(&world, &officer, VILLAGE, filter()).await;
    assert_eq!((&own.coverage()["candidates"], &own.coverage()["total"]), (&json!(21), &json!(21)));
    for wide in ["", "3", "33", "330000000000", "331122", "331122000000", "331122101", "331122101000", "33112210134"] {
        let found = scan(&world, &officer, wide, filter()).await;
        assert_eq!((found.ids(), found.coverage()), (own.ids(), own.coverage()), "{wide:?}");
        assert_eq!(found.paths(), own.paths(), "{wide:?}");
        let text: String = found.calls.iter().map(|(_, call)| format!("{} {}", call.query, call.body)).collect();
        assert!(!text.contains(NEIGHBOUR) && !text.contains("331122101349"), "{wide:?}: {text}");
    }
    // What it would take is told of the caller's own, and no more is asked for it.
    let planned = "query($division: ID!, $where: HouseholdFilter) {
      households(division: $division, where: $where, first: 0) { coverage { total plan { estimatedCalls } } }
    }";
    let of = |division: &str| json!({ "division": division, "where": filter() });
    let mine = seen(&world, &officer, planned, of(VILLAGE)).await;
    assert_eq!(mine.coverage()["total"], 21);
    for wide in ["33", "331122000000"] {
        let found = seen(&world, &officer, planned, of(wide)).await;
        assert_eq!((found.coverage(), found.paths()), (mine.coverage(), mine.paths()), "{wide}");
        assert!(found.calls.iter().all(|(_, call)| call.query.contains(VILLAGE)), "{wide}");
    }
    for outside in [NEIGHBOUR, NOWHERE] {
        let found = seen(&world, &officer, planned, of(outside)).await;
        assert!(found.is_refused() && found.calls.is_empty(), "{outside}: {}", found.answer);
    }
    // Divisions of a token that lie in one another count once.
    let twice = town_officer(&["331122101348", "33112210134", "331122101347"]);
    let found = scan(&world, &twice, VILLAGE, filter()).await;
    assert_eq!((found.ids(), found.coverage()), (own.ids(), own.coverage()));
    let nobodys = scan(&world, &town_officer(&[]), VILLAGE, filter()).await;
    assert!(nobodys.is_refused(), "{}", nobodys.answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outside_the_divisions_are_keys_of_nobody() {
    let world = world().await;
    let officer = town_officer(&[VILLAGE]);
    let inside = "331122101348000001";
    let absent = "331122101348000099";
    let among = |key: &str| json!([inside, key, "331122101348000002"]);
    for filter in [json!(null), json!({ "housing": { "safetyGrade": { "ne": "D" } } })] {
        for fault in [Fault::None, Fault::Nonsense] {
            world.departments.set_fault("agriculture", fault);
            for verdict in ["MATCHED", "UNDETERMINED"] {
                let ask = |key: &str| json!({ "division": "331122", "where": filter, "among": among(key), "verdict": verdict, "first": 9 });
                let nobody = seen(&world, &officer, SCAN, ask(absent)).await;
                let nobody = without_cursors(nobody);
                for outside in ["331122101347000001", "330109102001000001"] {
                    let found = without_cursors(seen(&world, &officer, SCAN, ask(outside)).await);
                    assert_eq!(
                        found.with(outside, absent),
                        nobody.with(absent, absent),
                        "{outside} {filter} {verdict}"
                    );
                }
                if fault == Fault::None {
                    assert_eq!(nobody.coverage()["candidates"], 2, "{}", nobody.answer);
                }
            }
        }
        world.departments.set_fault("agriculture", Fault::None);
    }
    // The caller's own, outside the division that is asked for.
    let wide = town_officer(&["331122101"]);
    let of = json!({ "division": NEIGHBOUR, "among": [inside, "331122101347000001"], "first": 9 });
    let found = seen(&world, &wide, SCAN, of).await;
    assert_eq!((found.ids().len(), &found.coverage()["candidates"]), (1, &json!(1)), "{}", found.answer);
}

/// What differs from one request to the next for no reason of its data.
pub fn without_cursors(mut seen: Seen) -> Seen {
    let page = &mut seen.answer["data"]["households"];
    if page.is_object() {
        page["pageInfo"]["endCursor"] = Value::Null;
        page["edges"].as_array_mut().into_iter().flatten().for_each(|edge| edge["cursor"] = Value::Null);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_on_with_its_own_scan_alone() {
    let world = world().await;
    let dibao = || json!({ "registry": { "category": { "eq": "DIBAO" } } });
    let with = |more: Value| {
        let mut variables = json!({ "division": VILLAGE, "where": dibao(), "first": 2 });
        more.as_object().unwrap().iter().for_each(|(name, value)| variables[name] = value.clone());
        variables
    };
    let officer = town_officer(&["331122101"]);
    let first = seen(&world, &officer, SCAN, with(json!({}))).await;
    assert_eq!(first.answer["data"]["households"]["pageInfo"]["hasNextPage"], true, "{}", first.answer);
    let after = first.cursor();
    let next = seen(&world, &officer, SCAN, with(json!({ "after": after }))).await;
    assert!(next.ids().is_disjoint(&first.ids()) && !next.ids().is_empty(), "{}", next.answer);
    // Of another condition, division, list of keys: none of them.
    for other in [
        json!({ "where": { "registry": { "category": { "ne": "DIBAO" } } } }),
        json!({ "where": { "or": [dibao()] } }),
        json!({ "where": null, "among": ["331122101348000001"] }),
        json!({ "division": NEIGHBOUR }),
        json!({ "division": "331122101" }),
        json!({ "among": ["331122101348000001", "331122101348000002"] }),
        json!({ "among": [VILLAGE] }),
    ] {
        let mut variables = with(other.clone());
        variables["after"] = after.clone();
        let found = seen(&world, &officer, SCAN, variables).await;
        assert_eq!(found.code(), "VALIDATION_FAILED", "{other}: {}", found.answer);
        assert!(found.calls.is_empty(), "{other}");
    }
    // Nor of another caller, though that one may scan the same.
    let mut other = officer.clone();
    other.principal.as_mut().unwrap().id = "town-officer-2".to_owned();
    let mut elsewhere = officer.clone();
    elsewhere.principal.as_mut().unwrap().issuer = "another".to_owned();
    for caller in [other, elsewhere, supervisor()] {
        let found = seen(&world, &caller, SCAN, with(json!({ "after": after }))).await;
        assert_eq!(found.code(), "VALIDATION_FAILED", "{}", found.answer);
        assert!(found.calls.is_empty());
    }
    // A scan's is none of the plain listing's, and the other way round.
    let plain = "query($division: ID!, $after: String) { households(division: $division, first: 2, after: $after) {
        nodes { id } pageInfo { endCursor } } }";
    let of_plain = ask(&world.gateway, &officer, plain, json!({ "division": VILLAGE })).await;
    let of_plain = of_plain["data"]["households"]["pageInfo"]["endCursor"].clone();
    assert!(of_plain.is_string());
    let found = seen(&world, &officer, SCAN, with(json!({ "after": of_plain }))).await;
    assert_eq!(found.code(), "VALIDATION_FAILED", "{}", found.answer);
    let found = seen(&world, &officer, plain, json!({ "division": VILLAGE, "after": after })).await;
    assert_eq!(found.code(), "VALIDATION_FAILED", "{}", found.answer);
}
