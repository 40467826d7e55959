//! What is held of an answer, whoever gives it: a served gateway is asked through [`Ask`] and held to the reference.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::draw::{Asked, Case};
use crate::facts::Files;
use crate::kleene::Reason;
use crate::reference::{Bounds, Found, Group, Key, Measure, Of, Reckoned, Refused, Scan, Statistic};
use crate::sources::Sources;

/// Asks for a case: the document and its variables; the sources named in the case are silent meanwhile.
pub type Ask<'a> = dyn Fn(&Case, &Question) -> Answer + 'a;

/// As a frontend sends it.
#[derive(Debug, Clone)]
pub struct Question {
    pub document: String,
    pub variables: Value,
}

impl Question {
    /// The same with other variables; null takes one away.
    fn with(&self, variables: Value) -> Self {
        let mut all = self.variables.as_object().cloned().unwrap_or_default();
        all.extend(variables.as_object().cloned().unwrap_or_default());
        Self { document: self.document.clone(), variables: without_nulls(Value::Object(all)) }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A department could not be asked for what it lists.
    Refused,
    Scan(Page),
    Statistic(Reckoned, Coverage),
    /// Neither: no right answer.
    Error(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The keys of those that are shown, in their order.
    pub shown: Vec<String>,
    /// The sources that are named as missing, of those that are shown as undetermined.
    pub why: BTreeMap<String, Sources>,
    pub coverage: Coverage,
    /// Where the next page begins.
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Coverage {
    pub candidates: usize,
    pub evaluated: usize,
    pub matched: usize,
    pub undetermined: usize,
    /// The sources that are named as missing.
    pub missing: Sources,
}

/// Asks, and holds the answer to the reference. The error says what differs.
pub fn hold(files: &Files, case: &Case, ask: &Ask<'_>) -> Result<(), String> {
    let question = question(&case.asked);
    let answer = ask(case, &question);
    match &case.asked {
        Asked::Scan(scan) => match (files.scan(scan, &case.silent), answer) {
            (Err(Refused), Answer::Refused) => Ok(()),
            (Ok(expected), Answer::Scan(page)) => {
                of_scan(files, case, scan, &expected, &page)?;
                of_more(files, case, scan, ask, &question)
            }
            (expected, got) => Err(shortened(format!("expected {expected:?}, got {got:?}"))),
        },
        Asked::Statistic(statistic) => match (files.statistic(statistic, &case.silent), answer) {
            (Err(Refused), Answer::Refused) => Ok(()),
            (Ok(expected), Answer::Statistic(got, coverage)) => {
                let counted = files.scan(&counted(statistic), &case.silent).map_err(|Refused| "refused".to_owned())?;
                counts(&counted, &coverage)?;
                of_statistic(files, statistic, &expected, &got)
            }
            (expected, got) => Err(shortened(format!("expected {expected:?}, got {got:?}"))),
        },
    }
}

/// Those that a statistic counts.
fn counted(statistic: &Statistic) -> Scan {
    let Statistic { of, division, condition, .. } = statistic;
    Scan { of: *of, division: division.clone(), condition: condition.clone(), order: None, first: usize::MAX }
}

/// One page, as it was drawn.
fn of_scan(files: &Files, case: &Case, scan: &Scan, expected: &Found, page: &Page) -> Result<(), String> {
    let shown: Vec<String> = expected.matched.iter().take(scan.first).cloned().collect();
    listed("shown", &shown, &page.shown)?;
    let coverage = &page.coverage;
    same("evaluated and candidates", &coverage.candidates, &coverage.evaluated)?;
    // A page that is full ended before the rest was looked at, unless it had to be sorted.
    if scan.order.is_some() || expected.matched.len() < scan.first {
        same("whether there is more", &(expected.matched.len() > scan.first), &page.next.is_some())?;
        counts(expected, coverage)?;
        names(case, expected.undetermined.values().flatten(), &coverage.missing, "the coverage")?;
    }
    nobody_who_answered(files, case, expected.undetermined.keys(), &coverage.missing, "the coverage")
}

/// Further questions about the same condition, unsorted: all pages of it, who is undetermined and why, and single keys.
fn of_more(files: &Files, case: &Case, scan: &Scan, ask: &Ask<'_>, question: &Question) -> Result<(), String> {
    let scan = Scan { order: None, ..scan.clone() };
    let expected = files.scan(&scan, &case.silent).map_err(|Refused| "refused".to_owned())?;
    // A page for each match would say no more than a few do.
    let each = (expected.matched.len() / 4).max(1);
    let all = joined(case, ask, &question.with(json!({"o": null, "n": each})))?;
    listed("pages put together", &expected.matched, &all.shown)?;
    counts(&expected, &all.coverage).map_err(|error| format!("pages put together: {error}"))?;

    let open = joined(case, ask, &question.with(json!({"o": null, "n": 200, "v": "UNDETERMINED"})))?;
    listed("undetermined", &expected.open(), &open.shown)?;
    counts(&expected, &open.coverage).map_err(|error| format!("undetermined: {error}"))?;
    for (household, reasons) in &expected.undetermined {
        let said = open.why.get(household).cloned().unwrap_or_default();
        names(case, reasons.iter(), &said, household)?;
        nobody_who_answered(files, case, std::iter::once(household), &said, household)?;
    }

    let keys = some_keys(&expected);
    let here = |key: &&String| keys.contains(key);
    let of_keys = Found {
        matched: expected.matched.iter().filter(here).cloned().collect(),
        undetermined: expected.undetermined.clone().into_iter().filter(|(key, _)| here(&key)).collect(),
        candidates: keys.len() - ELSEWHERE.len(),
        listed: expected.listed.iter().filter(here).cloned().collect(),
    };
    let again = joined(case, ask, &question.with(json!({"o": null, "n": 200, "k": keys})))?;
    listed("among keys", &of_keys.matched, &again.shown)?;
    counts(&of_keys, &again.coverage).map_err(|error| format!("among keys: {error}"))
}

/// Of another village, and of nobody; as a person's, of nobody.
const ELSEWHERE: [&str; 2] = ["331122101349000001", "331122101348999999"];

/// A few of each verdict in the order of the listing, and of none.
fn some_keys(expected: &Found) -> Vec<String> {
    let (matched, open) = (&expected.matched, expected.open());
    let others = expected.listed.iter().filter(|key| !matched.contains(key) && !open.contains(key));
    let mut keys: Vec<String> = others.take(3).cloned().collect();
    keys.extend(matched.iter().rev().take(3).cloned());
    keys.extend(open.into_iter().take(3));
    keys.sort_by_key(|key| expected.listed.iter().position(|listed| listed == key));
    keys.extend(ELSEWHERE.map(str::to_owned));
    keys
}

/// All pages, as one.
fn joined(case: &Case, ask: &Ask<'_>, question: &Question) -> Result<Page, String> {
    let mut whole = Page::default();
    for _ in 0..100 {
        let after = whole.next.take();
        let page = match ask(case, &question.with(json!({"a": after}))) {
            Answer::Scan(page) => page,
            other => return Err(shortened(format!("expected a page of {}, got {other:?}", question.variables))),
        };
        whole.shown.extend(page.shown);
        whole.why.extend(page.why);
        let (sum, more) = (&mut whole.coverage, page.coverage);
        sum.candidates += more.candidates;
        sum.evaluated += more.evaluated;
        sum.matched += more.matched;
        sum.undetermined += more.undetermined;
        sum.missing.extend(more.missing);
        whole.next = page.next;
        if whole.next.is_none() {
            return Ok(whole);
        }
    }
    Err("a hundred pages have no end".to_owned())
}

fn counts(expected: &Found, got: &Coverage) -> Result<(), String> {
    same("candidates", &expected.candidates, &got.candidates)?;
    same("evaluated", &expected.candidates, &got.evaluated)?;
    same("matched", &expected.matched.len(), &got.matched)?;
    same("undetermined", &expected.undetermined.len(), &got.undetermined)
}

/// Every source for whose silence something is not known is named.
fn names<'r>(
    case: &Case,
    reasons: impl Iterator<Item = &'r Reason>,
    said: &Sources,
    place: &str,
) -> Result<(), String> {
    match silent(reasons).into_iter().find(|source| !said.contains(source)) {
        Some(source) => Err(format!("{source} was silent and is not named ({place}: {said:?} of {:?})", case.silent)),
        None => Ok(()),
    }
}

/// Whoever answered is never said to be missing. Of an undetermined household all that is read and not known is told, whether
/// or not it would decide anything: so is who was not asked, silent or not.
fn nobody_who_answered<'k>(
    files: &Files,
    case: &Case,
    open: impl Iterator<Item = &'k String>,
    said: &Sources,
    place: &str,
) -> Result<(), String> {
    let silent: Sources = case.silent.iter().map(|source| named(source)).collect();
    let mut answered = said.iter().filter(|source| !silent.contains(*source)).peekable();
    if answered.peek().is_none() {
        return Ok(());
    }
    let condition = case.asked.condition();
    let of = case.asked.of();
    let not_asked: Sources = open.flat_map(|key| files.not_asked(of, key, condition, &case.silent)).collect();
    match answered.find(|source| !not_asked.contains(*source)) {
        Some(source) => Err(format!("{source} answered and is named as missing ({place})")),
        None => Ok(()),
    }
}

/// One of many banks (`banks/07`) is named as all of them are.
fn named(source: &str) -> String {
    source.split('/').next().unwrap_or_default().to_owned()
}

/// The sources of reasons that are silent.
pub fn silent<'r>(reasons: impl Iterator<Item = &'r Reason>) -> Sources {
    let source = |reason: &Reason| if let Reason::Silent(source) = reason { Some(named(source)) } else { None };
    reasons.filter_map(source).collect()
}

