//! Some seeds with the product as it is, and what the simulation promises of itself.

use tombolo_sim::{EngineKind, Options, Outcome, Size, run};

const SMALL: Options = Options { size: Size::Small, fjall_percent: 0, plant: None, keeps_lines: false };

fn passed(seed: u64, options: &Options) -> Outcome {
    let outcome = run(seed, options);
    if let Some(violation) = &outcome.violation {
        panic!("seed {seed}: {violation}\n{}", outcome.plan);
    }
    outcome
}

#[test]
fn nothing_is_violated() {
    let mut answers = 0;
    let mut stops = 0;
    for seed in 0..40 {
        let counts = passed(seed, &SMALL).counts;
        answers += counts.answers;
        stops += counts.stops;
    }
    assert!(answers > 500 && stops > 20, "{answers} answers and {stops} stops are too few to prove anything");
}

#[test]
fn nothing_is_violated_on_folders() {
    for seed in 100..104 {
        let outcome = passed(seed, &Options { fjall_percent: 100, ..SMALL });
        assert_eq!(outcome.plan.engine, EngineKind::Fjall);
    }
}

/// Plans with which clients and leases end by having removed all that was written.
#[test]
fn a_mesh_in_which_nothing_is_left_comes_to_rest() {
    for seed in [30_088, 30_098] {
        passed(seed, &Options { size: Size::Usual, fjall_percent: 100, ..SMALL });
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let hash = |seed, options: &Options| run(seed, options).trace.hash();
    for seed in 200..210 {
        assert_eq!(hash(seed, &SMALL), hash(seed, &SMALL), "seed {seed}");
    }
    let folders = Options { fjall_percent: 100, ..SMALL };
    assert_eq!(hash(300, &folders), hash(300, &folders));
    assert_ne!(hash(200, &SMALL), hash(201, &SMALL));
}
