//! Several engines behind one gateway: which one is asked, and what happens when it cannot answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::Notify};
use tonic::Code;

use crate::{
    engine::{Answer, FakeEngine},
    gateway::{Gateway, JSON, PROTOBUF, Reply},
};

async fn export(gateway: &Gateway) -> Reply {
    Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await
}

#[tokio::test]
async fn requests_are_spread_over_all_engines() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    // On a busy machine one of them may look slow for a while.
    gateway
        .wait_for("a share for each engine", async || {
            assert_eq!(export(&gateway).await.status, 200);
            engines.iter().all(|engine| engine.received().len() >= 10)
        })
        .await;
}

#[tokio::test]
async fn another_engine_is_tried_when_one_may_answer_differently() {
    let (failing, good) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&failing, &good], &[]).await;
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::Cancelled, Code::DataLoss] {
        failing.fails(code);
        let before = failing.received().len();
        // Until chance has picked the failing one first at least once.
        while failing.received().len() == before {
            assert_eq!(export(&gateway).await.status, 200, "{code:?}");
        }
    }
}

#[tokio::test]
async fn a_permanent_error_is_not_tried_again() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    let received = || engines.iter().map(|engine| engine.received().len()).sum::<usize>();
    for code in [Code::InvalidArgument, Code::ResourceExhausted, Code::Internal, Code::OutOfRange] {
        engines.iter().for_each(|engine| engine.fails(code));
        let before = received();
        assert_ne!(export(&gateway).await.status, 200);
        assert_eq!(received(), before + 1, "{code:?}");
    }
}

#[tokio::test]
async fn no_more_engines_are_tried_than_configured() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await, FakeEngine::start().await];
    let all = [&engines[0], &engines[1], &engines[2]];
    let gateway = Gateway::start(&all, &["engines.max_attempts=2"]).await;
    engines.iter().for_each(|engine| engine.fails(Code::Unavailable));
    let reply = export(&gateway).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let asked = all.map(|engine| engine.received().len());
    assert_eq!(asked.iter().sum::<usize>(), 2, "{asked:?}");
    assert_eq!(asked.iter().max(), Some(&1), "never the same one twice: {asked:?}");
}

#[tokio::test]
async fn an_engine_that_is_not_ready_gets_nothing_until_it_is_again() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    engines[0].set_serving(false).await;
    gateway.wait_engines_ready(1).await;
    for _ in 0..20 {
        assert_eq!(export(&gateway).await.status, 200);
    }
    assert_eq!(engines[0].received().len(), 0);
    engines[0].set_serving(true).await;
    gateway.wait_engines_ready(2).await;
    gateway
        .wait_for("a request at the engine that came back", async || {
            assert_eq!(export(&gateway).await.status, 200);
            !engines[0].received().is_empty()
        })
        .await;
}

#[tokio::test]
async fn an_engine_that_dies_fails_no_request_and_is_used_again_after_its_restart() {
    let (dying, good) = (FakeEngine::start().await, FakeEngine::start().await);
    // The probe alone would take a minute to notice: the requests must.
    let gateway = Gateway::start(&[&dying, &good], &[]).await;
    let address = dying.address;
    dying.kill().await;
    for _ in 0..50 {
        assert_eq!(export(&gateway).await.status, 200, "{}", gateway.log());
    }
    gateway.wait_engines_ready(1).await;
    let restarted = FakeEngine::start_at(address).await;
    gateway.wait_engines_ready(2).await;
    gateway
        .wait_for("a request at the restarted engine", async || {
            assert_eq!(export(&gateway).await.status, 200);
            !restarted.received().is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_request_in_flight_at_an_engine_that_dies_is_answered_by_another() {
    let (dying, good) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&dying, &good], &[]).await;
    dying.answers(Answer::When(Arc::new(Notify::new())));
    let request = || tokio::spawn(Reply::of(gateway.post("/v1/traces", PROTOBUF, "")));
    let mut in_flight = vec![request()];
    // Until chance has picked the dying one.
    while dying.received().is_empty() {
        in_flight.push(request());
        tokio::task::yield_now().await;
    }
    dying.kill().await;
    for request in in_flight {
        assert_eq!(request.await.unwrap().status, 200, "{}", gateway.log());
    }
}

#[tokio::test]
async fn an_engine_that_accepts_connections_but_never_answers_is_not_used() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = FakeEngine::start().await;
    let urls = format!("engines.urls=['http://{}', '{}']", hanging.local_addr().unwrap(), good.url());
    let gateway = Gateway::spawn(&[], &[&urls]).await;
    gateway.wait_engines_ready(1).await;
    for _ in 0..20 {
        assert_eq!(export(&gateway).await.status, 200);
    }
    assert!(gateway.admin("/metrics").await.text().contains("gateway_engines_known 2"));
}

#[tokio::test]
async fn without_a_ready_engine_the_client_is_asked_to_come_back() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    for engine in &engines {
        engine.set_serving(false).await;
    }
    gateway.wait_ready(false).await;
    let reason = "none of the 2 known engines is ready";
    assert!(gateway.admin("/readyz").await.text().contains(reason));
    let reply = Reply::of(gateway.post("/v1/logs", JSON, "{}")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.json()["code"], 14);
    assert_eq!(reply.json()["message"], reason);
    engines[1].set_serving(true).await;
    gateway.wait_ready(true).await;
    assert_eq!(export(&gateway).await.status, 200);
}

