//! `Mesh.Enter`: a tail as it comes from a client, in pieces.

use tombolo_proto::v1::{MeshEnterRequest, MeshEnterResponse};
use tombolo_storage::TailIntake;
use tonic::{Status, Streaming};

use crate::{
    etcd::status::Fault,
    mesh::entering::{self, Done, EnterError},
    replica::Replica,
};

/// Takes a tail in and enters it.
pub(super) async fn take(
    replica: &Replica,
    mut requests: Streaming<MeshEnterRequest>,
) -> Result<MeshEnterResponse, Status> {
    let mut intake = TailIntake::new(&replica.store);
    let (mut leased, mut is_checked) = (false, false);
    while let Some(request) = requests.message().await? {
        leased |= request.leased;
        intake.take(&request.data).map_err(|why| Fault::from(EnterError::from(why)))?;
        if let Some(facts) = intake.facts().filter(|_| !is_checked) {
            entering::check(replica, facts.author).map_err(Fault::from)?;
            is_checked = true;
        }
    }
    let tail = intake.finish().map_err(|why| Fault::from(EnterError::from(why)))?;
    let done = entering::enter(replica, tail, leased).await.map_err(Fault::from)?;
    Ok(told(done))
}

fn told(done: Done) -> MeshEnterResponse {
    MeshEnterResponse {
        author: done.author.get(),
        last: done.last,
        records: done.records,
        put: done.entered.put,
        removed: done.entered.removed,
        outdone: done.entered.outdone,
        leased: done.leased,
        system: done.system,
        was_entered: done.was_entered,
    }
}

impl From<EnterError> for Fault {
    fn from(why: EnterError) -> Self {
        match why {
            EnterError::Tail(_) => Self::BadTail { what: why.to_string() },
            EnterError::Member { .. } | EnterError::Open { .. } | EnterError::Own => {
                Self::CannotChangeMember { what: why.to_string() }
            }
            EnterError::Commit(refusal) => refusal.into(),
        }
    }
}
