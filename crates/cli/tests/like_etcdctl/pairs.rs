//! `put`, `get`, `del` and `compaction`.

use crate::side_by_side::{
    Case, FORMATS, SideBySide,
    Step::{Del, Grant, Put, PutLeased, Revoke},
    case,
};

const THREE: &[crate::side_by_side::Step] = &[Put("a", "1"), Put("b", "3"), Put("a", "2"), Put("c", "")];
const ODD: &[crate::side_by_side::Step] =
    &[Put("b\n\u{1}\"\\<é&\u{2028}\u{7f}\u{301}", "it's\u{0}\u{feff}😀\t\u{a0}"), Put("b2", "line\nline\r\n")];
const DEL: &str = "a later Go writes the character DEL as \\x7f";

#[tokio::test]
async fn pairs_are_written_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        case(&[], "put a 1"),
        case(&[Put("a", "1"), Put("a", "2")], "put a 3 --prev-kv"),
        case(&[], "put --prev-kv a 3"),
        case(&[], "put a").with_input("from\nstdin\n"),
        case(&[], "put a -- -dash"),
        case(&[], "put -- -a -dash"),
        case(&[], "put a <empty>"),
        case(&[Grant], "put a 1 --lease <lease>"),
        case(&[Grant, PutLeased("a")], "put a 1 --ignore-lease --prev-kv"),
        case(&[Put("a", "1")], "put a --ignore-value --prev-kv"),
        case(&[], "put a --ignore-value"),
        case(&[], "put a 1 --ignore-lease"),
        case(&[Grant, Revoke], "put a 1 --lease=<lease>"),
        case(&[Put("a", "1")], "put a 1 --ignore-lease --lease 7"),
        case(&[], "put <empty> 1"),
    ];
    bench.compare(&["simple", "json", "fields"], &cases).await;
}

#[tokio::test]
async fn pairs_are_read_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases: Vec<Case> = [
        "get a",
        "get nothing",
        "get a c",
        "get c a",
        "get --prefix <empty>",
        "get --prefix a",
        "get b --from-key",
        "get <empty> --from-key",
        "get <empty>",
        "get --prefix <empty> --limit 2",
        "get --prefix <empty> --limit=2 --keys-only",
        "get --prefix <empty> --keys-only",
        "get --prefix <empty> --order DESCEND",
        "get --prefix <empty> --order ascend --sort-by modify",
        "get --prefix <empty> --order descend --sort-by CREATE --limit 1",
        "get --prefix <empty> --sort-by VALUE --order ASCEND",
        "get --prefix <empty> --sort-by VERSION --order DESCEND",
        "get --prefix <empty> --sort-by VERSION",
        "get --prefix <empty> --consistency s",
        "get --prefix <empty> --prefix=false",
        "get a --rev 1",
        "get a --rev 99999999",
        "get a --rev=-1",
        "get a --hex",
    ]
    .map(|command| case(THREE, command))
    .to_vec();
    bench.compare(&["simple", "json", "fields"], &cases).await;
    bench.compare(&["simple"], &[case(THREE, "get --prefix <empty> --print-value-only")]).await;
    let count = case(THREE, "get --prefix <empty> --count-only").older_differs(&[], "3.4 has no such flag");
    bench.compare(&["fields"], &[count]).await;
}

#[tokio::test]
async fn bytes_that_are_no_plain_text_are_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases = [
        case(ODD, "get --prefix b").older_differs(&["fields"], DEL),
        case(ODD, "get --prefix b --hex").older_differs(&["fields"], DEL),
        case(ODD, "del --prefix b --prev-kv").older_differs(&["fields"], DEL),
        case(&[Grant, PutLeased("b")], "get b"),
    ];
    bench.compare(&["simple", "json", "fields"], &cases).await;
}

#[tokio::test]
async fn pairs_are_removed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let cases: Vec<Case> = [
        "del a",
        "del nothing",
        "del a --prev-kv",
        "del a c --prev-kv",
        "del --prefix <empty>",
        "del --prefix <empty> --prev-kv",
        "del b --from-key --prev-kv",
        "del <empty> --from-key",
        "del <empty>",
    ]
    .map(|command| case(THREE, command))
    .to_vec();
    bench.compare(&["simple", "json", "fields"], &cases).await;
}

#[tokio::test]
async fn history_is_read_and_compacted_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    // Each run needs a revision of its own to compact; the lines they print name it and are compared after that.
    for physical in [&[][..], &["--physical"]] {
        for program in [bench.etcdctl(), crate::side_by_side::tombolo()] {
            let revision = bench.put("a", "1").await.to_string();
            let words: Vec<&str> = ["compaction", &revision].into_iter().chain(physical.iter().copied()).collect();
            let outcome = bench.run(program, &words, "");
            assert_eq!((outcome.stdout, outcome.code), (format!("compacted revision {revision}\n"), Some(0)));
        }
    }
    let cases =
        ["compaction 1", "compaction 0", "compaction 99999999", "get a --rev 1"].map(|command| case(&[], command));
    bench.compare(&["simple", "json", "fields"], &cases).await;
    bench.compare(&FORMATS, &[case(&[Put("a", "1"), Del("a")], "compaction x")]).await;
}
