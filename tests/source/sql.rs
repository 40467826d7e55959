//! SQL sources: bound keys, text columns, nothing writable, deadlines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use huxiang::base::code::ErrorCode;
use huxiang::base::pointer::Pointer;
use huxiang::model::config::egress::EgressConfig;
use huxiang::source::{Fetch, Shared};
use sqlx::{Connection, Executor};

use crate::alone;
use crate::support::whole::Whole;
use crate::support::{Asked, compile, compile_on, record};
use crate::temporary::Temporary;

const SETUP: [&str; 3] = [
    "CREATE TABLE houses (owner TEXT, no BIGINT, grade TEXT, area NUMERIC, built DATE, secret TEXT, mark UUID)",
    "INSERT INTO houses VALUES ('a', 331122101348000001, 'C', 81.5, '2001-02-03', 's', NULL), \
     ('a', 2, NULL, 10, NULL, 's', NULL), ('b''x', 3, 'D', 1, NULL, 's', '0f8fad5b-d9cb-469f-a165-70867728950e')",
    "CREATE VIEW v_houses AS SELECT * FROM houses",
];

fn binding(request: &str) -> String {
    format!(
        "source: test\ntitle: Test\nprotocol: sql\nbase_url: ${{URL}}\nlimits: {{timeout_ms: 700}}\nendpoints:\n  e:\n    \
         entity: Household\n    {request}\n"
    )
}

const MANY: &str = "many: {view: v_houses, key_column: owner}";

