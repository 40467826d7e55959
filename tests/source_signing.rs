//! Signatures and sessions, verified by the listener from what it received, with nothing of the gateway's own code.

mod source_support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use huxiang::base::code::ErrorCode;
use huxiang::model::config::egress::EgressConfig;
use md5::{Digest, Md5};
use sha2::Sha256;
use sm3::Sm3;
use source_support::{Asked, compile, compile_within, serve};

/// What a listener received.
#[derive(Debug, Clone)]
struct Received {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {self:?}")).to_str().unwrap()
    }

    fn parameter(&self, name: &str) -> String {
        let found = self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no parameter {name}: {self:?}")).1.to_owned()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Asks with the binding, and gives what the listener received.
async fn received(sign: &str, request: &str) -> Received {
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let route = any(async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        *keep.lock().unwrap() = Some(Received {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        "{}"
    });
    let url = serve(Router::new().fallback(route)).await;
    let asked = Asked::new(&binding(sign, request), &url);
    asked.one("k 1", &[]).await.unwrap();
    let received = seen.lock().unwrap().clone();
    received.expect("the listener was asked")
}

fn binding(sign: &str, request: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{sign}\nendpoints:\n  e:\n    entity: Household\n    \
         one: {request}\n"
    )
}

const GET: &str = "{get: /a, query: {z: \"{key}\", b: x}}";
const POST: &str = "{post: /a, query: {q: 1}, body: {id: \"{key}\", n: 5}}";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac<M: Mac + KeyInit>(key: &str, text: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

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

/// A token endpoint that counts; the data only with a token it knows.
struct Issuer {
    issued: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    /// Tokens up to this one are refused.
    revoked: Arc<AtomicU64>,
    url: String,
}

impl Issuer {
    async fn new(wait: Duration, life: u64) -> Self {
        let [issued, down, revoked] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
        let (count, fails, low) = (Arc::clone(&issued), Arc::clone(&down), Arc::clone(&revoked));
        let token = async move || -> Response {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(wait).await;
            if fails.load(Ordering::SeqCst) > 0 {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            format!(r#"{{"access_token":"t{n}","expires_in":{life}}}"#).into_response()
        };
        let data = async move |headers: HeaderMap| -> Response {
            let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer t").unwrap().to_owned();
            match token.parse::<u64>().unwrap() > low.load(Ordering::SeqCst) {
                true => "{}".into_response(),
                false => StatusCode::UNAUTHORIZED.into_response(),
            }
        };
        let url = serve(Router::new().route("/token", post(token)).route("/a", get(data))).await;
        Self { issued, down, revoked, url }
    }

    fn asked(&self, timeout_ms: u64) -> Asked {
        let sign = format!(
            "limits: {{timeout_ms: {timeout_ms}, in_flight_max: 200}}\n\
             sign: {{scheme: oauth2, token_url: /token, client_id: id, client_secret: s}}"
        );
        Asked::new(&binding(&sign, "{get: /a}"), &self.url)
    }

    fn issued(&self) -> u64 {
        self.issued.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_hundred_callers_at_once_cost_one_token_request() {
    let issuer = Issuer::new(Duration::from_millis(200), 3600).await;
    let asked = issuer.asked(20_000);
    let all = join_all((0..100).map(|_| asked.one("k", &[]))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(issuer.issued(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_nobody_waits_for_that() {
    let issuer = Issuer::new(Duration::from_millis(600), 8).await;
    let asked = issuer.asked(20_000);
    asked.one("k", &[]).await.unwrap();
    // Past three quarters of its life, and before its end.
    tokio::time::sleep(Duration::from_millis(5_600)).await;
    let began = Instant::now();
    assert!(join_all((0..20).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_millis(500), "they waited {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(900)).await;
    issuer.revoked.store(1, Ordering::SeqCst);
    asked.one("k", &[]).await.unwrap();
    assert_eq!(issuer.issued(), 2, "the second token was there before the first was refused");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_not_asked_by_every_call() {
    let issuer = Issuer::new(Duration::from_millis(50), 3600).await;
    issuer.down.store(1, Ordering::SeqCst);
    let asked = issuer.asked(20_000);
    for _ in 0..3 {
        let all = join_all((0..50).map(|_| asked.one("k", &[]))).await;
        assert!(all.iter().all(|answer| answer.as_ref().is_err_and(|error| error.code == ErrorCode::SourceError)));
    }
    assert_eq!(issuer.issued(), 1);
    issuer.down.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(700)).await;
    asked.one("k", &[]).await.unwrap();
    assert_eq!(issuer.issued(), 2);
}

#[tokio::test]
async fn a_slow_token_request_goes_on_when_its_caller_gives_up() {
    let issuer = Issuer::new(Duration::from_millis(1_000), 3600).await;
    let asked = issuer.asked(200);
    for _ in 0..2 {
        assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::SourceTimeout);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    asked.one("k", &[]).await.unwrap();
    assert_eq!(issuer.issued(), 1);
}

#[tokio::test]
async fn a_source_that_refuses_every_token_does_not_cost_a_token_a_call() {
    let issuer = Issuer::new(Duration::ZERO, 3600).await;
    let asked = issuer.asked(20_000);
    issuer.revoked.store(u64::MAX, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::SourceError);
    }
    assert_eq!(issuer.issued(), 2);
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

/// A platform whose calls are signed with a secret that it gives: the call for it is signed with the secret of the
/// contract, and it is good until the next is given or for its life.
struct Platform {
    given: Arc<AtomicU64>,
    /// Secrets up to this one are over.
    over: Arc<AtomicU64>,
    url: String,
}

impl Platform {
    /// `over` answers a call that is signed with a secret that is over.
    async fn new(life: &'static str, over: fn() -> Response) -> Self {
        let (given, low) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, until) = (Arc::clone(&given), Arc::clone(&low));
        let secret = async move |body: String| -> String {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let time = body["time"].as_str().unwrap();
            assert_eq!(body["sign"], hex(&Md5::digest(format!("app{time}first"))), "{body}");
            assert_eq!(body["tenant"], "county");
            tokio::time::sleep(Duration::from_millis(100)).await;
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            format!(r#"{{"code":0,"data":{{"secret":"second-{n}","life":{life}}}}}"#)
        };
        let last = Arc::clone(&given);
        let data = async move |headers: HeaderMap| -> Response {
            let text = |name: &str| headers[name].to_str().unwrap().to_owned();
            let signs = |n: u64| hex(&hmac::<Hmac<Sm3>>(&format!("second-{n}"), &text("x-time"))) == text("x-sign");
            let from = until.load(Ordering::SeqCst) + 1;
            match (from..=last.load(Ordering::SeqCst)).any(signs) {
                true => r#"{"code":0}"#.into_response(),
                false => over(),
            }
        };
        let url = serve(Router::new().route("/secret", post(secret)).route("/a", get(data))).await;
        Self { given, over: low, url }
    }

    fn asked(&self) -> Asked {
        let sign = r#"limits: {timeout_ms: 20000, in_flight_max: 200}
sign:
  scheme: hmac
  hash: sm3
  text: "{timestamp}"
  timestamp: ms
  send: {headers: {X-Time: "{timestamp}", X-Sign: "{signature}"}}
  session:
    post: /secret
    body: {tenant: county}
    sign:
      scheme: digest
      hash: md5
      app_key: app
      secret: first
      text: "{app_key}{timestamp}{secret}"
      send: {body: {time: "{timestamp}", sign: "{signature}"}}
    secret_at: /data/secret
    life_at: /data/life
    renew_on: {at: /code, is: [40101, 40102]}"#;
        Asked::new(&binding(sign, "{get: /a}"), &self.url)
    }

    fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_fetched_secret_signs_all_calls_and_is_fetched_once_for_a_hundred_callers() {
    let platform = Platform::new("900", || StatusCode::UNAUTHORIZED.into_response()).await;
    let asked = platform.asked();
    assert!(join_all((0..100).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
    assert_eq!(platform.given(), 1);
}

#[tokio::test]
async fn a_fetched_secret_is_fetched_anew_when_the_platform_says_that_it_is_over() {
    let by_status = || StatusCode::UNAUTHORIZED.into_response();
    let by_code = || r#"{"code":40102,"msg":"secret expired"}"#.into_response();
    for over in [by_status as fn() -> Response, by_code] {
        let platform = Platform::new("900", over).await;
        let asked = platform.asked();
        asked.one("k", &[]).await.unwrap();
        platform.over.store(1, Ordering::SeqCst);
        assert!(join_all((0..50).map(|_| asked.one("k", &[]))).await.iter().all(Result::is_ok));
        assert_eq!(platform.given(), 2);
        platform.over.store(u64::MAX - 1, Ordering::SeqCst);
        for _ in 0..5 {
            assert_eq!(asked.one("k", &[]).await.unwrap_err().code, ErrorCode::SourceError);
        }
        assert_eq!(platform.given(), 3);
    }
}

#[tokio::test]
async fn a_fetched_secret_is_renewed_early_by_the_life_that_the_platform_tells() {
    let platform = Platform::new("2", || StatusCode::UNAUTHORIZED.into_response()).await;
    let asked = platform.asked();
    asked.one("k", &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_550)).await;
    asked.one("k", &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(platform.given(), 2);
    platform.over.store(1, Ordering::SeqCst);
    asked.one("k", &[]).await.unwrap();
    assert_eq!(platform.given(), 2, "it was renewed before the first was over");
}

#[tokio::test]
async fn a_login_gives_a_bearer_token() {
    let login = post(async |body: String| {
        assert_eq!(body, r#"{"password":"p\"w","user":"u"}"#);
        r#"{"token":"T1"}"#
    });
    let data = get(async |headers: HeaderMap| format!("{{\"a\":\"{}\"}}", headers["authorization"].to_str().unwrap()));
    let url = serve(Router::new().route("/login", login).route("/a", data)).await;
    let sign = "sign: {scheme: bearer, session: {post: /login, body: {user: u, password: 'p\"w'}, secret_at: /token}}";
    let asked = Asked::new(&binding(sign, "{get: /a}"), &url);
    assert_eq!(asked.one("k", &[]).await.unwrap()[0].1, r#"{"a":"Bearer T1"}"#);
}

/// A folder of secrets that is removed at the end.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("huxiang-secrets-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// As mounts do it: another file takes the name.
    fn put(&self, name: &str, secret: &str) {
        std::fs::write(self.0.join("new"), secret).unwrap();
        std::fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    fn compile(&self, sign: &str, url: &str) -> Result<Asked, String> {
        let egress = EgressConfig { secrets: Some(self.0.clone()), ..EgressConfig::default() };
        let variables = |name: &str| (name == "URL").then(|| url.to_owned());
        compile_within(&binding(sign, "{get: /a}"), &variables, &egress)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Answers with the header.
async fn echo(name: &'static str) -> String {
    let data = get(async move |headers: HeaderMap| {
        serde_json::to_string(headers.get(name).map_or("-", |value| value.to_str().unwrap())).unwrap()
    });
    serve(Router::new().route("/a", data)).await
}

/// Longer than between two looks at a file.
const A_LOOK: Duration = Duration::from_millis(1_100);

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
    let elsewhere =
        mounted.compile("headers: {X-Key: \"${file:key}\"}", "http://127.0.0.1:1").err().unwrap_or_default();
    assert!(elsewhere.contains("a file cannot be read here"), "{elsewhere}");
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
    ] {
        for url in [url.as_str(), "http://127.0.0.1:1"] {
            let asked = mounted.compile(&format!("sign: {sign}"), url).unwrap();
            let error = asked.one("k", &[]).await.unwrap_err();
            let printed = format!("{error:?} {:?}", asked.connector);
            assert!(!printed.contains("topsecret"), "{sign}: {printed}");
        }
    }
}
