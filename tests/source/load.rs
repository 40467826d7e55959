//! Guards under load, measured where the source is asked: whose turn it is, how often, how much at once.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures::future::join_all;
use huxiang::base::code::ErrorCode;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{CallContext, Fetch};

use crate::support::{Asked, at_most_in_a_second, compile_within, noting, serve};

fn binding(head: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{head}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {{get: /a, query: {{id: \"{{key}}\"}}}}\n"
    )
}

/// Asks in somebody's name.
async fn asks(asked: &Asked, principal: &str) -> Result<(), ErrorCode> {
    let context = CallContext { principal: Some(principal.into()), ..CallContext::default() };
    let fetch = Fetch {
        template: asked.one.as_ref().unwrap(),
        keys: &["k".into()],
        inputs: &[],
        wanted: &[],
        deadline: tokio::time::Instant::now() + Duration::from_secs(20),
        context: &context,
        page: None,
    };
    asked.connector.fetch(fetch).await.map(drop).map_err(|error| error.code)
}

#[tokio::test]
async fn who_asks_for_much_does_not_make_others_wait_behind_it() {
    let slow = get(async || {
        tokio::time::sleep(Duration::from_millis(40)).await;
        "{}"
    });
    let url = serve(Router::new().route("/a", slow)).await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 9000, in_flight_max: 2}"), &url);
    let began = Instant::now();
    let much = async {
        assert!(join_all((0..40).map(|_| asks(&asked, "much"))).await.iter().all(Result::is_ok));
        began.elapsed()
    };
    let little = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        assert!(join_all((0..2).map(|_| asks(&asked, "little"))).await.iter().all(Result::is_ok));
        began.elapsed()
    };
    let (much, little) = tokio::join!(much, little);
    assert!(much >= Duration::from_millis(800), "{much:?}: two at once, 40 ms each");
    assert!(little < much / 3, "{little:?} of {much:?}");
}

#[tokio::test]
async fn a_source_in_need_is_not_asked_twice_as_much() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let refusing = get(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")])
    });
    let url = serve(Router::new().route("/a", refusing)).await;
    let limits = "limits: {timeout_ms: 9000, retries_max: 3, retries_percent: 10, breaker: {enabled: false}}";
    let asked = Asked::new(&binding(limits), &url);
    for _ in 0..10 {
        assert!(join_all((0..20).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_err));
    }
    // 200 first tries, ten that are free, and a tenth.
    let calls = calls.load(Ordering::SeqCst);
    assert!((210..=230).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_source_that_is_slow_under_load_is_asked_less_at_once_and_more_when_it_is_quick() {
    // The more at once, the slower; what is under way at once is noted.
    let (now, seen, each_ms) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(20)));
    let route = {
        let (now, seen, each_ms) = (Arc::clone(&now), Arc::clone(&seen), Arc::clone(&each_ms));
        get(async move || {
            let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
            seen.lock().unwrap().push(at_once);
            let takes = each_ms.load(Ordering::SeqCst) * u64::try_from(at_once).unwrap();
            tokio::time::sleep(Duration::from_millis(takes)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            "{}"
        })
    };
    let head = "limits: {timeout_ms: 20000, in_flight_max: 30, slow_ms: 200}";
    let asked = Asked::new(&binding(head), &serve(Router::new().route("/a", route)).await);
    let load = async |calls: usize| {
        seen.lock().unwrap().clear();
        assert!(join_all((0..calls).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
        let seen = seen.lock().unwrap();
        seen.iter().skip(seen.len() * 3 / 4).copied().max().unwrap()
    };
    let many = load(150).await;
    assert!((1..=20).contains(&many), "{many} at once");
    each_ms.store(0, Ordering::SeqCst);
    load(1_200).await;
    each_ms.store(4, Ordering::SeqCst);
    assert!(load(120).await >= 28, "they grew back");
}

#[tokio::test]
async fn several_gateways_together_stay_within_the_rate() {
    let (url, times) = noting().await;
    let egress = EgressConfig { replicas: NonZeroU32::new(3), ..EgressConfig::default() };
    let head = binding("limits: {timeout_ms: 2500, per_second_max: 10}");
    let variables = |name: &str| (name == "URL").then(|| url.clone());
    let gateways: Vec<Asked> = (0..3).map(|_| compile_within(&head, &variables, &egress).unwrap()).collect();
    let all = join_all(gateways.iter().flat_map(|gateway| (0..20).map(|_| gateway.one("k", &[])))).await;
    assert!(at_most_in_a_second(&times, 10));
    // Two seconds and more at three calls each.
    let answered = all.iter().filter(|answer| answer.is_ok()).count();
    assert!((18..=36).contains(&answered), "{answered}");
    assert!(compile_within(&binding("limits: {per_second_max: 3}"), &variables, &egress).is_ok());
    let too_little = compile_within(&binding("limits: {per_second_max: 2}"), &variables, &egress).err().unwrap();
    assert!(too_little.contains("cannot be split among 3 gateways"), "{too_little}");
}

#[tokio::test]
async fn at_any_load_no_second_holds_more_calls_than_the_source_allows() {
    let (url, times) = noting().await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 2500, per_second_max: 10}"), &url);
    let waves = (0..10_u64).map(async |wave| {
        tokio::time::sleep(Duration::from_millis(wave * 130)).await;
        join_all((0..50).map(|_| asked.one("k", &[]))).await
    });
    let all: Vec<_> = join_all(waves).await.into_iter().flatten().collect();
    let answered = all.iter().filter(|answer| answer.is_ok()).count();
    let others = all.iter().filter_map(|answer| answer.as_ref().err());
    assert!(others.clone().all(|error| error.code == ErrorCode::SourceBusy && error.calls == 0));
    let asked = times.lock().unwrap().len();
    assert!(asked == answered && answered >= 30, "{answered}: it is used as far as it allows");
    assert!(at_most_in_a_second(&times, 10));
}
