//! One operation of a transaction: a `put`, `get` or `del` with the words and flags of the command of that name.

use std::io;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tombolo_proto::etcdserverpb::{RequestOp, request_op::Request};

use super::words;
use crate::{
    args::habits,
    commands::{del::DelArgs, get::GetArgs, put::PutArgs},
    exit::Failure,
};

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    Put(PutArgs),
    Get(GetArgs),
    Del(DelArgs),
}

/// Reads an operation.
pub(crate) fn parse(line: &str) -> Result<RequestOp, Failure> {
    let words = words::split(line)?;
    if words.len() < 2 {
        return Err(Failure::input(format!("invalid txn compare request: {line}")).hint("a key is missing"));
    }
    let matches = habits::like_etcdctl(Line::command()).try_get_matches_from(words);
    let parsed = matches.and_then(|matches| Line::from_arg_matches(&matches));
    let line =
        parsed.map_err(|_| Failure::input(format!("invalid txn request: {line}")).hint("it is put, get or del"))?;
    let request = match line.operation {
        // Standard input holds the rest of the transaction and not a value.
        Operation::Put(args) => Request::RequestPut(args.request(io::empty())?),
        Operation::Get(args) => Request::RequestRange(args.request()?),
        Operation::Del(args) => Request::RequestDeleteRange(args.request()?),
    };
    Ok(RequestOp { request: Some(request) })
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};

    use super::*;
    use crate::exit::Exit;

    fn request(line: &str) -> Request {
        parse(line).expect(line).request.expect(line)
    }

    #[test]
    fn operations_have_the_flags_of_their_commands() {
        let put = PutRequest { key: "a".into(), value: "b c".into(), lease: 15, prev_kv: true, ..Default::default() };
        assert_eq!(request(r#"put a "b c" --lease=f --prev-kv"#), Request::RequestPut(put));
        let get = RangeRequest { key: "a".into(), range_end: "b".into(), limit: 2, ..Default::default() };
        assert_eq!(request("get --prefix a --limit 2"), Request::RequestRange(get));
        let del = DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: true };
        assert_eq!(request("del --prev-kv a c"), Request::RequestDeleteRange(del));
    }

    #[test]
    fn a_dash_after_two_dashes_is_a_value() {
        let put = PutRequest { key: "a".into(), value: "-b".into(), ..Default::default() };
        assert_eq!(request("put a -- -b"), Request::RequestPut(put));
    }

    #[test]
    fn what_is_no_operation_is_invalid_input() {
        for line in ["put", "foo bar", "get --bogus a", "get a --limit x", "txn a", "help get", "get --help"] {
            assert_eq!(parse(line).expect_err(line).exit, Exit::InvalidInput, "{line}");
        }
    }

    #[test]
    fn wrong_arguments_of_an_operation_are_bad_arguments() {
        for line in ["put a", "put a b c", "get a --prefix --from-key", "put a b --lease zz", "del a b c"] {
            assert_eq!(parse(line).expect_err(line).exit, Exit::BadArguments, "{line}");
        }
    }
}
