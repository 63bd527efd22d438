//! The tree of commands. Each command's own flags are declared beside what it does, in `commands/`.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    alarm::AlarmCommand, auth::AuthCommand, compaction::CompactionArgs, completion::CompletionArgs, defrag::DefragArgs,
    del::DelArgs, elect::ElectArgs, endpoint::EndpointArgs, get::GetArgs, import::ImportArgs, lease::LeaseCommand,
    lock::LockArgs, member::MemberCommand, mesh::MeshCommand, move_leader::MoveLeaderArgs, put::PutArgs,
    role::RoleCommand, snapshot::SnapshotCommand, txn::TxnArgs, user::UserCommand, watch::WatchArgs,
};

pub(crate) mod globals;
pub(crate) mod habits;
mod secure;
mod who;

use globals::Globals;

/// A command line client for Tombolo and for etcd.
///
/// Every global option can also be given in the environment, as TOMBOLO_NAME or ETCDCTL_NAME: for example
/// ETCDCTL_ENDPOINTS for --endpoints. A flag outranks the environment.
#[derive(Debug, Parser)]
#[command(name = "tombolo", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Gets the key or a range of keys
    Get(GetArgs),
    /// Puts the given key into the store
    Put(PutArgs),
    /// Removes the specified key or range of keys [key, range_end)
    Del(DelArgs),
    /// Processes all the requests in one transaction
    Txn(TxnArgs),
    /// Compacts the event history
    // Newer than its short forms is `completion`, which would make them ambiguous.
    #[command(aliases = ["com", "comp"])]
    Compaction(CompactionArgs),
    /// Endpoint related commands
    Endpoint(EndpointArgs),
    /// Watches events stream on keys or prefixes
    Watch(WatchArgs),
    /// Lease related commands
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Membership related commands
    #[command(subcommand)]
    Member(MemberCommand),
    /// User related commands
    #[command(subcommand)]
    User(UserCommand),
    /// Role related commands
    #[command(subcommand)]
    Role(RoleCommand),
    /// Enable or disable authentication
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Alarm related commands
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// Defragments the storage of the members with given endpoints
    Defrag(DefragArgs),
    /// Transfers leadership to another etcd cluster member
    MoveLeader(MoveLeaderArgs),
    /// Acquires a named lock, within one replica
    Lock(LockArgs),
    /// Observes and participates in leader election, within one replica
    Elect(ElectArgs),
    /// Invites sites into the mesh and shows how far each is behind
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// Moves the contents of an etcd into the server, with their revisions where it is empty and alone
    Import(ImportArgs),
    /// Takes, checks and restores snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Generate completion script for bash, zsh, fish or powershell
    Completion(CompletionArgs),
    /// Prints the version of tombolo
    Version,
}

/// Reads the process's arguments and environment.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let command = habits::with_environment(habits::like_etcdctl(Cli::command()), |name| std::env::var_os(name));
    Cli::from_arg_matches(&command.try_get_matches()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parse_line(line: &str) -> Result<Cli, clap::Error> {
        let words = std::iter::once("tombolo").chain(line.split(' '));
        Cli::from_arg_matches(&habits::like_etcdctl(Cli::command()).try_get_matches_from(words)?)
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        habits::like_etcdctl(Cli::command()).debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in ["-w json get a", "get -w json a", "get a -wjson", "get a --write-out=json", "get a -w=json"] {
            let cli = parse_line(line).expect(line);
            assert_eq!(cli.globals.write_out, "json", "{line}");
        }
    }

    #[test]
    fn a_command_can_be_abbreviated() {
        assert!(matches!(parse_line("comp 3").expect("compaction").command, Command::Compaction(_)));
        assert!(matches!(parse_line("end sta").expect("endpoint status").command, Command::Endpoint(_)));
    }

    #[test]
    fn a_flag_takes_the_next_word_whatever_it_looks_like() {
        let Command::Get(get) = parse_line("get a --rev -1").expect("a revision").command else { panic!("get") };
        assert_eq!(get.rev, -1);
    }

    #[test]
    fn of_a_repeated_flag_the_last_counts() {
        let cli = parse_line("-w json get a --prefix --prefix=false -w fields").expect("repeated flags");
        let Command::Get(get) = cli.command else { panic!("get") };
        assert!(!get.prefix);
        assert_eq!(cli.globals.write_out, "fields");
    }

    #[test]
    fn a_switch_can_be_given_its_value() {
        let Command::Get(get) = parse_line("get a --prefix=false --keys-only=T").expect("switches").command else {
            panic!("get")
        };
        assert!(!get.prefix && get.keys_only);
        assert!(parse_line("get a --prefix=maybe").is_err());
    }
}
