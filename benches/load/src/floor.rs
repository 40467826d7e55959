//! The floors: what a program written by hand for exactly one query costs.
//!
//! The same calls to the departments as a gateway makes, at once, live for every request; no query is parsed, nothing is
//! checked, nothing is recorded; the picked values are copied as they stand in the answers. Nothing is kept between two
//! requests. Two HTTP clients: `hyper` (its connections in a small pool) and `reqwest` (what most would take).

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use crate::serve;
use crate::upstream::{BANKS, ITEMS, RECORD_DEPARTMENTS};
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
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
    Hyper(RefCell<Vec<SendRequest<Full<Bytes>>>>),
    Reqwest(reqwest::Client),
}

struct Up {
    host: String,
    client: Client,
}

impl Up {
    async fn get(&self, path: &str) -> Result<Bytes, Err> {
        self.ask(path, None).await
    }

    /// With a body (JSON), it is posted.
    async fn ask(&self, path: &str, body: Option<Bytes>) -> Result<Bytes, Err> {
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
                let req = match body {
                    None => Request::get(path).header("host", self.host.as_str()).body(Full::default())?,
                    Some(body) => Request::post(path)
                        .header("host", self.host.as_str())
                        .header("content-type", "application/json")
                        .body(Full::new(body))?,
                };
                let res = c.send_request(req).await?;
                let b = res.into_body().collect().await?.to_bytes();
                // back into the pool once the connection can take the next one
                let _ = c.ready().await;
                pool.borrow_mut().push(c);
                Ok(b)
            }
            Client::Reqwest(c) => {
                let address = format!("http://{}{}", self.host, path);
                let request = match body {
                    None => c.get(address),
                    Some(body) => c.post(address).header("content-type", "application/json").body(body),
                };
                Ok(request.send().await?.error_for_status()?.bytes().await?)
            }
        }
    }
}

// ----------------------------------------------------------------- workloads

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

