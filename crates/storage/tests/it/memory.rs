//! A store on the memory engine, with the engine in hand: to crash it, damage it, and look at its rows.

use std::sync::Arc;

use tombolo_storage::{
    Answer, Commit, Committer, OpenError, Request, RequestError, Store, WallTime,
    engine::{Engine, memory::MemoryEngine},
};

use crate::support::{NOW, options};

/// A store, its engine, and a clock that stands until it is pushed.
pub(crate) struct Bench {
    pub(crate) engine: Arc<MemoryEngine>,
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) wall: WallTime,
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

    pub(crate) fn try_on(engine: MemoryEngine, wall: WallTime) -> Result<Self, OpenError> {
        let engine = Arc::new(engine);
        let mut options = options();
        options.wall = wall;
        let (store, committer) = Store::open_on(Box::new(Arc::clone(&engine)), &options)?;
        Ok(Self { engine, store, committer, wall })
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
        let wall = self.wall;
        Self::try_on(self.stop(how), wall).expect("the rows open again")
    }

    /// The numbers of the commit rows there are.
    pub(crate) fn commit_rows(&self) -> Vec<u64> {
        let snapshot = self.engine.snapshot();
        let keys = snapshot.scan(b"c", b"d").map(|row| row.expect("memory reads").0);
        keys.map(|key| u64::from_be_bytes(key[1..].try_into().expect("a commit row's key has nine bytes"))).collect()
    }
}
