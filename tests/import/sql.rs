//! `huxiang source import` from SQL: schemata as people write them and as databases dump them. The draft is served
//! against a database made from the very schema.

use std::process::Output;

use huxiang::answer::Gateway;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support::{self, Folder, asked, gateway};

/// Read by SQLite and by PostgreSQL.
const SCHEMA: &str = "
-- A library; it's a comment; CREATE TABLE nothing (id INT);
CREATE TABLE authors (
  author_id INTEGER PRIMARY KEY, -- a number; as all keys here
  full_name VARCHAR(100) NOT NULL,
  born DATE
);
CREATE TABLE books (
  isbn VARCHAR(20) NOT NULL,
  author_id INTEGER NOT NULL REFERENCES authors (author_id),
  title TEXT NOT NULL,
  state VARCHAR(10) CHECK (state IN ('on shelf', 'lent', '03')),
  shelf INTEGER CHECK (shelf IN (1, 2)),
  price NUMERIC(8,2),
  pages INTEGER,
  views BIGINT,
  is_new BOOLEAN,
  changed TIMESTAMP,
  cover BYTEA,
  CONSTRAINT books_key PRIMARY KEY (isbn)
);
CREATE TABLE loans (
  isbn VARCHAR(20) NOT NULL,
  reader VARCHAR(20) NOT NULL,
  due DATE,
  PRIMARY KEY (isbn, reader),
  FOREIGN KEY (isbn) REFERENCES books
);
CREATE TABLE subjects (code CHAR(3) PRIMARY KEY, title TEXT);
CREATE TABLE books_subjects (
  isbn VARCHAR(20) REFERENCES books (isbn), code CHAR(3) REFERENCES subjects (code), PRIMARY KEY (isbn, code)
);
CREATE TABLE labels (book VARCHAR(20) UNIQUE NOT NULL REFERENCES books (isbn), printed INTEGER);
CREATE TABLE remarks (said TEXT, on_day DATE);
CREATE VIEW book_list AS SELECT b.isbn, b.title AS name, a.full_name, upper(b.title) AS shouted
  FROM books b JOIN authors AS a ON a.author_id = b.author_id;
";

const ROWS: [&str; 7] = [
    "INSERT INTO authors VALUES (1, 'Ann', '1970-01-02'), (2, 'Bo', NULL)",
    "INSERT INTO books (isbn, author_id, title, state, shelf, price, pages, views, is_new, changed) VALUES \
     ('x-1', 1, 'One', 'lent', 1, 12.50, 100, 9007199254740993, TRUE, '2026-03-04 05:06:07.25'), \
     ('x-2', 1, 'Two', 'on shelf', 2, NULL, NULL, NULL, FALSE, NULL), \
     ('y''3', 2, 'Three', '03', 2, 1, 3, 4, NULL, '2026-03-04 05:06:07')",
    "INSERT INTO loans VALUES ('x-1', 'r1', '2026-05-06'), ('x-1', 'r2', NULL), ('x-2', 'r1', NULL)",
    "INSERT INTO labels VALUES ('x-1', 7)",
    "INSERT INTO remarks VALUES ('good', '2026-01-01'), ('bad', NULL)",
    "INSERT INTO subjects VALUES ('abc', 'Letters'), ('123', 'Numbers')",
    "INSERT INTO books_subjects VALUES ('x-1', 'abc'), ('x-1', '123'), ('x-2', '123')",
];

