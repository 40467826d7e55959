//! What no client library sends: requests of two readings, heads without end, clients that hardly read. Raw sockets.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{Options, Running, status};

const BODY: &str = r#"{"query":"{a}"}"#;
const POST: &str = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
const SHORT: Duration = Duration::from_secs(30);

/// Sends, and gives everything that comes until the gateway closes; empty where it does not close in time.
async fn to_the_end(running: &Running, text: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let _ = stream.write_all(text.as_bytes()).await;
    let mut out = Vec::new();
    match timeout(SHORT, stream.read_to_end(&mut out)).await {
        Ok(_) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => String::new(),
    }
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused_and_nothing_behind_them_is_read() {
    let running = Running::start(Options::default()).await;
    let smuggled = format!("{POST}content-length: {}\r\n\r\n{BODY}", BODY.len());
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let length = format!("content-length: {}\r\n", chunked.len());
    for head in [
        format!("{length}transfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\n{length}"),
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n".to_owned(),
        format!("content-length: {0}\r\ncontent-length: {0}\r\ntransfer-encoding: chunked\r\n", 4),
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned(),
        "transfer-encoding: chunked, chunked\r\n".to_owned(),
        "transfer-encoding: gzip, chunked\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding : chunked\r\n".to_owned(),
        "transfer-encoding:\u{b}chunked\r\n".to_owned(),
        " transfer-encoding: chunked\r\n".to_owned(),
    ] {
        let answer = to_the_end(&running, &format!("{POST}{head}\r\n{chunked}{smuggled}")).await;
        assert_eq!(statuses(&answer), ["400"], "{head:?}: {answer}");
    }
    for head in [
        format!("content-length: {0}\r\ncontent-length: {0}\r\n", BODY.len()),
        format!("content-length: {}\r\ncontent-length: 3\r\n", BODY.len()),
        format!("content-length: {0}, {0}\r\n", BODY.len()),
        "content-length: -1\r\n".to_owned(),
        "content-length: 0x0f\r\n".to_owned(),
        "content-length: 99999999999999999999\r\n".to_owned(),
    ] {
        let answer = to_the_end(&running, &format!("{POST}{head}\r\n{BODY}{smuggled}")).await;
        assert!(matches!(statuses(&answer).as_slice(), ["400" | "413" | "431"]), "{head:?}: {answer}");
    }
    assert!(running.seen().is_empty());
}

/// Some fronts go on with the next request on the connection: it is none of the first one's body.
#[tokio::test]
async fn a_refused_request_that_waits_for_word_before_its_body_ends_the_connection() {
    let running = Running::start(Options::default()).await;
    let behind = format!("{POST}content-length: {}\r\n\r\n{BODY}", BODY.len());
    let waits = format!(
        "{POST}authorization: Bearer x.y.z\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        behind.len() / 2
    );
    let answer = to_the_end(&running, &format!("{waits}{behind}")).await;
    assert_eq!(statuses(&answer), ["401"], "{answer}");
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close") && head.contains("\r\nwww-authenticate: "), "{answer}");
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn chunked_bodies_are_taken_whole_and_end_their_connection_and_broken_ones_are_refused() {
    let running = Running::start(Options::default()).await;
    let post = format!("{POST}transfer-encoding: chunked\r\n\r\n");
    let behind = format!("{POST}content-length: {}\r\n\r\n{BODY}", BODY.len());
    let good = format!("{:x};name=value\r\n{BODY}\r\n0\r\ntrailer: x\r\n\r\n", BODY.len());
    let answer = to_the_end(&running, &format!("{post}{good}{behind}")).await;
    assert_eq!(statuses(&answer), ["200"], "what comes behind is not read: {answer}");
    assert_eq!(running.seen().len(), 1);
    for broken in [
        "zz\r\n{}\r\n0\r\n\r\n".to_owned(),
        "-1\r\n{}\r\n0\r\n\r\n".to_owned(),
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n".to_owned(),
        format!("{:x}\r\n{BODY}XX\r\n0\r\n\r\n", BODY.len()),
        "\r\n\r\n".to_owned(),
        format!("1{}\r\n", ";a".repeat(40_000)),
    ] {
        let answer = to_the_end(&running, &format!("{post}{broken}")).await;
        assert!(matches!(statuses(&answer).as_slice(), ["400"] | []), "{broken:.40}: {answer}");
        assert!(!answer.contains("data"), "{broken:.40}");
    }
    assert_eq!(running.seen().len(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let running = Running::start(Options::default()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let slow = r#"{"query":"SLEEP 200"}"#;
    let text = format!(
        "{POST}content-length: {}\r\n\r\n{slow}{}{}GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        slow.len(),
        get("/nothing"),
        get("/health/ready")
    );
    let answer = to_the_end(&running, &text).await;
    assert_eq!(statuses(&answer), ["200", "404", "200", "200"], "{answer}");
}

#[tokio::test]
async fn heads_and_urls_that_are_too_much_are_refused_with_their_status() {
    let running = Running::start(Options { get_queries: true, ..Options::default() }).await;
    let url = |bytes: usize| {
        format!("GET /graphql?query={} HTTP/1.1\r\nhost: localhost\r\nx-requested-with: x\r\n\r\n", "a".repeat(bytes))
    };
    let many = |count: usize| {
        let headers: String = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
    };
    let long =
        |bytes: usize| format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "a".repeat(bytes));
    for (what, text, expected) in [
        ("a URL", url(8_000), 200),
        ("a long URL", url(8_300), 414),
        ("an endless URL", url(70_000), 414),
        ("headers", many(60), 200),
        ("many headers", many(70), 431),
        ("a header", long(30_000), 200),
        ("a long header", long(70_000), 431),
        ("an endless header", long(1_000_000), 431),
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let _ = stream.write_all(text.as_bytes()).await;
        let got = timeout(SHORT, status(&mut stream)).await.unwrap();
        assert!(got == expected || (text.len() > 69_000 && [0, 414, 431].contains(&got)), "{what}: {got}");
    }
    assert_eq!(running.seen().len(), 1);
    for text in [
        "GET /health/live HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
        "NONSENSE\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{0}\u{1}\r\n\r\n",
    ] {
        let answer = to_the_end(&running, text).await;
        assert!(matches!(statuses(&answer).as_slice(), ["400"] | []), "{text:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_or_a_body_byte_by_byte_ends_at_its_time() {
    let running = Running::start(Options { read_timeout_ms: 400, ..Options::default() }).await;
    let head = format!("{POST}content-length: 1000\r\n\r\n");
    for begun in ["POST /graphql HTTP/1.1\r\nx-slow: ", head.as_str()] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let since = Instant::now();
        // A byte every now and then, as long as anybody listens.
        while stream.write_all(b" ").await.is_ok() && since.elapsed() < SHORT {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert!(since.elapsed() < Duration::from_secs(10), "{begun:.20}: {:?}", since.elapsed());
    }
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let running = Running::start(Options { read_timeout_ms: 300, ..Options::default() }).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let since = Instant::now();
    let mut out = Vec::new();
    timeout(SHORT, stream.read_to_end(&mut out)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&out).starts_with("HTTP/1.1 200"));
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_client_that_takes_its_answer_by_drops_is_dropped() {
    let running = Running::start(Options { connections_max: 1, read_timeout_ms: 300, ..Options::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut dripping = socket.connect(running.address).await.unwrap();
    let body = r#"{"query":"BIG 32000000"}"#;
    dripping.write_all(format!("{POST}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let drops = tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            match dripping.read(&mut buffer).await {
                Ok(n) if n > 0 => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => return,
            }
        }
    });
    while running.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut next = TcpStream::connect(running.address).await.unwrap();
    next.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(timeout(SHORT, status(&mut next)).await.unwrap(), 200, "the only connection is free again");
    drops.abort();
}

#[tokio::test]
async fn a_client_that_takes_a_large_answer_in_its_time_gets_it_whole() {
    let running = Running::start(Options { read_timeout_ms: 500, ..Options::default() }).await;
    let body = r#"{"query":"BIG 16000000"}"#;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let text = format!("{POST}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    let (mut got, mut buffer) = (0, vec![0; 400_000]);
    loop {
        match timeout(SHORT, stream.read(&mut buffer)).await.unwrap().unwrap() {
            0 => break,
            n => got += n,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(got > 16_000_000, "{got}");
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_a_listed_proxy_as_many_as_there_are() {
    let get = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let options = || Options { connections_per_address_max: 2, no_proxies: true, ..Options::default() };
    let running = Running::start(options()).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(get).await.unwrap();
        assert_eq!(status(&mut stream).await, 200);
        open.push(stream);
    }
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let _ = third.write_all(get).await;
    assert_eq!(timeout(SHORT, status(&mut third)).await.unwrap(), 0, "closed at once");
    open.pop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut again = TcpStream::connect(running.address).await.unwrap();
    again.write_all(get).await.unwrap();
    assert_eq!(status(&mut again).await, 200);
    let behind = Running::start(Options { no_proxies: false, ..options() }).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(behind.address).await.unwrap();
        stream.write_all(get).await.unwrap();
        assert_eq!(status(&mut stream).await, 200);
        open.push(stream);
    }
}
