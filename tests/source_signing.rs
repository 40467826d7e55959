//! Signatures, verified by the listener from what it received, with nothing of the gateway's own code.

mod source_support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use huxiang::base::code::ErrorCode;
use md5::{Digest, Md5};
use sha2::Sha256;
use sm3::Sm3;
use source_support::signed::{Received, binding, hex, hmac, received};
use source_support::{Asked, compile};

const GET: &str = "{get: /a, query: {z: \"{key}\", b: x}}";
const POST: &str = "{post: /a, query: {q: 1}, body: {id: \"{key}\", n: 5}}";

fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_key_goes_into_a_header_or_the_query_and_a_token_is_a_bearer() {
    let seen = received("sign: {scheme: api-key, header: X-API-Key, key: \"k{1}\"}", GET).await;
    assert_eq!(seen.header("x-api-key"), "k{1}");
    assert_eq!(seen.query, "b=x&z=k%201");
    let seen = received("sign: {scheme: api-key, query: apikey, key: \"a&b\"}", GET).await;
    assert_eq!(seen.query, "b=x&z=k%201&apikey=a%26b");
    let seen = received("sign: {scheme: api-key, query: apikey, key: s}", "{get: /a}").await;
    assert_eq!(seen.query, "apikey=s");
    let seen = received("sign: {scheme: bearer, token: abc.def}", GET).await;
    assert_eq!(seen.header("authorization"), "Bearer abc.def");
    let seen = received("sign: {scheme: basic, user: u, password: \"p:w\"}", GET).await;
    assert_eq!(seen.header("authorization"), format!("Basic {}", STANDARD.encode("u:p:w")));
}

/// The forms that have a name of their own: as they were before they were special cases.
#[tokio::test]
async fn the_named_hmac_schemes_sign_parameters_or_method_path_and_body() {
    let seen = received("sign: {scheme: hmac-params, hash: sm3, app_key: app, secret: s}", POST).await;
    let (timestamp, nonce) = (seen.header("x-timestamp"), seen.header("x-nonce"));
    assert!(timestamp.parse::<u64>().unwrap().abs_diff(seconds()) < 5 && nonce.len() == 32);
    let text = format!("id=k 1&n=5&nonce={nonce}&q=1&timestamp={timestamp}");
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sm3>>("s", &text)));
    assert_eq!(seen.header("x-app-key"), "app");

    let seen = received("sign: {scheme: hmac-header, hash: sha256, header: X-Auth, key_id: id, secret: s}", POST).await;
    let parts: Vec<&str> = seen.header("x-auth").split(':').collect();
    let text =
        format!("{}\n{}?{}\n{}\n{}", seen.method, seen.path, seen.query, parts[1], hex(&Sha256::digest(&seen.body)));
    assert_eq!((parts[0], parts[2]), ("id", STANDARD.encode(hmac::<Hmac<Sha256>>("s", &text)).as_str()));
}

#[tokio::test]
async fn a_declared_text_is_signed_and_sent_where_the_binding_says() {
    let sign = r#"sign:
  scheme: hmac
  hash: sha256
  app_key: app
  secret: s3
  text: "{method}|{path}|{query}|{timestamp}|{nonce}|{body_digest}|{app_key}|v1"
  hmac_key: "<{secret}>&"
  encoding: base64
  timestamp: ms
  body_digest: {hash: md5, encoding: base64}
  send:
    headers: {Authorization: "HX {app_key}:{signature}", X-Nonce: "{nonce}", Content-MD5: "{body_digest}"}
    query: {ts: "{timestamp}"}"#;
    let seen = received(sign, POST).await;
    let (timestamp, nonce) = (seen.parameter("ts"), seen.header("x-nonce"));
    assert!((timestamp.parse::<u64>().unwrap() / 1000).abs_diff(seconds()) < 5);
    let digest = STANDARD.encode(Md5::digest(&seen.body));
    assert_eq!(seen.header("content-md5"), digest);
    let text = format!("POST|/a|q=1&ts={timestamp}|{timestamp}|{nonce}|{digest}|app|v1");
    let mac = STANDARD.encode(hmac::<Hmac<Sha256>>("<s3>&", &text));
    assert_eq!(seen.header("authorization"), format!("HX app:{mac}"));
}

