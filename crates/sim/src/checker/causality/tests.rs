//! Histories that are consistent, and for each anomaly one that is not.

use super::{Anomaly, Level, Name, Why, check};
use crate::{Access, History, Random, Transaction};

/// A history in shorthand: `"w0=1 r1=0"` is a transaction, the inner list a session.
fn history(sessions: &[&[&str]]) -> History {
    let access = |word: &str| {
        let (key, value) = word[1..].split_once('=').expect("an access names a register and a value");
        let (key, value) = (key.parse().expect("a register"), value.parse().expect("a value"));
        if word.starts_with('w') { Access::Write { key, value } } else { Access::Read { key, value } }
    };
    let transaction = |text: &&str| Transaction { accesses: text.split(' ').map(access).collect() };
    History { sessions: sessions.iter().map(|session| session.iter().map(transaction).collect()).collect() }
}

fn both(sessions: &[&[&str]]) -> [Result<(), Anomaly>; 2] {
    let history = history(sessions);
    [Level::Weak, Level::Convergent].map(|level| check(&history, level))
}

#[test]
fn what_sites_may_see_during_a_partition_is_consistent() {
    // Each side reads its own write and not the other's, later both read the winner.
    let sessions: &[&[&str]] = &[&["w0=1", "r0=1 r1=0", "r0=2 r1=3"], &["w0=2", "w1=3", "r0=2 r1=3"]];
    assert_eq!(both(sessions), [Ok(()), Ok(())]);
    assert_eq!(both(&[&["w0=1"], &["w1=2"], &["r0=1 r1=0"], &["r0=0 r1=2"]]), [Ok(()), Ok(())]);
    assert_eq!(both(&[]), [Ok(()), Ok(())]);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    let reader = Name { session: 0, place: 0 };
    assert_eq!(both(&[&["r0=9"]])[0], Err(Anomaly::ThinAir { reader, key: 0, value: 9 }));
}

#[test]
fn half_a_transaction_is_found() {
    let [weak, _] = both(&[&["w0=1 w1=2"], &["r0=1 r1=0"]]);
    let newer = Name { session: 0, place: 0 };
    let reader = Name { session: 1, place: 0 };
    assert_eq!(weak, Err(Anomaly::Overwritten { reader, key: 1, stale: None, newer }));
    let [weak, _] = both(&[&["w0=1 w0=2"], &["r0=1"]]);
    assert!(matches!(weak, Err(Anomaly::Intermediate { value: 1, .. })));
}

#[test]
fn a_transaction_that_contradicts_itself_is_found() {
    assert!(matches!(both(&[&["w0=1 r0=0"]])[0], Err(Anomaly::Unrepeatable { expected: 1, .. })));
    assert!(matches!(both(&[&["w0=1"], &["r0=0 r0=1"]])[0], Err(Anomaly::Unrepeatable { expected: 0, .. })));
    assert_eq!(both(&[&["r0=0 w0=1 r0=1"]]), [Ok(()), Ok(())]);
}

#[test]
fn a_client_that_does_not_read_its_own_write_is_found() {
    let [weak, _] = both(&[&["w0=1", "r0=0"]]);
    assert!(matches!(weak, Err(Anomaly::Overwritten { stale: None, .. })));
}

#[test]
fn a_read_that_goes_back_is_found() {
    let [weak, _] = both(&[&["w0=1", "w0=2"], &["r0=2", "r0=1"]]);
    assert!(matches!(weak, Err(Anomaly::Overwritten { stale: Some(Name { session: 0, place: 0 }), .. })));
}

#[test]
fn an_effect_without_its_cause_is_found_through_a_third_client() {
    // The second client saw 1 before it wrote 2; the third sees 2 and not 1.
    let [weak, _] = both(&[&["w0=1"], &["r0=1", "w1=2"], &["r1=2", "r0=0"]]);
    assert!(matches!(weak, Err(Anomaly::Overwritten { key: 0, stale: None, .. })));
}

#[test]
fn reads_from_the_future_are_found() {
    let [weak, _] = both(&[&["r1=2 w0=1"], &["r0=1 w1=2"]]);
    let Err(Anomaly::Circle(edges)) = weak else { panic!("{weak:?}") };
    assert!(edges.iter().all(|edge| matches!(edge.why, Why::Read(_))));
}

#[test]
fn sites_that_settle_on_different_winners_are_found_by_the_stronger_level_alone() {
    let [weak, convergent] = both(&[&["w0=1"], &["w0=2"], &["r0=2", "r0=1"], &["r0=1", "r0=2"]]);
    assert_eq!(weak, Ok(()));
    let Err(Anomaly::Circle(edges)) = convergent else { panic!("{convergent:?}") };
    assert!(edges.iter().any(|edge| edge.why == Why::Lost(0)), "{edges:?}");
}

