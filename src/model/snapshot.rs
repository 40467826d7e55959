//! Everything the files declare, compiled together: what a request runs on, swapped whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access::{self, Access, Presented};
use super::binding::compile::{self as bindings, Against};
use super::binding::platform::Platforms;
use super::binding::published::Published;
use super::binding::{Bindings, conversion::codes::CodeTables};
use super::config::egress::EgressConfig;
use super::config::{self, GatewayConfig, Introspection};
use super::contract::{self, Contract, RootKind, SlotId};
use super::documents::Documents;
use super::rule::{self, Rules};
use super::subject::Subjects;
use crate::base::fault::{self, Faults, Place, SourceText};

/// Looks up `${NAME}`, for as long as there are snapshots to make.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the files are: a folder with `schema/`, `resolvers/` and `config/`.
#[derive(Debug, Clone)]
pub struct Folders {
    pub schema: PathBuf,
    pub resolvers: PathBuf,
    pub config: PathBuf,
    /// A binding that is read in place of the one of its source in `resolvers`.
    pub instead: Option<PathBuf>,
}

impl Folders {
    pub fn under(root: &Path) -> Self {
        Self {
            schema: root.join("schema"),
            resolvers: root.join("resolvers"),
            config: root.join("config"),
            instead: None,
        }
    }
}

/// One consistent version of contract, bindings, rules and access. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    pub contract: Contract,
    pub bindings: Bindings,
    pub subjects: Subjects,
    pub rules: Rules,
    pub access: Access,
    pub config: GatewayConfig,
    pub documents: Documents,
    /// By slot: the derived field's rule that fills it, by its place in [`Rules::derived`].
    derived: Vec<(SlotId, usize)>,
}

/// What could be read of the files, with faults or without: to look at one of them while others are not there yet.
#[derive(Debug)]
pub struct Parts {
    pub contract: Contract,
    pub bindings: Bindings,
    pub rules: Rules,
    pub access: Option<Access>,
    pub config: Option<GatewayConfig>,
    subjects: Option<Subjects>,
    documents: Option<Documents>,
    derived: Vec<(SlotId, usize)>,
}

impl Parts {
    /// Reads and compiles all files as far as they can be; all faults that could be found are added. `None`: there is no
    /// contract to hold them against.
    pub fn load(folders: &Folders, variables: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) -> Option<Self> {
        let base = folders.config.parent().unwrap_or(Path::new("."));
        let config = GatewayConfig::load(&folders.config.join("gateway.yaml"), base, variables, faults);
        Self::compile(folders, config, &[], variables, faults)
    }

    fn compile(
        folders: &Folders,
        config: Option<GatewayConfig>,
        published: &[Published],
        variables: &dyn Fn(&str) -> Option<String>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let codes = CodeTables::load(&folders.config.join("codes"), faults);
        let contract = contract::load::load(&folders.schema, faults)?;
        let names = Names::of(config.as_ref(), &folders.config.join("gateway.yaml"));
        let claims: Vec<String> = names.claims.keys().cloned().collect();
        let rules = load_rules(&folders.config.join("rules"), &contract, names.claims, faults);
        let filled = derived_slots(&rules, &contract, &folders.config, faults);
        let derived: Vec<SlotId> = filled.iter().map(|(slot, _)| *slot).collect();
        let derived = (!rules.partial).then_some(derived.as_slice());
        let unbounded = EgressConfig::default();
        let egress = config.as_ref().map_or(&unbounded, |config| &config.egress);
        let platforms = Platforms::load(&folders.config.join("platforms.yaml"), variables, egress, faults);
        let against = Against { contract: &contract, codes: &codes, variables, egress, platforms: &platforms, derived };
        let before = faults.len();
        let instead = folders.instead.as_deref();
        let bindings = bindings::load(&folders.resolvers, instead, published, &against, faults);
        // Where the bindings have faults, it is not known who answers for what.
        let subjects = (faults.len() == before).then(|| Subjects::new(&contract, &bindings));
        let before = faults.len();
        let mut access = fault::read(&folders.config.join("roles.yaml"), faults)
            .map(|text| access::load(&text, &contract, &rules, &names.access, subjects.as_ref(), faults));
        let partial = rules.partial || faults.len() > before;
        if let Some(access) = &mut access {
            let slots: Vec<SlotId> = filled.iter().map(|(slot, _)| *slot).collect();
            access::hand::apply(access, &contract, &bindings, &slots, &names.access.networks, partial, faults);
        }
        if let Some(access) = access.as_ref().filter(|_| !partial) {
            let roles: Vec<&str> = access.roles.iter().map(|role| &*role.name).collect();
            let claims: Vec<&str> = claims.iter().map(String::as_str).collect();
            bindings.sources.iter().for_each(|source| source.passed_on.check(&roles, &claims, faults));
        }
        if let (Some(access), Some(admin)) = (&access, config.as_ref().and_then(|config| config.admin.as_ref())) {
            admin.check(access, faults);
        }
        let documents = config.as_ref().and_then(|config| {
            let folder = config.graphql.trusted_documents.as_ref()?;
            Some(Documents::load(folder, &contract, &config.limits, faults))
        });
        if let (Some(access), Some(config)) = (&access, &config) {
            config.access_log.check(access, &config.purposes, faults);
            config.alerts.check(access, &contract, faults);
        }
        if let (Some(access), Some(_)) = (&access, &subjects) {
            access::alike::check(access, &contract, &bindings, faults);
        }
        Some(Self { contract, bindings, subjects, rules, access, config, documents, derived: filled })
    }

