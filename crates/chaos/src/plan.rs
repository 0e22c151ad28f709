//! What happens when: a function of the seed and the seconds, and of nothing else.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use testbed::redis::{self, Lasting, Layout};

use crate::fault::Fault;

/// A run of this length at least has one phase of each layout.
const BOTH_LAYOUTS_FROM: Duration = Duration::from_secs(240);
/// Before the first fault, and after the last one at least.
const CALM: Duration = Duration::from_secs(3);
/// Between two faults of a lane.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// What does not heal by itself.
const FAULT_LASTS: Duration = Duration::from_secs(3);
/// All of Redis is away for so long, and in a short phase for less.
const ALL_AWAY: Duration = Duration::from_secs(60);
const ALL_AWAY_SHORT: Duration = Duration::from_secs(10);
/// A phase of this length at least is a long one: it holds every fault of Redis.
const LONG_FROM: Duration = Duration::from_secs(240);

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) phases: Vec<Phase>,
}

/// A part of the run on a cluster of its own, which is compared at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) layout: Layout,
    pub(crate) time: Duration,
    pub(crate) lasting: Lasting,
    /// One after the other.
    pub(crate) redis: Vec<Step>,
    /// One after the other, beside those of Redis.
    pub(crate) processes: Vec<Step>,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// From the beginning of the phase.
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    /// Chooses whom it happens to.
    pub(crate) lot: usize,
}

impl Plan {
    /// Of a run with one layout, or by default with each for half of the time; a short run has one.
    pub(crate) fn of(seed: u64, time: Duration, layout: Option<Layout>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let layouts = match layout {
            Some(layout) => vec![layout],
            None if time >= BOTH_LAYOUTS_FROM => vec![Layout::OneReplica, Layout::TwoReplicas],
            None if seed.is_multiple_of(2) => vec![Layout::OneReplica],
            None => vec![Layout::TwoReplicas],
        };
        let time = time / layouts.len() as u32;
        let (mut redis, mut processes) = (Deck::of(Fault::of_redis()), Deck::of(Fault::OF_PROCESSES.into()));
        let phase = |layout| {
            let is_long = time >= LONG_FROM;
            let all_away = if is_long { ALL_AWAY } else { ALL_AWAY_SHORT };
            let lasting = Lasting { fault: FAULT_LASTS, all_away };
            let mut phase = Phase { layout, time, lasting, redis: Vec::new(), processes: Vec::new() };
            if is_long {
                // First: what arrived before it is due for closing five minutes later.
                phase.deal(Lane::Redis, &mut Deck::of(vec![BACK]), &mut random);
            }
            phase.deal(Lane::Redis, &mut redis, &mut random);
            phase.deal(Lane::Processes, &mut processes, &mut random);
            phase
        };
        Self { phases: layouts.into_iter().map(phase).collect() }
    }

    /// The same, with nothing but this fault of Redis.
    pub(crate) fn only(mut self, fault: redis::Fault) -> Self {
        for phase in &mut self.phases {
            let mut random = StdRng::seed_from_u64(0);
            phase.redis.clear();
            phase.processes.clear();
            while phase.has_room(Lane::Redis, Fault::Redis(fault)) {
                phase.deal_one(Lane::Redis, Fault::Redis(fault), &mut random);
            }
        }
        self
    }
}

const BACK: Fault = Fault::Redis(redis::Fault::ClockBack);
const FORWARD: Fault = Fault::Redis(redis::Fault::ClockForward);

#[derive(Debug, Clone, Copy)]
enum Lane {
    Redis,
    Processes,
}

impl Phase {
    /// Whether the clocks of some servers are moved.
    pub(crate) fn moves_clocks(&self) -> bool {
        self.redis.iter().any(|step| [BACK, FORWARD].contains(&step.fault))
    }

    /// Deals what there is room for.
    fn deal(&mut self, lane: Lane, deck: &mut Deck, random: &mut StdRng) {
        while let Some(fault) = deck.draw(random, |fault| self.has_room(lane, fault)) {
            self.deal_one(lane, fault, random);
        }
    }

    fn deal_one(&mut self, lane: Lane, fault: Fault, random: &mut StdRng) {
        let at = self.free(lane) + PAUSE_MAX.mul_f64(random.random());
        let step = Step { at, fault, lot: random.random_range(0..usize::from(u16::MAX)) };
        self.lane(lane).push(step);
    }

