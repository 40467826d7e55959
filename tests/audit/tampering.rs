//! Whatever is done to the records afterwards is found, and where. Without an answer kept, and without a gateway.

use std::path::{Path, PathBuf};

use huxiang::audit::{
    Access, AuditRecord, AuditStore, Fault, Kept, Signer, SubjectKey, Wrong, new_key, read_checkpoints, verify,
};
use huxiang::identify::Identity;
use huxiang::model::config::{AuditConfig, ChainHash, CheckpointConfig, Pem};
use proptest::prelude::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::temporary::Temporary;

const RECORDS: i64 = 24;

struct Folder(Temporary);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Temporary::new(&format!("tampering-{name}"));
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("audit.sqlite")
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.join("elsewhere")
    }
}

fn record(n: i64) -> AuditRecord {
    let identity = Identity { networks: vec!["gov".to_owned()], ..Identity::at("10.0.0.1".parse().unwrap()) };
    let mut record = AuditRecord::new(&format!("request-{n}"), &identity);
    let key = SubjectKey::new([7; 32].as_slice().into());
    let access = Access { entity: "Household".to_owned(), read: ["3".to_owned()].into(), ..Access::default() };
    record.add(key.subject("Household", &format!("h{}", n % 5)), access);
    record
}

/// A store of three segments (SHA-256, SM3, SHA-256), with checkpoints up to the sixth record before the end.
/// It is still open: closing it goes on in the background, while a test would copy or edit its files.
async fn build(folder: &Folder) -> (Signer, AuditStore) {
    let pem = new_key().unwrap();
    let mut config = AuditConfig::new(&folder.store(), &[7; 32]);
    let checkpoints = CheckpointConfig {
        egress: Default::default(),
        directory: Some(folder.checkpoints()),
        url: None,
        key: Pem::Text(pem.as_str().into()),
        every_records: 1_000,
        every_seconds: 1_000,
        refuse_after_seconds: None,
    };
    let mut open = None;
    for (at, hash) in [ChainHash::Sha256, ChainHash::Sm3, ChainHash::Sha256].into_iter().enumerate() {
        config.hash = hash;
        config.checkpoints = Some(checkpoints.clone());
        let at = i64::try_from(at).unwrap();
        let store = AuditStore::open(&config).await.unwrap();
        for n in at * RECORDS / 3..(at + 1) * RECORDS / 3 {
            if n == RECORDS - 5 {
                store.settle().await;
            }
            store.append(record(n)).await.unwrap();
        }
        // What follows the last checkpoint is not signed: the store is left as a crash leaves it.
        if at < 2 {
            store.settle().await;
        } else {
            open = Some(store);
        }
    }
    (Signer::from_pem(pem.as_bytes()).unwrap(), open.unwrap())
}

fn kept(folder: &Folder, signer: &Signer) -> Kept {
    read_checkpoints(&folder.checkpoints(), &[signer.public_key()]).unwrap()
}

async fn first_fault(folder: &Folder, kept: Option<&Kept>) -> Option<Fault> {
    verify(&folder.store(), kept, &mut |_| {}).await.unwrap().faults.into_iter().next()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            let below = to.join(entry.file_name());
            std::fs::create_dir_all(&below).unwrap();
            copy(&entry.path(), &below);
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn file(seq: i64) -> &'static str {
    ["audit.sqlite", "audit.000002.sqlite", "audit.000003.sqlite"][usize::try_from((seq - 1) * 3 / RECORDS).unwrap()]
}

