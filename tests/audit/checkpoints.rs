//! Signed checkpoints: when they are written, what happens when they cannot be, and what they keep from being served.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use huxiang::audit::{AuditRecord, AuditStore, Checkpoint, Kind, Signer, Wrong, new_key, read_checkpoints, verify};
use huxiang::identify::Identity;
use huxiang::model::config::{AuditConfig, ChainHash, CheckpointConfig, Pem};
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::temporary::Temporary;

struct Folder(Temporary);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Temporary::new(&format!("checkpoints-{name}"));
        Self(path)
    }

    fn places(&self) -> PathBuf {
        self.0.join("elsewhere")
    }

    fn config(&self, key: &str) -> AuditConfig {
        let mut config = AuditConfig::new(&self.0.join("audit.sqlite"), &[7; 32]);
        config.checkpoints = Some(CheckpointConfig {
            egress: Default::default(),
            directory: Some(self.places()),
            url: None,
            key: Pem::Text(key.into()),
            every_records: 10,
            every_seconds: 3_600,
            refuse_after_seconds: None,
        });
        config
    }

    fn kept(&self, key: &str) -> Vec<Checkpoint> {
        let keys = [Signer::from_pem(key.as_bytes()).unwrap().public_key()];
        let kept = read_checkpoints(&self.places(), &keys).unwrap();
        assert!(kept.unsigned.is_empty() && kept.unreadable.is_empty());
        kept.by_store.into_values().flatten().collect()
    }
}

fn record(n: usize) -> AuditRecord {
    AuditRecord::new(&format!("r{n}"), &Identity::at("10.0.0.1".parse().unwrap()))
}

