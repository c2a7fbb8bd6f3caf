//! Every zone of the database, from 1970 to 2037: what is found without steps is what the clock shows.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nlrun::model::schedule::{Cron, Dst, When, Zone, zone};

use super::dice::Dice;
use super::each_seed;
use super::oracle::Entry;

fn first() -> Timestamp {
    "1970-01-01T00:00:00Z".parse().unwrap()
}

fn last() -> Timestamp {
    "2038-01-01T00:00:00Z".parse().unwrap()
}

fn zones() -> Vec<Zone> {
    zone::names().iter().map(|name| name.parse().unwrap()).collect()
}

fn when(entry: &str, zone: &Zone) -> When {
    When::cron(entry.parse::<Cron>().unwrap_or_else(|error| panic!("{entry}: {error}")), zone.clone(), None)
}

/// Returns all instants after one and up to another.
fn fires(when: &When, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(when.next(after), |last| when.next(*last)).take_while(|at| *at <= until).collect()
}

/// The transitions of a zone, each with the offsets before and after in seconds.
fn transitions(zone: &TimeZone) -> Vec<(Timestamp, i64, i64)> {
    let mut offset = i64::from(zone.to_offset(first()).seconds());
    let mut found = Vec::new();
    for transition in zone.following(first()).take_while(|transition| transition.timestamp() < last()) {
        let moved = i64::from(transition.offset().seconds());
        found.push((transition.timestamp(), offset, moved));
        offset = moved;
    }
    found.retain(|(_, before, after)| before != after);
    found
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// An instant of the period, more often than not near a transition.
fn instant(dice: &mut Dice, transitions: &[(Timestamp, i64, i64)]) -> Timestamp {
    if transitions.is_empty() || dice.once_in(4) {
        return first() + SignedDuration::from_secs(dice.from(0, last().duration_since(first()).as_secs()));
    }
    dice.one(transitions).0 + SignedDuration::from_secs(dice.from(-100_000, 100_000))
}

#[test]
fn the_oracle_agrees_in_every_zone() {
    each_seed(|dice| {
        for zone in zones() {
            let transitions = transitions(zone.time_zone());
            let entry = Entry::random(dice);
            // An entry may have no day at all.
            let Ok(cron) = entry.text().parse::<Cron>() else { continue };
            let after = instant(dice, &transitions);
            let until = after + hours(40);
            // Liberia's clock differed from UTC by no whole minute until 1972.
            let near = after - hours(60)..until + hours(10);
            let is_odd = |at: Timestamp| zone.time_zone().to_offset(at).seconds() % 60 != 0;
            let step = if is_odd(near.start) || is_odd(near.end) { 30 } else { 60 };
            let after = Timestamp::from_second(after.as_second().div_euclid(step) * step).unwrap();
            let expected = entry.fires(zone.time_zone(), after, until, step);
            let found = fires(&When::cron(cron, zone.clone(), None), after, until);
            assert_eq!(found, expected, "`{}` in {zone} from {after}", entry.text());
        }
    });
}

#[test]
fn instants_follow_each_other_and_end() {
    // P1.
    each_seed(|dice| {
        for zone in zones() {
            let transitions = transitions(zone.time_zone());
            for _ in 0..4 {
                let entry = Entry::random(dice).text();
                let Ok(cron) = entry.parse::<Cron>() else { continue };
                let dst = *dice.one(&[None, Some(Dst::Wall), Some(Dst::Elapsed)]);
                let when = When::cron(cron, zone.clone(), dst);
                let mut at = instant(dice, &transitions);
                for _ in 0..20 {
                    let next = when.next(at).unwrap_or_else(|| panic!("`{entry}` in {zone} ends after {at}"));
                    assert!(next > at, "`{entry}` in {zone}: {next} does not follow {at}");
                    assert!(
                        next.duration_since(at) < hours(24 * 366 * 8 + 48),
                        "`{entry}` in {zone}: {next} after {at}"
                    );
                    // What comes next does not depend on where between two instants one asks.
                    let between = at
                        + SignedDuration::from_nanos(
                            dice.from(0, next.duration_since(at).as_secs() * 1_000_000_000 - 1),
                        );
                    assert_eq!(when.next(between), Some(next), "`{entry}` in {zone} after {between}");
                    at = next;
                }
            }
        }
    });
}

#[test]
fn a_daily_entry_fires_once_a_day() {
    // P2, around every transition of every zone.
    each_seed(|dice| {
        for zone in zones() {
            for (at, before, after) in transitions(zone.time_zone()) {
                let (hour, minute) =
                    (*dice.one(&[0, 0, 1, 1, 2, 2, 3, 4, 12, 22, 23]), *dice.one(&[0, 1, 15, 30, 45, 59]));
                let text = Entry::daily(hour, minute);
                let when = when(&text, &zone);
                let (from, until) = (at - hours(72), at + hours(72));
                let found = fires(&when, from, until);
                let civil = |at: Timestamp| zone.time_zone().to_datetime(at);
                // Each day in between has its one moment; that of a day whose moment was jumped over is the jump.
                let time = jiff::civil::Time::new(hour as i8, minute as i8, 0, 0).unwrap();
                let mut day = civil(from).date();
                let mut moments = Vec::new();
                while day <= civil(until).date() {
                    let moment = day.to_datetime(time);
                    if moment > civil(from) && moment <= civil(until) {
                        moments.push(moment);
                    }
                    day = day.tomorrow().unwrap();
                }
                let shift = after - before;
                let landed = civil(at);
                let is_in_gap = |moment: &jiff::civil::DateTime| {
                    shift > 0 && *moment < landed && *moment >= landed - SignedDuration::from_secs(shift)
                };
                let coalesced = usize::from(moments.iter().any(is_in_gap) && moments.contains(&landed));
                let describe = || format!("`{text}` in {zone} around {at}, moved by {shift} s: {found:?}");
                assert_eq!(found.len(), moments.len() - coalesced, "{}", describe());
                for fired in &found {
                    let is_moment = moments.contains(&civil(*fired));
                    assert!(is_moment || (*fired == at && moments.iter().any(is_in_gap)), "{}", describe());
                }
            }
        }
    });
}

#[test]
fn intervals_are_even_across_moved_clocks() {
    // P3, around every transition of every zone.
    each_seed(|dice| {
        for zone in zones() {
            for (at, before, after) in transitions(zone.time_zone()) {
                let step = *dice.one(&[2, 3, 4, 5, 6, 10, 12, 15, 20, 30]);
                let length = step * 60;
                if (after - before) % length != 0 || dice.once_in(2) {
                    continue;
                }
                let found = fires(&when(&format!("*/{step} * * * *"), &zone), at - hours(2), at + hours(2));
                let is_even =
                    found.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == length);
                assert!(
                    is_even && found.len() as i64 == 4 * 60 / step,
                    "*/{step} in {zone} around {at}: {found:?}"
                );
            }
        }
    });
}
