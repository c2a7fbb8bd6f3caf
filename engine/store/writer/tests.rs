//! What an answer from the disk is worth.

use std::pin::pin;

use futures_util::poll;
use tokio::time::{sleep, timeout};

use super::*;
use crate::store::tests::{message, start, store};
use crate::store::{NewRun, Store};

/// An event of this run that nobody waits for.
fn append(run: RunId, text: &str) -> Append {
    let event = message(text);
    Append {
        run,
        at: 0,
        body: serde_json::to_string(&event).unwrap(),
        event,
        chunk: None,
        durable: None,
        poisoned: Arc::default(),
        observer: None,
        budget: None,
    }
}

fn begun(store: &Store) -> RunId {
    let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
    claim.run()
}

#[tokio::test]
async fn who_waits_for_the_disk_hears_nothing_before_the_commit() {
    let (_dir, store) = store(None);
    let run = begun(&store);
    let inlet = store.writer().inlet();
    let other = crate::store::connect(store.file(), rusqlite::OpenFlags::default()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    // It is queued, and another thread commits it: who commits itself would hear an early answer only afterwards.
    let mut waiting = pin!(inlet.send_durable(append(run, "first")));
    assert!(poll!(&mut waiting).is_pending());
    inlet.hurry();
    while inlet.sender.capacity() < QUEUE {
        sleep(Duration::from_millis(1)).await;
    }
    let blocking = std::thread::spawn({
        let inlet = inlet.clone();
        move || inlet.blocking_send_durable(append(run, "second"))
    });
    let early = timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "nothing is on disk, and it is told {early:?}");
    assert!(!blocking.is_finished());

    other.execute_batch("ROLLBACK").unwrap();
    let first = waiting.await.unwrap();
    assert_eq!(store.reader().unwrap().events(run, Seq(0), 9).unwrap()[1].seq, first);
    let second = blocking.join().unwrap().unwrap();
    assert_eq!(store.reader().unwrap().events(run, Seq(0), 9).unwrap()[2].seq, second);
    assert_eq!((first, second), (Seq(2), Seq(3)));
}

#[test]
fn a_batch_that_somebody_waits_for_is_synced_and_others_need_not_be() {
    let (_dir, store) = store(None);
    let run = begun(&store);
    let inlet = store.writer().inlet();
    let mut turn = inlet.committer.turn.lock();
    // The numbers of `NORMAL` and `FULL`; one who waits is enough, wherever it stands in the batch.
    for (batch, mode) in
        [("-", 1), ("d", 2), ("d", 2), ("--", 1), ("-d-", 2), ("-", 1), ("d-", 2), ("-", 1), ("-d", 2)]
    {
        let appends = batch.chars().map(|kind| Append {
            durable: (kind == 'd').then(|| oneshot::channel().0),
            ..append(run, batch)
        });
        turn.appender.commit(&appends.collect::<Vec<_>>()).unwrap();
        let found: i64 =
            turn.appender.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(found, mode, "{batch}");
    }
}
