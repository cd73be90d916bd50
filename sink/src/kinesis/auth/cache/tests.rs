//! Tests of the credentials cache: the test plays provider and clock.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_credential_types::provider::future;
use tokio::sync::Notify;

use super::*;

const START: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[derive(Clone, Debug)]
struct HandClock(Arc<Mutex<SystemTime>>);

impl HandClock {
    fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl TimeSource for HandClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// Plays the source: the test sets what it gives next and holds it back as long as it likes.
#[derive(Clone, Debug)]
struct Played(Arc<Stage>);

#[derive(Debug)]
struct Stage {
    next: Mutex<Result<(String, Option<SystemTime>), ()>>,
    loads: AtomicUsize,
    providers: AtomicUsize,
    held_back: Mutex<Option<Arc<Notify>>>,
    hangs: std::sync::atomic::AtomicBool,
}

impl Played {
    fn give(&self, key: &str, expiry: Option<SystemTime>) {
        *self.0.next.lock().unwrap() = Ok((key.to_owned(), expiry));
    }

    fn fail(&self) {
        *self.0.next.lock().unwrap() = Err(());
    }

    fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }
}

impl ProvideCredentials for Played {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            self.0.loads.fetch_add(1, Ordering::SeqCst);
            if self.0.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let gate = self.0.held_back.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            match &*self.0.next.lock().unwrap() {
                Ok((key, expiry)) => Ok(Credentials::new(key, "secret", None, *expiry, "test")),
                Err(()) => Err(CredentialsError::not_loaded("played")),
            }
        })
    }
}

impl CredentialsSource for Played {
    fn provider(&self) -> BoxFuture<'_, SharedCredentialsProvider> {
        self.0.providers.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(SharedCredentialsProvider::new(self.clone())))
    }

    fn explain(&self, _: &CredentialsError) -> String {
        "no credentials from the test".to_owned()
    }
}

fn scene() -> (CredentialsCache, Played, HandClock) {
    let clock = HandClock(Arc::new(Mutex::new(at(START))));
    let source = Played(Arc::new(Stage {
        next: Mutex::new(Ok(("AKIDFIRST00001".to_owned(), None))),
        loads: AtomicUsize::new(0),
        providers: AtomicUsize::new(0),
        held_back: Mutex::new(None),
        hangs: false.into(),
    }));
    let cache = CredentialsCache::new(source.clone(), clock.clone(), Duration::from_secs(5));
    (cache, source, clock)
}

/// Lets the load that is under way come to its end.
async fn settle(cache: &CredentialsCache) {
    let load = cache.inner.state().load.clone();
    if let Some(load) = load {
        let _ = load.await;
    }
}

async fn key(cache: &CredentialsCache) -> String {
    cache.current().await.unwrap().access_key_id.clone()
}

