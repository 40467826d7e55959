//! Values that are encrypted anew each time, held against OpenSSL where it is there, and keys that rotate. What is
//! encrypted alike each time is in tests/scenarios/ciphers.md.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use axum::routing::any;
use huxiang::base::code::ErrorCode;

use crate::support::mounted::{A_LOOK, Mounted};
use crate::support::{record, serve};

const KEYS: [&str; 2] = ["0123456789abcdeffedcba9876543210", "fedcba98765432100123456789abcdef"];

fn binding(cipher: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\nciphers: {{c: {{{cipher}}}}}\nendpoints:\n  e:\n    \
         entity: Household\n    one: {{get: \"/{{key|c}}\", item_key: /id, key_cipher: c}}\n"
    )
}

/// Answers with a record whose key is the one that it was asked for, as it was asked.
async fn listener() -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let route = any(async move |uri: Uri| {
        let asked = uri.path()[1..].to_owned();
        keep.lock().unwrap().push(asked.clone());
        format!("{{\"id\":\"{asked}\"}}")
    });
    (serve(Router::new().fallback(route)).await, seen)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// None: there is no OpenSSL here.
fn openssl(cipher: &str, key: &str, asked: &str) -> Option<String> {
    let (iv, blocks) = asked.split_at(32);
    let mut command = Command::new("openssl");
    command.args(["enc", "-d", &format!("-{cipher}"), "-K", key, "-iv", iv, "-nosalt"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(&bytes(blocks)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "OpenSSL cannot decrypt {asked}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn each_value_has_an_initialization_vector_of_its_own_before_it() {
    let mounted = Mounted::new("prefixed");
    for (algorithm, name) in [("sm4", "sm4-cbc"), ("aes-128", "aes-128-cbc")] {
        let (url, seen) = listener().await;
        let yaml = binding(&format!("algorithm: {algorithm}, mode: cbc, iv: prefixed, key: \"{}\"", KEYS[0]));
        let asked = mounted.compile_whole(&yaml, &url).unwrap();
        for _ in 0..2 {
            let found = asked.one("331122197501011234", &[]).await.unwrap();
            assert_eq!(found.len(), 1, "the record's key is the one that was asked for");
        }
        let seen = seen.lock().unwrap().clone();
        assert_ne!(seen[0][..32], seen[1][..32]);
        assert_ne!(seen[0][32..], seen[1][32..]);
        match openssl(name, KEYS[0], &seen[0]) {
            Some(plain) => assert_eq!(plain, "331122197501011234"),
            None => println!("OpenSSL is not there: not held against it"),
        }
    }
}

#[tokio::test]
async fn values_are_encrypted_with_the_key_that_its_file_has_now() {
    let mounted = Mounted::new("cipher-key");
    mounted.put("sm4", KEYS[0]);
    let (url, seen) = listener().await;
    let yaml = binding("algorithm: sm4, mode: ecb, key: \"${file:sm4}\"");
    let asked = mounted.compile_whole(&yaml, &url).unwrap();
    asked.one("k", &[]).await.unwrap();
    mounted.put("sm4", KEYS[1]);
    tokio::time::sleep(A_LOOK).await;
    let found = asked.one("k", &[]).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_ne!(seen[0], seen[1]);
    assert_eq!(found, [record(0, r#"{"id":"k"}"#)]);
    let printed = format!("{:?}", asked.connector);
    assert!(!KEYS.iter().any(|key| printed.contains(key)), "{printed}");
    mounted.put("sm4", "too short");
    tokio::time::sleep(A_LOOK).await;
    asked.one("k", &[]).await.unwrap();
    tokio::time::sleep(2 * A_LOOK).await;
    let error = asked.one("k", &[]).await.unwrap_err();
    assert!(error.code == ErrorCode::Internal && !error.detail.contains("too short"), "{error:?}");
}
