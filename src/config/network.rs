//! `[network]` of the config file: how providers are reached, and how long they are waited for.

use std::{path::Path, time::Duration};

use super::{ConfigError, file, place::Source};
use crate::domain::Secret;

/// Nothing is waited for longer than a day, in seconds.
const WAIT_S_MAX: u64 = 86_400;

/// How providers are reached: `[network]` of the config file.
#[derive(Clone, Debug, Default)]
pub struct NetworkSettings {
    /// A proxy's address, which can hold a password.
    pub proxy: Option<Secret>,
    /// Names that are reached without it.
    pub no_proxy: Vec<String>,
    /// Certificates in PEM, of authorities to trust beside those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// How long a provider may be silent.
    pub silence_timeout: Option<Duration>,
    /// How long a caller of a stream is left without a sign.
    pub ping_interval: Option<Duration>,
}

/// Reads the table, and the file that it names.
pub(super) fn read(network: file::Network, source: &Source) -> Result<NetworkSettings, ConfigError> {
    let file::Network { proxy, no_proxy, ca_file, silence_timeout_s, ping_interval_s } = network;
    let read_file = |path: &Path| {
        // A file beside the config file is named by its name alone.
        let path = source.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path));
        let wrong = |error| {
            ConfigError::in_file(format!(
                "{}: {}: {}",
                source.place(&["network", "ca_file"]),
                path.display(),
                file::unreadable(&path, &error)
            ))
        };
        std::fs::read(&path).map_err(wrong)
    };
    let seconds = |name: &str, seconds: Option<u64>| match seconds {
        Some(seconds) if !(1..=WAIT_S_MAX).contains(&seconds) => Err(ConfigError::in_file(format!(
            "{}: must be a number of seconds from 1 to {WAIT_S_MAX}, not {seconds}",
            source.place(&["network", name])
        ))),
        seconds => Ok(seconds.map(Duration::from_secs)),
    };
    Ok(NetworkSettings {
        proxy,
        no_proxy,
        ca_pem: ca_file.as_deref().map(read_file).transpose()?,
        silence_timeout: seconds("silence_timeout_s", silence_timeout_s)?,
        ping_interval: seconds("ping_interval_s", ping_interval_s)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_within_a_day() {
        let read = |silence_timeout_s, ping_interval_s| {
            read(file::Network { silence_timeout_s, ping_interval_s, ..file::Network::default() }, &Source::default())
        };
        let settings = read(Some(900), Some(5)).unwrap();
        assert_eq!((settings.silence_timeout, settings.ping_interval), (Some(Duration::from_secs(900)), Some(Duration::from_secs(5))));
        assert_eq!(read(None, None).unwrap().silence_timeout, None);
        assert!(read(Some(0), None).unwrap_err().to_string().contains("silence_timeout_s"));
        assert!(read(None, Some(86_401)).unwrap_err().to_string().contains("ping_interval_s"));
    }
}
