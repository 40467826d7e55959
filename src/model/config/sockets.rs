//! `sockets:`: how many WebSockets are open, and what each may take. Its messages are bounded as bodies are, its operations as
//! requests and scans are.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use crate::model::yaml::Spanned;

/// As it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SocketsEntry {
    /// WebSockets open at once; 0: none is opened. Absent: 512.
    pub at_once_max: Option<Spanned<u64>>,
    /// Of one principal (without a token: of one address); absent: 8.
    pub per_caller_max: Option<Spanned<u64>>,
    /// Operations under way at once on one socket; one more is refused. Absent: 8.
    pub operations_max: Option<Spanned<u64>>,
    /// How long a socket may be open before `connection_init` comes; absent: 3 000.
    pub init_ms_max: Option<Spanned<u64>>,
    /// How often the other end is asked whether it is there; one that says nothing three times is gone. Absent: 20 000.
    pub ping_ms: Option<Spanned<u64>>,
    /// How long a socket may be open without an operation; absent: 300 000.
    pub idle_ms_max: Option<Spanned<u64>>,
}

/// Checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sockets {
    /// 0: none is opened.
    pub at_once_max: usize,
    pub per_caller_max: usize,
    /// Of one socket.
    pub operations_max: usize,
    pub init_max: Duration,
    pub ping: Duration,
    pub idle_max: Duration,
}

impl Sockets {
    pub(super) fn read(entry: &SocketsEntry, reader: &mut Reader<'_>) -> Self {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            at_once_max: count(reader.within("at_once_max", &entry.at_once_max, 0..=100_000, 512)),
            per_caller_max: count(reader.within("per_caller_max", &entry.per_caller_max, 1..=100_000, 8)),
            operations_max: count(reader.within("operations_max", &entry.operations_max, 1..=100, 8)),
            init_max: Duration::from_millis(reader.within("init_ms_max", &entry.init_ms_max, 100..=60_000, 3_000)),
            ping: Duration::from_millis(reader.within("ping_ms", &entry.ping_ms, 100..=600_000, 20_000)),
            idle_max: Duration::from_millis(reader.within(
                "idle_ms_max",
                &entry.idle_ms_max,
                100..=86_400_000,
                300_000,
            )),
        }
    }
}