async fn edit(folder: &Folder, seq: i64, statement: &str) -> SqliteConnection {
    let path = folder.0.join(file(seq));
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let statement = statement.replace("{seq}", &seq.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection
}

/// Changes record `seq` and computes every hash after it anew, over all segments, as only the file's owner can.
async fn rewrite(folder: &Folder, seq: i64) {
    edit(folder, seq, "UPDATE audit SET record = replace(record, 'gov', 'vog') WHERE seq = {seq}").await;
    let mut prev: Option<Vec<u8>> = None;
    for first in [1, RECORDS / 3 + 1, RECORDS * 2 / 3 + 1] {
        let path = folder.0.join(file(first));
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        let set = "UPDATE segment SET prev = ?";
        if let Some(prev) = &prev {
            sqlx::query(set).bind(prev).execute(&mut connection).await.unwrap();
        }
        let rows = sqlx::query("SELECT seq, record, algorithm, prev FROM audit ORDER BY seq");
        for row in rows.fetch_all(&mut connection).await.unwrap() {
            let (at, record): (i64, String) = (row.get("seq"), row.get("record"));
            let before = prev.clone().unwrap_or_else(|| row.get("prev"));
            let hash = hash(row.get("algorithm"), &before, at, &record);
            let set = "UPDATE audit SET prev = ?, hash = ? WHERE seq = ?";
            sqlx::query(set).bind(&before).bind(&hash).bind(at).execute(&mut connection).await.unwrap();
            prev = Some(hash);
        }
        let set = "UPDATE segment SET last_hash = ? WHERE closed IS NOT NULL";
        sqlx::query(set).bind(&prev).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// The chain, from its description in docs/operations.md.
fn hash(algorithm: &str, prev: &[u8], seq: i64, record: &str) -> Vec<u8> {
    use sha2::Digest as _;
    let text = [algorithm.as_bytes(), b"\0", prev, &seq.to_be_bytes(), record.as_bytes()].concat();
    if algorithm == "sm3" { sm3::Sm3::digest(text).to_vec() } else { sha2::Sha256::digest(text).to_vec() }
}

#[tokio::test]
async fn an_untouched_store_verifies_over_segments_of_both_hashes() {
    let folder = Folder::new("whole");
    let (signer, _open) = build(&folder).await;
    let mut told = 0;
    let report = verify(&folder.store(), Some(&kept(&folder, &signer)), &mut |seen| told = seen).await.unwrap();
    assert_eq!(report.faults, []);
    assert_eq!((report.segments, report.records, told), (3, 24, 24));
    assert_eq!((report.checkpoints, report.signed_to, report.first_seq), (3, Some(RECORDS - 5), Some(1)));
}

/// What can be done to one record, and what is then said of it.
#[derive(Debug, Clone, Copy)]
enum Tampering {
    Text,
    Hash,
    Previous,
    Time,
    Kind,
    RequestId,
    Algorithm,
    Unlist,
    ListElsewhere,
    Remove,
    SwapTexts,
    SwapRecords,
    CutTail,
    Rewrite,
    DropSegment,
}

const ALL: [Tampering; 15] = [
    Tampering::Text,
    Tampering::Hash,
    Tampering::Previous,
    Tampering::Time,
    Tampering::Kind,
    Tampering::RequestId,
    Tampering::Algorithm,
    Tampering::Unlist,
    Tampering::ListElsewhere,
    Tampering::Remove,
    Tampering::SwapTexts,
    Tampering::SwapRecords,
    Tampering::CutTail,
    Tampering::Rewrite,
    Tampering::DropSegment,
];

/// A record of the same segment.
fn neighbour(seq: i64) -> i64 {
    if (seq - 1) * 3 / RECORDS == seq * 3 / RECORDS { seq + 1 } else { seq - 1 }
}

async fn tamper(folder: &Folder, tampering: Tampering, seq: i64) {
    let swap = |columns: &str| {
        let other = neighbour(seq);
        format!(
            "CREATE TEMP TABLE t AS SELECT * FROM audit WHERE seq IN ({seq}, {other}); \
             UPDATE audit SET ({columns}) = (SELECT {columns} FROM t WHERE t.seq = {other}) WHERE seq = {seq}; \
             UPDATE audit SET ({columns}) = (SELECT {columns} FROM t WHERE t.seq = {seq}) WHERE seq = {other};"
        )
    };
    let statement = match tampering {
        Tampering::Text => "UPDATE audit SET record = replace(record, 'gov', 'vog') WHERE seq = {seq}".to_owned(),
        Tampering::Hash => "UPDATE audit SET hash = zeroblob(32) WHERE seq = {seq}".to_owned(),
        Tampering::Previous => "UPDATE audit SET prev = zeroblob(32) WHERE seq = {seq}".to_owned(),
        Tampering::Time => "UPDATE audit SET time = '2020' || substr(time, 5) WHERE seq = {seq}".to_owned(),
        Tampering::Kind => "UPDATE audit SET kind = 'ADMIN' WHERE seq = {seq}".to_owned(),
        Tampering::RequestId => "UPDATE audit SET request_id = 'x' WHERE seq = {seq}".to_owned(),
        Tampering::Algorithm => "UPDATE audit SET algorithm = 'none' WHERE seq = {seq}".to_owned(),
        Tampering::Unlist => return unlist(&folder.0.join(file(seq)), |listed| listed == seq).await,
        Tampering::ListElsewhere => return list(&folder.0.join(file(seq)), seq, &[0; 32]).await,
        Tampering::Remove => {
            unlist(&folder.0.join(file(seq)), |listed| listed == seq).await;
            "DELETE FROM audit WHERE seq = {seq}".to_owned()
        }
        Tampering::SwapTexts => swap("time, kind, request_id, record"),
        Tampering::SwapRecords => swap("time, kind, request_id, record, algorithm, prev, hash"),
        Tampering::CutTail => {
            unlist(&folder.0.join(file(seq)), |listed| listed >= seq).await;
            "DELETE FROM audit WHERE seq >= {seq}".to_owned()
        }
        Tampering::Rewrite => return rewrite(folder, seq).await,
        Tampering::DropSegment => {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.0.join(format!("{}{end}", file(seq))));
            }
            return;
        }
    };
    edit(folder, seq, &statement).await.close().await.unwrap();
}

/// Whether the fault says what was done, and where.
fn tells(fault: &Fault, tampering: Tampering, seq: i64) -> bool {
    let segment = u32::try_from((seq - 1) * 3 / RECORDS + 1).unwrap();
    let last_of_segment = i64::from(segment) * RECORDS / 3;
    let here = fault.segment == Some(segment) && fault.seq == Some(seq);
    match (tampering, &fault.wrong) {
        (Tampering::Text | Tampering::Hash | Tampering::Previous, Wrong::Altered) => here,
        (Tampering::Time | Tampering::Kind | Tampering::RequestId | Tampering::Algorithm, Wrong::Mislabelled)
        | (Tampering::Unlist | Tampering::ListElsewhere, Wrong::Index) => here,
        // The last of a segment leaves no gap behind it: the segment's own end tells.
        (Tampering::Remove, Wrong::Removed { next }) => here && *next == seq + 1,
        (Tampering::Remove, Wrong::TailCut { signed }) => {
            fault.seq == Some(seq - 1) && (*signed == last_of_segment || *signed == RECORDS - 5)
        }
        (Tampering::SwapTexts | Tampering::SwapRecords, Wrong::Reordered { now_at }) => {
            let (first, second) = (seq.min(neighbour(seq)), seq.max(neighbour(seq)));
            fault.segment == Some(segment) && fault.seq == Some(first) && *now_at == Some(second)
        }
        (Tampering::CutTail, Wrong::TailCut { signed }) => {
            fault.seq == Some(seq - 1) && (*signed == last_of_segment || *signed == RECORDS - 5)
        }
        (Tampering::Rewrite, Wrong::Rewritten { after, .. }) => *after < seq && fault.seq >= Some(seq),
        (Tampering::DropSegment, Wrong::SegmentMissing) => fault.segment == Some(segment),
        (Tampering::DropSegment, Wrong::TailCut { signed }) => segment == 3 && *signed == RECORDS - 5,
        _ => false,
    }
}

/// What only a checkpoint could tell, and none does: it happened after the newest.
fn is_beyond_what_is_signed(tampering: Tampering, seq: i64) -> bool {
    match tampering {
        Tampering::CutTail | Tampering::Rewrite => seq > RECORDS - 5,
        Tampering::Remove => seq == RECORDS,
        _ => false,
    }
}

#[test]
fn every_tampering_with_every_record_is_found_and_located() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = Folder::new("every");
    let (signer, _open) = runtime.block_on(build(&folder));
    let kept = kept(&folder, &signer);
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let copied = Folder::new("every-copy");
    let found = runner.run(&(0..ALL.len(), 1..=RECORDS), |(which, seq)| {
        let tampering = ALL[which];
        let in_index = matches!(tampering, Tampering::Unlist | Tampering::ListElsewhere);
        // The newest records, fewer than a run, are not in it yet.
        let seq = if in_index { (seq - 1) % (RECORDS * 2 / 3) + 1 } else { seq };
        let _ = std::fs::remove_dir_all(&copied.0);
        std::fs::create_dir_all(&copied.0).unwrap();
        copy(&folder.0, &copied.0);
        let fault = runtime.block_on(async {
            tamper(&copied, tampering, seq).await;
            first_fault(&copied, Some(&kept)).await
        });
        match fault {
            Some(fault) => prop_assert!(tells(&fault, tampering, seq), "{tampering:?} of {seq}: {fault:?}"),
            None => prop_assert!(is_beyond_what_is_signed(tampering, seq), "{tampering:?} of {seq} is not found"),
        }
        Ok(())
    });
    found.unwrap();
}

