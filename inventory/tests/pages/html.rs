//! A reader of the pages' HTML that is strict about form: tags nest, attributes are quoted.

/// One element.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Texts and children, in order.
    pub children: Vec<Node>,
}

/// What an element holds.
#[derive(Debug)]
pub enum Node {
    Text(String),
    Element(Element),
}

const VOID: [&str; 3] = ["meta", "link", "input"];

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it has this class.
    pub fn is(&self, class: &str) -> bool {
        self.attribute("class")
            .is_some_and(|all| all.split(' ').any(|one| one == class))
    }

    /// It and every element in it, in the page's order.
    pub fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        for child in &self.children {
            if let Node::Element(element) = child {
                all.extend(element.all());
            }
        }
        all
    }

    /// Every element in it with this name.
    pub fn named(&self, name: &str) -> Vec<&Self> {
        let mut all = self.all();
        all.retain(|element| element.name == name);
        all
    }

    pub fn by_id(&self, id: &str) -> Option<&Self> {
        self.all()
            .into_iter()
            .find(|element| element.attribute("id") == Some(id))
    }

    /// Its text, with single spaces.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn write(&self, to: &mut String) {
        // Elements in a line run on; blocks begin a new word.
        let inline = ["a", "b", "i", "span", "code", "time", "bdi", "tspan"];
        if !inline.contains(&self.name.as_str()) {
            to.push(' ');
        }
        for child in &self.children {
            match child {
                Node::Text(text) => to.push_str(text),
                Node::Element(element) => element.write(to),
            }
        }
        if !inline.contains(&self.name.as_str()) {
            to.push(' ');
        }
    }
}

fn unescaped(text: &str) -> String {
    assert!(!text.contains('<'), "unescaped < in {text:?}");
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    assert!(
        !plain.replace("&amp;", "").contains('&'),
        "unescaped & in {text:?}"
    );
    plain.replace("&amp;", "&")
}

/// Attributes of a tag; the quotes' inside is unescaped.
fn attributes(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return found;
        }
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let name = text[..end].to_owned();
        text = &text[end..];
        let value = match text.strip_prefix("=\"") {
            Some(rest) => {
                let end = rest.find('"').expect("a quote that is closed");
                let value = unescaped(&rest[..end]);
                text = &rest[end + 1..];
                value
            }
            None => {
                assert!(
                    !text.starts_with('='),
                    "a value without quotes: {name}{text}"
                );
                String::new()
            }
        };
        assert!(
            found.iter().all(|(known, _)| *known != name),
            "{name} twice"
        );
        found.push((name, value));
    }
}

/// End of a tag that begins at the front: `>` outside quotes.
fn tag_end(text: &str) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return at,
            _ => {}
        }
    }
    panic!("a tag that never ends: {}", &text[..text.len().min(80)]);
}

/// The page's root element.
pub fn parse(page: &str) -> Element {
    let mut text = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let mut open = vec![Element::default()];
    while let Some(at) = text.find('<') {
        let inside = unescaped(&text[..at]);
        let top = open.last_mut().expect("an open element");
        if !inside.is_empty() {
            top.children.push(Node::Text(inside));
        }
        let end = tag_end(&text[at..]);
        let tag = &text[at + 1..at + end];
        text = &text[at + end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let closed = open.pop().expect("an open element");
            assert_eq!(closed.name, name, "tags do not nest");
            open.last_mut()
                .expect("a parent")
                .children
                .push(Node::Element(closed));
        } else {
            let (name, rest) = tag.split_once(' ').unwrap_or((tag, ""));
            let element = Element {
                name: name.to_owned(),
                attributes: attributes(rest),
                children: Vec::new(),
            };
            if VOID.contains(&name) {
                open.last_mut()
                    .expect("a parent")
                    .children
                    .push(Node::Element(element));
            } else {
                open.push(element);
            }
        }
    }
    assert!(text.is_empty() && open.len() == 1, "elements left open");
    match open.pop().and_then(|mut root| root.children.pop()) {
        Some(Node::Element(html)) => html,
        other => panic!("no root element: {other:?}"),
    }
}
