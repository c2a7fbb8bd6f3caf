//! What lines mean on each platform, as data: `facts/*.facts`.
//!
//! A file has scopes; a scope has rules, one a line: a kind, a pattern, and behind `;` marks. The first rule that fits a line counts.
//!
//! **Patterns** are words. `word` is that word, `a|b` one of them, `x*` and `*.*` are globs, `*` is any word, `_` any word that is no part of the
//! key, `@` any word, which is the name of what is defined or used; `#` an address. `+` at the end: something must follow. `$`: nothing may.
//!
//! **Kinds**: `single` has one value for its key (the words that the pattern takes), and a new one overwrites it; `replaces` too, but the device
//! takes a new one only after the old one is gone; `on` is a switch whose `no` form is shown, since it is on by default or may be;
//! and no line says the same as the line without a value; `off` likewise, and no line says the same as its `no` form; `set` is there or
//! not; `vlans` are ranges of numbers on one line; `section` has lines of its own; `list` is an ordered list (access lists, NAT) and
//! `entry` an entry of the list that the section is; `tail` are in order and new ones go to the end; `banner`, a text; `dynamic` is never
//! compared nor sent; `absent` says what no line says, too.
//!
//! **Marks**: `in=SCOPE` is where its lines are explained; `define=KIND` says what it makes; `key=1+3` takes only those words of the line for
//! the key (counted from one; `0`: none, all lines of the rule are one value); `no=key` negates by the words of the pattern, `no=name` by
//! the first two words, else by the whole line; `gone=` how a section goes: `no`, `default` (a port cannot be removed), `clear`,
//! `children`, `keep`; `first=N` orders lines within a section; `strict`: refused while it is used; `risk=access|traffic`; `secret`: the value is
//! one; `confirm`: the device asks; `exit=WORD` leaves the section; `takes=F` and `of=F`: what is `of` goes with the one that `takes` it and has
//! its name; `unique`: no two sections have the same value; `clears`: the section loses its addresses; `frozen`: it is made anew
//! instead of edited.
//!
//! **Statements**: `use KIND PATTERN` says where a name is used (`; not=WORD`: a word that stands there and is none); `mention KIND PATTERN`, that any word of such a line may be one; `family
//! WORD`: lines that begin with the word and the same name go together, by `no WORD NAME`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Os;
use super::plan::Risk;

/// What a rule says of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One value; overwritten.
    Single,
    /// One value; the old one has to go first.
    Replaces,
    /// A switch that is on where no line says anything.
    On,
    /// A switch that is off where no line says anything.
    Off,
    /// There or not.
    Set,
    /// Numbers on a line.
    Vlans,
    /// Lines of its own below.
    Section,
    /// An ordered list.
    List,
    /// An entry of the list that the section is.
    Entry,
    /// In order, at the end only.
    Tail,
    /// Text between delimiters.
    Banner,
    /// Never compared, never sent.
    Dynamic,
    /// The same as no line.
    Absent,
}

/// How a section goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// `no HEADER`.
    No,
    /// `default HEADER`: the thing itself stays.
    Default,
    /// Its lines, one by one.
    Children,
    /// Like `Children`, and its header stays.
    Keep,
    /// `clear configure HEADER`.
    Clear,
}

/// How a line is negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negation {
    /// By the whole line.
    Exact,
    /// By the words of its pattern.
    Key,
    /// By its first two words.
    Name,
}

/// One word of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Literal(&'static str),
    OneOf(Vec<&'static str>),
    Glob(&'static str),
    Any,
    Skip,
    Name,
    Address,
}

/// What a line must begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    words: Vec<Word>,
    needs_more: bool,
    is_whole: bool,
    key: Option<Vec<usize>>,
}

