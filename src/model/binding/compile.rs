//! Binding files, contract, code tables and variables → [`Bindings`].

mod ciphers;
mod divided;
mod fallback;
mod given;
mod queries;
mod whole;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connection::Connection;
use super::connection::sign::delegation::PassedOn;
use super::conversion::codes::CodeTables;
use super::fields::{Base, FieldCompiler};
use super::format::{self, Protocol, SourceFile};
use super::hand::{self, Hand};
use super::mapping::Mapping;
use super::platform::Platforms;
use super::published::{self, Published};
use super::request::CallTemplate;
use super::{Bindings, Endpoint, EndpointId, Requirement, Source, SourceId};
use crate::base::fault::{self, Faults, Place, SourceText};
use crate::model::config::egress::EgressConfig;
use crate::model::contract::{Contract, EntityId, Shape, SlotId};
use crate::model::rule::{Expression, Scope};
use crate::model::yaml::{self, Spanned};

/// Looks up `${NAME}`.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What bindings are compiled against.
pub struct Against<'a> {
    pub contract: &'a Contract,
    pub codes: &'a CodeTables,
    pub variables: Variables<'a>,
    /// The operator's bounds of the hosts that bindings name.
    pub egress: &'a EgressConfig,
    pub platforms: &'a Platforms,
    /// Slots that rules fill; `None`: not known, because the rules have faults of their own.
    pub derived: Option<&'a [SlotId]>,
}

/// Compiles every `*.yaml` of a folder, in the order of their names, and then what is published in the registry.
/// `instead` is a file that is read in place of the folder's own of that name or of that source.
pub fn load(
    folder: &Path,
    instead: Option<&Path>,
    published: &[Published],
    against: &Against,
    faults: &mut Faults,
) -> Bindings {
    let whole = SourceText::new(folder, "");
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect(),
        Err(_) if instead.is_some() => Vec::new(),
        Err(error) => {
            faults.add(
                &whole,
                Place::default(),
                format!("the folder of bindings cannot be read: {error}"),
                "bindings are .yaml files, one a source",
            );
            return Bindings::default();
        }
    };
    paths.sort();
    if let Some(instead) = instead {
        let source = id_of(instead);
        paths.retain(|path| path.file_name() != instead.file_name() && (source.is_none() || id_of(path) != source));
        // Last, so that what it has in common with others is told at it.
        paths.push(instead.to_owned());
    }
    let mut compiler = Compiler {
        against,
        faults,
        bindings: empty(against.contract),
        places: HashMap::new(),
        seen: HashMap::new(),
        named: HashSet::new(),
        partial: against.derived.is_none(),
    };
    for path in &paths {
        let text = fault::read(path, compiler.faults);
        let read = text.as_ref().and_then(|text| yaml::readable::<SourceFile>(text, compiler.faults));
        let (Some(read), Some(text)) = (read, text) else {
            compiler.partial = true;
            continue;
        };
        compiler.read(&read, &text, None);
    }
    for one in published {
        match yaml::readable::<SourceFile>(&one.text, compiler.faults) {
            Some(read) => compiler.read(&read, &one.text, Some(one)),
            None => compiler.partial = true,
        }
    }
    // What seems to be bound by nobody may stand in what could not be read.
    if !compiler.partial {
        compiler.nobody(&whole);
    }
    compiler.circles(&whole);
    compiler.undecided(&whole);
    compiler.bindings
}

/// The source that a file says it is of.
fn id_of(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("source:"))?;
    let id = line.split(" #").next().unwrap_or(line).trim().trim_matches(['"', '\'']);
    Some(id.to_owned())
}

fn empty(contract: &Contract) -> Bindings {
    Bindings {
        queries: contract.queries.iter().map(|_| None).collect(),
        providers: vec![None; contract.slots.len()],
        also: vec![Vec::new(); contract.slots.len()],
        establishes: vec![None; contract.entities.len()],
        ..Bindings::default()
    }
}

struct Compiler<'a> {
    against: &'a Against<'a>,
    faults: &'a mut Faults,
    bindings: Bindings,
    /// Where each slot is bound, to name the other place when it is bound twice.
    places: HashMap<SlotId, String>,
    seen: HashMap<String, String>,
    /// Slots that a file names, though perhaps with a fault.
    named: HashSet<SlotId>,
    /// Some file, endpoint or query could not be read at all.
    partial: bool,
}

