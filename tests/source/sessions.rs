//! Sessions: tokens and secrets that a platform gives for a while, fetched from listeners that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::join_all;
use hmac::Hmac;
use huxiang::base::code::ErrorCode;
use md5::{Digest, Md5};
use sm3::Sm3;

use crate::support::signed::{binding, hex, hmac};
use crate::support::{Asked, serve};

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
