//! `huxiang audit`, as the auditor runs it; nobody else can.

use std::process::{Command, Output};

use huxiang::audit::{Access, AuditRecord, AuditStore, SubjectKey};
use huxiang::identify::Identity;
use huxiang::model::config::{AuditConfig, CheckpointConfig, Pem};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::temporary::Temporary;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ANSWER: &[u8] = b"{\"data\":{}}";

struct Place {
    folder: Temporary,
    keys: rcgen::KeyPair,
}

impl Place {
    /// A store with five records: three of one household, of which the third proves [`ANSWER`].
    async fn new(name: &str) -> Self {
        let folder = Temporary::new(&format!("audit-commands-{name}"));
        let place = Self { folder, keys: rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap() };
        assert!(place.run(&["audit", "keygen", &place.path("signing.pem")]).status.success());
        let mut config = AuditConfig::new(&place.folder.join("audit.sqlite"), KEY.as_bytes());
        config.checkpoints = Some(CheckpointConfig {
            directory: Some(place.folder.join("elsewhere")),
            url: None,
            key: Pem::File(place.folder.join("signing.pem")),
            every_records: 100,
            every_seconds: 100,
            refuse_after_seconds: None,
            egress: Default::default(),
        });
        let store = AuditStore::open(&config).await.unwrap();
        let key = SubjectKey::new(KEY.as_bytes().into());
        for n in 1..=5 {
            let mut record = AuditRecord::new(&format!("r{n}"), &Identity::at("10.0.0.1".parse().unwrap()));
            record.operation = Some(format!("=1+{n}, \"x\""));
            let access = Access { entity: "Household".to_owned(), ..Access::default() };
            record.add(key.subject("Household", if n < 4 { "h1" } else { "h2" }), access);
            record.answer = (n == 3).then(|| key.answer(ANSWER));
            store.append(record).await.unwrap();
        }
        store.settle().await;
        place
    }

    fn path(&self, inside: &str) -> String {
        self.folder.join(inside).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HUXIANG_AUDIT", self.path("audit.sqlite"))
            .env("AUDIT_KEY", KEY)
            .env("DEMO_ISSUER_PUBLIC_KEY", self.keys.public_key_pem())
            .env("DEMO_ISSUER_PRIVATE_KEY", self.keys.serialize_pem())
            .env_remove("HUXIANG_TOKEN")
            .output()
            .unwrap()
    }

    fn token(&self, roles: &[&str]) -> String {
        let mut arguments = vec!["token", "--sub", "a-1"];
        for role in roles {
            arguments.extend(["--role", role]);
        }
        stdout(&self.run(&arguments)).trim().to_owned()
    }

    /// As the auditor.
    fn audit(&self, arguments: &[&str]) -> Output {
        let token = self.token(&["auditor"]);
        self.run(&[&["audit"], arguments, &["--token", &token]].concat())
    }

    /// Prints the records of all times.
    fn export(&self, arguments: &[&str]) -> Output {
        self.audit(&[&["export", "--from", "2020-01-01", "--to", "2120-01-01"], arguments].concat())
    }