/// Bounds may be narrower than the reference's, and hold the value that comes out where everybody answers.
fn of_statistic(files: &Files, asked: &Statistic, expected: &Reckoned, got: &Reckoned) -> Result<(), String> {
    let whole = files.statistic(asked, &Sources::new()).map_err(|Refused| "refused".to_owned())?;
    for (key, expected) in expected {
        let counted = expected.iter().zip(&asked.measures).find(|(_, measure)| **measure == Measure::Count);
        let Some(values) = got.get(key) else {
            // A group in which nobody is sure to be need not be there.
            match counted {
                Some((Bounds { lower: Some(lower), .. }, _)) if lower.is_zero() => continue,
                None => continue,
                _ => return Err(format!("the group {key:?} is not there")),
            }
        };
        same(&format!("measures of {key:?}"), &expected.len(), &values.len())?;
        for ((at, widest), value) in expected.iter().enumerate().zip(values) {
            let truth = whole.get(key).map(|values| values[at]);
            let is_of_some = !matches!(asked.measures[at], Measure::Min(_) | Measure::Max(_));
            // Also where departments disagree about who is in the group, and of those that are no number is known: the reference
            // does not look at what those have that may be in it.
            let found = if matches!(asked.measures[at], Measure::Min(_)) { widest.upper } else { widest.lower };
            let is_of_nobody = |truth: Bounds| truth == Bounds::default() || truth == *widest && found.is_none();
            if !is_of_some && *value == Bounds::default() && truth.is_none_or(is_of_nobody) {
                // Whoever it may be of has no such number: there is no least and no greatest of nothing.
                continue;
            }
            let told = |what: &str| Err(format!("{key:?}, {:?}: {what}: {value:?}, {widest:?}", asked.measures[at]));
            if below(value.lower, widest.lower) || below(value.upper.map(|n| -n), widest.upper.map(|n| -n)) {
                return told("wider than need be");
            }
            let Some(Bounds { lower: Some(sure), upper: Some(upper) }) = whole.get(key).map(|values| values[at]) else {
                continue;
            };
            let outside = value.lower.is_some_and(|lower| lower > sure) || value.upper.is_some_and(|most| most < sure);
            if sure == upper && outside {
                return told("does not hold what comes out where everybody answers");
            }
        }
    }
    match got.keys().find(|key| !expected.contains_key(*key)) {
        Some(key) => Err(format!("nobody is in the group {key:?}")),
        None => Ok(()),
    }
}

