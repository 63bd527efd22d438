//! `Mesh.Enter`: a tail as it comes from a client, in pieces.

use tombolo_proto::v1::{MeshEnterRequest, MeshEnterResponse};
use tombolo_storage::{TailIntake, TailLeases};
use tonic::{Status, Streaming};

use crate::{
    etcd::status::Fault,
    mesh::entering::{self, By, Done, EnterError},
    replica::Replica,
};

/// Takes a tail in and enters it.
pub(super) async fn take(
    replica: &Replica,
    mut requests: Streaming<MeshEnterRequest>,
) -> Result<MeshEnterResponse, Status> {
    let mut intake = TailIntake::new(&replica.store);
    let (mut leases, mut checked) = (TailLeases::LeftOut, 0);
    while let Some(request) = requests.message().await? {
        if request.leased {
            leases = TailLeases::Unbound;
        }
        intake.take(&request.data).map_err(|why| Fault::from(EnterError::from(why)))?;
        for stream in intake.streams().skip(checked) {
            entering::check(replica, stream.author).map_err(Fault::from)?;
            checked += 1;
        }
    }
    let tail = intake.finish().map_err(|why| Fault::from(EnterError::from(why)))?;
    let done = entering::enter(replica, tail, By::Operator(leases)).await.map_err(Fault::from)?;
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
