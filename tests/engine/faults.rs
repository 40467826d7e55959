//! A department that is down, slow or answers nonsense costs only its own fields, each with state, code and source.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use departments::{Fault, Options};
use huxiang::model::access::RelationId;
use huxiang::model::binding::SourceId;
use huxiang::model::binding::format::Protocol;
use huxiang::model::binding::mapping::{Mapping, Read};
use huxiang::model::contract::{EntityId, Shape, SlotId};
use huxiang::model::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::support::sources::{Origin, origin};
use crate::support::{World, ask, document, edit_limits, supervisor, world_edited};

/// Long for departments that answer at once, short for a test that waits for it.
const TIMEOUT_MS: u64 = 900;
/// Paths that one error names at most, as docs/frontends.md says.
const PATHS_MAX: usize = 20;

async fn world() -> World {
    let options = Options { latency: false, rates: false, ..Options::default() };
    world_edited(options, |snapshot| {
        edit_limits(snapshot, |_, limits| (limits.timeout_ms, limits.per_second_max) = (TIMEOUT_MS, None));
    })
    .await
}

/// The household of a village about which the departments know most.
fn richest(world: &World) -> String {
    let of = world.departments.world();
    let items = |id: &String| {
        let portrait = departments::expected::portrait(of, id).expect("a household of the village");
        let there = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        let banks = there(departments::expected::at(&portrait, "assets.deposits"));
        let items = departments::expected::ITEMS.iter();
        (banks, items.filter(|item| there(departments::expected::at(&portrait, item.path))).count())
    };
    of.village_household_ids("331122101348").max_by_key(items).expect("a village has households")
}

async fn portrait(world: &World, id: &str) -> Value {
    let query = document::portrait(&world.gateway.snapshot().contract);
    ask(&world.gateway, &supervisor(), &query, json!({ "id": id })).await
}

/// Two answers held against each other: what depends on the sources that are ill is null, the rest is the same.
struct Comparison<'a> {
    snapshot: &'a Snapshot,
    ill: BTreeSet<SourceId>,
    wrong: Vec<String>,
}

type Embedded<'a> = Option<(Origin, &'a Mapping)>;

impl<'a> Comparison<'a> {
    fn entity(&mut self, entity: EntityId, well: &Value, ill: &Value, embedded: &Embedded<'a>, path: &str) {
        let snapshot = self.snapshot;
        for slot in &snapshot.contract.entity(entity).children {
            self.slot(*slot, well, ill, embedded, path);
        }
    }

    fn slot(&mut self, id: SlotId, well: &Value, ill: &Value, embedded: &Embedded<'a>, path: &str) {
        let snapshot = self.snapshot;
        let slot = snapshot.contract.slot(id);
        let path = format!("{path}.{}", slot.name);
        let (well, ill) = (&well[&*slot.name], &ill[&*slot.name]);
        let from = origin(snapshot, id, embedded.as_ref());
        match &from {
            Origin::Parts => {
                for child in &slot.children {
                    self.slot(*child, well, ill, embedded, &path);
                }
            }
            // Rules and the answers of instances have a test of their own.
            Origin::Derived | Origin::Source { by_instance: true, .. } => {}
            Origin::Source { own, inputs, .. } if self.ill.contains(own) || !inputs.is_disjoint(&self.ill) => {
                if !ill.is_null() {
                    self.wrong.push(format!("{path} cannot be known and is {ill}"));
                }
            }
            Origin::Key | Origin::Source { .. } => match (&slot.shape, well.as_array(), ill.as_array()) {
                (Shape::EntityList(below), Some(of_well), Some(of_ill)) if of_well.len() == of_ill.len() => {
                    let inside = self.inside(id, &from);
                    for (well, ill) in of_well.iter().zip(of_ill) {
                        self.entity(*below, well, ill, &inside, &path);
                    }
                }
                _ if well != ill => self.wrong.push(format!("{path} was {well} and is {ill}")),
                _ => {}
            },
        }
    }

