//! One record, from the side of whoever watches reading: which entities were seen, and which were none of the caller's.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::audit::{AuditRecord, Kind, Outcome, Who};
use crate::base::code::ErrorCode;
use crate::model::config::watch::AlertsConfig;

/// An entity, told from others without naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen<'r> {
    /// Its type.
    pub entity: &'r str,
    pub subject: u64,
}

/// What one request looked at.
pub struct Look<'r> {
    pub who: &'r Who,
    pub at: Timestamp,
    pub at_night: bool,
    /// Entities of which something was shown.
    pub seen: Vec<Seen<'r>>,
    /// Entities asked for to which the caller stands in no relation (or which are not there).
    pub unrelated: Vec<Seen<'r>>,
    /// Something was refused.
    pub refused: bool,
    /// Something was asked for in vain: an entity of somebody else's, or, where nothing was shown, whatever was refused.
    pub was_tried: bool,
}

impl<'r> Look<'r> {
    /// `None`: the record is of no look, or of a visitor's, who is shown nothing of anybody.
    pub fn of(record: &'r AuditRecord, config: &AlertsConfig) -> Option<Self> {
        if !matches!(record.kind, Kind::Request | Kind::Frame) {
            return None;
        }
        let who = record.who.as_ref()?;
        let at: Timestamp = record.time.parse().ok()?;
        let time = at.to_zoned(TimeZone::fixed(Offset::constant(8))).time();
        let mut look = Self {
            who,
            at,
            at_night: config.night.is_some_and(|night| night.holds(time)),
            seen: Vec::new(),
            unrelated: Vec::new(),
            refused: record.errors.contains(&ErrorCode::Forbidden),
            was_tried: false,
        };
        // Refused before anything was fetched (its cost, its rate, an approval): in what relation, nobody asked.
        let was_unasked = record.outcome == Outcome::Rejected && record.sources.is_empty();
        for access in record.access.iter().filter(|_| !was_unasked) {
            look.refused |= !access.refused.is_empty() || access.relations.is_empty();
            if config.entity.as_ref().is_some_and(|entity| *entity != access.entity) {
                continue;
            }
            let subjects =
                access.subjects.iter().map(|subject| Seen { entity: &access.entity, subject: subject.short() });
            if !access.read.is_empty() || !access.masked.is_empty() {
                look.seen.extend(subjects);
            } else if access.relations.is_empty() {
                look.unrelated.extend(subjects);
            }
        }
        look.was_tried = !look.unrelated.is_empty() || (look.seen.is_empty() && look.refused);
        Some(look)
    }
}
