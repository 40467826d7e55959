//! What a grant requires beside role and relation: purpose, days, hours, people, networks, issuers. Each holds for the
//! moment of the request, says what is missing where it does not, and nothing is asked of a department then.

use huxiang::identify::Identity;
use serde_json::json;

use crate::set_clock::SetClock;
use crate::support::{HOUSEHOLD, World, ask, caller, config, world_at};

const QUERY: &str = "query($id: ID!) { household(id: $id) { registry { phone } } }";

/// The demo with one more role, `probe`, whose one grant gives a household's telephone to anybody, under `conditions`.
async fn probed(hand: &SetClock, role: &str, conditions: &str) -> World {
    let grant = format!("{{relation: any, fields: [id, registry.phone]{conditions}}}");
    let probe = format!("  probe: {{title: Probe, networks: [gov, public-proxy]{role}, grants: [{grant}]}}\n");
    world_at(hand.clock(), &[("roles.yaml", config("roles.yaml") + &probe)]).await
}

fn probe() -> Identity {
    caller("probe", json!({}))
}

/// Whether it is given; where not, what is said, and that nobody was asked.
async fn asked(world: &World, identity: &Identity) -> Result<(), String> {
    world.departments.clear_logs();
    let answer = ask(&world.gateway, identity, QUERY, json!({ "id": HOUSEHOLD })).await;
    if answer["data"]["household"]["registry"]["phone"].is_string() {
        assert_eq!(answer.get("errors"), None, "{answer}");
        return Ok(());
    }
    let asked = world.departments.sources().iter().map(|source| world.departments.log(source).len()).sum::<usize>();
    assert_eq!(asked, 0, "a department was asked for what was refused: {answer}");
    Err(answer["errors"][0]["message"].as_str().unwrap().to_owned())
}

