//! An open socket, from its upgrade to its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::ask::declared;
use super::super::door::{self, Refusal};
use super::super::refusals::Refused;
use super::super::stream::Stopping;
use super::super::unsent::Cut;
use super::super::{App, Gateway, GraphqlRequest};
use super::OF_CALLER;
use super::close::Close;
use super::fee::Fee;
use super::message::{Incoming, Outgoing, Voice, with_payload};
use super::operation::{Ended, Operation, Operations};
use super::places::Place;
use super::under_way::{UnderWay, Watched};
use crate::base::code::ErrorCode;
use crate::identify::Identity;
use crate::identify::rate::Payer;
use crate::model::config::sockets::Sockets as Bounds;

/// Messages that wait for a client; whoever has a further one waits with it.
const QUEUE_MAX: usize = 2;
/// Read at once: what clients send is small.
const READ_BYTES: usize = 4 << 10;
/// More than a piece of a message, and what the protocol itself has to say.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Pings that a client may leave unanswered.
const UNHEARD_MAX: usize = 3;
/// Messages within `ping_ms` that ask for nothing: pings, pongs, what is stopped, what is refused.
const ASIDES_MAX: u32 = 120;
/// How long the other end may take to close the connection, and what it may still send.
const CLOSE_TAKES: Duration = Duration::from_secs(2);
const CLOSE_BYTES_MAX: u64 = 4 << 20;

type Connection = Watched<TokioIo<Upgraded>>;
type Socket = WebSocketStream<Connection>;

/// A socket whose upgrade is answered.
pub struct Opened<G> {
    pub app: Arc<App<G>>,
    /// Of the upgrade; operations are numbered after it.
    pub id: Arc<str>,
    pub parts: Arc<Parts>,
    pub address: IpAddr,
    pub fee: Fee<G>,
    pub place: Place,
}

impl<G: Gateway> Opened<G> {
    /// Until the connection has ended: so long it holds its place.
    pub async fn run(mut self, upgrade: OnUpgrade) {
        let Ok(upgraded) = upgrade.await else { return };
        let (app, id) = (Arc::clone(&self.app), Arc::clone(&self.id));
        let bytes_max = app.limits.body_bytes_max;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        let (connection, under_way) = Watched::new(TokioIo::new(upgraded));
        let socket = Socket::from_raw_socket(connection, Role::Server, Some(config)).await;
        let (mut sink, mut stream) = socket.split();
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        let unheard = Arc::new(AtomicUsize::new(0));
        let cut = self.parts.extensions.get::<Cut>().cloned().unwrap_or_default();
        let voice = Voice { queue, unsent: Arc::clone(&app.unsent), cut, unheard: Arc::clone(&unheard) };
        let close = {
            let mut writing = pin!(write(&mut sink, outgoing, &unheard));
            let talk = Session::new(&mut self, voice, under_way).talk(&mut stream);
            let close = tokio::select! {
                _ = &mut writing => Close::GONE,
                close = talk => close,
            };
            // What was said before is sent before the end, to who takes it.
            let takes = Duration::from_millis(app.limits.read_timeout_ms);
            let sent = close.code.is_none() || matches!(timeout(takes, writing).await, Ok(Ok(())));
            if sent { close } else { Close::GONE }
        };
        drop(self.fee);
        tracing::debug!(request_id = %id, code = close.code, reason = close.reason, "a WebSocket is closed");
        app.sockets.closed(close.code);
        // Without a code, what it answers to the client's own close.
        let last = async {
            match close.frame() {
                Some(frame) => sink.send(Message::Close(Some(frame))).await,
                None => sink.flush().await,
            }
        };
        let _ = timeout(CLOSE_TAKES, last).await;
        if let Ok(socket) = sink.reunite(stream) {
            linger(socket.into_inner()).await;
        }
    }
}

/// Sends what waits, in its order.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    unheard: &AtomicUsize,
) -> Result<(), Error> {
    while let Some(next) = outgoing.recv().await {
        match next {
            Outgoing::Ping => {
                sink.send(Message::Ping(Bytes::new())).await?;
                unheard.fetch_add(1, Ordering::Relaxed);
            }
            Outgoing::Text(pieces) => {
                let last = pieces.len().saturating_sub(1);
                for (at, piece) in pieces.into_iter().enumerate() {
                    let kind = if at == 0 { Data::Text } else { Data::Continue };
                    sink.send(Message::Frame(Frame::message(piece, OpCode::Data(kind), at == last))).await?;
                }
            }
        }
    }
    Ok(())
}

/// Ends the connection so that what was sent last arrives: who closes on what still comes in takes it back.
async fn linger(mut connection: Connection) {
    let ending = async {
        let _ = connection.shutdown().await;
        let mut rest = connection.take(CLOSE_BYTES_MAX);
        let mut passed_over = [0; 1 << 10];
        while matches!(rest.read(&mut passed_over).await, Ok(bytes) if bytes > 0) {}
    };
    let _ = timeout(CLOSE_TAKES, ending).await;
}

