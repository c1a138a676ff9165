//! IMDSv2 session tokens.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use vpc_ipam_core::{id::InstanceId, time::Time};

/// Shortest life of a token that metadata grants.
pub const TOKEN_TTL_SECONDS_MIN: u64 = 1;
/// Longest life of a token that metadata grants: six hours.
pub const TOKEN_TTL_SECONDS_MAX: u64 = 21_600;
const TTL_SECONDS: RangeInclusive<u64> = TOKEN_TTL_SECONDS_MIN..=TOKEN_TTL_SECONDS_MAX;
/// Tokens alive at a time. A client that takes a new one for each request for six hours would else
/// make this grow without end; the token that expires first goes first.
const TOKENS_MAX: usize = 10_000;

/// Tokens by text. Each is good for one instance.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: u64,
    alive: BTreeMap<String, (InstanceId, Time)>,
}

impl Tokens {
    /// A token for `ttl` seconds; `None` if that is out of range.
    pub(super) fn issue(&mut self, instance: &InstanceId, ttl: u64, now: Time) -> Option<String> {
        if !TTL_SECONDS.contains(&ttl) {
            return None;
        }
        self.alive.retain(|_, (_, until)| *until > now);
        if self.alive.len() >= TOKENS_MAX {
            let first = self.alive.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(token) = first.map(|(token, _)| token.clone()) {
                self.alive.remove(&token);
            }
        }
        self.issued += 1;
        let token = format!("AQAEA{:016x}{instance}==", self.issued);
        let until = now + Duration::from_secs(ttl);
        self.alive.insert(token.clone(), (instance.clone(), until));
        Some(token)
    }

    /// True while the token lives, and only for the instance that it was given to.
    pub(super) fn is_valid(&self, instance: &InstanceId, token: &str, now: Time) -> bool {
        self.alive.get(token).is_some_and(|(owner, until)| owner == instance && *until > now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tokens_expire_and_belong_to_one_instance() {
        let (a, b) = (InstanceId::new("i-a").unwrap(), InstanceId::new("i-b").unwrap());
        let mut tokens = Tokens::default();
        let token = tokens.issue(&a, 10, Time::ZERO).unwrap();
        assert!(tokens.is_valid(&a, &token, Time::from_millis(9_999)));
        assert!(!tokens.is_valid(&a, &token, Time::from_millis(10_000)));
        assert!(!tokens.is_valid(&b, &token, Time::ZERO));
        assert!(tokens.issue(&a, 0, Time::ZERO).is_none());
        assert!(tokens.issue(&a, 21_601, Time::ZERO).is_none());
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let a = InstanceId::new("i-a").unwrap();
        let mut tokens = Tokens::default();
        let first = tokens.issue(&a, 10, Time::ZERO).unwrap();
        for _ in 0..TOKENS_MAX {
            tokens.issue(&a, 20, Time::ZERO).unwrap();
        }
        assert_eq!(tokens.alive.len(), TOKENS_MAX);
        assert!(!tokens.is_valid(&a, &first, Time::ZERO));
    }
}
