//! Why a field is refused: what would be needed.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use super::{Access, Grant, Presented};
use crate::model::contract::{Contract, SlotId};

/// Why a field is refused: the grant that would be needed. Names nothing the contract does not, and of grants only
/// what whoever has the role is told anyway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// No role of the caller's has the class at all.
    Class(Arc<str>),
    /// A role of the caller's has it, with tokens of other issuers.
    Issuer {
        role: Arc<str>,
    },
    /// A role of the caller's has it, from other networks.
    Network {
        role: Arc<str>,
    },
    /// A role of the caller's has it, over connections with a client certificate that the role names.
    Certificate {
        role: Arc<str>,
    },
    /// A role of the caller's has it in trusted documents.
    Document {
        role: Arc<str>,
    },
    /// A role of the caller's has it for people whom the grant names.
    People {
        role: Arc<str>,
    },
    NotYet {
        role: Arc<str>,
        from: Date,
    },
    Expired {
        role: Arc<str>,
        until: Date,
    },
    /// A role of the caller's has it for a purpose that was not declared.
    Purpose {
        role: Arc<str>,
        purposes: Vec<Arc<str>>,
    },
    /// A role of the caller's has it with a case number, and none that fits was given.
    Case {
        role: Arc<str>,
    },
    /// A role of the caller's has it at other times.
    Hours {
        role: Arc<str>,
        hours: String,
    },
    /// A role of the caller's has it in an emergency, and none was declared.
    BreakGlass {
        role: Arc<str>,
    },
    /// A role of the caller's has it with a second person's approval, and the request carries none that counts.
    Approval {
        role: Arc<str>,
        by: Vec<Arc<str>>,
    },
    /// A role of the caller's has it for entities to which the caller stands in these relations.
    Relation {
        role: Arc<str>,
        relations: Vec<Arc<str>>,
    },
    /// A role of the caller's would have it, and the department that holds it keeps it from that role.
    Withheld {
        role: Arc<str>,
        title: Arc<str>,
    },
}

impl Denied {
    /// How near the caller came: of several grants that miss something, the nearest is told.
    fn nearness(&self) -> u8 {
        match self {
            Self::Class(_) | Self::Withheld { .. } => 0,
            Self::Issuer { .. } => 1,
            Self::Network { .. } => 2,
            Self::Certificate { .. } => 3,
            Self::Document { .. } => 4,
            Self::People { .. } => 5,
            Self::NotYet { .. } | Self::Expired { .. } => 6,
            Self::Purpose { .. } => 7,
            Self::Case { .. } => 8,
            Self::Hours { .. } => 9,
            Self::BreakGlass { .. } => 10,
            Self::Approval { .. } => 11,
            Self::Relation { .. } => 12,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "needs a grant of the data class `{class}`"),
            Self::Issuer { role } => write!(f, "the role `{role}` does not count with a token of this issuer"),
            Self::Network { role } => write!(f, "the role `{role}` does not count from this network"),
            Self::Certificate { role } => {
                write!(
                    f,
                    "the role `{role}` counts only over a connection with the client certificate that it asks for"
                )
            }
            Self::Document { role } => write!(f, "the role `{role}` counts only in trusted documents"),
            Self::People { role } => write!(f, "the role `{role}` gives it to people named one by one"),
            Self::NotYet { role, from } => write!(f, "the role `{role}` gives it from {from} on"),
            Self::Expired { role, until } => write!(f, "the role `{role}` gave it until {until}"),
            Self::Purpose { role, purposes } => {
                write!(f, "the role `{role}` gives it for the purpose {}", Listed(purposes))
            }
            Self::Case { role } => write!(f, "the role `{role}` gives it with a case number in its agreed form"),
            Self::Hours { role, hours } => write!(f, "the role `{role}` gives it at {hours} (+08:00)"),
            Self::BreakGlass { role } => {
                write!(f, "the role `{role}` gives it in an emergency: say why in `extensions.breakGlass`")
            }
            Self::Approval { role, by } => write!(
                f,
                "the role `{role}` gives it with an approval by {} for this record: name it in `extensions.approval`",
                Listed(by)
            ),
            Self::Relation { role, relations } => {
                write!(f, "the role `{role}` gives it for the relation {}", Listed(relations))
            }
            Self::Withheld { role, title } => {
                write!(f, "{title} withholds it from the role `{role}`, and no grant can give it back")
            }
        }
    }
}

