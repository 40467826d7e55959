//! `huxiang demo --levels 3`: what the province is shown, what each level has on record of it, and that it serves.
#![cfg(feature = "demo")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const HOUSEHOLD: &str = "331122101348000001";

fn demo(further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(["demo", "--levels", "3", "--households-per-village", "3"]).args(further);
    command
}

#[test]
fn the_province_is_shown_what_the_county_gives_and_each_level_has_the_person_on_record() {
    let output = demo(&["--once", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("standard output is JSON and nothing else");
    let view = |role: &str| {
        let views = shown["views"].as_array().unwrap();
        views.iter().find(|view| view["role"] == role).unwrap_or_else(|| panic!("{role}: {shown}"))
    };
    let item = |role: &str, no: u64| {
        let items = view(role)["items"].as_array().unwrap();
        items.iter().find(|item| item["no"] == no).unwrap_or_else(|| panic!("{no}: {shown}")).clone()
    };
    assert_eq!(view("supervisor")["answered"], 23, "{shown}");
    let id_number = |role: &str| item(role, 13)["value"].as_str().unwrap().to_owned();
    assert_eq!(id_number("supervisor").len(), 18);
    // The county shows officers of the town's rights no more than these digits; the city, nothing of health.
    assert_eq!(id_number("officer").replacen(&id_number("supervisor")[6..14], "********", 1), id_number("officer"));
    assert!(id_number("officer").contains("********"), "{shown}");
    for no in [13, 54] {
        assert_eq!(item("officer", no)["state"], "MASKED", "{shown}");
    }
    assert_eq!(item("officer", 54)["value"], "5000-10000", "{shown}");
    for no in [22, 24] {
        let item = item("officer", no);
        assert_eq!((&item["state"], &item["value"]), (&json!("REFUSED"), &Value::Null), "{shown}");
    }
    let records = |level: &str| {
        let records = shown["records"].as_array().unwrap().iter().filter(|record| record["level"] == level);
        let told = |record: &Value| {
            json!([record["who"], record["via"], record["roles"][0], record["purpose"], record["case"]])
        };
        records.map(told).collect::<Vec<_>>()
    };
    let (supervisor, officer) = ("demo-province-supervisor", "demo-province-officer");
    let of_supervisor = |via: Value| json!([supervisor, via, "supervisor", "supervision", "JD-2026-0001"]);
    let [city, county] = [json!(["gateway province"]), json!(["gateway city", "gateway province"])];
    assert_eq!(records("province"), [of_supervisor(json!([])), json!([officer, [], "officer", "duty", null])]);
    assert_eq!(records("city"), [of_supervisor(city.clone()), json!([officer, city, "officer", "duty", null])]);
    assert_eq!(
        records("county"),
        [of_supervisor(county.clone()), json!([officer, county, "town-officer", "duty", null])]
    );
    let of_county = shown["records"].as_array().unwrap().iter().rev().find(|record| record["who"] == supervisor);
    assert!(of_county.unwrap()["sources"].as_array().unwrap().len() > 5, "the county asks its departments: {shown}");
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_it_prints_can_be_used_while_it_serves() {
    let child = demo(&["--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut serving = Serving(child);
    let lines = BufReader::new(serving.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // To the last command, which is the auditor's.
    let mut printed = Vec::new();
    for line in lines {
        let last = line.starts_with("curl ") && line.contains("/admin/graphql");
        printed.push(line);
        if last {
            break;
        }
    }
    let after = |name: &str| {
        let at = printed.iter().position(|line| line.split(' ').next() == Some(name));
        printed[at.unwrap_or_else(|| panic!("{name}: {printed:#?}")) + 1].clone()
    };
    let url = |level: &str| {
        let mut lines = printed.iter().filter(|line| line.trim_start().starts_with(&format!("{level} ")));
        let line = lines.find(|line| line.contains("/graphql")).unwrap_or_else(|| panic!("{level}: {printed:#?}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |url: &str, token: &str, body: Value| -> (u16, Value) {
        let request = client.post(url).bearer_auth(token).header("content-type", "application/json");
        let request = request.header("accept", "application/graphql-response+json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    };
    let query = json!({ "query": format!("{{ household(id: \"{HOUSEHOLD}\") {{ registry {{ memberCount }} }} }}"),
        "extensions": { "purpose": "duty" } });
    let officer = after("officer");
    let (_, answer) = ask(&url("province"), &officer, query.clone()).await;
    assert!(answer["data"]["household"]["registry"]["memberCount"].is_u64(), "{answer}");
    // A token of the province's people is good at the province alone.
    for level in ["city", "county"] {
        assert_eq!(ask(&url(level), &officer, query.clone()).await.0, 401, "{level}");
    }
    let records =
        json!({ "query": "{ auditRecords(filter: {kinds: [\"REQUEST\"]}, first: 1) { records { record } } }" });
    let admin = url("county").replace("/graphql", "/admin/graphql");
    let (_, answer) = ask(&admin, &after("auditor"), records).await;
    let who = &answer["data"]["auditRecords"]["records"][0]["record"]["who"];
    assert_eq!((&who["id"], &who["via"][1]), (&json!("demo-province-officer"), &json!("gateway province")), "{answer}");
    let sent = Command::new("kill").args(["-TERM", &serving.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_files_of_the_levels_above_have_no_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/levels");
    for level in ["city", "province"] {
        let checked = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["check", "--root"])
            .arg(&root)
            .arg("--config")
            .arg(root.join(level))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{level}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
