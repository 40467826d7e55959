//! Sets of slots as bitsets.

use crate::model::contract::SlotId;

/// A set of slots. Sets of one contract have one length; a missing word counts as empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, slot: SlotId) {
        let (word, bit) = (slot.index() / 64, slot.index() % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub fn remove(&mut self, slot: SlotId) {
        if let Some(word) = self.words.get_mut(slot.index() / 64) {
            *word &= !(1 << (slot.index() % 64));
        }
    }

    pub fn contains(&self, slot: SlotId) -> bool {
        self.words.get(slot.index() / 64).is_some_and(|word| word & (1 << (slot.index() % 64)) != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub fn union(&mut self, other: &Self) {
        self.words.resize(self.words.len().max(other.words.len()), 0);
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let mut words: Vec<u64> = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        // Equal sets are equal as values.
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }

    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.iter().enumerate().all(|(at, word)| word & !other.words.get(at).copied().unwrap_or(0) == 0)
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let first = u32::try_from(at * 64).unwrap_or(u32::MAX);
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(SlotId(first.saturating_add(bit)))
            })
        })
    }
}

impl FromIterator<SlotId> for SlotSet {
    fn from_iter<T: IntoIterator<Item = SlotId>>(slots: T) -> Self {
        let mut set = Self::new();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Around the ends of words.
    const AT: [u32; 7] = [0, 1, 62, 63, 64, 70, 130];

    /// Every set of these, with what it should hold.
    fn sets() -> Vec<(SlotSet, BTreeSet<u32>)> {
        let of = |bits: u32| AT.iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0).map(|(_, slot)| *slot);
        (0..1 << AT.len()).map(|bits| (of(bits).map(SlotId).collect(), of(bits).collect())).collect()
    }

    fn held(set: &SlotSet) -> BTreeSet<u32> {
        set.iter().map(|SlotId(slot)| slot).collect()
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        for (set, expected) in sets() {
            assert_eq!(held(&set), expected);
            assert_eq!((set.len(), set.is_empty()), (expected.len(), expected.is_empty()), "{expected:?}");
            for slot in 0..200 {
                assert_eq!(set.contains(SlotId(slot)), expected.contains(&slot), "{slot} in {expected:?}");
                let (mut less, mut more) = (set.clone(), set.clone());
                less.remove(SlotId(slot));
                more.insert(SlotId(slot));
                assert_eq!(held(&less), expected.iter().copied().filter(|held| *held != slot).collect());
                assert_eq!(held(&more), expected.iter().copied().chain([slot]).collect());
            }
        }
    }

    #[test]
    fn two_sets_are_joined_and_compared_whatever_their_lengths() {
        let sets = sets();
        for (one, of_one) in &sets {
            for (other, of_other) in &sets {
                let mut both = one.clone();
                both.union(other);
                assert_eq!(held(&both), of_one | of_other);
                let common = one.intersection(other);
                assert_eq!(common, (of_one & of_other).into_iter().map(SlotId).collect(), "equal as values too");
                assert_eq!(one.intersects(other), !of_one.is_disjoint(of_other), "{of_one:?} {of_other:?}");
                assert_eq!(one.is_subset(other), of_one.is_subset(of_other), "{of_one:?} {of_other:?}");
            }
        }
    }
}
