//! What a record costs. For whoever measures: `cargo test --release --test audit_cost -- --ignored --nocapture`;
//! docs/benchmarks.md says how to read it. A crate of its own: what is measured has its process to itself.

use std::time::{Duration, Instant};

use huxiang::audit::{Access, AuditRecord, AuditStore, SubjectKey};
use huxiang::identify::Identity;
use huxiang::model::config::{AuditConfig, ChainHash};

/// As a portrait leaves it: one household, four members, thirty items, twelve sources. Of more `subjects`, as a list of
/// households leaves it.
fn record(key: &SubjectKey, n: usize, subjects: usize) -> AuditRecord {
    let mut record = AuditRecord::new(&format!("request-{n}"), &Identity::at("10.0.0.1".parse().unwrap()));
    let access = |entity: &str, items: usize| Access {
        entity: entity.to_owned(),
        relations: ["jurisdiction".to_owned()].into(),
        read: (0..items).map(|item| item.to_string()).collect(),
        ..Access::default()
    };
    if subjects == 1 {
        record.add(key.subject("Household", &n.to_string()), access("Household", 30));
        let members = (0..4).map(|member| key.subject("Person", &format!("{n}-{member}"))).collect();
        record.add_all(members, access("Person", 5));
    } else {
        let households = (0..subjects).map(|at| key.subject("Household", &format!("{n}-{at}"))).collect();
        record.add_all(households, access("Household", 30));
    }
    (0..12).for_each(|source| record.called(&format!("source-{source}"), None));
    record.answer = Some(key.answer(&[b'x'; 8 << 10]));
    record
}

/// `AUDIT_RECORDS` (20000) records of `AUDIT_SUBJECTS` (1) households from `AUDIT_CLIENTS` (64) at once; `AUDIT_HASH=sm3`
/// for the other hash.
#[ignore = "measures; prints figures"]
#[tokio::test(flavor = "multi_thread")]
async fn records_per_second_and_per_fsync() {
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (records, clients) = (number("AUDIT_RECORDS", 20_000), number("AUDIT_CLIENTS", 64));
    let subjects = number("AUDIT_SUBJECTS", 1);
    let folder = std::env::temp_dir().join(format!("huxiang-audit-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut config = AuditConfig::new(&folder.join("audit.sqlite"), &[7; 32]);
    if std::env::var("AUDIT_HASH").is_ok_and(|hash| hash == "sm3") {
        config.hash = ChainHash::Sm3;
    }
    let store = AuditStore::open(&config).await.unwrap();
    let key = SubjectKey::new([7; 32].as_slice().into());
    let began = Instant::now();
    let each = (0..clients).map(|client| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            for n in (client..records).step_by(clients) {
                let record = record(&key, n, subjects);
                let asked = Instant::now();
                store.append(record).await.unwrap();
                longest = longest.max(asked.elapsed());
            }
            longest
        })
    });
    let longest = futures::future::join_all(each).await.into_iter().map(Result::unwrap).max().unwrap();
    let (took, commits) = (began.elapsed().as_secs_f64(), store.commits());
    #[expect(clippy::cast_precision_loss, reason = "figures to read")]
    let (records, commits) = (records as f64, commits as f64);
    println!("{clients} clients, {subjects} households, {}: {:.0} records/s", config.hash.as_str(), records / took);
    println!("{:.0} commits/s (one fsync each), {:.1} records a commit", commits / took, records / commits);
    println!("longest wait {:.1} ms", longest.as_secs_f64() * 1e3);
    drop(store);
    std::fs::remove_dir_all(&folder).unwrap();
}
