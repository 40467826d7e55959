use std::collections::BTreeSet;

use super::*;
use crate::audit::{Access, SubjectKey};
use crate::base::code::ErrorCode;
use crate::identify::Identity;

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
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(id: &str) -> AuditRecord {
    let identity = Identity {
        principal: None,
        address: "10.0.0.1".parse().unwrap(),
        networks: vec!["gov".to_owned()],
        purpose: Some("help".to_owned()),
        case: None,
        certificate: None,
    };
    AuditRecord::new(id, &identity)
}

async fn stored(path: &Path) -> Vec<String> {
    let mut other = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
    let rows = sqlx::query("SELECT record FROM audit ORDER BY seq").fetch_all(&mut other).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_record_is_there_for_others_once_it_is_acknowledged() {
    let folder = Folder::new("ack");
    let store = AuditStore::open(&folder.file()).await.unwrap();
    for n in 1..=3_i64 {
        let receipt = store.append(record(&format!("r{n}"))).await.unwrap();
        assert_eq!(receipt.seq, n);
        let rows = stored(&folder.file()).await;
        assert_eq!(rows.len(), usize::try_from(n).unwrap());
        let json: serde_json::Value = serde_json::from_str(rows.last().unwrap()).unwrap();
        assert_eq!(json["request_id"], format!("r{n}"));
        assert!(json["time"].as_str().unwrap().ends_with("+08:00"), "{json}");
    }
    assert_eq!(verify_chain(&folder.file()).await.unwrap().unwrap().seq, 3);
}

#[tokio::test]
async fn records_written_at_once_all_get_their_own_row_and_one_chain() {
    let folder = Folder::new("group");
    let one = AuditStore::open(&folder.file()).await.unwrap();
    let two = AuditStore::open(&folder.file()).await.unwrap();
    let all = (0..400).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        async move { store.append(record(&format!("r{n}"))).await.unwrap().seq }
    });
    let rows: BTreeSet<i64> = futures::future::join_all(all).await.into_iter().collect();
    assert_eq!(rows.len(), 400);
    assert_eq!(verify_chain(&folder.file()).await.unwrap().unwrap().seq, 400);
}

#[tokio::test]
async fn a_chain_goes_on_after_a_restart_and_a_changed_or_missing_row_is_found() {
    let folder = Folder::new("chain");
    for n in 0..4 {
        let store = AuditStore::open(&folder.file()).await.unwrap();
        store.append(record(&format!("r{n}"))).await.unwrap();
    }
    assert_eq!(verify_chain(&folder.file()).await.unwrap().unwrap().seq, 4);
    let mut other = SqliteConnectOptions::new().filename(folder.file()).connect().await.unwrap();
    sqlx::query("UPDATE audit SET record = replace(record, 'help', 'none') WHERE seq = 2")
        .execute(&mut other)
        .await
        .unwrap();
    assert!(matches!(verify_chain(&folder.file()).await, Err(ChainFault::Broken { seq: 2 })));
    sqlx::query("DELETE FROM audit WHERE seq = 2").execute(&mut other).await.unwrap();
    assert!(matches!(verify_chain(&folder.file()).await, Err(ChainFault::Broken { seq: 3 })));
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_file_is_gone_and_the_store_mends_when_it_is_back() {
    let folder = Folder::new("gone");
    let store = AuditStore::open(&folder.file()).await.unwrap();
    store.append(record("r1")).await.unwrap();
    for name in ["audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"] {
        let _ = std::fs::remove_file(folder.0.join(name));
    }
    std::fs::create_dir(folder.file()).unwrap();
    for _ in 0..2 {
        assert!(store.append(record("r2")).await.is_err());
        assert!(!store.is_healthy());
    }
    std::fs::remove_dir(folder.file()).unwrap();
    assert_eq!(store.append(record("r3")).await.unwrap().seq, 1);
    assert!(store.is_healthy());
}

#[tokio::test]
async fn a_store_that_refuses_the_row_refuses_the_request() {
    let folder = Folder::new("refuse");
    let store = AuditStore::open(&folder.file()).await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(folder.file()).connect().await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    sqlx::query(full).execute(&mut other).await.unwrap();
    assert!(store.append(record("r1")).await.unwrap_err().to_string().contains("disk full"));
    sqlx::query("DROP TRIGGER full").execute(&mut other).await.unwrap();
    assert!(store.append(record("r2")).await.is_ok());
    assert!(AuditStore::open(&folder.0).await.is_err(), "a folder is no store");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let _store = AuditStore::open(&folder.file()).await.unwrap();
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
