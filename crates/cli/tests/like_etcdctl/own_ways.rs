//! Where `tombolo` differs from etcdctl on purpose. Each test says what etcdctl does and why we do not.

use crate::{
    endpoints::nobody,
    side_by_side::{SideBySide, tombolo},
};

/// etcdctl sends the request, changes the store, and fails afterwards because it cannot show the answer.
#[tokio::test]
async fn a_write_whose_answer_cannot_be_shown_is_not_sent() {
    let Some(bench) = SideBySide::new().await else { return };
    let before = bench.revision().await;
    let outcome = bench.run(tombolo(), &["-w", "table", "put", "a", "1"], "");
    assert_eq!((outcome.code, bench.revision().await), (Some(4), before));
    assert!(outcome.stderr.contains("table not supported as output format"), "{}", outcome.stderr);
    let etcdctl = bench.run(bench.etcdctl(), &["-w", "table", "put", "a", "1"], "");
    assert_eq!((etcdctl.code, bench.revision().await), (Some(4), before + 1));
}

/// etcdctl waits for its command timeout, says "context deadline exceeded" and exits with 1. A refused connection is
/// known at once, and has an exit code of its own in etcd's list.
#[tokio::test]
async fn a_server_that_is_not_there_is_a_bad_connection_at_once() {
    let nobody = nobody();
    for words in [&["get", "a"][..], &["put", "a", "1"], &["watch", "a"], &["member", "list"], &["lease", "list"]] {
        let output = std::process::Command::new(tombolo()).arg("--endpoints").arg(&nobody).args(words).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("cannot connect to {nobody}")) && stderr.lines().count() == 1, "{stderr}");
    }
}

/// etcdctl ends with 1 for a flag it does not know and with 128 for an argument it does not understand; here both are 128.
#[test]
fn whatever_is_wrong_with_the_command_line_is_a_bad_argument() {
    for words in
        [&["get", "--bogus"][..], &["bogus"], &["get", "a", "--limit", "x"], &["--command-timeout", "1", "get", "a"]]
    {
        let output = std::process::Command::new(tombolo()).args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(128), "{words:?}");
    }
    for words in [&["--help"][..], &["get", "--help"], &["--version"], &[], &["lease"]] {
        let output = std::process::Command::new(tombolo()).args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}

/// etcdctl ignores arguments beyond those it looks at, so that `put a hello world` stores `hello`.
#[tokio::test]
async fn surplus_arguments_are_refused() {
    let Some(bench) = SideBySide::new().await else { return };
    for words in [&["put", "a", "hello", "world"][..], &["get", "a", "b", "c"], &["watch", "a", "b", "c"]] {
        assert_eq!(bench.run(tombolo(), words, "").code, Some(128), "{words:?}");
    }
    assert_eq!(bench.run(bench.etcdctl(), &["put", "a", "hello", "world"], "").code, Some(0));
}

/// etcdctl cuts a word in single quotes at the number of words, and dies of an unknown operator or of a lease compare.
#[tokio::test]
async fn scripts_that_etcdctl_mangles_are_read_as_documented() {
    let Some(bench) = SideBySide::new().await else { return };
    let quoted = bench.run(tombolo(), &["txn"], "\nput q 'a \"b\" c'\nget q\n\n\n");
    assert_eq!(quoted.stdout, "SUCCESS\n\nOK\n\nq\na \"b\" c\n");
    let lease = bench.grant(600).await;
    let leased = format!("lease(\"q\") = \"{lease:x}\"\n\n\n\n");
    assert_eq!(bench.run(tombolo(), &["txn"], &leased).stdout, "FAILURE\n");
    let put = bench.run(tombolo(), &["put", "q", "1", "--lease", &format!("{lease:x}")], "");
    assert_eq!(put.code, Some(0));
    assert_eq!(bench.run(tombolo(), &["txn"], &leased).stdout, "SUCCESS\n");
    assert_eq!(bench.run(tombolo(), &["txn"], "mod(\"q\") >= \"0\"\n\n\n\n").code, Some(3));
    assert_eq!(bench.run(tombolo(), &["txn"], "mod(\"q\") > \"0\" more\n\n\n\n").code, Some(3));
}

/// etcdctl reads its environment too, but refuses a flag that is also set there.
#[tokio::test]
async fn the_environment_works_as_for_etcdctl_and_a_flag_outranks_it() {
    let Some(bench) = SideBySide::new().await else { return };
    bench.put("a", "1").await;
    let address = bench.server.address().to_string();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(tombolo());
        command.env_clear().env("ETCDCTL_ENDPOINTS", &address).env("ETCDCTL_WRITE_OUT", "fields");
        String::from_utf8_lossy(&command.args(words).output().expect("it runs").stdout).into_owned()
    };
    assert!(run(&["get", "a"]).contains("\"Key\" : \"a\"\n"));
    assert_eq!(run(&["get", "a", "-w", "simple"]), "a\n1\n");
}

/// etcdctl looks the domain up. A flag that were passed over in silence would ask another server than the one meant.
#[tokio::test]
async fn discovery_is_refused_by_name() {
    for flag in ["--discovery-srv=example.org", "--discovery-srv-name=x"] {
        let output = std::process::Command::new(tombolo()).args([flag, "get", "a"]).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{flag}: {stderr}");
        assert!(stderr.contains("not supported yet"), "{stderr}");
    }
}
