//! One durable record before each answer, or no answer; and no household's value in records or logs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use departments::{Fault, Options};
use huxiang::answer::GraphqlRequest;
use huxiang::audit::{SubjectKey, verify};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use tracing_subscriber::fmt::MakeWriter;

use crate::alone;
use crate::support::served::Served;
use crate::support::{HOUSEHOLD, World, admin, ask, caller, document, edit_limits, supervisor, world, world_edited};

/// The key that the tests' gateways stand on.
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The records of a store, read beside the gateway.
async fn records(folder: &Path) -> Vec<Value> {
    let options = SqliteConnectOptions::new().filename(folder.join("audit.sqlite")).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get::<&str, _>("record")).unwrap()).collect()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_record_and_it_says_who_saw_what_of_whom() {
    let world = world().await;
    let query = "query Look($id: ID!) { household(id: $id) { assistance { dibaoStatus } registry { phone } \
                 identity { members { idNumber lifeStatus } } } }";
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    assert!(answer.get("errors").is_none());
    let records = records(&world.folder).await;
    assert_eq!(records.len(), 1, "one record, and it is there when the answer is");
    let record = &records[0];
    assert_eq!(record["who"], json!({ "id": "supervisor-1", "issuer": "test", "divisions": ["331122"] }));
    assert_eq!((&record["roles"], &record["networks"]), (&json!(["supervisor"]), &json!(["gov"])));
    assert_eq!((&record["purpose"], &record["case"]), (&json!("supervision"), &json!("JD-2026-0001")));
    assert_eq!((&record["operation"], &record["outcome"]), (&json!("Look"), &json!("ANSWERED")));
    assert_eq!(record["request_id"], "test-request");
    assert_eq!(record["document"].as_str().map(str::len), Some(64));
    let of = |entity: &str| record["access"].as_array().unwrap().iter().find(|access| access["entity"] == entity);
    let household = of("Household").unwrap();
    let subjects = SubjectKey::new(KEY.into());
    assert_eq!(household["subjects"], json!([subjects.subject("Household", HOUSEHOLD)]));
    assert_eq!(household["relations"], json!(["jurisdiction"]));
    assert_eq!(texts(&household["read"]), BTreeSet::from(["4", "14", "16"]));
    assert!(texts(&household["used"]).contains("registry.personIds"), "{household}");
    let people = of("Person").unwrap();
    let members = answer["data"]["household"]["identity"]["members"].as_array().unwrap();
    let expected: BTreeSet<String> = members
        .iter()
        .map(|member| subjects.subject("Person", member["idNumber"].as_str().unwrap()).to_string())
        .collect();
    assert_eq!(texts(&people["subjects"]), expected.iter().map(String::as_str).collect());
    let called: BTreeSet<&str> =
        record["sources"].as_array().unwrap().iter().filter_map(|call| call["source"].as_str()).collect();
    assert_eq!(called, BTreeSet::from(["agriculture", "civil-affairs", "police"]));
    assert!(record["sources"].as_array().unwrap().iter().all(|call| call["outcomes"]["OK"] == call["calls"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_masks_failures_and_rejections_are_recorded_too() {
    let world = world().await;
    let query =
        "query($id: ID!) { household(id: $id) { registry { phone headName } assets { farmland } water { safe } } }";
    let mut grid = caller("grid-worker", json!({ "grids": [] }));
    grid.purpose = Some("grid-watch".to_owned());
    let own = document::portrait(&world.gateway.snapshot().contract);
    let household = world.departments.world().household(HOUSEHOLD).unwrap();
    let answer = ask(
        &world.gateway,
        &supervisor(),
        "query($id: ID!) { household(id: $id) { registry { grid } } }",
        json!({ "id": HOUSEHOLD }),
    )
    .await;
    let grid_number = answer["data"]["household"]["registry"]["grid"].clone();
    if let Some(principal) = &mut grid.principal {
        principal.claims.insert("grids".to_owned(), json!([grid_number]));
    }
    let masked = ask(&world.gateway, &grid, query, json!({ "id": HOUSEHOLD })).await;
    assert_ne!(masked["data"]["household"]["registry"]["headName"], json!(household.head().name));
    world.departments.stop("water");
    ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    ask(
        &world.gateway,
        &caller("household", json!({ "household": "331122101348000002" })),
        &own,
        json!({ "id": HOUSEHOLD }),
    )
    .await;
    ask(&world.gateway, &supervisor(), "{ nothing }", json!({})).await;
    let records = records(&world.folder).await;
    assert_eq!(records.len(), 5);
    let access = &records[1]["access"][0];
    assert_eq!(texts(&access["masked"]), BTreeSet::from(["3", "4"]), "{access}");
    assert!(texts(&access["refused"]).contains("45"), "{access}");
    assert_eq!((&records[1]["outcome"], &records[1]["errors"]), (&json!("PARTIAL"), &json!(["FORBIDDEN"])));
    let water = records[2]["sources"].as_array().unwrap().iter().find(|call| call["source"] == "water").unwrap();
    assert_eq!(water["outcomes"], json!({ "SOURCE_UNREACHABLE": 1 }));
    assert_eq!(records[2]["errors"], json!(["SOURCE_UNREACHABLE"]));
    let stranger = &records[3]["access"][0];
    assert_eq!((&stranger["relations"], &stranger["read"], &stranger["masked"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!((&records[4]["outcome"], &records[4]["access"]), (&json!("REJECTED"), &json!([])));
    let report = verify(&world.folder.join("audit.sqlite"), None, &mut |_| {}).await.unwrap();
    assert_eq!((report.records, &report.faults), (5, &vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_is_refused_or_finds_nobody_says_by_what_it_looked() {
    let world = world().await;
    let query = "query($c: String!) { householdByCode(code: $c) { registry { phone } } }";
    let code = &world.departments.world().household(HOUSEHOLD).unwrap().agri_code;
    let operator = caller("operator", json!({}));
    for (who, code) in [(&operator, &**code), (&operator, "NOBODY-1"), (&supervisor(), "NOBODY-1")] {
        let answer = ask(&world.gateway, who, query, json!({ "c": code })).await;
        assert_eq!(answer["data"]["householdByCode"], Value::Null, "{answer}");
    }
    // Written into the document it is the same, and several are each there.
    let both = "{ a: householdByCode(code: \"NOBODY-1\") { registry { phone } } \
                b: householdByCode(code: \"NOBODY-2\") { registry { phone } } }";
    ask(&world.gateway, &operator, both, json!({})).await;
    let found = ask(&world.gateway, &supervisor(), query, json!({ "c": code })).await;
    assert!(found["data"]["householdByCode"]["registry"]["phone"].is_string(), "{found}");
    let records = records(&world.folder).await;
    let subjects = SubjectKey::new(KEY.into());
    let by = |code: &str| subjects.subject("Household?code", code);
    for (record, code) in records.iter().zip([code, "NOBODY-1", "NOBODY-1"]) {
        let access = record["access"].as_array().unwrap();
        assert_eq!((access.len(), &access[0]["subjects"]), (1, &json!([by(code)])), "{record}");
        assert_eq!((&access[0]["entity"], &access[0]["relations"]), (&json!("Household"), &json!([])), "{record}");
        assert!(texts(&access[0]["refused"]).contains("4") && access[0]["read"] == json!([]), "{record}");
        assert!(!record.to_string().contains(code), "{record}");
    }
    let all: BTreeSet<&str> =
        records[3]["access"].as_array().unwrap().iter().flat_map(|access| texts(&access["subjects"])).collect();
    assert_eq!(all, BTreeSet::from([&*by("NOBODY-1").to_string(), &*by("NOBODY-2").to_string()]));
    let looked = &records[4]["access"];
    assert_eq!(looked[0]["subjects"], json!([subjects.subject("Household", HOUSEHOLD)]), "{looked}");
    // The auditor finds them by the same.
    let query =
        "{ auditRecords(filter: { subject: { entity: \"Household?code\", key: \"NOBODY-1\" } }) { records { seq } } }";
    let answer = admin(&world.gateway, &caller("auditor", json!({})), query, json!({})).await;
    assert_eq!(answer["data"]["auditRecords"]["records"].as_array().map(Vec::len), Some(3), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_refused_wholly_says_of_whom_it_was() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { registry { phone } water { safe } } }";
    let who = caller("operator", json!({}));
    let refused = ask(&world.gateway, &who, query, json!({ "id": HOUSEHOLD })).await;
    let nobody = "331122101348999999";
    assert_eq!(
        ask(&world.gateway, &who, query, json!({ "id": nobody })).await,
        refused,
        "present and absent are alike"
    );
    let both = "query($a: ID!, $b: ID!) { a: household(id: $a) { registry { phone } } \
                b: household(id: $b) { registry { phone } } }";
    ask(&world.gateway, &who, both, json!({ "a": HOUSEHOLD, "b": nobody })).await;
    let records = records(&world.folder).await;
    let subjects = SubjectKey::new(KEY.into());
    let of = |id: &str| subjects.subject("Household", id);
    for (record, id) in records.iter().zip([HOUSEHOLD, nobody]) {
        let access = record["access"].as_array().unwrap();
        assert_eq!((access.len(), &access[0]["subjects"]), (1, &json!([of(id)])), "{record}");
        assert!(texts(&access[0]["refused"]).contains("4"), "{record}");
        assert_eq!((&access[0]["relations"], &access[0]["read"]), (&json!([]), &json!([])));
        assert_eq!(record["sources"], json!([]), "nobody is asked");
    }
    assert_eq!(records[0]["access"][0]["refused"], records[1]["access"][0]["refused"]);
    let all: BTreeSet<&str> =
        records[2]["access"].as_array().unwrap().iter().flat_map(|access| texts(&access["subjects"])).collect();
    assert_eq!(all, BTreeSet::from([&*of(HOUSEHOLD).to_string(), &*of(nobody).to_string()]), "each of several roots");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_nobody_agreed_on_are_recorded_as_digests() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    let mut who = supervisor();
    who.case = Some("of 331122198001011234".to_owned());
    ask(&world.gateway, &who, query, json!({ "id": HOUSEHOLD })).await;
    let mut cadre = caller("cadre", json!({}));
    (cadre.purpose, cadre.case) = (Some("about Zhang San".to_owned()), Some("JD-2026-0001".to_owned()));
    ask(&world.gateway, &cadre, query, json!({ "id": HOUSEHOLD })).await;
    admin(&world.gateway, &cadre, "{ parts }", json!({})).await;
    let auditor = caller("auditor", json!({}));
    let named = "query Of331122198001011234 { parts }";
    let request = GraphqlRequest {
        query: Some(named.to_owned()),
        operation_name: Some("Of331122198001011234".to_owned()),
        ..GraphqlRequest::default()
    };
    huxiang::admin::answer(world.gateway.clone(), auditor.clone(), request, "named".to_owned(), ()).await;
    let records = records(&world.folder).await;
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("331122198001011234") && !text.contains("Zhang San"), "{text}");
    assert_eq!(records[0]["purpose"], "supervision");
    for digest in [&records[0]["case"], &records[1]["purpose"], &records[2]["purpose"]] {
        assert!(digest.as_str().unwrap().starts_with("hmac:"), "{digest}");
    }
    assert!(records[1]["case"].as_str().unwrap().starts_with("hmac:"), "no grant of a cadre asks for a case");
    // An auditor who knows the text finds what it was said for.
    let find = "{ auditRecords(filter: { case: \"of 331122198001011234\" }) { records { seq } } }";
    let found = admin(&world.gateway, &auditor, find, json!({})).await;
    assert_eq!(found["data"]["auditRecords"]["records"], json!([{ "seq": 1 }]), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_not_recorded_as_read() {
    let world = world().await;
    let query = "query($id: ID!) { household(id: $id) { registry { phone } water { safe } } }";
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    world.departments.stop("water");
    ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    let nobody = "331122101348999999";
    let absent = ask(&world.gateway, &supervisor(), query, json!({ "id": nobody })).await;
    assert!(absent["data"]["household"].is_null());
    let records = records(&world.folder).await;
    let access = |at: usize| records[at]["access"].as_array().unwrap().iter().find(|one| one["entity"] == "Household");
    let (all, some) = (access(0).unwrap(), access(1).unwrap());
    let (phone, water) = (texts(&some["read"]), texts(&some["unanswered"]));
    assert!(!phone.is_empty() && !water.is_empty() && phone.is_disjoint(&water), "{some}");
    assert_eq!(texts(&all["read"]), phone.union(&water).copied().collect());
    assert_eq!(all["unanswered"], json!([]));
    let none = access(2).unwrap();
    assert_eq!((&none["read"], &none["unanswered"]), (&json!([]), &json!([])), "of a household that is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_proves_the_answer_and_the_arguments_without_holding_them() {
    let world = world().await;
    let query = "query Of331122101348000001($id: ID!) { household(id: $id) { registry { headName } } }";
    let request = GraphqlRequest {
        query: Some(query.to_owned()),
        variables: json!({ "id": HOUSEHOLD }).as_object().cloned().unwrap(),
        ..GraphqlRequest::default()
    };
    let answer = world.gateway.answer(supervisor(), request, "one".to_owned(), None).await;
    ask(&world.gateway, &supervisor(), "{ nothing }", json!({})).await;
    let records = records(&world.folder).await;
    let key = SubjectKey::new(KEY.into());
    assert_eq!(records[0]["answer"], key.answer(&answer.body));
    assert_eq!(records[0]["arguments"], json!({ "id": key.argument("id", &json!(HOUSEHOLD).to_string()) }));
    assert_eq!(records[0]["document"], key.document(query));
    assert_eq!(records[1]["answer"].as_str().map(str::len), Some(64), "refusals too");
    assert!(!records[0].to_string().contains(HOUSEHOLD), "nor in the name of the operation: {}", records[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_nothing_is_answered_and_with_it_everything_again() {
    let served = Served::start(world().await).await;
    let query = "query($id: ID!) { household(id: $id) { id registry { headName } } }";
    let store = served.world.folder.join("audit.sqlite");
    let away = served.world.folder.join("away.sqlite");
    std::fs::rename(&store, &away).unwrap();
    std::fs::create_dir(&store).unwrap();
    for _ in 0..3 {
        let (status, answer) = served.ask(query, json!({ "id": HOUSEHOLD })).await;
        assert_eq!(
            (status, &answer["errors"][0]["extensions"]["code"]),
            (503, &json!("AUDIT_UNAVAILABLE")),
            "{answer}"
        );
        assert!(answer.get("data").is_none());
        let name = served.world.departments.world().household(HOUSEHOLD).unwrap().head().name.clone();
        assert!(!answer.to_string().contains(name.as_str()));
    }
    assert!(!served.world.gateway.ready());
    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    let (status, answer) = served.ask(query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!((status, &answer["data"]["household"]["id"]), (200, &json!(HOUSEHOLD)));
    assert!(served.world.gateway.ready());
    assert_eq!(records(&served.world.folder).await.len(), 1, "what was refused is not in the record");
}

/// Everything that is logged, by every crate, at every level.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<u8>>>);

impl io::Write for Everything {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Everything {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Texts of an answer that belong to a household: what is long enough not to be a code or a word of the contract.
fn values(answer: &Value, found: &mut BTreeSet<String>) {
    match answer {
        Value::Object(members) => {
            for (name, value) in
                members.iter().filter(|(name, _)| !["items", "rules", "banks"].contains(&name.as_str()))
            {
                // Names of programmes and divisions are nobody's.
                if !["division", "programme", "kind", "bank"].contains(&name.as_str()) {
                    values(value, found);
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| values(element, found)),
        Value::String(text) => {
            let constant = text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if text.chars().count() >= 6 && text.len() <= 200 && !constant {
                found.insert(text.clone());
            }
        }
        _ => {}
    }
}

/// Values of the household that the text holds; keys of the gateway's own code and the test's are not looked for.
fn told<'v>(values: &'v BTreeSet<String>, text: &str) -> Vec<&'v String> {
    values.iter().filter(|value| text.contains(value.as_str())).collect()
}

/// In a process of its own, where it hears nobody else's tests.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_household_is_in_records_or_logs() {
    if !alone::is_alone() {
        alone::run(module_path!(), "no_value_of_a_household_is_in_records_or_logs", &[]);
        return;
    }
    let log = Everything::default();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter("trace").with_ansi(false).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber of this process");
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world: World = world_edited(options, |snapshot| {
        edit_limits(snapshot, |_, limits| (limits.timeout_ms, limits.per_second_max) = (1_500, None));
    })
    .await;
    let query = document::portrait(&world.gateway.snapshot().contract);
    let mut answer = ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    // Of a check, only what was compared is the household's; rules, thresholds and sources are the gateway's own.
    for list in ["/recognition/check", "/adjustment/exit", "/adjustment/entry", "/adjustment/entryAlone"] {
        let list = answer.pointer_mut(&format!("/data/household{list}")).and_then(Value::as_array_mut);
        for line in list.expect("a checklist") {
            line.as_object_mut().unwrap().retain(|name, _| name == "inputs");
            for input in line["inputs"].as_array_mut().into_iter().flatten() {
                input.as_object_mut().unwrap().remove("path");
            }
        }
    }
    let mut of_household = BTreeSet::from([HOUSEHOLD.to_owned()]);
    values(&answer["data"], &mut of_household);
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    of_household.extend(known.members.iter().flat_map(|member| [member.id_number.clone(), member.name.clone()]));
    assert!(of_household.len() > 50, "{of_household:?}");
    let sources: Vec<String> =
        world.gateway.snapshot().bindings.sources.iter().map(|source| source.id.to_string()).collect();
    let faults = [Fault::Nonsense, Fault::Http500, Fault::Empty, Fault::Truncated, Fault::Slow(Duration::from_secs(4))];
    for fault in faults {
        for source in sources.iter().filter(|source| !["housing", "agriculture"].contains(&source.as_str())) {
            world.departments.set_fault(source, fault);
        }
        ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    }
    // A document that holds the values, and one that is not even right.
    ask(&world.gateway, &supervisor(), &format!("{{ household(id: \"{HOUSEHOLD}\") {{ id }} }}"), json!({})).await;
    ask(&world.gateway, &supervisor(), &format!("{{ household(id: \"{HOUSEHOLD}\") }}"), json!({})).await;
    ask(&world.gateway, &supervisor(), &query, json!({ "id": [HOUSEHOLD] })).await;
    let records = json!(records(&world.folder).await).to_string();
    assert_eq!(told(&of_household, &records), Vec::<&String>::new(), "in the audit records");
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("a source failed"), "the log is heard");
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| !told(&of_household, line).is_empty())
        .map(|line| line.get(..line.len().min(600)).unwrap_or("…"))
        .collect();
    assert!(
        lines.is_empty(),
        "{} lines of the log, of {}: {:#?}",
        lines.len(),
        log.lines().count(),
        &lines[..lines.len().min(12)]
    );
}
