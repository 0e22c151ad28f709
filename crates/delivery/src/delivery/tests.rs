//! Delivery with endpoints and an outbox that are played, in paused time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use otlp_proto::opentelemetry::proto::trace::v1::TracesData;
use prost::Message as _;
use state_core::{Error, Event, EventId, PutBack, Result};
use tokio::time::sleep;

use super::*;
use crate::{
    client::Answer,
    sample::{claim, event, logs, traces},
};

/// Of the endpoints here: longer than their requests take.
const TIMEOUT: Duration = Duration::from_secs(10);
const HOLD: Duration = Duration::from_secs(30);
const BATCH_BYTES_MAX: usize = 1_000;

/// What an endpoint does to a request.
#[derive(Debug, Clone)]
enum Act {
    Take,
    TakeAfter(Duration),
    Fail,
    AskToWait(Duration),
    Refuse,
    RefuseMoreThan(usize),
}

/// An endpoint: what it does next, then again and again what comes last, and what it was sent.
#[derive(Clone)]
struct Endpoint(Arc<Mutex<Seen>>);

struct Seen {
    acts: VecDeque<Act>,
    /// Trace by trace of each request, and when it came.
    requests: Vec<(Duration, Vec<u8>)>,
    taken: Vec<u8>,
    began: Instant,
}

impl Endpoint {
    fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts = acts.into_iter().collect();
        Self(Arc::new(Mutex::new(Seen { acts, requests: vec![], taken: vec![], began: Instant::now() })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    fn becomes(&self, act: Act) {
        self.seen().acts = [act].into();
    }

    fn taken(&self) -> Vec<u8> {
        let mut taken = self.seen().taken.clone();
        taken.sort_unstable();
        taken
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.seen().requests.iter().map(|(_, traces)| traces.clone()).collect()
    }
}

impl Transport for Endpoint {
    async fn send(&mut self, payloads: Vec<Bytes>) -> Answer {
        let data = TracesData::decode(&payloads.concat()[..]).unwrap();
        let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let mut ids: Vec<u8> = scopes.flat_map(|scope| scope.spans).map(|span| span.trace_id[0]).collect();
        ids.dedup();
        let act = {
            let mut seen = self.seen();
            let came = seen.began.elapsed();
            seen.requests.push((came, ids.clone()));
            if seen.acts.len() > 1 { seen.acts.pop_front().unwrap() } else { seen.acts[0].clone() }
        };
        let refused = |is_too_large| Answer::Refused { reason: "no", message: String::new(), is_too_large };
        match act {
            Act::Take => {}
            Act::TakeAfter(time) => sleep(time).await,
            Act::Fail => return Answer::failed("away", ""),
            Act::AskToWait(time) => {
                let retry_after = Some(time);
                return Answer::Failed { reason: "busy", message: String::new(), retry_after };
            }
            Act::Refuse => return refused(false),
            Act::RefuseMoreThan(traces) if ids.len() > traces => return refused(true),
            Act::RefuseMoreThan(_) => {}
        }
        self.seen().taken.extend(ids);
        Answer::Taken { rejected: 0, message: String::new() }
    }
}

/// An outbox with the events of closed correlations.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    /// By trace and generation, with the time from when on they are anybody's.
    events: BTreeMap<(String, u64), (Instant, Event)>,
    claims: u64,
    is_away: bool,
}

fn name(id: &EventId) -> (String, u64) {
    (id.key.id.to_string(), id.generation)
}

impl Store {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Keeps the event of a trace, as an engine does that closes it.
    fn close(&self, trace: u8, hold: Duration) -> Claim {
        let fragments = [traces(trace, &[1, 2])];
        let event = event(trace, &fragments, 0, 1);
        self.content().events.insert(name(&event.id), (Instant::now() + hold, event));
        claim(trace, &fragments, 0)
    }

    fn len(&self) -> usize {
        self.content().events.len()
    }

    fn is_away(&self, is_away: bool) {
        self.content().is_away = is_away;
    }

    fn open(&self) -> Result<MutexGuard<'_, Content>> {
        let content = self.content();
        match content.is_away {
            true => Err(Error::Unavailable { attempted: "answer".to_owned(), source: "away".into() }),
            false => Ok(content),
        }
    }
}

