//! The change to a client's file: added, brought up to date, or taken out; never an entry of somebody else, and never with a side effect on the rest.

use serde_json::{Map, Value};

use super::{
    TargetArgs,
    client::{Client, Scope},
    document::Format,
};

/// Addresses at which a server is ours without a doubt.
const OWN_ADDRESSES: [&str; 2] = ["http://127.0.0.1:8484/mcp", "http://localhost:8484/mcp"];

/// What is to be done to a file.
pub(super) struct Change {
    /// `added`, `updated`, `unchanged`, `removed` or `absent`.
    pub(super) action: &'static str,
    /// The new text, if it differs.
    pub(super) text: Option<String>,
}

/// Adds our entry, or brings it up to date: what we know about is set, and what a person has added stays.
pub(super) fn install(target: &TargetArgs, wanted: &Map<String, Value>, text: Option<&str>) -> Result<Change, String> {
    let format = target.client.format();
    let path = [target.client.root(), target.name.as_str()];
    let fresh = if format == Format::Json { "{}\n" } else { "" };
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(fresh);
    let before = format.read(text)?;
    let current = target.current(&before, wanted)?;
    let (merged, edits) = match current.as_ref().map(|current| merge(current, wanted, target.scope)) {
        Some(Merge::Unchanged) => return Ok(Change { action: "unchanged", text: None }),
        Some(Merge::Edits { merged, edits }) => (merged, edits),
        Some(Merge::Anew) | None => (wanted.clone(), vec![(Vec::new(), Value::Object(wanted.clone()))]),
    };
    let mut changed = text.to_owned();
    for (below, value) in &edits {
        let whole: Vec<&str> = path.iter().copied().chain(below.iter().map(String::as_str)).collect();
        // Lines of a text that is half changed are nothing that a person could look up.
        let is_theirs = changed == text;
        changed = format.put(&changed, &whole, value).map_err(|error| if is_theirs { error } else { by_hand(format, text, &path) })?;
    }
    let mut expected = before;
    expected[path[0]][path[1]] = Value::Object(merged);
    check(format, &changed, &expected).ok_or_else(|| by_hand(format, text, &path))?;
    Ok(Change { action: if current.is_some() { "updated" } else { "added" }, text: Some(changed) })
}

/// Takes our entry out.
pub(super) fn uninstall(target: &TargetArgs, text: Option<&str>) -> Result<Change, String> {
    let absent = Change { action: "absent", text: None };
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(absent) };
    let format = target.client.format();
    let (root, name) = (target.client.root(), target.name.as_str());
    let mut expected = format.read(text)?;
    if target.current(&expected, &Map::new())?.is_none() {
        return Ok(absent);
    }
    let path = [root, name];
    let changed = format.remove(text, &path)?;
    if let Some(servers) = expected[root].as_object_mut() {
        servers.shift_remove(name);
        if servers.is_empty() && format.read(&changed)?.get(root).is_none() {
            expected.as_object_mut().map(|file| file.shift_remove(root));
        }
    }
    check(format, &changed, &expected).ok_or_else(|| by_hand(format, text, &path))?;
    Ok(Change { action: "removed", text: Some(changed) })
}

/// The text has to say exactly what it said before, but for our entry; what is written in a way that we do not understand is left to its owner.
fn check(format: Format, text: &str, expected: &Value) -> Option<()> {
    format.read(text).ok().filter(|read| read == expected).map(|_| ())
}

fn by_hand(format: Format, text: &str, path: &[&str]) -> String {
    let place = format.line_of(text, path).map(|line| format!("line {line}: ")).unwrap_or_default();
    format!(
        "{place}our entry is written in a way that cannot be changed safely; change it by hand (`lava-mcp install CLIENT --print` shows what it \
         should say)"
    )
}

impl TargetArgs {
    /// The entry of our name, if it is ours.
    fn current(&self, file: &Value, wanted: &Map<String, Value>) -> Result<Option<Map<String, Value>>, String> {
        let root = self.client.root();
        let Some(servers) = file.get(root) else { return Ok(None) };
        let servers = servers.as_object().ok_or_else(|| format!("\"{root}\" is not an object"))?;
        let Some(entry) = servers.get(&self.name) else { return Ok(None) };
        let ours = is_ours(entry, wanted);
        match entry.as_object() {
            Some(entry) if ours || self.force => Ok(Some(entry.clone())),
            None if self.force => Ok(Some(Map::new())),
            _ => {
                let starts = Client::command_of(entry).or_else(|| Client::url_of(entry)).unwrap_or("something else");
                Err(format!("\"{}\" is another server ({starts}). Choose another name with --name, or replace it with --force", self.name))
            }
        }
    }
}

