//! Tests of the module as a whole; the messages they read are compiled from `FIXTURE`.

mod parse;
mod read;
mod round_trip;
mod write;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::Problem;

const FIXTURE: &str = include_str!("fixture.proto");

struct Fixture;

impl FileResolver for Fixture {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "fixture.proto" {
            File::from_source(name, FIXTURE)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// Compiled once: messages are equal only when their descriptors come from one pool.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Fixture);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file("fixture.proto").unwrap();
    let set = compiler.encode_file_descriptor_set();
    DescriptorPool::decode(set.as_slice()).unwrap()
});

/// The descriptor of a message of the fixture.
fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("fixture.{name}")).unwrap()
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
