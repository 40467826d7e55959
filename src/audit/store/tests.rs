use std::collections::BTreeSet;
use std::path::PathBuf;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};

use super::*;
use crate::audit::{Access, Kind, Search, SubjectKey, timestamp, verify};
use crate::base::code::ErrorCode;
use crate::identify::{Declared, Identity};

/// A folder of its own for each test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("huxiang-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("audit.sqlite")
    }

    fn config(&self) -> AuditConfig {
        AuditConfig::new(&self.file(), &[7; 32])
    }

    async fn edit(&self, segment: &str) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.0.join(segment)).connect().await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(id: &str) -> AuditRecord {
    let declared = Declared { purpose: Some("help".to_owned()), ..Declared::default() };
    let identity = Identity::new(None, "10.0.0.1".parse().unwrap(), vec!["gov".to_owned()], declared);
    AuditRecord::new(id, &identity)
}

/// The newest record of a store without faults.
async fn whole(folder: &Folder) -> Receipt {
    let report = verify(&folder.file(), None, &mut |_| {}).await.unwrap();
    assert_eq!(report.faults, []);
    report.last.unwrap()
}

async fn stored(path: &Path) -> Vec<String> {
    let mut other = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut other).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_record_is_there_for_others_once_it_is_acknowledged() {
    let folder = Folder::new("ack");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    for n in 1..=3_i64 {
        let receipt = store.append(record(&format!("r{n}"))).await.unwrap();
        assert_eq!(receipt.seq, n);
        let rows = stored(&folder.file()).await;
        assert_eq!(rows.len(), usize::try_from(n).unwrap());
        let json: serde_json::Value = serde_json::from_str(rows.last().unwrap()).unwrap();
        assert_eq!(json["request_id"], format!("r{n}"));
        assert!(json["time"].as_str().unwrap().ends_with("+08:00"), "{json}");
    }
    assert_eq!(whole(&folder).await.seq, 3);
}

#[tokio::test]
async fn records_written_at_once_all_get_their_own_row_and_one_chain() {
    let folder = Folder::new("group");
    let one = AuditStore::open(&folder.config()).await.unwrap();
    let two = AuditStore::open(&folder.config()).await.unwrap();
    let mut rows = BTreeSet::new();
    // Some at a time, so that each meets runs of the index that the other has begun, and ended.
    for some in (0..400).collect::<Vec<_>>().chunks(50) {
        let all = some.iter().map(|n| {
            let store = if n % 2 == 0 { one.clone() } else { two.clone() };
            async move { store.append(about(&format!("r{n}"), &[subject(1), subject(2 + n)])).await.unwrap().seq }
        });
        rows.extend(futures::future::join_all(all).await);
    }
    assert_eq!(rows.len(), 400);
    assert_eq!(whole(&folder).await.seq, 400);
    assert_eq!(found(&one, &subject(1), 1_000).await, (1..=400).rev().collect::<Vec<_>>());
    for n in 0..400 {
        assert_eq!(found(&two, &subject(2 + n), 2).await.len(), 1);
    }
}

/// A record about some households.
fn about(id: &str, subjects: &[SubjectDigest]) -> AuditRecord {
    let mut record = record(id);
    record.add_all(subjects.to_vec(), Access { entity: "Household".to_owned(), ..Access::default() });
    record
}

/// As a key gives it, and other ones differ anywhere: in the first digits, or only in later ones.
fn subject(n: usize) -> SubjectDigest {
    let first = u32::try_from(n / 2).unwrap().wrapping_mul(2_654_435_761);
    SubjectDigest::parse(&format!("{first:08x}{n:056x}")).unwrap()
}

/// The numbers of the records about a subject, newest first, read some at a time.
async fn found(store: &AuditStore, subject: &SubjectDigest, first: usize) -> Vec<i64> {
    let mut search = Search { subject: Some(*subject), first, ..Search::default() };
    let mut found = Vec::new();
    loop {
        let page = store.reader().search(&search).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.seq));
        search.before = found.last().copied();
        if !page.has_more {
            return found;
        }
        assert_eq!(page.entries.len(), first);
    }
}

