//! Statistics: what is known of each entity → counts, sums and the like over groups, each with what it is at least and at
//! most.
//!
//! Of an entity it may not be known whether the condition holds, which group it is of, or what its numbers are. Such a one
//! counts in no group for sure, and for every group that it may be of it moves the bounds: the truth, whatever it is, lies
//! between them. Without IO; what is kept of entities is figures alone.

mod asked;
mod groups;
mod suppress;
mod tally;
mod told;

use std::collections::BTreeMap;

use serde_json::Value;

pub use asked::{Asked, Number};
pub use groups::{By, Grouping, Place};
pub use suppress::{Figure, Kept, suppress};
pub use tally::{Bounds, Group, Known, OfNumber, Tally};
pub use told::{Stats, told};

/// What is reckoned of each group; numbers by their place in [`Asked::numbers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Count,
    Sum(usize),
    Average(usize),
    Least(usize),
    Greatest(usize),
}

/// What is known of one entity of which the condition holds, or may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub matched: bool,
    /// By grouping: where it stands, in one place or in several.
    pub places: Vec<Vec<Place>>,
    pub numbers: Vec<Known>,
}

/// One place for each grouping.
pub type Places = Vec<Place>;

/// There are more groups than one statistic may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyGroups;

/// Figures of all entities that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reckoning {
    /// Those of which the condition holds, and those of which it may.
    groups: BTreeMap<Places, (Tally, Tally)>,
}

/// A group as it is told: where a place is open, those of which it is not known.
pub type Groups = BTreeMap<Places, Group>;

impl Reckoning {
    /// Counts an entity in.
    pub fn add(&mut self, row: &Row, groups_max: usize) -> Result<(), TooManyGroups> {
        let mut keys: Vec<Places> = vec![Vec::with_capacity(row.places.len())];
        for places in &row.places {
            let longer = |key: &Places| {
                let key = key.clone();
                places.iter().map(move |place| [key.as_slice(), std::slice::from_ref(place)].concat())
            };
            keys = keys.iter().flat_map(longer).take(groups_max.saturating_add(1)).collect();
        }
        for key in keys {
            if self.groups.len() >= groups_max && !self.groups.contains_key(&key) {
                return Err(TooManyGroups);
            }
            let (sure, maybe) = self.groups.entry(key).or_default();
            if row.matched { sure.add(&row.numbers) } else { maybe.add(&row.numbers) }
        }
        Ok(())
    }

    /// What is known of every group, in order; a statistic that is not grouped is one group, whoever is in it. `is_whole`:
    /// everything there is was looked at.
    pub fn groups(&self, is_grouped: bool, is_whole: bool) -> Groups {
        let mut groups = Groups::new();
        if !is_grouped {
            groups.entry(Vec::new()).or_default();
        }
        let open: Vec<(&Places, &(Tally, Tally))> =
            self.groups.iter().filter(|(key, _)| key.iter().any(Place::is_open)).collect();
        for (key, (sure, maybe)) in &self.groups {
            // Of those that may be of several groups it is told that they are, and not of which.
            let named = |place: &Place| match place {
                Place::Known(_) => place.clone(),
                Place::Open(state, _) => Place::Open(*state, None),
            };
            let group = groups.entry(key.iter().map(named).collect()).or_default();
            group.sure.join(sure);
            group.maybe.join(maybe);
        }
        for (key, group) in &mut groups {
            group.is_open = !is_whole;
            if key.iter().any(Place::is_open) {
                continue;
            }
            let value = |place: &Place| match place {
                Place::Known(value) => value.clone(),
                Place::Open(..) => None,
            };
            let values: Vec<Option<String>> = key.iter().map(value).collect();
            let may_be = |open: &Places| open.iter().zip(&values).all(|(place, value)| place.may_be(value.as_deref()));
            for (_, (sure, maybe)) in open.iter().filter(|(open, _)| may_be(open)) {
                group.maybe.join(sure);
                group.maybe.join(maybe);
            }
        }
        groups
    }

    /// To go on with later; [`Self::restored`] reads it.
    pub fn kept(&self) -> Value {
        let group = |(key, (sure, maybe)): (&Places, &(Tally, Tally))| {
            let key: Vec<Value> = key.iter().map(Place::kept).collect();
            serde_json::json!([key, sure.kept(), maybe.kept()])
        };
        self.groups.iter().map(group).collect()
    }

    pub fn restored(kept: &Value) -> Option<Self> {
        let group = |kept: &Value| {
            let key = kept.get(0)?.as_array()?.iter().map(Place::restored).collect::<Option<Places>>()?;
            Some((key, (Tally::restored(kept.get(1)?)?, Tally::restored(kept.get(2)?)?)))
        };
        Some(Self { groups: kept.as_array()?.iter().map(group).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests;
