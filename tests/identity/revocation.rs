//! Revoked tokens: at once, in every process on the list, and not at all where the list cannot be read.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use huxiang::identify::{RevocationError, RevocationOrder, Revoked, Verifier};
use serde_json::{Value, json};

use crate::identity_support::issuer::{Key, clerk, now};
use crate::identity_support::{Files, Folder, ROLES, World, client, world_in};

fn files(key: &Key) -> Files {
    let gateway = "issuers:\n  - {issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], jwks: jwks.json}\n\
        admin: {security_officer: [officer], auditor: [auditor]}\n";
    let roles = "  officer: {title: Officer, networks: [office]}\n  auditor: {title: Auditor, networks: [office]}\n  \
        far: {title: Far, networks: []}\n";
    let variables = [("PUBLIC".to_owned(), key.public_pem())].into();
    Files { gateway: gateway.to_owned(), roles: Some(format!("{ROLES}{roles}")), variables, ..Files::default() }
}

async fn start(key: &Key) -> World {
    let folder = Folder::new();
    folder.put("jwks.json", &json!({"keys": [key.jwk()]}).to_string());
    world_in(folder, files(key)).await
}

fn order(what: Revoked) -> RevocationOrder {
    let by = ("https://id".to_owned(), "officer-1".to_owned());
    RevocationOrder { issuer: "https://id".to_owned(), what, by, reason: "lost".to_owned() }
}

fn token_id(id: &str) -> Revoked {
    Revoked::Token { id: id.to_owned(), expires: None }
}

#[tokio::test]
async fn a_revoked_token_counts_no_more_also_where_it_was_checked_before() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let lost = key.sign(&clerk(json!({"jti": "lost"})));
    let kept = key.sign(&clerk(json!({"jti": "kept"})));
    let without = key.sign(&clerk(json!({})));
    assert_eq!(world.ask_plain(&lost).await, 200);
    world.verifier.revoke(order(token_id("lost"))).await.unwrap();
    let (status, answer) = world.ask(&client(), &lost, &[]).await;
    assert_eq!(status, 401, "{answer}");
    assert!(answer.to_string().contains("revoked") && !answer.to_string().contains("officer-1"), "{answer}");
    assert_eq!(world.ask_plain(&kept).await, 200);
    assert_eq!(world.ask_plain(&without).await, 200);
    // A token that was never seen before, too; the id of another issuer's token is another id.
    assert_eq!(world.ask_plain(&key.sign(&clerk(json!({"jti": "lost", "sub": "li"})))).await, 401);
    let unknown = RevocationOrder { issuer: "https://other".to_owned(), ..order(token_id("kept")) };
    assert_eq!(world.verifier.revoke(unknown).await, Err(RevocationError::Issuer));
}

#[tokio::test]
async fn a_principals_tokens_are_revoked_up_to_a_moment() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let issued = |at: Value| key.sign(&clerk(json!({"iat": at})));
    let (old, new) = (issued(json!(now() - 100)), issued(json!(now() - 10)));
    let other = key.sign(&clerk(json!({"sub": "li", "iat": now() - 100})));
    let until = |before| order(Revoked::Principal { id: "zhang".to_owned(), before });
    world.verifier.revoke(until(Some(now() - 50))).await.unwrap();
    for (token, status) in [(&old, 401), (&new, 200), (&other, 200)] {
        assert_eq!(world.ask_plain(token).await, status);
    }
    // An earlier moment takes nothing back.
    world.verifier.revoke(until(Some(now() - 500))).await.unwrap();
    assert_eq!(world.ask_plain(&old).await, 401);
    world.verifier.revoke(until(None)).await.unwrap();
    assert_eq!(world.ask_plain(&new).await, 401);
    assert_eq!(world.verifier.revoke(until(Some(now() + 60))).await, Err(RevocationError::Future));
}

#[tokio::test]
async fn a_revoked_key_signs_no_more_whether_the_token_names_it_or_not() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let (named, mut bare) = (key.sign(&clerk(json!({}))), key);
    bare.id = None;
    let unnamed = bare.sign(&clerk(json!({})));
    assert_eq!((world.ask_plain(&named).await, world.ask_plain(&unnamed).await), (200, 200));
    world.verifier.revoke(order(Revoked::Key { id: "one".to_owned() })).await.unwrap();
    assert_eq!((world.ask_plain(&named).await, world.ask_plain(&unnamed).await), (401, 401));
}

#[tokio::test]
async fn revocations_are_kept_over_a_restart_and_seen_by_every_process_on_the_list() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let lost = key.sign(&clerk(json!({"jti": "lost"})));
    assert_eq!(world.ask_plain(&lost).await, 200);
    let other = Verifier::open(&world.snapshot.config).await.unwrap();
    other.revoke(order(token_id("lost"))).await.unwrap();
    let seen = async {
        while world.ask_plain(&lost).await != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), seen).await.expect("within two seconds");
    let again = Verifier::open(&world.snapshot.config).await.unwrap();
    let header = format!("Bearer {lost}");
    assert!(again.authenticate(Some(header.as_bytes()), None).await.is_err());
    let listed = again.revocations().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].value.as_str(), listed[0].by_id.as_str()), ("lost", "officer-1"));
}

