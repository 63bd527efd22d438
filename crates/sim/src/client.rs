//! Clients that read and write at one site, one operation after the other.
//!
//! What a client asks is drawn here, and what it learns from an answer is worked out here: the accesses to registers that the
//! checker of causality judges, and the values that are acknowledged by it.

use bytes::Bytes;
use tombolo_crdt::VersionVector;
use tombolo_storage::{
    Answer, Comparison, Delete, Guard, KeyRange, KeyValue, Op, OpAnswer, Operand, Outcome, Put, RangeQuery, Request,
    SystemWrite, Transaction as Txn,
};

use crate::{Access, Plan, Random, checker::sessions::Session};

/// A client.
pub(crate) struct Client {
    pub(crate) site: usize,
    /// Its session in the history. Another one begins when an answer is lost: nobody knows whether the write happened.
    pub(crate) session: usize,
    /// Operations it still wants to do.
    pub(crate) left: usize,
    /// What it is waiting for.
    pub(crate) waiting: Option<Asked>,
    /// The first half of a read in two pieces; only a planted bug makes one.
    pub(crate) half_read: Option<Vec<Access>>,
    /// What it asks again, for want of an answer; only a planted bug makes it do so.
    pub(crate) retries: Option<Asked>,
    /// The newest revision that it was told.
    pub(crate) revision: i64,
    /// A lease that it was granted.
    pub(crate) lease: Option<i64>,
    /// Whether it goes to another site with every step, and waits there until the site has what it has seen.
    pub(crate) roams: bool,
    /// What it takes along from site to site: everything that was applied where it was answered.
    pub(crate) token: VersionVector,
    /// What it has seen and done, as the checker of sessions knows it.
    pub(crate) guarantees: Session,
}

/// What a client asked for, and how to read the answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    steps: Steps,
}

/// The steps of each branch, as far as they touch registers or write values.
#[derive(Clone, Debug, Default)]
struct Steps {
    then: Vec<Step>,
    otherwise: Vec<Step>,
    /// Whether the guards must fail, for their operand is another site's revision.
    must_fail: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write { register: Option<u32>, value: u64 },
    Read { register: u32 },
    Other,
}

/// What a client does next.
pub(crate) enum Action {
    /// Reads all registers at once.
    ReadAll,
    /// Reads one register.
    Read(u32),
    /// Reads everything as it once was.
    ReadPast,
    /// Asks the committer.
    Write(Asked),
    /// Keeps its lease alive.
    Renew(i64),
}

/// What an answer told.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Reads and writes of registers, in order.
    pub(crate) accesses: Vec<Access>,
    /// Values that are written now.
    pub(crate) acknowledged: Vec<Bytes>,
}

/// What choosing an action needs to know.
pub(crate) struct Surroundings<'a> {
    pub(crate) plan: &'a Plan,
    /// The last value given out.
    pub(crate) values: &'a mut u64,
    /// A revision that another site's clients were told, if any.
    pub(crate) foreign: Option<i64>,
    /// A lease that some client has been granted, at whichever site.
    pub(crate) lease: Option<i64>,
}

/// The key of a register that is only ever put.
pub(crate) fn register(number: u32) -> Bytes {
    format!("r/{number}").into()
}

/// All registers.
pub(crate) fn registers() -> KeyRange {
    KeyRange::before("r/".into(), "r0".into())
}

/// A value as stored.
pub(crate) fn value(number: u64) -> Bytes {
    format!("v{number}").into()
}

