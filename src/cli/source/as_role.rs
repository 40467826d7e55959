//! `source try --role`: what a caller with a role would see of what was read, by the rights that the gateway itself has of
//! such a caller. Relations are not looked at: each is told by its name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::attempt::{Attempt, Tried};
use super::trial::TryArgs;
use crate::base::fault::did_you_mean;
use crate::cli::schema::unknown_role;
use crate::cli::{Stop, token};
use crate::engine::authorize::Asking;
use crate::engine::project::trace::{self, Outcome, Traced};
use crate::identify::{Declared, Identity, Principal};
use crate::model::access::{Access, RelationId, Rights, RowRights};
use crate::model::binding::SourceId;
use crate::model::contract::{Contract, SlotId};
use crate::model::mask;
use crate::model::snapshot::Parts;

/// A caller with one role.
pub struct Viewer<'a> {
    contract: &'a Contract,
    access: &'a Access,
    source: SourceId,
    role: &'a str,
    asking: Asking,
    rights: Rights,
}

/// What the caller would see of all records, field by field.
pub struct Seen {
    pub role: String,
    pub note: String,
    pub records: Vec<Vec<Views>>,
}

/// What the caller would see of one field.
#[derive(Debug, PartialEq, Eq)]
pub enum Views {
    /// By relation; those that show the same stand together.
    Given(Vec<(Vec<String>, View)>),
    /// What is missing.
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    Full,
    /// With which mask, and what is left.
    Masked(String, Option<String>),
    /// It has a code that the department withholds.
    LeftOut,
    /// Another source answers for the field, and what this one holds of it is withheld: it is not asked for it.
    NotAsked,
}

impl<'a> Viewer<'a> {
    pub fn new(parts: &'a Parts, source: SourceId, args: &TryArgs, role: &'a str) -> Result<Self, Stop> {
        let unread =
            || Stop::failed("error: config/gateway.yaml and config/roles.yaml cannot be read; see `huxiang check`");
        let (access, config) = parts.access.as_ref().zip(parts.config.as_ref()).ok_or_else(unread)?;
        let known = access.role(role).ok_or_else(|| unknown_role(access.role_names(), role))?;
        let network = args.network.clone().or_else(|| known.networks.first().map(ToString::to_string));
        let declared = config.networks.named.keys().map(String::as_str);
        if let Some(network) = network.as_deref().filter(|network| declared.clone().all(|known| known != *network)) {
            let hint = did_you_mean(network, declared, "networks are declared in config/gateway.yaml");
            return Err(Stop::failed(format!("error: there is no network `{network}`; {hint}")));
        }
        let principal = Principal {
            id: "source-try".to_owned(),
            issuer: known.issuers.iter().flatten().next().map(ToString::to_string).unwrap_or_default(),
            roles: vec![role.to_owned()],
            actors: Vec::new(),
            claims: token::claims(&args.claim, &config.claims)?,
        };
        let declared = Declared { purpose: args.purpose.clone(), case: args.case.clone(), ..Declared::default() };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let identity = Identity::new(Some(principal), address, network.into_iter().collect(), declared);
        let asking = Asking { trusted: true, ..Asking::new(&identity, jiff::Timestamp::now()) };
        let rights = asking.rights(access);
        Ok(Self { contract: &parts.contract, access, source, role, asking, rights })
    }

    pub fn seen(&self, attempt: &Attempt<'_>, tried: &Tried) -> Seen {
        let rows: Vec<(RelationId, RowRights)> =
            self.rights.permits.keys().map(|relation| (*relation, self.rights.under(vec![*relation]))).collect();
        let records = tried.answer.iter().flat_map(|fetched| {
            fetched.records.iter().map(|record| {
                let fields = |reader| trace::fields(self.contract, attempt.mapping, record.json.value(), reader);
                let by_relation: Vec<Vec<Traced>> = rows.iter().map(|(_, row)| fields(Some(row))).collect();
                let all = fields(None);
                let views = all.iter().enumerate().map(|(at, field)| {
                    let under = by_relation.iter().map(|fields| fields.get(at).is_some_and(|field| field.is_held));
                    self.views(field, rows.iter().zip(under))
                });
                views.collect()
            })
        });
        let from = self.asking.networks.join(", ");
        let purpose = self.asking.purpose.as_ref().map(|purpose| format!(", purpose {purpose}")).unwrap_or_default();
        let case = self.asking.case.as_ref().map(|case| format!(", case {case}")).unwrap_or_default();
        let note = format!(
            "as {}: from {from}{purpose}{case}; in brackets the relation under which it is given. Whether a caller stands so \
             to somebody: `huxiang access explain --entity`",
            self.role
        );
        Seen { role: self.role.to_owned(), note, records: records.collect() }
    }

