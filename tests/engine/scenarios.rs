//! Scenarios in Markdown (`tests/scenarios/*.md`): what departments answer, and what the caller is then told.
//! `tests/scenarios/README.md` says how one is written.

use crate::scenario::Scenario;

fn files() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("README.md"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// All of them, or those whose file or name holds the text in `SCENARIO`.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds() {
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let mut scenarios = 0;
    let mut failures = Vec::new();
    for (file, text) in files() {
        for scenario in Scenario::read(&file, &text) {
            if !format!("{file} {}", scenario.name).contains(&wanted) {
                continue;
            }
            scenarios += 1;
            if let Err(failure) = scenario.run().await {
                failures.push(format!("\n==> {file}:{} {}\n{failure}", scenario.line, scenario.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {scenarios} scenarios do not hold:{}", failures.len(), failures.join("\n"));
    assert!(scenarios >= 40 || !wanted.is_empty(), "only {scenarios} scenarios were found");
}

const SMALL: &str = r#"
```graphql schema/contract.graphql
type Query { farm(id: ID!): Farm }
type Farm @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String }
```
```yaml resolvers/farms.yaml
source: farms
title: Farms
base_url: ${FARMS_URL}
endpoints:
  farm: {entity: Farm, one: {get: "/farm/{key}"}, fields: {name: /n}}
```
## One
```http request
GET /farm/7
```
```http response
200

{"n": "North"}
```
```graphql
{ farm(id: 7) { name } }
```
```json answer
{"data": {"farm": {"name": "North"}}}
```
"#;

async fn outcome(text: &str) -> Result<(), String> {
    let scenarios = Scenario::read("small.md", text);
    assert_eq!(scenarios.len(), 1);
    scenarios[0].run().await
}

#[tokio::test]
async fn a_scenario_that_holds_passes_and_one_that_does_not_says_why() {
    assert_eq!(outcome(SMALL).await, Ok(()));
    let wrong = outcome(&SMALL.replace(r#"{"name": "North"}}}"#, r#"{"name": "South"}}}"#)).await.unwrap_err();
    assert!(wrong.contains("North") && wrong.contains("South"), "{wrong}");
    let unasked = outcome(&SMALL.replace("GET /farm/7", "GET /farm/8")).await.unwrap_err();
    assert!(unasked.contains("nobody asked: GET /farm/8") && unasked.contains("GET /farm/7"), "{unasked}");
    let broken = outcome(&SMALL.replace("fields: {name: /n}", "fields: {nam: /n}")).await.unwrap_err();
    assert!(broken.contains("did you mean `name`?"), "{broken}");
}
