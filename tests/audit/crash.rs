//! What survives: the gateway as a process, killed under load, and traced while it answers.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::get;
use futures::TryStreamExt;
use huxiang::audit::{Entry, Kind, PAGE_MAX, Reader, Search, Signer, SubjectKey, new_key, read_checkpoints, verify};
use jiff::{SignedDuration, Timestamp};

use crate::temporary::Temporary;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const CLIENTS: usize = 8;

/// The contract of `examples/posts` with checkpoints, over a service that answers at once.
struct Place {
    folder: Temporary,
    service: String,
    signing_key: String,
}

impl Place {
    async fn new(name: &str) -> Self {
        let user = |UrlPath(id): UrlPath<String>| async move { format!("{{\"id\":{id},\"name\":\"User {id}\"}}") };
        let routes = Router::new().route("/users/{id}", get(user)).route("/posts", get(|| async { "[]" }));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let service = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let folder = Temporary::new(&format!("crash-{name}"));
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/posts"), &folder);
        let many = "{requests_per_minute: 10000000, upstream_calls_per_minute: 10000000}";
        let config = format!(
            "listen: 127.0.0.1:0\nnetworks: {{local: [127.0.0.0/8]}}\nrates: {{anonymous: {many}}}\n\
             audit:\n  store: audit.sqlite\n  key: \"${{AUDIT_KEY}}\"\n  rotate_mb: 1\n\
             \x20 checkpoints: {{directory: elsewhere, key: \"${{SIGNING_KEY}}\", every_records: 5, every_seconds: 1}}\n"
        );
        std::fs::write(folder.join("config/gateway.yaml"), config).unwrap();
        Self { folder, service, signing_key: new_key().unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.folder.join("audit.sqlite")
    }

    /// Started and listening; `before` are words before the program's own, as of a tracer.
    fn start(&self, before: &[&str]) -> Gateway {
        let mut words = before.to_vec();
        words.extend([env!("CARGO_BIN_EXE_huxiang"), "serve", "--root"]);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(&self.folder)
            .envs([("PLACEHOLDER_URL", self.service.as_str()), ("AUDIT_KEY", KEY), ("SIGNING_KEY", &self.signing_key)])
            .env("HUXIANG_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("the gateway ended: {said:#?}") };
            if let Some((_, address)) = line.split_once("serving address=") {
                break address.trim().to_owned();
            }
            said.push(line);
        };
        // Read on, so that the gateway does not wait for a reader of its log.
        std::thread::spawn(move || lines.for_each(drop));
        Gateway { child, url: format!("http://{address}/graphql") }
    }

    /// By request id, what the records of the last minutes say was answered.
    async fn answers(&self) -> HashMap<String, String> {
        let now = Timestamp::now();
        let recent = Reader::new(&self.store())
            .between(now - SignedDuration::from_hours(1), now + SignedDuration::from_hours(1))
            .unwrap();
        recent
            .map_ok(|entry| (entry.record.request_id, entry.record.answer.unwrap_or_default()))
            .try_collect()
            .await
            .unwrap()
    }
}

struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_since_the_last_summing_up_is_on_record_when_the_gateway_stops() {
    let place = Place::new("refusals").await;
    std::fs::create_dir(place.folder.join("elsewhere")).unwrap();
    let mut gateway = place.start(&[]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let request = client.post(&gateway.url).header("content-type", "application/json");
        let refused = request.header("authorization", "Bearer nonsense").body("{}").send().await.unwrap();
        assert_eq!(refused.status(), 401);
    }
    let sent = Command::new("kill").args(["-TERM", &gateway.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    let records = Reader::new(&place.store()).after(0, 10).await.unwrap();
    let told: Vec<_> = records.iter().filter(|entry| entry.record.kind == Kind::Refusals).collect();
    assert_eq!(told.len(), 1, "{records:?}");
    assert_eq!((&told[0].record.details["401"], &*told[0].record.address), (&3.into(), "127.0.0.1"));
    // It was signed for too: the last checkpoint covers it.
    let public = [Signer::from_pem(place.signing_key.as_bytes()).unwrap().public_key()];
    let kept = read_checkpoints(&place.folder.join("elsewhere"), &public).unwrap();
    assert_eq!(verify(&place.store(), Some(&kept), &mut |_| {}).await.unwrap().faults, []);
    assert!(kept.by_store.values().flatten().any(|signed| signed.seq >= told[0].seq), "{kept:?}");
}

/// Request id and body of an answer that came whole.
async fn ask(client: &reqwest::Client, url: &str, id: usize) -> Option<(String, Vec<u8>)> {
    let body = format!("{{\"query\":\"{{ user(id: \\\"{id}\\\") {{ id name posts {{ title }} }} }}\"}}");
    let request = client.post(url).header("content-type", "application/json").body(body);
    let response = request.send().await.ok()?;
    let id = response.headers().get("x-request-id")?.to_str().ok()?.to_owned();
    Some((id, response.bytes().await.ok()?.to_vec()))
}

/// Clients that ask until the gateway is gone; what they were answered.
async fn load(url: String, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) -> BTreeMap<String, Vec<u8>> {
    let ask_on = |n: usize| {
        let (url, stop, count) = (url.clone(), Arc::clone(&stop), Arc::clone(&count));
        tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut answered = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match ask(&client, &url, n + 1).await {
                    Some(answer) => {
                        answered.push(answer);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    None => break,
                }
            }
            answered
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(ask_on).collect();
    let mut all = BTreeMap::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all
}

/// `KILL_ROUNDS=50` for the long run.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_was_received_has_its_record_though_the_gateway_is_killed_under_load() {
    let place = Place::new("kill").await;
    std::fs::create_dir(place.folder.join("elsewhere")).unwrap();
    let rounds: usize = std::env::var("KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let digests = SubjectKey::new(KEY.as_bytes().into());
    let public = [Signer::from_pem(place.signing_key.as_bytes()).unwrap().public_key()];
    let mut answers = 0;
    for round in 0..rounds {
        let gateway = place.start(&[]);
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let clients = tokio::spawn(load(gateway.url.clone(), Arc::clone(&stop), Arc::clone(&count)));
        // Not always at the same point of what the writer does.
        let wanted = 1 + round * 7_919 % 400;
        while count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gateway.kill();
        stop.store(true, Ordering::Relaxed);
        let received = clients.await.unwrap();
        let recorded = place.answers().await;
        for (id, body) in &received {
            assert!(body.starts_with(b"{\"data\":{\"user\":{"), "{}", String::from_utf8_lossy(body));
            assert_eq!(recorded.get(id), Some(&digests.answer(body)), "round {round}: the record of {id}");
        }
        assert!(received.len() >= wanted);
        let kept = read_checkpoints(&place.folder.join("elsewhere"), &public).unwrap();
        let report = verify(&place.store(), Some(&kept), &mut |_| {}).await.unwrap();
        assert_eq!(report.faults, [], "round {round}");
        // Each start is on record too, all under one id.
        assert_eq!(report.records, u64::try_from(recorded.len() + round).unwrap());
        answers += received.len();
        // Whatever run of the index was being written.
        let reader = Reader::new(&place.store());
        let user = digests.subject("User", "1");
        let search = Search { subject: Some(user), first: PAGE_MAX, ..Search::default() };
        let page = reader.search(&search).await.unwrap();
        let names = |entry: &&Entry| entry.record.access.iter().any(|access| access.subjects.contains(&user));
        let (mut all, mut at) = (Vec::new(), 0);
        loop {
            let some = reader.after(at, PAGE_MAX).await.unwrap();
            let Some(last) = some.last() else { break };
            at = last.seq;
            all.extend(some.iter().filter(names).map(|entry| entry.seq));
        }
        let found: Vec<i64> = page.entries.iter().map(|entry| entry.seq).collect();
        assert!(round == 0 || !found.is_empty(), "killed after the first answer, it may have been to another client");
        assert_eq!(found, all.into_iter().rev().take(PAGE_MAX).collect::<Vec<_>>(), "round {round}");
    }
    println!("{rounds} kills, {answers} answers received, each with its record");
}

/// What a trace tells of: an answer's first bytes go out, or a write to the audit file is durable.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Durable,
    Answer,
}

/// Reads `strace -f -y`: calls of several threads, cut in two where another thread came between.
fn events(trace: &str) -> Vec<Event> {
    let mut syncing: HashMap<&str, bool> = HashMap::new();
    let mut events = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let is_sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        let of_records = call.contains("/audit.sqlite") || call.contains("/audit.0");
        if is_sync && call.ends_with("<unfinished ...>") {
            syncing.insert(thread, of_records);
        } else if is_sync && of_records && call.ends_with("= 0") {
            events.push(Event::Durable);
        } else if call.starts_with("<... fdatasync resumed>") || call.starts_with("<... fsync resumed>") {
            if syncing.remove(thread) == Some(true) && call.ends_with("= 0") {
                events.push(Event::Durable);
            }
        } else if ["write(", "writev(", "sendto(", "sendmsg("].iter().any(|name| call.starts_with(name))
            && call.contains("\"HTTP/1.1 200")
        {
            events.push(Event::Answer);
        }
    }
    events
}

/// Whether each answer comes after something was made durable since the one before.
fn is_each_durable_first(events: &[Event]) -> bool {
    let mut durable = false;
    events.iter().all(|event| match event {
        Event::Durable => {
            durable = true;
            true
        }
        Event::Answer => std::mem::take(&mut durable),
    })
}

#[test]
fn the_reading_of_a_trace_tells_an_answer_that_was_too_early() {
    let begun = "7  fdatasync(9</tmp/audit.sqlite-wal> <unfinished ...>\n";
    let ended = "7  <... fdatasync resumed>) = 0\n";
    let failed = "7  <... fdatasync resumed>) = -1 EIO\n";
    let answer = "8  writev(11<socket:[5]>, [{iov_base=\"HTTP/1.1 200 OK\\r\\n\"...}], 2) = 300\n";
    let right = |parts: &[&str]| is_each_durable_first(&events(&parts.concat()));
    assert!(right(&[begun, ended, answer]));
    assert!(right(&["7 fsync(9</tmp/audit.000002.sqlite-wal>) = 0\n", answer]));
    assert!(!right(&[begun, answer, ended]));
    assert!(!right(&[begun, failed, answer]));
    assert!(!right(&[begun, ended, answer, answer]));
    assert!(!right(&["7 fdatasync(9</tmp/other.sqlite>) = 0\n", answer]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_on_disk_before_the_first_byte_of_the_answer() {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: strace is not installed");
        return;
    }
    const ASKED: usize = 40;
    let place = Place::new("trace").await;
    let trace = place.folder.join("trace").display().to_string();
    let calls = "trace=fdatasync,fsync,write,writev,sendto,sendmsg";
    // -D: the gateway itself stays our child, and is traced from beside.
    let gateway = place.start(&["strace", "-D", "-f", "-y", "-e", calls, "-e", "signal=none", "-o", &trace]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for n in 0..ASKED {
        assert!(ask(&client, &gateway.url, n + 1).await.is_some());
    }
    gateway.kill();
    // The tracer writes on until it has seen the end.
    let mut text = String::new();
    for _ in 0..100 {
        text = String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
        if text.lines().any(|line| line.contains("+++ killed by SIGKILL +++")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let events = events(&text);
    assert_eq!(events.iter().filter(|event| **event == Event::Answer).count(), ASKED);
    assert!(is_each_durable_first(&events), "{events:?}");
}
