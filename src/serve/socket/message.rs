//! The messages of `graphql-transport-ws`, as they come and as they go.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::super::GraphqlRequest;
use super::super::request::{self, Sent};
use super::super::unsent::{Cut, Unsent};
use super::close::Close;
use crate::identify::Declared;

/// Bytes of an operation's id.
const ID_BYTES_MAX: usize = 256;
/// A longer answer is sent in pieces of so many bytes, none of which is copied before the one in front of it is on its way.
const PIECE_BYTES: usize = 64 << 10;

/// What a client sends.
#[derive(Debug)]
pub enum Incoming<'a> {
    ConnectionInit(Option<&'a RawValue>),
    Ping,
    Pong,
    Subscribe { id: String, request: Box<GraphqlRequest> },
    Complete { id: String },
}

/// A member that stands twice is refused; what else stands beside these is passed over.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    pub fn read(text: &'a str) -> Result<Self, Close> {
        let message: Message<'a> = serde_json::from_str(text).map_err(|error| match error.is_data() {
            true => {
                Close::bad("a message is an object with a `type`, and with `id` and `payload` where its type has them")
            }
            false => Close::bad("a message is not JSON"),
        })?;
        let Message { id, kind, payload } = message;
        let is_object = payload.is_none_or(|payload| payload.get().starts_with('{'));
        let id = || match id {
            Some(id) if !id.is_empty() && id.len() <= ID_BYTES_MAX => Ok(id.into_owned()),
            _ => Err(Close::bad(format!("`id` must be a text of 1 to {ID_BYTES_MAX} bytes"))),
        };
        match &*kind {
            "connection_init" | "ping" | "pong" | "subscribe" if !is_object => {
                Err(Close::bad("`payload` must be an object"))
            }
            "connection_init" => Ok(Self::ConnectionInit(payload)),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            "complete" => Ok(Self::Complete { id: id()? }),
            "subscribe" => {
                let id = id()?;
                let payload = payload.ok_or_else(|| Close::bad("`subscribe` needs a `payload`"))?;
                match request::from_body(payload.get().as_bytes(), 0).map_err(Close::bad)? {
                    Sent::One(request) => Ok(Self::Subscribe { id, request: Box::new(request) }),
                    Sent::Batch(_) => Err(Close::bad("`payload` must be an object")),
                }
            }
            _ => Err(Close::bad("the type of a message is none that a client sends")),
        }
    }
}

/// The members of an object, in their order.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

/// The headers of an upgrade, with what the payload of `connection_init` says in their place: a page cannot send headers with an
/// upgrade. Of the payload, only the token and what requests declare is read, by the headers' names in any case; what proxies say
/// is theirs alone to say.
pub fn with_payload(headers: &HeaderMap, payload: Option<&RawValue>, bytes_max: usize) -> Result<HeaderMap, Close> {
    let mut merged = headers.clone();
    let Some(payload) = payload else { return Ok(merged) };
    let unreadable = |_| Close::bad("`payload` cannot be read");
    let Members(members) = serde_json::from_str(payload.get()).map_err(unreadable)?;
    let mut given: Vec<HeaderName> = Vec::new();
    for (name, value) in members {
        let names = Declared::HEADERS.map(HeaderName::from_static).into_iter().chain([header::AUTHORIZATION]);
        let Some(name) = names.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(&name)) else { continue };
        let Value::String(text) = value else {
            if value.is_null() {
                continue;
            }
            return Err(Close::bad(format!("`{name}` of connection_init must be a text")));
        };
        if given.contains(&name) {
            return Err(Close::bad(format!("`{name}` stands twice in connection_init")));
        }
        let value = HeaderValue::from_bytes(text.trim().as_bytes()).ok().filter(|value| value.len() <= bytes_max);
        let unfit = || Close::bad(format!("`{name}` of connection_init is too long, or holds control characters"));
        let value = value.ok_or_else(unfit)?;
        if headers.get_all(&name).iter().any(|header| header.as_bytes() != value.as_bytes()) {
            let reason = format!("`{name}` of connection_init and the header of the upgrade differ; send one of them");
            return Err(Close::forbidden(reason));
        }
        if !headers.contains_key(&name) {
            merged.insert(&name, value);
        }
        given.push(name);
    }
    Ok(merged)
}

