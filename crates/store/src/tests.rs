//! What only the inside can bring about: a disk that is full.

use crate::SqliteStore;
use astradesk_core::Code;
use astradesk_core::Timestamp;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_runtime::port::{Change, CommitError, Store};
use serde_json::json;

fn change(bytes: usize) -> Change {
    let data = json!({ "secret": "s".repeat(bytes) });
    let draft = Draft { at: Timestamp::UNIX_EPOCH, kind: Kind::Admitted, run: None, principal: None, data };
    Change { evidence: vec![draft], ..Change::default() }
}

#[tokio::test]
async fn a_full_disk_is_said_keeps_nothing_and_is_over_when_there_is_room() {
    // A store in memory reads and writes over one connection, so the limit reaches the writer.
    let store = SqliteStore::in_memory().await.unwrap();
    let limit = |pages: u32| sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")));
    let head = store.commit(change(10)).await.unwrap().head;
    limit(1).execute(&store.readers).await.unwrap();

    let (one, two) = tokio::join!(store.commit(change(100_000)), store.commit(change(100_000)));
    for refused in [one, two] {
        let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code, Code::StoreUnavailable);
        assert_eq!(error.message, "cannot write to the store: the disk or the database is full");
    }
    assert_eq!(store.head().await.unwrap(), head);

    limit(1_000_000).execute(&store.readers).await.unwrap();
    let next = store.commit(change(100_000)).await.unwrap().head;
    assert_eq!(next.seq, head.seq + 1);
    store.ready().await.unwrap();
}
