//! Which groups are too small to be told, and which others are kept back so that nobody can work those out.
//!
//! What is told of a statistic is a table: the groups, and those of which the condition does not hold, come to all that
//! were decided, and that sum is always told. So a single figure that is kept back is the rest of the others. Keeping one
//! more back is not enough either: two that are alike are half of the rest each, and who knows this rule knows more than
//! who only subtracts. Therefore all figures up to some size are kept back, the least that will do, such that
//! - there are at least two of them,
//! - they come to no group that is itself too small,
//! - not all of them are alike.
//!
//! Where that comes to everything, not even the names of the groups are told. So it is of fewer than two groups' worth, however
//! they are divided: else one would know from what is not told how they are not.
//!
//! The rule looks at sizes and at nothing else. So of a table in which two figures that are kept back have changed places,
//! the same is told: whichever of them is asked for may be the one or the other.

/// One figure of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Entities that are in the group.
    pub lower: u64,
    /// With those that may be; `None`: not all were looked at.
    pub upper: Option<u64>,
}

/// What is kept back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// By group: its values are not told.
    pub groups: Vec<bool>,
    /// How many the condition holds of, and does not hold of, is not told either.
    pub matched: bool,
    /// Not even which groups there are: nothing at all can be told.
    pub names: bool,
}

impl Kept {
    pub fn anything(&self) -> bool {
        self.matched || self.groups.contains(&true)
    }
}

/// Decides on groups of fewer than `least`. `not` is how many the condition does not hold of; `None`: there is no condition.
pub fn suppress(least: u64, groups: &[Figure], not: Option<u64>) -> Kept {
    let mut kept = Kept { groups: vec![false; groups.len()], matched: false, names: false };
    // A group of one is one that is not kept back, then.
    if least <= 1 {
        return kept;
    }
    let is_small = |group: &Figure| (1..least).contains(&group.lower) || group.upper.is_some_and(|upper| upper < least);
    let sizes: Vec<u64> = groups.iter().map(|group| group.lower).chain(not).collect();
    let mut back: Vec<bool> = groups.iter().map(is_small).chain(not.map(|not| (1..least).contains(&not))).collect();
    let all = sizes.iter().fold(0_u64, |all, size| all.saturating_add(*size));
    if (1..least.saturating_mul(2)).contains(&all) {
        back.fill(true);
    }
    if !back.contains(&true) {
        return kept;
    }
    while !is_enough(least, &sizes, &back) {
        let told = || sizes.iter().zip(&back).filter(|(_, back)| !**back).map(|(size, _)| *size);
        // What is empty hides nobody: it comes last.
        let Some(next) = told().min_by_key(|size| (*size == 0, *size)) else { break };
        sizes.iter().zip(&mut back).filter(|(size, _)| **size == next).for_each(|(_, back)| *back = true);
    }
    kept.names = back.iter().all(|back| *back);
    kept.matched = not.is_some() && back.last() == Some(&true);
    back.truncate(groups.len());
    kept.groups = back;
    kept
}

