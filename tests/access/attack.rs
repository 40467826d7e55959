//! Attacks through the front door: what may not be learnt, and what may not be made too expensive.

use std::time::{Duration, Instant};

use departments::{Fault, Options};
use huxiang::answer::GraphqlRequest;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::served::Served;
use crate::support::{HOUSEHOLD, World, ask, caller, document, supervisor, world, world_edited};

/// Of another town and county than the callers here have to do with.
const UNRELATED: &str = "331122105221000001";

fn cadre() -> Identity {
    let mut cadre = caller("cadre", json!({}));
    cadre.purpose = Some("help".to_owned());
    cadre
}

fn town_officer() -> Identity {
    let mut officer = caller("town-officer", json!({"divisions": ["331122101"]}));
    officer.purpose = Some("duty".to_owned());
    officer
}

/// The whole answer, and what each department was asked how often.
async fn seen(world: &World, identity: &Identity, query: &str, id: &str) -> (String, Vec<(String, u64)>) {
    world.departments.clear_logs();
    let request = GraphqlRequest {
        query: Some(query.to_owned()),
        variables: json!({"id": id}).as_object().unwrap().clone(),
        ..GraphqlRequest::default()
    };
    let answer = world.gateway.answer(identity.clone(), request, "same".to_owned(), None).await;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    (
        body,
        world
            .departments
            .calls()
            .into_iter()
            .filter(|(_, calls)| *calls > 0)
            .map(|(s, n)| (s.to_string(), n))
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_registered_cannot_be_found_out_by_id_number_or_code() {
    let world = world().await;
    let other = world.departments.world().household(UNRELATED).unwrap();
    let found = "query($id: ID!) { household(id: $id) { registry { agriCode } identity { members { idNumber } } } }";
    let answer = ask(&world.gateway, &supervisor(), found, json!({"id": other.id})).await;
    let code = answer["data"]["household"]["registry"]["agriCode"].as_str().unwrap().to_owned();
    let person = answer["data"]["household"]["identity"]["members"][0]["idNumber"].as_str().unwrap().to_owned();
    let person_query = "query($id: IdNumber!) { person(idNumber: $id) { name relation } }";
    let code_query = "query($id: String!) { householdByCode(code: $id) { id registry { headName } } }";
    // With every department well, and with the one that decides the cadre's relation silent.
    for fault in [Fault::None, Fault::Nonsense] {
        world.departments.set_fault("help", fault);
        for identity in [cadre(), town_officer()] {
            for (query, there, absent) in
                [(person_query, &person, "331122199001011230"), (code_query, &code, "ZN33112299999900000199")]
            {
                let unrelated = seen(&world, &identity, query, there).await;
                let absent = seen(&world, &identity, query, absent).await;
                assert!(unrelated.0.contains("null"), "{unrelated:?}");
                assert_eq!(unrelated, absent, "{query}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_cannot_multiply_an_answer_beyond_its_limit() {
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world = world_edited(options, |snapshot| snapshot.config.limits.answer_bytes_max = 400_000).await;
    let served = Served::start(world).await;
    let whole = format!("{{ household(id: \"{HOUSEHOLD}\") {{ items {{ no state }} }} }}");
    let (_, answer) = served.ask(&whole, json!({})).await;
    assert_eq!(answer["data"]["household"]["items"].as_array().unwrap().len(), 64);
    let aliases: String =
        (0..190).map(|n| format!("a{n}: items(no: [1, 2, 3, 4]) {{ no state zh message }} ")).collect();
    let of_many = format!("{{ households(division: \"331122101348\", first: 20) {{ nodes {{ {aliases} }} }} }}");
    let began = Instant::now();
    let (_, answer) = served.ask(&of_many, json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{:.300}", answer.to_string());
    assert_eq!(answer.get("data"), None);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn households_in_members_in_households_cannot_multiply_without_end() {
    let world = world().await;
    let mut inner = "id".to_owned();
    for _ in 0..4 {
        inner = format!("identity {{ members {{ household {{ {inner} }} }} }}");
    }
    let query = format!("{{ households(division: \"331122\", first: 100) {{ nodes {{ {inner} }} }} }}");
    let began = Instant::now();
    let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{:.300}", answer.to_string());
    assert_eq!(answer.get("data").unwrap_or(&Value::Null), &Value::Null);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_cannot_be_multiplied() {
    let served = Served::start(world().await).await;
    let whole = "types { name fields { name args { name type { name } } type { name ofType { name } } } }";
    for query in [
        format!("{{ {} }}", (0..150).map(|n| format!("a{n}: __schema {{ {whole} }} ")).collect::<String>()),
        format!(
            "{{ __schema {{ {} }} }}",
            (0..150).map(|n| whole.replacen("types", &format!("a{n}: types"), 1)).collect::<String>()
        ),
    ] {
        let (_, answer) = served.ask(&query, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{:.300}", answer.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_choose_freely_is_bounded_before_it_is_asked_or_recorded() {
    let world = world().await;
    world.departments.clear_logs();
    let long = "9".repeat(10_000);
    let query = "query($id: ID!) { household(id: $id) { id } }";
    let answer = ask(&world.gateway, &supervisor(), query, json!({"id": long})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{answer}");
    let query = format!("{{ householdByCode(code: \"{long}\") {{ id }} }}");
    let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{answer}");
    assert!(world.departments.calls().values().all(|calls| *calls == 0));
    let named = format!("query {}($id: ID!) {{ household(id: $id) {{ id }} }}", "q".repeat(10_000));
    ask(&world.gateway, &supervisor(), &named, json!({"id": HOUSEHOLD})).await;
    let mut inner = "id".to_owned();
    for _ in 0..3 {
        inner = format!("identity {{ members {{ household {{ {inner} }} }} }}");
    }
    let rounds = format!("{{ household(id: \"{HOUSEHOLD}\") {{ {inner} }} }}");
    ask(&world.gateway, &supervisor(), &rounds, json!({})).await;
    let store =
        sqlx::SqlitePool::connect(&format!("sqlite:{}", world.folder.join("audit.sqlite").display())).await.unwrap();
    let longest: i64 = sqlx::query_scalar("SELECT max(length(record)) FROM audit").fetch_one(&store).await.unwrap();
    assert!(longest < 10_000, "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_id_number_is_told_neither_elsewhere_nor_by_what_stands_beside_it() {
    let world = world().await;
    let portrait = document::portrait(&world.gateway.snapshot().contract);
    let people = "{ household(id: \"331122101348000001\") { identity { members { idNumber birthDate } } } }";
    let mut grid_worker = caller("grid-worker", json!({"grids": ["331122101348-G1"]}));
    grid_worker.purpose = Some("grid-watch".to_owned());
    let mut cadre = cadre();
    cadre.principal.as_mut().unwrap().id = "GB331122101348001".to_owned();
    let whole = ask(&world.gateway, &supervisor(), people, json!({})).await;
    for identity in [cadre, town_officer(), grid_worker] {
        let role = identity.roles()[0].to_owned();
        let answer = ask(&world.gateway, &identity, &portrait, json!({"id": HOUSEHOLD})).await;
        assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD, "{role}");
        let text = answer.to_string();
        let members =
            ask(&world.gateway, &identity, people, json!({})).await["data"]["household"]["identity"]["members"].clone();
        for (at, person) in whole["data"]["household"]["identity"]["members"].as_array().unwrap().iter().enumerate() {
            let number = person["idNumber"].as_str().unwrap();
            assert!(!text.contains(number), "{role} is told a whole number");
            let shown = &members[at];
            let born = shown["birthDate"].as_str().unwrap_or_default();
            assert!(shown["idNumber"].is_null() || born.len() == 4, "{role}: {shown}");
        }
    }
}