/// Opens a store's file to change it.
async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// The rows of the index, each in its place, with its entries.
async fn rows(connection: &mut SqliteConnection) -> Vec<(i64, Vec<[u8; 4]>)> {
    let rows = sqlx::query("SELECT place, entries FROM subject ORDER BY place").fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get::<&[u8], _>(1).as_chunks().0.to_vec())).collect()
}

async fn set(connection: &mut SqliteConnection, place: i64, entries: &[[u8; 4]]) {
    let update = sqlx::query("UPDATE subject SET entries = ? WHERE place = ?");
    update.bind(entries.as_flattened()).bind(place).execute(connection).await.unwrap();
}

/// Takes the entries of records out of the index.
async fn unlist(path: &Path, which: impl Fn(i64) -> bool) {
    let mut connection = open(path).await;
    for (place, mut entries) in rows(&mut connection).await {
        entries.retain(|[.., nth]| !which((place >> 6) + i64::from(*nth)));
        set(&mut connection, place, &entries).await;
    }
    connection.close().await.unwrap();
}

/// Where a subject stands in the index, and as what, in the run that begins with record `first`.
fn place(first: i64, seq: i64, digest: &[u8; 32]) -> (i64, [u8; 4]) {
    let bits = u32::from_be_bytes(*digest.first_chunk().unwrap());
    let [_, a, b, c] = (bits << 6 >> 8).to_be_bytes();
    (first << 6 | i64::from(bits >> 26), [a, b, c, u8::try_from(seq - first).unwrap()])
}

