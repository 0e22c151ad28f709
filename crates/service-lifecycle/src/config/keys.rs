//! The keys that a configuration knows, and the reading of text as the type of its key.

use figment::value::{Dict, Value};

use super::Config;

/// The known keys of a configuration: those of its serialized default.
#[derive(Debug)]
pub(crate) struct Keys {
    defaults: Value,
}

impl Keys {
    /// Collects the keys of `C`.
    pub(crate) fn of<C: Config>() -> Self {
        let defaults =
            Value::serialize(C::default()).expect("a configuration is plain data and serializes to a map");
        Self { defaults }
    }

    /// The default of `key`, `None` when the key is unknown.
    pub(super) fn default(&self, key: &str) -> Option<&Value> {
        let known = self.defaults.find_ref(key);
        known.filter(|_| !key.is_empty() && !key.split('.').any(str::is_empty))
    }

    /// Every key that holds a value rather than a section, in alphabetical order by section,
    /// values before sections: the order of a TOML file.
    pub(crate) fn leaves(&self) -> Vec<String> {
        let mut leaves = Vec::new();
        if let Value::Dict(_, dict) = &self.defaults {
            collect_leaves("", dict, &mut leaves);
        }
        leaves
    }

    /// Says which keys exist where `key` was looked for.
    pub(super) fn describe_siblings(&self, key: &str) -> String {
        let mut section = key;
        while let Some((parent, _)) = section.rsplit_once('.') {
            section = parent;
            if let Some(Value::Dict(_, dict)) = self.default(section) {
                return format!("unknown key; {section} has {}", names(dict));
            }
        }
        match &self.defaults {
            Value::Dict(_, dict) => format!("unknown key; there are {}", names(dict)),
            _ => "unknown key; there are none".to_owned(),
        }
    }

    /// Reads `text` as the type that `key` has.
    ///
    /// # Errors
    /// What is allowed, as a phrase.
    pub(super) fn parse(&self, key: &str, text: &str) -> Result<Value, String> {
        match self.default(key) {
            None => Err(self.describe_siblings(key)),
            Some(default) => parse_like(default, text),
        }
    }
}

/// True for a section. An empty map is a value: its keys are free.
pub(super) fn is_section(value: &Value) -> bool {
    value.as_dict().is_some_and(|dict| !dict.is_empty())
}

/// A TOML value on its own, as in `--set key=VALUE`.
pub(super) fn parse_toml_value(text: &str) -> Option<Value> {
    let mut dict: Dict = toml::from_str(&format!("value = {text}")).ok()?;
    (dict.len() == 1).then(|| dict.remove("value")).flatten()
}

fn parse_like(default: &Value, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match default {
        Value::String(..) | Value::Char(..) => Ok(Value::from(text)),
        Value::Bool(..) => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Value::from(true)),
            "false" | "0" => Ok(Value::from(false)),
            _ => Err("expected true or false".to_owned()),
        },
        Value::Num(_, number) => parse_number(number.to_f64().is_some(), trimmed),
        Value::Array(..) if trimmed.starts_with('[') => parse_toml_value(trimmed)
            .filter(|value| matches!(value, Value::Array(..)))
            .ok_or_else(|| r#"expected a list, such as ["a", "b"] or a,b"#.to_owned()),
        Value::Array(..) => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::from(items.map(str::to_owned).collect::<Vec<_>>()))
        }
        Value::Dict(_, dict) if !dict.is_empty() => {
            Err(format!("expected one of its keys, for this is a section: {}", names(dict)))
        }
        // Optional values and free maps do not tell their type.
        Value::Dict(..) | Value::Empty(..) => {
            Ok(parse_toml_value(trimmed).unwrap_or_else(|| Value::from(text)))
        }
    }
}

fn parse_number(is_float: bool, text: &str) -> Result<Value, String> {
    if is_float {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        return number.map(Value::from).ok_or_else(|| "expected a number".to_owned());
    }
    // TOML groups digits with `_`; so may the environment.
    let digits = text.replace('_', "");
    let unsigned = digits.parse::<u64>().ok().map(Value::from);
    let signed = || digits.parse::<i64>().ok().map(Value::from);
    unsigned.or_else(signed).ok_or_else(|| "expected a whole number".to_owned())
}

fn collect_leaves(prefix: &str, dict: &Dict, leaves: &mut Vec<String>) {
    for (name, _) in dict.iter().filter(|(_, value)| !is_section(value)) {
        leaves.push(format!("{prefix}{name}"));
    }
    for (name, value) in dict {
        if let Value::Dict(_, inner) = value
            && !inner.is_empty()
        {
            collect_leaves(&format!("{prefix}{name}."), inner, leaves);
        }
    }
}

fn names(dict: &Dict) -> String {
    dict.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_the_type_of_the_key() {
        let list = || Value::from(vec!["a", "b"]);
        for (default, text, expected) in [
            (Value::from(false), "TRUE", Ok(Value::from(true))),
            (Value::from(true), "0", Ok(Value::from(false))),
            (Value::from(true), "yes", Err("expected true or false")),
            (Value::from(1u16), "42", Ok(Value::from(42u64))),
            (Value::from(1u16), "1_000", Ok(Value::from(1000u64))),
            (Value::from(1u16), "-1", Ok(Value::from(-1i64))),
            (Value::from(1u16), "1.5", Err("expected a whole number")),
            (Value::from(1.5f64), "2", Ok(Value::from(2f64))),
            (Value::from("x"), "42", Ok(Value::from("42"))),
            (list(), "a, b,", Ok(list())),
            (list(), r#"["a", "b"]"#, Ok(list())),
            (list(), r#"["a""#, Err(r#"expected a list, such as ["a", "b"] or a,b"#)),
        ] {
            assert_eq!(parse_like(&default, text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_toml_value_cannot_smuggle_in_a_second_key() {
        assert!(parse_toml_value("1\nother = 2").is_none());
        assert_eq!(parse_toml_value("'a'"), Some(Value::from("a")));
    }
}