/// Ends once it is said; where there is nothing to say, never.
async fn said(saying: &mut Option<BoxFuture<'static, ()>>) {
    match saying {
        Some(saying) => saying.await,
        None => std::future::pending().await,
    }
}

/// What one socket knows.
struct Session<'o, G> {
    opened: &'o mut Opened<G>,
    bounds: Bounds,
    voice: Voice,
    operations: Operations,
    /// Operations since it was opened.
    number: u64,
    is_begun: bool,
    /// Who asks, once it is begun.
    identity: Option<Identity>,
    /// What is being said beside what operations say. No message is taken meanwhile; all else goes on.
    saying: Option<BoxFuture<'static, ()>>,
    under_way: UnderWay,
    /// Since when messages are taken again, after what made them wait.
    reading: Instant,
    /// Messages that asked for nothing, since when.
    asides: u32,
    asides_since: Instant,
    began: Instant,
    pinged: Instant,
    /// Since when there was no operation.
    idle: Instant,
    /// It ends so, once no operation is under way; none begins any more.
    ending: Option<Close>,
}

enum Come {
    Message(Option<Result<Message, Error>>),
    TooSlow,
    Said,
    Ended(Ended),
    Time,
    Stop,
}

impl<'o, G: Gateway> Session<'o, G> {
    fn new(opened: &'o mut Opened<G>, voice: Voice, under_way: UnderWay) -> Self {
        let now = Instant::now();
        Self {
            bounds: opened.app.sockets.bounds,
            opened,
            voice,
            operations: Operations::default(),
            number: 0,
            is_begun: false,
            identity: None,
            saying: None,
            under_way,
            reading: now,
            asides: 0,
            asides_since: now,
            began: now,
            pinged: now,
            idle: now,
            ending: None,
        }
    }

    /// Hears and answers until it ends.
    async fn talk(mut self, stream: &mut SplitStream<Socket>) -> Close {
        let stopping = self.opened.parts.extensions.get::<Stopping>().cloned();
        let mut stop = pin!(Stopping::come(stopping.as_ref()));
        let mut is_stopping = false;
        loop {
            if self.operations.is_empty()
                && self.saying.is_none()
                && let Some(close) = self.ending.take()
            {
                return close;
            }
            let wake = self.wake();
            let listens = self.saying.is_none();
            let takes = Duration::from_millis(self.opened.app.limits.read_timeout_ms);
            let come = tokio::select! {
                message = stream.next(), if listens => Come::Message(message),
                () = self.under_way.too_long(takes, self.reading), if listens => Come::TooSlow,
                () = said(&mut self.saying) => Come::Said,
                ended = self.operations.ended() => Come::Ended(ended),
                () = sleep_until(wake) => Come::Time,
                () = &mut stop, if !is_stopping => Come::Stop,
            };
            let went_on = match come {
                Come::Message(message) => self.heard(message).await,
                Come::TooSlow => {
                    let reason = "a message came too slowly (`limits.read_timeout_ms`)";
                    Err(Close::policy(reason, StatusCode::REQUEST_TIMEOUT))
                }
                Come::Said => {
                    self.saying = None;
                    self.reading = Instant::now();
                    Ok(())
                }
                Come::Ended(ended) => self.ended(ended),
                Come::Time => self.time(),
                // Streams end by themselves, with what goes on from there.
                Come::Stop => {
                    is_stopping = true;
                    self.ending = Some(Close::going_away("the gateway stops; connect again"));
                    Ok(())
                }
            };
            if let Err(close) = went_on {
                self.note(&close);
                return close;
            }
        }
    }

    /// When there is something to look at, whatever comes.
    fn wake(&self) -> Instant {
        let mut wake = self.pinged + self.bounds.ping;
        if !self.is_begun {
            wake = wake.min(self.began + self.bounds.init_max);
        } else if self.operations.is_empty() {
            wake = wake.min(self.idle + self.bounds.idle_max);
        }
        if self.ending.is_none() {
            wake = wake.min(self.began + self.opened.app.sockets.life);
        }
        wake
    }

    fn time(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        if !self.is_begun && now >= self.began + self.bounds.init_max {
            return Err(Close::no_init());
        }
        if self.is_begun && self.operations.is_empty() && now >= self.idle + self.bounds.idle_max {
            return Err(Close::normal("nothing was asked for as long as a socket may be idle; connect again"));
        }
        if self.ending.is_none() && now >= self.began + self.opened.app.sockets.life {
            self.ending = Some(Close::going_away("open as long as a socket may be; connect again"));
        }
        if now >= self.pinged + self.bounds.ping {
            self.pinged = now;
            if self.voice.unheard.load(Ordering::Relaxed) >= UNHEARD_MAX {
                return Err(Close::GONE);
            }
            self.voice.ping();
        }
        Ok(())
    }

