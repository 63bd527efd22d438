//! Why sessions end.
//!
//! Every fault closes the connection and none touches the store. Codes are kept for ever: peers read them in `Bye`.

use std::fmt;

use thiserror::Error;
use tombolo_crdt::{ContextFault, DecodeError, Dot, ReplicaId, SignedHead};

use crate::BadPacking;

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// We ended it, for nothing that the peer did.
    #[error("the session was stopped")]
    Stopped,
    /// The peer ended it.
    #[error("the peer closed the session with code {code}: {text}")]
    PeerClosed {
        /// Its fault's code.
        code: u16,
        /// Its fault's text.
        text: String,
    },
    /// A frame is no message.
    #[error("the peer sent a malformed message: {0}")]
    Malformed(DecodeError),
    /// A frame is larger than its kind may be.
    #[error("the peer sent a frame of {bytes} bytes; at most {max} are allowed")]
    FrameTooLarge {
        /// Its size.
        bytes: usize,
        /// The size allowed.
        max: usize,
    },
    /// A message of a kind that must be understood and is not.
    #[error("the peer sent a message of unknown kind {kind}")]
    UnknownMessage {
        /// The kind.
        kind: u8,
    },
    /// A message that may not come now: something before the peer's hello, or a second hello.
    #[error("the peer sent a message of kind {kind} out of turn")]
    OutOfTurn {
        /// The kind.
        kind: u8,
    },
    /// The peer speaks another protocol.
    #[error("the peer speaks protocol {found}, and we speak {}", crate::PROTOCOL)]
    WrongProtocol {
        /// Its version.
        found: u8,
    },
    /// The peer belongs to another mesh.
    #[error("the peer belongs to mesh {found:032x}")]
    WrongMesh {
        /// Its mesh.
        found: u128,
    },
    /// The peer is not who it is supposed to be.
    #[error("the peer says that it is {found}, and is expected to be {expected}")]
    WrongReplica {
        /// Who it says it is.
        found: ReplicaId,
        /// Who was expected.
        expected: ReplicaId,
    },
    /// The peer carries our own name.
    #[error("the peer carries our own name")]
    OurName,
    /// The peer knows a record of ours that we do not: this replica has lost what it wrote, and must not write under its
    /// name any more.
    #[error("the peer has our record {dot}, and ours end at {known}")]
    AheadOfUs {
        /// The record.
        dot: Dot,
        /// Our last seq.
        known: u64,
    },
    /// Two records have the same name.
    #[error("the peer has another record {dot} than we do")]
    Forked {
        /// The name.
        dot: Dot,
    },
    /// Two records have the same name, and their author has signed for both.
    #[error("{} has signed two records of one name, {dot} or one before it: {evidence}", dot.replica)]
    Equivocated {
        /// The first record that is not what ours leads to.
        dot: Dot,
        /// Both signatures.
        evidence: Box<Equivocation>,
    },
    /// The peer sent records and did not say who signed them.
    #[error("the peer sent {dot} without its author's signature")]
    Unsigned {
        /// The last of them, of the author whose signature is missing.
        dot: Dot,
    },
    /// The peer sent a signature that belongs to nothing that it has just sent.
    #[error("the peer sent a signature of {dot}, which it has not just sent")]
    StrayHead {
        /// What it is said to be of.
        dot: Dot,
    },
    /// A signature is not that of the author, or not of this record.
    #[error("the signature of {dot} is not its author's")]
    ForgedHead {
        /// The record.
        dot: Dot,
    },
    /// The peer sent records of an author of which neither we nor the records prove that it is a member.
    #[error("the peer sent {dot}, whose author nobody has proven to be a member")]
    UnprovenAuthor {
        /// The record.
        dot: Dot,
    },
    /// The peer takes back what it said it had, or says it again.
    #[error("the peer says that it has {dot}, after having said that it has {said}")]
    WentBackwards {
        /// What it says now.
        dot: Dot,
        /// The seq it said before.
        said: u64,
    },
    /// The peer left something out.
    #[error("the peer sent {dot} before {missing}")]
    Skipped {
        /// What it sent.
        dot: Dot,
        /// What would have had to come before.
        missing: Dot,
    },
    /// The peer sent a record under our name that we did not write.
    #[error("the peer sent {dot} under our name, which we did not write")]
    OwnDot {
        /// The record.
        dot: Dot,
    },
    /// The peer sent a record of a removed member from beyond the end of its stream.
    #[error("the peer sent {dot} of a member that was removed, whose records end at {last}")]
    Frozen {
        /// The record.
        dot: Dot,
        /// The last record of its author.
        last: u64,
    },
    /// The peer sent something that nobody may write.
    #[error("the peer sent a bad record: {0}")]
    BadRecord(BadRecord),
    /// The peer sent more than it may without waiting.
    #[error("the peer has sent {bytes} bytes of records unacknowledged; at most {max} are allowed")]
    Flooded {
        /// What is unacknowledged.
        bytes: u64,
        /// The window.
        max: u64,
    },
    /// The peer's vectors name more replicas than they may.
    #[error("the peer knows of {count} replicas; at most {max} are allowed")]
    TooManyReplicas {
        /// How many it names.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The peer asks more than may be unanswered.
    #[error("the peer asks more than {max} questions without waiting for answers")]
    TooManyAsks {
        /// How many may be unanswered.
        max: usize,
    },
    /// The peer gives a question a number that is not above its last.
    #[error("the peer asks question {id} after question {last}")]
    StaleAsk {
        /// The number.
        id: u64,
        /// Its last.
        last: u64,
    },
    /// The peer answers what was not asked, or was answered.
    #[error("the peer answers question {id}, which is not open")]
    UnaskedAnswer {
        /// The number.
        id: u64,
    },
    /// The peer packed something that cannot be unpacked.
    #[error("the peer sent packed bytes that are not what they should be: {0}")]
    BadPacking(#[from] BadPacking),
    /// The peer pulls more pages than it may at a time.
    #[error("the peer pulls more than {max} pages without waiting for them")]
    TooManyPulls {
        /// How many it may.
        max: usize,
    },
    /// The peer gives a pull a number that is not above its last.
    #[error("the peer makes pull {id} after pull {last}")]
    StalePull {
        /// The number.
        id: u64,
        /// Its last.
        last: u64,
    },
    /// The peer sends a page that was not pulled, or was sent.
    #[error("the peer sends a page for pull {id}, which is not open")]
    UnaskedPage {
        /// The number.
        id: u64,
    },
    /// The peer did not say hello in time.
    #[error("the peer said no hello")]
    NoHello,
    /// The peer says nothing.
    #[error("the peer is silent")]
    Silent,
    /// The peer does not apply what it is sent.
    #[error("the peer does not get on")]
    Stalled,
    /// This replica's store has failed.
    #[error("our store has failed")]
    LocalTrouble,
    /// A newer connection has taken the place of this one. Found by the driver.
    #[error("a newer connection has taken over")]
    Superseded,
    /// The peer is no longer a member. Found by the driver, or by the store in what it sends.
    #[error("the peer is not a member any more")]
    NotAMember,
    /// The peer has sent what nobody may send, here or elsewhere on this node. Found by the driver, or its host.
    #[error("the peer has sent what nobody may send")]
    Quarantined,
}

/// What shows that an author has written two histories: it signed both.
///
/// Where the seqs are equal the chains differ. Where they are not, the records between do not lead from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// What is held here.
    pub ours: SignedHead,
    /// What came.
    pub theirs: SignedHead,
}

