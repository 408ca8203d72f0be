//! Pseudonyms of the same shape, keyed by a secret that lives as long as one capture is written.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// Names and their pseudonyms.
pub(super) struct Pseudonyms {
    /// SipHash with a random key.
    key: RandomState,
    /// By the name's letters and digits in lower case.
    given: HashMap<String, String>,
    taken: HashSet<String>,
}

/// How often another pseudonym is tried when two names would share one.
const TRIES: u32 = 1000;

impl Pseudonyms {
    pub(super) fn new() -> Self {
        Self {
            key: RandomState::new(),
            given: HashMap::new(),
            taken: HashSet::new(),
        }
    }

    /// The pseudonym of a name, in the name's own shape; all zeros and all ones stay.
    pub(super) fn of(&mut self, name: &str) -> String {
        if super::is_blank(name) {
            return name.to_owned();
        }
        let canonical: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if !self.given.contains_key(&canonical) {
            let fresh = (0..TRIES)
                .map(|attempt| self.draw(&canonical, attempt))
                .find(|drawn| !super::is_blank(drawn) && !self.taken.contains(drawn))
                .unwrap_or_else(|| "x".repeat(canonical.len()));
            self.taken.insert(fresh.clone());
            self.given.insert(canonical.clone(), fresh);
        }
        let drawn = self.given.get(&canonical).map_or("", String::as_str);
        let mut letters = drawn.chars();
        name.chars()
            .map(|c| {
                if !c.is_ascii_alphanumeric() {
                    return c;
                }
                match letters.next() {
                    Some(letter) if c.is_ascii_uppercase() => letter.to_ascii_uppercase(),
                    Some(letter) => letter,
                    None => 'x',
                }
            })
            .collect()
    }

    /// Digits become digits and letters letters; letters of a hexadecimal name stay hexadecimal.
    fn draw(&self, canonical: &str, attempt: u32) -> String {
        let hexadecimal = canonical.bytes().all(|b| b.is_ascii_hexdigit());
        canonical
            .bytes()
            .enumerate()
            .map(|(at, byte)| {
                let random = self.key.hash_one((canonical, attempt, at));
                let (base, size) = match byte {
                    b'0'..=b'9' => (b'0', 10),
                    _ if hexadecimal => (b'a', 6),
                    _ => (b'a', 26),
                };
                let step = u8::try_from(random % size).unwrap_or_default();
                char::from(base + step)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_one_pseudonym_however_it_is_written() {
        let mut pseudonyms = Pseudonyms::new();
        let coloned = pseudonyms.of("b8:3f:d2:01:02:03");
        let bare = pseudonyms.of("B83FD2010203");
        assert_ne!(coloned, "b8:3f:d2:01:02:03");
        assert_eq!(coloned.replace(':', "").to_uppercase(), bare);
        assert_eq!(pseudonyms.of("0000:0000:0000:0000"), "0000:0000:0000:0000");
    }

    #[test]
    fn two_names_never_share_a_pseudonym() {
        let mut pseudonyms = Pseudonyms::new();
        let all: HashSet<String> = (0..10).map(|n| pseudonyms.of(&n.to_string())).collect();
        // "0" stays, for it means none; the nine others get one each.
        assert_eq!(all.len(), 10, "{all:?}");
    }

    #[test]
    fn another_capture_gives_another_pseudonym() {
        let (mut one, mut other) = (Pseudonyms::new(), Pseudonyms::new());
        assert_ne!(one.of("1650924012345"), other.of("1650924012345"));
    }
}
