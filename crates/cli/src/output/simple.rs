//! `-w simple`: what a person wants to see, and what scripts cut up.
//!
//! Keys and values are written as the bytes they are, or with `--hex` as `\x61\x62`.

use std::io::{self, Write};

use tombolo_proto::{
    etcdserverpb::{
        AlarmMember, AlarmType, LeaseTimeToLiveResponse, TxnResponse, WatchResponse, response_op::Response,
    },
    mvccpb::KeyValue,
};

use super::{Answer, Done, EndpointHealth, MemberChange, rows::Rows};

mod auth;
mod mesh;

/// The choices that only this format has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) hex: bool,
    pub(super) value_only: bool,
}

pub(super) fn write(out: &mut impl Write, answer: &Answer<'_>, style: Style) -> io::Result<()> {
    match answer {
        Answer::Put(response) => {
            writeln!(out, "OK")?;
            pairs(out, &response.prev_kv, style)
        }
        Answer::Get(response) => pairs(out, &response.kvs, style),
        Answer::Del(response) => {
            writeln!(out, "{}", response.deleted)?;
            pairs(out, &response.prev_kvs, style)
        }
        Answer::Txn(response) => txn(out, response, style),
        Answer::Watch(response) => watch(out, response, style),
        Answer::WatchLost => Ok(()),
        Answer::Grant(response) => writeln!(out, "lease {:016x} granted with TTL({}s)", response.id, response.ttl),
        Answer::Revoke { id, .. } => writeln!(out, "lease {id:016x} revoked"),
        Answer::KeepAlive(response) => {
            writeln!(out, "lease {:016x} keepalived with TTL({})", response.id, response.ttl)
        }
        Answer::TimeToLive { response, keys } => time_to_live(out, response, *keys),
        Answer::Leases(response) => {
            writeln!(out, "found {} leases", response.leases.len())?;
            response.leases.iter().try_for_each(|lease| writeln!(out, "{:016x}", lease.id))
        }
        Answer::Health(list) => list.iter().try_for_each(|health| healthy(out, health)),
        Answer::Invitation(response) => writeln!(out, "{}", response.ticket),
        Answer::MeshStatus(response) => mesh::status(out, response),
        Answer::MeshEntered(response) => mesh::entered(out, response),
        Answer::MeshRepaired(response) => mesh::repaired(out, response),
        Answer::MeshMember(member) => mesh::member(out, member),
        Answer::Auth(answer) => auth::write(out, answer),
        Answer::Done(Done { said, .. }) | Answer::MemberChange(MemberChange { said, .. }) => writeln!(out, "{said}"),
        Answer::Revoked { key, range_end, role, .. } => revoked(out, key, range_end, role),
        Answer::Alarms(response) => response.alarms.iter().try_for_each(|alarm| writeln!(out, "{}", go_struct(alarm))),
        Answer::Members(_) | Answer::Status(_) | Answer::Hashes(_) | Answer::Snapshot(_) | Answer::MeshMembers(_) => {
            let rows = Rows::of(answer).map(|list| list.rows).unwrap_or_default();
            rows.iter().try_for_each(|row| writeln!(out, "{}", row.join(", ")))
        }
    }
}

fn pairs<'a>(out: &mut impl Write, pairs: impl IntoIterator<Item = &'a KeyValue>, style: Style) -> io::Result<()> {
    pairs.into_iter().try_for_each(|pair| {
        if !style.value_only {
            line(out, &pair.key, style)?;
        }
        line(out, &pair.value, style)
    })
}

fn line(out: &mut impl Write, bytes: &[u8], style: Style) -> io::Result<()> {
    if style.hex {
        bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))?;
    } else {
        out.write_all(bytes)?;
    }
    out.write_all(b"\n")
}

fn txn(out: &mut impl Write, response: &TxnResponse, style: Style) -> io::Result<()> {
    writeln!(out, "{}", if response.succeeded { "SUCCESS" } else { "FAILURE" })?;
    for operation in &response.responses {
        writeln!(out)?;
        let answer = match &operation.response {
            Some(Response::ResponsePut(put)) => Answer::Put(put),
            Some(Response::ResponseRange(range)) => Answer::Get(range),
            Some(Response::ResponseDeleteRange(del)) => Answer::Del(del),
            Some(Response::ResponseTxn(nested)) => Answer::Txn(nested),
            None => continue,
        };
        write(out, &answer, style)?;
    }
    Ok(())
}

