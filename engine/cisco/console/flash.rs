//! The files of a device: configurations are copied to them, from them and between them, and written by a script line by line.

use super::super::tree::{Node, Tree};
use super::super::{Os, guard};
use super::commands::{INVALID, is_short_for};
use super::{Console, Event, Machine, Mode, Question};

/// Bytes of a flash memory, and what of it a system takes.
const SIZE: usize = 64 << 20;
const TAKEN: usize = 24 << 20;

impl Machine {
    fn disk(&self) -> &'static str {
        if self.os == Os::Asa { "disk0:" } else { "flash:" }
    }

    /// Returns the name of a file of its flash memory: `flash:/a` and `flash:a` are the same one.
    fn file_name<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.disk())
            .or_else(|| path.strip_prefix("flash:"))
            .map(|name| name.trim_start_matches('/'))
    }

    /// Returns what a path holds.
    fn content(&self, path: &str) -> Option<String> {
        if let Some(name) = self.file_name(path) {
            return self.files.get(name).cloned();
        }
        match path.split_once(':').map_or(path, |(_, rest)| rest.trim_start_matches('/')) {
            "" if path == "null:" => Some(String::new()),
            name if is_short_for(name, "running-config") => Some(self.running()),
            name if is_short_for(name, "startup-config") => Some(self.startup.clone()),
            _ => None,
        }
    }

    /// Says which lines another configuration has that this one does not, each below its section.
    pub(super) fn more_in(&self, path: &str) -> Option<String> {
        let text = self.content(path)?;
        let running = self.running();
        let (file, own) = (Tree::read(self.os, &text), Tree::read(self.os, &running));
        let mut lines = String::new();
        missing(&file.nodes, &own.nodes, "", &mut lines);
        let lines = lines.strip_suffix("end\n").unwrap_or(&lines);
        Some(if lines.is_empty() {
            "!No changes were found\n".to_owned()
        } else {
            format!("!List of Commands:\n{lines}end\n")
        })
    }

    /// Says in which lines two configurations differ.
    pub(super) fn differences(&self, paths: [&str; 2]) -> Option<String> {
        let [a, b] = paths.map(|path| self.content(path));
        let (a, b) = (a?, b?);
        let (a, b) = (Tree::read(self.os, &a), Tree::read(self.os, &b));
        let mut lines = String::new();
        missing(&b.nodes, &a.nodes, "+", &mut lines);
        missing(&a.nodes, &b.nodes, "-", &mut lines);
        let lines = if lines.is_empty() { "!No changes were found\n".to_owned() } else { lines };
        Some(format!("!Contextual Config Diffs:\n{lines}"))
    }
}

/// Writes the lines of a configuration that another one lacks, below their sections.
fn missing(nodes: &[Node<'_>], other: &[Node<'_>], sign: &str, lines: &mut String) {
    for node in nodes.iter().filter(|node| !node.is_trivia()) {
        let like = other.iter().find(|one| one.head == node.head && one.body == node.body);
        let mut below = String::new();
        missing(&node.children, like.map_or(&[], |like| &like.children), sign, &mut below);
        if like.is_none() || !below.is_empty() {
            // A section whose own line is there stands above its lines without a sign.
            let sign = if like.is_some() { "" } else { sign };
            lines.push_str(&format!("{sign}{:indent$}{}", "", node.head, indent = node.indent));
            lines.push_str(node.body.as_deref().unwrap_or_default());
            lines.push('\n');
            lines.push_str(&below);
        }
    }
}

impl Console {
    /// A command about files.
    pub(super) fn file(&mut self, machine: &mut Machine, line: &str, words: &[&str]) {
        let paths: Vec<&str> = words[1..].iter().filter(|word| !word.starts_with('/')).copied().collect();
        match (words[0].chars().next(), &paths[..]) {
            (Some('d'), []) if words[0] == "dir" => self.directory(machine, machine.disk()),
            (Some('d'), [path]) if words[0] == "dir" => self.directory(machine, path),
            (Some('d'), [path]) if words.contains(&"/force") => {
                if machine.file_name(path).and_then(|name| machine.files.remove(name)).is_none() {
                    self.no_file("deleting", path);
                }
            }
            (Some('m'), [path]) => match machine.content(path) {
                Some(text) => self.screen.show(&text, super::show::more(machine.os)),
                None => self.no_file("opening", path),
            },
            (Some('v'), [path]) if words.contains(&"/md5") => match machine.content(path) {
                Some(text) => {
                    let sum = md5::compute(text.as_bytes());
                    self.screen.say(&format!(".Done!\nverify /md5 ({path}) = {sum:x}\n\n"));
                }
                None => self.no_file("verifying", path),
            },
            (Some('c'), [from, to]) => {
                let Some(text) = machine.content(from) else { return self.no_file("opening", from) };
                let target = (*to).to_owned();
                if is_short_for(to, "startup-config") && is_short_for(from, "running-config") {
                    self.question = Some(Question::Destination);
                } else if machine.has("file prompt quiet") || *from == "null:" {
                    self.store(machine, &target, text);
                } else {
                    self.question = Some(Question::Name { text, target });
                }
            }
            _ => self.refuse(machine, line, INVALID),
        }
    }