    /// Whether it still fits; a clock is moved once each way, and back only first.
    fn has_room(&mut self, lane: Lane, fault: Fault) -> bool {
        let (free, time) = (self.free(lane), self.time);
        let end = free + PAUSE_MAX + fault.takes(self.lasting) + CALM;
        let steps = self.lane(lane);
        let is_allowed = match fault {
            BACK => steps.is_empty() && time >= LONG_FROM,
            FORWARD => steps.iter().all(|step| step.fault != FORWARD),
            _ => true,
        };
        is_allowed && end <= time
    }

    /// From when on nothing happens in a lane.
    fn free(&mut self, lane: Lane) -> Duration {
        let lasting = self.lasting;
        self.lane(lane).last().map_or(CALM, |step| step.at + step.fault.takes(lasting))
    }

    fn lane(&mut self, lane: Lane) -> &mut Vec<Step> {
        match lane {
            Lane::Redis => &mut self.redis,
            Lane::Processes => &mut self.processes,
        }
    }
}

/// Faults in random order; each comes once before any comes again.
struct Deck {
    all: Vec<Fault>,
    left: Vec<Fault>,
}

impl Deck {
    fn of(all: Vec<Fault>) -> Self {
        Self { all, left: Vec::new() }
    }

    /// The next one that fits; the others stay for later.
    fn draw(&mut self, random: &mut StdRng, mut fits: impl FnMut(Fault) -> bool) -> Option<Fault> {
        if let Some(place) = self.left.iter().position(|fault| fits(*fault)) {
            return Some(self.left.remove(place));
        }
        let mut again = self.all.clone();
        again.shuffle(random);
        let place = again.iter().position(|fault| fits(*fault))?;
        let fault = again.remove(place);
        again.retain(|fault| !self.left.contains(fault));
        self.left.extend(again);
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, seconds: u64) -> Plan {
        Plan::of(seed, Duration::from_secs(seconds), None)
    }

    #[test]
    fn the_plan_is_a_function_of_its_seed() {
        assert_eq!(plan(7, 600), plan(7, 600));
        assert_ne!(plan(7, 600), plan(8, 600));
    }

    #[test]
    fn every_fault_happens_in_ten_minutes_and_with_both_layouts() {
        for seed in 0..50 {
            let plan = plan(seed, 600);
            let layouts: Vec<_> = plan.phases.iter().map(|phase| phase.layout).collect();
            assert_eq!(layouts, [Layout::OneReplica, Layout::TwoReplicas]);
            let steps = || plan.phases.iter().flat_map(|phase| phase.redis.iter().chain(&phase.processes));
            for fault in Fault::of_redis().into_iter().chain(Fault::OF_PROCESSES) {
                assert!(steps().any(|step| step.fault == fault), "{} with seed {seed}", fault.name());
            }
        }
    }

    #[test]
    fn the_beginning_and_the_end_are_calm() {
        for seconds in [30, 60, 120, 600] {
            for phase in plan(7, seconds).phases {
                assert!(!phase.redis.is_empty() && !phase.processes.is_empty());
                for step in phase.redis.iter().chain(&phase.processes) {
                    assert!(step.at >= CALM);
                    assert!(step.at + step.fault.takes(phase.lasting) + CALM <= phase.time, "{step:?}");
                }
            }
        }
    }

    #[test]
    fn faults_of_a_lane_do_not_overlap() {
        for phase in plan(9, 600).phases {
            for lane in [&phase.redis, &phase.processes] {
                for pair in lane.windows(2) {
                    assert!(pair[0].at + pair[0].fault.takes(phase.lasting) <= pair[1].at, "{pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_clock_goes_back_first_or_never_and_forward_once() {
        for seconds in [60, 480, 1_200] {
            for phase in plan(7, seconds).phases {
                let count = |fault| phase.redis.iter().filter(|step| step.fault == fault).count();
                assert_eq!(count(BACK), usize::from(phase.time >= LONG_FROM));
                assert!(count(FORWARD) <= 1);
                assert!(phase.redis[1..].iter().all(|step| step.fault != BACK));
            }
        }
    }

    #[test]
    fn a_short_run_has_the_layout_of_its_seed_unless_one_is_asked_for() {
        assert_eq!(plan(8, 60).phases[0].layout, Layout::OneReplica);
        assert_eq!(plan(9, 60).phases[0].layout, Layout::TwoReplicas);
        let asked = Plan::of(9, Duration::from_secs(600), Some(Layout::OneReplica));
        assert_eq!(asked.phases.len(), 1);
        assert_eq!(asked.phases[0].time, Duration::from_secs(600));
    }

    #[test]
    fn a_plan_of_one_fault_holds_nothing_else() {
        for phase in plan(7, 60).only(redis::Fault::KillPrimaryLagging).phases {
            assert!(phase.redis.len() > 2 && phase.processes.is_empty());
        }
    }
}
