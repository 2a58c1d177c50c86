//! The log on stderr: which lines, and how they get there.

use std::io;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{clean, printer::STDERR};
use crate::{config::LogLevels, mcp::transport::QUOTING};

/// Our own lines; they never have bodies, prompts or keys in them, at any level.
const OURS: &str = "lava_mcp";

/// Where refusals are logged that somebody hears of anyway.
const HEARD: [&str; 2] = ["lava_mcp::gateway::edge", "lava_mcp::gateway::meter::answer"];

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Logger {
    /// A server's that listens: it logs a line for each request.
    Listener,
    /// That of a server which a client started.
    Mcp,
    /// A command's: it says by itself why it failed, once.
    Command,
}

/// Starts logging on stderr, at these levels or the usual ones.
pub(in crate::cli) fn start_log(levels: Option<&LogLevels>, logger: Logger) {
    let usual = Targets::new().with_default(LevelFilter::WARN);
    let targets = match (levels, logger) {
        (Some(levels), _) => levels.iter().fold(Targets::new(), |targets, (target, level)| match target {
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        }),
        (None, Logger::Listener) => usual.with_target(OURS, LevelFilter::INFO),
        (None, Logger::Mcp) => usual,
        (None, Logger::Command) => HEARD.iter().fold(usual, |targets, heard| targets.with_target(*heard, LevelFilter::OFF)),
    };
    let targets = capped(&targets);
    // Without colours: whatever a line carries, no escape is written.
    let lines = fmt::layer().with_writer(|| Line).with_ansi(false);
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    // A panic in one task must not wait for a reader of stderr either.
    std::panic::set_hook(Box::new(|panic| {
        STDERR.print(clean(&format!("{panic}\n"), STDERR.is_terminal).into_bytes());
        STDERR.flush(super::MOMENT);
    }));
}

/// Below info, libraries log whole messages: prompts, answers and headers have no place in a log. So nothing but our own targets goes there, whatever is set.
fn capped(targets: &Targets) -> Targets {
    let default = targets.default_level().unwrap_or(LevelFilter::OFF);
    let most = |target: &str| match target {
        OURS => LevelFilter::TRACE,
        ours if ours.starts_with("lava_mcp::") => LevelFilter::TRACE,
        quoting if quoting.starts_with(QUOTING) => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let at_most = |capped: Targets, target: &str, level: LevelFilter| capped.with_target(target, level.min(most(target)));
    let start = Targets::new().with_default(default.min(LevelFilter::INFO));
    let start = [OURS, QUOTING].iter().fold(start, |capped, target| at_most(capped, target, default));
    targets.iter().fold(start, |capped, (target, level)| at_most(capped, target, level))
}

/// One line of the log.
struct Line;

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.print(clean(&String::from_utf8_lossy(line), STDERR.is_terminal).into_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn only_our_own_targets_go_below_info() {
        let libraries = ["rmcp", "hyper::proto", "h2", "rustls", "a_library_of_tomorrow", "lava", "lava_mcpx", ""];
        for setting in
            ["trace", "debug", "rmcp=trace,hyper=debug,trace", "l=trace,=trace", "warn,lava=trace,h2=trace", "a_library_of_tomorrow=trace"]
        {
            let targets = capped(&setting.parse().unwrap());
            for library in libraries {
                for level in [Level::TRACE, Level::DEBUG] {
                    assert!(!targets.would_enable(library, &level) || library.starts_with("lava_mcp"), "{setting}: {library} {level}");
                }
            }
        }
        let enabled = |setting: &str, target: &str, level: Level| capped(&setting.parse().unwrap()).would_enable(target, &level);
        assert!(enabled("trace", "lava_mcp::gateway", Level::TRACE));
        assert!(enabled("warn,lava_mcp::gateway=debug", "lava_mcp::gateway::edge", Level::DEBUG));
        assert!(!enabled("warn,lava_mcp::gateway=debug", "lava_mcp::store", Level::INFO));
        let below = format!("{QUOTING}::server");
        assert!(!enabled(&format!("trace,rmcp=trace,{below}=trace"), &below, Level::WARN));
        assert!(enabled("info", "rmcp", Level::INFO) && !enabled("off", "lava_mcp", Level::ERROR));
        assert!(!enabled("trace,lava_mcp=warn", "lava_mcp", Level::INFO));
    }
}
