//! `lock` and `elect`: both programs stand in one line, and show the same when their turn comes.

use std::path::Path;

use tombolo_rig::process::{Launch, Server};

use crate::{
    mask,
    running::{Running, both},
    side_by_side::{SideBySide, case, tombolo},
};

/// Sessions have other leases and other revisions each time.
fn masked(text: &str) -> String {
    let marks = ["door/", "\"ID\":", "evision\":", "evision\" : ", "\"Lease\" : ", "\"lease\":", "\"key\":\""];
    mask::after(text, &marks, &['\n', ',', '}', '"'])
}

#[tokio::test]
async fn a_lock_is_shown_and_given_up_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in ["simple", "json", "fields"] {
        let shown = [bench.etcdctl(), tombolo()].map(|program| (program.to_owned(), ["-w", format, "lock", "door"]));
        let mut ends = Vec::new();
        for (program, words) in shown {
            let mut holder = Running::start(&bench, &program, &words);
            holder.wait_for(if format == "json" { "count" } else { "door/" }).await;
            holder.interrupt();
            ends.push((holder.end(), masked(&holder.printed())));
            assert_eq!(bench.run(tombolo(), &["get", "--prefix", "door/"], "").stdout, "", "the lock is given up");
        }
        assert_eq!(ends[1], ends[0], "{format}");
    }
}

#[tokio::test]
async fn a_command_under_a_lock_runs_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let script = "echo $ETCD_LOCK_KEY; echo revision $ETCD_LOCK_REV; cat";
    let run = |program: &Path, words: &[&str]| {
        let outcome = bench.run(program, words, "not for it");
        let stdout = outcome.stdout.lines().map(|line| line.split(['/', ' ']).next().unwrap_or_default().to_owned());
        (stdout.collect::<Vec<_>>(), outcome.code, mask::error(&outcome.stderr))
    };
    let shown = ["lock", "door", "--", "sh", "-c", script];
    assert_eq!(run(tombolo(), &shown), run(bench.etcdctl(), &shown));
    for words in [
        &["lock", "door", "true"][..],
        &["lock", "door", "--", "sh", "-c", "exit 3"],
        &["lock", "door", "--ttl", "3", "false"],
        &["lock", "door", "--", "sh", "-c", "kill -9 $$"],
        &["lock", "door", "/nonexistent/program"],
        &["-w", "table", "lock", "door", "true"],
    ] {
        let [expected, found] = [run(bench.etcdctl(), words), run(tombolo(), words)];
        // 3.4 makes every failure of a command its own.
        if !bench.older {
            assert_eq!((&found.0, found.1), (&expected.0, expected.1), "{words:?}");
        }
        // The system's own words, for a signal and for a program that is not there, are not Go's.
        let account = expected.2.split([':', '/']).next().unwrap_or_default().replace("fork", "exec");
        assert!(found.2.contains(&account), "{words:?}: {found:?}, {expected:?}");
        assert_eq!(found.1 == Some(0), expected.1 == Some(0), "{words:?}");
    }
    assert_eq!(bench.run(tombolo(), &["get", "--prefix", "door/"], "").stdout, "", "every lock is given up");
}

#[tokio::test]
async fn wrong_arguments_of_locks_and_elections_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = ["lock", "elect", "elect captain", "elect -l captain me", "elect a b c", "elect -l", "elect --listen"];
    bench.compare(&["simple"], &cases.map(|command| case(&[], command))).await;
}

/// Whoever comes first holds it, whichever program it is; the next one gets it when the holder goes, in good order or not.
async fn hand_over(launch: Launch) {
    let Some(bench) = SideBySide::of(launch).await else { return };
    let programs = [bench.etcdctl(), tombolo(), bench.etcdctl(), tombolo(), tombolo()].map(Path::to_path_buf);
    let mut line = Vec::new();
    for (place, program) in programs.iter().enumerate() {
        let waiter = Running::start(&bench, program, &["lock", "--ttl", "2", "door"]);
        bench.wait_for_keys("door/", place + 1).await;
        line.push(waiter);
    }
    for place in 0..line.len() {
        line[place].wait_for("door/").await;
        assert!(line[place + 1..].iter().all(|waiter| waiter.printed().is_empty()), "{place}: two hold at once");
        match place {
            // It tidies nothing up: its session has to end by itself.
            1 | 2 => line[place].kill(),
            _ => line[place].interrupt(),
        }
        let code = line[place].end();
        assert_eq!(code.is_none(), place == 1 || place == 2, "{place}: {code:?}");
    }
}

#[tokio::test]
async fn a_lock_goes_from_hand_to_hand_on_etcd() {
    let Some(etcd) = Server::etcd() else { return };
    hand_over(etcd).await;
}

#[tokio::test]
async fn a_lock_goes_from_hand_to_hand_on_tombolo() {
    hand_over(Server::tombolo()).await;
}

#[tokio::test]
async fn a_waiter_that_is_interrupted_leaves_the_line_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for words in [&["lock", "door"][..], &["elect", "door", "me"]] {
        let holder = Running::start(&bench, tombolo(), words);
        holder.wait_for("door/").await;
        let mut ends = Vec::new();
        for program in [bench.etcdctl(), tombolo()] {
            let mut waiter = Running::start(&bench, program, words);
            bench.wait_for_keys("door/", 2).await;
            waiter.interrupt();
            ends.push((waiter.end(), waiter.printed()));
            bench.wait_for_keys("door/", 1).await;
        }
        assert_eq!(ends[1], ends[0], "{words:?}");
        holder.interrupt();
        bench.wait_for_keys("door/", 0).await;
    }
}

/// Both observers see one election: who leads, what is proclaimed, who leads next.
#[tokio::test]
async fn elections_are_followed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in ["simple", "json", "fields"] {
        let observers = both(&bench, &["-w", format, "elect", "-l", "door"]);
        let encoded = |plain: &'static str, base64: &'static str| if format == "json" { base64 } else { plain };
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let mut first = Running::start(&bench, tombolo(), &["elect", "door", "first"]);
        first.wait_for("first").await;
        for observer in &observers {
            observer.wait_for(encoded("first", "Zmlyc3Q=")).await;
        }
        let key = first.printed().lines().next().unwrap_or_default().to_owned();
        let lease = key.rsplit('/').next().unwrap_or_default().to_owned();
        let proclaimed = bench.run(tombolo(), &["put", &key, "again", "--lease", &lease], "");
        assert_eq!(proclaimed.code, Some(0), "{proclaimed:?}");
        for observer in &observers {
            observer.wait_for(encoded("again", "YWdhaW4=")).await;
        }
        let second = Running::start(&bench, bench.etcdctl(), &["elect", "door", "second"]);
        bench.wait_for_keys("door/", 2).await;
        first.interrupt();
        assert_eq!(first.end(), Some(0));
        let mut shown = Vec::new();
        for mut observer in observers {
            observer.wait_for(encoded("second", "c2Vjb25k")).await;
            observer.interrupt();
            shown.push((observer.end(), observer.printed()));
        }
        assert_eq!(shown[1], shown[0], "{format}");
        second.interrupt();
        bench.wait_for_keys("door/", 0).await;
    }
}
