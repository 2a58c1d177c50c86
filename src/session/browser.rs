//! Opens a page in the person's browser. Never through a shell: the address is one argument, whatever is in it.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;
use url::Url;

use crate::config::Environment;

/// A starter that has not failed by then has done its work, or is the browser itself.
const STARTED_AFTER: Duration = Duration::from_secs(2);

/// How to open a page on this machine: commands to try in turn, each with its arguments. Without any there is no browser.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    commands: Vec<Vec<String>>,
}

impl Browser {
    /// No browser: a login then shows a link.
    pub const fn none() -> Self {
        Self { commands: Vec::new() }
    }

    /// What this machine has, as far as its environment tells.
    pub fn of(environment: &Environment) -> Self {
        if let Some(named) = environment.get("BROWSER") {
            // As in other programs: several, with a colon between them; %s stands for the address.
            let commands = named.split(':').map(|command| command.split_whitespace().map(str::to_owned).collect());
            return Self { commands: commands.filter(|words: &Vec<String>| !words.is_empty()).collect() };
        }
        let is_set = |name: &str| environment.get(name).is_some();
        // A browser that opens on the machine at the far end is one that nobody sees.
        if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
            return Self::none();
        }
        let commands: &[&[&str]] = if cfg!(target_os = "macos") {
            &[&["/usr/bin/open"]]
        } else if cfg!(windows) {
            &[&["rundll32.exe", "url.dll,FileProtocolHandler"]]
        } else if is_set("WSL_DISTRO_NAME") {
            &[&["wslview"], &["rundll32.exe", "url.dll,FileProtocolHandler"]]
        } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            &[&["xdg-open"], &["gio", "open"]]
        } else {
            &[]
        };
        Self { commands: commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect() }
    }

    /// Opens a page of a gateway. Says whether a browser was started; whether it shows the page is for the person to see.
    pub async fn open(&self, url: &Url) -> bool {
        // Only pages: other schemes start other programs.
        if !matches!(url.scheme(), "http" | "https") {
            return false;
        }
        for words in &self.commands {
            if start(words, url.as_str()).await {
                return true;
            }
        }
        false
    }
}

async fn start(words: &[String], url: &str) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|word| word.replace("%s", url)));
    if !arguments.iter().any(|word| word.contains("%s")) {
        command.arg(url);
    }
    // Our stdout carries the protocol.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    command.process_group(0);
    let Ok(mut child) = command.spawn() else { return false };
    match tokio::time::timeout(STARTED_AFTER, child.wait()).await {
        Ok(ended) => ended.is_ok_and(|status| status.success()),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn a_machine_without_a_screen_has_no_browser() {
        let count = |browser: Browser| browser.commands.len();
        assert_eq!(count(Browser::of(&Environment::of([]))), 0);
        assert_eq!(count(Browser::of(&Environment::of([("DISPLAY", ":0"), ("SSH_CONNECTION", "a 1 b 2")]))), 0);
        assert_eq!(count(Browser::of(&Environment::of([("WAYLAND_DISPLAY", "wayland-0")]))), 2);
        assert_eq!(Browser::of(&Environment::of([("BROWSER", "one --new %s:two")])).commands, [vec!["one", "--new", "%s"], vec!["two"]]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_address_is_one_argument_and_the_next_command_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let (script, told) = (folder.path().join("browser"), folder.path().join("told"));
        std::fs::write(&script, format!("#!/bin/sh\nprintf '%s|' \"$#\" \"$@\" > {}\n", told.display())).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let named = format!("/nowhere/at/all:false:{} --at=%s", script.display());
        let browser = Browser::of(&Environment::of([("BROWSER", &named)]));
        let url = Url::parse("https://lava.example/a?b=$(touch%20x)&c=;`d`").unwrap();
        assert!(browser.open(&url).await);
        assert_eq!(std::fs::read_to_string(told).unwrap(), format!("1|--at={url}|"));
        assert!(!browser.open(&Url::parse("file:///etc/passwd").unwrap()).await);
        assert!(!Browser::none().open(&url).await);
    }
}
