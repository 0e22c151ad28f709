//! The load itself: senders that take one request after the other, and the clock beside them.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use bench_kit::text::thousands;
use parking_lot::Mutex;
use tokio::{
    signal::ctrl_c,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{
    client::Client,
    processes::{Before, NamedProcess},
    report::Window,
    schedule::{Schedule, Ticket},
    tally::Tally,
    traffic::{Size, Traffic},
};
use crate::output::Progress;

/// What all senders share.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) traffic: Traffic,
    pub(super) client: Client,
    pub(super) schedule: Schedule,
    pub(super) tally: Mutex<Tally>,
    pub(super) in_flight: AtomicUsize,
}

/// What the line of progress has told.
struct Shown {
    at: Instant,
    accepted: Size,
}

impl Load {
    /// Sends until the schedule ends or Ctrl-C is pressed, by so many senders, and measures meanwhile.
    ///
    /// # Errors
    /// When a process cannot be watched, or Ctrl-C is pressed again.
    pub(super) async fn run(
        self: &Arc<Self>,
        senders: usize,
        processes: &[NamedProcess],
    ) -> anyhow::Result<Window> {
        let (stop, stopped) = watch::channel(false);
        let mut sending = JoinSet::new();
        for _ in 0..senders {
            let (load, stopped) = (Arc::clone(self), stopped.clone());
            sending.spawn(async move { load.send(stopped).await });
        }
        let window = self.measure(processes, &mut sending, &stop).await?;
        // The time that counts is over; what is on its way still counts.
        let mut interrupted = pin!(ctrl_c());
        loop {
            tokio::select! {
                ended = sending.join_next() => match ended {
                    Some(ended) => ended.context("a sender failed")?,
                    None => return Ok(window),
                },
                _ = &mut interrupted => bail!("interrupted while waiting for answers"),
            }
        }
    }

    /// One sender.
    async fn send(&self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow_and_update() {
            let Some(Ticket { number, due, is_measured }) =
                self.schedule.take(|number| self.traffic.size(number))
            else {
                break;
            };
            // Not for what is due already: a timer takes a millisecond even so.
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = stopped.changed() => break,
                }
            }
            let request = self.traffic.request(number);
            // From when it was due, also if no sender was free then: otherwise the slower the target, the
            // fewer requests would find out.
            let begin = due.unwrap_or_else(Instant::now);
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let sent = self.client.send(&request).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.tally.lock().add(request.size, &sent, begin.elapsed(), is_measured);
        }
    }

    /// Follows the load until its time is over or everything is sent and answered.
    async fn measure(
        &self,
        processes: &[NamedProcess],
        sending: &mut JoinSet<()>,
        stop: &watch::Sender<bool>,
    ) -> anyhow::Result<Window> {
        // Those that cannot be watched should be known before the warm-up.
        let mut before = Before::read(processes)?;
        let mut accepted_before = Size::default();
        let (counts_from, mut end) = (self.schedule.counts_from(), self.schedule.end());
        let mut begin = Instant::now();
        let mut is_answered = false;
        let mut interrupted = pin!(ctrl_c());
        let mut is_warm = counts_from <= begin;
        let second = Duration::from_secs(1);
        let mut progress = Progress::at_once();
        let mut ticks = interval_at(begin + second, second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut shown = Shown { at: begin, accepted: Size::default() };
        loop {
            tokio::select! {
                () = sleep_until(counts_from), if !is_warm => {
                    is_warm = true;
                    before = Before::read(processes)?;
                    accepted_before = self.tally.lock().accepted;
                    begin = Instant::now();
                }
                () = sleep_until(end) => break,
                _ = &mut interrupted => {
                    stop.send_replace(true);
                    break;
                }
                ended = sending.join_next(), if !is_answered => match ended {
                    Some(ended) => ended.context("a sender failed")?,
                    None => {
                        is_answered = true;
                        end = self.schedule.is_over_at();
                    }
                },
                _ = ticks.tick() => {
                    let line = self.line(counts_from, &mut shown);
                    progress.show(|| line);
                }
            }
        }
        let used = before.until_now()?;
        let time = begin.elapsed();
        let accepted = self.tally.lock().accepted - accepted_before;
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        progress.finish(&format!("{:3.0} s: sent, {in_flight} still in flight", time.as_secs_f64()));
        Ok(Window { time, accepted, used })
    }

    /// The line of progress for what has happened since the one before.
    fn line(&self, counts_from: Instant, shown: &mut Shown) -> String {
        let mut tally = self.tally.lock();
        let recent = std::mem::take(&mut tally.recent);
        let now = Shown { at: Instant::now(), accepted: tally.accepted };
        let before = std::mem::replace(shown, now);
        let spans = (shown.accepted - before.accepted).spans as f64;
        let seconds = (shown.at - before.at).as_secs_f64().max(f64::EPSILON);
        let time = match shown.at.checked_duration_since(counts_from) {
            Some(time) => format!("{:3.0} s", time.as_secs_f64()),
            None => "warm-up".to_owned(),
        };
        format!(
            "{time}: {} spans/s, {} in flight, p99 {:.1} ms, {} refused, {} failed",
            thousands((spans / seconds).round() as usize),
            self.in_flight.load(Ordering::Relaxed),
            recent.quantile(0.99).as_secs_f64() * 1e3,
            tally.refused_requests,
            tally.failed_requests,
        )
    }
}
