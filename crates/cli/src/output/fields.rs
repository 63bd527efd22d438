//! `-w fields`: one `"Name" : value` a line, strings quoted as Go quotes them.

use std::io::{self, Write};

use tombolo_proto::{
    etcdserverpb::{
        DeleteRangeResponse, LeaseTimeToLiveResponse, MemberListResponse, RangeResponse, ResponseHeader, TxnResponse,
        WatchResponse, response_op::Response,
    },
    mvccpb::KeyValue,
};

use super::{Answer, Done, EndpointHealth, EndpointStatus};
use crate::{commands::snapshot::SnapshotFacts, notation::quote::Quoted};

mod auth;
mod mesh;

pub(super) fn write(out: &mut impl Write, answer: &Answer<'_>) -> io::Result<()> {
    match answer {
        Answer::Put(response) => {
            header(out, &response.header)?;
            response.prev_kv.iter().try_for_each(|pair| key_value(out, "Prev", pair))
        }
        Answer::Get(response) => get(out, response),
        Answer::Del(response) => del(out, response),
        Answer::Txn(response) => txn(out, response),
        Answer::Watch(response) => watch(out, response),
        Answer::WatchLost => header(out, &None),
        Answer::Grant(response) => {
            header(out, &response.header)?;
            write!(out, "\"ID\" : {}\n\"TTL\" : {}\n", response.id, response.ttl)
        }
        Answer::Revoke { response, .. } => header(out, &response.header),
        Answer::KeepAlive(response) => {
            header(out, &response.header)?;
            write!(out, "\"ID\" : {}\n\"TTL\" : {}\n", response.id, response.ttl)
        }
        Answer::TimeToLive { response, .. } => time_to_live(out, response),
        Answer::Leases(response) => {
            header(out, &response.header)?;
            response.leases.iter().try_for_each(|lease| writeln!(out, "\"ID\" : {}", lease.id))
        }
        Answer::Members(response) => members(out, response),
        Answer::Health(list) => list.iter().try_for_each(|item| health(out, item)),
        Answer::Status(list) => list.iter().try_for_each(|item| status(out, item)),
        Answer::Hashes(list) => list.iter().try_for_each(|item| auth::hash(out, item)),
        Answer::Snapshot(facts) => snapshot(out, facts),
        Answer::Alarms(response) => auth::alarms(out, response),
        Answer::Auth(answer) => auth::auth(out, answer),
        Answer::Done(Done { header: head, .. }) | Answer::Revoked { header: head, .. } => header(out, head),
        Answer::MemberChange(_) => Err(unsupported()),
        Answer::Invitation(response) => mesh::invitation(out, response),
        Answer::MeshMembers(response) => mesh::members(out, response),
        Answer::MeshEntered(response) => mesh::entered(out, response),
        Answer::MeshRepaired(response) => mesh::repaired(out, response),
        Answer::MeshMember(known) => mesh::member(out, known),
        Answer::MeshStatus(response) => mesh::status(out, response),
    }
}

fn snapshot(out: &mut impl Write, facts: &SnapshotFacts) -> io::Result<()> {
    let SnapshotFacts { hash, revision, keys, bytes } = facts;
    writeln!(out, "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\"Size\" : {bytes}")
}

/// Commands refuse this format up front where it has no lines for an answer.
fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "fields not supported as output format")
}

fn header(out: &mut impl Write, header: &Option<ResponseHeader>) -> io::Result<()> {
    let header = header.unwrap_or_default();
    writeln!(out, "\"ClusterID\" : {}", header.cluster_id)?;
    writeln!(out, "\"MemberID\" : {}", header.member_id)?;
    writeln!(out, "\"Revision\" : {}", header.revision)?;
    writeln!(out, "\"RaftTerm\" : {}", header.raft_term)
}