fn watch(out: &mut impl Write, response: &WatchResponse, style: Style) -> io::Result<()> {
    for event in &response.events {
        writeln!(out, "{}", event.r#type().as_str_name())?;
        pairs(out, &event.prev_kv, style)?;
        pairs(out, &event.kv, style)?;
    }
    Ok(())
}

fn time_to_live(out: &mut impl Write, response: &LeaseTimeToLiveResponse, keys: bool) -> io::Result<()> {
    let LeaseTimeToLiveResponse { id, ttl, granted_ttl, .. } = response;
    if *granted_ttl == 0 && *ttl == -1 {
        return writeln!(out, "lease {id:016x} already expired");
    }
    write!(out, "lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)")?;
    if keys {
        out.write_all(b", attached keys([")?;
        out.write_all(&response.keys.join(&b' '))?;
        out.write_all(b"])")?;
    }
    writeln!(out)
}

fn revoked(out: &mut impl Write, key: &[u8], range_end: &[u8], role: &str) -> io::Result<()> {
    if range_end.is_empty() {
        out.write_all(b"Permission of key ")?;
        out.write_all(key)?;
    } else {
        out.write_all(b"Permission of range ")?;
        auth::write_range(out, key, range_end)?;
    }
    writeln!(out, " is revoked from role {role}")
}

/// An alarm as Go prints its struct: fields that are not zero, each with a space after it.
fn go_struct(alarm: &AlarmMember) -> String {
    let member = if alarm.member_id == 0 { String::new() } else { format!("memberID:{} ", alarm.member_id) };
    match alarm.alarm() {
        AlarmType::None => member,
        kind => format!("{member}alarm:{} ", kind.as_str_name()),
    }
}

/// Unhealthy endpoints are no result but an error: the command reports them on standard error.
fn healthy(out: &mut impl Write, health: &EndpointHealth) -> io::Result<()> {
    if health.error.is_some() {
        return Ok(());
    }
    writeln!(out, "{} is healthy: successfully committed proposal: took = {}", health.endpoint, health.took)
}

#[cfg(test)]
mod tests {
    use tombolo_proto::v1::{MeshRepairResponse, MeshStatusResponse};

    use super::super::{Format, Printer, samples};
    use super::*;

    fn shown(answer: &Answer<'_>) -> String {
        samples::shown(Format::Simple, false, answer)
    }

    #[test]
    fn pairs_are_a_line_for_the_key_and_one_for_the_value() {
        assert_eq!(shown(&Answer::Put(&samples::put())), "OK\na\n1\n");
        assert_eq!(shown(&Answer::Del(&samples::del())), "1\na\n1\n");
        assert_eq!(shown(&Answer::Get(&samples::range())), "a\n1\nb\n\u{fffd}\"\n<&>\n");
    }

    #[test]
    fn hex_spells_every_byte() {
        let hex = samples::shown(Format::Simple, true, &Answer::Get(&samples::range()));
        assert_eq!(hex, "\\x61\n\\x31\n\\x62\\x0a\\xff\\x22\n\\x3c\\x26\\x3e\n");
    }

    #[test]
    fn value_only_leaves_the_keys_out() {
        let mut out = Vec::new();
        let printer = Printer::new(Format::Simple, false).value_only();
        printer.write(&mut out, &Answer::Get(&samples::range())).expect("a Vec takes everything");
        assert_eq!(out, b"1\n<&>\n");
    }

    #[test]
    fn a_transaction_sets_its_answers_apart() {
        assert_eq!(shown(&Answer::Txn(&samples::txn())), "SUCCESS\n\nOK\n\na\n1\n\n0\n");
        assert_eq!(shown(&Answer::Txn(&TxnResponse::default())), "FAILURE\n");
    }

    #[test]
    fn events_name_their_kind_and_show_the_older_pair_first() {
        assert_eq!(shown(&Answer::Watch(&samples::watch())), "PUT\na\n1\na\n2\nDELETE\na\n\n");
        assert_eq!(shown(&Answer::WatchLost), "");
    }

    #[test]
    fn leases_are_sixteen_hex_digits() {
        assert_eq!(shown(&Answer::Grant(&samples::grant())), "lease 6b93a200296cd615 granted with TTL(100s)\n");
        let revoked = Answer::Revoke { id: 1, response: &samples::revoke() };
        assert_eq!(shown(&revoked), "lease 0000000000000001 revoked\n");
        assert_eq!(
            shown(&Answer::KeepAlive(&samples::keep_alive())),
            "lease 6b93a200296cd615 keepalived with TTL(100)\n"
        );
        assert_eq!(shown(&Answer::Leases(&samples::leases())), "found 2 leases\n0000000000000001\n6b93a200296cd615\n");
    }

    #[test]
    fn time_to_live_shows_keys_when_asked_and_tells_an_expired_lease() {
        let response = samples::time_to_live();
        let plain = "lease 6b93a200296cd615 granted with TTL(100s), remaining(99s)";
        assert_eq!(shown(&Answer::TimeToLive { response: &response, keys: false }), format!("{plain}\n"));
        let with_keys = format!("{plain}, attached keys([a b c])\n");
        assert_eq!(shown(&Answer::TimeToLive { response: &response, keys: true }), with_keys);
        let expired = Answer::TimeToLive { response: &samples::expired(), keys: true };
        assert_eq!(shown(&expired), "lease 6b93a200296cd615 already expired\n");
    }

    #[test]
    fn lists_are_comma_separated_rows() {
        let members = "2bc21162cab8eb93, started, n<1>, http://a:2380, http://a:2379,http://b:2379, false\n\
                       f, unstarted, , http://c:2380, , true\n";
        assert_eq!(shown(&Answer::Members(&samples::members())), members);
        let status = "a:2379, abc, 3.5.1, 20 kB, true, false, 2, 17, 16, memberID:1 alarm:NOSPACE , x\n";
        assert_eq!(shown(&Answer::Status(&samples::status())), status);
    }

    #[test]
    fn alarms_and_changes_are_told_as_go_and_people_say_them() {
        let alarms = samples::auth::alarms();
        assert_eq!(shown(&Answer::Alarms(&alarms)), "memberID:8 alarm:NOSPACE \n");
        let said = "User u created".to_owned();
        assert_eq!(shown(&Answer::Done(Done { header: &None, said })), "User u created\n");
        let revoked = |range_end| shown(&Answer::Revoked { key: b"k", range_end, role: "r", header: &None });
        assert_eq!(revoked(b""), "Permission of key k is revoked from role r\n");
        assert_eq!(revoked(b"l"), "Permission of range [k, l) is revoked from role r\n");
        assert_eq!(revoked(b"\0"), "Permission of range [k, <open ended> is revoked from role r\n");
        assert_eq!(shown(&Answer::Hashes(&samples::auth::hashes())), "a:2379, 4000000000\n");
    }

    #[test]
    fn an_invitation_is_its_ticket_alone() {
        assert_eq!(shown(&Answer::Invitation(&samples::mesh::invitation())), "tmb1abc\n");
    }

    #[test]
    fn the_status_of_a_mesh_fits_one_screen() {
        let expected = [
            "site factory  replica 00000000000000a1  v0.1.0  up 3d4h",
            "  mesh     0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "  data     43 records, revision 42, commit 44",
            "  digest   7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "  transfer taking from office: 1200 of 90000 elements, 340000 of 25000000 bytes, for 3.0s",
            "  PEERS   REPLICA           STATE                 RTT   LAG   BEHIND        AHEAD          IN FLIGHT  LINK  DIGEST   HOLDS",
            "  office  00000000000000b2  connected             18ms  0ms   0             3 ~600 B 2.0s  0          both  equal    0 B",
            "  ship    00000000000000c3  unreachable (parked)  -     2h3m  1204 ~241 kB  -              -          -     unknown  -",
            "    for 2h4m: timed out",
            "  ALARM    SKEW office: its clock is 70s ahead",
        ];
        let text = shown(&Answer::MeshStatus(&samples::mesh::status()));
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let alone = MeshStatusResponse { name: "a".into(), ..Default::default() };
        assert!(shown(&Answer::MeshStatus(&alone)).contains("tombolo mesh invite"));
    }

    #[test]
    fn what_was_said_of_a_member_is_one_line() {
        let member = samples::mesh::removed();
        assert_eq!(shown(&Answer::MeshMember(&member)), "ship (00000000000000c3) is removed\n");
    }

    #[test]
    fn what_became_of_a_tail_is_told_in_numbers() {
        let shown = |response| shown(&Answer::MeshEntered(&response));
        assert_eq!(
            shown(samples::mesh::entered()),
            "entered 12 records of 00000000000000c3, up to 41: 5 keys written, 2 removed, 1 outdone\n\
             3 keys were left out because they hung on leases: --leased writes them\n\
             4 writes of users, roles and members are not entered\n"
        );
        let again = tombolo_proto::v1::MeshEnterResponse { was_entered: true, ..samples::mesh::entered() };
        assert_eq!(shown(again), "all of it was entered before: 00000000000000c3, up to 41\n");
    }

    #[test]
    fn what_a_repair_has_changed_or_would_change_is_one_line() {
        let shown = |response| shown(&Answer::MeshRepaired(&response));
        let repaired = samples::mesh::repaired;
        assert_eq!(
            shown(repaired()),
            "repaired: of what differs from 00000000000000b2 3 elements were replaced, 2 added, 1 removed, the digest corrected; revision 42\n"
        );
        let asked = MeshRepairResponse { dry_run: true, digest_corrected: false, ..repaired() };
        assert_eq!(
            shown(asked),
            "nothing was changed: of what differs from 00000000000000b2 3 elements would be replaced, 2 added, 1 removed; revision 42\n"
        );
        let same = MeshRepairResponse { from: 0xb2, revision: 42, ..Default::default() };
        assert_eq!(shown(same), "nothing differs from 00000000000000b2: nothing was changed\n");
    }

    #[test]
    fn members_of_a_mesh_are_comma_separated_rows() {
        let expected = "00000000000000a1, active, factory, 10.0.0.1:2380, http://10.0.0.1:2379, 0-32767, 00000000000000a1, -, -\n\
                        00000000000000b2, active, , , , none, 00000000000000a1, -, leases at factory\n";
        assert_eq!(shown(&Answer::MeshMembers(&samples::mesh::members())), expected);
    }

    #[test]
    fn only_healthy_endpoints_are_a_result() {
        let expected = "a:2379 is healthy: successfully committed proposal: took = 2.084579ms\n";
        assert_eq!(shown(&Answer::Health(&samples::health())), expected);
    }
}
