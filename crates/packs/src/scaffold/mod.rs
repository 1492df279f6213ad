//! A pack to begin with, which passes its own check and cases.

use crate::case;
use crate::manifest::FILE;
use crate::mcp::import;
pub use crate::mcp::server::Typed;
use astradesk_core::{Code, Error, Result};
use std::path::{Path, PathBuf};

const PACK: &str = include_str!("pack.toml");
const CASES: &str = include_str!("cases.toml");

/// Makes a folder called `name` in `dir`, with a pack in it.
///
/// # Errors
/// `pack.invalid`: the name cannot be a pack's, there is something of that name, or it cannot be written.
pub fn new(dir: &Path, name: &str) -> Result<PathBuf> {
    check(name)?;
    write(dir, name, &[(case::FILE, CASES.to_owned()), (FILE, PACK.replace("NAME", name))])
}

/// Makes a folder called `name` in `dir`, with a pack in it that has every tool of an MCP server, and tells how many
/// these are. What each of them does to the world is left to be said, and the pack is not valid before.
///
/// # Errors
/// As [`new`], and whatever keeps the server from listing its tools.
pub async fn of_server(dir: &Path, name: &str, server: &Typed) -> Result<(PathBuf, usize)> {
    check(name)?;
    let (text, tools) = import::text(name, server).await?;
    Ok((write(dir, name, &[(FILE, text)])?, tools))
}

fn check(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(fits) {
        return Ok(());
    }
    let name = astradesk_core::text::shown(name, 64);
    let text = format!(
        "`{name}` cannot be a pack's name: it must have 1 to 64 lower-case letters, digits, `-` and `_`"
    );
    Err(Error::new(Code::PackInvalid, text).with_remedy("choose another name"))
}

/// Makes the folder with these files. The pack comes last: before it the folder is none.
fn write(dir: &Path, name: &str, files: &[(&str, String)]) -> Result<PathBuf> {
    let folder = dir.join(name);
    let cannot = |error: std::io::Error| {
        let text = format!("`{}` cannot be made: {error}", folder.display());
        Error::new(Code::PackInvalid, text)
            .with_remedy("choose a name that is not there yet, and a folder that you may write to")
    };
    std::fs::create_dir(&folder).map_err(cannot)?;
    for (file, text) in files {
        std::fs::write(folder.join(file), text).map_err(cannot)?;
    }
    Ok(folder)
}
