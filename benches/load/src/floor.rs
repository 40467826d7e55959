//! The floors: what a program written by hand for exactly one query costs.
//!
//! The same calls to the departments as a gateway makes, at once, live for every request; no query is parsed, nothing is
//! checked, nothing is recorded; the picked values are copied as they stand in the answers. Nothing is kept between two
//! requests. Two HTTP clients: `hyper` (its connections in a small pool) and `reqwest` (what most would take).

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use crate::serve;
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use sonic_rs::LazyValue;
use tokio::net::TcpStream;

type Err = Box<dyn std::error::Error>;

// ------------------------------------------------------------------- clients

enum Client {
    Hyper(RefCell<Vec<SendRequest<Empty<Bytes>>>>),
    Reqwest(reqwest::Client),
}

struct Up {
    host: String,
    client: Client,
}

impl Up {
    async fn get(&self, path: &str) -> Result<Bytes, Err> {
        match &self.client {
            Client::Hyper(pool) => {
                let mut ready = None;
                while let Some(c) = { pool.borrow_mut().pop() } {
                    if c.is_ready() {
                        ready = Some(c);
                        break;
                    }
                }
                let mut c = match ready {
                    Some(c) => c,
                    None => {
                        let s = TcpStream::connect(&self.host).await?;
                        s.set_nodelay(true)?;
                        let (mut send, conn) = hyper::client::conn::http1::handshake(TokioIo::new(s)).await?;
                        tokio::task::spawn_local(async move {
                            let _ = conn.await;
                        });
                        send.ready().await?;
                        send
                    }
                };
                let req = Request::get(path).header("host", self.host.as_str()).body(Empty::new())?;
                let res = c.send_request(req).await?;
                let b = res.into_body().collect().await?.to_bytes();
                // back into the pool once the connection can take the next one
                let _ = c.ready().await;
                pool.borrow_mut().push(c);
                Ok(b)
            }
            Client::Reqwest(c) => {
                let b =
                    c.get(format!("http://{}{}", self.host, path)).send().await?.error_for_status()?.bytes().await?;
                Ok(b)
            }
        }
    }
}

// ----------------------------------------------------------------- scenarios

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow)]
    id: LazyValue<'a>,
    #[serde(rename = "userId")]
    user_id: u32,
    #[serde(borrow)]
    title: LazyValue<'a>,
}

#[derive(Deserialize)]
struct Title<'a> {
    #[serde(borrow)]
    title: LazyValue<'a>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    id: LazyValue<'a>,
    #[serde(borrow)]
    name: LazyValue<'a>,
    #[serde(borrow)]
    email: LazyValue<'a>,
}

#[derive(Deserialize)]
struct One<T> {
    code: i32,
    data: T,
}

#[derive(Deserialize)]
struct Dept<'a> {
    #[serde(rename = "householdId")]
    household: u32,
    #[serde(borrow)]
    status: LazyValue<'a>,
    #[serde(borrow)]
    amount: LazyValue<'a>,
    #[serde(borrow)]
    level: LazyValue<'a>,
    #[serde(borrow)]
    officer: LazyValue<'a>,
    #[serde(borrow, rename = "updatedAt")]
    updated_at: LazyValue<'a>,
}

#[derive(Deserialize)]
struct Household<'a> {
    id: u32,
    #[serde(borrow)]
    name: LazyValue<'a>,
}

fn put(out: &mut Vec<u8>, key: &str, v: &LazyValue) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(v.as_raw_str().as_bytes());
}

