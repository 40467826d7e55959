//! What the registry keeps.

use crate::approval::Person;

/// A binding that a steward submitted.
#[derive(Debug, Clone)]
pub struct Version {
    pub source: String,
    /// From 1, by source.
    pub number: i64,
    pub text: String,
    /// What it is for.
    pub note: String,
    pub submitted_by: Person,
    /// Microseconds since 1970.
    pub submitted_at: i64,
    /// `None`: nobody has decided yet.
    pub approved: Option<bool>,
    pub decision: Option<Decision>,
}

/// What a second person said of it.
#[derive(Debug, Clone)]
pub struct Decision {
    pub by: Person,
    pub at: i64,
    pub note: String,
}

/// What was put into service, or taken out of it.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Of the whole registry, from 1.
    pub revision: i64,
    pub source: String,
    pub number: i64,
    pub state: State,
    pub by: Person,
    pub at: i64,
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Published,
    /// Not asked any more; what it fills is not available.
    Withdrawn,
    /// Not there any more: its fields may be another's.
    Removed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "PUBLISHED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Removed => "REMOVED",
        }
    }

    /// What is not known is not asked.
    pub(super) fn read(text: &str) -> Self {
        match text {
            "PUBLISHED" => Self::Published,
            "REMOVED" => Self::Removed,
            _ => Self::Withdrawn,
        }
    }
}
