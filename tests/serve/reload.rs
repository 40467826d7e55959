//! Files that are changed while the gateway serves: what is without faults comes into force within seconds, what has faults
//! does not, and no request notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use huxiang::audit::{Kind, Reader, Search};

use crate::live_support::{CONFIG, Live, Place, binding};

const QUICK: &str = "reload: {every_ms: 100}\n";

async fn started(name: &str, further: &str) -> (Place, Live) {
    let config = format!("{CONFIG}{further}");
    let place = Place::new(name, &[("config/gateway.yaml", &config), ("resolvers/people.yaml", &binding("v1"))]).await;
    let live = place.start("gateway", &[]).await;
    (place, live)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_files_come_into_force_under_load_and_no_answer_is_of_two_versions() {
    let (place, live) = started("load", QUICK).await;
    let live = Arc::new(live);
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (live, done, answered) = (Arc::clone(&live), Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    live.version().await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 2..=12 {
        let version = format!("v{number}");
        place.write("resolvers/people.yaml", &binding(&version));
        live.until(&version, || async { live.version().await == version }).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request fails");
    }
    assert!(answered.load(Ordering::Relaxed) > 100, "there was load");
}

#[tokio::test]
async fn a_version_with_faults_does_not_replace_a_good_one_and_is_told_with_its_place() {
    let (place, live) = started("faulty", QUICK).await;
    place.write("resolvers/people.yaml", &binding("v2").replace("city: /told", "town: /told"));
    live.until("the fault", || async { live.log().contains("has no field `town`") }).await;
    assert!(live.log().contains("people.yaml:"), "{}", live.log());
    assert_eq!(live.version().await, "v1");
    // A file that is gone is a fault as well where something rests on it: nothing is answered by nobody.
    place.write("resolvers/people.yaml", &binding("v3"));
    live.until("v3", || async { live.version().await == "v3" }).await;
}

#[tokio::test]
async fn new_grants_count_for_the_next_request_and_taken_ones_no_more() {
    let (place, live) = started("grants", QUICK).await;
    let roles = std::fs::read_to_string(place.root.join("config/roles.yaml")).expect("the roles");
    let (given, question) = (roles.replace("[open]", "[open], except: [city]"), "{ person(id: \"1\") { city } }");
    let city = || async { live.ask(question).await["data"]["person"]["city"].clone() };
    assert_eq!(city().await, "v1");
    place.write("config/roles.yaml", &given);
    live.until("the grant is taken", || async { city().await.is_null() }).await;
    let answer = live.ask(question).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    place.write("config/roles.yaml", &roles);
    live.until("it is given again", || async { city().await == "v1" }).await;
}

/// An issuer's keys are fetched at start, after the files were read: while they are, a file changes.
#[tokio::test]
async fn a_file_that_changes_while_the_gateway_starts_comes_into_force_too() {
    let root = Arc::new(std::sync::OnceLock::<std::path::PathBuf>::new());
    let changed = Arc::clone(&root);
    let keys = move || {
        let changed = Arc::clone(&changed);
        async move {
            let folder = changed.get().expect("the folder").join("resolvers/people.yaml");
            std::fs::write(folder, binding("v2")).expect("a file");
            r#"{"keys": []}"#
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let issuer = format!(
        "issuers:\n  - {{issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], jwks: '{url}', \
         jwks_pause_ms_min: 60000}}\n"
    );
    let config = format!("{CONFIG}{QUICK}{issuer}");
    let files = [("config/gateway.yaml", config.as_str()), ("resolvers/people.yaml", &binding("v1"))];
    let place = Place::new("start", &files).await;
    root.set(place.root.to_path_buf()).expect("said once");
    let routes = axum::Router::new().route("/keys", axum::routing::get(keys));
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let live = place.start("gateway", &[]).await;
    live.until("v2", || async { live.version().await == "v2" }).await;
    let told = versions_on_record(&live).await;
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2], "{told:?}");
    assert_ne!(told[0].1, told[1].1, "the record of the start is of the files that were read");
    serving.abort();
}

#[cfg(unix)]
#[tokio::test]
async fn where_files_are_not_watched_a_signal_takes_them() {
    let (place, live) = started("signal", "reload: {every_ms: 0}\n").await;
    place.write("resolvers/people.yaml", &binding("v2"));
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(live.version().await, "v1", "nobody looks");
    live.signal("HUP");
    live.until("v2", || async { live.version().await == "v2" }).await;
}

#[tokio::test]
async fn gateway_yaml_waits_for_a_restart_and_holds_up_nothing_else() {
    let (place, live) = started("config", QUICK).await;
    let config = std::fs::read_to_string(place.root.join("config/gateway.yaml")).expect("the file");
    place.write("config/gateway.yaml", &format!("{config}limits: {{depth_max: 1}}\n"));
    live.until("it is told", || async { live.log().contains("gateway.yaml was changed") }).await;
    assert!(live.log().contains("keys=\"limits\""), "{}", live.log());
    assert_eq!(live.version().await, "v1", "its limits are not in force");
    place.write("resolvers/people.yaml", &binding("v2"));
    live.until("v2", || async { live.version().await == "v2" }).await;
    let waiting: Vec<_> = details_on_record(&live).await.iter().map(|told| told.get("waiting").cloned()).collect();
    let limits = Some(serde_json::json!(["limits"]));
    assert!(waiting.contains(&limits) && waiting.contains(&None), "{waiting:?}");
    // What the next start would end with is told now.
    place.write("config/gateway.yaml", &format!("{config}limits: {{depth_most: 1}}\n"));
    live.until("the fault", || async { live.log().contains("does not start again") }).await;
    assert!(live.log().contains("depth_most") && live.log().contains("gateway.yaml:"), "{}", live.log());
    assert_eq!(live.version().await, "v2");
}

#[tokio::test]
async fn each_version_is_on_record_with_its_digest_before_it_counts() {
    let (place, live) = started("records", QUICK).await;
    place.write("resolvers/people.yaml", &binding("v2"));
    live.until("v2", || async { live.version().await == "v2" }).await;
    let told = versions_on_record(&live).await;
    let numbers: Vec<u64> = told.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2], "{told:?}");
    assert!(told.iter().all(|(_, digest)| digest.len() == 64) && told[0].1 != told[1].1, "{told:?}");
}

/// What is on record of each version that came into force.
async fn details_on_record(live: &Live) -> Vec<std::collections::BTreeMap<String, serde_json::Value>> {
    let search = Search { kinds: vec![Kind::Configuration], first: 10, ..Search::default() };
    let found = Reader::new(&live.audit).search(&search).await.expect("the records are read").entries;
    found.into_iter().map(|entry| entry.record.details).collect()
}

/// The number and the digest of each of them.
async fn versions_on_record(live: &Live) -> Vec<(u64, String)> {
    let found = details_on_record(live).await;
    let told = found.iter().map(|details| {
        (details["number"].as_u64().expect("a number"), details["digest"].as_str().expect("a digest").to_owned())
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}
