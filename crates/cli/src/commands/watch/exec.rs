//! Runs a command for an event, and waits for it: events are handled in their order.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use tokio::task;
use tombolo_proto::mvccpb::Event;

use crate::{
    exit::{Exit, Failure},
    notation::quote::Quoted,
};

/// Runs `command` with the event in its environment. The first that fails ends the watch.
pub(super) async fn run(command: &[OsString], event: &Event, revision: i64) -> Result<(), Failure> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let mut process = Command::new(program);
    process.args(args).envs(environment(event, revision));
    // The wait must not keep the connection from answering the server's pings.
    let outcome = task::spawn_blocking(move || process.status()).await;
    let error = match outcome {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => describe(status),
        Ok(Err(error)) => format!("exec: {}: {error}", Quoted(program.as_encoded_bytes())),
        Err(error) => error.to_string(),
    };
    let words: Vec<String> = command.iter().map(|word| Quoted(word.as_encoded_bytes()).to_string()).collect();
    Err(Failure::new(Exit::Error, format!("command [{}] error ({error})", words.join(" "))))
}

/// Values are quoted, since a variable cannot hold every byte.
fn environment(event: &Event, revision: i64) -> [(&'static str, String); 4] {
    let pair = event.kv.clone().unwrap_or_default();
    [
        ("ETCD_WATCH_REVISION", revision.to_string()),
        ("ETCD_WATCH_EVENT_TYPE", format!("\"{}\"", event.r#type().as_str_name())),
        ("ETCD_WATCH_KEY", Quoted(&pair.key).to_string()),
        ("ETCD_WATCH_VALUE", Quoted(&pair.value).to_string()),
    ]
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::mvccpb::KeyValue;

    use super::*;

    fn event() -> Event {
        let kv = KeyValue { key: "a\"".into(), value: (&b"\n\xff"[..]).into(), ..Default::default() };
        Event { kv: Some(kv), ..Default::default() }
    }

    async fn outcome(command: &[&str]) -> Result<(), String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        run(&command, &event(), 7).await.map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_environment_quotes_what_need_not_be_text() {
        let values = environment(&event(), 7).map(|(_, value)| value);
        assert_eq!(values, ["7", "\"PUT\"", r#""a\"""#, r#""\n\xff""#]);
    }

    #[tokio::test]
    async fn a_command_sees_the_event() {
        assert_eq!(outcome(&["sh", "-c", r#"test "$ETCD_WATCH_KEY$ETCD_WATCH_REVISION" = '"a\""7'"#]).await, Ok(()));
        assert_eq!(outcome(&[]).await, Ok(()));
    }

    #[tokio::test]
    async fn a_command_that_fails_is_quoted_with_its_status() {
        let failed = outcome(&["sh", "-c", "exit 3"]).await;
        assert_eq!(failed, Err(r#"command ["sh" "-c" "exit 3"] error (exit status 3)"#.into()));
        let killed = outcome(&["sh", "-c", "kill -9 $$"]).await;
        assert_eq!(killed, Err(r#"command ["sh" "-c" "kill -9 $$"] error (signal: 9)"#.into()));
        let missing = outcome(&["/nonexistent/program"]).await.expect_err("no such program");
        assert!(
            missing.starts_with(r#"command ["/nonexistent/program"] error (exec: "/nonexistent/program": "#),
            "{missing}"
        );
    }
}
