//! `endpoint`, `member` and `version`.

use std::net::TcpListener;

use crate::{
    mask,
    side_by_side::{FORMATS, SideBySide, case, tombolo},
};

#[tokio::test]
async fn members_are_listed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let hex = case(&[], "member list --hex").older_differs(&["json"], "3.4 knows no hexadecimal ids there");
    bench.compare(&FORMATS, &[case(&[], "member list"), hex]).await;
}

#[tokio::test]
async fn the_status_of_endpoints_is_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in FORMATS {
        for words in [&["endpoint", "status"][..], &["endpoint", "status", "--cluster"]] {
            let words = [&["-w", format], words].concat();
            // The server's counters move on their own: only what stood still around our run is compared.
            let compared = (0..20).any(|_| {
                let before = bench.run(bench.etcdctl(), &words, "");
                let found = bench.run(tombolo(), &words, "");
                let after = bench.run(bench.etcdctl(), &words, "");
                if before.stdout == after.stdout {
                    assert_eq!((&found.stdout, found.code), (&before.stdout, before.code), "{words:?}");
                }
                before.stdout == after.stdout
            });
            assert!(compared, "the status of an idle server never stood still");
        }
    }
}

#[tokio::test]
async fn the_health_of_endpoints_is_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in FORMATS {
        for words in [&["endpoint", "health"][..], &["endpoint", "health", "--cluster"]] {
            let shown = |program| {
                let outcome = bench.run(program, &[&["-w", format], words].concat(), "");
                // 3.4 says in the simple format on standard error that an endpoint is healthy.
                let stdout = if bench.older && outcome.stdout.is_empty() { outcome.stderr } else { outcome.stdout };
                (without_times(&stdout), outcome.code)
            };
            assert_eq!(shown(tombolo()), shown(bench.etcdctl()), "{words:?} as {format}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_fails_alike_and_does_not_hide_the_others() {
    let Some(bench) = SideBySide::new().await else { return };
    let nobody = nobody();
    for command in ["health", "status"] {
        let words = ["--command-timeout", "500ms", "--endpoints", &nobody, "endpoint", command];
        let expected = bench.run(bench.etcdctl(), &words, "");
        let found = bench.run(tombolo(), &words, "");
        assert_eq!(found.code, expected.code, "{command}");
        let healthy_is_an_error = bench.older && command == "health";
        assert!(healthy_is_an_error || found.stdout.lines().count() == expected.stdout.lines().count(), "{command}");
        let account = expected.stderr.lines().find_map(|line| {
            let end = line.find("context deadline exceeded")?;
            Some(&line[..end]).filter(|_| !line.starts_with('{'))
        });
        let account = account.expect("etcdctl names the endpoint");
        assert!(found.stderr.contains(account), "{account:?} is not in {:?}", found.stderr);
    }
}

#[test]
fn the_version_is_our_own() {
    let output = std::process::Command::new(tombolo()).arg("version").output().expect("it runs");
    let expected = format!("tombolo version: {}\nAPI version: 3.5\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// Times differ in their digits and therefore in their width, which moves the lines of a table.
fn without_times(text: &str) -> String {
    let masked = mask::after(text, &["took = ", "\"took\":", "\"Took\" : "], &['\n', ',', '}']);
    let masked = masked.lines().map(|line| {
        let words = line.split_whitespace().map(|word| {
            let time = word.ends_with("ms") || word.ends_with("µs");
            let rule = word.starts_with("+--");
            if time {
                "<time>"
            } else if rule {
                "+--"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    masked.collect::<Vec<_>>().join("\n")
}
