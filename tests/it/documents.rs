//! README, guides and reference: every link leads somewhere, and the README is short.

mod commands;

pub(crate) use commands::for_users;
use std::path::{Path, PathBuf};

/// The documents that people read, and the folder of each is where its links begin.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("benches/README.md")];
    for folder in ["docs", "docs/guides"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().flatten().map(|entry| entry.path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The lines of a document, each with whether it is in a block of code, and in one of which language.
fn lines(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut block = None;
    text.lines().filter_map(move |line| {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(fence) };
            return None;
        }
        Some((block, line))
    })
}

/// The anchors that GitHub makes for the headings of a document.
fn anchors(text: &str) -> Vec<String> {
    let headings = lines(text).filter(|(block, line)| block.is_none() && line.starts_with('#'));
    let slug = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(|(_, line)| slug(line)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for (_, line) in lines(&text).filter(|(block, _)| block.is_none()) {
            for rest in line.split("](").skip(1) {
                let target = rest.split(')').next().unwrap();
                if target.starts_with("http") || target.contains(' ') {
                    continue;
                }
                let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
                let linked = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
                let leads = linked.exists()
                    && anchor.is_none_or(|anchor| {
                        let text = std::fs::read_to_string(&linked).unwrap_or_default();
                        anchors(&text).iter().any(|known| known == anchor)
                    });
                if !leads {
                    broken.push(format!("{}: {target}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let words = readme.split_whitespace().count();
    assert!(words < 1_400, "README.md has {words} words; what only some people need belongs into docs");
}
