//! stub
use super::{Done, Stop};
use clap::Args;
#[derive(Debug, Args)]
pub struct DemoArgs {}
pub fn run(_args: &DemoArgs) -> Done {
    Err(Stop::failed("error: the engine is not there yet"))
}
