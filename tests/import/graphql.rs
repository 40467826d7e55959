//! `huxiang source import` from GraphQL: SDL, and a server that describes itself. The draft is served against the very
//! server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Output;

use async_graphql::{
    EmptyMutation, EmptySubscription, Enum, ID, Object, Request, SDLExportOptions, Schema, SimpleObject, Union,
};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;

use crate::support::{Folder, asked, gateway};

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum State {
    OnShelf,
    Lent,
}

#[derive(SimpleObject, Clone)]
struct Author {
    id: ID,
    full_name: String,
}

#[derive(SimpleObject, Clone)]
struct Book {
    id: ID,
    title: String,
    pages: i32,
    weight: Option<f64>,
    state: State,
    tags: Vec<String>,
    author: Author,
}

#[derive(SimpleObject)]
struct Edition {
    told: String,
}

#[derive(Union)]
enum Anything {
    Book(Book),
    Author(Author),
}

#[derive(SimpleObject)]
struct PageInfo {
    end_cursor: Option<String>,
    has_next_page: bool,
}

#[derive(SimpleObject)]
struct BookEdge {
    node: Book,
}

#[derive(SimpleObject)]
struct BookConnection {
    edges: Vec<BookEdge>,
    page_info: PageInfo,
}

fn author(id: &str) -> Author {
    Author { id: id.into(), full_name: format!("Author {id}") }
}

fn book(id: &str) -> Option<Book> {
    let number: i32 = id.parse().ok().filter(|number| *number < 100)?;
    let state = if number == 2 { State::Lent } else { State::OnShelf };
    let tags = vec!["a".to_owned(), "b".to_owned()];
    let (title, author) = (format!("Book {id}"), author("7"));
    Some(Book { id: id.into(), title, pages: number * 10, weight: Some(1.5), state, tags, author })
}

struct Query;

#[Object]
impl Query {
    /// One book.
    async fn book(&self, id: ID) -> Option<Book> {
        book(&id)
    }

    async fn books(&self) -> Vec<Book> {
        ["1", "2"].iter().filter_map(|id| book(id)).collect()
    }

    async fn shelf(&self, after: Option<String>, first: Option<i32>) -> BookConnection {
        let (ids, end_cursor) = match after {
            None => (["1", "2"].as_slice(), Some("c".to_owned())),
            Some(_) => (["3"].as_slice(), None),
        };
        let has_next_page = end_cursor.is_some() && first.is_some();
        let edges = ids.iter().filter_map(|id| Some(BookEdge { node: book(id)? })).collect();
        BookConnection { edges, page_info: PageInfo { end_cursor, has_next_page } }
    }

    async fn authors_by_ids(&self, ids: Vec<ID>) -> Vec<Author> {
        ids.iter().rev().map(|id| author(id)).collect()
    }

    async fn books_of_author(&self, author_id: ID) -> Vec<Book> {
        if author_id == "7" { ["5", "6"].iter().filter_map(|id| book(id)).collect() } else { Vec::new() }
    }

    async fn search(&self, term: String) -> Vec<Book> {
        book(&term).into_iter().collect()
    }

    /// Asked by its key, and by more: what is optional stays away.
    async fn edition(&self, state: State, book_id: ID, year: Option<i32>, proof: bool) -> Option<Edition> {
        let state = if state == State::OnShelf { "on shelf" } else { "lent" };
        (book_id != "9").then(|| Edition { told: format!("{} {state} {year:?} {proof}", book_id.as_str()) })
    }

    async fn books_in(&self, state: State) -> Vec<Book> {
        ["1", "2"].iter().filter_map(|id| book(id)).filter(|book| book.state == state).collect()
    }

    async fn anything(&self, id: ID) -> Option<Anything> {
        book(&id).map(Anything::Book)
    }

    async fn version(&self) -> &str {
        "7.1"
    }

    #[graphql(entity)]
    async fn book_by_id(&self, id: ID) -> Option<Book> {
        book(&id)
    }
}

type Library = Schema<Query, EmptyMutation, EmptySubscription>;

async fn served() -> (Library, String) {
    let library = Schema::build(Query, EmptyMutation, EmptySubscription).finish();
    let own = library.clone();
    let answer = move |body: Bytes| {
        let library = own.clone();
        async move {
            let request: Request = serde_json::from_slice(&body).unwrap();
            serde_json::to_string(&library.execute(request).await).unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await });
    (library, url)
}

