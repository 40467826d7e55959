//! A case's request over a WebSocket instead: what stands in its headers stands in the payload of `connection_init`, but for what
//! proxies say, and its body is the payload of `subscribe`.

use serde_json::{Value, json};

use crate::socket::Socket;
use crate::stage::Reply;

/// Headers that are the proxy's to send, with the upgrade.
const OF_PROXIES: [&str; 2] = ["x-forwarded-for", "client-cert"];
/// What a caller says.
const OF_CALLERS: [&str; 5] = ["authorization", "x-purpose", "x-case", "x-approval", "x-break-glass"];

pub async fn send(request: &reqwest::Request) -> Reply {
    let url = request.url();
    let host = url.host_str().and_then(|host| host.parse().ok()).expect("an address of its own");
    let address = std::net::SocketAddr::new(host, url.port().expect("a port of its own"));
    let of = |names: &[&'static str]| -> Vec<(&'static str, String)> {
        let sent = |name: &&'static str| {
            Some((*name, String::from_utf8_lossy(request.headers().get(*name)?.as_bytes()).into_owned()))
        };
        names.iter().filter_map(sent).collect()
    };
    let proxied = of(&OF_PROXIES);
    let headers: Vec<(&str, &str)> = proxied.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut socket = match Socket::open(address, &headers).await {
        Ok(socket) => socket,
        Err((status, body)) => {
            return Reply { status, json: serde_json::from_str(&body).unwrap_or(Value::Null), whole: body };
        }
    };
    let payload: Value = of(&OF_CALLERS).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    socket.send(json!({ "type": "connection_init", "payload": payload })).await;
    let body = request.body().and_then(reqwest::Body::as_bytes).expect("a body in memory");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": body })).await;
    let (mut whole, mut json) = (String::new(), Value::Null);
    loop {
        let text = match socket.text().await {
            Ok(text) => text,
            Err((code, reason)) => {
                // Only what does not get through the door.
                let status = if code == 4403 { 401 } else { code };
                return Reply { status, whole: format!("{whole}{reason}"), json: json!({ "errors": [reason] }) };
            }
        };
        whole.push_str(&text);
        let mut message: Value = serde_json::from_str(&text).expect("JSON");
        match message["type"].as_str() {
            Some("connection_ack") => {}
            Some("next") => json = message["payload"].take(),
            Some("error") => {
                json = json!({ "errors": message["payload"].take() });
                break;
            }
            Some("complete") => break,
            _ => panic!("{text}"),
        }
    }
    let _ = socket.0.close(None).await;
    Reply { status: 200, whole, json }
}
