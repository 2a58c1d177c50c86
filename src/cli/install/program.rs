//! Which path of this program a client is told: absolute, and one that an update of the program does not take away.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The path to write down, and a warning if it may vanish.
pub(super) fn path(search_path: Option<&str>) -> Result<(String, Option<String>), String> {
    let running = std::env::current_exe().map_err(|error| format!("The path of this program is not known: {error}."))?;
    if !running.exists() {
        return Err(format!("{} was replaced while it ran. Run the command again.", running.display()));
    }
    let path = stable(&running, search_path);
    let warning = is_of_a_build(&path).then(|| {
        format!(
            "{} is in a build's target folder and may disappear; `cargo install --path . --locked` installs lava-mcp permanently.",
            path.display()
        )
    });
    let text = path.to_str().ok_or_else(|| {
        format!("The path {} is not Unicode, so clients cannot store it. Install lava-mcp somewhere else.", path.display())
    })?;
    Ok((text.to_owned(), warning))
}

/// A name on the search path that leads to the running program, such as Homebrew's link to the version of the day; else the program itself.
fn stable(running: &Path, search_path: Option<&str>) -> PathBuf {
    let target = fs::canonicalize(running).ok();
    let folders = std::env::split_paths(search_path.unwrap_or_default()).filter(|folder| folder.is_absolute());
    let names = folders.map(|folder| folder.join(format!("lava-mcp{}", std::env::consts::EXE_SUFFIX)));
    names.into_iter().find(|name| target.is_some() && fs::canonicalize(name).ok() == target).unwrap_or_else(|| running.to_owned())
}

/// Whether it lies where cargo builds, which the next `cargo clean` empties.
fn is_of_a_build(path: &Path) -> bool {
    path.ancestors().skip(1).any(|folder| folder.file_name().is_some_and(|name| name == "target") && folder.join("CACHEDIR.TAG").exists())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_the_search_path_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(folder.path()).unwrap();
        let (cellar, bin, other) = (home.join("cellar/1.0"), home.join("bin"), home.join("other"));
        for folder in [&cellar, &bin, &other] {
            fs::create_dir_all(folder).unwrap();
        }
        let real = cellar.join("lava-mcp");
        fs::write(&real, "program").unwrap();
        fs::write(other.join("lava-mcp"), "another").unwrap();
        std::os::unix::fs::symlink(&real, bin.join("lava-mcp")).unwrap();
        let search = format!("relative:{}:{}", other.display(), bin.display());
        assert_eq!(stable(&real, Some(&search)), bin.join("lava-mcp"));
        assert_eq!(stable(&real, Some(other.to_str().unwrap())), real, "another program of that name is not ours");
        assert_eq!(stable(&real, None), real);
        fs::create_dir_all(home.join("target/debug")).unwrap();
        fs::write(home.join("target/CACHEDIR.TAG"), "").unwrap();
        assert!(is_of_a_build(&home.join("target/debug/lava-mcp")) && !is_of_a_build(&real));
    }
}
