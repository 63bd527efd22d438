//! The writing side of a store.

use std::sync::Arc;

use crate::{Answer, Commit, CommitError, Request, RequestError, WallTime};

/// The writing side of a store. There is one for each store.
pub struct Committer {}

#[expect(unused_variables, missing_docs, clippy::unimplemented, clippy::missing_errors_doc, reason = "signatures first")]
impl Committer {
    pub fn execute(&mut self, wall: WallTime, request: Request) -> Result<Answer, RequestError> {
        unimplemented!()
    }
    pub fn commit(&mut self) -> Result<Vec<Arc<Commit>>, CommitError> {
        unimplemented!()
    }
    pub fn pending(&self) -> usize {
        unimplemented!()
    }
    pub fn maintain(&mut self, wall: WallTime) -> Result<bool, CommitError> {
        unimplemented!()
    }
    pub fn close(self) -> Result<(), CommitError> {
        unimplemented!()
    }
}
