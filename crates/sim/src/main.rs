//! `tombolo-sim`: runs seeds and prints what came of them. `cargo xtask sim` builds it, and keeps the time.
//!
//! Equal arguments print equal lines. Progress goes to standard error.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tombolo_sim::{Marks, Options, Outcome, Plant, Size, run};

/// What was asked for.
#[derive(Clone, Debug)]
struct Arguments {
    first: u64,
    seeds: u64,
    threads: usize,
    /// Runs each seed twice and compares the traces.
    twice: bool,
    /// Prints every line of the trace, and the history.
    replays: bool,
    /// Where the history is written instead.
    history: Option<PathBuf>,
    /// Goes on after a violation, and names every seed that has one.
    goes_on: bool,
    /// Stops when standard input ends: whoever keeps the time holds it open.
    is_leashed: bool,
    options: Options,
}

/// Trace lines shown before a violation.
const LINES_SHOWN: usize = 40;

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("tombolo-sim: {problem}");
            return ExitCode::from(2);
        }
    };
    if arguments.replays { replay(&arguments) } else { sweep(&arguments) }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        first: 0,
        seeds: 100,
        threads: 1,
        twice: false,
        replays: false,
        history: None,
        goes_on: false,
        is_leashed: false,
        options: Options::default(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        match word.as_str() {
            "--seed" => (arguments.first, arguments.seeds, arguments.replays) = (number(value()?)?, 1, true),
            "--from" => arguments.first = number(value()?)?,
            "--seeds" => arguments.seeds = number(value()?)?,
            "--threads" => arguments.threads = number(value()?)?.clamp(1, 64) as usize,
            "--fjall-share" => arguments.options.fjall_percent = number(value()?)?.min(100),
            "--plant" => {
                let plant = value()?.parse::<Plant>().map_err(|error| error.to_string())?;
                if !plant.is_possible() {
                    return Err(format!(
                        "`{plant}` sits inside the product; it takes a build with the feature `museum`"
                    ));
                }
                arguments.options.plant = Some(plant);
            }
            "--twice" => arguments.twice = true,
            "--all" => arguments.goes_on = true,
            "--small" => arguments.options.size = Size::Small,
            "--history" => arguments.history = Some(value()?.into()),
            "--until-input-ends" => arguments.is_leashed = true,
            _ => return Err(format!("`{word}` is not known here")),
        }
    }
    Ok(arguments)
}

/// Runs one seed and shows what happened.
fn replay(arguments: &Arguments) -> ExitCode {
    let outcome = run(arguments.first, &Options { keeps_lines: true, ..arguments.options });
    println!("{}\n", outcome.plan);
    for line in outcome.trace.lines() {
        println!("{line}");
    }
    if let Err(problem) = show_history(arguments, &outcome.history) {
        eprintln!("tombolo-sim: {problem}");
        return ExitCode::from(2);
    }
    let is_same = !arguments.twice || run(arguments.first, &arguments.options).trace.hash() == outcome.trace.hash();
    println!("{}", summary(arguments.first, &outcome));
    match (&outcome.violation, is_same) {
        (Some(violation), _) => println!("VIOLATION of {violation}"),
        (None, true) => println!("nothing was violated"),
        (None, false) => println!("VIOLATION of determinism: the second run had another trace"),
    }
    if outcome.violation.is_none() && is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the history to its file, or prints it.
fn show_history(arguments: &Arguments, history: &str) -> Result<(), String> {
    let Some(path) = &arguments.history else {
        println!("\nhistory of registers:\n{history}");
        return Ok(());
    };
    std::fs::write(path, history).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nthe history of registers is in {}", path.display());
    Ok(())
}

/// What is shared by the threads, each of which runs seeds of its own.
struct Sweep {
    arguments: Arguments,
    next: AtomicU64,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    seeds: u64,
    steps: u64,
    answers: u64,
    records: u64,
    stops: u64,
    events: u64,
    folders: u64,
    marks: Marks,
    /// All traces' hashes in sum: it does not matter which thread was first.
    hashes: u64,
    /// What was violated, by seed.
    failed: BTreeMap<u64, String>,
}

fn sweep(arguments: &Arguments) -> ExitCode {
    if arguments.history.is_some() {
        eprintln!("tombolo-sim: --history wants --seed");
        return ExitCode::from(2);
    }
    let (next, stop) = (AtomicU64::new(arguments.first), AtomicBool::new(false));
    let sweep = Arc::new(Sweep { arguments: arguments.clone(), next, stop, tally: Mutex::default() });
    if arguments.is_leashed {
        let sweep = Arc::clone(&sweep);
        // It ends with the process.
        std::thread::spawn(move || sweep.wait_for_end_of_input());
    }
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| sweep.run());
        }
    });
    let tally = std::mem::take(&mut *sweep.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let Tally { seeds, steps, answers, records, stops, events, folders, hashes, marks, failed } = tally;
    println!(
        "{seeds} seeds ({folders} on folders): {steps} steps, {answers} answers, {records} records, {events} events read, \
         {stops} stops; traces {hashes:016x}"
    );
    println!("met: {marks}");
    let missed: Vec<String> = marks.missed().map(|mark| format!("{mark:?}")).collect();
    if !missed.is_empty() && failed.is_empty() {
        println!("never met: {}", missed.join(", "));
    }
    if seeds < arguments.seeds && (failed.is_empty() || arguments.goes_on) {
        println!("{} seeds were left out, for want of time", arguments.seeds - seeds);
    }
    if arguments.goes_on {
        failed.iter().for_each(|(seed, violation)| println!("seed {seed}: VIOLATION of {violation}"));
    }
    match failed.first_key_value() {
        Some((seed, _)) => {
            report(*seed, arguments);
            ExitCode::FAILURE
        }
        None => {
            println!("nothing was violated");
            ExitCode::SUCCESS
        }
    }
}

