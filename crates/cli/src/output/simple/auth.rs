//! Users and roles for a person to read.

use std::io::{self, Write};

use tombolo_client::prefix_end;
use tombolo_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::AuthRoleGetResponse,
};

use super::super::auth::AuthAnswer;

pub(super) fn write(out: &mut impl Write, answer: &AuthAnswer<'_>) -> io::Result<()> {
    match answer {
        AuthAnswer::Status(response) => {
            write!(out, "Authentication Status: {}\nAuthRevision: {}\n", response.enabled, response.auth_revision)
        }
        AuthAnswer::User { name, response } => {
            write!(out, "User: {name}\nRoles:")?;
            response.roles.iter().try_for_each(|role| write!(out, " {role}"))?;
            writeln!(out)
        }
        AuthAnswer::Users(response) => response.users.iter().try_for_each(|user| writeln!(out, "{user}")),
        AuthAnswer::Role { name, response } => role(out, name, response),
        AuthAnswer::Roles(response) => response.roles.iter().try_for_each(|role| writeln!(out, "{role}")),
    }
}

fn role(out: &mut impl Write, name: &str, response: &AuthRoleGetResponse) -> io::Result<()> {
    writeln!(out, "Role {name}")?;
    for (heading, kind) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
        writeln!(out, "{heading}")?;
        let granted = response.perm.iter().filter(|permission| {
            let granted = permission.perm_type();
            granted == kind || granted == Type::Readwrite
        });
        granted.into_iter().try_for_each(|permission| range(out, permission))?;
    }
    Ok(())
}

fn range(out: &mut impl Write, permission: &Permission) -> io::Result<()> {
    let Permission { key, range_end, .. } = permission;
    out.write_all(b"\t")?;
    if range_end.is_empty() {
        out.write_all(key)?;
        return writeln!(out);
    }
    write_range(out, key, range_end)?;
    if prefix_end(key) == range_end {
        out.write_all(b" (prefix ")?;
        out.write_all(key)?;
        out.write_all(b")")?;
    }
    writeln!(out)
}

/// `[a, b)`, or `[a, <open ended>` without an end.
pub(super) fn write_range(out: &mut impl Write, key: &[u8], range_end: &[u8]) -> io::Result<()> {
    out.write_all(b"[")?;
    out.write_all(key)?;
    if range_end == b"\0" {
        return out.write_all(b", <open ended>");
    }
    out.write_all(b", ")?;
    out.write_all(range_end)?;
    out.write_all(b")")
}

#[cfg(test)]
mod tests {
    use super::super::super::{Answer, Format, samples};
    use super::*;

    fn shown(answer: AuthAnswer<'_>) -> String {
        samples::shown(Format::Simple, false, &Answer::Auth(answer))
    }

    #[test]
    fn a_role_shows_what_may_be_read_and_what_may_be_written() {
        let expected = "Role r\nKV Read:\n\ta\n\t[b, c) (prefix b)\n\t[d, f)\nKV Write:\n\t[b, c) (prefix b)\n\t[e, <open ended>\n";
        assert_eq!(shown(AuthAnswer::Role { name: "r", response: &samples::auth::role() }), expected);
    }

    #[test]
    fn users_roles_and_the_status_are_lines() {
        assert_eq!(shown(AuthAnswer::User { name: "u", response: &samples::auth::user() }), "User: u\nRoles: r root\n");
        assert_eq!(shown(AuthAnswer::Users(&samples::auth::users())), "root\nu\n");
        assert_eq!(shown(AuthAnswer::Roles(&samples::auth::roles())), "r\nroot\n");
        let status = "Authentication Status: true\nAuthRevision: 7\n";
        assert_eq!(shown(AuthAnswer::Status(&samples::auth::status())), status);
    }
}
