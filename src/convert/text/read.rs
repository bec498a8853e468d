//! From a tree to a message: objects, fields, lists and maps.

use std::collections::HashMap;

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::Value as Tree;

use super::names;
use super::problem::{Place, Problem, quoted};
use super::scalar::{self, described};
use super::well_known;

/// Nesting of messages, the outermost and map entries included, that protobuf decoders still accept.
const DEEPEST: usize = 100;

/// Problems kept one by one; beyond, only their number is.
const MOST_PROBLEMS: usize = 1000;

/// Reads a tree as the message `descriptor` describes, collecting all problems, not the first.
///
/// The proto3 JSON mapping, with leniencies: field names in snake, lower camel or kebab case; enum values by full name
/// or without the enum's prefix, in any case, with `-` for `_`; a date where a timestamp is expected (midnight UTC).
/// Unknown keys, a field given by two spellings, and two members of one oneof are problems.
/// `google.protobuf.Any` is not supported. After the first thousand, problems are only counted.
pub fn read(tree: &Tree, descriptor: &MessageDescriptor) -> Result<DynamicMessage, Vec<Problem>> {
    let mut reader = Reader::default();
    let message = reader.message(tree, descriptor, &Place::Root);
    match message {
        Some(message) if reader.problems.is_empty() => Ok(message),
        _ => Err(reader.into_problems()),
    }
}

/// Reads a tree as the typed message `M`, which `descriptor` must describe.
pub fn read_as<M: Message + Default>(tree: &Tree, descriptor: &MessageDescriptor) -> Result<M, Vec<Problem>> {
    let message = read(tree, descriptor)?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| {
        vec![Problem::whole(format!("value does not fit {}: {error}", quoted(descriptor.full_name())))]
    })
}

/// Walks the tree and keeps what is wrong with it.
#[derive(Default)]
pub(super) struct Reader {
    problems: Vec<Problem>,
    left_out: usize,
    depth: usize,
}

impl Reader {
    /// Keeps a problem. The message is a closure, because near names are costly to find and may not be needed.
    pub(super) fn report(&mut self, at: &Place<'_>, message: impl FnOnce() -> String) {
        if self.problems.len() >= MOST_PROBLEMS {
            self.left_out += 1;
            return;
        }
        let mut problem = Problem::whole(message());
        problem.path = at.to_string();
        self.problems.push(problem);
    }

    /// Keeps the problem of a failed conversion.
    pub(super) fn take<T>(&mut self, at: &Place<'_>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.report(at, || message)).ok()
    }

    fn into_problems(mut self) -> Vec<Problem> {
        if self.left_out > 0 {
            let message = format!("{} more problems are left out", self.left_out);
            self.problems.push(Problem::whole(message));
        }
        self.problems
    }

