//! `cargo xtask`: the one door to every task of this workspace.
//!
//! Each task is a file of its own, and a plain function of its options. There is nothing to install beyond Rust and a C
//! compiler; tools that are only nice to have (nextest, a real etcd) are used when they are found and named when not.
//! Nothing here is part of the product.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod clients;
mod demo;
mod folder;
mod kubernetes;
mod paint;
mod process;
mod project;
mod sim;
mod steps;
mod storm;
mod test;
mod tidy;

/// The server's allocator: `bench` measures the store as the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every task of the Tombolo workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything and run every test.
    Test(test::Options),
    /// Everything a change must pass: tidy, formatting, lints, tests, documentation.
    Ci(test::Options),
    /// Check the rules of the house that no compiler knows.
    Tidy,
    /// Watch three sites, a cut link, writes on both sides, a kill -9, and how it all comes together again.
    Demo(demo::Options),
    /// Play a mesh of real stores and sessions on a virtual network and clock, seed after seed.
    Sim(sim::Options),
    /// Kill sites under load, round after round, on links that come and go, and hold them to what they have acknowledged.
    Storm(storm::Options),
    /// Run a real Kubernetes control plane on the product.
    Kubernetes(kubernetes::Options),
    /// Measure the product, beside a real etcd when there is one.
    Bench(bench::Options),
    /// Run the test suites of other people's clients on one replica and on a real etcd, and compare; needs the registries.
    Clients(clients::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Tidy => tidy::run(),
        Task::Demo(options) => demo::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Storm(options) => storm::run(&options),
        Task::Kubernetes(options) => kubernetes::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Clients(options) => clients::run(&options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