/// Whether a lower end is lower than another, none being the lowest.
fn below(one: Option<Decimal>, other: Option<Decimal>) -> bool {
    other.is_some_and(|other| one.is_none_or(|one| one < other))
}

/// As many characters as a person reads.
pub fn shortened(text: String) -> String {
    const MOST: usize = 700;
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain("…".chars()).collect() }
}

/// Two lists of keys, told by what stands in one of them alone.
fn listed(what: &str, expected: &[String], got: &[String]) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|key| !other.contains(key)).take(6).cloned().collect()
    };
    let (lacking, too_many) = (only(expected, got), only(got, expected));
    if lacking.is_empty() && too_many.is_empty() {
        let first = expected.iter().zip(got).position(|(a, b)| a != b).unwrap_or(expected.len().min(got.len()));
        return Err(format!("{what}: in another order, or some twice, from {first} on: {:?}", got.get(first)));
    }
    Err(format!("{what}: {lacking:?} are not there, {too_many:?} are ({} expected, {} got)", expected.len(), got.len()))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// The document of a case, with all that is drawn in its variables.
pub fn question(asked: &Asked) -> Question {
    let coverage = "coverage { candidates evaluated matched undetermined missing { source } }";
    let field = |path: &str| path.replace('.', "_");
    match asked {
        Asked::Scan(Scan { of, division, condition, order, first }) => {
            let order = order.as_ref().map(|order| json!([{"by": field(&order.path), "descending": order.descending}]));
            let name = of.type_name();
            let (query, key) = if *of == Of::Persons { ("persons", "idNumber") } else { ("households", "id") };
            let document = format!(
                "query($d: ID!, $w: {name}Filter, $o: [{name}Order!], $n: Int, $a: String, $v: ScanVerdict, \
                 $k: [ID!]) {{ found: {query}(division: $d, where: $w, orderBy: $o, first: $n, after: $a, verdict: $v, among: $k) \
                 {{ edges {{ node {{ id: {key} }} missing {{ source }} }} pageInfo {{ hasNextPage endCursor }} {coverage} }} }}"
            );
            let variables = json!({"d": division, "w": condition, "o": order, "n": first, "v": "MATCHED"});
            Question { document, variables: without_nulls(variables) }
        }
        Asked::Statistic(Statistic { of, division, condition, groups, measures }) => {
            let by = |Group { path, digits, period }: &Group| {
                let period = period.map(|length| if length == 4 { "YEAR" } else { "MONTH" });
                without_nulls(json!({"by": field(path), "digits": digits, "dates": period}))
            };
            let measured = |measure: &Measure| match measure {
                Measure::Count => json!({"count": true}),
                Measure::Sum(path) => json!({"sum": field(path)}),
                Measure::Min(path) => json!({"min": field(path)}),
                Measure::Max(path) => json!({"max": field(path)}),
            };
            let groups: Vec<Value> = groups.iter().map(by).collect();
            let measures: Vec<Value> = measures.iter().map(measured).collect();
            let name = of.type_name();
            let query = if *of == Of::Persons { "personStats" } else { "householdStats" };
            let document = format!(
                "query($d: ID!, $w: {name}Filter, $g: [{name}Group!], $m: [{name}Measure!]!) {{ \
                 stats: {query}(division: $d, where: $w, groupBy: $g, measures: $m) {{ groups {{ key {{ field value state }} \
                 suppressed values {{ measure value lower upper }} }} {coverage} }} }}"
            );
            Question {
                document,
                variables: without_nulls(json!({"d": division, "w": condition, "g": groups, "m": measures})),
            }
        }
    }
}

