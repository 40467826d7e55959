//! `huxiang source try`, `--record` and `source test` with every source of the demo: SOAP in GBK, GraphQL, FHIR, GeoJSON,
//! rows without names, signatures of all kinds.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{self, HOUSEHOLD};
use crate::temporary::Temporary;

struct Demo {
    variables: BTreeMap<String, String>,
    folder: Temporary,
}

impl Demo {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
        command.current_dir(support::repository()).arg("source").args(arguments).envs(&self.variables).output().unwrap()
    }

    fn tried(&self, source: &str, more: &[&str]) -> (Option<i32>, Value) {
        let file = format!("resolvers/{source}.yaml");
        let output = self.run(&[&["try", &file, "--json"], more].concat());
        let told = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{source}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), told)
    }
}

/// Runs of so many digits are ids, telephones and amounts; codes are shorter.
fn numbers(text: &str) -> Vec<String> {
    let runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() >= 9);
    runs.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_of_the_demo_can_be_tried_recorded_and_tested_without_it() {
    let departments = departments::start(departments::Options { latency: false, ..Default::default() }).await.unwrap();
    let folder = Temporary::new("try-demo");
    let mut variables = departments.variables();
    variables.insert("AUDIT_KEY".to_owned(), "k".repeat(32));
    let demo = Demo { variables, folder };
    let (_, told) = demo.tried("agriculture", &["--key", HOUSEHOLD, "--endpoint", "household"]);
    let fields = told["tried"][0]["records"][0]["fields"].as_array().unwrap();
    let value = |path: &str| fields.iter().find(|field| field["path"] == path).map(|field| &field["value"]);
    let person = value("registry.personIds[0]").and_then(Value::as_str).unwrap().to_owned();
    let division =
        value("registry.villageCode").or(value("divisionCode")).and_then(Value::as_str).unwrap_or("331122").to_owned();
    let keys = [
        format!("id={HOUSEHOLD}"),
        format!("personIds={person}"),
        format!("idNumber={person}"),
        format!("division={division}"),
    ];
    let keys: Vec<&str> = keys.iter().flat_map(|key| ["--key", key]).collect();
    let mut sources: Vec<String> = std::fs::read_dir(support::repository().join("resolvers"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .filter(|source| !matches!(source.as_str(), "access-log" | "banks"))
        .collect();
    sources.sort();
    let (mut tried, mut recorded) = (0, 0);
    for source in &sources {
        let (code, told) = demo.tried(source, &keys);
        assert_eq!(code, Some(0), "{source}: {told:#}");
        let all = told["tried"].as_array().unwrap();
        tried += all.len();
        let out = demo.folder.join(format!("{source}.md")).display().to_string();
        let output = demo.run(&[&["try", &format!("resolvers/{source}.yaml"), "--record", &out], &keys[..]].concat());
        if source == "housing" {
            assert!(String::from_utf8_lossy(&output.stderr).contains("only exchanges over HTTP can be recorded"));
            continue;
        }
        let text = std::fs::read_to_string(&out)
            .unwrap_or_else(|_| panic!("{source}: {}", String::from_utf8_lossy(&output.stderr)));
        let exchanges = all.iter().flat_map(|one| one["exchanges"].as_array().unwrap());
        let real = exchanges.flat_map(|one| numbers(&format!("{}{}{}", one["url"], one["body"], one["answer"])));
        for number in real {
            assert!(!text.contains(&number), "{source}: {number} in {text}");
        }
        // What is made up is read as what was there: as many records, and none that no longer fits.
        let live: usize = all.iter().map(|one| one["records"].as_array().unwrap().len()).sum();
        let blocks = text.split("```json fields\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
        let fields: Vec<Value> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
        assert_eq!(fields.iter().map(|of| of["records"].as_array().unwrap().len()).sum::<usize>(), live, "{source}");
        assert!(!text.contains("\"unfit\""), "{text}");
        let tested = demo.run(&["test", &out]);
        assert_eq!(tested.status.code(), Some(0), "{source}: {}", String::from_utf8_lossy(&tested.stdout));
        recorded += 1;
    }
    assert!(tried > 30 && recorded > 14, "{tried} {recorded}");
}