fn refused(result: Result<(), String>, with: &str) {
    let said = result.expect_err("it was given");
    assert!(said.contains(with), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_that_nobody_declared_is_refused_with_those_that_would_do() {
    let hand = SetClock::at("2026-06-01T10:00");
    let world = probed(&hand, "", ", purposes: [help, duty]").await;
    let mut identity = probe();
    refused(asked(&world, &identity).await, "for the purpose `help` or `duty`");
    identity.purpose = Some("help".to_owned());
    asked(&world, &identity).await.unwrap();
    identity.purpose = Some("supervision".to_owned());
    refused(asked(&world, &identity).await, "for the purpose `help` or `duty`");
    identity.purpose = Some("curiosity".to_owned());
    let answer = ask(&world.gateway, &identity, QUERY, json!({ "id": HOUSEHOLD })).await;
    assert_eq!(answer.get("data"), None, "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_REQUEST");
    let said = answer["errors"][0]["message"].as_str().unwrap();
    assert_eq!(said, "there is no purpose `curiosity`; your roles give something for `duty`, `help`");
    // A token's limit can only take away, also where it names what nobody declared.
    let principal = identity.principal.as_mut().unwrap();
    principal.claims.insert("purposes".to_owned(), json!(["curiosity"]));
    identity.purpose = Some("help".to_owned());
    refused(asked(&world, &identity).await, "for the purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_begins_and_ends_with_its_days_also_for_a_plan_that_is_kept() {
    let hand = SetClock::at("2026-06-30T23:59");
    let world = probed(&hand, "", ", from: 2026-07-01, until: 2026-07-31").await;
    refused(asked(&world, &probe()).await, "from 2026-07-01 on");
    hand.set("2026-07-01T00:00");
    asked(&world, &probe()).await.unwrap();
    hand.set("2026-07-31T23:59");
    asked(&world, &probe()).await.unwrap();
    hand.set("2026-08-01T00:00");
    refused(asked(&world, &probe()).await, "gave it until 2026-07-31");
    // Both days count, so one day may be both.
    let one = probed(&hand, "", ", from: 2026-08-01, until: 2026-08-01").await;
    asked(&one, &probe()).await.unwrap();
    hand.set("2026-08-02T00:00");
    refused(asked(&one, &probe()).await, "gave it until 2026-08-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_and_days_of_the_week_are_those_of_the_request() {
    let hand = SetClock::at("2026-06-05T08:00");
    let world = probed(&hand, "", r#", hours: ["08:00-12:00", "14:00-18:00"], days: [mon, tue, wed, thu, fri]"#).await;
    // The 5th is a Friday.
    for (time, given) in [
        ("2026-06-05T07:59", false),
        ("2026-06-05T08:00", true),
        ("2026-06-05T11:59", true),
        ("2026-06-05T12:00", false),
        ("2026-06-05T14:00", true),
        ("2026-06-05T18:00", false),
        ("2026-06-06T10:00", false),
        ("2026-06-08T10:00", true),
    ] {
        hand.set(time);
        let result = asked(&world, &probe()).await;
        assert_eq!(result.is_ok(), given, "{time}: {result:?}");
        if !given {
            refused(result, "at 08:00-12:00, 14:00-18:00 mon tue wed thu fri (+08:00)");
        }
    }
    let night = probed(&hand, "", r#", hours: ["22:00-24:00", "00:00-06:00"]"#).await;
    for (time, given) in [("2026-06-06T21:59", false), ("2026-06-06T23:59", true), ("2026-06-07T00:00", true)] {
        hand.set(time);
        assert_eq!(asked(&night, &probe()).await.is_ok(), given, "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_may_be_for_people_named_one_by_one() {
    let hand = SetClock::at("2026-06-01T10:00");
    let world = probed(&hand, "", ", people: [{id: zhang-3}, {id: li-4, issuer: https://demo.huxiang.invalid}]").await;
    refused(asked(&world, &probe()).await, "to people named one by one");
    let mut named = caller("probe", json!({ "id": "zhang-3" }));
    asked(&world, &named).await.unwrap();
    let principal = named.principal.as_mut().unwrap();
    principal.id = "li-4".to_owned();
    refused(asked(&world, &named).await, "to people named one by one");
    named.principal.as_mut().unwrap().issuer = "https://demo.huxiang.invalid".to_owned();
    asked(&world, &named).await.unwrap();
    named.principal.as_mut().unwrap().id = "li-44".to_owned();
    let said = asked(&world, &named).await.unwrap_err();
    assert!(!said.contains("zhang") && !said.contains("li-4"), "names nobody: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_may_count_from_fewer_networks_than_its_role() {
    let hand = SetClock::at("2026-06-01T10:00");
    let world = probed(&hand, "", ", networks: [public-proxy]").await;
    refused(asked(&world, &probe()).await, "does not count from this network");
    let mut outside = probe();
    outside.networks = vec!["public-proxy".to_owned()];
    asked(&world, &outside).await.unwrap();
    // And never from more: the role itself must count there.
    let wider = world_at(hand.clock(), &[("roles.yaml", config("roles.yaml") + "  probe: {title: Probe, networks: [public-proxy], grants: [{relation: any, fields: [id, registry.phone], networks: [gov, public-proxy]}]}\n")]).await;
    refused(asked(&wider, &probe()).await, "does not count from this network");
    asked(&wider, &outside).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_counts_only_with_tokens_of_its_issuers() {
    let hand = SetClock::at("2026-06-01T10:00");
    let world = probed(&hand, ", issuers: [https://demo.huxiang.invalid]", "").await;
    refused(asked(&world, &probe()).await, "does not count with a token of this issuer");
    let mut identity = probe();
    identity.principal.as_mut().unwrap().issuer = "https://demo.huxiang.invalid".to_owned();
    asked(&world, &identity).await.unwrap();
    identity.principal.as_mut().unwrap().issuer = "https://demo.huxiang.invalid/".to_owned();
    refused(asked(&world, &identity).await, "does not count with a token of this issuer");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_grants_the_nearest_miss_is_told() {
    let hand = SetClock::at("2026-06-01T10:00");
    let probe_role = "  probe:\n    title: Probe\n    networks: [gov]\n    grants:\n\
        \x20     - {relation: any, fields: [id, registry.phone], purposes: [help], hours: [\"20:00-21:00\"]}\n\
        \x20     - {relation: any, fields: [id, registry.phone], people: [{id: somebody}]}\n";
    let world = world_at(hand.clock(), &[("roles.yaml", config("roles.yaml") + probe_role)]).await;
    let mut identity = probe();
    refused(asked(&world, &identity).await, "for the purpose `help`");
    identity.purpose = Some("help".to_owned());
    refused(asked(&world, &identity).await, "at 20:00-21:00");
    // Whichever stands first.
    let probe_role = "  probe:\n    title: Probe\n    networks: [gov]\n    grants:\n\
        \x20     - {relation: any, fields: [id, registry.phone], people: [{id: somebody}]}\n\
        \x20     - {relation: any, fields: [id, registry.phone], purposes: [help]}\n";
    let world = world_at(hand.clock(), &[("roles.yaml", config("roles.yaml") + probe_role)]).await;
    refused(asked(&world, &probe()).await, "for the purpose `help`");
}
