//! Users, roles, alarms and hashes as lines of fields. etcdctl knows no such lines for one user, for all of them and for the status: commands
//! refuse the format there.

use std::io::{self, Write};

use tombolo_proto::etcdserverpb::AlarmResponse;

use super::{
    super::{auth::AuthAnswer, cluster::EndpointHash},
    header,
};
use crate::notation::quote::Quoted;

pub(super) fn auth(out: &mut impl Write, answer: &AuthAnswer<'_>) -> io::Result<()> {
    match answer {
        AuthAnswer::Role { response, .. } => {
            header(out, &response.header)?;
            response.perm.iter().try_for_each(|permission| {
                // Two spaces stand after the colon, as etcdctl has them.
                writeln!(out, "\"PermType\" :  {}", permission.perm_type().as_str_name())?;
                writeln!(out, "\"Key\" : {}", Quoted(&permission.key))?;
                writeln!(out, "\"RangeEnd\" : {}", Quoted(&permission.range_end))
            })
        }
        AuthAnswer::Roles(response) => {
            header(out, &response.header)?;
            write!(out, "\"Roles\" :")?;
            response.roles.iter().try_for_each(|role| write!(out, " {}", Quoted(role.as_bytes())))?;
            writeln!(out)
        }
        AuthAnswer::Status(_) | AuthAnswer::User { .. } | AuthAnswer::Users(_) => Err(super::unsupported()),
    }
}

pub(super) fn alarms(out: &mut impl Write, response: &AlarmResponse) -> io::Result<()> {
    header(out, &response.header)?;
    response.alarms.iter().try_for_each(|alarm| {
        let kind = alarm.alarm().as_str_name();
        write!(out, "\"MemberID\" : {}\n\"AlarmType\" : {kind}\n\n", alarm.member_id)
    })
}

pub(super) fn hash(out: &mut impl Write, EndpointHash { endpoint, response }: &EndpointHash) -> io::Result<()> {
    header(out, &response.header)?;
    let endpoint = endpoint.to_string();
    write!(out, "\"Endpoint\" : {}\n\"Hash\" : {}\n\n", Quoted(endpoint.as_bytes()), response.hash)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Answer, Format, samples};
    use super::*;

    const HEADER: &str = "\"ClusterID\" : 7\n\"MemberID\" : 8\n\"Revision\" : 9\n\"RaftTerm\" : 2\n";

    #[track_caller]
    fn check(answer: &Answer<'_>, rest: &str) {
        assert_eq!(samples::shown(Format::Fields, false, answer), format!("{HEADER}{rest}"));
    }

    #[test]
    fn permissions_are_three_lines_each() {
        let role = samples::auth::role();
        let rest = "\"PermType\" :  READ\n\"Key\" : \"a\"\n\"RangeEnd\" : \"\"\n\
                    \"PermType\" :  READWRITE\n\"Key\" : \"b\"\n\"RangeEnd\" : \"c\"\n\
                    \"PermType\" :  READ\n\"Key\" : \"d\"\n\"RangeEnd\" : \"f\"\n\
                    \"PermType\" :  WRITE\n\"Key\" : \"e\"\n\"RangeEnd\" : \"\\x00\"\n";
        check(&Answer::Auth(AuthAnswer::Role { name: "r", response: &role }), rest);
        check(&Answer::Auth(AuthAnswer::Roles(&samples::auth::roles())), "\"Roles\" : \"r\" \"root\"\n");
    }

    #[test]
    fn alarms_and_hashes_end_with_a_blank_line() {
        check(&Answer::Alarms(&samples::auth::alarms()), "\"MemberID\" : 8\n\"AlarmType\" : NOSPACE\n\n");
        let hashes = samples::auth::hashes();
        check(&Answer::Hashes(&hashes), "\"Endpoint\" : \"a:2379\"\n\"Hash\" : 4000000000\n\n");
    }

    #[test]
    fn what_etcdctl_has_no_lines_for_is_refused() {
        let refused = auth(&mut Vec::new(), &AuthAnswer::Users(&samples::auth::users())).expect_err("no fields");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
    }
}