impl Outbox for Store {
    async fn claim(&self, max: usize, lease: Duration) -> Result<Vec<Event>> {
        let mut content = self.open()?;
        content.claims += 1;
        let now = Instant::now();
        let due = content.events.values_mut().filter(|(due, _)| *due <= now).take(max);
        Ok(due
            .map(|(due, event)| {
                *due = now + lease;
                event.clone()
            })
            .collect())
    }

    async fn put_back(&self, events: Vec<PutBack>) -> Result<()> {
        let mut content = self.open()?;
        for PutBack { event, delivered, look_after } in events {
            if let Some((due, event)) = content.events.get_mut(&name(&event)) {
                *due = Instant::now() + look_after;
                event.delivered.extend(delivered);
            }
        }
        Ok(())
    }

    async fn remove(&self, events: &[EventId]) -> Result<()> {
        let mut content = self.open()?;
        events.iter().for_each(|event| drop(content.events.remove(&name(event))));
        Ok(())
    }
}

/// An endpoint of which only the name counts: it is played.
fn named(name: &str) -> endpoint::Endpoint {
    let text = format!("[[endpoint]]\nname = '{name}'\nurl = 'http://{name}'\nsignals = ['traces']");
    let timeout_ms = TIMEOUT.as_millis();
    let text = format!("{text}\ntimeout_ms = {timeout_ms}\nbatch_bytes_max = {BATCH_BYTES_MAX}");
    endpoint::parse(&text).unwrap().remove(0)
}

fn deliver(store: &Store, endpoints: &[(&str, &Endpoint)]) -> Delivering {
    follow(store, endpoints).0
}

/// Delivery from one store.
struct Delivering {
    delivery: Delivery,
    handle: Handle,
}

impl Delivering {
    fn handle(&self) -> Handle {
        self.handle.clone()
    }

    async fn drain(self, deadline: Instant) {
        self.delivery.drain(deadline).await;
    }
}

/// Delivers to what is put into the second value.
fn follow(store: &Store, endpoints: &[(&str, &Endpoint)]) -> (Delivering, Roll) {
    let roll = Roll(Arc::default());
    roll.becomes(endpoints);
    let (source, played) = (roll.clone(), roll.clone());
    let source = Box::new(move || Arc::clone(&source.0.lock().unwrap().0));
    let connect = move |endpoint: &endpoint::Endpoint, _| match played.0.lock().unwrap().1.get(&endpoint.url)
    {
        Some(played) => Ok(played.clone()),
        None => Err(EndpointError::Client { endpoint: endpoint.name.clone(), reason: "unknown".into() }),
    };
    let mut delivery = Delivery::assemble(source, connect).unwrap();
    let handle = delivery.of_outbox(store.clone());
    (Delivering { delivery, handle }, roll)
}

/// Which endpoints there are, and who plays them.
#[derive(Clone)]
struct Roll(Arc<Mutex<Played>>);

/// The endpoints as they are configured, and those who play them by URL.
type Played = (Arc<Vec<endpoint::Endpoint>>, BTreeMap<String, Endpoint>);

impl Roll {
    fn becomes(&self, endpoints: &[(&str, &Endpoint)]) {
        let named: Vec<_> = endpoints.iter().map(|(name, _)| named(name)).collect();
        let played =
            named.iter().zip(endpoints).map(|(named, (_, played))| (named.url.clone(), (*played).clone()));
        let played = played.collect();
        *self.0.lock().unwrap() = (Arc::new(named), played);
    }
}

/// Closes traces and hands them over.
fn close(store: &Store, delivery: &Delivering, traces: impl IntoIterator<Item = u8>) {
    let handle = delivery.handle();
    for trace in traces {
        let offer = handle.offer();
        offer.hand_over(&store.close(trace, offer.outbox()));
    }
}