#[test]
fn a_winner_order_that_runs_against_causality_over_two_registers_is_found() {
    // On register 0, 1 lost to 4; whoever wrote 3 knew 4; on register 1, 3 lost to 2. Now it depends on whether 2 came before 1.
    let others: [&[&str]; 3] = [&["w0=4"], &["r0=4", "w1=3 w3=7"], &["r0=4 r1=2 r2=9 r3=7"]];
    let after: &[&str] = &["w0=1 w2=9", "w1=2"];
    let before: &[&str] = &["w1=2", "w0=1 w2=9"];
    assert_eq!(both(&[after, others[0], others[1], others[2]]), [Ok(()), Ok(())]);
    let [weak, convergent] = both(&[before, others[0], others[1], others[2]]);
    assert_eq!(weak, Ok(()));
    assert!(matches!(convergent, Err(Anomaly::Circle(_))), "{convergent:?}");
}

/// Registers that replicas write, exchange in causal order and read, the greatest value winning among those not superseded.
#[test]
fn histories_of_a_correct_model_pass_and_spoiled_ones_do_not() {
    let mut caught = 0;
    for seed in 0..60 {
        let mut model = model::Model::new(3, Random::new(seed));
        let mut history = model.run(120);
        assert_eq!(check(&history, Level::Convergent), Ok(()), "seed {seed}");
        caught += u32::from(model::spoil(&mut history, seed) && check(&history, Level::Weak).is_err());
    }
    assert!(caught > 40, "only {caught} of 60 spoiled histories were caught");
}

mod model {
    use std::collections::BTreeMap;

    use crate::{Access, History, Random, Transaction};

    const KEYS: u32 = 4;

    /// Replicas that apply one another's writes whole and in a causal order. A write's stamp is above all that was known.
    pub(super) struct Model {
        random: Random,
        log: Vec<(u64, Vec<u32>, Vec<usize>)>,
        applied: Vec<Vec<usize>>,
    }

    impl Model {
        pub(super) fn new(replicas: usize, random: Random) -> Self {
            Self { random, log: Vec::new(), applied: vec![Vec::new(); replicas] }
        }

        pub(super) fn run(&mut self, steps: usize) -> History {
            let mut history = History { sessions: vec![Vec::new(); self.applied.len()] };
            for _ in 0..steps {
                let replica = self.random.below(self.applied.len());
                match self.random.below(3) {
                    0 => self.receive(replica),
                    1 => history.sessions[replica].push(self.write(replica)),
                    _ => history.sessions[replica].push(self.read(replica)),
                }
            }
            history
        }

        /// Applies the next record that another replica has applied and this one lacks: its order is causal.
        fn receive(&mut self, replica: usize) {
            let from = self.random.below(self.applied.len());
            let missing = self.applied[from].iter().find(|record| !self.applied[replica].contains(record)).copied();
            self.applied[replica].extend(missing);
        }

        fn write(&mut self, replica: usize) -> Transaction {
            let value = self.applied[replica].iter().map(|record| self.log[*record].0).max().unwrap_or(0) / 8 + 1;
            let value = value * 8 + replica as u64;
            let keys: Vec<u32> = (0..KEYS).filter(|_| self.random.chance(50)).collect();
            self.log.push((value, keys.clone(), self.applied[replica].clone()));
            self.applied[replica].push(self.log.len() - 1);
            Transaction { accesses: keys.into_iter().map(|key| Access::Write { key, value }).collect() }
        }

        fn read(&self, replica: usize) -> Transaction {
            let mut shown = BTreeMap::new();
            for (value, keys, _) in self.applied[replica].iter().map(|record| &self.log[*record]) {
                keys.iter().for_each(|key| {
                    let winner: &mut u64 = shown.entry(*key).or_default();
                    *winner = (*winner).max(*value);
                });
            }
            let value = |key| shown.get(&key).copied().unwrap_or(0);
            Transaction { accesses: (0..KEYS).map(|key| Access::Read { key, value: value(key) }).collect() }
        }
    }

    /// Sets one register of a late read back to the beginning. Answers whether there was something to set back.
    pub(super) fn spoil(history: &mut History, seed: u64) -> bool {
        let session = Random::new(seed).below(history.sessions.len());
        let accesses = history.sessions[session].iter_mut().rev().flat_map(|transaction| &mut transaction.accesses);
        for access in accesses {
            if let Access::Read { value, .. } = access
                && *value != 0
            {
                *value = 0;
                return true;
            }
        }
        false
    }
}
