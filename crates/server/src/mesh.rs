//! This replica's place in the mesh: who it is to its peers, whom it believes, and the node that talks to them.
//!
//! The mesh follows the published commits as watchers and leases do. What peers are told is made of published state alone, so
//! nothing is offered before it is durable here; what they send goes through the one committer like every other write.
//!
//! What is interesting lies in `tombolo-net`. Here its needs are met: records and a place to put them ([`host`]), a roster from the replicated
//! system data, tickets ([`invitations`]), the way in ([`joining`]), and a memory of what is wrong ([`alarms`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::{Mutex as Turn, watch};
use tombolo_crdt::ReplicaId;
use tombolo_net::{
    Admission, Announcement, KeyPair, Limits, Member, Node, PeerView, PublicKey, Roster, RosterEntry, Signer,
    SlotRange, Stability, Standing, SystemKey, TicketId,
};
use tombolo_proto::v1::MeshAlarmKind;
use tombolo_storage::{Commit, Identity, Store, SystemEntry, SystemWrite};
use tracing::warn;

use self::{
    alarms::{Alarms, Raised},
    away::Away,
    comparisons::Comparisons,
    membership::Membership,
    transfers::Transfers,
    words::Words,
};
use crate::{
    clock::{self, Uptime},
    config::Config,
};

pub(crate) use self::{copies::leave_mesh, joining::founding, node::start};
pub use self::{file::FileError, joining::JoinFailure, key::CreateError, salvage::SalvageFailure};

pub(crate) mod alarms;
pub(crate) mod aside;
mod away;
pub(crate) mod comparisons;
mod copies;
mod disputes;
pub(crate) mod entering;
pub(crate) mod errands;
mod file;
mod host;
pub(crate) mod invitations;
mod joining;
mod key;
mod membership;
mod node;
pub(crate) mod repair;
mod retention;
pub(crate) mod salvage;
pub(crate) mod states;
mod succession;
pub(crate) mod transfers;
mod upkeep;
mod words;

/// This replica's place in the mesh.
pub(crate) struct Mesh {
    identity: Identity,
    /// The names that we have had in this mesh, the present one last.
    names: Vec<ReplicaId>,
    key: KeyPair,
    /// Signs what we offer.
    signer: Signer,
    /// How we came in; a founder has none.
    membership: Option<Membership>,
    /// What admits the present name of this replica, when it had another one before and the mesh has not heard of this one.
    succession: Vec<Admission>,
    /// What we say of ourselves, but for the addresses when the system chose the port.
    announcement: Mutex<Announcement>,
    standing: watch::Sender<Arc<Standing>>,
    roster: watch::Sender<Arc<Roster>>,
    pub(crate) away: Away,
    alarms: Mutex<Alarms>,
    /// What every member is known to have applied.
    stability: Mutex<Stability>,
    /// Peers that say that we were removed.
    turned_out_by: Mutex<BTreeSet<ReplicaId>>,
    /// Whether we were, as far as we know.
    is_removed: AtomicBool,
    /// When something was last heard of each member.
    words: Words,
    /// Whose leases the store was told somebody else counts.
    told_homes: Mutex<BTreeMap<ReplicaId, ReplicaId>>,
    /// Since when we know that we are parked, since the server started.
    parked_since: Mutex<Option<Instant>>,
    /// A peer disputes what we wrote: see [`Mesh::disown`].
    is_disowned: AtomicBool,
    /// Turns true when the replica has to be opened anew, under another name.
    name_lost: watch::Sender<bool>,
    /// Held by whoever hands out slots.
    handing_out: Turn<()>,
    /// Held by whoever enters a tail.
    entering: Turn<()>,
    link: RwLock<Link>,
    pub(crate) transfers: Transfers,
    /// When our data were compared with whose.
    pub(crate) comparisons: Comparisons,
}

/// The connection to the others.
enum Link {
    /// Not yet, or not any more.
    Down(String),
    Up(Node),
}

/// Why a replica cannot take its place in the mesh.
#[derive(Debug, Error)]
pub enum MeshError {
    /// A small file of the folder was not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no key pair.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The mesh knows this replica by a key that the folder does not have.
    #[error(
        "the mesh knows replica {replica} by the key {known}, and the data folder {}; restore its file KEY: \
         nobody may speak under that name without it",
        match found { Some(found) => format!("has the key {found}"), None => "has lost its own".to_owned() }
    )]
    Key {
        /// The replica.
        replica: ReplicaId,
        /// The key that was admitted.
        known: PublicKey,
        /// The key in the folder.
        found: Option<PublicKey>,
    },
    /// The folder's files speak of different replicas.
    #[error("MEMBERSHIP is that of replica {found}, and the store that of {replica}: files of two folders were mixed")]
    Mixed {
        /// The store's.
        replica: ReplicaId,
        /// That of the file.
        found: ReplicaId,
    },
    /// Somebody else goes on in this replica's place.
    #[error(
        "the mesh knows {successor} as the successor of this folder's replica {replica}: this folder is a copy, or was set back; \
         start it with --join and a new ticket"
    )]
    Succeeded {
        /// The name that the folder has, or had.
        replica: ReplicaId,
        /// Who has taken its place.
        successor: ReplicaId,
    },
}

