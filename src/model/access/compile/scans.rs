//! `scans:` of a role, as written → [`ScanDoors`].

use super::Compiler;
use crate::model::access::format;
use crate::model::access::scans::{ScanApproval, ScanDoors};
use crate::model::yaml::{self, Spanned};

/// More than any listing holds.
const CANDIDATES_MAX: u64 = 100_000_000;

impl Compiler<'_> {
    pub(super) fn scans(&mut self, written: &Spanned<format::Scans>) -> ScanDoors {
        let file = &written.value;
        let candidates_max = self.count("candidates_max", &file.candidates_max, 1);
        let named_max = self.count("named_max", &file.named_max, 0);
        if named_max > candidates_max {
            let hint = "`named_max` is of those that `candidates_max` lets it look at";
            let message = "a scan cannot show more than it looks at";
            self.fault(yaml::span(&file.named_max), message, hint);
        }
        if named_max == 0 && !file.statistics {
            let hint = "write `statistics: true`, or how many it may show; a role without scans has no `scans`";
            self.fault(yaml::key(self.text, "scans", written), "these scans show nothing", hint);
        }
        let approval = file.approval.as_ref().map(|approval| self.scan_approval(approval, candidates_max));
        ScanDoors { statistics: file.statistics, candidates_max, named_max, approval }
    }

    fn scan_approval(&mut self, written: &Spanned<format::ScanApproval>, candidates_max: usize) -> ScanApproval {
        let file = &written.value;
        let needed = self.second_person(written, &file.by, &file.valid_minutes_max, file.uses.as_ref());
        let above = file.above.as_ref().map_or(0, |at| self.count("above", at, 0));
        if let Some(at) = file.above.as_ref().filter(|_| above >= candidates_max) {
            let hint = "it is less than `candidates_max`, which no scan of the role goes beyond";
            self.fault(yaml::span(at), "no scan would need the approval", hint);
        }
        ScanApproval { needed, above }
    }

    fn count(&mut self, key: &str, written: &Spanned<u64>, least: u64) -> usize {
        if !(least..=CANDIDATES_MAX).contains(&written.value) {
            let hint = format!("between {least} and {CANDIDATES_MAX}");
            self.fault(yaml::span(written), format!("`{key}` cannot be {}", written.value), hint);
        }
        usize::try_from(written.value).unwrap_or(usize::MAX)
    }

    /// A role that may scan, and is given nothing by which it could: a mistake, told where it is written.
    pub(super) fn scans_by_some_grant(&mut self, role: &str, written: &format::Role) {
        let Some(scans) = &written.scans else { return };
        let Some(found) = self.access.role(role) else { return };
        // A grant or a relation that has a fault of its own may be the one.
        let partial = self.partial_rules || found.grants.len() < written.grants.len();
        if partial || self.access.scans_of(found).is_some() {
            return;
        }
        self.fault(
            yaml::key(self.text, "scans", scans),
            format!("the role `{role}` may scan, and none of its grants is by a relation that scans go by"),
            "mark the relation in config/rules/ (`scans: {within: …}`); grants with `approval` or `break_glass` do not \
             count; see docs/access.md, Scans",
        );
    }
}
