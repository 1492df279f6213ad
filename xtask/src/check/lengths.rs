//! No Rust file is longer than [`LIMIT`] lines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Beyond it a file has more than one subject.
const LIMIT: usize = 700;

/// Checks the files below `root`.
pub(super) fn check(root: &Path) -> Result<()> {
    let mut long = Vec::new();
    for file in rust_files(root)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", super::shown(&file)))?;
        let lines = text.lines().count();
        if lines > LIMIT {
            long.push(format!(
                "`{}` has {lines} lines, and {LIMIT} is the most: split it",
                super::shown(&file)
            ));
        }
    }
    if !long.is_empty() {
        bail!("{}", long.join("\n"));
    }
    Ok(())
}

/// Every `.rs` file that is not in a hidden folder or in a `target`.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list `{}`", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot list `{}`", folder.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if !is_folder && path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_named_wherever_it_lies() {
        let root = std::env::temp_dir().join(format!("xtask-lengths-{}", std::process::id()));
        for folder in ["a/b", "target", ".hidden"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("target/long.rs"), "\n".repeat(LIMIT + 1)).unwrap();
        fs::write(root.join(".hidden/long.rs"), "\n".repeat(LIMIT + 1)).unwrap();
        fs::write(root.join("a/fine.rs"), "\n".repeat(LIMIT)).unwrap();
        assert!(check(&root).is_ok());
        fs::write(root.join("a/b/long.rs"), "\n".repeat(LIMIT + 1)).unwrap();
        let error = check(&root).unwrap_err().to_string();
        fs::remove_dir_all(&root).unwrap();
        assert!(error.contains("a/b/long.rs` has 701 lines") && error.lines().count() == 1, "{error}");
    }
}
