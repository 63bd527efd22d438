//! `role`: what may be read and written by whoever has it.

use clap::{Args, Subcommand};
use tombolo_client::prefix_end;
use tombolo_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
        AuthRoleListRequest, AuthRoleRevokePermissionRequest,
    },
};

use super::user::done;
use crate::{
    context::Context,
    exit::Failure,
    output::{Answer, AuthAnswer},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Adds a new role
    Add {
        /// Role name
        #[arg(value_name = "ROLE")]
        args: Vec<String>,
    },
    /// Deletes a role
    Delete {
        /// Role name
        #[arg(value_name = "ROLE")]
        args: Vec<String>,
    },
    /// Gets detailed information of a role
    Get {
        /// Role name
        #[arg(value_name = "ROLE")]
        args: Vec<String>,
    },
    /// Lists all roles
    List {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Grants a key to a role
    GrantPermission {
        /// Role name, permission type (read, write, readwrite), key and end of the range
        #[arg(value_name = "ROLE TYPE KEY [ENDKEY]")]
        args: Vec<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Revokes a key from a role
    RevokePermission {
        /// Role name, key and end of the range
        #[arg(value_name = "ROLE KEY [ENDKEY]")]
        args: Vec<String>,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct Reach {
    /// The permission of a prefix
    #[arg(long)]
    prefix: bool,
    /// The permission of keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    from_key: bool,
}

pub(crate) async fn run(context: &Context, command: &RoleCommand) -> Result<(), Failure> {
    match command {
        RoleCommand::Add { args } => add(context, args).await,
        RoleCommand::Delete { args } => delete(context, args).await,
        RoleCommand::Get { args } => get(context, args).await,
        RoleCommand::List { args } => list(context, args).await,
        RoleCommand::GrantPermission { args, reach } => grant(context, args, reach).await,
        RoleCommand::RevokePermission { args, reach } => revoke(context, args, reach).await,
    }
}

async fn add(context: &Context, args: &[String]) -> Result<(), Failure> {
    let name = one(args, "role add command requires role name as its argument")?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.auth().role_add(AuthRoleAddRequest { name: name.clone() })).await?;
    done(context, &response.header, format!("Role {name} created"))
}

async fn delete(context: &Context, args: &[String]) -> Result<(), Failure> {
    let name = one(args, "role delete command requires role name as its argument")?;
    context.printer.refuse_table()?;
    let request = AuthRoleDeleteRequest { role: name.clone() };
    let response = context.call(context.client.auth().role_delete(request)).await?;
    done(context, &response.header, format!("Role {name} deleted"))
}

async fn get(context: &Context, args: &[String]) -> Result<(), Failure> {
    let name = one(args, "role get command requires role name as its argument")?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.auth().role_get(AuthRoleGetRequest { role: name.clone() })).await?;
    context.printer.print(&Answer::Auth(AuthAnswer::Role { name: &name, response: &response }))
}

async fn list(context: &Context, args: &[String]) -> Result<(), Failure> {
    if !args.is_empty() {
        return Err(Failure::arguments("role list command requires no arguments"));
    }
    context.printer.refuse_table()?;
    let response = context.call(context.client.auth().role_list(AuthRoleListRequest {})).await?;
    context.printer.print(&Answer::Auth(AuthAnswer::Roles(&response)))
}

async fn grant(context: &Context, args: &[String], reach: &Reach) -> Result<(), Failure> {
    let [role, kind, range @ ..] = args else { return Err(too_few_to_grant()) };
    if range.is_empty() {
        return Err(too_few_to_grant());
    }
    let perm_type = kind_of(kind)?.into();
    let (key, range_end) = span(range, reach)?;
    context.printer.refuse_table()?;
    let perm = Some(Permission { perm_type, key: key.into(), range_end: range_end.into() });
    let request = AuthRoleGrantPermissionRequest { name: role.clone(), perm };
    let response = context.call(context.client.auth().role_grant_permission(request)).await?;
    done(context, &response.header, format!("Role {role} updated"))
}

fn too_few_to_grant() -> Failure {
    Failure::arguments("role grant command requires role name, permission type, and key [endkey] as its argument")
}

async fn revoke(context: &Context, args: &[String], reach: &Reach) -> Result<(), Failure> {
    let [role, range @ ..] = args else { return Err(too_few_to_revoke()) };
    let Some(written) = range.first() else { return Err(too_few_to_revoke()) };
    let (key, range_end) = span(range, reach)?;
    context.printer.refuse_table()?;
    let range_end_shown = range_end.clone();
    let request = AuthRoleRevokePermissionRequest { role: role.clone(), key: key.into(), range_end: range_end.into() };
    let response = context.call(context.client.auth().role_revoke_permission(request)).await?;
    // The key is shown as it was written.
    let (key, range_end) = (written.as_bytes(), range_end_shown.as_slice());
    context.printer.print(&Answer::Revoked { key, range_end, role, header: &response.header })
}

fn too_few_to_revoke() -> Failure {
    Failure::arguments("role revoke-permission command requires role name and key [endkey] as its argument")
}

fn one(args: &[String], usage: &str) -> Result<String, Failure> {
    match args {
        [name] => Ok(name.clone()),
        _ => Err(Failure::arguments(usage)),
    }
}

fn kind_of(text: &str) -> Result<Type, Failure> {
    match text.to_uppercase().as_str() {
        "READ" => Ok(Type::Read),
        "WRITE" => Ok(Type::Write),
        "READWRITE" => Ok(Type::Readwrite),
        _ => Err(Failure::arguments(format!("invalid permission type: {text}"))),
    }
}

/// The range of a permission. The API has no empty key: it means the smallest one.
fn span(args: &[String], reach: &Reach) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    const EXCLUSIVE: &str = "--from-key and --prefix flags are mutually exclusive";
    let (key, end) = (args.first().map_or("", String::as_str), args.get(1));
    if key.is_empty() {
        return match (reach.prefix, reach.from_key) {
            (true, true) => Err(Failure::arguments(EXCLUSIVE)),
            (false, false) => Ok((vec![0], Vec::new())),
            _ => Ok((vec![0], vec![0])),
        };
    }
    let range_end = match (end, reach.prefix, reach.from_key) {
        (None, true, true) => return Err(Failure::arguments(EXCLUSIVE)),
        (None, true, false) => prefix_end(key.as_bytes()).to_vec(),
        (None, false, true) => vec![0],
        (None, false, false) => Vec::new(),
        (Some(_), true, _) => return Err(Failure::arguments("unexpected endkey argument with --prefix flag")),
        (Some(_), false, true) => return Err(Failure::arguments("unexpected endkey argument with --from-key flag")),
        (Some(end), false, false) => end.clone().into_bytes(),
    };
    Ok((key.as_bytes().to_vec(), range_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(args: &[&str], prefix: bool, from_key: bool) -> Result<(String, String), String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let span = span(&args, &Reach { prefix, from_key });
        span.map(|(key, end)| (text(key), text(end))).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_permission_is_of_a_key_a_range_a_prefix_or_all_from_a_key_on() {
        let span = |key: &str, end: &str| Ok((key.to_owned(), end.to_owned()));
        assert_eq!(found(&["a"], false, false), span("a", ""));
        assert_eq!(found(&["a", "c"], false, false), span("a", "c"));
        assert_eq!(found(&["a"], true, false), span("a", "b"));
        assert_eq!(found(&["a"], false, true), span("a", "\0"));
        assert_eq!(found(&[""], true, false), span("\0", "\0"));
        assert_eq!(found(&[""], false, false), span("\0", ""));
        assert!(found(&["a"], true, true).is_err() && found(&[""], true, true).is_err());
        assert!(found(&["a", "b"], true, false).is_err() && found(&["a", "b"], false, true).is_err());
    }

    #[test]
    fn kinds_are_written_in_any_case() {
        assert_eq!(kind_of("readWrite").expect("a kind"), Type::Readwrite);
        assert_eq!(kind_of("own").expect_err("no kind").to_string(), "invalid permission type: own");
    }
}