#[tokio::test]
async fn without_its_list_the_gateway_takes_no_token() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let token = key.sign(&clerk(json!({})));
    assert_eq!(world.ask_plain(&token).await, 200);
    let path = &world.snapshot.config.revocations;
    let away = path.with_extension("away");
    std::fs::rename(path, &away).unwrap();
    let refused = async {
        loop {
            let (status, answer) = world.ask(&client(), &token, &[]).await;
            if status == 503 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(8), refused).await.expect("in a bounded time");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "AUTHENTICATION_UNAVAILABLE", "{answer}");
    assert!(!path.exists(), "a list that is gone is not begun anew");
    std::fs::rename(&away, path).unwrap();
    let back = async {
        while world.ask_plain(&token).await != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), back).await.expect("and it mends itself");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_lets_nothing_start() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let mut config = world.snapshot.config.clone();
    config.revocations = world.folder.0.join("other.sqlite");
    std::fs::write(&config.revocations, "this is no database, but it is long enough to be looked at as one".repeat(40))
        .unwrap();
    assert!(Verifier::open(&config).await.is_err());
    config.revocations = world.folder.0.join("no/such/folder.sqlite");
    assert!(Verifier::open(&config).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn the_list_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let mode = std::fs::metadata(&world.snapshot.config.revocations).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_entry_is_kept_for_longer_than_any_token_it_is_of_can_count() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    // As far ahead as clocks may be, living as long as it may and a little more.
    let (leeway, month) = (30, 31 * 86_400);
    let issued = now() + leeway - 1;
    let last = issued + month + leeway;
    let token = key.sign(&clerk(json!({"jti": "long", "iat": issued, "exp": last})));
    assert_eq!(world.ask_plain(&token).await, 200);
    world.verifier.revoke(order(token_id("long"))).await.unwrap();
    world.verifier.revoke(order(Revoked::Principal { id: "zhang".to_owned(), before: None })).await.unwrap();
    for entry in world.verifier.revocations().unwrap().list().await.unwrap() {
        assert!(entry.until.is_none_or(|until| until >= last + leeway), "{entry:?}");
    }
}

#[tokio::test]
async fn tokens_that_live_too_long_come_from_the_future_or_do_not_say_when_they_were_issued_are_refused() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let month = 31 * 86_400;
    for (change, status) in [
        (json!({"exp": now() + month - 60}), 200),
        (json!({"exp": now() + month + 600}), 401),
        (json!({"exp": now() + month + 600, "iat": now() + 20}), 401),
        (json!({"iat": null}), 401),
        (json!({"iat": now() + 600}), 401),
        (json!({"iat": "today"}), 401),
        (json!({"jti": 7}), 401),
        (json!({"jti": "x".repeat(300)}), 401),
    ] {
        assert_eq!(world.ask_plain(&key.sign(&clerk(change.clone()))).await, status, "{change}");
    }
}

/// Runs the command line in the folder of a world.
fn run(folder: &Path, token: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(args).arg("--root").arg(folder).env("HUXIANG_TOKEN", token).env_remove("HUXIANG_LOG");
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_security_officer_revokes_from_the_command_line_on_record() {
    let key = Key::new(Some("one"));
    let world = start(&key).await;
    let folder = world.folder.0.to_path_buf();
    let as_roles = |roles: &[&str]| key.sign(&clerk(json!({"sub": "wang", "roles": roles})));
    let lost = key.sign(&clerk(json!({"jti": "lost"})));
    assert_eq!(world.ask_plain(&lost).await, 200);
    let args = ["token", "revoke", "--issuer", "https://id", "--jti", "lost", "--reason", "stolen telephone"];
    for roles in [&["clerk"][..], &["auditor"], &["officer", "auditor"], &["far"], &[]] {
        let refused = run(&folder, &as_roles(roles), &args);
        assert_eq!(refused.status.code(), Some(1), "{roles:?}: {}", String::from_utf8_lossy(&refused.stderr));
    }
    assert_eq!(run(&folder, "rubbish", &args).status.code(), Some(1));
    assert_eq!(world.ask_plain(&lost).await, 200);
    let done = run(&folder, &as_roles(&["officer"]), &args);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let seen = async {
        while world.ask_plain(&lost).await != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), seen).await.expect("the running gateway sees it");
    let listed = run(&folder, &as_roles(&["officer"]), &["token", "revoked", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["value"], &listed[0]["by_id"]), (&json!("lost"), &json!("wang")), "{listed}");
    let records = huxiang::audit::Reader::new(&world.snapshot.config.audit.store);
    let found = records.after(0, 50).await.unwrap();
    let revocation = found.iter().find(|entry| entry.record.kind == huxiang::audit::Kind::Revocation);
    let record = serde_json::to_string(&revocation.expect("it is on record").record).unwrap();
    assert!(record.contains("wang") && record.contains("stolen telephone") && !record.contains("\"lost\""), "{record}");
    let unknown = ["token", "revoke", "--issuer", "x", "--jti", "a", "--reason", "left the office"];
    assert_eq!(run(&folder, &as_roles(&["officer"]), &unknown).status.code(), Some(1));
    let number = "331122199001011230";
    let reason = format!("telephone of {number} lost");
    let naming = ["token", "revoke", "--issuer", "https://id", "--jti", "other", "--reason", &reason];
    let refused = run(&folder, &as_roles(&["officer"]), &naming);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("leave out id") && !said.contains(number), "{said}");
    let found = records.after(0, 50).await.unwrap();
    assert!(found.iter().all(|entry| !serde_json::to_string(&entry.record).unwrap().contains(number)));
    let listed = run(&folder, &as_roles(&["officer"]), &["token", "revoked", "--json"]);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("other"), "nothing was revoked");
    let two = ["token", "revoke", "--issuer", "x", "--jti", "a", "--key", "k", "--reason", "b"];
    assert_eq!(run(&folder, &as_roles(&["officer"]), &two).status.code(), Some(2));
}
