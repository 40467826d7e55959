//! What the gateway costs beside programs written by hand for the one query. docs/benchmarks.md says how to read it.
//!
//! `cargo run --release --manifest-path benches/load/Cargo.toml` builds the gateway (profile `dist`), starts departments,
//! floors and gateway on this machine, and prints ratios taken in one run.

mod client;
mod contender;
mod floor;
mod gateway;
mod measure;
mod plain;
mod report;
mod serve;
mod upstream;
mod workload;

use clap::{Parser, Subcommand};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    run: measure::Run,
}

#[derive(Subcommand)]
enum Part {
    /// The departments, at this port; each answer takes so many milliseconds.
    Upstream { port: u16, delay: u64 },
    /// A program written by hand for one workload.
    Floor { client: String, workload: String, port: u16, upstream: String },
    /// An async-graphql server as most would write it.
    Plain { port: u16, upstream: String },
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Upstream { port, delay }) => upstream::run(port, delay),
        Some(Part::Floor { client, workload, port, upstream }) => floor::run(&client, &workload, port, upstream),
        Some(Part::Plain { port, upstream }) => plain::run(port, &upstream),
        None => {
            if let Err(why) = measure::run(&arguments.run) {
                eprintln!("{why}");
                std::process::exit(2);
            }
        }
    }
}