/// Adds an entry, in its place, to the only run that holds the record.
async fn list(path: &Path, seq: i64, digest: &[u8; 32]) {
    let mut connection = open(path).await;
    let first = "SELECT first_seq FROM run WHERE ? BETWEEN first_seq AND last_seq";
    let first = sqlx::query_scalar(first).bind(seq).fetch_one(&mut connection).await.unwrap();
    let (place, entry) = place(first, seq, digest);
    let (_, mut entries) = rows(&mut connection).await.into_iter().find(|(at, _)| *at == place).unwrap();
    entries.push(entry);
    entries.sort_unstable();
    set(&mut connection, place, &entries).await;
    connection.close().await.unwrap();
}

fn digest(subject: &str) -> [u8; 32] {
    let text = SubjectKey::new([7; 32].as_slice().into()).subject("Household", subject).to_string();
    let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
    std::array::from_fn(byte)
}

#[tokio::test]
async fn an_index_that_is_not_what_the_records_say_is_found_wherever_it_differs() {
    let folder = Folder::new("index");
    let store = AuditStore::open(&AuditConfig::new(&folder.store(), &[7; 32])).await.unwrap();
    // One run and some more records; h0 is in 1, 6, 11 …
    for chunk in (0..300).collect::<Vec<_>>().chunks(100) {
        futures::future::join_all(chunk.iter().map(|n| store.append(record(*n)))).await;
    }
    assert_eq!(first_fault(&folder, None).await, None);
    let mut whole = open(&folder.store()).await;
    let runs: Vec<(i64, i64)> = sqlx::query_as("SELECT * FROM run").fetch_all(&mut whole).await.unwrap();
    assert_eq!(runs, [(1, 256)]);
    let texts = sqlx::query_as("SELECT seq, record FROM audit").fetch_all(&mut whole).await.unwrap();
    let text = |subject: &str| SubjectKey::new([7; 32].as_slice().into()).subject("Household", subject).to_string();
    let of = |subject: &str, from: i64| -> i64 {
        let names = |(seq, record): &&(i64, String)| *seq >= from && record.contains(&text(subject));
        texts.iter().find(names).unwrap().0
    };
    let (first, second) = (of("h0", 1), of("h0", of("h0", 1) + 1));
    let (here, _) = place(1, first, &digest("h0"));
    let all = rows(&mut whole).await;
    assert_eq!(all.len(), 64);
    whole.close().await.unwrap();
    let held = all.iter().find(|(at, _)| *at == here).unwrap().1.clone();
    let empty = all.iter().find(|(_, entries)| entries.is_empty()).unwrap().0;
    let alone = all.iter().filter(|(at, entries)| *at == here && entries.len() < 60).count() == 1;
    assert!(alone, "no other subject of the test stands in the same row");
    // What stands in the row instead; and after which record the index is told to be wrong.
    let changed = |change: fn(&mut Vec<[u8; 4]>)| {
        let mut entries = held.clone();
        change(&mut entries);
        assert_ne!(entries, held);
        let hex: String = entries.as_flattened().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("UPDATE subject SET entries = x'{hex}' WHERE place = {here}")
    };
    let emptied = (0..64).map(|bucket| format!("INSERT INTO subject VALUES ({}, x'');", 257 << 6 | bucket));
    let cases = [
        ("a row removed", format!("DELETE FROM subject WHERE place = {here}"), first),
        ("a row without entries removed", format!("DELETE FROM subject WHERE place = {empty}"), 1),
        ("a row emptied", format!("UPDATE subject SET entries = x'' WHERE place = {here}"), first),
        ("an entry removed", changed(|entries| entries.truncate(1)), second),
        ("another subject", changed(|entries| entries[0][2] ^= 1), first),
        ("another record", changed(|entries| entries[1][3] += 1), second),
        ("an entry added", changed(|entries| entries.insert(1, [entries[0][0], entries[0][1], entries[0][2], 1])), 2),
        ("another order", changed(|entries| entries.swap(0, 1)), 1),
        ("one twice", changed(|entries| entries.insert(0, entries[0])), 1),
        (
            "a byte more",
            format!("UPDATE subject SET entries = CAST(entries || x'00' AS BLOB) WHERE place = {empty}"),
            1,
        ),
        ("the run removed", "DELETE FROM run; DELETE FROM subject".to_owned(), 1),
        ("the run removed and its rows left", "DELETE FROM run".to_owned(), 1),
        ("the rows removed and the run left", "DELETE FROM subject".to_owned(), 1),
        ("a run that is said to be longer", "UPDATE run SET last_seq = 300".to_owned(), 1),
        ("a run that is said to be shorter", "UPDATE run SET last_seq = 255".to_owned(), 1),
        ("a run that is said to begin later", "UPDATE run SET first_seq = 2".to_owned(), 1),
        (
            "a run of what is in none yet",
            format!("INSERT INTO run VALUES (257, 300); {}", emptied.collect::<String>()),
            257,
        ),
        ("a run of what is not there", "INSERT INTO run VALUES (1000, 2000)".to_owned(), 257),
        ("a run before the first", "INSERT INTO run VALUES (-1000, 0)".to_owned(), 1),
        ("rows of no run", format!("INSERT INTO subject VALUES ({}, x'')", 999 << 6), 257),
        ("rows within the run", format!("INSERT INTO subject VALUES ({}, x'00000000')", 1 << 6 | -64), 1),
    ];
    let copied = Folder::new("index-copy");
    for (what, statement, at) in cases {
        let _ = std::fs::remove_dir_all(&copied.0);
        std::fs::create_dir_all(&copied.0).unwrap();
        copy(&folder.0, &copied.0);
        let mut connection = open(&copied.store()).await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let fault = first_fault(&copied, None).await;
        assert_eq!(fault, Some(Fault { segment: Some(1), seq: Some(at), wrong: Wrong::Index }), "{what}");
    }
}

