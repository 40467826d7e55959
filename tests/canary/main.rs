//! No copy: whatever departments said, and whoever was asked about, is in no file, log or store of the gateway, however it
//! ended and whichever way it was asked: by POST, GET and batch, by trusted documents, through a portal's login, at the
//! admin API, and by the commands that read the stores. Each of these is counted when it is seen to have worked.
//! `ROUNDS=20 cargo test --test canary` kills it more often; `SEED=…` kills it at the same moments again.
//!
//! Recognised are words of three Han characters or more, numbers and codes of eleven digits or more, every id that was
//! asked about, and tokens, codes and verifiers that callers showed; in UTF-8, GBK, percent encoding and JSON escapes. Not recognised are amounts, dates, and names and other
//! words of two characters: they stand by chance in any text.
//!
//! A crate of its own: it is run alone, with rounds and a seed.
#![cfg(feature = "demo")]

mod gateway;
#[path = "../identity_support/mod.rs"]
mod identity_support;
mod marks;
mod portal;
#[path = "../serve/support/socket.rs"]
mod socket;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/temporary.rs"]
mod temporary;
mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use departments::{Fault, Options, Running};
use gateway::Serving;
use marks::Marks;
use portal::Portal;
use serde_json::{Value, json};

/// One with everything, others of the same village, one of another county, and none at all.
const HOUSEHOLDS: [&str; 5] =
    [support::HOUSEHOLD, "331122101348000003", "331122101348000010", "330109102001000001", "331122101348000099"];

/// Departments that answer wrongly in turn: what they said is not to be repeated in an error or a log either.
const ILL: [Fault; 3] = [Fault::Truncated, Fault::Nonsense, Fault::Http500];

fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.subsec_nanos().into());
    given.unwrap_or_else(now)
}

/// splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_household_is_left_in_any_file_log_or_store_after_kills_at_random() {
    let options = Options { latency: false, rates: false, keep_answers: true, ..Options::default() };
    let departments = departments::start(options).await.expect("the departments start");
    let portal = Portal::start().await;
    let serving = Serving::prepare(departments.variables(), &portal).await;
    let document = ways::trust(&serving);
    let mut outside = Vec::new();
    let mut moments = seed();
    println!("SEED={moments}");
    for round in 0..rounds() {
        for source in departments.sources().iter().filter(|source| *source != "housing") {
            departments.set_fault(source, Fault::None);
        }
        let process = serving.start(round);
        everything(&serving, &departments, &mut outside).await;
        ways::through_the_portal(&serving, &departments, &portal).await;
        ways::by_trusted_documents(&serving, &document, &departments).await;
        ways::commands(&serving, &departments).await;
        misbehaving(&serving, &departments).await;
        serving.read_metrics().await;
        // The last of it is cut short: a load in flight, and a kill that nobody announced.
        let load = tokio::spawn(serving.load(support::HOUSEHOLD));
        tokio::time::sleep(Duration::from_millis(next(&mut moments) % 400)).await;
        outside.extend(serving.files_written_elsewhere(&process));
        process.kill();
        load.abort();
    }
    let steps = serving.steps();
    println!("{steps:#?}");
    for step in ways::STEPS {
        assert!(steps.get(step).is_some_and(|times| *times >= rounds()), "{step}: {steps:?}");
    }
    assert!(outside.is_empty(), "the gateway writes outside of its folder: {outside:?}");

    let marks = Marks::of(&departments, &HOUSEHOLDS, serving.shown(), &serving.inputs(&departments)).await;
    let called: Vec<String> = departments.calls().into_keys().collect();
    for source in
        called.iter().map(String::as_str).chain(["housing", "shown"]).filter(|source| !source.starts_with("banks/"))
    {
        assert!(marks.count(source) > 0, "nothing that {source} said would be recognised");
    }
    let (files, found) = marks.search(&serving.root());
    assert!(files.iter().any(|file| file.contains("audit")), "the audit store was searched: {files:?}");
    assert!(files.iter().any(|file| file.ends_with(".log")), "the logs were searched: {files:?}");
    assert!(files.iter().any(|file| file.ends_with(".out")), "what commands print was searched: {files:?}");
    assert!(files.iter().any(|file| file.ends_with(".spans")), "traces were searched: {files:?}");
    assert!(files.iter().any(|file| file.ends_with(".prom")), "metrics were searched: {files:?}");
    assert!(files.iter().any(|file| file.contains("approvals")), "approvals and emergencies were searched: {files:?}");
    assert!(found.is_empty(), "{} of {} marks found:\n{}", found.len(), marks.len(), found.join("\n"));

    // The search itself: a word that leaks is found, in whatever encoding.
    for leaked in marks.as_they_would_leak() {
        std::fs::write(serving.root().join("leaked"), &leaked).expect("a file");
        assert_eq!(marks.search(&serving.root()).1.len(), 1, "{}", String::from_utf8_lossy(&leaked));
    }
}

