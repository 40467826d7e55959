//! Alerts as they stand in the records, and what is known of them now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::unusual::Unusual;
use crate::audit::{AuditRecord, Kind, Who};
use crate::identify::Identity;

/// Alerts kept in memory; older ones stay in the records.
const ALERTS_MAX: usize = 5_000;

/// Unusual reading that was found.
#[derive(Debug, Clone)]
pub struct Alert {
    /// The number of its record.
    pub seq: i64,
    pub rule: String,
    /// Whose reading.
    pub who: Who,
    pub at: Timestamp,
    /// How many were counted.
    pub count: u64,
    /// The number of the record with which the rule held.
    pub of: Option<i64>,
    pub acknowledged: Option<Acknowledgement>,
}

#[derive(Debug, Clone)]
pub struct Acknowledgement {
    pub by: Who,
    pub at: Timestamp,
    pub reason: String,
}

/// The record of an alert.
pub fn raised(unusual: &Unusual, of: i64) -> AuditRecord {
    let mut record = AuditRecord::gateway(Kind::Alert, &format!("alert-{of}"))
        .with("rule", &*unusual.rule)
        .with("principal", unusual.who.id.as_str())
        .with("issuer", unusual.who.issuer.as_str())
        .with("at", unusual.at.to_string())
        .with("count", u64::try_from(unusual.count).unwrap_or(u64::MAX));
    record.of = Some(of);
    record
}

/// The record of an acknowledgement.
pub fn acknowledged(alert: i64, reason: &str, request_id: &str, identity: &Identity) -> AuditRecord {
    let mut record = AuditRecord::event(Kind::Acknowledgement, request_id, identity, "acknowledgeAlert");
    record.of = Some(alert);
    record.with("reason", reason)
}

/// The newest alerts, by number.
#[derive(Debug, Default)]
pub struct Alerts {
    known: BTreeMap<i64, Alert>,
    /// Raised since the start.
    pub raised: u64,
}

impl Alerts {
    /// Takes in a record, if it is an alert or an acknowledgement; in the order of their numbers, or again.
    pub fn take(&mut self, seq: i64, record: &AuditRecord) {
        match record.kind {
            Kind::Alert => {
                let Some(alert) = read(seq, record) else { return };
                self.known.entry(seq).or_insert(alert);
                while self.known.len() > ALERTS_MAX {
                    self.known.pop_first();
                }
            }
            Kind::Acknowledgement => {
                let alert = record.of.and_then(|of| self.known.get_mut(&of));
                let (Some(alert), Some(by)) = (alert, record.who.clone()) else { return };
                let reason = text(record, "reason").unwrap_or_default();
                let Ok(at) = record.time.parse() else { return };
                // The first stands.
                alert.acknowledged.get_or_insert(Acknowledgement { by, at, reason });
            }
            _ => {}
        }
    }

    pub fn get(&self, seq: i64) -> Option<&Alert> {
        self.known.get(&seq)
    }

    /// Newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Alert> {
        self.known.values().rev()
    }
}

fn read(seq: i64, record: &AuditRecord) -> Option<Alert> {
    Some(Alert {
        seq,
        rule: text(record, "rule")?,
        who: Who { id: text(record, "principal")?, issuer: text(record, "issuer")?, ..Who::default() },
        at: text(record, "at")?.parse().ok()?,
        count: record.details.get("count").and_then(Value::as_u64)?,
        of: record.of,
        acknowledged: None,
    })
}

fn text(record: &AuditRecord, name: &str) -> Option<String> {
    record.details.get(name).and_then(Value::as_str).map(str::to_owned)
}
