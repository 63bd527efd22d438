//! Brings the node up once the store answers, and says in the mesh where it can be reached.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::lookup_host;
use tombolo_net::{Announcement, Limits, Node, NodeConfig, Rates, StartError, SystemKey, TreePolicy};
use tracing::{info, warn};

use super::{Link, host::PeerHost, invitations, succession};
use crate::{config::Config, failure::Failure, replica::Replica};

/// Listens for peers and dials them. An address that nobody chose may be taken as long as there are no peers.
pub(crate) async fn start(replica: &Arc<Replica>, config: &Config) -> Result<(), Failure> {
    let mesh = &replica.mesh;
    introduce(replica).await;
    succession::tell(replica).await;
    let listening = match resolve(&config.peer_listener).await {
        Ok(address) => listen(replica, address, config.peer_rates).map_err(|source| Failure::Peers { source }),
        Err(source) => Err(Failure::Listen { address: config.peer_listener.clone(), source }),
    };
    match listening {
        Ok(node) => {
            if let Ok(local) = node.local_addr() {
                name_the_port(&mut mesh.announcement.lock(), local);
            }
            info!(address = %config.peer_listener, replica = %mesh.own(), mesh = %format_args!("{:032x}", mesh.id()), "listening for peers");
            *mesh.link.write() = Link::Up(node);
            announce(replica).await;
            Ok(())
        }
        Err(failure) => {
            let is_alone = mesh.membership.is_none() && mesh.roster().members().count() <= 1;
            if config.is_peer_listener_chosen || !is_alone {
                return Err(failure);
            }
            warn!("{failure}; no other site can join until that is mended");
            *mesh.link.write() = Link::Down(failure.to_string());
            Ok(())
        }
    }
}

/// Says how we came in, as our first record. Without it those who have not heard of us take nothing of ours.
async fn introduce(replica: &Replica) {
    let Some(write) = replica.mesh.introduction(&replica.store) else { return };
    if let Err(why) = invitations::write(replica, vec![write]).await {
        warn!(%why, "the mesh was not told how this server was admitted");
    }
}

fn listen(replica: &Arc<Replica>, listen: SocketAddr, rates: Rates) -> Result<Node, StartError> {
    let mesh = &replica.mesh;
    let membership = mesh.membership.as_ref();
    let node = NodeConfig {
        listen,
        key: mesh.key.clone(),
        mesh: mesh.id(),
        own: mesh.own(),
        chain: mesh.chain(),
        contacts: membership.iter().map(|membership| membership.contact()).collect(),
        limits: Limits::default(),
        tree: TreePolicy::default(),
        rates,
    };
    Node::start(node, Arc::new(PeerHost::new(Arc::clone(replica))))
}

pub(super) async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let first = lookup_host(address).await?.min_by_key(SocketAddr::is_ipv6);
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name stands for no address"))
}

/// Puts the port that the system has chosen in the place of 0.
fn name_the_port(announcement: &mut Announcement, local: SocketAddr) {
    for address in &mut announcement.addresses {
        if let Some(host) = address.strip_suffix(":0") {
            *address = format!("{host}:{}", local.port());
        }
    }
}

/// Tells the mesh what we say of ourselves, if that is news. Who is alone tells nobody.
async fn announce(replica: &Replica) {
    let mesh = &replica.mesh;
    let ours = mesh.announcement.lock().clone();
    let roster = mesh.roster();
    let is_news = roster.member(mesh.own()).is_some_and(|member| member.announcement.as_ref() != Some(&ours));
    if !is_news {
        return;
    }
    let write = invitations::put(SystemKey::Announcement(mesh.own()), ours.encode());
    if let Err(why) = invitations::write(replica, vec![write]).await {
        warn!(%why, "the mesh was not told where this server can be reached");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_system_chose_is_announced() {
        let addresses = vec!["a:0".to_owned(), "b:20".to_owned()];
        let mut announcement = Announcement { addresses, ..Announcement::default() };
        name_the_port(&mut announcement, SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert_eq!(announcement.addresses, ["a:4711", "b:20"]);
    }
}
