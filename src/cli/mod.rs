//! The command line: names, flags and help, and which file carries out what.

mod account;
mod call;
mod demo;
mod doctor;
mod failure;
mod gateway;
mod hints;
mod install;
mod key_store;
mod keyboard;
mod keys;
mod known;
mod listen_address;
mod login;
mod manifest;
mod mispriced;
mod output;
mod paid;
mod prompt;
mod providers;
mod search;
mod secret_keys;
mod serve;
mod serve_http;
mod status;
mod web_login;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub use failure::Failure;

use crate::{
    config::{CredentialStore, Environment, Flags, Mode, Settings},
    mcp::transport::asked_to_stop,
};

/// Most threads for what blocks: enough to keep every core busy, and some that wait for a keyring whose owner is away.
const BLOCKING_THREADS_MAX: usize = 24;

/// What a person sees who starts the server by hand: clients give it a pipe.
const WAITS_FOR_A_CLIENT: &str = "\
lava-mcp is an MCP server. It is now waiting for an MCP client to send JSON-RPC on stdin; usually the client starts it.

  lava-mcp install   add it to Claude Code, Cursor and other clients
  lava-mcp demo      see what it does, without an account
  lava-mcp --help    show all commands

Press Ctrl-C to stop.";

/// Over the flags that every command takes, in its help.
const COMMON: &str = "Options of every command";

/// How to begin, below the help.
const EXAMPLES: &str = "\
Examples:
  lava-mcp demo                             See what it does; needs no account
  lava-mcp install cursor                   Add it to an MCP client
  lava-mcp providers set openai             Store a provider's key
  lava-mcp prompt gpt-4o-mini \"Say hello\"   Ask a model
  lava-mcp gateway                          Serve other programs on this machine

Exit codes: 0 done, 1 failed, 2 a question was answered with no, 4 log in first, 130 stopped with Ctrl-C (servers: 0).";

/// Let AI agents buy AI models and APIs from one spend key, whose limit holds.
///
/// Without a command, lava-mcp serves MCP on stdin and stdout: that is how Claude Desktop, Cursor and other clients start it.
#[derive(Debug, Parser)]
#[command(name = "lava-mcp", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Send nothing out of this machine: a built-in model answers, and counts what it would have cost.
    #[arg(long, global = true, help_heading = COMMON)]
    sandbox: bool,
    /// Read this config file instead of the usual one.
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the ledger here instead of the usual place.
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep keys in the system's keyring, or in a file only you can read; remembered once a key is kept there.
    #[arg(long, global = true, help_heading = COMMON, value_name = "keyring|file", value_parser = CredentialStore::parse)]
    store: Option<CredentialStore>,
    /// Print JSON on stdout, for scripts; a failure is {"error": {"code", "message", "hint", "exit_code"}}.
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP over HTTP, for clients that connect to an address.
    Serve(serve_http::ServeArgs),
    /// Make or reuse a spend key for the command line, within the limit you have set.
    Login(login::LoginArgs),
    /// Revoke the command line's spend key and delete it; with --all, those of all MCP clients too.
    Logout(login::LogoutArgs),
    /// Show gateway, key, limit and spending.
    Status,
    /// Find models and providers.
    Search(search::SearchArgs),
    /// Ask a model.
    Prompt(prompt::PromptArgs),
    /// Call a provider's API at its own address, paid with your spend key.
    Call(call::CallArgs),
    /// Store or remove a provider's key, or list where each key comes from.
    Providers(providers::ProvidersArgs),
    /// Serve the gateway to other programs: an address that takes OpenAI and Anthropic requests.
    Gateway(gateway::GatewayArgs),
    /// Make, list, change, pause, rotate or revoke spend keys; look at their holds.
    Keys(keys::KeysArgs),
    /// Show or set the account limit, which holds for all keys together.
    Account(account::AccountArgs),
    /// Show quarantined models (they billed more than their prices allow), or reinstate one.
    #[command(name = "quarantined", visible_alias = "mispriced")]
    Mispriced(mispriced::MispricedArgs),
    /// Make, list or delete secret keys, which manage spend keys.
    SecretKeys(secret_keys::SecretKeysArgs),
    /// Check what works on this machine and what does not; with --online, test each provider's key.
    Doctor(doctor::DoctorArgs),
    /// Show in the sandbox what an agent can do; needs no account and leaves nothing behind.
    Demo,
    /// Print the manifest that describes this server (MCPB 0.3), or its entry for the MCP registry.
    Manifest(manifest::ManifestArgs),
    /// Add lava-mcp to an MCP client's own config file.
    Install(install::InstallArgs),
    /// Remove lava-mcp from an MCP client's own config file.
    Uninstall(install::UninstallArgs),
}

