//! The reading of the TOML file.

use std::{fs, path::Path};

use figment::value::{Dict, Value};

use super::{Config, Keys, error::Problem, keys::is_section, mask, setting::Setting, sources::Collected};
use crate::line_at;

/// Reads the file into settings, one per key.
pub(super) fn read<C: Config>(path: &Path, keys: &Keys, collected: &mut Collected) {
    let source = format!("file {}", path.display());
    let content = match fs::read_to_string(path) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("failed to read {} (flag --config): {error}", path.display());
            return collected.problems.push(Problem::general(message));
        }
    };
    match toml::from_str::<Dict>(&content) {
        Ok(dict) => read_section::<C>("", dict, &source, keys, collected),
        Err(error) => {
            // The error's own text quotes the line, which may hold a secret.
            let line = error.span().map(|span| line_at(&content, span.start));
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            let message = error.message().replace('\n', ", ");
            collected.problems.push(Problem::general(format!("{source}{line}: not TOML: {message}")));
        }
    }
}

fn read_section<C: Config>(prefix: &str, dict: Dict, source: &str, keys: &Keys, collected: &mut Collected) {
    for (name, value) in dict {
        let key = format!("{prefix}{name}");
        let default = keys.default(&key).filter(|_| !name.contains('.'));
        let problem =
            |value: Option<String>, allowed: String| Problem::of_key(&key, value, source.to_owned(), allowed);
        match (default, value) {
            (None, _) => {
                let allowed = keys.describe_siblings(&key);
                collected.problems.push(problem(None, allowed));
            }
            (Some(default), Value::Dict(_, inner)) if is_section(default) => {
                read_section::<C>(&format!("{key}."), inner, source, keys, collected);
            }
            (Some(default), value) if is_section(default) => {
                let shown = mask::show(C::SECRETS, &key, &value);
                let allowed = format!("expected a section, written as [{key}]");
                collected.problems.push(problem(Some(shown), allowed));
            }
            (Some(_), value) => collected.settings.push(Setting { key, value, source: source.to_owned() }),
        }
    }
}
