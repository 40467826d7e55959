//! Overload: what is more than can be taken on is refused early, in turn by caller; and clients that send or read slowly cost
//! nothing but their own connection. `cargo test --test overload -- --ignored --nocapture` measures the curve of
//! docs/reliability.md. A crate of its own: what is measured under load has its process to itself.

mod curve;
#[path = "../live_support/mod.rs"]
mod live_support;
mod plot;
#[path = "../serve/support/mod.rs"]
mod serve_support;
#[path = "../support/temporary.rs"]
mod temporary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use serve_support::{Options, Running, token_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const SHORT: Duration = Duration::from_secs(20);

async fn running(admission: &'static str) -> Arc<Running> {
    let options = Options {
        read_timeout_ms: 60_000,
        connections_max: 2_000,
        connections_per_address_max: 2_000,
        more: admission,
        ..Options::default()
    };
    Arc::new(Running::start(options).await)
}

/// Who asks by this name.
fn bearer(id: &str) -> String {
    format!("Bearer {}", token_of(id, &["cadre"]))
}

async fn ask(running: &Running, bearer: &str, body: &str) -> reqwest::Response {
    running.post().header("authorization", bearer).body(body.to_owned()).send().await.expect("an answer")
}

/// One that takes so long, on its way.
fn sleeping(running: &Arc<Running>, bearer: &str, ms: u64) -> tokio::task::JoinHandle<u16> {
    let (running, bearer) = (Arc::clone(running), bearer.to_owned());
    let body = format!(r#"{{"query":"SLEEP {ms}"}}"#);
    tokio::spawn(async move { ask(&running, &bearer, &body).await.status().as_u16() })
}

/// Waits until so many requests are worked on.
async fn worked_on(running: &Running, count: usize) {
    let began = Instant::now();
    while running.seen().len() < count {
        assert!(began.elapsed() < SHORT, "{} of {count}", running.seen().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_more_than_can_wait_is_refused_before_its_body_is_looked_at() {
    let running =
        running("admission: {in_flight_max: 1, waiting_max: 2, waiting_per_caller_max: 1}\nadmin: {operator: [x]}\n")
            .await;
    let [li, wang, zhao] = ["li", "wang", "zhao"].map(bearer);
    let first = sleeping(&running, &li, 600);
    worked_on(&running, 1).await;
    let waiting = [sleeping(&running, &li, 1), sleeping(&running, &wang, 1)];
    tokio::time::sleep(Duration::from_millis(150)).await;
    for (who, path) in [(&li, "/graphql"), (&zhao, "/graphql"), (&zhao, "/admin/graphql")] {
        let began = Instant::now();
        let request = running.client.post(running.url(path)).header("content-type", "application/json");
        // What would be a 400, were it read.
        let answer = request.header("authorization", who).body("no JSON").send().await.expect("an answer");
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "2");
        let text = answer.text().await.expect("a body");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], "OVERLOADED");
        assert_eq!(body["errors"][0]["extensions"]["retryAfterSeconds"], 2);
        assert_eq!(text.contains("your requests"), *who == li, "only whose own are too many is told so: {text}");
        assert!(body.get("data").is_none());
        assert!(began.elapsed() < Duration::from_millis(400), "at once");
    }
    assert_eq!(running.seen().len(), 1, "nothing else was worked on");
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(running.client.get(running.url(path)).send().await.expect("an answer").status(), 200, "{path}");
    }
    assert_eq!(first.await.expect("it ends"), 200);
    for waited in waiting {
        assert_eq!(waited.await.expect("it ends"), 200, "who waited was answered");
    }
}

#[tokio::test]
async fn who_waited_too_long_is_refused_and_the_room_is_free_again() {
    let running = running("admission: {in_flight_max: 1, waiting_max: 1, waiting_ms_max: 200}\n").await;
    let li = bearer("li");
    let first = sleeping(&running, &li, 1_500);
    worked_on(&running, 1).await;
    for _ in 0..3 {
        let began = Instant::now();
        let answer = ask(&running, &li, r#"{"query":"{a}"}"#).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(began.elapsed() >= Duration::from_millis(190), "it waited: {:?}", began.elapsed());
    }
    assert_eq!(first.await.expect("it ends"), 200);
    assert_eq!(ask(&running, &li, r#"{"query":"{a}"}"#).await.status(), 200);
    assert_eq!(running.seen().len(), 2, "who was refused was not worked on");
}

#[tokio::test]
async fn a_waiting_caller_that_went_away_takes_no_room() {
    let running = running("admission: {in_flight_max: 1, waiting_max: 1}\n").await;
    let li = bearer("li");
    let first = sleeping(&running, &li, 800);
    worked_on(&running, 1).await;
    for _ in 0..3 {
        let body = r#"{"query":"SLEEP 1"}"#;
        let request = running.post().header("authorization", &li).body(body).timeout(Duration::from_millis(60));
        assert!(request.send().await.is_err_and(|error| error.is_timeout()), "it waits, and gives up");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let last = ask(&running, &li, r#"{"query":"{a}"}"#).await;
    assert_eq!(last.status(), 200, "there was room for it");
    assert_eq!(first.await.expect("it ends"), 200);
    assert_eq!(running.seen().len(), 2);
}

#[tokio::test]
async fn one_callers_flood_neither_starves_others_nor_keeps_them_out() {
    let running = running("admission: {in_flight_max: 2, waiting_max: 20, waiting_per_caller_max: 20}\n").await;
    let (flood, other) = (bearer("flood"), bearer("other"));
    let flooding = tokio::spawn({
        let running = Arc::clone(&running);
        async move {
            let mut asking = JoinSet::new();
            let began = Instant::now();
            let mut statuses = Vec::new();
            // Always so many under way: more than the whole waiting room takes.
            while began.elapsed() < Duration::from_secs(4) {
                while asking.len() < 40 {
                    let (running, flood) = (Arc::clone(&running), flood.clone());
                    asking.spawn(async move {
                        let status = ask(&running, &flood, r#"{"query":"SLEEP 50"}"#).await.status().as_u16();
                        if status == 503 {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        status
                    });
                }
                statuses.extend(asking.join_next().await.map(|status| status.expect("it ends")));
            }
            while let Some(status) = asking.join_next().await {
                statuses.push(status.expect("it ends"));
            }
            statuses
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..15 {
        let began = Instant::now();
        assert_eq!(ask(&running, &other, r#"{"query":"SLEEP 50"}"#).await.status(), 200, "never kept out");
        slowest = slowest.max(began.elapsed());
    }
    // The 20 that wait before it would take half a second and more.
    assert!(
        slowest < Duration::from_millis(400),
        "its turn comes after one of the flood's, not after all: {slowest:?}"
    );
    let statuses = flooding.await.expect("it ends");
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.contains(&503), "the flood is more than is taken on");
    assert!(answered > 30, "what is free is the flood's: {answered}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn one_callers_slow_requests_leave_places_for_others() {
    let running =
        running("admission: {in_flight_max: 4, waiting_max: 8, waiting_per_caller_max: 8, waiting_ms_max: 500}\n")
            .await;
    let (slow, other) = (bearer("slow"), bearer("other"));
    let asked: Vec<_> = (0..8).map(|_| sleeping(&running, &slow, 2_000)).collect();
    worked_on(&running, 3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.seen().len(), 3, "three quarters are one caller's at most");
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(ask(&running, &other, r#"{"query":"{a}"}"#).await.status(), 200);
        assert!(began.elapsed() < Duration::from_millis(400), "at once: {:?}", began.elapsed());
    }
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.expect("it ends"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503, 503, 503], "who waited too long was told");
}

const HEAD: &str = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Connections that sent this and do nothing more; little is buffered for them.
async fn connections(running: &Running, count: usize, text: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a size");
        let mut stream = socket.connect(running.address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("it is sent");
        all.push(stream);
    }
    all
}

/// How long the slowest of some requests takes that come one after the other.
async fn slowest(running: &Running) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let began = Instant::now();
        let answer = ask(running, &bearer(&format!("caller-{n}")), r#"{"query":"SLEEP 1"}"#).await;
        assert_eq!(answer.status(), 200);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test]
async fn who_still_sends_when_it_is_refused_gets_the_refusal_and_keeps_its_connection() {
    let running = running("admission: {in_flight_max: 1, waiting_max: 0}\n").await;
    let first = sleeping(&running, &bearer("li"), 700);
    worked_on(&running, 1).await;
    let body = r#"{"query":"{a}"}"#;
    let head = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
    let mut sender = connections(&running, 1, &head).await.remove(0);
    assert_eq!(serve_support::status(&mut sender).await, 503, "before its body is there");
    tokio::time::sleep(Duration::from_millis(50)).await;
    sender.write_all(body.as_bytes()).await.expect("it is taken");
    assert_eq!(first.await.expect("it ends"), 200);
    sender.write_all(format!("{head}{body}").as_bytes()).await.expect("it is taken");
    let mut answers = Vec::new();
    let mut buffer = vec![0; 1 << 14];
    while !String::from_utf8_lossy(&answers).contains("HTTP/1.1 200") {
        let read = tokio::time::timeout(SHORT, sender.read(&mut buffer)).await.expect("in time").expect("bytes");
        assert!(read > 0, "it was closed: {}", String::from_utf8_lossy(&answers));
        answers.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn two_hundred_slow_senders_take_no_turn_before_their_body_is_there() {
    let running = running("admission: {in_flight_max: 2, waiting_max: 2}\n").await;
    let alone = slowest(&running).await;
    let body = r#"{"query":"SLEEP 1"}"#;
    let begun = format!("{HEAD}content-length: {}\r\n\r\n{}", body.len(), &body[..10]);
    let mut senders = connections(&running, 200, &begun).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let beside = slowest(&running).await;
    assert!(beside < alone * 5 + Duration::from_millis(200), "{alone:?} alone, {beside:?} beside them");
    assert_eq!(running.seen().len(), 40, "none of theirs is worked on");
    // And what comes whole at last is answered.
    for sender in senders.iter_mut().take(5) {
        sender.write_all(&body.as_bytes()[10..]).await.expect("it is sent");
        assert_eq!(serve_support::status(sender).await, 200);
    }
}

#[tokio::test]
async fn two_hundred_slow_readers_hold_no_turn_once_their_answer_is_there() {
    let running = running("admission: {in_flight_max: 2, waiting_max: 250, waiting_per_caller_max: 250}\n").await;
    let alone = slowest(&running).await;
    let body = r#"{"query":"BIG 1000000"}"#;
    let asked = format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len());
    let mut readers = connections(&running, 200, &asked).await;
    worked_on(&running, 220).await;
    let beside = slowest(&running).await;
    assert!(beside < alone * 5 + Duration::from_millis(200), "{alone:?} alone, {beside:?} beside them");
    assert!(taken(&mut readers[0], 1_000_000).await, "it is there, whenever they read it");
}

/// Whether so many bytes come.
async fn taken(reader: &mut TcpStream, bytes: usize) -> bool {
    let (mut taken, mut buffer) = (0, vec![0; 1 << 16]);
    while taken < bytes {
        match tokio::time::timeout(SHORT, reader.read(&mut buffer)).await.expect("in time") {
            Ok(read) if read > 0 => taken += read,
            _ => return false,
        }
    }
    true
}

/// Which of the answers come whole; ten are as much as is held.
async fn held(readers: &mut [TcpStream], bytes: usize) -> Vec<bool> {
    let mut whole = Vec::new();
    for reader in readers {
        whole.push(taken(reader, bytes).await);
    }
    let left = whole.iter().filter(|whole| **whole).count();
    assert!((5..=10).contains(&left), "ten are as much as is held: {left}");
    whole
}

#[tokio::test]
async fn answers_that_nobody_takes_are_dropped_when_they_are_too_much_and_who_reads_gets_all() {
    const BYTES: usize = 4_000_000;
    let running = running("limits: {unsent_bytes_max: 40000000}\n").await;
    let body = format!(r#"{{"query":"BIG {BYTES}"}}"#);
    let asked = format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len());
    let mut readers = connections(&running, 40, &asked).await;
    worked_on(&running, 40).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let answer = ask(&running, &bearer("li"), &body).await;
    assert_eq!(answer.bytes().await.expect("all of it").len(), BYTES);
    let whole = held(&mut readers, BYTES).await;
    assert!(!whole[..20].contains(&true), "those whose answers waited longest are cut: {whole:?}");
}

#[tokio::test]
async fn answers_that_came_at_once_are_dropped_when_they_are_too_much_though_no_other_comes() {
    const BYTES: usize = 4_000_000;
    let running = running("limits: {unsent_bytes_max: 40000000}\n").await;
    let body = format!(r#"{{"query":"BIG {BYTES}"}}"#);
    let asked = format!("{HEAD}content-length: {}\r\n\r\n{body}", body.len());
    let mut readers = connections(&running, 40, &asked).await;
    worked_on(&running, 40).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    held(&mut readers, BYTES).await;
}
