//! Server-sent events on the wire: what a client gets that waits, that does not read, and of a stream that breaks off.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Options, Running};

async fn stream(running: &Running, query: &str) -> reqwest::Response {
    running
        .post()
        .header("accept", "text/event-stream")
        .body(json!({ "query": query }).to_string())
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn who_waits_for_long_gets_a_comment_now_and_then() {
    let running = Running::start(Options { read_timeout_ms: 2_000, ..Options::default() }).await;
    let answer = stream(&running, "subscription { late 11000 }").await;
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.text().await.unwrap(), ":\n\nevent: next\ndata: []\n\nevent: complete\ndata:\n\n");
}

#[tokio::test]
async fn a_stream_that_breaks_off_does_not_look_as_if_it_were_complete() {
    let running = Running::start(Options::default()).await;
    let mut answer = stream(&running, "subscription { broken }").await;
    let mut text = String::new();
    let broke = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke && text == "event: next\ndata: []\n\n", "{text}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for_and_then_cut() {
    let running = Running::start(Options { read_timeout_ms: 1_000, ..Options::default() }).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let body = json!({ "query": "subscription { 1000 frames of 1000000 bytes }" }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut taken = running.gateway.taken.subscribe();
    let told = tokio::time::timeout(Duration::from_secs(10), taken.wait_for(|(_, is_gone)| *is_gone)).await;
    let (count, _) = *told.expect("it is cut").unwrap();
    assert!(count < 50, "no more was made than was taken: {count}");
    // What is left of it ends without the stream's own end.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"event: complete\ndata:\n\n\r\n0\r\n\r\n"));
}