async fn posts(up: &Up) -> Result<Vec<u8>, Err> {
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

/// The household that a request is about.
fn asked(body: &[u8]) -> Result<u32, Err> {
    #[derive(Deserialize)]
    struct Variables {
        id: u32,
    }
    #[derive(Deserialize)]
    struct Asked {
        variables: Variables,
    }
    Ok(sonic_rs::from_slice::<Asked>(body)?.variables.id)
}

async fn portrait(up: &Up, body: &[u8]) -> Result<Vec<u8>, Err> {
    let id = asked(body)?;
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

async fn list(up: &Up) -> Result<Vec<u8>, Err> {
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

/// What a department has of one household of a thousand.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "recordId")]
    household: u32,
    #[serde(borrow)]
    status: LazyValue<'a>,
    #[serde(borrow)]
    level: LazyValue<'a>,
    #[serde(borrow)]
    amount: LazyValue<'a>,
    #[serde(borrow)]
    valid: LazyValue<'a>,
    #[serde(borrow)]
    officer: LazyValue<'a>,
    #[serde(borrow, rename = "updatedAt")]
    updated_at: LazyValue<'a>,
    #[serde(borrow)]
    persons: LazyValue<'a>,
    #[serde(borrow, rename = "caseNumber")]
    case_number: LazyValue<'a>,
    #[serde(borrow)]
    share: LazyValue<'a>,
    #[serde(borrow)]
    phone: LazyValue<'a>,
    #[serde(borrow)]
    remark: LazyValue<'a>,
}

impl<'a> Record<'a> {
    /// The values that items are made of, in the order of [`item`].
    fn value(&self, at: usize) -> &LazyValue<'a> {
        match at {
            0 => &self.status,
            1 => &self.level,
            2 => &self.amount,
            3 => &self.valid,
            4 => &self.officer,
            5 => &self.updated_at,
            6 => &self.persons,
            7 => &self.case_number,
            8 => &self.share,
            9 => &self.phone,
            _ => &self.remark,
        }
    }
}

async fn wide(up: &Up) -> Result<Vec<u8>, Err> {
    #[derive(Deserialize)]
    struct Id {
        id: u32,
    }
    let list = up.get("/records").await?;
    let list: One<Vec<Id>> = sonic_rs::from_slice(&list)?;
    let mut ids = String::with_capacity(8 * 1024);
    ids.push_str(r#"{"ids":["#);
    for (at, record) in list.data.iter().enumerate() {
        if at > 0 {
            ids.push(',');
        }
        ids.push_str(itoa::Buffer::new().format(record.id));
    }
    ids.push_str("]}");
    let ids = Bytes::from(ids);
    let each = (1..=RECORD_DEPARTMENTS).map(|d| {
        let ids = ids.clone();
        async move { up.ask(&format!("/dept{d}/records"), Some(ids)).await }
    });
    let mut bodies = Vec::with_capacity(RECORD_DEPARTMENTS);
    for body in join_all(each).await {
        bodies.push(body?);
    }
    let mut departments: Vec<Vec<Record>> = Vec::with_capacity(RECORD_DEPARTMENTS);
    for body in &bodies {
        let mut records: Vec<Record> = sonic_rs::from_slice::<One<Vec<Record>>>(body)?.data;
        records.sort_by_key(|record| record.household);
        departments.push(records);
    }
    let names: Vec<String> = (1..=ITEMS).map(|n| format!(r#","item{n}":"#)).collect();
    let mut out = Vec::with_capacity(2 * 1024 * 1024);
    out.extend_from_slice(br#"{"data":{"households":["#);
    for (at, household) in list.data.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"id":"#);
        put_int(&mut out, household.id);
        let own: Vec<Option<&Record>> = departments
            .iter()
            .map(|all| all.binary_search_by_key(&household.id, |record| record.household).ok().map(|at| &all[at]))
            .collect();
        for (n, name) in names.iter().enumerate() {
            match own[n % RECORD_DEPARTMENTS] {
                Some(record) => put(&mut out, name, record.value(n / RECORD_DEPARTMENTS)),
                None => {
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b"null");
                }
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
    Ok(out)
}

async fn recognition(up: &Up, body: &[u8]) -> Result<Vec<u8>, Err> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bank {
        has_account: bool,
        over_threshold: bool,
    }
    let id = asked(body)?;
    let departments = (1..=11).map(|d| format!("/dept{d}/household/{id}"));
    let banks = (1..=BANKS).map(|n| format!("/bank{n}/household/{id}"));
    let got = join_all(departments.chain(banks).map(|path| async move { up.get(&path).await })).await;
    let mut out = Vec::with_capacity(8 * 1024);
    out.extend_from_slice(br#"{"data":{"household":{"id":"#);
    put_int(&mut out, id);
    let mut banks = Vec::with_capacity(6 * 1024);
    let (mut has, mut over) = (false, false);
    for (at, body) in got.into_iter().enumerate() {
        let body = body?;
        if at < 11 {
            let answer: One<Dept> = sonic_rs::from_slice(&body)?;
            out.extend_from_slice(br#","dept"#);
            put_int(&mut out, at as u32 + 1);
            put(&mut out, r#"":{"status":"#, &answer.data.status);
            put(&mut out, r#","amount":"#, &answer.data.amount);
            out.push(b'}');
        } else {
            let bank = sonic_rs::from_slice::<One<Bank>>(&body)?.data;
            has |= bank.has_account;
            over |= bank.over_threshold;
            if at > 11 {
                banks.push(b',');
            }
            banks.extend_from_slice(br#"{"bank":"bank"#);
            put_int(&mut banks, at as u32 - 10);
            banks.extend_from_slice(br#"","hasAccount":"#);
            banks.extend_from_slice(if bank.has_account { b"true" } else { b"false" });
            banks.extend_from_slice(br#","overThreshold":"#);
            banks.extend_from_slice(if bank.over_threshold { b"true" } else { b"false" });
            banks.push(b'}');
        }
    }
    out.extend_from_slice(format!(r#","deposits":{{"hasAccount":{has},"overThreshold":{over},"banks":["#).as_bytes());
    out.extend_from_slice(&banks);
    out.extend_from_slice(b"]}}}}");
    Ok(out)
}

// -------------------------------------------------------------------- server

async fn answer(up: Rc<Up>, workload: Rc<str>, req: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match req.into_body().collect().await {
        Ok(b) => b.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let out = match &*workload {
        "portrait" => portrait(&up, &body).await,
        "list" => list(&up).await,
        "posts" => posts(&up).await,
        "wide" => wide(&up).await,
        "recognition" => recognition(&up, &body).await,
        _ => Err("unknown workload".into()),
    };
    let out = out.unwrap_or_else(|e| {
        format!(r#"{{"errors":[{{"message":"{}"}}],"data":null}}"#, e.to_string().replace('"', "'")).into_bytes()
    });
    Ok(Response::builder().header("content-type", "application/json").body(Full::new(Bytes::from(out))).unwrap())
}

pub fn run(client: &str, workload: &str, port: u16, host: String) {
    let workload: Rc<str> = workload.into();
    let client = match client {
        "hyper" => Client::Hyper(RefCell::new(Vec::new())),
        "reqwest" => {
            Client::Reqwest(reqwest::Client::builder().tcp_nodelay(true).pool_max_idle_per_host(4096).build().unwrap())
        }
        other => panic!("unknown client {other}"),
    };
    let up = Rc::new(Up { host, client });
    serve::serve(port, move |request| answer(up.clone(), workload.clone(), request));
}