    /// `rows`: with each relation, whether the department withholds the field under it.
    fn views<'r>(&self, field: &Traced, rows: impl Iterator<Item = (&'r (RelationId, RowRights), bool)>) -> Views {
        let Some((slot, above)) = field.slots.split_last() else {
            return Views::Refused("it is not known which field this is".to_owned());
        };
        let refused =
            |slot| Views::Refused(self.access.denied(self.contract, slot, self.asking.presented()).to_string());
        if let Some(outer) = above.iter().find(|outer| !self.rights.any.contains(**outer)) {
            return refused(*outer);
        }
        let kept = |row: &RowRights| {
            let of = |slot: &SlotId| row.held.also.get(slot).is_some_and(|sources| sources.contains(&self.source));
            field.slots.iter().any(of)
        };
        let mut all: Vec<(Vec<String>, View)> = Vec::new();
        for ((relation, row), is_held) in rows.filter(|((_, row), _)| row.slots.contains(*slot)) {
            let view = match row.masks.get(slot) {
                _ if kept(row) => View::NotAsked,
                _ if is_held => View::LeftOut,
                Some(mask) => View::Masked(mask.name(), masked(*mask, &field.outcome)),
                None => View::Full,
            };
            let name = self.access.relation(*relation).map_or_else(String::new, |relation| relation.name.to_string());
            match all.iter_mut().find(|(_, known)| *known == view) {
                Some((relations, _)) => relations.push(name),
                None => all.push((vec![name], view)),
            }
        }
        if all.is_empty() { refused(*slot) } else { Views::Given(all) }
    }
}

fn masked(mask: mask::Mask, outcome: &Outcome) -> Option<String> {
    let (Outcome::Value(value) | Outcome::Unrecognized(value)) = outcome else { return None };
    let mut out = Vec::new();
    mask::apply(mask, value, &mut out);
    String::from_utf8(out).ok()
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = match self {
            Self::Refused(why) => return write!(f, "— {why}"),
            Self::Given(all) => all,
        };
        for (n, (relations, view)) in all.iter().enumerate() {
            let gap = if n > 0 { "; " } else { "" };
            let relations = relations.join(", ");
            match view {
                View::Full => write!(f, "{gap}● in full ({relations})")?,
                View::Masked(mask, value) => {
                    write!(f, "{gap}○ {} masked {mask} ({relations})", value.as_deref().unwrap_or("null"))?;
                }
                View::NotAsked => write!(f, "{gap}— not asked for: the department withholds it ({relations})")?,
                View::LeftOut => write!(f, "{gap}— left out: a code that the department withholds ({relations})")?,
            }
        }
        Ok(())
    }
}

impl Views {
    pub fn as_json(&self) -> Value {
        let view = |(relations, view): &(Vec<String>, View)| match view {
            View::Full => json!({"relations": relations, "given": "full"}),
            View::Masked(mask, value) => {
                let value = value.as_deref().and_then(|value| serde_json::from_str::<Value>(value).ok());
                json!({"relations": relations, "given": "masked", "mask": mask, "value": value})
            }
            View::LeftOut | View::NotAsked => json!({"relations": relations, "given": "withheld"}),
        };
        match self {
            Self::Given(all) => json!({"given": all.iter().map(view).collect::<Vec<_>>()}),
            Self::Refused(why) => json!({"refused": why}),
        }
    }
}
