//! `--auth`: the users and roles of a snapshot, with the hashes of their passwords. Everybody signs in as before.
//!
//! They are made by etcd's own calls, after everything else; judging begins last, if the source was judging. Those that are there already are left
//! alone, unless `--overwrite` is given: then they get what they lack, and the source's password.

use aws_lc_rs::rand;
use tombolo_proto::{
    authpb::{Role, User, UserAddOptions},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserGrantRoleRequest,
    },
};
use tonic::{Response, Status};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::base64,
};

/// Who may do what.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) users: Vec<User>,
    pub(super) roles: Vec<Role>,
    pub(super) is_enabled: bool,
}

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) users: usize,
    pub(super) roles: usize,
    /// Those that were there and were left alone.
    pub(super) left: Vec<String>,
    pub(super) is_enabled: bool,
}

/// Makes them.
pub(super) async fn make(context: &Context, accounts: Accounts, overwrite: bool) -> Result<Made, Failure> {
    let mut made = Made::default();
    for role in accounts.roles {
        let name = text(&role.name)?;
        let add = AuthRoleAddRequest { name: name.clone() };
        let is_new = is_new(context, context.client.auth().role_add(add).await)?;
        if !is_new && !overwrite {
            made.left.push(format!("role {name}"));
            continue;
        }
        for permission in role.key_permission {
            let grant = AuthRoleGrantPermissionRequest { name: name.clone(), perm: Some(permission) };
            context.call(context.client.auth().role_grant_permission(grant)).await?;
        }
        made.roles += 1;
    }
    for user in accounts.users {
        let name = text(&user.name)?;
        if make_user(context, &name, user, overwrite).await? {
            made.users += 1;
        } else {
            made.left.push(format!("user {name}"));
        }
    }
    if accounts.is_enabled {
        context.call(context.client.auth().auth_enable(AuthEnableRequest {})).await?;
        made.is_enabled = true;
    }
    Ok(made)
}

/// Answers whether the user was made, or made like the source's.
async fn make_user(context: &Context, name: &str, user: User, overwrite: bool) -> Result<bool, Failure> {
    let no_password = user.options.is_some_and(|options| options.no_password);
    let add = AuthUserAddRequest {
        name: name.to_owned(),
        // Nobody knows it, and it holds only until the next call.
        password: if no_password { String::new() } else { nobodys_password()? },
        options: Some(UserAddOptions { no_password }),
        ..AuthUserAddRequest::default()
    };
    let is_new = is_new(context, context.client.auth().user_add(add).await)?;
    if !is_new && !overwrite {
        return Ok(false);
    }
    if !no_password {
        let hashed_password = base64(&user.password).trim_matches('"').to_owned();
        let change = AuthUserChangePasswordRequest { name: name.to_owned(), password: String::new(), hashed_password };
        context.call(context.client.auth().user_change_password(change)).await?;
    }
    for role in user.roles {
        let grant = AuthUserGrantRoleRequest { user: name.to_owned(), role };
        context.call(context.client.auth().user_grant_role(grant)).await?;
    }
    Ok(true)
}

/// Whether it was made, and was not there already.
fn is_new<T>(context: &Context, answer: Result<Response<T>, Status>) -> Result<bool, Failure> {
    match answer {
        Ok(_) => Ok(true),
        Err(status) if status.message().ends_with("already exists") => Ok(false),
        Err(status) => Err(context.explain(status)),
    }
}

fn nobodys_password() -> Result<String, Failure> {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).map_err(|_| Failure::new(Exit::Error, "the system gave no randomness"))?;
    Ok(base64(&bytes))
}

fn text(name: &[u8]) -> Result<String, Failure> {
    let unknown = |_| Failure::new(Exit::Error, format!("the name \"{}\" is no text", name.escape_ascii()));
    String::from_utf8(name.to_vec()).map_err(unknown)
}
