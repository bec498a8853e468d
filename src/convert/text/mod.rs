//! Text documents (JSON, YAML, TOML) in and out of protobuf messages, driven by the descriptor alone.
//!
//! Reading happens in two steps, so that each step reports in its own terms:
//! [`parse`] turns bytes into a tree and knows about syntax, lines and sizes;
//! [`read()`] turns the tree into a message and knows about fields, paths and values.
//! [`write()`] is the way back, and [`schema()`] describes in JSON Schema what can be read. The mapping is the proto3 JSON
//! mapping; reading is more lenient about spelling (see [`read()`]) and stricter about silence: unknown and repeated keys
//! are problems.

mod enums;
mod names;
mod parse;
mod problem;
mod read;
mod scalar;
mod schema;
mod toml_tree;
mod tree;
mod well_known;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use names::nearest;
pub use parse::{on_deep_stack, parse};
pub use problem::Problem;
pub use read::{read, read_as};
pub use schema::{Required, schema};
pub use write::{WriteError, WriteStyle, write, write_of};

/// A text format this module can parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON (RFC 8259).
    Json,
    /// YAML 1.2, one document.
    Yaml,
    /// TOML 1.1.
    Toml,
}

impl Syntax {
    /// The format a file name asks for by its extension: `.json`, `.yaml`, `.yml` or `.toml`.
    pub fn of_path(path: &Path) -> Option<Syntax> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "json" => Some(Syntax::Json),
            "yaml" | "yml" => Some(Syntax::Yaml),
            "toml" => Some(Syntax::Toml),
            _ => None,
        }
    }
}

/// How much a document may ask of us before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest document, in bytes. TOML stops at 4 MiB in any case: its parser does not stream.
    pub max_bytes: usize,
    /// Deepest nesting of lists and objects. Values above 128 mean 128: the parsers recurse.
    pub max_depth: usize,
    /// Most values (scalars, lists and objects), counted after YAML aliases are expanded.
    pub max_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_bytes: 16 * 1024 * 1024, max_depth: 64, max_nodes: 2_000_000 }
    }
}
