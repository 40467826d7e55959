//! GraphQL over Server-Sent Events, each operation in a connection of its own ("distinct connections mode"): `next` with a
//! response, again and again, then `complete`. In between, comments, so that neither end takes the other for gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::watch;

use super::door;
use super::unsent::{Cut, Unsent};
use super::{App, Frame, Frames, Gateway, Halt, StreamStanding};
use crate::identify::Identity;

/// A stream on which nothing else comes for so long gets a comment.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Told to every request of a connection: true once the listener stops.
#[derive(Debug, Clone)]
pub(super) struct Stopping(pub watch::Receiver<bool>);

impl Stopping {
    /// Ends once the listener stops.
    pub async fn come(stopping: Option<&Self>) {
        if let Some(Self(stopping)) = stopping
            && stopping.clone().wait_for(|stopping| *stopping).await.is_ok()
        {
            return;
        }
        // Nobody stops it any more.
        std::future::pending::<()>().await;
    }
}

/// Who asked for a stream, looked at again between its frames.
pub(super) struct Admitted<G> {
    app: Arc<App<G>>,
    /// In force when the stream began.
    gateway: Arc<G>,
    identity: Identity,
    authorization: Option<HeaderValue>,
    stopping: Option<Stopping>,
}

impl<G: Gateway> Admitted<G> {
    pub fn new(app: &Arc<App<G>>, gateway: &Arc<G>, identity: &Identity, parts: &Parts) -> Self {
        Self {
            app: Arc::clone(app),
            gateway: Arc::clone(gateway),
            identity: identity.clone(),
            authorization: door::authorization(&parts.headers),
            stopping: parts.extensions.get::<Stopping>().cloned(),
        }
    }
}

impl<G: Gateway> StreamStanding for Admitted<G> {
    async fn look(&self) -> Result<(), Halt> {
        if self.stopping.as_ref().is_some_and(|stopping| *stopping.0.borrow()) {
            return Err(Halt::Stopping);
        }
        if !Arc::ptr_eq(&self.gateway, &self.app.gateway.now()) {
            return Err(Halt::Changed);
        }
        door::still(&self.app, &self.identity, self.authorization.as_ref()).await
    }

    async fn stopping(&self) {
        Stopping::come(self.stopping.as_ref()).await;
    }
}

/// The events of a stream, as its frames come. What breaks off ends the connection without `complete`.
pub(super) fn events(frames: Frames, unsent: Arc<Unsent>, cut: Cut) -> Body {
    let begin = Some((frames, unsent, cut));
    Body::from_stream(futures::stream::unfold(begin, |going| async {
        let (mut frames, unsent, cut) = going?;
        match tokio::time::timeout(HEARTBEAT, frames.next()).await {
            Err(_) => Some((Ok(Bytes::from_static(b":\n\n")), Some((frames, unsent, cut)))),
            Ok(Some(Frame::Next(body) | Frame::Refused(body))) => {
                let event = unsent.hold(next(&body), &cut);
                Some((Ok(event), Some((frames, unsent, cut))))
            }
            Ok(Some(Frame::Complete)) => Some((Ok(Bytes::from_static(COMPLETE)), None)),
            Ok(None) => Some((Err(io::Error::other("the stream broke off")), None)),
        }
    }))
}

/// One response, and the end.
pub(super) fn alone(body: &Bytes) -> Bytes {
    let mut event = BytesMut::from(next(body));
    event.extend_from_slice(COMPLETE);
    event.freeze()
}

const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// The event of a response. A line break, which JSON has between its tokens alone, would end the event's line: each line is one
/// of data.
fn next(body: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(body.len().saturating_add(32));
    event.put_slice(b"event: next\n");
    for line in body.split(|byte| matches!(byte, b'\n' | b'\r')) {
        event.put_slice(b"data: ");
        event.put_slice(line);
        event.put_u8(b'\n');
    }
    event.put_u8(b'\n');
    event.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_over_several_lines_is_one_event() {
        assert_eq!(next(b"{\"a\":1}"), "event: next\ndata: {\"a\":1}\n\n");
        assert_eq!(next(b"{\n\"a\":\r\n1}"), "event: next\ndata: {\ndata: \"a\":\ndata: \ndata: 1}\n\n");
        let both = alone(&Bytes::from_static(b"{}"));
        assert_eq!(both, "event: next\ndata: {}\n\nevent: complete\ndata:\n\n");
    }
}
