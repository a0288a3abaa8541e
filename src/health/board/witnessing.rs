//! What a board makes of its witnesses, and of the doubts that they leave.

use tokio::time::Instant;

use crate::health::board::ServiceBoard;
use crate::health::doubts;
use crate::health::effect::{Effect, Finished};
use crate::health::leader::Ruling;
use crate::health::witness::Panel;

// === impl ServiceBoard ===

impl ServiceBoard {
    /// The witnesses, where there are any.
    pub fn panel(&self) -> Option<&Panel> {
        self.panel.as_ref()
    }

    /// What there is to doubt about who leads, for as long as it is.
    pub fn doubts(&self) -> Vec<String> {
        let both = self.leader.as_ref().zip(self.panel.as_ref());
        both.map(|(rule, panel)| doubts::standing(rule, panel)).unwrap_or_default()
    }

    /// A run of a witness is over.
    pub(super) fn hear_witness(&mut self, finished: &Finished, now: Instant) -> Vec<Effect> {
        let Finished { check, transcript } = finished;
        let (Some(target), Some(panel), Some(rule)) =
            (&check.target, &mut self.panel, &mut self.leader)
        else {
            return Vec::new();
        };
        let Some(was_awaited) = panel.record(check, transcript, &self.thresholds, now) else {
            return Vec::new();
        };
        let support = (target.clone(), panel.support(target));
        let ruling = rule.attested(panel.agree(), [support]);
        if ruling == Ruling::default() && !was_awaited {
            // The usual case, and cheap: nothing to publish.
            return self.look_at_claims(now);
        }
        let mut effects = Vec::new();
        self.obey(ruling, None, now, &mut effects);
        effects
    }

    /// Time has passed: who of the witnesses has used it up?
    pub(super) fn tick_witnesses(&mut self, now: Instant) -> Ruling {
        let (Some(panel), Some(rule)) = (&mut self.panel, &mut self.leader) else {
            return Ruling::default();
        };
        if !panel.tick(now) {
            return Ruling::default();
        }
        rule.attested(panel.agree(), panel.supports())
    }

    /// Has something been doubtful for long?
    pub(super) fn look_at_doubts(&mut self, now: Instant) -> Vec<Effect> {
        let (Some(panel), Some(rule)) = (&self.panel, &self.leader) else { return Vec::new() };
        self.doubts.look(rule, panel, now).into_iter().map(Effect::Alarm).collect()
    }
}
