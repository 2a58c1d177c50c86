//! Where each client keeps its servers: a pure function of the system, its variables and what exists, so that every system's paths are tested on any.

use std::path::{Path, PathBuf};

use super::client::{Client, Scope};

/// The system a client runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Os {
    Linux,
    Mac,
    Windows,
}

impl Os {
    /// The one this program was built for.
    pub(crate) const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::Mac
    } else {
        Self::Linux
    };
}

/// What a client would see of the machine.
pub(crate) struct Machine<'a> {
    pub(crate) os: Os,
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) exists: &'a dyn Fn(&Path) -> bool,
}

/// Claude Desktop from the Microsoft Store reads its files below this folder of `%LOCALAPPDATA%\Packages`, and nowhere else.
const CLAUDE_PACKAGE: &str = "Claude_pzs8sxrjxfjjc";

impl Machine<'_> {
    /// The file in which `client` looks for servers.
    pub(crate) fn config_file(&self, client: Client, scope: Scope, project: &Path) -> Result<PathBuf, String> {
        match scope {
            Scope::Project => self.in_project(client, project),
            Scope::User => self.of_user(client),
        }
    }

    fn in_project(&self, client: Client, project: &Path) -> Result<PathBuf, String> {
        Ok(project.join(match client {
            Client::ClaudeCode => ".mcp.json",
            Client::Cursor => ".cursor/mcp.json",
            Client::Vscode => ".vscode/mcp.json",
            Client::Codex => ".codex/config.toml",
            Client::Zed => ".zed/settings.json",
            Client::Gemini => ".gemini/settings.json",
            Client::Opencode => {
                let names = ["opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"];
                return Ok(self.first(names.map(|name| project.join(name))));
            }
            Client::ClaudeDesktop | Client::Windsurf => {
                return Err(format!("{} has no servers for a project: leave out --scope project.", client.title()));
            }
        }))
    }

    fn of_user(&self, client: Client) -> Result<PathBuf, String> {
        let below_home = |path: &str| Ok(self.home()?.join(path));
        match client {
            Client::ClaudeDesktop => Ok(self.claude_desktop()?.join("claude_desktop_config.json")),
            Client::ClaudeCode => self.claude_code(),
            Client::Cursor => below_home(".cursor/mcp.json"),
            Client::Vscode => {
                let folder = self.app_folder()?;
                let editions = ["Code", "Code - Insiders", "VSCodium"].map(|edition| folder.join(edition));
                Ok(self.first(editions).join("User").join("mcp.json"))
            }
            Client::Codex => Ok(self.folder("CODEX_HOME").map_or_else(|| below_home(".codex"), Ok)?.join("config.toml")),
            Client::Windsurf => below_home(".codeium/windsurf/mcp_config.json"),
            Client::Zed => Ok(match self.os {
                Os::Windows => self.app_folder()?.join("Zed"),
                Os::Linux => self.app_folder()?.join("zed"),
                Os::Mac => self.home()?.join(".config").join("zed"),
            }
            .join("settings.json")),
            Client::Gemini => Ok(self.folder("GEMINI_CLI_HOME").map_or_else(|| self.home(), Ok)?.join(".gemini/settings.json")),
            Client::Opencode => {
                // It follows the XDG rules on every system.
                let folder = self.xdg_config()?.join("opencode");
                Ok(self.first(["opencode.json", "opencode.jsonc"].map(|name| folder.join(name))))
            }
        }
    }

    fn claude_desktop(&self) -> Result<PathBuf, String> {
        if self.os == Os::Windows {
            let packages = self.folder("LOCALAPPDATA").map_or_else(|| Ok::<_, String>(self.home()?.join("AppData").join("Local")), Ok)?;
            let package = packages.join("Packages").join(CLAUDE_PACKAGE);
            if (self.exists)(&package) {
                return Ok(package.join("LocalCache").join("Roaming").join("Claude"));
            }
        }
        Ok(self.app_folder()?.join("Claude"))
    }

    /// `CLAUDE_CONFIG_DIR` moves the file; an installation of the first days may still have the older name.
    fn claude_code(&self) -> Result<PathBuf, String> {
        let moved = self.folder("CLAUDE_CONFIG_DIR");
        let older = moved.clone().map_or_else(|| Ok::<_, String>(self.home()?.join(".claude")), Ok)?.join(".config.json");
        let usual = moved.map_or_else(|| self.home(), Ok)?.join(".claude.json");
        Ok(if (self.exists)(&older) && !(self.exists)(&usual) { older } else { usual })
    }

    /// Where programs keep their settings on this system.
    fn app_folder(&self) -> Result<PathBuf, String> {
        match self.os {
            Os::Linux => self.xdg_config(),
            Os::Mac => Ok(self.home()?.join("Library").join("Application Support")),
            Os::Windows => self.folder("APPDATA").map_or_else(|| Ok(self.home()?.join("AppData").join("Roaming")), Ok),
        }
    }

    fn xdg_config(&self) -> Result<PathBuf, String> {
        self.folder("XDG_CONFIG_HOME").map_or_else(|| Ok(self.home()?.join(".config")), Ok)
    }

    fn home(&self) -> Result<PathBuf, String> {
        let name = if self.os == Os::Windows { "USERPROFILE" } else { "HOME" };
        self.folder(name).ok_or_else(|| format!("No home folder was found: set {name}."))
    }

    fn folder(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from)
    }

    /// The first that exists, else the first of all.
    fn first<const N: usize>(&self, paths: [PathBuf; N]) -> PathBuf {
        let at = paths.iter().position(|path| (self.exists)(path)).unwrap_or(0);
        paths.into_iter().nth(at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path with slashes, as the system would write it.
    fn place(os: Os, client: Client, variables: &[(&str, &str)], existing: &[&str]) -> Result<String, String> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let shown = |path: &Path| path.display().to_string().replace('\\', "/");
        let exists = |path: &Path| existing.contains(&shown(path).as_str());
        let machine = Machine { os, variable: &variable, exists: &exists };
        machine.config_file(client, Scope::User, Path::new("/project")).map(|path| shown(&path))
    }

    const WINDOWS: [(&str, &str); 3] = [
        ("USERPROFILE", "C:\\Users\\Ann"),
        ("APPDATA", "C:\\Users\\Ann\\AppData\\Roaming"),
        ("LOCALAPPDATA", "C:\\Users\\Ann\\AppData\\Local"),
    ];

    #[test]
    fn every_client_on_every_system() {
        const TABLE: [(Client, &str, &str, &str); 9] = [
            (
                Client::ClaudeDesktop,
                "/h/.config/Claude/claude_desktop_config.json",
                "/h/Library/Application Support/Claude/claude_desktop_config.json",
                "C:/Users/Ann/AppData/Roaming/Claude/claude_desktop_config.json",
            ),
            (Client::ClaudeCode, "/h/.claude.json", "/h/.claude.json", "C:/Users/Ann/.claude.json"),
            (Client::Cursor, "/h/.cursor/mcp.json", "/h/.cursor/mcp.json", "C:/Users/Ann/.cursor/mcp.json"),
            (
                Client::Vscode,
                "/h/.config/Code/User/mcp.json",
                "/h/Library/Application Support/Code/User/mcp.json",
                "C:/Users/Ann/AppData/Roaming/Code/User/mcp.json",
            ),
            (Client::Codex, "/h/.codex/config.toml", "/h/.codex/config.toml", "C:/Users/Ann/.codex/config.toml"),
            (
                Client::Windsurf,
                "/h/.codeium/windsurf/mcp_config.json",
                "/h/.codeium/windsurf/mcp_config.json",
                "C:/Users/Ann/.codeium/windsurf/mcp_config.json",
            ),
            (Client::Zed, "/h/.config/zed/settings.json", "/h/.config/zed/settings.json", "C:/Users/Ann/AppData/Roaming/Zed/settings.json"),
            (Client::Gemini, "/h/.gemini/settings.json", "/h/.gemini/settings.json", "C:/Users/Ann/.gemini/settings.json"),
            (
                Client::Opencode,
                "/h/.config/opencode/opencode.json",
                "/h/.config/opencode/opencode.json",
                "C:/Users/Ann/.config/opencode/opencode.json",
            ),
        ];
        for (client, linux, mac, windows) in TABLE {
            assert_eq!(place(Os::Linux, client, &[("HOME", "/h")], &[]).as_deref(), Ok(linux));
            assert_eq!(place(Os::Mac, client, &[("HOME", "/h")], &[]).as_deref(), Ok(mac));
            assert_eq!(place(Os::Windows, client, &WINDOWS, &[]).as_deref(), Ok(windows));
            assert_eq!(place(Os::Windows, client, &WINDOWS[..1], &[]).as_deref(), Ok(windows), "without the variables of the folders");
            assert!(place(Os::Linux, client, &[], &[]).unwrap_err().contains("HOME"));
        }
    }

    #[test]
    fn claude_desktop_of_the_store_reads_its_package() {
        let package = "C:/Users/Ann/AppData/Local/Packages/Claude_pzs8sxrjxfjjc";
        let path = place(Os::Windows, Client::ClaudeDesktop, &WINDOWS, &[package]).unwrap();
        assert_eq!(path, format!("{package}/LocalCache/Roaming/Claude/claude_desktop_config.json"));
        assert!(!place(Os::Linux, Client::ClaudeDesktop, &[("HOME", "/h")], &[package]).unwrap().contains("Packages"));
    }

    #[test]
    fn the_clients_own_variables_move_their_files() {
        for (client, name, expected) in [
            (Client::ClaudeCode, "CLAUDE_CONFIG_DIR", "/x/.claude.json"),
            (Client::Codex, "CODEX_HOME", "/x/config.toml"),
            (Client::Gemini, "GEMINI_CLI_HOME", "/x/.gemini/settings.json"),
            (Client::Opencode, "XDG_CONFIG_HOME", "/x/opencode/opencode.json"),
            (Client::Zed, "XDG_CONFIG_HOME", "/x/zed/settings.json"),
            (Client::Vscode, "XDG_CONFIG_HOME", "/x/Code/User/mcp.json"),
            (Client::ClaudeDesktop, "XDG_CONFIG_HOME", "/x/Claude/claude_desktop_config.json"),
        ] {
            assert_eq!(place(Os::Linux, client, &[("HOME", "/h"), (name, "/x")], &[]).as_deref(), Ok(expected));
        }
        let mac = place(Os::Mac, Client::Zed, &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], &[]);
        assert_eq!(mac.as_deref(), Ok("/h/.config/zed/settings.json"), "Zed does not look there on a Mac");
    }

    #[test]
    fn what_exists_wins() {
        let home = [("HOME", "/h")];
        let at = |client, existing: &[&str]| place(Os::Linux, client, &home, existing).unwrap();
        assert_eq!(at(Client::Opencode, &["/h/.config/opencode/opencode.jsonc"]), "/h/.config/opencode/opencode.jsonc");
        assert_eq!(at(Client::Vscode, &["/h/.config/VSCodium"]), "/h/.config/VSCodium/User/mcp.json");
        assert_eq!(at(Client::Vscode, &["/h/.config/Code", "/h/.config/VSCodium"]), "/h/.config/Code/User/mcp.json");
        assert_eq!(at(Client::ClaudeCode, &["/h/.claude/.config.json"]), "/h/.claude/.config.json");
        assert_eq!(at(Client::ClaudeCode, &["/h/.claude/.config.json", "/h/.claude.json"]), "/h/.claude.json");
    }
}
