//! A small XML writer. Element names are ours; only text needs care.

use std::fmt::{self, Write as _};

/// An XML text under construction.
#[derive(Debug, Default)]
pub(super) struct Xml {
    out: String,
}

impl Xml {
    /// A document with the usual declaration.
    pub(super) fn document() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned() }
    }

    /// `<name>value</name>`; `<name/>` if the value is empty.
    pub(super) fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.element(name, |x| {
            // Writing to a String cannot fail.
            let _ = write!(Escape(&mut x.out), "{value}");
        });
    }

    /// `<name>…</name>` around what `inner` writes; `<name/>` if that is nothing.
    pub(super) fn element(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.open(name, None);
        let start = self.out.len();
        inner(self);
        if self.out.len() == start {
            self.out.pop();
            self.out.push_str("/>");
        } else {
            self.close(name);
        }
    }

    /// The root element with its name space.
    pub(super) fn root(&mut self, name: &str, xmlns: &str, inner: impl FnOnce(&mut Self)) {
        self.open(name, Some(xmlns));
        inner(self);
        self.close(name);
    }

    /// A set of `<item>` elements.
    pub(super) fn items<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |x| {
            for item in items {
                x.element("item", |x| each(x, item));
            }
        });
    }

    /// XML that another writer has made.
    pub(super) fn raw(&mut self, xml: &str) {
        self.out.push_str(xml);
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.out
    }

    fn open(&mut self, name: &str, xmlns: Option<&str>) {
        self.out.push('<');
        self.out.push_str(name);
        if let Some(xmlns) = xmlns {
            self.out.push_str(" xmlns=\"");
            self.out.push_str(xmlns);
            self.out.push('"');
        }
        self.out.push('>');
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }
}

struct Escape<'a>(&'a mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                // A parser would turn it into a line feed.
                '\r' => self.0.push_str("&#13;"),
                '\t' | '\n' => self.0.push(c),
                // XML 1.0 cannot carry these, not even escaped.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    self.0.push(char::REPLACEMENT_CHARACTER);
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_empty_elements_are_short() {
        let mut x = Xml::default();
        x.element("a", |x| {
            x.text("b", "<&>\"'\u{0}\r");
            x.items("set", [1, 2], |x, n| x.text("n", n));
            x.items("none", Vec::<u8>::new(), |_, _| {});
        });
        assert_eq!(
            x.finish(),
            "<a><b>&lt;&amp;&gt;\"'\u{fffd}&#13;</b><set><item><n>1</n></item><item><n>2</n></item></set><none/></a>"
        );
    }
}
