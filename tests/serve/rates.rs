//! Rates: how often callers may ask, over real listeners.

use std::time::Duration;

use huxiang::model::config::rates::{Rate, Rates};
use serde_json::Value;

use crate::support::{Options, Running, token, token_of};

fn requests(n: u32) -> Rate {
    Rate { requests_per_minute: Some(n), upstream_calls_per_minute: None }
}

async fn ask(running: &Running, headers: &[(&str, &str)]) -> reqwest::Response {
    let request = headers.iter().fold(running.post(), |request, (name, value)| request.header(*name, *value));
    request.body(r#"{"query":"{a}"}"#).send().await.unwrap()
}

async fn status(running: &Running, headers: &[(&str, &str)]) -> u16 {
    ask(running, headers).await.status().as_u16()
}

#[tokio::test]
async fn a_principal_that_asks_too_often_is_told_when_to_come_back_wherever_it_asks_from() {
    let rates = Rates { principal: requests(2), ..Rates::default() };
    let running = Running::start(Options { rates, ..Options::default() }).await;
    let (first, second) = (format!("Bearer {}", token(&["cadre"])), format!("Bearer {}", token_of("li", &["cadre"])));
    assert_eq!(status(&running, &[("authorization", &first)]).await, 200);
    assert_eq!(status(&running, &[("authorization", &first), ("x-forwarded-for", "203.0.113.1")]).await, 200);
    for accept in ["application/json", "application/graphql-response+json"] {
        let refused = ask(&running, &[("authorization", &first), ("accept", accept)]).await;
        assert_eq!(refused.status(), 429);
        let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=31).contains(&after), "{after}");
        assert!(refused.headers()["content-type"].to_str().unwrap().starts_with(accept));
        let body: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!((&extensions["code"], &extensions["retryAfterSeconds"]), (&"RATE_LIMITED".into(), &after.into()));
        assert!(body.get("data").is_none());
    }
    assert_eq!(status(&running, &[("authorization", &second)]).await, 200, "others go on");
    assert_eq!(running.seen().len(), 3, "what is refused reaches nobody");
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_read() {
    let rates = Rates { anonymous: requests(1), ..Rates::default() };
    let running = Running::start(Options { rates, ..Options::default() }).await;
    assert_eq!(status(&running, &[]).await, 200);
    for body in ["{", "not JSON", r#"{"query":"{"}"#] {
        assert_eq!(running.post().body(body).send().await.unwrap().status(), 429, "{body}");
    }
    assert_eq!(running.seen().len(), 1);
}

#[tokio::test]
async fn visitors_pay_by_address_and_a_written_header_makes_no_other_address() {
    let rates = Rates { anonymous: requests(1), ..Rates::default() };
    let running = Running::start(Options { rates, ..Options::default() }).await;
    for (forwarded, expected) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("203.0.113.2", 200),
        ("9.9.9.9, 203.0.113.1", 429),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2::ffff", 429),
        ("2001:db8:1:3::1", 200),
    ] {
        assert_eq!(status(&running, &[("x-forwarded-for", forwarded)]).await, expected, "{forwarded}");
    }
}

#[tokio::test]
async fn a_network_pays_for_all_of_its_callers_together() {
    let rates = Rates { networks: [("outside".to_owned(), requests(2))].into(), ..Rates::default() };
    let running = Running::start(Options { rates, ..Options::default() }).await;
    let tokens: Vec<String> = ["a", "b", "c"].map(|id| format!("Bearer {}", token_of(id, &["cadre"]))).into();
    for (at, token) in tokens.iter().enumerate() {
        let outside = status(&running, &[("authorization", token), ("x-forwarded-for", "203.0.113.9")]).await;
        assert_eq!(outside, if at < 2 { 200 } else { 429 });
    }
    assert_eq!(status(&running, &[("authorization", &tokens[2])]).await, 200, "from another network");
}

#[tokio::test]
async fn bad_tokens_count_against_their_address_and_lock_nobody_out_who_is_known() {
    let rates = Rates { anonymous: requests(3), ..Rates::default() };
    let running = Running::start(Options { rates, ..Options::default() }).await;
    let good = format!("Bearer {}", token(&["cadre"]));
    assert_eq!(status(&running, &[("authorization", &good)]).await, 200);
    let answers = [
        status(&running, &[("authorization", "Bearer a.b.c")]).await,
        status(&running, &[("authorization", "Basic x")]).await,
        status(&running, &[]).await,
        status(&running, &[("authorization", "Bearer a.b.c")]).await,
        status(&running, &[]).await,
    ];
    assert_eq!(answers, [401, 401, 200, 429, 429]);
    assert_eq!(status(&running, &[("authorization", &good)]).await, 200, "a token that was checked before");
    let new = format!("Bearer {}", token_of("li", &["cadre"]));
    assert_eq!(status(&running, &[("authorization", &new)]).await, 429, "no more signatures are checked for it");
    assert_eq!(status(&running, &[("authorization", &new), ("x-forwarded-for", "203.0.113.7")]).await, 200);
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_summed_up_by_address() {
    let rates = Rates { anonymous: requests(5), ..Rates::default() };
    let running = Running::start(Options { rates, refusals_every_ms: 1_500, ..Options::default() }).await;
    for _ in 0..20 {
        status(&running, &[("authorization", "Bearer a.b.c"), ("x-forwarded-for", "203.0.113.1")]).await;
    }
    assert_eq!(status(&running, &[("authorization", "Bearer a.b.c")]).await, 401);
    assert_eq!(status(&running, &[]).await, 200);
    let refused = || running.gateway.refused.lock().unwrap().clone();
    while refused().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut summed = refused();
    summed.sort();
    let of = |address: &str, network: &str, counts: &[(u16, u64)]| {
        (Some(address.parse().unwrap()), vec![network.to_owned()], counts.iter().copied().collect())
    };
    assert_eq!(summed, [of("127.0.0.1", "local", &[(401, 1)]), of("203.0.113.1", "outside", &[(401, 5), (429, 15)])]);
}
