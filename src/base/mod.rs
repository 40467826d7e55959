//! Names every room shares: faults of files, error codes, JSON pointers, limits. Imports from no other room.

pub mod clock;
pub mod code;
pub mod current;
pub mod fault;
pub mod json;
pub mod nesting;
pub mod open_files;
pub mod percent;
pub mod pointer;
pub mod private_file;
