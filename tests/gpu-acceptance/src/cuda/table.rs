//! What was measured, beside the peer and the target.

/// A measured value.
#[derive(Clone, Debug)]
pub struct Row {
    /// What.
    pub name: String,
    /// Cupel's.
    pub cupel: Option<f64>,
    /// The peer's.
    pub peer: Option<f64>,
    /// Unit.
    pub unit: &'static str,
    /// What is wanted of it.
    pub target: Option<Target>,
}

/// A target of docs/architecture: of the ratio to the peer, or of the value.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Cupel's is at least this share of the peer's.
    RatioAtLeast(f64),
    /// And at most.
    RatioAtMost(f64),
    /// Cupel's own is at least this.
    AtLeast(f64),
}

impl Row {
    /// Whether the target was met; none without one, or without a value.
    pub fn met(&self) -> Option<bool> {
        match self.target? {
            Target::RatioAtLeast(least) => Some(self.ratio()? >= least),
            Target::RatioAtMost(most) => Some(self.ratio()? <= most),
            Target::AtLeast(least) => Some(self.cupel? >= least),
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.cupel? / self.peer.filter(|peer| *peer > 0.0)?)
    }
}

/// As Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let mut text = "| Measured | Cupel | PyTorch | Unit | Ratio | Target | Met |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let target = match row.target {
            None => "-".to_owned(),
            Some(Target::RatioAtLeast(least)) => format!("ratio >= {least}"),
            Some(Target::RatioAtMost(most)) => format!("ratio <= {most}"),
            Some(Target::AtLeast(least)) => format!(">= {least}"),
        };
        let met = match row.met() {
            None => "-",
            Some(true) => "yes",
            Some(false) => "**no**",
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {target} | {met} |\n",
            row.name,
            number(row.cupel),
            number(row.peer),
            row.unit,
            number(row.ratio()),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_of_the_ratio_or_of_the_value() {
        let row = |cupel, peer, target| Row {
            name: "x".to_owned(),
            cupel,
            peer,
            unit: "",
            target: Some(target),
        };
        let least = Target::RatioAtLeast(1.0);
        assert_eq!(row(Some(2.0), Some(2.0), least).met(), Some(true));
        assert_eq!(row(Some(1.0), Some(2.0), least).met(), Some(false));
        assert_eq!(row(Some(1.0), None, least).met(), None);
        assert_eq!(
            row(Some(1.3), Some(1.0), Target::RatioAtMost(1.2)).met(),
            Some(false)
        );
        assert_eq!(
            row(Some(96.0), None, Target::AtLeast(95.0)).met(),
            Some(true)
        );
        assert!(markdown(&[row(Some(1.0), Some(2.0), least)]).contains("| **no** |"));
    }
}