fn key_value(out: &mut impl Write, prefix: &str, pair: &KeyValue) -> io::Result<()> {
    writeln!(out, "\"{prefix}Key\" : {}", Quoted(&pair.key))?;
    writeln!(out, "\"{prefix}CreateRevision\" : {}", pair.create_revision)?;
    writeln!(out, "\"{prefix}ModRevision\" : {}", pair.mod_revision)?;
    writeln!(out, "\"{prefix}Version\" : {}", pair.version)?;
    writeln!(out, "\"{prefix}Value\" : {}", Quoted(&pair.value))?;
    writeln!(out, "\"{prefix}Lease\" : {}", pair.lease)
}

fn get(out: &mut impl Write, response: &RangeResponse) -> io::Result<()> {
    header(out, &response.header)?;
    response.kvs.iter().try_for_each(|pair| key_value(out, "", pair))?;
    write!(out, "\"More\" : {}\n\"Count\" : {}\n", response.more, response.count)
}

fn del(out: &mut impl Write, response: &DeleteRangeResponse) -> io::Result<()> {
    header(out, &response.header)?;
    writeln!(out, "\"Deleted\" : {}", response.deleted)?;
    response.prev_kvs.iter().try_for_each(|pair| key_value(out, "Prev", pair))
}

fn txn(out: &mut impl Write, response: &TxnResponse) -> io::Result<()> {
    header(out, &response.header)?;
    writeln!(out, "\"Succeeded\" : {}", response.succeeded)?;
    response.responses.iter().try_for_each(|operation| match &operation.response {
        Some(Response::ResponsePut(put)) => write(out, &Answer::Put(put)),
        Some(Response::ResponseRange(range)) => get(out, range),
        Some(Response::ResponseDeleteRange(deleted)) => del(out, deleted),
        Some(Response::ResponseTxn(nested)) => txn(out, nested),
        None => Ok(()),
    })
}

