//! Streams of scans over WebSockets, through a real listener: the frames are those of server-sent events, and what ends those ends
//! these. What the protocol itself asks stands in `tests/serve/sockets.rs`.

use std::time::{Duration, Instant};

use departments::Fault;
use serde_json::{Value, json};

use crate::scan_served::{PAGE, Running, STREAM, TOWN, VILLAGE, dibao, nodes, progress, rows, vehicles};
use crate::socket::Socket;
use crate::support::records;

impl Running {
    fn payload(&self, who: &str) -> Value {
        json!({ "Authorization": format!("Bearer {}", self.token(who)), "X-Purpose": "supervision", "X-Case": "JD-2026-0001" })
    }

    async fn socket(&self, who: &str) -> Socket {
        Socket::begun(self.address, self.payload(who)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frames_are_the_pages_of_the_query_byte_for_byte_as_they_are_recorded() {
    let running = Running::start(|_| {}).await;
    let mut socket = running.socket("supervisor-1").await;
    socket.subscribe("s", STREAM, dibao(VILLAGE, 3)).await;
    let mut frames = Vec::new();
    let begin = r#"{"id":"s","type":"next","payload":"#;
    loop {
        let text = socket.text().await.unwrap();
        let Some(payload) = text.strip_prefix(begin).and_then(|text| text.strip_suffix('}')) else {
            assert_eq!(text, r#"{"id":"s","type":"complete"}"#);
            break;
        };
        frames.push((payload.to_owned(), serde_json::from_str::<Value>(payload).unwrap()));
    }
    let told: Vec<Value> = frames.iter().map(|(_, frame)| frame.clone()).collect();
    assert!(frames.len() > 1, "several frames");
    assert_eq!(rows(&told), running.pages(&dibao(VILLAGE, 3), Value::Null).await);
    assert_eq!(progress(told.last().unwrap())["ended"], "LISTED");
    let records = records(&running.world.folder).await;
    let of_stream = &records[..=frames.len()];
    let kinds: Vec<&str> = of_stream.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("REQUEST", "OUTCOME"));
    assert!(kinds[1..frames.len()].iter().all(|kind| *kind == "FRAME"), "{kinds:?}");
    for ((bytes, frame), record) in frames.iter().zip(of_stream) {
        assert_eq!(frame["extensions"]["requestId"], record["request_id"], "{record:#}");
        assert_eq!(record["answer"], running.world.gateway.subjects().answer(bytes.as_bytes()), "{record:#}");
        assert!(record["details"]["scan"].is_object(), "{record:#}");
    }
    // The same by the other transport, but for what tells of this run.
    let without = |frames: &[Value]| -> Vec<Value> {
        let mut frames = frames.to_vec();
        for frame in &mut frames {
            frame["extensions"].take();
            for of_run in ["elapsedMs", "resume"] {
                frame["data"]["households"]["progress"][of_run].take();
            }
            let page = &mut frame["data"]["households"]["page"];
            page["pageInfo"]["endCursor"].take();
            page["edges"].as_array_mut().unwrap().iter_mut().for_each(|edge| drop(edge["cursor"].take()));
        }
        frames
    };
    let events = running.events("supervisor-1", STREAM, dibao(VILLAGE, 3)).await;
    assert_eq!(without(&told), without(&events));
    // A query is one `next`, and goes on from a frame.
    let mut variables = dibao(VILLAGE, 100);
    variables["after"] = progress(&told[0])["resume"].clone();
    socket.subscribe("q", PAGE, variables).await;
    let answers = socket.all("q").await;
    assert_eq!((answers.len(), nodes(&answers[0]["data"]["households"])), (1, rows(&told[1..])));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_a_query_is_refused_over_a_socket_in_the_same_words_and_nobody_is_asked() {
    let running = Running::start(|_| {}).await;
    running.world.departments.clear_logs();
    let other = json!({ "division": "320000000000", "where": dibao("", 1)["where"] });
    let empty = json!({ "division": VILLAGE, "where": {} });
    let said = |errors: &Value| (errors[0]["message"].clone(), errors[0]["extensions"]["code"].clone());
    let mut socket = running.socket("supervisor-1").await;
    for variables in [other, empty, json!({})] {
        let query = running.ask("supervisor-1", PAGE, variables.clone()).await;
        for (id, text) in [("s", STREAM), ("q", PAGE)] {
            socket.subscribe(id, text, variables.clone()).await;
            let errors = json!(socket.refused(id).await);
            assert_eq!(said(&errors), said(&query["errors"]));
        }
    }
    // Without the purpose that the role is for, as by POST: nothing of the household is given.
    let mut payload = running.payload("supervisor-1");
    payload.as_object_mut().unwrap().remove("X-Purpose");
    let mut socket = Socket::begun(running.address, payload).await;
    socket.subscribe("s", STREAM, dibao(VILLAGE, 3)).await;
    assert!(!socket.refused("s").await.is_empty());
    // From a network that the role does not count from.
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("s", STREAM, dibao(VILLAGE, 3)).await;
    assert!(!socket.refused("s").await.is_empty(), "a visitor scans nothing");
    assert_eq!(running.world.departments.log("agriculture").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_completes_or_goes_away_stops_the_work_and_its_calls() {
    let running = Running::start(|_| {}).await;
    running.slow(700);
    for goes in [false, true] {
        running.world.departments.clear_logs();
        let mut socket = running.socket("supervisor-1").await;
        socket.subscribe("s", STREAM, vehicles(TOWN, 5)).await;
        socket.next().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let kept = if goes {
            drop(socket);
            None
        } else {
            socket.send(json!({ "type": "complete", "id": "s" })).await;
            Some(socket)
        };
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let asked = running.calls();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(running.calls(), asked, "nobody is asked any more");
        let records = records(&running.world.folder).await;
        let end = records.last().unwrap();
        assert_eq!((&end["kind"], &end["details"]["ended"]), (&json!("OUTCOME"), &json!("CANCELLED")), "{end:#}");
        drop(kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_what_is_under_way_and_then_the_socket() {
    let running = Running::start(|_| {}).await;
    running.slow(100);
    // A token that is made afterwards counts.
    let payload = running.payload("supervisor-1");
    let mut socket = Socket::begun(running.address, payload.clone()).await;
    socket.subscribe("s", STREAM, vehicles(TOWN, 2)).await;
    socket.next().await;
    running.revoke("supervisor-1").await;
    let frames = tokio::time::timeout(Duration::from_secs(20), socket.all("s")).await.expect("it ends");
    let last = frames.last().unwrap();
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{last:#}");
    assert_eq!((&progress(last)["done"], &progress(last)["ended"]), (&json!(true), &json!("STOPPED")));
    assert!(progress(last)["resume"].is_string(), "{last:#}");
    let asked = running.calls();
    // What is asked then is refused, and its client is told to come with another token.
    socket.subscribe("q", PAGE, dibao(VILLAGE, 1)).await;
    assert_eq!(socket.refused("q").await[0]["extensions"]["code"], "UNAUTHENTICATED");
    let (code, reason) = socket.closed().await;
    assert!(code == 4403 && reason.contains("token"), "{code} {reason}");
    assert_eq!(running.calls(), asked);
    let mut again = Socket::open(running.address, &[]).await.unwrap();
    again.send(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(again.closed().await.0, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_of_a_caller_are_counted_over_all_transports_together() {
    let running = Running::start(|snapshot| snapshot.config.scans.per_caller_max = 2).await;
    running.slow(200);
    let mut first = running.socket("supervisor-1").await;
    first.subscribe("1", STREAM, vehicles(TOWN, 2)).await;
    first.next().await;
    let mut second = running.socket("supervisor-1").await;
    second.subscribe("1", STREAM, vehicles(TOWN, 2)).await;
    second.next().await;
    first.subscribe("2", STREAM, dibao(VILLAGE, 1)).await;
    let refused = loop {
        let message = first.next().await;
        if message["id"] == "2" {
            break message;
        }
    };
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("OVERLOADED"))
    );
    let post = running.ask("supervisor-1", PAGE, dibao(VILLAGE, 1)).await;
    assert_eq!(post["errors"][0]["extensions"]["code"], "OVERLOADED");
    drop(second);
    let began = Instant::now();
    while running.ask("supervisor-1", PAGE, dibao(VILLAGE, 1)).await["errors"] != Value::Null {
        assert!(began.elapsed() < Duration::from_secs(10), "places come free");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_other_files_end_streams_with_what_goes_on_from_there() {
    let running = Running::start(|_| {}).await;
    running.slow(100);
    let mut socket = running.socket("supervisor-1").await;
    socket.subscribe("s", STREAM, vehicles(VILLAGE, 1)).await;
    let mut frames = vec![socket.next().await["payload"].take()];
    running.current.switch(running.world.gateway.clone());
    frames.extend(socket.all("s").await);
    assert_eq!(frames.last().unwrap()["extensions"]["stopped"], "what is in force here has changed");
    // The socket goes on, with what is in force now.
    let mut variables = vehicles(VILLAGE, 1);
    variables["after"] = progress(frames.last().unwrap())["resume"].clone();
    socket.subscribe("s", STREAM, variables).await;
    frames.extend(socket.all("s").await);
    assert_eq!(rows(&frames), running.pages(&vehicles(VILLAGE, 5), Value::Null).await);
    drop(socket);

    let mut running = running;
    let mut socket = running.socket("supervisor-1").await;
    socket.subscribe("s", STREAM, vehicles(VILLAGE, 2)).await;
    let mut frames = vec![socket.next().await["payload"].take()];
    running.slow(4_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    frames.extend(socket.all("s").await);
    let (code, _) = socket.closed().await;
    assert!(code == 1001 && began.elapsed() < Duration::from_millis(3_500), "{code} {:?}", began.elapsed());
    drop(socket);
    tokio::time::timeout(Duration::from_secs(3), &mut running.served).await.expect("the listener ends").unwrap();
    running.world.departments.set_fault("police", Fault::None);
    let last = frames.last().unwrap();
    assert_eq!(
        (&progress(last)["ended"], &last["extensions"]["stopped"]),
        (&json!("STOPPED"), &json!("the gateway stops"))
    );
    let all = running.pages(&vehicles(VILLAGE, 2), Value::Null).await;
    let mut both = rows(&frames);
    both.extend(running.pages(&vehicles(VILLAGE, 2), progress(last)["resume"].clone()).await);
    assert_eq!(both, all);
}
