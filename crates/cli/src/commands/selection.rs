//! Which keys `get` and `del` are about: a key, a range, a prefix, or everything from a key on.

use std::ffi::OsString;

use bytes::Bytes;
use tombolo_client::KeyRange;

use crate::exit::Failure;

/// The bytes of an argument. Keys and values are bytes and need not be text.
pub(super) fn bytes(argument: &OsString) -> Bytes {
    argument.clone().into_encoded_bytes().into()
}

/// Reads `<key> [range_end]` with the two flags that stand for a range.
pub(super) fn key_range(command: &str, args: &[OsString], prefix: bool, from_key: bool) -> Result<KeyRange, Failure> {
    let (key, end) = match args {
        [key] => (bytes(key), None),
        [key, end] => (bytes(key), Some(bytes(end))),
        _ => {
            let text = format!("{command} command needs one argument as key and an optional argument as range_end");
            return Err(Failure::arguments(text));
        }
    };
    match (end, prefix, from_key) {
        (_, true, true) => {
            Err(Failure::arguments("`--prefix` and `--from-key` cannot be set at the same time, choose one"))
        }
        (None, true, false) => Ok(KeyRange::prefix(key)),
        (None, false, true) => Ok(KeyRange::from_key(key)),
        (None, false, false) => Ok(KeyRange::single(key)),
        (Some(end), false, false) => Ok(KeyRange::between(key, end)),
        (Some(_), ..) => Err(Failure::arguments(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn each_way_to_select_keys_is_a_range() {
        let range = |line: &str, prefix, from_key| key_range("get", &words(line), prefix, from_key).expect(line);
        assert_eq!(range("a", false, false), KeyRange::single("a"));
        assert_eq!(range("a b", false, false), KeyRange::between("a", "b"));
        assert_eq!(range("a", true, false), KeyRange::prefix("a"));
        assert_eq!(range("a", false, true), KeyRange::from_key("a"));
    }

    #[test]
    fn ways_that_contradict_each_other_are_bad_arguments() {
        for (line, prefix, from_key) in
            [("", false, false), ("a b c", false, false), ("a b", true, false), ("a b", false, true), ("a", true, true)]
        {
            let failure = key_range("del", &words(line), prefix, from_key).expect_err(line);
            assert_eq!(failure.exit, Exit::BadArguments, "{line}");
        }
    }
}