/// What waits to be sent.
#[derive(Debug)]
pub enum Outgoing {
    /// One message, in pieces.
    Text(Vec<Bytes>),
    Ping,
}

/// What says something to the client. One that does not read makes whoever speaks wait.
#[derive(Debug, Clone)]
pub struct Voice {
    pub queue: mpsc::Sender<Outgoing>,
    pub unsent: Arc<Unsent>,
    pub cut: Cut,
    /// Pings that were sent since anything was heard.
    pub unheard: Arc<AtomicUsize>,
}

impl Voice {
    pub async fn acknowledge(&self) {
        self.say(vec![Bytes::from_static(br#"{"type":"connection_ack"}"#)]).await;
    }

    /// Where as much waits as may, there is none: who asked sees by what comes that somebody is there.
    pub fn pong(&self) {
        let _ = self.queue.try_send(Outgoing::Text(vec![Bytes::from_static(br#"{"type":"pong"}"#)]));
    }

    /// A response, as it is.
    pub async fn next(&self, id: &str, body: Bytes) {
        let body = self.unsent.hold(body, &self.cut);
        self.say(pieces(begun("next", id), body)).await;
    }

    /// The errors of a response without data, as they are.
    pub async fn error(&self, id: &str, body: &Bytes) {
        #[derive(Deserialize)]
        struct Response<'a> {
            #[serde(borrow)]
            errors: &'a RawValue,
        }
        let errors = serde_json::from_slice::<Response<'_>>(body).map(|response| response.errors.get());
        let errors = Bytes::copy_from_slice(errors.unwrap_or("[]").as_bytes());
        self.say(pieces(begun("error", id), errors)).await;
    }

    pub async fn complete(&self, id: &str) {
        let mut message = begun("complete", id);
        // Instead of a payload.
        message.truncate(message.len().saturating_sub(PAYLOAD.len()));
        message.put_u8(b'}');
        self.say(vec![message.freeze()]).await;
    }

    /// Where something waits already, that does as well.
    pub fn ping(&self) {
        let _ = self.queue.try_send(Outgoing::Ping);
    }

    async fn say(&self, pieces: Vec<Bytes>) {
        // Where nobody takes it any more, whoever speaks is dropped.
        let _ = self.queue.send(Outgoing::Text(pieces)).await;
    }
}

const PAYLOAD: &str = ",\"payload\":";

fn begun(kind: &str, id: &str) -> BytesMut {
    let id = Value::from(id);
    BytesMut::from(format!("{{\"id\":{id},\"type\":\"{kind}\"{PAYLOAD}").as_bytes())
}

fn pieces(mut begun: BytesMut, body: Bytes) -> Vec<Bytes> {
    if body.len() <= PIECE_BYTES {
        begun.extend_from_slice(&body);
        begun.put_u8(b'}');
        return vec![begun.freeze()];
    }
    let mut pieces = vec![begun.freeze()];
    let mut left = body;
    while left.len() > PIECE_BYTES {
        pieces.push(left.split_to(PIECE_BYTES));
    }
    pieces.push(left);
    pieces.push(Bytes::from_static(b"}"));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_of_a_client_is_told_by_its_fault_and_nothing_of_its_values() {
        for (text, said) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "is an object"),
            ("null", "is an object"),
            ("{}", "is an object"),
            (r#"{"type":1}"#, "is an object"),
            (r#"{"type":"next","id":"1","payload":{}}"#, "type of a message"),
            (r#"{"type":"connection_ack"}"#, "type of a message"),
            (r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#, "type of a message"),
            (r#"{"type":"ping","type":"pong"}"#, "is an object"),
            (r#"{"type":"connection_init","payload":[]}"#, "`payload` must"),
            (r#"{"type":"ping","payload":"x"}"#, "`payload` must"),
            (r#"{"type":"complete"}"#, "`id` must"),
            (r#"{"type":"complete","id":""}"#, "`id` must"),
            (r#"{"type":"complete","id":7}"#, "is an object"),
            (&format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(257)), "`id` must"),
            (r#"{"type":"subscribe","payload":{"query":"{a}"}}"#, "`id` must"),
            (r#"{"type":"subscribe","id":"1"}"#, "needs a `payload`"),
            (r#"{"type":"subscribe","id":"1","payload":[{"query":"{a}"}]}"#, "`payload` must"),
            (r#"{"type":"subscribe","id":"1","payload":{}}"#, "no `query`"),
            (r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#, "`query` must"),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":"331122"}}"#, "`variables` must"),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","query":"{b}"}}"#, "given twice"),
        ] {
            let close = Incoming::read(text).expect_err(text);
            assert!(close.code == Some(4400) && close.reason.contains(said), "{text}: {close:?}");
            assert!(!close.reason.contains("331122"), "{close:?}");
        }
        let deep = format!(r#"{{"type":"ping","payload":{{"a":{}"#, "[".repeat(200_000));
        assert!(Incoming::read(&deep).is_err());
    }

    proptest::proptest! {
        /// Whatever comes, it is read or told; and what is told fits into a close.
        #[test]
        fn whatever_comes_is_a_message_or_closes_the_socket(
            kind in "(connection_init|subscribe|complete|ping|pong|next|.{0,4})",
            id in ".{0,300}",
            payload in "(null|\\{\\}|\\[\\]|\\{\"query\":.{0,9}\\}|.{0,9})",
            cut in 0..400_usize,
        ) {
            let whole = format!("{{\"type\":\"{kind}\",\"id\":{},\"payload\":{payload}}}", Value::from(id));
            let part: String = whole.chars().take(cut).collect();
            for text in [whole, part] {
                if let Err(close) = Incoming::read(&text) {
                    proptest::prop_assert_eq!(close.code, Some(4400));
                    proptest::prop_assert!(close.frame().is_some_and(|frame| frame.reason.len() <= 123));
                }
            }
        }
    }

    #[test]
    fn a_message_in_pieces_is_the_message() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let body = Bytes::from(vec![b'7'; length]);
            let pieces = pieces(begun("next", "a\"b"), body.clone());
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES + 64));
            let expected = format!(r#"{{"id":"a\"b","type":"next","payload":{}}}"#, String::from_utf8_lossy(&body));
            assert_eq!(pieces.concat(), expected.as_bytes());
        }
    }

    #[test]
    fn the_payload_stands_for_headers_and_for_none_but_those_of_the_caller() {
        let read = |headers: &[(&'static str, &'static str)], payload: &str| {
            let map = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
            let raw: Box<RawValue> = serde_json::from_str(payload).unwrap();
            with_payload(&map, Some(&raw), 1_000)
        };
        let merged = read(
            &[("x-case", "1")],
            r#"{"authorization":"Bearer a","X-PURPOSE":" p ","X-Break-Glass":"着火了","X-Case":"1","X-Forwarded-For":"10.0.0.1","x-approval":null,"other":[1]}"#,
        );
        let merged = merged.unwrap();
        let of = |name: &str| merged.get(name).map(HeaderValue::as_bytes);
        assert_eq!(of("authorization"), Some(&b"Bearer a"[..]));
        assert_eq!(of("x-purpose"), Some(&b"p"[..]));
        assert_eq!(of("x-break-glass"), Some("着火了".as_bytes()));
        assert_eq!(merged.get_all("x-case").iter().count(), 1);
        assert_eq!((of("x-forwarded-for"), of("x-approval"), of("other")), (None, None, None));
        for (payload, code) in [
            (r#"{"Authorization":"Bearer b"}"#, 4403),
            (r#"{"Authorization":7}"#, 4400),
            (r#"{"X-Case":"1","x-case":"1"}"#, 4400),
            (r#"{"X-Case":"1\n2"}"#, 4400),
            (&format!(r#"{{"X-Case":"{}"}}"#, "1".repeat(1_001)), 4400),
        ] {
            assert_eq!(read(&[("authorization", "Bearer a")], payload).unwrap_err().code, Some(code), "{payload}");
        }
    }
}
