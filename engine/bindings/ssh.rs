//! Commands on hosts: `ssh_read ssh_exec ssh_script ssh_detach`.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::call::{Content, on_host};
use crate::bindings::each::{PARALLEL_OPTION as PARALLEL, each_host};
use crate::bindings::sudo::{Become, SUDO, SUDO_PASSWORD};
use crate::bindings::{Binding, Call, Function, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Captured, Done, Doubt, Effect, Finished, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::{Failure, Verdict};
use crate::model::inventory::Host;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::world::transport::{Command, Line};

/// Bytes of each stream that a script sees unless `max_output` says otherwise.
const MAX_OUTPUT: usize = 4 << 20;

/// A command on a host; what it serialises to is what the journal compares.
#[derive(Clone, Serialize)]
pub struct Shell {
    #[serde(skip)]
    host: Arc<Host>,
    command: CommandText,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<Given>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    #[serde(skip_serializing_if = "Option::is_none")]
    creates: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unless: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    detach: bool,
    #[serde(skip)]
    timeout: Option<Duration>,
    #[serde(skip)]
    ok: Accepts,
    #[serde(skip)]
    max_output: usize,
}

/// A command in a request: exact words, or a line for the remote shell.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum CommandText {
    Words(Vec<String>),
    Line(String),
}

/// Standard input in a request: secrets by name, long texts by hash.
#[derive(Clone)]
struct Given(Content);

impl Serialize for Given {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Content::Secret(secret) => secret.serialize(serializer),
            Content::Plain(bytes) => {
                json!({ "sha256": crate::store::sha256(bytes), "bytes": bytes.len() }).serialize(serializer)
            }
        }
    }
}

/// Which exit codes count as success.
#[derive(Clone)]
enum Accepts {
    Codes(Vec<i64>),
    Any,
}

/// The recorded answer of a command; the text of its output is kept beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    ms: u64,
    out: Captured,
    err: Captured,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    skipped: bool,
}

impl Shell {
    fn new(call: &Call<'_>, host: &Arc<Host>, line: Line) -> Result<Self, Raise> {
        let command = match line {
            Line::Words(words) => CommandText::Words(words),
            Line::Shell(line) => CommandText::Line(line),
        };
        let ok = match call.option("ok") {
            None => Accepts::Codes(vec![0]),
            Some(value) if value.is_int() => Accepts::Codes(vec![value.as_int().unwrap_or(0)]),
            Some(value) if value.is_string() && value.to_string() == "any" => Accepts::Any,
            Some(value) => {
                let codes = value.clone().try_cast::<rhai::Array>().unwrap_or_default();
                let codes: Vec<i64> = codes.iter().filter_map(|code| code.as_int().ok()).collect();
                if codes.is_empty() {
                    let message = format!(
                        "`{}` wants exit codes or \"any\" as option `ok`, got `{value}`",
                        call.name()
                    );
                    return Err(invalid(message).into());
                }
                Accepts::Codes(codes)
            }
        };
        Ok(Self {
            host: host.clone(),
            command,
            stdin: call.option_content("stdin")?.map(Given),
            env: call.option_texts("env")?,
            cwd: call.option_string("cwd")?,
            sudo: Become::read(call, host)?,
            creates: call.option_string("creates")?,
            unless: call.option_string("unless")?,
            detach: false,
            timeout: call.option_duration("timeout")?,
            ok,
            max_output: call.option_int("max_output", 0)?.map_or(MAX_OUTPUT, |bytes| bytes as usize),
        })
    }

