//! `${file:NAME}`: secrets and addresses in files that are replaced while the gateway runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use huxiang::base::code::ErrorCode;
use md5::{Digest, Md5};

use crate::support::mounted::{A_LOOK, Mounted};
use crate::support::serve;
use crate::support::signed::hex;

/// Answers with the header.
async fn echo(name: &'static str) -> String {
    let data = get(async move |headers: HeaderMap| {
        serde_json::to_string(headers.get(name).map_or("-", |value| value.to_str().unwrap())).unwrap()
    });
    serve(Router::new().route("/a", data)).await
}

#[tokio::test]
async fn a_secret_in_a_file_counts_as_soon_as_it_is_replaced() {
    let mounted = Mounted::new("rotated");
    mounted.put("key", "one\n");
    let asked =
        mounted.compile("sign: {scheme: bearer, token: \"${file:key}\"}", &echo("authorization").await).unwrap();
    let sent = async || asked.one("k", &[]).await.map(|found| found[0].1.clone());
    assert_eq!(sent().await.unwrap(), "\"Bearer one\"");
    mounted.put("key", "two");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"Bearer two\"");
    // Missing for a moment: the last one counts; for longer, nothing is sent.
    std::fs::remove_file(mounted.0.join("key")).unwrap();
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"Bearer two\"");
    tokio::time::sleep(A_LOOK).await;
    let error = sent().await.unwrap_err();
    assert!(error.code == ErrorCode::Internal && error.detail.contains("`key` cannot be read"), "{error:?}");
    mounted.put("key", "three");
    assert_eq!(sent().await.unwrap(), "\"Bearer three\"");
}

#[tokio::test]
async fn the_next_token_is_fetched_with_the_client_secret_that_is_in_the_file_now() {
    let mounted = Mounted::new("client");
    mounted.put("client-secret", "s1");
    let token = post(async |headers: HeaderMap| match headers["authorization"].to_str().unwrap() {
        known if known == format!("Basic {}", STANDARD.encode("id:s1")) => r#"{"access_token":"t1"}"#,
        known if known == format!("Basic {}", STANDARD.encode("id:s2")) => r#"{"access_token":"t2"}"#,
        other => panic!("{other}"),
    });
    let good = Arc::new(AtomicU64::new(1));
    let now = Arc::clone(&good);
    let data = get(async move |headers: HeaderMap| -> Response {
        match headers["authorization"] == format!("Bearer t{}", now.load(Ordering::SeqCst)) {
            true => "{}".into_response(),
            false => StatusCode::UNAUTHORIZED.into_response(),
        }
    });
    let url = serve(Router::new().route("/token", token).route("/a", data)).await;
    let path = mounted.0.join("client-secret");
    let sign = format!(
        "sign: {{scheme: oauth2, token_url: /token, client_id: id, client_secret: \"${{file:{}}}\"}}",
        path.display()
    );
    let asked = mounted.compile(&sign, &url).unwrap();
    asked.one("k", &[]).await.unwrap();
    mounted.put("client-secret", "s2");
    good.store(2, Ordering::SeqCst);
    tokio::time::sleep(A_LOOK).await;
    asked.one("k", &[]).await.unwrap();
}

#[test]
fn a_binding_names_no_file_but_those_of_the_folder_of_secrets() {
    let mounted = Mounted::new("bounds");
    mounted.put("key", "k");
    std::fs::create_dir(mounted.0.join("sub")).unwrap();
    mounted.put("sub/key", "k");
    let faults = |name: &str| {
        let sign = format!("sign: {{scheme: bearer, token: \"${{file:{name}}}\"}}");
        mounted.compile(&sign, "http://127.0.0.1:1").err().unwrap_or_default()
    };
    assert_eq!(faults("key"), "");
    assert_eq!(faults("sub/key"), "");
    for outside in ["../key", "/etc/hostname", "sub/../../key", "", ".", &format!("{}-other/key", mounted.0.display())]
    {
        assert!(faults(outside).contains("is not a file of the folder of secrets"), "{outside}: {}", faults(outside));
    }
    assert!(faults("none").contains("`none` cannot be read"));
    let elsewhere = mounted.compile(
        "sign: {scheme: oauth2, token_url: /t, client_id: i, client_secret: s, scope: \"${file:key}\"}",
        "http://127.0.0.1:1",
    );
    let elsewhere = elsewhere.err().unwrap_or_default();
    assert!(elsewhere.contains("a file cannot be read here"), "{elsewhere}");
}

