//! Where values come from: file, `.env`, environment and flags, each read into settings.

use std::{fs, io::ErrorKind, path::PathBuf};

use figment::value::Value;

use super::{Config, Keys, dotenv, error::Problem, file, keys::parse_toml_value, mask, setting::Setting};
use crate::Arguments;

/// What the environment names of all keys begin with.
const ENVIRONMENT_PREFIX: &str = "CORRELATION__";

/// The environment variable of `key`: `CORRELATION__REDIS__URL` of `redis.url`.
pub fn environment_variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Where [`load`](super::load) looks, later sources win: defaults, `file`, `dotenv`,
/// `environment`, `set`.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file that must exist.
    pub file: Option<PathBuf>,
    /// A `.env` file; nothing happens when there is none.
    pub dotenv: PathBuf,
    /// Names and values; an empty value counts as unset.
    pub environment: Vec<(String, String)>,
    /// `key=value`, as on the command line.
    pub set: Vec<String>,
}

impl Sources {
    /// The sources of a real process: its arguments, its environment, `.env` where it was started.
    pub fn of_process(arguments: &Arguments) -> Self {
        let environment = std::env::vars_os().map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.to_string_lossy().into_owned())
        });
        Self {
            file: arguments.config.clone(),
            dotenv: PathBuf::from(".env"),
            environment: environment.collect(),
            set: arguments.set.clone(),
        }
    }
}

/// Everything that the sources say, in the order in which it counts, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) settings: Vec<Setting>,
    pub(super) problems: Vec<Problem>,
}

/// Reads all sources. Reading goes on after a problem, so that all are reported at once.
pub(super) fn collect<C: Config>(sources: &Sources, keys: &Keys) -> Collected {
    let mut collected = Collected::default();
    if let Some(path) = &sources.file {
        file::read::<C>(path, keys, &mut collected);
    }
    read_dotenv::<C>(&sources.dotenv, keys, &mut collected);
    let variables = sources.environment.iter().map(|(name, value)| Variable {
        name: name.clone(),
        value: Ok(value.clone()),
        source: format!("environment variable {name}"),
    });
    read_variables::<C>(&variables.collect::<Vec<_>>(), keys, &mut collected);
    for flag in &sources.set {
        read_flag::<C>(flag, keys, &mut collected);
    }
    collected
}

/// One variable of the environment or of a `.env` file.
struct Variable {
    name: String,
    value: Result<String, &'static str>,
    source: String,
}

fn read_dotenv<C: Config>(path: &PathBuf, keys: &Keys, collected: &mut Collected) {
    // Some keep a directory of this name.
    if !path.is_file() {
        return;
    }
    let content = match fs::read_to_string(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            let message = format!("failed to read {}: {error}", path.display());
            return collected.problems.push(Problem::general(message));
        }
    };
    let entries = dotenv::parse(&content).into_iter().map(|entry| Variable {
        source: format!("{} in file {}, line {}", entry.name, path.display(), entry.line),
        name: entry.name,
        value: entry.value,
    });
    read_variables::<C>(&entries.collect::<Vec<_>>(), keys, collected);
}

fn read_variables<C: Config>(variables: &[Variable], keys: &Keys, collected: &mut Collected) {
    for &(alias, key) in C::ENVIRONMENT_ALIASES {
        // In a file a name may stand twice; as in a shell, the last one counts.
        for variable in variables.iter().filter(|variable| variable.name == alias) {
            read_variable::<C>(variable, key, keys, collected);
        }
    }
    // Own names after the aliases, so that they win.
    for variable in variables {
        let Some(path) = variable.name.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        let key = path.to_lowercase().replace("__", ".");
        let section = key.split('.').next().unwrap_or_default();
        if !C::SIBLING_SECTIONS.contains(&section) {
            read_variable::<C>(variable, &key, keys, collected);
        }
    }
}

fn read_variable<C: Config>(variable: &Variable, key: &str, keys: &Keys, collected: &mut Collected) {
    let source = variable.source.clone();
    match &variable.value {
        Ok(text) if text.is_empty() => {}
        Ok(text) => read_text::<C>(key, text, source, keys, collected),
        Err(reason) => collected.problems.push(Problem::of_key(key, None, source, *reason)),
    }
}

fn read_text<C: Config>(key: &str, text: &str, source: String, keys: &Keys, collected: &mut Collected) {
    let key = key.to_owned();
    match keys.parse(&key, text) {
        Ok(value) => collected.settings.push(Setting { key, value, source }),
        Err(allowed) => {
            // The value of an unknown key may be a misspelt secret.
            let value = keys.default(&key).map(|_| mask::show(C::SECRETS, &key, &Value::from(text)));
            collected.problems.push(Problem::of_key(&key, value, source, allowed));
        }
    }
}

fn read_flag<C: Config>(flag: &str, keys: &Keys, collected: &mut Collected) {
    let source = "flag --set".to_owned();
    let Some((key, text)) = flag.split_once('=') else {
        return collected.problems.push(Problem::of_key(
            flag,
            None,
            source,
            "expected KEY=VALUE, such as log.level=debug",
        ));
    };
    let key = key.trim();
    // A quoted string is TOML; a bare one is taken as it is.
    match parse_toml_value(text) {
        Some(Value::String(_, inner)) => read_text::<C>(key, &inner, source, keys, collected),
        _ => read_text::<C>(key, text, source, keys, collected),
    }
}