    fn command(&self, line: Line, stdin: &[u8]) -> Result<Command, Failure> {
        Ok(Command {
            line,
            stdin: stdin.into(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            sudo: self.sudo.sudo()?,
            timeout: self.timeout,
            detach: self.detach,
        })
    }

    fn line(&self) -> Line {
        match &self.command {
            CommandText::Words(words) => Line::Words(words.clone()),
            CommandText::Line(line) => Line::Shell(line.clone()),
        }
    }

    /// Whether `creates` or `unless` say that there is nothing to do.
    async fn is_done(&self, permit: &Permit<'_>) -> Result<bool, Failure> {
        let test = match (&self.creates, &self.unless) {
            (Some(path), _) => Line::Words(["test", "-e", path].map(str::to_owned).to_vec()),
            (None, Some(line)) => Line::Shell(line.clone()),
            (None, None) => return Ok(false),
        };
        let finished = permit.ask(self.command(test, &[])?, 0).await?;
        Ok(finished.exit.code == Some(0))
    }

    async fn run(&self, permit: &Permit<'_>) -> Result<Answer, Failure> {
        let stdin = self.stdin.as_ref().map_or(&[] as &[u8], |given| given.0.bytes());
        let finished = permit.run(self.command(self.line(), stdin)?, self.max_output).await?;
        self.judge(finished)
    }

    /// A command that ended in a way nobody expected is a failure with everything it said.
    fn judge(&self, finished: Finished) -> Result<Answer, Failure> {
        let Finished { exit, out, err } = finished;
        let accepted = match (&self.ok, exit.code) {
            (Accepts::Any, Some(_)) => true,
            (Accepts::Codes(codes), Some(code)) => codes.contains(&i64::from(code)),
            (Accepts::Any | Accepts::Codes(_), None) => false,
        };
        if accepted {
            return Ok(Answer {
                code: exit.code,
                signal: exit.signal,
                ms: exit.ms,
                out,
                err,
                skipped: false,
            });
        }
        let how = match (exit.code, &exit.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended without an exit code".to_owned(),
        };
        let said = [err.tail(300), out.tail(300)].into_iter().find(|text| !text.is_empty());
        let said = said.map(|text| format!(": {}", last_lines(&text, 3))).unwrap_or_default();
        Err(Failure {
            kind: "command".to_owned(),
            message: format!("`{}` {how}{said}", self.shown()),
            host: Some(self.host.name.clone()),
            site: None,
            details: json!({
                "code": exit.code, "signal": exit.signal, "out": out.tail(MAX_OUTPUT), "err": err.tail(MAX_OUTPUT),
            }),
        })
    }

    fn shown(&self) -> String {
        let text = match &self.command {
            CommandText::Words(words) => words.join(" "),
            CommandText::Line(line) => line.clone(),
        };
        let first = text.lines().next().unwrap_or_default();
        let short: String = first.chars().take(60).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    }

    fn restore(&self, mut answer: Answer, kept: &dyn Kept) -> Answer {
        for (name, captured) in [("out", &mut answer.out), ("err", &mut answer.err)] {
            if captured.bytes > 0 {
                captured.data = kept.stream(name, self.max_output).unwrap_or_default();
            }
        }
        answer
    }

    fn outcome(&self, answer: Answer, changed: bool) -> Outcome {
        let mut cut = Vec::new();
        for (name, captured) in [("out", &answer.out), ("err", &answer.err)] {
            if captured.truncated {
                cut.push(name);
            }
        }
        let mut fields = json!({
            "ok": answer.code == Some(0) || answer.skipped,
            "code": answer.code,
            "signal": answer.signal,
            "out": answer.out.text(),
            "err": answer.err.text(),
            "ms": answer.ms,
            "host": self.host.name,
            "changed": changed,
        });
        if !cut.is_empty() {
            fields["truncated"] = json!(cut);
        }
        Outcome::known(fields)
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join(" / ")
}

/// A command that only looks.
#[derive(Serialize)]
#[serde(transparent)]
struct Read(Shell);

impl Effect for Read {
    const NAME: &'static str = "ssh.read";
    const KIND: Kind = Kind::Read;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.0.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        self.0.run(permit).await.map(Done::ok)
    }

    fn restore(&self, output: Answer, kept: &dyn Kept) -> Answer {
        self.0.restore(output, kept)
    }
}

/// A command that may do anything.
#[derive(Serialize)]
struct Exec {
    #[serde(flatten)]
    shell: Shell,
    /// What the author expects of it in plan mode; not part of what is asked.
    #[serde(skip)]
    expect: Option<Answer>,
}

impl Effect for Exec {
    const NAME: &'static str = "ssh.exec";
    const KIND: Kind = Kind::Act;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.shell.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        if self.shell.is_done(permit).await? {
            let (out, err) = (Captured::default(), Captured::default());
            let answer = Answer { code: Some(0), signal: None, ms: 0, out, err, skipped: true };
            return Ok(Done { output: answer, verdict: Verdict::Ok, diff: None });
        }
        self.shell.run(permit).await.map(Done::changed)
    }

