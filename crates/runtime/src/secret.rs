//! Where a secret is: a reference in configuration or in a pack. The secret itself is looked up when it is used, and
//! never shown.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;

/// The largest secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In this environment variable of AstraDesk.
    Env(String),
    /// In this file, without the white space around it.
    File(PathBuf),
}

impl Secret {
    /// Reads `env:NAME` or `file:/PATH`; `None` if it looks like neither.
    ///
    /// # Errors
    /// What is wrong with the reference. The text is not repeated, since it may be the secret itself.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some(name) = text.strip_prefix("env:") {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let fine = !name.is_empty() && name.len() <= 128 && name.bytes().all(plain);
            return Some(if fine {
                Ok(Self::Env(name.to_owned()))
            } else {
                Err("`env:` must be followed by the name of an environment variable".to_owned())
            });
        }
        let path = PathBuf::from(text.strip_prefix("file:")?);
        Some(if path.is_absolute() {
            Ok(Self::File(path))
        } else {
            Err("`file:` must be followed by an absolute path".to_owned())
        })
    }

    /// The secret.
    ///
    /// # Errors
    /// Why it is not there: `the secret` … `is not set, or is no text`. It names the place.
    pub fn look_up(&self) -> Result<String, String> {
        let missing = |why: &str| format!("`{self}` {why}");
        let secret = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| missing("is not set, or is no text"))?,
            Self::File(path) => {
                let cannot = |error: std::io::Error| missing(&format!("cannot be read: {error}"));
                let file = std::fs::File::open(path).map_err(cannot)?;
                if !file.metadata().map_err(cannot)?.is_file() {
                    return Err(missing("is not a file"));
                }
                let mut text = String::new();
                file.take(MAX_SECRET).read_to_string(&mut text).map_err(|_| missing("is no text"))?;
                text
            }
        };
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(missing("is empty"));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_strictly() {
        let read = |text: &str| Secret::parse(text).map(|read| read.map(|secret| secret.to_string()));
        assert_eq!(read("env:TOKEN_1"), Some(Ok("env:TOKEN_1".to_owned())));
        assert_eq!(read("file:/run/secrets/x"), Some(Ok("file:/run/secrets/x".to_owned())));
        assert_eq!(read("TOKEN"), None);
        for bad in ["env:", "env:A B", "env:A=B", "file:", "file:relative"] {
            assert!(read(bad).unwrap().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_secret_is_named_and_never_shown() {
        let missing = Secret::Env("ASTRADESK_NO_SUCH_SECRET".to_owned()).look_up().unwrap_err();
        assert!(missing.contains("env:ASTRADESK_NO_SUCH_SECRET"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, " hunter2-and-more\n").unwrap();
        assert_eq!(Secret::File(path.clone()).look_up().unwrap(), "hunter2-and-more");
        std::fs::write(&path, "\n").unwrap();
        assert!(Secret::File(path).look_up().unwrap_err().ends_with("is empty"));
        assert!(Secret::File(folder.path().to_owned()).look_up().is_err());
    }
}
