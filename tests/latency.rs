//! A portrait takes as long as the critical path of the departments, and next to nothing more. A crate of its own: what is
//! measured has its process to itself.

mod support;
#[path = "support/temporary.rs"]
mod temporary;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use departments::registry::DEPARTMENTS;
use departments::{Fault, Options};
use huxiang::model::binding::{Endpoint, EndpointId};
use huxiang::model::contract::{Shape, SlotId};
use huxiang::model::snapshot::Snapshot;
use serde_json::json;
use support::{HOUSEHOLD, World, ask, document, supervisor, world_edited};

/// What the gateway may add; a debug build computes some ten times longer.
const OVERHEAD: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 10 });
const RUNS: usize = if cfg!(debug_assertions) { 9 } else { 31 };

/// The longest that a source's answer takes, as the registry of departments says; a database answers at once.
fn latency_ms(source: &str) -> u64 {
    if source == "banks" {
        return (1..=departments::registry::BANKS)
            .map(|bank| departments::banks::latency_ms(bank).1)
            .max()
            .unwrap_or(0);
    }
    DEPARTMENTS.iter().find(|department| department.id == source).map_or(0, |department| department.latency_ms.1)
}

/// When an endpoint can have answered, at the latest: after everything that it needs first, one after another.
fn answered_at(
    snapshot: &Snapshot,
    latency: fn(&str) -> u64,
    id: EndpointId,
    known: &mut BTreeMap<EndpointId, u64>,
) -> u64 {
    if let Some(at) = known.get(&id) {
        return *at;
    }
    let endpoint = snapshot.bindings.endpoint(id);
    let before =
        needs(snapshot, endpoint).into_iter().map(|id| answered_at(snapshot, latency, id, known)).max().unwrap_or(0);
    let at = before + latency(&snapshot.bindings.source(endpoint.source).id);
    known.insert(id, at);
    at
}

/// The endpoints that give an endpoint what it is asked with.
fn needs(snapshot: &Snapshot, endpoint: &Endpoint) -> Vec<EndpointId> {
    let mut slots: Vec<SlotId> = vec![endpoint.key];
    slots.extend(endpoint.with.iter().map(|(_, slot)| *slot));
    slots.extend(endpoint.requires.iter().flat_map(|requires| requires.inputs.iter().copied()));
    slots.extend(snapshot.bindings.territory_slot(&snapshot.contract, endpoint));
    let contract = &snapshot.contract;
    let mut found: Vec<EndpointId> = slots
        .into_iter()
        .filter(|slot| contract.entity(contract.slot(*slot).entity).key != *slot)
        .filter_map(|slot| {
            std::iter::once(slot).chain(contract.above(slot)).find_map(|slot| snapshot.bindings.provider(slot))
        })
        .collect();
    // The people of a household are named by one of its lists.
    let named = contract.slots.iter().filter(|slot| slot.shape == Shape::EntityList(endpoint.entity));
    found.extend(named.filter_map(|slot| snapshot.bindings.provider(slot.id)));
    found.retain(|id| *id != endpoint.id);
    found
}

/// The longest chain of departments that have to be asked one after another for a household, or for these sections of it.
fn critical_path(snapshot: &Snapshot, latency: fn(&str) -> u64, sections: Option<&[&str]>) -> Duration {
    let contract = &snapshot.contract;
    let household = contract.entity_named("Household").unwrap();
    let mut known = BTreeMap::new();
    let people = contract.entity_named("Person").unwrap();
    // A relation by jurisdiction reads the division: nothing else is asked before the register has answered.
    let gate =
        contract.slot_at(household, "registry.division").and_then(|slot| snapshot.bindings.provider(slot)).unwrap();
    let gate = answered_at(snapshot, latency, gate, &mut known);
    let asked = |path: &str| sections.is_none_or(|names| names.iter().any(|name| path.split('.').next() == Some(name)));
    let slots = contract
        .slots
        .iter()
        .filter(|slot| (slot.entity == household && asked(&slot.path)) || (slot.entity == people && asked("identity")));
    let endpoints = slots.filter_map(|slot| snapshot.bindings.provider(slot.id));
    let last = endpoints.map(|id| {
        let own = latency(&snapshot.bindings.source(snapshot.bindings.endpoint(id).source).id);
        answered_at(snapshot, latency, id, &mut known).max(gate + own)
    });
    Duration::from_millis(last.max().unwrap_or(0))
}

