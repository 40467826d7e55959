//! A proxy that does what departments, networks and firewalls do to answers, and departments of every protocol behind it.

pub mod department;
pub mod door;
pub mod sql;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use department::Speaks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Stands in every text that a department at fault sends; it may be nowhere else.
pub const CANARY: &str = "canary-7f3a";
/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(100);
/// At most between two pieces of an answer that comes unevenly.
const JITTER_MS: u64 = 60;
/// How much of an answer comes before what cuts it.
const PART: usize = 20;

/// What happens to answers on their way.
#[derive(Clone, Copy)]
pub enum Wire {
    /// Nothing.
    Whole,
    /// They come late and in pieces, within the deadline.
    Jitter,
    /// They never come, and neither does the end of the connection.
    Lost,
    /// Nothing listens.
    Refused,
    /// The connection is reset in place of an answer.
    Reset,
    /// It is reset within one.
    ResetWithin,
    /// The other side ends what it sends, and goes on reading.
    HalfClosed,
    /// The connection ends within the body; its length was told.
    Short,
    /// It ends within a body in chunks.
    ChunksWithoutEnd,
    EndlessBody,
    EndlessHead,
    /// A byte at a time.
    Drip,
    /// The head at once, the body later than [`door::FIRST_BYTE_MS`].
    Halting,
    /// These bytes in place of an answer.
    Raw(fn() -> Vec<u8>),
    /// Another answer: its status, headers, and body.
    Says(&'static str, &'static [&'static str], fn(Speaks) -> Vec<u8>),
}

/// In front of one department.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<AbortHandle>>,
}

struct Shared {
    to: SocketAddr,
    speaks: Speaks,
    wire: Mutex<Wire>,
    /// Changes when all connections are to end.
    ended: watch::Sender<()>,
    /// Stands for `{elsewhere}` in headers.
    elsewhere: String,
}

impl Proxy {
    pub async fn start(to: SocketAddr, speaks: Speaks, elsewhere: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            to,
            speaks,
            wire: Mutex::new(Wire::Whole),
            ended: watch::Sender::new(()),
            elsewhere: elsewhere.to_owned(),
        };
        let proxy = Self { address, shared: Arc::new(shared), listening: Mutex::default() };
        proxy.listen(listener);
        proxy
    }

    fn listen(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut ended = shared.ended.subscribe();
                    tokio::select! {
                        () = connection(socket, &shared) => {}
                        _ = ended.changed() => {}
                    }
                });
            }
        });
        *self.listening.lock().unwrap() = Some(task.abort_handle());
    }

    pub async fn set(&self, wire: Wire) {
        let before = std::mem::replace(&mut *self.shared.wire.lock().unwrap(), wire);
        let refused = |wire| matches!(wire, Wire::Refused);
        if refused(wire)
            && let Some(listening) = self.listening.lock().unwrap().take()
        {
            listening.abort();
            self.shared.ended.send_replace(());
        }
        while refused(wire) && TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        if refused(before) && !refused(wire) {
            self.listen(TcpListener::bind(self.address).await.unwrap());
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.lock().unwrap().iter().for_each(AbortHandle::abort);
        self.shared.ended.send_replace(());
    }
}

async fn connection(mut socket: TcpStream, shared: &Shared) {
    if shared.speaks == Speaks::Postgres {
        return database(socket, shared).await;
    }
    while let Some(request) = request(&mut socket).await {
        if exchange(&mut socket, &request, shared).await.is_none() {
            return;
        }
    }
}