    /// What the elements of a list tell of the entities they name.
    fn inside(&self, slot: SlotId, from: &Origin) -> Embedded<'a> {
        let endpoint = self.snapshot.bindings.endpoint(self.snapshot.bindings.provider(slot)?);
        match &endpoint.mapping.entry(slot)?.read {
            Read::Objects { inside, .. } => Some((from.clone(), inside)),
            _ => None,
        }
    }
}

/// Holds an answer with ill sources against one without.
fn hold(world: &World, id: &str, well: &Value, ill: &Value, sources: &[&str], direct: &str) {
    let snapshot = world.gateway.snapshot();
    let ids: BTreeSet<SourceId> = (0..).map(SourceId).take(snapshot.bindings.sources.len()).collect();
    let of_ill = ids.into_iter().filter(|id| sources.contains(&&*snapshot.bindings.source(*id).id)).collect();
    let mut comparison = Comparison { snapshot, ill: of_ill, wrong: Vec::new() };
    let household = snapshot.contract.entity_named("Household").unwrap();
    comparison.entity(household, &well["data"]["household"], &ill["data"]["household"], &None, "household");
    assert!(comparison.wrong.is_empty(), "{sources:?} {direct}: {:#?}", comparison.wrong);
    errors(world, id, ill, sources, direct);
    items(snapshot, &comparison.ill, well, ill, direct);
}

/// One error a source and cause, with places that are null, and nothing of the household or of the department's own.
fn errors(world: &World, id: &str, answer: &Value, sources: &[&str], direct: &str) {
    let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("{sources:?} {direct}: no errors"));
    let mut seen = BTreeSet::new();
    for error in errors.iter().filter(|error| error["extensions"]["code"] != "FORBIDDEN") {
        let told = &error["extensions"];
        let (source, code) = (told["source"].as_str().unwrap_or_default(), told["code"].as_str().unwrap_or_default());
        assert!(sources.contains(&source), "{sources:?} {direct}: {error}");
        assert!(code == direct || code == "INPUT_MISSING", "{sources:?} {direct}: {error}");
        assert!(seen.insert((source, code, told["state"].to_string())), "told twice: {error}");
        assert_eq!(told["requestId"], "test-request");
        let paths = told["paths"].as_array().unwrap();
        let count = usize::try_from(told["count"].as_u64().unwrap()).unwrap();
        assert!((1..=PATHS_MAX).contains(&paths.len()) && paths.len() == count.min(PATHS_MAX), "{error}");
        assert_eq!(error["path"], paths[0]);
        assert_eq!(paths.iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), paths.len(), "{error}");
        for path in paths {
            let at = path.as_array().unwrap().iter().fold(&answer["data"], |value, segment| match segment {
                Value::String(name) => &value[name],
                index => &value[usize::try_from(index.as_u64().unwrap()).unwrap()],
            });
            assert!(at.is_null(), "{path} has an error and a value: {at}");
        }
    }
    for source in sources {
        assert!(seen.iter().any(|(of, code, _)| of == source && *code == direct), "{source} {direct}: {errors:#?}");
    }
    let text = answer["errors"].to_string();
    let household = world.departments.world().household(id).unwrap();
    let people = household.members.iter().flat_map(|member| [&member.id_number, &member.name]);
    for secret in people.map(String::as_str).chain([id, "系统繁忙", "NullPointer", "127.0.0.1", "/api/", "/v1/"]) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// The items of sources that are ill say so; the others are as they were.
