//! Requests whose body is what forms send (`application/x-www-form-urlencoded`): read and verified by the listener with
//! nothing of the gateway's own code.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use hmac::{Hmac, KeyInit, Mac};
use huxiang::base::code::ErrorCode;
use md5::{Digest, Md5};
use serde_json::json;
use sha2::Sha256;
use sm3::Sm3;

use crate::support::signed::{binding, hex, hmac, received};
use crate::support::{Asked, compile, record, serve};

const FORM: &str = "application/x-www-form-urlencoded";

/// What a form says, read as a server reads it.
fn decoded(form: &[u8], charset: &'static encoding_rs::Encoding) -> Vec<(String, String)> {
    let text = |part: &[u8]| {
        let (mut bytes, mut at) = (Vec::new(), 0);
        while at < part.len() {
            match part[at] {
                b'%' => {
                    let digits = std::str::from_utf8(&part[at + 1..at + 3]).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    at += 2;
                }
                b'+' => bytes.push(b' '),
                byte => bytes.push(byte),
            }
            at += 1;
        }
        let (text, _, wrong) = charset.decode(&bytes);
        assert!(!wrong, "{bytes:?} is not {}", charset.name());
        text.into_owned()
    };
    let pair = |pair: &[u8]| {
        let at = pair.iter().position(|byte| *byte == b'=').expect("a pair has a value");
        (text(&pair[..at]), text(&pair[at + 1..]))
    };
    form.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn pairs(form: &str) -> Vec<(String, String)> {
    decoded(form.as_bytes(), encoding_rs::UTF_8)
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_form_is_sent_encoded_and_says_what_it_is() {
    let seen =
        received("", "{post: /a, query: {q: 1}, form: {id: \"{key}\", \"a&b\": \"x=y&z+ü\", n: 5, none: \"\"}}").await;
    assert_eq!((seen.method.as_str(), seen.query.as_str(), seen.header("content-type")), ("POST", "q=1", FORM));
    assert_eq!(pairs(&seen.body), [pair("a&b", "x=y&z+ü"), pair("id", "k 1"), pair("n", "5"), pair("none", "")]);
    let seen = received("", "{post: /a, form: {}}").await;
    assert_eq!((seen.header("content-type"), seen.body.as_str()), (FORM, ""));
}

#[tokio::test]
async fn keys_are_repeated_or_joined_in_a_form_and_pages_are_asked_for_in_it() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let answer = post(async move |body: String| {
        let form = pairs(&body);
        let page = form.iter().find(|(name, _)| name == "page").map_or("1", |(_, page)| page.as_str()).to_owned();
        kept.lock().unwrap().push(form);
        let rows = if page == "1" { json!([{"id": "a&b"}, {"id": "2"}]) } else { json!([{"id": "2", "n": 1}]) };
        json!({"rows": rows}).to_string()
    });
    let url = serve(Router::new().route("/batch", answer)).await;
    let many = |request: &str| {
        format!(
            "source: t\ntitle: T\nbase_url: ${{URL}}\nendpoints:\n  e:\n    entity: Household\n    many: {request}\n"
        )
    };
    let request = "{post: /batch, form: {id: \"{keys}\", all: \"{keys:;}\", page: 9}, items: /rows, item_key: /id, \
                   pages: {number: page, size_parameter: size, size: 2}}";
    let found = Asked::new(&many(request), &url).many(&["a&b", "2"], &[]).await.unwrap();
    assert_eq!(found, [record(0, r#"{"id":"a&b"}"#), record(1, r#"{"id":"2"}"#), record(1, r#"{"id":"2","n":1}"#)]);
    let asked = |page: &str| {
        [pair("all", "a&b;2"), pair("id", "a&b"), pair("id", "2"), pair("size", "2"), pair("page", page)].to_vec()
    };
    assert_eq!(*log.lock().unwrap(), [asked("1"), asked("2")]);
}

#[tokio::test]
async fn a_forms_parameters_are_signed_and_carry_the_signature() {
    let sign = r#"sign:
  scheme: hmac
  hash: sm3
  app_key: app
  secret: s
  text: "{parameters}"
  timestamp: ms
  parameters: {skip_empty: true, also: {ver: "2"}}
  send: {query: {ts: "{timestamp#}"}, body: {appKey: "{app_key}", sign: "{signature}"}}"#
        .replace("{timestamp#}", "{timestamp}");
    let seen = received(&sign, "{post: /a, query: {q: 1}, form: {id: \"{key}\", none: \"\", z: \"&\"}}").await;
    let form = pairs(&seen.body);
    let (name, signature) = form.last().unwrap();
    let text = format!("appKey=app&id=k 1&q=1&ts={}&ver=2&z=&", seen.parameter("ts"));
    assert_eq!((name.as_str(), signature), ("sign", &hex(&hmac::<Hmac<Sm3>>("s", &text))));
    // As does a form that holds nothing else; where there is neither a form nor a JSON object, nothing is sent unsigned.
    let names: Vec<String> =
        pairs(&received(&sign, "{post: /a, form: {}}").await.body).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["appKey", "sign"]);
    let asked = Asked::new(&binding(&sign, "{get: /a}"), "http://127.0.0.1:1");
    assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::Internal);

    let seen =
        received("sign: {scheme: hmac-params, hash: sha256, app_key: app, secret: s}", "{post: /a, form: {id: 7}}")
            .await;
    let text = format!("id=7&nonce={}&timestamp={}", seen.header("x-nonce"), seen.header("x-timestamp"));
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sha256>>("s", &text)));
}

