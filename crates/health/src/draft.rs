//! Writing a finding, with the defaults of its severity.

use cupel_model::platform::Sourced;
use cupel_model::{
    Clears, Component, ComponentKind, Confidence, Evidence, Finding, Impact, Mode, Performer,
    Remedy, RemedyAction, Scope, Severity, Timestamp, Urgency,
};

/// A finding being written.
#[derive(Clone, Debug)]
pub struct Draft(Finding);

impl From<Draft> for Finding {
    fn from(draft: Draft) -> Self {
        draft.0
    }
}

impl Draft {
    fn new(
        code: &str,
        component: Component,
        severity: Severity,
        impact: Impact,
        urgency: Urgency,
        summary: String,
    ) -> Self {
        let scope = match component.kind {
            ComponentKind::Gpu | ComponentKind::Nvlink => Scope::Gpu,
            ComponentKind::Node
            | ComponentKind::Nvswitch
            | ComponentKind::Rdma
            | ComponentKind::Nic
            | ComponentKind::Optic
            | ComponentKind::Pcie
            | ComponentKind::Dimm
            | ComponentKind::Cpu
            | ComponentKind::Nvme
            | ComponentKind::Psu
            | ComponentKind::Fan
            | ComponentKind::Bmc
            | ComponentKind::Service
            | ComponentKind::Filesystem => Scope::Node,
        };
        Self(Finding {
            code: code.to_owned(),
            component,
            severity,
            impact,
            urgency,
            scope,
            confidence: Confidence::Confirmed,
            mode: Mode::Enforce,
            summary,
            evidence: Vec::new(),
            remedy: Vec::new(),
            since: None,
            clears: Clears::WhileObserved,
        })
    }

    /// The part or node is unfit: blocks allocation, act now.
    pub fn critical(code: &str, component: Component, summary: String) -> Self {
        Self::new(
            code,
            component,
            Severity::Critical,
            Impact::BlocksAllocation,
            Urgency::Now,
            summary,
        )
    }

    /// Someone should look: degrades performance, act when the job has ended.
    pub fn warning(code: &str, component: Component, summary: String) -> Self {
        Self::new(
            code,
            component,
            Severity::Warning,
            Impact::DegradesPerformance,
            Urgency::AfterJob,
            summary,
        )
    }

    /// Worth knowing.
    pub fn info(code: &str, component: Component, summary: String) -> Self {
        Self::new(
            code,
            component,
            Severity::Info,
            Impact::None,
            Urgency::None,
            summary,
        )
    }

    /// What it means for work here.
    #[must_use]
    pub fn impact(mut self, impact: Impact) -> Self {
        self.0.impact = impact;
        self
    }

    /// When to act.
    #[must_use]
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.0.urgency = urgency;
        self
    }

    /// How far it reaches.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// What ends it.
    #[must_use]
    pub fn clears(mut self, clears: Clears) -> Self {
        self.0.clears = clears;
        self
    }

    /// Since when.
    #[must_use]
    pub fn since(mut self, since: Option<Timestamp>) -> Self {
        self.0.since = since;
        self
    }

    /// Seen, not yet confirmed by a second look.
    #[must_use]
    pub fn provisional(mut self) -> Self {
        self.0.confidence = Confidence::Provisional;
        self
    }

    /// Reported, and changes no verdict, whatever the check's mode.
    #[must_use]
    pub fn observed(mut self) -> Self {
        self.0.mode = Mode::Observe;
        self
    }

    /// Held against a number that nobody published or measured: at most a warning.
    #[must_use]
    pub fn capped<T>(mut self, limit: &Sourced<T>) -> Self {
        self.0.severity = limit.cap(self.0.severity);
        if !limit.is_verified() && self.0.impact == Impact::BlocksAllocation {
            self.0.impact = Impact::DegradesPerformance;
        }
        self
    }

    /// One more value behind it.
    #[must_use]
    pub fn evidence(mut self, evidence: Evidence) -> Self {
        self.0.evidence.push(evidence);
        self
    }

    /// One more step that the agent may take where the operator has switched it on.
    #[must_use]
    pub fn opt_in(self, action: RemedyAction, text: impl Into<String>) -> Self {
        self.step(action, Performer::OptIn, text)
    }

    /// One more step for a person.
    #[must_use]
    pub fn human(self, action: RemedyAction, text: impl Into<String>) -> Self {
        self.step(action, Performer::Human, text)
    }

    fn step(mut self, action: RemedyAction, by: Performer, text: impl Into<String>) -> Self {
        self.0.remedy.push(Remedy {
            action,
            by,
            text: text.into(),
        });
        self
    }
}
