//! Who looked at my data: each sees what concerns it, without what another alone is concerned by, and nobody else sees
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use departments::Options;
use huxiang::base::clock::Clock;
use huxiang::identify::Identity;
use huxiang::model::config::watch::AccessLogConfig;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{HOUSEHOLD, World, ask, caller, config, records, supervisor, world, world_at, world_edited};

const LOG: &str = "query Log($id: ID!, $from: Date, $to: Date, $first: Int) { household(id: $id) { \
                   accessLog(from: $from, to: $to, first: $first) { at roles organisation principal purpose case \
                   items { no name title masked } } } }";

/// The head of the household, by its token.
fn household(world: &World) -> Identity {
    let head = world.departments.world().household(HOUSEHOLD).unwrap().head().id_number.clone();
    caller("household", json!({ "household": HOUSEHOLD, "person": head }))
}

async fn log(world: &World, who: &Identity, variables: Value) -> Value {
    let mut given = json!({ "id": HOUSEHOLD });
    given.as_object_mut().unwrap().extend(variables.as_object().unwrap().clone());
    ask(&world.gateway, who, LOG, given).await
}

async fn entries(world: &World, who: &Identity) -> Vec<Value> {
    let answer = log(world, who, json!({})).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"]["household"]["accessLog"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

async fn look(world: &World, who: &Identity, fields: &str) {
    let query = format!("query($id: ID!) {{ household(id: $id) {{ {fields} }} }}");
    ask(&world.gateway, who, &query, json!({ "id": HOUSEHOLD })).await;
}

fn officer() -> Identity {
    let mut identity = caller("department-officer", json!({ "department": "water", "divisions": ["331122"] }));
    identity.purpose = Some("duty".to_owned());
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_sees_when_who_and_why_and_which_items() {
    let world = world().await;
    assert_eq!(entries(&world, &household(&world)).await, Vec::<Value>::new());
    look(&world, &supervisor(), "assistance { dibaoStatus } registry { phone }").await;
    look(&world, &officer(), "water { safe }").await;
    let entries = entries(&world, &household(&world)).await;
    assert_eq!(entries.len(), 3, "the two looks, and its own look at the log: {entries:?}");
    let (water, supervision, own) = (&entries[0], &entries[1], &entries[2]);
    assert_eq!(
        (&water["roles"], &water["organisation"], &water["purpose"], &water["case"]),
        (&json!(["部门干部"]), &json!("水利局"), &json!("duty"), &Value::Null)
    );
    assert_eq!(water["items"].as_array().unwrap().len(), 1, "{water}");
    assert_eq!((&water["items"][0]["masked"], &water["items"][0]["no"]), (&json!(false), &water["items"][0]["name"]));
    assert_eq!((&supervision["roles"], &supervision["case"]), (&json!(["督查干部"]), &json!("JD-2026-0001")));
    let items = supervision["items"].as_array().unwrap();
    let names: Vec<&str> = items.iter().filter_map(|item| item["no"].as_str()).collect();
    assert_eq!(names, ["4", "16"]);
    let dibao = items.iter().find(|item| item["no"] == "16").unwrap_or_else(|| panic!("{supervision}"));
    assert_eq!((&dibao["title"], &dibao["masked"]), (&json!("低保状态"), &json!(false)));
    assert_eq!(supervision["principal"], Value::Null, "officers' ids are not shown");
    assert_eq!((&own["roles"], &own["items"][0]["name"]), (&json!(["农户"]), &json!("accessLog")));
    let recorded = records(&world.folder).await;
    let time = recorded[1]["time"].as_str().unwrap();
    assert_eq!(water["at"], json!(format!("{}+08:00", &time[..19])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_another_households_is_not_in_it() {
    let world = world().await;
    look(&world, &caller("household", json!({ "household": "331122101348000002" })), "registry { phone }").await;
    look(&world, &caller("enterprise", json!({})), "registry { phone }").await;
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    ask(&world.gateway, &supervisor(), query, json!({ "id": "331122101348000002" })).await;
    assert_eq!(entries(&world, &household(&world)).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_who_looked() {
    let world = world().await;
    look(&world, &supervisor(), "registry { phone }").await;
    let mut help = caller("cadre", json!({}));
    help.purpose = Some("help".to_owned());
    let roles = ["town-officer", "verifier", "auditor", "operator", "security-officer", "public"];
    let others =
        roles.into_iter().map(|role| caller(role, json!({ "divisions": ["331122"], "department": "agriculture" })));
    for who in
        others.chain([supervisor(), officer(), help, caller("household", json!({ "household": "331122101348000002" }))])
    {
        let answer = log(&world, &who, json!({})).await;
        assert!(answer.pointer("/data/household/accessLog").is_none_or(Value::is_null), "{who:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_cut_by_day_and_number_and_says_so_only_of_what_it_shows() {
    let world = world().await;
    for _ in 0..4 {
        look(&world, &officer(), "water { safe }").await;
    }
    let count = |answer: &Value| answer["data"]["household"]["accessLog"].as_array().map(Vec::len);
    let who = household(&world);
    assert_eq!(count(&log(&world, &who, json!({ "first": 2 })).await), Some(2));
    let today = records(&world.folder).await[0]["time"].as_str().unwrap()[..10].to_owned();
    assert_eq!(count(&log(&world, &who, json!({ "from": today, "to": today, "first": 4 })).await), Some(4));
    assert_eq!(count(&log(&world, &who, json!({ "to": "2020-12-31" })).await), Some(0));
    assert_eq!(count(&log(&world, &who, json!({ "from": "2999" })).await), Some(0));
    // Two periods in one request: each is answered whole.
    let query = "query($id: ID!, $today: Date) { household(id: $id) { old: accessLog(to: \"2020\") { at } \
                 now: accessLog(from: $today) { at } } }";
    let answer = ask(&world.gateway, &who, query, json!({ "id": HOUSEHOLD, "today": today })).await;
    let household = &answer["data"]["household"];
    assert_eq!(household["old"], json!([]), "{answer}");
    assert_eq!(household["now"].as_array().map(Vec::len), Some(8), "{answer}");
}

async fn with(edit: impl FnOnce(&mut AccessLogConfig)) -> World {
    let options = Options { latency: false, ..Options::default() };
    world_edited(options, |snapshot| edit(&mut snapshot.config.access_log)).await
}

/// A world whose clock is as many hours ahead as is set; with a change to what the repository's file says.
async fn hours_from_now(from: &str, to: &str) -> (World, Arc<AtomicI64>) {
    let hours = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&hours);
    let clock = Clock::new(move || Timestamp::now() + SignedDuration::from_hours(told.load(Ordering::SeqCst)));
    let file = config("gateway.yaml");
    assert!(file.contains(from), "{from}");
    (world_at(clock, &[("gateway.yaml", file.replace(from, to))]).await, hours)
}

fn verifier() -> Identity {
    let mut identity = caller("verifier", json!({ "divisions": ["331122"] }));
    (identity.purpose, identity.case) = (Some("recognition".to_owned()), Some("HD-2026-0001".to_owned()));
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_looks_leave_no_trace_until_their_days_have_passed() {
    // As configured: a verifier's look appears after 30 days.
    let (world, hours) = hours_from_now("", "").await;
    look(&world, &verifier(), "assistance { dibaoStatus }").await;
    let recorded = &records(&world.folder).await[0];
    assert_eq!((&recorded["outcome"], &recorded["access"][0]["read"]), (&json!("ANSWERED"), &json!(["16"])));
    let who = household(&world);
    let of_verifiers = async || {
        let mut found = entries(&world, &who).await;
        found.retain(|entry| entry["roles"] != json!(["农户"]));
        found
    };
    assert_eq!(entries(&world, &who).await, Vec::<Value>::new());
    hours.store(30 * 24 - 1, Ordering::SeqCst);
    assert_eq!(of_verifiers().await, Vec::<Value>::new());
    hours.store(30 * 24 + 1, Ordering::SeqCst);
    let found = of_verifiers().await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["purpose"], &found[0]["items"][0]["no"]), (&json!("recognition"), &json!("16")), "{found:?}");
    // Another purpose or role is not hidden.
    hours.store(0, Ordering::SeqCst);
    look(&world, &officer(), "water { safe }").await;
    assert_eq!(of_verifiers().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_appear_late_where_that_is_configured_and_with_their_ids_where_that_is() {
    let (world, hours) = hours_from_now("delay_hours: 0", "delay_hours: 48").await;
    look(&world, &officer(), "water { safe }").await;
    assert_eq!(entries(&world, &household(&world)).await, Vec::<Value>::new());
    hours.store(47, Ordering::SeqCst);
    assert_eq!(entries(&world, &household(&world)).await, Vec::<Value>::new());
    hours.store(49, Ordering::SeqCst);
    let found = entries(&world, &household(&world)).await;
    assert_eq!(found.last().map(|look| &look["purpose"]), Some(&json!("duty")), "{found:?}");
    let world = with(|config| config.show_principal = true).await;
    look(&world, &officer(), "water { safe }").await;
    assert_eq!(entries(&world, &household(&world)).await[0]["principal"], "department-officer-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_count_from_here_hides_no_look_and_is_not_shown() {
    let world = with(|config| {
        let hidden = config.hidden.first_mut().unwrap();
        (hidden.roles, hidden.purposes, hidden.until_days) = (vec!["household".to_owned()], Vec::new(), None);
    })
    .await;
    let mut both = officer();
    both.principal.as_mut().unwrap().roles.push("household".to_owned());
    look(&world, &both, "water { safe }").await;
    let entries = entries(&world, &household(&world)).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["roles"], json!(["部门干部"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_one_member_stands_with_that_member() {
    let world = world().await;
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let ids: Vec<String> = known.members.iter().map(|member| member.id_number.clone()).take(2).collect();
    let query = "query($id: IdNumber!) { person(idNumber: $id) { name verified } }";
    ask(&world.gateway, &supervisor(), query, json!({ "id": ids[0] })).await;
    let log = "query($id: IdNumber!) { person(idNumber: $id) { accessLog { roles items { name } } } }";
    let mut who = caller("household", json!({ "household": HOUSEHOLD, "person": ids[0] }));
    let answer = ask(&world.gateway, &who, log, json!({ "id": ids[0] })).await;
    let looks = answer["data"]["person"]["accessLog"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(looks.len(), 1, "{answer}");
    assert_eq!(looks[0]["items"], json!([{ "name": "name" }, { "name": "verified" }]));
    // Another member of the same household sees nothing of it: neither at the person nor at the household.
    if let Some(principal) = &mut who.principal {
        principal.claims.insert("person".to_owned(), json!(ids[1]));
    }
    let answer = ask(&world.gateway, &who, log, json!({ "id": ids[0] })).await;
    assert!(answer["data"]["person"]["accessLog"].is_null(), "{answer}");
    let of_household = entries(&world, &who).await;
    let names: Vec<&Value> = of_household.iter().flat_map(|entry| entry["items"].as_array().unwrap()).collect();
    assert!(names.iter().all(|item| item["name"] != "verified"), "{of_household:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_of_members_in_a_list_stands_with_each_of_them_and_not_with_the_household() {
    let world = world().await;
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let ids: Vec<String> = known.members.iter().map(|member| member.id_number.clone()).collect();
    look(&world, &supervisor(), "health { majorIllnesses { code } } water { safe }").await;
    let of_household = entries(&world, &household(&world)).await;
    let names: Vec<&Value> = of_household[0]["items"].as_array().unwrap().iter().map(|item| &item["title"]).collect();
    assert_eq!(names.len(), 1, "the water is the household's, the illnesses are each member's: {of_household:?}");
    let mut who = household(&world);
    let log = "query($id: IdNumber!) { person(idNumber: $id) { accessLog { purpose items { no title } } } }";
    for id in &ids {
        if let Some(principal) = &mut who.principal {
            principal.claims.insert("person".to_owned(), json!(id));
        }
        let answer = ask(&world.gateway, &who, log, json!({ "id": id })).await;
        let looks = &answer["data"]["person"]["accessLog"];
        if looks.is_null() {
            // No adult member with an own relation: moved away, or a child's guardian sees it.
            continue;
        }
        let contract = &world.gateway.snapshot().contract;
        let slot = contract.slot_at(contract.entity_named("Household").unwrap(), "health.majorIllnesses").unwrap();
        let item = contract.item(contract.slot(slot).item.unwrap());
        assert_eq!(looks[0]["purpose"], "supervision", "{answer}");
        assert_eq!(looks[0]["items"], json!([{ "no": *item.no, "title": *item.zh }]), "{answer}");
    }
    // The head is an adult of the household.
    let head = known.head().id_number.clone();
    who.principal.as_mut().unwrap().claims.insert("person".to_owned(), json!(head));
    let answer = ask(&world.gateway, &who, log, json!({ "id": head })).await;
    assert!(answer["data"]["person"]["accessLog"].is_array(), "{answer}");
    // A look at nothing else than the members' illnesses is no look at the household.
    let before = entries(&world, &household(&world)).await.len();
    look(&world, &supervisor(), "health { majorIllnesses { code } }").await;
    assert_eq!(entries(&world, &household(&world)).await.len(), before + 1, "only the look at the log itself");
}
