//! Connections of HTTP/1.1 to one host, kept for the next request while nobody uses them.
//!
//! hyper-util's own client has a pool too. It looks its hosts up by name for each request and starts a task for each answer: a
//! quarter of what a call costs here, where hosts are known when files are loaded.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_service::Service as _;

use super::Unanswered;
use super::resolve::Bounded;

pub(super) type Connecting = HttpsConnector<HttpConnector<Bounded>>;
type Sender = SendRequest<Full<Bytes>>;
type Answered = Result<(Response<Incoming>, Lent), Unanswered>;

/// One host's connections: as many as are asked for at once, which guards in front of the sources bound.
#[derive(Debug)]
pub(super) struct Pool {
    /// The host alone, as it is connected to.
    origin: Uri,
    connecting: Connecting,
    /// One that nobody has used for so long is not used again; it is let go of before it is twice as long.
    idle_max: Duration,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The one that was used last at the end.
    connections: Vec<(Sender, Instant)>,
    /// Looks after those that nobody uses.
    sweeping: Option<JoinHandle<()>>,
}

/// A connection that is given back once the answer over it has been read, or is not wanted.
#[derive(Debug)]
pub(super) struct Lent {
    pool: Arc<Pool>,
    sender: Option<Sender>,
}

impl Pool {
    pub fn new(origin: Uri, connecting: Connecting, idle_max: Duration) -> Self {
        Self { origin, connecting, idle_max, idle: Mutex::default() }
    }

