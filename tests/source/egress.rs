//! The gateway connects to the hosts its files declare, and to nobody else.

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::alone;
use crate::identity_support::issuer::{Key, clerk};
use crate::identity_support::{BINDING, Farms, Files, Folder, World, client, has_name, load, serve_routes, world};

fn files(key: &Key) -> Files {
    let gateway = "issuers:\n  - {issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], keys: ['${PUBLIC}']}\n";
    let variables = [("PUBLIC".to_owned(), key.public_pem())].into();
    Files { gateway: gateway.to_owned(), variables, ..Files::default() }
}

async fn ask(world: &World, key: &Key) -> Value {
    world.ask(&client(), &key.sign(&clerk(json!({}))), &[]).await.1
}

#[tokio::test]
async fn a_source_that_sends_callers_elsewhere_is_not_followed() {
    let key = Key::new(None);
    let elsewhere = Farms::start().await;
    let world = world(files(&key)).await;
    assert!(has_name(&ask(&world, &key).await));
    *world.farms.elsewhere.lock().unwrap() = Some(format!("{}/farm/1", elsewhere.url));
    let answer = ask(&world, &key).await;
    assert!(!has_name(&answer), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_ERROR", "{answer}");
    assert_eq!(elsewhere.taken(), Vec::<String>::new());
    // Nor to another path of its own host.
    *world.farms.elsewhere.lock().unwrap() = Some("/other".to_owned());
    world.farms.taken();
    assert!(!has_name(&ask(&world, &key).await));
    assert_eq!(world.farms.taken(), ["/farm/1"]);
}

#[tokio::test]
async fn a_token_endpoint_that_sends_callers_elsewhere_gets_no_secret_carried_there() {
    let key = Key::new(None);
    let elsewhere = Farms::start().await;
    let to = format!("{}/token", elsewhere.url);
    let routes = Router::new().fallback(move || async move { (StatusCode::TEMPORARY_REDIRECT, [("location", to)]) });
    let (tokens, _task) = serve_routes(routes).await;
    let mut files = files(&key);
    let sign =
        format!("sign: {{scheme: oauth2, token_url: '{tokens}/token', client_id: a, client_secret: b}}\nendpoints:");
    files.binding = Some(BINDING.replace("endpoints:", &sign));
    let world = world(files).await;
    assert!(!has_name(&ask(&world, &key).await));
    assert!(elsewhere.taken().is_empty() && world.farms.taken().is_empty());
}

#[tokio::test]
async fn a_cursor_that_is_an_address_stays_a_parameter_of_the_declared_host() {
    let key = Key::new(None);
    let elsewhere = Farms::start().await;
    let next = format!("{}/next", elsewhere.url);
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let kept = std::sync::Arc::clone(&log);
    let routes = Router::new().fallback(move |uri: axum::http::Uri| {
        kept.lock().unwrap().push(uri.to_string());
        let first = !uri.to_string().contains("after=");
        let rows = if first { json!([{"id": "1"}]) } else { json!([{"id": "2"}]) };
        let headers = [("link", format!("<{next}>; rel=\"next\""))];
        let body = json!({"rows": rows, "next": first.then(|| next.clone())});
        async move { (headers, body.to_string()) }
    });
    let (url, _task) = serve_routes(routes).await;
    let mut files = files(&key);
    files.binding = Some(
        "source: farms\ntitle: Farms\nbase_url: ${FARMS_URL}\nendpoints:\n  farm:\n    entity: Farm\n    \
         establishes: true\n    one: {get: \"/farm/{key}\"}\n    fields: {name: /name}\nqueries:\n  farms:\n    \
         ask: {get: /farms, items: /rows, \
         pages: {cursor: after, next: /next, size_parameter: size, size: 1}}\n    key_at: /id\n"
            .to_owned(),
    );
    files.listing = true;
    files.variables.insert("FARMS_URL".to_owned(), url);
    let world = world(files).await;
    let token = key.sign(&clerk(json!({})));
    let answer = world.query(&token, "{ farms { id } }").await;
    assert_eq!(answer["data"]["farms"].as_array().map(Vec::len), Some(2), "{answer}");
    let asked = log.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].starts_with("/farms?") && asked[1].contains("after=http%3A%2F%2F127.0.0.1"), "{asked:?}");
    assert_eq!(elsewhere.taken(), Vec::<String>::new());
}

#[test]
fn addresses_that_no_department_answers_at_are_refused_unless_the_operator_lists_them() {
    for (url, egress, told) in [
        ("http://169.254.169.254/latest", "", Some("does not let be connected to")),
        ("http://[fe80::1]/", "", Some("does not let be connected to")),
        ("http://[::ffff:169.254.169.254]/", "", Some("does not let be connected to")),
        ("http://2852039166/", "", Some("does not let be connected to")),
        ("http://0xa9.0xfe.0xa9.0xfe/", "", Some("does not let be connected to")),
        ("http://0/", "", Some("does not let be connected to")),
        ("http://169.254.7.7/", "egress: {addresses: [169.254.7.0/24]}\n", None),
        ("http://10.0.0.1/", "egress: {addresses: [169.254.7.0/24]}\n", Some("does not let be connected to")),
        ("http://farms.example/", "egress: {hosts: ['*.dept.example']}\n", Some("not among those")),
        ("http://farms.dept.example/", "egress: {hosts: ['*.dept.example']}\n", None),
        ("http://farms.dept.example@evil.example/", "egress: {hosts: ['*.dept.example']}\n", Some("not among those")),
        ("http://farms.dept.example:81/", "egress: {hosts: ['*.dept.example:80']}\n", Some("not among those")),
    ] {
        let variables = [("FARMS_URL".to_owned(), url.to_owned())].into();
        let loaded = load(&Folder::new(), &Files { gateway: egress.to_owned(), variables, ..Files::default() });
        match told {
            None => assert!(loaded.is_ok(), "{url}: {}", loaded.unwrap_err()),
            Some(told) => {
                let faults = loaded.unwrap_err();
                assert!(faults.contains(told) && faults.contains("resolvers/farms.yaml:3:11"), "{url}: {faults}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_connected_to_only_at_addresses_within_bounds() {
    let key = Key::new(None);
    // `localhost` is on this machine; the operator lets only addresses elsewhere be connected to.
    let mut files = files(&key);
    files.gateway.push_str("egress: {addresses: [10.0.0.0/8]}\n");
    let farms = Farms::start().await;
    files.variables.insert("FARMS_URL".to_owned(), farms.url.replace("127.0.0.1", "localhost"));
    let bounded = world(files).await;
    let answer = ask(&bounded, &key).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_UNREACHABLE", "{answer}");
    assert!(farms.taken().is_empty());
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    // In a process of its own, whose environment names a proxy that notes every caller.
    if alone::is_alone() {
        let key = Key::new(None);
        let world = world(files(&key)).await;
        assert!(has_name(&ask(&world, &key).await));
        return;
    }
    let proxy = Farms::start().await;
    let url = proxy.url.clone();
    let run = move || {
        let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let environment = names.map(|name| (name, url.as_str()));
        alone::run(module_path!(), "proxies_of_the_environment_are_not_used", &environment);
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    assert!(proxy.taken().is_empty());
}
