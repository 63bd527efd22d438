//! `mesh invite|members|status`: the sites that replicate with one another. etcd has none of it.

use clap::{Args, Subcommand};
use tombolo_proto::v1::{MeshInviteRequest, MeshMembersRequest};

use crate::{
    context::Context,
    exit::Failure,
    notation::duration::GoDuration,
    output::{Answer, Format},
};

mod status;

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    /// Makes a ticket with which one new site can join, once
    ///
    /// Standard output is the ticket and nothing else. Start the new site with `tombolod --join TICKET`, or put the ticket
    /// into a file and start it with `tombolod --join @file`. The endpoint that makes the ticket has to be reachable when
    /// it is used. Whoever has the ticket can join: treat it as a password.
    Invite {
        /// How long the ticket can be used
        #[arg(long, default_value = "1h")]
        ttl: GoDuration,
    },
    /// Lists the sites of the mesh, as the endpoint knows them
    ///
    /// When --write-out is set to simple, this command prints out comma-separated lists.
    /// The items in the lists are replica, state, name, peer addresses, client URLs, slots, issuer.
    Members,
    /// Shows how far each site is behind, and what is wrong
    ///
    /// LAG is how long the oldest record that a peer lacks has been here. BEHIND counts records that it lacks, AHEAD those
    /// that it is known to have and the endpoint has not. DIGEST says whether both hold the same data where both have
    /// applied the same records; it is unknown while they have not.
    ///
    /// With --wait the exit code is 7 when the endpoint has not converged with every peer in that time.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Wait up to this long until every peer is connected, nothing is behind and all digests are equal
    #[arg(long, value_name = "DURATION")]
    wait: Option<GoDuration>,
}

pub(crate) async fn run(context: &Context, command: &MeshCommand) -> Result<(), Failure> {
    match command {
        MeshCommand::Invite { ttl } => invite(context, *ttl).await,
        MeshCommand::Members => {
            let response = context.call(context.client.mesh().members(MeshMembersRequest {})).await?;
            context.printer.print(&Answer::MeshMembers(&response))
        }
        MeshCommand::Status(args) => status::run(context, args.wait).await,
    }
}

async fn invite(context: &Context, ttl: GoDuration) -> Result<(), Failure> {
    let ttl_s = ttl.0.as_secs();
    if ttl_s == 0 {
        return Err(Failure::arguments(format!("a ticket of {ttl} would end before it could be used"))
            .hint("--ttl is at least 1s"));
    }
    context.printer.refuse_table()?;
    let response = context
        .call(context.client.mesh().invite(MeshInviteRequest { ttl_s }))
        .await
        .map_err(|failure| failure.wrapped("failed to make an invitation"))?;
    context.printer.print(&Answer::Invitation(&response))?;
    if context.printer.format == Format::Simple {
        eprintln!("for one new site, within {ttl}: tombolod --join TICKET");
    }
    Ok(())
}
