//! `user`: who may sign in, with which password, in which roles.

use clap::{Args, Subcommand};
use tombolo_proto::{
    authpb::UserAddOptions,
    etcdserverpb::{
        AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
        AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, ResponseHeader,
    },
};

use crate::{
    context::Context,
    exit::Failure,
    output::{Answer, AuthAnswer, Done},
    prompt,
};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Adds a new user
    Add(AddArgs),
    /// Deletes a user
    Delete {
        /// User name
        #[arg(value_name = "USER")]
        args: Vec<String>,
    },
    /// Gets detailed information of a user
    Get {
        /// User name
        #[arg(value_name = "USER")]
        args: Vec<String>,
        /// Show permissions of roles granted to the user
        #[arg(long)]
        detail: bool,
    },
    /// Lists all users
    List {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Changes password of user
    Passwd {
        /// User name
        #[arg(value_name = "USER")]
        args: Vec<String>,
        /// If true, read password from the terminal, twice; if false, once from stdin
        #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
        interactive: bool,
    },
    /// Grants a role to a user
    GrantRole {
        /// User name and role name
        #[arg(value_name = "USER ROLE")]
        args: Vec<String>,
    },
    /// Revokes a role from a user
    RevokeRole {
        /// User name and role name
        #[arg(value_name = "USER ROLE")]
        args: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// User name, or user:password
    #[arg(value_name = "USER")]
    args: Vec<String>,
    /// If true, read password from the terminal, twice; if false, once from stdin
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// Supply password from the command line flag
    #[arg(long, default_value = "")]
    new_user_password: String,
    /// Create a user without password (CN based auth only)
    #[arg(long)]
    no_password: bool,
}

pub(crate) async fn run(context: &Context, command: &UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add(args) => add(context, args).await,
        UserCommand::Delete { args } => delete(context, args).await,
        UserCommand::Get { args, detail } => get(context, args, *detail).await,
        UserCommand::List { args } => list(context, args).await,
        UserCommand::Passwd { args, interactive } => change_password(context, args, *interactive).await,
        UserCommand::GrantRole { args } => grant_role(context, args).await,
        UserCommand::RevokeRole { args } => revoke_role(context, args).await,
    }
}

async fn add(context: &Context, args: &AddArgs) -> Result<(), Failure> {
    let name = one(&args.args, "user add command requires user name as its argument")?;
    context.printer.refuse_table()?;
    let (name, password) = new_user(name, args)?;
    let options = Some(UserAddOptions { no_password: args.no_password });
    let request = AuthUserAddRequest { name: name.clone(), password, options, ..Default::default() };
    let response = context.call(context.client.auth().user_add(request)).await?;
    done(context, &response.header, format!("User {name} created"))
}

/// The name and the password, which can come by three ways, and in this order.
fn new_user(written: &str, args: &AddArgs) -> Result<(String, String), Failure> {
    if args.no_password {
        return Ok((written.to_owned(), String::new()));
    }
    if !args.new_user_password.is_empty() {
        return Ok((written.to_owned(), args.new_user_password.clone()));
    }
    match written.split_once(':') {
        None => Ok((written.to_owned(), new_password(written, args.interactive)?)),
        Some(("", _)) => Err(Failure::arguments("empty user name is not allowed")),
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
    }
}

fn new_password(user: &str, interactive: bool) -> Result<String, Failure> {
    if interactive { prompt::new_password(user) } else { prompt::word() }
}

async fn delete(context: &Context, args: &[String]) -> Result<(), Failure> {
    let name = one(args, "user delete command requires user name as its argument")?.to_owned();
    context.printer.refuse_table()?;
    let request = AuthUserDeleteRequest { name: name.clone() };
    let response = context.call(context.client.auth().user_delete(request)).await?;
    done(context, &response.header, format!("User {name} deleted"))
}

async fn get(context: &Context, args: &[String], detail: bool) -> Result<(), Failure> {
    let name = one(args, "user get command requires user name as its argument")?;
    if detail {
        context.printer.refuse_table()?
    } else {
        context.printer.refuse_table_and_fields()?
    }
    let request = AuthUserGetRequest { name: name.to_owned() };
    let response = context.call(context.client.auth().user_get(request)).await?;
    if !detail {
        return context.printer.print(&Answer::Auth(AuthAnswer::User { name, response: &response }));
    }
    // These lines are the same in every format.
    context.printer.note(&format!("User: {name}"))?;
    for role in &response.roles {
        context.printer.note("")?;
        let request = AuthRoleGetRequest { role: role.clone() };
        let response = context.call(context.client.auth().role_get(request)).await?;
        context.printer.print(&Answer::Auth(AuthAnswer::Role { name: role, response: &response }))?;
    }
    Ok(())
}

async fn list(context: &Context, args: &[String]) -> Result<(), Failure> {
    if !args.is_empty() {
        return Err(Failure::arguments("user list command requires no arguments"));
    }
    context.printer.refuse_table_and_fields()?;
    let response = context.call(context.client.auth().user_list(AuthUserListRequest {})).await?;
    context.printer.print(&Answer::Auth(AuthAnswer::Users(&response)))
}

async fn change_password(context: &Context, args: &[String], interactive: bool) -> Result<(), Failure> {
    let name = one(args, "user passwd command requires user name as its argument")?;
    context.printer.refuse_table()?;
    let password = new_password(name, interactive)?;
    let request = AuthUserChangePasswordRequest { name: name.to_owned(), password, ..Default::default() };
    let response = context.call(context.client.auth().user_change_password(request)).await?;
    done(context, &response.header, "Password updated".to_owned())
}

async fn grant_role(context: &Context, args: &[String]) -> Result<(), Failure> {
    let [user, role] = args else {
        return Err(Failure::arguments("user grant command requires user name and role name as its argument"));
    };
    context.printer.refuse_table()?;
    let request = AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
    let response = context.call(context.client.auth().user_grant_role(request)).await?;
    done(context, &response.header, format!("Role {role} is granted to user {user}"))
}

async fn revoke_role(context: &Context, args: &[String]) -> Result<(), Failure> {
    let [user, role] = args else {
        return Err(Failure::arguments("user revoke-role requires user name and role name as its argument"));
    };
    context.printer.refuse_table()?;
    let request = AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
    let response = context.call(context.client.auth().user_revoke_role(request)).await?;
    done(context, &response.header, format!("Role {role} is revoked from user {user}"))
}

fn one<'a>(args: &'a [String], usage: &str) -> Result<&'a str, Failure> {
    match args {
        [name] => Ok(name),
        _ => Err(Failure::arguments(usage)),
    }
}

/// Shows that a change was made.
pub(super) fn done(context: &Context, header: &Option<ResponseHeader>, said: String) -> Result<(), Failure> {
    context.printer.print(&Answer::Done(Done { header, said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(new_user_password: &str, no_password: bool) -> AddArgs {
        AddArgs { args: Vec::new(), interactive: true, new_user_password: new_user_password.into(), no_password }
    }

    #[test]
    fn a_new_password_comes_with_a_flag_or_behind_a_colon_or_not_at_all() {
        let found = |name: &str, args: &AddArgs| new_user(name, args).map_err(|failure| failure.to_string());
        let pair = |name: &str, password: &str| Ok((name.to_owned(), password.to_owned()));
        assert_eq!(found("u:a:b", &args("", false)), pair("u", "a:b"));
        assert_eq!(found("u:a", &args("flag", false)), pair("u:a", "flag"));
        assert_eq!(found("u:a", &args("flag", true)), pair("u:a", ""));
        assert_eq!(found(":a", &args("", false)), Err("empty user name is not allowed".into()));
    }
}
