//! `txn`: reads a transaction from standard input and commits it.
//!
//! Three blocks of lines, each ended by a blank one: what to compare, what to do if all of it holds, what to do
//! otherwise.

use std::{
    ffi::OsString,
    io::{self, BufRead, Write as _},
};

use clap::Args;
use tombolo_proto::etcdserverpb::TxnRequest;

use crate::{
    context::Context,
    exit::Failure,
    output::Answer,
    script::{compare, operation},
};

#[derive(Debug, Args)]
pub(crate) struct TxnArgs {
    #[arg(hide = true)]
    args: Vec<OsString>,
    /// Input transaction in interactive mode
    #[arg(short, long)]
    interactive: bool,
}

pub(crate) async fn run(context: &Context, args: &TxnArgs) -> Result<(), Failure> {
    if !args.args.is_empty() {
        return Err(Failure::arguments("txn command does not accept argument"));
    }
    let request =
        read(
            io::stdin().lock(),
            |prompt| {
                if args.interactive { Ok(writeln!(io::stdout(), "{prompt}")?) } else { Ok(()) }
            },
        )?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.kv().txn(request)).await?;
    context.printer.print(&Answer::Txn(&response))
}

/// Reads the three blocks, announcing each.
fn read(mut input: impl BufRead, mut announce: impl FnMut(&str) -> Result<(), Failure>) -> Result<TxnRequest, Failure> {
    announce("compares:")?;
    let compare = block(&mut input, compare::parse)?;
    announce("success requests (get, put, del):")?;
    let success = block(&mut input, operation::parse)?;
    announce("failure requests (get, put, del):")?;
    let failure = block(&mut input, operation::parse)?;
    Ok(TxnRequest { compare, success, failure })
}

/// Reads lines up to a blank one.
fn block<T>(input: &mut impl BufRead, parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let mut parsed = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).map_err(|error| Failure::input(format!("cannot read standard input: {error}")))?;
        if !line.ends_with('\n') {
            return Err(Failure::input("EOF").hint("each of the three blocks must end with a blank line"));
        }
        match line.trim() {
            "" => return Ok(parsed),
            line => parsed.push(parse(line)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn request(text: &str) -> Result<TxnRequest, Failure> {
        read(text.as_bytes(), |_| Ok(()))
    }

    #[test]
    fn three_blocks_make_a_transaction() {
        let text = "mod(\"a\") > \"0\"\nver(\"b\") = \"1\"\n\n put a 1 \nget a\n\ndel a\n\n";
        let request = request(text).expect("a transaction");
        assert_eq!((request.compare.len(), request.success.len(), request.failure.len()), (2, 2, 1));
        assert_eq!(read("\n\n\n".as_bytes(), |_| Ok(())).expect("an empty one"), TxnRequest::default());
    }

    #[test]
    fn input_that_ends_within_a_block_is_invalid() {
        for text in ["", "\n", "\n\n", "\n\nput a b\n", "\n\nput a b", "mod(\"a\") > \"0\""] {
            let failure = request(text).expect_err(text);
            assert_eq!(failure.exit, Exit::InvalidInput, "{text:?}");
            assert!(failure.to_string().starts_with("EOF"), "{failure}");
        }
    }

    #[test]
    fn each_block_is_announced() {
        let mut prompts = Vec::new();
        read("\n\n\n".as_bytes(), |prompt| {
            prompts.push(prompt.to_owned());
            Ok(())
        })
        .expect("an empty transaction");
        assert_eq!(prompts, ["compares:", "success requests (get, put, del):", "failure requests (get, put, del):"]);
    }

    #[test]
    fn input_that_is_not_text_is_invalid() {
        let failure = read(&b"\xff\n"[..], |_| Ok(())).expect_err("not text");
        assert_eq!(failure.exit, Exit::InvalidInput);
    }
}
