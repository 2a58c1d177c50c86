//! What can be bought instead of something that cannot: the end of a refusal.

use super::{
    Gateway,
    error::GatewayError,
    lookup::{Asker, look_up},
    offers::{Endpoint, Offers},
    sellers::{self, Seller},
    unavailable::Unavailable,
};
use crate::{
    catalog::{Auth, Model, bare},
    domain::SpendKey,
};

/// Most names of each kind.
const SHOWN: usize = 3;
/// As many models with a similar name are looked at.
const LOOKED_AT: usize = 50;

/// Who else sells a model that `refused` does not sell, now or with a key; and else which similar ones can be bought now. Sentences that begin with a space.
pub(super) async fn instead(
    gateway: &Gateway,
    key: &SpendKey,
    refused: &str,
    endpoint: Endpoint,
    sandbox: bool,
) -> Result<String, GatewayError> {
    let registry = &gateway.registry;
    let quarantined = gateway.quarantined_for(Some(key), sandbox)?;
    let offers = Offers::new(registry, Some(key), sandbox).without(&quarantined);
    let refused_bare = bare(refused);
    let (mut now, mut with_key) = (Vec::new(), Vec::new());
    for seller in sellers::in_catalog(registry, refused_bare).filter(|seller| seller.full_name() != refused) {
        match offers.check(&seller, endpoint) {
            Ok(_) => now.push(seller.full_name()),
            Err(Unavailable::NoCredential { env, .. }) => {
                let variable = env.first().map(|name| format!(" ({name})")).unwrap_or_default();
                with_key.push(format!("{}{variable}", seller.full_name()));
            }
            Err(_) => {}
        }
    }
    now.truncate(SHOWN);
    with_key.truncate(SHOWN);
    if !now.is_empty() {
        return Ok(format!(" It can be bought now as {}.", now.join(" or ")));
    }
    let mut text = String::new();
    if !with_key.is_empty() {
        text.push_str(&format!(" It is also sold as {}.", with_key.join(", ")));
    }
    let (catalog, wanted) = (registry.catalog(), refused_bare.to_owned());
    let near: Vec<&'static Model> = look_up(Asker::Keyholder, move || catalog.nearest_models(&wanted, LOOKED_AT)).await?;
    let can_be_bought = |model: &Model| {
        let mut sold = sellers::in_catalog(registry, bare(&model.id));
        sold.find(|seller: &Seller<'_>| seller.full_name() != refused && offers.check(seller, endpoint).is_ok())
    };
    let similar: Vec<String> = near.into_iter().filter_map(can_be_bought).map(|seller| seller.full_name()).take(SHOWN).collect();
    if !similar.is_empty() {
        text.push_str(&format!(" Similar models that can be bought now: {}.", similar.join(", ")));
        return Ok(text);
    }
    // Only who can be asked in the same way.
    let own = registry.custom.iter().filter(|custom| offers.own_sells(custom, endpoint)).map(|custom| custom.id.as_str());
    let sells = |known| offers.check_provider(known).is_ok_and(|served| served.dialect == endpoint.dialect());
    let of_catalog =
        catalog.providers().iter().filter(|known| known.auth != Auth::None && registry.catalog_provider(&known.id).is_some_and(sells));
    let ready: Vec<&str> = own.chain(of_catalog.map(|provider| &*provider.id)).take(2 * SHOWN).collect();
    if !ready.is_empty() && !sandbox {
        text.push_str(&format!(" What can be bought now is sold by {}; search shows the models.", ready.join(", ")));
    }
    Ok(text)
}
