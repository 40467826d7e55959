//! Scans that go further once a second person has approved the very condition.

use huxiang::answer::{Frame, GraphqlRequest, Halt, StreamStanding};
use huxiang::approval::{Act, Wanted};
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::second_persons::{demo, given, refused, relying_on, verifier, wanted};
use crate::set_clock::SetClock;
use crate::support::{World, ask, config, world_at};

const TOWN: &str = "331122101";
/// As many as `above` says in the demo's roles.
const WITHOUT: u64 = 200;

async fn scan(world: &World, identity: &Identity, category: &str, after: &Value) -> Value {
    let query = "query($division: ID!, $category: LowIncomeCategory, $after: String) {
      households(division: $division, where: { registry: { category: { eq: $category } } }, first: 200, after: $after) {
        pageInfo { endCursor } coverage { candidates ended }
      }
    }";
    ask(&world.gateway, identity, query, json!({ "division": TOWN, "category": category, "after": after })).await
}

fn candidates(answer: &Value) -> u64 {
    let counted = &answer["data"]["households"]["coverage"]["candidates"];
    counted.as_u64().unwrap_or_else(|| panic!("{answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_further_than_the_role_alone_may_once_its_condition_is_approved_and_no_other_does() {
    let (world, _) = demo().await;
    let first = scan(&world, &verifier(), "MARGINAL", &Value::Null).await;
    assert_eq!((candidates(&first), &first["data"]["households"]["coverage"]["ended"]), (WITHOUT, &json!("STOPPED")));
    let after = first["data"]["households"]["pageInfo"]["endCursor"].clone();
    let told = &first["extensions"]["scan"];
    let (entity, key) = (told["entity"].as_str().unwrap(), told["key"].as_str().unwrap());
    refused(&scan(&world, &verifier(), "MARGINAL", &after).await, key);
    let of_scan = Wanted { entity: entity.to_owned(), uses: Some(1), ..wanted(key) };
    let approval = given(&world, &of_scan).await;
    let other = scan(&world, &relying_on(verifier(), &approval.id), "DIBAO", &Value::Null).await;
    assert_eq!(candidates(&other), WITHOUT, "the approval is of another condition");
    // Who asks what it would take has not begun.
    let planned = "query($division: ID!) {
      households(division: $division, where: { registry: { category: { eq: MARGINAL } } }, first: 0) { coverage { candidates } }
    }";
    for _ in 0..2 {
        let relying = relying_on(verifier(), &approval.id);
        assert_eq!(candidates(&ask(&world.gateway, &relying, planned, json!({ "division": TOWN })).await), 0);
    }
    let further = scan(&world, &relying_on(verifier(), &approval.id), "MARGINAL", &Value::Null).await;
    assert!(candidates(&further) > WITHOUT, "{further:#}");
    assert_eq!(further["extensions"]["approval"]["id"], json!(approval.id));
    refused(&scan(&world, &relying_on(verifier(), &approval.id), "MARGINAL", &after).await, "used up");
}

/// A page of few, by the condition that was approved.
async fn page(world: &World, identity: &Identity, category: &str, after: &Value) -> Value {
    let query = "query($division: ID!, $category: LowIncomeCategory, $after: String) {
      households(division: $division, where: { registry: { category: { eq: $category } } }, first: 20, after: $after) {
        pageInfo { endCursor hasNextPage } coverage { candidates ended }
      }
    }";
    ask(&world.gateway, identity, query, json!({ "division": TOWN, "category": category, "after": after })).await
}

