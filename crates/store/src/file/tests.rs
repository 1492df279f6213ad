//! How much is read at a time.

use super::{EvidenceFile, PAGE_BYTES, Records};
use crate::{Options, SqliteStore};
use astradesk_core::Timestamp;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_runtime::port::{Change, Store};
use serde_json::json;
use sqlx::Row;

#[tokio::test]
async fn records_of_a_hundred_kilobytes_are_not_read_by_the_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options { durable: false, ..Options::default() }).await.unwrap();
    let data = json!({ "a": "x".repeat(100_000) });
    let (at, kind) = (Timestamp::UNIX_EPOCH, Kind::Admitted);
    let draft = Draft { at, kind, run: None, principal: None, trace: None, data };
    store.commit(Change { evidence: vec![draft; 300], ..Change::default() }).await.unwrap();

    let mut file = EvidenceFile::open(&path).await.unwrap();
    let mut after = 0;
    while let Some(page) = file.page(after, 300).await.unwrap() {
        let Records::Joined(row, _) = &page.records else { panic!("they are joined") };
        assert!(row.get::<&str, _>(3).len() < 2 * PAGE_BYTES, "behind {after}");
        after = page.last;
    }
    assert_eq!(after, 300);
}
