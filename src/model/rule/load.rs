//! Reads `config/rules/*.yaml` and checks them against the contract.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::derived::{CheckRule, Checklist, Derived, DerivedFile, DerivedValue, Ladder, LadderRule};
use super::place::in_text;
use super::relations::{OnBehalf, Relation, RelationFile};
use super::scans::Reading;
use super::thresholds::{self, ThresholdFile, Thresholds};
use super::{ClaimType, Expression, FieldKind, FieldType, FieldTypes, Scope, ValueExpression, variable_name};
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::yaml::Spanned;
use crate::model::yaml::{self, place};

/// All rules, in the order of their names.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    pub relations: Vec<Relation>,
    pub derived: Vec<Derived>,
    /// Something of the files could not be used: what is not here may yet be declared.
    pub partial: bool,
}

/// Relations and derived fields.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// How a caller can stand to an entity, by name.
    #[serde(default)]
    relations: BTreeMap<String, Spanned<RelationFile>>,
    /// Fields that rules fill, by dotted path.
    #[serde(default)]
    derived: BTreeMap<String, Spanned<DerivedFile>>,
    /// Numbers that derived fields compare with, by name: `threshold('name')`, in whichever file.
    #[serde(default)]
    thresholds: BTreeMap<String, Spanned<ThresholdFile>>,
}

struct Loading<'a> {
    file: &'a Arc<SourceText>,
    fields: &'a dyn FieldTypes,
    claims: &'a BTreeMap<String, ClaimType>,
    thresholds: &'a Thresholds,
    faults: &'a mut Faults,
}

/// Whatever is faulty is reported and left out. A name that stands in two files is a fault.
pub fn load(
    files: &[Arc<SourceText>],
    fields: &dyn FieldTypes,
    claims: &BTreeMap<String, ClaimType>,
    faults: &mut Faults,
) -> Rules {
    let before = faults.len();
    let mut relations = BTreeMap::new();
    let mut derived = BTreeMap::new();
    let read: Vec<_> = files.iter().filter_map(|file| Some((file, yaml::read::<RulesFile>(file, faults)?))).collect();
    let mut known = Thresholds::new();
    for (file, parsed) in &read {
        for (name, written) in &parsed.thresholds {
            if known.contains_key(name) {
                faults.add(file, place(written), format!("the threshold `{name}` is there already"), "rename one");
            } else if let Some(threshold) = thresholds::read(name, written, file, faults) {
                known.insert(name.clone(), Arc::new(threshold));
            }
        }
    }
    for (file, parsed) in read {
        let mut loading = Loading { file, fields, claims, thresholds: &known, faults };
        for (name, written) in parsed.relations {
            match relations.entry(name) {
                Entry::Occupied(there) => {
                    let message = format!("the relation `{}` is there already", there.key());
                    loading.fault(place(&written), message, "rename one");
                }
                Entry::Vacant(free) => {
                    if let Some(relation) = loading.relation(free.key(), &written.value) {
                        free.insert(relation);
                    }
                }
            }
        }
        for (path, written) in parsed.derived {
            match derived.entry(path) {
                Entry::Occupied(there) => {
                    loading.fault(place(&written), format!("`{}` is derived already", there.key()), "delete one");
                }
                Entry::Vacant(free) => {
                    if let Some(rule) = loading.derived(free.key(), &written) {
                        free.insert(rule);
                    }
                }
            }
        }
    }
    Rules {
        relations: relations.into_values().collect(),
        derived: derived.into_values().collect(),
        partial: faults.len() > before,
    }
}

