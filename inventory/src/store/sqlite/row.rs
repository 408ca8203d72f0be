//! From columns to values, and back.

use cupel_model::{Severity, Timestamp, Verdict};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::clock;
use crate::store::Error;

/// Reads columns by name.
pub trait Columns {
    /// A whole number.
    fn int(&self, column: &str) -> Result<i64, Error>;
    /// A whole number or null.
    fn maybe_int(&self, column: &str) -> Result<Option<i64>, Error>;
    /// A text.
    fn text(&self, column: &str) -> Result<String, Error>;
    /// A text or null.
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error>;
    /// Bytes.
    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error>;
    /// Bytes or null.
    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Error>;

    /// A point in time.
    fn time(&self, column: &str) -> Result<Timestamp, Error> {
        self.int(column).map(clock::time)
    }

    /// A point in time or null.
    fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.maybe_int(column)?.map(clock::time))
    }

    /// A count; what is negative is 0.
    fn count(&self, column: &str) -> Result<u64, Error> {
        Ok(u64::try_from(self.int(column)?).unwrap_or_default())
    }

    /// A small count.
    fn small(&self, column: &str) -> Result<u32, Error> {
        Ok(u32::try_from(self.int(column)?).unwrap_or_default())
    }

    /// A small count or null.
    fn maybe_small(&self, column: &str) -> Result<Option<u32>, Error> {
        Ok(self
            .maybe_int(column)?
            .and_then(|number| u32::try_from(number).ok()))
    }

    /// A truth value.
    fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    /// A word of an enumeration.
    fn word<T: DeserializeOwned>(&self, column: &str, what: &'static str) -> Result<T, Error> {
        from_word(&self.text(column)?, what)
    }

    /// A word of an enumeration or null.
    fn maybe_word<T: DeserializeOwned>(
        &self,
        column: &str,
        what: &'static str,
    ) -> Result<Option<T>, Error> {
        self.maybe_text(column)?
            .map(|text| from_word(&text, what))
            .transpose()
    }

    /// JSON.
    fn json<T: DeserializeOwned>(&self, column: &str, what: &'static str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(Error::damaged(what))
    }

    /// JSON or null.
    fn maybe_json<T: DeserializeOwned>(
        &self,
        column: &str,
        what: &'static str,
    ) -> Result<Option<T>, Error> {
        self.maybe_text(column)?
            .map(|text| serde_json::from_str(&text).map_err(Error::damaged(what)))
            .transpose()
    }

    /// A verdict.
    fn verdict(&self, column: &str) -> Result<Verdict, Error> {
        verdict(self.int(column)?)
    }

    /// A verdict or null.
    fn maybe_verdict(&self, column: &str) -> Result<Option<Verdict>, Error> {
        self.maybe_int(column)?.map(verdict).transpose()
    }
}

impl Columns for SqliteRow {
    fn int(&self, column: &str) -> Result<i64, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, Error> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: &str) -> Result<String, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: &str) -> Result<Vec<u8>, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.try_get(column)?)
    }
}

fn verdict(number: i64) -> Result<Verdict, Error> {
    match number {
        0 => Ok(Verdict::Healthy),
        1 => Ok(Verdict::Degraded),
        2 => Ok(Verdict::Unknown),
        3 => Ok(Verdict::Unhealthy),
        other => Err(Error::Damaged {
            what: "a verdict",
            detail: other.to_string(),
        }),
    }
}

/// A verdict as a number, worse is larger.
pub fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Healthy => 0,
        Verdict::Degraded => 1,
        Verdict::Unknown => 2,
        Verdict::Unhealthy => 3,
    }
}

/// A severity as a number, worse is larger.
pub fn severity_number(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

/// A severity from its number.
pub fn severity(number: i64) -> Severity {
    match number {
        2 => Severity::Critical,
        1 => Severity::Warning,
        _ => Severity::Info,
    }
}

fn from_word<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Error> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(Error::damaged(what))
}

/// The word of an enumeration.
pub fn to_word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // Only enumerations without data come here.
        Ok(_) | Err(_) => String::new(),
    }
}

/// A value as JSON text.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::damaged("a value"))
}

/// A count as the database keeps it.
pub fn counted(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