/// The number of a stored value; 0 when clients write no such value.
pub(crate) fn number(value: &[u8]) -> u64 {
    let digits = value.strip_prefix(b"v").and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn key(number: u64) -> Bytes {
    format!("k/{number}").into()
}

/// The reads of all registers that pairs amount to.
pub(crate) fn reads(plan: &Plan, pairs: &[KeyValue]) -> Vec<Access> {
    let read = |register_number| {
        let wanted = register(register_number);
        let found = pairs.iter().find(|pair| pair.key == wanted);
        Access::Read { key: register_number, value: found.map_or(0, |pair| number(&pair.value)) }
    };
    (0..plan.registers).map(read).collect()
}

impl Client {
    /// A client that has done nothing.
    pub(crate) fn new(site: usize, session: usize, left: usize, roams: bool) -> Self {
        Self {
            site,
            session,
            left,
            waiting: None,
            half_read: None,
            retries: None,
            revision: 0,
            lease: None,
            roams,
            token: VersionVector::new(),
            guarantees: Session::default(),
        }
    }

    /// Draws the next action.
    pub(crate) fn next(&self, around: &mut Surroundings<'_>, random: &mut Random) -> Action {
        let plan = around.plan;
        let some_register = random.below(plan.registers as usize) as u32;
        match random.below(24) {
            0..=3 => Action::ReadAll,
            4 | 5 => Action::Read(some_register),
            6..=9 => Action::Write(self.put_register(around, random, some_register)),
            10..=12 => Action::Write(self.transaction(around, random, some_register)),
            13 => Action::Write(self.mixed_transaction(around, random, some_register)),
            14 | 15 | 22 => Action::Write(self.put_key(around, random)),
            16 => Action::Write(delete(random, plan)),
            // A lease is kept alive where it was granted.
            17 if plan.troubles.leases && !self.roams => self.lease_action(around, random),
            18 if plan.troubles.compactions
                && self.revision > 0
                && random.chance(if plan.troubles.truncations { 90 } else { 30 }) =>
            {
                let revision = self.revision - random.between(0, 5) as i64;
                Action::Write(Asked::plain(Request::Compact { revision }))
            }
            19 => Action::Write(Asked::plain(Request::Delete(Delete {
                range: KeyRange::before(key(random.between(0, u64::from(plan.keys))), "k0".into()),
                previous: random.chance(50),
            }))),
            20 => Action::ReadPast,
            21 => Action::Write(self.write_system(around, random)),
            23 if plan.has_crowds => Action::Write(crowd(around, random)),
            _ => Action::ReadAll,
        }
    }

    /// The system's own data, of which clients of etcd's API see nothing.
    fn write_system(&self, around: &mut Surroundings<'_>, random: &mut Random) -> Asked {
        let key = Bytes::from(format!("system/{}", random.below(3)));
        if random.chance(25) {
            return Asked::plain(Request::System(vec![SystemWrite::Remove { key }]));
        }
        let written = around.next_value();
        let request = Request::System(vec![SystemWrite::Put { key, value: value(written) }]);
        Asked {
            request,
            steps: Steps { then: vec![Step::Write { register: None, value: written }], ..Steps::default() },
        }
    }

    fn put_register(&self, around: &mut Surroundings<'_>, random: &mut Random, number: u32) -> Asked {
        let written = around.next_value();
        let previous = random.chance(30);
        let request = Request::Put(put(register(number), written, Some(0), previous));
        let read = previous.then_some(Step::Read { register: number });
        let then = read.into_iter().chain([Step::Write { register: Some(number), value: written }]).collect();
        Asked { request, steps: Steps { then, ..Steps::default() } }
    }

    /// Reads and writes of several registers, under a guard that may or may not hold.
    fn transaction(&self, around: &mut Surroundings<'_>, random: &mut Random, first: u32) -> Asked {
        let count = around.plan.registers;
        let chosen: Vec<u32> = (0..count.min(1 + random.below(3) as u32)).map(|nth| (first + nth) % count).collect();
        let (guard, must_fail) = self.guard(around, random, first);
        let (mut then, mut steps) = (Vec::new(), Steps { must_fail, ..Steps::default() });
        if random.chance(50) {
            then.push(read_op(first));
            steps.then.push(Step::Read { register: first });
        }
        for register_number in &chosen {
            let written = around.next_value();
            then.push(Op::Put(put(register(*register_number), written, Some(0), false)));
            steps.then.push(Step::Write { register: Some(*register_number), value: written });
        }
        steps.otherwise = chosen.iter().map(|register| Step::Read { register: *register }).collect();
        let otherwise = chosen.iter().map(|register| read_op(*register)).collect();
        Asked { request: Request::Txn(Txn { guards: vec![guard], then, otherwise }), steps }
    }

    /// A register and a key that may be deleted, in one transaction.
    fn mixed_transaction(&self, around: &mut Surroundings<'_>, random: &mut Random, first: u32) -> Asked {
        let written = around.next_value();
        let mut then = vec![Op::Put(put(register(first), written, Some(0), false))];
        let mut steps = vec![Step::Write { register: Some(first), value: written }];
        let other = key(random.between(0, u64::from(around.plan.keys) - 1));
        if random.chance(50) {
            then.push(Op::Delete(Delete { range: KeyRange::single(other), previous: false }));
            steps.push(Step::Other);
        } else {
            let written = around.next_value();
            then.push(Op::Put(put(other, written, Some(0), false)));
            steps.push(Step::Write { register: None, value: written });
        }
        let request = Request::Txn(Txn { guards: Vec::new(), then, otherwise: Vec::new() });
        Asked { request, steps: Steps { then: steps, ..Steps::default() } }
    }

    fn guard(&self, around: &Surroundings<'_>, random: &mut Random, number: u32) -> (Guard, bool) {
        let comparison = random.pick(&[Comparison::Equal, Comparison::NotEqual, Comparison::Greater, Comparison::Less]);
        let (operand, must_fail) = match (random.below(4), around.foreign) {
            (0, Some(foreign)) => (Operand::ModRevision(foreign), true),
            (0 | 1, _) => (Operand::ModRevision(self.revision), false),
            (2, _) => (Operand::Version(random.between(0, 3) as i64), false),
            _ => (Operand::CreateRevision(0), false),
        };
        (Guard { range: KeyRange::single(register(number)), operand, comparison }, must_fail)
    }

    fn put_key(&self, around: &mut Surroundings<'_>, random: &mut Random) -> Asked {
        let written = around.next_value();
        let lease = if random.chance(50) { self.lease } else { around.lease };
        let lease = lease.filter(|_| random.chance(60)).unwrap_or(0);
        let number = random.between(0, u64::from(around.plan.keys) - 1);
        let request = Request::Put(put(key(number), written, Some(lease), random.chance(20)));
        Asked {
            request,
            steps: Steps { then: vec![Step::Write { register: None, value: written }], ..Steps::default() },
        }
    }

    fn lease_action(&self, around: &mut Surroundings<'_>, random: &mut Random) -> Action {
        match self.lease {
            Some(id) if random.chance(30) => Action::Write(Asked::plain(Request::LeaseRevoke { id })),
            Some(id) => Action::Renew(id),
            None => {
                // Values are unique over all sites, and so are leases made from them.
                let id = around.next_value() as i64;
                Action::Write(Asked::plain(Request::LeaseGrant { id, ttl_s: random.between(2, 6) as i64 }))
            }
        }
    }

    /// What a client that was answered knows of its lease now.
    pub(crate) fn note_lease(&mut self, request: &Request, is_done: bool) {
        match request {
            Request::LeaseGrant { id, .. } if is_done => self.lease = Some(*id),
            Request::LeaseRevoke { .. } => self.lease = None,
            Request::Put(Put { lease, .. }) if !is_done && *lease == self.lease => self.lease = None,
            _ => {}
        }
    }
}

impl Surroundings<'_> {
    fn next_value(&mut self) -> u64 {
        *self.values += 1;
        *self.values
    }
}

