//! A question for what one operation is bound to, and whether the answer is what the mock gave.

use serde_json::{Map, Value, json};

use super::document::plain;

/// What a draft says of one operation, and the types beside it.
pub struct Draft {
    binding: Value,
    contract: String,
}

/// A root field of the contract: its arguments with their types, and its type.
struct Root {
    name: String,
    arguments: Vec<(String, String)>,
    kind: String,
}

/// A question, where its answer is, and what of the binding reads it.
pub struct Question {
    pub text: String,
    /// Whether it answers the records of a list.
    list: bool,
    fields: Map<String, Value>,
    request: Value,
    keys: usize,
}

#[derive(Debug, Default)]
pub struct Compared {
    /// Values that are there and the same on both sides.
    pub same: usize,
    pub other: Vec<String>,
}

impl Draft {
    pub fn of(told: &Value) -> Self {
        let files = told["files"].as_object().unwrap();
        let text = |ending: &str| files.iter().find(|(name, _)| name.ends_with(ending)).unwrap().1.as_str().unwrap();
        Self { binding: serde_saphyr::from_str(text(".yaml")).unwrap(), contract: text(".graphql").to_owned() }
    }

    pub fn entities(&self) -> Vec<String> {
        let lines = self.contract.lines().filter(|line| line.contains(" @key("));
        lines.filter_map(|line| Some(line.strip_prefix("type ")?.split(' ').next()?.to_owned())).collect()
    }

    fn roots(&self) -> Vec<Root> {
        let inside = self.contract.split("type Query {").nth(1).and_then(|rest| rest.split("\n}").next());
        let lines = inside.unwrap_or_default().lines().map(str::trim);
        let root = |line: &str| {
            let (before, kind) = line.rsplit_once(": ")?;
            let (name, arguments) = before.split_once('(').unwrap_or((before, ""));
            let arguments =
                arguments.trim_end_matches(')').split(", ").filter_map(|argument| argument.split_once(": "));
            let arguments = arguments
                .map(|(name, kind)| (name.to_owned(), kind.split(' ').next().unwrap_or_default().to_owned()))
                .collect();
            Some(Root { name: name.to_owned(), arguments, kind: kind.to_owned() })
        };
        lines.filter(|line| !line.starts_with(['#', '"'])).filter_map(root).collect()
    }

    /// `value` gives what an argument or a parameter may be.
    pub fn question(&self, place: &str, value: &dyn Fn(&str) -> Value) -> Option<Question> {
        match place.split_once('.')? {
            ("endpoints", name) => {
                let (name, how) = name.rsplit_once('.')?;
                self.keyed(&self.binding["endpoints"][name], how == "many", value)
            }
            (_, name) => self.query(name, value),
        }
    }

    fn keyed(&self, endpoint: &Value, many: bool, value: &dyn Fn(&str) -> Value) -> Option<Question> {
        let entity = endpoint["entity"].as_str()?;
        let mut roots = self.roots().into_iter();
        let Root { name, arguments, .. } = roots.find(|root| root.kind == entity && root.arguments.len() == 1)?;
        let key = arguments.first()?.0.clone();
        let fields = endpoint["fields"].as_object()?.clone();
        let selection = selection(&fields, "");
        let request = endpoint[if many { "many" } else { "one" }].clone();
        let first = text(&value(&key));
        let asked = format!("a0: {name}({key}: {}) {{ {selection} }}", json!(first));
        let other = if first.chars().all(|c| c.is_ascii_digit()) { format!("{first}1") } else { format!("{first}x") };
        let keys = if many { 2 } else { 1 };
        let more = if many { format!(" a1: {name}({key}: {}) {{ {selection} }}", json!(other)) } else { String::new() };
        Some(Question { text: format!("{{ {asked}{more} }}"), list: false, fields, request, keys })
    }

    fn query(&self, name: &str, value: &dyn Fn(&str) -> Value) -> Option<Question> {
        let query = &self.binding["queries"][name];
        let Root { arguments, kind, .. } = self.roots().into_iter().find(|root| root.name == name)?;
        let mut given = Vec::new();
        for (argument, kind) in &arguments {
            let value = value(argument);
            let value = if kind.starts_with("Int") {
                value.as_i64().unwrap_or(7).to_string()
            } else {
                json!(text(&value)).to_string()
            };
            given.push(format!("{argument}: {value}"));
        }
        let mut fields = query["fields"].as_object().cloned().unwrap_or_default();
        let entity = kind.trim_matches(['[', ']', '!']);
        let key = self.contract.split(&format!("type {entity} @key(fields: \"")).nth(1)?.split('"').next()?.to_owned();
        if let Some(at) = query["key_at"].as_str() {
            fields.insert(key, json!(at));
        }
        let arguments = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
        let text = format!("{{ a0: {name}{arguments} {{ {} }} }}", selection(&fields, ""));
        Some(Question { text, list: kind.starts_with('['), fields, request: query["ask"].clone(), keys: 1 })
    }

