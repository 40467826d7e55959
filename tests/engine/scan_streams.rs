//! Streams of scans as server-sent events, through a real listener: frames are the pages of the query, one after the other, and
//! what a query is refused for ends them too.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use departments::Fault;
use serde_json::{Value, json};

use crate::scan_served::{EVENTS, JSON, PAGE, Running, STREAM, TOWN, VILLAGE, dibao, nodes, progress, rows, vehicles};
use crate::support::records;

const STATS: &str = "($division: ID!, $where: HouseholdFilter, $resume: ScanResume) {
  householdStats(division: $division, where: $where, resume: $resume, groupBy: [{by: registry_category}],
                 measures: [{count: true}])";
const FIGURES: &str =
    "groups { key { value } suppressed values { value lower upper } } coverage { matched whole ended }";

impl Running {
    async fn stream(&self, who: &str, query: &str, variables: Value) -> Events {
        let response = self.sent(who, EVENTS, json!({ "query": query, "variables": variables })).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Events { response, text: String::new() }
    }

    /// All responses of a stream.
    pub async fn events(&self, who: &str, query: &str, variables: Value) -> Vec<Value> {
        self.stream(who, query, variables).await.all().await
    }
}

/// The events of a response, as they come.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    /// The next event's text, comments left out; `None`: the body is at its end.
    async fn event(&mut self) -> Option<String> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                self.text = rest;
                if event != ":" {
                    return Some(event);
                }
            }
            let Some(chunk) = self.response.chunk().await.expect("the body does not break off") else {
                assert_eq!(self.text, "", "nothing is cut");
                return None;
            };
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The response in the next event, which is a `next`.
    async fn next(&mut self) -> Value {
        let event = self.event().await.expect("there is more");
        let data = event.strip_prefix("event: next\ndata: ").unwrap_or_else(|| panic!("{event}"));
        serde_json::from_str(data).unwrap()
    }

    /// All responses, up to `complete`, which is the last event.
    async fn all(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            match self.event().await.expect("there is more").as_str() {
                "event: complete\ndata:" => break,
                event => {
                    let data = event.strip_prefix("event: next\ndata: ").unwrap_or_else(|| panic!("{event}"));
                    all.push(serde_json::from_str(data).unwrap());
                }
            }
        }
        assert_eq!(self.event().await, None, "nothing comes after `complete`");
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frames_are_the_pages_of_the_query_in_their_order_and_say_how_far_they_have_come() {
    let running = Running::start(|_| {}).await;
    let frames = running.stream("supervisor-1", STREAM, dibao(VILLAGE, 3)).await.all().await;
    let expected = running.pages(&dibao(VILLAGE, 3), Value::Null).await;
    assert!(expected.len() > 3, "several frames");
    assert_eq!(rows(&frames), expected);
    let (mut candidates, mut matched, mut calls) = (0, 0, 0);
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(frame["errors"], Value::Null, "{frame:#}");
        let (told, page) = (progress(frame), &frame["data"]["households"]["page"]);
        candidates += page["coverage"]["candidates"].as_u64().unwrap();
        matched += page["coverage"]["matched"].as_u64().unwrap();
        assert_eq!((&told["candidates"], &told["matched"]), (&json!(candidates), &json!(matched)), "{frame:#}");
        assert_eq!((&told["evaluated"], &told["total"]), (&told["candidates"], &json!(21)), "of so many: {frame:#}");
        assert!(told["calls"].as_u64().unwrap() > calls, "{frame:#}");
        calls = told["calls"].as_u64().unwrap();
        let is_last = at + 1 == frames.len();
        let ended = if is_last { json!("LISTED") } else { Value::Null };
        assert_eq!((&told["done"], &told["ended"]), (&json!(is_last), &ended), "{frame:#}");
        assert_eq!(told["resume"].is_null(), is_last, "{frame:#}");
        let id = frame["extensions"]["requestId"].as_str().unwrap();
        assert_eq!(id.contains(&format!("-{at}")), at > 0, "each has an id of its own: {id}");
    }
    assert_eq!(candidates, 21);
    // Gone on with from the middle, by a query or by another stream, nothing is missed and nothing twice.
    let (first, rest) = frames.split_first().unwrap();
    let mut variables = dibao(VILLAGE, 3);
    variables["after"] = progress(first)["resume"].clone();
    assert_eq!(running.pages(&dibao(VILLAGE, 3), variables["after"].clone()).await, rows(rest));
    let again = running.stream("supervisor-1", STREAM, variables).await.all().await;
    assert_eq!(rows(&again), rows(rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_frame_is_on_record_before_it_comes_and_names_whom_it_shows() {
    let running = Running::start(|_| {}).await;
    let mut events = running.stream("supervisor-1", STREAM, dibao(VILLAGE, 3)).await;
    let mut frames = vec![events.next().await];
    let shown = |records: &[Value]| -> Vec<usize> {
        let of = |record: &Value| {
            let read = record["access"].as_array().unwrap().iter().filter(|access| access["read"].as_array().is_some());
            let read = read.filter(|access| access["entity"] == "Household" && access["read"] != json!([]));
            let subjects: BTreeSet<&str> =
                read.flat_map(|access| access["subjects"].as_array().unwrap()).map(|of| of.as_str().unwrap()).collect();
            subjects.len()
        };
        records.iter().map(of).collect()
    };
    assert!(!records(&running.world.folder).await.is_empty(), "what was sent is on record");
    frames.extend(events.all().await);
    let records = records(&running.world.folder).await;
    let kinds: Vec<&str> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("REQUEST", "OUTCOME"));
    assert_eq!(kinds.len(), frames.len() + 1, "{kinds:?}");
    assert!(kinds[1..frames.len()].iter().all(|kind| *kind == "FRAME"), "{kinds:?}");
    let rows: Vec<usize> = frames.iter().map(|frame| nodes(&frame["data"]["households"]["page"]).len()).collect();
    assert_eq!(shown(&records)[..frames.len()], rows);
    for (at, record) in records.iter().enumerate().skip(1) {
        assert_eq!(record["of"], 1, "{record:#}");
        if at < frames.len() {
            assert_eq!(record["details"]["frame"], at + 1);
            assert!(record["answer"].is_string() && record["details"]["scan"].is_object(), "{record:#}");
        }
    }
    let end = &records.last().unwrap()["details"];
    assert_eq!(
        (&end["frames"], &end["candidates"], &end["ended"]),
        (&json!(frames.len()), &json!(21), &json!("LISTED"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statistic_tells_its_figures_in_the_last_frame_and_before_that_only_how_far_it_has_come() {
    let running = Running::start(|snapshot| {
        snapshot.config.scans.group_min = 0;
        snapshot.config.limits.upstream_calls_max = 12;
    })
    .await;
    let stream = format!(
        "subscription {STATS} {{ progress {{ candidates matched calls resume done ended }} stats {{ {FIGURES} resume }} }} }}"
    );
    let query = format!("query {STATS} {{ {FIGURES} resume }} }}");
    let variables =
        json!({ "division": TOWN, "where": { "registry": { "status": { "state": { "eq": "REGISTERED" } } } } });
    let frames = running.stream("supervisor-1", &stream, variables.clone()).await.all().await;
    let of = |frame: &Value, part: &str| frame["data"]["householdStats"][part].clone();
    let (last, before) = frames.split_last().unwrap();
    assert!(!before.is_empty(), "it does not end within one turn: {last:#}");
    let mut candidates = 0;
    for frame in before {
        let told = of(frame, "progress");
        assert_eq!(of(frame, "stats"), Value::Null);
        assert_eq!((&told["matched"], &told["calls"], &told["done"]), (&Value::Null, &Value::Null, &json!(false)));
        assert!(told["candidates"].as_u64().unwrap() > candidates, "{told}");
        candidates = told["candidates"].as_u64().unwrap();
    }
    assert_eq!(
        (&of(last, "progress")["done"], &of(last, "progress")["ended"]),
        (&json!(true), &json!("LISTED")),
        "{last:#}"
    );
    // The same as query after query.
    let mut resume = Value::Null;
    let figures = loop {
        let mut variables = variables.clone();
        variables["resume"] = resume;
        let answer = running.ask("supervisor-1", &query, variables).await;
        assert_eq!(answer["errors"], Value::Null, "{answer:#}");
        let stats = answer["data"]["householdStats"].clone();
        resume = stats["resume"].clone();
        if resume.is_null() {
            break stats;
        }
    };
    assert_eq!(of(last, "stats"), figures);
    assert_eq!(of(last, "progress")["matched"], figures["coverage"]["matched"]);
    // And with groups that are kept back, nothing they could be worked out from.
    let strict = Running::start(|snapshot| snapshot.config.scans.group_min = 1_000).await;
    let frames = strict.stream("supervisor-1", &stream, json!({ "division": VILLAGE })).await.all().await;
    let told = of(frames.last().unwrap(), "progress");
    assert_eq!((&told["matched"], &told["calls"]), (&Value::Null, &Value::Null), "{frames:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_the_work_and_its_calls() {
    let running = Running::start(|_| {}).await;
    running.slow(700);
    running.world.departments.clear_logs();
    let mut events = running.stream("supervisor-1", STREAM, vehicles(TOWN, 5)).await;
    events.next().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(events);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let asked = running.calls();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(running.calls(), asked, "nobody is asked any more");
    let records = records(&running.world.folder).await;
    let end = records.last().unwrap();
    assert_eq!((&end["kind"], &end["details"]["ended"]), (&json!("OUTCOME"), &json!("CANCELLED")), "{end:#}");
    let cut = &records[records.len() - 2];
    assert_eq!(cut["details"]["scan"]["ended"], "CANCELLED", "{cut:#}");
    assert!(
        cut["access"].as_array().unwrap().iter().all(|access| access["read"] == json!([])),
        "nothing was shown: {cut:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_a_query_is_refused_the_stream_in_the_same_words_and_nobody_is_asked() {
    let running = Running::start(|_| {}).await;
    running.world.departments.clear_logs();
    let other = json!({ "division": "320000000000", "where": dibao("", 1)["where"] });
    let empty = json!({ "division": VILLAGE, "where": {} });
    for variables in [other, empty, json!({})] {
        let query = running.ask("supervisor-1", PAGE, variables.clone()).await;
        let frames = running.stream("supervisor-1", STREAM, variables).await.all().await;
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["data"], Value::Null);
        let said = |answer: &Value| {
            (answer["errors"][0]["message"].clone(), answer["errors"][0]["extensions"]["code"].clone())
        };
        assert!(query["errors"].is_array(), "{query:#}");
        assert_eq!(said(&frames[0]), said(&query));
    }
    assert_eq!(running.world.departments.log("agriculture").len(), 0);
    // Who does not get through the door gets no stream.
    let request = running.client.post(format!("http://{}/graphql", running.address));
    let request = request.header("content-type", "application/json").header("accept", EVENTS);
    let request = request.header("authorization", "Bearer a.b.c").body(json!({ "query": STREAM }).to_string());
    let refused = request.send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["content-type"].to_str().unwrap()),
        (401, "application/json; charset=utf-8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_the_stream() {
    let running = Running::start(|_| {}).await;
    running.slow(100);
    let mut events = running.stream("supervisor-1", STREAM, vehicles(TOWN, 2)).await;
    events.next().await;
    running.revoke("supervisor-1").await;
    let frames = tokio::time::timeout(Duration::from_secs(20), events.all()).await.expect("it ends");
    let last = frames.last().unwrap();
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{last:#}");
    assert_eq!(last["data"]["households"]["page"], Value::Null);
    assert_eq!((&progress(last)["done"], &progress(last)["ended"]), (&json!(true), &json!("STOPPED")));
    assert!(progress(last)["resume"].is_string() && progress(last)["candidates"].as_u64() < Some(300), "{last:#}");
    let asked = running.calls();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(running.calls(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_scans_of_one_caller_and_of_all_are_under_way_at_once() {
    let running = Running::start(|snapshot| {
        (snapshot.config.scans.per_caller_max, snapshot.config.scans.at_once_max) = (2, 3);
    })
    .await;
    running.slow(200);
    let mut mine = Vec::new();
    for _ in 0..2 {
        let mut events = running.stream("supervisor-1", STREAM, vehicles(TOWN, 2)).await;
        events.next().await;
        mine.push(events);
    }
    let refused = |answer: &Value, said: &str| {
        assert_eq!(answer["errors"][0]["extensions"]["code"], "OVERLOADED", "{answer:#}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains(said), "{answer:#}");
        assert!(answer["errors"][0]["extensions"]["retryAfterSeconds"].is_u64(), "{answer:#}");
    };
    refused(&running.ask("supervisor-1", PAGE, dibao(VILLAGE, 1)).await, "2 scans of yours are under way");
    let third = running.stream("supervisor-1", STREAM, dibao(VILLAGE, 1)).await.all().await;
    refused(&third[0], "2 scans of yours are under way");
    let plain = "{ households(division: \"331122101348\", first: 1) { nodes { id } } }";
    assert_eq!(running.ask("supervisor-1", plain, json!({})).await["errors"], Value::Null, "a listing is no scan");
    let mut other = running.stream("supervisor-2", STREAM, vehicles(TOWN, 2)).await;
    assert_eq!(other.next().await["errors"], Value::Null, "others have their own");
    refused(&running.ask("supervisor-3", PAGE, dibao(VILLAGE, 1)).await, "3 scans are under way here");
    drop((mine, other));
    let began = Instant::now();
    while running.ask("supervisor-1", PAGE, dibao(VILLAGE, 1)).await["errors"] != Value::Null {
        assert!(began.elapsed() < Duration::from_secs(10), "places come free");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_at_once_with_what_goes_on_from_there() {
    let mut running = Running::start(|_| {}).await;
    running.slow(100);
    let mut events = running.stream("supervisor-1", STREAM, vehicles(VILLAGE, 2)).await;
    let mut frames = vec![events.next().await];
    running.slow(4_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    frames.extend(events.all().await);
    assert!(began.elapsed() < Duration::from_millis(3_500), "{:?}", began.elapsed());
    let last = frames.last().unwrap();
    tokio::time::timeout(Duration::from_secs(2), &mut running.served).await.expect("the listener ends").unwrap();
    running.world.departments.set_fault("police", Fault::None);
    if progress(last)["ended"] == "LISTED" {
        panic!("it was through before it was stopped: {frames:#?}");
    }
    assert_eq!((&progress(last)["done"], &progress(last)["ended"]), (&json!(true), &json!("STOPPED")), "{last:#}");
    assert_eq!(last["extensions"]["stopped"], "the gateway stops");
    let all = running.pages(&vehicles(VILLAGE, 2), Value::Null).await;
    let mut both = rows(&frames);
    both.extend(running.pages(&vehicles(VILLAGE, 2), progress(last)["resume"].clone()).await);
    assert_eq!(both, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_other_files_come_into_force_and_when_its_time_is_over() {
    let running = Running::start(|_| {}).await;
    running.slow(100);
    let mut events = running.stream("supervisor-1", STREAM, vehicles(VILLAGE, 1)).await;
    let mut frames = vec![events.next().await];
    running.current.switch(running.world.gateway.clone());
    frames.extend(events.all().await);
    let last = frames.last().unwrap();
    assert_eq!(
        (&progress(last)["ended"], &last["extensions"]["stopped"]),
        (&json!("STOPPED"), &json!("what is in force here has changed"))
    );
    let all = running.pages(&vehicles(VILLAGE, 5), Value::Null).await;
    let mut both = rows(&frames);
    both.extend(running.pages(&vehicles(VILLAGE, 5), progress(last)["resume"].clone()).await);
    assert_eq!(both, all);

    let short = Running::start(|snapshot| {
        snapshot.config.limits.request_timeout_ms = 5_000;
        snapshot.config.scans.time_max = Duration::from_millis(5_300);
    })
    .await;
    short.slow(150);
    let frames = short.stream("supervisor-1", STREAM, vehicles(VILLAGE, 1)).await.all().await;
    let last = frames.last().unwrap();
    assert_eq!((&progress(last)["done"], &progress(last)["ended"]), (&json!(true), &json!("TIME")), "{last:#}");
    let mut both = rows(&frames);
    both.extend(short.pages(&vehicles(VILLAGE, 5), progress(last)["resume"].clone()).await);
    assert_eq!(both, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_asked_otherwise_is_told_how_and_a_query_may_come_as_events() {
    let running = Running::start(|snapshot| {
        snapshot.config.graphql.batch_max = 2;
        snapshot.config.graphql.get_queries = true;
    })
    .await;
    let asked = json!({ "query": STREAM, "variables": dibao(VILLAGE, 1) });
    for accept in [JSON, "*/*"] {
        let answer: Value =
            serde_json::from_str(&running.sent("supervisor-1", accept, asked.clone()).await.text().await.unwrap())
                .unwrap();
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("Accept: text/event-stream"), "{accept} {answer:#}");
    }
    let both = format!("{JSON}, {EVENTS}");
    let batch: Value =
        serde_json::from_str(&running.sent("supervisor-1", &both, json!([asked.clone()])).await.text().await.unwrap())
            .unwrap();
    assert!(batch[0]["errors"][0]["message"].as_str().unwrap().contains("alone"), "{batch:#}");
    assert_eq!(running.sent("supervisor-1", EVENTS, json!([asked.clone()])).await.status(), 406);
    // Whoever takes both gets the stream of a subscription, and the answer of a query.
    let response = running.sent("supervisor-1", &both, asked.clone()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let query = json!({ "query": PAGE, "variables": dibao(VILLAGE, 1) });
    let response = running.sent("supervisor-1", &both, query.clone()).await;
    assert_eq!(response.headers()["content-type"], "application/graphql-response+json; charset=utf-8");
    let page: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let mut events = running.stream("supervisor-1", PAGE, query["variables"].clone()).await;
    let frames = events.all().await;
    assert_eq!((frames.len(), nodes(&frames[0]["data"]["households"])), (1, nodes(&page["data"]["households"])));
    let text = "subscription%7Bhouseholds(division%3A%22331122101348%22)%7Bprogress%7Bdone%7D%7D%7D";
    let get = running.client.get(format!("http://{}/graphql?query={text}", running.address)).header("accept", EVENTS);
    let get = get.header("authorization", format!("Bearer {}", running.token("supervisor-1")));
    assert_eq!(get.send().await.unwrap().status(), 405, "a page of another site could send it");
    // What a stream does not have.
    for (asked, said) in [
        (
            "subscription { households(division: \"331122101348\", orderBy: [{by: income_perCapita}]) { progress { done } } }",
            "orderBy",
        ),
        ("subscription { households(division: \"331122101348\", first: 0) { progress { done } } }", "first: 0"),
    ] {
        let frames = running.stream("supervisor-1", asked, json!({})).await.all().await;
        assert!(frames[0]["errors"][0]["message"].as_str().unwrap().contains(said), "{frames:#?}");
    }
    // Of frames, only how far it has come: nobody is shown.
    let asked = "subscription { s: households(division: \"331122101348\", first: 30) { __typename at: progress { n: candidates done } } }";
    let frames = running.stream("supervisor-1", asked, json!({})).await.all().await;
    assert_eq!(frames[0]["data"]["s"], json!({ "__typename": "HouseholdScanFrame", "at": { "n": 21, "done": true } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_persons_shows_those_that_pages_show() {
    let running = Running::start(|_| {}).await;
    let selected = "persons(division: $division, where: $where, first: 20) {";
    let of = "($division: ID!, $where: PersonFilter)";
    let stream = format!(
        "subscription{of} {{ {selected} progress {{ candidates matched done ended }} page {{ edges {{ node {{ idNumber }} }} }} }} }}"
    );
    let query =
        "query($division: ID!, $where: PersonFilter) { persons(division: $division, where: $where, first: 200) {
        edges { node { idNumber } } coverage { candidates whole } } }";
    let variables = json!({ "division": VILLAGE, "where": { "lifeStatus": { "ne": "DECEASED" } } });
    let frames = running.events("supervisor-1", &stream, variables.clone()).await;
    let shown: Vec<Value> = frames.iter().flat_map(|frame| nodes(&frame["data"]["persons"]["page"])).collect();
    let page = running.ask("supervisor-1", query, variables).await;
    let page = &page["data"]["persons"];
    assert_eq!(page["coverage"]["whole"], true, "{page}");
    assert!(shown.len() > 20 && frames.len() > 2, "{} in {}", shown.len(), frames.len());
    assert_eq!(shown, nodes(page));
    let last = &frames.last().unwrap()["data"]["persons"]["progress"];
    assert_eq!((&last["done"], &last["ended"]), (&json!(true), &json!("LISTED")), "{last}");
}
