//! `lava-mcp keys holds` and `lava-mcp keys write-off`: money set aside, and charges that nobody can prove.

use crate::{
    cli::{Failure, output},
    client::{Client, HoldObject},
    domain::Secret,
};

pub(super) async fn show(client: &Client, secret: &Secret, key: Option<&str>, json: bool) -> Result<(), Failure> {
    let holds = client.holds(secret, key).await?;
    if json {
        return output::print_json(&holds);
    }
    // Older gateways know only the charges of processes that died.
    let unverified = if holds.unverified.is_empty() { &holds.suspect } else { &holds.unverified };
    if holds.open.is_empty() && unverified.is_empty() {
        output::complain("No money is set aside, and no charge is unverified.");
        return Ok(());
    }
    let mut rows = vec![["HOLD", "STATE", "AMOUNT", "MODEL", "SINCE", "SPEND KEY", "REQUEST"].map(str::to_owned).to_vec()];
    rows.extend(holds.open.iter().map(|hold| row(hold, "open")));
    rows.extend(unverified.iter().map(|hold| row(hold, "unverified")));
    output::table(&rows);
    if !unverified.is_empty() {
        output::complain(
            "Unverified: the answer did not come, or the process that waited for it died, so all of the money set aside was charged. If the provider did not \
             bill it, run `lava-mcp keys write-off HOLD --reason TEXT`.",
        );
    }
    Ok(())
}

fn row(hold: &HoldObject, state: &str) -> Vec<String> {
    let model = if hold.model.is_empty() { hold.provider.clone() } else { format!("{}/{}", hold.provider, hold.model) };
    vec![
        hold.hold_id.clone(),
        state.to_owned(),
        hold.amount.clone(),
        model,
        hold.opened_at.clone(),
        hold.spend_key_id.clone(),
        hold.request_id.clone(),
    ]
}

pub(super) async fn write_off(client: &Client, secret: &Secret, hold: &str, reason: &str, json: bool) -> Result<(), Failure> {
    let written_off = client.write_off(secret, hold, reason).await?;
    if json {
        return output::print_json(&written_off);
    }
    output::complain(&format!("Wrote off {} USD; the charge and the reason stay in the ledger.", written_off.written_off));
    Ok(())
}