/// Head and body of the next request.
async fn request(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                return Some(bytes);
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// What the department itself answers: its head, without the connection's own headers, and its body.
async fn forwarded(request: &[u8], shared: &Shared) -> (String, Vec<u8>) {
    let line = request.windows(2).position(|window| window == b"\r\n").unwrap() + 2;
    let request = [&request[..line], b"connection: close\r\n", &request[line..]].concat();
    let mut upstream = TcpStream::connect(shared.to).await.expect("the department listens");
    upstream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(end);
    let head = String::from_utf8(answer).unwrap();
    let kept: Vec<&str> = head.lines().filter(|line| !line.is_empty() && !line.starts_with("connection")).collect();
    (kept.join("\r\n") + "\r\n", body)
}

/// One answer; none where the connection ends with it.
async fn exchange(socket: &mut TcpStream, request: &[u8], shared: &Shared) -> Option<()> {
    let wire = *shared.wire.lock().unwrap();
    let ill = format!("server: {CANARY}\r\nx-told: {CANARY}\r\n");
    let kind = shared.speaks.content_type();
    let chunked = format!("HTTP/1.1 200 {CANARY}\r\n{ill}content-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    match wire {
        Wire::Whole => {
            let (head, body) = forwarded(request, shared).await;
            return socket.write_all(&[head.as_bytes(), b"\r\n", &body].concat()).await.ok();
        }
        Wire::Jitter => {
            let (head, body) = forwarded(request, shared).await;
            let answer = [head.as_bytes(), b"\r\n", &body].concat();
            for (at, piece) in answer.chunks(answer.len().div_ceil(5)).enumerate() {
                tokio::time::sleep(jitter(at)).await;
                socket.write_all(piece).await.ok()?;
            }
            return Some(());
        }
        Wire::Lost => read_on(socket).await,
        Wire::Refused => {}
        Wire::Reset => socket.set_zero_linger().unwrap(),
        Wire::ResetWithin => {
            let (head, body) = forwarded(request, shared).await;
            socket.write_all(&[head.as_bytes(), ill.as_bytes(), b"\r\n", &body[..PART]].concat()).await.ok()?;
            // So that what was sent is read before the reset is.
            tokio::time::sleep(DRIP).await;
            socket.set_zero_linger().unwrap();
        }
        Wire::HalfClosed => {
            socket.shutdown().await.ok()?;
            read_on(socket).await;
        }
        Wire::Short => {
            let (head, body) = forwarded(request, shared).await;
            socket.write_all(&[head.as_bytes(), ill.as_bytes(), b"\r\n", &body[..PART]].concat()).await.ok()?;
        }
        Wire::ChunksWithoutEnd => {
            let (_, body) = forwarded(request, shared).await;
            let chunk = format!("{:x}\r\n{}\r\n", body.len(), String::from_utf8_lossy(&body));
            socket.write_all((chunked + &chunk).as_bytes()).await.ok()?;
        }
        Wire::EndlessBody => {
            socket.write_all(chunked.as_bytes()).await.ok()?;
            let chunk = format!("{:x}\r\n{CANARY}\r\n", CANARY.len()).repeat(100);
            while socket.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        Wire::EndlessHead => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
            while socket.write_all(ill.repeat(20).as_bytes()).await.is_ok() {}
        }
        Wire::Drip => {
            let (head, body) = forwarded(request, shared).await;
            socket.write_all(&[head.as_bytes(), ill.as_bytes(), b"\r\n"].concat()).await.ok()?;
            for byte in body.chunks(1) {
                tokio::time::sleep(DRIP).await;
                socket.write_all(byte).await.ok()?;
            }
        }
        Wire::Halting => {
            let (head, body) = forwarded(request, shared).await;
            socket.write_all(&[head.as_bytes(), b"\r\n"].concat()).await.ok()?;
            tokio::time::sleep(Duration::from_millis(door::FIRST_BYTE_MS + 100)).await;
            return socket.write_all(&body).await.ok();
        }
        Wire::Raw(bytes) => socket.write_all(&bytes()).await.ok()?,
        Wire::Says(status, headers, body) => {
            let body = body(shared.speaks);
            let typed = headers.iter().any(|header| header.starts_with("content-type"));
            let kind = if typed { String::new() } else { format!("content-type: {kind}\r\n") };
            let headers: String = headers
                .iter()
                .map(|header| format!("{}\r\n", header.replace("{elsewhere}", &shared.elsewhere)))
                .collect();
            let head = format!("HTTP/1.1 {status}\r\n{ill}{kind}{headers}content-length: {}\r\n\r\n", body.len());
            return socket.write_all(&[head.as_bytes(), &body].concat()).await.ok();
        }
    }
    None
}

async fn read_on(socket: &mut TcpStream) {
    let mut rest = [0; 1_024];
    while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

fn jitter(at: usize) -> Duration {
    Duration::from_millis(u64::try_from(at * 37).unwrap() % JITTER_MS)
}

/// Of a database's protocol nothing is known but that bytes go both ways.
async fn database(mut socket: TcpStream, shared: &Shared) {
    let mut upstream = TcpStream::connect(shared.to).await.expect("the database listens");
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    loop {
        asked.clear();
        told.clear();
        tokio::select! {
            read = socket.read_buf(&mut asked) => match read {
                Ok(read) if read > 0 => upstream.write_all(&asked).await.unwrap(),
                _ => return,
            },
            read = upstream.read_buf(&mut told) => match read {
                Ok(read) if read > 0 => {}
                _ => return,
            },
        }
        if told.is_empty() {
            continue;
        }
        let wire = *shared.wire.lock().unwrap();
        let sent = match wire {
            // What is said over HTTP is another fault here.
            Wire::Whole | Wire::Halting | Wire::Says(..) => socket.write_all(&told).await,
            Wire::Jitter => {
                tokio::time::sleep(Duration::from_millis(JITTER_MS)).await;
                socket.write_all(&told).await
            }
            // As a firewall does that has forgotten the connection: for good.
            Wire::Lost => return read_on(&mut socket).await,
            Wire::Reset => return socket.set_zero_linger().unwrap(),
            Wire::ResetWithin => {
                let _ = socket.write_all(&told[..told.len() / 2]).await;
                tokio::time::sleep(DRIP).await;
                return socket.set_zero_linger().unwrap();
            }
            Wire::HalfClosed => {
                let _ = socket.shutdown().await;
                return read_on(&mut socket).await;
            }
            Wire::Short => {
                let _ = socket.write_all(&told[..told.len() / 2]).await;
                return;
            }
            Wire::Drip => {
                for byte in told.chunks(1) {
                    tokio::time::sleep(DRIP).await;
                    if socket.write_all(byte).await.is_err() {
                        return;
                    }
                }
                Ok(())
            }
            Wire::Raw(bytes) => {
                let _ = socket.write_all(&bytes()).await;
                return read_on(&mut socket).await;
            }
            _ => panic!("databases have no such fault"),
        };
        if sent.is_err() {
            return;
        }
    }
}