/// A database, in a folder of its own.
struct File(PathBuf, #[expect(dead_code, reason = "removes the folder in the end")] Temporary);

async fn sqlite(name: &str) -> (File, String) {
    let folder = Temporary::new(&format!("sql-{name}"));
    let path = folder.join("houses.db");
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    for statement in SETUP {
        connection.execute(statement).await.unwrap();
    }
    connection.close().await.unwrap();
    (File(path, folder), url)
}

async fn reads_rows(url: &str) {
    let asked = Asked::new(&binding(MANY), url);
    let found = asked.many(&["b'x", "zz", "a"], &["/grade", "/no"]).await.unwrap();
    let expected = [
        record(2, r#"{"grade":"C","no":"331122101348000001"}"#),
        record(2, r#"{"grade":null,"no":"2"}"#),
        record(0, r#"{"grade":"D","no":"3"}"#),
    ];
    assert_eq!(found.len(), expected.len());
    assert!(expected.iter().all(|record| found.contains(record)), "{found:?}");
    assert_eq!(asked.many(&["a' OR '1'='1"], &["/no"]).await.unwrap(), []);
    let error = asked.many(&["a"], &["/nope"]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceError, "{}", error.detail);
    let one = Asked::new(&binding("one: {view: v_houses, key_column: owner, only: {at: /grade, is: C}}"), url);
    assert_eq!(one.one("a", &["/area"]).await.unwrap(), [record(0, r#"{"area":"81.5"}"#)]);
    // Numbers as keys: a key that is no such number as the database writes it has no record.
    let numbered = Asked::new(&binding("many: {view: v_houses, key_column: no, key_type: integer}"), url);
    let found = numbered.many(&["331122101348000001", "02", "x", "2 OR 1", "3"], &["/grade"]).await.unwrap();
    let expected = [record(0, r#"{"grade":"C"}"#), record(4, r#"{"grade":"D"}"#)];
    assert!(found.len() == 2 && expected.iter().all(|record| found.contains(record)), "{found:?}");
    let numbered = Asked::new(&binding("one: {view: v_houses, key_column: no, key_type: integer}"), url);
    assert_eq!(numbered.one("02", &["/grade"]).await.unwrap(), []);
    assert_eq!(numbered.one("x", &["/grade"]).await.unwrap(), []);
    assert_eq!(numbered.one("2", &["/owner"]).await.unwrap(), [record(0, r#"{"owner":"a"}"#)]);
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let kept = Asked::new(&binding("many: {view: v_houses, key_column: mark, key_type: uuid}"), url);
    let found = kept.many(&["a", id, &id.to_uppercase()], &["/no"]).await.unwrap();
    assert_eq!(found, [record(1, r#"{"no":"3"}"#)]);
    let all = Asked::new(&binding("one: {view: v_houses, items: \"\", pages: {number: page, size: 2}}"), url);
    assert_eq!(all.fetch(all.one.as_ref().unwrap(), &[], &["/no"], None).await.unwrap().records.len(), 3);
}

#[tokio::test]
async fn sqlite_rows_are_read_by_bound_keys_as_text() {
    let (_file, url) = sqlite("rows").await;
    reads_rows(&url).await;
}

#[tokio::test]
async fn sqlite_is_not_created_and_not_written() {
    let missing = Asked::new(&binding(MANY), "sqlite:/nowhere/at/all.db");
    assert_eq!(missing.many(&["a"], &["/no"]).await.unwrap_err().code, ErrorCode::SourceUnreachable);
    let (file, _) = sqlite("write").await;
    let url = format!("sqlite:{}?mode=rwc", file.0.display());
    // Whatever the address says, the connection reads only; a view cannot write, so the mode is looked at.
    let asked = Asked::new(&binding(MANY), &url);
    assert_eq!(asked.many(&["a"], &["/no"]).await.unwrap().len(), 2);
    let before = std::fs::metadata(&file.0).unwrap().modified().unwrap();
    assert_eq!(asked.many(&["b'x"], &["/no"]).await.unwrap().len(), 1);
    assert_eq!(std::fs::metadata(&file.0).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn a_slow_statement_ends_at_the_deadline() {
    let (file, url) = sqlite("slow").await;
    let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.0.display())).await.unwrap();
    connection
        .execute(
            "CREATE VIEW slow AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) \
             SELECT 'a' AS owner, count(*) AS total FROM n",
        )
        .await
        .unwrap();
    let asked = Asked::new(&binding("one: {view: slow, key_column: owner}"), &url);
    let start = Instant::now();
    assert_eq!(asked.one("a", &["/total"]).await.unwrap_err().code, ErrorCode::SourceTimeout);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn names_that_are_no_identifiers_do_not_compile() {
    for request in [
        "many: {view: \"v; DROP TABLE x\", key_column: owner}",
        "many: {view: v, key_column: \"a\\\" OR 1\"}",
        "many: {view: v}",
    ] {
        assert!(compile(&binding(request), "sqlite:/x.db").is_err(), "{request}");
    }
}

/// An empty database, where there is one.
fn postgres() -> Option<String> {
    let url = std::env::var("HUXIANG_TEST_POSTGRES").ok();
    if url.is_none() {
        println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database to test against PostgreSQL");
    }
    url
}

#[tokio::test]
async fn postgresql_rows_are_read_by_bound_keys_as_text() {
    let Some(url) = postgres() else { return };
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for statement in ["DROP VIEW IF EXISTS v_houses", "DROP TABLE IF EXISTS houses"].into_iter().chain(SETUP) {
        connection.execute(statement).await.unwrap();
    }
    reads_rows(&url).await;
    connection
        .execute("CREATE OR REPLACE VIEW slow AS SELECT 'a'::text AS owner, pg_sleep(9)::text AS s")
        .await
        .unwrap();
    let asked = Asked::new(&binding("one: {view: slow, key_column: owner}"), &url);
    assert_eq!(asked.one("a", &["/s"]).await.unwrap_err().code, ErrorCode::SourceTimeout);
    connection.execute("DROP VIEW slow").await.unwrap();
    let writing = "CREATE OR REPLACE FUNCTION put() RETURNS text LANGUAGE sql AS \
                   $$ INSERT INTO houses (owner) VALUES ('new') RETURNING owner $$";
    connection.execute(writing).await.unwrap();
    connection.execute("CREATE OR REPLACE VIEW v_put AS SELECT put() AS owner").await.unwrap();
    let asked = Asked::new(&binding("one: {view: v_put, items: \"\"}"), &url);
    assert!(asked.one("a", &["/owner"]).await.unwrap_err().detail.contains("25006"), "read-only transaction");
    connection.execute("DROP VIEW v_put").await.unwrap();
}

/// A view of its own in a database, and what the server does with statements on it.
struct Watched {
    server: sqlx::PgConnection,
    view: String,
}

impl Watched {
    async fn new(url: &str, view: &str, select: &str) -> Self {
        let mut server = sqlx::PgConnection::connect(url).await.unwrap();
        let view = format!("v_{view}_{}", std::process::id());
        let create = format!("CREATE OR REPLACE VIEW {view} AS {select}");
        server.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        Self { server, view }
    }

    fn asked(&self, limits: &str, url: &str) -> Arc<Asked> {
        let binding = binding(&format!("one: {{view: {}, key_column: owner}}", self.view));
        Arc::new(Asked::new(&binding.replace("timeout_ms: 700", limits), url))
    }

    /// Statements that the server works on.
    async fn under_way(&mut self) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = 'huxiang' \
                     AND position($1 in query) > 0";
        sqlx::query_scalar(count).bind(&self.view).fetch_one(&mut self.server).await.unwrap()
    }

    /// The most that are under way at once within a time, and how many at its end.
    async fn within(&mut self, time: Duration) -> (i64, i64) {
        let (since, mut most, mut last) = (Instant::now(), 0, 0);
        while since.elapsed() < time {
            last = self.under_way().await;
            most = most.max(last);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (most, last)
    }

    async fn gone(mut self) {
        self.server.execute(sqlx::AssertSqlSafe(format!("DROP VIEW {}", self.view))).await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_its_caller_gave_up_counts_until_the_server_has_ended_it() {
    let Some(url) = postgres() else { return };
    let mut watched = Watched::new(&url, "given_up", "SELECT 'a'::text AS owner, pg_sleep(9)::text AS s").await;
    let asked = watched.asked("timeout_ms: 1500, in_flight_max: 2", &url);
    for _ in 0..6 {
        let asked = Arc::clone(&asked);
        let given_up = tokio::spawn(async move { asked.one("a", &["/s"]).await });
        tokio::time::sleep(Duration::from_millis(60)).await;
        given_up.abort();
    }
    let (most, last) = watched.within(Duration::from_millis(2_500)).await;
    assert!(most == 2 && last == 0, "{most} at once of two, {last} left");
    assert_eq!(asked.one("b", &["/s"]).await.unwrap(), [], "there are places again");
    watched.gone().await;
}

#[tokio::test]
async fn a_statement_has_the_time_that_its_call_has() {
    let Some(url) = postgres() else { return };
    let mut watched = Watched::new(&url, "timed", "SELECT 'a'::text AS owner, pg_sleep(9)::text AS s").await;
    let asked = watched.asked("timeout_ms: 6000, in_flight_max: 2", &url);
    // On a connection that is new, and on one that is not.
    for round in 0..2 {
        let keys = ["a".into()];
        let wanted = [Pointer::parse("/s").unwrap()];
        let deadline = tokio::time::Instant::now() + Duration::from_millis(400);
        let (template, context) = (asked.one.as_ref().unwrap(), &asked.context);
        let fetch = Fetch { template, keys: &keys, inputs: &[], wanted: &wanted, deadline, context, page: None };
        let error = asked.connector.fetch(fetch).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceTimeout, "{}", error.detail);
        let (_, last) = watched.within(Duration::from_millis(600)).await;
        assert_eq!(last, 0, "round {round}");
        assert_eq!(asked.one("b", &["/s"]).await.unwrap(), []);
    }
    watched.gone().await;
}

#[tokio::test]
async fn a_statement_that_fails_keeps_its_connection_and_a_connection_that_fails_does_not() {
    let Some(url) = postgres() else { return };
    let select = "SELECT k.owner, pg_backend_pid()::text AS pid, (1 / length(k.owner))::text AS part \
                  FROM (VALUES ('a'), ('')) AS k (owner)";
    let mut watched = Watched::new(&url, "failing", select).await;
    let asked = watched.asked("timeout_ms: 3000, breaker: {enabled: false}", &url);
    let pid = async |asked: &Asked| asked.one("a", &["/pid"]).await.unwrap()[0].1.clone();
    let first = pid(&asked).await;
    for (key, wanted) in [("a", "/none"), ("", "/part")] {
        let error = asked.one(key, &[wanted]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourceError, "{}", error.detail);
        assert_eq!(pid(&asked).await, first, "{wanted}");
    }
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE position($1 in query) > 0 AND application_name = 'huxiang'";
    sqlx::query(end).bind(&watched.view).execute(&mut watched.server).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_ne!(pid(&asked).await, first);
    watched.gone().await;
}

/// A file that somebody else writes to: who reads it waits until that is over.
async fn locked(name: &str) -> (File, String, sqlx::SqliteConnection) {
    let (file, url) = sqlite(name).await;
    let mut writer = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let view = "CREATE VIEW seen AS SELECT owner, strftime('%s', 'now') || substr(strftime('%f', 'now'), 4) AS at \
                FROM houses WHERE no = 3";
    writer.execute(view).await.unwrap();
    writer.execute("BEGIN EXCLUSIVE").await.unwrap();
    (file, url, writer)
}

fn seen(limits: &str) -> String {
    binding("one: {view: seen, key_column: owner}").replace("timeout_ms: 700", limits)
}

/// The caller goes, and what it asked for hangs on.
async fn given_up(asked: &Arc<Asked>) {
    let asked = Arc::clone(asked);
    let given_up = tokio::spawn(async move { asked.one("b'x", &["/at"]).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    given_up.abort();
}

#[tokio::test]
async fn statements_come_at_the_rate_also_where_places_come_free_together() {
    let (_file, url, mut writer) = locked("burst").await;
    let asked = Arc::new(Asked::new(&seen("timeout_ms: 9000, in_flight_max: 2, per_second_max: 2"), &url));
    given_up(&asked).await;
    given_up(&asked).await;
    let ask = || {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move { asked.one("b'x", &["/at"]).await.unwrap()[0].1.clone() })
    };
    let calls: Vec<_> = (0..6).map(|_| ask()).collect();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    writer.execute("COMMIT").await.unwrap();
    let mut seen: Vec<i64> = Vec::new();
    for call in calls {
        let record = call.await.unwrap();
        seen.push(record.matches(char::is_numeric).collect::<String>().parse().unwrap());
    }
    seen.sort_unstable();
    assert!(seen.windows(3).all(|three| three[2] - three[0] > 1_000), "two a second: {seen:?}");
}

#[tokio::test]
async fn what_hangs_keeps_its_place_over_a_reload() {
    let (_file, url, mut writer) = locked("reload").await;
    let shared = Shared::default();
    let variables = |name: &str| (name == "URL").then(|| url.clone());
    let asked = |timeout_ms: u64| {
        let binding = seen(&format!("timeout_ms: {timeout_ms}, in_flight_max: 1"));
        Arc::new(compile_on(&binding, &variables, &EgressConfig::default(), "platforms: {}", &shared).unwrap())
    };
    let before = asked(9_000);
    given_up(&before).await;
    let after = asked(600);
    drop(before);
    shared.forget_unused();
    let error = after.one("b'x", &["/at"]).await.unwrap_err();
    assert_eq!((error.code, error.calls), (ErrorCode::SourceBusy, 0), "{}", error.detail);
    writer.execute("COMMIT").await.unwrap();
    let since = Instant::now();
    while after.one("b'x", &["/at"]).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(10), "its place is lost");
    }
}

#[tokio::test]
async fn who_asks_for_much_waits_behind_itself_for_a_connection_too() {
    let (_file, url, mut writer) = locked("fair").await;
    let shared = Shared::default();
    let variables = |name: &str| (name == "URL").then(|| url.clone());
    let of = |caller: &str| {
        let binding = seen("timeout_ms: 9000, in_flight_max: 1");
        let mut asked = compile_on(&binding, &variables, &EgressConfig::default(), "platforms: {}", &shared).unwrap();
        asked.context.principal = Some(caller.into());
        Arc::new(asked)
    };
    let (many, one) = (of("many"), of("one"));
    given_up(&many).await;
    let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ask = |name: &'static str, asked: &Arc<Asked>| {
        let (asked, ended) = (Arc::clone(asked), Arc::clone(&ended));
        tokio::spawn(async move {
            asked.one("b'x", &["/at"]).await.unwrap();
            ended.lock().unwrap().push(name);
        })
    };
    let mut calls: Vec<_> = (0..5).map(|_| ask("many", &many)).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    calls.push(ask("one", &one));
    tokio::time::sleep(Duration::from_millis(50)).await;
    writer.execute("COMMIT").await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
    let ended = ended.lock().unwrap();
    assert!(ended.iter().position(|name| *name == "one").unwrap() <= 1, "{ended:?}");
}

/// Threads of this process that work for SQLite.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.starts_with("sqlx-sqlite")).count()
}

/// Opening a file can hang, where it lies on another machine: a pipe nobody writes to is such a one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_that_do_not_open_take_no_more_threads_than_places_and_give_them_back() {
    // Other tests have threads too.
    if !alone::is_alone() {
        alone::run(module_path!(), "files_that_do_not_open_take_no_more_threads_than_places_and_give_them_back", &[]);
        return;
    }
    let (file, url) = sqlite("hanging").await;
    let aside = file.0.with_extension("aside");
    std::fs::rename(&file.0, &aside).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file.0).status().unwrap().success());
    let binding =
        binding(MANY).replace("timeout_ms: 700", "timeout_ms: 300, in_flight_max: 2, breaker: {enabled: false}");
    let asked = Asked::new(&binding, &url);
    let (timeout, busy) = (ErrorCode::SourceTimeout, ErrorCode::SourceBusy);
    for (code, calls) in [(timeout, 1), (timeout, 1), (busy, 0), (busy, 0), (busy, 0)] {
        let error = asked.many(&["a"], &["/no"]).await.unwrap_err();
        assert_eq!((error.code, error.calls), (code, calls), "{}", error.detail);
    }
    assert_eq!(threads(), 2, "as many hang as there are places");
    // Somebody comes: what was being opened is, and is no database.
    let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&file.0).unwrap();
    std::fs::rename(&aside, &file.0).unwrap();
    let since = Instant::now();
    while asked.many(&["a"], &["/no"]).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(10), "its places are lost");
    }
    drop(pipe);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(threads(), 0, "their threads have ended");
}

async fn house(name: &str, binding: &str) -> Whole {
    let contract = "type Query { house(owner: ID!): House }\n\
         type House @key(fields: \"owner\") @class(name: \"open\", level: 1) {\n  owner: ID!\n  grade: String\n  \
         items(no: [ID!]): [ItemInfo!]! @itemStates\n  more: More!\n  parts: [House!]\n}\n\
         type More { area: String @item(no: \"1\", zh: \"x\") }\n\
         type ItemInfo { no: ID! state: String! code: String fallback: Boolean }\n";
    Whole::new(&format!("sql-{name}"), "House", contract, &[("resolvers/housing.yaml", binding)], "").await
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_gives_way_to_its_fallback_and_one_that_answers_does_not() {
    let (_replica, replica) = sqlite("replica").await;
    let (_main, main) = sqlite("main").await;
    let binding = |main: &str, view: &str| {
        format!(
            "source: housing\ntitle: Housing\nprotocol: sql\nbase_url: {main}\nendpoints:\n  e:\n    entity: House\n    \
             establishes: true\n    many: {{view: {view}, key_column: owner}}\n    fallback: {{base_url: {replica}, \
             many: {{view: v_houses, key_column: owner}}}}\n    fields: {{grade: /grade, more.area: /area, parts: {{list: records, fields: {{owner: /no, grade: /grade}}}}}}\n"
        )
    };
    let query = "{ house(owner: \"b'x\") { grade parts { owner grade } more { area } items { state fallback } } }";
    let folder = Temporary::new("sql-none");
    let missing = folder.join("none.db");
    let served = house("down", &binding(&format!("sqlite:{}", missing.display()), "v_houses")).await;
    let answer = served.ask(query).await;
    assert_eq!(answer["data"]["house"]["grade"], "D", "{answer}");
    assert_eq!(answer["data"]["house"]["items"][0], serde_json::json!({"state": "ANSWERED", "fallback": true}));

    let served = house("up", &binding(&main, "v_houses")).await;
    let answer = served.ask(query).await;
    assert_eq!(answer["data"]["house"]["grade"], "D", "{answer}");
    assert_ne!(answer["data"]["house"]["items"][0]["fallback"], true, "{answer}");

    // Of a list of entities, the columns of what it holds are asked for though they are the entities' own, and no others.
    let answer = served.ask("{ house(owner: \"a\") { parts { owner grade } } }").await;
    let parts = serde_json::json!([{"owner": "331122101348000001", "grade": "C"}, {"owner": "2", "grade": null}]);
    assert_eq!(answer["data"]["house"]["parts"], parts, "{answer}");

    // A statement that is refused is an answer: the view is not there.
    let served = house("refused", &binding(&main, "v_none")).await;
    let answer = served.ask(query).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_ERROR", "{answer}");
}
