//! Guards and signatures: deadlines, caps, rates, retries, tokens, certificates, what is passed on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::join_all;
use huxiang::base::code::ErrorCode;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{CallContext, Caller, Fetch, Shared};
use tokio::net::TcpListener;

use crate::support::{Asked, at_most_in_a_second, compile, compile_on, compile_with, noting, serve};

fn binding(head: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{head}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {{get: /a, query: {{id: \"{{key}}\"}}}}\n"
    )
}

async fn code(asked: &Asked) -> ErrorCode {
    asked.one("k", &[]).await.unwrap_err().code
}

#[tokio::test]
async fn a_slow_source_costs_no_more_than_its_deadline() {
    let slow = get(async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        "{}"
    });
    let asked = Asked::new(&binding("limits: {timeout_ms: 150}"), &serve(Router::new().route("/a", slow)).await);
    let start = Instant::now();
    let error = asked.one("k", &[]).await.unwrap_err();
    assert_eq!((error.code, error.calls, error.down), (ErrorCode::SourceTimeout, 1, true));
    assert!(start.elapsed() < Duration::from_secs(4));
}

/// Whoever asks is told soon, and may ask a fallback; who has begun is waited for.
#[tokio::test]
async fn a_source_that_does_not_begin_to_answer_is_given_up_and_one_that_has_begun_takes_its_time() {
    let silent = get(async || std::future::pending::<()>().await);
    let begun = get(async || {
        let rest = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok::<_, std::io::Error>("{}")
        });
        Response::new(Body::from_stream(rest))
    });
    let (silent, begun) =
        (serve(Router::new().route("/a", silent)).await, serve(Router::new().route("/a", begun)).await);
    let head = "limits: {timeout_ms: 20000, first_byte_ms: 200, breaker: {failures_min: 4}}";
    let asked = Asked::new(&binding(head), &silent);
    let start = Instant::now();
    for _ in 0..4 {
        let error = asked.one("k", &[]).await.unwrap_err();
        assert_eq!((error.code, error.calls, error.down), (ErrorCode::SourceTimeout, 1, true));
        assert!(error.detail.contains("first_byte_ms"), "{}", error.detail);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(code(&asked).await, ErrorCode::SourceSuspended, "to the breaker, it did not answer");
    assert!(Asked::new(&binding(head), &begun).one("k", &[]).await.is_ok());
    // An endpoint whose answers take longer to make has a time of its own.
    let late = get(async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "{}"
    });
    let late = serve(Router::new().route("/a", late)).await;
    assert_eq!(code(&Asked::new(&binding(head), &late)).await, ErrorCode::SourceTimeout);
    let own = binding(head).replace("entity: Household\n", "entity: Household\n    first_byte_ms: 15000\n");
    assert!(Asked::new(&own, &late).one("k", &[]).await.is_ok());
}

#[tokio::test]
async fn a_source_that_is_not_there_or_hangs_up_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(code(&Asked::new(&binding(""), &url)).await, ErrorCode::SourceUnreachable);
    assert_eq!(code(&Asked::new(&binding(""), "http://no.such.host.invalid")).await, ErrorCode::SourceUnreachable);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
        }
    });
    assert_eq!(code(&Asked::new(&binding(""), &url)).await, ErrorCode::SourceUnreachable);
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_allowed_and_the_rest_is_busy() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n, m) = (Arc::clone(&now), Arc::clone(&most));
    let slow = get(async move || {
        m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        n.fetch_sub(1, Ordering::SeqCst);
        "{}"
    });
    let head = "limits: {timeout_ms: 350, in_flight_max: 2}";
    let asked = Asked::new(&binding(head), &serve(Router::new().route("/a", slow)).await);
    let all = join_all((0..12).map(|_| asked.one("k", &[]))).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let done = all.iter().filter(|answer| answer.is_ok()).count();
    assert!((4..=8).contains(&done), "{done}");
    let others = all.iter().filter_map(|answer| answer.as_ref().err());
    assert!(others.clone().all(|error| matches!(error.code, ErrorCode::SourceBusy | ErrorCode::SourceTimeout)));
    assert!(others.clone().any(|error| (error.code, error.calls) == (ErrorCode::SourceBusy, 0)));
}

