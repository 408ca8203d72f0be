//! A strict reader of the Prometheus text format, written from its description alone.

use std::collections::BTreeMap;

/// Labels and value of one sample.
pub(super) type Sample = (BTreeMap<String, String>, f64);

/// One family as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub name: String,
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

impl Read {
    /// Values of the samples that have all of these labels.
    pub(super) fn values(&self, labels: &[(&str, &str)]) -> Vec<f64> {
        let has = |sample: &&Sample| {
            let mut wanted = labels.iter();
            wanted.all(|(name, value)| sample.0.get(*name).map(String::as_str) == Some(*value))
        };
        self.samples.iter().filter(has).map(|(_, v)| *v).collect()
    }
}

/// Families in the order of the text.
///
/// Panics with the line at which the text is no exposition.
pub(super) fn exposition(text: &str) -> Vec<Read> {
    assert!(text.ends_with('\n'), "the last line is ended");
    let mut families: Vec<Read> = Vec::new();
    for line in text.strip_suffix('\n').expect("ended").split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(families.iter().all(|f| f.name != name), "twice: {line}");
            families.push(Read {
                name: name.to_owned(),
                help: help.to_owned(),
                kind: String::new(),
                samples: Vec::new(),
            });
            continue;
        }
        let family = families.last_mut().expect(line);
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!((name, family.samples.len()), (&*family.name, 0), "{line}");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            kind.clone_into(&mut family.kind);
            continue;
        }
        assert!(!family.kind.is_empty(), "a sample before its type: {line}");
        let rest = line.strip_prefix(&family.name).expect(line);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (BTreeMap::new(), rest),
        };
        let value = rest.strip_prefix(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        assert!(value.is_finite(), "{line}");
        family.samples.push((labels, value));
    }
    families
}

/// Labels up to the closing brace, and the rest of the line.
fn labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    plain @ ('\\' | '"') => value.push(plain),
                    other => panic!("\\{other} is no escape"),
                },
                (_, plain) => value.push(plain),
            }
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(!name.is_empty() && name.chars().all(fits), "{name:?}");
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name}");
        rest = &after[end + 1..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            (other, _) => panic!("{other:?} behind a label"),
        }
    }
}