#[tokio::test]
async fn a_record_is_found_by_its_subjects_from_its_receipt_on_whatever_was_restarted_or_rotated() {
    let folder = Folder::new("runs");
    let mut config = folder.config();
    let mut told: BTreeMap<SubjectDigest, Vec<i64>> = BTreeMap::new();
    let mut seq = 0;
    for (round, records) in [1, 254, 1, 1, 300, 70, 513, 0, 3].into_iter().enumerate() {
        // Another hash: the segment is closed with what is left, and a new one begins.
        config.hash = if round == 5 || round == 7 { ChainHash::Sm3 } else { ChainHash::Sha256 };
        let store = AuditStore::open(&config).await.unwrap();
        let records: Vec<_> = (seq + 1..=seq + records).collect();
        for some in records.chunks(90) {
            let appended = some.iter().map(|n| {
                let subjects = [subject(*n % 3), subject(100 + *n % 50), subject(1_000 + *n)];
                let subjects = if *n % 10 == 0 { Vec::new() } else { subjects.to_vec() };
                let store = store.clone();
                async move { (store.append(about("r", &subjects)).await.unwrap().seq, subjects) }
            });
            for (seq, subjects) in futures::future::join_all(appended).await {
                subjects.into_iter().for_each(|subject| told.entry(subject).or_default().push(seq));
            }
        }
        seq += records.len();
        told.values_mut().for_each(|records| records.sort_unstable_by(|one, other| other.cmp(one)));
        let often = (0..3).map(subject).filter_map(|subject| told.get_key_value(&subject));
        for (subject, records) in often.chain(told.iter().step_by(17)) {
            assert_eq!(found(&store, subject, 20).await, *records, "round {round}");
        }
        assert_eq!(whole(&folder).await.seq, i64::try_from(seq).unwrap());
    }
    let store = AuditStore::open(&config).await.unwrap();
    assert_eq!(found(&store, &subject(5_000_000), 50).await, [0; 0]);
    let runs = async |segment: &str| -> Vec<(i64, i64)> {
        let runs = sqlx::query_as("SELECT first_seq, last_seq FROM run ORDER BY first_seq");
        runs.fetch_all(&mut folder.edit(segment).await).await.unwrap()
    };
    // Of the newest segment nothing is indexed yet; of closed ones everything.
    assert_eq!(runs("audit.sqlite").await, [(1, 256), (257, 512), (513, 557)]);
    assert_eq!(runs("audit.000002.sqlite").await, [(558, 627)]);
    assert_eq!(runs("audit.000003.sqlite").await, [(628, 883), (884, 1_139), (1_140, 1_140)]);
    assert_eq!(runs("audit.000005.sqlite").await, [(0, 0); 0]);
}

#[tokio::test]
async fn what_is_held_to_be_indexed_is_bounded_by_its_subjects_too() {
    let folder = Folder::new("held");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    for n in 0..4 {
        let subjects: Vec<_> = (n * 30_000..(n + 1) * 30_000).map(subject).collect();
        store.append(about("r", &subjects)).await.unwrap();
    }
    let runs = sqlx::query_as("SELECT first_seq, last_seq FROM run");
    let runs: Vec<(i64, i64)> = runs.fetch_all(&mut folder.edit("audit.sqlite").await).await.unwrap();
    assert_eq!(runs, [(1, 3)]);
    for (of, seq) in [(0, 1), (29_999, 1), (30_000, 2), (89_999, 3), (90_000, 4), (119_999, 4)] {
        assert_eq!(found(&store, &subject(of), 9).await, [seq]);
    }
    assert_eq!(whole(&folder).await.seq, 4);
}

#[tokio::test]
async fn who_acted_for_somebody_is_not_found_as_having_looked_at_them() {
    let folder = Folder::new("behalf");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    let behalf = Access { entity: "Household".to_owned(), on_behalf_of: [subject(1)].into(), ..Access::default() };
    for _ in 0..300 {
        let mut record = record("r");
        record.add(subject(2), behalf.clone());
        store.append(record).await.unwrap();
    }
    assert_eq!(found(&store, &subject(1), 9).await, [0; 0]);
    assert_eq!(found(&store, &subject(2), 200).await.len(), 300);
}

