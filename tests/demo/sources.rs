//! The demo's bindings against the demo's departments, without the engine: every endpoint is read through its
//! adapter, and every pointer of every binding leads to something in somebody's record.

#![cfg(feature = "demo")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use departments::World;
use departments::server::{Options, Running};
use huxiang::base::fault::Faults;
use huxiang::base::pointer::Pointer;
use huxiang::model::binding::compile::{self, Against};
use huxiang::model::binding::conversion::codes::CodeTables;
use huxiang::model::binding::format::Protocol;
use huxiang::model::binding::platform::Platforms;
use huxiang::model::binding::{Bindings, Endpoint};
use huxiang::model::config::egress::EgressConfig;
use huxiang::model::contract::{self, Contract};
use huxiang::source::{CallContext, Connector, Fetch, Fetched, Shared, SourceError};
use serde_json::Value;
use tokio::time::Instant;

/// Pointers of fields that no demo department fills.
const NEVER: &[&str] = &["/bandCode"];

fn load(running: &Running) -> (Contract, Bindings) {
    let (root, variables) = (Path::new(env!("CARGO_MANIFEST_DIR")), running.variables());
    let mut faults = Faults::default();
    let codes = CodeTables::load(&root.join("config/codes"), &mut faults);
    let contract = contract::load::load(&root.join("schema"), &mut faults);
    let contract = contract.unwrap_or_else(|| panic!("{}", faults.render()));
    let read = |name: &str| variables.get(name).cloned();
    let egress = EgressConfig::default();
    // What rules fill is not looked at here.
    let against = Against {
        egress: &egress,
        contract: &contract,
        codes: &codes,
        variables: &read,
        platforms: &Platforms::default(),
        derived: None,
    };
    let bindings = compile::load(&root.join("resolvers"), None, &[], &against, &mut faults);
    assert!(faults.is_empty(), "{}", faults.render());
    (contract, bindings)
}

/// Keys of this endpoint for the villages of the demo, and for each key the name of the person it is.
fn keys(world: &World, villages: &[String], by_person: bool) -> Vec<(Arc<str>, String)> {
    let households =
        villages.iter().flat_map(|village| world.village_household_ids(village)).filter_map(|id| world.household(&id));
    households
        .flat_map(|household| match by_person {
            true => household.members.iter().map(|m| (Arc::from(m.id_number.as_str()), m.name.clone())).collect(),
            false => vec![(Arc::from(household.id.as_str()), String::new())],
        })
        .collect()
}

async fn read(
    connector: &Connector,
    endpoint: &Endpoint,
    keys: &[(Arc<str>, String)],
    wanted: &[Pointer],
) -> Result<Fetched, SourceError> {
    let (template, _) = endpoint.template(keys.len()).expect("an endpoint asks somehow");
    let inputs: Vec<(Arc<str>, String)> =
        template.needs_inputs().iter().map(|name| (Arc::clone(name), keys[0].1.clone())).collect();
    let keys: Vec<Arc<str>> = keys.iter().map(|(key, _)| Arc::clone(key)).collect();
    let context = CallContext::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    connector
        .fetch(Fetch { template, keys: &keys, inputs: &inputs, wanted, deadline, context: &context, page: None })
        .await
}

fn leads_somewhere(value: &Value, pointer: &[&str]) -> bool {
    match (value, pointer) {
        (Value::Array(list), [first, rest @ ..]) if first.parse::<usize>().is_ok() => {
            first.parse().ok().and_then(|at: usize| list.get(at)).is_some_and(|value| leads_somewhere(value, rest))
        }
        (Value::Array(list), _) if !pointer.is_empty() => list.iter().any(|value| leads_somewhere(value, pointer)),
        (_, []) => !value.is_null(),
        (_, [first, rest @ ..]) => value.get(first).is_some_and(|value| leads_somewhere(value, rest)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pointer_of_every_binding_leads_to_something() {
    let options = Options { latency: false, ..Options::default() };
    let villages = options.villages.clone();
    let running = departments::start(options).await.expect("departments start");
    let ((contract, bindings), shared, world) = (load(&running), Shared::default(), running.world());
    let mut faults = Vec::new();
    for endpoint in &bindings.endpoints {
        let source = bindings.source(endpoint.source);
        let name = format!("{}/{}", source.id, endpoint.name);
        // The gateway's own records are no department's.
        if source.connections.iter().any(|connection| connection.protocol == Protocol::Audit) {
            continue;
        }
        let by_person = contract.slot(endpoint.key).path.as_ref() != "id";
        let mut keys = keys(world, &villages, by_person);
        if source.id.as_ref() == "disabled-federation" {
            // Ten calls a second, and a person a call: these are enough.
            keys.truncate(100);
        }
        let wanted = endpoint.mapping.wanted_pointers(&|_| true);
        let mut missing: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
        missing.retain(|pointer| !NEVER.contains(&pointer.as_str()));
        let (_, at_once) = endpoint.template(keys.len()).expect("an endpoint asks somehow");
        // Banks are alike: the first two stand for all.
        for connection in source.connections.iter().take(2) {
            let connector = Connector::new(connection.as_ref().clone(), &shared).expect("a connector");
            for batch in keys.chunks(at_once) {
                match read(&connector, endpoint, batch, &wanted).await {
                    Ok(fetched) => {
                        for record in &fetched.records {
                            let value: Value = serde_json::from_str(record.json.raw()).expect("JSON");
                            missing.retain(|p| !leads_somewhere(&value, &p.split('/').skip(1).collect::<Vec<_>>()));
                        }
                    }
                    Err(error) => {
                        faults.push(format!("{name}: {} {}", error.code, error.detail));
                        break;
                    }
                }
                if missing.is_empty() {
                    break;
                }
            }
        }
        if !missing.is_empty() {
            faults.push(format!("{name}: nothing at {missing:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn root_queries_are_answered_with_keys() {
    let running =
        departments::start(Options { latency: false, ..Options::default() }).await.expect("departments start");
    let ((_, bindings), shared, context) = (load(&running), Shared::default(), CallContext::default());
    let household = running.world().household("331122101348000001").expect("the demo's household");
    let arguments = [("arg.code", household.agri_code.as_str()), ("arg.division", "331122101348")];
    let mut found = Vec::new();
    for query in bindings.queries.iter().flatten() {
        let connection = bindings.source(query.source).connections[0].as_ref().clone();
        let connector = Connector::new(connection, &shared).expect("a connector");
        let inputs: Vec<(Arc<str>, String)> =
            arguments.iter().map(|(name, value)| (Arc::from(*name), (*value).to_owned())).collect();
        let deadline = Instant::now() + Duration::from_secs(5);
        let fetch = Fetch {
            template: &query.ask,
            keys: &[],
            inputs: &inputs,
            wanted: &[],
            deadline,
            context: &context,
            page: None,
        };
        let fetched = connector.fetch(fetch).await.expect("an answer");
        found.push((query.name.to_string(), fetched.records.len()));
        assert!(fetched.records[0].json.raw().contains(&household.id));
    }
    found.sort();
    let count = |name: &str, records: usize| (name.to_owned(), records);
    assert_eq!(found, [count("householdByCode", 1), count("households", 21), count("persons", 78)]);
}
