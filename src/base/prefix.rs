//! Codes of territories, which are held against each other by how they begin.

/// All territories whose codes begin so. The empty one holds them all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// As it is written: the beginning of codes that a token or a binding names.
    pub fn exact(text: &str) -> Self {
        Self(text.into())
    }

    /// What a whole code stands for: 331122000000 for all that begins with 331122. `levels` are the lengths at which a
    /// level of the codes ends, ascending; groups of zeros are dropped from the end, level by level, but never the first.
    /// Text that does not end with a level, or is not of digits alone, is taken as it is.
    pub fn of(code: &str, levels: &[usize]) -> Self {
        if !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::exact(code);
        }
        let mut kept = code;
        for pair in levels.windows(2).rev() {
            let &[shorter, longer] = pair else { continue };
            let Some((above, group)) = kept.split_at_checked(shorter).filter(|_| kept.len() == longer) else {
                continue;
            };
            if group.bytes().any(|byte| byte != b'0') {
                break;
            }
            kept = above;
        }
        Self::exact(kept)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a territory's code begins so.
    pub fn holds(&self, code: &str) -> bool {
        code.starts_with(&*self.0)
    }

    /// What of it is granted, each territory once, in order: itself, where a granted one holds it; else the granted ones
    /// that it holds. None is the same answer for what is not granted and for what is not there: only texts are compared.
    pub fn within(&self, granted: &[Self]) -> Vec<Self> {
        if granted.iter().any(|one| one.holds(&self.0)) {
            return vec![self.clone()];
        }
        let mut inside: Vec<Self> = granted.iter().filter(|one| self.holds(&one.0)).cloned().collect();
        // What begins alike stands together, the shortest first.
        inside.sort();
        inside.dedup_by(|next, kept| kept.holds(&next.0));
        inside
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [usize; 5] = [2, 4, 6, 9, 12];

    fn within(asked: &str, granted: &[&str]) -> Vec<String> {
        let granted: Vec<Prefix> = granted.iter().map(|text| Prefix::exact(text)).collect();
        Prefix::of(asked, &LEVELS).within(&granted).iter().map(|one| one.as_str().to_owned()).collect()
    }

    #[test]
    fn whole_groups_of_zeros_are_dropped_from_the_end() {
        for (code, stands_for) in [
            ("331122000000", "331122"),
            ("331122101000", "331122101"),
            ("331122101348", "331122101348"),
            ("330000000000", "33"),
            ("331100", "3311"),
            ("331122000", "331122"),
            // Zeros inside a group, and a group of zeros before one that is none, belong to the code.
            ("331122100000", "331122100"),
            ("331022000000", "331022"),
            ("330000101000", "330000101"),
            // The first group is never dropped: no code stands for everything.
            ("000000000000", "00"),
            ("00", "00"),
            // Not the end of a level, or no digits: what it is cannot be told.
            ("3311220", "3311220"),
            ("3311220000000", "3311220000000"),
            ("AB0000000000", "AB0000000000"),
            ("", ""),
        ] {
            assert_eq!(Prefix::of(code, &LEVELS).as_str(), stands_for, "{code}");
        }
        assert_eq!(Prefix::of("331122000000", &[]).as_str(), "331122000000", "without levels, codes are as they are");
        assert_eq!(Prefix::of("331122000000", &[12]).as_str(), "331122000000");
    }

    #[test]
    fn what_is_asked_is_cut_to_what_is_granted() {
        assert_eq!(within("331122101000", &["331122"]), ["331122101"], "inside a granted one");
        assert_eq!(within("331122000000", &["331122"]), ["331122"]);
        assert_eq!(within("330000000000", &["331122", "3301"]), ["3301", "331122"], "granted ones inside, in order");
        assert_eq!(within("3311", &["331122", "331122101", "331122"]), ["331122"], "each territory once");
        assert_eq!(within("33", &[""]), ["33"], "everything is granted");
        // Outside, next to it, and not there: the same.
        for nothing in ["331123000000", "33112", "999999000000", "331122x", "x"] {
            let granted = if nothing == "33112" { &["34"][..] } else { &["331122101"][..] };
            assert_eq!(within(nothing, granted), [""; 0], "{nothing}");
        }
        assert_eq!(within("33", &[]), [""; 0], "nothing is granted");
    }

    proptest! {
        /// A code is in the cut exactly where it is in what is asked and in something granted, and in one of them alone.
        #[test]
        fn the_cut_is_the_intersection(
            asked in "[12]{0,3}", granted in proptest::collection::vec("[12]{0,4}", 0..5), code in "[12]{5}",
        ) {
            let granted: Vec<Prefix> = granted.iter().map(|text| Prefix::exact(text)).collect();
            let asked = Prefix::exact(&asked);
            let cut = asked.within(&granted);
            let both = asked.holds(&code) && granted.iter().any(|one| one.holds(&code));
            prop_assert_eq!(cut.iter().filter(|one| one.holds(&code)).count(), usize::from(both));
            prop_assert!(cut.is_sorted());
        }
    }
}