fn put_dept(out: &mut Vec<u8>, d: &Dept) {
    put(out, r#"{"status":"#, &d.status);
    put(out, r#","amount":"#, &d.amount);
    put(out, r#","level":"#, &d.level);
    put(out, r#","officer":"#, &d.officer);
    put(out, r#","updatedAt":"#, &d.updated_at);
    out.push(b'}');
}

fn put_int(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

async fn a1(up: &Up) -> Result<Vec<u8>, Err> {
    let posts_body = up.get("/posts").await?;
    let posts: Vec<Post> = sonic_rs::from_slice(&posts_body)?;
    let mut ids: Vec<u32> = posts.iter().map(|p| p.user_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let got = join_all(ids.iter().map(|id| async move { up.get(&format!("/users/{id}")).await })).await;
    let mut users: Vec<Vec<u8>> = Vec::with_capacity(ids.len());
    for b in got {
        let b = b?;
        let u: User = sonic_rs::from_slice(&b)?;
        let mut s = Vec::with_capacity(128);
        put(&mut s, r#"{"id":"#, &u.id);
        put(&mut s, r#","name":"#, &u.name);
        put(&mut s, r#","email":"#, &u.email);
        s.push(b'}');
        users.push(s);
    }
    let mut out = Vec::with_capacity(24 * 1024);
    out.extend_from_slice(br#"{"data":{"posts":["#);
    for (i, p) in posts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(&mut out, r#"{"id":"#, &p.id);
        out.extend_from_slice(br#","userId":"#);
        put_int(&mut out, p.user_id);
        put(&mut out, r#","title":"#, &p.title);
        out.extend_from_slice(br#","user":"#);
        let at = ids.binary_search(&p.user_id).unwrap();
        out.extend_from_slice(&users[at]);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
    Ok(out)
}

async fn a2(up: &Up) -> Result<Vec<u8>, Err> {
    let b = up.get("/posts").await?;
    let posts: Vec<Title> = sonic_rs::from_slice(&b)?;
    let mut out = Vec::with_capacity(8 * 1024);
    out.extend_from_slice(br#"{"data":{"posts":["#);
    for (i, p) in posts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(&mut out, r#"{"title":"#, &p.title);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
    Ok(out)
}

async fn b(up: &Up, body: &[u8]) -> Result<Vec<u8>, Err> {
    #[derive(Deserialize)]
    struct Vars {
        id: u32,
    }
    #[derive(Deserialize)]
    struct Req {
        variables: Vars,
    }
    let req: Req = sonic_rs::from_slice(body)?;
    let id = req.variables.id;
    let got = join_all((1..=12).map(|d| async move { up.get(&format!("/dept{d}/household/{id}")).await })).await;
    let mut out = Vec::with_capacity(4 * 1024);
    out.extend_from_slice(br#"{"data":{"household":{"id":"#);
    put_int(&mut out, id);
    for (i, b) in got.into_iter().enumerate() {
        let b = b?;
        let d: One<Dept> = sonic_rs::from_slice(&b)?;
        if d.code != 0 {
            return Err("department said no".into());
        }
        out.extend_from_slice(br#","dept"#);
        put_int(&mut out, i as u32 + 1);
        out.extend_from_slice(br#"":"#);
        put_dept(&mut out, &d.data);
    }
    out.extend_from_slice(b"}}}");
    Ok(out)
}

async fn c(up: &Up) -> Result<Vec<u8>, Err> {
    let list = up.get("/households").await?;
    let list: One<Vec<Household>> = sonic_rs::from_slice(&list)?;
    let mut q = String::with_capacity(1024);
    for h in &list.data {
        q.push(if q.is_empty() { '?' } else { '&' });
        q.push_str("id=");
        q.push_str(itoa::Buffer::new().format(h.id));
    }
    let q = &q;
    let got = join_all((1..=3).map(|d| async move { up.get(&format!("/dept{d}/households{q}")).await })).await;
    let mut bodies = Vec::with_capacity(3);
    for b in got {
        bodies.push(b?);
    }
    let mut depts: Vec<Vec<Dept>> = Vec::with_capacity(3);
    for b in &bodies {
        let mut v: Vec<Dept> = sonic_rs::from_slice::<One<Vec<Dept>>>(b)?.data;
        v.sort_by_key(|d| d.household);
        depts.push(v);
    }
    let mut out = Vec::with_capacity(64 * 1024);
    out.extend_from_slice(br#"{"data":{"households":["#);
    for (i, h) in list.data.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"id":"#);
        put_int(&mut out, h.id);
        put(&mut out, r#","name":"#, &h.name);
        for (d, recs) in depts.iter().enumerate() {
            out.extend_from_slice(br#","dept"#);
            put_int(&mut out, d as u32 + 1);
            out.extend_from_slice(br#"":"#);
            match recs.binary_search_by_key(&h.id, |r| r.household) {
                Ok(at) => put_dept(&mut out, &recs[at]),
                Err(_) => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
    Ok(out)
}

// -------------------------------------------------------------------- server

async fn answer(up: Rc<Up>, scenario: Rc<str>, req: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match req.into_body().collect().await {
        Ok(b) => b.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let out = match &*scenario {
        "a1" => a1(&up).await,
        "a2" => a2(&up).await,
        "a3" => Ok(br#"{"data":{"greet":"Hello World!"}}"#.to_vec()),
        "b" => b(&up, &body).await,
        "c" => c(&up).await,
        _ => Err("unknown scenario".into()),
    };
    let out = out.unwrap_or_else(|e| {
        format!(r#"{{"errors":[{{"message":"{}"}}],"data":null}}"#, e.to_string().replace('"', "'")).into_bytes()
    });
    Ok(Response::builder().header("content-type", "application/json").body(Full::new(Bytes::from(out))).unwrap())
}

pub fn run(client: &str, workload: &str, port: u16, host: String) {
    let scenario: Rc<str> = workload.into();
    let client = match client {
        "hyper" => Client::Hyper(RefCell::new(Vec::new())),
        "reqwest" => {
            Client::Reqwest(reqwest::Client::builder().tcp_nodelay(true).pool_max_idle_per_host(4096).build().unwrap())
        }
        other => panic!("unknown client {other}"),
    };
    let up = Rc::new(Up { host, client });
    serve::serve(port, move |request| answer(up.clone(), scenario.clone(), request));
}