fn import(root: &Folder, name: &str, text: &str, more: &[&str]) -> Output {
    root.write(name, text);
    let file = root.0.join(name);
    let arguments = ["source", "import", file.to_str().unwrap(), "--source", "src", "--title", "T"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(arguments).args(more);
    if !more.contains(&"--json") {
        command.args(["--out", root.path()]);
    }
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The drafted binding.
fn drafted(root: &Folder, text: &str) -> String {
    let output = import(root, "schema.sql", text, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
        .args(["source", "check", root.0.join("resolvers/src.yaml").to_str().unwrap(), "--root", root.path()])
        .output()
        .unwrap();
    let binding = root.read("resolvers/src.yaml");
    assert!(!stderr(&checked).contains("error"), "{}\n{binding}", stderr(&checked));
    binding
}

fn granted(root: &Folder) {
    let contract = root.read("schema/src.graphql");
    let entity = |line: &str| Some(line.strip_prefix("type ")?.split_once(" @key")?.0.to_owned());
    let entities: Vec<String> = contract.lines().filter_map(entity).collect();
    root.grant("src", &entities);
}

async fn answers_rightly(root: &Folder, url: &str) {
    granted(root);
    let binding = root.read("resolvers/src.yaml");
    let contract = root.read("schema/src.graphql");
    let gateway: Gateway = gateway(root, url).await.unwrap_or_else(|faults| panic!("{faults}\n{binding}\n{contract}"));
    let answer = asked(
        &gateway,
        "{ one: book(isbn: \"x-1\") { isbn title state stateCode shelf price pages views isNew changed authorId
             author { fullName born books { isbn } } loans { reader due } subjects { title books { isbn } } label { printed } }
           three: book(isbn: \"y'3\") { title stateCode state changed label { printed } loans { reader } }
           none: book(isbn: \"x-1' OR '1'='1\") { title }
           author(authorId: \"2\") { fullName born books { title author { fullName } } }
           nobody: author(authorId: \"002\") { fullName }
           word: author(authorId: \"two\") { fullName }
           books { isbn price } authors { authorId fullName } remarks { records { said onDay } }
           bookList(isbn: \"x-2\") { name fullName shouted } bookLists { isbn shouted } }",
    )
    .await;
    let one = json!({
        "isbn": "x-1", "title": "One", "state": "LENT", "stateCode": "lent", "shelf": 1, "price": "12.50", "pages": 100,
        "views": "9007199254740993", "isNew": true, "changed": "2026-03-04T05:06:07+08:00", "authorId": "1",
        "author": {"fullName": "Ann", "born": "1970-01-02", "books": [{"isbn": "x-1"}, {"isbn": "x-2"}]},
        "loans": [{"reader": "r1", "due": "2026-05-06"}, {"reader": "r2", "due": null}],
        "subjects": [{"title": "Letters", "books": [{"isbn": "x-1"}]},
                     {"title": "Numbers", "books": [{"isbn": "x-1"}, {"isbn": "x-2"}]}],
        "label": {"printed": 7},
    });
    let mut data = answer["data"].clone();
    // SQLite keeps a number of two decimals as a number.
    for price in [&mut data["one"]["price"]].into_iter().filter(|price| **price == "12.5") {
        *price = json!("12.50");
    }
    let prices: Vec<Value> = data["books"].as_array().into_iter().flatten().map(|book| book["isbn"].clone()).collect();
    assert_eq!(prices, ["x-1", "x-2", "y'3"], "{answer:#}");
    data["books"].take();
    // Rows have no order of their own.
    data["one"]["subjects"].as_array_mut().unwrap().sort_by_key(|subject| subject["title"].to_string());
    assert_eq!(
        data,
        json!({
            "one": one,
            "three": {"title": "Three", "stateCode": "03", "state": "N03", "changed": "2026-03-04T05:06:07+08:00",
                      "label": null, "loans": []},
            "none": null,
            "author": {"fullName": "Bo", "born": null, "books": [{"title": "Three", "author": {"fullName": "Bo"}}]},
            "nobody": null,
            "word": null,
            "books": null,
            "authors": [{"authorId": "1", "fullName": "Ann"}, {"authorId": "2", "fullName": "Bo"}],
            "remarks": {"records": [{"said": "good", "onDay": "2026-01-01"}, {"said": "bad", "onDay": null}]},
            "bookList": {"name": "Two", "fullName": "Ann", "shouted": "TWO"},
            "bookLists": [{"isbn": "x-1", "shouted": "ONE"}, {"isbn": "x-2", "shouted": "TWO"},
                          {"isbn": "y'3", "shouted": "THREE"}],
        }),
        "{answer:#}\n{binding}\n{contract}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_drafted_and_answers_from_sqlite() {
    let root = Folder::new("sql-sqlite");
    let binding = drafted(&root, SCHEMA);
    for told in [
        "protocol: sql",
        "many: {view: authors, key_column: author_id, key_type: integer, batch_max: 200}",
        "many: {view: books, key_column: isbn, batch_max: 200}",
        "# decide: shelf: what its codes mean, as `codes` or `map`: 1, 2",
        "# decide: remarks has no key of one column",
        "# decide: loans has no key of one column",
        "# decide: is isbn the key of this view?",
    ] {
        assert!(binding.contains(told), "{told}\n{binding}");
    }
    assert!(!binding.contains("/cover"), "bytes are no text\n{binding}");
    let url = format!("sqlite:{}", root.0.join("library.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    for statement in SCHEMA.split(";\n").chain(ROWS).filter(|statement| !statement.trim().is_empty()) {
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }
    connection.close().await.unwrap();
    answers_rightly(&root, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_drafted_and_answers_from_postgresql() {
    let Ok(url) = std::env::var("HUXIANG_TEST_POSTGRES") else {
        println!("skipped: set HUXIANG_TEST_POSTGRES to the address of an empty database to test against PostgreSQL");
        return;
    };
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let drop = ["book_list", "remarks", "labels", "books_subjects", "subjects", "loans", "books", "authors"]
        .map(|name| format!("DROP {} IF EXISTS {name}", if name == "book_list" { "VIEW" } else { "TABLE" }));
    let all = drop.iter().map(String::as_str).chain(SCHEMA.split(";\n")).chain(ROWS);
    for statement in all.filter(|statement| !statement.trim().is_empty()) {
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }
    let root = Folder::new("sql-postgres");
    drafted(&root, SCHEMA);
    answers_rightly(&root, &url).await;
    for statement in drop {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

/// As `pg_dump --schema-only` writes it.
const PG_DUMP: &str = r#"--
-- PostgreSQL database dump
--
\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;
CREATE TYPE public.mood AS ENUM (
    'glad',
    'so-so'
);
CREATE DOMAIN public.year AS integer
	CONSTRAINT year_check CHECK (((VALUE >= 1901) AND (VALUE <= 2155)));
CREATE FUNCTION public.touch() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
BEGIN
  CREATE TABLE never (id integer); -- ';'
  RETURN NEW;
END; $_$;
CREATE TABLE public.customer (
    customer_id integer DEFAULT nextval('public.customer_seq'::regclass) NOT NULL,
    store_id smallint NOT NULL,
    email character varying(50),
    feeling public.mood DEFAULT 'glad'::public.mood,
    born public.year,
    kind text DEFAULT 'a;b'::text NOT NULL,
    tags text[],
    "createdAt" timestamp with time zone DEFAULT now() NOT NULL,
    "Odd Name" text,
    CONSTRAINT customer_kind_check CHECK ((kind = ANY (ARRAY['private'::text, 'public'::text])))
);
COMMENT ON TABLE public.customer IS 'Who comes; and goes';
COMMENT ON COLUMN public.customer.email IS 'It''s where letters go';
ALTER TABLE public.customer OWNER TO postgres;
CREATE TABLE public.store (
    id smallint NOT NULL
);
SET search_path = other, pg_catalog;
CREATE TABLE elsewhere (
    id smallint PRIMARY KEY
);
SET search_path = public, pg_catalog;
CREATE TABLE public.measure (
    city text NOT NULL,
    at timestamp without time zone NOT NULL,
    value double precision
)
PARTITION BY RANGE (at);
CREATE TABLE public.measure_2026 PARTITION OF public.measure FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW public.customer_list AS
 SELECT cu.customer_id AS id,
    (((cu.kind || ' '::text) || cu.email))::character varying AS name,
    cu.feeling,
    count(*) AS visits
   FROM (public.customer cu
     JOIN public.store s ON ((s.id = cu.store_id)))
  GROUP BY cu.customer_id;
COPY public.store (id) FROM stdin;
1
CREATE TABLE data_is_no_sql (id integer);
it's; not
\.

INSERT INTO public.customer VALUES (1, 1, 'CREATE TABLE nor_this (id integer);');
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (customer_id);
ALTER TABLE ONLY public.store
    ADD CONSTRAINT store_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX customer_email ON public.customer USING btree (email) WHERE (kind = 'public'::text);
ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_store_id_fkey FOREIGN KEY (store_id) REFERENCES public.store(id) ON UPDATE CASCADE;
"#;

#[test]
fn a_dump_of_postgresql_is_read_without_its_data() {
    let root = Folder::new("sql-pg-dump");
    let binding = drafted(&root, PG_DUMP);
    let contract = root.read("schema/src.graphql");
    for told in [
        "many: {view: public.customer, key_column: customer_id, key_type: integer, batch_max: 200}",
        "feeling: {at: /feeling, map: {glad: GLAD, so-so: SO_SO}}",
        "kind: {at: /kind, map: {private: PRIVATE, public: PUBLIC}}",
        "# decide: tags: a list, as the database writes it",
        "createdAt: /createdAt",
        "oddName: \"/Odd Name\"",
        "store: {ref: /store_id}",
        "many: {view: public.customer, key_column: store_id, key_type: integer, batch_max: 200}",
        "customers: {ref: /customer_id}",
        "# decide: is id the key of this view?",
        "ask: {view: public.measure}",
        "view: other.elsewhere, key_column: id",
    ] {
        assert!(binding.contains(told), "{told}\n{binding}");
    }
    for told in ["\"It's where letters go\"\n  email: String", "born: Int", "createdAt: DateTime!", "visits: Decimal"] {
        assert!(contract.contains(told.trim_end_matches('!')), "{told}\n{contract}");
    }
    for no in ["never", "data_is_no_sql", "nor_this", "measure_2026"] {
        assert!(!binding.contains(no), "{no}\n{binding}");
    }
}

/// As `mysqldump --no-data` writes it.
const MYSQL_DUMP: &str = r"-- MySQL dump 10.13
/*!40101 SET NAMES utf8 */;
DROP TABLE IF EXISTS `film`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
CREATE TABLE `film` (
  `film_id` smallint unsigned NOT NULL AUTO_INCREMENT,
  `title` varchar(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'a\'; b' COMMENT 'It''s \'the\' title',
  `rating` enum('G','PG-13') DEFAULT 'G',
  `special` set('Trailers','Scenes') DEFAULT NULL,
  `is_on` tinyint(1) NOT NULL DEFAULT '1',
  `length` smallint DEFAULT NULL,
  `big` bigint unsigned DEFAULT NULL,
  `cover` mediumblob,
  `at` datetime DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`film_id`),
  KEY `idx_title` (`title`),
  FULLTEXT KEY `idx_text` (`title`)
) ENGINE=InnoDB AUTO_INCREMENT=1001 DEFAULT CHARSET=utf8mb4 COMMENT='Films; all of them'
/*!50100 PARTITION BY KEY (film_id) PARTITIONS 4 */;
INSERT INTO `film` VALUES (1,'CREATE TABLE x (id int);\'',NULL,NULL,1,NULL,NULL,NULL,NULL);
CREATE TABLE `copy` (
  `copy_id` int NOT NULL,
  `film_id` smallint unsigned NOT NULL,
  UNIQUE KEY `one` (`copy_id`),
  CONSTRAINT `fk` FOREIGN KEY (`film_id`) REFERENCES `film` (`film_id`) ON DELETE CASCADE
) ENGINE=InnoDB;
/*!50001 CREATE VIEW `film_list` AS SELECT
 1 AS `fid`,
 1 AS `title`*/;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `ins` AFTER INSERT ON `film` FOR EACH ROW BEGIN
    CREATE TABLE never (id int);
  END */;;
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`%` SQL SECURITY INVOKER */
/*!50001 VIEW `film_list` AS select `film`.`film_id` AS `fid`,`film`.`title` AS `title`,count(0) AS `n` from `film` group by `film`.`film_id` */;
";

#[test]
fn a_dump_of_mysql_is_read_without_its_data() {
    let root = Folder::new("sql-mysqldump");
    let binding = drafted(&root, MYSQL_DUMP);
    let contract = root.read("schema/src.graphql");
    for told in [
        "# decide: the gateway reads PostgreSQL and SQLite",
        "many: {view: film, key_column: film_id, key_type: integer, batch_max: 200}",
        "rating: {at: /rating, map: {G: G, PG-13: PG_13}}",
        "many: {view: copy, key_column: copy_id, key_type: integer, batch_max: 200}",
        "copies: {ref: /copy_id}",
        "view: film_list, key_column: fid, key_type: integer",
        "\"n\": /n",
    ] {
        assert!(binding.contains(told), "{told}\n{binding}");
    }
    for told in
        ["isOn: Boolean", "big: Decimal", "length: Int", "at: DateTime", "\"It's 'the' title\"\n  title: String"]
    {
        assert!(contract.contains(told), "{told}\n{contract}");
    }
    assert!(!binding.contains("never") && !binding.contains("/cover"), "{binding}");
}

#[test]
fn other_databases_are_read_as_far_as_it_goes() {
    let root = Folder::new("sql-mssql");
    let text = "SET ANSI_NULLS ON\nGO\nCREATE TABLE [dbo].[Order](\n\t[OrderID] [int] IDENTITY(1,1) NOT NULL,\n\
        \t[Placed By] [nvarchar](50) NULL,\n\t[Total]  AS (isnull([a],(0))),\n\t[Active] [bit] NOT NULL,\n\
        \t[RowGuid] [uniqueidentifier] ROWGUIDCOL NOT NULL,\n CONSTRAINT [PK_Order] PRIMARY KEY CLUSTERED \n(\n\
        \t[OrderID] ASC\n)WITH (PAD_INDEX = OFF) ON [PRIMARY]\n) ON [PRIMARY]\nGO\n\
        CREATE TABLE [dbo].[Line]([LineID] [int] PRIMARY KEY, [OrderID] [int] NOT NULL)\nGO\n\
        ALTER TABLE [dbo].[Line]  WITH CHECK ADD  CONSTRAINT [FK] FOREIGN KEY([OrderID])\n\
        REFERENCES [dbo].[Order] ([OrderID])\nGO\n";
    let binding = drafted(&root, text);
    for told in [
        "many: {view: dbo.Order, key_column: OrderID, key_type: integer, batch_max: 200}",
        "placedBy: \"/Placed By\"",
        "lines: {ref: /LineID}",
        "order: {ref: /OrderID}",
    ] {
        assert!(binding.contains(told), "{told}\n{binding}");
    }
    let root = Folder::new("sql-oracle");
    let text = "CREATE TABLE countries\n  ( country_id CHAR(2) CONSTRAINT c_nn NOT NULL\n  , name VARCHAR2(40)\n\
        , region NUMBER\n  , size_km NUMBER(10,0)\n  , CONSTRAINT country_c_id_pk PRIMARY KEY (country_id)\n )\n\
        ORGANIZATION INDEX;\nCOMMENT ON COLUMN countries.name IS 'Its name';\n/\n";
    let binding = drafted(&root, text);
    assert!(binding.contains("many: {view: countries, key_column: country_id, batch_max: 200}"), "{binding}");
    assert!(root.read("schema/src.graphql").contains("\"Its name\"\n  name: String"));
}

#[test]
fn tables_with_a_column_of_persons_fill_an_entity_that_is_known() {
    let root = Folder::new("sql-entity");
    root.write(
        "schema/portrait.graphql",
        "directive @key(fields: String!) on OBJECT\n\
         directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT\n\
         type Query { household(id: ID!): Household }\n\
         type Household @key(fields: \"id\") @class(name: \"base\", level: 1) { id: ID! registry: Registry! }\n\
         type Registry { personIds: [String!]! }\n",
    );
    let text = "CREATE TABLE fw (fwid int PRIMARY KEY, hzsfzh varchar(18), aqdj char(1));\n\
        CREATE TABLE da (hzsfzh varchar(18) PRIMARY KEY, mj numeric(8,2));\nCREATE TABLE other (x int);\n";
    let output = import(
        &root,
        "schema.sql",
        text,
        &["--json", "--entity", "Household", "--key", "HZSFZH=registry.personIds", "--root", root.path()],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let drafted: Value = serde_json::from_slice(&output.stdout).unwrap();
    let binding = drafted["files"]["resolvers/src.yaml"].as_str().unwrap();
    let contract = drafted["files"]["schema/src.graphql"].as_str().unwrap();
    assert!(
        binding.contains("entity: Household\n    key: registry.personIds\n    many: {view: fw, key_column: hzsfzh"),
        "{binding}"
    );
    assert!(binding.contains("fw:\n        list: records") && binding.contains("da.mj: /mj"), "{binding}");
    assert!(contract.contains("extend type Household") && contract.contains("fw: [Fw!]"), "{contract}");
    assert_eq!(drafted["left_out"][0]["operation"], "table other");
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_the_rest_is_drafted() {
    let root = Folder::new("sql-faults");
    let (deep, close) = ("(".repeat(100_000), ")".repeat(100_000));
    let sum = "1+".repeat(200_000);
    let text = format!(
        "CREATE TABLE good (id int PRIMARY KEY, n int CHECK ({deep}n{close}), m int CHECK (m = {sum}1));\n\n\
         CREATE TABLE copied AS SELECT * FROM good;\nCREATE VIEW odd AS VALUES (1);\nNONSENSE {deep};\n\
         CREATE VIEW deep AS SELECT {sum}1 AS x;\nCREATE TABLE open (id int PRIMARY KEY, s text DEFAULT 'not closed);\n"
    );
    let output = import(&root, "schema.sql", &text, &[]);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    for line in ["schema.sql:3:1", "schema.sql:4:1", "schema.sql:6:1", "schema.sql:7:1"] {
        assert!(told.contains(line), "{line}\n{}", told.chars().take(4_000).collect::<String>());
    }
    assert!(!told.contains("panicked") && told.contains("a quotation mark or comment begins here and does not end"));
    assert!(root.read("resolvers/src.yaml").contains("view: good"));
    for (text, message) in [("", "no operation that reads"), ("CREATE TABLE", "no operation that reads")] {
        let root = Folder::new("sql-nothing");
        let output = import(&root, "schema.sql", text, &[]);
        assert!(output.status.code() == Some(2) && stderr(&output).contains(message), "{}", stderr(&output));
    }
}

/// What published schemata come to: `IMPORT_SQL=FOLDER cargo test --test import sql -- --ignored --nocapture`.
/// With `HUXIANG_TEST_POSTGRES`, those that PostgreSQL takes are made there, each in a schema of its own, and every table
/// that is bound is asked for through the gateway: an empty list is an answer, an error is none.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a folder of published schemata: IMPORT_SQL=FOLDER, see docs/import.md"]
async fn published_schemata_are_drafted() {
    let folder = std::env::var("IMPORT_SQL").expect("IMPORT_SQL: a folder of .sql files");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = [0; 4];
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "sql")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let starts = ["create table", "create unlogged table", "create view", "create or replace view"];
        let defines = |line: &&str| starts.iter().any(|start| line.to_ascii_lowercase().starts_with(start));
        let tables = text.lines().map(str::trim_start).filter(defines).count();
        let root = Folder::new(&format!("sql-corpus-{name}"));
        let (drafted, took) = support::draft(file, &[], std::time::Duration::from_secs(120));
        let drafted = drafted.unwrap_or_else(|told| panic!("{name}: {told}"));
        let files = &drafted["files"];
        for path in ["resolvers/src.yaml", "schema/src.graphql"] {
            root.write(path, files[path].as_str().unwrap());
        }
        granted(&root);
        let binding = root.read("resolvers/src.yaml");
        let views = binding.split("view: ").skip(1).filter_map(|rest| rest.split([',', '}']).next());
        let bound = views.collect::<std::collections::BTreeSet<_>>().len();
        let (lists, right) = listed(&root, name, &text, &binding).await;
        println!("{name}: {bound} of {tables} tables and views, {right} of {lists} lists answered, {took:.1?}");
        for (sum, count) in all.iter_mut().zip([tables, bound, lists, right]) {
            *sum += count;
        }
    }
    println!("all: {all:?}");
    let [tables, bound, lists, right] = all;
    assert!(bound * 10 >= tables * 9 && right * 10 >= lists * 9 && tables > 0, "{all:?}: docs/import.md says more");
}

/// How many lists of all rows the draft has, and how many of them a database made from the schema answers.
async fn listed(root: &Folder, name: &str, text: &str, binding: &str) -> (usize, usize) {
    let sqlite = format!("sqlite:{}", root.0.join("db.sqlite").display());
    let postgres = std::env::var("HUXIANG_TEST_POSTGRES").ok();
    let url = if name.ends_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(&format!("{sqlite}?mode=rwc")).await.unwrap();
        let made = connection.execute(AssertSqlSafe(text.to_owned())).await;
        made.unwrap_or_else(|error| panic!("{name}: {error}"));
        sqlite
    } else if let Some(url) = postgres.filter(|_| !binding.contains("the gateway reads PostgreSQL and SQLite")) {
        let database = format!("import_{}", name.replace('-', "_"));
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        for statement in [format!("DROP DATABASE IF EXISTS {database}"), format!("CREATE DATABASE {database}")] {
            connection.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        let url = format!("{}/{database}", url.rsplit_once('/').unwrap().0);
        // psql goes on where one statement fails, as for want of an extension.
        let file = root.0.join("made.sql");
        let stops = |line: &&str| {
            let line = line.trim().to_ascii_uppercase();
            line.starts_with("\\SET ON_ERROR") || ["BEGIN;", "COMMIT;"].contains(&line.as_str())
        };
        std::fs::write(&file, text.lines().filter(|line| !stops(line)).collect::<Vec<_>>().join("\n")).unwrap();
        std::process::Command::new("psql").args(["-q", "-d", &url, "-f"]).arg(&file).output().unwrap();
        url
    } else {
        let loaded = gateway(root, "sqlite:/nowhere.db").await;
        loaded.map_err(|faults| panic!("{name}: {faults}")).ok();
        return (0, 0);
    };
    let gateway = gateway(root, &url).await.unwrap_or_else(|faults| panic!("{name}: {faults}"));
    let contract = root.read("schema/src.graphql");
    let query = contract.split("type Query {\n").nth(1).unwrap().split("\n}").next().unwrap().to_owned();
    let (mut lists, mut right) = (0, 0);
    for line in query.lines().filter(|line| line.contains(": [")) {
        let (field, kind) = line.trim().split_once(": [").unwrap();
        let kind = kind.trim_end_matches("!]!");
        let body = contract.split(&format!("type {kind} @key")).nth(1).unwrap().split("\n}").next().unwrap();
        let leaves = body.lines().skip(1).filter_map(|line| line.trim().split_once(": "));
        let leaves: Vec<&str> = leaves
            .filter(|(name, of)| {
                let named = of.trim_end_matches('!');
                let plain = ["ID", "String", "Int", "Decimal", "Boolean", "Date", "DateTime"].contains(&named);
                (plain || contract.contains(&format!("enum {named} {{"))) && !name.starts_with('"')
            })
            .map(|(name, _)| name)
            .collect();
        let answer = asked(&gateway, &format!("{{ {field} {{ {} }} }}", leaves.join(" "))).await;
        lists += 1;
        match answer["errors"].is_null() && answer["data"][field].is_array() {
            true => right += 1,
            false => println!("  {name}: {field}: {}", answer["errors"][0]),
        }
    }
    (lists, right)
}

/// A fuzzer found it: a key of that length is none in YAML.
#[test]
fn what_is_too_long_to_be_a_code_is_a_text() {
    let root = Folder::new("long-codes");
    let long = "b".repeat(1_500);
    drafted(&root, &format!("CREATE TABLE t (id int PRIMARY KEY, kind varchar(9) CHECK (kind IN ('a', '{long}')));"));
    let contract = root.read("schema/src.graphql");
    assert!(contract.contains("kind: String"), "{contract}");
}