fn without_nulls(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// What the reference itself would answer.
pub fn own_answer(files: &Files, case: &Case, question: &Question) -> Answer {
    match &case.asked {
        Asked::Scan(scan) => {
            let order = scan.order.clone().filter(|_| !question.variables["o"].is_null());
            match files.scan(&Scan { order, ..scan.clone() }, &case.silent) {
                Err(Refused) => Answer::Refused,
                Ok(found) => Answer::Scan(own_page(&found, &question.variables)),
            }
        }
        Asked::Statistic(statistic) => match files.statistic(statistic, &case.silent) {
            Err(Refused) => Answer::Refused,
            Ok(reckoned) => {
                let coverage = files.scan(&counted(statistic), &case.silent).map(|found| of_all(&found));
                Answer::Statistic(reckoned.into_iter().collect::<BTreeMap<Key, _>>(), coverage.unwrap_or_default())
            }
        },
    }
}

fn of_all(found: &Found) -> Coverage {
    Coverage {
        candidates: found.candidates,
        evaluated: found.candidates,
        matched: found.matched.len(),
        undetermined: found.undetermined.len(),
        missing: silent(found.undetermined.values().flatten()),
    }
}

/// Cursors are the last key that was shown; a page looks no further than to its last one.
fn own_page(found: &Found, variables: &Value) -> Page {
    let among: Option<BTreeSet<&str>> =
        variables["k"].as_array().map(|keys| keys.iter().filter_map(Value::as_str).collect());
    let place = |key: &str| found.listed.iter().position(|listed| listed == key);
    let (after, sorted) = (variables["a"].as_str().and_then(place), !variables["o"].is_null());
    let asked = |key: &str| place(key) > after && among.as_ref().is_none_or(|among| among.contains(key));
    let all: Vec<String> = match variables["v"].as_str() {
        Some("UNDETERMINED") => found.open(),
        _ => found.matched.clone(),
    };
    let all: Vec<String> = all.into_iter().filter(|key| asked(key)).collect();
    let first = usize::try_from(variables["n"].as_u64().unwrap()).unwrap();
    let shown: Vec<String> = all.iter().take(first).cloned().collect();
    let has_next = all.len() > shown.len();
    let end = if has_next && !sorted { shown.last().cloned() } else { None };
    let last = end.as_deref().and_then(place);
    let looked_at = |key: &&String| asked(key) && last.is_none_or(|last| place(key) <= Some(last));
    let open: Vec<&String> = found.undetermined.keys().filter(looked_at).collect();
    let why = |key: &String| silent(found.undetermined.get(key).into_iter().flatten());
    let candidates = found.listed.iter().filter(looked_at).count();
    let coverage = Coverage {
        candidates,
        evaluated: candidates,
        matched: found.matched.iter().filter(looked_at).count(),
        undetermined: open.len(),
        missing: open.iter().flat_map(|key| why(key)).collect(),
    };
    let why = shown.iter().map(|key| (key.clone(), why(key))).collect();
    Page { shown, why, coverage, next: end.or_else(|| has_next.then(String::new)) }
}
