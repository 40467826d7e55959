//! GraphQL over WebSockets on the wire: the protocol `graphql-transport-ws`, the same door as for HTTP, and its bounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use huxiang::model::config::ClientCertificates;
use huxiang::model::config::rates::{Rate, Rates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::pki::{Authority, Made};
use crate::support::socket::{SUBPROTOCOL, Socket};
use crate::support::{Options, Running, sha256, token, token_of};

const DATA: &str = r#"{"data":{"a":1}}"#;

fn bearer(token: &str) -> Value {
    json!({ "Authorization": format!("Bearer {token}") })
}

fn code(errors: &[Value]) -> &str {
    errors[0]["extensions"]["code"].as_str().unwrap()
}

fn masked(first: u8, text: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn operations_are_answered_as_the_protocol_says_side_by_side() {
    let running = Running::start(Options::default()).await;
    let mut socket = Socket::open(running.address, &[]).await.unwrap();
    socket.send(json!({ "type": "ping", "payload": { "at": 1 } })).await;
    assert_eq!(socket.next().await, json!({ "type": "pong" }), "also before connection_init");
    socket.send(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.next().await, json!({ "type": "connection_ack" }));
    socket.send(json!({ "type": "pong" })).await;

    socket.subscribe("q", "{a}", Value::Null).await;
    assert_eq!(socket.text().await.unwrap(), format!(r#"{{"id":"q","type":"next","payload":{DATA}}}"#));
    assert_eq!(socket.text().await.unwrap(), r#"{"id":"q","type":"complete"}"#);
    socket.subscribe("q", "subscription { 3 frames of 2 bytes }", json!({})).await;
    for _ in 0..3 {
        assert_eq!(socket.text().await.unwrap(), r#"{"id":"q","type":"next","payload":[]}"#, "an id is free again");
    }
    assert_eq!(socket.next().await, json!({ "id": "q", "type": "complete" }));

    // One that takes its time holds up no other.
    socket.subscribe("slow", "SLEEP 600", json!({})).await;
    socket.subscribe("户像\"", "{a}", json!({})).await;
    assert_eq!(socket.all("户像\"").await, [json!({ "data": { "a": 1 } })]);
    assert_eq!(socket.all("slow").await.len(), 1);

    // What is refused before it runs is an `error`, which ends it.
    socket.subscribe("e", "VALIDATION_FAILED", json!({})).await;
    let next = socket.next().await;
    assert_eq!((&next["id"], &next["type"]), (&json!("e"), &json!("error")), "{next:#}");
    socket.subscribe("b", "subscription { broken }", json!({})).await;
    assert_eq!(socket.next().await["type"], "next");
    assert_eq!(code(&socket.refused("b").await), "INTERNAL", "no `complete`, which would say that all has come");

    // What was stopped twice, or was never there, is nothing.
    socket.send(json!({ "type": "complete", "id": "nobody" })).await;
    socket.subscribe("q", "{a}", json!({})).await;
    assert_eq!(socket.all("q").await.len(), 1);
    let ids: Vec<String> = running.seen().into_iter().map(|(_, _, id, _)| id).collect();
    let (first, last) = (ids[0].strip_suffix("-1").unwrap(), ids.last().unwrap());
    assert_eq!(last, &format!("{first}-7"), "numbered after the upgrade");

    socket.0.close(None).await.unwrap();
    socket.closed().await;
}

#[tokio::test]
async fn whatever_is_not_of_the_protocol_closes_the_socket_with_its_code() {
    let running = Running::start(Options::default()).await;
    let init = r#"{"type":"connection_init"}"#;
    let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"subscription { late 60000 }"}}"#;
    let long = format!(r#"{{"type":"ping","payload":{{"a":"{}"}}}}"#, "x".repeat(70_000));
    for (messages, expected) in [
        (vec![subscribe], 4401),
        (vec![init, init], 4429),
        (vec![init, subscribe, subscribe], 4409),
        (vec!["not JSON"], 4400),
        (vec![""], 4400),
        (vec!["[]"], 4400),
        (vec![r#"{"type":"start","id":"1"}"#], 4400),
        (vec![r#"{"id":"1"}"#], 4400),
        (vec![init, r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#], 4400),
        (vec![init, r#"{"type":"subscribe","id":"1","payload":{"query":7}}"#], 4400),
        (vec![init, r#"{"type":"subscribe","id":"1","payload":{"variables":{}}}"#], 4400),
        (vec![init, r#"{"type":"next","id":"1","payload":{}}"#], 4400),
        (vec![r#"{"type":"connection_init","payload":"331122"}"#], 4400),
        (vec![r#"{"type":"connection_init","payload":{"X-Purpose":{"a":"331122"}}}"#], 4400),
        (vec![init, &long], 1009),
    ] {
        let mut socket = Socket::open(running.address, &[]).await.unwrap();
        for message in &messages {
            socket.send_text(message).await;
        }
        let (code, reason) = socket.closed().await;
        assert_eq!(code, expected, "{messages:?}: {reason}");
        assert!(!reason.is_empty() && !reason.contains("331122") && !reason.contains("late"), "{reason}");
    }
    let mut socket = Socket::open(running.address, &[]).await.unwrap();
    futures::SinkExt::send(&mut socket.0, Message::binary(init.as_bytes().to_vec())).await.unwrap();
    assert_eq!(socket.closed().await.0, 4400);
    assert!(running.seen().is_empty());

    // Frames that are none: not masked, of an unknown kind, control frames in parts.
    for bytes in [
        &b"\x81\x02{}"[..],
        b"\x83\x80abcd",
        b"\x09\x80abcd",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut stream = upgraded(&running).await;
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the connection ends");
        assert!(rest.len() >= 4 && rest[0] == 0x88, "a close frame: {rest:?}");
        let code = u16::from_be_bytes([rest[2], rest[3]]);
        assert!([1002, 1007, 1009].contains(&code), "{code}");
    }
    // The gateway is there as ever.
    assert_eq!(running.post().body(r#"{"query":"{a}"}"#).send().await.unwrap().status(), 200);
}

/// A socket without any library, its upgrade answered.
async fn upgraded(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!(
        "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: other, {SUBPROTOCOL}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    stream
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_refused_and_told_why() {
    let running = Running::start(Options::default()).await;
    for subprotocol in [None, Some("graphql-ws"), Some("graphql-transport-ws2"), Some("GRAPHQL-TRANSPORT-WS")] {
        let (status, body) = Socket::open_as(running.address, subprotocol, &[]).await.err().expect("refused");
        assert_eq!(status, 400);
        assert!(body.contains(SUBPROTOCOL), "{body}");
    }
    let get = |version: &str, key: &str| {
        let request = running.client.get(running.url("/graphql")).header("connection", "upgrade");
        let request = request.header("upgrade", "websocket").header("sec-websocket-protocol", SUBPROTOCOL);
        request.header("sec-websocket-version", version.to_owned()).header("sec-websocket-key", key.to_owned())
    };
    let answer = get("12", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["sec-websocket-version"]), (426, &"13".parse().unwrap()));
    assert_eq!(answer.headers()["connection"], "close", "what follows may be meant for a socket");
    assert_eq!(get("13", "short").send().await.unwrap().status(), 400);
    let body = get("13", "dGhlIHNhbXBsZSBub25jZQ==").body("{}").send().await.unwrap();
    assert_eq!(body.status(), 400, "what follows could be taken for a frame by one and for a request by another");
    // Elsewhere there are none, and nothing but a GET is an upgrade.
    let elsewhere =
        running.client.get(running.url("/health/live")).header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(elsewhere.status(), 200);
    let post = running.post().header("upgrade", "websocket").body(r#"{"query":"{a}"}"#).send().await.unwrap();
    assert_eq!((post.status().as_u16(), &post.headers()["connection"]), (200, &"close".parse().unwrap()));
    let plain = running.post().body(r#"{"query":"{a}"}"#).send().await.unwrap();
    assert!(!plain.headers().contains_key("connection"));
    let none = Running::start(Options { more: "sockets: {at_once_max: 0}\n", ..Options::default() }).await;
    let (status, body) = Socket::open(none.address, &[]).await.err().expect("refused");
    assert!(status == 404 && body.contains("text/event-stream"), "{status} {body}");
}

#[tokio::test]
async fn another_sites_page_opens_no_socket_and_no_name_leads_to_one_but_listed_ones() {
    let running = Running::start(Options { origins: vec!["https://portal.example"], ..Options::default() }).await;
    let own = format!("http://{}", running.address);
    for headers in [
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "https://portal.example"), ("origin", "https://evil.example")],
        vec![("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
    ] {
        let refused = Socket::open(running.address, &headers).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(403), "{headers:?}");
    }
    for headers in [
        vec![],
        vec![("origin", own.as_str())],
        vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "websocket")],
        vec![("origin", "https://portal.example"), ("sec-fetch-site", "cross-site")],
    ] {
        assert!(Socket::open(running.address, &headers).await.is_ok(), "{headers:?}");
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = "GET /graphql HTTP/1.1\r\nhost: evil.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(crate::support::status(&mut stream).await, 421);
}

#[tokio::test]
async fn who_asks_is_the_same_over_a_socket_as_by_post() {
    let running = Running::start(Options::default()).await;
    let good = format!("Bearer {}", token(&["cadre"]));
    let all = [
        ("Authorization", good.as_str()),
        ("X-Purpose", "supervision"),
        ("X-Case", "JD-1"),
        ("X-Approval", "a-1"),
        ("X-Break-Glass", "house on fire"),
    ];
    for given in [&all[..0], &all[..1], &all[..3], &all[1..4], &all[..]] {
        let request = given.iter().fold(running.post(), |request, (name, value)| request.header(*name, *value));
        let request = request.header("x-forwarded-for", "203.0.113.7");
        assert_eq!(request.body(r#"{"query":"{a}"}"#).send().await.unwrap().status(), 200);
        let forwarded = ("x-forwarded-for", "203.0.113.7");
        let lower: Vec<(String, &str)> = given.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
        let payload: Value = lower.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        // In the payload, in the headers of the upgrade, in both.
        for (headers, payload) in [(0, payload.clone()), (given.len(), Value::Null), (given.len(), payload)] {
            let mut headers = given[..headers].to_vec();
            headers.push(forwarded);
            let mut socket = Socket::open(running.address, &headers).await.unwrap();
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            assert_eq!(socket.next().await["type"], "connection_ack");
            socket.subscribe("1", "{a}", json!({})).await;
            socket.all("1").await;
        }
        let seen = running.seen();
        let (last, first) = seen.split_last().unwrap();
        assert!(first.iter().rev().take(3).all(|(identity, request, _, _)| (identity, request) == (&last.0, &last.1)));
        assert_eq!(last.0.networks, ["outside"]);
    }
    // What an operation declares of its own is what a request does.
    let mut socket = Socket::begun(running.address, json!({ "X-Case": "JD-1" })).await;
    let payload = json!({ "query": "{a}", "extensions": { "purpose": "p" } });
    socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    socket.all("1").await;
    let (identity, _, _, _) = running.seen().pop().unwrap();
    assert_eq!((identity.purpose.as_deref(), identity.case.as_deref()), (Some("p"), Some("JD-1")));
    let payload = json!({ "query": "{a}", "extensions": { "case": "JD-2" } });
    socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    assert_eq!(code(&socket.refused("1").await), "BAD_REQUEST");
    // An address is never the payload's to say.
    let mut socket = Socket::begun(running.address, json!({ "X-Forwarded-For": "203.0.113.7" })).await;
    socket.subscribe("1", "{a}", json!({})).await;
    socket.all("1").await;
    assert_eq!(running.seen().pop().unwrap().0.networks, ["local"]);
}

#[tokio::test]
async fn over_tls_the_connections_certificate_is_that_of_each_operation() {
    let authority = Authority::new("Departments");
    let (server, own) = (authority.make("localhost", |_| {}), authority.client("help.dept"));
    let options = Options {
        tls: Some((server.cert.clone(), server.key.clone())),
        client_ca: Some(authority.pem()),
        ..Options::default()
    };
    let running = Running::start(options).await;
    let mut socket = open_with(&running, &authority, &own, &[]).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    socket.send(json!({ "type": "connection_init" })).await;
    socket.next().await;
    socket.subscribe("1", "{a}", json!({})).await;
    socket.all("1").await;
    let certificate = running.seen().pop().unwrap().0.certificate.expect("the handshake's");
    assert!(certificate.subject.contains("help.dept"), "{certificate:?}");
    socket.subscribe("2", "BIG 3000000", json!({})).await;
    assert!(socket.text().await.unwrap().len() > 3_000_000);
    socket.0.close(None).await.unwrap();
    socket.closed().await;
}

/// Opens a socket over TLS, as who has a certificate.
async fn open_with(
    running: &Running,
    authority: &Authority,
    own: &Made,
    headers: &[(&str, &str)],
) -> Result<Socket, (u16, String)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let client = client.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    let client = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(running.address).await.unwrap();
    let stream = client.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    Socket::open_on(Box::new(stream), "localhost", Some(SUBPROTOCOL), headers).await
}

#[tokio::test]
async fn a_listed_sites_page_has_the_browsers_certificate_only_where_its_requests_have_it() {
    const PORTAL: &str = "https://portal.example";
    let authority = Authority::new("Departments");
    let (server, own) = (authority.make("localhost", |_| {}), authority.client("help.dept"));
    let origin = [("origin", PORTAL)];
    for (credentials, client_certificates) in [
        (false, ClientCertificates::Optional),
        (true, ClientCertificates::Optional),
        (false, ClientCertificates::Required),
        (true, ClientCertificates::Required),
    ] {
        let options = Options {
            tls: Some((server.cert.clone(), server.key.clone())),
            client_ca: Some(authority.pem()),
            client_certificates,
            origins: vec![PORTAL],
            credentials,
            ..Options::default()
        };
        let running = Running::start(options).await;
        for (headers, counts) in [(&origin[..], credentials), (&[], true)] {
            let opened = open_with(&running, &authority, &own, headers).await;
            if !counts && client_certificates == ClientCertificates::Required {
                assert!(opened.is_err_and(|(status, body)| status == 403 && body.contains("cors.credentials")));
                continue;
            }
            let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
            socket.send(json!({ "type": "connection_init" })).await;
            assert_eq!(socket.next().await["type"], "connection_ack");
            socket.subscribe("1", "{a}", json!({})).await;
            socket.all("1").await;
            let shown = running.seen().pop().unwrap().0.certificate;
            assert_eq!(shown.is_some(), counts, "{credentials} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_listed_sites_page_has_no_forwarded_certificate_either() {
    let authority = Authority::new("Departments");
    let own = authority.client("help.dept");
    let options =
        Options { origins: vec!["https://portal.example"], forwarded_ca: Some(authority.pem()), ..Options::default() };
    let running = Running::start(options).await;
    let forwarded = own.forwarded();
    let all = [("client-cert", forwarded.as_str()), ("origin", "https://portal.example")];
    for (headers, counts) in [(&all[..1], true), (&all[..], false)] {
        let mut socket = Socket::open(running.address, headers).await.unwrap();
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket.subscribe("1", "{a}", json!({})).await;
        socket.all("1").await;
        assert_eq!(running.seen().pop().unwrap().0.certificate.is_some(), counts);
    }
}

#[tokio::test]
async fn who_is_refused_by_post_is_refused_over_a_socket() {
    let running = Running::start(Options::default()).await;
    let good = format!("Bearer {}", token(&["cadre"]));
    let signature = good.rfind('.').unwrap() + 1;
    let forged = format!("{}{}", &good[..signature], "A".repeat(good.len() - signature));
    for bad in ["Bearer a.b.c", "Basic YTpi", "Bearer", "", forged.as_str()] {
        let post = running.post().header("authorization", bad).body(r#"{"query":"{a}"}"#).send().await.unwrap();
        assert_eq!(post.status(), 401, "{bad}");
        let refused = Socket::open(running.address, &[("authorization", bad)]).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(401), "at once, where the upgrade has it: {bad}");
        let mut socket = Socket::open(running.address, &[]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": { "authorization": bad } })).await;
        let (code, reason) = socket.closed().await;
        assert!(code == 4403 && !reason.is_empty(), "{bad}: {code} {reason}");
    }
    let mut socket = Socket::open(running.address, &[("authorization", good.as_str())]).await.unwrap();
    socket.send(json!({ "type": "connection_init", "payload": bearer(&token_of("li", &["cadre"])) })).await;
    let (code, reason) = socket.closed().await;
    assert!(code == 4403 && reason.contains("differ"), "{code} {reason}");
    for (declared, expected) in
        [(json!({ "X-Case": "x".repeat(200) }), 4400), (json!({ "X-Break-Glass": "id 331122198001010011" }), 4400)]
    {
        let mut socket = Socket::open(running.address, &[]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": declared })).await;
        assert_eq!(socket.closed().await.0, expected, "{declared}");
    }
    let forwarded = Socket::open(running.address, &[("x-forwarded-for", "nonsense")]).await.err();
    assert_eq!(forwarded.map(|(status, _)| status), Some(400));
    assert!(running.seen().is_empty(), "nothing of it reaches anybody");
}

#[tokio::test]
async fn trusted_documents_and_their_refusals_are_those_of_a_post() {
    let running = Running::start(Options { documents: vec!["{a}"], ..Options::default() }).await;
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.send(json!({ "type": "subscribe", "id": "1", "payload": { "documentId": sha256("{a}") } })).await;
    assert_eq!(socket.all("1").await.len(), 1);
    assert_eq!(running.seen().pop().unwrap().1.query.as_deref(), Some("{a}"));
    socket.send(json!({ "type": "subscribe", "id": "1", "payload": { "documentId": sha256("{b}") } })).await;
    assert!(socket.refused("1").await[0]["message"].as_str().unwrap().contains("not known here"));
}

#[tokio::test]
async fn sockets_and_their_operations_are_requests_of_whoever_asks() {
    let requests = |n| Rate { requests_per_minute: Some(n), upstream_calls_per_minute: None };
    let rates = Rates { principal: requests(3), anonymous: requests(4), ..Rates::default() };
    let running = Running::start(Options { rates, more: "sockets: {init_ms_max: 200}\n", ..Options::default() }).await;
    let mine = token(&["cadre"]);
    let mut socket = Socket::begun(running.address, bearer(&mine)).await;
    for id in ["1", "2"] {
        socket.subscribe(id, "{a}", json!({})).await;
        assert_eq!(socket.all(id).await.len(), 1);
    }
    socket.subscribe("3", "subscription { 1 frames of 2 bytes }", json!({})).await;
    let refused = socket.refused("3").await;
    assert_eq!(code(&refused), "RATE_LIMITED");
    assert!(refused[0]["extensions"]["retryAfterSeconds"].is_u64());
    let post = running.post().header("authorization", format!("Bearer {mine}")).body(r#"{"query":"{a}"}"#);
    assert_eq!(post.send().await.unwrap().status(), 429, "of the same minute");
    let mut second = Socket::open(running.address, &[]).await.unwrap();
    second.send(json!({ "type": "connection_init", "payload": bearer(&mine) })).await;
    assert_eq!(second.closed().await.0, 1013);
    let mut other = Socket::begun(running.address, bearer(&token_of("li", &["cadre"]))).await;
    other.subscribe("1", "{a}", json!({})).await;
    assert_eq!(other.all("1").await.len(), 1, "others go on");
    // Who only opens sockets, or shows bad tokens, pays as a visitor.
    for payload in [None, None, Some(bearer("a.b.c")), Some(bearer("a.b.d"))] {
        let mut socket = Socket::open(running.address, &[]).await.unwrap();
        if let Some(payload) = &payload {
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        }
        assert_eq!(socket.closed().await.0, if payload.is_some() { 4403 } else { 4408 });
    }
    assert_eq!(running.post().body(r#"{"query":"{a}"}"#).send().await.unwrap().status(), 429);
}

#[tokio::test]
async fn there_are_only_so_many_sockets_and_operations_and_each_gives_back_its_place() {
    let more = "sockets: {at_once_max: 4, per_caller_max: 2, operations_max: 2}\n";
    let running = Running::start(Options { more, ..Options::default() }).await;
    let mine = bearer(&token(&["cadre"]));
    let mut first = Socket::begun(running.address, mine.clone()).await;
    let second = Socket::begun(running.address, mine.clone()).await;
    let mut third = Socket::open(running.address, &[]).await.unwrap();
    third.send(json!({ "type": "connection_init", "payload": mine })).await;
    let (code_, reason) = third.closed().await;
    assert!(code_ == 1013 && reason.contains("per_caller_max"), "{code_} {reason}");
    drop(third);
    let mut other = freed(&running).await;
    let li = bearer(&token_of("li", &["cadre"]));
    other.send(json!({ "type": "connection_init", "payload": li })).await;
    assert_eq!(other.next().await["type"], "connection_ack");
    let others = [other, Socket::begun(running.address, json!({})).await];
    let (status, body) = Socket::open(running.address, &[]).await.err().expect("refused");
    assert!(status == 503 && body.contains("OVERLOADED"), "{status} {body}");
    // Operations of one socket.
    for id in ["1", "2"] {
        first.subscribe(id, "subscription { late 60000 }", json!({})).await;
    }
    first.subscribe("3", "{a}", json!({})).await;
    assert_eq!(code(&first.refused("3").await), "OVERLOADED");
    first.send(json!({ "type": "complete", "id": "1" })).await;
    first.subscribe("3", "{a}", json!({})).await;
    assert_eq!(first.all("3").await.len(), 1);
    drop((second, others));
    let began = Instant::now();
    loop {
        let opened = Socket::open(running.address, &[]).await;
        if let Ok(mut socket) = opened {
            socket.send(json!({ "type": "connection_init", "payload": mine })).await;
            if socket.text().await.is_ok() {
                break;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(10), "places come free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_operation_waits_for_its_turn_as_a_request_does() {
    let more = "admission: {in_flight_max: 1, waiting_max: 1, waiting_ms_max: 300}\n";
    let running = Running::start(Options { more, ..Options::default() }).await;
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("holds", "subscription { late 60000 }", json!({})).await;
    socket.subscribe("waits", "{a}", json!({})).await;
    assert_eq!(code(&socket.refused("waits").await), "OVERLOADED");
    let post = running.post().body(r#"{"query":"{a}"}"#).send().await.unwrap();
    assert_eq!(post.status(), 503);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_let_go_at_once() {
    let running = Running::start(Options::default()).await;
    let endless = "subscription { 1000000000 frames of 10 bytes }";
    let mut taken = running.gateway.taken.subscribe();
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", endless, json!({})).await;
    socket.next().await;
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    let told = tokio::time::timeout(Duration::from_secs(10), taken.wait_for(|(_, is_gone)| *is_gone)).await;
    drop(told.expect("it is let go").unwrap());
    // The socket goes on, and its id is free.
    socket.subscribe("1", "{a}", json!({})).await;
    loop {
        let next = socket.next().await;
        if next["type"] == "complete" {
            break;
        }
    }
    running.gateway.taken.send_modify(|(_, is_gone)| *is_gone = false);
    socket.subscribe("2", endless, json!({})).await;
    socket.next().await;
    drop(socket);
    let told = tokio::time::timeout(Duration::from_secs(10), taken.wait_for(|(_, is_gone)| *is_gone)).await;
    drop(told.expect("it is let go").unwrap());
}

#[tokio::test]
async fn a_long_answer_comes_whole_and_who_does_not_read_is_waited_for_and_then_cut() {
    let running = Running::start(Options { read_timeout_ms: 1_000, ..Options::default() }).await;
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", "BIG 5000000", json!({})).await;
    socket.subscribe("2", "BIG 65537", json!({})).await;
    let mut lengths = Vec::new();
    while lengths.len() < 2 {
        let text = socket.text().await.unwrap();
        if text.contains("\"next\"") {
            assert!(text.starts_with("{\"id\":\"") && text.ends_with(" }"));
            lengths.push(text.matches(' ').count());
        }
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [65_537, 5_000_000]);
    let mut taken = running.gateway.taken.subscribe();
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", "subscription { 1000 frames of 1000000 bytes }", json!({})).await;
    let told = tokio::time::timeout(Duration::from_secs(10), taken.wait_for(|(_, is_gone)| *is_gone)).await;
    let (count, _) = *told.expect("it is cut").unwrap();
    assert!(count < 50, "no more was made than was taken: {count}");
    assert_eq!(socket.closed().await.0, 0, "it does not look as if it had been closed in order");
}

#[tokio::test]
async fn a_socket_that_says_nothing_does_not_stay() {
    let more = "sockets: {init_ms_max: 300, ping_ms: 100, idle_ms_max: 700}\n";
    let running = Running::start(Options { more, ..Options::default() }).await;
    let began = Instant::now();
    let mut socket = Socket::open(running.address, &[]).await.unwrap();
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.closed().await, (4408, "Connection initialisation timeout".to_owned()));
    assert!((300..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let mut socket = Socket::begun(running.address, json!({})).await;
    let began = Instant::now();
    assert_eq!(socket.closed().await.0, 1000, "idle");
    assert!(began.elapsed() >= Duration::from_millis(600), "pings are answered meanwhile: {:?}", began.elapsed());
    // What stops nothing asks for nothing.
    let socket = Socket::begun(running.address, json!({})).await;
    let (mut sends, mut hears) = futures::StreamExt::split(socket.0);
    let stops = async {
        let nobody = r#"{"type":"complete","id":"nobody"}"#;
        while futures::SinkExt::send(&mut sends, Message::text(nobody)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let ends = async {
        loop {
            match futures::StreamExt::next(&mut hears).await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let ends = tokio::time::timeout(Duration::from_secs(10), ends);
    tokio::select! { code = ends => assert_eq!(code.expect("it is closed"), 1000), () = stops => {} }
    // One with an operation is not idle, but who answers no ping is gone.
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", "subscription { late 1500 }", json!({})).await;
    assert_eq!(socket.all("1").await.len(), 1);
    let mut taken = running.gateway.taken.subscribe();
    let mut mute = upgraded(&running).await;
    mute.write_all(&masked(0x81, br#"{"type":"connection_init"}"#)).await.unwrap();
    let subscribe = br#"{"type":"subscribe","id":"1","payload":{"query":"subscription { late 2000 }"}}"#;
    mute.write_all(&masked(0x81, subscribe)).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), mute.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.contains(&0x89), "pinged, and then cut: {rest:?}");
    tokio::time::timeout(Duration::from_secs(5), taken.wait_for(|(_, is_gone)| *is_gone)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_has_had_its_time_begins_nothing_more_and_ends_with_what_is_under_way() {
    let streams = Some(Duration::from_millis(700));
    let running = Running::start(Options { streams, ..Options::default() }).await;
    let mut idle = Socket::begun(running.address, json!({})).await;
    let mut busy = Socket::begun(running.address, json!({})).await;
    busy.subscribe("1", "SLEEP 4000", json!({})).await;
    let (closed, reason) = idle.closed().await;
    assert!(closed == 1001 && reason.contains("connect again"), "{closed} {reason}");
    // A little later, at most, the other one has had its time too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    busy.subscribe("2", "{a}", json!({})).await;
    assert_eq!(code(&busy.refused("2").await), "OVERLOADED");
    assert_eq!(busy.all("1").await.len(), 1, "what was begun is answered");
    assert_eq!(busy.closed().await.0, 1001);
}

#[tokio::test]
async fn a_stop_closes_sockets_once_what_is_under_way_has_ended() {
    let mut running = Running::start(Options::default()).await;
    let mut idle = Socket::begun(running.address, json!({})).await;
    let mut new = Socket::open(running.address, &[]).await.unwrap();
    let mut busy = Socket::begun(running.address, json!({})).await;
    busy.subscribe("1", "SLEEP 700", json!({})).await;
    until("it is asked", || !running.seen().is_empty()).await;
    running.stop.take().unwrap().send(()).unwrap();
    assert_eq!(idle.closed().await.0, 1001);
    assert_eq!(new.closed().await.0, 1001);
    busy.subscribe("2", "{a}", json!({})).await;
    assert_eq!(code(&busy.refused("2").await), "OVERLOADED", "nothing new is begun");
    assert_eq!(busy.all("1").await.len(), 1, "what was begun is answered");
    assert_eq!(busy.closed().await.0, 1001);
    drop((idle, new, busy));
    tokio::time::timeout(Duration::from_secs(3), &mut running.served).await.expect("the listener ends").unwrap();
}

#[tokio::test]
async fn what_sockets_are_refused_is_counted_with_what_requests_are() {
    let running = Running::start(Options { refusals_every_ms: 100, ..Options::default() }).await;
    let mut socket = Socket::open(running.address, &[]).await.unwrap();
    socket.send(json!({ "type": "connection_init", "payload": bearer("a.b.c") })).await;
    socket.closed().await;
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.send_text("not JSON").await;
    socket.closed().await;
    let counted = || {
        let refused = running.gateway.refused.lock().unwrap();
        let of = |status: u16| refused.iter().filter_map(|(_, _, counts)| counts.get(&status)).sum::<u64>();
        (of(401), of(400)) == (1, 1)
    };
    until("both are told", counted).await;
}

#[tokio::test]
async fn sockets_and_their_operations_stand_in_the_metrics() {
    let running = Running::start(Options::default()).await;
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", "subscription { late 60000 }", json!({})).await;
    socket.send(json!({ "type": "ping" })).await;
    socket.next().await;
    let text = running.metrics().await;
    for line in ["huxiang_sockets_open 1", "huxiang_socket_operations 1"] {
        assert!(text.lines().any(|of| of == line), "{line}: {text}");
    }
    socket.send_text("not JSON").await;
    socket.closed().await;
    let began = Instant::now();
    loop {
        let text = running.metrics().await;
        let all =
            ["huxiang_sockets_open 0", "huxiang_socket_operations 0", "huxiang_sockets_closed_total{code=\"4400\"} 1"];
        if all.iter().all(|line| text.lines().any(|of| of == *line)) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_says_nothing_holds_no_more_places_than_a_caller_and_pays_for_each() {
    let requests = |n| Rate { requests_per_minute: Some(n), upstream_calls_per_minute: None };
    let rates = Rates { principal: requests(9), anonymous: requests(3), ..Rates::default() };
    let more = "sockets: {per_caller_max: 2, init_ms_max: 60000}\n";
    let running = Running::start(Options { rates, more, ..Options::default() }).await;
    let mine = format!("Bearer {}", token(&["cadre"]));
    let mut first = Socket::open(running.address, &[]).await.unwrap();
    let mut second = Socket::open(running.address, &[]).await.unwrap();
    let (status, body) = Socket::open(running.address, &[]).await.err().expect("refused");
    assert!(status == 503 && body.contains("per_caller_max"), "{status} {body}");
    // Others have theirs; and who says who they are gives the address's back.
    let mut other = Socket::open(running.address, &[("authorization", &mine)]).await.unwrap();
    first.send(json!({ "type": "connection_init", "payload": { "Authorization": mine.as_str() } })).await;
    assert_eq!(first.next().await["type"], "connection_ack");
    let mut third = Socket::open(running.address, &[]).await.unwrap();
    other.send(json!({ "type": "connection_init" })).await;
    assert_eq!(other.next().await["type"], "connection_ack", "a place counts once");
    // However they end, they were asked for.
    second.send_text("not JSON").await;
    assert_eq!(second.closed().await.0, 4400);
    third.subscribe("1", "{a}", json!({})).await;
    assert_eq!(third.closed().await.0, 4401);
    drop((second, third));
    let mut left = freed(&running).await;
    left.0.close(None).await.unwrap();
    left.closed().await;
    for headers in [&[][..], &[("authorization", "Bearer a.b.c")]] {
        let refused = Socket::open(running.address, headers).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(429));
    }
    first.subscribe("1", "{a}", json!({})).await;
    assert_eq!(first.all("1").await.len(), 1, "who is somebody goes on");
}

/// A socket that is opened once there is a place.
async fn freed(running: &Running) -> Socket {
    let began = Instant::now();
    loop {
        match Socket::open(running.address, &[]).await {
            Ok(socket) => return socket,
            Err((status, body)) => assert_eq!(status, 503, "{body}"),
        }
        assert!(began.elapsed() < Duration::from_secs(10), "a place comes free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_place_is_held_until_the_connection_has_ended() {
    let running = Running::start(Options { more: "sockets: {at_once_max: 1}\n", ..Options::default() }).await;
    let mut closed = upgraded(&running).await;
    closed.write_all(&masked(0x81, b"not JSON")).await.unwrap();
    let mut rest = Vec::new();
    closed.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest[..4], [0x88, rest[1], 0x11, 0x30], "closed with 4400, and this end not yet");
    let refused = Socket::open(running.address, &[]).await.err();
    assert_eq!(refused.map(|(status, _)| status), Some(503));
    drop(closed);
    freed(&running).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_heard_all_the_same() {
    let more = "sockets: {operations_max: 2}\n";
    let running = Running::start(Options { read_timeout_ms: 20_000, more, ..Options::default() }).await;
    let mut taken = running.gateway.taken.subscribe();
    let mut socket = Socket::begun(running.address, json!({})).await;
    socket.subscribe("1", "subscription { 1000 frames of 1000000 bytes }", json!({})).await;
    // No more is made once all is full.
    let began = Instant::now();
    let mut count = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = taken.borrow_and_update().0;
        if now == count && now > 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{now}");
        count = now;
    }
    for _ in 0..10 {
        socket.send(json!({ "type": "ping" })).await;
    }
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    let told = tokio::time::timeout(Duration::from_secs(5), taken.wait_for(|(_, is_gone)| *is_gone)).await;
    drop(told.expect("it is let go though nothing was read").unwrap());
}

#[tokio::test]
async fn a_message_has_to_come_within_its_time_whatever_comes_between_its_parts() {
    let more = "sockets: {init_ms_max: 60000, ping_ms: 60000}\n";
    let running = Running::start(Options { read_timeout_ms: 1_000, more, ..Options::default() }).await;
    // In parts, with control frames between them; and a single frame of which the rest does not come.
    for (begins, goes_on) in [(masked(0x01, b"{"), masked(0x89, b"")), (b"\x81\xfd\0\0\0\0{".to_vec(), b" ".to_vec())] {
        let mut slow = upgraded(&running).await;
        let began = Instant::now();
        slow.write_all(&begins).await.unwrap();
        let mut come = Vec::new();
        while !String::from_utf8_lossy(&come).contains("too slowly") {
            assert!(began.elapsed() < Duration::from_secs(10), "{come:?}");
            slow.write_all(&goes_on).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let read = slow.read_buf(&mut come);
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(1), read).await {
                assert!(read.unwrap() > 0, "{come:?}");
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    }
    // One that comes within it is as one that comes at once, and nothing is to come of itself.
    let mut whole = upgraded(&running).await;
    for (first, part) in [(0x01, &br#"{"type":"#[..]), (0x00, b""), (0x80, br#""connection_init"}"#)] {
        whole.write_all(&masked(first, part)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    whole.write_all(&masked(0x81, br#"{"type":"ping"}"#)).await.unwrap();
    let mut come = Vec::new();
    while !String::from_utf8_lossy(&come).contains("pong") {
        assert!(whole.read_buf(&mut come).await.unwrap() > 0, "{come:?}");
    }
    assert!(String::from_utf8_lossy(&come).contains("connection_ack"));
}

#[tokio::test]
async fn messages_that_ask_for_nothing_are_bounded_and_refused_operations_take_from_the_rate() {
    let requests = |n| Rate { requests_per_minute: Some(n), upstream_calls_per_minute: None };
    let rates = Rates { principal: requests(5), anonymous: requests(100), ..Rates::default() };
    let more = "sockets: {operations_max: 1}\n";
    let running = Running::start(Options { rates, more, ..Options::default() }).await;
    for message in [json!({ "type": "ping" }), json!({ "type": "pong" }), json!({ "type": "complete", "id": "x" })] {
        let mut socket = Socket::begun(running.address, json!({})).await;
        for _ in 0..121 {
            socket.send(message.clone()).await;
        }
        let (code, reason) = socket.closed().await;
        assert!(code == 1008 && reason.contains("120"), "{code} {reason}");
    }
    // Of five, connection_init is one, and what goes on is another.
    let mut socket = Socket::begun(running.address, bearer(&token(&["cadre"]))).await;
    socket.subscribe("1", "subscription { late 60000 }", json!({})).await;
    for expected in ["OVERLOADED", "OVERLOADED", "OVERLOADED", "RATE_LIMITED"] {
        socket.subscribe("2", "{a}", json!({})).await;
        assert_eq!(code(&socket.refused("2").await), expected);
    }
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    // Nor for ever, where the rate has nothing left.
    for _ in 0..115 {
        socket.subscribe("2", "{a}", json!({})).await;
        assert_eq!(code(&socket.refused("2").await), "RATE_LIMITED");
    }
    socket.subscribe("2", "{a}", json!({})).await;
    assert_eq!(socket.closed().await.0, 1008);
}
