//! Every protocol of sources × every fault it can have: only the ill source's fields are lost, with the right code and in
//! time; nothing the department says is anywhere but with the department; and when the fault is gone, so is its trace.
//!
//! The table here is that of docs/reliability.md; `UPDATE_EXPECTED=1` writes it there.
//!
//! A crate of its own: it hears all that its process logs, and says what was lost in time.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::department::{Speaks, enveloped};
use support::door::{Door, Log, OPEN_MS, TIMEOUT_MS};
use support::sql::{Postgres, Sql, Sqlite};
use support::{CANARY, Proxy, Wire, department};

/// What becomes of the ill source's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// All are there.
    There,
    /// None is, with this code.
    Lost(&'static str),
    /// What is not as it should be has this code; the others are there.
    One(&'static str),
    /// The protocol has no such fault.
    No,
}

use Cell::{Lost, No, One, There};

const TIMEOUT: Cell = Lost("SOURCE_TIMEOUT");
const UNREACHABLE: Cell = Lost("SOURCE_UNREACHABLE");
const ERROR: Cell = Lost("SOURCE_ERROR");
const BAD: Cell = Lost("SOURCE_BAD_ANSWER");
const BUSY: Cell = Lost("SOURCE_BUSY");
const INVALID: Cell = One("VALUE_INVALID");

struct Row {
    fault: &'static str,
    wire: Wire,
    sql: Sql,
    /// JSON, XML, SOAP, GraphQL, SQLite, PostgreSQL.
    cells: [Cell; 6],
    /// How long the source is to be left alone afterwards.
    rest_ms: u64,
    /// The endpoint has a `first_byte_ms`.
    soon: bool,
}

const fn row(fault: &'static str, wire: Wire, sql: Sql, cells: [Cell; 6]) -> Row {
    Row { fault, wire, sql, cells, rest_ms: 3 * OPEN_MS, soon: false }
}

const fn wire(fault: &'static str, wire: Wire, http: Cell, postgres: Cell) -> Row {
    row(fault, wire, Sql::Nothing, [http, http, http, http, No, postgres])
}

const fn says(fault: &'static str, wire: Wire, cells: [Cell; 4]) -> Row {
    let [json, xml, soap, graphql] = cells;
    row(fault, wire, Sql::Nothing, [json, xml, soap, graphql, No, No])
}

const fn sql(fault: &'static str, sql: Sql, sqlite: Cell, postgres: Cell) -> Row {
    row(fault, Wire::Whole, sql, [No, No, No, No, sqlite, postgres])
}

const OK: &str = "200 OK";
const ALL_BAD: [Cell; 4] = [BAD; 4];

const MATRIX: &[Row] = &[
    wire("latency and jitter, within the deadline", Wire::Jitter, There, There),
    wire("no answer", Wire::Lost, TIMEOUT, TIMEOUT),
    Row { soon: true, ..says("no answer begun, and the endpoint has a `first_byte_ms`", Wire::Lost, [TIMEOUT; 4]) },
    Row {
        soon: true,
        ..says("an answer that begins before `first_byte_ms`, and lasts longer", Wire::Halting, [There; 4])
    },
    wire("connection refused", Wire::Refused, UNREACHABLE, UNREACHABLE),
    wire("connection reset", Wire::Reset, UNREACHABLE, UNREACHABLE),
    wire("connection reset within the answer", Wire::ResetWithin, UNREACHABLE, UNREACHABLE),
    wire("half-closed in place of an answer", Wire::HalfClosed, UNREACHABLE, UNREACHABLE),
    wire("body shorter than its `Content-Length`; message cut short", Wire::Short, BAD, UNREACHABLE),
    wire("chunked body without its end", Wire::ChunksWithoutEnd, BAD, No),
    wire("endless body", Wire::EndlessBody, BAD, No),
    wire("endless headers", Wire::EndlessHead, BAD, No),
    wire("a byte at a time", Wire::Drip, TIMEOUT, TIMEOUT),
    wire("another protocol at its port", Wire::Raw(|| format!("SSH-2.0-{CANARY}\r\n").into()), BAD, UNREACHABLE),
    says("HTTP 500 with an error page", Wire::Says("500 Oops", &[], |_| page()), [ERROR; 4]),
    says("HTTP 500 with a body as of a good answer", Wire::Says("500 Oops", &[], good), [ERROR; 4]),
    says("HTTP 403", Wire::Says("403 No", &[], |_| page()), [ERROR; 4]),
    says("HTTP 401", Wire::Says("401 No", &["www-authenticate: Basic realm=canary-7f3a"], |_| page()), [ERROR; 4]),
    says("HTTP 503", Wire::Says("503 Later", &[], |_| page()), [ERROR; 4]),
    says("HTTP 429", Wire::Says("429 Slow", &[], |_| page()), [BUSY; 4]),
    Row {
        rest_ms: 1_200,
        ..says("HTTP 429 with `Retry-After`", Wire::Says("429 Slow", &["retry-after: 1"], |_| page()), [BUSY; 4])
    },
    says("HTTP 302 to another host", Wire::Says("302 Found", &["location: {elsewhere}"], |_| page()), [ERROR; 4]),
    says("a page in place of data", Wire::Says(OK, &["content-type: text/html"], |_| page()), ALL_BAD),
    says("no body", Wire::Says(OK, &[], |_| Vec::new()), ALL_BAD),
    says("good data under a wrong content type", Wire::Says(OK, &["content-type: image/png"], good), [There; 4]),
    says("bytes that are not of the declared charset", Wire::Says(OK, &[], latin), ALL_BAD),
    says(
        "a charset that nobody knows",
        Wire::Says(OK, &["content-type: text/xml; charset=canary-7f3a"], good),
        ALL_BAD,
    ),
    says("duplicate names in an object", Wire::Says(OK, &[], twice), [There, No, No, There]),
    says("an element twice", Wire::Says(OK, &[], twice), [No, INVALID, INVALID, No]),
    says("nested 100 000 deep", Wire::Says(OK, &[], deep), ALL_BAD),
    row("numbers too large: `1e999999`, 10 000 digits", Wire::Says(OK, &[], huge), Sql::View(HUGE), [INVALID; 6]),
    says("half a character in a text (`\\ud800`)", Wire::Says(OK, &[], surrogate), [INVALID, No, No, INVALID]),
    says("half a character in a name", Wire::Says(OK, &[], surrogate_name), [BAD, No, No, BAD]),
    says("another shape", Wire::Says(OK, &[], other_shape), ALL_BAD),
    says("gzip bomb", Wire::Says(OK, &["content-encoding: gzip"], |_| bomb()), ALL_BAD),
    says("endless empty gzip members", Wire::Says(OK, &["content-encoding: gzip"], |_| empty_members()), ALL_BAD),
    says("broken gzip", Wire::Says(OK, &["content-encoding: gzip"], good), ALL_BAD),
    says("external entities (XXE)", Wire::Says(OK, &[], external), [No, BAD, BAD, No]),
    says("entity bomb", Wire::Says(OK, &[], billion), [No, BAD, BAD, No]),
    says("the envelope says that it failed", Wire::Says(OK, &[], failed), [ERROR, No, No, No]),
    says("SOAP fault", Wire::Says("500 Fault", &[], |_| fault()), [No, No, ERROR, No]),
    says("SOAP fault with HTTP 200", Wire::Says(OK, &[], |_| fault()), [No, No, ERROR, No]),
    says("GraphQL errors", Wire::Says(OK, &[], |_| graphql_errors()), [No, No, No, ERROR]),
    says("GraphQL errors beside data", Wire::Says(OK, &[], |_| graphql_partly()), [No, No, No, ERROR]),
    sql("the database's file is gone", Sql::Gone, UNREACHABLE, No),
    sql("the database is locked", Sql::Locked, TIMEOUT, No),
    sql("the file is none of a database", Sql::Junk, ERROR, No),
    sql("the view is gone", Sql::NoView, ERROR, ERROR),
    sql(
        "the statement fails",
        Sql::View("SELECT 'x' AS id, json_extract('canary-7f3a', '$') AS text, 7 AS count, 1 AS amount"),
        ERROR,
        No,
    ),
    sql(
        "the statement fails on a value",
        Sql::View(
            "SELECT id, 'x' AS text, 7 AS count, (text || 'canary-7f3a')::int AS amount FROM (VALUES ('x', '1')) AS t(id, text)",
        ),
        No,
        ERROR,
    ),
    sql(
        "bytes that are no text",
        Sql::View("SELECT 'x' AS id, CAST(X'63616e6172792d37663361ff' AS TEXT) AS text, 7 AS count, 1 AS amount"),
        BAD,
        No,
    ),
    sql("rows without end", Sql::View(ENDLESS), BAD, BAD),
    sql("a value of 30 million characters", Sql::View(LONG), BAD, BAD),
    sql("connections ended by the server, idle", Sql::TerminatedBefore, No, There),
    sql("connections ended by the server, at work", Sql::Terminated, No, UNREACHABLE),
    row("the server says why it ends", Wire::Raw(|| fatal("57P01")), Sql::Nothing, [No, No, No, No, No, UNREACHABLE]),
    row(
        "the server opens no connection",
        Wire::Raw(|| fatal("XX000")),
        Sql::Nothing,
        [No, No, No, No, No, UNREACHABLE],
    ),
];

/// In words that both databases know.
const HUGE: &str = "SELECT 'x' AS id, '{held}' AS text, '1e999999' AS count, \
                    replace(replace(replace('aaaaaaaaaa', 'a', 'bbbbbbbbbb'), 'b', 'cccccccccc'), 'c', '9999999999') AS amount";
/// Ten times as long with each replacement.
const LONG: &str = "SELECT 'x' AS id, replace(replace(replace(replace(replace(replace(replace(\
                    'aaa', 'a', 'bbbbbbbbbb'), 'b', 'cccccccccc'), 'c', 'dddddddddd'), 'd', 'eeeeeeeeee'), 'e', 'ffffffffff'), \
                    'f', 'gggggggggg'), 'g', 'canary-7f3a') AS text, 7 AS count, 1 AS amount";
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT 'x' AS id, 'canary-7f3a' AS text, i AS count, 1 AS amount FROM n";

fn page() -> Vec<u8> {
    format!("<!DOCTYPE html><html><h1>{CANARY}</h1>java.lang.NullPointerException: {CANARY}</html>").into_bytes()
}

/// A good record, as the department itself tells it.
fn good(speaks: Speaks) -> Vec<u8> {
    let text = format!("held by {}", speaks.name());
    speaks.of(
        &format!(r#"{{"text":"{text}","count":7,"amount":"12.5","more":"{CANARY}"}}"#),
        &format!("<text>{text}</text><count>7</count><amount>12.5</amount><more>{CANARY}</more>"),
    )
}

fn latin(speaks: Speaks) -> Vec<u8> {
    let mut bytes = good(speaks);
    let at = bytes.windows(CANARY.len()).position(|window| window == CANARY.as_bytes()).unwrap();
    bytes.insert(at, 0xe9);
    bytes
}

fn twice(speaks: Speaks) -> Vec<u8> {
    let text = format!("held by {}", speaks.name());
    speaks.of(
        &format!(r#"{{"text":"{CANARY}","count":7,"amount":"12.5","text":"{text}"}}"#),
        &format!("<count>7</count><amount>12.5</amount><text>{CANARY}</text><text>{text}</text>"),
    )
}

fn deep(speaks: Speaks) -> Vec<u8> {
    const DEPTH: usize = 100_000;
    if speaks.is_xml() {
        return speaks.of("", &format!("{}{CANARY}{}", "<a>".repeat(DEPTH), "</a>".repeat(DEPTH)));
    }
    speaks.of(&format!("{}\"{CANARY}\"{}", "[".repeat(DEPTH), "]".repeat(DEPTH)), "")
}

fn huge(speaks: Speaks) -> Vec<u8> {
    let (text, digits) = (format!("held by {}", speaks.name()), "9".repeat(10_000));
    speaks.of(
        &format!(r#"{{"text":"{text}","count":1e999999,"amount":{digits},"more":"{CANARY}"}}"#),
        &format!("<text>{text}</text><count>1e999999</count><amount>{digits}</amount><more>{CANARY}</more>"),
    )
}

fn surrogate(speaks: Speaks) -> Vec<u8> {
    speaks.of(&format!(r#"{{"text":"{CANARY}\ud800","count":7,"amount":"12.5"}}"#), "")
}

fn surrogate_name(speaks: Speaks) -> Vec<u8> {
    speaks.of(&format!(r#"{{"text":"held by {}","count":7,"amount":"12.5","{CANARY}\ud800":1}}"#, speaks.name()), "")
}

fn other_shape(speaks: Speaks) -> Vec<u8> {
    match speaks {
        Speaks::Json => format!(r#"["{CANARY}"]"#),
        Speaks::Graphql => format!(r#"{{"data":["{CANARY}"]}}"#),
        Speaks::Soap => format!("<s:Envelope xmlns:s=\"x\"><s:Header>{CANARY}</s:Header></s:Envelope>"),
        _ => format!("<other>{CANARY}</other>"),
    }
    .into_bytes()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Made before anybody waits for it.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&CANARY.repeat(2_000_000).into_bytes()));

fn bomb() -> Vec<u8> {
    BOMB.clone()
}

fn empty_members() -> Vec<u8> {
    packed(b"").repeat(200_000)
}

/// With a document type before the root.
fn declared(speaks: Speaks, entities: &str, text: &str) -> Vec<u8> {
    let answer = speaks.answer(&format!("<text>{text}</text><count>7</count><amount>{CANARY}</amount>"));
    answer.replacen("?>", &format!("?><!DOCTYPE answer [{entities}]>"), 1).into_bytes()
}

fn external(speaks: Speaks) -> Vec<u8> {
    declared(speaks, "<!ENTITY x SYSTEM \"file:///etc/hostname\">", "&x;")
}

fn billion(speaks: Speaks) -> Vec<u8> {
    let entities: String =
        (1..10).map(|n| format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10))).collect();
    declared(speaks, &format!("<!ENTITY a0 \"{CANARY}\">{entities}"), "&a9;")
}

fn failed(_: Speaks) -> Vec<u8> {
    format!(r#"{{"ok":false,"message":"{CANARY}: \u5f20\u4e09 is not insured","data":null}}"#).into_bytes()
}

fn fault() -> Vec<u8> {
    enveloped(&format!(
        "<s:Fault><faultcode>s:{CANARY}</faultcode><faultstring>{CANARY}: 张三</faultstring><detail>{CANARY}</detail></s:Fault>"
    ))
    .into_bytes()
}

fn graphql_errors() -> Vec<u8> {
    format!(
        r#"{{"data":{{"r":null}},"errors":[{{"message":"{CANARY}","path":["r"],"extensions":{{"code":"{CANARY}"}}}}]}}"#
    )
    .into_bytes()
}

fn graphql_partly() -> Vec<u8> {
    format!(
        r#"{{"data":{{"r":{{"text":"{CANARY}","count":null,"amount":null}}}},"errors":[{{"message":"{CANARY}","path":["r","count"]}}]}}"#
    )
    .into_bytes()
}

/// PostgreSQL's ErrorResponse.
fn fatal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{CANARY}\0D{CANARY}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E", &length[..], fields.as_bytes()].concat()
}

/// How an answer was; nothing where it was as it had to be.
fn judged(speaks: Speaks, expected: Cell, answer: &Value, took: Duration) -> Vec<String> {
    let part = &answer["data"]["thing"][speaks.name()];
    let errors = answer["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let whole = json!({"text": format!("held by {}", speaks.name()), "count": 7, "amount": "12.5"});
    let told: Vec<(&Value, &Value)> =
        errors.iter().map(|error| (&error["extensions"]["source"], &error["extensions"]["code"])).collect();
    let by = |code: &str| !told.is_empty() && told.iter().all(|told| *told == (&json!(speaks.name()), &json!(code)));
    let right = match expected {
        There => *part == whole && errors.is_empty(),
        Lost(code) => *part == json!({"text": null, "count": null, "amount": null}) && by(code) && errors.len() == 1,
        One(code) => {
            let wrong = ["text", "count", "amount"].map(|name| part[name] != whole[name]);
            let null = ["text", "count", "amount"].iter().all(|name| part[name] == whole[name] || part[name].is_null());
            wrong.contains(&true) && wrong.contains(&false) && null && by(code)
        }
        No => unreachable!("what there is not is not asked"),
    };
    let mut wrong = Vec::new();
    if !right {
        wrong.push(format!("expected {expected:?}, and is {answer}"));
    }
    if answer["data"]["thing"]["well"] != "of the well one" {
        wrong.push(format!("the well source's field is lost: {answer}"));
    }
    if answer.to_string().contains(CANARY) {
        wrong.push(format!("the department's text is in the answer: {answer}"));
    }
    // What else may take its time on a busy machine has as long again.
    if took > Duration::from_millis(2 * TIMEOUT_MS) {
        wrong.push(format!("took {took:?}"));
    }
    wrong
}

/// What stands between the gateway and one department.
struct Column {
    speaks: Speaks,
    proxy: Option<Proxy>,
    sqlite: Option<Sqlite>,
    postgres: Option<Postgres>,
}

impl Column {
    /// What was not as it should be, in all the rows.
    async fn suffers(mut self, at: usize, door: &Door) -> Vec<String> {
        let mut wrong = Vec::new();
        wrong.extend(judged(self.speaks, There, &door.ask(self.speaks).await, Duration::ZERO));
        let only = std::env::var("FAULT").ok();
        for row in MATRIX.iter().filter(|row| row.cells[at] != No) {
            if only.as_ref().is_some_and(|only| !row.fault.contains(only)) {
                continue;
            }
            if let Some(proxy) = &self.proxy {
                proxy.set(row.wire).await;
            }
            if let Some(sqlite) = &mut self.sqlite {
                sqlite.suffer(row.sql).await;
            }
            if let Some(postgres) = &mut self.postgres {
                postgres.suffer(row.sql).await;
            }
            let began = Instant::now();
            let meanwhile = async {
                if let Some(postgres) = &mut self.postgres {
                    postgres.meanwhile(row.sql).await;
                }
            };
            let asked = async { if row.soon { door.ask_soon(self.speaks).await } else { door.ask(self.speaks).await } };
            let (answer, ()) = tokio::join!(asked, meanwhile);
            let took = began.elapsed();
            if row.soon && row.cells[at] == TIMEOUT && took >= Duration::from_millis(TIMEOUT_MS) {
                wrong.push(format!("{}, {}: took {took:?}", self.speaks.title(), row.fault));
            }
            if let Some(proxy) = &self.proxy {
                proxy.set(Wire::Whole).await;
            }
            if let Some(sqlite) = &mut self.sqlite {
                sqlite.recover(row.sql).await;
            }
            if let Some(postgres) = &mut self.postgres {
                postgres.recover().await;
            }
            tokio::time::sleep(Duration::from_millis(row.rest_ms)).await;
            let began = Instant::now();
            let after = judged(self.speaks, There, &door.ask(self.speaks).await, began.elapsed());
            let found = judged(self.speaks, row.cells[at], &answer, took);
            wrong.extend(found.into_iter().map(|wrong| format!("{}, {}: {wrong}", self.speaks.title(), row.fault)));
            wrong.extend(
                after.into_iter().map(|wrong| format!("{}, after {}: {wrong}", self.speaks.title(), row.fault)),
            );
        }
        if let Some(postgres) = self.postgres {
            postgres.end().await;
        }
        wrong
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_every_protocol_costs_its_own_fields_alone_and_leaves_no_trace() {
    let log = Log::listening();
    LazyLock::force(&BOMB);
    let folder = std::env::temp_dir().join(format!("huxiang-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let strayed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&strayed);
    let elsewhere = axum::Router::new().fallback(async move || {
        seen.fetch_add(1, Ordering::SeqCst);
        "{}"
    });
    let elsewhere = format!("http://{}/{CANARY}", department::listening(elsewhere).await);
    let well = department::start().await;
    let postgres = std::env::var("HUXIANG_TEST_POSTGRES").ok();
    if postgres.is_none() {
        println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database for the column of PostgreSQL");
    }
    let mut urls = BTreeMap::from([("well".to_owned(), format!("http://{well}"))]);
    let mut columns = Vec::new();
    for speaks in Speaks::ALL.into_iter().filter(|speaks| *speaks != Speaks::Postgres || postgres.is_some()) {
        let mut column = Column { speaks, proxy: None, sqlite: None, postgres: None };
        let url = match speaks {
            Speaks::Sqlite => {
                let database = Sqlite::new(&folder).await;
                let url = format!("sqlite:{}", database.path.display());
                column.sqlite = Some(database);
                url
            }
            Speaks::Postgres => {
                let url = postgres.as_deref().unwrap_or_default();
                column.postgres = Some(Postgres::new(url).await);
                let mut url = reqwest::Url::parse(url).unwrap();
                let to = url.socket_addrs(|| Some(5_432)).unwrap()[0];
                let proxy = Proxy::start(to, speaks, &elsewhere).await;
                url.set_ip_host(proxy.address.ip()).unwrap();
                url.set_port(Some(proxy.address.port())).unwrap();
                column.proxy = Some(proxy);
                url.to_string()
            }
            _ => {
                let proxy = Proxy::start(well, speaks, &elsewhere).await;
                let path = if speaks == Speaks::Graphql { "/graphql" } else { "" };
                let url = format!("http://{}{path}", proxy.address);
                column.proxy = Some(proxy);
                url
            }
        };
        urls.insert(speaks.name().to_owned(), url);
        columns.push(column);
    }
    let door = Door::open(folder, urls).await;
    let suffered = columns.into_iter().enumerate().map(|(at, column)| column.suffers(at, &door));
    let mut wrong: Vec<String> = futures::future::join_all(suffered).await.concat();
    if strayed.load(Ordering::SeqCst) > 0 {
        wrong.push("a redirect was followed".to_owned());
    }
    let logged = log.text();
    assert!(logged.contains("a source failed"), "the log is heard");
    let metrics = door.metrics().await;
    assert!(metrics.contains("huxiang_source_calls_total"), "{metrics}");
    for (place, text) in
        [("log", &logged), ("metrics", &metrics), ("files", &String::from_utf8_lossy(&door.written()).into())]
    {
        let lines = text.lines().filter(|line| [CANARY, "held by ", "张三"].iter().any(|told| line.contains(told)));
        wrong.extend(lines.map(|line| format!("in the {place}: {}", line.chars().take(400).collect::<String>())));
    }
    let under_way = metrics.lines().filter(|line| line.starts_with("huxiang_source_calls_under_way{"));
    wrong.extend(under_way.filter(|line| !line.ends_with(" 0")).map(|line| format!("does not end: {line}")));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const DOCUMENT: &str = "docs/reliability.md";
const BEGIN: &str = "<!-- The fault matrix: `UPDATE_EXPECTED=1 cargo test --test fault_matrix` writes it. -->\n";
const END: &str = "<!-- The fault matrix ends. -->\n";

fn table() -> String {
    let titles: Vec<&str> = Speaks::ALL.iter().map(|speaks| speaks.title()).collect();
    let mut table = format!("| fault | {} |\n|{}\n", titles.join(" | "), " --- |".repeat(titles.len() + 1));
    for row in MATRIX {
        let cells = row.cells.map(|cell| match cell {
            There => "answered".to_owned(),
            Lost(code) => format!("`{code}`"),
            One(code) => format!("`{code}`, that field alone"),
            No => "—".to_owned(),
        });
        table.push_str(&format!("| {} | {} |\n", row.fault, cells.join(" | ")));
    }
    table
}

#[test]
fn the_matrix_stands_in_the_documentation() {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the marker of its beginning");
    let (written, after) = rest.split_once(END).expect("the marker of its end");
    let expected = format!("\n{}\n", table());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, expected, "UPDATE_EXPECTED=1 writes it");
}