impl From<crate::session::SessionError> for Failure {
    fn from(error: crate::session::SessionError) -> Self {
        use crate::session::SessionError;
        match error {
            SessionError::NotLoggedIn => Self::NotLoggedIn("You are not logged in. Run `lava-mcp login`.".to_owned()),
            SessionError::NoSecretKey => Self::NotLoggedIn(
                "This gateway needs a secret key: run `lava-mcp login`, or set LAVA_SECRET_KEY; or unset LAVA_API_URL to use the embedded gateway."
                    .to_owned(),
            ),
            SessionError::KeyRefused(_) | SessionError::Declined => Self::NotLoggedIn(error.to_string()),
            SessionError::LoginExpired => Self::NotLoggedIn(format!("{error}; run `lava-mcp login` again")),
            SessionError::ForwardRefused(_) => Self::Error(format!(
                "{error}\nhint: with LAVA_FORWARD_WITH=secret-key your secret key pays for such calls; the limit of `lava-mcp login` does not hold for them"
            )),
            SessionError::NoListener(_) => {
                Self::Error(format!("{error}\nhint: make a secret key in your account, and give it to `lava-mcp login --secret-key-stdin`"))
            }
            SessionError::Vault(ref vault) | SessionError::NotKept { error: ref vault, .. } => Self::Error(format!("{error}\nhint: {}", vault.hint())),
            SessionError::Client(error) => error.into(),
            other => Self::Error(other.to_string()),
        }
    }
}

