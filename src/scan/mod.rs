//! Scans: a listing whose entities a caller filters by what all departments hold of them, over live answers.
//!
//! A scan is the engine's own stages, run over stretches of a listing, under rights that are cut down to what holds for a
//! whole division. The condition is decided on exactly what this caller could read in full, and on nothing else: what a
//! department did not answer makes an entity undetermined, and never matched or left out.
//!
//! ```text
//! where → condition → permit → plan → steps: stretch → decide: stage → next stage … → walk → run: page, coverage
//!                                                                                  … → count: figures, coverage
//! ```

mod bound;
pub mod condition;
mod count;
pub mod coverage;
mod decide;
pub mod order;
pub mod permit;
pub mod plan;
pub mod print;
pub mod reckon;
pub mod resume;
pub mod run;
pub mod stats;
mod steps;
mod walk;

pub use condition::{Condition, ConditionLimits, Conjunct};
pub use count::count;
pub use plan::ScanPlan;
pub use steps::Bounds;
pub use walk::Concerned;