impl Mesh {
    /// Takes the place of the store's replica. `folder` is where the key is kept.
    pub(crate) fn open(folder: &Path, store: &Store, config: &Config, uptime: Uptime) -> Result<Self, MeshError> {
        let identity = store.identity();
        let replica = identity.replica;
        let membership = Membership::load(folder)?.filter(|membership| membership.admission().is_some());
        let names = succession::names(store);
        let is_ours = |membership: &&Membership| names.contains(&membership.replica);
        if let Some(Membership { replica: found, .. }) = membership.as_ref().filter(|known| !is_ours(known)) {
            return Err(MeshError::Mixed { replica, found: *found });
        }
        let known = roster(identity, brought(membership.as_ref(), &[]), store);
        let found = key::load(folder)?;
        let of_name = names.iter().rev().find_map(|name| known.member(*name)).map(Member::key);
        let (roster_before, known) = (known, of_name);
        let key = match (found, known) {
            (Some(found), None) => found,
            (Some(found), Some(known)) if found.public() == known => found,
            (None, None) => key::create(folder)?,
            (found, Some(known)) => {
                return Err(MeshError::Key { replica, known, found: found.map(|key| key.public()) });
            }
        };
        let (joined, wall_ms) = (membership.is_some(), clock::wall().0);
        let succession = succession::admissions(identity.mesh.0, &names, &key, &roster_before, joined, wall_ms)?;
        let roster = roster(identity, brought(membership.as_ref(), &succession), store);
        let mesh = Self {
            identity,
            names,
            signer: Signer::new(identity.mesh.0, replica, key.clone()),
            key,
            membership,
            succession,
            announcement: Mutex::new(announcement(config)),
            standing: watch::Sender::new(Arc::new(standing(store))),
            roster: watch::Sender::new(Arc::new(roster)),
            away: Away::new(uptime),
            alarms: Mutex::default(),
            stability: Mutex::default(),
            turned_out_by: Mutex::default(),
            is_removed: AtomicBool::new(false),
            words: Words::new(uptime),
            told_homes: Mutex::default(),
            parked_since: Mutex::default(),
            is_disowned: AtomicBool::new(false),
            name_lost: watch::Sender::new(false),
            handing_out: Turn::new(()),
            entering: Turn::new(()),
            link: RwLock::new(Link::Down("the server is starting".to_owned())),
            transfers: Transfers::new(store),
            comparisons: Comparisons::default(),
        };
        mesh.hold_log(store);
        mesh.move_leases(store);
        mesh.note_parking();
        Ok(mesh)
    }

    /// Follows published commits: whom we believe, and what peers are offered. Returns whether the members may have changed.
    pub(crate) fn follow(&self, store: &Store, commits: &[Arc<Commit>]) -> bool {
        let may_concern = commits.iter().any(|commit| !commit.system.is_empty());
        if may_concern {
            let roster = roster(self.identity, brought(self.membership.as_ref(), &self.succession), store);
            let before = self.roster.send_replace(Arc::new(roster));
            self.note_successions(&before, &self.roster(), self.away.now());
            self.hold_log(store);
            self.note_parking();
        }
        let standing = standing(store);
        self.away.advanced(&standing.frontier);
        self.standing.send_replace(Arc::new(standing));
        may_concern
    }

    /// Waits until all sessions can know of a published commit. Before that no peer is handed anything of it: one that showed us records of our own
    /// which a session does not know of would be taken for a sign that we have lost them.
    pub(crate) async fn can_be_known(&self, commit: u64) {
        let mut standing = self.standing.subscribe();
        // The sender lives as long as we do.
        let _ = standing.wait_for(|standing| standing.commit >= commit).await;
    }

    pub(crate) fn id(&self) -> u128 {
        self.identity.mesh.0
    }

