//! What goes wrong meanwhile: departments that fall ill and are started anew, files that change.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use departments::{Fault, Running};
use tokio::time::sleep;

/// Departments that are ill at once, at most.
const ILL_MAX: usize = 4;

/// Drawn from a seed that is printed.
struct Drawn(u64);

impl Drawn {
    fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| std::collections::hash_map::RandomState::new().build_hasher().finish());
        println!("SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).expect("it fits") % n
    }
}

/// Makes departments ill, in all ways there are, and well again; at the end all are well. How often which way.
pub async fn ill(departments: Arc<Running>, every: Duration, stop: Arc<AtomicBool>) -> BTreeMap<&'static str, usize> {
    let mut drawn = Drawn::new();
    let sources = departments.sources();
    let (mut ill, mut counts) = (VecDeque::new(), BTreeMap::new());
    while !stop.load(Ordering::SeqCst) {
        if ill.len() >= ILL_MAX || (!ill.is_empty() && drawn.below(3) == 0) {
            heal(&departments, ill.pop_front());
        }
        // A bank is one of many: one of the departments as often as not.
        let among = if drawn.below(2) == 0 { sources.len() } else { sources.len().min(24) };
        let source = match among {
            24 => sources.iter().filter(|id| !id.starts_with("banks/")).nth(drawn.below(20)).cloned(),
            among => sources.get(drawn.below(among)).cloned(),
        };
        if let Some(source) = source.filter(|source| !ill.contains(source)) {
            let (name, fault) = match drawn.below(7) {
                0 => ("nonsense", Fault::Nonsense),
                1 => ("500", Fault::Http500),
                2 => ("empty", Fault::Empty),
                3 => ("truncated", Fault::Truncated),
                4 => ("slow", Fault::Slow(Duration::from_millis(50 + u64::try_from(drawn.below(3_000)).expect("few")))),
                _ => ("restarted", Fault::None),
            };
            *counts.entry(name).or_default() += 1;
            // The SQL source is a file, which can only be away.
            if fault == Fault::None || source == "housing" {
                departments.stop(&source);
            } else {
                departments.set_fault(&source, fault);
            }
            ill.push_back(source);
        }
        departments.clear_logs();
        sleep(every).await;
    }
    while !ill.is_empty() {
        heal(&departments, ill.pop_front());
    }
    counts
}

fn heal(departments: &Running, source: Option<String>) {
    let Some(source) = source else { return };
    if source != "housing" {
        departments.set_fault(&source, Fault::None);
    }
    departments.resume(&source);
}

/// Changes files: roles, a binding whose source is made anew by it, and now and then one with a fault, which changes nothing.
/// At the end they are as at the beginning.
pub async fn files(root: PathBuf, every: Duration, stop: Arc<AtomicBool>) {
    let read = |path: &Path| std::fs::read_to_string(path).expect("the file is there");
    let (roles, binding) = (root.join("config/roles.yaml"), root.join("resolvers/civil-affairs.yaml"));
    let (roles_text, binding_text) = (read(&roles), read(&binding));
    let limits = binding_text.find("timeout_ms: ").expect("the binding has limits") + "timeout_ms: ".len();
    for n in 0_usize.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let written = match n % 3 {
            0 => std::fs::write(&roles, format!("{roles_text}# {n}\n")),
            1 => {
                let (before, after) = binding_text.split_at(limits);
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                std::fs::write(&binding, format!("{before}{}{after}", 800 + n))
            }
            _ => std::fs::write(&roles, format!("{roles_text}nonsense: [\n")),
        };
        written.expect("the file is written");
        sleep(every).await;
    }
    std::fs::write(&roles, roles_text).expect("the file is written");
    std::fs::write(&binding, binding_text).expect("the file is written");
}
