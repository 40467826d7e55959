//! `huxiang demo` as it serves: what it prints can be used, and it ends in order.
#![cfg(feature = "demo")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const QUERY: &str = r#"query($id: ID!) { household(id: $id) { registry { headName } items(no: ["3"]) { state } } }"#;

struct Demo {
    child: Child,
    url: String,
    tokens: BTreeMap<String, String>,
    client: reqwest::Client,
}

impl Demo {
    /// Started on a free port; everything it prints has been read.
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(further: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["demo", "--port", "0", "--households-per-village", "3"])
            .args(further)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut url, mut tokens, mut role) = (String::new(), BTreeMap::new(), String::new());
        // Of thirteen callers, the steward and the head of a department.
        while tokens.len() < 15 {
            let line = lines.next().expect("the demo prints an endpoint and fifteen tokens");
            if let Some(found) = line.trim().strip_prefix("GraphQL ") {
                found.trim().clone_into(&mut url);
            } else if line.starts_with("eyJ") {
                tokens.insert(role.clone(), line);
            } else if let Some(word) = line.split(' ').next() {
                word.clone_into(&mut role);
            }
        }
        Self { child, url, tokens, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Status and answer; `headers` are added to the role's token.
    async fn ask(&self, token: Option<&str>, household: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let body = json!({"query": QUERY, "variables": {"id": household}});
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
            .body(body.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// As [`Self::ask`], with another query.
    async fn query(&self, role: &str, query: &str, household: &str, headers: &[(&str, &str)]) -> Value {
        let body = json!({"query": query, "variables": {"id": household}});
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body.to_string());
        request = request.header("authorization", format!("Bearer {}", self.tokens[role]));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
    }

    async fn as_role(&self, role: &str, household: &str, headers: &[(&str, &str)]) -> Value {
        let (status, answer) = self.ask(Some(&self.tokens[role]), household, headers).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The commands that the README shows, each with the token of whoever does it.
#[tokio::test]
async fn a_department_brings_its_source_into_service_and_out_of_it_by_commands() {
    let demo = Demo::start();
    let gateway = demo.url.strip_suffix("/graphql").unwrap();
    let run = |role: &str, arguments: &[&str]| -> (i32, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg("source")
            .args(arguments)
            .envs([("HUXIANG_GATEWAY", gateway), ("HUXIANG_TOKEN", &demo.tokens[role])])
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let done = |role: &str, arguments: &[&str], tells: &str| {
        let (code, said) = run(role, arguments);
        assert!(code == 0 && said.contains(tells), "{arguments:?} as {role}: {said}");
    };
    let query = r#"query($id: ID!) { household(id: $id) { registry { division { name } }
        items(no: ["6"]) { state claims { path source value } } } }"#;
    let declared = [("x-purpose", "supervision"), ("x-case", "JD-2026-0001")];
    let said = async || -> Vec<Value> {
        let answer = demo.query("supervisor", query, "331122101348000001", &declared).await;
        let item = &answer["data"]["household"]["items"][0];
        assert_eq!(item["state"], "ANSWERED", "{answer}");
        let claims = item["claims"].as_array().unwrap().iter();
        claims.filter(|claim| claim["source"] == "culture").map(|claim| claim["value"].clone()).collect()
    };
    assert!(said().await.is_empty(), "it is not in service yet");
    let note = ["--note", "the villages' public services"];
    let with = |arguments: &[&'static str]| [arguments, &note].concat();
    done("steward", &with(&["submit", "examples/registry/culture.yaml"]), "culture 1 is submitted");
    done("department-head", &["review", "culture", "1"], "+title: 文旅局");
    assert_eq!(run("steward", &with(&["approve", "culture", "1"])).0, 1, "each step is another person's");
    done("department-head", &with(&["approve", "culture", "1"]), "culture 1 is approved");
    done("operator", &with(&["publish", "culture", "1"]), "in force");
    let name = said().await;
    assert!(name.len() == 1 && name[0].as_str().is_some_and(|name| name.contains("苍源村")), "{name:?}");
    done("operator", &with(&["withdraw", "culture"]), "culture is withdrawn");
    assert!(said().await.iter().all(Value::is_null), "it is not asked any more");
    done("steward", &["versions", "culture"], "withdrawn");
}

fn nothing(answer: &Value, code: &str) {
    assert!(answer["data"]["household"].is_null() || answer["data"]["household"]["registry"]["headName"].is_null());
    assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
}

#[tokio::test]
async fn the_supervisor_sees_in_the_statistics_what_cadre_and_grid_worker_looked_at() {
    let mut demo = Demo::start();
    for (role, purpose) in [("cadre", "help"), ("grid-worker", "grid-watch")] {
        demo.as_role(role, "331122101348000001", &[("x-purpose", purpose)]).await;
    }
    demo.url = demo.url.replace("/graphql", "/admin/graphql");
    let days = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).date();
    let period = format!("from: \"{}\", to: \"{}\"", days.yesterday().unwrap(), days.tomorrow().unwrap());
    let query = format!("{{ accessStatistics({period}, by: PRINCIPAL) {{ key looks }} }}");
    let answer = demo.query("supervisor", &query, "", &[]).await;
    let rows = answer["data"]["accessStatistics"].as_array().unwrap_or_else(|| panic!("{answer}"));
    for key in ["GB331122101348001", "demo-grid-worker"] {
        // The demo asks once for itself.
        assert!(rows.contains(&json!({"key": key, "looks": 2})), "{key}: {answer}");
    }
}

#[tokio::test]
async fn a_role_counts_only_from_its_network_with_its_purpose_and_case_and_for_its_households() {
    let demo = Demo::start();
    let (own, other) = ("331122101348000001", "331122101348000002");
    let proxied = [("x-forwarded-for", "203.0.113.1")];

    let answer = demo.as_role("household", own, &proxied).await;
    assert!(answer["data"]["household"]["registry"]["headName"].is_string(), "{answer}");
    nothing(&demo.as_role("household", other, &proxied).await, "FORBIDDEN");
    nothing(&demo.as_role("household", own, &[]).await, "FORBIDDEN");

    let declared = [("x-purpose", "supervision"), ("x-case", "JD-2026-0001")];
    let answer = demo.as_role("supervisor", other, &declared).await;
    assert_eq!(answer["data"]["household"]["items"][0]["state"], "ANSWERED", "{answer}");
    nothing(&demo.as_role("supervisor", other, &declared[..1]).await, "FORBIDDEN");
    nothing(&demo.as_role("supervisor", other, &[]).await, "FORBIDDEN");
    let foreign = [declared[0], declared[1], proxied[0]];
    nothing(&demo.as_role("supervisor", other, &foreign).await, "FORBIDDEN");
    // Of another county.
    nothing(&demo.as_role("supervisor", "330105001001000001", &declared).await, "FORBIDDEN");

    let (status, answer) = demo.ask(None, own, &[]).await;
    assert_eq!(status, 200);
    nothing(&answer, "FORBIDDEN");
    let changed = format!("{}x", demo.tokens["supervisor"]);
    let (status, answer) = demo.ask(Some(&changed), own, &declared).await;
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn the_household_sees_who_looked_at_its_portrait() {
    let demo = Demo::start();
    let query = "query($id: ID!) { household(id: $id) { accessLog { roles purpose case items { no } } } }";
    let own = "331122101348000001";
    let answer = demo.query("household", query, own, &[("x-forwarded-for", "203.0.113.1")]).await;
    let looks = answer["data"]["household"]["accessLog"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let of =
        |role: &str| looks.iter().find(|look| look["roles"][0] == role).unwrap_or_else(|| panic!("{role}: {answer}"));
    assert_eq!((&of("督查干部")["purpose"], of("督查干部")["case"].is_string()), (&json!("supervision"), true));
    assert_eq!(of("结对干部")["purpose"], "help");
    assert!(of("督查干部")["items"].as_array().unwrap().len() > of("网格员")["items"].as_array().unwrap().len());
    assert!(looks.iter().all(|look| look["roles"] != json!(["企业"]) && look["roles"] != json!(["公众"])), "{answer}");
}

#[tokio::test]
async fn the_duty_officer_counts_in_a_declared_emergency_alone() {
    let demo = Demo::start();
    let own = "331122101348000001";
    let declared = [("x-purpose", "emergency"), ("x-break-glass", "typhoon warning, people to be brought to safety")];
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    let answer = demo.query("duty-officer", query, own, &declared).await;
    assert!(answer["data"]["household"]["registry"]["phone"].is_string(), "{answer}");
    assert!(answer["extensions"]["breakGlass"]["reviewBefore"].is_string(), "{answer}");
    let answer = demo.query("duty-officer", query, own, &declared[..1]).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    assert!(answer["data"]["household"].is_null(), "{answer}");
}

#[cfg(unix)]
#[test]
fn sigterm_ends_the_demo_in_order() {
    let mut demo = Demo::start();
    let sent = Command::new("kill").args(["-TERM", &demo.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_larger_division_has_people_who_answer_for_it_and_all_of_its_houses() {
    // Of the city, in another county than the household that is shown.
    let (city, village) = ("331100000000", "331121001001");
    let world = departments::World::new(1, 3);
    let expected = world.village_household_ids(village).filter_map(|id| world.household(&id));
    let expected = expected.filter(|household| departments::housing::house(household).is_some()).count();
    let demo = Demo::start_with(&["--division", city]);
    let query = "query($id: ID!) { households(division: $id, first: 50, where: {housing: {exists: true}}) {
      nodes { id } coverage { total candidates matched whole } } }";
    let declared = [("x-purpose", "supervision"), ("x-case", "JD-2026-0001")];
    let answer = demo.query("supervisor", query, village, &declared).await;
    let told = json!({ "total": 3, "candidates": 3, "matched": expected, "whole": true });
    assert_eq!(answer["data"]["households"]["coverage"], told, "{answer:#}");
    drop(demo);
    for elsewhere in ["3301", "44", ""] {
        let command = ["demo", "--once", "--division", elsewhere];
        let done = Command::new(env!("CARGO_BIN_EXE_huxiang")).args(command).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.contains("331122101348 does not lie in it"), "{elsewhere}: {said}");
    }
}
