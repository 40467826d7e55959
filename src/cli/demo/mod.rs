//! `huxiang demo`: made-up departments on loopback, a gateway before them, and the portrait of a household as each
//! role sees it. Requests go through the gateway's own listener, with tokens as any client's.

mod ask;
mod levels;
mod query;
mod render;
mod roles;
mod start;

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Instant;

use clap::Args;
use futures::StreamExt as _;
use serde_json::json;

use super::serve::{log, stop_signal};
use super::text::{self, Paint};
use super::{Done, Stop};
use crate::base::prefix::Prefix;
use ask::{Client, View};
use roles::DemoRole;
use start::Started;

/// The household whose portrait is shown, in 苍源村.
const HOUSEHOLD: &str = "331122101348000001";
/// Its village: the households that `--json` shows.
const VILLAGE: &str = "331122101348";
/// Its county, which some answer for.
const COUNTY: &str = "331122";
/// Households of one run of `--json` at most.
const HOUSEHOLDS_MAX: usize = 21;
/// Requests at once with `--json`.
const AT_ONCE: usize = 4;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Exit after printing
    #[arg(long)]
    once: bool,
    /// Print JSON: every role's view of each of the village's (first 21) households
    #[arg(long)]
    json: bool,
    /// Where to serve, on loopback; 0 takes any free port [default: 4000, with --once any]
    #[arg(long)]
    port: Option<u16>,
    /// How large the made-up world is
    #[arg(long, default_value_t = 21, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    households_per_village: u32,
    /// What the made-up people who answer for a county answer for, and the housing department has all houses of: the demo's county,
    /// or any division that holds it, by its code; without it, their county, and the houses of three villages
    #[arg(long, value_name = "CODE", value_parser = holding)]
    division: Option<String>,
    /// Gateways over one another: 3 puts a city's and a province's above the county's, at ports of their own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    levels: u8,
}

/// The beginning of the codes of a division that holds the village.
fn holding(code: &str) -> Result<String, String> {
    let prefix = Prefix::of(code, &[2, 4, 6, 9, 12]);
    match code.len() >= 2 && prefix.holds(VILLAGE) {
        true => Ok(prefix.as_str().to_owned()),
        false => {
            Err(format!("the demo's village {VILLAGE} does not lie in it; 33, 3311, 331122 and 331122101 hold it"))
        }
    }
}

pub fn run(args: &DemoArgs) -> Done {
    log("warn", false);
    super::runtime()?.block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> Done {
    let port = args.port.unwrap_or(if args.once { 0 } else { 4000 });
    // Taken before anything is shown, so that Ctrl-C ends the demo in order from here on.
    let mut stop = pin!(stop_signal()?);
    if args.levels > 1 {
        return levels::demo(args, port, stop).await;
    }
    let started = Started::new(port, args, None, &Progress::new()).await?;
    let client = started.serving().client()?;
    let roles = started.roles()?;
    let shown = async {
        if args.json {
            views_as_json(&started, &client, &roles).await
        } else {
            portraits(&started, &client, &roles).await
        }
    };
    tokio::select! {
        shown = shown => text::out(&shown?),
        () = &mut stop => return Ok(0),
    }
    if args.once {
        started.stop().await;
        return Ok(0);
    }
    let (address, paint) = (started.serving().address(), Paint::stdout());
    let told = render::endpoints(address, &roles, HOUSEHOLD, paint)
        + &render::scan(address, &roles, args.division.as_deref().unwrap_or(COUNTY), paint)
        + &render::registry(address, &started.registrars()?, paint);
    // With --json, standard output is for machines only.
    if args.json {
        text::note(&told)
    } else {
        text::out(&told)
    }
    stop.await;
    started.stop().await;
    Ok(0)
}

/// The portrait of one household, role by role.
async fn portraits(started: &Started, client: &Client, roles: &[DemoRole]) -> Result<String, Stop> {
    let paint = Paint::stdout();
    let mut out = render::heading(&started.serving().snapshot().contract, HOUSEHOLD, paint);
    for role in roles {
        let view = client.view(role, HOUSEHOLD).await?;
        out.push_str(&render::portrait(&started.serving().snapshot().contract, role, &view, paint));
    }
    Ok(out)
}

/// Every role's view of every household of the village.
async fn views_as_json(started: &Started, client: &Client, roles: &[DemoRole]) -> Result<String, Stop> {
    let households: Vec<String> = started.households(VILLAGE).take(HOUSEHOLDS_MAX).collect();
    let pairs: Vec<(&DemoRole, &String)> =
        roles.iter().flat_map(|role| households.iter().map(move |household| (role, household))).collect();
    let views: Vec<Result<View, Stop>> = futures::stream::iter(pairs)
        .map(|(role, household)| client.view(role, household))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let views = views.into_iter().map(|view| view.map(|view| view.as_json())).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{}\n", json!({"views": views})))
}

/// What is being started, on standard error: rewritten in place on a terminal, one line each elsewhere.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Shows `what` while it is done, and how long it took.
    async fn show<T>(&self, what: &str, doing: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        if self.terminal {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "… {what}");
            let _ = stderr.flush();
        }
        let began = Instant::now();
        let done = doing.await;
        let back = if self.terminal { "\r\u{1b}[K" } else { "" };
        let sign = if done.is_ok() { '✓' } else { '✗' };
        text::note(&format!("{back}{sign} {what} ({} ms)", began.elapsed().as_millis()));
        done
    }
}