/// One test measures at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The median of answers to a query, when what is made once is there.
async fn median(world: &World, query: &str) -> Duration {
    let first = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    assert!(first["data"]["household"]["id"].is_string(), "{:#}", first["errors"]);
    let mut took = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
        took.push(began.elapsed());
    }
    took.sort();
    println!("fastest {:?}, slowest {:?}", took[0], took[RUNS - 1]);
    took[RUNS / 2]
}

async fn without_rates() -> World {
    let options = Options { rates: false, ..Options::default() };
    world_edited(options, |snapshot| support::edit_limits(snapshot, |_, limits| limits.per_second_max = None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portrait_takes_no_longer_than_the_departments_one_after_another() {
    let _alone = ALONE.lock().await;
    let world = without_rates().await;
    let query = document::portrait(&world.gateway.snapshot().contract);
    let path = critical_path(world.gateway.snapshot(), latency_ms, None);
    let median = median(&world, &query).await;
    println!("portrait: median {median:?}, departments {path:?}");
    assert!(median <= path + OVERHEAD, "{median:?} is more than {OVERHEAD:?} above {path:?}");
}

/// What decides on who is recognised, of the departments that hold it and of all banks at once.
const CHECKED: [&str; 7] = ["registry", "identity", "assistance", "medical", "employment", "housing", "assets"];

#[tokio::test(flavor = "multi_thread")]
async fn a_recognition_check_takes_no_longer_than_the_departments_and_banks_one_after_another() {
    let _alone = ALONE.lock().await;
    let world = without_rates().await;
    let query = document::sections(&world.gateway.snapshot().contract, &CHECKED);
    let path = critical_path(world.gateway.snapshot(), latency_ms, Some(&CHECKED));
    world.departments.clear_logs();
    let median = median(&world, &query).await;
    let banks = world.departments.calls().keys().filter(|source| source.starts_with("banks/")).count();
    assert_eq!(banks, departments::registry::BANKS, "all banks are asked");
    println!("recognition: median {median:?}, departments {path:?}");
    assert!(median <= path + OVERHEAD / 2, "{median:?} is more than {:?} above {path:?}", OVERHEAD / 2);
}

/// Every department as slow as the others, and so slow that what the gateway computes does not matter.
const SLOW_MS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_what_it_does_not_need() {
    let _alone = ALONE.lock().await;
    let options = Options { latency: false, rates: false, ..Options::default() };
    let world = world_edited(options, |snapshot| {
        support::edit_limits(snapshot, |_, limits| (limits.timeout_ms, limits.per_second_max) = (5_000, None));
    })
    .await;
    let snapshot = world.gateway.snapshot();
    let path = critical_path(snapshot, |source| if source == "housing" { 0 } else { SLOW_MS }, None);
    let query = document::portrait(&snapshot.contract);
    ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    for source in world.departments.sources().iter().filter(|source| *source != "housing") {
        world.departments.set_fault(source, Fault::Slow(Duration::from_millis(SLOW_MS)));
    }
    world.departments.clear_logs();
    let began = SystemTime::now();
    ask(&world.gateway, &supervisor(), &query, json!({ "id": HOUSEHOLD })).await;
    let took = began.elapsed().unwrap();
    // By source, when its first and its last call came.
    for source in
        world.departments.calls().keys().filter(|source| !source.starts_with("banks/") || *source == "banks/01")
    {
        let came =
            world.departments.log(source).iter().map(|call| call.at.duration_since(began).unwrap()).collect::<Vec<_>>();
        println!("{source}: {:?} to {:?}", came.iter().min().unwrap(), came.iter().max().unwrap());
    }
    println!("{took:?}, departments {path:?}");
    assert!(took < path + Duration::from_millis(SLOW_MS), "{took:?}: a wave more than the {path:?} it needs");
}
