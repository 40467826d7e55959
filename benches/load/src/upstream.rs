//! The departments of every workload, in one process on one thread: REST answers rendered at start, so that they cost
//! next to nothing beside what is measured. Every request is counted; `GET /__count` gives how many there were since it
//! was last asked, which tells a gateway that asks from one that shares or keeps answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use crate::serve::serve;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

const DEPARTMENTS: usize = 12;
const HOUSEHOLDS: usize = 100;

/// Households of the workload `wide`, its items, and the departments that have them in turn.
const RECORDS: usize = 1_000;
pub const ITEMS: usize = 61;
pub const RECORD_DEPARTMENTS: usize = 6;
pub const BANKS: usize = 73;

/// Of an item of the workload `wide`, counted from 0: its department, the member of its record, the type.
pub fn item(n: usize) -> (usize, &'static str, &'static str) {
    const MEMBERS: [(&str, &str); 11] = [
        ("status", "String"),
        ("level", "Int"),
        ("amount", "Float"),
        ("valid", "Boolean"),
        ("officer", "String"),
        ("updatedAt", "String"),
        ("persons", "Int"),
        ("caseNumber", "String"),
        ("share", "Float"),
        ("phone", "String"),
        ("remark", "String"),
    ];
    let (member, type_name) = MEMBERS[n / RECORD_DEPARTMENTS];
    (n % RECORD_DEPARTMENTS + 1, member, type_name)
}

// ---------------------------------------------------------------- REST data

const WORDS: &[&str] = &[
    "water", "meter", "reading", "was", "taken", "by", "the", "district", "office", "after", "a", "visit", "to",
    "each", "flat", "and", "no", "fault", "found", "during", "second", "check", "of", "heating", "pipes",
];

fn prose(seed: usize, len: usize) -> String {
    let mut s = String::with_capacity(len + 8);
    let mut i = seed * 7 + 3;
    while s.len() < len {
        if !s.is_empty() {
            s.push(' ');
        }
        s.push_str(WORDS[(i * i + seed) % WORDS.len()]);
        i += 1;
    }
    s.truncate(len);
    s
}

fn posts() -> String {
    let mut s = String::from("[");
    for id in 1..=100usize {
        if id > 1 {
            s.push(',');
        }
        let _ = write!(
            s,
            r#"{{"userId":{},"id":{},"title":"{}","body":"{}\n{}\n{}"}}"#,
            (id - 1) / 10 + 1,
            id,
            prose(id, 24 + id % 30),
            prose(id + 1, 50),
            prose(id + 2, 52),
            prose(id + 3, 48)
        );
    }
    s.push(']');
    s
}

fn user(id: usize) -> String {
    format!(
        r#"{{"id":{id},"name":"Person Number {id}","username":"person{id}","email":"person{id}@mail.example","address":{{"street":"Street {id}","suite":"Flat {id}","city":"Town {id}","zipcode":"9{id}99-38{id}4","geo":{{"lat":"-37.3{id}59","lng":"81.1{id}96"}}}},"phone":"1-770-736-80{id} x564{id}","website":"person{id}.example","company":{{"name":"Company {id}","catchPhrase":"{}","bs":"{}"}}}}"#,
        prose(id, 38),
        prose(id + 5, 26)
    )
}

/// One department's record of one household: 18 fields, about 800 bytes.
/// The queries of workloads B and C pick 5 of them.
fn dept_record(dept: usize, id: usize) -> String {
    format!(
        r#"{{"householdId":{id},"department":"dept{dept}","status":"{}","amount":{}.{:02},"level":{},"officer":"Officer {}-{}","updatedAt":"2026-0{}-1{}T08:{:02}:00Z","caseNumber":"D{dept}-{id:06}","address":{{"street":"Street {}","building":"{}","flat":"{}"}},"phone":"8-800-555-{:04}","flags":["registered","verified","live"],"history":[{{"at":"2025-11-03","event":"opened","by":"clerk {}"}},{{"at":"2026-01-17","event":"reviewed","by":"clerk {}"}}],"note":"{}","remark":"{}","source":"register-{dept}","revision":{},"archived":false}}"#,
        ["ACTIVE", "PENDING", "CLOSED"][(dept + id) % 3],
        (dept * 131 + id * 17) % 90_000,
        (dept + id) % 100,
        (dept + id) % 7,
        dept,
        id % 40,
        1 + (dept + id) % 9,
        (dept + id) % 10,
        (dept * id) % 60,
        id % 200,
        id % 60,
        id % 150,
        id % 10_000,
        id % 30,
        id % 17,
        prose(dept + id, 90),
        prose(dept * 3 + id, 70),
        1 + (dept * id) % 50
    )
}

