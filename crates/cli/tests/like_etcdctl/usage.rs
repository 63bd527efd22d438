//! Arguments that are wrong or contradict each other, and flags that formats do not know.

use crate::side_by_side::{FORMATS, SideBySide, Step::Put, case};

#[tokio::test]
async fn wrong_arguments_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        "put",
        "put a",
        "put a b --ignore-value",
        "put a b --lease zz",
        "get",
        "get a b --prefix",
        "get a b --from-key",
        "get a --prefix --from-key",
        "get a --consistency x",
        "get a --order x",
        "get a --sort-by x",
        "del",
        "del a b c",
        "del a b --prefix",
        "del a --prefix --from-key",
        "compaction",
        "compaction 1 2",
        "watch",
        "watch a --",
        "watch a b --prefix",
        "-w bogus get a",
    ];
    bench.compare(&["simple"], &cases.map(|command| case(&[], command))).await;
    let count = case(&[], "get a --keys-only --count-only").older_differs(&[], "3.4 has no --count-only");
    bench.compare(&["simple"], &[count]).await;
}

#[tokio::test]
async fn formats_know_the_same_commands_and_flags() {
    let Some(bench) = SideBySide::new().await else { return };
    let reads = ["get a", "get a --print-value-only", "lease list", "get a --hex"];
    bench.compare(&FORMATS, &reads.map(|command| case(&[Put("a", "1")], command))).await;
    let count = case(&[Put("a", "1")], "get a --count-only").older_differs(&[], "3.4 has no such flag");
    bench.compare(&FORMATS, &[count]).await;
}

#[tokio::test]
async fn flags_and_commands_are_read_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        "get --prefix=true a",
        "get a --keys-only=false --prefix=T",
        "get a --limit=1 --prefix",
        "get a --limit 1 --prefix",
        "--write-out=json get a",
        "get a -wjson",
        "get a -w=fields",
        "--command-timeout 1m2.5s get a",
        "--dial-timeout=100ms --keepalive-time 20s --keepalive-timeout 1s get a",
        "--insecure-transport=true --insecure-skip-tls-verify --insecure-discovery=false get a",
    ];
    bench.compare(&["simple"], &cases.map(|command| case(&[Put("a", "1"), Put("aa", "2")], command))).await;
    let short = ["comp 99999999", "lea lis"].map(|command| case(&[], command));
    let short = short.map(|case| case.older_differs(&[], "3.4 wants commands in full"));
    bench.compare(&["simple"], &short).await;
}
