//! What a role may send: how much it may cost, which documents it runs, whether it may introspect.

use std::time::Duration;

use departments::Options;
use huxiang::answer::GraphqlRequest;
use huxiang::audit::{Kind, Search};
use huxiang::base::fault::Faults;
use huxiang::identify::Identity;
use huxiang::model::access::{DocumentsRule, Role, RoleDoors};
use huxiang::model::config::Introspection;
use huxiang::model::config::rates::{Rate, Rates};
use huxiang::model::documents::{Documents, digest};
use huxiang::model::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::support::served::Served;
use crate::support::{HOUSEHOLD, World, ask, caller, document, supervisor, world_edited};
use crate::temporary::Temporary;

async fn edited(edit: impl FnOnce(&mut Snapshot)) -> World {
    world_edited(Options { latency: false, rates: false, ..Options::default() }, edit).await
}

fn role<'s>(snapshot: &'s mut Snapshot, name: &str) -> &'s mut Role {
    snapshot.access.roles.iter_mut().find(|role| &*role.name == name).unwrap()
}

fn made(world: &World) -> u64 {
    world.departments.calls().values().sum()
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

/// The estimate that a refusal tells.
fn told(answer: &Value) -> usize {
    let message = answer["errors"][0]["message"].as_str().unwrap();
    message.split("about ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

fn listing(world: &World) -> String {
    let everything = document::everything(&world.gateway.snapshot().contract);
    format!("query($n: Int) {{ households(division: \"331122\", first: $n) {{ nodes {{ {everything} }} }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_cost_too_many_calls_is_refused_before_the_first_with_the_estimate_and_a_way_out() {
    let world = edited(|snapshot| snapshot.config.limits.upstream_calls_max = 150).await;
    let query = listing(&world);
    let answer = ask(&world.gateway, &supervisor(), &query, json!({ "n": 20 })).await;
    assert_eq!((code(&answer), answer.get("data")), ("LIMIT_EXCEEDED", None), "{answer}");
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("150 are allowed") && message.contains("`first`") && message.contains("公安局"),
        "{message}"
    );
    assert!(told(&answer) > 150);
    assert_eq!(made(&world), 0, "no department was asked");
    let fewer = ask(&world.gateway, &supervisor(), &query, json!({ "n": 1 })).await;
    assert!(fewer["data"]["households"]["nodes"][0].is_object(), "{fewer:.300}");
    assert!(made(&world) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_have_less_than_the_gateway_and_never_more() {
    let world = edited(|snapshot| {
        snapshot.config.limits.upstream_calls_max = 1_000;
        role(snapshot, "supervisor").doors.upstream_calls_max = Some(20);
        role(snapshot, "town-officer").doors.upstream_calls_max = Some(100_000);
    })
    .await;
    let query = document::portrait(&world.gateway.snapshot().contract);
    let answer = ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(code(&answer), "LIMIT_EXCEEDED");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("20 are allowed"), "{answer}");
    let small =
        ask(&world.gateway, &supervisor(), "query($id: ID!) { household(id: $id) { id } }", json!({ "id": HOUSEHOLD }))
            .await;
    assert_eq!(small["data"]["household"]["id"], HOUSEHOLD);
    // Roles add up: the widest counts, up to the gateway's own limit.
    let mut both = supervisor();
    both.principal.as_mut().unwrap().roles.push("town-officer".to_owned());
    let answer = ask(&world.gateway, &both, &query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD, "{answer:.300}");
    let answer = ask(&world.gateway, &both, &listing(&world), json!({ "n": 200 })).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("1000 are allowed"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_cost_what_they_ask_for() {
    let world = edited(|_| {}).await;
    let of = |n: usize| {
        let one = |n: usize| {
            format!(
                "a{n}: household(id: \"{}\") {{ health {{ majorIllnesses {{ code }} }} }}",
                331_122_101_348_000_001_u64 + n as u64
            )
        };
        format!("{{ {} }}", (0..n).map(one).collect::<Vec<_>>().join(" "))
    };
    let mut estimates = Vec::new();
    for n in [1, 100] {
        let query = of(n);
        let tight = edited(|snapshot| snapshot.config.limits.upstream_calls_max = 1).await;
        estimates.push(told(&ask(&tight.gateway, &supervisor(), &query, json!({})).await));
        let answer = ask(&world.gateway, &supervisor(), &query, json!({})).await;
        assert!(answer["data"].is_object(), "{answer:.300}");
    }
    assert!(estimates[1] > estimates[0], "{estimates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minutes_calls_are_paid_by_the_principal_and_its_network() {
    let portrait = |world: &World| document::portrait(&world.gateway.snapshot().contract);
    let calls = |n: u32| Rate { requests_per_minute: None, upstream_calls_per_minute: Some(n) };
    let world = edited(|snapshot| snapshot.config.rates = Rates { principal: calls(200), ..Rates::default() }).await;
    let (query, id) = (portrait(&world), json!({ "id": HOUSEHOLD }));
    assert_eq!(ask(&world.gateway, &supervisor(), &query, id.clone()).await["data"]["household"]["id"], HOUSEHOLD);
    let before = made(&world);
    let answer = ask(&world.gateway, &supervisor(), &query, id.clone()).await;
    assert_eq!((code(&answer), answer.get("data")), ("RATE_LIMITED", None), "{answer}");
    assert!(answer["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap() >= 1);
    assert_eq!(made(&world), before, "no department was asked");
    let mut other = supervisor();
    other.principal.as_mut().unwrap().id = "another".to_owned();
    assert_eq!(ask(&world.gateway, &other, &query, id.clone()).await["data"]["household"]["id"], HOUSEHOLD);

    let networks = [("gov".to_owned(), calls(200))].into();
    let world = edited(|snapshot| snapshot.config.rates = Rates { networks, ..Rates::default() }).await;
    assert_eq!(ask(&world.gateway, &supervisor(), &query, id.clone()).await["data"]["household"]["id"], HOUSEHOLD);
    assert_eq!(code(&ask(&world.gateway, &other, &query, id).await), "RATE_LIMITED", "of the same network");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_estimate_costs_nothing() {
    let world = edited(|snapshot| {
        snapshot.config.limits.upstream_calls_max = 200;
        let calls = Rate { requests_per_minute: None, upstream_calls_per_minute: Some(250) };
        snapshot.config.rates = Rates { principal: calls, ..Rates::default() };
    })
    .await;
    for _ in 0..5 {
        let answer = ask(&world.gateway, &supervisor(), &listing(&world), json!({ "n": 100 })).await;
        assert_eq!(code(&answer), "LIMIT_EXCEEDED");
    }
    let query = document::portrait(&world.gateway.snapshot().contract);
    let answer = ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(answer["data"]["household"]["id"], HOUSEHOLD, "{answer:.300}");
}

const TRUSTED: &str = "query Head($id: ID!) { household(id: $id) { id registry { headName } } }";

fn trust(snapshot: &mut Snapshot, texts: &[&str]) {
    let folder = Temporary::new("doors");
    for text in texts {
        std::fs::write(folder.join(format!("{}.graphql", digest(text))), text).unwrap();
    }
    let mut faults = Faults::default();
    snapshot.documents = Documents::load(&folder, &snapshot.contract, &snapshot.config.limits, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render());
}

fn strict(snapshot: &mut Snapshot, name: &str) {
    let doors = RoleDoors { documents: DocumentsRule::Trusted, ..RoleDoors::default() };
    role(snapshot, name).doors = doors;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_role_runs_trusted_documents_by_their_text_and_nothing_else() {
    let world = edited(|snapshot| {
        trust(snapshot, &[TRUSTED]);
        strict(snapshot, "supervisor");
    })
    .await;
    let id = json!({ "id": HOUSEHOLD });
    let answer = ask(&world.gateway, &supervisor(), TRUSTED, id.clone()).await;
    assert!(answer["data"]["household"]["registry"]["headName"].is_string(), "{answer}");
    let before = made(&world);
    for other in [
        TRUSTED.replace("headName", "headName phone"),
        format!("{TRUSTED} "),
        format!("#\n{TRUSTED}"),
        "{ __typename }".to_owned(),
        "{ __schema { queryType { name } } }".to_owned(),
        "{ not valid".to_owned(),
    ] {
        let answer = ask(&world.gateway, &supervisor(), &other, id.clone()).await;
        assert_eq!((code(&answer), answer.get("data")), ("FORBIDDEN", None), "{other}: {answer}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("documentId"), "{answer}");
    }
    // Naming an id beside another text makes the text no other.
    let request = GraphqlRequest {
        query: Some("{ __typename }".to_owned()),
        document_id: Some(digest(TRUSTED)),
        ..GraphqlRequest::default()
    };
    let answer = world.gateway.answer(supervisor(), request, "test-request".to_owned(), None).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("FORBIDDEN"));
    assert_eq!(made(&world), before, "no department was asked");
    let free = caller("town-officer", json!({ "divisions": ["331122"] }));
    assert_eq!(ask(&world.gateway, &free, "{ __typename }", json!({})).await["data"]["__typename"], "Query");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_roles_the_strict_one_gives_nothing_to_other_documents() {
    const FREE: &str =
        "query($id: ID!) { household(id: $id) { id registry { headName } assets { deposits { hasAccount } } } }";
    let mut both: Identity = supervisor();
    both.principal.as_mut().unwrap().roles.push("town-officer".to_owned());
    let told = "the role `supervisor` counts only in trusted documents";
    let world = edited(|snapshot| trust(snapshot, &[TRUSTED])).await;
    let answer = ask(&world.gateway, &both, FREE, json!({ "id": HOUSEHOLD })).await;
    assert!(
        !answer.to_string().contains(told) && !answer["data"]["household"]["assets"]["deposits"].is_null(),
        "{answer}"
    );
    let world = edited(|snapshot| {
        trust(snapshot, &[TRUSTED]);
        strict(snapshot, "supervisor");
    })
    .await;
    let before = made(&world);
    both.purpose = Some("help".to_owned());
    let answer = ask(&world.gateway, &both, FREE, json!({ "id": HOUSEHOLD })).await;
    assert!(answer.to_string().contains(told), "{answer}");
    assert!(answer["data"]["household"]["assets"]["deposits"]["hasAccount"].is_null(), "{answer}");
    assert!(answer["data"]["household"]["registry"]["headName"].is_string(), "the other role's: {answer}");
    assert!(made(&world) - before < 20, "the banks were not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_is_for_the_roles_that_may_and_typename_for_everybody() {
    const SCHEMA: &str = "{ __schema { queryType { name } } }";
    let town =
        || Identity { purpose: Some("help".to_owned()), ..caller("town-officer", json!({ "divisions": ["331122"] })) };
    let may = |answer: &Value| answer["data"]["__schema"]["queryType"]["name"] == "Query";
    for (setting, of_supervisor, expected) in [
        (Introspection::On, None, [true, true]),
        (Introspection::On, Some(false), [false, true]),
        (Introspection::PerRole, None, [false, false]),
        (Introspection::PerRole, Some(true), [true, false]),
        (Introspection::Off, Some(true), [false, false]),
    ] {
        let world = edited(|snapshot| {
            snapshot.config.graphql.introspection = setting;
            role(snapshot, "supervisor").doors.introspection = of_supervisor;
        })
        .await;
        let answers = [
            ask(&world.gateway, &supervisor(), SCHEMA, json!({})).await,
            ask(&world.gateway, &town(), SCHEMA, json!({})).await,
        ];
        assert_eq!(answers.each_ref().map(may), expected, "{setting:?} {of_supervisor:?}: {answers:?}");
        for answer in answers.iter().filter(|answer| !may(answer)) {
            assert_eq!((code(answer), answer.get("data")), ("FORBIDDEN", None));
        }
        for query in ["{ __typename }", "query($id: ID!) { household(id: $id) { __typename id } }"] {
            let answer = ask(&world.gateway, &town(), query, json!({ "id": HOUSEHOLD })).await;
            assert!(answer.get("errors").is_none() && answer["data"].is_object(), "{answer}");
        }
        let mixed = "query($id: ID!) { __schema { queryType { name } } household(id: $id) { registry { headName } } }";
        let before = made(&world);
        let answer = ask(&world.gateway, &supervisor(), mixed, json!({ "id": HOUSEHOLD })).await;
        assert_eq!(made(&world) > before, expected[0], "where it is refused, nobody is asked: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_by_id_and_persisted_query_hashes_run_and_no_request_registers_one() {
    let world = edited(|snapshot| {
        trust(snapshot, &[TRUSTED]);
        strict(snapshot, "supervisor");
    })
    .await;
    let served = Served::start(world).await;
    let variables = json!({ "id": HOUSEHOLD });
    let persisted = |hash: &str| json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    let id = digest(TRUSTED);
    for body in [
        json!({ "documentId": id, "variables": variables }),
        json!({ "documentId": format!("sha256:{id}"), "variables": variables }),
        json!({ "extensions": persisted(&id), "variables": variables }),
        json!({ "query": TRUSTED, "extensions": persisted(&id), "variables": variables }),
    ] {
        let (status, answer) = served.post(body.to_string()).await;
        assert_eq!((status, &answer["data"]["household"]["id"]), (200, &json!(HOUSEHOLD)), "{body}: {answer}");
    }
    let other = "query Other($id: ID!) { household(id: $id) { id } }";
    let unknown = || json!({ "extensions": persisted(&digest(other)), "variables": variables }).to_string();
    let (status, answer) = served.post(unknown()).await;
    assert_eq!((status, &answer["errors"][0]["message"]), (400, &json!("PersistedQueryNotSupported")));
    // The second step of automatic persisted queries: the text with its hash.
    let register = json!({ "query": other, "extensions": persisted(&digest(other)), "variables": variables });
    let (status, answer) = served.post(register.to_string()).await;
    assert_eq!((status, code(&answer)), (403, "FORBIDDEN"), "{answer}");
    let (status, answer) = served.post(unknown()).await;
    assert_eq!((status, &answer["errors"][0]["message"]), (400, &json!("PersistedQueryNotSupported")), "not kept");
    let (status, _) = served.post(json!({ "documentId": digest(other) }).to_string()).await;
    assert_eq!(status, 400);
    for wrong in [
        json!({ "query": TRUSTED, "extensions": persisted(&digest(other)) }),
        json!({ "extensions": { "persistedQuery": 1 } }),
        json!({ "extensions": { "persistedQuery": { "sha256Hash": [] } } }),
        json!({ "documentId": id, "extensions": persisted(&digest(other)) }),
    ] {
        let (status, answer) = served.post(wrong.to_string()).await;
        assert_eq!((status, code(&answer)), (400, "BAD_REQUEST"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_shares_the_calls_of_one_request() {
    let world = edited(|snapshot| {
        snapshot.config.graphql.batch_max = 4;
        snapshot.config.limits.upstream_calls_max = 150;
    })
    .await;
    let query = document::portrait(&world.gateway.snapshot().contract);
    let served = Served::start(world).await;
    let one = json!({ "query": query, "variables": { "id": HOUSEHOLD } });
    let (_, alone) = served.post(json!([one]).to_string()).await;
    assert_eq!(alone[0]["data"]["household"]["id"], HOUSEHOLD, "{alone:.300}");
    let before = made(&served.world);
    let (status, both) = served.post(json!([one, one]).to_string()).await;
    assert_eq!(status, 200);
    for answer in both.as_array().unwrap() {
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("75 are allowed"), "{answer:.300}");
    }
    assert_eq!(made(&served.world), before, "no department was asked");
    assert_ne!(both[0]["extensions"]["requestId"], both[1]["extensions"]["requestId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_are_recorded_together_and_hold_no_token() {
    let world = edited(|snapshot| snapshot.config.limits.refusals_every_ms = 1_000).await;
    let served = Served::start(world).await;
    let url = format!("http://{}/graphql", served.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..30 {
        let request =
            client.post(&url).header("content-type", "application/json").header("authorization", "Bearer s3cr3t");
        assert_eq!(request.body(r#"{"query":"{a}"}"#).send().await.unwrap().status(), 401);
    }
    let search = Search { kinds: vec![Kind::Refusals], first: 10, ..Search::default() };
    let mut found = Vec::new();
    while found.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = served.world.gateway.audit().reader().search(&search).await.unwrap().entries;
    }
    let told: u64 = found.iter().filter_map(|entry| entry.record.details["401"].as_u64()).sum();
    assert_eq!((found.len(), told, found[0].record.address.as_str()), (1, 30, "127.0.0.1"));
    assert!(!format!("{found:?}").contains("s3cr3t"));
}
