//! Field masks of reads: which fields of a record an answer holds.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};

use super::nearest;
use super::violations::{Violation, Violations};
use crate::domain::name::shown;

/// Most paths of a mask.
const PATHS_MAX: usize = 100;
/// Most parts of a path; no message is nested deeper.
const PARTS_MAX: usize = 8;

/// The fields to keep.
#[derive(Debug, Default)]
pub struct ReadMask {
    /// `None`: all of them.
    fields: Option<(MessageDescriptor, Tree)>,
}

/// Fields by name; one without any below it is kept whole.
#[derive(Debug, Default)]
struct Tree(BTreeMap<String, Tree>);

/// Reads a mask over a message. No paths, or `*`: all fields.
///
/// # Errors
/// Every path that is not one of the message's.
pub fn read_mask(message: &str, paths: &[String]) -> Result<ReadMask, Vec<Violation>> {
    let mut v = Violations::at("");
    let whole = paths.is_empty() || paths.iter().any(|path| path == "*");
    let descriptor = super::descriptor(message).filter(|_| !whole);
    if whole && paths.len() > 1 {
        v.add("read_mask", "`*` stands alone");
    }
    if paths.len() > PATHS_MAX {
        v.add("read_mask", format_args!("it has {} paths and {PATHS_MAX} are allowed", paths.len()));
        return v.finish(None);
    }
    let mut tree = Tree::default();
    for path in descriptor.iter().flat_map(|_| paths) {
        let Some(descriptor) = &descriptor else { break };
        if let Err(problem) = tree.add(descriptor, path) {
            v.add("read_mask", problem);
        }
    }
    v.finish(Some(ReadMask { fields: descriptor.map(|descriptor| (descriptor, tree)) }))
}

impl Tree {
    fn add(&mut self, message: &MessageDescriptor, path: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() > PARTS_MAX {
            return Err(format!("`{}` has more than {PARTS_MAX} parts", shown(path)));
        }
        let mut node = self;
        let mut message = Some(message.clone());
        for part in parts {
            let Some(within) = message.take() else {
                return Err(format!("`{}`: nothing is below a field that is no message", shown(path)));
            };
            let field = within.fields().find(|field| part == field.name() || part == field.json_name());
            let Some(field) = field else {
                let names: Vec<String> = within.fields().map(|field| field.name().to_owned()).collect();
                let near = nearest(part, names.iter().map(String::as_str));
                return Err(format!("`{}` is no field of {}{near}", shown(path), within.name()));
            };
            message = match field.kind() {
                Kind::Message(message) if !field.is_map() => Some(message),
                _ => None,
            };
            // What is kept whole already holds all that is below it.
            let known = node.0.contains_key(field.name());
            node = node.0.entry(field.name().to_owned()).or_default();
            if known && node.0.is_empty() {
                return Ok(());
            }
        }
        // The whole field was asked for, whatever was asked for of it besides.
        node.0.clear();
        Ok(())
    }

    fn keep(&self, message: &mut DynamicMessage) {
        for field in message.descriptor().fields() {
            match self.0.get(field.name()) {
                None => message.clear_field(&field),
                Some(below) if below.0.is_empty() => {}
                Some(below) if message.has_field(&field) => match message.get_field_mut(&field) {
                    Value::Message(inner) => below.keep(inner),
                    Value::List(list) => list.iter_mut().for_each(|value| {
                        if let Value::Message(inner) = value {
                            below.keep(inner);
                        }
                    }),
                    _ => {}
                },
                Some(_) => {}
            }
        }
    }
}

impl ReadMask {
    /// What is left of a message.
    #[must_use]
    pub fn keep<M: Message + Default>(&self, message: M) -> M {
        let Some((descriptor, tree)) = &self.fields else { return message };
        let bytes = message.encode_to_vec();
        let Ok(mut dynamic) = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()) else { return message };
        tree.keep(&mut dynamic);
        M::decode(dynamic.encode_to_vec().as_slice()).unwrap_or(message)
    }
}
