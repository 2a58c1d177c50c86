//! The flags that suggested commands carry: those of this process. A server that a client starts has them in its environment, where `install` puts them; a person's shell does not.

use std::path::PathBuf;

use super::Cli;
use crate::{
    config::{self, Environment},
    domain::invocation,
};

/// Sets them, once.
pub(super) fn set(cli: &Cli) {
    let of_client = if cli.command.is_none() { Environment::of_process() } else { Environment::default() };
    let path = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| of_client.get(name).map(PathBuf::from));
    let sandbox = cli.sandbox || of_client.get("LAVA_SANDBOX").is_some_and(|text| config::is_on(text) == Some(true));
    let (config, data_dir) = (path(&cli.config, "LAVA_CONFIG"), path(&cli.data_dir, "LAVA_DATA_DIR"));
    let store = cli.store.map(|store| PathBuf::from(store.as_str()));
    let paths = [("--config", &config), ("--data-dir", &data_dir), ("--store", &store)];
    let paths = paths.into_iter().filter_map(|(flag, path)| Some((flag, Some(path.as_deref()?))));
    invocation::set(&sandbox.then_some(("--sandbox", None)).into_iter().chain(paths).collect::<Vec<_>>());
}
