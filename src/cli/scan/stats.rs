//! `huxiang scan --stats`: counts, sums and averages, going on until all was looked at.

use serde_json::{Map, Value, json};

use super::ScanArgs;
use super::ask::Asker;
use super::bar::Watch;
use super::contract::Query;
use super::document::COVERAGE;
use super::read;
use super::tally::Tally;
use crate::cli::{Stop, text};

/// Answers in a row that came no further.
const STUCK_MAX: u32 = 5;

/// What is asked for.
pub struct Statistic {
    text: String,
    variables: Map<String, Value>,
    query: String,
}

/// What it came to.
pub struct Counted {
    /// As the gateway tells it.
    pub told: Value,
    pub tally: Tally,
    /// All was looked at.
    pub done: bool,
}

impl Statistic {
    pub fn of(args: &ScanArgs, query: &Query) -> Result<Self, Stop> {
        let mut variables = Map::new();
        let mut declared: Vec<String> = Vec::new();
        let mut needs = |name: &str, value: Option<Value>| {
            let refused =
                || Stop::refused(format!("error: the query `{}` has no argument `{name}` for your role", query.name));
            declared.push(format!("${name}: {}", query.argument(name).ok_or_else(refused)?));
            variables.extend(value.map(|value| (name.to_owned(), value)));
            Ok::<_, Stop>(())
        };
        let division = query.division()?.to_owned();
        needs(&division, Some(json!(args.division()?)))?;
        let mut arguments = vec![division, "measures".to_owned(), "resume".to_owned()];
        needs("measures", Some(args.measures()))?;
        needs("resume", None)?;
        if let Some(given) = &args.condition {
            needs("where", Some(read::json("--where", given)?))?;
            arguments.push("where".to_owned());
        }
        if !args.group_by.is_empty() {
            let groups = args.group_by.iter().map(|group| read::group(group)).collect::<Result<Value, _>>()?;
            needs("groupBy", Some(groups))?;
            arguments.push("groupBy".to_owned());
        }
        let arguments: Vec<String> = arguments.iter().map(|name| format!("{name}: ${name}")).collect();
        let text = format!(
            "query Stats({}) {{ {}({}) {{ groups {{ key {{ field value zh state }} suppressed \
             values {{ measure value lower upper }} }} suppressed overlapping resume {COVERAGE} }} }}",
            declared.join(", "),
            query.name,
            arguments.join(", ")
        );
        Ok(Self { text, variables, query: query.name.clone() })
    }

    /// Until all was looked at, or it comes no further. `None`: it was stopped.
    pub async fn count(&self, asker: &Asker, watch: &mut Watch<'_>) -> Result<Option<Counted>, Stop> {
        let (mut resume, mut stuck, mut before) = (Value::Null, 0, 0);
        let mut tally = Tally::default();
        watch.begin(None, &tally);
        loop {
            let mut variables = self.variables.clone();
            variables.insert("resume".to_owned(), resume);
            let Some(mut answer) = asker.ask(&self.text, &variables, &self.query, watch).await? else {
                return Ok(None);
            };
            let told = answer.data.get_mut(&self.query).map(Value::take).unwrap_or_default();
            // Each answer tells of all that was looked at so far; calls are those of the request.
            let sofar =
                Tally { calls: tally.calls, stages: tally.stages, requests: tally.requests, ..Tally::default() };
            tally = sofar;
            tally.coverage(told.get("coverage").unwrap_or(&Value::Null));
            tally.request(&answer.request);
            tally.elapsed_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
            watch.look(&tally);
            resume = told.get("resume").cloned().unwrap_or_default();
            let done = resume.is_null();
            stuck = if tally.evaluated > before { 0 } else { stuck + 1 };
            if done || stuck > STUCK_MAX {
                return Ok(Some(Counted { told, tally, done }));
            }
            before = tally.evaluated;
            if stuck > 0 {
                watch.say(&format!("came no further, asking again (try {stuck} of {STUCK_MAX})"));
                let wait = std::time::Duration::from_secs(1 << stuck.min(5));
                if watch.over(tokio::time::sleep(wait)).await.is_none() {
                    return Ok(None);
                }
            }
        }
    }
}

impl Counted {
    pub fn as_json(&self) -> Value {
        let mut of = self.told.clone();
        if let Value::Object(of) = &mut of {
            of.remove("resume");
            of.insert("coverage".to_owned(), self.tally.as_json());
            of.insert("requests".to_owned(), json!(self.tally.requests));
        }
        of
    }

    /// One line a group: its key, and each measure with its value, or with the bounds it lies between.
    pub fn table(&self) -> String {
        let groups = list(&self.told, "groups");
        let Some(first) = groups.first() else { return "no group can be told\n".to_owned() };
        let keys = list(first, "key").iter().map(|key| text_of(key, "field"));
        let measures = groups.iter().map(|group| list(group, "values")).max_by_key(|values| values.len());
        let measures = measures.unwrap_or_default().iter().map(|value| text_of(value, "measure"));
        let header: Vec<String> = keys.chain(measures).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
        let mut out = text::table(&header, &rows);
        let hidden = self.told.get("suppressed").and_then(Value::as_u64).unwrap_or_default();
        if hidden > 0 {
            out.push_str(&format!("{hidden} groups are too small to be told, or would tell one that is\n"));
        }
        if self.told.get("overlapping") == Some(&Value::Bool(true)) {
            out.push_str("one may count in several groups\n");
        }
        out
    }
}

fn row(group: &Value) -> Vec<String> {
    let key = |key: &Value| match (key.get("value").and_then(Value::as_str), key.get("zh").and_then(Value::as_str)) {
        (Some(value), Some(zh)) if value != zh => format!("{value} {zh}"),
        (Some(value), _) => value.to_owned(),
        (None, _) => format!("({})", text_of(key, "state")),
    };
    let mut cells: Vec<String> = list(group, "key").iter().map(key).collect();
    if group.get("suppressed") == Some(&Value::Bool(true)) {
        cells.push("(suppressed)".to_owned());
        return cells;
    }
    cells.extend(list(group, "values").iter().map(measured));
    cells
}

/// The value, or `from … to …`; `?` where nothing bounds it.
fn measured(of: &Value) -> String {
    let bound = |name: &str| of.get(name).and_then(Value::as_str);
    match (bound("value"), bound("lower"), bound("upper")) {
        (Some(value), ..) => value.to_owned(),
        (None, None, None) => "(not told)".to_owned(),
        (None, lower, upper) => format!("{} … {}", lower.unwrap_or("?"), upper.unwrap_or("?")),
    }
}

fn list<'v>(of: &'v Value, name: &str) -> &'v [Value] {
    of.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text_of(of: &Value, name: &str) -> String {
    of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_exactly_is_told_by_its_bounds() {
        let value = |value: Value| measured(&value);
        assert_eq!(value(json!({"value": "3", "lower": "3", "upper": "3"})), "3");
        assert_eq!(value(json!({"value": null, "lower": "3", "upper": "9"})), "3 … 9");
        assert_eq!(value(json!({"value": null, "lower": "3", "upper": null})), "3 … ?");
        assert_eq!(value(json!({"value": null, "lower": null, "upper": null})), "(not told)");
    }

    #[test]
    fn a_group_that_is_too_small_shows_its_key_alone() {
        let group = json!({"key": [{"field": "crop", "value": "RICE", "zh": "水稻", "state": "ANSWERED"}],
            "suppressed": true, "values": [{"measure": "count", "value": "2"}]});
        assert_eq!(row(&group), ["RICE 水稻", "(suppressed)"]);
    }
}
