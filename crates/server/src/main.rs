//! The server's process: parse, run, exit code.

use std::{env, process::ExitCode, thread};

use tombolo_server::{Config, Ended, begin_log, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const _: () = assert!(!tombolo_crdt::mutation::ARE_POSSIBLE, "known bugs can be switched on in this build");

fn main() -> ExitCode {
    let config = match Config::parse(env::args_os()) {
        Ok(config) => config,
        // Help and the version are no errors; clap knows where each belongs and with which code.
        Err(answer) => answer.exit(),
    };
    if let Err(failure) = begin_log(&config) {
        eprintln!("tombolod: {failure}");
        return ExitCode::FAILURE;
    }
    loop {
        let outcome = match runtime() {
            // The runtime ends with everything that holds the store; then the folder can be opened again.
            Ok(runtime) => runtime.block_on(run(config.clone())).map_err(|failure| failure.to_string()),
            Err(why) => Err(format!("failed to start the runtime: {why}")),
        };
        match outcome {
            Ok(Ended::Stopped) => return ExitCode::SUCCESS,
            Ok(Ended::NameLost) => {}
            Err(line) => {
                eprintln!("tombolod: {line}");
                return ExitCode::FAILURE;
            }
        }
    }
}

/// One thread serves best beside the committer's on a small machine; handing requests between threads costs more than it gains.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut builder = if cores <= 2 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}
