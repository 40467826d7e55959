//! Names every room shares: faults of files, error codes, JSON pointers, limits, places in turn. Imports from no other room.

pub mod clock;
pub mod code;
pub mod current;
pub mod decimal;
pub mod fault;
pub mod json;
pub mod nesting;
pub mod open_files;
pub mod percent;
pub mod places;
pub mod pointer;
pub mod prefix;
pub mod private_file;
