//! Ed25519 keys in files: made once, whole or not at all, readable by their owner only.

use astradesk_core::{Error, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The largest key file, in bytes.
const MAX_FILE: u64 = 4096;

/// A fresh key, as a PKCS#8 document.
pub fn fresh() -> Result<Vec<u8>> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = document.map_err(|_| Error::internal("no randomness for a key"))?;
    Ok(document.as_ref().to_vec())
}

/// The document in the file; a fresh one when there is none. However many processes ask at the same time, they
/// get the same one, and none of them ever sees a part of it.
///
/// # Errors
/// The file's: it cannot be read, or not be made in its folder.
pub fn of_file(path: &Path) -> io::Result<Vec<u8>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", uuid::Uuid::now_v7().simple()));
    let document = fresh().map_err(|error| io::Error::other(error.message))?;
    let made = write(Path::new(&draft), &document).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // A draft that stays harms nobody.
    let _ = fs::remove_file(&draft);
    made?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    read(path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut document)?;
    Ok(document)
}

fn write(path: &Path, document: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(document)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn all_who_ask_at_once_get_the_same_whole_key() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.key");
            let ask = || {
                std::thread::spawn({
                    let path = path.clone();
                    move || of_file(&path).unwrap()
                })
            };
            let keys: Vec<_> = (0..8).map(|_| ask()).collect();
            let keys: Vec<_> = keys.into_iter().map(|key| key.join().unwrap()).collect();
            assert!(Ed25519KeyPair::from_pkcs8(&keys[0]).is_ok());
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        }
    }
}
