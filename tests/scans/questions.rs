//! `docs/questions.md`: every question is asked of the demo as it stands there, by the id of its trusted document. What is
//! answered stands on the page (`UPDATE_EXPECTED=1` writes it there), and is right: by the reference, which evaluates the very
//! document over portraits, and by what the question means, said once more in [`crate::meaning`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use departments::world::{Date, Household};
use departments::{Fault, World as People, agriculture, civil_affairs, education};
use huxiang::model::config::rates::Rate;
use huxiang::model::documents::digest;
use huxiang::model::snapshot::Snapshot;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use crate::document::{Asks, Document};
use crate::facts::Files;
use crate::kleene::Reason;
use crate::meaning::{self, Figures, Meaning};
use crate::page::{self, Question, Told};
use crate::reference::{Scan, Statistic};
use crate::sources::Sources;
use crate::support::served::Served;
use crate::support::{edit_limits, repository, world_on};

/// The day that the page is of.
const TODAY: Date = Date::new(2026, 6, 15);
/// As many as the demo has in a village.
const HOUSEHOLDS: u32 = 21;
/// Smaller groups are not told.
const GROUP_MIN: usize = 5;

fn file() -> PathBuf {
    repository().join("docs/questions.md")
}

fn folder() -> PathBuf {
    repository().join("config/documents")
}

/// A test machine is slower than what the demo is made for; how much a request may ask stays as it is.
fn patient(snapshot: &mut Snapshot) {
    snapshot.config.limits.request_timeout_ms = 300_000;
    snapshot.config.rates.principal = Rate::default();
    edit_limits(snapshot, |_, limits| {
        (limits.timeout_ms, limits.first_byte_ms, limits.slow_ms) = (60_000, None, None);
        limits.per_second_max = None;
        limits.breaker.enabled = false;
    });
}

/// Trusted documents are the page's own, to the letter, and no others.
fn register(questions: &mut [Question], writes: bool) {
    for question in questions.iter_mut() {
        let id = digest(&question.document);
        if writes {
            std::fs::write(folder().join(format!("{id}.graphql")), &question.document).unwrap();
            question.id.clone_from(&id);
        }
        assert_eq!(question.id, id, "{}: UPDATE_EXPECTED=1 writes it", question.title);
    }
    let named: BTreeSet<String> = questions.iter().map(|question| format!("{}.graphql", question.id)).collect();
    for entry in std::fs::read_dir(folder()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !name.ends_with(".graphql") || named.contains(&name) {
            continue;
        }
        assert!(writes, "{name} stands on no page: UPDATE_EXPECTED=1 takes it away");
        std::fs::remove_file(entry.path()).unwrap();
    }
}

/// The plan of an answer, as the page has it.
fn plan(coverage: &Value) -> String {
    let words = |value: &Value| {
        let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        words.join(", ")
    };
    let mut out = String::new();
    for (at, stage) in coverage["plan"].as_array().into_iter().flatten().enumerate() {
        let sources = words(&stage["sources"]);
        let sources = if sources.is_empty() { "what is known already".to_owned() } else { sources };
        let (asked, left) = (&stage["asked"], &stage["left"]);
        let (calls, estimated) = (&stage["calls"], &stage["estimatedCalls"]);
        let fields = words(&stage["fields"]);
        let _ = writeln!(out, "{}. {sources}: {fields}", at + 1);
        let calls = if *calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
        let _ = writeln!(out, "   asked of {asked}, left {left}; {calls}, {estimated} reckoned");
    }
    if out.is_empty() { "not told: what is kept back could be worked out from it\n".to_owned() } else { out }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn count(value: &Value) -> usize {
    value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_else(|| panic!("{value} is no count"))
}

/// The answers to one question, held to what is right.
struct Held<'a> {
    files: &'a Files,
    question: &'a Question,
    silent: Sources,
    answer: &'a Value,
}

