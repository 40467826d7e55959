//! SQL sources: bound keys, text columns, nothing writable, deadlines.

mod source_support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use huxiang::base::code::ErrorCode;
use source_support::whole::Whole;
use source_support::{Asked, compile, record};
use sqlx::{Connection, Executor};

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

struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn sqlite(name: &str) -> (File, String) {
    let path = std::env::temp_dir().join(format!("huxiang-test-{}-{name}.db", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    for statement in SETUP {
        connection.execute(statement).await.unwrap();
    }
    connection.close().await.unwrap();
    (File(path), url)
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

#[tokio::test]
async fn postgresql_rows_are_read_by_bound_keys_as_text() {
    let Ok(url) = std::env::var("HUXIANG_TEST_POSTGRES") else {
        println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database to test against PostgreSQL");
        return;
    };
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
    let missing = std::env::temp_dir().join(format!("huxiang-test-{}-none.db", std::process::id()));
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
