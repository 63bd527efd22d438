//! From an answer to text on standard output.
//!
//! An [`Answer`] is what a server said; a [`Format`] is one of etcdctl's four ways to show it. Each format is one file
//! and knows every answer, so that adding an answer makes the compiler ask all four. What they write is compared with
//! etcdctl byte for byte, where etcdctl knows the answer.

use std::io::{self, Write};

use tombolo_client::Endpoint;
use tombolo_proto::{
    etcdserverpb::{
        AlarmResponse, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
        LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberListResponse, PutResponse, RangeResponse, ResponseHeader,
        StatusResponse, TxnResponse, WatchResponse,
    },
    v1::{Member, MeshEnterResponse, MeshInviteResponse, MeshMembersResponse, MeshRepairResponse, MeshStatusResponse},
};

use crate::{
    commands::snapshot::SnapshotFacts,
    exit::{Exit, Failure},
    notation::duration::GoDuration,
};

mod auth;
mod cluster;
mod fields;
mod json;
mod mesh;
mod rows;
mod simple;
mod table;

pub(crate) use auth::{AuthAnswer, Done};
pub(crate) use cluster::{EndpointHash, MemberChange};
pub(crate) use json::base64;
pub(crate) use mesh::peer_name;

/// What a server said, as far as it is shown.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Put(&'a PutResponse),
    Get(&'a RangeResponse),
    Del(&'a DeleteRangeResponse),
    Txn(&'a TxnResponse),
    Watch(&'a WatchResponse),
    /// A watch that ended without a last response: its stream failed, or it was never created.
    WatchLost,
    Grant(&'a LeaseGrantResponse),
    Revoke {
        id: i64,
        response: &'a LeaseRevokeResponse,
    },
    KeepAlive(&'a LeaseKeepAliveResponse),
    TimeToLive {
        response: &'a LeaseTimeToLiveResponse,
        keys: bool,
    },
    Leases(&'a LeaseLeasesResponse),
    Members(&'a MemberListResponse),
    MemberChange(MemberChange<'a>),
    Health(&'a [EndpointHealth]),
    Status(&'a [EndpointStatus]),
    Hashes(&'a [EndpointHash]),
    Snapshot(&'a SnapshotFacts),
    Alarms(&'a AlarmResponse),
    Auth(AuthAnswer<'a>),
    Done(Done<'a>),
    /// A permission that was taken from a role: its range may be no text.
    Revoked {
        key: &'a [u8],
        range_end: &'a [u8],
        role: &'a str,
        header: &'a Option<ResponseHeader>,
    },
    Invitation(&'a MeshInviteResponse),
    MeshMembers(&'a MeshMembersResponse),
    /// A member of whom something was just said.
    MeshMember(&'a Member),
    MeshEntered(&'a MeshEnterResponse),
    MeshRepaired(&'a MeshRepairResponse),
    MeshStatus(&'a MeshStatusResponse),
}

/// One line of `endpoint health`.
#[derive(Debug)]
pub(crate) struct EndpointHealth {
    pub(crate) endpoint: Endpoint,
    pub(crate) took: GoDuration,
    /// What is wrong; `None` for a healthy endpoint.
    pub(crate) error: Option<String>,
}

/// One line of `endpoint status`.
#[derive(Debug)]
pub(crate) struct EndpointStatus {
    pub(crate) endpoint: Endpoint,
    pub(crate) response: StatusResponse,
}

/// How to show answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Table,
    Json,
    Fields,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "simple" => Ok(Self::Simple),
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "fields" => Ok(Self::Fields),
            "protobuf" => Err(Failure::new(Exit::BadFeature, "protobuf is not supported as output format yet")),
            _ => Err(Failure::new(Exit::BadFeature, "unsupported output format")),
        }
        .map_err(|failure| failure.hint("--write-out is one of fields, json, simple, table"))
    }
}

/// Shows answers in one format.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    hex: bool,
    value_only: bool,
}

impl Printer {
    pub(crate) fn new(format: Format, hex: bool) -> Self {
        Self { format, hex, value_only: false }
    }

    /// The same printer, but leaving out keys: `--print-value-only`, which only the simple format knows.
    pub(crate) fn value_only(self) -> Self {
        Self { value_only: true, ..self }
    }

    /// Refuses the format that can show lists alone. Commands ask before they send anything, so that a write whose answer
    /// cannot be shown does not happen.
    pub(crate) fn refuse_table(&self) -> Result<(), Failure> {
        match self.format {
            Format::Table => Err(Failure::new(Exit::BadFeature, "table not supported as output format")
                .hint("nothing was sent: use simple, json or fields")),
            Format::Simple | Format::Json | Format::Fields => Ok(()),
        }
    }

    /// Refuses, besides, the format that has no words for most of what concerns users and members. The same reason.
    pub(crate) fn refuse_table_and_fields(&self) -> Result<(), Failure> {
        self.refuse_table()?;
        match self.format {
            Format::Fields => Err(Failure::new(Exit::BadFeature, "fields not supported as output format")
                .hint("nothing was sent: use simple or json")),
            Format::Simple | Format::Json | Format::Table => Ok(()),
        }
    }

    /// Writes an answer to standard output and flushes it, since a watch's reader waits for each.
    pub(crate) fn print(&self, answer: &Answer<'_>) -> Result<(), Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        self.write(&mut out, answer)?;
        Ok(out.flush()?)
    }

    /// Says how far an idle watch is; etcdctl says it in the same words in every format, before the answer itself.
    pub(crate) fn note_progress(&self, revision: i64) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "progress notify: {revision}")?)
    }

    /// Writes a line that is the same in every format.
    pub(crate) fn note(&self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "{line}")?)
    }

    fn write(&self, out: &mut impl Write, answer: &Answer<'_>) -> io::Result<()> {
        match self.format {
            Format::Simple => simple::write(out, answer, simple::Style { hex: self.hex, value_only: self.value_only }),
            Format::Table => table::write(out, answer),
            Format::Json => json::write(out, answer, self.hex),
            Format::Fields => fields::write(out, answer),
        }
    }
}

#[cfg(test)]
mod samples;
