//! Breaks the product in ways that lose data, one at a time, and demands that a named test fails.
//!
//! Works in a copy of the tree; the tree itself is not touched.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};

/// A change that must not survive.
struct Mutation {
    what: &'static str,
    file: &'static str,
    /// Occurs exactly once in the file.
    find: &'static str,
    replace: &'static str,
    /// Test target of `state-redis`, and the test in it that must fail.
    test: (&'static str, &'static str),
}

const MUTATIONS: [Mutation; 5] = [
    Mutation {
        what: "no WAIT behind writes",
        file: "crates/state-redis/src/acknowledge.rs",
        find: "        if required > 0 {\n            commands.push",
        replace: "        if required > usize::MAX - 1 {\n            commands.push",
        test: ("faults", "a_primary_that_dies_before_its_replica_caught_up_takes_nothing_acknowledged_along"),
    },
    Mutation {
        what: "WAIT repeated alone instead of the whole batch",
        file: "crates/state-redis/src/append.rs",
        find: "        sleep(RETRY_DELAY).await;\n    }\n",
        replace: "        sleep(RETRY_DELAY).await;
        if Fault::of(&error) == Fault::Behind {
            let nothing = vec![crate::link::Command::bare(\"TIME\")];
            router.write(attempted, slot, nothing, deadline).await?;
            return Ok(vec![Outcome::Added; outcomes.len()]);
        }
    }
",
        test: ("network", "what_outlives_its_primary_is_written_again_on_the_next"),
    },
    Mutation {
        what: "an append of duplicates writes nothing",
        file: "crates/state-redis/src/scripts/append.lua",
        find: "arrived = arrived or outcome < '2'",
        replace: "arrived = arrived or outcome < '1'",
        test: ("network", "a_duplicate_is_confirmed_by_replicas_too"),
    },
    Mutation {
        what: "finish does not look at the fence",
        file: "crates/state-redis/src/scripts/finish.lua",
        find: "elseif c and s.closed == 0 and s.fence == fence then",
        replace: "elseif c and s.closed == 0 then",
        test: ("conformance_single", "lifecycle::a_claim_ends_with_its_lease"),
    },
    Mutation {
        what: "the client of Redis repeats commands by itself",
        file: "crates/state-redis/src/link.rs",
        find: "            fail_fast: true,\n            ..Options::default()\n        };\n",
        // fred repeats only what may both be tried again and wait for the next connection.
        replace: "            fail_fast: false,\n            ..Options::default()\n        };\n        \
            let options = Options { max_attempts: Some(3), ..options };\n",
        test: ("network", "a_connection_that_ends_before_replicas_confirmed_confirms_nothing"),
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    // The dependencies are built there already; only crates of this workspace are built again.
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let copy = target.join("mutations");
    let is_wanted = |mutation: &&Mutation| {
        wanted.is_empty() || wanted.iter().any(|part| mutation.what.contains(part.as_str()))
    };
    let mutations: Vec<&Mutation> = MUTATIONS.iter().filter(is_wanted).collect();
    ensure!(!mutations.is_empty(), "no mutation is called {}", wanted.join(" or "));
    // All of them before the first is tried: a table that is out of date says so at once.
    for mutation in &mutations {
        mutation.of(&root)?;
    }
    copy_tree(&root, &copy)?;
    // A test that fails anyway catches nothing.
    for mutation in &mutations {
        ensure!(mutation.test_passes(&copy, &target)?, "{} fails without a mutation", mutation.test.1);
    }
    let mut caught = 0;
    for mutation in &mutations {
        let file = copy.join(mutation.file);
        fs::write(&file, mutation.of(&root)?)?;
        let survives = mutation.test_passes(&copy, &target)?;
        fs::copy(root.join(mutation.file), &file)?;
        caught += usize::from(!survives);
        let verdict = if survives { "SURVIVED" } else { "caught" };
        say(&format!("{verdict}: {} ({})", mutation.what, mutation.test.1));
    }
    say(&format!("{} mutations, {caught} caught", mutations.len()));
    Ok(caught == mutations.len())
}

impl Mutation {
    /// The file with the change in it.
    fn of(&self, root: &Path) -> anyhow::Result<String> {
        let text = fs::read_to_string(root.join(self.file))
            .with_context(|| format!("failed to read {}", self.file))?;
        let found = text.matches(self.find).count();
        ensure!(
            found == 1,
            "{}: {} holds {:?} {found} times instead of once",
            self.what,
            self.file,
            self.find
        );
        Ok(text.replacen(self.find, self.replace, 1))
    }

    /// Runs the test in the copy.
    ///
    /// # Errors
    /// When the copy does not compile, or has no such test.
    fn test_passes(&self, copy: &Path, target: &Path) -> anyhow::Result<bool> {
        let (suite, test) = self.test;
        let cargo = |last: &[&str]| {
            let mut command = Command::new(env!("CARGO"));
            command.args(["test", "--quiet", "--locked", "--package", "state-redis", "--test", suite]);
            command.args(last).current_dir(copy).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
            command.output().context("failed to run cargo")
        };
        let built = cargo(&["--no-run"])?;
        if !built.status.success() {
            bail!("{}: it does not compile\n{}", self.what, String::from_utf8_lossy(&built.stderr));
        }
        let ran = cargo(&["--", "--exact", test])?;
        let said = String::from_utf8_lossy(&ran.stdout);
        let has_run = said.contains("1 passed") || said.contains("1 failed");
        ensure!(has_run, "{}: {suite} did not run {test}\n{said}", self.what);
        Ok(ran.status.success())
    }
}

/// Copies what git knows or would know; what is the same already keeps its time, so that it is not
/// built again.
fn copy_tree(root: &Path, copy: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to list the files of the tree")?;
    ensure!(listed.status.success(), "failed to list the files of the tree: git says no");
    for name in String::from_utf8(listed.stdout)?.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), copy.join(name));
        // Listed and deleted: not committed yet.
        let Ok(text) = fs::read(&from) else {
            let _ = fs::remove_file(&to);
            continue;
        };
        if fs::read(&to).is_ok_and(|before| before == text) {
            continue;
        }
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&to, text).with_context(|| format!("failed to write {}", to.display()))?;
    }
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