/// How a pattern fits a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit<'a> {
    /// The words by which the line is known.
    pub key: Vec<&'a str>,
    /// The name that it defines or uses.
    pub name: Option<&'a str>,
    /// Words that the pattern took.
    pub taken: usize,
    /// Whether the line stops where something must follow.
    pub is_incomplete: bool,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it says.
    pub kind: Kind,
    /// Which lines it is about.
    pub pattern: Pattern,
    /// Its number: the same key of two rules is two keys.
    pub id: u16,
    /// Where the lines below are explained.
    pub inner: ScopeId,
    /// What it defines.
    pub defines: Option<&'static str>,
    /// How it goes, if it is a section.
    pub gone: Gone,
    /// How it is negated.
    pub negation: Negation,
    /// Its place among the lines of a section.
    pub first: i32,
    /// Whether it cannot go while it is used.
    pub is_strict: bool,
    /// Whether its value is a secret.
    pub is_secret: bool,
    /// Whether the device asks before it goes.
    pub asks: bool,
    /// What a change of it may do.
    pub risk: Option<Risk>,
    /// The word that leaves the section.
    pub exit: &'static str,
    /// Sections of this rule are in order, and new ones go to the end.
    pub is_tail: bool,
    /// Others go with it: lines of this family.
    pub takes: Option<&'static str>,
    /// It goes with others of this family.
    pub of: Option<&'static str>,
    /// No two sections may have the same value.
    pub is_unique: bool,
    /// Setting or removing it removes the section's addresses.
    pub clears: bool,
    /// It cannot be edited while it runs: it is removed and entered again.
    pub is_frozen: bool,
    /// What list it is: `ios`, `flat` (IOS, a line an entry), `asa` or `nat`.
    pub list: &'static str,
}

/// Which scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId(pub u16);

/// What is used where.
#[derive(Debug, Clone)]
pub struct Use {
    /// The kind of thing.
    pub kind: &'static str,
    /// Where its name stands.
    pub pattern: Pattern,
    /// Whether any word behind the pattern may be one.
    pub is_mention: bool,
    /// A word that stands there and is no name.
    pub not: Option<&'static str>,
}

/// The rules for the lines of one sort of section.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Its name.
    pub name: &'static str,
    rules: Vec<Rule>,
    by_first: HashMap<&'static str, Vec<u16>>,
    any_first: Vec<u16>,
    ordered: Vec<(&'static str, Option<&'static str>)>,
    uses: Vec<Use>,
    uses_by_first: HashMap<&'static str, Vec<u16>>,
    /// Families of lines that go together: the word, and which words after the name make one.
    pub families: Vec<&'static str>,
}

/// Everything that is known of a platform.
#[derive(Debug)]
pub struct Facts {
    scopes: Vec<Scope>,
    /// Rules of the top scope, for the order of lines that no rule knows.
    pub ranks: u16,
}

static IOS: LazyLock<Facts> = LazyLock::new(|| Facts::read(&[include_str!("facts/ios.facts")]));
static AP: LazyLock<Facts> =
    LazyLock::new(|| Facts::read(&[include_str!("facts/ap.facts"), include_str!("facts/ios.facts")]));
static ASA: LazyLock<Facts> = LazyLock::new(|| Facts::read(&[include_str!("facts/asa.facts")]));

/// The scope of whole configurations.
pub const TOP: ScopeId = ScopeId(0);
/// The scope of sections that no rule knows.
pub const ANY: ScopeId = ScopeId(1);

impl Facts {
    /// Returns what is known of a platform.
    pub fn of(os: Os) -> &'static Self {
        match os {
            Os::Ios => &IOS,
            Os::Ap => &AP,
            Os::Asa => &ASA,
        }
    }

    /// Returns a scope.
    pub fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[usize::from(id.0)]
    }

    fn read(files: &[&'static str]) -> Self {
        let mut names: Vec<&'static str> = vec!["top", "any"];
        for file in files {
            for line in file.lines() {
                if let Some(name) = line.strip_prefix("scope ")
                    && !names.contains(&name.trim())
                {
                    names.push(name.trim());
                }
            }
        }
        let mut scopes: Vec<Scope> = names.iter().map(|name| Scope { name, ..Scope::default() }).collect();
        for file in files {
            let mut at = 0;
            for line in file.lines() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                if let Some(name) = line.strip_prefix("scope ") {
                    at = names.iter().position(|known| *known == name.trim()).unwrap_or_default();
                    continue;
                }
                scopes[at].add(line, &names);
            }
        }
        let ranks = scopes[0].rules.len() as u16;
        Self { scopes, ranks }
    }
}