#[tokio::test]
async fn a_header_is_sent_as_its_file_has_it_now() {
    let mounted = Mounted::new("header");
    mounted.put("code", "one\n");
    let asked =
        mounted.compile("headers: {Authorization: \"APPCODE ${file:code}\"}", &echo("authorization").await).unwrap();
    let sent = async || asked.one("k", &[]).await.map(|found| found[0].1.clone());
    assert_eq!(sent().await.unwrap(), "\"APPCODE one\"");
    mounted.put("code", "two");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"APPCODE two\"");
    // No header's value: for a moment the last counts, then nothing is sent, and the error does not hold it.
    mounted.put("code", "three\nfour");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"APPCODE two\"");
    tokio::time::sleep(2 * A_LOOK).await;
    let error = sent().await.unwrap_err();
    assert!(error.code == ErrorCode::Internal && !error.detail.contains("three"), "{error:?}");
    mounted.put("code", "five");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"APPCODE five\"");
}

/// Answers with its own name, below a folder that a secret names.
async fn named(name: &'static str) -> String {
    let data = get(async move |request: axum::extract::Request| {
        serde_json::to_string(&format!("{name} {}", request.uri().path())).unwrap()
    });
    serve(Router::new().fallback_service(data)).await
}

#[tokio::test]
async fn a_source_is_asked_at_the_address_that_its_file_has_now() {
    let mounted = Mounted::new("address");
    let (first, second) = (named("first").await, named("second").await);
    mounted.put("url", &format!("{first}/\n"));
    mounted.put("tenant", "a/b");
    let yaml = |url: &str| {
        format!(
            "source: test\ntitle: Test\nbase_url: \"{url}\"\nendpoints:\n  e:\n    entity: Household\n    \
             one: {{get: /a}}\n"
        )
    };
    let asked = mounted.compile_whole(&yaml("${file:url}"), "").unwrap();
    let sent = async || asked.one("k", &[]).await.map(|found| found[0].1.clone());
    assert_eq!(sent().await.unwrap(), "\"first /a\"");
    mounted.put("url", &second);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(sent().await.unwrap(), "\"second /a\"");
    // What stands beside other text is a part of the address that nothing in it can end.
    let asked = mounted.compile_whole(&yaml("${URL}/t-${file:tenant}/x"), &first).unwrap();
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, "\"first /t-a%2Fb/x/a\"");
    mounted.put("url", "topsecret");
    assert!(mounted.compile_whole(&yaml("${file:url}"), "").err().unwrap().contains("not an address this protocol"));
    assert!(!mounted.compile_whole(&yaml("${file:url}"), "").err().unwrap().contains("topsecret"));
}

