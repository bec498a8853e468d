//! Page tokens: where the next page of a list starts. Bound to the list and what was asked of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{RegistryError, violation};

const SIZE_DEFAULT: usize = 50;
const SIZE_MAX: i32 = 1_000;

/// What a caller asks of a list.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// At most this many; 0: 50.
    pub size: i32,
    /// Token of the page before.
    pub token: String,
}

impl PageRequest {
    /// The page size, from 1 to 1000.
    pub(super) fn size(&self) -> Result<usize, RegistryError> {
        match self.size {
            0 => Ok(SIZE_DEFAULT),
            size if (1..=SIZE_MAX).contains(&size) => Ok(usize::try_from(size).unwrap_or(SIZE_DEFAULT)),
            size => {
                let description = format!("{size} is not from 1 to {SIZE_MAX}; 0 means {SIZE_DEFAULT}");
                Err(RegistryError::Invalid(vec![violation("page_size", description)]))
            }
        }
    }

    /// The name after which the page starts. `list` says which list and what was asked of it.
    pub(super) fn after(&self, list: &str) -> Result<Option<String>, RegistryError> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&self.token).map_err(|_| RegistryError::PageToken)?;
        let text = String::from_utf8(bytes).map_err(|_| RegistryError::PageToken)?;
        match text.split_once('\n') {
            Some((of, last)) if of == digest(list) => Ok(Some(last.to_owned())),
            _ => Err(RegistryError::PageToken),
        }
    }
}

/// The token of the page after `last`.
pub(super) fn token(list: &str, last: Option<String>, more: bool) -> String {
    match last {
        Some(last) if more => URL_SAFE_NO_PAD.encode(format!("{}\n{last}", digest(list))),
        _ => String::new(),
    }
}

fn digest(list: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(list.as_bytes()))
}
