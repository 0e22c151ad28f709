//! Backup of a Redis Cluster, an RDB file for each primary, and a cluster that begins with what such files hold. The
//! steps are those of `docs/operations.md`, "Back up and restore".

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{RedisCluster, RedisNode};
use crate::process::Process;

/// For the copy of one primary.
const COPY_DEADLINE: Duration = Duration::from_secs(60);

impl RedisCluster {
    /// Copies what each primary holds into a file of `directory`, by `redis-cli --rdb`; answers the files, in the order
    /// of the slots.
    ///
    /// # Errors
    /// When `redis-cli` is missing, or a primary does not give everything within a minute.
    pub async fn back_up(&self, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (index, shard) in self.shards().await?.iter().enumerate() {
            let node = &self.nodes()[shard.primary];
            let file = directory.join(format!("shard-{}.rdb", index + 1));
            let (address, name) = (node.address(), format!("backup of {}", node.process().name()));
            let mut command = Command::new("redis-cli");
            command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "--rdb"]);
            command.arg(&file);
            let log = directory.join(format!("shard-{}.log", index + 1));
            let copying = Process::start(&name, command, &log)
                .context("redis-cli is needed; install it with: sh deploy/setup.sh")?;
            let status = copying.wait(COPY_DEADLINE).await?;
            ensure!(status.success(), "the {name} ended with {status}; see {}", log.display());
            files.push(file);
        }
        Ok(files)
    }

    /// Replaces what the cluster holds by a backup of one with as many primaries and the same slots at each.
    ///
    /// # Errors
    /// When there are more or fewer files than primaries, or a server does not start with its file.
    pub async fn restore(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        let shards = self.shards().await?;
        ensure!(shards.len() == files.len(), "{} files for {} primaries", files.len(), shards.len());
        let primaries: Vec<&RedisNode> = shards.iter().map(|shard| &self.nodes()[shard.primary]).collect();
        let replicas = shards.iter().flat_map(|shard| &shard.replicas);
        let replicas: Vec<&RedisNode> = replicas.map(|index| &self.nodes()[*index]).collect();
        // With an append-only file to come, a server does not look for an RDB file.
        append_only(self.nodes(), "no").await?;
        // Replicas first: none may take the place of a primary that is away.
        for node in replicas.iter().chain(&primaries) {
            node.terminate().await?;
            remove_data(node.directory())?;
        }
        for (node, file) in primaries.iter().zip(files) {
            fs::copy(file, node.directory().join("dump.rdb"))
                .with_context(|| format!("failed to copy {}", file.display()))?;
        }
        for node in primaries.iter().chain(&replicas) {
            node.restart().await?;
        }
        self.wait_healthy().await?;
        append_only(self.nodes(), "yes").await
    }
}

/// Turns append-only files on or off, from now on and after a restart.
async fn append_only(nodes: &[RedisNode], value: &str) -> anyhow::Result<()> {
    for node in nodes {
        node.command(&["CONFIG", "SET", "appendonly", value]).await?;
        node.command(&["CONFIG", "REWRITE"]).await?;
    }
    Ok(())
}

fn remove_data(directory: &Path) -> anyhow::Result<()> {
    let removed =
        [fs::remove_dir_all(directory.join("appendonlydir")), fs::remove_file(directory.join("dump.rdb"))];
    for result in removed {
        match result {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("failed to remove data from {}", directory.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