    /// The head of the answer, and what it came over; over a kept connection the request goes out at the call. A kept connection that turns out to be closed before anything was sent
    /// over it is replaced; a request that may have been read is sent once.
    pub fn send(self: &Arc<Self>, request: Request<Full<Bytes>>) -> impl Future<Output = Answered> + Send + use<> {
        let pool = Arc::clone(self);
        let began = match self.take() {
            Some(mut sender) => {
                let sent = sender.try_send_request(request);
                Ok((sender, sent))
            }
            None => Err(Box::pin(Self::send_anew(Arc::clone(self), request))),
        };
        async move {
            let (sender, sent) = match began {
                Ok(began) => began,
                Err(anew) => return anew.await,
            };
            match sent.await {
                Ok(response) => Ok((response, Lent::of(pool, sender))),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => Box::pin(Self::send_anew(pool, unsent)).await,
                    None => Err(Unanswered::Failed(Box::new(failed.into_error()))),
                },
            }
        }
    }

    /// Over the next of the kept connections that is still good, or a new one.
    async fn send_anew(pool: Arc<Self>, request: Request<Full<Bytes>>) -> Answered {
        let mut request = request;
        while let Some(mut sender) = pool.take() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lent::of(pool, sender))),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Unanswered::Failed(Box::new(failed.into_error()))),
                },
            }
        }
        let mut sender = pool.connect().await.map_err(Unanswered::Unconnected)?;
        let answered = sender.send_request(request).await;
        answered.map(|response| (response, Lent::of(pool, sender))).map_err(|error| Unanswered::Failed(Box::new(error)))
    }

    async fn connect(&self) -> Result<Sender, Box<dyn Error + Send + Sync>> {
        let mut connecting = self.connecting.clone();
        std::future::poll_fn(|context| connecting.poll_ready(context)).await?;
        let stream = connecting.call(self.origin.clone()).await?;
        let (sender, connection) = handshake(stream).await?;
        // Whoever waits for an answer over it hears of its end.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    /// The one that was used last, of those that can take a request now. Others may never again: a system that answered
    /// before it had read all of a request need not go on reading.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.lock();
        while idle.connections.pop_if(|(sender, _)| sender.is_closed()).is_some() {}
        let is_good = |(sender, since): &(Sender, Instant)| sender.is_ready() && since.elapsed() < self.idle_max;
        let at = idle.connections.iter().rposition(is_good)?;
        Some(idle.connections.remove(at).0)
    }

    fn put(self: &Arc<Self>, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        idle.connections.push((sender, Instant::now()));
        // Without a runtime, the process is about to end.
        if idle.sweeping.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            idle.sweeping = Some(runtime.spawn(sweep(Arc::downgrade(self), self.idle_max)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Only ever changed whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what nobody uses, until there is nothing left.
async fn sweep(pool: Weak<Pool>, idle_max: Duration) {
    loop {
        sleep(idle_max).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.lock();
        idle.connections.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < idle_max);
        if idle.connections.is_empty() {
            *idle = Idle::default();
            return;
        }
    }
}

impl Lent {
    fn of(pool: Arc<Pool>, sender: Sender) -> Self {
        Self { pool, sender: Some(sender) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.put(sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::egress::{Answer, Client, Http};
    use crate::model::binding::connection::TlsFiles;

    /// How many connections were made to it, and how many have ended.
    #[derive(Default)]
    struct Counts {
        made: AtomicUsize,
        ended: AtomicUsize,
    }

    fn answer(mut stream: TcpStream, counts: &Counts) {
        let mut buffer = [0; 1024];
        let mut taken = String::new();
        loop {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => taken.push_str(&String::from_utf8_lossy(&buffer[..length])),
                _ => break,
            }
            if taken.starts_with("POST ") {
                stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").expect("an answer is taken");
                loop {
                    std::thread::park();
                }
            }
            if !taken.ends_with("\r\n\r\n") {
                continue;
            }
            if taken.starts_with("GET /silent") {
                taken.clear();
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("an answer is taken");
            if taken.starts_with("GET /close") {
                break;
            }
            taken.clear();
        }
        drop(stream);
        counts.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn served() -> (SocketAddr, Arc<Counts>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let of_server = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_server.made.fetch_add(1, Ordering::SeqCst);
                let counts = Arc::clone(&of_server);
                std::thread::spawn(move || answer(stream, &counts));
            }
        });
        (address, counts)
    }

    fn client(address: SocketAddr) -> Client {
        let http = Http::new(&TlsFiles::default(), &Arc::default()).expect("a client");
        http.to([format!("http://{address}").as_str()]).expect("an address")
    }

    async fn ask(client: &Client, address: SocketAddr, path: &str) -> Result<Answer, Unanswered> {
        let request = Request::get(format!("http://{address}{path}")).header("host", address.to_string());
        client.send(request.body(Bytes::new()).expect("a request")).await
    }

    async fn read(client: &Client, address: SocketAddr, path: &str) -> Bytes {
        let answer = ask(client, address, path).await.expect("an answer");
        answer.bytes(100).await.expect("it is read").1
    }

    async fn ended(counts: &Counts, wanted: usize) {
        while counts.ended.load(Ordering::SeqCst) < wanted {
            sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_one_that_the_other_side_closed_is_replaced_unseen() {
        let (address, counts) = served();
        let client = client(address);
        for _ in 0..3 {
            assert_eq!(read(&client, address, "/").await, "ok");
        }
        drop(ask(&client, address, "/unread").await.expect("an answer"));
        // What was not read is thrown away meanwhile.
        sleep(Duration::from_millis(20)).await;
        assert_eq!(read(&client, address, "/close").await, "ok");
        assert_eq!(counts.made.load(Ordering::SeqCst), 1, "one after the other, read or not");
        ended(&counts, 1).await;
        assert_eq!(read(&client, address, "/").await, "ok");
        assert_eq!(counts.made.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_is_asked_at_once_has_connections_of_its_own_and_what_is_given_up_closes_its() {
        let (address, counts) = served();
        let client = client(address);
        let given_up = tokio::time::timeout(Duration::from_millis(50), ask(&client, address, "/silent")).await;
        assert!(given_up.is_err(), "nobody answers");
        ended(&counts, 1).await;
        let (one, other) = tokio::join!(read(&client, address, "/"), read(&client, address, "/"));
        assert_eq!((one, other), ("ok".into(), "ok".into()));
        assert_eq!(counts.made.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_connection_over_which_a_request_is_stuck_holds_up_nobody_else() {
        let (address, counts) = served();
        let client = client(address);
        for read_to_its_end in [true, false] {
            let body = Bytes::from(vec![b' '; 16 << 20]);
            let request = Request::post(format!("http://{address}/")).header("host", address.to_string()).body(body);
            let answer = client.send(request.expect("a request")).await.expect("an answer");
            assert_eq!(answer.status(), 413);
            if read_to_its_end {
                answer.bytes(100).await.expect("it is empty");
            }
            let next = tokio::time::timeout(Duration::from_secs(10), read(&client, address, "/close")).await;
            assert_eq!(next.expect("at once"), "ok");
        }
        assert_eq!(counts.made.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_let_go_of() {
        let (address, counts) = served();
        let http = Http::new(&TlsFiles::default(), &Arc::default()).expect("a client");
        let origin = format!("http://{address}/").parse().expect("an address");
        let pool = Arc::new(Pool::new(origin, http.connecting.clone(), Duration::from_millis(20)));
        for made in 1..=2 {
            let request = Request::get("/").body(Full::default()).expect("a request");
            let (response, lent) = pool.send(request).await.expect("an answer");
            Answer::new(response, lent).bytes(100).await.expect("it is read");
            assert_eq!(counts.made.load(Ordering::SeqCst), made);
            ended(&counts, made).await;
        }
    }
}
