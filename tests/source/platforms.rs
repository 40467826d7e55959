//! Platforms: what several sources share, measured where they are asked, and what a binding cannot reach.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures::future::join_all;
use huxiang::base::code::ErrorCode;
use huxiang::base::fault::Faults;
use huxiang::model::binding::published::Published;
use huxiang::model::config::egress::EgressConfig;
use huxiang::model::snapshot::{Folders, Snapshot};
use huxiang::source::{BreakerPhase, Shared};

use crate::support::{Asked, compile_on, serve};
use crate::temporary::Temporary;

/// Two sources on a platform, and one at the same address that is not on it.
struct Stage {
    one: Asked,
    two: Asked,
    outside: Asked,
}

fn binding(source: &str, head: &str) -> String {
    format!(
        "source: {source}\ntitle: T\n{head}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {{get: /a, query: {{id: \"{{key}}\"}}}}\n"
    )
}

fn source(name: &str, head: &str, url: &str, platform: &str, shared: &Shared) -> Result<Asked, String> {
    let platforms = format!("platforms:\n  hub: {{base_url: \"${{HUB}}\", sources: [one, two]{platform}}}\n");
    let variables = |name: &str| match name {
        "HUB" => Some(url.to_owned()),
        "SECRET" => Some("hub-secret".to_owned()),
        _ => None,
    };
    compile_on(&binding(name, head), &variables, &EgressConfig::default(), &platforms, shared)
}

impl Stage {
    fn new(url: &str, platform: &str) -> Self {
        let shared = Shared::default();
        let made = |name: &str, head: &str| {
            source(name, head, url, platform, &shared).unwrap_or_else(|faults| panic!("{faults}"))
        };
        let limits = "limits: {timeout_ms: 3000, retries_max: 0}";
        Self {
            one: made("one", &format!("platform: hub\n{limits}")),
            two: made("two", &format!("platform: hub\nbase_url: /two\n{limits}")),
            outside: made("outside", &format!("base_url: ${{HUB}}/outside\n{limits}")),
        }
    }
}

#[tokio::test]
async fn sources_on_a_platform_share_its_places_and_others_have_their_own() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let slow = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        get(async move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            "{}"
        })
    };
    let routes = Router::new().route("/a", slow.clone()).route("/two/a", slow).route("/outside/a", get(async || "{}"));
    let stage = Stage::new(&serve(routes).await, ", limits: {in_flight_max: 3}");
    let on_it = async {
        let one = join_all((0..8).map(|_| stage.one.one("k", &[])));
        let two = join_all((0..8).map(|_| stage.two.one("k", &[])));
        let (one, two) = tokio::join!(one, two);
        assert!(one.iter().chain(&two).all(Result::is_ok));
    };
    let beside = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        assert!(stage.outside.one("k", &[]).await.is_ok());
        began.elapsed()
    };
    let (began, ((), outside)) = (Instant::now(), tokio::join!(on_it, beside));
    assert_eq!(most.load(Ordering::SeqCst), 3, "of both together");
    assert!(outside < began.elapsed() / 2, "{outside:?}: it waited for none of them");
    assert_eq!((stage.one.connector.counted().requests, stage.two.connector.counted().requests), (8, 8));
}

#[tokio::test]
async fn sources_on_a_platform_share_its_rate() {
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let count = {
        let times = Arc::clone(&times);
        get(async move || {
            times.lock().unwrap().push(Instant::now());
            "{}"
        })
    };
    let routes = Router::new().route("/a", count.clone()).route("/two/a", count);
    let stage = Stage::new(&serve(routes).await, ", limits: {per_second_max: 4}");
    let one = join_all((0..5).map(|_| stage.one.one("k", &[])));
    let two = join_all((0..5).map(|_| stage.two.one("k", &[])));
    let (one, two) = tokio::join!(one, two);
    assert!(one.iter().chain(&two).all(Result::is_ok));
    let mut times = times.lock().unwrap().clone();
    times.sort();
    assert_eq!(times.len(), 10);
    assert!(times.windows(5).all(|window| window[4] - window[0] > Duration::from_secs(1)));
}

