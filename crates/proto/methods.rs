//! Writes the enumeration of every method in the contracts.
//!
//! Whoever matches on it without a wildcard is told by the compiler of each call that has no rule, no name and no count yet.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use prost_types::{FileDescriptorSet, MethodDescriptorProto};

/// The source of `Method`.
pub(crate) fn listed(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut methods = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| Method::new(file.package(), service.name(), method)));
        }
    }
    methods.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
    let mut out = String::new();
    writeln!(out, "/// A method of a service, of every contract there is.")?;
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub enum Method {{")?;
    for method in &methods {
        writeln!(out, "    /// `{}`\n    {},", method.path(), method.variant)?;
    }
    writeln!(out, "}}\n\nimpl Method {{")?;
    writeln!(out, "    /// Every method, by service and name.\n    pub const ALL: [Self; {}] = [", methods.len())?;
    for method in &methods {
        writeln!(out, "        Self::{},", method.variant)?;
    }
    writeln!(out, "    ];\n")?;
    table(&mut out, &methods, "The path of its requests.", "path", "&'static str", |m| format!("{:?}", m.path()))?;
    table(&mut out, &methods, "Its service, with the package.", "service", "&'static str", |m| {
        format!("{:?}", m.service)
    })?;
    table(&mut out, &methods, "Its own name.", "name", "&'static str", |m| format!("{:?}", m.name))?;
    table(&mut out, &methods, "Who of the two sides sends more than one message.", "kind", "Kind", |m| {
        format!("Kind::{}", m.kind)
    })?;
    writeln!(
        out,
        "    /// The method with this path.\n    pub fn of_path(path: &str) -> Option<Self> {{\n        match path {{"
    )?;
    for method in &methods {
        writeln!(out, "            {:?} => Some(Self::{}),", method.path(), method.variant)?;
    }
    writeln!(out, "            _ => None,\n        }}\n    }}\n}}")?;
    Ok(out)
}

struct Method {
    service: String,
    name: String,
    variant: String,
    kind: &'static str,
}

impl Method {
    fn new(package: &str, service: &str, method: &MethodDescriptorProto) -> Self {
        let kind = match (method.client_streaming(), method.server_streaming()) {
            (false, false) => "Unary",
            (false, true) => "ServerStream",
            (true, false) => "ClientStream",
            (true, true) => "BidiStream",
        };
        Self {
            service: format!("{package}.{service}"),
            name: method.name().to_owned(),
            variant: variant(service, method.name()),
            kind,
        }
    }

    fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }
}

/// The service's name and the method's, each as Rust spells types.
pub(crate) fn variant(service: &str, name: &str) -> String {
    let words = |text: &str| text.replace("KV", "Kv");
    let name = words(name);
    let service = words(service);
    if name.starts_with(&service) { name } else { service + &name }
}

fn table(
    out: &mut String,
    methods: &[Method],
    meaning: &str,
    name: &str,
    kind: &str,
    value: impl Fn(&Method) -> String,
) -> fmt::Result {
    writeln!(out, "    /// {meaning}\n    pub const fn {name}(self) -> {kind} {{\n        match self {{")?;
    for method in methods {
        writeln!(out, "            Self::{} => {},", method.variant, value(method))?;
    }
    writeln!(out, "        }}\n    }}\n")
}