    /// What a gateway can run on: nothing, where there are faults.
    fn whole(self, faults: &Faults) -> Option<Snapshot> {
        if !faults.is_empty() {
            return None;
        }
        Some(Snapshot {
            documents: self.documents.unwrap_or_default(),
            contract: self.contract,
            bindings: self.bindings,
            subjects: self.subjects?,
            rules: self.rules,
            access: self.access?,
            config: self.config?,
            derived: self.derived,
        })
    }
}

impl Snapshot {
    /// Reads and compiles all files. `None` means that there are faults; all that could be found are added.
    pub fn load(folders: &Folders, variables: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) -> Option<Self> {
        Parts::load(folders, variables, faults)?.whole(faults)
    }

    /// As [`Self::load`], with the bindings of the registry, which `published` reads once the configuration says where it
    /// is, before any other file is read; its error is told as a fault.
    pub fn load_with(
        folders: &Folders,
        published: impl FnOnce(&GatewayConfig) -> Result<Vec<Published>, String>,
        variables: &dyn Fn(&str) -> Option<String>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let base = folders.config.parent().unwrap_or(Path::new("."));
        let path = folders.config.join("gateway.yaml");
        let config = GatewayConfig::load(&path, base, variables, faults);
        let published = match config.as_ref().map_or(Ok(Vec::new()), published) {
            Ok(published) => published,
            Err(error) => {
                let hint = "what is published there is part of what is served";
                faults.add(&SourceText::new(path, ""), Place::default(), error, hint);
                return None;
            }
        };
        Parts::compile(folders, config, &published, variables, faults)?.whole(faults)
    }

    /// As [`Self::load`], under a configuration that is in force already: of `gateway.yaml` nothing is read.
    pub fn load_under(
        config: GatewayConfig,
        folders: &Folders,
        published: &[Published],
        variables: &dyn Fn(&str) -> Option<String>,
        faults: &mut Faults,
    ) -> Option<Self> {
        Parts::compile(folders, Some(config), published, variables, faults)?.whole(faults)
    }

    /// Whether a caller may ask for the schema: as the gateway's setting says, and the roles of the caller that count.
    /// Where the gateway has it off, no role can switch it on.
    pub fn introspects(&self, presented: Presented) -> bool {
        let otherwise = match self.config.graphql.introspection {
            Introspection::Off => return false,
            Introspection::On => true,
            Introspection::PerRole => false,
        };
        let mut roles = self.access.counting(presented).peekable();
        if roles.peek().is_none() { otherwise } else { roles.any(|role| role.doors.introspection.unwrap_or(otherwise)) }
    }

