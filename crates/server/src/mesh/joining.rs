//! Coming into a mesh, before there is a store: `--join`, and going on after a crash at any step of it.
//!
//! ```text
//! MEMBERSHIP   the name under which to ask
//! KEY          the key pair that will be admitted           from here on: the same question gets the same answer
//!              the ticket is redeemed at its issuer
//! MEMBERSHIP   the answer, an admission                     from here on: the ticket is not needed any more
//! MANIFEST     made by the store, under that name
//! ```
//!
//! Each step is durable before the next begins. A folder that stopped at the first or second is never made a mesh of its own by a start without
//! the ticket.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use thiserror::Error;
use tombolo_crdt::ReplicaId;
use tombolo_net::{Announcement, Candidate, JoinError, JoinRefusal, KeyPair, Ticket, TicketError, Welcome};
use tombolo_storage::{Founding, MeshId, OpenError, Slot, Store};
use tracing::{info, warn};

use super::{
    copies,
    file::FileError,
    key::{self, CreateError},
    membership::Membership,
};

/// Why a replica did not come into a mesh.
#[derive(Debug, Error)]
pub enum JoinFailure {
    /// What `--join` was given is no ticket.
    #[error("--join: {0}; `tombolo mesh invite` at a site of the mesh prints one")]
    Ticket(#[from] TicketError),
    /// The file that `--join` names was not read.
    #[error("--join: failed to read {path}: {source}")]
    TicketFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder belongs to another mesh.
    #[error(
        "--join: {path} belongs to mesh {found:032x} already, and the ticket is for mesh {wanted:032x}; \
         choose an empty --data-dir: what two meshes hold is never merged"
    )]
    OtherMesh {
        /// The folder.
        path: PathBuf,
        /// Its mesh.
        found: u128,
        /// The ticket's.
        wanted: u128,
    },
    /// The folder was not looked into.
    #[error("--join: {path} is not empty and cannot be opened: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The store's answer.
        source: OpenError,
    },
    /// The folder could not be made, or another process is at it.
    #[error("failed to {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A join was begun here, and not finished.
    #[error(
        "{path} is about to join mesh {mesh:032x}: start once more with --join and the same ticket, or choose another --data-dir"
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
        /// The mesh.
        mesh: u128,
    },
    /// A small file of the folder was not read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no key pair.
    #[error(transparent)]
    Key(#[from] CreateError),
    /// The issuer did not admit us, or could not be asked.
    #[error("failed to join: {source}{}", hint(.source))]
    Refused {
        /// Why.
        #[source]
        source: JoinError,
    },
    /// The answer is none that the store can be made with.
    #[error("failed to join: the issuer handed down slot {slot}, which no replica can count in")]
    BadSlot {
        /// The slot.
        slot: u16,
    },
}

/// How a new folder at `path` is to be founded. Redeems the ticket, if it was not redeemed yet. A folder that belongs to the ticket's mesh
/// already needs nothing.
pub(crate) async fn founding(
    path: &Path,
    join: Option<&str>,
    announcement: Announcement,
) -> Result<Founding, JoinFailure> {
    let ticket = match join.map(read_ticket).transpose() {
        // A service keeps its command line for years, and nobody keeps a ticket that was used.
        Err(JoinFailure::TicketFile { path: file, source })
            if source.kind() == io::ErrorKind::NotFound && has_joined(path)? =>
        {
            info!(file = %file.display(), "the file with the ticket is gone, and this folder has joined: --join is ignored");
            None
        }
        read => read?,
    };
    if let Some(ticket) = &ticket {
        copies::leave_behind(path, ticket, announcement.clone()).await?;
    }
    let peeked = Store::peek(path).map_err(|source| JoinFailure::Folder { path: path.to_owned(), source });
    match (peeked, ticket) {
        // Opening it says what is wrong with it.
        (Err(_), None) => Ok(Founding::NewMesh),
        (Err(why), Some(_)) => Err(why),
        (Ok(Some(identity)), Some(ticket)) if identity.mesh.0 != ticket.mesh => {
            Err(JoinFailure::OtherMesh { path: path.to_owned(), found: identity.mesh.0, wanted: ticket.mesh })
        }
        (Ok(Some(_)), Some(ticket)) => {
            info!(mesh = %format_args!("{:032x}", ticket.mesh), "a member of that mesh already: --join is ignored");
            Ok(Founding::NewMesh)
        }
        (Ok(Some(_)), None) => Ok(Founding::NewMesh),
        (Ok(None), None) => match Membership::load(path)? {
            None => Ok(Founding::NewMesh),
            Some(membership) if membership.admission().is_some() => of_membership(&membership),
            Some(Membership { mesh, .. }) => Err(JoinFailure::Unfinished { path: path.to_owned(), mesh }),
        },
        (Ok(None), Some(ticket)) => {
            let _alone = hold(path)?;
            let membership = redeem(path, &ticket, announcement).await?;
            of_membership(&membership)
        }
    }
}