impl Sweep {
    fn wait_for_end_of_input(&self) {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        self.stop.store(true, Ordering::Relaxed);
    }

    fn run(&self) {
        let end = self.arguments.first.saturating_add(self.arguments.seeds);
        while !self.stop.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let outcome = run(seed, &self.arguments.options);
            let hash = outcome.trace.hash();
            let differs = self.arguments.twice && run(seed, &self.arguments.options).trace.hash() != hash;
            self.note(seed, &outcome, differs);
        }
    }

    fn note(&self, seed: u64, outcome: &Outcome, differs: bool) {
        let mut tally = self.tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tally.seeds += 1;
        tally.steps += outcome.counts.steps;
        tally.answers += outcome.counts.answers;
        tally.records += outcome.counts.records;
        tally.stops += outcome.counts.stops;
        tally.marks.join(&outcome.marks);
        tally.events += outcome.counts.events;
        tally.folders += u64::from(outcome.plan.engine == tombolo_sim::EngineKind::Fjall);
        tally.hashes = tally.hashes.wrapping_add(outcome.trace.hash().rotate_left((seed % 64) as u32));
        let unequal = differs.then(|| "determinism: two runs had different traces".to_owned());
        if let Some(violation) = outcome.violation.as_ref().map(ToString::to_string).or(unequal) {
            tally.failed.insert(seed, violation);
            self.stop.fetch_or(!self.arguments.goes_on, Ordering::Relaxed);
        }
        if tally.seeds.is_multiple_of(20) {
            eprintln!("progress {} seeds", tally.seeds);
        }
    }
}

/// Plays a failed seed again, for its lines.
fn report(seed: u64, arguments: &Arguments) {
    let outcome = run(seed, &Options { keeps_lines: true, ..arguments.options });
    println!("\n{}\n\n{}\n", summary(seed, &outcome), outcome.plan);
    let lines: Vec<&str> = outcome.trace.lines().collect();
    println!("the last of {} lines of its trace:", outcome.trace.count());
    for line in lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)) {
        println!("  {line}");
    }
    match &outcome.violation {
        Some(violation) => println!("\nVIOLATION of {violation}"),
        None => println!("\nVIOLATION of determinism: two runs had different traces"),
    }
    let plant = arguments.options.plant.map_or_else(String::new, |plant| format!(" --plant {plant}"));
    let share = match arguments.options.fjall_percent {
        0 => String::new(),
        percent => format!(" --fjall-share {percent}"),
    };
    println!("\nto see it again:\n  cargo xtask sim --seed {seed}{plant}{share}");
}

fn summary(seed: u64, outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    format!(
        "seed {seed}: {} steps, {} answers, {} records, {} connections, {} stops, quiet after {} ms; trace {:016x}",
        counts.steps,
        counts.answers,
        counts.records,
        counts.connections,
        counts.stops,
        counts.calm_ms,
        outcome.trace.hash()
    )
}
