//! Files that settings name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Reads a file of at most a size, whatever it says its size is.
///
/// # Errors
/// It cannot be read, or is larger: with its name.
pub fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("`{shown}` could not be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(format!("`{shown}` has more than {bytes_max} bytes, the most that is read"));
    }
    Ok(bytes)
}
