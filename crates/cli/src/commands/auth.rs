//! `auth enable|disable|status`: whether the server asks who calls.

use clap::Subcommand;
use tombolo_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest, AuthUserGrantRoleRequest,
};

use crate::{
    context::Context,
    exit::Failure,
    output::{Answer, AuthAnswer},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Enables authentication
    ///
    /// The user root must exist. Where it lacks the role root, both are brought together first.
    Enable {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Disables authentication
    Disable {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Returns authentication status
    Status {
        #[arg(hide = true)]
        args: Vec<String>,
    },
}

pub(crate) async fn run(context: &Context, command: &AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Enable { args } => {
            refuse_arguments(args, "enable")?;
            enable(context).await
        }
        AuthCommand::Disable { args } => {
            refuse_arguments(args, "disable")?;
            context.call(context.client.auth().auth_disable(AuthDisableRequest {})).await?;
            context.printer.note("Authentication Disabled")
        }
        AuthCommand::Status { args } => {
            refuse_arguments(args, "status")?;
            context.printer.refuse_table_and_fields()?;
            let response = context.call(context.client.auth().auth_status(AuthStatusRequest {})).await?;
            context.printer.print(&Answer::Auth(AuthAnswer::Status(&response)))
        }
    }
}

fn refuse_arguments(args: &[String], command: &str) -> Result<(), Failure> {
    if args.is_empty() {
        return Ok(());
    }
    Err(Failure::arguments(format!("auth {command} command does not accept any arguments")))
}

/// Enables it, and where root is not allowed everything yet, sees to that and tries once more.
async fn enable(context: &Context) -> Result<(), Failure> {
    let auth = || context.client.auth();
    if let Err(failure) = context.call(auth().auth_enable(AuthEnableRequest {})).await {
        if failure.message() != ROOT_LACKS_ITS_ROLE {
            return Err(failure);
        }
        context.call(auth().role_add(AuthRoleAddRequest { name: ROOT.into() })).await?;
        let grant = AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() };
        context.call(auth().user_grant_role(grant)).await?;
        context.call(auth().auth_enable(AuthEnableRequest {})).await?;
    }
    context.printer.note("Authentication Enabled")
}

/// The user and the role that may do everything.
const ROOT: &str = "root";

const ROOT_LACKS_ITS_ROLE: &str = "etcdserver: root user does not have root role";