impl Scope {
    /// Returns the rule for a line, without its `no`.
    pub fn rule<'a>(&self, words: &[&'a str]) -> Option<(&Rule, Fit<'a>)> {
        let first = *words.first()?;
        let named = self.by_first.get(first).map_or(&[][..], Vec::as_slice);
        let (mut a, mut b) = (named.iter().peekable(), self.any_first.iter().peekable());
        // Both are in the order of the file.
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x < y => a.next(),
                (_, Some(_)) => b.next(),
                (Some(_), None) => a.next(),
                (None, None) => return None,
            };
            let rule = &self.rules[usize::from(*next?)];
            if let Some(fit) = rule.fit(words) {
                return Some((rule, fit));
            }
        }
    }

    /// Whether a line may be in an order that counts.
    pub fn may_be_ordered(&self, head: &str) -> bool {
        let rest = |text: &'_ str, word: &str| {
            text.strip_prefix(word).filter(|rest| rest.is_empty() || rest.starts_with(' ')).map(str::len)
        };
        self.ordered.iter().any(|(first, second)| {
            rest(head, first).is_some_and(|left| {
                second.is_none_or(|second| rest(head[head.len() - left..].trim_start(), second).is_some())
            })
        })
    }

    /// Returns the rule for a line that is written with its `no`, where that form has one of its own.
    pub fn negative_rule(&self, words: &[&str]) -> Option<&Rule> {
        let rules = self.by_first.get("no")?.iter().map(|index| &self.rules[usize::from(*index)]);
        rules.into_iter().find(|rule| rule.fit(words).is_some())
    }

    /// Whether names of a kind are found in a line by its words alone, which need not all be names.
    pub fn mentions(&self, kind: &str, words: &[&str]) -> bool {
        let Some(first) = words.first() else { return false };
        let indices = self.uses_by_first.get(first).into_iter().flatten();
        indices.map(|index| &self.uses[usize::from(*index)]).any(|one| one.kind == kind && one.is_mention)
    }

    /// Whether the section that this scope is about is one ordered list.
    pub fn is_list(&self) -> bool {
        self.rules.iter().any(|rule| rule.kind == Kind::Entry)
    }

    /// Calls back for each thing that a line uses: its kind and its name.
    pub fn uses<'a>(&self, words: &[&'a str], mut found: impl FnMut(&'static str, &'a str)) {
        let Some(first) = words.first() else { return };
        for index in self.uses_by_first.get(first).into_iter().flatten() {
            let one = &self.uses[usize::from(*index)];
            let Some(fit) = one.pattern.fit(words) else { continue };
            if let Some(name) = fit.name.filter(|name| one.not != Some(*name)) {
                found(one.kind, name);
            }
            if one.is_mention {
                for word in &words[fit.taken..] {
                    word.split(['(', ')', ','])
                        .filter(|part| !part.is_empty())
                        .for_each(|part| found(one.kind, part));
                }
            }
        }
    }

    fn add(&mut self, line: &'static str, scopes: &[&'static str]) {
        let (pattern, marks) = line.split_once(';').unwrap_or((line, ""));
        let mut words = pattern.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let rest: Vec<&'static str> = words.collect();
        if kind == "use" || kind == "mention" {
            let pattern = Pattern::read(&rest[1..]);
            for first in pattern.firsts() {
                self.uses_by_first.entry(first).or_default().push(self.uses.len() as u16);
            }
            let not = marks.trim().strip_prefix("not=");
            self.uses.push(Use { kind: rest[0], pattern, is_mention: kind == "mention", not });
            return;
        }
        if kind == "family" {
            self.families.push(rest[0]);
            return;
        }
        let kind = match kind {
            "single" => Kind::Single,
            "replaces" => Kind::Replaces,
            "on" => Kind::On,
            "off" => Kind::Off,
            "set" => Kind::Set,
            "vlans" => Kind::Vlans,
            "section" => Kind::Section,
            "list" => Kind::List,
            "entry" => Kind::Entry,
            "tail" => Kind::Tail,
            "banner" => Kind::Banner,
            "dynamic" => Kind::Dynamic,
            "absent" => Kind::Absent,
            other => unreachable!("a kind of the facts: {other}"),
        };
        let mut rule = Rule {
            kind,
            pattern: Pattern::read(&rest),
            id: self.rules.len() as u16,
            inner: ANY,
            defines: None,
            gone: Gone::No,
            negation: Negation::Exact,
            first: 0,
            is_strict: false,
            is_secret: false,
            asks: false,
            risk: None,
            exit: "exit",
            is_tail: kind == Kind::Tail,
            takes: None,
            of: None,
            is_unique: false,
            clears: false,
            is_frozen: false,
            list: "",
        };
        for mark in marks.split_ascii_whitespace() {
            let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
            match name {
                "in" => {
                    let at = scopes.iter().position(|known| *known == value);
                    rule.inner = ScopeId(at.expect("a scope of the facts") as u16);
                }
                "define" => rule.defines = Some(value),
                "list" => rule.list = value,
                "gone" => {
                    rule.gone = match value {
                        "no" => Gone::No,
                        "default" => Gone::Default,
                        "children" => Gone::Children,
                        "keep" => Gone::Keep,
                        "clear" => Gone::Clear,
                        other => unreachable!("a way to go of the facts: {other}"),
                    };
                }
                "no" => rule.negation = if value == "key" { Negation::Key } else { Negation::Name },
                "key" => {
                    let numbers = value.split('+').filter_map(|number| number.parse().ok());
                    rule.pattern.key = Some(numbers.collect());
                }
                "first" => rule.first = value.parse().expect("a number of the facts"),
                "risk" => rule.risk = Some(if value == "access" { Risk::Access } else { Risk::Traffic }),
                "strict" => rule.is_strict = true,
                "secret" => rule.is_secret = true,
                "confirm" => rule.asks = true,
                "exit" => rule.exit = value,
                "tail" => rule.is_tail = true,
                "takes" => rule.takes = Some(value),
                "of" => rule.of = Some(value),
                "unique" => rule.is_unique = true,
                "clears" => rule.clears = true,
                "frozen" => rule.is_frozen = true,
                other => unreachable!("a mark of the facts: {other}"),
            }
        }
        if rule.is_tail || rule.kind == Kind::List {
            let second = match rule.pattern.words.get(1) {
                Some(Word::Literal(word)) => Some(*word),
                _ => None,
            };
            self.ordered.extend(rule.pattern.firsts().into_iter().map(|first| (first, second)));
        }
        match rule.pattern.words.first() {
            Some(Word::Literal(_) | Word::OneOf(_)) => {
                for first in rule.pattern.firsts() {
                    self.by_first.entry(first).or_default().push(rule.id);
                }
            }
            _ => self.any_first.push(rule.id),
        }
        self.rules.push(rule);
    }
}

