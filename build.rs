//! Packs the catalog's data files, so that the binary carries a tenth of their size.

use std::{env, error::Error, fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    for name in ["models.jsonl", "providers.jsonl", "english.txt"] {
        let source = Path::new("src/catalog/data").join(name);
        println!("cargo:rerun-if-changed={}", source.display());
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&fs::read(&source)?)?;
        fs::write(Path::new(&out).join(format!("{name}.gz")), packer.finish()?)?;
    }
    Ok(())
}