/// A service that speaks GBK reads a form, and a query, in GBK; the digest is of the bytes that were sent.
#[tokio::test]
async fn a_form_and_a_query_are_written_in_the_charset_of_the_source() {
    let sign = "encoding: gbk\nsign: {scheme: hmac, hash: sha256, secret: s, text: \"{body_digest}|{parameters}\", \
                parameters: {encoded: true}, body_digest: {hash: md5}, \
                send: {query: {city: \"丽水\"}, headers: {X-Sign: \"{signature}\"}}}";
    let seen = received(sign, "{post: /a, query: {姓: 张}, form: {名: \"三 {key}\"}}").await;
    assert_eq!(seen.header("content-type"), format!("{FORM}; charset=gbk"));
    assert_eq!(decoded(seen.body.as_bytes(), encoding_rs::GBK), [pair("名", "三 k 1")]);
    assert_eq!(decoded(seen.query.as_bytes(), encoding_rs::GBK), [pair("姓", "张"), pair("city", "丽水")]);
    let parameters = format!("city=%C0%F6%CB%AE&{}&{}", seen.query.split('&').next().unwrap(), seen.body);
    let mut sorted: Vec<&str> = parameters.split('&').collect();
    // By name, before it is encoded: `名` is U+540D, `姓` U+59D3.
    sorted
        .sort_by_key(|pair| ["city", "%C3%FB", "%D0%D5"].iter().position(|name| pair.split('=').next() == Some(name)));
    let text = format!("{}|{}", hex(&Md5::digest(&seen.body)), sorted.join("&"));
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sha256>>("s", &text)));
    let asked = Asked::new(&binding("encoding: gbk", "{post: /a, form: {x: \"{key}\"}}"), "http://127.0.0.1:1");
    let error = asked.one("€\u{1F600}", &[]).await.unwrap_err();
    assert_eq!((error.code, error.detail.as_str()), (ErrorCode::ValueInvalid, "a value cannot be written in GBK"));
}

/// What a source that speaks GBK told of its next page is asked as it was told, and signed as it is asked.
#[tokio::test]
async fn a_linked_page_keeps_the_charset_of_its_source() {
    const CITY: &str = "city=%C0%F6%CB%AE";
    async fn linked(uri: axum::http::Uri, headers: HeaderMap) -> Response {
        let query = uri.query().unwrap().to_owned();
        if !query.contains("page=2") {
            return ([("link", format!("</all?{CITY}&page=2&key=old>; rel=next"))], "[{\"n\":1}]").into_response();
        }
        assert_eq!(query, format!("{CITY}&page=2&key=k"));
        let text = [&b"city="[..], &encoding_rs::GBK.encode("丽水").0, b"&key=k&page=2|s"].concat();
        assert_eq!(headers["x-sign"], hex(&Md5::digest(&text)));
        "[{\"n\":2}]".into_response()
    }
    let url = serve(Router::new().fallback(linked)).await;
    let head = "encoding: gbk\nsign: {scheme: digest, hash: md5, app_key: k, secret: s, text: \"{query}|{secret}\", \
                send: {query: {key: \"{app_key}\"}, headers: {X-Sign: \"{signature}\"}}}";
    let asked =
        Asked::new(&binding(head, "{get: /all, query: {at: \"{key}\"}, items: \"\", pages: {link: header}}"), &url);
    assert_eq!(asked.one("a", &[]).await.unwrap().len(), 2);
}

