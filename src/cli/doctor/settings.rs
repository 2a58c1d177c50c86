//! Settings that can be used, and places that can be written. What is wrong with one of them hides nothing of the rest.

use std::{io, path::Path};

use super::check::Check;
use crate::{
    cli::{
        Failure,
        providers::called,
        serve::{check_settings, vault_of},
    },
    config::{Environment, Flags, Settings},
    platform::private_file,
};

/// The settings without what is wrong in them, and what that is.
pub(in crate::cli) struct Found {
    pub(in crate::cli) settings: Settings,
    /// In sentences.
    pub(in crate::cli) wrong: Vec<String>,
}

impl Found {
    /// Reads what can be read.
    pub(in crate::cli) fn load(flags: &Flags, environment: &Environment) -> Result<Self, Failure> {
        let (settings, errors) = Settings::load_usable(flags, environment.clone(), true)?;
        let mut wrong: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let Err(failure) = check_settings(&settings) else { return Ok(Self { settings, wrong }) };
        wrong.push(failure.text().to_owned());
        let (settings, _) = Settings::load_usable(flags, environment.clone(), false)?;
        Ok(Self { settings, wrong })
    }

    /// How the settings are.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> =
            self.wrong.iter().map(|wrong| Check::fail("config", format!("{wrong}; the checks below do without it"))).collect();
        match &self.settings.config_file {
            Some(file) => checks.push(Check::ok("config", file.display().to_string())),
            None if checks.is_empty() => checks.push(Check::note("config", "no config file; defaults and environment are used")),
            None => {}
        }
        checks
    }
}

/// Where keys are kept.
pub(super) async fn vault(settings: &Settings) -> Check {
    let vault = vault_of(settings);
    match vault.check().await {
        Ok(()) => Check::ok("vault", format!("the {} can keep keys", called(vault.kind()))),
        // Nothing is wrong before there is a key to keep.
        Err(error) if error.is_missing() => Check::note("vault", format!("{error}. {}", error.hint())),
        Err(error) => Check::fail("vault", format!("{error}. {}", error.hint())),
    }
}

/// The folder with the ledger.
pub(super) fn data_folder(folder: &Path) -> Check {
    match try_to_write(folder) {
        Ok(()) => Check::ok("data", folder.display().to_string()),
        Err(error) => Check::fail(
            "data",
            format!("the data folder {} cannot be written: {error}; `--data-dir` or LAVA_DATA_DIR names another one", folder.display()),
        ),
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    private_file::create_folder(folder)?;
    let path = folder.join(format!("doctor.{}", ulid::Ulid::generate()));
    let written = private_file::write_new(&path, b"");
    let _ = std::fs::remove_file(&path);
    written
}
