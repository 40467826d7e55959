//! Exports: whole, broken off and gone on with, with who asked and why.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Child;
use std::time::{Duration, Instant};

use departments::Fault;
use serde_json::{Value, json};

use super::{Asked, DIBAO, DIBAO_AND_VEHICLE, Done, TOWN, VILLAGE, cells, has_a_vehicle, receives_dibao};
use crate::support::records;

const NOTICE: &str = "线索，须人工核实";

#[tokio::test]
async fn an_export_holds_all_that_match_and_says_who_asked_and_why() {
    let asked = Asked::start().await;
    let (csv, jsonl) = (asked.path("found.csv"), asked.path("found.jsonl"));
    let scan = ["--division", TOWN, "--where", DIBAO, "--page", "20", "--show", "id registry { headName causes }"];
    let done = asked.run(&[&scan[..], &["--csv", &csv]].concat()).await.ends_with(0);
    assert!(done.out.is_empty() && done.err.contains("0 undetermined"), "{}", done.err);
    asked.run(&[&scan[..], &["--jsonl", &jsonl]].concat()).await.ends_with(0);

    let expected = asked.expected(TOWN, receives_dibao);
    assert!(expected.len() > 50, "several pages: {}", expected.len());
    let text = asked.read("found.csv");
    let rows = cells(&text);
    assert_eq!(rows[1], ["id", "registry.headName", "registry.causes", "missing", "watermark"]);
    let found = &rows[2..rows.len() - 1];
    assert_eq!(found.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), expected);
    let world = asked.served.world.departments.world();
    for row in found {
        let household = world.household(&row[0]).unwrap();
        assert_eq!(row[1], household.head().name);
        assert!(serde_json::from_str::<Vec<String>>(&row[2]).is_ok(), "a list: {}", row[2]);
        assert!(row[4].starts_with(NOTICE) && row[4].contains("supervisor-1; supervision; JD-2026-0001"), "{}", row[4]);
    }
    for line in [text.lines().next().unwrap(), text.lines().last().unwrap()] {
        for told in [NOTICE, "subject supervisor-1", "issuer https://demo", "roles supervisor", "purpose supervision"] {
            assert!(line.starts_with("# ") && line.contains(told) && !line.contains(','), "{told}: {line}");
        }
        assert!(line.contains("case JD-2026-0001") && line.contains("condition sha256:"), "{line}");
    }

    let lines: Vec<Value> = asked.read("found.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let nodes = &lines[1..lines.len() - 1];
    assert_eq!(nodes.iter().map(|line| line["node"]["id"].as_str().unwrap()).collect::<Vec<_>>(), expected);
    let (first, last) = (&lines[0]["watermark"], &lines[lines.len() - 1]["watermark"]);
    for mark in [first, last] {
        assert_eq!(mark["notice"], NOTICE);
        assert_eq!((&mark["subject"], &mark["case"]), (&json!("supervisor-1"), &json!("JD-2026-0001")));
        assert_eq!((&mark["roles"], &mark["division"]), (&json!(["supervisor"]), &json!(TOWN)));
    }
    assert_eq!((&last["coverage"]["matched"], &last["coverage"]["whole"]), (&json!(expected.len()), &json!(true)));

    // Every request that is named has its record, with the same case.
    let requests: Vec<&str> = last["requests"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(requests.len() > 2, "{requests:?}");
    let records = records(&asked.served.world.folder).await;
    for request in &requests {
        let record = records.iter().find(|record| record["request_id"] == *request);
        assert_eq!(record.unwrap_or_else(|| panic!("{request}"))["case"], "JD-2026-0001");
    }
    let named: BTreeSet<&str> = found.iter().map(|row| row[4].rsplit(' ').next().unwrap()).collect();
    assert!(named.iter().all(|id| records.iter().any(|record| record["request_id"] == *id)), "{named:?}");

    // What is there already stays.
    let again = asked.run(&[&scan[..], &["--csv", &csv]].concat()).await.ends_with(1);
    assert!(again.err.contains("is there already") && asked.read("found.csv") == text, "{}", again.err);
}

/// Waits until more rows are noted than before; how many.
async fn noted(asked: &Asked, file: &str, before: u64) -> u64 {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "it writes rows");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Ok(text) = std::fs::read_to_string(asked.folder.join(format!("{file}.resume"))) else { continue };
        let noted: Value = serde_json::from_str(&text).expect("it is whole at every moment");
        let rows = noted["tally"]["rows"].as_u64().unwrap();
        if rows > before {
            return rows;
        }
    }
}

/// Begins, and hits it with a signal once there are rows.
async fn broken_off(asked: &Asked, arguments: &[&str], file: &str, signal: &str, before: u64) -> (Done, u64) {
    // A department that takes its time: pages are there one by one.
    asked.served.world.departments.set_fault("civil-affairs", Fault::Slow(Duration::from_millis(150)));
    let child: Child = asked.command(arguments).spawn().unwrap();
    let rows = noted(asked, file, before).await;
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let done = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    asked.served.world.departments.set_fault("civil-affairs", Fault::None);
    (Done::of(done), rows)
}

