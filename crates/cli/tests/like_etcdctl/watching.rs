//! `watch`: both programs watch the same server at the same time and must show the same, revisions included.

use tombolo_client::KeyRange;
use tombolo_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};

use crate::{
    running::both,
    side_by_side::{FORMATS, SideBySide, case, tombolo},
};

#[tokio::test]
async fn events_of_the_past_and_of_the_present_are_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for format in ["simple", "json", "fields"] {
        for flags in [&["--prefix"][..], &["--prefix", "--prev-kv"], &["x"]] {
            let first = bench.put("w1", "past").await.to_string();
            bench.put("w1", "past 2").await;
            let words = [&["-w", format, "watch", "w", "--rev", &first], flags].concat();
            let watches = both(&bench, &words);
            // Live events begin when the past has been shown, so that both group them alike.
            for watch in &watches {
                watch.wait_for(if format == "json" { "cGFzdCAy" } else { "past 2" }).await;
            }
            bench.put("w2", "b\"\n<é>").await;
            bench.del(KeyRange::single("w1")).await;
            put_together(&bench, &["w3", "w4"]).await;
            bench.put("w9", "the end").await;
            let end = if format == "json" { "dGhlIGVuZA==" } else { "the end" };
            let [expected, found] = &watches;
            assert_eq!(found.wait_for(end).await, expected.wait_for(end).await, "{words:?}");
            bench.del(KeyRange::prefix("")).await;
        }
    }
}

#[tokio::test]
async fn a_watch_that_the_server_refuses_ends_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let revision = bench.put("a", "1").await;
    let compacted = bench.run(tombolo(), &["compaction", &revision.to_string()], "");
    assert_eq!(compacted.code, Some(0), "{}", compacted.stderr);
    bench.compare(&["simple", "json", "fields"], &[case(&[], "watch a --rev 1"), case(&[], "watch b a")]).await;
    bench.compare(&FORMATS, &[case(&[], "watch")]).await;
}

#[tokio::test]
async fn a_command_runs_for_each_event_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let first = bench.put("w1", "a\"b\nc").await.to_string();
    let script = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE";
    let watches = both(&bench, &["watch", "w", "--prefix", "--rev", &first, "--", "sh", "-c", script]);
    bench.del(KeyRange::single("w1")).await;
    bench.put("w2", "end").await;
    let [expected, found] = &watches;
    let end = "\"w2\" \"end\"";
    // The revision a command sees is that of the server when it sent the event, which may differ while catching up.
    let [expected, found] =
        [expected.wait_for(end).await, found.wait_for(end).await].map(|text| without_revisions(&text));
    assert_eq!(found, expected);

    for command in [&["sh", "-c", "exit 3"][..], &["/nonexistent/program", "x"]] {
        let words = [&["watch", "w2", "--rev", &first, "--"], command].concat();
        let [expected, found] = [bench.etcdctl(), tombolo()].map(|program| bench.run(program, &words, ""));
        assert_eq!((found.stdout, found.code), (expected.stdout, expected.code), "{command:?}");
        let account = expected.stderr.split(" error (").next().unwrap_or_default();
        assert!(found.stderr.contains(account), "{account:?} is not in {:?}", found.stderr);
    }
}

#[tokio::test]
async fn interactive_watches_are_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let first = bench.put("i1", "past").await.to_string();
    let mut watches = both(&bench, &["watch", "-i"]);
    for watch in &mut watches {
        watch.type_line(&format!("watch i1 --rev={first}"));
        watch.wait_for("past").await;
        watch.type_line("bogus");
        watch.type_line("watch \"i\" --prefix --prev-kv");
        // Lines are obeyed in their order, so both watches answer this one.
        watch.type_line("progress");
        let progress = watch.wait_for("progress notify").await;
        assert!((1..=2).contains(&progress.matches("progress notify").count()), "{progress}");
    }
    bench.put("i2", "now").await;
    bench.put("i1", "last").await;
    for watch in &watches {
        let shown = watch.wait_for("last").await;
        assert_eq!(shown.matches("last").count(), 2, "one event, two watches: {shown}");
        assert_eq!(shown.matches("now").count(), 1, "{shown}");
    }
    let ends = [case(&[], "watch -i").with_input("bogus\n\nwatch\n"), case(&[], "watch -i")];
    let ends = ends.map(|case| case.older_differs(&[], "3.4 begins its error with a capital letter"));
    bench.compare(&["simple"], &ends).await;
}

#[tokio::test]
async fn a_watch_goes_on_when_its_server_comes_back() {
    let Some(mut bench) = SideBySide::new().await else { return };
    let first = bench.put("w", "before").await.to_string();
    let watches = both(&bench, &["watch", "w", "--rev", &first]);
    for watch in &watches {
        watch.wait_for("before").await;
    }
    bench.server.restart().await.expect("etcd starts again");
    // The bench's own connection broke as well; its first call finds that out.
    while bench.client.kv().put(PutRequest { key: "other".into(), ..Default::default() }).await.is_err() {}
    bench.put("w", "after").await;
    for watch in &watches {
        assert_eq!(watch.wait_for("after").await, "PUT\nw\nbefore\nPUT\nw\nafter\n");
    }
}

/// Two puts of one revision.
async fn put_together(bench: &SideBySide, keys: &[&'static str]) {
    let put = |key: &&'static str| RequestOp {
        request: Some(Request::RequestPut(PutRequest { key: (*key).into(), value: "t".into(), ..Default::default() })),
    };
    let request = TxnRequest { success: keys.iter().map(put).collect(), ..Default::default() };
    bench.client.kv().txn(request).await.expect("a transaction");
}

fn without_revisions(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(' ') {
        Some((revision, rest)) if revision.parse::<i64>().is_ok() => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