#[tokio::test]
async fn members_of_the_body_are_sorted_among_the_parameters_and_carry_the_signature() {
    let sign = r#"sign:
  scheme: hmac
  hash: sm3
  app_key: app
  secret: s
  text: "{parameters}"
  encoding: hex-upper
  timestamp: yyyyMMddHHmmss
  parameters: {pair: "", join: ",", skip_empty: true, also: {ver: "2"}}
  send: {body: {appKey: "{app_key}", time: "{timestamp#}", sign: "{signature}"}}"#;
    let seen = received(sign, "{post: /a, body: {id: \"{key}\", none: \"\"}}").await;
    let body = seen.json();
    let time = body["time"].as_u64().unwrap().to_string();
    assert_eq!(time.len(), 14);
    let text = format!("appKeyapp,idk 1,time{time},ver2");
    assert_eq!(body["sign"], hex(&hmac::<Hmac<Sm3>>("s", &text)).to_uppercase());
    assert_eq!((body["id"].as_str(), body["appKey"].as_str()), (Some("k 1"), Some("app")));
    // An empty body's first member has no comma before it.
    assert_eq!(received(sign, "{post: /a, body: {}}").await.json()["appKey"], "app");
    // Where there is no such body, nothing is sent unsigned.
    let asked = Asked::new(&binding(sign, "{get: /a}"), "http://127.0.0.1:1");
    assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn parameters_are_percent_encoded_where_the_binding_says() {
    let sign = "sign: {scheme: hmac, hash: sha256, secret: s, text: \"{query}\", parameters: {encoded: true}, \
                send: {headers: {X-Sign: \"{signature}\"}}}";
    let seen = received(sign, GET).await;
    assert_eq!(seen.header("x-sign"), hex(&hmac::<Hmac<Sha256>>("s", "b=x&z=k%201")));
}

/// `md5/sha1/sha256/sm3(appKey + secret + timestamp)`.
#[tokio::test]
async fn older_platforms_get_a_digest_of_key_secret_and_time() {
    let sign = |hash: &str| {
        format!(
            "sign: {{scheme: digest, hash: {hash}, app_key: app, secret: s3, text: \"{{app_key}}{{secret}}{{timestamp}}\", \
             send: {{query: {{appKey: \"{{app_key}}\", ts: \"{{timestamp}}\", sign: \"{{signature}}\"}}}}}}"
        )
    };
    let text = |seen: &Received| format!("apps3{}", seen.parameter("ts"));
    let seen = received(&sign("md5"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Md5::digest(text(&seen))));
    assert!(!seen.query.contains("s3"), "the secret itself is not sent: {}", seen.query);
    let seen = received(&sign("sha256"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Sha256::digest(text(&seen))));
    let seen = received(&sign("sm3"), GET).await;
    assert_eq!(seen.parameter("sign"), hex(&Sm3::digest(text(&seen))));
    let fixed = "sign: {scheme: digest, hash: sha1, secret: abc, text: \"{secret}\", \
                 send: {headers: {X-Sign: \"{signature}\"}}}";
    // FIPS 180-4's example.
    assert_eq!(received(fixed, GET).await.header("x-sign"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    // RFC 2202's second case, for SHA-1 and MD5.
    let keyed = |hash: &str| {
        format!(
            "sign: {{scheme: hmac, hash: {hash}, secret: Jefe, text: \"what do ya want for nothing?\", \
             send: {{headers: {{X-Sign: \"{{signature}}\"}}}}}}"
        )
    };
    assert_eq!(received(&keyed("sha1"), GET).await.header("x-sign"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_eq!(received(&keyed("md5"), GET).await.header("x-sign"), "750c783e6ab0b503eaa86e310a5db738");
}

#[test]
fn a_signature_that_anybody_could_make_or_nobody_gets_is_a_fault() {
    let fault = |sign: &str| compile(&binding(sign, GET), "http://127.0.0.1:1").err().unwrap_or_default();
    let send = "send: {headers: {X-Sign: \"{signature}\"}}";
    let with = |rest: &str| fault(&format!("sign: {{scheme: digest, hash: md5, secret: s, {rest}}}"));
    assert!(with(&format!("text: \"{{timestamp}}\", {send}")).contains("does not hold the secret"));
    assert!(with("text: \"{secret}\", send: {headers: {X-T: \"{timestamp}\"}}").contains("sent nowhere"));
    assert!(with("text: \"{secret}\", send: {headers: {X-T: \"{secret}{signature}\"}}").contains("no placeholder"));
    assert!(fault("sign: {scheme: api-key, key: k}").contains("exactly one of"));
    assert!(fault("sign: {scheme: bearer, token: \"\"}").contains("the secret is empty"));
}
