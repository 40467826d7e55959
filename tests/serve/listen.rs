//! The listener: stopping, slow clients, the connection cap, TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Options, Running, status};

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

/// Asks for a large answer and reads nothing of it.
async fn asks_and_is_deaf(running: &Running, mut stream: impl AsyncWrite + Unpin) {
    let body = r#"{"query":"BIG 64000000"}"#;
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ";
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    while running.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It stays open for as long as anybody could wait.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// By time alone: no other answer needs the room.
#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_dropped() {
    let running = Running::start(Options { connections_max: 1, read_timeout_ms: 300, ..Options::default() }).await;
    let deaf = TcpStream::connect(running.address).await.unwrap();
    let next = async {
        while running.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut next = TcpStream::connect(running.address).await.unwrap();
        next.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), status(&mut next)).await.unwrap()
    };
    tokio::select! {
        () = asks_and_is_deaf(&running, deaf) => panic!("it is waited for"),
        status = next => assert_eq!(status, 200),
    }
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_dropped_over_tls_too() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = Some((made.cert.pem(), made.signing_key.serialize_pem()));
    let options = Options { tls, connections_max: 1, read_timeout_ms: 300, ..Options::default() };
    let running = Running::start(options).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = tokio_rustls::TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let connect = async || {
        let stream = TcpStream::connect(running.address).await.unwrap();
        client.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    };
    let deaf = connect().await;
    let next = async {
        while running.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut next = connect().await;
        next.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut begun = [0; 12];
        next.read_exact(&mut begun).await.unwrap();
        begun
    };
    tokio::select! {
        () = asks_and_is_deaf(&running, deaf) => panic!("it is waited for"),
        begun = tokio::time::timeout(Duration::from_secs(5), next) => assert_eq!(&begun.unwrap(), b"HTTP/1.1 200"),
    }
}

const ASK: &[u8] = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"query\":\"{a}\"}";

/// A connection that has had one answer, and is idle.
async fn used(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    let mut buffer = vec![0; 4_096];
    let read = stream.read(&mut buffer).await.unwrap();
    let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('}'), "{answer}");
    stream
}

/// What comes until the connection ends, or pauses for long.
async fn rest(mut stream: TcpStream) -> String {
    let mut out = Vec::new();
    let mut buffer = vec![0; 4_096];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(1_500), stream.read(&mut buffer)).await {
        if read == 0 {
            break;
        }
        out.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// HTTP/1.1 has no word for "this connection is being closed": a request may cross it. It was not begun then, and whoever sent
/// it may send it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_crosses_the_closing_of_an_idle_connection_is_answered_or_was_not_begun() {
    let pause = Duration::from_millis(400);
    let running = Running::start(Options { read_timeout_ms: 400, ..Options::default() }).await;
    let mut asked = Vec::new();
    for n in 0_u64..80 {
        let stream = used(&running).await;
        asked.push(tokio::spawn(async move {
            // Some well before, some well after, most about when it is closed.
            let wait = match n {
                0..5 => pause / 4,
                75.. => pause * 2,
                n => pause - Duration::from_millis(4) + Duration::from_micros(100) * u32::try_from(n).unwrap(),
            };
            tokio::time::sleep(wait).await;
            let mut stream = stream;
            let _ = stream.write_all(ASK).await;
            rest(stream).await
        }));
    }
    let (mut answered, mut closed) = (0, 0);
    for one in asked {
        match one.await.unwrap() {
            nothing if nothing.is_empty() => closed += 1,
            whole => {
                assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with('}'), "cut: {whole}");
                answered += 1;
            }
        }
    }
    println!("{answered} answered, {closed} closed before");
    assert!(answered >= 5 && closed >= 5, "{answered} answered, {closed} closed before");
    assert_eq!(running.seen().len(), 80 + answered, "what had no answer was not begun");
}

#[tokio::test]
async fn whoever_connects_without_end_does_not_hold_up_a_stop() {
    let mut running = Running::start(Options { shutdown_ms: 400, ..Options::default() }).await;
    let (address, ended) = (running.address, Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let connecting: Vec<_> = (0..4)
        .map(|_| {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) && std::net::TcpStream::connect(address).is_ok()
                {
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(5), &mut running.served).await;
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    stopped.expect("it stops").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    connecting.into_iter().for_each(|thread| thread.join().unwrap());
}

/// One thread, so that the requests and the connections come when the gateway looks at the stop.
#[tokio::test]
async fn requests_that_came_before_a_stop_are_answered() {
    for _ in 0..20 {
        let mut running = Running::start(Options::default()).await;
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(used(&running).await);
        }
        let fresh: Vec<std::net::TcpStream> =
            (0..4).map(|_| std::net::TcpStream::connect(running.address).unwrap()).collect();
        for stream in &mut idle {
            assert_eq!(stream.try_write(ASK).unwrap(), ASK.len());
        }
        for stream in &fresh {
            std::io::Write::write_all(&mut &*stream, ASK).unwrap();
        }
        running.stop.take().unwrap().send(()).unwrap();
        let fresh = fresh.into_iter().map(|stream| {
            stream.set_nonblocking(true).unwrap();
            TcpStream::from_std(stream).unwrap()
        });
        for (kind, stream) in idle.into_iter().map(|s| ("idle", s)).chain(fresh.map(|s| ("fresh", s))) {
            let answer = rest(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('}'), "{kind}: {answer:?}");
        }
        tokio::time::timeout(Duration::from_secs(2), &mut running.served).await.unwrap().unwrap();
    }
}
