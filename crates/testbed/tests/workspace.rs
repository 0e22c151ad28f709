//! What the workspace promises about its own shape.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Levels of the crates; a dependency points to a lower one. `docs/architecture.md` explains them.
const LEVELS: [(&str, u32); 11] = [
    ("engine", 3),
    ("ingest-gateway", 3),
    ("access", 2),
    ("delivery", 2),
    ("state-memory", 2),
    ("state-redis", 2),
    ("capacity", 1),
    ("state-core", 1),
    ("service-lifecycle", 1),
    ("otlp-codec", 1),
    ("otlp-proto", 0),
];

/// Crates for tests and for sizing: nothing that ships depends on them.
const DEVELOPMENT: [&str; 14] = [
    "bench",
    "bench-kit",
    "chaos",
    "correlate-bench",
    "correlate-proof",
    "door-bench",
    "door-fuzz",
    "loadgen",
    "operate",
    "otlp-conformance",
    "state-bench",
    "state-conformance",
    "state-faults",
    "testbed",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let manifest =
        |directory: PathBuf| toml::from_str(&fs::read_to_string(directory.join("Cargo.toml")).unwrap());
    crates
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), manifest(entry.path()).unwrap()))
        .collect()
}

fn internal(manifest: &toml::Table, section: &str, all: &BTreeMap<String, toml::Table>) -> Vec<String> {
    let dependencies = manifest.get(section).and_then(toml::Value::as_table);
    let names = dependencies.into_iter().flat_map(|table| table.keys().cloned());
    names.filter(|name| all.contains_key(name)).collect()
}

#[test]
fn dependencies_between_crates_point_downhill_only() {
    let levels = BTreeMap::from(LEVELS);
    let manifests = manifests();
    for (name, manifest) in &manifests {
        let level = levels.get(name.as_str());
        assert!(level.is_some() || DEVELOPMENT.contains(&name.as_str()), "crate {name} has no level");
        for section in ["dependencies", "build-dependencies"] {
            for dependency in internal(manifest, section, &manifests) {
                let below = levels.get(dependency.as_str());
                let points_down = level.is_none_or(|level| below.is_some_and(|below| below < level));
                assert!(points_down, "{name} must not depend on {dependency}: it is not on a lower level");
            }
        }
        for dependency in internal(manifest, "dev-dependencies", &manifests) {
            let below = levels.get(dependency.as_str());
            let allowed =
                DEVELOPMENT.contains(&dependency.as_str()) || level.zip(below).is_some_and(|(l, b)| b < l);
            assert!(allowed || level.is_none(), "{name} must not test with {dependency}");
        }
    }
}

#[test]
fn only_the_engines_main_names_a_backend() {
    for file in sources(&root().join("crates/engine/src")) {
        let is_main = file.ends_with("main.rs");
        let text = fs::read_to_string(&file).unwrap();
        for backend in ["InMemoryStateManager", "RedisStateManager"] {
            assert_eq!(text.contains(backend), is_main, "{backend} in {}", file.display());
        }
    }
}

#[test]
fn every_crate_follows_the_lints_of_the_workspace() {
    for (name, manifest) in manifests() {
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(inherits, Some(true), "crate {name} has no [lints] workspace = true");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, _) in manifests() {
        for directory in ["src", "tests"] {
            for file in sources(&root().join("crates").join(&name).join(directory)) {
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.starts_with("//! "), "{} does not begin with //!", file.display());
            }
        }
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
