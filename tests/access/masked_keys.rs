//! What is refused or masked is not found out by asking for it: a key, an argument or an order needs the grant to read.

use std::collections::BTreeMap;

use departments::expected::{at, portrait};
use huxiang::answer::GraphqlRequest;
use huxiang::identify::Identity;
use serde_json::{Value, json};

use crate::support::files::Files;
use crate::support::{HOUSEHOLD, World, ask, caller, supervisor, world};

/// A number with a right check digit that nobody has.
const NOBODY: &str = "331122199001011230";
const VILLAGE: &str = "331122101348";

/// The answer's bytes, and the calls made for it.
async fn asked(
    world: &World,
    gateway: &huxiang::answer::Gateway,
    identity: &Identity,
    query: &str,
    variables: Value,
) -> (String, BTreeMap<(String, String), usize>) {
    world.departments.clear_logs();
    let request = GraphqlRequest {
        query: Some(query.to_owned()),
        variables: variables.as_object().unwrap().clone(),
        ..GraphqlRequest::default()
    };
    let answer = gateway.answer(identity.clone(), request, "same".to_owned(), None).await;
    let mut calls = BTreeMap::new();
    for source in world.departments.sources() {
        for call in world.departments.log(&source) {
            *calls.entry((source.clone(), call.path)).or_default() += 1;
        }
    }
    (String::from_utf8(answer.body.to_vec()).unwrap(), calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_an_id_number_masked_finds_nobody_by_it() {
    let world = world().await;
    let expected = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let mut cadre = caller("cadre", json!({"id": at(&expected, "help.cadre.id")}));
    cadre.purpose = Some("help".to_owned());
    let member = world.departments.world().household(HOUSEHOLD).unwrap().members[1].id_number.clone();
    let query = "query($n: IdNumber!) { person(idNumber: $n) { name household { id } } }";
    // The cadre stands in a relation to the member, and sees the number masked.
    let through = "query($id: ID!) { household(id: $id) { identity { members { idNumber name } } } }";
    let shown = ask(&world.gateway, &cadre, through, json!({"id": HOUSEHOLD})).await;
    assert!(
        shown["data"]["household"]["identity"]["members"][1]["idNumber"].as_str().unwrap().contains('*'),
        "{shown}"
    );
    let found = asked(&world, &world.gateway, &cadre, query, json!({"n": member})).await;
    let absent = asked(&world, &world.gateway, &cadre, query, json!({"n": NOBODY})).await;
    assert_eq!(found, absent);
    assert!(found.0.contains(r#""person":null"#) && !found.0.contains(&member), "{}", found.0);
    // Whoever sees it in full does find.
    let answer = ask(&world.gateway, &supervisor(), query, json!({"n": member})).await;
    assert!(answer["data"]["person"]["name"].is_string(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_what_a_lookup_finds_by_finds_nothing() {
    let world = world().await;
    let roles = "  plain: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.agriCode, registry.category]}]}\n\
        \x20 masked: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.agriCode, registry.category], mask: {registry.agriCode: name}}]}\n\
        \x20 without: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.category]}]}\n\
        \x20 elsewhere: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.category]}, {relation: paired, fields: [registry.agriCode]}]}\n";
    let files = Files::copied("lookup").roles(roles);
    let gateway = files.gateway(&world).await;
    let known = world.departments.world().household(HOUSEHOLD).unwrap();
    let query = "query($c: String!) { householdByCode(code: $c) { id registry { category } } }";
    let of = |role: &str| caller(role, json!({"id": "somebody"}));
    let (found, _) = asked(&world, &gateway, &of("plain"), query, json!({"c": known.agri_code})).await;
    assert!(found.contains(HOUSEHOLD), "{found}");
    for role in ["masked", "without", "elsewhere"] {
        let found = asked(&world, &gateway, &of(role), query, json!({"c": known.agri_code})).await;
        let absent = asked(&world, &gateway, &of(role), query, json!({"c": "no such code"})).await;
        assert_eq!(found, absent, "{role}");
        assert!(found.0.contains(r#""householdByCode":null"#), "{role}: {}", found.0);
    }
    // The relation that gives the code is looked at, whatever else is selected.
    let paired = portrait(world.departments.world(), HOUSEHOLD).unwrap();
    let cadre = caller("elsewhere", json!({"id": at(&paired, "help.cadre.id")}));
    let (found, _) = asked(&world, &gateway, &cadre, query, json!({"c": known.agri_code})).await;
    assert!(found.contains(HOUSEHOLD), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_the_division_lists_nothing_by_it() {
    let world = world().await;
    let roles = "  plain: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.division]}]}\n\
        \x20 without: {title: x, networks: [gov], grants: [{relation: any, fields: [id, registry.category]}]}\n";
    let files = Files::copied("listing").roles(roles);
    let gateway = files.gateway(&world).await;
    let query = "query($d: ID!) { households(division: $d, first: 3) { nodes { id } } }";
    for (role, count) in [("plain", 3), ("without", 0)] {
        let answer = ask(&gateway, &caller(role, json!({})), query, json!({"d": VILLAGE})).await;
        assert_eq!(answer["data"]["households"]["nodes"].as_array().unwrap().len(), count, "{role}: {answer}");
    }
}
