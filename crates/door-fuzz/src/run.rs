//! One target under mutated inputs, until its time is over or an input fails.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{mutation::mutate, target::Target};

/// Most time that one input may take. Generous: inputs are small, and machines busy.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// An input that was not handled as it must be.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) input: Vec<u8>,
    /// Which input of its seed.
    pub(crate) number: u64,
    pub(crate) reason: String,
}

/// What is tried now.
struct Trial {
    input: Vec<u8>,
    number: u64,
    begin: Instant,
}

/// Tries the corpus as it is, then mutations of it; answers how many inputs passed.
///
/// # Errors
/// The first input that makes the target panic or takes too long.
pub(crate) fn mutated(
    target: Target,
    corpus: Vec<Vec<u8>>,
    seed: u64,
    time: Duration,
) -> Result<u64, Failure> {
    let current = Arc::new(Mutex::new(Trial { input: Vec::new(), number: 0, begin: Instant::now() }));
    let (report, finished) = mpsc::channel();
    let shared = Arc::clone(&current);
    // On a thread of its own, so that an input that never ends is noticed. It ends with the process.
    thread::spawn(move || {
        let _ = report.send(try_all(target, &corpus, seed, time, &shared));
    });
    loop {
        match finished.recv_timeout(LOOK_INTERVAL) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let Trial { input, number, begin } = &*current.lock();
                if begin.elapsed() > INPUT_TIME_MAX {
                    let reason = format!("it takes longer than {INPUT_TIME_MAX:?}");
                    return Err(Failure { input: input.clone(), number: *number, reason });
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let Trial { input, number, .. } = &*current.lock();
                let reason = "the thread that tried it is gone".to_owned();
                return Err(Failure { input: input.clone(), number: *number, reason });
            }
        }
    }
}

fn try_all(
    target: Target,
    corpus: &[Vec<u8>],
    seed: u64,
    time: Duration,
    current: &Mutex<Trial>,
) -> Result<u64, Failure> {
    let begin = Instant::now();
    let mut random = StdRng::seed_from_u64(seed ^ target as u64);
    let mut number = 0;
    while number < corpus.len() as u64 || begin.elapsed() < time {
        let unchanged = usize::try_from(number).ok().and_then(|index| corpus.get(index));
        let input = match unchanged {
            Some(input) => input.clone(),
            None => mutate(corpus, target.words(), &mut random),
        };
        *current.lock() = Trial { input: input.clone(), number, begin: Instant::now() };
        // Every input starts anew: a check keeps nothing that a panic could leave half done.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target.check(&input))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            return Err(Failure { input, number, reason: text.to_owned() });
        }
        number += 1;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    /// Scenario: every input of the corpus, those that failed once among them, and some mutations.
    #[test]
    fn the_corpus_passes() {
        for target in Target::ALL {
            let corpus = corpus::of(target).unwrap();
            let count = corpus.len() as u64;
            let passed = mutated(target, corpus, 1, Duration::from_millis(100));
            assert!(passed.expect("every input passes") >= count, "{}", target.name());
        }
    }
}
