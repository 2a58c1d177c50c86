//! Fetches the pinned packages with the ordinary clients of their registries, and unpacks what is read from them.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The versions that are read. Change them here, run the command, and read its report.
pub(crate) const LITELLM: &str = "1.109.1";
pub(crate) const GENAI_PRICES: &str = "0.2.3";
pub(crate) const TOKENCOST: &str = "0.1.26";
pub(crate) const MASTRA: &str = "1.71.0";

/// The texts the catalog is made from.
pub(crate) struct Sources {
    pub(crate) litellm: String,
    pub(crate) openai_like: String,
    pub(crate) genai: String,
    pub(crate) tokencost: String,
    pub(crate) registry: String,
    /// The licence texts, each with the name of its package.
    pub(crate) licences: Vec<(String, String)>,
}

/// Downloads into `folder`, unless that was done before, and reads.
pub(crate) fn fetch(folder: &Path) -> Result<Sources, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let litellm = wheel(folder, "litellm", LITELLM)?;
    let genai = wheel(folder, "genai-prices", GENAI_PRICES)?;
    let tokencost = wheel(folder, "tokencost", TOKENCOST)?;
    let mastra = npm(folder, "@mastra/core", MASTRA)?;
    let script = folder.join("genai_to_json.py");
    fs::write(&script, include_str!("genai_to_json.py"))?;
    let genai_json = run(Command::new("python3").arg(&script).arg(genai.join("genai_prices/data.py")))?;
    let licences = vec![
        (format!("litellm {LITELLM}"), fs::read_to_string(licence(&litellm)?)?),
        (format!("genai-prices {GENAI_PRICES}"), fs::read_to_string(licence(&genai)?)?),
        (format!("tokencost {TOKENCOST}"), fs::read_to_string(licence(&tokencost)?)?),
        (format!("@mastra/core {MASTRA}"), fs::read_to_string(mastra.join("LICENSE.md"))?),
    ];
    Ok(Sources {
        litellm: fs::read_to_string(litellm.join("litellm/model_prices_and_context_window_backup.json"))?,
        openai_like: fs::read_to_string(litellm.join("litellm/llms/openai_like/providers.json"))?,
        genai: genai_json,
        tokencost: fs::read_to_string(tokencost.join("tokencost/model_prices.json"))?,
        registry: fs::read_to_string(mastra.join("dist/provider-registry.json"))?,
        licences,
    })
}

fn wheel(folder: &Path, name: &str, version: &str) -> Result<PathBuf, Box<dyn Error>> {
    let unpacked = folder.join(format!("{name}-{version}"));
    if !unpacked.exists() {
        let wheels = folder.join("wheels").join(name);
        run(Command::new("pip").args(["download", "--quiet", "--no-deps", "--dest"]).arg(&wheels).arg(format!("{name}=={version}")))?;
        let wheel = fs::read_dir(&wheels)?.next().ok_or("pip downloaded nothing")??.path();
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked))?;
    }
    Ok(unpacked)
}

fn npm(folder: &Path, name: &str, version: &str) -> Result<PathBuf, Box<dyn Error>> {
    let unpacked = folder.join(format!("{}-{version}", name.replace(['@', '/'], "_")));
    if !unpacked.exists() {
        let packed = run(Command::new("npm").args(["pack", "--silent"]).arg(format!("{name}@{version}")).current_dir(folder))?;
        fs::create_dir_all(&unpacked)?;
        run(Command::new("tar").arg("xzf").arg(folder.join(packed.trim())).arg("-C").arg(&unpacked))?;
    }
    Ok(unpacked.join("package"))
}

fn licence(unpacked: &Path) -> Result<PathBuf, Box<dyn Error>> {
    for entry in fs::read_dir(unpacked)? {
        let path = entry?.path().join("licenses/LICENSE");
        if path.exists() {
            return Ok(path);
        }
    }
    Err("the package has no licence in it".into())
}

fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