impl Equivocation {
    /// The evidence against the author of a record that does not chain: what is held of it, and what came with the record.
    pub fn of(dot: Dot, ours: Option<SignedHead>, theirs: &[SignedHead]) -> Option<Self> {
        let theirs = theirs.iter().find(|head| head.dot.replica == dot.replica).copied()?;
        Some(Self { ours: ours.filter(|head| head.dot.replica == dot.replica)?, theirs })
    }
}

/// Both heads in full: whoever has the keys can check them.
impl fmt::Display for Equivocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        put_head(f, &self.ours)?;
        f.write_str(", and ")?;
        put_head(f, &self.theirs)
    }
}

fn put_head(f: &mut fmt::Formatter<'_>, head: &SignedHead) -> fmt::Result {
    let SignedHead { dot, chain, signature, .. } = head;
    write!(f, "{dot} with chain {chain}, signature ")?;
    signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Why a record is bad.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRecord {
    /// It has no readable head.
    #[error("its head is malformed: {0}")]
    Nameless(DecodeError),
    /// It is malformed behind its head.
    #[error("{dot} is malformed: {cause}")]
    Malformed {
        /// The record.
        dot: Dot,
        /// What is wrong.
        cause: DecodeError,
    },
    /// It contradicts its author's own context.
    #[error("{dot} contradicts its context: {cause}")]
    ContradictsContext {
        /// The record.
        dot: Dot,
        /// What is wrong.
        cause: ContextFault,
    },
}

impl Fault {
    /// Whether it shows that `peer` has forged something, or hands on what it must know to be forged: no sound member comes to that by
    /// a slow link, a cut, an older version, or by what others have sent it.
    pub fn convicts(&self, peer: ReplicaId) -> bool {
        match self {
            Self::ForgedHead { .. }
            | Self::StrayHead { .. }
            | Self::UnprovenAuthor { .. }
            | Self::OwnDot { .. }
            | Self::BadRecord(_)
            | Self::Frozen { .. }
            | Self::Skipped { .. }
            | Self::WentBackwards { .. } => true,
            // Whoever passes on what another has signed twice is on one side of a fork, as we are.
            Self::Equivocated { dot, .. } => dot.replica == peer,
            _ => false,
        }
    }

    /// The code that a peer is told; of a fault that it told us, that one.
    pub fn code(&self) -> u16 {
        match self {
            Self::Stopped => 0,
            Self::PeerClosed { code, .. } => *code,
            Self::Malformed(_) => 1,
            Self::FrameTooLarge { .. } => 2,
            Self::UnknownMessage { .. } => 3,
            Self::OutOfTurn { .. } => 4,
            Self::WrongProtocol { .. } => 5,
            Self::WrongMesh { .. } => 6,
            Self::WrongReplica { .. } => 7,
            Self::OurName => 8,
            Self::AheadOfUs { .. } => 9,
            Self::Forked { .. } => 10,
            Self::WentBackwards { .. } => 11,
            Self::Skipped { .. } => 12,
            Self::OwnDot { .. } => 13,
            Self::BadRecord(_) => 14,
            Self::Flooded { .. } => 15,
            Self::TooManyReplicas { .. } => 16,
            Self::NoHello => 17,
            Self::Silent => 18,
            Self::Stalled => 19,
            Self::LocalTrouble => 20,
            Self::Superseded => 21,
            Self::NotAMember => 22,
            Self::TooManyAsks { .. } => 23,
            Self::StaleAsk { .. } => 24,
            Self::UnaskedAnswer { .. } => 25,
            Self::BadPacking(_) => 26,
            Self::TooManyPulls { .. } => 27,
            Self::StalePull { .. } => 28,
            Self::UnaskedPage { .. } => 29,
            Self::Frozen { .. } => 36,
            Self::Unsigned { .. } => 30,
            Self::StrayHead { .. } => 31,
            Self::ForgedHead { .. } => 32,
            Self::UnprovenAuthor { .. } => 33,
            Self::Equivocated { .. } => 34,
            Self::Quarantined => 37,
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
