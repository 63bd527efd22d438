//! `member`: who belongs to the cluster.

use clap::Subcommand;
use tombolo_proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use crate::{context::Context, exit::Failure, output::Answer};

mod change;

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Adds a member into the cluster
    Add(change::AddArgs),
    /// Lists all members in the cluster
    ///
    /// When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
    /// The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.
    List,
    /// Promotes a non-voting member in the cluster
    Promote {
        /// Member ID in hexadecimal
        #[arg(value_name = "MEMBER_ID")]
        args: Vec<String>,
    },
    /// Removes a member from the cluster
    Remove {
        /// Member ID in hexadecimal
        #[arg(value_name = "MEMBER_ID")]
        args: Vec<String>,
    },
    /// Updates a member in the cluster
    Update(change::UpdateArgs),
}

pub(crate) async fn run(context: &Context, command: &MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::Add(args) => change::add(context, args).await,
        MemberCommand::List => {
            let response = list(context).await?;
            context.printer.print(&Answer::Members(&response))
        }
        MemberCommand::Promote { args } => change::promote(context, args).await,
        MemberCommand::Remove { args } => change::remove(context, args).await,
        MemberCommand::Update(args) => change::update(context, args).await,
    }
}

/// The members, as the endpoint that answers knows them.
pub(super) async fn list(context: &Context) -> Result<MemberListResponse, Failure> {
    let request = MemberListRequest { linearizable: true };
    context.call(context.client.cluster().member_list(request)).await
}