#[tokio::test]
async fn the_source_never_counts_more_calls_in_a_second_than_it_allows() {
    let (url, times) = noting().await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 5000, per_second_max: 5}"), &url);
    let all = join_all((0..14).map(|_| asked.one("k", &[]))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(at_most_in_a_second(&times, 5));
    let brief = Asked::new(&binding("limits: {timeout_ms: 300, per_second_max: 1}"), &url);
    brief.one("k", &[]).await.unwrap();
    assert_eq!(code(&brief).await, ErrorCode::SourceBusy);
}

#[tokio::test]
async fn at_a_rate_who_asks_for_much_waits_behind_itself() {
    // Where places are few, too: then most of the flood waits for those.
    for places in [300, 40] {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let route = get(async move |Query(q): Query<HashMap<String, String>>| {
            noted.lock().unwrap().push(q["id"].clone());
            "{}"
        });
        let url = serve(Router::new().route("/a", route)).await;
        let head = format!("limits: {{timeout_ms: 30000, per_second_max: 10, in_flight_max: {places}}}");
        let mut asked = Asked::new(&binding(&head), &url);
        asked.context.principal = Some("many".into());
        let mut other = asked.context.clone();
        other.principal = Some("one".into());
        let asked = Arc::new(asked);
        let template = asked.one.clone().unwrap();
        let one = async {
            while seen.lock().unwrap().len() < 12 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let before = seen.lock().unwrap().len();
            let keys = ["other".into()];
            let deadline = tokio::time::Instant::now() + Duration::from_secs(25);
            let (inputs, wanted) = (&[], &[]);
            let fetch =
                Fetch { template: &template, keys: &keys, inputs, wanted, deadline, context: &other, page: None };
            asked.connector.fetch(fetch).await.unwrap();
            before
        };
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let asked = Arc::clone(&asked);
            flood.spawn(async move { asked.one("flood", &[]).await.is_ok() });
        }
        let before = one.await;
        let seen = seen.lock().unwrap();
        let turn = seen.iter().position(|key| key == "other").unwrap();
        // Of those that go at the same moment, any may come first; and a place may come free only with the last of these.
        assert!(turn - before <= 20, "{places}: {} went before it, and {before} were there", turn - before);
    }
}

#[tokio::test]
async fn a_pause_does_not_reverse_the_order_of_those_who_wait_at_a_rate() {
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let route = get(async move |Query(q): Query<HashMap<String, String>>| {
        let mut seen = noted.lock().unwrap();
        seen.push(q["id"].parse().unwrap());
        match seen.len() {
            2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "").into_response(),
            _ => "{}".into_response(),
        }
    });
    let url = serve(Router::new().route("/a", route)).await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 7000, retries_max: 0, per_second_max: 2}"), &url);
    let keys: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let all = join_all(keys.iter().zip(0_u64..).map(async |(key, n)| {
        tokio::time::sleep(Duration::from_millis(20 * n)).await;
        asked.one(key, &[]).await
    }));
    let refused = all.await.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 1, "nobody comes too late because a younger one went first");
    assert_eq!(*seen.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

/// As a reload brings them.
#[tokio::test]
async fn other_limits_forget_neither_the_calls_of_the_last_second_nor_a_pause() {
    let (url, times) = noting().await;
    let (paused, _) = refusing(1, StatusCode::TOO_MANY_REQUESTS, "30").await;
    let shared = Shared::default();
    let reloaded = |limits: &str, url: &str| {
        let url = |_: &str| Some(url.to_owned());
        compile_on(&binding(limits), &url, &EgressConfig::default(), "platforms: {}", &shared).unwrap()
    };
    let before = reloaded("limits: {timeout_ms: 9000, per_second_max: 5}", &url);
    assert!(join_all((0..5).map(|_| before.one("k", &[]))).await.iter().all(Result::is_ok));
    for limits in ["per_second_max: 5, slow_ms: 4000", "per_second_max: 5, in_flight_max: 9", "per_second_max: 3"] {
        let after = reloaded(&format!("limits: {{timeout_ms: 9000, {limits}}}"), &url);
        assert!(join_all((0..4).map(|_| after.one("k", &[]))).await.iter().all(Result::is_ok));
    }
    assert!(at_most_in_a_second(&times, 5));
    let limits = "timeout_ms: 2000, retries_max: 0";
    assert_eq!(code(&reloaded(&format!("limits: {{{limits}}}"), &paused)).await, ErrorCode::SourceBusy);
    for more in ["breaker: {failures_min: 9}", "per_second_max: 50"] {
        let error = reloaded(&format!("limits: {{{limits}, {more}}}"), &paused).one("k", &[]).await.unwrap_err();
        assert_eq!((error.code, error.calls), (ErrorCode::SourceBusy, 0), "{more}");
    }
}

/// Refuses the first `n` calls.
async fn refusing(n: usize, status: StatusCode, retry_after: &'static str) -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let route = get(async move || {
        if count.fetch_add(1, Ordering::SeqCst) < n {
            return (status, [("retry-after", retry_after)], "").into_response();
        }
        "{}".into_response()
    });
    (serve(Router::new().route("/a", route)).await, calls)
}

