//! What the database says, as `store.unavailable`.

use astradesk_core::{Code, Error};
use std::path::Path;

/// The error of `doing` something that the database refused. The text is made from the database's result
/// code alone, because its own message may quote what is stored.
pub(crate) fn unavailable(doing: &str, error: &sqlx::Error) -> Error {
    let why = match error {
        sqlx::Error::Database(error) => match error.code().and_then(|code| code.parse::<u32>().ok()) {
            // The low byte is the primary result code (https://www.sqlite.org/rescode.html).
            Some(code) => match code & 0xff {
                5 | 6 => "the database is locked by another process".to_owned(),
                8 => "the database is read-only".to_owned(),
                10 => "the disk reported an error".to_owned(),
                11 | 26 => "the file is not a sound SQLite database".to_owned(),
                13 => "the disk or the database is full".to_owned(),
                14 => "the file cannot be opened".to_owned(),
                _ => format!("the database reported error {code}"),
            },
            None => "the database reported an error".to_owned(),
        },
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "the store is closed".to_owned(),
        sqlx::Error::Io(error) => format!("{}", error.kind()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            "a row has another form than this version writes".to_owned()
        }
        _ => "the database cannot be used".to_owned(),
    };
    Error::new(Code::StoreUnavailable, format!("cannot {doing}: {why}"))
}

/// The error of a row that was not written by this version, or was changed by hand.
pub(crate) fn unreadable(what: &str) -> Error {
    Error::new(
        Code::StoreUnavailable,
        format!("{what} is stored in a form that this version of astradesk cannot read"),
    )
}

/// The error of a store that was closed.
pub(crate) fn closed() -> Error {
    Error::new(Code::StoreUnavailable, "the store is closed")
}

/// The same error, with the file that it is about.
pub(crate) fn at(path: &Path, mut error: Error) -> Error {
    error.message = format!("`{}`: {}", path.display(), error.message);
    error
}