#[tokio::test]
async fn without_checkpoints_a_rewritten_chain_passes_and_with_them_it_does_not() {
    let folder = Folder::new("rewritten");
    let (signer, _open) = build(&folder).await;
    rewrite(&folder, 3).await;
    assert_eq!(first_fault(&folder, None).await, None, "every hash is right");
    let fault = first_fault(&folder, Some(&kept(&folder, &signer))).await.unwrap();
    assert_eq!(fault.seq, Some(RECORDS / 3));
    assert!(matches!(fault.wrong, Wrong::Rewritten { after: 0, .. }), "{fault}");
}

#[tokio::test]
async fn checkpoints_of_another_key_or_of_another_store_are_no_proof() {
    let folder = Folder::new("signatures");
    let (signer, _open) = build(&folder).await;
    let other = Signer::from_pem(new_key().unwrap().as_bytes()).unwrap();
    let fault = first_fault(&folder, Some(&kept(&folder, &other))).await.unwrap();
    assert!(matches!(fault.wrong, Wrong::BadSignature(_)), "{fault}");
    let replaced = Folder::new("replaced");
    build(&replaced).await;
    let fault = first_fault(&replaced, Some(&kept(&folder, &signer))).await.unwrap();
    assert_eq!(fault.wrong, Wrong::NoCheckpoint);
}