impl Compiler<'_> {
    /// Of what can be read in part, what only follows from the rest is not told.
    fn read(&mut self, read: &yaml::Readable<SourceFile>, text: &Arc<SourceText>, published: Option<&Published>) {
        self.partial |= !read.is_whole();
        let before = self.faults.len();
        self.source(&read.value, text, published);
        read.forget_consequences(text, before, self.faults);
    }

    fn source(&mut self, file: &SourceFile, text: &Arc<SourceText>, published: Option<&Published>) {
        let name = &file.source.value;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            self.faults.add(
                text,
                yaml::place_of(&file.source),
                format!("`{name}` is not a source id"),
                "lower-case letters, digits and `-`",
            );
        }
        let here = text.path.display().to_string();
        if let Some(other) = self.seen.insert(name.clone(), here) {
            self.faults.add(
                text,
                yaml::place_of(&file.source),
                format!("the source `{name}` is declared in {other} already"),
                "one file a source",
            );
        }
        for prefix in &file.territory {
            if prefix.value.is_empty() || !prefix.value.chars().all(|c| c.is_ascii_digit()) {
                self.faults.add(
                    text,
                    yaml::place_of(prefix),
                    format!("`{}` is not the beginning of a division code", prefix.value),
                    "digits, for example \"33\"",
                );
            }
        }
        let connections = match published {
            None => {
                let Against { variables, egress, platforms, .. } = self.against;
                Connection::compile(file, text, variables, egress, platforms, self.faults)
            }
            Some(one) => self.connections_of(one, file),
        };
        let divided = self.divided(file, text);
        let id = SourceId(u32::try_from(self.bindings.sources.len()).unwrap_or(u32::MAX));
        self.bindings.sources.push(Source {
            id: name.as_str().into(),
            title: file.title.as_str().into(),
            territory: divided::territory(file, &connections),
            authority: file.authority,
            connections: connections.into_iter().map(Arc::new).collect(),
            instanced: file.instances.is_some(),
            version: published.map(|one| one.number),
            withdrawn: published.is_some_and(|one| one.withdrawn),
            divided,
            hand: Hand::default(),
            passed_on: PassedOn::of(file, text),
        });
        for (name, endpoint) in &file.endpoints {
            self.endpoint(id, name, endpoint, file, text);
        }
        for (name, query) in &file.queries {
            self.query(id, name, query, file, text);
        }
        let hand = hand::compile::compile(file, text, self.against.contract, &self.bindings, id, self.faults);
        if let Some(source) = self.bindings.sources.get_mut(id.index()) {
            source.hand = hand;
        }
    }

    /// Whatever a department writes, it reaches with what is its own.
    fn connections_of(&mut self, one: &Published, file: &SourceFile) -> Vec<Connection> {
        let before = self.faults.len();
        published::confine(one, file, self.faults);
        if one.withdrawn || self.faults.len() > before {
            return Vec::new();
        }
        // However a name is written in the file: what is another's is not there.
        let own = |name: &str| published::is_own(&one.source, name).then(|| (self.against.variables)(name)).flatten();
        let egress = self.against.egress.of_source(&one.source);
        Connection::compile(file, &one.text, &own, &egress, self.against.platforms, self.faults)
    }

    fn fields<'b>(&'b mut self, file: &'b SourceFile, text: &'b Arc<SourceText>) -> FieldCompiler<'b> {
        FieldCompiler {
            contract: self.against.contract,
            codes: self.against.codes,
            text,
            faults: self.faults,
            named: &mut self.named,
            ciphers: &file.ciphers,
            instanced: file.instances.as_ref().is_some_and(|list| list.value.by.is_none()),
        }
    }

    fn entity(&mut self, name: &Spanned<String>, text: &Arc<SourceText>) -> Option<EntityId> {
        let contract = self.against.contract;
        let found = contract.entity_named(&name.value);
        if found.is_none() {
            let known = contract.entities.iter().map(|entity| &*entity.name);
            let hint = fault::did_you_mean(&name.value, known, "an entity is a type of the contract with @key");
            self.faults.add(text, yaml::place_of(name), format!("the contract has no entity `{}`", name.value), hint);
        }
        found
    }

    /// A slot that a call's inputs are taken from: a scalar or a list of scalars of the same entity.
    fn input(
        &mut self,
        entity: EntityId,
        path: &Spanned<String>,
        lists: bool,
        text: &Arc<SourceText>,
    ) -> Option<SlotId> {
        let contract = self.against.contract;
        let Some(slot) = contract.slot_at(entity, &path.value) else {
            let hint = fault::did_you_mean(&path.value, contract.paths(entity), "a dotted path of the entity");
            self.faults.add(
                text,
                yaml::place_of(path),
                format!("`{}` has no field `{}`", contract.entity(entity).name, path.value),
                hint,
            );
            return None;
        };
        let inside_list = contract
            .above(slot)
            .any(|above| matches!(contract.slot(above).shape, Shape::ObjectList) || contract.slot(above).is_type);
        let fits = matches!(contract.slot(slot).shape, Shape::Leaf(_))
            || (lists && matches!(contract.slot(slot).shape, Shape::LeafList(_)));
        if inside_list || !fits {
            self.faults.add(
                text,
                yaml::place_of(path),
                format!("`{}` cannot be an input of a call", path.value),
                "a scalar field of the entity (for `key` also a list of scalars), not one inside a list of objects or a value of several types",
            );
            return None;
        }
        Some(slot)
    }

    fn endpoint(
        &mut self,
        source: SourceId,
        name: &str,
        endpoint: &Spanned<format::Endpoint>,
        file: &SourceFile,
        text: &Arc<SourceText>,
    ) {
        let place = yaml::key(text, name, endpoint);
        let written = &endpoint.value;
        let Some(entity) = self.entity(&written.entity, text) else {
            self.partial = true;
            self.templates(name, endpoint, file, text);
            return;
        };
        let own_key = self.against.contract.entity(entity).key;
        let key = match &written.key {
            Some(path) => self.input(entity, path, true, text),
            None => Some(own_key),
        };
        let (one, many) = self.templates(name, endpoint, file, text);
        let (one, many) = self.fallback((one, many), endpoint, file, text);
        if let (Protocol::Audit, Some(path)) = (file.protocol, &written.key) {
            let message = "records are found by the entity's own key";
            self.faults.add(text, yaml::place_of(path), message, "leave `key` out");
        }
        let id = EndpointId(u32::try_from(self.bindings.endpoints.len()).unwrap_or(u32::MAX));
        let mut mapping = Mapping::default();
        let base = Base { entity, parent: None, per_instance: false };
        self.fields(file, text).fields(&written.fields, base, &mut mapping);
        let own = mapping.entries.len();
        self.fields(file, text).fields(&written.also, base, &mut mapping);
        self.compared(mapping.entries.get(own..).unwrap_or_default(), &written.also, place, text);
        let valid_on =
            written.valid_on.as_ref().and_then(|field| self.fields(file, text).valid_on(field, &mut mapping));
        // An endpoint whose key is not known answers for nothing: others would wait for it.
        self.provide(key.map(|_| id), &mapping, own, source, name, (&written.fields, place), text);
        let with: Vec<(Arc<str>, SlotId)> = written
            .with
            .iter()
            .filter_map(|(name, path)| Some((name.as_str().into(), self.input(entity, path, false, text)?)))
            .collect();
        self.inputs_given(name, [&one, &many], &with, place, text);
        let requires = written.requires.as_ref().and_then(|condition| self.requirement(entity, condition, text));
        if written.establishes {
            self.establish(entity, id, key == Some(own_key), place, text);
        }
        let Some(key) = key else {
            self.partial = true;
            return;
        };
        let one = one.map(|one| one.with_key_at(mapping.text_at(own_key).filter(|_| key == own_key)));
        let encrypted = mapping.encrypted();
        let [one, many] = [one, many].map(|template| template.map(|one| one.with_encrypted(encrypted.clone())));
        for template in one.iter().chain(&many) {
            self.ciphers_there(template, file, place, text);
        }
        let selects_fields = one.iter().chain(&many).any(CallTemplate::selects_fields);
        if let Some(field) = written.valid_on.as_ref().filter(|_| selects_fields) {
            let message =
                "`valid_on` is read from whole records, and this source gives only the fields it is asked for";
            self.faults.add(text, yaml::place(field), message, "leave it out");
        }
        self.bindings.endpoints.push(Endpoint {
            id,
            source,
            name: name.into(),
            entity,
            key,
            one: one.map(Arc::new),
            many: many.map(Arc::new),
            with,
            requires,
            mapping,
            valid_on,
            selects_fields,
        });
    }

    /// How the endpoint is asked for one key, and for many.
    fn templates(
        &mut self,
        name: &str,
        endpoint: &Spanned<format::Endpoint>,
        file: &SourceFile,
        text: &Arc<SourceText>,
    ) -> (Option<CallTemplate>, Option<CallTemplate>) {
        let written = &endpoint.value;
        let mut compile = |request: &Option<Spanned<format::Request>>, many: bool| {
            let request = request.as_ref()?;
            let envelope = file.envelope.as_ref();
            let template = CallTemplate::compile(request, file.protocol, many, envelope, text, self.faults)?;
            let template = template.with_times_of(written);
            Some(template.of_entity(&written.entity.value.as_str().into()))
        };
        let (one, many) = (compile(&written.one, false), compile(&written.many, true));
        if written.one.is_none() && written.many.is_none() {
            let message = format!("the endpoint `{name}` does not say how it is asked");
            let hint = "add `one` (a key a call) or `many` (a batch of keys)";
            self.faults.add(text, yaml::key(text, name, endpoint), message, hint);
        }
        (one, many)
    }

    #[expect(clippy::too_many_arguments, reason = "each names one thing the fault must say")]
    fn provide(
        &mut self,
        id: Option<EndpointId>,
        mapping: &Mapping,
        own: usize,
        source: SourceId,
        name: &str,
        (fields, place): (&format::Named<format::Field>, Place),
        text: &Arc<SourceText>,
    ) {
        let here = format!("{}.{name}", self.bindings.source(source).id);
        for (at, entry) in mapping.entries.iter().enumerate() {
            let path = self.against.contract.full_path(entry.slot);
            if at >= own {
                if let Some(also) = self.bindings.also.get_mut(entry.slot.index()) {
                    also.extend(id);
                }
                continue;
            }
            if let Some(other) = self.places.insert(entry.slot, here.clone()) {
                let path_here = &self.against.contract.slot(entry.slot).path;
                let field = fields.get(&**path_here);
                self.faults.add(
                    text,
                    field.map_or(place, |field| yaml::key(text, path_here, field)),
                    format!("`{path}` is bound twice: by {other} and by {here}"),
                    "one source answers for a field; the other lists it under `also`",
                );
            }
            if let (Some(provider), Some(id)) = (self.bindings.providers.get_mut(entry.slot.index()), id) {
                *provider = Some(id);
            }
        }
    }

    fn establish(&mut self, entity: EntityId, id: EndpointId, by_own_key: bool, place: Place, text: &Arc<SourceText>) {
        if !by_own_key {
            self.faults.add(
                text,
                place,
                "an endpoint that establishes an entity is asked by the entity's own key",
                "leave `key` out",
            );
        }
        if let Some(slot) = self.bindings.establishes.get_mut(entity.index())
            && slot.replace(id).is_some()
        {
            let name = &self.against.contract.entity(entity).name;
            self.faults.add(
                text,
                place,
                format!("`{name}` is established twice"),
                "one endpoint an entity has `establishes: true`",
            );
        }
    }

    fn requirement(
        &mut self,
        entity: EntityId,
        condition: &Spanned<String>,
        text: &Arc<SourceText>,
    ) -> Option<Requirement> {
        let contract = self.against.contract;
        let entity_type = contract.entity(entity).name.to_string();
        let variable = crate::model::rule::variable_name(&entity_type);
        let none = std::collections::BTreeMap::new();
        let scope = Scope {
            entity_variable: &variable,
            entity_type: &entity_type,
            principal: &none,
            fields: contract,
            thresholds: None,
        };
        let place = yaml::place(condition);
        match Expression::compile(&condition.value, &scope) {
            Ok(when) => {
                let mut inputs = Vec::new();
                for path in when.inputs() {
                    match contract.slot_at(entity, &path.join(".")) {
                        Some(slot) => inputs.push(slot),
                        None => self.faults.add(
                            text,
                            place,
                            format!("`requires` reads `{}`, which belongs to another entity", path.join(".")),
                            "use fields of this entity only",
                        ),
                    }
                }
                Some(Requirement { text: condition.value.as_str().into(), when, inputs })
            }
            Err(error) => {
                let place = Place { column: place.column + error.offset, length: error.length, ..place };
                self.faults.add(text, place, error.message, error.hint);
                None
            }
        }
    }
}

impl Endpoint {
    /// Every slot that must be known before this endpoint is asked.
    pub fn inputs(&self) -> impl Iterator<Item = SlotId> + '_ {
        let required = self.requires.iter().flat_map(|requirement| &requirement.inputs).copied();
        std::iter::once(self.key).chain(self.with.iter().map(|(_, slot)| *slot)).chain(required)
    }
}
