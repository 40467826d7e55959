//! Tests that need a process to themselves: for its environment, its threads, or the one subscriber it can have.

use std::process::Command;

const MARK: &str = "HUXIANG_TEST_ALONE";

/// Whether this process runs one test and nothing else.
pub fn is_alone() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs a test, named by its `module_path!()` and its function, in a process of its own; it must pass there.
pub fn run(module: &str, test: &str, environment: &[(&str, &str)]) {
    let within = module.split_once("::").map_or(test.to_owned(), |(_, module)| format!("{module}::{test}"));
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", &within]).env(MARK, "1").envs(environment.iter().copied());
    let output = process.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that is nobody's runs nothing, and that succeeds.
    assert!(output.status.success() && said.contains("1 passed"), "{within}: {said}");
}
