//! docs/configuration.md says of every key what the configuration types say of it; `just configuration` writes it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

mod page;
mod source;

use std::{env, fs, path::Path};

use source::Types;

const BEGIN: &str = "<!-- keys: begin; written by `just configuration` -->\n";
const END: &str = "<!-- keys: end -->\n";

/// Files with the types that the configurations of engine and gateway consist of.
const FILES: [&str; 12] = [
    "access/src/admission.rs",
    "access/src/guard.rs",
    "delivery/src/config.rs",
    "engine/src/config.rs",
    "engine/src/config/correlation.rs",
    "engine/src/config/redis.rs",
    "engine/src/link/config.rs",
    "engine/src/watch/config.rs",
    "ingest-gateway/src/config.rs",
    "service-lifecycle/src/config/sections.rs",
    "service-lifecycle/src/port/tls.rs",
    "state-redis/src/config.rs",
];

#[test]
fn the_page_says_of_every_key_what_its_type_says() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let types = Types::read(&FILES.map(|file| crates.join(file)));
    let tables = [
        page::tables::<engine::Config>(&types, "Engine", "Config"),
        page::tables::<ingest_gateway::GatewayConfig>(&types, "Gateway", "GatewayConfig"),
    ]
    .concat();
    let path = crates.join("../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page marks where its tables begin");
    let (found, after) = rest.split_once(END).expect("the page marks where its tables end");
    if env::var_os("WRITE_CONFIGURATION").is_some() {
        return fs::write(&path, [before, BEGIN, &tables, END, after].concat()).unwrap();
    }
    let differing = |these: &str, those: &str, mark: char| {
        let missing = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        missing.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    let difference = differing(found, &tables, '-') + &differing(&tables, found, '+');
    assert!(
        found == tables,
        "docs/configuration.md is not as the types are; run: just configuration\n{difference}"
    );
}