#[tokio::test]
async fn a_read_is_tried_again_when_the_source_says_so_and_the_deadline_allows() {
    let (url, calls) = refusing(1, StatusCode::TOO_MANY_REQUESTS, "1").await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 3000}"), &url);
    let start = Instant::now();
    assert!(asked.one("k", &[]).await.is_ok());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // Longer than the deadline: not waited for.
    let (url, calls) = refusing(9, StatusCode::TOO_MANY_REQUESTS, "60").await;
    let asked = Asked::new(&binding("limits: {timeout_ms: 3000}"), &url);
    let start = Instant::now();
    assert_eq!(code(&asked).await, ErrorCode::SourceBusy);
    assert!(start.elapsed() < Duration::from_millis(2_500));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // No more tries than the binding says; other statuses are final.
    let (url, calls) = refusing(9, StatusCode::SERVICE_UNAVAILABLE, "0").await;
    assert_eq!(code(&Asked::new(&binding("limits: {retries_max: 2}"), &url)).await, ErrorCode::SourceError);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let (url, calls) = refusing(9, StatusCode::BAD_GATEWAY, "0").await;
    assert_eq!(code(&Asked::new(&binding("limits: {retries_max: 2}"), &url)).await, ErrorCode::SourceError);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// What lets an endpoint's fallback be asked, and what is an answer.
#[tokio::test]
async fn a_source_that_fails_is_down_and_one_that_refuses_is_not() {
    let answer = get(async |Query(q): Query<HashMap<String, String>>| {
        let status = StatusCode::from_u16(q["id"].parse().unwrap_or(200)).unwrap();
        (status, if q["id"] == "nonsense" { "<html>" } else { "{}" })
    });
    let asked = Asked::new(&binding("limits: {retries_max: 0}"), &serve(Router::new().route("/a", answer)).await);
    for down in ["500", "502", "503", "504"] {
        assert!(asked.one(down, &[]).await.unwrap_err().down, "{down}");
    }
    for answered in ["302", "400", "401", "403", "410", "422", "429", "nonsense"] {
        assert!(!asked.one(answered, &[]).await.unwrap_err().down, "{answered}");
    }
}