    fn no_file(&mut self, what: &str, path: &str) {
        self.screen.say(&format!("%Error {what} {path} (No such file or directory)\n"));
    }

    fn directory(&mut self, machine: &Machine, path: &str) {
        let name = machine.file_name(path).unwrap_or_default();
        let mut lines = String::new();
        for (number, (file, text)) in machine.files.iter().enumerate() {
            if name.is_empty() || name == file {
                let size = text.len();
                lines.push_str(&format!(
                    "{:5}  -rw-  {size:10}  Mar 1 2027 10:00:00 +00:00  {file}\n",
                    number + 1
                ));
            }
        }
        if !name.is_empty() && lines.is_empty() {
            return self.no_file("opening", path);
        }
        let shown = if name.is_empty() { format!("{}/", machine.disk()) } else { path.to_owned() };
        let used: usize = machine.files.values().map(String::len).sum();
        let free = SIZE.saturating_sub(TAKEN + used);
        self.screen
            .say(&format!("Directory of {shown}\n\n{lines}\n{SIZE} bytes total ({free} bytes free)\n"));
    }

    /// Puts a text where it was to be copied to: into a file, or line by line into the configuration.
    pub(super) fn store(&mut self, machine: &mut Machine, target: &str, text: String) {
        let size = text.len();
        if let Some(name) = machine.file_name(target) {
            machine.files.insert(name.to_owned(), text);
        } else if is_short_for(target.trim_start_matches("system:").trim_start_matches('/'), "running-config")
        {
            self.merge(machine, &text);
        } else {
            return self.refuse(machine, target, INVALID);
        }
        self.screen.say(&format!("{size} bytes copied in 0.320 secs ({} bytes/sec)\n", size * 3));
    }

    /// Enters the lines of a text; what the device refuses is said, and the next line comes all the same.
    fn merge(&mut self, machine: &mut Machine, text: &str) {
        fn flat<'n>(nodes: &'n [Node<'n>], found: &mut Vec<(&'n str, Option<&'n str>)>) {
            for node in nodes.iter().filter(|node| !node.is_trivia()) {
                found.push((&node.head, node.body.as_deref()));
                flat(&node.children, found);
            }
        }
        let tree = Tree::read(machine.os, text);
        let mut lines = Vec::new();
        flat(&tree.nodes, &mut lines);
        machine.running.leave();
        for (head, body) in lines {
            self.enter(machine, head, body);
        }
        machine.running.leave();
    }

    /// `configure replace FILE [force] [timer N]`.
    pub(super) fn replace(
        &mut self,
        machine: &mut Machine,
        line: &str,
        words: &[&str],
        events: &mut Vec<Event>,
    ) {
        let Some(path) = words.get(2) else { return self.refuse(machine, line, "% Incomplete command.") };
        let Some(text) = machine.content(path) else { return self.no_file("opening", path) };
        let text = Machine::bare(machine.os, &text);
        if guard(machine.os, &text).is_err() || !text.lines().any(|line| line.starts_with("hostname ")) {
            return self.screen.say("%The input file is not a valid config file.\n");
        }
        if !words.contains(&"force") {
            self.question = Some(Question::Replace(text));
            return self.screen.say(
                "This will apply all necessary additions and deletions\nto replace the current running configuration with the\ncontents of the specified configuration file, which is\nassumed to be a complete configuration, not a partial\nconfiguration.",
            );
        }
        if words.contains(&"revert") || words.contains(&"time") {
            if !machine.has_archive() {
                return self
                    .screen
                    .say("%Please turn config archive on first: the change cannot be reverted\n");
            }
            let minutes = words.iter().rev().find_map(|word| word.parse().ok());
            if let Some(minutes) = minutes {
                let timer = machine.revert_in(minutes, self.user());
                events.push(Event::TimerIn { minutes, timer });
            }
        }
        self.replaced(machine, &text);
    }

    pub(super) fn replaced(&mut self, machine: &mut Machine, text: &str) {
        machine.replace(text, &self.access.login.0);
        self.screen.say("\nTotal number of passes: 1\nRollback Done\n\n");
    }

    /// A line of a script: one command writes a file, which may have many lines; what is none of a script is done as ever.
    pub(super) fn script(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        if line == "tclquit" || line == "exit" {
            self.mode = Mode::Privileged;
        } else if line.starts_with("puts [open \"") && line.contains(" w+] {") {
            self.put(machine, line.to_owned());
        } else {
            self.execute_within(machine, line, events);
        }
    }

    /// Writes a file when the text of a command that does is whole.
    pub(super) fn put(&mut self, machine: &mut Machine, text: String) {
        let Some(whole) = text.strip_suffix('}') else {
            self.question = Some(Question::Script { text: text + "\n" });
            return;
        };
        let parts = whole.strip_prefix("puts [open \"").and_then(|rest| rest.split_once("\" w+] {"));
        if let Some((path, content)) = parts
            && let Some(name) = machine.file_name(path)
        {
            machine.files.insert(name.to_owned(), format!("{content}\n"));
        } else {
            self.screen.say("couldn't open the file\n");
        }
    }
}
