//! What the gateway's contract has for scans: asked of the gateway, as its role sees it.

use serde_json::{Map, Value, json};

use super::ask::Asker;
use super::bar::Watch;
use crate::cli::Stop;

const TYPE: &str = "kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// A query and its arguments, each with its type as a document writes it.
pub struct Query {
    pub name: String,
    pub arguments: Vec<(String, String)>,
    /// Type of what it gives.
    gives: String,
}

/// The queries that a role sees.
pub struct Queries(Vec<Query>);

impl Query {
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|(known, _)| known == name).map(|(_, ty)| ty.as_str())
    }

    /// Those without which it is not asked, but for what is measured.
    fn required(&self) -> Vec<&str> {
        let needed = |(name, ty): &&(String, String)| ty.ends_with('!') && name != "measures";
        self.arguments.iter().filter(needed).map(|(name, _)| name.as_str()).collect()
    }

    /// The argument that bounds it.
    pub fn division(&self) -> Result<&str, Stop> {
        match self.required().as_slice() {
            [only] => Ok(only),
            several => Err(Stop::refused(format!(
                "error: the query `{}` needs {}, and --division is one\n  = hint: --document FILE, with an operation \
                 that has them as variables, and --variables JSON",
                self.name,
                if several.is_empty() { "no argument".to_owned() } else { several.join(", ") }
            ))),
        }
    }
}

impl Queries {
    /// `None`: it was stopped.
    pub async fn of(asker: &Asker, watch: &mut Watch<'_>) -> Result<Option<Self>, Stop> {
        let query = format!(
            "{{ __schema {{ queryType {{ fields {{ name args {{ name type {{ {TYPE} }} }} type {{ {TYPE} }} }} }} }} }}"
        );
        let Some(answer) = asker.ask(&query, &Map::new(), "__schema", watch).await.map_err(hidden)? else {
            return Ok(None);
        };
        let fields = answer.data.pointer("/__schema/queryType/fields").and_then(Value::as_array);
        let read = |field: &Value| {
            let arguments = field.get("args")?.as_array()?.iter();
            let arguments = arguments.map(|one| Some((text(one, "name")?, written(one.get("type")?)?)));
            let gives = innermost(field.get("type")?)?;
            Some(Query { name: text(field, "name")?, arguments: arguments.collect::<Option<_>>()?, gives })
        };
        Ok(Some(Self(fields.into_iter().flatten().filter_map(read).collect())))
    }

    /// The one of this name; without one, the contract's first.
    pub fn scan(&self, name: Option<&str>) -> Result<&Query, Stop> {
        self.with("where", "verdict", name, "scans")
    }

    /// The statistics of this name, or of the scan of this name; without one, the contract's first.
    pub fn stats(&self, name: Option<&str>) -> Result<&Query, Stop> {
        let filter = |query: &Query| query.argument("where").map(str::to_owned);
        let scanned = name.and_then(|name| self.0.iter().find(|query| query.name == name));
        let beside = scanned.filter(|query| query.argument("measures").is_none()).and_then(filter);
        let found = beside.and_then(|wanted| {
            self.0.iter().find(|query| query.argument("measures").is_some() && filter(query).as_ref() == Some(&wanted))
        });
        match found {
            Some(found) => Ok(found),
            None => self.with("where", "measures", name, "statistics"),
        }
    }

    fn with(&self, one: &str, other: &str, name: Option<&str>, what: &str) -> Result<&Query, Stop> {
        let fits = |query: &&Query| query.argument(one).is_some() && query.argument(other).is_some();
        let all: Vec<&Query> = self.0.iter().filter(fits).collect();
        let found = match name {
            Some(name) => all.iter().find(|query| query.name == name),
            None => all.first(),
        };
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|query| query.name.as_str()).collect();
            let known = match names.as_slice() {
                [] => format!("there are no {what} for your role here"),
                names => format!("{what} are: {}", names.join(", ")),
            };
            let asked =
                name.map_or("no query that can be asked so".to_owned(), |name| format!("no such query `{name}`"));
            Stop::refused(format!(
                "error: {asked}; {known}\n  = hint: roles scan where roles.yaml says `scans`, from their networks \
                 (`huxiang access --role ROLE`)"
            ))
        })
    }

    /// What is shown of each where nothing is said: fields of one value that every one has.
    pub async fn always(query: &Query, asker: &Asker, watch: &mut Watch<'_>) -> Result<Option<String>, Stop> {
        let fields = async |name: &str, watch: &mut Watch<'_>| {
            let document = format!(
                "query($name: String!) {{ __type(name: $name) {{ fields {{ name args {{ name }} type {{ {TYPE} }} }} }} }}"
            );
            let variables = Map::from_iter([("name".to_owned(), json!(name))]);
            let answer = asker.ask(&document, &variables, "__type", watch).await.map_err(hidden)?;
            let read = |answer: super::ask::Answer| match answer.data.pointer("/__type/fields") {
                Some(Value::Array(fields)) => fields.clone(),
                _ => Vec::new(),
            };
            Ok::<_, Stop>(answer.map(read))
        };
        let Some(connection) = fields(&query.gives, watch).await? else { return Ok(None) };
        let nodes = connection.iter().find(|field| text(field, "name").as_deref() == Some("nodes"));
        let Some(node) = nodes.and_then(|nodes| innermost(nodes.get("type")?)) else {
            return Err(Stop::refused(
                "error: what the query gives has no `nodes`\n  = hint: say what is shown: --show",
            ));
        };
        let Some(of_node) = fields(&node, watch).await? else { return Ok(None) };
        let always = of_node.iter().filter(|field| {
            let ty = field.get("type").unwrap_or(&Value::Null);
            let kind = ty.pointer("/ofType/kind").and_then(Value::as_str);
            ty.get("kind") == Some(&json!("NON_NULL"))
                && kind == Some("SCALAR")
                && field.get("args") == Some(&json!([]))
        });
        let names: Vec<String> = always.filter_map(|field| text(field, "name")).collect();
        match names.is_empty() {
            true => Err(Stop::refused(
                "error: it is not said what is shown of each\n  = hint: --show 'FIELD OTHER { FIELD }'",
            )),
            false => Ok(Some(names.join(" "))),
        }
    }
}

/// Where the contract cannot be asked for, the caller's own document says its types.
fn hidden(stop: Stop) -> Stop {
    if !stop.message.contains("introspection") {
        return stop;
    }
    let hint = "--document FILE asks without it: its operation declares its variables";
    Stop { message: format!("{}\n  = hint: {hint}", stop.message.trim_end()), ..stop }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

/// A type as documents write it: `[ID!]`.
fn written(ty: &Value) -> Option<String> {
    let of = || written(ty.get("ofType")?);
    match ty.get("kind")?.as_str()? {
        "NON_NULL" => Some(format!("{}!", of()?)),
        "LIST" => Some(format!("[{}]", of()?)),
        _ => text(ty, "name"),
    }
}

fn innermost(ty: &Value) -> Option<String> {
    match ty.get("kind")?.as_str()? {
        "NON_NULL" | "LIST" => innermost(ty.get("ofType")?),
        _ => text(ty, "name"),
    }
}
