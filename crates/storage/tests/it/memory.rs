//! A store on the memory engine, with the engine in hand: to crash it, damage it, and look at its rows.

use std::sync::Arc;

use tombolo_storage::{
    Answer, Commit, Committer, OpenError, OpenOptions, Request, RequestError, Store, WallTime,
    engine::{Engine, memory::MemoryEngine},
};

use crate::support::NOW;

const ENTROPY: u8 = 7;

/// Randomness that gives a mesh, a replica and its private layer different names, ordered as the seed is.
pub(crate) fn entropy_of(seed: u8) -> [u8; 32] {
    std::array::from_fn(|at| seed.wrapping_add((at / 8) as u8 * 64))
}

/// A store, its engine, and a clock that stands until it is pushed.
pub(crate) struct Bench {
    pub(crate) engine: Arc<MemoryEngine>,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) wall: WallTime,
    /// What the store's identity is made from.
    entropy: u8,
}

/// How a store stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Cleanly.
    Close,
    /// The process dies; the machine goes on.
    Kill,
    /// The machine stops.
    Crash,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::on(MemoryEngine::new())
    }

    pub(crate) fn on(engine: MemoryEngine) -> Self {
        Self::try_on(engine, NOW).expect("the rows open")
    }

    /// The store of an identity of its own, on an engine that is there.
    pub(crate) fn on_as(engine: MemoryEngine, entropy: u8) -> Self {
        Self::open(engine, NOW, entropy).expect("the rows open")
    }

    /// A store of an identity of its own.
    pub(crate) fn of(entropy: u8, wall: WallTime) -> Self {
        Self::open(MemoryEngine::new(), wall, entropy).expect("the rows open")
    }

    pub(crate) fn try_on(engine: MemoryEngine, wall: WallTime) -> Result<Self, OpenError> {
        Self::open(engine, wall, ENTROPY)
    }

    fn open(engine: MemoryEngine, wall: WallTime, entropy: u8) -> Result<Self, OpenError> {
        let engine = Arc::new(engine);
        let options = OpenOptions::new(wall, entropy_of(entropy));
        let (store, committer) = Store::open_on(Box::new(Arc::clone(&engine)), &options)?;
        Ok(Self { engine, store, committer, wall, entropy })
    }

    /// A store that is opened with these options.
    pub(crate) fn with(engine: Arc<MemoryEngine>, options: &OpenOptions) -> Self {
        let (store, committer) = Store::open_on(Box::new(Arc::clone(&engine)), options).expect("the rows open");
        Self { engine, store, committer, wall: options.wall, entropy: options.entropy[0] }
    }

    pub(crate) fn try_run(&mut self, request: Request) -> Result<Answer, RequestError> {
        self.committer.execute(self.wall, request)
    }

    /// Executes and commits one request.
    pub(crate) fn run(&mut self, request: Request) -> Answer {
        let answer = self.try_run(request).expect("the request is carried out");
        self.commit();
        answer
    }

    pub(crate) fn commit(&mut self) -> Vec<Arc<Commit>> {
        self.committer.commit().expect("the group commits")
    }

    pub(crate) fn compact(&mut self, revision: i64) {
        self.run(Request::Compact { revision });
    }

    /// Lets the time pass for which history is kept beyond a compaction.
    pub(crate) fn pass_grace(&mut self) {
        self.wall.0 += 30_001;
    }

    /// Does all the housekeeping that is due once the grace has passed. Returns the slices it took.
    pub(crate) fn sweep(&mut self) -> usize {
        self.pass_grace();
        let mut slices = 1;
        while self.committer.maintain(self.wall).expect("housekeeping works") {
            slices += 1;
        }
        slices
    }

    pub(crate) fn stop(self, how: Stop) -> MemoryEngine {
        match how {
            Stop::Close => {
                self.committer.close().expect("the store closes");
                self.engine.crash()
            }
            Stop::Kill => self.engine.kill(),
            Stop::Crash => self.engine.crash(),
        }
    }

    pub(crate) fn reopen(self, how: Stop) -> Self {
        let (wall, entropy) = (self.wall, self.entropy);
        Self::open(self.stop(how), wall, entropy).expect("the rows open again")
    }

    /// The rows of this store under the name that another entropy makes.
    pub(crate) fn reopen_as(self, how: Stop, entropy: u8) -> Self {
        let wall = self.wall;
        Self::open(self.stop(how), wall, entropy).expect("the rows open under another name")
    }

    /// How many rows of a kind there are.
    pub(crate) fn rows_of(&self, kind: u8) -> usize {
        self.engine.snapshot().scan(&[kind], &[kind + 1]).count()
    }

    /// The numbers of the commit rows there are.
    pub(crate) fn commit_rows(&self) -> Vec<u64> {
        let snapshot = self.engine.snapshot();
        let keys = snapshot.scan(b"c", b"d").map(|row| row.expect("memory reads").0);
        keys.map(|key| u64::from_be_bytes(key[1..].try_into().expect("a commit row's key has nine bytes"))).collect()
    }
}
