//! `alarm`, `defrag`, `endpoint hashkv`, `move-leader`, `member add|remove|update|promote` and `completion`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use tombolo_proto::etcdserverpb::{
    AlarmRequest, AlarmType, MemberListRequest, StatusRequest, alarm_request::AlarmAction,
};

use crate::{
    endpoints::nobody,
    side_by_side::{FORMATS, Outcome, SideBySide, Step::Put, case, tombolo},
};

#[tokio::test]
async fn alarms_are_listed_and_disarmed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let none = ["alarm list", "alarm disarm", "alarm list x", "alarm disarm x"].map(|command| case(&[], command));
    bench.compare(&["simple", "json", "table"], &none).await;
    let member_id = bench.client.maintenance().status(StatusRequest {}).await.expect("a status").into_inner().leader;
    for format in ["simple", "json"] {
        for command in ["list", "disarm"] {
            let [expected, found] = both_after(&bench, &["-w", format, "alarm", command], || async {
                let (action, alarm) = (AlarmAction::Activate.into(), AlarmType::Nospace.into());
                let request = AlarmRequest { action, member_id, alarm };
                bench.client.maintenance().alarm(request).await.expect("an alarm");
            })
            .await;
            assert_eq!((found.stdout, found.code), (expected.stdout, expected.code), "{command} as {format}");
        }
        assert_eq!(bench.run(tombolo(), &["alarm", "list"], "").stdout, "", "they are disarmed");
    }
}

/// Runs both programs, each after the same step.
async fn both_after<F: Future<Output = ()>>(bench: &SideBySide, words: &[&str], step: impl Fn() -> F) -> [Outcome; 2] {
    step().await;
    let expected = bench.run(bench.etcdctl(), words, "");
    step().await;
    [expected, bench.run(tombolo(), words, "")]
}

#[tokio::test]
async fn storage_is_defragmented_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = ["defrag", "defrag --cluster"].map(|command| case(&[Put("a", "1")], command));
    bench.compare(&FORMATS, &cases).await;
}

#[tokio::test]
async fn hashes_of_the_history_are_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    bench.put("a", "1").await;
    let first = bench.put("a", "2").await.to_string();
    bench.put("a", "3").await;
    for format in FORMATS {
        for flags in [&[][..], &["--cluster"], &["--rev", &first], &["--rev", "99999999"]] {
            let words = [&["-w", format, "endpoint", "hashkv"], flags].concat();
            let [expected, found] = [bench.etcdctl(), tombolo()].map(|program| bench.run(program, &words, ""));
            assert_eq!((found.stdout, found.code), (expected.stdout, expected.code), "{words:?}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_does_not_hide_the_others() {
    let Some(bench) = SideBySide::new().await else { return };
    let (nobody, address) = (nobody(), bench.server.address());
    let both = format!("{nobody},{address}");
    for command in [&["defrag"][..], &["endpoint", "hashkv"]] {
        let words = [&["--command-timeout", "500ms", "--endpoints", &both], command].concat();
        let [expected, found] = [bench.etcdctl(), tombolo()].map(|program| {
            // The bench's own endpoint comes first otherwise.
            let output = Command::new(program).env("ETCDCTL_API", "3").args(&words).output();
            let output = output.expect("it runs");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&output.stdout), output.status.code(), text(&output.stderr))
        });
        assert_eq!((&found.0, found.1), (&expected.0, expected.1), "{command:?}: {found:?}");
        let account = expected.2.lines().find_map(|line| line.split_once(&nobody).map(|(words, _)| words));
        let account = account.filter(|words| words.starts_with("Failed")).unwrap_or("Failed to");
        assert!(found.2.contains(account), "{account:?} is not in {:?}", found.2);
    }
}

#[tokio::test]
async fn leadership_that_cannot_move_stays_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = ["move-leader", "move-leader 1 2", "move-leader zz", "move-leader 1"];
    bench.compare(&["simple", "json"], &cases.map(|command| case(&[], command))).await;
}

#[tokio::test]
async fn wrong_changes_of_the_members_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        "member add",
        "member add a b",
        "member add a http://127.0.0.1:1",
        "member add a",
        "member add a --peer-urls nonsense",
        "member add a --peer-urls http://127.0.0.1",
        "member add a --peer-urls http://127.0.0.1:1/path",
        "member add a --peer-urls http://127.0.0.1:1,ftp://127.0.0.1:1",
        "member update 1 --peer-urls nonsense",
        "member remove",
        "member remove zz",
        "member remove 1",
        "member update",
        "member update 1",
        "member update zz --peer-urls http://127.0.0.1:1",
        "member update 1 --peer-urls http://127.0.0.1:1",
        "member promote",
        "member promote 1",
        "member promote 10000000000000000",
    ];
    bench.compare(&["simple"], &cases.map(|command| case(&[], command))).await;
}

#[tokio::test]
async fn members_are_changed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let member_id = bench.client.maintenance().status(StatusRequest {}).await.expect("a status").into_inner().leader;
    let (id, peer) = (format!("{member_id:x}"), format!("http://{}", bench.server.peer_address()));
    for format in ["simple", "json"] {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        for words in [&["member", "update", &id, "--peer-urls", &peer][..], &["member", "promote", &id]] {
            let words = [&["-w", format], words].concat();
            let [expected, found] = [bench.etcdctl(), tombolo()].map(|program| bench.run(program, &words, ""));
            assert_eq!((found.stdout, found.code), (expected.stdout, expected.code), "{words:?}");
        }
        let mut answers = Vec::new();
        for (program, peer) in [(bench.etcdctl(), "http://127.0.0.8:1"), (tombolo(), "http://127.0.0.9:1")] {
            // An id comes of the address and the second: one address twice would be a member that was removed.
            let words = ["-w", format, "member", "add", "new", "--learner", "--peer-urls", peer];
            let mut added = bench.run(program, &words, "");
            added.stdout = added.stdout.replace(peer, "<peer>");
            assert_eq!(added.code, Some(0), "{added:?}");
            let new = learner(&bench).await;
            let remove = bench.run(program, &["-w", format, "member", "remove", &format!("{new:x}")], "");
            answers.push([added, remove].map(|outcome| (without(&outcome.stdout, new), outcome.code)));
        }
        assert_eq!(answers[1], answers[0], "{format}");
    }
}

/// The member that was added last.
async fn learner(bench: &SideBySide) -> u64 {
    let members =
        bench.client.cluster().member_list(MemberListRequest::default()).await.expect("members").into_inner().members;
    members.iter().find(|member| member.is_learner).expect("a learner").id
}

/// Ids are drawn anew for each member, and members stand in the order of their ids. Where a line has sixteen places for one, a short one is padded.
fn without(text: &str, id: u64) -> Vec<String> {
    let forms = [format!("{id:16x}"), format!("{id:x}"), id.to_string()];
    let masked = forms.iter().fold(text.to_owned(), |text, form| text.replace(form, "<new>"));
    let mut parts: Vec<String> = masked.split([',', '[', ']', '"', '\n']).map(str::to_owned).collect();
    parts.sort();
    parts
}

/// etcdctl 3.5 has no such command; what counts is that a shell takes the script.
#[test]
fn shells_take_their_scripts() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = Command::new(tombolo()).args(["completion", shell]).output().expect("it runs");
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && script.contains("grant-permission"), "{shell}");
        if shell == "bash" {
            let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash runs");
            bash.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
            assert!(bash.wait().expect("it ends").success());
        }
    }
    for words in [&["completion"][..], &["completion", "tcsh"], &["completion", "bash", "zsh"]] {
        let output = Command::new(tombolo()).args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(128), "{words:?}");
    }
}
