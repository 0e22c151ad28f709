//! The command line that every process has.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::{
    App,
    config::{Config, Keys, environment_variable},
};

/// `--config`, `--set` and `--check-config`; a binary with arguments of its own flattens them.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// TOML file with the configuration; a commented sample is in deploy/config
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one key, over file and environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Print the effective configuration with its sources, secrets masked, and exit
    #[arg(long)]
    pub check_config: bool,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

impl Arguments {
    /// Parses the command line of the process `app` with the configuration `C`.
    ///
    /// # Errors
    /// Also for `--help` and `--version`: `clap::Error::exit` prints and ends as users expect.
    pub fn parse<C: Config>(
        app: &App,
        command_line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let command = CommandLine::command()
            .name(app.name)
            .version(format!("{} ({})", app.version, app.revision))
            .about(app.about)
            .subcommands(
                app.commands.iter().map(|command| clap::Command::new(command.name).about(command.about)),
            )
            .disable_help_subcommand(true)
            .after_help("--help also lists every key and its environment variable.")
            .after_long_help(describe_keys::<C>());
        let matches = command.try_get_matches_from(command_line)?;
        CommandLine::from_arg_matches(&matches).map(|parsed| parsed.arguments)
    }
}

fn describe_keys<C: Config>() -> String {
    let mut text = String::from(
        "Configuration, later wins: defaults, --config FILE, .env in the working directory, \
         environment, --set.\nExit codes: 0 ended as asked, 1 failed, 2 wrong command line, \
         78 wrong configuration.\n\nOTEL_EXPORTER_OTLP_ENDPOINT switches on traces of the process \
         itself, and OTEL_* variables say the rest.\n\nKeys and their environment variables:\n",
    );
    for key in Keys::of::<C>().leaves() {
        text.push_str(&format!("  {key:<28} {}", environment_variable(&key)));
        for (alias, _) in C::ENVIRONMENT_ALIASES.iter().filter(|(_, target)| *target == key) {
            text.push_str(&format!(", {alias}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{AdminConfig, Command, LogConfig, ShutdownConfig};

    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Settings {
        admin: AdminConfig,
        log: LogConfig,
        shutdown: ShutdownConfig,
    }

    impl Config for Settings {
        const ENVIRONMENT_ALIASES: &'static [(&'static str, &'static str)] = &[("LOG_LEVEL", "log.level")];

        fn admin(&self) -> &AdminConfig {
            &self.admin
        }

        fn log(&self) -> &LogConfig {
            &self.log
        }

        fn shutdown(&self) -> &ShutdownConfig {
            &self.shutdown
        }
    }

    const APP: App = App {
        name: "engine",
        version: "1.2.3",
        revision: "abc",
        about: "Keeps",
        metrics: &[],
        commands: &[Command { name: "capacity", about: "Plans", run: |_| ExitCode::SUCCESS }],
    };

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let command_line = ["engine"].iter().chain(arguments);
        Arguments::parse::<Settings>(&APP, command_line).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_read_and_set_may_be_repeated() {
        let arguments = ["--config", "a.toml", "--set", "a=1", "--set", "b=2", "--check-config"];
        let parsed = parse(&arguments).unwrap();
        assert_eq!(parsed.config, Some(PathBuf::from("a.toml")));
        assert_eq!(parsed.set, ["a=1", "b=2"]);
        assert!(parsed.check_config);
    }

    #[test]
    fn help_lists_every_command_and_every_key_with_its_environment_names() {
        let help = parse(&["--help"]).unwrap_err();
        for line in ["CORRELATION__LOG__LEVEL, LOG_LEVEL", "CORRELATION__ADMIN__LISTEN", "capacity  Plans"] {
            assert!(help.contains(line), "{line} is missing in:\n{help}");
        }
        assert_eq!(parse(&["--version"]).unwrap_err(), "engine 1.2.3 (abc)\n");
    }
}