/// Rows without what names requests and times: all lines but the first and the last, and no watermark.
fn rows_of(asked: &Asked, file: &str) -> String {
    let text = asked.read(file);
    let lines: Vec<&str> = text.lines().collect();
    let rows = lines[1..lines.len() - 1].iter();
    match file.ends_with(".csv") {
        true => rows.map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect(),
        false => rows.map(|line| format!("{line}\n")).collect(),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_was_stopped_or_killed_goes_on_without_losing_or_doubling_a_row() {
    use std::os::unix::fs::PermissionsExt as _;
    let asked = Asked::start().await;
    let scan = ["--division", TOWN, "--where", DIBAO, "--page", "4", "--show", "id registry { headName }", "--quiet"];
    for (kind, signals) in [("--csv", ["-INT", "-KILL"]), ("--jsonl", ["-KILL", "-TERM"])] {
        let name = |what: &str| format!("{what}.{}", kind.trim_start_matches('-'));
        let (whole, parts) = (name("whole"), name("parts"));
        asked.run(&[&scan[..], &[kind, &asked.path(&whole)]].concat()).await.ends_with(0);
        let path = asked.path(&parts);
        let export = [&scan[..], &[kind, &path]].concat();
        let mut arguments = export.clone();
        let mut before = 0;
        for signal in signals {
            let (done, rows) = broken_off(&asked, &arguments, &parts, signal, before).await;
            if signal != "-KILL" {
                assert_eq!(done.code, 1, "{}", done.err);
                assert!(done.err.contains("stopped: ") && done.err.contains("--resume goes on"), "{}", done.err);
            }
            before = rows;
            // What was written after the place was noted last: half a row, as a crash leaves it.
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            file.write_all("3311,half a r".as_bytes()).unwrap();
            arguments = [&export[..], &["--resume"]].concat();
        }
        for file in [&parts, &format!("{parts}.resume")] {
            let mode = std::fs::metadata(asked.folder.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let begun_anew = asked.run(&export).await.ends_with(1);
        assert!(begun_anew.err.contains("go on with --resume"), "{}", begun_anew.err);
        let mut other = arguments.clone();
        other[3] = DIBAO_AND_VEHICLE;
        let refused = asked.run(&other).await.ends_with(1);
        assert!(refused.err.contains("was begun with another") && refused.err.contains("condition"), "{}", refused.err);

        asked.run(&arguments).await.ends_with(0);
        assert_eq!(rows_of(&asked, &parts), rows_of(&asked, &whole), "byte for byte");
        let expected = asked.expected(TOWN, receives_dibao).len();
        let header = usize::from(kind == "--csv");
        assert_eq!(rows_of(&asked, &parts).lines().count(), expected + header);
        assert!(!asked.is_there(&format!("{parts}.resume")), "nothing is left to go on with");
        let text = asked.read(&parts);
        let last = text.lines().last().unwrap();
        assert!(last.contains(&format!("{expected}")) && last.contains("sha256:"), "{last}");
        let nothing = asked.run(&arguments).await.ends_with(1);
        assert!(nothing.err.contains("there is nothing to go on with"), "{}", nothing.err);
    }
}

#[tokio::test]
async fn who_could_not_be_decided_is_exported_with_the_reason_and_asked_again_by_key() {
    let asked = Asked::start().await;
    let departments = &asked.served.world.departments;
    departments.set_fault("police", Fault::Http500);
    let scan = ["--division", VILLAGE, "--where", DIBAO_AND_VEHICLE];
    let open = asked.path("open.csv");
    let done = asked.run(&[&scan[..], &["--verdict", "undetermined", "--csv", &open]].concat()).await.ends_with(3);
    assert!(done.err.contains("undetermined, for these reasons") && done.err.contains("SOURCE_"), "{}", done.err);
    let rows = cells(&asked.read("open.csv"));
    let keys: Vec<String> = rows[2..rows.len() - 1].iter().map(|row| row[0].clone()).collect();
    assert_eq!(keys, asked.expected(VILLAGE, receives_dibao), "who receives none is decided without the police");
    let missing: &str = &rows[2][1];
    assert!(missing.starts_with("police SOURCE_") && missing.ends_with("assets.vehicles"), "{missing}");

    departments.set_fault("police", Fault::None);
    asked.write("keys", &format!("# the undetermined ones\n{}\n\n{}\n", keys.join("\n"), keys[0]));
    let among = asked.run(&[&scan[..], &["--among", &asked.path("keys"), "--json"]].concat()).await;
    let answer = among.ends_with(0).json();
    let found: Vec<&str> =
        answer["rows"].as_array().unwrap().iter().map(|row| row["node"]["id"].as_str().unwrap()).collect();
    assert_eq!(found, asked.expected(VILLAGE, |portrait| receives_dibao(portrait) && has_a_vehicle(portrait)));
    assert_eq!(answer["coverage"]["candidates"], keys.len());
}
