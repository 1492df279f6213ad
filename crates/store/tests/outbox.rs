//! Announcements: kept with the change that they tell of, until they were told or have died.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_runtime::port::{Announcement, Attempted, Change, CommitError, Store};
use astradesk_store::{Options, SqliteStore};
use common::{at, change, failed, later, run};

fn announcement(id: &str, second: i64) -> Announcement {
    Announcement {
        id: id.to_owned(),
        to: "pager".to_owned(),
        at: at(second),
        body: format!("{{\"id\":\"{id}'\"}}"),
        attempts: 0,
        due_at: at(second),
        error: None,
        dead: false,
    }
}

async fn announce(store: &SqliteStore, announcements: Vec<Announcement>) {
    store.commit(Change { announcements, ..Change::default() }).await.unwrap();
}

async fn due(store: &SqliteStore, second: i64) -> Vec<String> {
    due_of(store, second, 100).await
}

/// The ids of at most `limit` that are due, which are taken.
async fn due_of(store: &SqliteStore, second: i64, limit: u32) -> Vec<String> {
    store.announcements(at(second), limit).await.unwrap().into_iter().map(|one| one.id).collect()
}

async fn dead(store: &SqliteStore) -> Vec<String> {
    store.dead_announcements(5000).await.unwrap().into_iter().map(|one| one.id).collect()
}

fn again(second: i64) -> Attempted {
    Attempted::Again { due_at: at(second), error: "503".to_owned() }
}

fn died() -> Attempted {
    Attempted::Dead { error: "410".to_owned() }
}

#[tokio::test]
async fn an_announcement_is_due_again_until_it_is_told_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    announce(&store, vec![announcement("b", 20), announcement("a", 10), announcement("c", 30)]).await;
    assert_eq!(due(&store, 9).await, Vec::<String>::new());
    assert_eq!(due(&store, 10).await, ["a"]);
    assert_eq!(due(&store, 30).await, ["b", "c"]);
    assert_eq!(due(&store, 39).await, Vec::<String>::new(), "others have them");
    let a = Announcement { due_at: at(70), ..announcement("a", 10) };
    assert_eq!(store.announcements(at(40), 100).await.unwrap(), [a]);

    store.attempted("a", again(50)).await.unwrap();
    store.attempted("b", Attempted::Told).await.unwrap();
    assert_eq!(due(&store, 49).await, Vec::<String>::new());
    // It was taken, and the process died before it could say how that went.
    store.close().await;
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    assert_eq!(due(&store, 59).await, ["a"]);
    assert_eq!(due(&store, 60).await, ["c"]);
    store.attempted("a", again(70)).await.unwrap();
    let a = store.announcements(at(70), 100).await.unwrap().pop().unwrap();
    let error = Some("503".to_owned());
    assert_eq!(a, Announcement { attempts: 2, due_at: at(100), error, ..announcement("a", 10) });

    // The same once more is the same: it is neither told twice nor due earlier.
    announce(&store, vec![announcement("a", 10), announcement("d", 60), announcement("d", 61)]).await;
    assert_eq!(due(&store, 89).await, ["d"]);
    assert_eq!(due(&store, 119).await, ["a", "c", "d"]);
    for id in ["a", "b", "c", "d", "never"] {
        store.attempted(id, Attempted::Told).await.unwrap();
    }
    assert_eq!(due(&store, 1000).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_was_given_no_other_is_given_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let one = SqliteStore::open(&path, Options::default()).await.unwrap();
    let other = SqliteStore::open(&path, Options::default()).await.unwrap();
    let ids: Vec<String> = (0..200).map(|i| format!("id-{i:03}")).collect();
    announce(&one, ids.iter().map(|id| announcement(id, 10)).collect()).await;

    let all = async |store: &SqliteStore, second: i64| {
        let mut given = Vec::new();
        loop {
            let some = store.announcements(at(second), 7).await.unwrap();
            if some.is_empty() {
                return given;
            }
            assert!(some.iter().all(|one| one.due_at == at(second + 30)));
            given.extend(some.into_iter().map(|one| one.id));
        }
    };
    for second in [10, 40] {
        let (mut given, others) = tokio::join!(all(&one, second), all(&other, second));
        given.extend(others);
        given.sort();
        assert_eq!(given, ids, "each once");
    }
}