    /// What the gateway answered, held against what the mock did.
    pub fn compare(&self, question: &Question, mocked: &Value, answer: &Value) -> Compared {
        let mut compared = Compared::default();
        if let Some(errors) = answer.get("errors") {
            let first = &errors[0];
            compared
                .other
                .push(format!("error {} {} {}", first["message"], first["extensions"]["code"], first["path"]));
        }
        let data = self.binding["envelope"]["data"].as_str().unwrap_or_default();
        let Some(data) = mocked.pointer(data) else {
            compared.other.push("the answer has no data".to_owned());
            return compared;
        };
        let listed = question.request["items"].as_str();
        let many = question.keys > 1;
        let records: Vec<&Value> = match data.pointer(listed.unwrap_or_default()) {
            Some(Value::Array(items)) if listed.is_some() || many => {
                items.iter().filter(|item| !item.is_null()).collect()
            }
            Some(record) => vec![record],
            None => Vec::new(),
        };
        if question.list {
            let Some(got) = answer["data"]["a0"].as_array() else {
                compared.other.push("no list is answered".to_owned());
                return compared;
            };
            if got.len() != records.len() {
                compared.other.push(format!("{} records of {}", got.len(), records.len()));
            }
            for (record, got) in records.iter().zip(got) {
                objects(&question.fields, &[record], got, "", &mut compared);
            }
        } else if many {
            for (at, record) in records.iter().enumerate() {
                objects(&question.fields, &[record], &answer["data"][format!("a{at}")], "", &mut compared);
            }
        } else {
            objects(&question.fields, &records, &answer["data"]["a0"], "", &mut compared);
        }
        compared
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The fields of a binding as a selection: dotted paths are objects.
fn selection(fields: &Map<String, Value>, under: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (path, mapping) in fields {
        let Some(rest) = path.strip_prefix(under) else { continue };
        match rest.split_once('.') {
            Some((head, _)) if !seen.contains(&head) => {
                seen.push(head);
                parts.push(format!("{head} {{ {} }}", selection(fields, &format!("{under}{head}."))));
            }
            Some(_) => {}
            None => match mapping["fields"].as_object() {
                Some(inside) => parts.push(format!("{rest} {{ {} }}", selection(inside, ""))),
                None => parts.push(rest.to_owned()),
            },
        }
    }
    parts.join(" ")
}

/// `records` are those of one key: what is not a list is of the first.
fn objects(fields: &Map<String, Value>, records: &[&Value], got: &Value, at: &str, compared: &mut Compared) {
    let none = Value::Null;
    for (path, mapping) in fields {
        let found = path.split('.').fold(got, |value, name| value.get(name).unwrap_or(&none));
        let at = format!("{at}{path}");
        let first = records.first().copied().unwrap_or(&none);
        let pointer = mapping
            .as_str()
            .or_else(|| mapping["at"].as_str())
            .or_else(|| mapping["list"].as_str())
            .unwrap_or_default();
        let list = mapping.get("list").is_some();
        let elements: Vec<&Value> = if list && pointer == "records" {
            records.to_vec()
        } else {
            first.pointer(pointer).and_then(Value::as_array).into_iter().flatten().collect()
        };
        // A blank text is null.
        let blank = |element: &Value| element.is_null() || element.as_str().is_some_and(|text| text.trim().is_empty());
        let elements: Vec<&Value> = elements.into_iter().filter(|element| !blank(element)).collect();
        if !list {
            leaf(mapping, first.pointer(pointer).unwrap_or(&none), found, &at, compared);
            continue;
        }
        let empty = Vec::new();
        let got = found.as_array().unwrap_or(&empty);
        if got.len() != elements.len() {
            compared.other.push(format!("{at}: {} elements of {}", got.len(), elements.len()));
        }
        for (element, got) in elements.iter().zip(got) {
            match mapping["fields"].as_object() {
                Some(inside) => objects(inside, &[element], got, &format!("{at}."), compared),
                None => leaf(
                    mapping,
                    element.pointer(mapping["at"].as_str().unwrap_or_default()).unwrap_or(&none),
                    got,
                    &at,
                    compared,
                ),
            }
        }
    }
}

fn leaf(mapping: &Value, expected: &Value, got: &Value, at: &str, compared: &mut Compared) {
    let mut expected = if expected.is_null() { String::new() } else { text(expected).trim().to_owned() };
    if let Some(map) = mapping["map"].as_object() {
        expected = map
            .get(&expected)
            .map_or(if expected.is_empty() { String::new() } else { "UNRECOGNIZED".to_owned() }, text);
    }
    let got = if got.is_null() { String::new() } else { text(got).trim().to_owned() };
    match (expected.is_empty(), same(&expected, &got)) {
        (true, true) => {}
        (false, true) => compared.same += 1,
        (_, false) => compared.other.push(format!("{at}: {got:?} where the source has {expected:?}")),
    }
}

fn same(expected: &str, got: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    // The gateway answers times to the second.
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    expected == got
        || number(expected).zip(number(got)).is_some_and(|(one, other)| one == other)
        || time(expected).zip(time(got)).is_some_and(|(one, other)| one == other)
}

/// The name that a parameter, or the argument that stands for it, is found by.
pub fn of_parameter<'a>(names: &'a [String], argument: &str) -> Option<&'a String> {
    let argument = plain(argument);
    let exact = names.iter().find(|name| plain(name) == argument);
    exact.or_else(|| names.iter().find(|name| argument.starts_with(&plain(name)) || plain(name).ends_with(&argument)))
}
