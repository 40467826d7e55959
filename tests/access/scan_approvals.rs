//! Scans that go further once a second person has approved the very condition.

use huxiang::answer::{Frame, GraphqlRequest, Halt, StreamStanding};
use huxiang::approval::Wanted;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::second_persons::{demo, given, refused, relying_on, verifier, wanted};
use crate::support::{World, ask};

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
        while let Some(Frame::Next(body)) = frames.next().await {
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
