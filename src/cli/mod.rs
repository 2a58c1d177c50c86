//! The command line: names, flags and help, and which file carries out what.

mod account;
mod call;
mod demo;
mod doctor;
mod gateway;
mod hints;
mod install;
mod key_store;
mod keyboard;
mod keys;
mod known;
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

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{ConfigError, CredentialStore, Environment, Flags, Settings},
    domain::invocation,
    mcp::transport::asked_to_stop,
};

/// Most threads for what blocks: enough to keep every core busy, and some that wait for a keyring whose owner is away.
const BLOCKING_THREADS_MAX: usize = 24;

/// Give an AI agent a wallet with a lid on it.
///
/// Without a command, lava-mcp serves MCP on stdin and stdout: that is how Claude Desktop, Cursor and other clients start it.
#[derive(Debug, Parser)]
#[command(name = "lava-mcp", version, max_term_width = 100)]
pub struct Cli {
    /// Let nothing leave this machine: a built-in upstream answers, and counts what it would cost.
    #[arg(long, global = true)]
    sandbox: bool,
    /// Read this config file instead of the usual one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the ledger here instead of the usual place.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep keys in the system's keyring, or in a file only you can read; remembered once a key is kept there.
    #[arg(long, global = true, value_name = "keyring|file", value_parser = CredentialStore::parse)]
    store: Option<CredentialStore>,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
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
    /// Revoke that key and forget it; with --all, those of all MCP clients too.
    Logout(login::LogoutArgs),
    /// Show gateway, key, limit and spending.
    Status,
    /// Find models and providers.
    Search(search::SearchArgs),
    /// Ask a model.
    Prompt(prompt::PromptArgs),
    /// Call an API address of the catalog.
    Call(call::CallArgs),
    /// Keep or remove the key of a provider, or list where each key comes from.
    Providers(providers::ProvidersArgs),
    /// Serve the gateway over a socket, for every tool that takes an OpenAI key.
    Gateway(gateway::GatewayArgs),
    /// Make, list, change, pause, rotate or revoke spend keys; look at their holds.
    Keys(keys::KeysArgs),
    /// Show or set the account limit, which holds for all keys together.
    Account(account::AccountArgs),
    /// Show quarantined models, which billed more than their prices allow, or reinstate one.
    #[command(name = "quarantined", visible_alias = "mispriced")]
    Mispriced(mispriced::MispricedArgs),
    /// Make, list or delete secret keys, which manage spend keys.
    SecretKeys(secret_keys::SecretKeysArgs),
    /// Say what works here and what does not.
    Doctor,
    /// Show the whole job once in the sandbox, with an MCP client; leaves nothing behind.
    Demo,
    /// Print the manifest that describes this server (MCPB 0.3), or its entry for the MCP registry.
    Manifest(manifest::ManifestArgs),
    /// Add lava-mcp to an MCP client's own config file.
    Install(install::InstallArgs),
    /// Take it out again.
    Uninstall(install::UninstallArgs),
}

/// Why a command failed. The variants are the exit codes, which are those of GitHub's `gh`.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong (1). The text says what, and what to do.
    Error(String),
    /// The person at the keyboard, or a signal, stopped it (2). The text says what was booked.
    Cancelled(String),
    /// Somebody has to log in first (4).
    NotLoggedIn(String),
}

impl Failure {
    /// The same, with the flags of this process in the commands that it suggests.
    fn with_flags(self) -> Self {
        let with_flags = |text: String| invocation::in_text(&text).into_owned();
        match self {
            Self::Error(text) => Self::Error(with_flags(text)),
            Self::Cancelled(text) => Self::Cancelled(with_flags(text)),
            Self::NotLoggedIn(text) => Self::NotLoggedIn(with_flags(text)),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Error(_) => 1,
            Self::Cancelled(_) => 2,
            Self::NotLoggedIn(_) => 4,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Error(text) | Self::NotLoggedIn(text) | Self::Cancelled(text) => text,
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Error(text)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Error(error.to_string())
    }
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
            other => Self::Error(other.to_string()),
        }
    }
}

impl From<crate::client::ClientError> for Failure {
    fn from(error: crate::client::ClientError) -> Self {
        Self::Error(error.to_string())
    }
}

/// Runs the command line; returns the exit code.
pub fn run() -> ExitCode {
    crate::platform::close_to_others();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // It quotes the arguments, so it goes the way of all texts, without colours.
            output::complain(error.render().to_string().trim_end());
            output::finish();
            return ExitCode::from(1);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = execute(cli).map_err(Failure::with_flags);
    if let Err(failure) = &result {
        output::complain(&format!("error: {}", failure.text()));
    }
    output::finish();
    result.map_or_else(|failure| ExitCode::from(failure.exit_code()), |()| ExitCode::SUCCESS)
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
    let settings = Settings::load(&flags, Environment::of_process())?;
    output::start_log(settings.log.as_deref())?;
    let mut builder = match cli.command {
        Some(Command::Gateway(_) | Command::Serve(_)) => tokio::runtime::Builder::new_multi_thread(),
        // One thread is enough for one client, and starts fastest; what blocks has threads of its own.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    // Each of those has memory of its own, a MiB or so; they count tokens, or wait for the keyring.
    let runtime =
        builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build().map_err(|error| Failure::Error(error.to_string()))?;
    let is_server = matches!(cli.command, None | Some(Command::Gateway(_) | Command::Serve(_)));
    let keeps_keys = match &cli.command {
        Some(Command::Login(_) | Command::Prompt(_) | Command::Call(_)) => true,
        Some(Command::Providers(args)) => args.keeps_key(),
        _ => false,
    };
    let result = runtime.block_on(async {
        if keeps_keys {
            Box::pin(key_store::settle(&settings, cli.store)).await?;
        }
        let result = match cli.command {
            None => Box::pin(serve::stdio(settings)).await,
            Some(Command::Serve(args)) => serve_http::serve(settings, args).await,
            Some(Command::Login(args)) => login::login(settings, args, json).await,
            Some(Command::Logout(args)) => login::logout(settings, args, json).await,
            Some(Command::Status) => status::status(settings, json).await,
            Some(Command::Search(args)) => search::search(settings, args, json).await,
            Some(Command::Prompt(args)) => prompt::prompt(settings, args, json).await,
            Some(Command::Call(args)) => call::call(settings, args, json).await,
            Some(Command::Providers(args)) => providers::providers(settings, args, json).await,
            Some(Command::Gateway(args)) => gateway::gateway(settings, args).await,
            Some(Command::Keys(args)) => keys::keys(settings, args, json).await,
            Some(Command::Account(args)) => account::account(settings, args, json).await,
            Some(Command::Mispriced(args)) => mispriced::mispriced(settings, args, json).await,
            Some(Command::SecretKeys(args)) => secret_keys::secret_keys(settings, args, json).await,
            Some(Command::Doctor) => doctor::doctor(settings, json).await,
            Some(Command::Demo) => demo::demo(json).await,
            Some(Command::Manifest(_) | Command::Install(_) | Command::Uninstall(_)) => Ok(()),
        };
        // A slow reader gets all of a result. A server has none, and what was stopped has ended.
        if !is_server && !matches!(result, Err(Failure::Cancelled(_))) {
            output::written(asked_to_stop()).await;
        }
        result
    });
    // A keyring call may still be waiting on its thread; it must not keep the process.
    runtime.shutdown_background();
    result
}
