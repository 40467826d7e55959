//! One call an endpoint and batch, never one a household where the source can batch: counted at the departments.

use std::collections::{BTreeMap, BTreeSet};

use departments::{Logged, Options};
use huxiang::answer::GraphqlRequest;
use huxiang::engine::plan::cost::Assumed;
use huxiang::model::binding::request::template::Values;
use huxiang::model::binding::request::{Ask, CallTemplate};
use huxiang::model::binding::{Endpoint, EndpointId};
use huxiang::model::contract::{Shape, SlotId};
use huxiang::model::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use crate::support::{self, World, ask, document, edit_limits, supervisor, world_edited};

const VILLAGE: &str = "331122101348";

/// Room for many calls in a debug build; everything else as configured.
async fn world(households_per_village: u32) -> World {
    let options = Options { latency: false, rates: false, households_per_village, ..Options::default() };
    world_edited(options, |snapshot| {
        snapshot.config.limits.request_timeout_ms = 120_000;
        edit_limits(snapshot, |_, limits| (limits.timeout_ms, limits.per_second_max) = (60_000, None));
    })
    .await
}

/// How the calls of an endpoint look in its source's log; endpoints that look alike are counted together.
type Mark = (String, String, Option<String>);

fn mark(source: &str, template: &CallTemplate) -> Mark {
    match &template.ask {
        Ask::Http(ask) => {
            let key = ["KEY".into()];
            let path = ask
                .path
                .filled(&Values { keys: &key, inputs: &[], today: "", sealing: None })
                .expect("only the key is in a path");
            let prefix = path.split("KEY").next().unwrap_or_default().to_owned();
            (source.to_owned(), prefix, ask.soap.as_deref().map(str::to_owned))
        }
        _ => (source.to_owned(), String::new(), None),
    }
}

fn is_of(call: &Logged, mark: &Mark) -> bool {
    let action = call.headers.iter().find(|(name, _)| name == "soapaction").map(|(_, value)| value.trim_matches('"'));
    call.path.starts_with(&mark.1) && mark.2.as_deref().is_none_or(|wanted| action == Some(wanted))
}

/// The endpoints that a document asking for everything needs; what a list's records tell of entities is not asked again.
fn endpoints(snapshot: &Snapshot) -> BTreeSet<EndpointId> {
    let contract = &snapshot.contract;
    let mut slots: Vec<SlotId> = Vec::new();
    let mut embedded = BTreeSet::new();
    for slot in contract.slots.iter().filter(|slot| !slot.hidden) {
        slots.push(slot.id);
        if let Shape::EntityList(_) = slot.shape
            && let Some(provider) = snapshot.bindings.provider(slot.id)
            && let Some(huxiang::model::binding::mapping::Read::Objects { inside, .. }) =
                snapshot.bindings.endpoint(provider).mapping.entry(slot.id).map(|entry| &entry.read)
        {
            embedded.extend(inside.entries.iter().map(|entry| entry.slot));
        }
    }
    let key = |slot: &SlotId| contract.entity(contract.slot(*slot).entity).key == *slot;
    slots
        .iter()
        .filter(|slot| !embedded.contains(slot) && !key(slot))
        .filter_map(|slot| snapshot.bindings.provider(*slot))
        // Who looked is not of the portrait.
        .filter(|id| *snapshot.bindings.source(snapshot.bindings.endpoint(*id).source).id != *"access-log")
        .collect()
}

/// What the document must cost, by the bindings and by what the world knows, without the engine.
fn expected(world: &World, answer: &[&Value]) -> BTreeMap<Mark, usize> {
    let snapshot = world.gateway.snapshot();
    let mut calls: BTreeMap<Mark, usize> = BTreeMap::new();
    for id in endpoints(snapshot) {
        let endpoint = snapshot.bindings.endpoint(id);
        let source = snapshot.bindings.source(endpoint.source);
        let households = answer.iter().copied().filter(|household| is_asked(endpoint, household));
        let keys = distinct(households.flat_map(|household| keys(world, snapshot, endpoint, household)));
        let Some((template, batch)) = endpoint.template(keys.len()) else { panic!("{} has no request", endpoint.name) };
        let pages: usize = keys.chunks(batch).map(|keys| pages(snapshot, endpoint, template, answer, keys)).sum();
        for connection in &source.connections {
            // Banks have a log each.
            let log = match &connection.instance {
                Some(instance) => format!("{}/{:02}", source.id, instance_number(&instance.id)),
                None => source.id.to_string(),
            };
            *calls.entry(mark(&log, template)).or_default() += pages;
        }
    }
    calls
}

fn instance_number(id: &str) -> usize {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{id} has no number"))
}

fn distinct(keys: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    keys.filter(|key| seen.insert(key.clone())).collect()
}

/// Banks are asked only where there is a mandate that holds.
fn is_asked(endpoint: &Endpoint, household: &Value) -> bool {
    let expires = household["assets"]["deposits"]["mandate"]["expiresOn"].as_str();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).date().to_string();
    endpoint.requires.is_none() || expires.is_some_and(|expires| expires >= today.as_str())
}

/// What an endpoint knows a household by: its id, or the id numbers of its people.
fn keys(world: &World, snapshot: &Snapshot, endpoint: &Endpoint, household: &Value) -> Vec<String> {
    let id = household["id"].as_str().expect("a household has an id");
    match &*snapshot.contract.slot(endpoint.key).path {
        "id" => vec![id.to_owned()],
        "registry.personIds" | "idNumber" => {
            let known = world.departments.world().household(id).expect("a household of the world");
            known.members.iter().map(|member| member.id_number.clone()).collect()
        }
        other => panic!("no key is known at {other}"),
    }
}

