//! A plain JSON tree with a strict reader and a compact writer: the slow and obvious way.
//! Numbers keep their text; a key that comes twice is there twice, and the last value counts.

use std::fmt::Write;

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Invalid,
    TooDeep,
}

impl Tree {
    /// Reads one document. With both faults in it, either may be told.
    pub fn read(text: &str, max_depth: usize) -> Result<Tree, Fault> {
        let mut parser = Parser { letters: text.chars().collect(), at: 0, max_depth };
        parser.space();
        let tree = parser.value(0)?;
        parser.space();
        if parser.at < parser.letters.len() { Err(Fault::Invalid) } else { Ok(tree) }
    }

    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(members) => members.iter().rfind(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn write(&self, out: &mut String) {
        match self {
            Tree::Null => out.push_str("null"),
            Tree::Bool(flag) => write!(out, "{flag}").unwrap(),
            Tree::Number(text) => out.push_str(text),
            Tree::Text(text) => write_text(text, out),
            Tree::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Tree::Map(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Equal as the vectors compare: order of members ignored, numbers by exact decimal value.
    pub fn same_value(&self, other: &Tree) -> bool {
        match (self, other) {
            (Tree::List(a), Tree::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_value(b))
            }
            (Tree::Map(a), Tree::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| other.get(key).is_some_and(|b| value.same_value(b)))
            }
            (Tree::Number(a), Tree::Number(b)) => decimal(a) == decimal(b),
            _ => self == other,
        }
    }

    /// Equal as `trigger: change` compares: order of members ignored, numbers by text.
    pub fn same_for_change(&self, other: &Tree) -> bool {
        match (self, other) {
            (Tree::List(a), Tree::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_for_change(b))
            }
            (Tree::Map(a), Tree::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| other.get(key).is_some_and(|b| value.same_for_change(b)))
            }
            _ => self == other,
        }
    }
}

/// Sign, digits without zeros at the ends, power of ten.
fn decimal(text: &str) -> (bool, String, i64) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut exponent: i64 = exponent.parse::<i64>().unwrap() - fraction.len() as i64;
    let mut digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    while digits.ends_with('0') {
        digits.pop();
        exponent += 1;
    }
    if digits.is_empty() { (negative, digits, 0) } else { (negative, digits, exponent) }
}

pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            low if low < ' ' => write!(out, "\\u{:04x}", low as u32).unwrap(),
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Parser {
    letters: Vec<char>,
    at: usize,
    max_depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take(&mut self) -> Result<char, Fault> {
        let letter = self.peek().ok_or(Fault::Invalid)?;
        self.at += 1;
        Ok(letter)
    }

    fn expect(&mut self, letter: char) -> Result<(), Fault> {
        if self.take()? == letter { Ok(()) } else { Err(Fault::Invalid) }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, tree: Tree) -> Result<Tree, Fault> {
        for letter in word.chars() {
            self.expect(letter)?;
        }
        Ok(tree)
    }

    fn value(&mut self, outside: usize) -> Result<Tree, Fault> {
        match self.peek() {
            Some('n') => self.word("null", Tree::Null),
            Some('t') => self.word("true", Tree::Bool(true)),
            Some('f') => self.word("false", Tree::Bool(false)),
            Some('"') => self.text().map(Tree::Text),
            Some('-' | '0'..='9') => self.number(),
            Some('[') => self.list(outside + 1),
            Some('{') => self.map(outside + 1),
            _ => Err(Fault::Invalid),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Fault> {
        if depth > self.max_depth {
            return Err(Fault::TooDeep);
        }
        self.expect('[')?;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Tree::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth)?);
            self.space();
            match self.take()? {
                ',' => {}
                ']' => return Ok(Tree::List(items)),
                _ => return Err(Fault::Invalid),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree, Fault> {
        if depth > self.max_depth {
            return Err(Fault::TooDeep);
        }
        self.expect('{')?;
        let mut members: Vec<(String, Tree)> = Vec::new();
        self.space();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Tree::Map(members));
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            self.expect(':')?;
            self.space();
            let value = self.value(depth)?;
            members.push((key, value));
            self.space();
            match self.take()? {
                ',' => {}
                '}' => return Ok(Tree::Map(members)),
                _ => return Err(Fault::Invalid),
            }
        }
    }

    fn number(&mut self) -> Result<Tree, Fault> {
        let start = self.at;
        if self.peek() == Some('-') {
            self.at += 1;
        }
        match self.take()? {
            '0' => {}
            '1'..='9' => self.digits(),
            _ => return Err(Fault::Invalid),
        }
        if self.peek() == Some('.') {
            self.at += 1;
            self.one_digit()?;
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            self.one_digit()?;
            self.digits();
        }
        Ok(Tree::Number(self.letters[start..self.at].iter().collect()))
    }

    fn one_digit(&mut self) -> Result<(), Fault> {
        if self.take()?.is_ascii_digit() { Ok(()) } else { Err(Fault::Invalid) }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|letter| letter.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn text(&mut self) -> Result<String, Fault> {
        self.expect('"')?;
        let mut out = String::new();
        loop {
            match self.take()? {
                '"' => return Ok(out),
                low if low < ' ' => return Err(Fault::Invalid),
                '\\' => match self.take()? {
                    letter @ ('"' | '\\' | '/') => out.push(letter),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    'u' => {
                        let unit = self.unit()?;
                        let mut units = vec![unit];
                        if (0xd800..0xdc00).contains(&unit) {
                            self.expect('\\')?;
                            self.expect('u')?;
                            units.push(self.unit()?);
                        }
                        out.push_str(&String::from_utf16(&units).map_err(|_| Fault::Invalid)?);
                    }
                    _ => return Err(Fault::Invalid),
                },
                other => out.push(other),
            }
        }
    }

    fn unit(&mut self) -> Result<u16, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.take()?.to_digit(16).ok_or(Fault::Invalid)? as u16;
        }
        Ok(unit)
    }
}