#[tokio::test]
async fn one_token_serves_all_calls_and_a_refused_one_is_fetched_anew_once() {
    let (issued, revoked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, low) = (Arc::clone(&issued), Arc::clone(&revoked));
    let token = async move |headers: HeaderMap, form: String| {
        assert_eq!(headers["authorization"], "Basic aWQ6cyUyQmVjcmV0");
        assert_eq!(form, "grant_type=client_credentials");
        tokio::time::sleep(Duration::from_millis(30)).await;
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        format!(r#"{{"access_token":"t{n}","token_type":"Bearer","expires_in":3600}}"#)
    };
    let data = async move |headers: HeaderMap| -> Response {
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer t").unwrap().parse::<u64>();
        match token.unwrap() > low.load(Ordering::SeqCst) {
            true => "{}".into_response(),
            false => StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    let url = serve(Router::new().route("/token", post(token)).route("/a", get(data))).await;
    let sign = "sign: {scheme: oauth2, token_url: /token, client_id: id, client_secret: s+ecret}";
    let asked = Asked::new(&binding(sign), &url);
    assert!(join_all((0..8).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    revoked.store(1, Ordering::SeqCst);
    assert!(join_all((0..8).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    revoked.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(code(&asked).await, ErrorCode::SourceError);
    assert_eq!(issued.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn trace_request_and_caller_are_passed_on() {
    let route = get(async |headers: HeaderMap| {
        let value = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let names =
            ["traceparent", "x-request-id", "x-principal", "x-purpose", "x-case", "x-api-key", "accept-encoding"];
        serde_json::to_string(&names.map(value)).unwrap()
    });
    let url = serve(Router::new().route("/a", route)).await;
    let context = CallContext {
        traceparent: Some("00-1-2-01".to_owned()),
        request_id: "r1".to_owned(),
        caller: Some(Caller { principal: "p".to_owned(), purpose: Some("核查".to_owned()), ..Caller::default() }),
        ..CallContext::default()
    };
    let mut asked = Asked::new(&binding("headers: {X-Api-Key: k}"), &url);
    asked.context = context.clone();
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"["00-1-2-01","r1","-","-","-","k","gzip"]"#);
    let mut asked = Asked::new(&binding("authority: caller"), &url);
    assert_eq!(code(&asked).await, ErrorCode::InputMissing);
    asked.context = context;
    let expected = r#"["00-1-2-01","r1","p","%E6%A0%B8%E6%9F%A5","-","-","gzip"]"#;
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, expected);
}

#[tokio::test]
async fn no_secret_is_printed() {
    let sign = "headers: {X-Key: topsecret1}\nsign: {scheme: basic, user: u, password: topsecret2}";
    let asked = Asked::new(&binding(sign), "http://u:topsecret3@127.0.0.1:1");
    let printed = format!("{:?} {:?}", asked.connector, asked.one("k", &[]).await.unwrap_err());
    assert!(!printed.contains("topsecret"), "{printed}");
}

/// Hostile answers: each is an error with a code, none a panic or an endless wait.
async fn answered(head: &str, body: impl Fn() -> Response + Clone + Send + Sync + 'static) -> (ErrorCode, String) {
    let url = serve(Router::new().route("/a", get(async move || body()))).await;
    let error = Asked::new(&binding(head), &url).one("k", &[]).await.unwrap_err();
    (error.code, error.detail)
}

#[tokio::test]
async fn hostile_answers_are_bad_answers() {
    let bad = ErrorCode::SourceBadAnswer;
    let texts = [
        ("[".repeat(1_000_000), "nested"),
        (format!("{}1{}", "{\"a\":".repeat(129), "}".repeat(129)), "nested"),
        ("{\"a\":".to_owned(), "not JSON"),
        ("<html>".to_owned(), "not JSON"),
        (String::new(), "not JSON"),
        ("{} {}".to_owned(), "not JSON"),
        ("NaN".to_owned(), "not JSON"),
    ];
    for (text, expected) in texts {
        let (code, detail) = answered("", move || text.clone().into_response()).await;
        assert!(code == bad && detail.contains(expected), "{code} {detail}");
    }
    let (code, detail) = answered("", || b"{\"a\":\"\xff\"}".to_vec().into_response()).await;
    assert!(code == bad && detail.contains("UTF-8"), "{detail}");
    let cut = [31_u8, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 83, 178, 82, 170, 24, 5, 163, 96, 20];
    let (code, _) = answered("", move || ([("content-encoding", "gzip")], cut.to_vec()).into_response()).await;
    assert_eq!(code, bad);
    let (code, detail) = answered("limits: {answer_bytes_max: 1000}", || "x".repeat(1001).into_response()).await;
    assert!(code == bad && detail.contains("larger than 1000 bytes"), "{detail}");
    let charset = || ([("content-type", "application/json; charset=klingon")], "{}").into_response();
    assert_eq!(answered("", charset).await.0, bad);
    let surrogate = || r#"{"\ud800":1,"ok":"\ud800"}"#.into_response();
    assert_eq!(answered("envelope: {ok: {at: /ok, is: x}}", surrogate).await.0, bad);
}

/// What comes in small pieces, packed, with a mark before it, or in the charset it names.
#[tokio::test]
async fn answers_are_read_however_they_are_sent() {
    const PLAIN: &str = r#"{"k":"k","v":"民政"}"#;
    let chunks = || {
        let bytes = PLAIN.bytes().map(|byte| Ok::<_, std::io::Error>(vec![byte]));
        Response::new(Body::from_stream(futures::stream::iter(bytes.collect::<Vec<_>>())))
    };
    let packed = || {
        let body = include_bytes!("../data/answers/small.json.gz").to_vec();
        ([("content-encoding", "gzip")], body).into_response()
    };
    let in_charset = |name: &'static str, text: &str| {
        let bytes = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap().encode(text).0.into_owned();
        ([("content-type", format!("application/json;charset=\"{name}\""))], bytes).into_response()
    };
    let marked = format!("\u{feff}{PLAIN}");
    let of = |body: Response| (String::new(), body);
    let answers = [
        of(chunks()),
        of(packed()),
        of(marked.clone().into_response()),
        of(in_charset("gbk", PLAIN)),
        of(in_charset("GB2312", PLAIN)),
        of(in_charset("gb18030", &marked)),
        ("encoding: gb18030".to_owned(), in_charset("utf-8", &marked)),
        ("encoding: gbk".to_owned(), Response::new(Body::from(encoding_rs::GBK.encode(PLAIN).0.into_owned()))),
    ];
    for (n, (head, answer)) in answers.into_iter().enumerate() {
        let answer = Arc::new(Mutex::new(Some(answer)));
        let route = get(async move || answer.lock().unwrap().take().unwrap());
        let asked = Asked::new(&binding(&head), &serve(Router::new().route("/a", route)).await);
        let found = asked.one("k", &[]).await.unwrap_or_else(|error| panic!("{n}: {error:?}"));
        assert_eq!(found[0].1, PLAIN, "{n}");
    }
    let xml = |text: &str| format!("{text}<r><k>k</k></r>");
    for text in [xml("\u{feff}"), xml("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>")] {
        let url = serve(Router::new().route("/a", get(async move || text))).await;
        assert_eq!(Asked::new(&binding("format: xml"), &url).one("k", &[]).await.unwrap()[0].1, r#"{"r":{"k":"k"}}"#);
    }
}

/// Some kilobytes that would be some megabytes: cut at the cap, whatever was announced.
#[tokio::test]
async fn packed_answers_are_capped_by_what_they_unpack_to() {
    let packed = include_bytes!("../data/answers/20-megabytes.json.gz");
    assert!(packed.len() < 100_000, "{}", packed.len());
    let bomb = || ([("content-encoding", "gzip")], packed.to_vec()).into_response();
    for head in ["", "limits: {answer_bytes_max: 100000}"] {
        let (code, detail) = answered(head, bomb).await;
        assert!(code == ErrorCode::SourceBadAnswer && detail.contains("larger than"), "{detail}");
    }
    let wide = "limits: {answer_bytes_max: 30000000}";
    let url = serve(Router::new().route("/a", get(async move || bomb()))).await;
    assert_eq!(Asked::new(&binding(wide), &url).one("k", &[]).await.unwrap().len(), 1, "it is a whole answer");
}

#[tokio::test]
async fn answers_made_to_take_long_are_read_in_linear_time() {
    let attributes: String = (0..150_000).map(|n| format!(" a{n}=''")).collect();
    let members: String = (0..150_000).map(|n| format!("\"a{n}\":1,")).collect();
    let elements: String = (0..100_000).map(|n| format!("<a{n}/>")).collect();
    let long = [
        ("format: xml", format!("<r{attributes}><x/></r>")),
        ("format: xml", format!("<r>{elements}</r>")),
        ("format: xml", format!("<r>{}</r>", "&amp;".repeat(500_000))),
        ("format: xml", format!("<r>{}</r>", "<!---->".repeat(300_000))),
        ("", format!("{{{members}\"z\":1}}")),
    ];
    for (head, text) in long {
        let start: String = text.chars().take(20).collect();
        let url = serve(Router::new().route("/a", get(async move || text))).await;
        let began = Instant::now();
        let asked = Asked::new(&binding(&format!("{head}\nlimits: {{timeout_ms: 60000}}")), &url);
        let _ = asked.one("k", &["/r"]).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{start} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_endless_body_ends_at_the_cap_or_the_deadline() {
    fn endless(pause: u64) -> Response {
        let chunks = futures::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Some((Ok::<_, std::io::Error>(vec![b' '; 4096]), ()))
        });
        Response::new(Body::from_stream(chunks))
    }
    let head = "limits: {timeout_ms: 5000, answer_bytes_max: 100000}";
    assert_eq!(answered(head, || endless(0)).await.0, ErrorCode::SourceBadAnswer);
    assert_eq!(answered("limits: {timeout_ms: 200}", || endless(50)).await.0, ErrorCode::SourceTimeout);
}

#[tokio::test]
async fn numbers_and_texts_nobody_looks_at_pass_through_unread() {
    let text = r#"{"n":1e999,"s":"\ud800","d":0.1000000000000000000001}"#;
    let url = serve(Router::new().route("/a", get(async move || text))).await;
    let found = Asked::new(&binding(""), &url).one("k", &[]).await.unwrap();
    assert_eq!(found[0].1, text);
}

#[test]
fn wrong_settings_are_faults() {
    for head in [
        "limits: {in_flight_max: 0}",
        "limits: {per_second_max: 0}",
        "tls: {client_cert: x.pem}",
        "headers: {\"a b\": c}",
        "sign: {scheme: oauth2, token_url: nonsense, client_id: a, client_secret: b}",
        "instances: {file: none.csv}",
    ] {
        assert!(compile(&binding(head), "http://127.0.0.1:1").is_err(), "{head}");
    }
    assert!(compile(&binding(""), "ftp://127.0.0.1").is_err());
    assert!(compile_with(&binding(""), &|_| None).is_err());
}

/// A department that answers with a status after a while, and counts.
#[derive(Clone, Default)]
struct Moody {
    status: Arc<AtomicUsize>,
    takes_ms: Arc<AtomicU64>,
    calls: Arc<AtomicUsize>,
}

impl Moody {
    async fn serve(&self) -> String {
        let this = self.clone();
        let route = get(async move || {
            this.calls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(this.takes_ms.load(Ordering::SeqCst))).await;
            let status = u16::try_from(this.status.load(Ordering::SeqCst)).unwrap();
            (StatusCode::from_u16(status).unwrap(), "{}")
        });
        self.says(200);
        serve(Router::new().route("/a", route)).await
    }

    fn says(&self, status: usize) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

const BREAKER: &str = "limits: {timeout_ms: 2000, retries_max: 0, \
    breaker: {failures_min: 4, open_ms: 400, probes_max: 2}}";

#[tokio::test]
async fn a_source_that_fails_is_left_alone_and_tried_after_a_while() {
    let moody = Moody::default();
    let asked = Asked::new(&binding(BREAKER), &moody.serve().await);
    moody.says(500);
    for _ in 0..4 {
        assert_eq!(code(&asked).await, ErrorCode::SourceError);
    }
    let error = asked.one("k", &[]).await.unwrap_err();
    assert_eq!((error.code, error.calls, error.down), (ErrorCode::SourceSuspended, 0, true));
    assert!(error.detail.contains("asked again in 1 s"), "{}", error.detail);
    // Tried, found as before, and left alone once more.
    tokio::time::sleep(Duration::from_millis(420)).await;
    assert_eq!(code(&asked).await, ErrorCode::SourceError);
    assert_eq!(code(&asked).await, ErrorCode::SourceSuspended);
    assert_eq!(moody.calls(), 5);
    moody.says(200);
    tokio::time::sleep(Duration::from_millis(420)).await;
    assert!(asked.one("k", &[]).await.is_ok() && asked.one("k", &[]).await.is_ok());
    assert!(join_all((0..9).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok), "it is closed");
}

#[tokio::test]
async fn a_source_without_connections_or_answers_in_time_is_left_alone_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let moody = Moody::default();
    let slow = moody.serve().await;
    moody.takes_ms.store(60_000, Ordering::SeqCst);
    let brief = BREAKER.replace("timeout_ms: 2000", "timeout_ms: 100");
    for (url, expected) in [(gone, ErrorCode::SourceUnreachable), (slow, ErrorCode::SourceTimeout)] {
        let asked = Asked::new(&binding(&brief), &url);
        assert!(join_all((0..4).map(|_| code(&asked))).await.iter().all(|code| *code == expected));
        assert_eq!(code(&asked).await, ErrorCode::SourceSuspended, "{expected}");
    }
}

#[tokio::test]
async fn refusals_and_nonsense_do_not_open_the_breaker_and_it_can_be_switched_off() {
    let moody = Moody::default();
    let url = moody.serve().await;
    let asked = Asked::new(&binding(BREAKER), &url);
    for status in [400, 401, 403, 404, 410, 422, 429, 302] {
        moody.says(status);
        join_all((0..6).map(|_| asked.one("k", &[]))).await;
        assert_ne!(asked.one("k", &[]).await.map_err(|error| error.code).err(), Some(ErrorCode::SourceSuspended));
    }
    moody.says(200);
    let picky = Asked::new(&binding(&format!("{BREAKER}\nenvelope: {{ok: {{at: /ok, is: yes}}}}")), &url);
    for _ in 0..6 {
        assert_ne!(code(&picky).await, ErrorCode::SourceSuspended);
    }
    moody.says(500);
    let off = Asked::new(&binding("limits: {breaker: {enabled: false}}"), &url);
    assert!(join_all((0..30).map(|_| code(&off))).await.iter().all(|code| *code == ErrorCode::SourceError));
}

#[tokio::test]
async fn few_requests_try_a_source_however_many_come_and_one_given_up_wedges_nothing() {
    let moody = Moody::default();
    let asked = Asked::new(&binding(BREAKER), &moody.serve().await);
    moody.says(503);
    join_all((0..4).map(|_| code(&asked))).await;
    let before = moody.calls();
    moody.says(200);
    moody.takes_ms.store(200, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(420)).await;
    // Both that may try are given up by who asked.
    let given_up = join_all((0..20).map(|_| asked.one("k", &[])));
    assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
    assert_eq!(moody.calls() - before, 2);
    let all = join_all((0..20).map(|_| asked.one("k", &[]))).await;
    assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(moody.calls() - before, 4);
    assert!(asked.one("k", &[]).await.is_ok(), "closed");
}

#[tokio::test]
async fn a_source_that_asks_to_be_left_alone_is_not_asked_by_anybody_until_then() {
    let limits = "limits: {timeout_ms: 5000, retries_max: 0}";
    let (url, calls) = refusing(1, StatusCode::TOO_MANY_REQUESTS, "2").await;
    let asked = Asked::new(&binding(limits), &url);
    let began = Instant::now();
    assert_eq!(code(&asked).await, ErrorCode::SourceBusy);
    let brief = Fetch {
        template: asked.one.as_ref().unwrap(),
        keys: &["k".into()],
        inputs: &[],
        wanted: &[],
        deadline: tokio::time::Instant::now() + Duration::from_millis(500),
        context: &asked.context,
        page: None,
    };
    let error = asked.connector.fetch(brief).await.unwrap_err();
    assert_eq!((error.code, error.calls), (ErrorCode::SourceBusy, 0));
    assert!(began.elapsed() < Duration::from_millis(400), "nobody waits in vain");
    assert!(join_all((0..5).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(calls.load(Ordering::SeqCst), 6);
    // Where it is asked in callers' names, it may have said so of one of them.
    let (url, calls) = refusing(1, StatusCode::TOO_MANY_REQUESTS, "60").await;
    let mut asked = Asked::new(&binding(&format!("authority: caller\n{limits}")), &url);
    asked.context.caller = Some(Caller { principal: "p".to_owned(), ..Caller::default() });
    assert_eq!(code(&asked).await, ErrorCode::SourceBusy);
    assert!(asked.one("k", &[]).await.is_ok());
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