fn end(answer: &Value) -> Value {
    answer["data"]["households"]["pageInfo"]["endCursor"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_use_of_an_approval_is_good_for_all_pages_of_the_scan_and_for_no_other_scan() {
    let (world, _) = demo().await;
    let begun = page(&world, &verifier(), "MARGINAL", &Value::Null).await;
    let without = end(&begun);
    let told = &begun["extensions"]["scan"];
    let of_scan = |uses| Wanted {
        entity: told["entity"].as_str().unwrap().to_owned(),
        uses: Some(uses),
        ..wanted(told["key"].as_str().unwrap())
    };
    let approval = given(&world, &of_scan(1)).await;
    let relying = relying_on(verifier(), &approval.id);
    let mut answer = page(&world, &relying, "MARGINAL", &Value::Null).await;
    let first = end(&answer);
    let mut seen = candidates(&answer);
    while answer["data"]["households"]["pageInfo"]["hasNextPage"] == json!(true) {
        answer = page(&world, &relying, "MARGINAL", &end(&answer)).await;
        assert_eq!(answer["extensions"]["approval"]["id"], json!(approval.id), "{answer:#}");
        seen += candidates(&answer);
    }
    assert!(seen > WITHOUT, "{seen}");
    assert_eq!(answer["data"]["households"]["coverage"]["ended"], "LISTED");
    // A use is one scan: neither a second one from its beginning, nor one that began without the approval, goes by it.
    refused(&page(&world, &relying, "MARGINAL", &Value::Null).await, "used up");
    refused(&page(&world, &relying, "MARGINAL", &without).await, "used up");
    let another = page(&world, &relying, "DIBAO", &first).await;
    assert_eq!(another["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{another}");
    refused(
        &ask(&world.gateway, &relying, "{ households(division: \"331122\") { nodes { id } } }", json!({})).await,
        "used up",
    );
    // What began under one approval goes on under another only by a use of that one.
    let other = given(&world, &of_scan(1)).await;
    let under_other = page(&world, &relying_on(verifier(), &other.id), "MARGINAL", &first).await;
    assert_eq!(under_other["extensions"]["approval"]["id"], json!(other.id), "{under_other:#}");
    refused(&page(&world, &relying_on(verifier(), &other.id), "MARGINAL", &Value::Null).await, "used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_does_not_go_on_under_an_approval_that_was_withdrawn() {
    let (world, _) = demo().await;
    let told = page(&world, &verifier(), "MARGINAL", &Value::Null).await["extensions"]["scan"].clone();
    let of_scan = Wanted {
        entity: told["entity"].as_str().unwrap().to_owned(),
        uses: Some(1),
        ..wanted(told["key"].as_str().unwrap())
    };
    let approval = given(&world, &of_scan).await;
    let relying = relying_on(verifier(), &approval.id);
    let first = page(&world, &relying, "MARGINAL", &Value::Null).await;
    let (snapshot, requester) = (world.gateway.snapshot(), verifier());
    let act = Act { access: &snapshot.access, identity: &requester, request_id: "withdraws" };
    world.gateway.approvals().withdraw(&act, &approval.id).await.unwrap();
    refused(&page(&world, &relying, "MARGINAL", &end(&first)).await, "withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statistic_goes_on_under_the_use_that_it_began_with() {
    let roles = config("roles.yaml");
    let own = "    scans:\n      candidates_max: 20000\n      named_max: 5000\n      approval";
    assert!(roles.contains(own), "the verifier's right to scan is written otherwise");
    let roles = roles.replace(
        own,
        "    scans:\n      statistics: true\n      candidates_max: 20000\n      named_max: 5000\n      approval",
    );
    let gateway = config("gateway.yaml").replace("upstream_calls_max: 2000", "upstream_calls_max: 12");
    let hand = SetClock::at("2026-06-01T09:00");
    let world = world_at(hand.clock(), &[("roles.yaml", roles), ("gateway.yaml", gateway)]).await;
    let count = async |identity: &Identity, resume: &Value| {
        let query = "query($division: ID!, $resume: ScanResume) {
          householdStats(division: $division, groupBy: [{ by: registry_category }], measures: [{ count: true }], resume: $resume) {
            resume coverage { candidates ended }
          }
        }";
        ask(&world.gateway, identity, query, json!({ "division": TOWN, "resume": resume })).await
    };
    let begun = count(&verifier(), &Value::Null).await;
    let told = &begun["extensions"]["scan"];
    let of_stats = Wanted {
        entity: told["entity"].as_str().unwrap_or_else(|| panic!("{begun:#}")).to_owned(),
        uses: Some(1),
        ..wanted(told["key"].as_str().unwrap())
    };
    let approval = given(&world, &of_stats).await;
    let relying = relying_on(verifier(), &approval.id);
    let mut answer = count(&relying, &Value::Null).await;
    let mut turns = 1;
    while answer["data"]["householdStats"]["resume"].is_string() {
        answer = count(&relying, &answer["data"]["householdStats"]["resume"]).await;
        turns += 1;
    }
    assert_eq!(answer["data"]["householdStats"]["coverage"]["ended"], "LISTED", "after {turns} turns: {answer:#}");
    assert!(
        turns > 1 && answer["data"]["householdStats"]["coverage"]["candidates"].as_u64() > Some(WITHOUT),
        "{answer:#}"
    );
    refused(&count(&relying, &Value::Null).await, "used up");
}

/// As whoever may go on.
struct Stands;

impl StreamStanding for Stands {
    async fn look(&self) -> Result<(), Halt> {
        Ok(())
    }

    async fn stopping(&self) {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_use_of_an_approval_is_good_for_the_whole_stream_and_for_no_other() {
    let (world, _) = demo().await;
    let told = scan(&world, &verifier(), "MARGINAL", &Value::Null).await["extensions"]["scan"].clone();
    let (entity, key) = (told["entity"].as_str().unwrap(), told["key"].as_str().unwrap());
    let of_scan = Wanted { entity: entity.to_owned(), uses: Some(1), ..wanted(key) };
    let approval = given(&world, &of_scan).await;
    let streamed = async || {
        let query = "subscription($division: ID!, $category: LowIncomeCategory) {
          households(division: $division, where: { registry: { category: { eq: $category } } }, first: 50) {
            progress { candidates ended }
          }
        }";
        let variables = json!({ "division": TOWN, "category": "MARGINAL" }).as_object().unwrap().clone();
        let request = GraphqlRequest { query: Some(query.to_owned()), variables, ..GraphqlRequest::default() };
        let identity = relying_on(verifier(), &approval.id);
        let mut frames = world.gateway.stream_holding(identity, request, "s".to_owned(), None, Stands, ());
        let mut all: Vec<Value> = Vec::new();
        while let Some(Frame::Next(body) | Frame::Refused(body)) = frames.next().await {
            all.push(serde_json::from_slice(&body).unwrap());
        }
        all
    };
    let frames = streamed().await;
    assert!(frames.len() > 1, "several turns rely on it");
    let last = &frames.last().unwrap()["data"]["households"]["progress"];
    assert_eq!(last["ended"], "LISTED", "{frames:#?}");
    assert!(last["candidates"].as_u64() > Some(WITHOUT), "{last}");
    refused(&streamed().await[0], "used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_a_household_is_none_of_a_scan() {
    let (world, _) = demo().await;
    let approval = given(&world, &wanted("331122101348000001")).await;
    let answer = scan(&world, &relying_on(verifier(), &approval.id), "MARGINAL", &Value::Null).await;
    assert_eq!(candidates(&answer), WITHOUT);
}
