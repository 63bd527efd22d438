//! `put`: writes one key. The value is an argument, or all of standard input.

use std::{
    ffi::OsString,
    io::{self, Read},
};

use bytes::Bytes;
use clap::Args;
use tombolo_proto::etcdserverpb::PutRequest;

use super::selection;
use crate::{context::Context, exit::Failure, notation::integer, output::Answer};

#[derive(Debug, Args)]
#[command(override_usage = "tombolo put [OPTIONS] <KEY> [VALUE]")]
pub(crate) struct PutArgs {
    /// The key, and its value; without one, all of standard input is the value
    #[arg(value_name = "KEY VALUE")]
    args: Vec<OsString>,
    /// Lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0")]
    lease: String,
    /// Return the previous key-value pair before modification
    #[arg(long)]
    prev_kv: bool,
    /// Updates the key using its current value
    #[arg(long)]
    ignore_value: bool,
    /// Updates the key using its current lease
    #[arg(long)]
    ignore_lease: bool,
}

impl PutArgs {
    /// The request these arguments stand for; `stdin` is read only if the value is not among them.
    pub(crate) fn request(&self, stdin: impl Read) -> Result<PutRequest, Failure> {
        let (key, value) = match (self.args.as_slice(), self.ignore_value) {
            ([_, _, ..], true) => {
                return Err(Failure::arguments("put command needs only 1 argument when 'ignore-value' is set"));
            }
            ([key], true) => (key, Bytes::new()),
            ([key], false) => (key, read_value(stdin)?),
            ([key, value], false) => (key, selection::bytes(value)),
            ([] | [_, _, ..], _) => return Err(wrong_count()),
        };
        let lease = integer::parse(&self.lease, 16)
            .map_err(|error| Failure::arguments(format!("bad lease ID ({error}), expecting ID in Hex")))?;
        Ok(PutRequest {
            key: selection::bytes(key),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

pub(crate) async fn run(context: &Context, args: &PutArgs) -> Result<(), Failure> {
    let request = args.request(io::stdin().lock())?;
    context.printer.refuse_table()?;
    let response = context.call(context.client.kv().put(request)).await?;
    context.printer.print(&Answer::Put(&response))
}

fn read_value(mut stdin: impl Read) -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    match stdin.read_to_end(&mut value) {
        Ok(length) if length > 0 => Ok(value.into()),
        _ => Err(wrong_count()),
    }
}

fn wrong_count() -> Failure {
    Failure::arguments("put command needs 1 argument and input from stdin or 2 arguments")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn args(words: &[&str]) -> PutArgs {
        PutArgs {
            args: words.iter().map(OsString::from).collect(),
            lease: "0".into(),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }

    #[test]
    fn the_value_is_an_argument_or_standard_input() {
        let request = args(&["k", "v"]).request(&b"unread"[..]).expect("a request");
        assert_eq!((&request.key[..], &request.value[..]), (&b"k"[..], &b"v"[..]));
        let request = args(&["k"]).request(&b"from\nstdin\n"[..]).expect("a request");
        assert_eq!(&request.value[..], b"from\nstdin\n");
        let request = PutArgs { ignore_value: true, ..args(&["k"]) }.request(&b"unread"[..]).expect("a request");
        assert!(request.ignore_value && request.value.is_empty());
    }

    #[test]
    fn the_wrong_number_of_arguments_is_refused() {
        for put in
            [args(&[]), args(&["k"]), args(&["k", "v", "w"]), PutArgs { ignore_value: true, ..args(&["k", "v"]) }]
        {
            assert_eq!(put.request(&b""[..]).expect_err("refused").exit, Exit::BadArguments);
        }
    }

    #[test]
    fn a_lease_is_hexadecimal() {
        let put = PutArgs { lease: "6b93a200296cd615".into(), ..args(&["k", "v"]) };
        assert_eq!(put.request(&b""[..]).expect("a request").lease, 0x6b93_a200_296c_d615);
        let put = PutArgs { lease: "zz".into(), ..args(&["k", "v"]) };
        let failure = put.request(&b""[..]).expect_err("not hexadecimal");
        assert_eq!(failure.to_string(), r#"bad lease ID (parsing "zz": invalid syntax), expecting ID in Hex"#);
    }
}
