//! Three values: so, not so, and not known, with why it is not known.

use std::collections::BTreeSet;

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// This source did not answer.
    Silent(String),
    /// What it is asked for with is not so (`requires`), so that this source was not asked.
    NotAsked(String),
    /// Two departments disagree on this field.
    Conflict(String),
    /// A date of this field tells too little.
    Partial(String),
}

pub type Reasons = BTreeSet<Reason>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    Unknown(Reasons),
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Truth {
    pub fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            unknown => unknown,
        }
    }

    /// False where one is; else not known where one is not.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut reasons, mut unknown) = (Reasons::new(), false);
        for part in parts {
            match part {
                Self::True => {}
                Self::False => return Self::False,
                Self::Unknown(more) => {
                    unknown = true;
                    reasons.extend(more);
                }
            }
        }
        if unknown { Self::Unknown(reasons) } else { Self::True }
    }

    /// True where one is; else not known where one is not.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::all(parts.into_iter().map(Self::negated)).negated()
    }
}
