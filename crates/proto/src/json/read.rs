//! Reads JSON into an encoded message, in one pass and without a tree in between: what a request costs is its size.
//!
//! A value of the wrong kind is refused in the words of etcd's JSON library, for whoever looks for them; text that is no JSON in those of ours.

use std::fmt::{self, Display};

use base64::{
    DecodeError, Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Field, Kind, Names, Shape};

/// Why a text is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ReadError {
    what: String,
}

/// The encoded message that the first value in `text` stands for. What comes after that value is not looked at, and no value at all is the empty
/// message: both as etcd has it.
///
/// # Errors
///
/// When the value is not JSON, is nested deeper than 127 levels, or has a field of another kind than the contract says.
pub fn read(shape: &'static Shape, text: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut message = Vec::new();
    if text.trim_ascii().is_empty() {
        return Ok(message);
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let sink = Sink { target: Target::Message(shape), out: &mut message };
    sink.deserialize(&mut json).map_err(|why| {
        let what = why.to_string();
        let place = format!(" at line {} column {}", why.line(), why.column());
        // What we say ourselves is complete as it is; a place helps whoever wrote something that is no JSON.
        let ours = if why.is_data() { what.strip_suffix(&place) } else { None };
        ReadError { what: ours.unwrap_or(&what).to_owned() }
    })?;
    Ok(message)
}

/// What the next value is to become.
#[derive(Clone, Copy)]
enum Target {
    Message(&'static Shape),
    /// All of a repeated field.
    List(&'static Field),
    /// One of a repeated field's.
    Element(&'static Field),
    Single(&'static Field),
}

impl Target {
    fn of(field: &'static Field) -> Self {
        if field.is_repeated { Self::List(field) } else { Self::Single(field) }
    }

    /// The field that a value which is neither a list nor an object belongs to.
    fn field(self) -> Option<&'static Field> {
        match self {
            Self::Element(field) | Self::Single(field) => Some(field),
            Self::Message(_) | Self::List(_) => None,
        }
    }

    /// What etcd's library calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Message(_) => "map[string]json.RawMessage",
            Self::List(_) => "[]json.RawMessage",
            Self::Element(field) | Self::Single(field) => match field.kind {
                Kind::Bool => "bool",
                Kind::Bytes => "[]uint8",
                Kind::Enum(_) => "protoreflect.EnumNumber",
                Kind::Int64 => "int64",
                Kind::Message(_) => "map[string]json.RawMessage",
                Kind::String => "string",
                Kind::Uint32 => "uint32",
                Kind::Uint64 => "uint64",
            },
        }
    }
}

/// Takes one JSON value and appends what it encodes to.
struct Sink<'a> {
    target: Target,
    out: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn mismatch<T, E: Error>(&self, found: impl Display) -> Result<T, E> {
        Err(E::custom(format!("json: cannot unmarshal {found} into Go value of type {}", self.target.name())))
    }

    fn varint(self, field: &Field, value: u64) {
        encode_key(field.number, WireType::Varint, self.out);
        encode_varint(value, self.out);
    }

    fn bytes(self, field: &Field, value: &[u8]) {
        encode_key(field.number, WireType::LengthDelimited, self.out);
        encode_varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
    }

    /// A whole number, quoted or not. A negative number of an enumeration is encoded as a 64-bit one: so protobuf has it.
    fn number<E: Error>(self, value: i128) -> Result<(), E> {
        let Some(field) = self.target.field() else { return self.mismatch("number") };
        let encoded = match field.kind {
            Kind::Enum(_) => i32::try_from(value).ok().map(|value| i64::from(value).cast_unsigned()),
            Kind::Int64 => i64::try_from(value).ok().map(i64::cast_unsigned),
            Kind::Uint32 => u32::try_from(value).ok().map(u64::from),
            Kind::Uint64 => u64::try_from(value).ok(),
            Kind::Bool | Kind::Bytes | Kind::Message(_) | Kind::String => return self.mismatch("number"),
        };
        match encoded {
            Some(encoded) => self.varint(field, encoded),
            None => return self.mismatch(format_args!("number {value}")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Sink<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sink<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.target.name())
    }

    /// `null` is "not given", but in a list, where it holds a place.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.target {
            Target::Element(Field { kind: Kind::Bytes | Kind::Message(_) | Kind::String, .. }) => self.visit_str(""),
            Target::Element(field) => {
                self.varint(field, 0);
                Ok(())
            }
            Target::Message(_) | Target::List(_) | Target::Single(_) => Ok(()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.target.field() {
            Some(field) if matches!(field.kind, Kind::Bool) => self.varint(field, value.into()),
            _ => return self.mismatch("bool"),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.mismatch(format_args!("number {value}"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let Some(field) = self.target.field() else { return self.mismatch("string") };
        match field.kind {
            Kind::String => self.bytes(field, value.as_bytes()),
            Kind::Bytes => self.bytes(field, &base64(value).map_err(E::custom)?),
            Kind::Enum(names) => self.varint(field, i64::from(named(names, value).map_err(E::custom)?).cast_unsigned()),
            Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                return match value.parse() {
                    Ok(number) => self.number(number),
                    Err(_) => self.mismatch(format_args!("string {value:?}")),
                };
            }
            // Only a `null` of a list comes here with a message.
            Kind::Message(_) if value.is_empty() => self.bytes(field, &[]),
            Kind::Bool | Kind::Message(_) => return self.mismatch("string"),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Target::List(field) = self.target else { return self.mismatch("array") };
        while values.next_element_seed(Sink { target: Target::Element(field), out: self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let field = match self.target {
            Target::Message(shape) => return fields(shape, entries, self.out),
            Target::Element(field) | Target::Single(field) => field,
            Target::List(_) => return self.mismatch("object"),
        };
        let Kind::Message(shape) = field.kind else { return self.mismatch("object") };
        let mut message = Vec::new();
        fields(shape, &mut entries, &mut message)?;
        self.bytes(field, &message);
        Ok(())
    }
}

fn fields<'de, A: MapAccess<'de>>(shape: &'static Shape, mut entries: A, out: &mut Vec<u8>) -> Result<(), A::Error> {
    // A place for each field: what is given twice holds as given last.
    let mut given: Vec<Vec<u8>> = vec![Vec::new(); shape.fields.len()];
    while let Some(field) = entries.next_key_seed(Name(shape))? {
        let Some((place, field)) = field else {
            entries.next_value::<IgnoredAny>()?;
            continue;
        };
        let mut value = Vec::new();
        entries.next_value_seed(Sink { target: Target::of(field), out: &mut value })?;
        if let Some(given) = given.get_mut(place) {
            *given = value;
        }
    }
    given.iter().for_each(|value| out.extend_from_slice(value));
    Ok(())
}

/// Finds a field by either of its names.
struct Name(&'static Shape);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(usize, &'static Field)>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<(usize, &'static Field)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().enumerate().find(|(_, field)| field.name == name || field.json_name == name))
    }
}

fn named(names: &Names, value: &str) -> Result<i32, String> {
    let found = names.values.iter().find(|(name, _)| *name == value);
    found
        .map(|(_, number)| *number)
        .ok_or_else(|| format!("unknown value {:?} for enum {}", format!("{value:?}"), names.name))
}

/// Base64 in either alphabet, with padding or without, and with line breaks.
fn base64(text: &str) -> Result<Vec<u8>, String> {
    let plain: String = text
        .chars()
        .filter(|letter| !matches!(letter, '\r' | '\n'))
        .map(|letter| match letter {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    LENIENT.decode(plain).map_err(|why| {
        let place = match why {
            DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _) => place,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {place}")
    })
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
