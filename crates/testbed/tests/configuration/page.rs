//! The tables of the page: a heading for each process, a table for each of its sections.

use serde_json::Value;
use service_lifecycle::{Config, environment_variable};

use crate::source::{Field, Types};

/// The tables of a process whose configuration is `C`, a struct of the name `root` in `types`.
pub(crate) fn tables<C: Config>(types: &Types, process: &str, root: &str) -> String {
    let mut sections = Vec::new();
    let defaults = serde_json::to_value(C::default()).unwrap();
    collect::<C>(types, Section { key: String::new(), about: String::new(), root }, &defaults, &mut sections);
    format!("\n## {process}\n\n{}{}", aliases::<C>(), sections.concat())
}

/// A struct of a configuration, where it stands.
struct Section<'a> {
    /// Empty for the whole.
    key: String,
    about: String,
    root: &'a str,
}

/// Adds the table of `section`, then those of the sections in it.
fn collect<C: Config>(types: &Types, section: Section<'_>, defaults: &Value, texts: &mut Vec<String>) {
    let Section { key: prefix, about, root } = section;
    let fields =
        types.structs.get(root).unwrap_or_else(|| panic!("no file that is read has a struct {root}"));
    let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    for name in defaults.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{root} is serialized with a key {name} that is no field");
    }
    let key_of = |field: &Field| match prefix.as_str() {
        "" => field.name.clone(),
        prefix => format!("{prefix}.{}", field.name),
    };
    let (sections, values): (Vec<_>, Vec<_>) = fields
        .iter()
        .partition(|field| types.structs.contains_key(&field.of_type) && defaults[&field.name].is_object());
    if !values.is_empty() {
        let rows = values.iter().map(|field| row::<C>(types, &key_of(field), field, &defaults[&field.name]));
        let heading = match prefix.as_str() {
            "" => String::new(),
            prefix => format!("### `[{prefix}]`\n\n{about}\n\n"),
        };
        let rows = rows.collect::<String>();
        texts.push(format!(
            "{heading}| key | environment | type | default | unit | meaning |\n|---|---|---|---|---|---|\n{rows}\n"
        ));
    }
    for field in sections {
        let inner = Section { key: key_of(field), about: field.comment.clone(), root: &field.of_type };
        collect::<C>(types, inner, &defaults[&field.name], texts);
    }
}

fn row<C: Config>(types: &Types, key: &str, field: &Field, default: &Value) -> String {
    let unit = unit(&field.name);
    let is_secret = C::SECRETS.contains(&key);
    let mut of_type = type_in_words(types, &field.of_type);
    if is_secret {
        of_type.push_str(", secret");
    }
    // What a secret is by default is nobody's secret, but the page should not look as if it held any.
    let default = if is_secret { "–".to_owned() } else { in_toml(default, unit) };
    let choices = types.enums.get(&field.of_type).into_iter().flatten();
    let choices =
        choices.map(|choice| format!(" `{}`: {}", choice.value, choice.comment)).collect::<String>();
    let comment = if is_secret { field.comment.clone() } else { without_plain_default(&field.comment) };
    let meaning = comment.trim().to_owned() + &choices;
    let cells = [format!("`{key}`"), variables::<C>(key), of_type, default, unit.to_owned(), meaning];
    format!("| {} |\n", cells.map(|cell| cell.trim().replace('|', "\\|")).join(" | "))
}

/// The environment variables of a key, its own first.
fn variables<C: Config>(key: &str) -> String {
    let aliases = C::ENVIRONMENT_ALIASES.iter().filter(|(_, target)| *target == key);
    let names = [environment_variable(key)].into_iter().chain(aliases.map(|(alias, _)| (*alias).to_owned()));
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The table of variables that have names of their own.
fn aliases<C: Config>() -> String {
    if C::ENVIRONMENT_ALIASES.is_empty() {
        return String::new();
    }
    let rows = C::ENVIRONMENT_ALIASES.iter().map(|(alias, key)| format!("| `{alias}` | `{key}` |\n"));
    format!("| variable | key that it sets |\n|---|---|\n{}\n", rows.collect::<String>())
}

fn type_in_words(types: &Types, of_type: &str) -> String {
    if let Some(choices) = types.enums.get(of_type) {
        let values: Vec<_> = choices.iter().map(|choice| format!("`{}`", choice.value)).collect();
        return values.join(", ");
    }
    match of_type {
        "bool" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "whole number",
        "f64" => "number",
        "String" => "text",
        "SocketAddr" => "IP:PORT",
        "Vec<String>" => "list of texts",
        "Vec<EngineUrl>" => "list of URLs",
        other => panic!("the type {other} has no words here; add them"),
    }
    .to_owned()
}

/// The unit, which the name of a number tells.
fn unit(name: &str) -> &'static str {
    let is = |unit: &str| name.ends_with(unit);
    match () {
        () if is("_ms") => "milliseconds",
        () if is("_seconds") => "seconds",
        () if name.contains("bytes") => "bytes",
        () if is("_percent") => "percent",
        () => "–",
    }
}

/// A default as it would stand in a file; of many bytes also in words.
fn in_toml(default: &Value, unit: &str) -> String {
    let bytes = default.as_u64().filter(|_| unit == "bytes").unwrap_or(0);
    let words = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let words = words.into_iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    let words = words.map(|(size, name)| format!(" ({} {name})", bytes / size)).unwrap_or_default();
    format!("`{default}`{words}")
}

/// Leaves out the sentence that says the default and no more: the column has it.
fn without_plain_default(comment: &str) -> String {
    let sentences: Vec<_> = comment.split_inclusive(". ").collect();
    let is_plain = |sentence: &str| sentence.starts_with("Default ") && !sentence.contains([':', ';', ',']);
    sentences.into_iter().filter(|sentence| !is_plain(sentence)).collect::<String>()
}
