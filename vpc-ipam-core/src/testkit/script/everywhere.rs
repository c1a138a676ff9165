//! One replay for each moment at which the daemon can die.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Script,
    outcome::Failure,
    play::{Player, play},
};
use crate::testkit::sim::{InFlight, Kill, Moment};

/// Which moments of a script to try, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Everywhere {
    /// The first moment to try, counted from the end of the daemon's very first start.
    pub first: u64,
    /// Every how manieth moment; 1 tries all, 0 counts as 1. A replay costs as much as the script.
    pub every: u64,
    /// What becomes of the calls under way.
    pub in_flight: InFlight,
    /// Kill the second daemon too, so many moments after the first: 0 is the next one.
    pub again_after: Option<u64>,
    /// How long the node may take to come to rest after the script.
    pub rest: Duration,
}

impl Default for Everywhere {
    /// Every moment, once, with any outcome of the calls under way, and two hours of rest.
    fn default() -> Self {
        Self {
            first: 0,
            every: 1,
            in_flight: InFlight::Either,
            again_after: None,
            rest: Duration::from_secs(7200),
        }
    }
}

/// What [`crash_everywhere`] has tried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Moments of the script.
    pub moments: u64,
    /// Replays with a death.
    pub replays: u64,
    /// Deaths by what the daemon was doing.
    pub kills: BTreeMap<Moment, u64>,
}

/// A death that the node did not survive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CrashFailure {
    /// The orders that show it again: `kill_at(killed_at, in_flight)` before the first step. Empty if
    /// the script fails without any death.
    pub killed_at: Vec<u64>,
    /// What became of the calls under way.
    pub in_flight: InFlight,
    /// What was broken.
    pub failure: Failure,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.killed_at.as_slice() {
            [] => write!(f, "without any crash: {}", self.failure),
            killed => write!(
                f,
                "crash at {killed:?}, calls under way {:?}: {}",
                self.in_flight, self.failure
            ),
        }
    }
}

impl std::error::Error for CrashFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}

/// Plays the script once as it is, and then once for each of its moments with the daemon killed at
/// that moment: before an action takes effect, after it has taken effect and before its answer is
/// heard, between write and rename of the state file, and between what the pool decided and its being
/// started or told.
///
/// Each replay is checked at every step from the death on, and at rest at the end: every pod whose ADD
/// was answered has its lease and keeps its address, no address is given twice, nothing in use is given
/// back to EC2, every request is answered, and nothing is leaked. See
/// [`check`](crate::testkit::check) for the whole list.
///
/// # Errors
///
/// The first death that broke something.
pub fn crash_everywhere(script: &Script, how: &Everywhere) -> Result<Survey, CrashFailure> {
    let failed = |killed_at: &[u64], failure| CrashFailure {
        killed_at: killed_at.to_vec(),
        in_flight: how.in_flight,
        failure,
    };
    let start = Player::new(&script.config).map_err(|e| failed(&[], e))?.sim().moments();
    let moments = play(script).map_err(|e| failed(&[], e))?.moments();
    let mut survey = Survey { moments: moments.saturating_sub(start), ..Survey::default() };
    let mut number = start.saturating_add(how.first);
    while number < moments {
        let mut killed_at = vec![number];
        killed_at.extend(how.again_after.map(|after| number + 1 + after));
        let kills = survive(script, &killed_at, how).map_err(|e| failed(&killed_at, e))?;
        for kill in kills {
            *survey.kills.entry(kill.moment).or_default() += 1;
        }
        survey.replays += 1;
        number += how.every.max(1);
    }
    Ok(survey)
}

/// One replay. What comes before the first death has been checked when the script was played without.
fn survive(script: &Script, killed_at: &[u64], how: &Everywhere) -> Result<Vec<Kill>, Failure> {
    let mut player = Player::new(&script.config)?;
    player.sim_mut().kill_at(killed_at.iter().copied(), how.in_flight);
    player.sim_mut().check_from_next_death();
    script.steps.iter().try_for_each(|step| player.take(step))?;
    player.come_to_rest(how.rest)?;
    Ok(player.sim().kills().to_vec())
}
