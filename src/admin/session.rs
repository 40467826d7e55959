//! Who asks the admin API, and what their part lets them ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, Error, ErrorExtensions, Guard, Result};
use serde_json::Value;

use crate::answer::Gateway;
use crate::audit::Access;
use crate::base::code::ErrorCode;
use crate::engine::authorize::Asking;
use crate::identify::Identity;
use crate::model::config::admin::Part;

/// As what the fields of this API stand in the audit record.
const ENTITY: &str = "admin";

/// One request's caller.
pub struct Session {
    pub gateway: Gateway,
    pub identity: Identity,
    pub request_id: String,
    /// The caller's roles that count from here.
    pub roles: Vec<String>,
    parts: BTreeSet<Part>,
    /// Introspection is on for the caller's roles.
    introspects: bool,
    /// The token holds two parts of which each must be another person's; it has neither.
    holds_two: bool,
    allowed: Mutex<BTreeSet<String>>,
    refused: Mutex<BTreeSet<String>>,
    details: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Session {
    pub fn new(gateway: Gateway, identity: Identity, request_id: String) -> Self {
        let snapshot = gateway.snapshot();
        let asking = Asking::new(&identity, gateway.clock().now());
        let counting: Vec<String> =
            snapshot.access.counting(asking.presented()).map(|role| role.name.to_string()).collect();
        let introspects = snapshot.introspects(asking.presented());
        let config = snapshot.config.admin.as_ref();
        let parts_of =
            |roles: &[String]| config.map(|admin| admin.parts(roles.iter().map(String::as_str))).unwrap_or_default();
        // Looked for in all roles of the token: one that does not count from here is held all the same.
        let holds_two = parts_of(&asking.roles).iter().filter(|part| part.is_separate()).count() > 1;
        let mut parts = parts_of(&counting);
        if holds_two {
            parts.retain(|part| !part.is_separate());
        }
        Self {
            gateway,
            identity,
            request_id,
            roles: counting,
            parts,
            introspects,
            holds_two,
            allowed: Mutex::default(),
            refused: Mutex::default(),
            details: Mutex::default(),
        }
    }

    /// Whether the token holds two parts of which each must be another person's.
    pub fn holds_two(&self) -> bool {
        self.holds_two
    }

    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whoever has no part sees nothing of this API's shape.
    pub fn may_introspect(&self) -> bool {
        !self.parts.is_empty() && self.introspects
    }

    /// The fields asked for, as the audit record names them.
    pub fn asked(&self) -> Vec<Access> {
        let taken = |fields: &Mutex<BTreeSet<String>>| {
            std::mem::take(&mut *fields.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let (read, refused) = (taken(&self.allowed), taken(&self.refused));
        if read.is_empty() && refused.is_empty() {
            return Vec::new();
        }
        vec![Access { entity: ENTITY.to_owned(), read, refused, ..Access::default() }]
    }

    /// Notes for the audit what a field was asked about: a name or a keyed digest, never an id.
    pub fn detail(&self, name: &str, value: &str) {
        let mut details = self.details.lock().unwrap_or_else(PoisonError::into_inner);
        details.entry(name.to_owned()).or_default().insert(value.to_owned());
    }

    /// What was noted, by name; several as a list: one request may ask one field several times.
    pub fn details(&self) -> BTreeMap<String, Value> {
        let details = std::mem::take(&mut *self.details.lock().unwrap_or_else(PoisonError::into_inner));
        let told = |values: BTreeSet<String>| match values.len() {
            1 => values.into_iter().next().map_or(Value::Null, Value::String),
            _ => values.into_iter().collect(),
        };
        details.into_iter().map(|(name, values)| (name, told(values))).collect()
    }

    /// Notes a field for the audit and says whether one of the parts may ask it.
    fn check(&self, field: &str, parts: &[Part]) -> Result<()> {
        let allowed = parts.iter().any(|part| self.has(*part));
        self.note(field, allowed);
        if allowed {
            return Ok(());
        }
        let message = if self.holds_two {
            "not permitted: this token holds two roles that must be different people's"
        } else {
            "not permitted: no role of yours that counts from this network may ask this"
        };
        Err(refused(ErrorCode::Forbidden, message))
    }

    /// Notes a field for the audit.
    pub fn note(&self, field: &str, allowed: bool) {
        let fields = if allowed { &self.allowed } else { &self.refused };
        fields.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned());
    }
}

/// An error with its code, for the caller.
pub fn refused(code: ErrorCode, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, values| values.set("code", code.as_str()))
}

/// The request's session.
pub fn session<'c>(context: &'c Context<'_>) -> Result<&'c Arc<Session>> {
    context.data::<Arc<Session>>().map_err(|_| refused(ErrorCode::Internal, "the gateway failed"))
}

/// Lets a field be asked by these parts alone.
pub struct Only(pub &'static [Part]);

impl Guard for Only {
    async fn check(&self, context: &Context<'_>) -> Result<()> {
        session(context)?.check(context.field().name(), self.0)
    }
}

/// For introspection: whether the caller has one of these parts.
pub fn sees(context: &Context<'_>, parts: &[Part]) -> bool {
    session(context).is_ok_and(|session| parts.iter().any(|part| session.has(*part)))
}

/// The same for one part each.
pub fn operator(context: &Context<'_>) -> bool {
    sees(context, &[Part::Operator])
}

pub fn security_officer(context: &Context<'_>) -> bool {
    sees(context, &[Part::SecurityOfficer])
}

pub fn auditor(context: &Context<'_>) -> bool {
    sees(context, &[Part::Auditor])
}

/// Those who have to do with the registry.
pub fn of_registry(context: &Context<'_>) -> bool {
    sees(context, &[Part::Steward, Part::DepartmentHead, Part::Operator])
}

pub fn steward(context: &Context<'_>) -> bool {
    sees(context, &[Part::Steward])
}

pub fn department_head(context: &Context<'_>) -> bool {
    sees(context, &[Part::DepartmentHead])
}

pub fn operator_or_head(context: &Context<'_>) -> bool {
    sees(context, &[Part::Operator, Part::DepartmentHead])
}

pub fn supervisor_or_auditor(context: &Context<'_>) -> bool {
    sees(context, &[Part::Supervisor, Part::Auditor])
}
