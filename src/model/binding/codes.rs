//! Code tables, as [`super::conversion`] reads them.

pub use super::conversion::codes::{CodeRow, CodeTable, CodeTables};
