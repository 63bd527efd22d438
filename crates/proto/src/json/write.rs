//! Writes an encoded message as JSON, byte for byte as etcd's gateway does: fields in the order of the contract, without spaces.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Field, Kind, Shape};

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// They are not protobuf.
    #[error("not a message: {0}")]
    Encoding(#[from] DecodeError),
    /// A field has another type than the contract says.
    #[error("field {name} is encoded as another type")]
    Type {
        /// The field's name.
        name: &'static str,
    },
    /// They end within a field.
    #[error("a field is cut short")]
    Short,
    /// Messages within messages without end.
    #[error("messages are nested deeper than {NESTING_MAX} levels")]
    Nesting,
}

/// As deep as messages are decoded at all.
const NESTING_MAX: usize = 100;

/// Appends `message` as a JSON object.
///
/// # Errors
///
/// When `message` is not an encoded message of this shape; `out` has a part of it then.
pub fn write(shape: &'static Shape, message: &[u8], out: &mut String) -> Result<(), WriteError> {
    object(shape, message, out, NESTING_MAX)
}

/// Appends a JSON string, quoted and escaped as etcd's library does: it can stand in an HTML page.
pub fn text(value: &str, out: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push('"');
    for letter in value.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                out.push_str("\\u");
                let code = u32::from(letter);
                out.extend([12, 8, 4, 0].map(|shift| HEX[(code >> shift & 0xf) as usize]));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A field's value as it is encoded.
#[derive(Clone, Copy)]
enum Encoded<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Encoded<'_> {
    fn is_default(self) -> bool {
        matches!(self, Self::Number(0))
    }
}

fn object(shape: &'static Shape, message: &[u8], out: &mut String, nesting: usize) -> Result<(), WriteError> {
    let nesting = nesting.checked_sub(1).ok_or(WriteError::Nesting)?;
    let values = scan(shape, message)?;
    out.push('{');
    let mut is_first = true;
    for run in values.chunk_by(|(a, _), (b, _)| a == b) {
        let [.., (place, last)] = run else { continue };
        let Some(field) = shape.fields.get(*place) else { continue };
        if !field.is_repeated && !field.is_choice && last.is_default() {
            continue;
        }
        if !is_first {
            out.push(',');
        }
        is_first = false;
        text(field.name, out);
        out.push(':');
        if field.is_repeated {
            list(field, run, out, nesting)?;
        } else {
            value(field, *last, out, nesting)?;
        }
    }
    out.push('}');
    Ok(())
}

/// The values with the places of their fields, in the order of the fields: the order on the wire is free, the one in JSON is not.
fn scan<'a>(shape: &'static Shape, message: &'a [u8]) -> Result<Vec<(usize, Encoded<'a>)>, WriteError> {
    let mut values = Vec::with_capacity(shape.fields.len());
    let mut rest = message;
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest)?;
        let Some((place, field)) = shape.fields.iter().enumerate().find(|(_, field)| field.number == number) else {
            skip_field(wire, number, &mut rest, DecodeContext::default())?;
            continue;
        };
        let is_number = !matches!(field.kind, Kind::Bytes | Kind::Message(_) | Kind::String);
        match wire {
            WireType::Varint if is_number => values.push((place, Encoded::Number(decode_varint(&mut rest)?))),
            WireType::LengthDelimited if !is_number => values.push((place, Encoded::Bytes(taken(&mut rest)?))),
            WireType::LengthDelimited if field.is_repeated => {
                let mut packed = taken(&mut rest)?;
                while !packed.is_empty() {
                    values.push((place, Encoded::Number(decode_varint(&mut packed)?)));
                }
            }
            _ => return Err(WriteError::Type { name: field.name }),
        }
    }
    values.sort_by_key(|(place, _)| *place);
    Ok(values)
}

/// A length, and as many bytes.
fn taken<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], WriteError> {
    let length = decode_varint(rest)?;
    let length = usize::try_from(length).map_err(|_| WriteError::Short)?;
    let (taken, left) = rest.split_at_checked(length).ok_or(WriteError::Short)?;
    *rest = left;
    Ok(taken)
}

fn list(field: &Field, values: &[(usize, Encoded<'_>)], out: &mut String, nesting: usize) -> Result<(), WriteError> {
    let mut before = '[';
    for (_, one) in values {
        out.push(before);
        value(field, *one, out, nesting)?;
        before = ',';
    }
    out.push(']');
    Ok(())
}

fn value(field: &Field, encoded: Encoded<'_>, out: &mut String, nesting: usize) -> Result<(), WriteError> {
    match (field.kind, encoded) {
        (Kind::Bool, Encoded::Number(number)) => out.push_str(if number == 0 { "false" } else { "true" }),
        (Kind::Enum(names), Encoded::Number(number)) => {
            // A negative number comes as a 64-bit one; its lower half is the value.
            let number = number.cast_signed() as i32;
            match names.values.iter().find(|(_, known)| *known == number).map(|(name, _)| name) {
                Some(name) => text(name, out),
                None => out.push_str(&number.to_string()),
            }
        }
        (Kind::Uint32, Encoded::Number(number)) => out.push_str(&(number as u32).to_string()),
        (Kind::Int64, Encoded::Number(number)) => text(&number.cast_signed().to_string(), out),
        (Kind::Uint64, Encoded::Number(number)) => text(&number.to_string(), out),
        (Kind::String, Encoded::Bytes(bytes)) => text(&String::from_utf8_lossy(bytes), out),
        (Kind::Bytes, Encoded::Bytes(bytes)) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        (Kind::Message(shape), Encoded::Bytes(message)) => object(shape, message, out, nesting)?,
        _ => return Err(WriteError::Type { name: field.name }),
    }
    Ok(())
}
