//! What the database says, as `store.unavailable`.

use astradesk_core::{Code, Error};
use std::path::Path;

/// Primary result codes (<https://www.sqlite.org/rescode.html>).
pub(crate) const READ_ONLY: u32 = 8;
pub(crate) const CANNOT_OPEN: u32 = 14;

/// The database's primary result code, if it is an error of the database.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    // The low byte of the extended code.
    Some(error.as_database_error()?.code()?.parse::<u32>().ok()? & 0xff)
}

/// The error of `doing` something that the database refused. The text is made from the database's result
/// code alone, because its own message may quote what is stored.
pub(crate) fn unavailable(doing: &str, error: &sqlx::Error) -> Error {
    let why = match error {
        sqlx::Error::Database(reported) => match primary_code(error) {
            Some(5 | 6) => "the database is locked by another process".to_owned(),
            Some(READ_ONLY) => "the database is read-only".to_owned(),
            Some(10) => "the disk reported an error".to_owned(),
            Some(11 | 26) => "the file is not a sound SQLite database".to_owned(),
            Some(13) => "the disk or the database is full".to_owned(),
            Some(CANNOT_OPEN) => "the file cannot be opened".to_owned(),
            Some(_) => format!("the database reported error {}", reported.code().unwrap_or_default()),
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
