//! The house rules that a compiler does not check: who may import whom, how long files are, and words to avoid.

mod words;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What each module may import of ours. A row lists everything that is allowed.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("platform", &[]),
    ("listen", &["platform"]),
    ("catalog", &["domain"]),
    ("translate", &["domain"]),
    ("store", &["domain", "platform"]),
    ("config", &["domain"]),
    ("client", &["domain", "translate"]),
    ("session", &["domain", "client", "config", "platform"]),
    ("gateway", &["domain", "catalog", "translate", "store", "listen"]),
    ("mcp", &["domain", "client", "session", "listen", "platform"]),
    ("cli", &["domain", "catalog", "client", "config", "gateway", "listen", "mcp", "platform", "session", "store"]),
];

/// Crates that only one module may name.
const ONLY_IN: [(&str, &[&str]); 4] = [("rusqlite::", &["store"]), ("rmcp::", &["mcp"]), ("keyring::", &["session"]), ("clap::", &["cli"])];

/// A file above this many lines explains itself in the list below.
const LINES_MAX: usize = 400;
const LONG_FILES: [(&str, &str); 0] = [];

pub(crate) fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

fn module(path: &Path) -> String {
    path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The names after `crate::`, in plain paths and in the first level of braces.
fn imports(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(inner) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in inner.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            names.push(name);
        } else {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names.into_iter().map(|name| name.trim().split("::").next().unwrap().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_import_only_what_they_may() {
    let modules: Vec<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    for (path, text) in sources() {
        let module = module(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else { continue };
        for name in imports(&text) {
            let is_fine = name == module || allowed.contains(&name.as_str()) || !modules.contains(&name.as_str());
            assert!(is_fine, "{} imports {name}; {module} may import {allowed:?}", path.display());
        }
        for (name, homes) in ONLY_IN {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let is_named = code.filter(|line| line.contains(name)).count() > 0;
            assert!(!is_named || homes.contains(&module.as_str()), "{} names {name}, which only {homes:?} may", path.display());
        }
    }
}

#[test]
fn the_rule_is_seen_when_it_is_broken() {
    let text = "use crate::{\n    domain::{Money, Rate},\n    store::Store,\n};\nfn f() { crate::gateway::x(); }\n";
    assert_eq!(imports(text), ["domain", "store", "gateway"]);
}

#[test]
fn only_config_reads_the_environment_and_only_the_wall_clock_is_asked_in_one_place() {
    for (path, text) in sources() {
        let shown = path.display();
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        if module(&path) != "config" {
            assert!(!code.contains("env::var"), "{shown} reads the environment");
        }
        if path != Path::new("store/clock.rs") {
            assert!(
                !code.contains("Timestamp::now") && !code.contains("SystemTime::now"),
                "{shown} asks the wall clock; take the shared one"
            );
        }
    }
}

#[test]
fn every_file_says_why_it_exists_and_is_not_a_drawer() {
    for (path, text) in sources() {
        let shown = path.to_str().unwrap();
        assert!(text.starts_with("//!"), "{shown} does not begin with a //! comment");
        let lines = text.lines().count();
        let is_explained = LONG_FILES.iter().any(|(file, _)| *file == shown);
        assert!(lines <= LINES_MAX || is_explained, "{shown} has {lines} lines; split it, or explain it in LONG_FILES");
        assert!(lines > LINES_MAX || !is_explained, "{shown} is short again; take it out of LONG_FILES");
    }
}

#[test]
fn nothing_is_left_for_later() {
    for (path, text) in sources() {
        for word in ["TODO", "FIXME", "XXX", "HACK", "for now", "dbg!(", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}
