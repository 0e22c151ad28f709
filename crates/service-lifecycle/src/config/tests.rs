//! The rules of loading, each over real files and given environments.

use std::fs;

use proptest::{collection::vec, prelude::*, sample::select, test_runner::FileFailurePersistence};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    use_redis_state: bool,
    correlation: Correlation,
    redis: Redis,
    admin: AdminConfig,
    log: LogConfig,
    shutdown: ShutdownConfig,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Correlation {
    keys: Vec<String>,
    limit: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Redis {
    url: String,
    max_connections: u16,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: "redis://127.0.0.1:6379".to_owned(), max_connections: 50 }
    }
}

impl Config for Settings {
    const ENVIRONMENT_ALIASES: &'static [(&'static str, &'static str)] = &[
        ("USE_REDIS_STATE", "use_redis_state"),
        ("REDIS_URL", "redis.url"),
        ("REDIS_MAX_CONNECTIONS", "redis.max_connections"),
    ];
    const SECRETS: &'static [&'static str] = &["redis.url"];
    const SIBLING_SECTIONS: &'static [&'static str] = &["http"];

    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn shutdown(&self) -> &ShutdownConfig {
        &self.shutdown
    }

    fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.use_redis_state && self.redis.url.is_empty() {
            violations.push(Violation::between(
                &["use_redis_state", "redis.url"],
                "expected a URL when the state is in Redis",
            ));
        }
        if self.redis.max_connections == 0 {
            violations.push(Violation::new("redis.max_connections", "expected at least 1"));
        }
        violations
    }
}

/// Sources in a directory of their own.
struct Case {
    directory: TempDir,
    sources: Sources,
}

fn case() -> Case {
    let directory = tempfile::tempdir().unwrap();
    let dotenv = directory.path().join(".env");
    Case { directory, sources: Sources { dotenv, ..Sources::default() } }
}

impl Case {
    fn file(mut self, content: &str) -> Self {
        let path = self.directory.path().join("engine.toml");
        fs::write(&path, content).unwrap();
        self.sources.file = Some(path);
        self
    }

    fn dotenv(self, content: &str) -> Self {
        fs::write(&self.sources.dotenv, content).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, flag: &str) -> Self {
        self.sources.set.push(flag.to_owned());
        self
    }