/// Runs the command line; returns the exit code.
pub fn run() -> ExitCode {
    crate::platform::close_to_others();
    output::respect_terminal(&Environment::of_process());
    let (result, wants_json) = match Cli::try_parse() {
        Ok(cli) => {
            // What a server without a command writes on stdout is MCP.
            let (is_mcp, json) = (cli.command.is_none(), cli.json);
            let result = execute(cli);
            if json && !is_mcp && result.is_ok() && !output::has_result() {
                let _ = output::print_json(&serde_json::json!({"ok": true}));
            }
            (result, json && !is_mcp)
        }
        Err(error) if error.use_stderr() => (Err(Failure::from(error)), asks_for_json()),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    if let Err(failure) = &result {
        failure.report(wants_json);
    }
    output::finish();
    result.map_or_else(|failure| ExitCode::from(failure.exit_code()), |()| ExitCode::SUCCESS)
}

/// Whether `--json` is among arguments that could not be understood.
fn asks_for_json() -> bool {
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// What a person waits for at a terminal where a command takes its time.
const fn waits_for(command: Option<&Command>) -> Option<&'static str> {
    match command {
        Some(Command::Prompt(_) | Command::Call(_)) => Some("Waiting for the answer"),
        Some(Command::Search(_)) => Some("Searching"),
        Some(Command::Doctor(_)) => Some("Checking"),
        Some(
            Command::Login(_)
            | Command::Logout(_)
            | Command::Status
            | Command::Providers(_)
            | Command::Keys(_)
            | Command::Account(_)
            | Command::Mispriced(_)
            | Command::SecretKeys(_),
        ) => Some("Waiting for the gateway"),
        // Servers wait for others, and these say what they do.
        Some(
            Command::Serve(_) | Command::Gateway(_) | Command::Demo | Command::Manifest(_) | Command::Install(_) | Command::Uninstall(_),
        )
        | None => None,
    }
}

/// Which settings hold, for the log.
fn in_words(settings: &Settings) -> String {
    let config_file = settings.config_file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let mode = if let Mode::Remote { api, .. } = &settings.mode { api.as_str() } else { "embedded" };
    format!("settings: config_file={config_file} data_dir={} mode={mode} sandbox={}", settings.data_dir.display(), settings.sandbox)
}

fn execute(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    hints::set(&cli);
    let flags = Flags { sandbox: cli.sandbox, config: cli.config, data_dir: cli.data_dir, store: cli.store };
    // What needs no settings works with broken ones too.
    match &cli.command {
        Some(Command::Manifest(args)) => return output::to_the_end(manifest::print(args)),
        Some(Command::Install(args)) => return output::to_the_end(install::install(args, &flags, &Environment::of_process(), json)),
        Some(Command::Uninstall(args)) => return output::to_the_end(install::uninstall(args, &Environment::of_process(), json)),
        _ => {}
    }
    let environment = Environment::of_process();
    let (settings, wrong) = match &cli.command {
        Some(Command::Doctor(_)) => {
            let doctor::Found { settings, wrong } = doctor::Found::load(&flags, &environment)?;
            (settings, wrong)
        }
        _ => (Settings::load(&flags, environment)?, Vec::new()),
    };
    let logger = match &cli.command {
        Some(Command::Gateway(_) | Command::Serve(_)) => output::Logger::Listener,
        None => output::Logger::Mcp,
        Some(_) => output::Logger::Command,
    };
    output::start_log(settings.log.as_ref(), logger);
    // A server says first where it can be called.
    if logger != output::Logger::Listener {
        tracing::debug!("{}", in_words(&settings));
    }
    let mut builder = match cli.command {
        Some(Command::Gateway(_) | Command::Serve(_)) => tokio::runtime::Builder::new_multi_thread(),
        // One thread is enough for one client, and starts fastest; what blocks has threads of its own.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    // Each of those has memory of its own, a MiB or so; they count tokens, or wait for the keyring.
    let runtime =
        builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build().map_err(|error| Failure::Error(error.to_string()))?;
    let is_server = matches!(cli.command, None | Some(Command::Gateway(_) | Command::Serve(_)));
    let waits_for = waits_for(cli.command.as_ref()).filter(|_| !json);
    let keeps_keys = match &cli.command {
        Some(Command::Login(_) | Command::Prompt(_) | Command::Call(_)) => true,
        Some(Command::Providers(args)) => args.keeps_key(&settings)?,
        _ => false,
    };
    let result = runtime.block_on(async {
        if keeps_keys {
            Box::pin(key_store::settle(&settings, cli.store)).await?;
        }
        let work = Box::pin(async {
            match cli.command {
                None => {
                    if io::stdin().is_terminal() {
                        output::complain(WAITS_FOR_A_CLIENT);
                    }
                    Box::pin(serve::stdio(settings)).await
                }
                Some(Command::Serve(args)) => serve_http::serve(settings, args, json).await,
                Some(Command::Login(args)) => login::login(settings, args, json).await,
                Some(Command::Logout(args)) => login::logout(settings, args, json).await,
                Some(Command::Status) => status::status(settings, json).await,
                Some(Command::Search(args)) => search::search(settings, args, json).await,
                Some(Command::Prompt(args)) => prompt::prompt(settings, args, json).await,
                Some(Command::Call(args)) => call::call(settings, args, json).await,
                Some(Command::Providers(args)) => providers::providers(settings, args, json).await,
                Some(Command::Gateway(args)) => gateway::gateway(settings, args, json).await,
                Some(Command::Keys(args)) => keys::keys(settings, args, json).await,
                Some(Command::Account(args)) => account::account(settings, args, json).await,
                Some(Command::Mispriced(args)) => mispriced::mispriced(settings, args, json).await,
                Some(Command::SecretKeys(args)) => secret_keys::secret_keys(settings, args, json).await,
                Some(Command::Doctor(args)) => doctor::doctor(doctor::Found { settings, wrong }, &args, json).await,
                Some(Command::Demo) => demo::demo(json).await,
                Some(Command::Manifest(_) | Command::Install(_) | Command::Uninstall(_)) => Ok(()),
            }
        });
        let result = match waits_for {
            Some(what) => output::while_waiting(what, work).await,
            None => work.await,
        };
        // A slow reader gets all of a result. A server has none, and what was stopped has ended.
        if !is_server && !matches!(result, Err(Failure::Stopped(_))) {
            output::written(asked_to_stop()).await;
        }
        result
    });
    // A keyring call may still be waiting on its thread; it must not keep the process.
    runtime.shutdown_background();
    result
}
