//! A task made of named, timed steps, with a summary at the end.
//!
//! A step that fails does not stop the ones after it unless the task says so: one run shows all there is to mend.

use std::{
    fmt::Write as _,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::paint::Paint;

/// The steps of one task, as far as they have gone.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    took: Duration,
    budget: Option<Duration>,
    passed: bool,
}

impl Steps {
    /// Runs one step and says whether it passed. An error counts as failed and is printed at once.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        budget: Option<Duration>,
        work: impl FnOnce() -> Result<bool>,
    ) -> bool {
        let paint = Paint::for_stdout();
        println!("{}", paint.bold(format_args!("── {name}")));
        let started = Instant::now();
        let passed = work().unwrap_or_else(|error| {
            println!("{}", paint.bad(format_args!("{name}: {error:#}")));
            false
        });
        let step = Step { name, took: started.elapsed(), budget, passed };
        println!("{}\n", step.line(paint));
        self.done.push(step);
        passed
    }

    /// Whether every step so far passed.
    pub(crate) fn passed(&self) -> bool {
        self.done.iter().all(|step| step.passed)
    }

    /// Prints one line for each step, and gives the task's exit code.
    pub(crate) fn finish(&self, task: &str) -> ExitCode {
        let paint = Paint::for_stdout();
        println!("{}", paint.bold(format_args!("{task}: summary")));
        for step in &self.done {
            println!("{}", step.line(paint));
        }
        if self.passed() {
            println!("{}", paint.good(format_args!("{task} passed")));
            ExitCode::SUCCESS
        } else {
            println!("{}", paint.bad(format_args!("{task} failed")));
            ExitCode::FAILURE
        }
    }
}

impl Step {
    fn line(&self, paint: Paint) -> String {
        let mark = if self.passed { paint.good("ok    ") } else { paint.bad("FAILED") };
        let mut line = format!("   {mark} {:<14} {:>9}", self.name, clock(self.took));
        if let Some(budget) = self.budget {
            let over = if self.took > budget { ", over" } else { "" };
            let _ = write!(line, "{}", paint.dim(format_args!("  of {}{over}", clock(budget))));
        }
        line
    }
}

/// Runs a command to its end and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}"))?;
    Ok(status.success())
}

/// Minutes as a duration, for budgets.
pub(crate) const fn minutes(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count * 60))
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::bail;

    use super::{Steps, clock};

    #[test]
    fn one_failed_step_fails_the_task_and_the_next_ones_still_run() {
        let mut steps = Steps::default();
        assert!(steps.run("first", None, || Ok(true)));
        assert!(!steps.run("second", None, || Ok(false)));
        assert!(!steps.run("third", None, || bail!("broken")));
        assert!(steps.run("fourth", None, || Ok(true)));
        assert!(!steps.passed());
    }

    #[test]
    fn durations_read_as_a_person_would_say_them() {
        assert_eq!(clock(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(clock(Duration::from_secs(125)), "2 min 05 s");
    }
}
