//! A stream of frames, whatever the transport: turn after turn of what a query for one page is, each through the whole flow
//! with its own deadline and its own record. A frame is handed over once its record is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::streaming::Streaming;
use super::{Answer, Gateway, GraphqlRequest, Outcome};
use crate::audit::AuditRecord;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::identify::Identity;
use crate::trace::Parent;

/// Once the gateway stops, a frame that was made is waited to be taken for so long.
const STOP_TAKES: Duration = Duration::from_secs(2);

/// Frames of a stream, each the complete JSON of a response. As long as one is not taken, at most one more is made.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<Frame>);

/// What comes next of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Next(Bytes),
    /// Instead of the first: it is refused as a query would be. [`Frame::Complete`] follows.
    Refused(Bytes),
    /// Nothing more: the stream has come to its end.
    Complete,
}

impl Frames {
    /// `None` before [`Frame::Complete`]: the stream broke off.
    pub async fn next(&mut self) -> Option<Frame> {
        self.0.recv().await
    }
}

impl From<mpsc::Receiver<Frame>> for Frames {
    fn from(frames: mpsc::Receiver<Frame>) -> Self {
        Self(frames)
    }
}

/// Why a stream does not go on.
#[derive(Debug, Clone)]
pub enum Halt {
    /// Not now, but in so many seconds.
    Wait(u64),
    /// The caller is nobody any more who may ask.
    Refused(RequestError),
    /// Other files are in force than those it began with.
    Changed,
    /// The gateway stops.
    Stopping,
}

/// Whoever admitted a stream says whether it may go on.
pub trait Standing: Send + Sync + 'static {
    /// Looked at before every turn but the first.
    fn look(&self) -> impl Future<Output = Result<(), Halt>> + Send;

    /// Ends when the stream is to end at once.
    fn stopping(&self) -> impl Future<Output = ()> + Send;
}

/// How a turn came out.
enum Turned {
    /// Whoever took the frames is gone.
    Gone,
    Answered(Answer),
    Halted(Halt),
}

impl Gateway {
    /// Streams a subscription. `held` is dropped when nothing is worked on for it any more. When the frames are dropped, what
    /// is under way is let go.
    pub fn stream_holding(
        &self,
        identity: Identity,
        request: GraphqlRequest,
        request_id: String,
        parent: Option<Parent>,
        standing: impl Standing,
        held: impl Clone + Send + 'static,
    ) -> Frames {
        let (sender, frames) = mpsc::channel(1);
        let stream = Arc::new(Streaming::new(&self.inner.snapshot.config));
        let run = Run { gateway: self.clone(), identity, request, request_id, parent, stream, sender };
        tokio::spawn(async move { run.all(&standing, held).await });
        Frames(frames)
    }
}

/// A stream on its way.
struct Run {
    gateway: Gateway,
    identity: Identity,
    request: GraphqlRequest,
    request_id: String,
    parent: Option<Parent>,
    stream: Arc<Streaming>,
    sender: mpsc::Sender<Frame>,
}

impl Run {
    async fn all(self, standing: &impl Standing, held: impl Clone + Send + 'static) {
        let mut turn = 0_u64;
        loop {
            let answer = match self.turn(turn, standing, held.clone()).await {
                Turned::Gone => return self.gone().await,
                Turned::Halted(halt) => return self.halt(halt, standing).await,
                Turned::Answered(answer) => answer,
            };
            let code = match answer.status {
                Outcome::Ok => None,
                // What a minute allows is waited for, as far as there is time; a first turn is told what a query would be.
                Outcome::TryLater { retry_after_s } if turn > 0 => match self.wait(retry_after_s, standing).await {
                    Some(Turned::Halted(halt)) => return self.halt(halt, standing).await,
                    Some(_) => return self.gone().await,
                    None => {
                        turn += 1;
                        continue;
                    }
                },
                Outcome::TryLater { .. } => Some(ErrorCode::Overloaded),
                Outcome::RequestError(code) => Some(code),
            };
            let Some(code) = code else {
                let Some(so_far) = self.stream.sent() else {
                    // Cannot happen: what is streamed is a scan. The stream breaks off.
                    tracing::error!(request = self.request_id, "a turn of a stream was answered without a frame");
                    return;
                };
                if !self.hand(Frame::Next(answer.body), standing).await {
                    return self.gone().await;
                }
                if let Some(ended) = so_far.ended {
                    return self.complete(ended.as_str(), standing).await;
                }
                turn += 1;
                continue;
            };
            // The first turn is refused as a query would be; a later one says where the stream can be gone on with.
            let frame = if turn == 0 {
                Frame::Refused(answer.body)
            } else {
                if !self.end(code.as_str()).await {
                    return;
                }
                Frame::Next(self.closed(self.errors_of(&answer.body), None))
            };
            if self.hand(frame, standing).await {
                self.hand(Frame::Complete, standing).await;
            }
            return;
        }
    }

