//! Starts the command line; everything else is in the library.

/// Half of the time that a request took in the system's allocator on Linux is saved with this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    lava_mcp::cli::run()
}