#[tokio::test]
async fn fixed_credentials_are_loaded_once() {
    let (cache, source, clock) = scene();
    for _ in 0..5 {
        assert_eq!(key(&cache).await, "AKIDFIRST00001");
        clock.advance(1_000_000);
    }
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn many_requests_cause_one_load() {
    let (cache, source, _) = scene();
    let gate = Arc::new(Notify::new());
    *source.0.held_back.lock().unwrap() = Some(Arc::clone(&gate));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { key(&cache).await })
        })
        .collect();
    gate.notify_one();
    for one in waiting {
        assert_eq!(one.await.unwrap(), "AKIDFIRST00001");
    }
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn a_dropped_request_does_not_stop_the_load() {
    let (cache, source, _) = scene();
    let gate = Arc::new(Notify::new());
    *source.0.held_back.lock().unwrap() = Some(Arc::clone(&gate));
    {
        let mut first = Box::pin(cache.current());
        assert!(futures::poll!(&mut first).is_pending());
    }
    gate.notify_one();
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn renewal_happens_ahead_of_the_end_without_a_wait() {
    let (cache, source, clock) = scene();
    source.give("AKIDFIRST00001", Some(at(START + 3600)));
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    clock.advance(3600 - 601);
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    settle(&cache).await;
    assert_eq!(source.loads(), 1, "too early to renew, whatever the jitter");

    source.give("AKIDSECOND0002", Some(at(START + 7200)));
    let gate = Arc::new(Notify::new());
    *source.0.held_back.lock().unwrap() = Some(Arc::clone(&gate));
    clock.advance(302);
    assert_eq!(key(&cache).await, "AKIDFIRST00001", "the present ones serve while new ones are on their way");
    gate.notify_one();
    settle(&cache).await;
    assert_eq!(key(&cache).await, "AKIDSECOND0002");
    assert_eq!(source.loads(), 2);
}

#[tokio::test]
async fn a_failed_renewal_is_repeated_while_the_present_ones_last_and_then_told() {
    let (cache, source, clock) = scene();
    source.give("AKIDFIRST00001", Some(at(START + 3600)));
    key(&cache).await;
    source.fail();
    clock.advance(3400);
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    settle(&cache).await;
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    settle(&cache).await;
    assert_eq!(source.loads(), 2, "not once a request");
    clock.advance(16);
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
    settle(&cache).await;
    assert_eq!(source.loads(), 3);
    clock.advance(200);
    assert_eq!(cache.current().await.unwrap_err().to_string(), "no credentials from the test");
    source.give("AKIDSECOND0002", None);
    assert_eq!(key(&cache).await, "AKIDSECOND0002");
}

#[tokio::test]
async fn refused_credentials_are_replaced_by_the_next_request_though_they_have_not_ended() {
    let (cache, source, _) = scene();
    source.give("AKIDFIRST00001", Some(at(START + 3600)));
    let first = cache.current().await.unwrap();
    source.give("AKIDSECOND0002", Some(at(START + 3600)));
    cache.invalidate(&first);
    assert_eq!(key(&cache).await, "AKIDSECOND0002");
    assert_eq!(source.0.providers.load(Ordering::SeqCst), 2, "files are read again");
    // Requests that were under way with the old key fail one after the other.
    for _ in 0..10 {
        cache.invalidate(&first);
    }
    assert_eq!(key(&cache).await, "AKIDSECOND0002");
    assert_eq!(source.loads(), 2);
}

#[tokio::test]
async fn a_source_that_insists_on_a_refused_key_is_not_asked_for_every_request() {
    let (cache, source, clock) = scene();
    for _ in 0..10 {
        let held = cache.current().await.unwrap();
        cache.invalidate(&held);
    }
    assert_eq!(source.loads(), 2);
    clock.advance(6);
    for _ in 0..10 {
        let held = cache.current().await.unwrap();
        cache.invalidate(&held);
    }
    assert_eq!(source.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up_and_asked_again() {
    let (cache, source, _) = scene();
    source.0.hangs.store(true, Ordering::SeqCst);
    let before = tokio::time::Instant::now();
    assert!(cache.current().await.is_err());
    assert_eq!(before.elapsed().as_secs(), 5);
    source.0.hangs.store(false, Ordering::SeqCst);
    assert_eq!(key(&cache).await, "AKIDFIRST00001");
}

#[test]
fn the_hint_shows_both_ends_of_a_key_and_nothing_of_a_short_one() {
    assert_eq!(key_hint("AKIAIOSFODNN7EXAMPLE"), "AKIA…MPLE");
    assert_eq!(key_hint("short"), "…");
}

proptest::proptest! {
    #[test]
    fn renewal_is_never_after_the_end_and_never_in_the_first_half(life in 0u64..100_000, jitter in 0.0f64..1.0) {
        let (now, end) = (at(START), at(START + life));
        let renew = renew_at(now, end, jitter);
        proptest::prop_assert!(renew <= end);
        proptest::prop_assert!(renew >= now + Duration::from_secs(life / 2));
        proptest::prop_assert!(end.duration_since(renew).unwrap() <= RENEW_AHEAD_MAX * 2 + Duration::from_secs(1));
    }
}
