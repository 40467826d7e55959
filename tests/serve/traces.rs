//! Traces at an OpenTelemetry collector: which steps and calls a request was, how long they took and how they ended, and
//! nothing of what was asked or answered; a collector that is away costs no request anything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path as UrlPath;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::live_support::{CONFIG, Live, Place, binding};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// What no span may hold: a key, a department's value, a name in a document, a secret.
const MARKS: [&str; 4] = ["331122199001010011", "markvalue", "Markoperation", "marksecret"];

/// The collector's key that was shown, and the body.
type Posted = (Option<String>, Bytes);

/// A collector and a department in one.
#[derive(Clone, Default)]
struct Standin {
    posted: Arc<Mutex<Vec<Posted>>>,
    /// The `traceparent` of each call, by what was asked.
    told: Arc<Mutex<BTreeMap<String, String>>>,
    /// The collector takes as long as it likes.
    hangs: bool,
    /// The department takes a while.
    slow: bool,
}

impl Standin {
    async fn serve(&self) -> String {
        let (of_collector, of_department) = (self.clone(), self.clone());
        let collect = move |headers: HeaderMap, body: Bytes| async move {
            if of_collector.hangs {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            }
            let key = headers.get("x-collector-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
            of_collector.posted.lock().unwrap().push((key, body));
        };
        let tell = move |UrlPath((_, what, id)): UrlPath<(String, String, String)>, headers: HeaderMap| async move {
            let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
            of_department.told.lock().unwrap().insert(what.clone(), trace.to_owned());
            if of_department.slow {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            match what.as_str() {
                "city" => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                _ => (StatusCode::OK, json!({ "id": id, "told": "markvalue" }).to_string()),
            }
        };
        let routes = Router::new().route("/v1/traces", post(collect)).route("/{version}/{what}/{id}", get(tell));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn spans(&self) -> Vec<Span> {
        let posted = self.posted.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
        let resources = posted.iter().flat_map(|(_, body)| read(body).resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// A gateway that exports to the stand-in.
async fn traced(name: &str, standin: &Standin, further: &str) -> (Place, Live) {
    traced_of(name, standin, further, "").await
}

/// `source`: more keys of the department.
async fn traced_of(name: &str, standin: &Standin, further: &str, source: &str) -> (Place, Live) {
    let url = standin.serve().await;
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let config = format!(
        "{CONFIG}metrics: {{listen: \"{metrics}\"}}\n\
         traces: {{url: \"{url}/v1/traces\", headers: {{x-collector-key: \"${{KEY}}\"}}{further}}}\n"
    );
    let people = format!("{}quota: [{{role: public, calls_per_minute: 1000}}]\n{source}", binding("v1"));
    let files = [("config/gateway.yaml", config.as_str()), ("resolvers/people.yaml", &people)];
    let place = Place::new(name, &files).await;
    let live = place.start("gateway", &[("PEOPLE_URL", &url), ("KEY", "marksecret")]).await;
    std::fs::write(place.root.join("metrics"), metrics.to_string()).expect("a file");
    (place, live)
}

async fn ask(live: &Live, traceparent: Option<&str>) -> serde_json::Value {
    ask_for(live, traceparent, true).await
}

/// `other`: of the endpoint too that fails.
async fn ask_for(live: &Live, traceparent: Option<&str>, other: bool) -> serde_json::Value {
    let document = "query Markoperation($id: ID!, $other: Boolean = true) \
        { person(id: $id) { name city @include(if: $other) } }";
    let body = json!({ "query": document, "variables": { "id": MARKS[0], "other": other } }).to_string();
    let mut request = live.client.post(format!("{}/graphql", live.url)).header("content-type", "application/json");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let answer = request.body(body).send().await.expect("an answer");
    serde_json::from_str(&answer.text().await.expect("a whole answer")).expect("JSON")
}

async fn metric(place: &Place, live: &Live, name: &str) -> u64 {
    let address = std::fs::read_to_string(place.root.join("metrics")).expect("the address");
    let text =
        live.client.get(format!("http://{address}/metrics")).send().await.expect("metrics").text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("a number")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn told(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == name).and_then(|one| one.value.clone()?.value);
    match found {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_one_trace_with_its_steps_and_calls_and_none_of_its_values() {
    let standin = Standin::default();
    let (place, live) = traced("traces", &standin, "").await;
    let answer = ask(&live, Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    assert_eq!(answer["data"]["person"], json!({"name": "markvalue", "city": null}), "{answer}");
    live.until("the spans", || async { standin.spans().iter().any(|span| span.name == "request") }).await;
    let spans = standin.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let request = named("request")[0];
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(told(request, "huxiang.outcome"), "PARTIAL");
    assert_eq!(told(request, "huxiang.roles"), "public");
    assert_eq!(told(request, "huxiang.errors"), "SOURCE_ERROR");
    assert_eq!(told(request, "huxiang.document").len(), 64, "a keyed digest");
    for step in ["plan", "audit"] {
        let step = named(step);
        assert!(step.len() == 1 && step[0].parent_span_id == request.span_id, "{spans:?}");
    }
    let calls = named("call");
    let call = |endpoint: &str| *calls.iter().find(|span| told(span, "huxiang.endpoint") == endpoint).expect("a call");
    for endpoint in ["name", "city"] {
        let call = call(endpoint);
        assert_eq!((told(call, "huxiang.source"), told(call, "huxiang.keys")), ("people".to_owned(), "1".to_owned()));
        // As `huxiang source status` tells it.
        assert_eq!(
            (told(call, "huxiang.breaker"), told(call, "huxiang.drifts")),
            ("CLOSED".to_owned(), "0".to_owned())
        );
        assert!(["998", "999"].contains(&told(call, "huxiang.quota_left").as_str()), "{call:?}");
        assert_eq!(call.parent_span_id, request.span_id);
        // What the department traces is below the call.
        let passed_on = standin.told.lock().unwrap()[endpoint].clone();
        assert_eq!(passed_on, format!("00-{TRACE}-{}-01", hex(&call.span_id)));
    }
    assert_eq!(told(call("city"), "error.type"), "SOURCE_ERROR");
    assert_eq!(call("city").status.as_ref().map(|status| status.code), Some(2));
    assert_eq!(told(call("name"), "error.type"), "");
    let of_name = |span: &&&Span| span.parent_span_id == call("name").span_id;
    let http = named("http");
    let answered = http.iter().find(of_name).expect("a request");
    assert_eq!(told(answered, "http.response.status_code"), "200");
    assert!(http.iter().all(|span| !told(span, "huxiang.waited_ms").is_empty() && told(span, "huxiang.try") == "1"));

    let posted = standin.posted.lock().unwrap().clone();
    assert!(posted.iter().all(|(key, _)| key.as_deref() == Some("marksecret")), "the collector is told its key");
    for (mark, (_, body)) in MARKS.iter().flat_map(|mark| posted.iter().map(move |body| (mark, body))) {
        assert!(!body.windows(mark.len()).any(|part| part == mark.as_bytes()), "{mark} is in a span");
    }
    let count = u64::try_from(spans.len()).unwrap();
    live.until("they are counted", || async { metric(&place, &live, "huxiang_spans_exported_total").await == count })
        .await;
    assert_eq!(metric(&place, &live, "huxiang_spans_dropped_total").await, 0);
}

#[tokio::test]
async fn who_asks_decides_only_where_that_is_said_and_else_the_ratio_does() {
    let sampled = [format!("00-{TRACE}-{CALLER}-01"), format!("00-{TRACE}-{CALLER}-00")];
    // Nobody's word counts, and none are drawn; whoever asks decides, both ways.
    for (at, further, expected) in [(0, ", ratio: 0.0", [0, 0]), (1, ", ratio: 0.0, trust_parents: true", [1, 0])] {
        let standin = Standin::default();
        let (_place, live) = traced(&format!("ratio-{at}"), &standin, further).await;
        for traceparent in &sampled {
            ask(&live, Some(traceparent)).await;
        }
        // Ends once all are out.
        #[cfg(unix)]
        live.signal("TERM");
        live.until("it stopped", || async { live.log().contains("stopped") }).await;
        let spans = standin.spans();
        let requests = spans.iter().filter(|span| span.name == "request").count();
        assert_eq!(requests, expected.iter().sum::<usize>(), "{further}");
        // The flag that departments are told is that of what is recorded here.
        assert!(standin.told.lock().unwrap()["name"].ends_with("-00"), "the last one is not recorded");
    }
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_no_request_and_what_there_is_no_room_for_is_counted() {
    let standin = Standin { hangs: true, ..Standin::default() };
    let (place, live) = traced("hangs", &standin, ", queue_max: 5").await;
    let began = Instant::now();
    for _ in 0..20 {
        let answer = ask_for(&live, None, false).await;
        assert_eq!(answer["data"]["person"]["name"], "markvalue", "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "nobody waits for the collector");
    assert!(metric(&place, &live, "huxiang_spans_dropped_total").await > 20);
}

#[tokio::test]
async fn a_call_that_two_share_is_told_by_both_and_sent_below_the_first() {
    let standin = Standin { slow: true, ..Standin::default() };
    let (_place, live) = traced_of("traces-shared", &standin, "", "shares_calls: true\n").await;
    let second = "1bf92f3577b34da6a3ce929d0e0e4736";
    let parents = [format!("00-{TRACE}-{CALLER}-01"), format!("00-{second}-{CALLER}-01")];
    let (one, two) = futures::join!(ask_for(&live, Some(&parents[0]), false), ask_for(&live, Some(&parents[1]), false));
    assert_eq!(
        (&one["data"]["person"]["name"], &two["data"]["person"]["name"]),
        (&json!("markvalue"), &json!("markvalue"))
    );
    live.until("both", || async { standin.spans().iter().filter(|span| span.name == "request").count() == 2 }).await;
    let spans = standin.spans();
    let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let mut calls: Vec<(String, String)> =
        of("call").iter().map(|call| (told(call, "huxiang.shared"), told(call, "huxiang.requests"))).collect();
    calls.sort();
    let joined = |requests: &str| ("joined".to_owned(), requests.to_owned());
    assert_eq!(calls, [joined("0"), joined("1")]);
    let [http] = of("http")[..] else { panic!("{spans:?}") };
    let first = of("call").into_iter().find(|call| told(call, "huxiang.requests") == "1").expect("the first");
    assert_eq!((&http.trace_id, &http.parent_span_id), (&first.trace_id, &first.span_id));
    let told = standin.told.lock().unwrap()["name"].clone();
    assert!(told.contains(&hex(&first.trace_id)), "{told}");
}
