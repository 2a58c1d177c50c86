//! `lava-mcp quarantined`, which was called `mispriced`: models that billed more than their prices allow. Keys with a limit do not buy them until a person has
//! looked at the prices and reinstates them.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, output, serve::App};
use crate::{
    client::{Client, ClientError, MispricedModel},
    config::Settings,
    domain::Secret,
};

#[derive(Debug, Args)]
pub(super) struct MispricedArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let keys with a limit buy a model again, once its prices are right.
    #[command(alias = "sell-again", after_help = "Example:\n  lava-mcp quarantined reinstate openrouter/some/model")]
    Reinstate {
        /// The model as the list shows it.
        #[arg(value_name = "PROVIDER/MODEL", value_parser = parse_model)]
        model: (String, String),
    },
}

fn parse_model(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').map(|(provider, model)| (provider.to_owned(), model.to_owned()));
    parts.ok_or_else(|| "write provider and model as the list shows them, such as openai/gpt-4o-mini".to_owned())
}

pub(super) async fn mispriced(settings: Settings, args: MispricedArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let done = async {
        let secret = app.session.owner_key().await?;
        let client = app.session.client().await?;
        match args.action {
            None => show(&client.mispriced(&secret).await?, json),
            Some(Action::Reinstate { model: (provider, model) }) => reinstate(&client, &secret, &provider, &model, json).await,
        }
    };
    let done = done.await;
    app.close().await;
    done
}

fn show(models: &[MispricedModel], json: bool) -> Result<(), Failure> {
    if json {
        return output::print_json(&json!({"data": models}));
    }
    if models.is_empty() {
        output::complain("No model is quarantined: none has billed more than its prices allow.");
        return Ok(());
    }
    let mut rows = vec![["MODEL", "SET ASIDE", "BILLED", "WHEN", "REQUEST"].map(str::to_owned).to_vec()];
    rows.extend(models.iter().map(|model| {
        let name = format!("{}/{}", model.provider, model.model);
        vec![name, model.held.clone(), model.billed.clone(), model.at.clone(), model.request_id.clone()]
    }));
    output::table(&rows);
    output::complain(
        "Keys with a limit cannot buy these. Once their prices are right, run `lava-mcp quarantined reinstate PROVIDER/MODEL`.",
    );
    Ok(())
}

async fn reinstate(client: &Client, secret: &Secret, provider: &str, model: &str, json: bool) -> Result<(), Failure> {
    let name = format!("{provider}/{model}");
    match client.sell_again(secret, provider, model).await {
        Ok(()) if json => output::print_json(&json!({"reinstated": name, "sold_again": name})),
        Ok(()) => {
            output::complain(&format!("{name} is reinstated: keys with a limit can buy it again."));
            Ok(())
        }
        Err(ClientError::Refused { status: 404, .. }) => {
            Err(Failure::Error(format!("{name} is not quarantined; `lava-mcp quarantined` shows the models that are")))
        }
        Err(error) => Err(error.into()),
    }
}
