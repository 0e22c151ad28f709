//! What a run ends with: one line of JSON.

use loadgen::output::note;
use serde::Serialize;

use crate::stage::Stage;

/// The last line of the output; what a stage that did not run would have shown is zero or null.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Alerts that there are, those that fired when their fault was made, and of these those that stopped
    /// when it was over.
    pub(crate) alerts: u64,
    pub(crate) alerts_fired: u64,
    pub(crate) alerts_cleared: u64,
    pub(crate) rollout_steps: u64,
    pub(crate) rollout_steps_passed: u64,
    /// Requests that were sent during the rollout, and those that were refused, be it once, or not accepted in
    /// the end.
    pub(crate) requests: u64,
    pub(crate) requests_failed: u64,
    /// Items that were acknowledged during the rollout, and those of them that are gone.
    pub(crate) acknowledged: u64,
    pub(crate) acknowledged_lost: u64,
    /// What was predicted and what was measured.
    pub(crate) capacity: Option<serde_json::Value>,
    /// Manifests that were checked; zero unless all of them are as they should be.
    pub(crate) manifests_valid: u64,
    /// What did not come out as it should, as `stage: step`.
    pub(crate) failed: Vec<String>,
}

impl Report {
    /// Enters a step that did not come out as it should, and tells the difference.
    pub(crate) fn fail(&mut self, stage: Stage, step: &str, difference: &str) {
        note(&format!("failed: {stage}: {step}: {difference}"));
        self.failed.push(format!("{stage}: {step}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_it_is_documented() {
        let mut report = Report::default();
        report.fail(Stage::Deploy, "nginx", "it does not start");
        let line = r#"{"alerts":0,"alerts_fired":0,"alerts_cleared":0,"rollout_steps":0,"rollout_steps_passed":0,"requests":0,"requests_failed":0,"acknowledged":0,"acknowledged_lost":0,"capacity":null,"manifests_valid":0,"failed":["deploy: nginx"]}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), line);
    }
}
