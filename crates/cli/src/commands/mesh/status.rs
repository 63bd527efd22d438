//! `mesh status`: asks once, or again and again until the endpoint has converged with its peers.

use std::time::{Duration, Instant};

use tombolo_proto::v1::{DigestComparison, MemberState, MeshStatusRequest, MeshStatusResponse, Peer, PeerState};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::duration::GoDuration,
    output::{Answer, peer_name},
};

/// Between two questions while waiting.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context, wait: Option<GoDuration>) -> Result<(), Failure> {
    let started = Instant::now();
    let mut response = ask(context).await?;
    let Some(wait) = wait else { return context.printer.print(&Answer::MeshStatus(&response)) };
    while !obstacles(&response).is_empty() && started.elapsed() < wait.0 {
        tokio::time::sleep(PAUSE).await;
        response = ask(context).await?;
    }
    context.printer.print(&Answer::MeshStatus(&response))?;
    match obstacles(&response) {
        obstacles if obstacles.is_empty() => Ok(()),
        obstacles => {
            let message = format!("not converged after {wait}: {}", obstacles.join("; "));
            Err(Failure::new(Exit::NotConverged, message))
        }
    }
}

async fn ask(context: &Context) -> Result<MeshStatusResponse, Failure> {
    context.call(context.client.mesh().status(MeshStatusRequest {})).await
}

/// What keeps the endpoint from having converged, peer by peer.
fn obstacles(response: &MeshStatusResponse) -> Vec<String> {
    let of = |peer: &Peer| obstacle(peer).map(|what| format!("{} {what}", peer_name(peer)));
    response.peers.iter().filter_map(of).collect()
}

fn obstacle(peer: &Peer) -> Option<String> {
    // Nobody waits for a parked site.
    if peer.membership() == MemberState::Parked && peer.state() != PeerState::Connected {
        return None;
    }
    if peer.state() != PeerState::Connected {
        return Some("is not connected".to_owned());
    }
    match (peer.records_behind, peer.records_ahead, peer.digests()) {
        (Some(0), Some(0), DigestComparison::Equal) => None,
        (Some(0), Some(0), DigestComparison::Different) => Some("holds different data".to_owned()),
        (Some(0), Some(0), _) => Some("has not been compared".to_owned()),
        (Some(behind), Some(ahead), _) => Some(format!("lacks {behind} records and has {ahead} more")),
        _ => Some("has not said yet what it has".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(state: PeerState, behind: Option<u64>, ahead: Option<u64>, digests: DigestComparison) -> Peer {
        let mut peer =
            Peer { name: "ship".to_owned(), records_behind: behind, records_ahead: ahead, ..Default::default() };
        peer.set_state(state);
        peer.set_digests(digests);
        peer
    }

    #[test]
    fn converged_is_connected_with_nothing_behind_either_way_and_equal_digests() {
        use DigestComparison::{Different, Equal, Unknown};
        use PeerState::{Connected, Unreachable};
        let found = |peer: Peer| obstacles(&MeshStatusResponse { peers: vec![peer], ..Default::default() });
        assert!(found(peer(Connected, Some(0), Some(0), Equal)).is_empty());
        assert!(obstacles(&MeshStatusResponse::default()).is_empty(), "a mesh of one has converged");
        for (peer, words) in [
            (peer(Unreachable, Some(0), Some(0), Equal), "not connected"),
            (peer(Connected, Some(3), Some(0), Unknown), "lacks 3 records"),
            (peer(Connected, Some(0), Some(2), Unknown), "2 more"),
            (peer(Connected, Some(0), Some(0), Different), "different data"),
            (peer(Connected, Some(0), Some(0), Unknown), "not been compared"),
            (peer(Connected, None, None, Equal), "not said yet"),
        ] {
            let found = found(peer);
            assert!(found.len() == 1 && found[0].starts_with("ship ") && found[0].contains(words), "{found:?}");
        }
    }
}
