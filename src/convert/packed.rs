//! Stored bytes, packed: records say much the same, so that a dictionary of what they say makes each of them small, in the
//! store and in memory.
//!
//! A packed value is a Zstandard frame (RFC 8878); one that is not begins with the tag of a field. The two are told apart by
//! the frame's magic number, which as a tag would be that of field 5: `storage.v1.Record` has none, and keeps it reserved.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::get_frame_content_size;

/// What records have in common, made by `examples/dictionary.rs`. Values in stores were packed with it: it never changes,
/// another one is added beside it.
const DICTIONARY: &[u8] = include_bytes!("packed.dict");
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LEVEL: i32 = 6;
/// Shorter values gain nothing.
const PACKED_MIN: usize = 128;
/// No record is as long: what claims to be is damaged.
const UNPACKED_MAX: u64 = 64 << 20;

static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    // A context is a large piece of memory, and preparing one takes longer than using it.
    static PACKER: RefCell<Option<Compressor<'static>>> =
        RefCell::new(Compressor::with_prepared_dictionary(&ENCODER).ok());
    static UNPACKER: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}

/// Packs a value where that makes it smaller.
pub(super) fn pack(plain: Vec<u8>) -> Vec<u8> {
    // What is too long to be unpacked is not packed.
    let fits = u64::try_from(plain.len()).is_ok_and(|length| length <= UNPACKED_MAX);
    if plain.len() < PACKED_MIN || !fits {
        return plain;
    }
    let packed = PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(&plain).ok());
    packed.filter(|packed| packed.len() < plain.len()).unwrap_or(plain)
}

/// Undoes [`pack`].
pub(super) fn unpack(value: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !value.starts_with(&MAGIC) {
        return Ok(Cow::Borrowed(value));
    }
    let length = get_frame_content_size(value).ok().flatten().filter(|length| *length <= UNPACKED_MAX);
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or("it is packed and does not say how long it is")?;
    let unpacked = UNPACKER.with_borrow_mut(|unpacker| match unpacker {
        Some(unpacker) => unpacker.decompress(value, length).map_err(|error| error.to_string()),
        None => Err("there is no memory to unpack it".to_owned()),
    });
    unpacked.map(Cow::Owned).map_err(|detail| format!("it is packed, and cannot be unpacked by this release: {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        for plain in [Vec::new(), vec![0; 40], b"publishers/meta/models/llama ".repeat(100), (0..=255).collect()] {
            assert_eq!(*unpack(&pack(plain.clone())).unwrap(), *plain);
        }
        let text = b"publishers/meta/models/llama ".repeat(100);
        assert!(pack(text.clone()).len() < text.len() / 10);
    }

    /// Values of every store there is were packed with it.
    #[test]
    fn the_dictionary_is_the_one_that_values_were_packed_with() {
        assert_eq!(xxhash_rust::xxh3::xxh3_64(DICTIONARY), 0xb95b_e761_5807_bb7d);
    }

    #[test]
    fn damaged_values_are_refused() {
        let packed = pack(b"publishers/meta/models/llama ".repeat(100));
        assert!(packed.starts_with(&MAGIC));
        for cut in 0..packed.len() {
            // Less than the magic number is no packed value; it is no record either, which is for the decoder to say.
            assert!(unpack(&packed[..cut]).is_err() || cut < MAGIC.len(), "{cut}");
        }
        let mut long = packed;
        // The length of the content, in the frame's header.
        long[4..].iter_mut().take(8).for_each(|byte| *byte = 0xff);
        assert!(unpack(&long).is_err());
    }
}