    async fn edit(&self, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.folder.join("audit.sqlite"));
        let mut connection = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn records(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_auditor_and_nobody_who_is_another_administrator_too() {
    let place = Place::new("who").await;
    let export = ["audit", "export", "--from", "2020-01-01", "--to", "2120-01-01"];
    let prove_answer = place.path("answer.json");
    std::fs::write(&prove_answer, ANSWER).unwrap();
    let prove = ["audit", "prove", "--record", "3", "--answer", &prove_answer];
    for command in [&["audit", "verify"][..], &export, &prove] {
        let refused = place.run(command);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        for roles in [&["operator"][..], &["security-officer"], &["supervisor"], &["auditor", "operator"]] {
            let token = place.token(roles);
            let refused = place.run(&[command, &["--token", &token]].concat());
            assert_eq!(refused.status.code(), Some(1), "{roles:?}: {}", stderr(&refused));
            assert_eq!(stdout(&refused), "");
        }
        let forged = place.run(&[command, &["--token", "x.y.z"]].concat());
        assert_eq!((forged.status.code(), stdout(&forged).as_str()), (Some(1), ""));
        let token = place.token(&["auditor"]);
        assert_eq!(place.run(&[command, &["--token", &token]].concat()).status.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_what_was_asked_for_and_is_recorded_itself() {
    let place = Place::new("export").await;
    let all = records(&place.export(&[]));
    assert_eq!(all.iter().map(|one| one["seq"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!((&all[5]["record"]["kind"], &all[5]["record"]["who"]["id"]), (&"EXPORT".into(), &"a-1".into()));
    let one = records(&place.export(&["--subject", "Household:h1"]));
    assert_eq!(one.iter().map(|one| one["seq"].as_i64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    let digest = SubjectKey::new(KEY.as_bytes().into()).subject("Household", "h2").to_string();
    assert_eq!(records(&place.export(&["--subject", &digest])).len(), 2);
    assert_eq!(records(&place.audit(&["export", "--from", "2020-01-01", "--to", "2020-02-01"])).len(), 0);
    let csv = stdout(&place.export(&["--format", "csv"]));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 5 + 5, "five requests and five exports");
    assert!(lines[1].contains("\"'=1+1, \"\"x\"\"\""), "no formula: {}", lines[1]);
    let exports = records(&place.export(&[])).into_iter().filter(|one| one["record"]["kind"] == "EXPORT").count();
    assert_eq!(exports, 6);
    assert!(stderr(&place.audit(&["export", "--from", "yesterday", "--to", "2120-01-01"])).contains("2026-01-31"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_saved_is_proven_or_not() {
    let place = Place::new("prove").await;
    let saved = place.path("answer.json");
    std::fs::write(&saved, ANSWER).unwrap();
    let proven = place.audit(&["prove", "--record", "3", "--answer", &saved]);
    assert_eq!((proven.status.code(), stdout(&proven).contains("this is the answer")), (Some(0), true));
    assert_eq!(place.audit(&["prove", "--record", "2", "--answer", &saved]).status.code(), Some(1));
    std::fs::write(&saved, b"{\"data\":{ }}").unwrap();
    let other = place.audit(&["prove", "--record", "3", "--answer", &saved]);
    assert_eq!((other.status.code(), stdout(&other).contains("is NOT")), (Some(1), true));
    assert_eq!(place.audit(&["prove", "--record", "300", "--answer", &saved]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_verified_by_whoever_has_it_and_the_first_bad_record_is_named() {
    let place = Place::new("copy").await;
    let (store, elsewhere, public) =
        (place.path("audit.sqlite"), place.path("elsewhere"), place.path("signing.pem.pub"));
    let copy = ["audit", "verify", "--store", &store];
    let signed = [&copy[..], &["--checkpoints", &elsewhere, "--public-key", &public]].concat();
    let whole = place.run(&signed);
    assert_eq!(whole.status.code(), Some(0), "{}{}", stdout(&whole), stderr(&whole));
    assert!(stdout(&whole).contains("5 records in 1 segment, 1 to 5") && stdout(&whole).contains("after record 5"));
    assert!(stdout(&place.run(&copy)).contains("without checkpoints"));
    place.edit("DELETE FROM audit WHERE seq = 5").await;
    assert_eq!(place.run(&copy).status.code(), Some(0), "a cut tail shows only against a checkpoint");
    let cut = place.run(&signed);
    assert_eq!(cut.status.code(), Some(1));
    assert!(stdout(&cut).starts_with("FAULT  segment 1, record 4: the tail was cut off"), "{}", stdout(&cut));
    place.edit("UPDATE audit SET record = replace(record, '10.0.0.1', '10.0.0.2') WHERE seq = 2").await;
    let altered = stdout(&place.run(&signed));
    assert!(altered.starts_with("FAULT  segment 1, record 2: altered"), "{altered}");
    assert_eq!(place.run(&[&copy[..], &["--checkpoints", &elsewhere]].concat()).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_never_written_over() {
    let place = Place::new("keygen").await;
    let before = std::fs::read(place.folder.join("signing.pem")).unwrap();
    assert_eq!(place.run(&["audit", "keygen", &place.path("signing.pem")]).status.code(), Some(2));
    assert_eq!(std::fs::read(place.folder.join("signing.pem")).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(place.folder.join("signing.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