impl Loading<'_> {
    fn fault(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.file, at, message, hint);
    }

    fn relation(&mut self, name: &str, written: &RelationFile) -> Option<Relation> {
        self.entity(&written.on)?;
        let when = self.expression(&written.when, &written.on.value)?;
        self.in_one_entity(&written.when, &written.on.value, &when)?;
        let on_behalf_of = match &written.on_behalf_of {
            Some(path) => Some(self.on_behalf(path, &written.on.value)?),
            None => None,
        };
        let scans = written.scans.as_ref().and_then(|marked| {
            let Self { file, fields, claims, faults, .. } = self;
            Reading { file, fields: *fields, claims, faults }.scans(name, written, marked, &when)
        });
        let at = (Arc::clone(self.file), place(&written.when));
        Some(Relation { name: name.to_owned(), on: written.on.value.clone(), when, on_behalf_of, scans, at })
    }

    /// The gate knows an entity by itself: what lies in another one is not read for a relation.
    fn in_one_entity(&mut self, when: &Spanned<String>, on: &str, compiled: &Expression) -> Option<()> {
        for path in compiled.inputs() {
            let mut type_name = on.to_owned();
            for name in path {
                let Some(field) = self.fields.field(&type_name, name) else { break };
                if self.fields.is_entity(&field.name) {
                    let message = format!("`{}` lies in another entity, `{}`", path.join("."), field.name);
                    self.fault(place(when), message, "a relation reads the fields of the entity it is `on`");
                    return None;
                }
                type_name = field.name;
            }
        }
        Some(())
    }

    /// A list of objects, and a field of theirs that holds keys of an entity.
    fn on_behalf(&mut self, written: &Spanned<String>, on: &str) -> Option<OnBehalf> {
        let mut path: Vec<String> = written.value.split('.').map(str::to_owned).collect();
        let by = path.pop().unwrap_or_default();
        let (mut type_name, mut list) = (on.to_owned(), false);
        for name in &path {
            match self.fields.field(&type_name, name) {
                Some(field) if field.kind == FieldKind::Object && !list => (type_name, list) = (field.name, field.list),
                _ => list = false,
            }
        }
        let entity = self.fields.subjects(&type_name, &by).filter(|_| list);
        if entity.is_none() {
            self.fault(
                place(written),
                format!("`{}` is not a field of the elements of a list that holds keys of an entity", written.value),
                "name one that the contract marks with @subjects, as in `mandates.by`",
            );
        }
        entity.map(|entity| OnBehalf { list: path, by, entity })
    }

    fn entity(&mut self, on: &Spanned<String>) -> Option<()> {
        if self.fields.fields(&on.value).is_empty() {
            self.fault(place(on), format!("the contract has no type `{}`", on.value), "name an entity type");
            return None;
        }
        Some(())
    }

    fn expression(&mut self, when: &Spanned<String>, on: &str) -> Option<Expression> {
        self.expression_over(self.claims, when, on)
    }

    /// With these claims of the caller's.
    fn expression_over(
        &mut self,
        claims: &BTreeMap<String, ClaimType>,
        when: &Spanned<String>,
        on: &str,
    ) -> Option<Expression> {
        let variable = variable_name(on);
        let scope = Scope {
            entity_variable: &variable,
            entity_type: on,
            principal: claims,
            fields: self.fields,
            thresholds: Some(self.thresholds),
        };
        match Expression::compile(&when.value, &scope) {
            Ok(expression) => Some(expression),
            Err(fault) => {
                let at = in_text(self.file, when, &fault);
                self.fault(at, fault.message, fault.hint);
                None
            }
        }
    }

    fn derived(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<Derived> {
        let file = &written.value;
        self.entity(&file.on)?;
        if file.declassifies.value.trim().is_empty() {
            self.fault(place(&file.declassifies), "`declassifies` is empty", "say why the result may be shown");
        }
        if !file.checklist.is_empty() {
            return self.checklist(path, written).map(Derived::Checklist);
        }
        let Some(value) = &file.value else { return self.ladder(path, written).map(Derived::Ladder) };
        if !file.ladder.is_empty() || file.otherwise.is_some() || !file.rules.is_empty() {
            let message = format!("`{path}` has both a `value` and a ladder");
            self.fault(place(value), message, "keep one: `value`, or `ladder`, `otherwise` and `rules`");
        }
        let field = self.leaf_at(path, written)?;
        let variable = variable_name(&file.on.value);
        let none = BTreeMap::new();
        // What is derived is the same for whoever may see it: it reads no claims.
        let scope = Scope {
            entity_variable: &variable,
            entity_type: &file.on.value,
            principal: &none,
            fields: self.fields,
            thresholds: Some(self.thresholds),
        };
        match ValueExpression::compile(&value.value, &field, &scope) {
            Ok(compiled) => Some(Derived::Value(DerivedValue {
                path: path.to_owned(),
                on: file.on.value.clone(),
                declassifies: file.declassifies.value.clone(),
                value: compiled,
            })),
            Err(fault) => {
                let at = in_text(self.file, value, &fault);
                self.fault(at, fault.message, fault.hint);
                None
            }
        }
    }

    /// The type of the value that stands at a path.
    fn leaf_at(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<FieldType> {
        let (above, name) = path.rsplit_once('.').map_or((None, path), |(above, name)| (Some(above), name));
        let type_name = match above {
            Some(above) => self.object_at(above, written)?,
            None => written.value.on.value.clone(),
        };
        let found = self.fields.field(&type_name, name);
        let fits = found.as_ref().is_some_and(|field| !field.list && field.kind != FieldKind::Object);
        if !fits {
            let names = self.fields.fields(&type_name);
            let hint = match found {
                Some(_) => "an object is derived by a ladder, a list of objects by a checklist".to_owned(),
                None => did_you_mean(name, names.iter().map(String::as_str), "see the contract in schema/"),
            };
            let message = format!("`{path}`: `{type_name}` has no field `{name}` that is a single value");
            self.fault(place(written), message, hint);
            return None;
        }
        found
    }

    fn ladder(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<Ladder> {
        let file = &written.value;
        let values = self.level_values(path, written)?;
        let before = self.faults.len();
        let Some(otherwise) = &file.otherwise else {
            self.fault(
                place(written),
                "neither a `value`, nor a `checklist`, nor what the level is `otherwise`",
                "add `otherwise`, `value` or `checklist`",
            );
            return None;
        };
        if file.ladder.is_empty() {
            self.fault(place(written), "the ladder has no level", "list the levels, highest first");
        }
        for level in file.ladder.iter().chain([otherwise]) {
            if !values.contains(&level.value) {
                let hint = did_you_mean(&level.value, values.iter().map(String::as_str), "see the contract");
                self.fault(place(level), format!("`{}` is not a value of the field's `level`", level.value), hint);
            }
        }
        let levels: Vec<String> = file.ladder.iter().map(|level| level.value.clone()).collect();
        let rules = self.ladder_rules(file, &levels);
        (self.faults.len() == before).then(|| Ladder {
            path: path.to_owned(),
            on: file.on.value.clone(),
            declassifies: file.declassifies.value.clone(),
            levels,
            otherwise: otherwise.value.clone(),
            rules,
        })
    }

    fn checklist(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<Checklist> {
        let file = &written.value;
        if file.value.is_some() || !file.ladder.is_empty() || file.otherwise.is_some() || !file.rules.is_empty() {
            let message = format!("`{path}` has both a checklist and something else");
            self.fault(place(written), message, "keep one: `checklist`, `value`, or `ladder`, `otherwise` and `rules`");
        }
        let before = self.faults.len();
        self.is_list_of_checks(path, written)?;
        let (mut seen, mut rules) = (BTreeSet::new(), Vec::with_capacity(file.checklist.len()));
        for rule in file.checklist.iter().map(|rule| &rule.value) {
            if !seen.insert(&*rule.id.value) {
                self.fault(place(&rule.id), format!("the rule `{}` is there already", rule.id.value), "rename one");
            }
            // What is derived is the same for whoever may see it: it reads no claims.
            if let Some(when) = self.expression_over(&BTreeMap::new(), &rule.when, &file.on.value) {
                let (id, zh, en) = (rule.id.value.clone(), rule.zh.clone(), rule.en.clone());
                rules.push(CheckRule { id, zh, en, when });
            }
        }
        let (on, declassifies) = (file.on.value.clone(), file.declassifies.value.clone());
        (self.faults.len() == before).then(|| Checklist { path: path.to_owned(), on, declassifies, rules })
    }

    /// A list of objects that can tell which rule it is and what it came to.
    fn is_list_of_checks(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<()> {
        let (above, name) = path.rsplit_once('.').map_or((None, path), |(above, name)| (Some(above), name));
        let type_name = match above {
            Some(above) => self.object_at(above, written)?,
            None => written.value.on.value.clone(),
        };
        let element = self.fields.field(&type_name, name).filter(|field| field.list && field.kind == FieldKind::Object);
        let tells = |element: &FieldType| {
            let verdict = self.fields.field(&element.name, "verdict")?;
            let values = self.fields.enum_values(&verdict.name).filter(|_| !verdict.list)?;
            let all =
                [Checklist::FLAGGED, Checklist::CLEAR].iter().all(|value| values.iter().any(|known| known == value));
            (all && self.fields.field(&element.name, "id").is_some()).then_some(())
        };
        let told = element.as_ref().and_then(tells);
        if told.is_none() {
            let message = format!("`{path}` cannot be a checklist: it is no list of objects with `id` and `verdict`");
            let hint = format!(
                "its type has a field `id` and one `verdict`, an enumeration with {} and {}",
                Checklist::FLAGGED,
                Checklist::CLEAR
            );
            self.fault(place(written), message, hint);
        }
        told
    }

    fn ladder_rules(&mut self, file: &DerivedFile, levels: &[String]) -> Vec<LadderRule> {
        let mut seen = BTreeSet::new();
        let mut rules = Vec::with_capacity(file.rules.len());
        for written in &file.rules {
            let rule = &written.value;
            if !seen.insert(rule.id.value.clone()) {
                self.fault(place(&rule.id), format!("the rule `{}` is there already", rule.id.value), "rename one");
            }
            if !levels.contains(&rule.level.value) {
                let hint = did_you_mean(&rule.level.value, levels.iter().map(String::as_str), "add it to `ladder`");
                self.fault(place(&rule.level), format!("`{}` is not on the ladder", rule.level.value), hint);
            }
            if let Some(when) = self.expression(&rule.when, &file.on.value) {
                rules.push(LadderRule {
                    id: rule.id.value.clone(),
                    level: rule.level.value.clone(),
                    zh: rule.zh.clone(),
                    en: rule.en.clone(),
                    when,
                });
            }
        }
        rules
    }

    /// The object type that stands at a path.
    fn object_at(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<String> {
        let mut type_name = written.value.on.value.clone();
        for field in path.split('.') {
            let Some(FieldType { name, list: false, kind: FieldKind::Object }) = self.fields.field(&type_name, field)
            else {
                let names = self.fields.fields(&type_name);
                let hint = did_you_mean(field, names.iter().map(String::as_str), "see the contract in schema/");
                self.fault(
                    place(written),
                    format!("`{path}`: `{type_name}` has no field `{field}` that is an object"),
                    hint,
                );
                return None;
            };
            type_name = name;
        }
        Some(type_name)
    }

    /// The values of the enumeration `level` of the type that stands at the path.
    fn level_values(&mut self, path: &str, written: &Spanned<DerivedFile>) -> Option<Vec<String>> {
        let type_name = self.object_at(path, written)?;
        let values = self
            .fields
            .field(&type_name, "level")
            .filter(|level| level.kind == FieldKind::Enum && !level.list)
            .and_then(|level| self.fields.enum_values(&level.name));
        if values.is_none() {
            self.fault(
                place(written),
                format!("`{path}` cannot be derived by a ladder: `{type_name}` has no enumeration field `level`"),
                "name a field whose type has one",
            );
        }
        values
    }
}