fn households() -> String {
    let mut s = String::from(r#"{"code":0,"data":["#);
    for id in 1..=HOUSEHOLDS {
        if id > 1 {
            s.push(',');
        }
        let _ = write!(
            s,
            r#"{{"id":{id},"name":"Household {id}","district":"District {}","members":{},"registeredAt":"2020-0{}-11","note":"{}"}}"#,
            id % 12,
            1 + id % 6,
            1 + id % 9,
            prose(id, 60)
        );
    }
    s.push_str("]}");
    s
}

/// One department's record of one household of the workload `wide`: 17 members, some 450 bytes.
fn record(dept: usize, id: usize) -> String {
    format!(
        r#"{{"recordId":{id},"department":"dept{dept}","status":"{}","level":{},"amount":{}.{:02},"valid":{},"officer":"Officer {dept}-{}","updatedAt":"2026-0{}-1{}","persons":{},"caseNumber":"R{dept}-{id:06}","share":0.{:03},"phone":"8-800-555-{:04}","remark":"{}","flags":["registered","live"],"note":"{}","revision":{},"archived":false}}"#,
        ["ACTIVE", "PENDING", "CLOSED"][(dept + id) % 3],
        (dept + id) % 7,
        (dept * 131 + id * 17) % 90_000,
        // No trailing zero, so that every program writes the number as it stands.
        (dept + id) % 10 * 10 + 1 + id % 9,
        (dept + id).is_multiple_of(2),
        id % 40,
        1 + (dept + id) % 9,
        (dept + id) % 10,
        1 + id % 6,
        (dept * id) % 99 * 10 + 1,
        id % 10_000,
        prose(dept + id, 24),
        prose(dept * 3 + id, 70),
        1 + (dept * id) % 50
    )
}

fn records() -> String {
    let all: Vec<String> =
        (1..=RECORDS).map(|id| format!(r#"{{"id":{id},"district":"District {}"}}"#, id % 12)).collect();
    format!(r#"{{"code":0,"data":[{}]}}"#, all.join(","))
}

/// What a bank says of a household, by its id modulo 3.
fn bank(id: usize) -> String {
    format!(
        r#"{{"code":0,"data":{{"hasAccount":{},"overThreshold":{},"checkedAt":"2026-01-17"}}}}"#,
        !id.is_multiple_of(3),
        id % 3 > 1
    )
}

// -------------------------------------------------------------------- server

struct State {
    delay: Duration,
    count: RefCell<u64>,
    posts: Bytes,
    users: Vec<Bytes>,
    users_all: Bytes,
    households: Bytes,
    records: Bytes,
    /// `record[d-1][id-1]`, the record's text
    record: Vec<Vec<String>>,
    banks: [Bytes; 3],
    /// `dept[d-1][id % HOUSEHOLDS]`: the record's text, id 1..=100
    dept: Vec<Vec<String>>,
    /// the same, wrapped, ready to send
    dept_one: Vec<Vec<Bytes>>,
    batch: RefCell<HashMap<String, Bytes>>,
}

fn ids(query: &str) -> Vec<usize> {
    query
        .split('&')
        .filter_map(|kv| kv.strip_prefix("id="))
        .flat_map(|v| v.split(','))
        .filter_map(|v| v.parse().ok())
        .collect()
}

impl State {
    fn rest(&self, path: &str, query: Option<&str>) -> Option<Bytes> {
        if path == "/posts" {
            return Some(self.posts.clone());
        }
        if path == "/households" {
            return Some(self.households.clone());
        }
        if path == "/users" {
            let Some(q) = query else {
                return Some(self.users_all.clone());
            };
            return Some(self.batched(
                path,
                q,
                |id, out| {
                    if let Some(u) = id.checked_sub(1).and_then(|i| self.users.get(i)) {
                        out.extend_from_slice(u);
                        return true;
                    }
                    false
                },
                false,
            ));
        }
        if let Some(id) = path.strip_prefix("/users/") {
            let id: usize = id.parse().ok()?;
            return self.users.get(id.checked_sub(1)?).cloned();
        }
        if path == "/records" {
            return Some(self.records.clone());
        }
        // /bank{n}/household/{id}
        if let Some(rest) = path.strip_prefix("/bank") {
            let (bank, id) = rest.split_once("/household/")?;
            let (bank, id): (usize, usize) = (bank.parse().ok()?, id.parse().ok()?);
            return self.banks.get((bank + id) % 3).cloned();
        }
        // /dept{d}/household/{id}   one record
        // /dept{d}/households?id=1&id=2   a batch
        let rest = path.strip_prefix("/dept")?;
        let (d, tail) = rest.split_once('/')?;
        let d: usize = d.parse().ok()?;
        if d == 0 || d > DEPARTMENTS {
            return None;
        }
        if let Some(id) = tail.strip_prefix("household/") {
            let id: usize = id.parse().ok()?;
            return Some(self.dept_one[d - 1][id % HOUSEHOLDS].clone());
        }
        if tail == "households" {
            return Some(self.batched(
                path,
                query?,
                |id, out| {
                    // The record of the id that is asked for, whichever of those there are it is made of.
                    let record = &self.dept[d - 1][id % HOUSEHOLDS];
                    let rest = record.split_once(',').map_or("", |(_, rest)| rest);
                    out.extend_from_slice(format!(r#"{{"householdId":{id},{rest}"#).as_bytes());
                    true
                },
                true,
            ));
        }
        None
    }

    /// `POST /dept{d}/records` with `{"ids": [1, 2]}`: a batch.
    fn posted(&self, path: &str, body: &[u8]) -> Option<Bytes> {
        let key = format!("{path} {}", std::str::from_utf8(body).ok()?);
        if let Some(known) = self.batch.borrow().get(&key) {
            return Some(known.clone());
        }
        let dept: usize = path.strip_prefix("/dept")?.strip_suffix("/records")?.parse().ok()?;
        let records = self.record.get(dept.checked_sub(1)?)?;
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        let number = |id: &serde_json::Value| id.as_u64().or_else(|| id.as_str()?.parse().ok());
        let ids = body.get("ids")?.as_array()?.iter().filter_map(number);
        let found: Vec<&str> =
            ids.filter_map(|id| Some(records.get(usize::try_from(id).ok()?.checked_sub(1)?)?.as_str())).collect();
        let answer = Bytes::from(format!(r#"{{"code":0,"data":[{}]}}"#, found.join(",")));
        self.batch.borrow_mut().insert(key, answer.clone());
        Some(answer)
    }

    fn batched(&self, path: &str, query: &str, one: impl Fn(usize, &mut Vec<u8>) -> bool, wrap: bool) -> Bytes {
        let key = format!("{path}?{query}");
        if let Some(b) = self.batch.borrow().get(&key) {
            return b.clone();
        }
        let mut out = Vec::with_capacity(64 * 1024);
        out.extend_from_slice(if wrap { br#"{"code":0,"data":["# } else { b"[" });
        let mut first = true;
        for id in ids(query) {
            let at = out.len();
            if !first {
                out.push(b',');
            }
            if one(id, &mut out) {
                first = false;
            } else {
                out.truncate(at);
            }
        }
        out.extend_from_slice(if wrap { b"]}" } else { b"]" });
        let out = Bytes::from(out);
        let mut m = self.batch.borrow_mut();
        if m.len() > 4096 {
            m.clear();
        }
        m.insert(key, out.clone());
        out
    }
}

fn json(b: Bytes) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", "application/json").body(Full::new(b)).unwrap()
}

async fn handle(st: Rc<State>, req: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = req.uri().path();
    if path == "/__count" {
        let n = st.count.replace(0);
        return Ok(json(Bytes::from(n.to_string())));
    }
    *st.count.borrow_mut() += 1;
    if !st.delay.is_zero() {
        tokio::time::sleep(st.delay).await;
    }
    let found = if req.method() == hyper::Method::POST {
        let path = req.uri().path().to_owned();
        match req.into_body().collect().await {
            Ok(body) => st.posted(&path, &body.to_bytes()),
            Err(_) => None,
        }
    } else {
        st.rest(req.uri().path(), req.uri().query())
    };
    Ok(match found {
        Some(b) => json(b),
        None => Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Full::new(Bytes::from_static(b"{\"code\":404,\"data\":null}")))
            .unwrap(),
    })
}

pub fn run(port: u16, delay: u64) {
    let users: Vec<Bytes> = (1..=10).map(|i| Bytes::from(user(i))).collect();
    let mut users_all = Vec::new();
    for (i, u) in users.iter().enumerate() {
        users_all.push(if i == 0 { b'[' } else { b',' });
        users_all.extend_from_slice(u);
    }
    users_all.push(b']');
    let dept: Vec<Vec<String>> = (1..=DEPARTMENTS)
        .map(|d| (0..HOUSEHOLDS).map(|i| dept_record(d, if i == 0 { HOUSEHOLDS } else { i })).collect())
        .collect();
    let dept_one =
        dept.iter().map(|v| v.iter().map(|r| Bytes::from(format!(r#"{{"code":0,"data":{r}}}"#))).collect()).collect();

    let st = Rc::new(State {
        delay: Duration::from_millis(delay),
        count: RefCell::new(0),
        posts: Bytes::from(posts()),
        users,
        users_all: Bytes::from(users_all),
        households: Bytes::from(households()),
        records: Bytes::from(records()),
        record: (1..=RECORD_DEPARTMENTS).map(|d| (1..=RECORDS).map(|id| record(d, id)).collect()).collect(),
        banks: [0, 1, 2].map(|id| Bytes::from(bank(id))),
        dept,
        dept_one,
        batch: RefCell::new(HashMap::new()),
    });

    serve(port, move |request| handle(st.clone(), request));
}
