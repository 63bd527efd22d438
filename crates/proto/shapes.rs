//! Writes the shapes of messages: what a reader and a writer of JSON must know of each message of etcd's API, as constants.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::{self, Write as _},
};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// The source of all shapes of `packages`, and of the function that finds those of a method.
pub(crate) fn written(descriptors: &FileDescriptorSet, packages: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut found = Found::default();
    let mut calls = String::new();
    let mut wanted = Vec::new();
    for file in descriptors.file.iter().filter(|file| packages.contains(&file.package())) {
        let package = format!(".{}", file.package());
        file.message_type.iter().for_each(|message| found.message(&package, message));
        file.enum_type.iter().for_each(|kind| found.enumeration(&package, kind));
        for service in &file.service {
            for method in &service.method {
                let variant = crate::methods::variant(service.name(), method.name());
                let (request, answer) = (constant(method.input_type()), constant(method.output_type()));
                wanted.extend([method.input_type(), method.output_type()]);
                writeln!(
                    calls,
                    "        Method::{variant} => Some(Call {{ request: &{request}, answer: &{answer} }}),"
                )?;
            }
        }
    }
    let mut out = String::new();
    found.write(wanted, &mut out)?;
    writeln!(out, "/// The shapes of a method's messages; `None` for the methods that are not etcd's.")?;
    writeln!(out, "pub fn call(method: Method) -> Option<Call> {{\n    match method {{\n{calls}        _ => None,")?;
    writeln!(out, "    }}\n}}")?;
    Ok(out)
}

/// Every message and enumeration by its full name, with the leading dot that references have.
#[derive(Default)]
struct Found<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enumerations: BTreeMap<String, &'a EnumDescriptorProto>,
}

impl<'a> Found<'a> {
    fn message(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        message.enum_type.iter().for_each(|nested| self.enumeration(&name, nested));
        self.messages.insert(name, message);
    }

    fn enumeration(&mut self, scope: &str, kind: &'a EnumDescriptorProto) {
        self.enumerations.insert(format!("{scope}.{}", kind.name()), kind);
    }

    /// Writes what is wanted, and what that refers to, each once.
    fn write(&self, mut wanted: Vec<&'a str>, out: &mut String) -> Result<(), Box<dyn Error>> {
        let mut written = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !written.insert(name) {
                continue;
            }
            if let Some(values) = self.enumerations.get(name) {
                enumeration(out, name, values)?;
                continue;
            }
            let message = self.messages.get(name).ok_or_else(|| format!("{name} is in none of the packages"))?;
            shape(out, name, message)?;
            wanted.extend(message.field.iter().filter_map(|field| field.type_name.as_deref()));
        }
        Ok(())
    }
}

fn constant(full_name: &str) -> String {
    full_name.trim_start_matches('.').replace('.', "_").to_uppercase()
}

fn enumeration(out: &mut String, name: &str, values: &EnumDescriptorProto) -> fmt::Result {
    let named: Vec<_> = values.value.iter().map(|value| (value.name(), value.number())).collect();
    let (constant, plain) = (constant(name), name.trim_start_matches('.'));
    writeln!(out, "static {constant}: Names = Names {{ name: {plain:?}, values: &{named:?} }};")
}

fn shape(out: &mut String, name: &str, message: &DescriptorProto) -> Result<(), Box<dyn Error>> {
    writeln!(out, "static {}: Shape = Shape {{ fields: &[", constant(name))?;
    for field in &message.field {
        writeln!(
            out,
            "    Field {{ name: {:?}, json_name: {:?}, number: {}, kind: Kind::{}, is_repeated: {}, is_choice: {} }},",
            field.name(),
            field.json_name(),
            field.number(),
            kind(field).ok_or_else(|| format!("{name}.{}: no JSON for this type", field.name()))?,
            field.label() == Label::Repeated,
            field.oneof_index.is_some(),
        )?;
    }
    writeln!(out, "] }};")?;
    Ok(())
}

fn kind(field: &FieldDescriptorProto) -> Option<String> {
    let plain = match field.r#type() {
        Type::Bool => "Bool",
        Type::Bytes => "Bytes",
        Type::Int64 => "Int64",
        Type::String => "String",
        Type::Uint32 => "Uint32",
        Type::Uint64 => "Uint64",
        Type::Enum => return Some(format!("Enum(&{})", constant(field.type_name()))),
        Type::Message => return Some(format!("Message(&{})", constant(field.type_name()))),
        _ => return None,
    };
    Some(plain.to_owned())
}
