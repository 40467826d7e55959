//! The listener: stopping, slow clients, the connection cap, TLS.

mod serve_support;

use std::time::{Duration, Instant};

use serve_support::{Options, Running, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_stop_lets_requests_under_way_end_and_takes_no_new_ones() {
    let mut running = Running::start(Options::default()).await;
    let slow = tokio::spawn(running.post().body(r#"{"query":"SLEEP 600"}"#).send());
    while running.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(running.address).await.is_err(), "the port is closed");
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(2), &mut running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_is_bounded_and_idle_connections_do_not_hold_it_up() {
    let mut running = Running::start(Options { shutdown_ms: 300, ..Options::default() }).await;
    assert_eq!(running.client.get(running.url("/health/live")).send().await.unwrap().status(), 200);
    let stuck = tokio::spawn(running.post().body(r#"{"query":"SLEEP 60000"}"#).send());
    while running.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(3), &mut running.served).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test]
async fn clients_that_send_too_slowly_are_dropped() {
    let running = Running::start(Options { read_timeout_ms: 300, ..Options::default() }).await;
    let head =
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    for (sent, expected) in [("", 0), ("POST /graphql HT", 0), (head, 408)] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(3), status(&mut stream)).await.unwrap();
        assert!(answered == expected || (expected == 0 && answered == 408), "{sent}: {answered}");
    }
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn above_the_cap_connections_wait() {
    let running = Running::start(Options { connections_max: 1, ..Options::default() }).await;
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(request).await.unwrap();
    assert_eq!(status(&mut first).await, 200);
    let mut second = TcpStream::connect(running.address).await.unwrap();
    second.write_all(request).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), status(&mut second)).await.is_err());
    drop(first);
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), status(&mut second)).await.unwrap(), 200);
}

#[tokio::test]
async fn tls_serves_http_1_1_and_a_client_that_never_shakes_hands_holds_nobody_up() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let running = Running::start(Options { tls: Some((cert.clone(), key)), ..Options::default() }).await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(cert.as_bytes()).unwrap()])
        .resolve("localhost", running.address)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/health/live", running.address.port());
    let answer = client.get(url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut out = Vec::new();
    let _ = plain.read_to_end(&mut out).await;
    assert!(!out.starts_with(b"HTTP/"), "nothing is served in the clear");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_dropped() {
    let running = Running::start(Options { connections_max: 1, read_timeout_ms: 300, ..Options::default() }).await;
    let mut deaf = TcpStream::connect(running.address).await.unwrap();
    let body = r#"{"query":"BIG 64000000"}"#;
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ";
    deaf.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    while running.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut next = TcpStream::connect(running.address).await.unwrap();
    next.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), status(&mut next)).await.unwrap(), 200);
}
