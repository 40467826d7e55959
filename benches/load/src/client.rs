//! The load: so many connections, each asking again as soon as it was answered (a closed loop).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub type Error = Box<dyn std::error::Error>;

/// What is asked: `@ID@` in the body becomes another household's id each time.
pub struct Question {
    pub body: String,
    /// Each request is made with the next one.
    pub tokens: Rc<Vec<String>>,
    pub connections: usize,
}

pub struct Load {
    pub answered: u64,
    pub failed: u64,
    pub took: Duration,
    /// Microseconds each, sorted.
    pub latencies: Vec<u32>,
}

impl Load {
    pub fn percentile(&self, part: f64) -> f64 {
        let at = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).map_or(0.0, |us| f64::from(*us) / 1000.0)
    }
}

/// The first of a dozen ports for this process, below those that the kernel gives to connections: nobody has taken one of
/// them by chance when it is wanted.
pub fn first_port() -> Result<u16, Error> {
    Ok(20_000 + u16::try_from(std::process::id() % 600)? * 20)
}

/// Whether somebody listens there. Where ports of connections begin lower than usual, who asks a port that nobody has may
/// be given that very port, and be connected to itself.
pub async fn listens(port: u16) -> bool {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    stream.is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok())
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(send)
}

fn request(port: u16, token: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
    Ok(Request::post("/graphql")
        .header("host", format!("127.0.0.1:{port}"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("authorization", token)
        .body(Full::new(body))?)
}

/// One answer, whole.
pub async fn ask(port: u16, token: &str, body: &str) -> Result<String, Error> {
    let mut send = connect(port).await?;
    let answer = send.send_request(request(port, token, Bytes::from(body.to_owned()))?).await?;
    let status = answer.status();
    let text = String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}").into()) }
}

/// So many requests over one connection, each after the answer to the one before it, from these callers in turn.
pub async fn one_by_one(port: u16, tokens: &[String], body: &str, times: usize) -> Result<(), Error> {
    let mut send = connect(port).await?;
    for (number, token) in tokens.iter().cycle().take(times).enumerate() {
        let body = body.replace("\"@ID@\"", &(number * 7_919 % 999_983 + 1).to_string());
        let answer = send.send_request(request(port, token, Bytes::from(body))?).await?;
        let status = answer.status();
        if !is_data(&answer.into_body().collect().await?.to_bytes()) {
            return Err(format!("an answer without data: {status}").into());
        }
        send.ready().await?;
    }
    Ok(())
}

/// A plain GET of the departments.
pub async fn get(port: u16, path: &str) -> Result<String, Error> {
    let mut send = connect(port).await?;
    let request = Request::get(path).header("host", "127.0.0.1").body(Full::default())?;
    let answer = send.send_request(request).await?;
    Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned())
}

/// No workload's data has a member `errors`.
fn is_data(body: &[u8]) -> bool {
    body.starts_with(b"{\"data\":{") && memchr::memmem::find(body, b"\"errors\":[").is_none()
}

/// Asks for so long.
pub async fn load(port: u16, question: &Question, lasts: Duration) -> Result<Load, Error> {
    let (latencies, failed, asked) =
        (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)), Rc::new(Cell::new(0usize)));
    let began = Instant::now();
    let until = began + lasts;
    let mut all = Vec::new();
    for _ in 0..question.connections {
        let mut send = connect(port).await?;
        let (latencies, failed, asked) = (latencies.clone(), failed.clone(), asked.clone());
        let (tokens, body) = (question.tokens.clone(), question.body.clone());
        all.push(tokio::task::spawn_local(async move {
            while Instant::now() < until {
                let number = asked.get();
                asked.set(number + 1);
                // Scattered over 999 983 households and all callers, the same every time.
                let id = (number * 7_919 + 1) % 999_983 + 1;
                let body = Bytes::from(body.replace("\"@ID@\"", &id.to_string()));
                let token = tokens.get(number % tokens.len().max(1)).map_or("", String::as_str);
                let Ok(request) = request(port, token, body) else { return };
                let sent = Instant::now();
                let answer = match send.send_request(request).await {
                    // What is not data, or has errors before or after it, is no answer; only both ends are looked at.
                    Ok(answer) if answer.status().is_success() => match answer.into_body().collect().await {
                        Ok(body) => is_data(&body.to_bytes()),
                        Err(_) => false,
                    },
                    Ok(answer) => {
                        let _ = answer.into_body().collect().await;
                        false
                    }
                    Err(_) => {
                        failed.set(failed.get() + 1);
                        return;
                    }
                };
                if answer {
                    latencies.borrow_mut().push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                } else {
                    failed.set(failed.get() + 1);
                }
            }
        }));
    }
    for each in all {
        each.await?;
    }
    let took = began.elapsed();
    let mut latencies = latencies.take();
    latencies.sort_unstable();
    Ok(Load { answered: latencies.len() as u64, failed: failed.get(), took, latencies })
}
