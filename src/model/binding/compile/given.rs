//! Whether what requests are asked with is given: inputs of endpoints, arguments of root queries.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{self, Place, SourceText};
use crate::model::binding::format::{Field, Named};
use crate::model::binding::mapping::{Entry, Over, Read};
use crate::model::binding::request::CallTemplate;
use crate::model::contract::SlotId;
use crate::model::yaml;

impl Compiler<'_> {
    /// Everything that the templates name, `with` gives; and it is given to single calls only.
    pub(super) fn inputs_given(
        &mut self,
        name: &str,
        templates: [&Option<CallTemplate>; 2],
        with: &[(Arc<str>, SlotId)],
        place: Place,
        text: &Arc<SourceText>,
    ) {
        let all = templates
            .into_iter()
            .flatten()
            .flat_map(|template| [Some(template), template.fallback().map(AsRef::as_ref)]);
        let needed: BTreeSet<&Arc<str>> = all.flatten().flat_map(CallTemplate::needs_inputs).collect();
        for input in needed.into_iter().filter(|input| !with.iter().any(|(name, _)| *name == **input)) {
            let message = format!("the endpoint `{name}` uses `{{{input}}}`, which nothing gives");
            let known = ["key", "keys", "today", "year"].into_iter().chain(with.iter().map(|(name, _)| &**name));
            let hint = match fault::nearest(input, known) {
                Some(meant) => format!("did you mean `{{{meant}}}`? Other inputs stand under `with`"),
                None => format!("add `with: {{{input}: a.field}}`"),
            };
            self.faults.add(text, yaml::word(text, place, &format!("{{{input}")), message, hint);
        }
        if let ([None, Some(_)], false) = (templates, with.is_empty()) {
            let message = "`with` gives inputs of single calls, and this endpoint has only `many`";
            self.faults.add(text, place, message, "inputs differ from key to key: use `one`");
        }
    }

    /// What another source answers for and this one holds too is compared: single values, and lists.
    pub(super) fn compared(&mut self, entries: &[Entry], also: &Named<Field>, place: Place, text: &Arc<SourceText>) {
        for entry in entries {
            let Some((why, hint)) = not_compared(&entry.read) else { continue };
            let path = &self.against.contract.slot(entry.slot).path;
            let place = also.get(&**path).map_or(place, |field| yaml::key(text, path, field));
            self.faults.add(text, place, format!("`{path}` cannot be compared: {why}"), hint);
        }
    }

    /// Everything that a root query is asked with is one of its arguments.
    pub(super) fn arguments_given(&mut self, name: &str, ask: &CallTemplate, place: Place, text: &Arc<SourceText>) {
        let query = self.against.contract.full.get_object(self.against.contract.query_type());
        let field = query.and_then(|query| query.fields.get(name));
        let known: Vec<String> = field
            .into_iter()
            .flat_map(|field| &field.arguments)
            .map(|argument| format!("arg.{}", argument.name))
            .collect();
        for input in ask.needs_inputs().iter().filter(|input| !known.iter().any(|known| **known == ***input)) {
            let names = known.iter().map(String::as_str).chain(["today", "year"]);
            let hint = match fault::nearest(input, names) {
                Some(meant) => format!("did you mean `{{{meant}}}`?"),
                None if known.is_empty() => "the query has no arguments".to_owned(),
                None => format!("the query has `{{{}}}`", known.join("}`, `{")),
            };
            let message = format!("the query `{name}` uses `{{{input}}}`, which nothing gives");
            self.faults.add(text, yaml::word(text, place, &format!("{{{input}")), message, hint);
        }
    }
}

/// Why what is read so cannot stand under `also`, and what to do.
fn not_compared(read: &Read) -> Option<(&'static str, &'static str)> {
    Some(match read {
        Read::Scalar { .. } => return None,
        Read::Object { .. } => ("it is an object", "name the values inside it by their paths, `a.b: /pointer`"),
        Read::Constant(_) => ("a fixed value is nothing that the source says", "read it with `at`, or leave it out"),
        Read::Scalars { over: Over::Instances, .. } | Read::Objects { over: Over::Instances, .. } => (
            "an element for each instance is made here, not held by the source",
            "name a list in its records, or leave it out",
        ),
        Read::Objects { types: Some(_), .. } => {
            ("its elements are of an interface or a union", "leave it out; lists of one object type are compared")
        }
        Read::Objects { inside, .. } if inside.of_entities => ENTITIES,
        Read::Reference { .. } | Read::References { .. } => ENTITIES,
        Read::Instance(_) | Read::Outcome(_) => {
            ("it is not read from the record", "read it with `at`, or leave it out")
        }
        Read::Scalars { .. } | Read::Objects { .. } => return None,
    })
}

const ENTITIES: (&str, &str) = (
    "entities are joined by their keys, not compared",
    "leave it out; their own fields are compared where an endpoint of theirs lists them under `also`",
);
