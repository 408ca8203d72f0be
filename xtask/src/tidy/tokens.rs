//! A Rust file as a flat list of tokens, so that rules do not stumble over comments and strings.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// One token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its text; a delimiter is a token of its own.
    pub text: String,
    /// Line, from 1.
    pub line: usize,
    /// Whether it is a word of the program (not punctuation, not a literal).
    pub word: bool,
    /// Whether it stands in an item under `#[cfg(test)]`.
    pub test: bool,
}

/// All tokens of a file.
///
/// # Errors
/// Why it is not Rust.
pub fn of(text: &str) -> Result<Vec<Token>, String> {
    let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
        format!("line {}: {error}", error.span().start().line)
    })?;
    let mut tokens = Vec::new();
    flatten(stream, false, &mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, in_test: bool, tokens: &mut Vec<Token>) {
    let mut item_is_test = false;
    let mut after_hash = false;
    for tree in stream {
        let test = in_test || item_is_test;
        let line = tree.span().start().line;
        let mut push = |text: String, line: usize, word: bool| {
            tokens.push(Token {
                text,
                line,
                word,
                test,
            });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let is_attribute = after_hash && group.delimiter() == Delimiter::Bracket;
                let cfg_test =
                    is_attribute && group.stream().to_string().replace(' ', "") == "cfg(test)";
                push(open.to_owned(), line, false);
                flatten(group.stream(), test, tokens);
                tokens.push(Token {
                    text: close.to_owned(),
                    line: group.span_close().start().line,
                    word: false,
                    test,
                });
                if cfg_test {
                    item_is_test = true;
                } else if group.delimiter() == Delimiter::Brace {
                    item_is_test = false;
                }
                after_hash = false;
            }
            TokenTree::Punct(punct) => {
                push(punct.to_string(), line, false);
                if punct.as_char() == ';' {
                    item_is_test = false;
                }
                after_hash = punct.as_char() == '#' || (after_hash && punct.as_char() == '!');
            }
            TokenTree::Ident(ident) => {
                push(unraw(&ident), line, true);
                after_hash = false;
            }
            TokenTree::Literal(literal) => {
                push(literal.to_string(), line, false);
                after_hash = false;
            }
        }
    }
}

fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// Where a sequence of tokens begins: `["Command", ":", ":", "new"]`.
pub fn find<'a>(tokens: &'a [Token], sequence: &'a [&'a str]) -> impl Iterator<Item = &'a Token> {
    tokens
        .windows(sequence.len().max(1))
        .filter(move |window| {
            window
                .iter()
                .zip(sequence)
                .all(|(token, text)| token.text == *text)
        })
        .filter_map(|window| window.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_words_and_test_items_are_marked() {
        let text = "// Command::new\nfn a() { \"Command::new\"; }\n\
                    #[cfg(test)]\nmod tests { fn b() { Command::new(); } }\nfn c() { Command::new() }\n";
        let tokens = of(text).expect("rust");
        let hits: Vec<_> = find(&tokens, &["Command", ":", ":", "new"])
            .map(|token| (token.line, token.test))
            .collect();
        assert_eq!(hits, [(4, true), (5, false)]);
    }

    #[test]
    fn what_is_not_rust_says_where() {
        assert!(of("fn a() {\n  )").expect_err("broken").starts_with("line"));
    }
}