    async fn probe(&self, permit: &Permit<'_>, _pre: &Value) -> Result<Doubt<Answer>, Failure> {
        if self.shell.creates.is_none() && self.shell.unless.is_none() {
            return Ok(Doubt::Unknown);
        }
        // `creates` and `unless` make a command safe to repeat: performing asks them again first.
        let _ = permit;
        Ok(Doubt::DidNot)
    }

    fn restore(&self, output: Answer, kept: &dyn Kept) -> Answer {
        self.shell.restore(output, kept)
    }

    fn expected(&self) -> Option<Answer> {
        self.expect.clone()
    }
}

fn ssh_read(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let line = call.command(1)?;
    let one = |call: &Call<'_>, host: &Arc<Host>| Ok(Read(Shell::new(call, host, line.clone())?));
    each_host(call, one, |read, answer, changed| Ok(read.0.outcome(answer, changed).into()))
}

fn ssh_exec(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let line = call.command(1)?;
    let expect = expectation(call)?;
    let one = |call: &Call<'_>, host: &Arc<Host>| {
        Ok(Exec { shell: Shell::new(call, host, line.clone())?, expect: expect.clone() })
    };
    each_host(call, one, |exec, answer, changed| Ok(exec.shell.outcome(answer, changed).into()))
}

fn ssh_script(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let text = call.string(1)?;
    let mut words =
        vec![call.option_string("interpreter")?.unwrap_or_else(|| "sh".to_owned()), "-s".to_owned()];
    let arguments = call.json(2)?;
    if let Value::Array(items) = &arguments
        && !items.is_empty()
    {
        words.push("--".to_owned());
        words.extend(items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)));
    }
    let expect = expectation(call)?;
    let one = |call: &Call<'_>, host: &Arc<Host>| {
        let mut shell = Shell::new(call, host, Line::Words(words.clone()))?;
        shell.stdin = Some(Given(Content::Plain(text.clone().into_bytes())));
        Ok(Exec { shell, expect: expect.clone() })
    };
    each_host(call, one, |exec, answer, changed| Ok(exec.shell.outcome(answer, changed).into()))
}

fn ssh_detach(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let line = call.command(1)?;
    let one = |call: &Call<'_>, host: &Arc<Host>| {
        let mut shell = Shell::new(call, host, line.clone())?;
        shell.detach = true;
        Ok(Exec { shell, expect: None })
    };
    each_host(call, one, |exec, answer, changed| Ok(exec.shell.outcome(answer, changed).into()))
}

/// Reads `expect: #{ code: 0, out: "…" }`: what plan mode may assume.
fn expectation(call: &Call<'_>) -> Result<Option<Answer>, Raise> {
    let Some(value) = call.option("expect") else { return Ok(None) };
    let value = crate::bindings::json(&value)?;
    let text = |key: &str| {
        let data = value.get(key).and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec();
        Captured { bytes: data.len() as u64, truncated: false, data }
    };
    let code =
        value.get("code").map_or(Some(0), |code| code.as_i64().and_then(|code| i32::try_from(code).ok()));
    if !value.is_object() || code.is_none() {
        return Err(invalid(format!(
            "`{}` wants a map such as #{{ code: 0 }} as option `expect`",
            call.name()
        ))
        .into());
    }
    Ok(Some(Answer { code, signal: None, ms: 0, out: text("out"), err: text("err"), skipped: false }))
}

const HOST: Param = Param { name: "host", ty: Type::Hosts, optional: false };
const COMMAND: Param = Param { name: "command", ty: Type::Command, optional: false };

const STDIN: Opt =
    Opt { name: "stdin", ty: Type::Content, doc: "Text, bytes or a secret for standard input." };
const ENV: Opt = Opt { name: "env", ty: Type::Map, doc: "Environment variables for the command." };
const CWD: Opt = Opt { name: "cwd", ty: Type::RemotePath, doc: "The working directory." };
const TIMEOUT: Opt = Opt {
    name: "timeout",
    ty: Type::Duration,
    doc: "How long the command may take; its process group is ended then. No limit but the run's by default.",
};
const OK: Opt = Opt {
    name: "ok",
    ty: Type::Any,
    doc: "Exit codes that are no failure, such as `[0, 1]`, or \"any\"; `[0]` by default.",
};
const MAX_OUTPUT_OPTION: Opt = Opt {
    name: "max_output",
    ty: Type::Int,
    doc: "Bytes of each stream that the script may read, 4 MiB by default; the log always has all.",
};
const CREATES: Opt =
    Opt { name: "creates", ty: Type::RemotePath, doc: "A path; nothing is run where it exists." };
