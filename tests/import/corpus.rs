//! Drafts of published documents, each asked through the gateway against a mock of the same document.
//!
//! `IMPORT_CORPUS=FOLDER cargo test --test import corpus -- --ignored --nocapture`; docs/import.md says which
//! documents. `IMPORT_WHY=1` tells what is not bound or answers otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ask::{Draft, of_parameter};
use crate::support::document::Document;
use crate::support::mock::{Mock, Route};
use crate::support::{Folder, asked, draft, gateway};

/// One document's draft, and one question.
const DRAFT_MAX: Duration = Duration::from_secs(120);
const ASK_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Outcome {
    name: String,
    gets: usize,
    bound: usize,
    right: usize,
    /// Values compared.
    values: usize,
    seconds: f64,
    note: String,
    why: Vec<String>,
}

/// Names in braces and of declared parameters, as the mock's document has them.
fn names(document: &Value, path: &str) -> Vec<String> {
    let item = &document["paths"][path];
    let declared = [&item["get"]["parameters"], &item["parameters"]].into_iter().filter_map(Value::as_array).flatten();
    let mut all: Vec<String> =
        path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
    for parameter in declared {
        let target = parameter["$ref"].as_str().and_then(|target| document.pointer(target.strip_prefix('#')?));
        all.extend(target.unwrap_or(parameter)["name"].as_str().map(str::to_owned));
    }
    all
}

/// Tokens are the mock's, wherever the document has them fetched.
fn with_own_tokens(text: &str) -> String {
    let line = |line: &str| match line.split_once("token_url: ") {
        Some((before, after)) if line.starts_with("sign: ") => {
            format!("{before}token_url: /mock-token{}", after.find(", ").map_or("", |at| &after[at..]))
        }
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

async fn tried(path: &Path) -> Outcome {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let Some(document) = Document::read(path) else {
        return Outcome { name, note: "not read".to_owned(), ..Outcome::default() };
    };
    let gets = document.gets();
    let mut outcome = Outcome { name, gets: gets.len(), ..Outcome::default() };
    let (told, took) = draft(path, &[], DRAFT_MAX);
    outcome.seconds = took.as_secs_f64();
    let told = match told {
        Ok(told) => told,
        Err(told) => {
            let lines: Vec<&str> =
                told.lines().filter(|line| line.contains("error") || line.contains("hint")).collect();
            outcome.note =
                if told.starts_with("HANGS") || told.starts_with("CRASHES") { told } else { lines.join(" ") };
            return outcome;
        }
    };
    let drafted = Draft::of(&told);
    let bound: Vec<(&str, &str)> = told["bound"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|bound| Some((bound["operation"].as_str()?.strip_prefix("GET ")?, bound["place"].as_str()?)))
        .collect();
    outcome.bound = bound.len();
    for left in told["left_out"].as_array().unwrap() {
        outcome.why.push(format!(
            "left out {}: {}",
            left["operation"].as_str().unwrap(),
            left["why"].as_str().unwrap()
        ));
    }
    let root = Folder::new("corpus");
    root.grant("src", &drafted.entities());
    for (file, text) in told["files"].as_object().unwrap() {
        // The machine may be slow; the deadline of a source is not what is tried.
        let patience =
            if file.ends_with(".yaml") { "limits: {timeout_ms: 30000, answer_bytes_max: 100000000}\n" } else { "" };
        root.write(file, &format!("{}{patience}", with_own_tokens(text.as_str().unwrap())));
    }
    let routes = gets.iter().filter_map(|get| Some(Route { path: get.path.to_owned(), answer: document.answer(get)? }));
    let token = Route { path: "/mock-token".to_owned(), answer: json!({"access_token": "t", "expires_in": 3600}) };
    let mock = Mock::start(routes.chain([token]).collect()).await;
    let gateway = match gateway(&root, &mock.url).await {
        Ok(gateway) => gateway,
        Err(faults) => {
            outcome.note = format!("does not load: {}", faults.lines().take(3).collect::<Vec<_>>().join(" "));
            outcome.why.push(faults);
            return outcome;
        }
    };
    for (path, place) in bound {
        let Some(get) = gets.iter().find(|get| get.path == path) else { continue };
        let names = names(&document.root, path);
        let value = |argument: &str| {
            let name = of_parameter(&names, argument).or_else(|| names.last());
            name.and_then(|name| document.parameter(get, name)).map_or_else(|| json!("any-1"), |(_, value)| value)
        };
        let Some(question) = drafted.question(place, &value) else {
            outcome.why.push(format!("{path}: there is no question for {place}"));
            continue;
        };
        mock.forget();
        let answer = match tokio::time::timeout(ASK_MAX, asked(&gateway, &question.text)).await {
            Ok(answer) => answer,
            Err(_) => {
                outcome.note = "HANGS".to_owned();
                return outcome;
            }
        };
        let Some(mocked) = mock.answered(path) else {
            outcome.why.push(format!("{path}: it was not asked: {} {}", question.text, answer));
            continue;
        };
        let compared = drafted.compare(&question, &mocked, &answer);
        if compared.other.is_empty() && compared.same > 0 {
            outcome.right += 1;
            outcome.values += compared.same;
        } else {
            let first: Vec<String> = compared.other.iter().take(2).cloned().collect();
            let first = first.join("; ").chars().take(300).collect::<String>();
            outcome.why.push(format!("other {path} ({} the same): {first}", compared.same));
        }
    }
    outcome
}

fn table(outcomes: &[Outcome]) -> (usize, usize, usize) {
    let total = |of: &dyn Fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (gets, bound, right) = (total(&|o| o.gets), total(&|o| o.bound), total(&|o| o.right));
    println!("{:<62} {:>5} {:>5} {:>5} {:>7} {:>6}", "document", "GET", "bound", "right", "values", "s");
    for o in outcomes {
        println!(
            "{:<62} {:>5} {:>5} {:>5} {:>7} {:>6.1} {}",
            o.name, o.gets, o.bound, o.right, o.values, o.seconds, o.note
        );
        if std::env::var_os("IMPORT_WHY").is_some() {
            o.why.iter().for_each(|why| println!("    {why}"));
        }
    }
    let share = |part: usize| part * 1000 / gets.max(1);
    println!(
        "{} documents, {gets} GET operations, {bound} bound ({}.{} %), {right} answered rightly ({}.{} %), {} values compared",
        outcomes.len(),
        share(bound) / 10,
        share(bound) % 10,
        share(right) / 10,
        share(right) % 10,
        total(&|o| o.values),
    );
    (gets, bound, right)
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        path.extension().is_some_and(|ending| ["json", "yaml", "yml"].iter().any(|known| ending == *known))
    });
    found.sort();
    found
}