    pub(crate) fn own(&self) -> ReplicaId {
        self.identity.replica
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// The other members as the node sees them; none while it is not up.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        match &*self.link.read() {
            Link::Up(node) => node.peers(),
            Link::Down(_) => Vec::new(),
        }
    }

    /// How many bytes a record has on the whole, as far as that is known.
    pub(crate) fn mean_record_bytes(&self) -> Option<u64> {
        match &*self.link.read() {
            Link::Up(node) => node.mean_record_bytes(),
            Link::Down(_) => None,
        }
    }

    /// What is wrong now. What the peers say of themselves ends some of it.
    pub(crate) fn alarms(&self) -> Vec<Raised> {
        let peers = self.peers();
        let quarantined = match &*self.link.read() {
            Link::Up(node) => node.quarantined(),
            Link::Down(_) => Vec::new(),
        };
        let roster = self.roster();
        let mut alarms = self.alarms.lock();
        alarms.keep(|kind, peer| match kind {
            // What a peer tells of somebody who was removed, or tells us of ourselves, is of concern still.
            MeshAlarmKind::Late | MeshAlarmKind::Removed | MeshAlarmKind::AheadOfUs => true,
            _ if roster.is_removed(peer) => false,
            MeshAlarmKind::Quarantined => quarantined.iter().any(|held| held.replica == peer),
            _ => true,
        });
        let now = self.away.now();
        for view in peers {
            let compared = self.comparisons.latest(now, &view);
            let PeerView { replica, status, .. } = view;
            if status.is_established && compared.is_some_and(|compared| compared.is_equal) {
                alarms.lower(MeshAlarmKind::Corrupt, replica);
            }
            if status.is_established && status.skew_ms.unsigned_abs() <= Limits::default().skew_ms {
                alarms.lower(MeshAlarmKind::Skew, replica);
            }
        }
        alarms.list()
    }

    /// The names of alarms for which this server's data, or its name, may not be what it should be.
    pub(crate) fn disputes(&self) -> BTreeSet<&'static str> {
        let raised = self.alarms();
        let name = |raised: &Raised| match raised.kind {
            MeshAlarmKind::Corrupt => Some("CORRUPT"),
            MeshAlarmKind::Forked => Some("FORKED"),
            MeshAlarmKind::AheadOfUs => Some("AHEAD_OF_US"),
            _ => None,
        };
        raised.iter().filter_map(name).collect()
    }

    /// Writes nothing more under this replica's name until it is opened anew: a peer has other records under it, or more. Answers whether
    /// that was known.
    fn disown(&self) -> bool {
        self.is_disowned.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_disowned(&self) -> bool {
        self.is_disowned.load(Ordering::Relaxed)
    }

    /// What a person calls a replica: its name and its id, as far as they are known.
    pub(crate) fn call(&self, replica: ReplicaId) -> String {
        let roster = self.roster();
        let name =
            roster.member(replica).and_then(|member| member.announcement.as_ref()).map(|said| said.name.as_str());
        match name {
            Some(name) if !name.is_empty() => format!("{name} ({replica})"),
            _ => replica.to_string(),
        }
    }

    /// Says farewell to the peers and takes nothing more from them.
    pub(crate) async fn stop(&self) {
        let link = std::mem::replace(&mut *self.link.write(), Link::Down("the server is stopping".to_owned()));
        if let Link::Up(node) = link
            && tokio::time::timeout(FAREWELL, node.stop()).await.is_err()
        {
            warn!("some peers were not told in time that the server stops");
        }
    }

    /// Where peers are told to connect; the reason when nobody can.
    fn addresses(&self) -> Result<Vec<String>, String> {
        match &*self.link.read() {
            Link::Up(_) => Ok(self.announcement.lock().addresses.clone()),
            Link::Down(why) => Err(why.clone()),
        }
    }

    fn own_slots(&self) -> SlotRange {
        self.roster().terms(self.own()).map_or(SlotRange::ALL, |terms| terms.slots)
    }

    fn handed_down(&self) -> Vec<SlotRange> {
        let roster = self.roster();
        let everybody: Vec<_> = roster.members().chain(roster.succeeded()).collect();
        let terms = everybody.iter().map(|member| &member.admission.terms);
        // What a removed member has not handed down comes back when its records have ended, but for the slot that it counted in: so whoever
        // takes its place counts above it.
        let has_ended = |replica| {
            let heir = roster.heir(replica);
            roster.is_removed(heir) && roster.frozen().contains(&heir)
        };
        invitations::handed_down(&self.names, terms, has_ended)
    }

    /// Whom we admitted with a ticket.
    fn admitted_with(&self, ticket: TicketId) -> Option<Admission> {
        let roster = self.roster();
        let mut admissions = roster.members().map(|member| member.admission);
        admissions
            .find(|found| found.terms.issuer == self.own() && found.terms.ticket == ticket && !found.is_founders())
    }

    /// Whether somebody is known by that name or that key.
    fn knows(&self, replica: ReplicaId, key: &PublicKey) -> bool {
        let roster = self.roster();
        replica == self.own() || roster.member(replica).is_some() || roster.by_key(key).is_some()
    }

    /// What whoever was admitted writes before anything else: the admissions that prove it, so that whoever meets its records finds there
    /// whose they are. A founder needs none, for it is above all others.
    fn introduction(&self, store: &Store) -> Option<SystemWrite> {
        let chain = self.roster().chain_for(self.own());
        let key = SystemKey::Proof(self.own());
        let proof = Admission::encode_chain(&chain);
        let is_known = |entry: SystemEntry| entry.siblings.iter().any(|sibling| sibling.value == proof);
        let is_said = store.system(key.to_string().as_bytes()).into_iter().any(is_known);
        let is_needed = chain.first().is_some_and(|admission| !admission.is_founders());
        (is_needed && !is_said).then(|| invitations::put(key, proof))
    }

    /// What a founder writes before its first invitation: its own admission, and what it says of itself.
    fn founding_writes(&self) -> Vec<SystemWrite> {
        let own = self.own();
        if self.roster().member(own).is_some() {
            return Vec::new();
        }
        let admission = Admission::founder(self.id(), own, &self.key).encode();
        let announcement = self.announcement.lock().encode();
        vec![
            invitations::put(SystemKey::Admission(own), admission),
            invitations::put(SystemKey::Announcement(own), announcement),
        ]
    }
}

