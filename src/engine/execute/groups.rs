//! Which keys of a fetch can share calls.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::contract::SlotId;

/// What shares calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    /// The one instance that is asked; without it, all of them.
    pub instance: Option<usize>,
    /// Further inputs of the templates.
    pub inputs: Arc<[(Arc<str>, String)]>,
    /// The fields wanted, only of endpoints that take field names.
    pub wanted: Arc<[SlotId]>,
}

/// What one entity asks of an endpoint: the keys, each with what goes with it.
pub(super) type Asked = SmallVec<[(Arc<str>, GroupKey); 1]>;

/// Keys that can share calls.
pub(super) struct Group {
    pub of: GroupKey,
    pub keys: Vec<Arc<str>>,
    /// Places of the keys, where they are more than [`FEW`].
    index: HashMap<Arc<str>, usize>,
}

/// Keys that are sooner compared with each other than hashed.
const FEW: usize = 4;

/// All keys of one fetch, each once in each group.
pub(super) struct Groups {
    pub all: Vec<Group>,
    /// Places of the groups, but for the first.
    index: HashMap<GroupKey, usize>,
    /// As many keys as there may be.
    keys: usize,
}

/// A key in its group.
pub(super) struct Place {
    pub group: usize,
    pub key: usize,
}

/// An entity's keys in their groups.
pub(super) type Places = SmallVec<[Place; 1]>;

impl Groups {
    pub fn of(rows: usize) -> Self {
        Self { all: Vec::new(), index: HashMap::new(), keys: rows }
    }

    pub fn add(&mut self, key: &Arc<str>, of: GroupKey) -> Place {
        // Nearly always there is one: it is not hashed.
        let group = match self.all.first() {
            Some(first) if first.of == of => 0,
            Some(_) => *self.index.entry(of.clone()).or_insert_with(|| {
                self.all.push(Group { of, keys: Vec::new(), index: HashMap::new() });
                self.all.len() - 1
            }),
            None => {
                self.all = Vec::from([Group { of, keys: Vec::with_capacity(self.keys), index: HashMap::new() }]);
                0
            }
        };
        let key = self.all.get_mut(group).map_or(0, |group| group.add(key));
        Place { group, key }
    }
}

impl Group {
    fn add(&mut self, key: &Arc<str>) -> usize {
        let place = self.keys.len();
        let known = match place <= FEW {
            true => self.keys.iter().position(|own| own == key),
            false => self.index.get(key).copied(),
        };
        if let Some(known) = known {
            return known;
        }
        self.keys.push(Arc::clone(key));
        match place {
            ..FEW => {}
            FEW => self.index.extend(self.keys.iter().enumerate().map(|(at, key)| (Arc::clone(key), at))),
            _ => {
                self.index.insert(Arc::clone(key), place);
            }
        }
        place
    }
}
