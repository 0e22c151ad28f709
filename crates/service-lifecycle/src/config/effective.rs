//! The effective configuration for people: what `--check-config` prints.

use std::fmt;

use figment::Figment;

use super::{Config, Keys, load};

/// Every key with its value and source. `Display` is TOML that `--config` reads again, apart from
/// masked secrets.
#[derive(Debug)]
pub struct Effective {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    section: String,
    text: String,
    source: String,
    is_set: bool,
}

impl Effective {
    pub(super) fn of<C: Config>(figment: &Figment, keys: &Keys) -> Self {
        let lines = keys.leaves().into_iter().map(|key| {
            let subject = load::subject::<C>(figment, &key);
            let (section, name) = key.rsplit_once('.').unwrap_or(("", &key));
            let value = subject.value.unwrap_or_default();
            let is_set = value != "(unset)";
            let hash = if is_set { "" } else { "# " };
            Line {
                section: section.to_owned(),
                text: format!("{hash}{name} = {value}"),
                source: subject.source,
                is_set,
            }
        });
        Self { lines: lines.collect() }
    }

    /// How many values do not come from a default.
    pub fn changed(&self) -> usize {
        let changed = self.lines.iter().filter(|line| line.source != load::DEFAULT);
        changed.filter(|line| line.is_set).count()
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for (index, line) in self.lines.iter().enumerate() {
            if line.section != section {
                section = &line.section;
                let gap = if index == 0 { "" } else { "\n" };
                writeln!(formatter, "{gap}[{section}]")?;
            }
            writeln!(formatter, "{:<40} # {}", line.text, line.source)?;
        }
        Ok(())
    }
}
