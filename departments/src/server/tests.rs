use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn running() -> Running {
    start(Options { latency: false, ..Options::default() }).await.unwrap()
}

/// The whole answer to a plain GET, or the error.
async fn get(running: &Running, variable: &str) -> io::Result<String> {
    let url = running.variables()[variable].clone();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
    stream.write_all(b"GET /ping?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_department_refuses_and_a_resumed_one_answers() {
    let running = running().await;
    assert!(get(&running, "CULTURE_URL").await.is_ok());
    running.stop("culture");
    assert!(get(&running, "CULTURE_URL").await.is_err());
    running.resume("culture");
    assert!(get(&running, "CULTURE_URL").await.is_ok());
    running.stop("banks");
    assert!(get(&running, "BANK_73_URL").await.is_err());
}

#[tokio::test]
async fn requests_are_logged_and_faults_are_had() {
    let running = running().await;
    get(&running, "BANK_07_URL").await.unwrap();
    let log = running.log("banks/07");
    assert_eq!((log.len(), log[0].path.as_str(), log[0].query.as_str()), (1, "/ping", "x=1"));
    assert_eq!(running.calls()["banks/07"], 1);
    running.clear_logs();
    assert!(running.log("banks/07").is_empty());
    running.set_fault("banks", Fault::Http500);
    assert!(get(&running, "BANK_07_URL").await.unwrap().starts_with("HTTP/1.1 500"));
    running.set_fault("banks/07", Fault::Empty);
    assert!(get(&running, "BANK_07_URL").await.unwrap().starts_with("HTTP/1.1 200"));
    running.set_fault("banks/07", Fault::Slow(Duration::from_millis(60)));
    let before = Instant::now();
    get(&running, "BANK_07_URL").await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn the_housing_file_is_away_while_it_is_stopped() {
    let running = running().await;
    assert!(running.housing.exists());
    running.stop("housing");
    assert!(!running.housing.exists());
    running.resume("housing");
    assert!(running.housing.exists());
    let directory = running._directory.path().to_owned();
    drop(running);
    assert!(!directory.exists());
}

#[tokio::test]
async fn the_eleventh_call_of_a_second_is_sent_away_where_rates_are_kept() {
    let kept = running().await;
    let lifted = start(Options { latency: false, rates: false, ..Options::default() }).await.unwrap();
    for _ in 0..10 {
        assert!(!get(&kept, "DISABLED_FEDERATION_URL").await.unwrap().starts_with("HTTP/1.1 429"));
        get(&lifted, "DISABLED_FEDERATION_URL").await.unwrap();
    }
    let eleventh = get(&kept, "DISABLED_FEDERATION_URL").await.unwrap();
    assert!(eleventh.starts_with("HTTP/1.1 429") && eleventh.to_lowercase().contains("retry-after: 1"), "{eleventh}");
    assert!(!get(&lifted, "DISABLED_FEDERATION_URL").await.unwrap().starts_with("HTTP/1.1 429"));
}

#[tokio::test]
async fn requests_that_are_not_kept_are_counted() {
    let running = start(Options { latency: false, keep_requests: false, ..Options::default() }).await.unwrap();
    for _ in 0..3 {
        get(&running, "BANK_07_URL").await.unwrap();
    }
    assert_eq!(running.calls(), BTreeMap::from([("banks/07".to_owned(), 3)]));
    assert!(running.log("banks/07").is_empty());
}