impl Asked {
    fn plain(request: Request) -> Self {
        Self { request, steps: Steps::default() }
    }

    /// Whether the guards must fail everywhere.
    pub(crate) fn must_fail(&self) -> bool {
        self.steps.must_fail
    }

    /// What the answer tells. `None` when a guard held that must not hold anywhere.
    pub(crate) fn learn(&self, answer: &Answer) -> Option<Learned> {
        let mut learned = Learned::default();
        match &answer.outcome {
            Outcome::Put(answer) => {
                for step in &self.steps.then {
                    let read = answer.previous.as_ref().map_or(0, |pair| number(&pair.value));
                    learned.take(step, read);
                }
            }
            Outcome::Txn(answer) => {
                if answer.succeeded && self.steps.must_fail {
                    return None;
                }
                let steps = if answer.succeeded { &self.steps.then } else { &self.steps.otherwise };
                for (step, result) in steps.iter().zip(&answer.results) {
                    let OpAnswer::Range(range) = result else {
                        learned.take(step, 0);
                        continue;
                    };
                    learned.take(step, range.pairs.first().map_or(0, |pair| number(&pair.value)));
                }
            }
            Outcome::System => self.steps.then.iter().for_each(|step| learned.take(step, 0)),
            _ => {}
        }
        Some(learned)
    }

    /// The writes that happened, when the answer was lost: those whose values are in some store.
    pub(crate) fn doubtful(&self, is_there: impl Fn(&Bytes) -> bool) -> Vec<Access> {
        let steps = self.steps.then.iter().chain(&self.steps.otherwise);
        let written = steps.filter_map(|step| match step {
            Step::Write { register: Some(key), value: written } if is_there(&value(*written)) => {
                Some(Access::Write { key: *key, value: *written })
            }
            _ => None,
        });
        written.collect()
    }
}

impl Learned {
    fn take(&mut self, step: &Step, read: u64) {
        match *step {
            Step::Write { register, value: written } => {
                self.acknowledged.push(value(written));
                self.accesses.extend(register.map(|key| Access::Write { key, value: written }));
            }
            Step::Read { register } => self.accesses.push(Access::Read { key: register, value: read }),
            Step::Other => {}
        }
    }
}

/// So many keys that removing them all is one removal of a range; or that removal.
fn crowd(around: &mut Surroundings<'_>, random: &mut Random) -> Asked {
    if random.chance(50) {
        let range = KeyRange::before("m/".into(), "m0".into());
        return Asked::plain(Request::Delete(Delete { range, previous: false }));
    }
    let (mut then, mut steps) = (Vec::new(), Vec::new());
    for number in 0..CROWD {
        let written = around.next_value();
        then.push(Op::Put(put(format!("m/{number:02}").into(), written, Some(0), false)));
        steps.push(Step::Write { register: None, value: written });
    }
    let request = Request::Txn(Txn { guards: Vec::new(), then, otherwise: Vec::new() });
    Asked { request, steps: Steps { then: steps, ..Steps::default() } }
}

/// More keys than a record removes by name.
const CROWD: usize = 70;

fn put(key: Bytes, written: u64, lease: Option<i64>, previous: bool) -> Put {
    Put { key, value: Some(value(written)), lease, previous }
}

fn read_op(number: u32) -> Op {
    Op::Range(RangeQuery::all(KeyRange::single(register(number))))
}

fn delete(random: &mut Random, plan: &Plan) -> Asked {
    let range = KeyRange::single(key(random.between(0, u64::from(plan.keys) - 1)));
    Asked::plain(Request::Delete(Delete { range, previous: random.chance(20) }))
}

#[cfg(test)]
mod tests {
    use super::{number, value};

    #[test]
    fn values_read_back() {
        assert_eq!(number(&value(1234)), 1234);
        assert_eq!(number(b"else"), 0);
    }
}
