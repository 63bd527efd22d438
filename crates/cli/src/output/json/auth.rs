//! Users, roles, members and alarms in etcd's field names.

use tombolo_proto::{authpb::Permission, etcdserverpb::AlarmResponse};

use super::{
    super::{
        auth::AuthAnswer,
        cluster::{EndpointHash, MemberChange},
    },
    member,
    object::{Object, list},
    strings, with_header,
};

pub(super) fn auth(answer: &AuthAnswer<'_>) -> String {
    match answer {
        AuthAnswer::Status(response) => with_header(&response.header)
            .truth_unless_false("enabled", response.enabled)
            .number_unless_zero("authRevision", response.auth_revision),
        AuthAnswer::User { response, .. } => {
            with_header(&response.header).list_unless_empty("roles", strings(&response.roles))
        }
        AuthAnswer::Users(response) => {
            with_header(&response.header).list_unless_empty("users", strings(&response.users))
        }
        AuthAnswer::Role { response, .. } => {
            with_header(&response.header).list_unless_empty("perm", response.perm.iter().map(permission))
        }
        AuthAnswer::Roles(response) => {
            with_header(&response.header).list_unless_empty("roles", strings(&response.roles))
        }
    }
    .end()
}

fn permission(permission: &Permission) -> String {
    Object::new()
        .number_unless_zero("permType", permission.perm_type)
        .bytes_unless_empty("key", &permission.key)
        .bytes_unless_empty("range_end", &permission.range_end)
        .end()
}

pub(super) fn member_change(change: &MemberChange<'_>) -> String {
    with_header(change.header)
        .value_if_some("member", change.added.map(member))
        .list_unless_empty("members", change.members.iter().map(member))
        .end()
}

pub(super) fn alarms(response: &AlarmResponse) -> String {
    let alarms = response.alarms.iter().map(|alarm| {
        let object = Object::new().number_unless_zero("memberID", alarm.member_id);
        object.number_unless_zero("alarm", alarm.alarm).end()
    });
    with_header(&response.header).list_unless_empty("alarms", alarms).end()
}

pub(super) fn hashes(endpoints: &[EndpointHash]) -> String {
    list(endpoints.iter().map(|EndpointHash { endpoint, response }| {
        let fields = with_header(&response.header)
            .number_unless_zero("hash", response.hash)
            .number_unless_zero("compact_revision", response.compact_revision);
        Object::new().string("Endpoint", &endpoint.to_string()).field("HashKV", &fields.end()).end()
    }))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Answer, Format, samples};
    use super::*;

    const HEADER: &str = r#""header":{"cluster_id":7,"member_id":8,"revision":9,"raft_term":2}"#;

    #[track_caller]
    fn check(answer: &Answer<'_>, rest: &str) {
        assert_eq!(samples::shown(Format::Json, false, answer), format!("{{{HEADER}{rest}}}\n"));
    }

    #[test]
    fn permissions_have_numbers_for_their_kinds() {
        let role = Answer::Auth(AuthAnswer::Role { name: "r", response: &samples::auth::role() });
        let permissions = r#"{"key":"YQ=="},{"permType":2,"key":"Yg==","range_end":"Yw=="},{"key":"ZA==","range_end":"Zg=="},{"permType":1,"key":"ZQ==","range_end":"AA=="}"#;
        check(&role, &format!(r#","perm":[{permissions}]"#));
    }

    #[test]
    fn lists_of_names_are_lists() {
        check(&Answer::Auth(AuthAnswer::Users(&samples::auth::users())), r#","users":["root","u"]"#);
        check(&Answer::Auth(AuthAnswer::Roles(&samples::auth::roles())), r#","roles":["r","root"]"#);
        check(&Answer::Auth(AuthAnswer::Status(&samples::auth::status())), r#","enabled":true,"authRevision":7"#);
    }

    #[test]
    fn alarms_and_changes_name_their_members() {
        check(&Answer::Alarms(&samples::auth::alarms()), r#","alarms":[{"memberID":8,"alarm":1}]"#);
        let members = samples::members().members;
        let (header, said) = (samples::header(), String::new());
        let change = MemberChange { header: &header, added: members.last(), members: &members[1..], said };
        let learner = r#"{"ID":15,"peerURLs":["http://c:2380"],"isLearner":true}"#;
        check(&Answer::MemberChange(change), &format!(r#","member":{learner},"members":[{learner}]"#));
    }
}