const UNLESS: Opt = Opt {
    name: "unless",
    ty: Type::String,
    doc: "A line for the remote shell; nothing is run where it succeeds.",
};
const EXPECT: Opt = Opt {
    name: "expect",
    ty: Type::Map,
    doc: "What plan mode may assume of the outcome: `#{ code: 0, out: \"…\" }`.",
};
const INTERPRETER: Opt =
    Opt { name: "interpreter", ty: Type::String, doc: "The program that reads it; `sh` by default." };

const READ: &[Opt] = &[STDIN, ENV, CWD, SUDO, SUDO_PASSWORD, TIMEOUT, OK, MAX_OUTPUT_OPTION, PARALLEL];
const EXEC: &[Opt] = &[
    STDIN,
    ENV,
    CWD,
    SUDO,
    SUDO_PASSWORD,
    TIMEOUT,
    OK,
    MAX_OUTPUT_OPTION,
    PARALLEL,
    CREATES,
    UNLESS,
    EXPECT,
];
const SCRIPT: &[Opt] = &[
    ENV,
    CWD,
    SUDO,
    SUDO_PASSWORD,
    TIMEOUT,
    OK,
    MAX_OUTPUT_OPTION,
    PARALLEL,
    CREATES,
    UNLESS,
    EXPECT,
    INTERPRETER,
];
const DETACH: &[Opt] = &[ENV, CWD, SUDO, SUDO_PASSWORD, PARALLEL];

const RETURNS: &str = "An outcome `.ok .code .signal .out .err .ms .host .changed`; for an array of hosts, a result a \
                       host with the outcome as `.value`.";

const EXEC_EFFECT: Performs = Performs { effect: "ssh.exec", kind: Kind::Act, touches: Touches::Host };

/// Commands on hosts.
pub const BINDING: Binding = Binding {
    area: "ssh",
    doc: "Commands on hosts, over SSH or on this machine (`localhost`).",
    functions: &[
        Function {
            signature: Signature {
                name: "ssh_read",
                params: &[HOST, COMMAND],
                options: READ,
                required_options: &[],
                returns: RETURNS,
                performs: Some(Performs { effect: "ssh.read", kind: Kind::Read, touches: Touches::Host }),
                doc: "Runs a command that only looks; plan mode runs it, too.\n\nAn array is quoted exactly, one word \
                      an argument; a string is a line for the remote shell. An exit code that `ok` does not list is \
                      a failure that `catch` gets, with `.code .out .err`.",
                example: r#"let load = ssh_read("localhost", ["cat", "/proc/loadavg"]).out;
print(load.split(" ")[0]);"#,
            },
            run: ssh_read,
        },
        Function {
            signature: Signature {
                name: "ssh_exec",
                params: &[HOST, COMMAND],
                options: EXEC,
                required_options: &[],
                returns: RETURNS,
                performs: Some(EXEC_EFFECT),
                doc: "Runs a command that may change the host; plan mode only lists it.\n\nWith `creates` or `unless` \
                      it can be repeated safely, so that a run that was interrupted in the middle of it goes on by \
                      itself.",
                example: r#"ssh_exec("localhost", ["touch", "/tmp/nlrun-example"], #{ creates: "/tmp/nlrun-example" });"#,
            },
            run: ssh_exec,
        },
        Function {
            signature: Signature {
                name: "ssh_script",
                params: &[
                    HOST,
                    Param { name: "text", ty: Type::String, optional: false },
                    Param { name: "args", ty: Type::Array, optional: true },
                ],
                options: SCRIPT,
                required_options: &[],
                returns: RETURNS,
                performs: Some(EXEC_EFFECT),
                doc: "Runs a script on the host: its text goes through standard input, so nothing is left behind.",
                example: r#"ssh_script("localhost", `
    set -eu
    echo "hello $1"
`, ["world"]);"#,
            },
            run: ssh_script,
        },
        Function {
            signature: Signature {
                name: "ssh_detach",
                params: &[HOST, COMMAND],
                options: DETACH,
                required_options: &[],
                returns: RETURNS,
                performs: Some(EXEC_EFFECT),
                doc: "Starts a command that goes on when the connection ends, such as a power-off, and does not wait \
                      for it.",
                example: r#"ssh_detach("localhost", ["sleep", "1"]);"#,
            },
            run: ssh_detach,
        },
    ],
};
