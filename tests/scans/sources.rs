//! Who fills what, read from the bindings: whose silence leaves which field unknown.

use std::collections::BTreeSet;
use std::path::Path;

use departments::expected;
use serde_json::Value;

pub type Sources = BTreeSet<String>;

/// One endpoint of a binding.
struct Endpoint {
    source: String,
    entity: String,
    /// The fields that are read to ask it.
    asked_with: Vec<String>,
    /// A date that must not lie before today, or it is not asked (`requires`).
    not_before_today: Option<String>,
    fields: BTreeSet<String>,
    /// Lists with an element for each record: without records there is none.
    lists_of_records: BTreeSet<String>,
    /// What it holds too, beside the one that answers.
    also: BTreeSet<String>,
}

/// All bindings.
pub struct Bindings {
    endpoints: Vec<Endpoint>,
    /// List, field of its elements and patterns: elements that departments withhold from everybody who is not concerned.
    withheld: Vec<(String, String, Vec<String>)>,
}

/// Whose listing scans begin with.
pub const LISTED_BY: &str = "agriculture";
/// Departments with a record of every household, whatever it holds.
const KNOWS_EVERYBODY: [&str; 1] = ["projects"];
/// The members of a household, whose fields other departments fill one by one.
const MEMBERS: &str = "identity.members.";

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Bindings {
    pub fn read(root: &Path) -> Self {
        let (mut endpoints, mut withheld) = (Vec::new(), Vec::new());
        for file in std::fs::read_dir(root.join("resolvers")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let binding = yaml(&path);
            for endpoint in binding["endpoints"].as_object().unwrap().values() {
                endpoints.push(read_endpoint(binding["source"].as_str().unwrap(), endpoint));
            }
            for entry in binding["withhold"].as_array().into_iter().flatten() {
                for (at, patterns) in entry["codes"].as_object().unwrap() {
                    let (list, field) = at.rsplit_once('.').unwrap();
                    let patterns = patterns.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned());
                    withheld.push((list.to_owned(), field.to_owned(), patterns.collect()));
                }
            }
        }
        Self { endpoints, withheld }
    }

    /// The sources that fill anything of households and their members.
    pub fn sources(&self) -> Sources {
        self.endpoints.iter().filter(|endpoint| !endpoint.fields.is_empty()).map(|one| one.source.clone()).collect()
    }

    /// Whether an endpoint fills the path itself; else it is a section, or filled by rules.
    pub fn fills(&self, path: &str) -> bool {
        self.provider(path).is_some()
    }

    /// The source that answers for a path.
    pub fn source_of(&self, path: &str) -> Option<&str> {
        self.provider(path).map(|endpoint| endpoint.source.as_str())
    }

    /// The silent sources for whose silence a path is not known: its own, and those of what its own is asked with.
    pub fn blamed(&self, path: &str, silent: &Sources) -> Sources {
        self.provider(path).map_or_else(Sources::new, |endpoint| self.blamed_of(endpoint, silent))
    }

    /// The silent sources for whose silence it is not heard whether a second holder of a path agrees.
    pub fn second_silent(&self, path: &str, silent: &Sources) -> Sources {
        let seconds = self.endpoints.iter().filter(|endpoint| endpoint.also.contains(path));
        seconds.flat_map(|endpoint| self.blamed_of(endpoint, silent)).collect()
    }

    fn blamed_of(&self, endpoint: &Endpoint, silent: &Sources) -> Sources {
        let mut blamed: Sources = silent.iter().filter(|source| **source == endpoint.source).cloned().collect();
        for input in &endpoint.asked_with {
            // One that is asked by its own inputs would have no beginning.
            if self.provider(input).is_some_and(|provider| !std::ptr::eq(provider, endpoint)) {
                blamed.extend(self.blamed(input, silent));
            }
        }
        blamed
    }

    /// Whether an empty list is a department's answer, and not that it has no record: it is, where the record that holds the
    /// list holds anything else.
    pub fn answers_none(&self, path: &str, portrait: &Value) -> bool {
        let Some(endpoint) = self.provider(path) else { return false };
        let tells = |path: &String| {
            let value = expected::at(portrait, path);
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        };
        let knows = KNOWS_EVERYBODY.contains(&endpoint.source.as_str()) || endpoint.fields.iter().any(tells);
        knows && !endpoint.lists_of_records.contains(path)
    }

    /// The date that must not be over for the source of a path to be asked.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.provider(path)?.not_before_today.as_deref()
    }

    fn provider(&self, path: &str) -> Option<&Endpoint> {
        let of_entity = |entity: &str, path: &str| {
            self.endpoints.iter().find(|endpoint| endpoint.entity == entity && endpoint.fields.contains(path))
        };
        of_entity("Household", path).or_else(|| of_entity("Person", path.strip_prefix(MEMBERS)?))
    }

    /// Takes out of a portrait what departments withhold by its code.
    pub fn withhold(&self, portrait: &mut Value) {
        for (list, field, patterns) in &self.withheld {
            let pointer = format!("/{}", list.replace('.', "/"));
            let Some(Value::Array(elements)) = portrait.pointer_mut(&pointer) else { continue };
            let covers = |code: &str| {
                patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(start) => code.starts_with(start),
                    None => code == pattern,
                })
            };
            elements.retain(|element| !element[field].as_str().is_some_and(covers));
        }
    }
}

fn read_endpoint(source: &str, endpoint: &Value) -> Endpoint {
    let mut fields = BTreeSet::new();
    flatten(&endpoint["fields"], "", &mut fields);
    let of_records = |(path, read): (&String, &Value)| (read["list"] == "records").then(|| path.clone());
    let lists_of_records = endpoint["fields"].as_object().into_iter().flatten().filter_map(of_records).collect();
    let mut also = BTreeSet::new();
    flatten(&endpoint["also"], "", &mut also);
    let mut asked_with: Vec<String> = endpoint["key"].as_str().map(str::to_owned).into_iter().collect();
    let entity = endpoint["entity"].as_str().unwrap();
    for input in endpoint["with"].as_object().into_iter().flat_map(|with| with.values()) {
        let name = input.as_str().unwrap();
        asked_with.push(if entity == "Person" { format!("{MEMBERS}{name}") } else { name.to_owned() });
    }
    let not_before_today = endpoint["requires"].as_str().map(|requires| {
        let path = requires.strip_prefix("household.").and_then(|rest| rest.strip_suffix(" >= today"));
        path.unwrap_or_else(|| panic!("the reference knows of days that are not over, and not of `{requires}`"))
            .to_owned()
    });
    asked_with.extend(not_before_today.clone());
    Endpoint {
        source: source.to_owned(),
        entity: entity.to_owned(),
        asked_with,
        not_before_today,
        fields,
        lists_of_records,
        also,
    }
}

fn flatten(fields: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    for (name, read) in fields.as_object().into_iter().flatten() {
        // A constant tells nothing of anybody.
        if read.get("const").is_none() {
            into.insert(format!("{prefix}{name}"));
        }
        flatten(&read["fields"], &format!("{prefix}{name}."), into);
    }
}