    /// Counts a message that asked for nothing: no rate bounds how many of them come.
    fn aside(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        if now >= self.asides_since + self.bounds.ping {
            (self.asides, self.asides_since) = (0, now);
        }
        self.asides += 1;
        if self.asides <= ASIDES_MAX {
            return Ok(());
        }
        let within = self.bounds.ping.as_millis();
        let reason =
            format!("more than {ASIDES_MAX} pings, pongs, `complete`s and refused operations within {within} ms");
        Err(Close::policy(reason, StatusCode::TOO_MANY_REQUESTS))
    }

    fn ended(&mut self, ended: Ended) -> Result<(), Close> {
        self.idle = Instant::now();
        if ended != Ended::Admitted {
            self.aside()?;
        }
        if ended == Ended::TokenRefused && self.ending.is_none() {
            self.ending = Some(Close::forbidden("Forbidden: the token counts no more; connect again with another"));
        }
        Ok(())
    }

    async fn heard(&mut self, message: Option<Result<Message, Error>>) -> Result<(), Close> {
        self.voice.unheard.store(0, Ordering::Relaxed);
        match message {
            None | Some(Ok(Message::Close(_))) => Err(Close::GONE),
            Some(Err(error)) => Err(Close::of_error(&error, self.opened.app.limits.body_bytes_max)),
            Some(Ok(Message::Binary(_))) => Err(Close::bad("messages are text")),
            // Pings are answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => self.aside(),
            Some(Ok(Message::Text(text))) => match Incoming::read(&text)? {
                Incoming::ConnectionInit(payload) => self.begin(payload).await,
                Incoming::Ping => {
                    self.voice.pong();
                    self.aside()
                }
                Incoming::Pong => self.aside(),
                Incoming::Complete { id } => {
                    if self.operations.stop(&id) {
                        self.idle = Instant::now();
                    }
                    self.aside()
                }
                Incoming::Subscribe { id, request } => self.subscribe(id, *request),
            },
        }
    }

    /// Who asks is known, and counted as with a request.
    async fn begin(&mut self, payload: Option<&RawValue>) -> Result<(), Close> {
        if std::mem::replace(&mut self.is_begun, true) {
            return Err(Close::second_init());
        }
        let app = Arc::clone(&self.opened.app);
        let headers = with_payload(&self.opened.parts.headers, payload, app.limits.head_bytes_max)?;
        let mut parts = Parts::clone(&self.opened.parts);
        parts.headers = headers;
        let of_refusal = |refusal: Refusal| Close::of_refusal(&refusal);
        let identity = door::identified(&app, &parts).await.map_err(|refusal| {
            // Of these, the door has charged who there was to charge.
            if matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) {
                self.opened.fee.paid();
            }
            of_refusal(refusal)
        })?;
        self.opened.fee.paid();
        // What is declared so holds for each operation: better said now.
        declared(&GraphqlRequest::default(), &parts).map_err(of_refusal)?;
        if !self.opened.place.is_of(Payer::of(&identity)) {
            return Err(Close::try_later(OF_CALLER));
        }
        self.opened.parts = Arc::new(parts);
        self.identity = Some(identity);
        let voice = self.voice.clone();
        self.saying = Some(Box::pin(async move { voice.acknowledge().await }));
        self.idle = Instant::now();
        Ok(())
    }

    fn subscribe(&mut self, id: String, request: GraphqlRequest) -> Result<(), Close> {
        let Some(identity) = &self.identity else { return Err(Close::too_early()) };
        if self.operations.has(&id) {
            return Err(Close::id_taken());
        }
        self.number += 1;
        let operation = Operation {
            app: Arc::clone(&self.opened.app),
            parts: Arc::clone(&self.opened.parts),
            address: self.opened.address,
            id: id.clone(),
            request_id: format!("{}-{}", self.opened.id, self.number),
            voice: self.voice.clone(),
        };
        let overloaded = |message| Refusal::with_code(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded, message);
        let refusal = if self.ending.is_some() {
            overloaded("this socket is about to be closed: connect again".to_owned())
        } else if self.operations.len() >= self.bounds.operations_max {
            let most = self.bounds.operations_max;
            let message =
                format!("{most} operations are under way on this socket, as many as may be: wait for one to end");
            // It was asked all the same, as what the door refuses to let wait.
            self.opened.app.requests.take(identity, 1).err().map_or_else(|| overloaded(message), Refusal::from)
        } else {
            self.operations.begin(id, Box::pin(operation.run(request)));
            return Ok(());
        };
        self.saying = Some(Box::pin(async move {
            operation.refuse(&refusal).await;
        }));
        self.aside()
    }

    /// Counts a socket that was refused as a refused request.
    fn note(&self, close: &Close) {
        if let Some(status) = close.status {
            let refused = Refused { reason: close.reason.clone() };
            self.opened.app.refusals.log(&self.opened.id, self.opened.address, status, &refused);
        }
    }
}
