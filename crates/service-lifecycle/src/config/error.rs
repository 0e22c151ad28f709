//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// The configuration is wrong; `Display` lists every problem with key, value, source and what is
/// allowed. Secrets are masked.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid:{}", list(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    subjects: Vec<Subject>,
    /// What is allowed, or what happened when no key is concerned.
    message: String,
}

/// A key that takes part in a problem.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) key: String,
    /// As TOML, masked; `None` when it is better not shown.
    pub(super) value: Option<String>,
    pub(super) source: String,
}

impl Problem {
    pub(super) fn general(message: String) -> Self {
        Self { subjects: Vec::new(), message }
    }

    pub(super) fn of_key(
        key: &str,
        value: Option<String>,
        source: String,
        allowed: impl Into<String>,
    ) -> Self {
        let key = key.to_owned();
        Self::between(vec![Subject { key, value, source }], allowed)
    }

    pub(super) fn between(subjects: Vec<Subject>, allowed: impl Into<String>) -> Self {
        Self { subjects, message: allowed.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, subject) in self.subjects.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", subject.key)?;
            if let Some(value) = &subject.value {
                write!(formatter, " = {value}")?;
            }
            write!(formatter, " ({})", subject.source)?;
        }
        let separator = if self.subjects.is_empty() { "" } else { ": " };
        write!(formatter, "{separator}{}", self.message)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