#[tokio::test]
async fn those_of_a_webhook_that_is_never_there_keep_out_no_others() {
    let store = SqliteStore::in_memory().await.unwrap();
    let to = |to: &str, one: Announcement| Announcement { to: to.to_owned(), ..one };
    let many = (0..1500).map(|i| to("a-dead", announcement(&format!("dead-{i:04}"), 1)));
    announce(&store, many.collect()).await;
    let few = ["x", "y", "z"].map(|id| announcement(id, 5));
    announce(&store, few.into_iter().chain([to("siren", announcement("s", 6))]).collect()).await;
    let mut given = due_of(&store, 10, 7).await;
    given.sort();
    assert_eq!(given, ["dead-0000", "dead-0001", "dead-0002", "s", "x", "y", "z"]);
    assert_eq!(due_of(&store, 11, 2).await, ["dead-0003", "dead-0004"], "oldest first");
    assert_eq!(due_of(&store, 12, 5000).await.len(), 1495);
}

#[tokio::test]
async fn a_refused_change_announces_nothing() {
    let store = SqliteStore::in_memory().await.unwrap();
    let first = run();
    store.commit(change(&first)).await.unwrap();
    let announcements = vec![announcement("a", 10)];
    let stale = Change { announcements: announcements.clone(), ..change(&later(&first, 5, failed())) };
    assert_eq!(store.commit(stale).await, Err(CommitError::Stale));
    assert_eq!(due(&store, 10).await, Vec::<String>::new());
    store.commit(Change { announcements, ..change(&later(&first, 1, failed())) }).await.unwrap();
    assert_eq!(due(&store, 10).await, ["a"]);
}

#[tokio::test]
async fn a_dead_announcement_stays_dead_until_somebody_revives_it() {
    let store = SqliteStore::in_memory().await.unwrap();
    announce(&store, vec![announcement("a", 10), announcement("b", 20)]).await;
    for id in ["a", "b"] {
        store.attempted(id, again(30)).await.unwrap();
        store.attempted(id, died()).await.unwrap();
    }
    assert_eq!(due(&store, 1000).await, Vec::<String>::new());
    assert_eq!(dead(&store).await, ["b", "a"]);
    assert_eq!(store.dead_announcements(1).await.unwrap()[0].id, "b");
    store.attempted("a", again(40)).await.unwrap();
    store.attempted("a", died()).await.unwrap();
    let a = store.dead_announcements(2).await.unwrap().pop().unwrap();
    assert_eq!((a.attempts, a.error.as_deref(), a.dead), (2, Some("410"), true));

    assert!(store.revive("a", at(50)).await.unwrap());
    assert!(!store.revive("a", at(60)).await.unwrap(), "it is not dead any more");
    assert!(!store.revive("never", at(60)).await.unwrap());
    let revived = store.announcements(at(50), 10).await.unwrap();
    assert_eq!((revived[0].id.as_str(), revived[0].attempts, revived.len()), ("a", 0, 1));
    assert_eq!(dead(&store).await, ["b"]);
}

#[tokio::test]
async fn of_the_dead_the_newest_thousand_are_kept() {
    let store = SqliteStore::in_memory().await.unwrap();
    let ids: Vec<String> = (0..1010).map(|i| format!("id-{i:04}")).collect();
    announce(&store, ids.iter().zip(0..).map(|(id, second)| announcement(id, second)).collect()).await;
    announce(&store, vec![announcement("living", 0)]).await;
    for id in &ids {
        store.attempted(id, died()).await.unwrap();
    }
    let kept: Vec<String> = ids.iter().skip(10).rev().cloned().collect();
    assert_eq!(dead(&store).await, kept);
    assert_eq!(due(&store, 5000).await, ["living"]);
}