#[tokio::test]
async fn a_chain_goes_on_after_a_restart() {
    let folder = Folder::new("chain");
    for n in 0..4 {
        let store = AuditStore::open(&folder.config()).await.unwrap();
        store.append(record(&format!("r{n}"))).await.unwrap();
    }
    assert_eq!(whole(&folder).await.seq, 4);
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_file_is_gone_and_the_store_mends_when_it_is_back() {
    let folder = Folder::new("gone");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    store.append(record("r1")).await.unwrap();
    let away = folder.0.join("away");
    std::fs::create_dir(&away).unwrap();
    let names = ["audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"];
    for name in names {
        let _ = std::fs::rename(folder.0.join(name), away.join(name));
    }
    for _ in 0..3 {
        assert!(store.append(record("r2")).await.is_err(), "not even into a new, empty store in its place");
        assert!(!store.is_healthy());
        assert!(!folder.file().exists(), "a file made here would be in the way of the one put back");
    }
    for name in names {
        let _ = std::fs::rename(away.join(name), folder.0.join(name));
    }
    assert_eq!(store.append(record("r3")).await.unwrap().seq, 2);
    assert!(store.is_healthy());
    assert_eq!(whole(&folder).await.seq, 2);
}

#[tokio::test]
async fn a_store_that_lost_its_tail_while_it_was_away_is_not_written_to() {
    let folder = Folder::new("behind");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    for n in 0..3 {
        store.append(record(&format!("r{n}"))).await.unwrap();
    }
    let away = folder.0.join("audit.away");
    std::fs::rename(folder.file(), &away).unwrap();
    assert!(store.append(record("r3")).await.is_err());
    std::fs::rename(&away, folder.file()).unwrap();
    let mut other = folder.edit("audit.sqlite").await;
    sqlx::query("DELETE FROM audit WHERE seq = 3").execute(&mut other).await.unwrap();
    drop(other);
    let error = store.append(record("r4")).await.unwrap_err().to_string();
    assert!(error.contains("does not hold record 3"), "{error}");
}

#[tokio::test]
async fn segments_follow_each_other_and_another_hash_begins_a_new_one() {
    let folder = Folder::new("segments");
    let large = "x".repeat(4 << 10);
    let mut config = AuditConfig { rotate_mb: 1, ..folder.config() };
    let store = AuditStore::open(&config).await.unwrap();
    for n in 0..300 {
        store.append(record(&format!("{n} {large}"))).await.unwrap();
    }
    drop(store);
    assert!(folder.0.join("audit.000003.sqlite").exists() && !folder.0.join("audit.000004.sqlite").exists());
    config.hash = ChainHash::Sm3;
    let store = AuditStore::open(&config).await.unwrap();
    let receipt = store.append(record("last")).await.unwrap();
    assert_eq!((receipt.seq, store.head().borrow().segment), (301, 4));
    assert_eq!(whole(&folder).await, receipt);
    let mut other = folder.edit("audit.000004.sqlite").await;
    let row = sqlx::query("SELECT algorithm FROM audit").fetch_one(&mut other).await.unwrap();
    assert_eq!(row.get::<&str, _>(0), "sm3");
    let all = store.reader().search(&Search { first: 1_000, ..Search::default() }).await.unwrap();
    assert_eq!((all.entries.len(), all.has_more), (301, false));
    assert_eq!(store.reader().after(298, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_segment_that_another_process_has_closed_is_left_for_the_next() {
    let folder = Folder::new("closed");
    let one = AuditStore::open(&folder.config()).await.unwrap();
    one.append(record("r1")).await.unwrap();
    let two = AuditStore::open(&AuditConfig { hash: ChainHash::Sm3, ..folder.config() }).await.unwrap();
    two.append(record("r2")).await.unwrap();
    assert_eq!(one.append(record("r3")).await.unwrap().seq, 3);
    assert_eq!(whole(&folder).await.seq, 3);
}

#[tokio::test]
async fn records_are_found_by_subject_kind_and_time_a_page_at_a_time() {
    let folder = Folder::new("reader");
    let key = SubjectKey::new([7; 32].as_slice().into());
    let store = AuditStore::open(&folder.config()).await.unwrap();
    let start = Timestamp::now() - SignedDuration::from_hours(10);
    for n in 0..10_i64 {
        let mut record = record(&format!("r{n}"));
        record.time = timestamp(start + SignedDuration::from_hours(n));
        let access = Access { entity: "Household".to_owned(), ..Access::default() };
        record.add(key.subject("Household", if n % 2 == 0 { "even" } else { "odd" }), access.clone());
        record.add(key.subject("Household", "all"), access);
        if n == 4 {
            record.kind = Kind::Approval;
        }
        store.append(record).await.unwrap();
    }
    let reader = store.reader();
    let found = async |search: Search| {
        let page = reader.search(&search).await.unwrap();
        (page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), page.has_more)
    };
    let even = Search { subject: Some(key.subject("Household", "even")), first: 3, ..Search::default() };
    assert_eq!(found(even.clone()).await, (vec![9, 7, 5], true));
    assert_eq!(found(Search { before: Some(5), ..even.clone() }).await, (vec![3, 1], false));
    let to = Some(start + SignedDuration::from_hours(4));
    assert_eq!(found(Search { to, ..even.clone() }).await, (vec![3, 1], false));
    assert_eq!(found(Search { from: to, ..even.clone() }).await, (vec![9, 7, 5], false));
    let nobody = Some(key.subject("Person", "even"));
    assert_eq!(found(Search { subject: nobody, ..even }).await, (vec![], false));
    let approvals = Search { kinds: vec![Kind::Approval], first: 5, ..Search::default() };
    assert_eq!(found(approvals).await, (vec![5], false));
    let between = reader.between(start + SignedDuration::from_hours(2), start + SignedDuration::from_hours(5)).unwrap();
    let between: Vec<i64> = between.map_ok(|entry| entry.seq).try_collect().await.unwrap();
    assert_eq!(between, [3, 4, 5]);
    assert_eq!(reader.entry(7).await.unwrap().unwrap().record.request_id, "r6");
    assert!(reader.entry(11).await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_that_refuses_the_row_refuses_the_request() {
    let folder = Folder::new("refuse");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    let mut other = folder.edit("audit.sqlite").await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    sqlx::query(full).execute(&mut other).await.unwrap();
    assert!(store.append(record("r1")).await.unwrap_err().to_string().contains("disk full"));
    sqlx::query("DROP TRIGGER full").execute(&mut other).await.unwrap();
    assert!(store.append(record("r2")).await.is_ok());
    assert!(AuditStore::open(&AuditConfig::new(&folder.0, &[7; 32])).await.is_err(), "a folder is no store");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let _store = AuditStore::open(&folder.config()).await.unwrap();
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn subjects_with_equal_access_stand_together_and_never_by_their_id() {
    let key = SubjectKey::new(b"0123456789abcdef0123456789abcdef".as_slice().into());
    let mut record = record("r1");
    let access = Access { entity: "Household".to_owned(), read: ["01".to_owned()].into(), ..Access::default() };
    for id in ["331122101348000001", "331122101348000002"] {
        record.add(key.subject("Household", id), access.clone());
    }
    record.add(key.subject("Person", "331122101348000001"), Access { entity: "Person".to_owned(), ..access });
    record.called("police", None);
    record.called("police", Some(ErrorCode::SourceTimeout));
    assert_eq!(record.access.len(), 2);
    assert_ne!(record.access[0].subjects, record.access[1].subjects, "entity types do not mix");
    let json = serde_json::to_string(&record).unwrap();
    assert!(!json.contains("331122101348"), "{json}");
    assert!(json.contains(r#""outcomes":{"OK":1,"SOURCE_TIMEOUT":1}"#), "{json}");
}

#[tokio::test]
async fn a_write_leaves_its_intent_before_and_its_outcome_after() {
    let folder = Folder::new("intent");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    let first = store.intend(record("w1")).await.unwrap();
    let second = store.intend(record("w2")).await.unwrap();
    assert_eq!(stored(&folder.file()).await.len(), 2, "both are durable before anything is forwarded");
    let errors = BTreeSet::from([ErrorCode::SourceTimeout]);
    let receipt = first.end(crate::audit::Outcome::Partial, errors, Some("digest".to_owned())).await.unwrap();
    let outcome = store.reader().entry(receipt.seq).await.unwrap().unwrap().record;
    assert_eq!((outcome.kind, outcome.of, outcome.request_id.as_str()), (Kind::Outcome, Some(1), "w1"));
    assert_eq!((outcome.answer.as_deref(), outcome.errors.len()), (Some("digest"), 1));
    let unfinished = store.reader().unfinished(10).await.unwrap();
    assert_eq!(unfinished.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [second.seq()], "as a crash leaves it");
    assert_eq!(whole(&folder).await.seq, 3);
}

#[tokio::test]
async fn a_stream_has_a_record_for_each_frame() {
    let folder = Folder::new("frames");
    let store = AuditStore::open(&folder.config()).await.unwrap();
    let (mut frames, opening) = store.stream(record("s1")).await.unwrap();
    assert_eq!(opening.seq, 1);
    for _ in 0..2 {
        frames.frame(record("s1")).await.unwrap();
    }
    store.append(record("r2")).await.unwrap();
    frames.frame(record("s1")).await.unwrap();
    let search = Search { kinds: vec![Kind::Frame], first: 10, ..Search::default() };
    let found = store.reader().search(&search).await.unwrap().entries;
    let told: Vec<_> =
        found.iter().map(|entry| (entry.seq, entry.record.of, entry.record.details["frame"].clone())).collect();
    assert_eq!(told, [(5, Some(1), 4.into()), (3, Some(1), 3.into()), (2, Some(1), 2.into())]);
    let end = frames.end(record("s1")).await.unwrap();
    let end = store.reader().entry(end.seq).await.unwrap().unwrap().record;
    assert_eq!((end.kind, end.of, &end.details["frames"]), (Kind::Outcome, Some(1), &4.into()));
    assert_eq!(whole(&folder).await.seq, 6);
}