    /// Runs `inner` one message deeper, unless that is too deep.
    pub(super) fn deeper<T>(&mut self, at: &Place<'_>, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEEPEST {
            self.report(at, || format!("messages are nested deeper than {DEEPEST} levels"));
            return None;
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Reads any message. `None` means that at least one problem was reported.
    pub(super) fn message(
        &mut self,
        tree: &Tree,
        descriptor: &MessageDescriptor,
        at: &Place<'_>,
    ) -> Option<DynamicMessage> {
        self.deeper(at, |reader| {
            well_known::read(reader, tree, descriptor, at).unwrap_or_else(|| reader.object(tree, descriptor, at))
        })
    }

    fn object(&mut self, tree: &Tree, descriptor: &MessageDescriptor, at: &Place<'_>) -> Option<DynamicMessage> {
        let Tree::Object(entries) = tree else {
            self.report(at, || format!("expected an object, found {}", described(tree)));
            return None;
        };
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut given = Given::default();
        let mut complete = true;
        for (key, tree) in entries {
            let Some(field) = names::field(descriptor, key) else {
                self.report(&Place::Field(at, key), || unknown_field(descriptor, key));
                complete = false;
                continue;
            };
            let at = Place::Field(at, field.name());
            if let Err(message) = given.note(&field, key, tree) {
                self.report(&at, || message);
                complete = false;
                continue;
            }
            if tree.is_null() && !takes_null(&field) {
                continue;
            }
            complete &= self.field(tree, &field, &at, &mut message).is_some();
        }
        complete.then_some(message)
    }

    /// Reads one field into `message`.
    pub(super) fn field(
        &mut self,
        tree: &Tree,
        field: &FieldDescriptor,
        at: &Place<'_>,
        message: &mut DynamicMessage,
    ) -> Option<()> {
        let value = if field.is_map() {
            self.map(tree, field, at)
        } else if field.is_list() {
            self.list(tree, field, at)
        } else {
            self.single(tree, &field.kind(), at)
        }?;
        self.set(message, field, value, at)
    }

    /// Sets a field, with a problem instead of a panic should value and field not agree.
    pub(super) fn set(
        &mut self,
        message: &mut DynamicMessage,
        field: &FieldDescriptor,
        value: Value,
        at: &Place<'_>,
    ) -> Option<()> {
        // A default without presence is the same as absence; leaving it out keeps equal messages equal.
        if !field.supports_presence() && value.is_default_for_field(field) {
            return Some(());
        }
        let set = message.try_set_field(field, value);
        self.take(at, set.map_err(|_| "value does not fit the field".to_owned()))
    }

    /// Reads one value, not a list or a map.
    pub(super) fn single(&mut self, tree: &Tree, kind: &Kind, at: &Place<'_>) -> Option<Value> {
        match kind {
            Kind::Message(descriptor) => self.message(tree, descriptor, at).map(Value::Message),
            kind => self.take(at, scalar::read(tree, kind)),
        }
    }

    fn list(&mut self, tree: &Tree, field: &FieldDescriptor, at: &Place<'_>) -> Option<Value> {
        let Tree::Array(elements) = tree else {
            self.report(at, || {
                format!("expected a list, found {}; write one element as a list too: `[…]`", described(tree))
            });
            return None;
        };
        let kind = field.kind();
        let mut values = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            values.extend(self.single(element, &kind, &Place::Index(at, index)));
        }
        (values.len() == elements.len()).then_some(Value::List(values))
    }

    fn map(&mut self, tree: &Tree, field: &FieldDescriptor, at: &Place<'_>) -> Option<Value> {
        let Tree::Object(entries) = tree else {
            self.report(at, || format!("expected an object of keys and values, found {}", described(tree)));
            return None;
        };
        let Kind::Message(entry) = field.kind() else {
            self.report(at, || "map has no entry type".to_owned());
            return None;
        };
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        self.deeper(at, |reader| {
            let mut map: HashMap<MapKey, Value> = HashMap::new();
            for (name, tree) in entries {
                let at = Place::Key(at, name);
                let key = reader.take(&at, scalar::read_key(name, &key_kind));
                let value = reader.single(tree, &value_kind, &at);
                let (Some(key), Some(value)) = (key, value) else {
                    continue;
                };
                if map.insert(key, value).is_some() {
                    reader.report(&at, || "key is given twice, in two spellings".to_owned());
                }
            }
            (map.len() == entries.len()).then_some(Value::Map(map))
        })
    }
}

/// Which fields and oneofs an object has given so far, with the spellings used.
#[derive(Default)]
struct Given<'t> {
    fields: HashMap<u32, &'t str>,
    oneofs: HashMap<String, &'t str>,
}

impl<'t> Given<'t> {
    /// Notes a key, or says which earlier one it clashes with.
    fn note(&mut self, field: &FieldDescriptor, key: &'t str, tree: &Tree) -> Result<(), String> {
        if let Some(earlier) = self.fields.insert(field.number(), key) {
            return Err(format!("field is given twice, as {} and {}", quoted(earlier), quoted(key)));
        }
        let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else {
            return Ok(());
        };
        if tree.is_null() && !takes_null(field) {
            return Ok(());
        }
        match self.oneofs.insert(oneof.name().to_owned(), key) {
            Some(earlier) => Err(format!(
                "only one of {} and {} can be given (they are alternatives for {})",
                quoted(earlier),
                quoted(key),
                quoted(oneof.name())
            )),
            None => Ok(()),
        }
    }
}

/// Whether null is a value of the field instead of its absence.
fn takes_null(field: &FieldDescriptor) -> bool {
    if field.is_list() || field.is_map() {
        return false;
    }
    match field.kind() {
        Kind::Message(descriptor) => descriptor.full_name() == well_known::VALUE,
        Kind::Enum(descriptor) => descriptor.full_name() == well_known::NULL_VALUE,
        _ => false,
    }
}

fn unknown_field(descriptor: &MessageDescriptor, key: &str) -> String {
    let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
    let known: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
    format!("unknown field {}{}", quoted(key), names::suggestion(key, &known))
}
