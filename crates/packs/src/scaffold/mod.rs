//! A pack to begin with, which passes its own check and cases.

use crate::case;
use crate::manifest::FILE;
use astradesk_core::{Code, Error, Result};
use std::path::{Path, PathBuf};

const PACK: &str = include_str!("pack.toml");
const CASES: &str = include_str!("cases.toml");

/// Makes a folder called `name` in `dir`, with a pack in it.
///
/// # Errors
/// `pack.invalid`: the name cannot be a pack's, there is something of that name, or it cannot be written.
pub fn new(dir: &Path, name: &str) -> Result<PathBuf> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let name = astradesk_core::text::shown(name, 64);
        let text = format!(
            "`{name}` cannot be a pack's name: it must have 1 to 64 lower-case letters, digits, `-` and `_`"
        );
        return Err(Error::new(Code::PackInvalid, text).with_remedy("choose another name"));
    }
    let folder = dir.join(name);
    let cannot = |error: std::io::Error| {
        let text = format!("`{}` cannot be made: {error}", folder.display());
        Error::new(Code::PackInvalid, text)
            .with_remedy("choose a name that is not there yet, and a folder that you may write to")
    };
    std::fs::create_dir(&folder).map_err(cannot)?;
    std::fs::write(folder.join(case::FILE), CASES).map_err(cannot)?;
    // The pack comes last: before it the folder is none.
    std::fs::write(folder.join(FILE), PACK.replace("NAME", name)).map_err(cannot)?;
    Ok(folder)
}
