//! Medians of a workload's runs, and ratios of runs that were next to each other.

use crate::contender::{Contender, Sample};
use crate::workload::Workload;

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the pairs' ratios and the 95 % interval of that median, from its order statistics (no distribution is
/// assumed).
fn ratio(of: &[f64], to: &[f64]) -> (f64, f64, f64) {
    let ratios = sorted(of.iter().zip(to).map(|(of, to)| of / to));
    let n = ratios.len() as f64;
    let away = 1.96 * n.sqrt() / 2.0;
    let at = |place: f64| {
        ratios.get((place.max(0.0) as usize).min(ratios.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    (at(n / 2.0), at((n / 2.0 - away).floor()), at((n / 2.0 + away).ceil()))
}

const GATEWAY: &str = "gateway";
/// What the targets are multiples of.
const FLOOR: &str = "floor, reqwest";

type Pick = fn(&Sample) -> Option<f64>;

/// What stands in a column, and how many digits of it.
const COLUMNS: [(&str, usize, Pick); 6] = [
    ("CPU µs/request", 0, |run| Some(run.cpu)),
    ("instructions/request", 0, |run| run.instructions),
    ("requests/s", 0, |run| Some(run.per_second)),
    ("p50 ms", 2, |run| Some(run.p50)),
    ("p99 ms", 2, |run| Some(run.p99)),
    ("calls/request", 2, |run| Some(run.calls)),
];

/// Every run has it, or nobody has.
fn all(contender: &Contender, pick: Pick) -> Option<Vec<f64>> {
    contender.runs.iter().map(pick).collect::<Option<Vec<f64>>>().filter(|all| !all.is_empty())
}

fn header(first: &str, more: &[&str]) {
    let names = COLUMNS.iter().map(|(name, ..)| *name).chain(more.iter().copied()).collect::<Vec<_>>();
    println!("| {first} | {} |\n| --- |{}", names.join(" | "), " ---: |".repeat(names.len()));
}

/// One line of a table of ratios.
fn ratios(line: &str, of: &Contender, to: &Contender) {
    print!("| {line} |");
    for (_, _, pick) in COLUMNS {
        match (all(of, pick), all(to, pick)) {
            (Some(of), Some(to)) => {
                let (middle, low, high) = ratio(&of, &to);
                print!(" {middle:.2} ({low:.2} to {high:.2}) |");
            }
            _ => print!(" – |"),
        }
    }
    match (of.peak, to.peak) {
        (Some(of), Some(to)) => println!(" {:.2} |", of / to),
        _ => println!(" – |"),
    }
}

pub fn print(workload: &Workload, delay: u64, contenders: &[Contender]) {
    println!("\n## {}\n", workload.name);
    println!(
        "{} connections; {} calls a request where nothing is shared; each takes the departments {delay} ms\n",
        workload.connections, workload.calls
    );
    header("", &["peak MB"]);
    for contender in contenders {
        print!("| {} |", contender.name);
        for (_, digits, pick) in COLUMNS {
            match all(contender, pick) {
                Some(values) => print!(" {:.digits$} |", median(values.into_iter())),
                None => print!(" – |"),
            }
        }
        println!(" {:.0} |", contender.peak.unwrap_or(f64::NAN));
    }
    println!();
    if let Some(gateway) = contenders.iter().find(|contender| contender.name == GATEWAY) {
        header("gateway /", &["peak MB"]);
        for other in contenders.iter().filter(|contender| contender.name != GATEWAY) {
            ratios(&other.name, gateway, other);
        }
        println!();
    }
    // What the others cost, over the same floor.
    let others = |floor: &Contender| contenders.iter().any(|other| other.name != GATEWAY && other.name != floor.name);
    if let Some(floor) = contenders.iter().find(|contender| contender.name == FLOOR).filter(|floor| others(floor)) {
        header(&format!("/ {FLOOR}"), &["peak MB"]);
        for other in contenders.iter().filter(|other| other.name != FLOOR && other.name != GATEWAY) {
            ratios(&other.name, other, floor);
        }
        println!();
    }
    if delay > 0 {
        for contender in contenders {
            let own = median(contender.runs.iter().map(|run| run.p50)) - delay as f64;
            println!("{}: the median answer is {own:.2} ms after what the departments take", contender.name);
        }
    }
}