    /// Fields and queries that wait for a source (`@awaited`), by their full paths; not what is inside them.
    pub fn awaited(&self) -> Vec<String> {
        let awaited = &self.bindings.awaited;
        let outermost = |slot: &&SlotId| !self.contract.above(**slot).any(|above| awaited.contains(&above));
        let fields = awaited.iter().filter(outermost).map(|slot| self.contract.full_path(*slot));
        let queries = self.contract.queries.iter().zip(&self.bindings.queries);
        let queries = queries.filter(|(query, binding)| {
            query.awaited && binding.is_none() && !matches!(query.kind, RootKind::ByKey { .. })
        });
        fields.chain(queries.map(|(query, _)| query.name.to_string())).collect()
    }

    /// The derived field's rule that fills a slot.
    pub fn derived_of(&self, slot: SlotId) -> Option<usize> {
        self.derived.iter().find(|(known, _)| *known == slot).map(|(_, rule)| *rule)
    }
}

/// What roles and rules name of the gateway's configuration.
struct Names {
    access: access::Declared,
    claims: BTreeMap<String, config::ClaimType>,
}

impl Names {
    /// Where the configuration has faults, its names are read all the same: one fault there should not look like one in
    /// every role and rule.
    fn of(config: Option<&GatewayConfig>, path: &Path) -> Self {
        if let Some(config) = config {
            let access = access::Declared {
                networks: config.networks.named.keys().cloned().collect(),
                purposes: config.purposes.keys().cloned().collect(),
                issuers: config.issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
            };
            return Self { access, claims: config.claims.clone() };
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let file: serde_json::Value = serde_saphyr::from_str(&text).unwrap_or_default();
        let keys = |pointer: &str| file.pointer(pointer).and_then(serde_json::Value::as_object);
        let names = |pointer: &str| keys(pointer).map(|found| found.keys().cloned().collect()).unwrap_or_default();
        let issuers = file.get("issuers").and_then(serde_json::Value::as_array).into_iter().flatten();
        let issuers = issuers.filter_map(|entry| Some(entry.get("issuer")?.as_str()?.to_owned())).collect();
        Self {
            access: access::Declared { networks: names("/networks"), purposes: names("/purposes"), issuers },
            claims: keys("/principal/claims")
                .into_iter()
                .flatten()
                .filter_map(|(name, kind)| Some((name.clone(), serde_json::from_value(kind.clone()).ok()?)))
                .collect(),
        }
    }
}

fn load_rules(
    folder: &Path,
    contract: &Contract,
    claims: BTreeMap<String, config::ClaimType>,
    faults: &mut Faults,
) -> Rules {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
                .collect()
        })
        .unwrap_or_default();
    paths.sort();
    let files: Vec<Arc<SourceText>> = paths.iter().filter_map(|path| fault::read(path, faults)).collect();
    let mut claims: BTreeMap<String, rule::ClaimType> =
        claims.into_iter().map(|(name, kind)| (name, claim_type(kind))).collect();
    // Every principal has an id; it need not be declared.
    claims.insert("id".to_owned(), rule::ClaimType::String);
    rule::load(&files, contract, &claims, faults)
}

fn claim_type(kind: config::ClaimType) -> rule::ClaimType {
    match kind {
        config::ClaimType::Text => rule::ClaimType::String,
        config::ClaimType::Texts => rule::ClaimType::StringList,
        config::ClaimType::Int => rule::ClaimType::Int,
        config::ClaimType::Bool => rule::ClaimType::Bool,
    }
}

fn derived_slots(rules: &Rules, contract: &Contract, config: &Path, faults: &mut Faults) -> Vec<(SlotId, usize)> {
    let whole = SourceText::new(config.join("rules"), "");
    let mut slots = Vec::new();
    for (at, rule) in rules.derived.iter().enumerate() {
        match contract.entity_named(rule.on()).and_then(|entity| contract.slot_at(entity, rule.path())) {
            Some(slot) => slots.push((slot, at)),
            None => faults.add(
                &whole,
                Place::default(),
                format!("the contract has no field `{}.{}`, which a rule fills", rule.on(), rule.path()),
                "name the field by its dotted path",
            ),
        }
    }
    slots
}