impl Rule {
    fn fit<'a>(&self, words: &[&'a str]) -> Option<Fit<'a>> {
        self.pattern.fit(words)
    }
}

impl Pattern {
    fn read(words: &[&'static str]) -> Self {
        let mut pattern = Self { words: Vec::new(), needs_more: false, is_whole: false, key: None };
        for word in words {
            let word = match *word {
                "+" => {
                    pattern.needs_more = true;
                    continue;
                }
                "$" => {
                    pattern.is_whole = true;
                    continue;
                }
                "*" => Word::Any,
                "_" => Word::Skip,
                "#" => Word::Address,
                "@" => Word::Name,
                glob if glob.contains('*') => Word::Glob(glob),
                choice if choice.contains('|') => Word::OneOf(choice.split('|').collect()),
                literal => Word::Literal(literal),
            };
            pattern.words.push(word);
        }
        pattern
    }

    /// Whether the key is the words that the pattern takes, as they stand there.
    pub fn is_key_its_words(&self) -> bool {
        self.key.is_none() && !self.words.contains(&Word::Skip)
    }

    /// Whether any word may come first.
    pub fn is_open(&self) -> bool {
        matches!(self.words.first(), Some(Word::Any | Word::Skip | Word::Name))
    }

    /// Whether all lines of the rule are one value.
    pub fn has_no_key(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key == &[0])
    }

    fn firsts(&self) -> Vec<&'static str> {
        match self.words.first() {
            Some(Word::Literal(word)) => vec![word],
            Some(Word::OneOf(words)) => words.clone(),
            _ => Vec::new(),
        }
    }

    /// Fits it to the words of a line.
    pub fn fit<'a>(&self, words: &[&'a str]) -> Option<Fit<'a>> {
        let mut fit =
            Fit { key: Vec::with_capacity(4), name: None, taken: self.words.len(), is_incomplete: false };
        if words.len() < self.words.len() {
            return None;
        }
        for (pattern, word) in self.words.iter().zip(words) {
            let is_right = match pattern {
                Word::Literal(literal) => literal == word,
                Word::OneOf(choice) => choice.contains(word),
                Word::Glob(glob) => glob.split('|').any(|glob| is_like(glob, word)),
                Word::Any | Word::Skip => true,
                Word::Address => {
                    word.contains(['.', ':']) && word.starts_with(|first: char| first.is_ascii_hexdigit())
                }
                Word::Name => {
                    fit.name = Some(word);
                    true
                }
            };
            if !is_right {
                return None;
            }
            if self.key.is_none() && !matches!(pattern, Word::Skip) {
                fit.key.push(word);
            }
        }
        if self.is_whole && words.len() > self.words.len() {
            return None;
        }
        if let Some(key) = &self.key {
            fit.key.extend(key.iter().filter_map(|number| words.get(number.checked_sub(1)?).copied()));
        }
        fit.is_incomplete = self.needs_more && words.len() == self.words.len();
        Some(fit)
    }
}

/// Whether a word is like a glob with `*` for any text.
pub fn is_like(glob: &str, word: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = word.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}
