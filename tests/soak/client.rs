//! A client that does as any of HTTP/1.1: where a connection that was used before was closed before a byte of the answer came, it
//! asks once more, on a new one. The gateway closed it while it was idle, and the request crossed that (tests/serve/listen.rs
//! holds that it was not begun then). Libraries do that too, but tell nobody.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Idle connections are kept shorter than the gateway keeps them (`read_timeout_ms`), as any front should.
const IDLE_MAX: Duration = Duration::from_secs(4);
const ANSWER_MAX: Duration = Duration::from_secs(60);

pub struct Client {
    address: SocketAddr,
    /// The one used last is at the end.
    idle: Mutex<Vec<Kept>>,
    again: AtomicUsize,
}

struct Kept {
    sender: SendRequest<Full<Bytes>>,
    received: Arc<AtomicUsize>,
    since: Instant,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default(), again: AtomicUsize::new(0) }
    }

    /// Requests that were sent once more.
    pub fn again(&self) -> usize {
        self.again.load(Ordering::SeqCst)
    }

    /// Status and body; the error says how much of the answer came.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String> {
        let first = match self.kept() {
            Some(kept) => {
                let (received, before) = (Arc::clone(&kept.received), kept.received.load(Ordering::SeqCst));
                match timeout(ANSWER_MAX, self.asked(kept, request.clone())).await {
                    Ok(Err(_)) if received.load(Ordering::SeqCst) == before => {
                        self.again.fetch_add(1, Ordering::SeqCst);
                        None
                    }
                    ended => Some((ended, received.load(Ordering::SeqCst) - before)),
                }
            }
            None => None,
        };
        let (ended, received) = match first {
            Some(ended) => ended,
            None => {
                let fresh = self.connect().await.map_err(|error| format!("no connection: {error}"))?;
                let received = Arc::clone(&fresh.received);
                let ended = timeout(ANSWER_MAX, self.asked(fresh, request)).await;
                (ended, received.load(Ordering::SeqCst))
            }
        };
        match ended {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!("{error:?}, after {received} bytes of the answer")),
            Err(_) => Err(format!("no end within {ANSWER_MAX:?}, after {received} bytes of the answer")),
        }
    }

    fn kept(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().expect("nobody panicked with it");
        idle.retain(|kept| kept.since.elapsed() < IDLE_MAX && !kept.sender.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> Result<Kept, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let received = Arc::new(AtomicUsize::new(0));
        let stream = TokioIo::new(Counted { stream, received: Arc::clone(&received) });
        let (sender, connection) = handshake(stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Kept { sender, received, since: Instant::now() })
    }

    async fn asked(&self, mut kept: Kept, request: Request<Full<Bytes>>) -> hyper::Result<(u16, Bytes)> {
        let answer = kept.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        if kept.sender.ready().await.is_ok() {
            kept.since = Instant::now();
            self.idle.lock().expect("nobody panicked with it").push(kept);
        }
        Ok((status, body))
    }
}

/// Counts what comes.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received.fetch_add(buffer.filled().len() - before, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