/// A signature over parameters that are not encoded is one over the bytes that the source reads.
#[tokio::test]
async fn parameters_are_signed_in_the_charset_of_the_source() {
    let sign = "encoding: gbk\nsign: {scheme: hmac, hash: sha256, secret: s, text: \"{parameters}|{query}\", \
                send: {headers: {X-Sign: \"{signature}\"}}}";
    let seen = received(sign, "{post: /a, query: {city: 丽水}, form: {name: 张三}}").await;
    let (text, _, _) = encoding_rs::GBK.encode("city=丽水&name=张三|city=丽水");
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(b"s").unwrap();
    mac.update(&text);
    assert_eq!(seen.header("x-sign"), hex(&mac.finalize().into_bytes()));
}

#[tokio::test]
async fn a_session_is_fetched_with_a_form_that_is_signed_as_well() {
    let token = post(async |headers: HeaderMap, body: String| -> Response {
        assert_eq!(headers["content-type"], FORM);
        let form = pairs(&body);
        let of = |name: &str| form.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let sign = hex(&Md5::digest(format!("app{}first", of("time"))));
        match (of("sign") == sign, of("password").as_str()) {
            (true, "p&w=ü") => r#"{"token":"T1"}"#.into_response(),
            _ => StatusCode::FORBIDDEN.into_response(),
        }
    });
    let data = get(async |headers: HeaderMap| format!("{{\"a\":\"{}\"}}", headers["authorization"].to_str().unwrap()));
    let url = serve(Router::new().route("/login", token).route("/a", data)).await;
    let sign = r#"sign:
  scheme: bearer
  session:
    post: /login
    form: {user: u, password: "p&w=ü"}
    sign:
      scheme: digest
      hash: md5
      app_key: app
      secret: first
      text: "{app_key}{timestamp}{secret}"
      send: {body: {time: "{timestamp}", sign: "{signature}"}}
    secret_at: /token"#;
    let asked = Asked::new(&binding(sign, "{get: /a}"), &url);
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"{"a":"Bearer T1"}"#);
}

/// RFC 6749 section 2.3.1: the client's id and secret in the form, for servers that do not take Basic.
#[tokio::test]
async fn an_oauth_client_says_who_it_is_in_the_form_where_the_server_wants_that() {
    let token = any(async |headers: HeaderMap, body: String| -> Response {
        let mut form = pairs(&body);
        form.sort();
        let own = [
            pair("client_id", "id:1"),
            pair("client_secret", "s&3"),
            pair("grant_type", "client_credentials"),
            pair("scope", "read all"),
        ];
        match form == own && !headers.contains_key("authorization") {
            true => r#"{"access_token":"T2","expires_in":60}"#.into_response(),
            false => StatusCode::UNAUTHORIZED.into_response(),
        }
    });
    let data = get(async |headers: HeaderMap| format!("{{\"a\":\"{}\"}}", headers["authorization"].to_str().unwrap()));
    let url = serve(Router::new().route("/token", token).route("/a", data)).await;
    let sign = |more: &str| {
        let keys = format!("token_url: /token, client_id: \"id:1\", client_secret: \"s&3\", scope: read all{more}");
        binding(&format!("sign: {{scheme: oauth2, {keys}}}"), "{get: /a}")
    };
    let asked = Asked::new(&sign(", client_auth: client_secret_post"), &url);
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"{"a":"Bearer T2"}"#);
    for other in ["", ", client_auth: client_secret_basic"] {
        let error = Asked::new(&sign(other), &url).one("k", &[]).await.unwrap_err();
        let told =
            "the token endpoint answered with HTTP status 401; it may want `client_auth: client_secret_post` (sign)";
        assert_eq!((error.code, error.detail.as_str()), (ErrorCode::SourceError, told));
    }
    assert!(compile(&sign(", client_auth: private_key_jwt"), &url).is_err());
}