#[tokio::test]
async fn a_database_is_opened_with_what_its_file_holds_now() {
    let mounted = Mounted::new("database");
    for (name, value) in [("one", "1"), ("two", "2")] {
        let path = mounted.0.join(format!("{name}.sqlite"));
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let statement = format!("CREATE TABLE v (id TEXT, a TEXT); INSERT INTO v VALUES ('k', '{value}')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        pool.close().await;
    }
    let address = |name: &str| format!("sqlite:{}", mounted.0.join(format!("{name}.sqlite")).display());
    mounted.put("housing.url", &address("one"));
    let yaml = "source: housing\ntitle: Test\nprotocol: sql\nbase_url: \"${file:housing.url}\"\nendpoints:\n  e:\n    \
                entity: Household\n    many: {view: v, key_column: id}\n";
    let asked = mounted.compile_whole(yaml, "").unwrap();
    let read = async || asked.many(&["k"], &["/a"]).await.unwrap()[0].1.clone();
    assert_eq!(read().await, r#"{"a":"1"}"#);
    mounted.put("housing.url", &address("two"));
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(read().await, r#"{"a":"2"}"#);
}

#[tokio::test]
async fn all_that_a_signature_is_made_of_may_stand_in_files() {
    let mounted = Mounted::new("signed");
    mounted.put("app", "app1");
    mounted.put("salt", "s1");
    mounted.put("user", "u1");
    let sign = "sign: {scheme: digest, hash: md5, app_key: \"${file:app}\", secret: \"x${file:salt}\", \
                text: \"{app_key}{secret}${file:salt}\", send: {headers: {X-Sign: \"{app_key} {signature}\"}}}";
    let asked = mounted.compile(sign, &echo("x-sign").await).unwrap();
    let basic =
        mounted.compile("sign: {scheme: basic, user: \"${file:user}\", password: p}", &echo("authorization").await);
    let basic = basic.unwrap();
    let signed = |app: &str, salt: &str| format!("\"{app} {}\"", hex(&Md5::digest(format!("{app}x{salt}{salt}"))));
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, signed("app1", "s1"));
    assert_eq!(basic.one("k", &[]).await.unwrap()[0].1, format!("\"Basic {}\"", STANDARD.encode("u1:p")));
    mounted.put("app", "app2");
    mounted.put("salt", "s2");
    mounted.put("user", "u2");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, signed("app2", "s2"));
    assert_eq!(basic.one("k", &[]).await.unwrap()[0].1, format!("\"Basic {}\"", STANDARD.encode("u2:p")));
}

#[tokio::test]
async fn a_token_is_fetched_at_the_address_that_its_file_has_now_below_a_base_url_in_another() {
    let mounted = Mounted::new("token-url");
    let server = async |name: &'static str| {
        let token = post(async move || format!("{{\"access_token\":\"{name}\"}}"));
        let data = get(async |headers: HeaderMap| format!("\"{}\"", headers["authorization"].to_str().unwrap()));
        serve(Router::new().route("/token", token).route("/a", data)).await
    };
    let (first, second) = (server("t1").await, server("t2").await);
    mounted.put("url", &format!("{first}/"));
    let yaml = "source: test\ntitle: Test\nbase_url: \"${file:url}\"\nsign: {scheme: oauth2, token_url: /token, \
                client_id: i, client_secret: s}\nendpoints:\n  e:\n    entity: Household\n    one: {get: /a}\n";
    let asked = mounted.compile_whole(yaml, "").unwrap();
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, "\"Bearer t1\"");
    mounted.put("url", &second);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, "\"Bearer t2\"");
}

#[tokio::test]
async fn a_column_of_the_instance_list_may_name_a_file() {
    let mounted = Mounted::new("instances");
    mounted.put("bank-a", "ka");
    std::fs::write(mounted.0.join("banks.csv"), "id,title,key\na,A,${file:bank-a}\n").unwrap();
    let yaml = format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\nheaders: {{X-Key: \"${{instance.key}}\"}}\n\
         instances: {{file: {}}}\nendpoints:\n  e:\n    entity: Household\n    one: {{get: /a}}\n",
        mounted.0.join("banks.csv").display()
    );
    let asked = mounted.compile_whole(&yaml, &echo("x-key").await).unwrap();
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, "\"ka\"");
    mounted.put("bank-a", "kb");
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, "\"kb\"");
}

/// Every secret of every scheme, in whatever is printed of the source and its failures.
#[tokio::test]
async fn secrets_stand_in_no_print_and_no_error() {
    let mounted = Mounted::new("printed");
    mounted.put("key", "topsecret-file");
    let url = serve(Router::new().fallback(async || (StatusCode::FORBIDDEN, r#"{"error":"no"}"#))).await;
    let send = "send: {headers: {X-Sign: \"{signature}\"}}";
    let session = "session: {post: /l, body: {p: topsecret}, query: {q: topsecret}, secret_at: /s, \
                   sign: {scheme: bearer, token: topsecret}}";
    for sign in [
        "{scheme: api-key, query: k, key: topsecret}".to_owned(),
        "{scheme: api-key, header: k, key: \"${file:key}\"}".to_owned(),
        "{scheme: bearer, token: topsecret}".to_owned(),
        "{scheme: oauth2, token_url: /t, client_id: i, client_secret: topsecret}".to_owned(),
        format!(
            "{{scheme: hmac, hash: sm3, secret: topsecret, text: \"{{timestamp}}\", hmac_key: \"topsecret{{secret}}\", {send}}}"
        ),
        format!("{{scheme: digest, hash: md5, secret: topsecret, text: \"topsecret{{secret}}\", {send}}}"),
        format!("{{scheme: bearer, {session}}}"),
        "{scheme: basic, user: \"${file:key}\", password: p}\nheaders: {X-Key: \"a ${file:key}\"}".to_owned(),
    ] {
        for url in [url.as_str(), "http://127.0.0.1:1"] {
            let asked = mounted.compile(&format!("sign: {sign}"), url).unwrap();
            let error = asked.one("k", &[]).await.unwrap_err();
            let printed = format!("{error:?} {:?}", asked.connector);
            assert!(!printed.contains("topsecret"), "{sign}: {printed}");
        }
    }
}
