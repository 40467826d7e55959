//! What of a scan is permitted: decided before anything is asked, by grants that hold for whole divisions.

use std::sync::Arc;

use super::condition::{Condition, ConditionLimits};
use crate::base::code::ErrorCode;
use crate::base::prefix::Prefix;
use crate::engine::authorize::Asking;
use crate::engine::error::RequestError;
use crate::model::access::scans::scan_entity;
use crate::model::access::{Approved, Rights, ScanRights};
use crate::model::contract::scan::ScanRoot;
use crate::model::contract::{RootField, SlotId};
use crate::model::snapshot::Snapshot;

/// The rights that a scan runs under, and how far it may go.
#[derive(Debug)]
pub struct Permitted {
    pub rights: Arc<Rights>,
    /// The divisions of the caller that lie in the one that is asked for, or that one, where it lies in one of them.
    pub divisions: Vec<Division>,
    /// Entities that one scan may look at, over all of its pages.
    pub candidates_max: usize,
    /// Entities that one scan may show, over all of its pages.
    pub named_max: usize,
    /// How far it may go hangs on a second person's approval.
    pub approval: Option<Approval>,
}

/// The approval that a role needs for a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What is named in asking for it and giving it: the scan, and the digest of what it compares and where.
    pub entity: String,
    pub key: String,
    pub given: Option<Given>,
}

/// The approval that a scan goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub id: Arc<str>,
    /// The scan took a use of it where it began, and takes none now.
    pub goes_on: bool,
}

impl Approval {
    /// What is said where it is not there.
    pub fn awaited(&self) -> String {
        format!("further only with an approval of the entity `{}` with the key `{}`", self.entity, self.key)
    }
}

/// A division that is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    pub prefix: Prefix,
    /// As listings are asked for it: as the caller wrote it, or as the caller's token has it.
    pub code: String,
}

/// What comes of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Entities are shown.
    Page,
    /// Figures alone.
    Statistics,
}

/// The id of the approval by which a scan of these divisions has come so far; an error where what it is to go on from is none of
/// it.
pub type Under<'w> = dyn Fn(&[Division]) -> Result<Option<Arc<str>>, RequestError> + 'w;

/// What is to be scanned.
pub struct Wanted<'w> {
    pub division: &'w str,
    /// That of an approval of this very scan.
    pub key: &'w str,
    pub under: &'w Under<'w>,
}

/// How much a condition may say.
pub fn limits(snapshot: &Snapshot) -> ConditionLimits {
    let scans = &snapshot.config.scans;
    ConditionLimits { conditions_max: scans.conditions_max, values_max: scans.values_max }
}

/// Whether the caller may scan by what the condition compares, in any of the division that is asked for. A division that is
/// not the caller's is refused as one that is not there.
pub fn permit(
    snapshot: &Snapshot,
    asking: &Asking,
    scan: &ScanRoot,
    query: &RootField,
    condition: &Condition,
    wanted: Wanted<'_>,
    what: For,
) -> Result<Permitted, RequestError> {
    let Wanted { division, key, under } = wanted;
    let forbidden = |message: String| RequestError::new(ErrorCode::Forbidden, message);
    let (access, contract) = (&snapshot.access, &snapshot.contract);
    let scanned = asking.scan_rights(access).ok_or_else(|| {
        forbidden(
            "none of your grants holds for whole divisions in a role that may scan (`scans`, here for this purpose, case \
             and network)"
                .to_owned(),
        )
    })?;
    let found_by = query.finds_by.iter().flat_map(|finds| finds.slots.iter().copied());
    if what == For::Statistics && !scanned.statistics() {
        let message = "your role may list what it scans, and not ask for statistics of it (`statistics`)".to_owned();
        return Err(forbidden(message));
    }
    // Figures are of nobody, so it takes no right to know who they are of.
    let own_key = (what == For::Page).then(|| contract.entity(scan.entity).key);
    let compared = condition.slots.iter().chain(found_by).chain(own_key);
    if let Some(slot) =
        compared.filter(|slot| contract.slot(*slot).class.is_some()).find(|slot| !gives(&scanned, *slot))
    {
        return Err(forbidden(not_compared(snapshot, asking, slot)));
    }
    let granted = scanned.territories(access, contract, scan.entity, &asking.principal);
    let asked = Prefix::of(division, &snapshot.config.scans.division_digits);
    let code = |prefix: &Prefix| if *prefix == asked { division.to_owned() } else { prefix.as_str().to_owned() };
    let divisions: Vec<Division> =
        asked.within(&granted).into_iter().map(|prefix| Division { code: code(&prefix), prefix }).collect();
    if divisions.is_empty() {
        return Err(forbidden("the division is none that your grants let you scan".to_owned()));
    }
    let entity = scan_entity(&query.name);
    let approved = asking.approved.as_ref().filter(|approved| (approved.is_of)(&entity, key));
    let under = under(&divisions)?;
    let goes_on = approved.is_some_and(|approved| under.is_some_and(|id| *id == *approved.id));
    // What it goes on with has been counted.
    let approved = approved.cloned().map(|one| Approved { used: one.used.saturating_sub(goes_on.into()), ..one });
    let met = approved.as_ref().filter(|approved| scanned.awaited(Some(approved)).is_none());
    let given = met.map(|approved| Given { id: approved.id.as_str().into(), goes_on });
    let approval = scanned.awaited(None).map(|_| Approval { entity, key: key.to_owned(), given });
    let (candidates_max, named_max) = (scanned.candidates_max(met), scanned.named_max());
    if what == For::Page && named_max == 0 {
        return Err(forbidden("your role may ask for statistics, and not for who they are of".to_owned()));
    }
    Ok(Permitted { rights: Arc::new(scanned.rights), divisions, candidates_max, named_max, approval })
}

/// Whether any relation gives a slot in full.
fn gives(scanned: &ScanRights, slot: SlotId) -> bool {
    let mut permits = scanned.rights.permits.values();
    permits.any(|permit| permit.slots.contains(slot) && !permit.masks.contains_key(&slot))
}

/// What is missing to compare a field: the grant to read it, or one that holds for a whole division.
fn not_compared(snapshot: &Snapshot, asking: &Asking, slot: SlotId) -> String {
    let path = snapshot.contract.full_path(slot);
    let read = asking.rights(&snapshot.access);
    if read.any.contains(slot) {
        return format!(
            "`{path}` cannot be scanned by: it takes a grant that gives it unmasked for whole divisions, in a role that may \
             scan"
        );
    }
    format!("not permitted: {}", asking.denied(snapshot, slot))
}
