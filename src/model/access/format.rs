//! `config/roles.yaml` as it is written. `docs/access.md` is its reference.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{CertificateRule, DocumentsRule};
use crate::model::mask::Mask;
use crate::model::yaml::Spanned;

/// Roles and what each is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesFile {
    /// Roles by name, as tokens name them.
    pub roles: BTreeMap<String, Spanned<Role>>,
}

/// As what a caller is given something.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The role's name, as people read it.
    pub title: String,
    /// Networks of `gateway.yaml` from which the role counts.
    pub networks: Vec<Spanned<String>>,
    /// `required`, or what must stand in the client certificate of the connection.
    pub certificate: Option<Spanned<CertificateRule>>,
    /// Issuers of `gateway.yaml` whose tokens may give the role; without the key, any of them.
    pub issuers: Option<Vec<Spanned<String>>>,
    /// `trusted`: the role runs only documents of the folder `trusted_documents`; `any`.
    pub documents: Option<DocumentsRule>,
    /// Whether the role may ask for the schema, where `gateway.yaml` leaves that to roles.
    pub introspection: Option<bool>,
    /// Calls to departments for one request.
    pub upstream_calls_max: Option<Spanned<u32>>,
    /// What the role may ask over many entities at once; without the key, nothing.
    pub scans: Option<Spanned<Scans>>,
    /// What the role gives; without any, nothing.
    #[serde(default)]
    pub grants: Vec<Spanned<Grant>>,
}

/// Relation × conditions → data classes and fields.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A relation of `rules/relations.yaml`.
    pub relation: Spanned<String>,
    /// One of these must be declared with the request.
    #[serde(default)]
    pub purposes: Vec<Spanned<String>>,
    /// The request must name a case number that matches this regular expression as a whole.
    pub case: Option<Spanned<String>>,
    /// Only from these networks, of those that the role counts in.
    pub networks: Option<Vec<Spanned<String>>>,
    /// Only to these principals.
    pub people: Option<Vec<Spanned<Principal>>>,
    /// The first day on which it counts, at +08:00.
    pub from: Option<Spanned<String>>,
    /// The last day on which it counts, at +08:00.
    pub until: Option<Spanned<String>>,
    /// Only at these times of the day (`08:00-18:00`), at +08:00.
    pub hours: Option<Vec<Spanned<String>>>,
    /// Only on these days of the week (`mon` … `sun`), at +08:00.
    pub days: Option<Vec<Spanned<String>>>,
    /// Only where a second person approved it, record by record.
    pub approval: Option<Spanned<Approval>>,
    /// Only where the request declares an emergency, which is reviewed afterwards.
    pub break_glass: Option<Spanned<BreakGlass>>,
    /// Data classes of the contract.
    #[serde(default)]
    pub classes: Vec<Spanned<String>>,
    /// Single fields (and what is below them in the same class), by dotted path; `Person.` in front where two
    /// entities have the path; an entity's name stands for all its fields.
    #[serde(default)]
    pub fields: Vec<Spanned<String>>,
    /// Fields, with all below them, that the classes would give and this grant does not.
    #[serde(default)]
    pub except: Vec<Spanned<String>>,
    /// Field or class → mask.
    #[serde(default)]
    pub mask: BTreeMap<String, Spanned<MaskRule>>,
}

/// What a role may ask over many entities at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scans {
    /// Whether it may count, sum and compare over groups, which names nobody.
    #[serde(default)]
    pub statistics: bool,
    /// Entities that one scan may look at.
    pub candidates_max: Spanned<u64>,
    /// Entities that one scan may show; 0: statistics only.
    pub named_max: Spanned<u64>,
    /// Only where a second person approved the very condition.
    pub approval: Option<Spanned<ScanApproval>>,
}

/// Who may approve a scan, for how long that counts, and which scans need none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanApproval {
    /// Who may approve has one of these roles.
    pub by: Vec<Spanned<String>>,
    /// How long an approval may count.
    pub valid_minutes_max: Spanned<u32>,
    /// How many scans one approval is good for.
    pub uses: Option<Spanned<u32>>,
    /// As many candidates need no approval; without the key, every scan needs one.
    pub above: Option<Spanned<u64>>,
}

/// One person, by the id of the token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The token's id of the person.
    pub id: String,
    /// Must be written where `gateway.yaml` lists several issuers.
    pub issuer: Option<Spanned<String>>,
}

/// Who may approve, and for how long that counts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who may approve has one of these roles.
    pub by: Vec<Spanned<String>>,
    /// How long an approval may count.
    pub valid_minutes_max: Spanned<u32>,
    /// How many requests one approval is good for.
    pub uses: Option<Spanned<u32>>,
}

/// Who reviews what was read in an emergency, and until when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Who may review has one of these roles.
    pub review_by: Vec<Spanned<String>>,
    /// Until when it must be reviewed.
    pub review_hours_max: Spanned<u32>,
}

/// A mask as it is written: its name, or bands with edges of their own.
#[derive(Debug)]
pub enum MaskRule {
    Named(String),
    Bands(Vec<u64>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BandsRule {
    /// Where bands begin and end.
    pub band: Vec<u64>,
}

impl JsonSchema for MaskRule {
    fn schema_name() -> Cow<'static, str> {
        "Mask".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bands = generator.subschema_for::<BandsRule>();
        json_schema!({
            "description": "What is shown instead of the value: a mask's name, or bands with edges of their own.",
            "anyOf": [{"type": "string", "enum": Mask::NAMES}, bands],
        })
    }
}

// By hand: a word or a mapping, and a wrong one should say what is allowed.
impl<'de> Deserialize<'de> for MaskRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rule;
        impl<'de> Visitor<'de> for Rule {
            type Value = MaskRule;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a mask, or `{band: [0, 12000, 24000]}`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MaskRule, E> {
                Ok(MaskRule::Named(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaskRule, A::Error> {
                BandsRule::deserialize(MapAccessDeserializer::new(map)).map(|rule| MaskRule::Bands(rule.band))
            }
        }
        deserializer.deserialize_any(Rule)
    }
}
