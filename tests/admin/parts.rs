//! The gateway's own API: each part may ask its own fields and no others, and every request leaves its record.

use serde_json::{Value, json};

use crate::support::served::Served;
use crate::support::{admin, caller, records, world};

const OPERATOR: &str = "{ health { ready auditWritable } sources { id calls } configuration { roles } }";

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_health_sources_and_configuration_and_the_look_is_recorded() {
    let world = world().await;
    let answer = admin(&world.gateway, &caller("operator", json!({})), OPERATOR, json!({})).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    assert_eq!(answer["data"]["health"], json!({ "ready": true, "auditWritable": true }));
    assert!(answer["data"]["sources"].as_array().unwrap().iter().any(|source| source["id"] == "water"), "{answer}");
    assert_eq!(answer["extensions"]["requestId"], "test-request");
    let records = records(&world.folder).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["who"]["id"], "operator-1");
    assert_eq!(records[0]["access"][0]["entity"], "admin");
    assert_eq!(records[0]["access"][0]["read"], json!(["configuration", "health", "sources"]));
    assert_eq!(records[0]["outcome"], "ANSWERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_role_gets_what_operators_see_and_the_try_is_recorded() {
    let world = world().await;
    let roles: Vec<String> = world.gateway.snapshot().access.roles.iter().map(|role| role.name.to_string()).collect();
    for role in roles.iter().filter(|role| *role != "operator") {
        let answer = admin(&world.gateway, &caller(role, json!({})), "{ health { ready } }", json!({})).await;
        assert_eq!((code(&answer), &answer["data"]), (&json!("FORBIDDEN"), &Value::Null), "{role}: {answer}");
        let record = records(&world.folder).await.pop().unwrap();
        assert_eq!((&record["access"][0]["refused"], &record["errors"]), (&json!(["health"]), &json!(["FORBIDDEN"])));
    }
    let mut visitor = caller("operator", json!({}));
    visitor.principal = None;
    assert_eq!(code(&admin(&world.gateway, &visitor, "{ health { ready } }", json!({})).await), "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_counts_only_from_its_networks() {
    let world = world().await;
    let mut operator = caller("operator", json!({}));
    operator.networks = vec!["public-proxy".to_owned()];
    let answer = admin(&world.gateway, &operator, "{ parts health { ready } }", json!({})).await;
    assert_eq!(code(&answer), "FORBIDDEN", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_two_of_the_separate_parts_has_neither() {
    let world = world().await;
    let separate = ["operator", "security-officer", "auditor"];
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let mut both = caller(separate[first], json!({}));
        if let Some(principal) = &mut both.principal {
            principal.roles.push(separate[second].to_owned());
        }
        let answer = admin(&world.gateway, &both, "{ parts }", json!({})).await;
        assert_eq!(answer["data"]["parts"], json!([]), "{answer}");
        let answer = admin(&world.gateway, &both, "{ health { ready } }", json!({})).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(code(&answer) == "FORBIDDEN" && message.contains("two roles"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_shows_a_part_its_own_fields_and_others_nothing() {
    let world = world().await;
    let query = "{ __schema { queryType { fields { name } } } }";
    let seen = admin(&world.gateway, &caller("operator", json!({})), query, json!({})).await.to_string();
    assert!(seen.contains("\"health\"") && !seen.contains("auditRecords"), "{seen}");
    let none = admin(&world.gateway, &caller("cadre", json!({})), query, json!({})).await;
    assert!(!none.to_string().contains("health") && none["data"]["__schema"].is_null(), "{none}");
    let typo = admin(&world.gateway, &caller("cadre", json!({})), "{ healt }", json!({})).await;
    assert!(!typo.to_string().contains("health"), "no suggestions: {typo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_too_deep_or_too_long_are_refused_before_the_parser() {
    let world = world().await;
    let operator = caller("operator", json!({}));
    let deep = format!("{{ health(a: {}1{}) {{ ready }} }}", "[".repeat(5_000), "]".repeat(5_000));
    let wide = format!("{{ {} }}", (0..3_000).map(|n| format!("a{n}: parts ")).collect::<String>());
    let cycle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
    for (query, expected) in
        [(deep.as_str(), "LIMIT_EXCEEDED"), (&wide, "LIMIT_EXCEEDED"), (cycle, "VALIDATION_FAILED")]
    {
        let answer = admin(&world.gateway, &operator, query, json!({})).await;
        assert!(code(&answer) == expected && answer.get("data").is_none(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_it_passes_the_same_door() {
    let served = Served::start(world().await).await;
    let url = format!("http://{}/admin/graphql", served.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |token: Option<String>, body: &'static str| {
        let request = client.post(&url).header("content-type", "application/json").body(body);
        token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token)).send()
    };
    let asked = r#"{"query":"{ parts health { ready } }"}"#;
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let answer = json(post(Some(served.token_for("operator")), asked).await.unwrap().text().await.unwrap());
    assert_eq!(answer["data"], json!({ "parts": ["operator"], "health": { "ready": true } }));
    let answer = post(Some("a.b.c".to_owned()), asked).await.unwrap();
    assert_eq!(answer.status(), 401);
    let answer = json(post(None, asked).await.unwrap().text().await.unwrap());
    assert_eq!(code(&answer), "FORBIDDEN");
    let get = client.get(format!("{url}?query={{parts}}")).header("x-requested-with", "x").send().await.unwrap();
    assert_eq!(get.status(), 405);
    let text = client.post(&url).header("content-type", "text/plain").body(asked).send().await.unwrap();
    assert_eq!(text.status(), 415);
    let batch = post(Some(served.token_for("operator")), "[]").await.unwrap();
    assert_eq!(batch.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_officer_revokes_a_principals_tokens_and_others_cannot() {
    let served = Served::start(world().await).await;
    let issuer = served.world.gateway.snapshot().config.issuers[0].issuer.clone();
    let revoke = "mutation($issuer: String!, $who: String, $key: String) { revokeToken(issuer: $issuer, \
                  principal: $who, key: $key, reason: \"left the office\") { kind value by reason } }";
    let naming = revoke.replace("left the office", "33112219900101123X left the office");
    let with = |who: &str| json!({ "issuer": issuer, "who": who });
    let gateway = &served.world.gateway;
    let query = "{ household(id: \"331122101348000001\") { id } }";
    assert_eq!(served.ask(query, json!({})).await.0, 200);
    for role in ["operator", "auditor", "supervisor"] {
        let answer = admin(gateway, &caller(role, json!({})), revoke, with("supervisor-1")).await;
        assert_eq!(code(&answer), "FORBIDDEN", "{role}: {answer}");
    }
    let officer = caller("security-officer", json!({}));
    let wrong = admin(gateway, &officer, revoke, json!({ "issuer": issuer, "who": "a", "key": "b" })).await;
    assert_eq!(code(&wrong), "BAD_REQUEST", "{wrong}");
    let wrong = admin(gateway, &officer, revoke, json!({ "issuer": "https://nobody.invalid", "who": "a" })).await;
    assert_eq!(code(&wrong), "BAD_REQUEST", "{wrong}");
    let wrong = admin(gateway, &officer, &naming, with("supervisor-1")).await;
    assert_eq!(code(&wrong), "BAD_REQUEST", "a reason names nobody by number: {wrong}");
    assert_eq!(served.ask(query, json!({})).await.0, 200, "nothing was revoked so far");
    let done = admin(gateway, &officer, revoke, with("supervisor-1")).await;
    let said = json!({ "kind": "PRINCIPAL", "value": "supervisor-1", "by": "security-officer-1", "reason": "left the office" });
    assert_eq!(done["data"]["revokeToken"], said, "{done}");
    assert_eq!(served.ask(query, json!({})).await.0, 401, "at once, for a token that was checked before");
    let listed = admin(gateway, &officer, "{ revocations { kind value by reason } }", json!({})).await;
    assert_eq!(listed["data"]["revocations"], json!([said]), "{listed}");
    let records = records(&served.world.folder).await;
    let record =
        records.iter().find(|record| record["kind"] == "REVOCATION" && record["outcome"] != "REJECTED").unwrap();
    assert_eq!(record["who"]["id"], "security-officer-1");
}