fn is_enough(least: u64, sizes: &[u64], back: &[bool]) -> bool {
    let mut hidden = sizes.iter().zip(back).filter(|(_, back)| **back).map(|(size, _)| *size);
    let Some(first) = hidden.next() else { return true };
    let (mut sum, mut differ) = (first, false);
    for size in hidden {
        sum = sum.saturating_add(size);
        differ |= size != first;
    }
    differ && sum >= least
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// How many groups there may be, and up to how many entities in all, in worlds that are gone through one by one.
    const LABELS_AND_ENTITIES: [(usize, u64); 3] = [(2, 16), (3, 14), (4, 11)];

    /// All that a response tells of one world.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Response {
        all: u64,
        /// By label: what is told of the group, where it is named.
        groups: BTreeMap<usize, Option<u64>>,
        suppressed: u64,
        matched: Option<u64>,
    }

    /// Groups by label, those that are empty left out; the last is how many the condition does not hold of.
    fn response(least: u64, world: &[u64], with_condition: bool) -> (Response, Kept, Vec<usize>) {
        let (not, labels) = world.split_last().unwrap();
        let named: Vec<usize> = (0..labels.len()).filter(|label| labels[*label] > 0).collect();
        let figure = |label: &usize| Figure { lower: labels[*label], upper: Some(labels[*label]) };
        let figures: Vec<Figure> = named.iter().map(figure).collect();
        let kept = suppress(least, &figures, with_condition.then_some(*not));
        let of = |(at, label): (usize, &usize)| (*label, (!kept.groups[at]).then_some(labels[*label]));
        let groups = if kept.names { BTreeMap::new() } else { named.iter().enumerate().map(of).collect() };
        let suppressed = if kept.names { 1 } else { kept.groups.iter().filter(|back| **back).count() as u64 };
        let matched = (!kept.matched).then_some(labels.iter().sum());
        (Response { all: world.iter().sum(), groups, suppressed, matched }, kept, named)
    }

    fn worlds(places: usize, all: u64) -> Vec<Vec<u64>> {
        if places == 1 {
            return vec![vec![all]];
        }
        let first =
            |first: u64| worlds(places - 1, all - first).into_iter().map(move |rest| [vec![first], rest].concat());
        (0..=all).flat_map(first).collect()
    }

    #[test]
    fn no_figure_that_is_kept_back_can_be_worked_out_even_by_who_knows_the_rule() {
        let rules = [(2, true), (3, true), (4, true), (2, false), (3, false), (4, false)];
        for ((least, with_condition), (labels, entities)) in
            rules.into_iter().flat_map(|rule| LABELS_AND_ENTITIES.map(|size| (rule, size)))
        {
            for all in 1..=entities {
                // By response: for each label, and for the whole, all that they may be.
                let mut possible: BTreeMap<Response, Vec<BTreeSet<u64>>> = BTreeMap::new();
                let mut kept_back: Vec<(Response, usize, Vec<u64>)> = Vec::new();
                for mut world in worlds(labels + usize::from(with_condition), all) {
                    if !with_condition {
                        world.push(0);
                    }
                    let (told, kept, named) = response(least, &world, with_condition);
                    let known = possible.entry(told).or_insert_with(|| vec![BTreeSet::new(); labels + 1]);
                    world.iter().zip(known).for_each(|(size, known)| _ = known.insert(*size));
                    let hidden = named.iter().zip(&kept.groups).filter(|(_, back)| **back).map(|(label, _)| *label);
                    for label in hidden.chain(kept.matched.then_some(labels)) {
                        kept_back.push((response(least, &world, with_condition).0, label, world.clone()));
                    }
                }
                for (told, label, world) in kept_back {
                    let may_be = &possible[&told][label];
                    assert!(may_be.len() > 1, "{least}, {world:?}: {told:?} tells what {label} is: {may_be:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_kept_back_is_known_in_advance() {
        let figure = |size| Figure { lower: size, upper: Some(size) };
        let back = |least, sizes: &[u64], not| {
            let sizes: Vec<Figure> = sizes.iter().copied().map(figure).collect();
            let kept = suppress(least, &sizes, not);
            (kept.groups, kept.matched, kept.names)
        };
        assert_eq!(back(5, &[7, 30], Some(12)), (vec![false, false], false, false), "nothing is small");
        assert_eq!(back(5, &[3, 30, 9], Some(12)), (vec![true, false, true], false, false), "and the next larger one");
        assert_eq!(
            back(5, &[3, 30, 9, 9], Some(12)),
            (vec![true, false, true, true], false, false),
            "all that are alike"
        );
        assert_eq!(
            back(5, &[3, 3, 30, 40], None),
            (vec![true, true, true, false], false, false),
            "3 and 3 would be known from 6"
        );
        assert_eq!(back(5, &[3], Some(97)), (vec![true], true, true), "how many there are in all is not told");
        assert_eq!(back(5, &[97], Some(3)), (vec![true], true, true), "nor how few it does not hold of");
        assert_eq!(back(5, &[97], Some(0)), (vec![false], false, false));
        assert_eq!(back(5, &[0], Some(97)), (vec![true], true, true));
        assert_eq!(
            back(5, &[1, 1], None),
            (vec![true, true], false, true),
            "that there are two tells that each is one"
        );
        assert_eq!(back(1, &[1, 30], Some(1)), (vec![false, false], false, false), "switched off");
        assert_eq!(back(0, &[0], Some(1)), (vec![false], false, false), "switched off");
        let open = [Figure { lower: 0, upper: Some(40) }, Figure { lower: 0, upper: None }, figure(20)];
        assert!(!suppress(5, &open, Some(9)).anything(), "nobody is in it for sure, and many may be");
    }

    proptest! {
        /// Of what is kept back, at least two are, and not all alike, unless nothing at all is told.
        #[test]
        fn figures_that_are_kept_back_may_change_places(
            least in 2_u64..20,
            sizes in prop::collection::vec((0_u64..60, prop::option::of(0_u64..30)), 1..12),
            not in prop::option::of(0_u64..60),
        ) {
            let groups: Vec<Figure> = sizes
                .iter()
                .map(|(lower, more)| Figure { lower: *lower, upper: more.map(|more| lower + more) })
                .collect();
            let kept = suppress(least, &groups, not);
            let mut back: Vec<u64> = groups.iter().zip(&kept.groups).filter(|(_, back)| **back).map(|(of, _)| of.lower).collect();
            back.extend(not.filter(|_| kept.matched));
            for (group, back) in groups.iter().zip(&kept.groups) {
                prop_assert!(*back || group.lower == 0 || group.lower >= least);
                prop_assert!(*back || group.upper.is_none_or(|upper| upper >= least));
            }
            if kept.anything() && !kept.names {
                prop_assert!(back.iter().sum::<u64>() >= least);
                prop_assert!(back.iter().any(|size| *size != back[0]));
            }
        }
    }
}