/// But for those in `odd/`, made of what cannot be bound: `source_import.rs` has them.
#[tokio::test]
async fn documents_of_this_repository_are_bound_and_answer_rightly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    let mut outcomes = Vec::new();
    for path in documents(&folder).iter().filter(|path| Document::read(path).is_some()) {
        outcomes.push(tried(path).await);
    }
    table(&outcomes);
    let others: Vec<String> = outcomes
        .iter()
        .flat_map(|o| o.why.iter().chain([&o.note]).map(|why| format!("{}: {why}", o.name)))
        .filter(|why| !why.ends_with("not JSON") && !why.ends_with(": "))
        .collect();
    assert!(others.is_empty() && outcomes.iter().all(|o| o.right == o.bound && o.right > 0), "{others:#?}");
}

#[tokio::test]
#[ignore = "takes a folder of published documents: IMPORT_CORPUS=FOLDER, see docs/import.md"]
async fn most_operations_of_published_documents_are_bound_and_answer_rightly() {
    let folder =
        std::env::var_os("IMPORT_CORPUS").expect("IMPORT_CORPUS names a folder; docs/import.md says how it is filled");
    let only = std::env::var("IMPORT_ONLY").unwrap_or_default();
    let mut outcomes = Vec::new();
    for path in documents(Path::new(&folder)).iter().filter(|path| path.to_string_lossy().contains(&only)) {
        outcomes.push(tried(path).await);
    }
    let (gets, _, right) = table(&outcomes);
    let broken: BTreeMap<&str, &str> = outcomes
        .iter()
        .filter(|o| ["HANGS", "CRASHES", "does not load"].iter().any(|word| o.note.starts_with(word)))
        .map(|o| (o.name.as_str(), o.note.as_str()))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    if only.is_empty() {
        assert!(outcomes.len() >= 40, "{} documents are too few", outcomes.len());
        assert!(right * 100 >= gets * 60, "{right} of {gets} operations answer rightly");
    }
}