#[tokio::test]
async fn one_session_serves_all_sources_on_a_platform() {
    let logins = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&logins);
    let login = post(async move || {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
        format!(r#"{{"token":"t{n}"}}"#)
    });
    let current = Arc::clone(&logins);
    let data = get(async move |headers: HeaderMap| {
        let told = headers.get("authorization").map_or("none", |value| value.to_str().unwrap()).to_owned();
        // Only the newest counts.
        let good = told == format!("Bearer t{}", current.load(Ordering::SeqCst));
        if good { format!(r#"{{"told":"{told}"}}"#).into_response() } else { StatusCode::UNAUTHORIZED.into_response() }
    });
    let bare = get(async |headers: HeaderMap| format!(r#"{{"n":{}}}"#, headers.contains_key("authorization")));
    let routes =
        Router::new().route("/login", login).route("/a", data.clone()).route("/two/a", data).route("/outside/a", bare);
    let sign = ", sign: {scheme: bearer, session: {post: /login, body: {secret: \"${SECRET}\"}, secret_at: /token}}";
    let stage = Stage::new(&serve(routes).await, sign);
    let one = join_all((0..4).map(|_| stage.one.one("k", &[])));
    let two = join_all((0..4).map(|_| stage.two.one("k", &[])));
    let (one, two) = tokio::join!(one, two);
    assert!(one.iter().chain(&two).all(|answer| answer.as_ref().is_ok_and(|found| found[0].1.contains("Bearer t1"))));
    assert_eq!(logins.load(Ordering::SeqCst), 1, "one for both");
    assert_eq!(stage.outside.one("k", &[]).await.unwrap()[0].1, r#"{"n":false}"#, "it is signed for nobody else");
    // Somebody else logged in, and the held one is good no more: fetched once, for both.
    logins.store(7, Ordering::SeqCst);
    assert!(stage.one.one("k", &[]).await.is_ok() && stage.two.one("k", &[]).await.is_ok());
    assert_eq!(logins.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_breaker_that_one_source_opened_is_open_for_all_on_the_platform_and_for_nobody_else() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let answered = get(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        "{}"
    });
    let routes = Router::new()
        .route("/a", get(async || StatusCode::BAD_GATEWAY))
        .route("/two/a", answered)
        .route("/outside/a", get(async || "{}"));
    let stage = Stage::new(&serve(routes).await, ", limits: {breaker: {failures_min: 3, open_ms: 60000}}");
    assert!(stage.two.one("k", &[]).await.is_ok());
    for _ in 0..3 {
        assert_eq!(stage.one.one("k", &[]).await.unwrap_err().code, ErrorCode::SourceError);
    }
    assert_eq!(stage.two.one("k", &[]).await.unwrap_err().code, ErrorCode::SourceSuspended);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(stage.outside.one("k", &[]).await.is_ok());
    let phase = |asked: &Asked| asked.connector.breakers()[0].1.phase;
    assert_eq!(phase(&stage.two), BreakerPhase::Open);
    assert_eq!(phase(&stage.outside), BreakerPhase::Closed);
}

/// Its secrets go to its own host, whatever a binding on it says.
#[test]
fn a_binding_on_a_platform_is_asked_at_the_platforms_host_alone() {
    let sign = ", sign: {scheme: bearer, token: \"${SECRET}\"}";
    let made = |head: &str| source("one", head, "https://hub.example:8443/api", sign, &Shared::default()).err();
    for good in ["", "base_url: /one", "base_url: https://hub.example:8443/else", "base_url: ${HUB}/one"] {
        assert_eq!(made(&format!("platform: hub\n{good}")), None, "{good}");
    }
    for bad in [
        "https://thief.example/one",
        "https://hub.example/one",
        "http://hub.example:8443/one",
        "https://hub.example:8443@thief.example/",
        "https://hub.example.thief.example:8443/",
        "https://one.hub.example:8443/",
    ] {
        let told = made(&format!("platform: hub\nbase_url: \"{bad}\"")).unwrap_or_default();
        assert!(told.contains("not at the platform's host"), "{bad}: {told}");
        assert!(!told.contains("hub-secret"), "{told}");
    }
    let elsewhere = "https://thief.example";
    let standby = binding("one", "platform: hub")
        .replace("one: {get", &format!("fallback: {{base_url: \"{elsewhere}\"}}\n    one: {{get"));
    let platforms = format!("platforms:\n  hub: {{base_url: \"${{HUB}}\", sources: [one]{sign}}}\n");
    let variables = |name: &str| Some(if name == "HUB" { "https://hub.example" } else { "hub-secret" }.to_owned());
    let told = compile_on(&standby, &variables, &EgressConfig::default(), &platforms, &Shared::default()).err();
    assert!(told.is_some_and(|told| told.contains("not at the platform's host")));
}

/// A department's own binding joins only a platform that lists it, and reads nothing of the platform's.
#[test]
fn a_published_binding_joins_only_a_platform_that_lists_it() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faulty/base");
    let root = Temporary::new("platforms");
    let copied = std::process::Command::new("cp").arg("-r").arg(base.join(".")).arg(&root).status().unwrap();
    assert!(copied.success());
    let grades = std::fs::read_to_string(root.join("resolvers/grades.yaml")).unwrap();
    std::fs::remove_file(root.join("resolvers/grades.yaml")).unwrap();
    std::fs::write(
        root.join("config/platforms.yaml"),
        "platforms:\n  \
         hub: {base_url: \"${HUB_URL}\", sources: [grades], sign: {scheme: bearer, token: \"${HUB_TOKEN}\"}}\n  \
         other-hub: {base_url: \"${HUB_URL}\", sources: [farms], sign: {scheme: bearer, token: \"${HUB_TOKEN}\"}}\n",
    )
    .unwrap();
    let variables = |name: &str| match name {
        "HUB_URL" => Some("https://hub.example".to_owned()),
        "HUB_TOKEN" => Some("hub-secret".to_owned()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => Some("http://127.0.0.1:1".to_owned()),
    };
    let folders = Folders::under(&root);
    let load = |head: &str| -> Result<Snapshot, String> {
        let text = grades.replace("base_url: ${GRADES_URL}", head);
        let published = [Published::new(&folders.resolvers, "grades", 1, &text, false)];
        let mut faults = Faults::default();
        let config = huxiang::model::config::GatewayConfig::load(
            &folders.config.join("gateway.yaml"),
            &root,
            &variables,
            &mut faults,
        );
        let loaded = Snapshot::load_under(config.unwrap(), &folders, &published, &variables, &mut faults);
        loaded.ok_or_else(|| faults.render())
    };
    let snapshot = load("platform: hub").unwrap_or_else(|faults| panic!("{faults}"));
    let connection = &snapshot.bindings.sources.iter().find(|source| &*source.id == "grades").unwrap().connections[0];
    assert_eq!(
        (connection.platform.as_ref().map(|on| &*on.name), connection.base_url.reveal()),
        (Some("hub"), "https://hub.example")
    );
    for (head, expected) in [
        ("platform: other-hub", "there is no platform `other-hub` that lists the source `grades`"),
        ("platform: nothing", "there is no platform `nothing` that lists the source `grades`"),
        ("platform: hub\nbase_url: https://grades.example", "not at the platform's host"),
        ("platform: hub\nheaders: {X-Token: \"${HUB_TOKEN}\"}", "not a variable of the source"),
        ("platform: hub\nsign: {scheme: bearer, token: mine}", "`sign` is the platform's"),
        ("platform: hub\nlimits: {in_flight_max: 999}", "limits.in_flight_max is the platform's"),
    ] {
        let told = load(head).err().unwrap_or_default();
        assert!(told.contains(expected) && !told.contains("hub-secret"), "{head}: {told}");
        assert!(!told.contains("other-hub") || head.contains("other-hub"), "names what is another's: {told}");
    }
}

/// An address may stand in a file of secrets, and change while the gateway runs: it stays at the platform's host.
#[tokio::test]
async fn an_address_that_changes_in_a_file_does_not_leave_the_platforms_host() {
    let told = async |headers: HeaderMap| format!(r#"{{"token":{}}}"#, headers.contains_key("authorization"));
    let hub = serve(Router::new().route("/one/a", get(told)).route("/moved/a", get(told))).await;
    let stolen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stolen);
    let thief = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        "{}"
    });
    let thief = serve(thief).await;
    let folder = Temporary::new("platform-files");
    let holds = |address: &str| std::fs::write(folder.join("one.url"), address).unwrap();
    holds(&format!("{hub}/one"));
    std::fs::write(folder.join("hub.token"), "hub-secret").unwrap();
    let egress = EgressConfig { secrets: Some(folder.to_path_buf()), ..EgressConfig::default() };
    let variables = |name: &str| (name == "HUB").then(|| hub.clone());
    let sign = "sign: {scheme: bearer, token: \"${file:hub.token}\"}";
    let platforms = format!("platforms:\n  hub: {{base_url: \"${{HUB}}\", sources: [one], {sign}}}\n");
    let text = binding("one", "platform: hub\nbase_url: \"${file:one.url}\"");
    let asked = compile_on(&text, &variables, &egress, &platforms, &Shared::default()).unwrap();
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"{"token":true}"#);
    holds(&format!("{hub}/moved"));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"{"token":true}"#);
    holds(&thief);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // For a moment the last good one counts.
    let _ = asked.one("k", &[]).await;
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    let error = asked.one("k", &[]).await.unwrap_err();
    assert!(error.detail.contains("not at the platform's host"), "{}", error.detail);
    assert_eq!(stolen.load(Ordering::SeqCst), 0);
    let in_a_file = "platforms:\n  hub: {base_url: \"${file:one.url}\", sources: [one]}\n";
    let told = compile_on(&text, &variables, &egress, in_a_file, &Shared::default()).err();
    assert!(told.is_some_and(|told| told.contains("does not stand in a file of secrets")));
}
