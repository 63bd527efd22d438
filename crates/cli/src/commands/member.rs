//! `member list`: who belongs to the cluster.

use clap::Subcommand;
use tombolo_proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use crate::{context::Context, exit::Failure, output::Answer};

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Lists all members in the cluster
    ///
    /// When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
    /// The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.
    List,
}

pub(crate) async fn run(context: &Context, command: &MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::List => {
            let response = list(context).await?;
            context.printer.print(&Answer::Members(&response))
        }
    }
}

/// The members, as the endpoint that answers knows them.
pub(super) async fn list(context: &Context) -> Result<MemberListResponse, Failure> {
    let request = MemberListRequest { linearizable: true };
    context.call(context.client.cluster().member_list(request)).await
}
