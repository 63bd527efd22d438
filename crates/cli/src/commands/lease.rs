//! `lease grant|revoke|timetolive|list|keep-alive`: lifetimes that keys can be tied to.

use clap::{Args, Subcommand};
use tombolo_proto::etcdserverpb::{LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::integer,
    output::Answer,
};

pub(super) mod keep_alive;

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Creates leases
    Grant {
        /// Time to live in seconds
        #[arg(value_name = "TTL")]
        args: Vec<String>,
    },
    /// Revokes leases
    Revoke {
        /// Lease ID in hexadecimal
        #[arg(value_name = "LEASE_ID")]
        args: Vec<String>,
    },
    /// Get lease information
    Timetolive {
        /// Lease ID in hexadecimal
        #[arg(value_name = "LEASE_ID")]
        args: Vec<String>,
        /// Get keys attached to this lease
        #[arg(long)]
        keys: bool,
    },
    /// List all active leases
    List,
    /// Keeps leases alive (renew)
    KeepAlive(KeepAliveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeepAliveArgs {
    /// Lease ID in hexadecimal
    #[arg(value_name = "LEASE_ID")]
    args: Vec<String>,
    /// Resets the keep-alive time to its original value and exits immediately
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(context: &Context, command: &LeaseCommand) -> Result<(), Failure> {
    match command {
        LeaseCommand::Grant { args } => grant(context, args).await,
        LeaseCommand::Revoke { args } => revoke(context, args).await,
        LeaseCommand::Timetolive { args, keys } => time_to_live(context, args, *keys).await,
        LeaseCommand::List => list(context).await,
        LeaseCommand::KeepAlive(args) => {
            let id = lease_id(&args.args, "lease keep-alive command needs lease ID as argument")?;
            context.printer.refuse_table()?;
            if args.once { keep_alive::once(context, id).await } else { keep_alive::forever(context, id).await }
        }
    }
}

async fn grant(context: &Context, args: &[String]) -> Result<(), Failure> {
    let [ttl] = args else { return Err(Failure::arguments("lease grant command needs TTL argument")) };
    let ttl = integer::parse(ttl, 10).map_err(|error| Failure::arguments(format!("bad TTL ({error})")))?;
    context.printer.refuse_table()?;
    let response = context
        .call(context.client.lease().lease_grant(LeaseGrantRequest { ttl, id: 0 }))
        .await
        .map_err(|failure| failure.wrapped("failed to grant lease"))?;
    context.printer.print(&Answer::Grant(&response))
}

async fn revoke(context: &Context, args: &[String]) -> Result<(), Failure> {
    let id = lease_id(args, "lease revoke command needs 1 argument")?;
    context.printer.refuse_table()?;
    let response = context
        .call(context.client.lease().lease_revoke(LeaseRevokeRequest { id }))
        .await
        .map_err(|failure| failure.wrapped("failed to revoke lease"))?;
    context.printer.print(&Answer::Revoke { id, response: &response })
}

async fn time_to_live(context: &Context, args: &[String], keys: bool) -> Result<(), Failure> {
    let id = lease_id(args, "lease timetolive command needs lease ID as argument")?;
    context.printer.refuse_table()?;
    let request = LeaseTimeToLiveRequest { id, keys };
    let response = context.call(context.client.lease().lease_time_to_live(request)).await.map_err(bad_connection)?;
    context.printer.print(&Answer::TimeToLive { response: &response, keys })
}

async fn list(context: &Context) -> Result<(), Failure> {
    context.printer.refuse_table()?;
    let response =
        context.call(context.client.lease().lease_leases(LeaseLeasesRequest {})).await.map_err(bad_connection)?;
    context.printer.print(&Answer::Leases(&response))
}

/// etcdctl takes every failure of the calls that only look at leases or renew them for a bad connection.
fn bad_connection(failure: Failure) -> Failure {
    failure.exits(Exit::BadConnection)
}

fn lease_id(args: &[String], usage: &str) -> Result<i64, Failure> {
    let [id] = args else { return Err(Failure::arguments(usage)) };
    integer::parse(id, 16)
        .map_err(|error| Failure::arguments(format!("bad lease ID arg ({error}), expecting ID in Hex")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_is_one_hexadecimal_argument() {
        assert_eq!(lease_id(&["ff".into()], "usage").expect("an id"), 255);
        assert_eq!(lease_id(&[], "usage").expect_err("none").to_string(), "usage");
        let failure = lease_id(&["zz".into()], "usage").expect_err("not hexadecimal");
        assert_eq!(failure.exit, Exit::BadArguments);
        assert_eq!(failure.to_string(), r#"bad lease ID arg (parsing "zz": invalid syntax), expecting ID in Hex"#);
    }
}
