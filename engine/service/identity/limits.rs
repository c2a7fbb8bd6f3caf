//! How often somebody may try.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::model::bucket::{Bucket, Rate, Refused};
use crate::world::clock;

/// Names that are kept apart; what comes beyond shares one rate.
const MOST: usize = 10_000;

/// A rate for each of many.
pub struct Limiter {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Limiter {
    /// Makes one of this rate.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes one from somebody, if they have one left.
    pub fn take(&self, key: &str) -> Result<(), Refused> {
        let now = clock::steady();
        let mut buckets = self.buckets.lock();
        if buckets.len() >= MOST && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| !bucket.is_full(self.rate, now));
        }
        let key = if buckets.len() < MOST || buckets.contains_key(key) { key } else { "" };
        if let Some(bucket) = buckets.get_mut(key) {
            return bucket.take(self.rate, now);
        }
        buckets.entry(key.to_owned()).or_insert(Bucket::full(self.rate, now)).take(self.rate, now)
    }

    /// Gives one back.
    pub fn give_back(&self, key: &str) {
        if let Some(bucket) = self.buckets.lock().get_mut(key) {
            bucket.give_back(self.rate);
        }
    }
}

/// Returns what stands for an address: of version 6, the network of its customer.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_rate_and_a_flood_of_names_shares_one() {
        let limiter = Limiter::new(Rate { burst: 2.0, per_second: 0.000_1 });
        assert!(limiter.take("ann").is_ok() && limiter.take("ann").is_ok());
        assert!(limiter.take("ann").is_err() && limiter.take("bob").is_ok());
        limiter.give_back("ann");
        assert!(limiter.take("ann").is_ok());
        for number in 0..MOST {
            let _ = limiter.take(&format!("name {number}"));
        }
        assert!(limiter.buckets.lock().len() <= MOST + 1);
        assert!((0..3).any(|number| limiter.take(&format!("late {number}")).is_err()));
        assert!(limiter.take("ann").is_err(), "the flood has washed nobody away");
    }

    #[test]
    fn a_customer_of_version_6_is_one() {
        assert_eq!(
            network("2001:db8:1:2:3::4".parse().unwrap()),
            network("2001:db8:1:2:9::1".parse().unwrap())
        );
        assert_ne!(network("2001:db8:1:2::1".parse().unwrap()), network("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1");
    }
}