fn items(snapshot: &Snapshot, of_ill: &BTreeSet<SourceId>, well: &Value, ill: &Value, direct: &str) {
    let by_no = |answer: &Value| -> BTreeMap<String, Value> {
        let items = answer["data"]["household"]["items"].as_array().unwrap().iter();
        items.map(|item| (item["no"].as_str().unwrap().to_owned(), item.clone())).collect()
    };
    let (well, ill) = (by_no(well), by_no(ill));
    assert_eq!(well.len(), snapshot.contract.items.len());
    for item in &snapshot.contract.items {
        let (well, ill) = (&well[&*item.no], &ill[&*item.no]);
        let parts = leaves(snapshot, item.slot);
        let is_ill = |origin: &Origin| matches!(origin, Origin::Source { own, .. } if of_ill.contains(own));
        let waits = |origin: &Origin| matches!(origin, Origin::Source { inputs, .. } if !inputs.is_disjoint(of_ill));
        if well["state"] == "REFUSED" {
            assert_eq!(ill["state"], "REFUSED", "{ill}");
        } else if parts.contains(&Origin::Derived) {
            // What rules come to with less to go by may be the same.
            continue;
        } else if parts.iter().all(is_ill)
            && !parts.iter().any(|part| matches!(part, Origin::Source { by_instance: true, .. }))
        {
            assert_eq!((&ill["state"], &ill["code"]), (&json!("UNAVAILABLE"), &json!(direct)), "{ill}");
            assert!(of_ill.iter().any(|id| ill["source"] == *snapshot.bindings.source(*id).id), "{ill}");
            assert!(ill["message"].as_str().is_some_and(|message| !message.is_empty()), "{ill}");
        } else if parts.iter().all(|part| waits(part) && !is_ill(part)) {
            assert_eq!((&ill["state"], &ill["code"]), (&json!("UNAVAILABLE"), &json!("INPUT_MISSING")), "{ill}");
        } else if !parts.iter().any(|part| is_ill(part) || waits(part)) {
            assert_eq!(well["state"], ill["state"], "{} is not concerned: {ill}", item.no);
        }
    }
}

/// The origins of what an item consists of.
fn leaves(snapshot: &Snapshot, slot: SlotId) -> Vec<Origin> {
    match origin(snapshot, slot, None) {
        Origin::Parts => {
            let children = &snapshot.contract.slot(slot).children;
            children.iter().flat_map(|child| leaves(snapshot, *child)).collect()
        }
        known => vec![known],
    }
}

