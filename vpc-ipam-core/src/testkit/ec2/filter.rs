//! `Filter.N.Name` / `Filter.N.Value.M`.

/// One filter: passes what has any of the values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// For example `status` or `tag:KEY`.
    pub name: String,
    /// Accepted values; `*` stands for any text, `?` for one character, `\` takes both literally.
    pub values: Vec<String>,
}

impl Filter {
    /// A filter for one value.
    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), values: vec![value.to_owned()] }
    }

    /// True if any of the `candidates` matches any of the values.
    pub fn any<'a>(&self, candidates: impl IntoIterator<Item = &'a str>) -> bool {
        candidates.into_iter().any(|c| self.values.iter().any(|v| matches(v, c)))
    }
}

/// Glob match, linear in memory, with one point to come back to: the last star.
fn matches(pattern: &str, text: &str) -> bool {
    // An id, nearly always; a simulated fleet asks millions of times.
    if !pattern.contains(['*', '?', '\\']) {
        return pattern == text;
    }
    let tokens = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let hit = match (tokens.get(p), text.get(t)) {
            (Some(Token::One), _) => true,
            (Some(Token::Char(want)), Some(got)) => want == got,
            _ => false,
        };
        if hit {
            t += 1;
            p += 1;
        } else if matches!(tokens.get(p), Some(Token::Any)) {
            star = Some((p, t));
            p += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    tokens.iter().skip(p).all(|t| matches!(t, Token::Any))
}

enum Token {
    Any,
    Char(char),
    One,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Char(chars.next().unwrap_or('\\')),
            c => Token::Char(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_ec2() {
        for (pattern, text) in [
            ("aws-K8S-*", "aws-K8S-i-1"),
            ("*", ""),
            ("a*b*c", "axxbyybc"),
            ("a?c", "abc"),
            (r"\*", "*"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("aws-K8S-*", "other"), ("a?c", "ac"), (r"\*", "x"), ("", "x"), ("a*b", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