/// Pages of one batch: as many as its records fill.
fn pages(
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    template: &CallTemplate,
    answer: &[&Value],
    keys: &[String],
) -> usize {
    let Some(page) = template.page() else { return 1 };
    let list = &snapshot.contract.slot(endpoint.mapping.entries[0].slot).path;
    let records = answer.iter().flat_map(|household| {
        let list = list.split('.').fold(*household, |value, name| &value[name]);
        list.as_array().into_iter().flatten()
    });
    let of_batch = records.filter(|record| keys.iter().any(|key| record["idNumber"] == **key)).count();
    of_batch.div_ceil(page.size).max(1)
}

/// Holds the departments' logs against what was expected; requests for tokens and listings are named apart.
fn hold(world: &World, expected: &BTreeMap<Mark, usize>, apart: &BTreeMap<(&str, &str), usize>) {
    let mut wrong = Vec::new();
    for (mark, calls) in expected {
        let made = world.departments.log(&mark.0).iter().filter(|call| is_of(call, mark)).count();
        if mark.0 != "housing" && made != *calls {
            wrong.push(format!("{mark:?}: {made} calls and not {calls}"));
        }
    }
    for (source, total) in world.departments.calls() {
        let of_endpoints: usize = expected.iter().filter(|(mark, _)| mark.0 == source).map(|(_, calls)| calls).sum();
        let others: usize = apart.iter().filter(|((of, _), _)| *of == source).map(|(_, calls)| calls).sum();
        if usize::try_from(total).unwrap() != of_endpoints + others {
            wrong.push(format!("{source}: {total} calls in all, and not {of_endpoints} and {others}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_households_cost_what_the_batch_sizes_allow() {
    let world = world(60).await;
    let snapshot = world.gateway.snapshot();
    let query = format!(
        "query($in: ID!) {{ households(division: $in, first: 50) {{ nodes {{ {} }} }} }}",
        document::everything(&snapshot.contract)
    );
    let answer = ask(&world.gateway, &supervisor(), &query, json!({ "in": VILLAGE })).await;
    // Nothing failed; some households have no mandate that holds.
    for error in answer["errors"].as_array().into_iter().flatten() {
        let told = &error["extensions"];
        assert_eq!((&told["source"], &told["code"]), (&json!("banks"), &json!("INPUT_MISSING")), "{error:#}");
    }
    let households: Vec<&Value> = answer["data"]["households"]["nodes"].as_array().unwrap().iter().collect();
    assert_eq!(households.len(), 50);
    let people = households.iter().map(|household| household["identity"]["members"].as_array().unwrap().len());
    assert!(people.sum::<usize>() > 100, "the people do not fit into one batch of 100");
    let expected = expected(&world, &households);
    let total: usize = expected.values().sum();
    println!("{} endpoints, {total} calls", expected.len());
    // `plan` reckons the same beforehand, for as many people; further pages and lapsed mandates it cannot know.
    let members: usize =
        households.iter().map(|household| household["identity"]["members"].as_array().unwrap().len()).sum();
    let reckoned: usize = endpoints(snapshot)
        .into_iter()
        .map(|id| {
            let endpoint = snapshot.bindings.endpoint(id);
            let path = &*snapshot.contract.slot(endpoint.key).path;
            let keys = if matches!(path, "registry.personIds" | "idNumber") { members } else { 50 };
            keys.div_ceil(endpoint.template(keys).unwrap().1)
                * snapshot.bindings.source(endpoint.source).connections.len()
        })
        .sum();
    let request = GraphqlRequest {
        query: Some(query),
        variables: Map::from_iter([("in".to_owned(), json!(VILLAGE))]),
        ..GraphqlRequest::default()
    };
    let text =
        world.gateway.plan_text(&supervisor(), &request, Assumed { listed: 50, members }).expect("it can be planned");
    assert!(text.contains(&format!("\n{} upstream calls", reckoned + 1)), "{reckoned} and the listing:\n{text}");
    hold(&world, &expected, &BTreeMap::from([(("human-resources", "token"), 1), (("agriculture", "listing"), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_household_costs_one_call_an_endpoint_that_batches() {
    let world = world(21).await;
    let snapshot = world.gateway.snapshot();
    let query = document::portrait(&snapshot.contract);
    let id = format!("{VILLAGE}000001");
    let answer = ask(&world.gateway, &supervisor(), &query, json!({ "id": id })).await;
    let households = [&answer["data"]["household"]];
    let expected = expected(&world, &households);
    hold(&world, &expected, &BTreeMap::from([(("human-resources", "token"), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_prints_what_goes_into_one_call() {
    let world = world(21).await;
    let snapshot = world.gateway.snapshot();
    let request = GraphqlRequest {
        query: Some(document::portrait(&snapshot.contract)),
        variables: Map::from_iter([("id".to_owned(), json!(support::HOUSEHOLD))]),
        ..GraphqlRequest::default()
    };
    let text = world.gateway.plan_text(&supervisor(), &request, Assumed::default()).expect("it can be planned");
    for id in endpoints(snapshot) {
        let endpoint = snapshot.bindings.endpoint(id);
        let name = format!("{}.{} by ", snapshot.bindings.source(endpoint.source).id, endpoint.name);
        let line = text.lines().find(|line| line.trim_start().starts_with(&name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in the plan:\n{text}"));
        match &endpoint.many {
            Some(many) => assert!(line.contains(&format!("batches of {}", many.batch_max())), "{line}"),
            None => assert!(line.contains("one a call"), "{line}"),
        }
    }
    assert!(text.contains("× 73 instances"), "{text}");
}