fn watch(out: &mut impl Write, response: &WatchResponse) -> io::Result<()> {
    header(out, &response.header)?;
    for event in &response.events {
        writeln!(out, "\"Type\" : {}", event.r#type().as_str_name())?;
        event.prev_kv.iter().try_for_each(|pair| key_value(out, "Prev", pair))?;
        event.kv.iter().try_for_each(|pair| key_value(out, "", pair))?;
    }
    Ok(())
}

fn time_to_live(out: &mut impl Write, response: &LeaseTimeToLiveResponse) -> io::Result<()> {
    header(out, &response.header)?;
    writeln!(out, "\"ID\" : {}", response.id)?;
    writeln!(out, "\"TTL\" : {}", response.ttl)?;
    writeln!(out, "\"GrantedTTL\" : {}", response.granted_ttl)?;
    response.keys.iter().try_for_each(|key| writeln!(out, "\"Key\" : {}", Quoted(key)))
}

fn members(out: &mut impl Write, response: &MemberListResponse) -> io::Result<()> {
    header(out, &response.header)?;
    for member in &response.members {
        writeln!(out, "\"ID\" : {}", member.id)?;
        writeln!(out, "\"Name\" : {}", Quoted(member.name.as_bytes()))?;
        member.peer_ur_ls.iter().try_for_each(|url| writeln!(out, "\"PeerURL\" : {}", Quoted(url.as_bytes())))?;
        member.client_ur_ls.iter().try_for_each(|url| writeln!(out, "\"ClientURL\" : {}", Quoted(url.as_bytes())))?;
        writeln!(out, "\"IsLearner\" : {}\n", member.is_learner)?;
    }
    Ok(())
}

fn health(out: &mut impl Write, health: &EndpointHealth) -> io::Result<()> {
    writeln!(out, "\"Endpoint\" : {}", Quoted(health.endpoint.to_string().as_bytes()))?;
    writeln!(out, "\"Health\" : {}", health.error.is_none())?;
    writeln!(out, "\"Took\" : {}", health.took)?;
    writeln!(out, "\"Error\" : {}\n", health.error.as_deref().unwrap_or_default())
}

fn status(out: &mut impl Write, status: &EndpointStatus) -> io::Result<()> {
    let response = &status.response;
    header(out, &response.header)?;
    writeln!(out, "\"Version\" : {}", Quoted(response.version.as_bytes()))?;
    writeln!(out, "\"DBSize\" : {}", response.db_size)?;
    writeln!(out, "\"Leader\" : {}", response.leader)?;
    writeln!(out, "\"IsLearner\" : {}", response.is_learner)?;
    writeln!(out, "\"RaftIndex\" : {}", response.raft_index)?;
    writeln!(out, "\"RaftTerm\" : {}", response.raft_term)?;
    writeln!(out, "\"RaftAppliedIndex\" : {}", response.raft_applied_index)?;
    writeln!(out, "\"Errors\" : [{}]", response.errors.join(" "))?;
    writeln!(out, "\"Endpoint\" : {}\n", Quoted(status.endpoint.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, samples};
    use super::*;

    const HEADER: &str = "\"ClusterID\" : 7\n\"MemberID\" : 8\n\"Revision\" : 9\n\"RaftTerm\" : 2\n";
    const INNER: &str = "\"ClusterID\" : 0\n\"MemberID\" : 0\n\"Revision\" : 9\n\"RaftTerm\" : 0\n";

    #[track_caller]
    fn check(answer: &Answer<'_>, expected: &str) {
        assert_eq!(samples::shown(Format::Fields, false, answer), expected);
    }

    fn pair(prefix: &str, value: u8) -> String {
        format!(
            "\"{prefix}Key\" : \"a\"\n\"{prefix}CreateRevision\" : 3\n\"{prefix}ModRevision\" : 5\n\
             \"{prefix}Version\" : 2\n\"{prefix}Value\" : \"{value}\"\n\"{prefix}Lease\" : 0\n"
        )
    }

    #[test]
    fn pairs_are_six_lines_each() {
        let odd = "\"Key\" : \"b\\n\\xff\\\"\"\n\"CreateRevision\" : 3\n\"ModRevision\" : 5\n\"Version\" : 2\n\
                   \"Value\" : \"<&>\"\n\"Lease\" : 7751717505213453845\n";
        let get = format!("{HEADER}{}{odd}\"More\" : true\n\"Count\" : 3\n", pair("", 1));
        check(&Answer::Get(&samples::range()), &get);
        check(&Answer::Put(&samples::put()), &format!("{HEADER}{}", pair("Prev", 1)));
        check(&Answer::Del(&samples::del()), &format!("{HEADER}\"Deleted\" : 1\n{}", pair("Prev", 1)));
    }

    #[test]
    fn a_transaction_is_the_lines_of_its_answers() {
        let answers = format!("{INNER}{INNER}{}\"More\" : false\n\"Count\" : 1\n{INNER}\"Deleted\" : 0\n", pair("", 1));
        check(&Answer::Txn(&samples::txn()), &format!("{HEADER}\"Succeeded\" : true\n{answers}"));
    }

    #[test]
    fn events_show_both_pairs() {
        let tombstone = "\"Key\" : \"a\"\n\"CreateRevision\" : 0\n\"ModRevision\" : 6\n\"Version\" : 0\n\
                         \"Value\" : \"\"\n\"Lease\" : 0\n";
        let events = format!("\"Type\" : PUT\n{}{}\"Type\" : DELETE\n{tombstone}", pair("Prev", 1), pair("", 2));
        check(&Answer::Watch(&samples::watch()), &format!("{HEADER}{events}"));
        check(&Answer::WatchLost, &INNER.replace('9', "0"));
    }

    #[test]
    fn lease_ids_are_decimal() {
        let id = "\"ID\" : 7751717505213453845\n";
        check(&Answer::Grant(&samples::grant()), &format!("{HEADER}{id}\"TTL\" : 100\n"));
        check(&Answer::KeepAlive(&samples::keep_alive()), &format!("{HEADER}{id}\"TTL\" : 100\n"));
        check(&Answer::Revoke { id: 1, response: &samples::revoke() }, HEADER);
        let live = Answer::TimeToLive { response: &samples::time_to_live(), keys: true };
        let lines = "\"TTL\" : 99\n\"GrantedTTL\" : 100\n\"Key\" : \"a\"\n\"Key\" : \"b c\"\n";
        check(&live, &format!("{HEADER}{id}{lines}"));
        check(&Answer::Leases(&samples::leases()), &format!("{HEADER}\"ID\" : 1\n{id}"));
    }

    #[test]
    fn listed_things_end_with_a_blank_line() {
        let members = "\"ID\" : 3153101805118352275\n\"Name\" : \"n<1>\"\n\"PeerURL\" : \"http://a:2380\"\n\
            \"ClientURL\" : \"http://a:2379\"\n\"ClientURL\" : \"http://b:2379\"\n\"IsLearner\" : false\n\n\
            \"ID\" : 15\n\"Name\" : \"\"\n\"PeerURL\" : \"http://c:2380\"\n\"IsLearner\" : true\n\n";
        check(&Answer::Members(&samples::members()), &format!("{HEADER}{members}"));
        let health = "\"Endpoint\" : \"a:2379\"\n\"Health\" : true\n\"Took\" : 2.084579ms\n\"Error\" : \n\n\
            \"Endpoint\" : \"b:1\"\n\"Health\" : false\n\"Took\" : 5s\n\"Error\" : context deadline exceeded\n\n";
        check(&Answer::Health(&samples::health()), health);
    }

    #[test]
    fn what_is_not_known_of_a_mesh_has_no_line() {
        let invitation = "\"Ticket\" : \"tmb1abc\"\n\"ExpiresMs\" : 1700000000000\n\"Issuer\" : \"00000000000000a1\"\n\
            \"Slots\" : \"24576-32767\"\n";
        check(&Answer::Invitation(&samples::mesh::invitation()), invitation);
        let text = samples::shown(Format::Fields, false, &Answer::MeshStatus(&samples::mesh::status()));
        assert_eq!(text.matches("\"LagMs\"").count(), 2, "{text}");
        assert_eq!(text.matches("\"RttUs\"").count(), 1, "{text}");
        assert!(text.contains("\"Frontier\" : \"00000000000000b2:3\"\n"), "{text}");
        assert!(text.contains("\"Alarm\" : \"SKEW\"\n\"Peer\" : \"00000000000000b2\"\n"), "{text}");
        let text = samples::shown(Format::Fields, false, &Answer::MeshMembers(&samples::mesh::members()));
        assert!(text.contains("\"Slots\" : \"0-32767\"\n\"Issuer\" : \"00000000000000a1\"\n"), "{text}");
    }

    #[test]
    fn a_removed_member_has_an_end() {
        let text = samples::shown(Format::Fields, false, &Answer::MeshMember(&samples::mesh::removed()));
        assert!(text.contains("\"State\" : \"removed\"\n") && text.contains("\"EndsAt\" : 41\n"), "{text}");
        let entered = samples::shown(Format::Fields, false, &Answer::MeshEntered(&samples::mesh::entered()));
        let repaired = samples::shown(Format::Fields, false, &Answer::MeshRepaired(&samples::mesh::repaired()));
        assert!(repaired.contains("\"Replaced\" : 3\n\"DigestCorrected\" : true\n"), "{repaired}");
        assert!(entered.starts_with("\"Author\" : \"00000000000000c3\"\n\"Last\" : 41\n"), "{entered}");
        assert!(text.contains("\"StateBy\" : \"00000000000000a1\"\n") && !text.contains("OpenTo"), "{text}");
    }

    #[test]
    fn status_lists_its_errors_in_brackets() {
        let header = HEADER.replace('8', "2748");
        let status = "\"Version\" : \"3.5.1\"\n\"DBSize\" : 20480\n\"Leader\" : 2748\n\"IsLearner\" : false\n\
            \"RaftIndex\" : 17\n\"RaftTerm\" : 2\n\"RaftAppliedIndex\" : 16\n\
            \"Errors\" : [memberID:1 alarm:NOSPACE  x]\n\"Endpoint\" : \"a:2379\"\n\n";
        check(&Answer::Status(&samples::status()), &format!("{header}{status}"));
    }
}
