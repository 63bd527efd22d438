//! Asking a person for a secret. On a terminal nothing of it is shown; from anything else a line is read.
//!
//! The questions go to standard output, where etcdctl writes them. What follows the line is left for whoever reads next.

use std::io::{self, BufRead, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use crate::exit::{Exit, Failure};

/// Asks for the password of whoever calls.
pub(crate) fn password() -> Result<String, Failure> {
    ask("Password: ").map_err(|error| Failure::new(Exit::Error, error.to_string()))
}

/// Asks for a new password, twice.
pub(crate) fn new_password(user: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::arguments(format!("failed to ask password: {error}"));
    let first = ask(&format!("Password of {user}: ")).map_err(failed)?;
    if first.is_empty() {
        return Err(Failure::arguments("empty password"));
    }
    let second = ask(&format!("Type password of {user} again for confirmation: ")).map_err(failed)?;
    if first != second {
        return Err(Failure::arguments("given passwords are different"));
    }
    Ok(first)
}

/// The first word of a line from standard input: what `--interactive=false` reads.
pub(crate) fn word() -> Result<String, Failure> {
    let line = read_line(io::stdin().lock()).map_err(|error| Failure::arguments(error.to_string()))?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

fn ask(question: &str) -> io::Result<String> {
    let mut out = io::stdout();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let line = match Hidden::begin()? {
        Some(_hidden) => read_secret(io::stdin().lock()),
        None => read_line(io::stdin().lock()),
    };
    // The line's end was typed without being shown.
    out.write_all(b"\n")?;
    line
}

fn read_line(input: impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(io::Error::other)
}

/// Reads what is typed at a terminal that leaves every key to us: a signal's key too, which would else end the program with the terminal
/// still silent.
fn read_secret(input: impl BufRead) -> io::Result<String> {
    let mut secret = Vec::new();
    for byte in input.bytes() {
        match byte? {
            b'\n' | b'\r' | END_OF_INPUT => break,
            INTERRUPT => return Err(io::Error::other("interrupted")),
            BACKSPACE | DELETE => erase(&mut secret),
            ERASE_LINE => secret.clear(),
            byte => secret.push(byte),
        }
    }
    String::from_utf8(secret).map_err(io::Error::other)
}

/// Takes back the last character, however many bytes it has.
fn erase(secret: &mut Vec<u8>) {
    while secret.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

const INTERRUPT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// A terminal that shows nothing of what is typed and makes nothing of it, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    /// Hides what is typed at standard input; `None` when that is no terminal.
    fn begin() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        // What was typed ahead was shown, and is not taken for a secret.
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        Ok(Some(Self(shown)))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_end_and_the_rest_is_left() {
        let mut input = &b"secret\r\nnext\nlast"[..];
        assert_eq!(read_line(&mut input).expect("a line"), "secret");
        assert_eq!(read_line(&mut input).expect("a line"), "next");
        assert_eq!(read_line(&mut input).expect("a line"), "last");
        assert_eq!(read_line(&mut input).expect("nothing"), "");
    }

    #[test]
    fn a_secret_can_be_mended_while_it_is_typed() {
        let typed = |keys: &[u8]| read_secret(keys).map_err(|error| error.to_string());
        assert_eq!(typed(b"secret\rrest"), Ok("secret".into()));
        assert_eq!(typed("sé\u{7f}ecrx\u{8}et\n".as_bytes()), Ok("secret".into()));
        assert_eq!(typed(b"wrong\x15right\x04"), Ok("right".into()));
        assert_eq!(typed(b"sec\x03ret\n"), Err("interrupted".into()));
    }
}