/// Every role asks for everything of every household, in every way there is, of well and of ill departments.
async fn everything(serving: &Serving, departments: &Running, outside: &mut Vec<String>) {
    let whole = support::document::portrait(&serving.snapshot().contract);
    let mut answered = BTreeMap::new();
    for caller in serving.callers(departments) {
        for household in HOUSEHOLDS {
            let (status, answer) = serving.ask(&caller, &whole, &json!({ "id": household })).await;
            *answered.entry(caller.role).or_insert(0) += usize::from(!answer["data"]["household"].is_null());
            assert_eq!(status, 200, "{answer:.300}");
        }
        serving.ask(&caller, &format!("{{ household(id: \"{}\") {{ id nothing }} }}", HOUSEHOLDS[0]), &json!({})).await;
        serving
            .ask(&caller, "query ($id: ID!) { household(id: $id) { id } }", &json!({"id": {"a": HOUSEHOLDS[0]}}))
            .await;
        let listing =
            "{ households(division: \"331122101348\", first: 5) { nodes { id registry { headName phone } } } }";
        serving.ask(&caller, listing, &json!({})).await;
        for member in serving.members(departments) {
            let person =
                "query ($id: IdNumber!) { person(idNumber: $id) { name idNumber birthDate household { id } } }";
            serving.ask(&caller, person, &json!({ "id": member })).await;
            let broken = format!("{{ person(idNumber: \"{member}\") {{ name ");
            serving.ask(&caller, &broken, &json!({})).await;
        }
        serving.get_in_the_url(&caller, HOUSEHOLDS[0]).await;
    }
    assert!(answered["supervisor"] >= 3 && answered["household"] >= 1, "{answered:?}");
    assert!(answered["duty-officer"] >= 3, "{answered:?}");
    administered(serving, departments, &whole).await;
    outside.extend(serving.written_elsewhere_now());
}

