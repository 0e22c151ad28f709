//! The order of draining, with signals from a channel and time that stands still.

use std::sync::{Arc, Mutex};

use anyhow::bail;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

use super::*;
use crate::{AdminConfig, LogConfig, signal::Signal};

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Settings {
    admin: AdminConfig,
    log: LogConfig,
    shutdown: ShutdownConfig,
}

impl Config for Settings {
    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }
}

impl Signals for mpsc::Receiver<Signal> {
    async fn next(&mut self) -> Signal {
        match self.recv().await {
            Some(signal) => signal,
            None => pending().await,
        }
    }
}

/// A process whose service is given by the test, and what it is driven by.
struct Bench {
    limits: ShutdownConfig,
    readiness: Readiness,
    shutdown: Shutdown,
    sender: mpsc::Sender<Signal>,
    signals: mpsc::Receiver<Signal>,
}

impl Bench {
    fn new() -> Self {
        let (sender, signals) = mpsc::channel(2);
        let readiness = Readiness::new();
        readiness.check("state").ready();
        Self {
            limits: ShutdownConfig { drain_delay_ms: 5_000, grace_ms: 10_000 },
            readiness,
            shutdown: Shutdown::default(),
            sender,
            signals,
        }
    }

    async fn run(self, service: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u8> {
        let service = Box::pin(service);
        drain_at_signal(service, &self.limits, &self.readiness, &self.shutdown, self.signals).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_takes_readiness_first_then_drains_then_exits_0() {
    let bench = Bench::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let started = Instant::now();
    let (readiness, shutdown) = (bench.readiness.clone(), bench.shutdown.clone());
    let note = |event: &'static str| {
        let events = Arc::clone(&events);
        move || events.lock().unwrap().push((event, started.elapsed().as_millis()))
    };
    let (signalled, draining, finished) = (note("signalled"), note("draining"), note("finished"));
    bench.sender.send(Signal::Terminate).await.unwrap();

    let code = bench.run(async move {
        shutdown.signalled().await;
        assert!(!*readiness.subscribe().borrow(), "not ready from the signal on");
        assert!(shutdown.is_signalled());
        signalled();
        shutdown.draining().await;
        draining();
        tokio::time::sleep(Duration::from_millis(9_000)).await;
        finished();
        Ok(())
    });

    assert_eq!(code.await.unwrap(), 0);
    let expected = [("signalled", 0), ("draining", 5_000), ("finished", 14_000)];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_finish_in_time_is_cut_off_and_exits_1() {
    let bench = Bench::new();
    let started = Instant::now();
    bench.sender.send(Signal::Terminate).await.unwrap();
    let code = bench.run(pending()).await.unwrap();
    assert_eq!((code, started.elapsed().as_millis()), (1, 15_000));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_at_once() {
    for (second, expected) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
        let bench = Bench::new();
        let started = Instant::now();
        bench.sender.send(Signal::Terminate).await.unwrap();
        bench.sender.send(second).await.unwrap();
        let code = bench.run(pending()).await.unwrap();
        assert_eq!((code, started.elapsed().as_millis()), (expected, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_service_is_handed_on_before_and_while_draining() {
    let error = Bench::new().run(async { bail!("no state") }).await.unwrap_err();
    assert_eq!(error.to_string(), "no state");

    let bench = Bench::new();
    let shutdown = bench.shutdown.clone();
    bench.sender.send(Signal::Interrupt).await.unwrap();
    let failing = async move {
        shutdown.draining().await;
        bail!("failed to flush")
    };
    assert_eq!(bench.run(failing).await.unwrap_err().to_string(), "failed to flush");
}

#[tokio::test]
async fn the_admin_port_answers_until_the_service_has_drained() {
    let (sender, signals) = mpsc::channel(1);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut settings = Settings::default();
    settings.admin.listen = address;

    let code =
        supervise(settings, metric::recorder().handle(), Tracer::default(), signals, |process| async move {
            let state = process.readiness.check("state");
            assert!(readyz(address).await.starts_with("HTTP/1.1 503"));
            state.ready();
            assert!(readyz(address).await.starts_with("HTTP/1.1 200"));
            sender.send(Signal::Terminate).await?;
            process.shutdown.draining().await;
            let answer = readyz(address).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.contains("draining"), "{answer}");
            Ok(())
        });

    assert_eq!(code.await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "closed after the end");
}

#[tokio::test]
async fn an_admin_port_in_use_fails_the_start_and_names_the_key() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::default();
    settings.admin.listen = taken.local_addr().unwrap();
    let (_sender, signals) = mpsc::channel(1);
    let error =
        supervise(settings, metric::recorder().handle(), Tracer::default(), signals, |_| async { Ok(()) });
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("admin.listen") && error.contains("in use"), "{error}");
}

#[tokio::test]
async fn an_admin_certificate_that_cannot_be_used_fails_the_start_and_is_named() {
    let mut settings = Settings::default();
    settings.admin.tls.certificate = "/nowhere/admin.pem".to_owned();
    settings.admin.tls.key = "/nowhere/admin.key".to_owned();
    let (_sender, signals) = mpsc::channel(1);
    let error =
        supervise(settings, metric::recorder().handle(), Tracer::default(), signals, |_| async { Ok(()) });
    let error = error.await.unwrap_err().to_string();
    assert_eq!(error, "failed to use /nowhere/admin.pem: there is no such file");
}

async fn readyz(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
