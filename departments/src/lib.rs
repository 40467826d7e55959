//! The demo departments: one synthetic world, and two dozen servers with the habits of real ones.