impl Held<'_> {
    fn place(&self) -> String {
        format!("{} (silent: {:?})\n{:#}", self.question.title, self.silent, self.answer)
    }

    /// Who is undetermined.
    fn hold(&self) -> usize {
        let document = Document::read(&self.question.document, &self.question.variables);
        match (document.asks(), meaning::of(&document.name)) {
            (Asks::Scan { scan, undetermined }, Meaning::Of(is_so)) => self.scan(&scan, undetermined, is_so),
            (Asks::Statistic(statistic), Meaning::Figures(figures)) => self.statistic(&statistic, figures),
            _ => panic!("{}: a list and figures are not the same", self.question.title),
        }
    }

    fn scan(&self, scan: &Scan, undetermined: bool, is_so: fn(&Value, &Household) -> bool) -> usize {
        let page = &self.answer["households"];
        let found = self.files.scan(scan, &self.silent).unwrap();
        let place = self.place();
        // By the reference.
        let all: Vec<String> =
            if undetermined { found.undetermined.keys().cloned().collect() } else { found.matched.clone() };
        let nodes = list(&page["nodes"]).iter().chain(list(&page["edges"]).iter().map(|edge| &edge["node"]));
        let shown: Vec<&str> = nodes.filter_map(|node| node["id"].as_str()).collect();
        assert_eq!(shown, all.iter().take(scan.first).collect::<Vec<_>>(), "{place}");
        let coverage = &page["coverage"];
        if coverage["ended"] == "LISTED" {
            let counts = ["candidates", "matched", "undetermined"].map(|name| count(&coverage[name]));
            assert_eq!(counts, [found.candidates, found.matched.len(), found.undetermined.len()], "{place}");
        } else {
            assert!(coverage["ended"] == "PAGE_FULL" && shown.len() == scan.first, "{place}");
        }
        // By what is meant. What is not known is neither.
        let world = &self.files.world;
        let means = |id: &String| is_so(&self.files.portrait(id), &world.household(id).unwrap());
        let households = world.village_household_ids(&scan.division);
        let meant: Vec<String> = households.filter(|id| !found.undetermined.contains_key(id) && means(id)).collect();
        assert_eq!(found.matched, meant, "{place}");
        if self.silent.is_empty() {
            assert!(!shown.is_empty(), "nobody is found: {place}");
            assert!(found.matched.len() + found.undetermined.len() < found.candidates, "nobody is left out: {place}");
        } else {
            let for_it = |reason: &Reason| matches!(reason, Reason::Silent(source) if self.silent.contains(source));
            let lost = found.undetermined.values().filter(|reasons| reasons.iter().any(for_it)).count();
            assert!(lost > 0, "nobody is undetermined for its silence: {place}");
            let missing: BTreeSet<&str> =
                list(&coverage["missing"]).iter().filter_map(|one| one["sourceTitle"].as_str()).collect();
            assert!(!missing.is_empty(), "{place}");
        }
        found.undetermined.len()
    }

    /// What agriculture, civil affairs and education hold of a household.
    fn lean(&self, id: &str) -> Value {
        let world = &self.files.world;
        let household = world.household(id).unwrap();
        let owners = [agriculture::expected, civil_affairs::expected, education::expected];
        let mut portrait = json!({});
        for facts in owners.map(|expected| expected(world, &household)) {
            for (path, value) in facts.as_object().unwrap() {
                let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
                let section = above.split('.').filter(|name| !name.is_empty());
                let section = section.fold(&mut portrait, |at, name| &mut at[name]);
                section[name] = value.clone();
            }
        }
        let mandate = civil_affairs::mandate(&household).map(|mandate| mandate.expires_on.to_string());
        portrait["assets"]["deposits"]["mandate"]["expiresOn"] = json!(mandate);
        portrait
    }

    fn statistic(&self, statistic: &Statistic, figures: fn(&[&Value], Date) -> Figures) -> usize {
        let stats = &self.answer["householdStats"];
        let place = self.place();
        assert_eq!(stats["coverage"]["ended"], "LISTED", "{place}");
        let households: Vec<String> = self.files.world.village_household_ids(&statistic.division).collect();
        let is_large = households.len() > HOUSEHOLDS_WHOLE;
        let portraits: Vec<Arc<Value>> = match is_large {
            true => households.iter().map(|id| Arc::new(self.lean(id))).collect(),
            false => households.iter().map(|id| self.files.portrait(id)).collect(),
        };
        let meant = figures(&portraits.iter().map(|portrait| &**portrait).collect::<Vec<_>>(), TODAY);
        let reckoned = (!is_large).then(|| self.files.statistic(statistic, &self.silent).unwrap());
        let decimal = |value: &Value| value.as_str().map(|text| Decimal::from_str(text).unwrap());
        let mut told: BTreeMap<Vec<Option<String>>, &Value> = BTreeMap::new();
        for group in list(&stats["groups"]) {
            let open = |key: &Value| !["ANSWERED", "NO_RECORD"].iter().any(|state| key["state"] == *state);
            if list(&group["key"]).iter().any(open) {
                continue;
            }
            let key = list(&group["key"]).iter().map(|key| key["value"].as_str().map(str::to_owned)).collect();
            told.insert(key, group);
        }
        let mut told_of = 0;
        for (key, group) in &told {
            let values = list(&group["values"]);
            if group["suppressed"] == true {
                assert!(values.iter().all(|value| value["value"].is_null() && value["lower"].is_null()), "{place}");
                continue;
            }
            let truth = meant.get(key).unwrap_or_else(|| panic!("nobody is in {key:?}: {place}"));
            assert_eq!(values.len(), truth.len(), "{place}");
            for (value, truth) in values.iter().zip(truth) {
                let Some(truth) = truth else { continue };
                let told = ["value", "lower", "upper"].map(|name| decimal(&value[name]));
                let to_six = truth.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero);
                let [value, lower, upper] = told;
                told_of += usize::from(lower.is_some());
                if value.is_some() {
                    assert_eq!(told, [Some(to_six); 3], "{key:?}: {place}");
                }
                assert!(lower.is_none_or(|lower| lower <= to_six), "{key:?} is {truth}: {place}");
                assert!(upper.is_none_or(|upper| to_six <= upper), "{key:?} is {truth}: {place}");
            }
            let Some(reckoned) = &reckoned else { continue };
            // Counts come first.
            let bounds = reckoned.get(key).unwrap_or_else(|| panic!("nobody is in {key:?}: {place}"))[0];
            let told = ["lower", "upper"].map(|name| decimal(&values[0][name]));
            assert!(told[0] >= bounds.lower, "wider than need be, {key:?} {bounds:?}: {place}");
            assert!(told[1].is_none_or(|upper| bounds.upper.is_none_or(|most| upper <= most)), "{key:?}: {place}");
        }
        for (key, truth) in &meant {
            let is_large = truth[0].is_some_and(|count| count >= Decimal::from(GROUP_MIN));
            assert!(!is_large || !self.silent.is_empty() || told.contains_key(key), "{key:?} is not there: {place}");
        }
        assert!(told_of > 0 || !self.silent.is_empty(), "no figure is told: {place}");
        count(&stats["coverage"]["undetermined"])
    }
}

