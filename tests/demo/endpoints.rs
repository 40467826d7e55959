//! Every endpoint of `resolvers/`, asked of the demo departments: each answers, and most hold records.
#![cfg(feature = "demo")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use departments::{Options, World, start};
use huxiang::base::fault::{Faults, SourceText};
use huxiang::base::pointer::Pointer;
use huxiang::model::binding::connection::Connection;
use huxiang::model::binding::format::{Endpoint, Field, Named, Protocol, SourceFile};
use huxiang::model::binding::platform::Platforms;
use huxiang::model::binding::request::CallTemplate;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{CallContext, Caller, Connector, Fetch, PageAt, Shared};
use tokio::time::Instant;

const VILLAGE: &str = "331122101348";

fn bindings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("resolvers");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    paths.sort();
    paths
}

/// The pointers a binding's fields read, from the record.
fn wanted(fields: &Named<Field>, base: &str, out: &mut Vec<Pointer>) {
    for field in fields.values() {
        match &field.value {
            Field::Pointer(at) => out.push(Pointer::parse(&format!("{base}{at}")).unwrap()),
            Field::Full(full) => {
                let list = full.list.as_ref().map(|list| list.value.as_str());
                let list = list.map(|list| if list.starts_with('/') { list } else { "" });
                let at = full.at.as_ref().or(full.reference.as_ref()).map(|at| at.value.as_str());
                let base = format!("{base}{}{}", list.unwrap_or_default(), at.unwrap_or_default());
                if full.fields.is_empty() && (list.is_some() || at.is_some()) {
                    out.push(Pointer::parse(&base).unwrap());
                }
                wanted(&full.fields, &base, out);
            }
        }
    }
}

/// The keys an endpoint is asked with.
fn keys(world: &World, endpoint: &Endpoint) -> Vec<Arc<str>> {
    let households = world.village_household_ids(VILLAGE).filter_map(|id| world.household(&id)).take(21);
    let by_household = endpoint.entity.value == "Household" && endpoint.key.is_none();
    households
        .flat_map(|household| match by_household {
            true => vec![household.id.as_str().into()],
            false => household.members.iter().map(|member| member.id_number.as_str().into()).collect(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_of_the_bindings_answers() {
    let running = start(Options { latency: false, ..Options::default() }).await.unwrap();
    let (world, variables, shared) = (running.world(), running.variables(), Shared::default());
    let caller = Caller { principal: "test".to_owned(), purpose: Some("核查".to_owned()), ..Caller::default() };
    let context =
        CallContext { traceparent: None, request_id: "r-1".to_owned(), caller: Some(caller), ..CallContext::default() };
    let (mut empty, mut wrong) = (Vec::new(), Vec::new());
    for path in bindings() {
        let text = SourceText::new(&path, std::fs::read_to_string(&path).unwrap());
        let file: SourceFile = serde_saphyr::from_str(&text.text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // The gateway's own records are no department's.
        if file.protocol == Protocol::Audit {
            continue;
        }
        let mut faults = Faults::default();
        let variable = |name: &str| variables.get(name).cloned();
        let connection =
            Connection::compile(&file, &text, &variable, &EgressConfig::default(), &Platforms::default(), &mut faults)
                .into_iter()
                .next();
        assert!(faults.is_empty(), "{}", faults.render());
        let connector = Connector::new(connection.unwrap(), &shared).unwrap();
        for (name, endpoint) in &file.endpoints {
            let endpoint = &endpoint.value;
            let keys = keys(world, endpoint);
            let mut pointers = Vec::new();
            wanted(&endpoint.fields, "", &mut pointers);
            for (request, many) in
                endpoint.one.iter().map(|r| (r, false)).chain(endpoint.many.iter().map(|r| (r, true)))
            {
                let template =
                    CallTemplate::compile(request, file.protocol, many, file.envelope.as_ref(), &text, &mut faults)
                        .unwrap_or_else(|| panic!("{}", faults.render()));
                let mut records = 0;
                // A source that takes one key and ten a second is not asked for a whole village here.
                let chunks = if many { usize::MAX } else { 12 };
                for chunk in keys.chunks(template.batch_max()).take(chunks) {
                    let inputs = inputs(world, endpoint, chunk);
                    let deadline = Instant::now() + Duration::from_secs(10);
                    let (wanted, context) = (pointers.as_slice(), &context);
                    let fetch = Fetch {
                        template: &template,
                        keys: chunk,
                        inputs: &inputs,
                        wanted,
                        deadline,
                        context,
                        page: None,
                    };
                    match connector.fetch(fetch).await {
                        Ok(fetched) => records += fetched.records.len(),
                        Err(error) => wrong.push(format!("{}.{name} {many}: {error:?}", file.source.value)),
                    }
                }
                if records == 0 {
                    empty.push(format!("{}.{name} {many}", file.source.value));
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(empty.is_empty(), "no record of any household: {}", empty.join(", "));
}

/// Inputs of `with`: only a person's name is among them.
fn inputs(world: &World, endpoint: &Endpoint, keys: &[Arc<str>]) -> Vec<(Arc<str>, String)> {
    let name = keys.first().and_then(|key| world.person(key)).map(|(household, at)| household.members[at].name.clone());
    endpoint.with.keys().map(|input| (input.as_str().into(), name.clone().unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_paged_to_its_end() {
    let running = start(Options { latency: false, households_per_village: 250, ..Options::default() }).await.unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resolvers/agriculture.yaml");
    let text = SourceText::new(&path, std::fs::read_to_string(&path).unwrap());
    let file: SourceFile = serde_saphyr::from_str(&text.text).unwrap();
    let (variables, mut faults): (BTreeMap<_, _>, _) = (running.variables(), Faults::default());
    let variable = |name: &str| variables.get(name).cloned();
    let connection =
        Connection::compile(&file, &text, &variable, &EgressConfig::default(), &Platforms::default(), &mut faults)
            .into_iter()
            .next()
            .unwrap();
    let connector = Connector::new(connection, &Shared::default()).unwrap();
    let ask = &file.queries["households"].value.ask;
    let template =
        CallTemplate::compile(ask, file.protocol, false, file.envelope.as_ref(), &text, &mut faults).unwrap();
    assert_eq!(template.needs_inputs(), [Arc::from("arg.division")]);
    let inputs = [(Arc::from("arg.division"), VILLAGE.to_owned())];
    let context = CallContext::default();
    let fetch = |page| {
        let deadline = Instant::now() + Duration::from_secs(10);
        let (template, context, inputs) = (&template, &context, inputs.as_slice());
        connector.fetch(Fetch { template, keys: &[], inputs, wanted: &[], deadline, context, page })
    };
    let all = fetch(None).await.unwrap();
    assert_eq!((all.records.len(), all.calls, all.next), (250, 3, None));
    let first = fetch(Some(PageAt::First)).await.unwrap();
    assert_eq!(first.records.len(), 100);
    assert!(matches!(first.next, Some(PageAt::Cursor(_))));
}