fn import(what: &str, root: &Folder) -> Output {
    let arguments = ["source", "import", what, "--source", "src", "--title", "T", "--out", root.path()];
    std::process::Command::new(env!("CARGO_BIN_EXE_huxiang")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ENTITIES: [&str; 4] = ["Book", "Author", "AuthorsByIds", "Version"];

fn granted(root: &Folder) {
    let contract = root.read("schema/src.graphql");
    let there = |entity: &&&str| contract.contains(&format!("type {entity} @key"));
    root.grant("src", &ENTITIES.iter().filter(there).map(|entity| (*entity).to_owned()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subgraph_is_drafted_from_its_sdl_and_answers() {
    let (library, url) = served().await;
    let root = Folder::new("subgraph");
    root.write("library.graphql", &library.sdl_with_options(SDLExportOptions::new().federation()));
    let output = import(root.0.join("library.graphql").to_str().unwrap(), &root);
    assert!(output.status.success(), "{}", stderr(&output));
    granted(&root);
    let binding = root.read("resolvers/src.yaml");
    for told in [
        "protocol: graphql",
        "many: {entities: {typename: Book, key: id}, batch_max: 100}",
        "one: {field: book, argument: {name: id, type: \"ID!\"}}",
        "pages: {cursor: after, next: /pageInfo/endCursor, size_parameter: first, size: 100}",
        "query search: it is asked by `term`, which is no key",
        "# decide: constants: which value has `state`, always?",
        "constants: [{name: state, type: \"State!\", value: ON_SHELF}, {name: proof, type: \"Boolean!\", value: false}]",
        "query anything: `Anything` is a union",
    ] {
        assert!(binding.contains(told), "{told}\n{binding}");
    }
    let gateway = gateway(&root, &url).await.unwrap_or_else(|faults| panic!("{faults}\n{binding}"));
    let answer = asked(
        &gateway,
        "{ a: book(id: \"1\") { id title pages weight state stateCode tags author { fullName } }
           b: book(id: \"2\") { state } none: book(id: \"100\") { title }
           c: book(id: \"4\") { edition { told } } d: book(id: \"9\") { edition { told } }
           booksIn { id } books { id title } shelf { id } version { value } author(id: \"7\") { authorsByIds { fullName } booksOfAuthor { title } } }",
    )
    .await;
    assert_eq!(
        answer["data"],
        json!({
            "a": {"id": "1", "title": "Book 1", "pages": 10, "weight": "1.5", "state": "ON_SHELF", "stateCode": "ON_SHELF",
                  "tags": ["a", "b"], "author": {"fullName": "Author 7"}},
            "b": {"state": "LENT"},
            "none": null,
            "c": {"edition": {"told": "4 on shelf None false"}},
            "d": {"edition": {"told": null}},
            "booksIn": [{"id": "1"}],
            "books": [{"id": "1", "title": "Book 1"}, {"id": "2", "title": "Book 2"}],
            "shelf": [{"id": "1"}, {"id": "2"}, {"id": "3"}],
            "version": {"value": "7.1"},
            "author": {"authorsByIds": {"fullName": "Author 7"}, "booksOfAuthor": [{"title": "Book 5"}, {"title": "Book 6"}]},
        }),
        "{answer:#}\n{binding}\n{}",
        root.read("schema/src.graphql")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_describes_itself_and_only_its_host_is_asked() {
    let (library, url) = served().await;
    let (root, other) = (Folder::new("introspected"), Folder::new("introspection-file"));
    let output = import(&url, &root);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer = library.execute(huxiang::draft::QUESTIONS[1]).await;
    other.write("answer.json", &serde_json::to_string(&answer).unwrap());
    let output = import(other.0.join("answer.json").to_str().unwrap(), &other);
    assert!(output.status.success(), "{}", stderr(&output));
    // Introspection tells no keys of subgraphs.
    assert!(root.read("resolvers/src.yaml").contains("entities: {typename: Book"));
    assert!(!other.read("resolvers/src.yaml").contains("entities:"));
    granted(&other);
    let gateway = gateway(&other, &url).await.unwrap_or_else(|faults| panic!("{faults}"));
    let answer = asked(&gateway, "{ a: book(id: \"1\") { title } b: book(id: \"2\") { title state } }").await;
    let expected = json!({"a": {"title": "Book 1"}, "b": {"title": "Book 2", "state": "LENT"}});
    assert_eq!(answer["data"], expected, "{answer:#}");
    // A redirect leads to another host: it is not followed.
    let away = Router::new().fallback(post(|| async { axum::response::Redirect::temporary("http://127.0.0.1:1/") }));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, away).await });
    let output = import(&elsewhere, &Folder::new("elsewhere"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("answers with HTTP status 307 and no JSON"), "{}", stderr(&output));
}

#[test]
fn what_is_wrong_with_a_schema_is_told_with_its_place() {
    let folder = Folder::new("sdl-faults");
    let cases = [
        ("type Query {\n  a: \n}\n", "doc.graphql:3:1", "expected"),
        ("type Query {\n  a: Int\n  a: Int\n}\n", "doc.graphql:3:3", "a"),
        ("type Thing { a: Int }\n", "doc.graphql", "no operation that reads could be bound"),
        ("{\"data\": {\"__schema\": {}}}", "doc.graphql", "its `__schema` has no `types`"),
    ];
    for (text, place, message) in cases {
        folder.write("doc.graphql", text);
        let output = import(Path::new(folder.path()).join("doc.graphql").to_str().unwrap(), &folder);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}\n{told}");
        assert!(told.contains(place) && told.contains(message) && told.contains("hint:"), "{text}\n{told}");
    }
    let deep = format!("type Query {{ a(x: {}): Int }}", "[".repeat(100_000));
    folder.write("deep.graphql", &deep);
    let told = stderr(&import(Path::new(folder.path()).join("deep.graphql").to_str().unwrap(), &folder));
    assert!(told.contains("nested too deeply"), "{told}");
}
