//! In the making.

pub mod convert;
