//! `user`, `role` and `auth`.

use tombolo_proto::authpb::permission::Type;

use crate::{
    mask,
    side_by_side::{
        Case, FORMATS, SideBySide,
        Step::{GiveRole, Permit, Role, User},
        case, tombolo,
    },
};

const CAST: &[crate::side_by_side::Step] = &[
    User("ann"),
    User("bob"),
    Role("r"),
    Role("s"),
    GiveRole("ann", "s"),
    GiveRole("ann", "r"),
    Permit("r", Type::Read, "a", ""),
    Permit("r", Type::Readwrite, "b", "c"),
    Permit("r", Type::Write, "d", "f"),
    Permit("r", Type::Read, "z", "\0"),
];

fn cases<const N: usize>(commands: [&'static str; N]) -> [Case; N] {
    commands.map(|command| case(CAST, command))
}

#[tokio::test]
async fn users_are_shown_and_changed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let shown = ["user get ann", "user get bob", "user list", "user get ann --detail", "user get nobody"];
    let changed = [
        "user add new --no-password",
        "user add new --new-user-password secret",
        "user add new:a:b",
        "user add ann --no-password",
        "user add <empty> --no-password",
        "user delete bob",
        "user delete nobody",
        "user grant-role bob r",
        "user grant-role bob nothing",
        "user grant-role nobody r",
        "user revoke-role ann r",
        "user revoke-role bob r",
        "user revoke-role nobody r",
    ];
    bench.compare(&["simple", "json", "fields"], &cases(changed)).await;
    bench.compare(&["simple", "json"], &cases(shown)).await;
    bench.compare(&["fields", "table"], &cases(["user get ann", "user list"])).await;
    bench.compare(&["fields"], &cases(["user get ann --detail"])).await;
}

#[tokio::test]
async fn roles_are_shown_and_changed_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let commands = [
        "role get r",
        "role get s",
        "role get nothing",
        "role list",
        "role add new",
        "role add r",
        "role delete s",
        "role delete nothing",
        "role grant-permission s read k",
        "role grant-permission s WRITE k l",
        "role grant-permission s ReadWrite k --prefix",
        "role grant-permission s read k --from-key",
        "role grant-permission s read <empty> --prefix",
        "role grant-permission s read <empty>",
        "role grant-permission --prefix=true s read k",
        "role grant-permission nothing read k",
        "role grant-permission s read l k",
        "role revoke-permission r a",
        "role revoke-permission r b c",
        "role revoke-permission r b --prefix",
        "role revoke-permission r z --from-key",
        "role revoke-permission r nothing",
        "role revoke-permission nothing a",
    ];
    bench.compare(&["simple", "json", "fields"], &cases(commands)).await;
}

#[tokio::test]
async fn wrong_arguments_of_users_and_roles_are_refused_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    let commands = [
        "user add",
        "user add a b",
        "user add :pw",
        "user delete",
        "user get",
        "user get a b",
        "user list a",
        "user passwd",
        "user grant-role a",
        "user revoke-role a",
        "role add",
        "role delete a b",
        "role get",
        "role list a",
        "role grant-permission r read",
        "role grant-permission r own k",
        "role grant-permission r read k --prefix --from-key",
        "role grant-permission r read k l --prefix",
        "role grant-permission r read k l --from-key",
        "role grant-permission r read <empty> --prefix --from-key",
        "role revoke-permission r",
        "role revoke-permission r k l --prefix",
        "auth enable x",
        "auth disable x",
        "auth enable",
        "auth disable",
        "-w bogus user list",
    ];
    bench.compare(&["simple"], &commands.map(|command| case(&[], command))).await;
    let status = case(&[], "auth status x").older_differs(&[], "3.4 has no such command");
    bench.compare(&["simple"], &[status]).await;
}

/// Without a terminal a password is a line of standard input, with the questions shown.
#[tokio::test]
async fn passwords_are_asked_for_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    for (command, input) in [
        ("user add new", "secret\nsecret\n"),
        ("user add new", "secret\nother\n"),
        ("user add new", "\n"),
        ("user add new", ""),
        ("user add new --interactive=false", "secret word\n"),
        ("user passwd bob", "secret\nsecret\n"),
        ("user passwd bob", "secret\nother\n"),
        ("user passwd bob --interactive=false", "secret"),
        ("user passwd nobody --interactive=false", "secret"),
    ] {
        bench.compare(&["simple", "json"], &[case(CAST, command).with_input(input)]).await;
    }
}

/// The number of changes goes on from one run to the next, so ours is looked at between two of etcdctl's.
#[tokio::test]
async fn the_status_of_authentication_is_shown_alike() {
    let Some(bench) = SideBySide::new().await else { return };
    if bench.older {
        println!("not compared with etcdctl 3.4: `auth status`: it has no such command");
        return;
    }
    for format in FORMATS {
        let words = ["-w", format, "auth", "status"];
        let [before, found] = [bench.etcdctl(), tombolo()].map(|program| bench.run(program, &words, ""));
        assert_eq!((&found.stdout, found.code), (&before.stdout, before.code), "{format}");
        assert!(found.stderr.contains(&mask::error(&before.stderr)), "{found:?}");
    }
}