/// Ids of the sources that the bindings name, without the one that every key comes from.
/// The departments; the gateway's own records are none.
fn sources(world: &World) -> Vec<String> {
    let sources = world.gateway.snapshot().bindings.sources.iter();
    let departments =
        sources.filter(|source| source.connections.iter().all(|connection| connection.protocol != Protocol::Audit));
    departments.map(|source| source.id.to_string()).filter(|id| id != "agriculture").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_department_costs_only_its_own_fields() {
    let world = world().await;
    let id = richest(&world);
    let well = portrait(&world, &id).await;
    assert!(well.get("errors").is_none(), "{:#}", well["errors"]);
    for source in sources(&world) {
        world.departments.stop(&source);
        let ill = portrait(&world, &id).await;
        hold(&world, &id, &well, &ill, &[&source], "SOURCE_UNREACHABLE");
        world.departments.resume(&source);
        let mended = portrait(&world, &id).await;
        assert!(mended.get("errors").is_none(), "{source} is back: {:#}", mended["errors"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_answers_nonsense_costs_only_its_own_fields() {
    let world = world().await;
    let id = richest(&world);
    let well = portrait(&world, &id).await;
    for source in sources(&world).iter().filter(|source| *source != "housing") {
        for (fault, code) in [
            (Fault::Nonsense, "SOURCE_BAD_ANSWER"),
            (Fault::Http500, "SOURCE_ERROR"),
            (Fault::Empty, "SOURCE_BAD_ANSWER"),
            (Fault::Truncated, "SOURCE_BAD_ANSWER"),
        ] {
            world.departments.set_fault(source, fault);
            let ill = portrait(&world, &id).await;
            hold(&world, &id, &well, &ill, &[source], code);
        }
        world.departments.set_fault(source, Fault::None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_departments_time_out_and_cost_only_their_own_fields() {
    let world = world().await;
    let id = richest(&world);
    let well = portrait(&world, &id).await;
    let sources: Vec<String> = sources(&world).into_iter().filter(|source| source != "housing").collect();
    // Banks are not asked while it is not known whether they may be: with themselves alone.
    let (waiting, others): (Vec<String>, Vec<String>) = sources.into_iter().partition(|source| source == "banks");
    for slow in others.chunks(4).chain([&waiting[..]]) {
        for source in slow {
            world.departments.set_fault(source, Fault::Slow(Duration::from_secs(5)));
        }
        let ill = portrait(&world, &id).await;
        let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
        hold(&world, &id, &well, &ill, &slow, "SOURCE_TIMEOUT");
        for source in slow {
            world.departments.set_fault(source, Fault::None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_73_banks_only_the_one_that_is_down_says_so() {
    let world = world().await;
    let id = richest(&world);
    let well = portrait(&world, &id).await;
    let banks = |answer: &Value| answer["data"]["household"]["assets"]["deposits"]["banks"].as_array().unwrap().clone();
    assert_eq!(banks(&well).len(), 73);
    world.departments.stop("banks/07");
    let ill = portrait(&world, &id).await;
    for (at, (well, ill)) in banks(&well).iter().zip(&banks(&ill)).enumerate() {
        if at == 6 {
            assert_eq!((&ill["state"], &ill["code"]), (&json!("UNAVAILABLE"), &json!("SOURCE_UNREACHABLE")), "{ill}");
            assert_eq!((&ill["bank"], &ill["name"]), (&well["bank"], &well["name"]));
            assert!(ill["hasAccount"].is_null() && ill["overThreshold"].is_null());
        } else {
            assert_eq!(well, ill);
        }
    }
    // What every bank would have to be heard for is not known either; what one bank is enough for, is.
    let errors = ill["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["extensions"]["source"]), (1, &json!("banks")));
    let deposits = &ill["data"]["household"]["assets"]["deposits"];
    for field in ["hasAccount", "overThreshold"] {
        assert!(deposits[field] == true || deposits[field].is_null(), "{field} is not false before all banks said so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_source_of_keys_everything_says_so_with_that_source_to_blame() {
    let world = world().await;
    let id = richest(&world);
    world.departments.stop("agriculture");
    // A supervisor's relation is decided by what agriculture knows: nothing can be given.
    let answer = portrait(&world, &id).await;
    assert!(answer["data"]["household"].is_null());
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["extensions"]["source"], "agriculture");
    world.departments.resume("agriculture");
    // Were the supervisor's relation one that everybody stands in, all would be asked by keys that are not there.
    drop(world);
    let world = world_edited(Options { latency: false, rates: false, ..Options::default() }, |snapshot| {
        edit_limits(snapshot, |_, limits| (limits.timeout_ms, limits.per_second_max) = (TIMEOUT_MS, None));
        let any = snapshot.access.relations.iter().position(|relation| &*relation.name == "any").unwrap();
        let any = RelationId(u32::try_from(any).unwrap());
        snapshot
            .access
            .grants
            .iter_mut()
            .filter(|grant| &*grant.role == "supervisor")
            .for_each(|grant| grant.relation = any);
    })
    .await;
    let query = document::portrait(&world.gateway.snapshot().contract);
    let well = ask(&world.gateway, &supervisor(), &query, json!({ "id": id })).await;
    world.departments.stop("agriculture");
    world.departments.clear_logs();
    let ill = ask(&world.gateway, &supervisor(), &query, json!({ "id": id })).await;
    hold(&world, &id, &well, &ill, &["agriculture"], "SOURCE_UNREACHABLE");
    assert_eq!(ill["data"]["household"]["id"], json!(id));
    assert!(world.departments.calls().is_empty(), "nobody is asked without keys: {:?}", world.departments.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_whose_source_fails_is_null_as_the_contract_allows_and_the_rest_is_answered() {
    let world = world().await;
    let contract = &world.gateway.snapshot().contract;
    assert!(contract.queries.iter().all(|query| query.nullable), "one department's failure may not empty the answer");
    let query = "{ households(division: \"331122101348\") { nodes { id } } other: __typename }";
    for (fault, code) in [(Fault::Nonsense, "SOURCE_BAD_ANSWER"), (Fault::Http500, "SOURCE_ERROR")] {
        world.departments.set_fault("agriculture", fault);
        let answer = ask(&world.gateway, &supervisor(), query, json!({})).await;
        assert_eq!(answer["data"], json!({ "households": null, "other": "Query" }));
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
        assert_eq!(answer["errors"][0]["extensions"]["code"], code);
    }
}