/// How long the farewell to peers may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What this server says of itself.
pub(crate) fn announcement(config: &Config) -> Announcement {
    Announcement {
        name: sayable(&config.name),
        addresses: bounded(&config.advertised_peer_addresses),
        client_urls: bounded(&config.advertised_client_urls),
        kinds: u8::try_from(tombolo_net::OPERATION_KIND_MAX).unwrap_or(u8::MAX),
    }
}

fn bounded(texts: &[String]) -> Vec<String> {
    let fit = texts.iter().filter(|text| sayable(text) == **text);
    fit.take(Announcement::LIST_MAX).cloned().collect()
}

/// As much of a text as an announcement may have. Control characters, which it may not, are replaced.
fn sayable(text: &str) -> String {
    let mut end = text.len().min(Announcement::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(char::is_control, "?")
}

/// The admissions with which we came in, and those of the names that we took since.
fn brought<'a>(
    membership: Option<&'a Membership>,
    succession: &'a [Admission],
) -> impl Iterator<Item = &'a Admission> + 'a {
    membership.into_iter().flat_map(|membership| &membership.admissions).chain(succession)
}

/// Whom the system data prove, and what we brought: at first there are no data.
fn roster<'a>(identity: Identity, brought: impl Iterator<Item = &'a Admission>, store: &Store) -> Roster {
    let stored = store.system(SystemKey::MEMBER_PREFIX.as_bytes()).into_iter().flat_map(|entry| {
        let key = entry.key;
        entry.siblings.into_iter().map(move |sibling| RosterEntry {
            key: key.clone(),
            author: sibling.element.dot.replica,
            seq: sibling.element.dot.seq,
            value: sibling.value,
        })
    });
    let brought = brought.map(|admission| RosterEntry {
        key: SystemKey::Admission(admission.terms.replica).to_string().into(),
        author: admission.terms.issuer,
        seq: 0,
        value: admission.encode().into(),
    });
    Roster::new(identity.mesh.0, stored.chain(brought))
}

/// Where the store stands: published, and therefore durable.
fn standing(store: &Store) -> Standing {
    let tombolo_storage::Standing { published, frontier, chains, digest, floor } = store.standing();
    Standing { commit: published.commit, frontier, chains, digest, floor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_can_be_read_by_others() {
        let long = "é".repeat(Announcement::TEXT_BYTES_MAX);
        for (given, said) in
            [("pier", "pier"), ("a\nb\u{9b}c", "a?b?c"), (&*long, &long[..Announcement::TEXT_BYTES_MAX])]
        {
            let announcement = Announcement { name: sayable(given), ..Announcement::default() };
            assert_eq!(announcement.name, said);
            assert_eq!(Announcement::decode(announcement.encode().into()), Ok(announcement));
        }
        let fit = bounded(&["a:1".to_owned(), "b\n:1".to_owned(), long]);
        assert_eq!(fit, ["a:1"], "half an address leads nowhere");
    }
}