/// What was sent, but for what differs each time.
fn whole(data: Value, mut errors: Value) -> Value {
    for error in errors.as_array_mut().into_iter().flatten() {
        error["extensions"].as_object_mut().unwrap().shift_remove("requestId");
    }
    if errors.is_null() { json!({ "data": data }) } else { json!({ "data": data, "errors": errors }) }
}

/// Whole portraits of more than that take long.
const HOUSEHOLDS_WHOLE: usize = 200;

struct Asking<'a> {
    served: &'a Served,
    files: &'a Files,
}

impl Asking<'_> {
    /// The answer, as the page has it, and how many are undetermined.
    async fn ask(&self, question: &Question, silent: Option<&str>) -> (Told, usize) {
        let departments = &self.served.world.departments;
        if let Some(source) = silent {
            departments.set_fault(source, Fault::Http500);
        }
        let body = json!({ "documentId": question.id, "variables": question.variables });
        let (_, mut response) = self.served.post(body.to_string()).await;
        if let Some(source) = silent {
            departments.set_fault(source, Fault::None);
        }
        let mut answer = response["data"].take();
        let roots = answer.as_object().is_some_and(|roots| roots.values().all(|root| !root.is_null()));
        assert!(roots, "{}: {response:#}", question.title);
        let silent_sources: Sources = silent.map(str::to_owned).into_iter().collect();
        let held = Held { files: self.files, question, silent: silent_sources, answer: &answer };
        let undetermined = held.hold();
        let (_, root) = answer.as_object_mut().unwrap().iter_mut().next().unwrap();
        let plan = silent.is_none().then(|| plan(&root["coverage"]));
        root["coverage"].as_object_mut().unwrap().shift_remove("plan");
        if let Some(cursor) = root.pointer_mut("/pageInfo/endCursor") {
            *cursor = json!("…");
        }
        // Of a list it is told what becomes of its coverage.
        let answer = match (silent, root["nodes"].is_array()) {
            (Some(_), true) => root["coverage"].take(),
            _ => whole(answer, response["errors"].take()),
        };
        (Told { silent: silent.map(str::to_owned), plan, answer: page::pretty(&answer) }, undetermined)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_the_page_have_the_answers_of_the_page_and_these_are_right() {
    let writes = std::env::var_os("UPDATE_EXPECTED").is_some();
    let text = std::fs::read_to_string(file()).unwrap();
    let mut questions = page::questions(&text);
    assert!(questions.len() >= 14, "{}", questions.len());
    register(&mut questions, writes);
    let served = Served::start(world_on(TODAY, patient).await).await;
    let files = Files::read(People::on(TODAY, 1, HOUSEHOLDS));
    let asking = Asking { served: &served, files: &files };
    let (mut open, mut lost) = (0, 0);
    let mut made = questions.clone();
    for question in &mut made {
        let (told, undetermined) = asking.ask(question, None).await;
        open += usize::from(undetermined > 0);
        question.answers[0] = told;
    }
    // Last, since a department that failed is asked otherwise for a while.
    for question in &mut made {
        for at in 1..question.answers.len() {
            let silent = question.answers[at].silent.clone().expect("one that does not answer");
            let (told, _) = asking.ask(question, Some(&silent)).await;
            assert_ne!(told.answer, question.answers[0].answer, "{}", question.title);
            question.answers[at] = told;
            lost += 1;
        }
    }
    assert!(
        open >= 2 && lost >= 2,
        "{open} questions leave some undetermined, {lost} were asked of silent departments"
    );
    let written = page::written(&text, &made);
    if writes {
        std::fs::write(file(), &written).unwrap();
    }
    for (there, made) in questions.iter().zip(&made) {
        let same = writes || there.answers == made.answers;
        assert!(same, "{}: UPDATE_EXPECTED=1 writes\n{:#?}", made.title, made.answers);
    }
    assert!(writes || written == text, "the page is as it is written: UPDATE_EXPECTED=1");
}

/// The index names each question, by a link that leads to it.
#[test]
fn every_question_is_found_by_its_words() {
    let text = std::fs::read_to_string(file()).unwrap();
    for question in page::questions(&text) {
        let kept = |letter: &char| letter.is_alphanumeric() || "- _".contains(*letter);
        let anchor: String = question.title.to_lowercase().chars().filter(kept).collect();
        let link = format!("[{}](#{})", question.title, anchor.replace(' ', "-"));
        let lines: Vec<&str> = text.lines().filter(|line| line.ends_with(&format!("{link} |"))).collect();
        assert_eq!(lines.len(), 1, "the index has {link}");
        let cells: Vec<&str> = lines[0].split('|').map(str::trim).collect();
        assert!(cells.len() == 5 && !cells[1].is_empty() && !cells[2].is_empty(), "{}", lines[0]);
    }
}