#[tokio::test]
async fn every_address_of_a_dns_name_is_an_engine() {
    let engine = FakeEngine::start().await;
    let url = format!("engines.urls=http://localhost:{}", engine.address.port());
    let gateway = Gateway::spawn(&[], &[&url]).await;
    gateway.wait_ready(true).await;
    assert_eq!(export(&gateway).await.status, 200);
    assert_eq!(engine.received().len(), 1);
}

#[tokio::test]
async fn a_request_at_an_engine_that_hangs_is_answered_by_another_and_the_engine_left() {
    let (hanging, good) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&hanging, &good], &["engines.hedge_ms=300"]).await;
    // Its health says that all is well.
    hanging.answers(Answer::When(Arc::new(Notify::new())));
    while hanging.received().is_empty() {
        let started = Instant::now();
        assert_eq!(export(&gateway).await.status, 200, "{}", gateway.log());
        assert!(started.elapsed() < Duration::from_secs(4), "not after the whole time of a request");
    }
    assert_eq!(gateway.metric("gateway_hedges_total", "").await, 1.0);
    for _ in 0..50 {
        assert_eq!(export(&gateway).await.status, 200);
    }
    assert_eq!(hanging.received().len(), 1, "what took so long once is avoided");
}

#[tokio::test]
async fn an_engine_that_is_slow_is_avoided_until_it_is_quick_again() {
    let (slow, good) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&slow, &good], &[]).await;
    slow.answers(Answer::After(Duration::from_millis(200)));
    while slow.received().is_empty() {
        assert_eq!(export(&gateway).await.status, 200);
    }
    for _ in 0..50 {
        assert_eq!(export(&gateway).await.status, 200);
    }
    assert_eq!(slow.received().len(), 1, "one slow answer is enough");
    slow.answers(Answer::Bytes(bytes::Bytes::new()));
    gateway
        .wait_for("a request at the engine that was slow", async || {
            assert_eq!(export(&gateway).await.status, 200);
            slow.received().len() > 1
        })
        .await;
}

#[tokio::test]
async fn an_engine_that_refuses_everything_is_put_aside_and_taken_back_by_itself() {
    let (refusing, good) = (FakeEngine::start().await, FakeEngine::start().await);
    let gateway = Gateway::start(&[&refusing, &good], &[]).await;
    // Its health says that all is well.
    refusing.fails(Code::Unavailable);
    gateway
        .wait_for("the engine put aside", async || {
            assert_eq!(export(&gateway).await.status, 200);
            gateway.log().contains("an engine is put aside")
        })
        .await;
    let (before, started) = (refusing.received().len(), Instant::now());
    while started.elapsed() < Duration::from_secs(1) {
        assert_eq!(export(&gateway).await.status, 200);
    }
    // Trials after 0.25 and 0.75 s; that some more requests came through would be a defect.
    let trials = refusing.received().len() - before;
    assert!(trials <= 3, "{trials} trials within a second");
    refusing.answers(Answer::Bytes(bytes::Bytes::new()));
    let before = refusing.received().len();
    gateway
        .wait_for("many requests at the engine that takes them again", async || {
            assert_eq!(export(&gateway).await.status, 200);
            refusing.received().len() >= before + 10
        })
        .await;
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let few = ["engines.retry_percent=20", "engines.retries_per_second=0"];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &few).await;
    engines.iter().for_each(|engine| engine.fails(Code::Unavailable));
    for _ in 0..100 {
        assert_eq!(export(&gateway).await.status, 503);
    }
    let asked: usize = engines.iter().map(|engine| engine.received().len()).sum();
    assert!((110..=121).contains(&asked), "100 requests and a fifth of them again: {asked}");
    let exhausted = gateway.metric("gateway_retry_budget_exhausted_total", "").await;
    // Not all of them: for a moment only one of the two was put aside.
    assert!(exhausted > 60.0, "{exhausted}");
}

#[tokio::test]
async fn a_delete_that_an_engine_may_have_seen_is_not_sent_again() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    engines.iter().for_each(|engine| engine.fails(Code::Unavailable));
    let request = gateway.client.delete(gateway.url("/api/v1/correlations/order=4%2F2"));
    assert_eq!(Reply::of(request).await.status, 503);
    assert_eq!(gateway.metric("gateway_engine_attempts_total", "retryable").await, 1.0);
}

#[tokio::test]
async fn an_engine_is_told_how_much_time_is_left() {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &["http.timeout_ms=3000"]).await;
    assert_eq!(export(&gateway).await.status, 200);
    let timeouts = engine.timeouts();
    // Microseconds or nanoseconds, as the header has at most eight digits.
    let unit = |text: &str| if text.ends_with('u') { 1_000 } else { 1 };
    let left = Duration::from_nanos(
        timeouts[0].trim_end_matches(['u', 'n']).parse::<u64>().unwrap() * unit(&timeouts[0]),
    );
    assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(3), "{timeouts:?}");
}