/// Waits for what another task brings about.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about within 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_written_every_so_many_records_and_at_the_end() {
    let (folder, key) = (Folder::new("every"), new_key().unwrap());
    let store = AuditStore::open(&folder.config(&key)).await.unwrap();
    for n in 0..10 {
        store.append(record(n)).await.unwrap();
    }
    until(|| folder.places().exists() && folder.kept(&key).len() == 1).await;
    let last = store.append(record(10)).await.unwrap();
    store.settle().await;
    let kept = folder.kept(&key);
    assert_eq!(kept.iter().map(|one| one.seq).collect::<Vec<_>>(), [10, 11]);
    assert_eq!((&kept[1].hash, kept[1].segment), (&last.hash, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_written_after_so_many_seconds_where_there_is_something_new() {
    let (folder, key) = (Folder::new("seconds"), new_key().unwrap());
    let mut config = folder.config(&key);
    if let Some(checkpoints) = &mut config.checkpoints {
        checkpoints.every_seconds = 1;
    }
    let store = AuditStore::open(&config).await.unwrap();
    store.append(record(0)).await.unwrap();
    until(|| folder.places().exists() && folder.kept(&key).len() == 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(folder.kept(&key).len(), 1, "nothing new, no checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_checkpoints_fail_the_gateway_is_not_ready_and_in_time_answers_nothing() {
    let (folder, key) = (Folder::new("fail"), new_key().unwrap());
    std::fs::write(folder.places(), "no folder").unwrap();
    let mut config = folder.config(&key);
    if let Some(checkpoints) = &mut config.checkpoints {
        checkpoints.every_seconds = 1;
        checkpoints.refuse_after_seconds = Some(2);
    }
    std::fs::remove_file(folder.places()).unwrap();
    let store = AuditStore::open(&config).await.unwrap();
    std::fs::write(folder.places(), "no folder").unwrap();
    store.append(record(0)).await.unwrap();
    until(|| !store.is_healthy()).await;
    assert!(store.append(record(1)).await.is_ok(), "not at once");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let refused = store.append(record(2)).await.unwrap_err().to_string();
    assert!(refused.contains("checkpoints have failed"), "{refused}");
    std::fs::remove_file(folder.places()).unwrap();
    until(|| store.is_healthy()).await;
    assert_eq!(store.append(record(3)).await.unwrap().seq, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lacks_what_was_signed_or_is_another_one_is_not_opened() {
    let (folder, key) = (Folder::new("start"), new_key().unwrap());
    let config = folder.config(&key);
    let store = AuditStore::open(&config).await.unwrap();
    for n in 0..3 {
        store.append(record(n)).await.unwrap();
    }
    store.settle().await;
    drop(store);
    let mut cut = SqliteConnectOptions::new().filename(&config.store).connect().await.unwrap();
    sqlx::query("DELETE FROM audit WHERE seq = 3").execute(&mut cut).await.unwrap();
    cut.close().await.unwrap();
    let refused = AuditStore::open(&config).await.err().unwrap().to_string();
    assert!(refused.contains("does not hold record 3"), "{refused}");
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.0.join(format!("audit.sqlite{end}")));
    }
    let refused = AuditStore::open(&config).await.err().unwrap().to_string();
    assert!(refused.contains("was replaced"), "{refused}");
    assert!(AuditStore::open(&folder.config("no key")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_counts_once_the_other_place_has_taken_it() {
    let (folder, key) = (Folder::new("post"), new_key().unwrap());
    let taken: Arc<Mutex<Vec<Checkpoint>>> = Arc::default();
    let status = Arc::new(Mutex::new(StatusCode::SERVICE_UNAVAILABLE));
    let (kept, answer) = (Arc::clone(&taken), Arc::clone(&status));
    let take = move |body: axum::body::Bytes| async move {
        kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        *answer.lock().unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/checkpoints", post(take))).await });
    let mut config = folder.config(&key);
    if let Some(checkpoints) = &mut config.checkpoints {
        (checkpoints.directory, checkpoints.url, checkpoints.every_records) = (None, Some(url), 1);
        checkpoints.every_seconds = 1;
    }
    let store = AuditStore::open(&config).await.unwrap();
    let receipt = store.append(record(0)).await.unwrap();
    until(|| !store.is_healthy()).await;
    *status.lock().unwrap() = StatusCode::NO_CONTENT;
    until(|| store.is_healthy()).await;
    let taken = taken.lock().unwrap();
    let key = Signer::from_pem(key.as_bytes()).unwrap().public_key();
    assert!(taken.len() >= 2 && taken.iter().all(|one| one.hash == receipt.hash && key.has_signed(one)));
}

/// Three segments of three records; the newest is open.
async fn three_segments(folder: &Folder, key: &str) -> AuditStore {
    let mut config = folder.config(key);
    let mut store = None;
    for hash in [ChainHash::Sha256, ChainHash::Sm3, ChainHash::Sha256] {
        config.hash = hash;
        let opened = AuditStore::open(&config).await.unwrap();
        for n in 0..3 {
            opened.append(record(n)).await.unwrap();
        }
        opened.settle().await;
        store = Some(opened);
    }
    store.unwrap()
}

fn in_months(months: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * 31 * months)
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_past_their_time_go_after_a_signed_checkpoint_named_the_cut() {
    let (folder, key) = (Folder::new("retention"), new_key().unwrap());
    let store = three_segments(&folder, &key).await;
    assert_eq!(store.retire(in_months(34)).await.unwrap(), [0; 0], "not before their time");
    assert_eq!(store.retire(in_months(40)).await.unwrap(), [1, 2]);
    assert_eq!(store.retire(in_months(40)).await.unwrap(), [0; 0], "the newest stays");
    let path = folder.0.join("audit.sqlite");
    assert!(!path.exists() && !folder.0.join("audit.000002.sqlite").exists());
    let keys = [Signer::from_pem(key.as_bytes()).unwrap().public_key()];
    store.append(record(9)).await.unwrap();
    let kept = read_checkpoints(&folder.places(), &keys).unwrap();
    let report = verify(&path, Some(&kept), &mut |_| {}).await.unwrap();
    assert_eq!((report.faults.as_slice(), report.first_seq, report.segments), (&[][..], Some(7), 1));
    let events = store.reader().after(9, 10).await.unwrap();
    assert_eq!(events.iter().filter(|entry| entry.record.kind == Kind::Retention).count(), 2);
    let report = verify(&path, None, &mut |_| {}).await.unwrap();
    assert_eq!(report.faults[0].wrong, Wrong::SegmentMissing, "without the signed cut it could be anybody's");
    drop(store);
    let reopened = AuditStore::open(&folder.config(&key)).await.unwrap();
    assert_eq!(reopened.append(record(10)).await.unwrap().seq, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_while_anything_is_unsure() {
    let (folder, key) = (Folder::new("unsure"), new_key().unwrap());
    let store = three_segments(&folder, &key).await;
    let away = folder.0.join("away");
    std::fs::rename(folder.places(), &away).unwrap();
    std::fs::write(folder.places(), "no folder").unwrap();
    assert!(store.retire(in_months(40)).await.is_err(), "the cut cannot be signed");
    std::fs::remove_file(folder.places()).unwrap();
    std::fs::rename(&away, folder.places()).unwrap();
    let mut altered =
        SqliteConnectOptions::new().filename(folder.0.join("audit.000002.sqlite")).connect().await.unwrap();
    sqlx::query("UPDATE audit SET time = '2020' WHERE seq = 5").execute(&mut altered).await.unwrap();
    altered.close().await.unwrap();
    let refused = store.retire(in_months(40)).await.unwrap_err().to_string();
    assert!(refused.contains("record 5"), "{refused}");
    assert!(folder.0.join("audit.sqlite").exists() && folder.0.join("audit.000002.sqlite").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_of_checkpoints_nothing_is_removed_and_the_store_verifies() {
    let (folder, key) = (Folder::new("url-alone"), new_key().unwrap());
    drop(three_segments(&folder, &key).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
    let take = Router::new().route("/checkpoints", post(|| async { StatusCode::NO_CONTENT }));
    tokio::spawn(async move { axum::serve(listener, take).await });
    let mut config = folder.config(&key);
    if let Some(checkpoints) = &mut config.checkpoints {
        (checkpoints.directory, checkpoints.url) = (None, Some(url));
    }
    let store = AuditStore::open(&config).await.unwrap();
    assert_eq!(store.retire(in_months(40)).await.unwrap(), [0; 0]);
    assert_eq!(store.retire(in_months(41)).await.unwrap(), [0; 0]);
    let report = verify(&config.store, None, &mut |_| {}).await.unwrap();
    assert_eq!((report.faults.as_slice(), report.first_seq), (&[][..], Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_signed_cut_is_not_opened_where_the_folder_is_gone_or_empty() {
    let (folder, key) = (Folder::new("unmounted"), new_key().unwrap());
    let store = three_segments(&folder, &key).await;
    assert_eq!(store.retire(in_months(40)).await.unwrap(), [1, 2]);
    store.settle().await;
    drop(store);
    let away = folder.0.join("away");
    std::fs::rename(folder.places(), &away).unwrap();
    let refused = AuditStore::open(&folder.config(&key)).await.err().unwrap().to_string();
    assert!(refused.contains("is the storage mounted"), "{refused}");
    assert!(!folder.places().exists(), "it is not made anew");
    std::fs::create_dir(folder.places()).unwrap();
    let refused = AuditStore::open(&folder.config(&key)).await.err().unwrap().to_string();
    assert!(refused.contains("is the storage mounted"), "{refused}");
    std::fs::remove_dir(folder.places()).unwrap();
    std::fs::rename(&away, folder.places()).unwrap();
    assert!(AuditStore::open(&folder.config(&key)).await.is_ok());
}
