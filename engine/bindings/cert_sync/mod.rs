//! `cert_sync`: a certificate and its key at a place, served. One file a kind of place; [`place::Place`] says what a kind has to do.

mod api;
mod files;
mod keys;
mod npm;
mod place;
mod proxmox;
mod script;
mod served;
mod sync;
mod synology;
mod unifi;
mod wanted;

use rhai::{Dynamic, Map};

use self::files::Files;
use self::keys::Keys;
use self::npm::Npm;
use self::place::Place;
use self::proxmox::Proxmox;
use self::sync::Sync;
use self::synology::Synology;
use self::unifi::Unifi;
use self::wanted::Wanted;
use crate::bindings::cert_load::ready;
use crate::bindings::outcome::unanswered;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Effect as _};
use crate::model::event::Verdict;
use crate::model::nearest::did_you_mean;

/// Every kind of place.
const KINDS: &[&str] = &[Files::KIND, Npm::KIND, Proxmox::KIND, Synology::KIND, Unifi::KIND];

pub(super) fn cert_sync(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let target = call.value(1);
    let wrong = || call.wrong(1, "a map that says where, such as `certs::nginx(…)` makes it,", &target);
    let map = target.clone().try_cast::<Map>().ok_or_else(wrong)?;
    let wanted = Wanted::new(&ready(call, &call.value(0))?, call.session.gate().replay)?;
    let kind = map.get("kind").cloned().and_then(|kind| kind.into_string().ok()).unwrap_or_default();
    let mut keys = Keys::new(format!("a target of kind `{kind}`"), map);
    keys.value("kind");
    match kind.as_str() {
        Files::KIND => {
            let place = Files::read(call, &mut keys)?;
            synced(call, Sync::new(wanted, place, keys)?)
        }
        Npm::KIND => {
            let place = Npm::read(call, &mut keys)?;
            synced(call, Sync::new(wanted, place, keys)?)
        }
        Proxmox::KIND => {
            let place = Proxmox::read(call, &mut keys)?;
            synced(call, Sync::new(wanted, place, keys)?)
        }
        Synology::KIND => {
            let place = Synology::read(call, &mut keys)?;
            synced(call, Sync::new(wanted, place, keys)?)
        }
        Unifi::KIND => {
            let place = Unifi::read(call, &mut keys)?;
            synced(call, Sync::new(wanted, place, keys)?)
        }
        other => {
            let near = did_you_mean(other, KINDS.iter().copied()).map(|near| format!("; {near}"));
            let message = format!(
                "`cert_sync` knows no target of kind `{other}`, but {}{}",
                KINDS.join(", "),
                near.unwrap_or_default()
            );
            Err(invalid(message).into())
        }
    }
}

fn synced<P: Place>(call: &Call<'_>, effect: Sync<P>) -> Result<Dynamic, Raise> {
    match call.session.perform(Some(call.site.clone()), &effect)? {
        Answered::Known(output, verdict) => {
            Ok(output.map(&effect.target(), verdict == Verdict::Changed).into())
        }
        Answered::Unplanned => Err(unanswered(&call.site, Sync::<P>::NAME)),
    }
}