async fn until(state: &str, is_reached: impl Fn() -> bool) {
    testbed::eventually(state, Duration::from_secs(3_600), async || is_reached()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_is_delivered_once_and_leaves_the_outbox() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, 1..=9);
    until("the outbox is empty", || store.len() == 0).await;
    sleep(HOLD * 3).await;
    assert_eq!(endpoint.taken(), Vec::from_iter(1..=9));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_handed_over_is_taken_from_the_outbox_when_its_time_has_come() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Take]));
    let began = Instant::now();
    let _delivery = deliver(&store, &[("a", &endpoint)]);
    store.close(7, HOLD);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.taken(), [7]);
    // An idle engine looks every eight seconds or so.
    assert!((HOLD..HOLD + Duration::from_secs(10)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn two_stores_share_the_endpoints_and_each_settles_its_own_events() {
    let (one, other, endpoint) = (Store::default(), Store::default(), Endpoint::new([Act::Take]));
    let mut delivering = deliver(&one, &[("a", &endpoint)]);
    let handle = delivering.delivery.of_outbox(other.clone());
    close(&one, &delivering, [1, 2]);
    // Closed by an engine that is gone; and handed over.
    other.close(3, Duration::ZERO);
    let offer = handle.offer();
    offer.hand_over(&other.close(4, offer.outbox()));
    until("both outboxes are empty", || one.len() + other.len() == 0).await;
    sleep(HOLD * 3).await;
    assert_eq!(endpoint.taken(), [1, 2, 3, 4], "each once");
}

#[tokio::test(start_paused = true)]
async fn requests_hold_whole_traces_up_to_their_size() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::TakeAfter(TIMEOUT / 2), Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    let handle = delivery.handle();
    let bytes = traces(1, &[1, 2]).payload().len();
    let per_request = BATCH_BYTES_MAX / bytes;
    close(&store, &delivery, [1]);
    until("a request is on its way", || endpoint.requests().len() == 1).await;
    // Meanwhile come enough for two requests and a half, and one that is larger than a request.
    let count = u8::try_from(per_request * 5 / 2).unwrap();
    close(&store, &delivery, 2..2 + count);
    let large = [traces(200, &Vec::from_iter(1..=200))];
    assert!(large[0].payload().len() > BATCH_BYTES_MAX);
    handle.offer().hand_over(&claim(200, &large, 0));
    close(&store, &delivery, [201]);
    until("all are there", || endpoint.taken().len() == usize::from(count) + 3).await;
    let sizes: Vec<_> = endpoint.requests().iter().map(Vec::len).collect();
    let rest = usize::from(count) - 2 * per_request;
    assert_eq!(sizes, [1, per_request, per_request, rest, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_away_holds_nobody_up_and_gets_everything_once_it_is_back() {
    let (store, healthy, away) = (Store::default(), Endpoint::new([Act::Take]), Endpoint::new([Act::Fail]));
    let delivery = deliver(&store, &[("healthy", &healthy), ("away", &away)]);
    for trace in 1..=100 {
        close(&store, &delivery, [trace]);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(healthy.taken(), Vec::from_iter(1..=trace), "it does not wait");
    }
    // 1 + 2 + 4 + 8 + 16 + 30 + 30 s, more or less.
    let attempts = away.requests().len();
    assert!((6..=10).contains(&attempts), "{attempts} requests in 100 s");
    assert_eq!(store.len(), 100);
    away.becomes(Act::Take);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(away.taken(), Vec::from_iter(1..=100));
    assert_eq!(healthy.taken(), Vec::from_iter(1..=100), "each once");
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_when_an_endpoint_fails_goes_back_at_once() {
    let acts = [Act::TakeAfter(TIMEOUT / 2), Act::Fail, Act::Take];
    let (store, endpoint) = (Store::default(), Endpoint::new(acts));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    until("a request is on its way", || endpoint.requests().len() == 1).await;
    close(&store, &delivery, 2..=100);
    until("all are in the outbox", || {
        store.content().events.values().all(|(due, _)| *due < Instant::now() + HOLD / 3)
    })
    .await;
    assert_eq!(endpoint.requests().len(), 2, "one of many has shown that it fails");
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.taken(), Vec::from_iter(1..=100));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_takes_anything_the_outbox_is_left_alone() {
    let (store, away) = (Store::default(), Endpoint::new([Act::AskToWait(Duration::from_secs(100))]));
    let delivery = deliver(&store, &[("away", &away)]);
    close(&store, &delivery, [1]);
    until("it has failed", || away.requests().len() == 1).await;
    let claims = store.content().claims;
    assert!(delivery.handle().offer().outbox() > Duration::from_secs(99), "others need not look either");
    close(&store, &delivery, 2..=50);
    sleep(Duration::from_secs(99)).await;
    assert_eq!(store.content().claims, claims);
    assert_eq!(away.requests().len(), 1, "as it has asked");
    away.becomes(Act::Take);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(away.taken(), Vec::from_iter(1..=50));
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_in_a_queue_is_left_to_others() {
    // As slow as it may be: the requests after the second would end when others hold the events.
    let (store, slow) = (Store::default(), Endpoint::new([Act::TakeAfter(TIMEOUT)]));
    let delivery = deliver(&store, &[("slow", &slow)]);
    close(&store, &delivery, [1]);
    until("a request is on its way", || slow.requests().len() == 1).await;
    close(&store, &delivery, 2..=100);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(slow.taken(), Vec::from_iter(1..=100), "each once, from the queue or from the outbox");
    assert!(store.content().claims > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_not_sent_again() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Refuse, Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    until("the outbox is empty", || store.len() == 0).await;
    close(&store, &delivery, [2]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.requests(), [[1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_at_once_is_sent_in_smaller_requests() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::RefuseMoreThan(2)]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, 1..=5);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.taken(), Vec::from_iter(1..=5));
    let sizes: Vec<_> = endpoint.requests().iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 2, 3, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_an_endpoint_does_not_want_is_nothing_to_wait_for() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    let fragments = [logs(9, &["a"])];
    let event = event(9, &fragments, 0, 1);
    store.content().events.insert(name(&event.id), (Instant::now() + HOLD, event));
    delivery.handle().offer().hand_over(&claim(9, &fragments, 0));
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.requests(), Vec::<Vec<u8>>::new());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_noted_when_the_store_answers_again() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    store.is_away(true);
    sleep(HOLD / 2).await;
    store.is_away(false);
    until("the outbox is empty", || store.len() == 0).await;
    sleep(HOLD * 2).await;
    assert_eq!(endpoint.requests(), [[1]]);
}

#[tokio::test(start_paused = true)]
async fn draining_sends_what_was_handed_over() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::TakeAfter(TIMEOUT / 4)]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    until("a request is on its way", || endpoint.requests().len() == 1).await;
    close(&store, &delivery, 2..=9);
    delivery.drain(Instant::now() + TIMEOUT).await;
    assert_eq!(endpoint.taken(), Vec::from_iter(1..=9));
    assert_eq!(store.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_by_the_end_of_draining_is_anybodys_at_once() {
    let (store, healthy) = (Store::default(), Endpoint::new([Act::Take]));
    let hanging = Endpoint::new([Act::TakeAfter(HOLD * 10)]);
    let delivery = deliver(&store, &[("healthy", &healthy), ("hanging", &hanging)]);
    close(&store, &delivery, 1..=9);
    until("a request is on its way", || hanging.requests().len() == 1).await;
    let began = Instant::now();
    delivery.drain(began + TIMEOUT).await;
    assert_eq!(began.elapsed(), TIMEOUT);
    assert_eq!((store.len(), healthy.taken()), (9, Vec::from_iter(1..=9)));
    assert!(store.content().events.values().all(|(due, _)| *due <= Instant::now()));

    let (healthy, back) = (Endpoint::new([Act::Take]), Endpoint::new([Act::Take]));
    let _other = deliver(&store, &[("healthy", &healthy), ("hanging", &back)]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!((healthy.taken(), back.taken()), (vec![], Vec::from_iter(1..=9)));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_memory_is_left_to_the_outbox() {
    let (store, slow) = (Store::default(), Endpoint::new([Act::TakeAfter(TIMEOUT), Act::Take]));
    let delivery = deliver(&store, &[("slow", &slow)]);
    close(&store, &delivery, [1]);
    until("a request is on its way", || slow.requests().len() == 1).await;
    let handle = delivery.handle();
    let large = claim(2, &[traces(2, &Vec::from_iter(1..=255))], 0);
    let handed_over = (0..10_000)
        .take_while(|_| handle.shared.has_room())
        .map(|_| handle.offer().hand_over(&large))
        .count();
    assert!((1_000..10_000).contains(&handed_over), "{handed_over}");
    assert_eq!(handle.offer().outbox(), LOOK_AFTER_MIN, "anybody who has room may take it soon");
    close(&store, &delivery, [3]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(slow.taken().iter().filter(|trace| **trace == 3).count(), 1);
    assert!(store.content().claims > 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_added_gets_what_is_closed_from_then_on() {
    let (store, first, second) = (Store::default(), Endpoint::new([Act::Take]), Endpoint::new([Act::Take]));
    let (delivery, roll) = follow(&store, &[("first", &first)]);
    close(&store, &delivery, [1]);
    until("the outbox is empty", || store.len() == 0).await;
    roll.becomes(&[("first", &first), ("second", &second)]);
    sleep(Duration::from_secs(2)).await;
    close(&store, &delivery, [2]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!((first.taken(), second.taken()), (vec![1, 2], vec![2]));
}

#[tokio::test(start_paused = true)]
async fn an_event_on_its_way_goes_to_an_endpoint_that_is_added_meanwhile() {
    let first = Endpoint::new([Act::TakeAfter(TIMEOUT / 2), Act::Take]);
    let (store, second) = (Store::default(), Endpoint::new([Act::Take]));
    let (delivery, roll) = follow(&store, &[("first", &first)]);
    close(&store, &delivery, [1]);
    until("a request is on its way", || first.requests().len() == 1).await;
    roll.becomes(&[("first", &first), ("second", &second)]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!((first.taken(), second.taken()), (vec![1], vec![1]), "each once");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_not_waited_for() {
    let (store, healthy, away) = (Store::default(), Endpoint::new([Act::Take]), Endpoint::new([Act::Fail]));
    let (delivery, roll) = follow(&store, &[("healthy", &healthy), ("away", &away)]);
    close(&store, &delivery, 1..=9);
    sleep(HOLD).await;
    assert_eq!((store.len(), healthy.taken()), (9, Vec::from_iter(1..=9)));
    roll.becomes(&[("healthy", &healthy)]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(healthy.taken(), Vec::from_iter(1..=9), "each once");
    close(&store, &delivery, [10]);
    let attempts = away.requests().len();
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(away.requests().len(), attempts);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_cannot_be_used_leave_those_before_in_use() {
    let counted = Counted::new();
    let (store, first) = (Store::default(), Endpoint::new([Act::Take]));
    let (delivery, roll) = follow(&store, &[("first", &first)]);
    roll.0.lock().unwrap().0 = Arc::new(vec![named("unknown")]);
    let refused = "delivery_endpoints_changes_total{result=\"refused\"} 1";
    until("they are refused", || counted.has(refused)).await;
    close(&store, &delivery, [1]);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(first.taken(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_put_back_is_put_back_when_the_store_answers_again() {
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Fail, Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    let began = Instant::now();
    close(&store, &delivery, [1]);
    store.is_away(true);
    sleep(Duration::from_secs(5)).await;
    store.is_away(false);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.taken(), [1]);
    // Without another attempt it would have been left to this engine until then.
    assert!(began.elapsed() < HOLD, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_noted_for_too_long_is_counted_and_repeated() {
    let counted = Counted::new();
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Take]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    store.is_away(true);
    sleep(HOLD - Duration::from_secs(1)).await;
    assert!(!counted.has("delivery_unsettled_events_total 1"), "it is still tried");
    sleep(Duration::from_secs(2)).await;
    assert!(counted.has("delivery_unsettled_events_total 1"), "{}", counted.text());
    store.is_away(false);
    until("the outbox is empty", || store.len() == 0).await;
    assert_eq!(endpoint.requests(), [[1], [1]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_to_the_outbox_is_counted_by_its_reason() {
    let counted = Counted::new();
    let left = |reason, events| format!("delivery_left_events_total{{reason=\"{reason}\"}} {events}");
    let (store, endpoint) = (Store::default(), Endpoint::new([Act::Fail, Act::TakeAfter(TIMEOUT)]));
    let delivery = deliver(&store, &[("a", &endpoint)]);
    close(&store, &delivery, [1]);
    until("it has failed", || endpoint.requests().len() == 1).await;
    close(&store, &delivery, 2..=4);
    assert!(counted.has(&left("away", 3)), "{}", counted.text());

    until("it is tried again", || endpoint.requests().len() == 2).await;
    let handle = delivery.handle();
    let large = claim(5, &[traces(5, &Vec::from_iter(1..=255))], 0);
    while handle.shared.has_room() {
        handle.offer().hand_over(&large);
    }
    close(&store, &delivery, 6..=7);
    assert!(counted.has(&left("full", 2)), "{}", counted.text());
}

/// Metrics of this thread, on which everything of a test runs.
struct Counted {
    handle: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Counted {
    fn new() -> Self {
        // A guard borrows its recorder; a test is short.
        let recorder: &'static _ = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _recorder: metrics::set_default_local_recorder(recorder) }
    }

    fn text(&self) -> String {
        self.handle.render()
    }

    fn has(&self, line: &str) -> bool {
        self.text().lines().any(|found| found == line)
    }
}