    fn load(&self) -> Result<Loaded<Settings>, String> {
        let prefix = format!("{}/", self.directory.path().display());
        load(&self.sources).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    fn config(&self) -> Settings {
        self.load().unwrap().config
    }

    fn error(&self) -> String {
        self.load().unwrap_err()
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    assert_eq!(case().config(), Settings::default());
}

#[test]
fn each_layer_wins_over_the_ones_before() {
    let file = || case().file("[redis]\nmax_connections = 1\nurl = 'redis://file'\n");
    let dotenv = || file().dotenv("REDIS_MAX_CONNECTIONS=2");
    let environment = || dotenv().env("REDIS_MAX_CONNECTIONS", "3");
    let flag = || environment().set("redis.max_connections=4");
    let found = [file(), dotenv(), environment(), flag()].map(|case| case.config().redis);
    assert_eq!(found.each_ref().map(|redis| redis.max_connections), [1, 2, 3, 4]);
    assert!(found.iter().all(|redis| redis.url == "redis://file"), "other keys stay");
}

#[test]
fn the_own_name_wins_over_its_alias_in_the_same_layer_only() {
    let both = case().env("CORRELATION__REDIS__URL", "redis://own").env("REDIS_URL", "redis://alias");
    assert_eq!(both.config().redis.url, "redis://own");
    let layers = case().dotenv("CORRELATION__REDIS__URL=redis://own").env("REDIS_URL", "redis://alias");
    assert_eq!(layers.config().redis.url, "redis://alias");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config = case().env("REDIS_URL", "").env("CORRELATION__REDIS__MAX_CONNECTIONS", "").config();
    assert_eq!(config, Settings::default());
}

#[test]
fn values_take_the_type_of_their_key() {
    let config = case()
        .env("USE_REDIS_STATE", "True")
        .env("CORRELATION__CORRELATION__KEYS", "order_id, user_id")
        .env("CORRELATION__CORRELATION__LIMIT", "7")
        .env("CORRELATION__LOG__FORMAT", "json")
        .set("redis.url=redis://h:1?node=i:2")
        .set("log.level='debug'")
        .config();
    assert!(config.use_redis_state);
    assert_eq!(config.correlation.keys, ["order_id", "user_id"]);
    assert_eq!(config.correlation.limit, Some(7));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.redis.url, "redis://h:1?node=i:2");
    assert_eq!(config.log.level, "debug");
}

#[test]
fn an_error_gives_key_value_source_and_what_is_allowed() {
    let many = r#"redis.max_connections = "many""#;
    for (case, expected) in [
        (
            case().env("REDIS_MAX_CONNECTIONS", "many"),
            format!("{many} (environment variable REDIS_MAX_CONNECTIONS): expected a whole number"),
        ),
        (
            case().dotenv("# mine\nREDIS_MAX_CONNECTIONS=many"),
            format!("{many} (REDIS_MAX_CONNECTIONS in file .env, line 2): expected a whole number"),
        ),
        (
            case().set("redis.max_connections=many"),
            format!("{many} (flag --set): expected a whole number"),
        ),
        (
            case().file("[redis]\nmax_connections = 'many'"),
            format!("{many} (file engine.toml): expected a whole number from 0 to 65535"),
        ),
        (
            case().set("redis.max_connections=70000"),
            "redis.max_connections = 70000 (flag --set): expected a whole number from 0 to 65535".to_owned(),
        ),
        (
            case().set("redis.max_connections=0"),
            "redis.max_connections = 0 (flag --set): expected at least 1".to_owned(),
        ),
        (
            case().set("use_redis_state=yes"),
            r#"use_redis_state = "yes" (flag --set): expected true or false"#.to_owned(),
        ),
        (
            case().set("log.format=xml"),
            r#"log.format = "xml" (flag --set): expected one of text, json"#.to_owned(),
        ),
        (
            case().set("log.level=loud=very"),
            r#"log.level = "loud=very" (flag --set): expected error, warn, info, debug or trace, also per module: info,engine=debug"#.to_owned(),
        ),
        (
            case().set("admin.listen=localhost"),
            r#"admin.listen = "localhost" (flag --set): expected IP:PORT, such as 127.0.0.1:4317, 0.0.0.0:4317 or [::]:4317"#.to_owned(),
        ),
        (
            case().set("admin.tls.key=own.key"),
            r#"admin.tls.certificate = "" (default), admin.tls.key = "own.key" (flag --set): expected both for TLS, or neither"#.to_owned(),
        ),
        (
            case().file("correlation = 3"),
            "correlation = 3 (file engine.toml): expected a section, written as [correlation]".to_owned(),
        ),
        (
            case().set("redis=3"),
            r#"redis = "3" (flag --set): expected one of its keys, for this is a section: max_connections, url"#.to_owned(),
        ),
        (
            case().set("redis.url"),
            "redis.url (flag --set): expected KEY=VALUE, such as log.level=debug".to_owned(),
        ),
        (
            case().env("USE_REDIS_STATE", "1").set("redis.url="),
            r#"use_redis_state = true (environment variable USE_REDIS_STATE), redis.url = "" (flag --set): expected a URL when the state is in Redis"#.to_owned(),
        ),
    ] {
        assert_eq!(case.error(), format!("the configuration is not valid:\n  {expected}"));
    }
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand() {
    let unknown = "unknown key; redis has max_connections, url";
    for (case, source) in [
        (case().file("[redis]\nurls = 'x'"), "file engine.toml"),
        (case().env("CORRELATION__REDIS__URLS", "x"), "environment variable CORRELATION__REDIS__URLS"),
        (case().dotenv("CORRELATION__REDIS__URLS=x"), "CORRELATION__REDIS__URLS in file .env, line 1"),
        (case().set("redis.urls=x"), "flag --set"),
    ] {
        let expected = format!("the configuration is not valid:\n  redis.urls ({source}): {unknown}");
        assert_eq!(case.error(), expected);
    }
    let top = "unknown key; there are admin, correlation, log, redis, shutdown, use_redis_state";
    assert!(case().set("rediss.url=x").error().contains(top));
    assert!(case().file("'redis.url' = 'x'").error().contains("unknown key"));
}

#[test]
fn foreign_variables_and_those_of_siblings_are_passed_over() {
    let shared = "DATABASE_URL=\"broken\nPATH\nCORRELATION__HTTP__LISTEN=127.0.0.1:4318\n";
    let sibling = case().dotenv(shared).env("CORRELATION__HTTP__LISTEN", "x");
    assert_eq!(sibling.config(), Settings::default());
    assert!(case().set("http.listen=x").error().contains("unknown key"));
}

#[test]
fn an_own_broken_line_of_a_dotenv_file_is_named() {
    let error = case().dotenv("A=1\nREDIS_URL=\"redis://h\n").error();
    assert!(error.contains("redis.url (REDIS_URL in file .env, line 2): the quote"), "{error}");
}

#[test]
fn a_directory_called_dotenv_is_not_a_source() {
    let case = case();
    fs::create_dir(&case.sources.dotenv).unwrap();
    assert_eq!(case.config(), Settings::default());
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = case()
        .file("[log]\nformat = 1\n[shutdown]\ngrace_ms = 'long'\n[nothing]\n")
        .env("USE_REDIS_STATE", "perhaps")
        .error();
    for key in ["log.format", "shutdown.grace_ms", "nothing", "use_redis_state"] {
        assert_eq!(error.matches(&format!("\n  {key}")).count(), 1, "{key} in {error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let mut missing = case();
    missing.sources.file = Some("/nowhere/engine.toml".into());
    assert!(missing.error().contains("failed to read /nowhere/engine.toml (flag --config): No such file"));
    let error = case().file("[redis]\nurl = 'redis://:geheim@h\n").error();
    assert!(error.contains("file engine.toml, line 2: not TOML:"), "{error}");
    assert!(!error.contains("geheim"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let loaded = case().env("REDIS_URL", "redis://me:geheim@h:1").load().unwrap();
    let shown = format!("{} {:?}", loaded.effective, loaded.effective);
    assert!(shown.contains("redis://me:***@h:1") && !shown.contains("geheim"), "{shown}");
    let broken = case().env("REDIS_URL", "x").file("[redis]\nurl = ['redis://:geheim@h']");
    assert_eq!(broken.config().redis.url, "x", "a later layer replaces a broken value");
    let error = case().file("[redis]\nurl = ['redis://:geheim@h']").error();
    assert!(error.contains("redis.url") && !error.contains("geheim"), "{error}");
    let misspelt = case().set("redis.uri=redis://:geheim@h").error();
    assert!(!misspelt.contains("geheim"), "{misspelt}");
}

#[test]
fn the_effective_configuration_names_sources_and_loads_again() {
    let first =
        case().env("CORRELATION__CORRELATION__KEYS", "a,b").set("shutdown.grace_ms=7").load().unwrap();
    let text = first.effective.to_string();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("keys = ").ends_with("# environment variable CORRELATION__CORRELATION__KEYS"));
    assert!(line("grace_ms = 7 ").ends_with("# flag --set"));
    assert!(line("use_redis_state = false ").ends_with("# default"));
    assert!(line("# limit = (unset)").ends_with("# default"));
    assert_eq!(first.effective.changed(), 2);
    assert_eq!(case().file(&text).config(), first.config);
}

fn any_text() -> impl Strategy<Value = String> {
    let words = select(vec![
        "redis.url",
        "[redis]\n",
        "url",
        "REDIS_URL",
        "CORRELATION__REDIS__MAX_CONNECTIONS",
        "correlation.keys",
        "log.level",
        "=",
        " ",
        "\n",
        "'",
        "\"",
        "\"\"\"",
        "#",
        "\\u0000",
        "[",
        "]",
        "{",
        "}",
        ".",
        "__",
        "export ",
        "-1",
        "1e400",
        "99999999999999999999",
        "1979-05-27T07:32:00Z",
        "true",
        "redis://:p%00@[::1]:99999/",
    ]);
    vec(prop_oneof![9 => words.prop_map(str::to_owned), 1 => any::<String>()], 0..16)
        .prop_map(|it| it.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_a_configuration_or_an_error(file in any_text(), dotenv in any_text(), flag in any_text()) {
        let cases = [case().file(&file), case().dotenv(&dotenv), case().set(&flag), case().env(&flag, &dotenv)];
        for case in cases {
            match case.load() {
                Ok(loaded) => prop_assert!(loaded.effective.to_string().contains("[redis]")),
                Err(error) => prop_assert!(!error.is_empty()),
            }
        }
    }
}

#[test]
fn a_value_is_shown_as_it_would_be_written_without_quotes() {
    assert_eq!(config_value(&LogFormat::Json), "json");
    assert_eq!(config_value(&50), "50");
}