/// Departments that answer nonsense.
async fn misbehaving(serving: &Serving, departments: &Running) {
    let whole = support::document::portrait(&serving.snapshot().contract);
    let supervisor = serving.callers(departments).into_iter().find(|caller| caller.role == "supervisor");
    let supervisor = supervisor.expect("a supervisor");
    for fault in ILL {
        for source in departments.sources().iter().filter(|source| *source != "housing" && *source != "agriculture") {
            departments.set_fault(source, fault);
        }
        let (_, answer): (u16, Value) = serving.ask(&supervisor, &whole, &json!({ "id": HOUSEHOLDS[0] })).await;
        assert!(answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{answer:.300}");
        serving.done("a department that answers wrongly");
    }
}

/// An approval from its request to its use, an emergency's review, an auditor's search, a revocation, a batch: all of one
/// household.
async fn administered(serving: &Serving, departments: &Running, whole: &str) {
    let callers = serving.callers(departments);
    let caller = |role: &str| callers.iter().find(|caller| caller.role == role).expect("a caller of that role");
    let household = json!({ "id": HOUSEHOLDS[0] });
    let request = "mutation($id: String!) { requestApproval(approval: {role: \"verifier\", purpose: \"recognition\", \
                   case: \"HD-2026-0001\", entity: \"Household\", key: $id, reason: \"to be compared\"}) { id } }";
    let asked = serving.admin(caller("verifier"), request, &household).await;
    let approval = asked["data"]["requestApproval"]["id"].clone();
    assert!(approval.is_string(), "{asked}");
    let decide = "mutation($id: String!, $key: String!) { decideApproval(id: $id, key: $key, give: true) { state } }";
    let given = json!({ "id": approval, "key": HOUSEHOLDS[0] });
    let given = serving.admin(caller("supervisor"), decide, &given).await;
    assert_eq!(given["data"]["decideApproval"]["state"], "GIVEN", "{given}");
    let (_, answer) = serving.ask_with(caller("verifier"), &approval, whole, &household).await;
    assert_eq!(answer["extensions"]["approval"]["id"], approval, "{answer:.300}");
    serving.done("an approval, asked for, given and used");
    let (_, again) = serving.ask_with(caller("verifier"), &approval, whole, &household).await;
    assert!(again.get("data").is_none(), "it is used up: {again:.300}");

    let listed = serving.admin(caller("security-officer"), "{ emergencies { id reason } }", &json!({})).await;
    assert!(listed["data"]["emergencies"].as_array().is_some_and(|all| !all.is_empty()), "{listed}");
    serving.done("a list of emergencies");
    let search = format!(
        "{{ auditRecords(filter: {{ subject: {{ entity: \"Household\", key: \"{}\" }} }}) {{ records {{ seq }} }} }}",
        HOUSEHOLDS[0]
    );
    let found = serving.admin(caller("auditor"), &search, &json!({})).await;
    assert!(found["data"]["auditRecords"]["records"].as_array().is_some_and(|all| !all.is_empty()), "{found}");
    serving.done("an auditor's search");
    let issuer = &serving.snapshot().config.issuers[0].issuer;
    let revoke = "mutation($issuer: String!, $who: String) { revokeToken(issuer: $issuer, principal: $who, \
                  reason: \"left the office\") { kind } }";
    let revoked = json!({ "issuer": issuer, "who": "t-9" });
    let revoked = serving.admin(caller("security-officer"), revoke, &revoked).await;
    assert!(revoked.get("errors").is_none(), "{revoked}");
    serving.done("a revocation");
    let (_, both) = serving.batch(caller("supervisor"), whole, [&household, &json!({ "id": HOUSEHOLDS[1] })]).await;
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both:.300}");
    assert!(both.as_array().into_iter().flatten().all(|one| one["data"]["household"]["id"].is_string()), "{both:.300}");
    serving.done("a batch");
    let query = "subscription($id: ID!) { households(division: \"331122101348\", among: [$id], where: { registry: { headName: \
                 { exists: true } } }) { progress { done } page { nodes { id registry { headName phone } } } } }";
    let streamed = serving.stream(caller("supervisor"), query, &household).await;
    assert!(streamed.contains(HOUSEHOLDS[0]) && streamed.ends_with("event: complete\ndata:\n\n"), "{streamed:.300}");
    serving.done("a stream");
    let frames = serving.socket(caller("supervisor"), query, &household).await;
    assert!(frames.len() == 1 && frames[0].to_string().contains(HOUSEHOLDS[0]), "{frames:?}");
    serving.done("a stream over a WebSocket");
    // Whatever is wrong with a message, its values are in no log: a text that is an id, and an id that is one.
    let (code, reason) = serving.closed_socket(caller("supervisor"), &household).await;
    assert!(code == 4409 && !reason.contains(HOUSEHOLDS[0]), "{code} {reason}");
    serving.done("a WebSocket that is closed for what came");
}
