//! A client of `graphql-transport-ws`, by a library that is not the gateway's own reading of the protocol.
#![allow(dead_code, reason = "each crate of tests uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

pub const SUBPROTOCOL: &str = "graphql-transport-ws";
const SOON: Duration = Duration::from_secs(20);

/// A connection, over TLS or plain.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

pub struct Socket(pub WebSocketStream<Box<dyn Wire>>);

/// What came of a socket's end: its code, and why.
pub type Closed = (u16, String);

impl Socket {
    /// Opens a socket; the error is the status and the body of the refusal.
    pub async fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, (u16, String)> {
        Self::open_as(address, Some(SUBPROTOCOL), headers).await
    }

    pub async fn open_as(
        address: SocketAddr,
        subprotocol: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let stream = Box::new(TcpStream::connect(address).await.unwrap());
        Self::open_on(stream, &address.to_string(), subprotocol, headers).await
    }

    pub async fn open_on(
        stream: Box<dyn Wire>,
        host: &str,
        subprotocol: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let mut request = format!("ws://{host}/graphql").into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        }
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, response)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
                assert_eq!(response.headers()["cache-control"], "no-store");
                Ok(Self(socket))
            }
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens a socket and begins its connection.
    pub async fn begun(address: SocketAddr, payload: Value) -> Self {
        let mut socket = Self::open(address, &[]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.next().await, json!({ "type": "connection_ack" }));
        socket
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// The next message's text; the error is how the socket was closed (0: without a close).
    pub async fn text(&mut self) -> Result<String, Closed> {
        loop {
            match tokio::time::timeout(SOON, self.0.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.as_str().to_owned()));
                }
                Some(Ok(Message::Close(None))) => return Err((1005, String::new())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(error)) => return Err((0, error.to_string())),
                None => return Err((0, String::new())),
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        let text = self.text().await.unwrap_or_else(|closed| panic!("it was closed: {closed:?}"));
        serde_json::from_str(&text).unwrap()
    }

    /// How it ends; whatever comes before that is passed over.
    pub async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.text().await {
                return closed;
            }
        }
    }

    /// The payloads of an operation's `next`, up to its `complete`; nothing else comes.
    pub async fn all(&mut self, id: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let mut message = self.next().await;
            assert_eq!(message["id"], id, "{message:#}");
            match message["type"].as_str().unwrap() {
                "next" => all.push(message["payload"].take()),
                "complete" => return all,
                _ => panic!("{message:#}"),
            }
        }
    }

    /// The errors by which an operation is refused.
    pub async fn refused(&mut self, id: &str) -> Vec<Value> {
        let message = self.next().await;
        assert_eq!((&message["id"], &message["type"]), (&json!(id), &json!("error")), "{message:#}");
        message["payload"].as_array().unwrap().clone()
    }
}