struct Listed<'a>(&'a [Arc<str>]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if at == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

impl Access {
    /// Names what is missing for a slot: the nearest miss among the caller's own roles, else the data class.
    pub fn denied(&self, contract: &Contract, slot: SlotId, presented: Presented) -> Denied {
        let mut relations: Vec<Arc<str>> = Vec::new();
        let mut nearest: Option<Denied> = None;
        for role in self.roles.iter().filter(|role| presented.roles.iter().any(|name| **name == *role.name)) {
            let grants = role.grants.iter().filter_map(|grant| self.grants.get(*grant));
            for grant in grants.filter(|grant| grant.slots.contains(slot)) {
                let miss = role.missing(presented).or_else(|| grant.missing(presented)).or_else(|| {
                    relations.push(Arc::clone(&self.relation(grant.relation)?.name));
                    Some(Denied::Relation { role: Arc::clone(&role.name), relations: relations.clone() })
                });
                let Some(miss) = miss else { continue };
                // Of equally near ones the first, but relations add up.
                let further = nearest.as_ref().is_some_and(|nearest| match miss {
                    Denied::Relation { .. } => false,
                    _ => miss.nearness() <= nearest.nearness(),
                });
                if !further {
                    nearest = Some(miss);
                }
            }
        }
        nearest.or_else(|| self.withheld(slot, presented)).unwrap_or_else(|| {
            let class = contract.slot(slot).class.map_or("", |class| contract.class_name(class));
            Denied::Class(class.into())
        })
    }

    /// The department that keeps a slot from a role of the caller's.
    fn withheld(&self, slot: SlotId, presented: Presented) -> Option<Denied> {
        let own = |grant: &&Grant| presented.roles.iter().any(|name| **name == *grant.role);
        self.grants.iter().filter(own).find_map(|grant| {
            let title = grant.withheld.get(&slot)?;
            Some(Denied::Withheld { role: Arc::clone(&grant.role), title: Arc::clone(title) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lacks_less_is_nearer() {
        let (role, name): (Arc<str>, Arc<str>) = ("r".into(), "n".into());
        let role = || Arc::clone(&role);
        let far_to_near = [
            vec![Denied::Class(Arc::clone(&name)), Denied::Withheld { role: role(), title: Arc::clone(&name) }],
            vec![Denied::Issuer { role: role() }],
            vec![Denied::Network { role: role() }],
            vec![Denied::Certificate { role: role() }],
            vec![Denied::Document { role: role() }],
            vec![Denied::People { role: role() }],
            vec![Denied::NotYet { role: role(), from: Date::MIN }, Denied::Expired { role: role(), until: Date::MIN }],
            vec![Denied::Purpose { role: role(), purposes: Vec::new() }],
            vec![Denied::Case { role: role() }],
            vec![Denied::Hours { role: role(), hours: String::new() }],
            vec![Denied::BreakGlass { role: role() }],
            vec![Denied::Approval { role: role(), by: Vec::new() }],
            vec![Denied::Relation { role: role(), relations: Vec::new() }],
        ];
        for pair in far_to_near.windows(2) {
            assert!(pair[0].iter().all(|far| pair[1].iter().all(|near| far.nearness() < near.nearness())), "{pair:?}");
        }
        for alike in far_to_near {
            assert!(alike.iter().all(|one| one.nearness() == alike[0].nearness()), "{alike:?}");
        }
    }
}
