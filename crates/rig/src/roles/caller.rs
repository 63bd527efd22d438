//! The columns of the matrix: who calls.

/// A kind of caller. All users but `root` have at most one right, and all rights but the neighbour's are on [`SECRETS`](super::world::SECRETS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Anybody, before there is a policy.
    WithoutPolicy,
    /// Somebody without a token.
    Nobody,
    /// Somebody with what never was a token.
    Forger,
    /// Somebody with a token that has the form of one, given out by another server.
    Foreigner,
    /// A reader with a token from before the last change of password.
    Expired,
    /// A user without a role.
    Bare,
    /// A user who may read the secret keys.
    Reader,
    /// A user who may write them.
    Writer,
    /// A user who may read the keys beside them.
    Neighbour,
    /// A user who may read and write them.
    Keeper,
    /// A user with the role `root`.
    Root,
}

impl Caller {
    /// Everybody.
    pub const ALL: [Self; 11] = [
        Self::WithoutPolicy,
        Self::Nobody,
        Self::Forger,
        Self::Foreigner,
        Self::Expired,
        Self::Bare,
        Self::Reader,
        Self::Writer,
        Self::Neighbour,
        Self::Keeper,
        Self::Root,
    ];

    /// Those who can come with a certificate.
    pub const CERTIFIED: [Self; 7] =
        [Self::Forger, Self::Bare, Self::Reader, Self::Writer, Self::Neighbour, Self::Keeper, Self::Root];

    /// The user that it logs in as.
    #[must_use]
    pub const fn user(self) -> Option<&'static str> {
        match self {
            Self::WithoutPolicy | Self::Nobody | Self::Forger | Self::Foreigner => None,
            Self::Expired => Some("expired"),
            Self::Bare => Some("bare"),
            Self::Reader => Some("reader"),
            Self::Writer => Some("writer"),
            Self::Neighbour => Some("neighbour"),
            Self::Keeper => Some("keeper"),
            Self::Root => Some("root"),
        }
    }

    /// Whether it may read the secret keys.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::WithoutPolicy | Self::Reader | Self::Keeper | Self::Root)
    }

    /// Whether it may write them.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::WithoutPolicy | Self::Writer | Self::Keeper | Self::Root)
    }
}