    /// One turn: what a query for the next page is.
    async fn turn(&self, turn: u64, standing: &impl Standing, held: impl Clone + Send + 'static) -> Turned {
        if turn > 0 {
            loop {
                match standing.look().await {
                    Ok(()) => break,
                    Err(Halt::Wait(seconds)) => {
                        if let Some(turned) = self.wait(seconds, standing).await {
                            return turned;
                        }
                    }
                    Err(halt) => return Turned::Halted(halt),
                }
            }
        }
        let id = if turn == 0 { self.request_id.clone() } else { format!("{}-{turn}", self.request_id) };
        let asked = (self.identity.clone(), self.request.clone(), id);
        let answered = self.gateway.flow(asked, self.parent, Some(Arc::clone(&self.stream)), held);
        tokio::select! {
            biased;
            () = self.sender.closed() => Turned::Gone,
            () = standing.stopping() => Turned::Halted(Halt::Stopping),
            answer = answered => Turned::Answered(answer),
        }
    }

    /// Waits before the next turn; `None`: it may begin.
    async fn wait(&self, seconds: u64, standing: &impl Standing) -> Option<Turned> {
        let Some(left) = self.stream.left() else { return Some(Turned::Halted(Halt::Wait(seconds))) };
        tokio::select! {
            biased;
            () = self.sender.closed() => Some(Turned::Gone),
            () = standing.stopping() => Some(Turned::Halted(Halt::Stopping)),
            () = tokio::time::sleep(Duration::from_secs(seconds).min(left)) => None,
        }
    }

    /// Ends it from outside: the last frame says where it can be gone on with.
    async fn halt(&self, halt: Halt, standing: &impl Standing) {
        let (why, errors) = match halt {
            Halt::Wait(_) => ("TIME", Vec::new()),
            Halt::Refused(error) => {
                (error.code.as_str(), self.errors_of(&Answer::refused(&error, &self.request_id).body))
            }
            Halt::Changed => ("CHANGED", Vec::new()),
            Halt::Stopping => ("STOPPING", Vec::new()),
        };
        let told = match why {
            "TIME" => Some("as long as a stream may run"),
            "CHANGED" => Some("what is in force here has changed"),
            "STOPPING" => Some("the gateway stops"),
            _ => None,
        };
        // It shows nothing; where not even that it ended can be recorded, nothing is said at all.
        if !self.end(why).await {
            return;
        }
        if self.hand(Frame::Next(self.closed(errors, told)), standing).await {
            self.hand(Frame::Complete, standing).await;
        }
    }

    async fn complete(&self, why: &str, standing: &impl Standing) {
        self.end(why).await;
        self.hand(Frame::Complete, standing).await;
    }

    /// Hands a frame over, as long as the stream may run; false: nobody takes it. Who reads slowly holds a place among scans for
    /// no longer than that, and for a moment once the gateway stops.
    async fn hand(&self, frame: Frame, standing: &impl Standing) -> bool {
        let stopped = async {
            standing.stopping().await;
            tokio::time::sleep(STOP_TAKES).await;
        };
        tokio::select! {
            biased;
            sent = self.sender.send(frame) => sent.is_ok(),
            () = self.stream.over() => false,
            () = stopped => false,
        }
    }

    async fn gone(&self) {
        self.end("CANCELLED").await;
    }

    /// Records how it ended; false where that cannot be.
    async fn end(&self, why: &str) -> bool {
        let record = AuditRecord::new(&self.request_id, &self.identity);
        let ended = self.stream.end(record, why).await;
        if let Err(error) = &ended {
            tracing::error!(request = self.request_id, %error, "how a stream ended could not be recorded");
        }
        ended.is_ok()
    }

    /// The errors in a refusal.
    fn errors_of(&self, body: &[u8]) -> Vec<Value> {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        body.and_then(|mut body| Some(body.get_mut("errors")?.as_array_mut()?.drain(..).collect())).unwrap_or_default()
    }

    /// A last frame without anything that was found.
    fn closed(&self, errors: Vec<Value>, stopped: Option<&str>) -> Bytes {
        let mut body = json!({});
        if let Some((key, data)) = self.stream.closing() {
            body = json!({ "data": { key: data } });
        }
        if let Value::Object(body) = &mut body {
            let mut errors = errors;
            if !body.contains_key("data") && errors.is_empty() {
                // A response without data says why.
                let message =
                    format!("the stream was stopped before anything was looked at: {}", stopped.unwrap_or_default());
                errors.push(json!({ "message": message, "extensions": { "code": ErrorCode::Overloaded } }));
            }
            if !errors.is_empty() {
                body.insert("errors".to_owned(), Value::Array(errors));
            }
            let mut extensions = json!({ "requestId": self.request_id });
            if let (Value::Object(extensions), Some(stopped)) = (&mut extensions, stopped) {
                extensions.insert("stopped".to_owned(), json!(stopped));
            }
            body.insert("extensions".to_owned(), extensions);
        }
        Bytes::from(body.to_string())
    }
}
