//! The commented sample of the configuration stays true.

use engine::Config;
use service_lifecycle::Config as _;

const SAMPLE: &str = include_str!("../../../../deploy/config/engine.toml");

#[test]
fn the_sample_is_the_default() {
    let sample: Config = toml::from_str(SAMPLE).unwrap();
    assert_eq!(sample, Config::default());
    assert_eq!(sample.violations(), []);
}

#[test]
fn the_sample_names_every_key() {
    let sample: toml::Table = toml::from_str(SAMPLE).unwrap();
    let all = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(sample, all);
}