/// Whether an entry starts this program, or connects to where it serves.
fn is_ours(entry: &Value, wanted: &Map<String, Value>) -> bool {
    let wanted_url = wanted.values().find_map(|value| value.as_str().filter(|text| text.starts_with("http")));
    match (Client::command_of(entry), Client::url_of(entry)) {
        (Some(command), _) => {
            let name = command.rsplit(['/', '\\']).next().unwrap_or_default();
            name.strip_suffix(".exe").unwrap_or(name) == "lava-mcp"
        }
        (None, Some(url)) => Some(url) == wanted_url || OWN_ADDRESSES.contains(&url),
        (None, None) => false,
    }
}

enum Merge {
    Unchanged,
    /// Each value goes below the entry at its path.
    Edits {
        merged: Map<String, Value>,
        edits: Vec<(Vec<String>, Value)>,
    },
    /// The entry is of another kind, so nothing in it is worth keeping.
    Anew,
}

/// Keys of variables are set one by one, lists of variables grow; everything else that we write replaces what was there.
fn merge(current: &Map<String, Value>, wanted: &Map<String, Value>, scope: Scope) -> Merge {
    let harmless = harmless(current, scope);
    if harmless != *current {
        // Written as a whole: taking lines out one by one is not worth it for what nobody should have put there.
        return match merge(&harmless, wanted, scope) {
            // What was asked for this time, a person vouches for.
            Merge::Edits { merged, .. } if merged == *current => Merge::Unchanged,
            Merge::Unchanged => Merge::Edits { edits: vec![(Vec::new(), Value::Object(harmless.clone()))], merged: harmless },
            Merge::Edits { merged, .. } => Merge::Edits { edits: vec![(Vec::new(), Value::Object(merged.clone()))], merged },
            Merge::Anew => Merge::Anew,
        };
    }
    let is_started = |entry: &Map<String, Value>| entry.contains_key("command");
    if is_started(current) != is_started(wanted) || current.get("command").is_some_and(Value::is_object) {
        return Merge::Anew;
    }
    let mut merged = current.clone();
    let mut edits = Vec::new();
    for (key, value) in wanted {
        match (merged.get_mut(key), value) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(value)).collect::<Vec<_>>() {
                    old.insert(name.clone(), value.clone());
                    edits.push((vec![key.clone(), name.clone()], value.clone()));
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) if key == "env_vars" => {
                let missing: Vec<Value> = new.iter().filter(|name| !old.contains(name)).cloned().collect();
                if !missing.is_empty() {
                    old.extend(missing);
                    edits.push((vec![key.clone()], Value::Array(old.clone())));
                }
            }
            (None, Value::Object(new)) => {
                merged.insert(key.clone(), value.clone());
                edits.extend(new.iter().map(|(name, value)| (vec![key.clone(), name.clone()], value.clone())));
            }
            _ => {
                merged.insert(key.clone(), value.clone());
                edits.push((vec![key.clone()], value.clone()));
            }
        }
    }
    if edits.is_empty() { Merge::Unchanged } else { Merge::Edits { merged, edits } }
}

/// The entry without variables that make a program run somebody else's code. It starts a program that holds keys, and a project's file can come from anybody.
fn harmless(entry: &Map<String, Value>, scope: Scope) -> Map<String, Value> {
    let is_fine = |name: &str| !runs_other_code(name, scope);
    let clean = |key: &str, value: &Value| match value {
        Value::Object(fields) => {
            Value::Object(fields.iter().filter(|(name, _)| is_fine(name)).map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        Value::Array(items) if key == "env_vars" => {
            Value::Array(items.iter().filter(|item| item.as_str().is_none_or(is_fine)).cloned().collect())
        }
        other => other.clone(),
    };
    // A file of variables is as good as the variables; only whoever wrote a user's own file is the user.
    let is_kept = |name: &str| scope == Scope::User || name != "envFile";
    entry.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.clone(), clean(name, value))).collect()
}

/// Whether a variable of this name makes a program load code: through the loader, an interpreter or, in a project, where helpers are looked for.
fn runs_other_code(name: &str, scope: Scope) -> bool {
    let name = name.to_ascii_uppercase();
    let begins = ["LD_", "DYLD_", "PYTHON", "PERL5", "RUBY"].iter().any(|start| name.starts_with(start));
    let is = ["GLIBC_TUNABLES", "GCONV_PATH", "NODE_OPTIONS", "NODE_PATH", "BASH_ENV", "ENV", "JAVA_TOOL_OPTIONS"].contains(&name.as_str());
    begins || is || (scope == Scope::Project && ["PATH", "BROWSER"].contains(&name.as_str()))
}