/// Whether a ticket was redeemed for the folder.
fn has_joined(path: &Path) -> Result<bool, FileError> {
    Ok(Membership::load(path)?.is_some_and(|membership| membership.admission().is_some()))
}

fn read_ticket(given: &str) -> Result<Ticket, JoinFailure> {
    let Some(path) = given.strip_prefix('@') else { return Ok(given.parse()?) };
    let text =
        fs::read_to_string(path).map_err(|source| JoinFailure::TicketFile { path: PathBuf::from(path), source })?;
    Ok(text.parse()?)
}

/// Keeps a second process out of the folder, as the store does once there is one.
pub(super) fn hold(path: &Path) -> Result<File, JoinFailure> {
    let failed = |action| move |source| JoinFailure::Io { action, path: path.to_owned(), source };
    let lock = File::options().create(true).truncate(false).write(true).open(path.join("LOCK"));
    let lock = lock.map_err(failed("open the lock of"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(JoinFailure::Folder { path: path.to_owned(), source: OpenError::Locked { path: path.to_owned() } })
        }
        Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}

pub(super) async fn redeem(
    path: &Path,
    ticket: &Ticket,
    announcement: Announcement,
) -> Result<Membership, JoinFailure> {
    let mut membership = match Membership::load(path)? {
        Some(begun) if begun.mesh != ticket.mesh => {
            let (found, wanted) = (begun.mesh, ticket.mesh);
            return Err(JoinFailure::OtherMesh { path: path.to_owned(), found, wanted });
        }
        Some(done) if done.admission().is_some() => {
            info!("the ticket was redeemed before: going on from there");
            return Ok(done);
        }
        Some(begun) if begun.ticket == ticket.id => begun,
        // Another ticket needs another name and another key: under those before, this folder may have been admitted without
        // having heard of it, and nobody is admitted twice.
        _ => {
            key::discard(path)?;
            let asked = Membership::asked(ticket, random_replica()?);
            asked.save(path)?;
            asked
        }
    };
    let key = match key::load(path)? {
        Some(key) => key,
        None => key::create(path)?,
    };
    let Welcome { admission, issuer_chain } = ask(ticket, &key, membership.replica, announcement).await?;
    membership.admissions = std::iter::once(admission).chain(issuer_chain).collect();
    membership.save(path)?;
    info!(
        mesh = %format_args!("{:032x}", ticket.mesh),
        replica = %membership.replica,
        issuer = %ticket.issuer,
        "joined the mesh"
    );
    Ok(membership)
}

/// Asks until there is an answer, or it has taken too long: sites are often started together.
async fn ask(
    ticket: &Ticket,
    key: &KeyPair,
    replica: ReplicaId,
    announcement: Announcement,
) -> Result<Welcome, JoinFailure> {
    let started = Instant::now();
    loop {
        let candidate = Candidate { replica, announcement: announcement.clone() };
        match tombolo_net::join(ticket, key, candidate).await {
            Ok(welcome) => return Ok(welcome),
            Err(why) if can_wait(&why) && started.elapsed() < PATIENCE => {
                warn!(%why, "not joined yet; asking again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(source) => return Err(JoinFailure::Refused { source }),
        }
    }
}

fn of_membership(membership: &Membership) -> Result<Founding, JoinFailure> {
    let slot = membership.admission().map_or(0, |admission| admission.terms.slots.first);
    let Membership { mesh, replica, .. } = *membership;
    match Slot::new(slot) {
        Some(slot) => Ok(Founding::Join { mesh: MeshId(mesh), replica, slot }),
        None => Err(JoinFailure::BadSlot { slot }),
    }
}

fn random_replica() -> Result<ReplicaId, JoinFailure> {
    loop {
        let bits = getrandom::u64().map_err(|_| CreateError::Key(tombolo_net::KeyError::NoRandomness))?;
        // 0 names nobody, and comes up once in a very long time.
        if let Some(replica) = ReplicaId::new(bits) {
            return Ok(replica);
        }
    }
}

/// How long to ask for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether asking again may help: nobody has answered, or not so that it could be understood as a no.
fn can_wait(why: &JoinError) -> bool {
    match why {
        JoinError::Unreachable(_) | JoinError::Lost(_) => true,
        JoinError::Refused(why) => matches!(why, JoinRefusal::TooManyAttempts | JoinRefusal::Unavailable),
        JoinError::Other(_) | JoinError::NotForUs | JoinError::Unproven(_) | JoinError::Local(_) => false,
    }
}

fn hint(why: &JoinError) -> &'static str {
    match why {
        JoinError::Unreachable(_) | JoinError::Lost(_) => {
            "; the site that made the ticket has to run and to be reachable over UDP at the address that it advertises"
        }
        JoinError::Refused(JoinRefusal::UnknownTicket | JoinRefusal::Expired | JoinRefusal::WrongSecret) => {
            "; make a new one with `tombolo mesh invite`"
        }
        JoinError::Refused(JoinRefusal::Reused) => {
            "; a ticket is for one site: make another one with `tombolo mesh invite`"
        }
        _ => "",
    }
}
