//! Cisco devices: `cisco_running cisco_show cisco_backup cisco_drift cisco_apply cisco_revert cisco_exec_config cisco_save`, and
//! what needs no device: `cisco_read cisco_filter cisco_parse cisco_diff cisco_simulate cisco_validate cisco_policy`.

mod act;
mod apply;
mod file;
mod policy;
mod read;
mod text;

use act::{cisco_exec_config, cisco_save};
use apply::{cisco_apply, cisco_revert};
use file::cisco_read;
use policy::cisco_policy;
use read::{cisco_backup, cisco_drift, cisco_running, cisco_show};
use text::{cisco_diff, cisco_filter, cisco_parse, cisco_simulate, cisco_validate};

use crate::bindings::each::PARALLEL_OPTION as PARALLEL;
use crate::bindings::{Binding, Function};
use crate::model::effect::Kind;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

const fn on_device(effect: &'static str, kind: Kind) -> Performs {
    Performs { effect, kind, touches: Touches::Host }
}

const fn param(name: &'static str, ty: Type) -> Param {
    Param { name, ty, optional: false }
}

const DEVICES: Param = param("device", Type::Hosts);
const DEVICE: Param = param("device", Type::Host);
const RUNNING: Param = param("running", Type::Content);
const INTENDED: Param = param("intended", Type::Content);
const OS: Param = param("os", Type::String);

const TIMEOUT: Opt = Opt {
    name: "timeout",
    ty: Type::Duration,
    doc: "How long the device may say nothing; a minute by default, three for printing and saving a configuration.",
};
const SAVE: Opt =
    Opt { name: "save", ty: Type::Bool, doc: "Save what runs once it is verified; `true` by default." };
const CONFIRM: Opt = Opt {
    name: "confirm",
    ty: Type::Duration,
    doc: "How long a device with a timer of its own waits until it takes the change back by itself; five minutes by default.",
};
const FALLBACK: Opt = Opt {
    name: "fallback",
    ty: Type::String,
    doc: "For a plan that may cut off access, on a device without a revert timer: `reload` orders a reload, which is called off when \
          all is well; `none` goes without. Such a plan is refused otherwise.",
};
const AGAINST: Opt = Opt {
    name: "against",
    ty: Type::String,
    doc: "`.running` of the `cisco_drift` or `cisco_diff` that the decision was made on: a device that runs something else by now is left alone.",
};
const REVISION: Opt = Opt {
    name: "revision",
    ty: Type::String,
    doc: "A commit, branch or tag of the project, as which the file is read; what lies in the folder by default.",
};
const CHANGING: &[Opt] = &[SAVE, CONFIRM, FALLBACK, AGAINST, TIMEOUT];
const READING: &[Opt] = &[TIMEOUT, PARALLEL];

/// Configurations of Cisco devices.
pub const BINDING: Binding = Binding {
    area: "cisco",
    doc: "Cisco devices over SSH, and their configurations as texts. The inventory says which hosts are devices: `os: ios` (IOS and \
          IOS-XE), `asa`, or `ap` (autonomous access point); `password` and `enable_password` name secrets, `legacy: true` allows old \
          algorithms. A run has one session a device. No secret of a configuration is recorded or given to a script in clear: `*****` \
          stands in its place, and every comparison takes that as unknown.",
    functions: &[
        function!(
            cisco_running,
            &[DEVICES],
            READING,
            Some(on_device("cisco.running", Kind::Read)),
            "Text without secrets, and without what changes by itself; with an array of devices a result for each.",
            "Reads what runs on a device.\n\nA text that is cut off, or that a message of the log has cut in two each time, is a failure, never \
             a shorter configuration. Nothing of the device is changed by reading it.",
            r#"try { print(cisco_running("localhost")) } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_show,
            &[DEVICES, param("command", Type::String)],
            READING,
            Some(on_device("cisco.show", Kind::Read)),
            "Text without secrets; with an array of devices a result for each.",
            "Runs a command that shows something.\n\nIt begins with `show`; what would write its output into a file of the device is refused. A \
             command that the device does not know is a failure `rejected`.",
            r#"try { print(cisco_show("localhost", "show version")) } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_backup,
            &[DEVICES],
            READING,
            Some(on_device("cisco.backup", Kind::Read)),
            "A map `.host .os .content .text`: the configuration byte for byte as a secret, and what of it may be shown.",
            "Reads what runs on a device with its secrets, for a file that somebody may need to bring it back.\n\n`.content` goes into \
             `file_put`, `cisco_revert` and whatever else takes a secret; it is not recorded, and a resumed run reads it again. An ASA tells its \
             secrets to `more system:running-config`; where the login may not do that, they are `*****`.",
            r#"try { cisco_backup("localhost").content } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_drift,
            &[DEVICE, INTENDED],
            &[TIMEOUT],
            Some(on_device("cisco.drift", Kind::Read)),
            "A map `.state .classes .commands .blocks .risks .notes .why .running`; `.state` is `same`, `textual`, `different` or `unknown`.",
            "Compares what runs on a device with what is intended, by what it means.\n\nThe order of lines counts where it counts for the device. \
             `.commands` would bring the device to what is intended. `unknown` is never the same: a text that cannot be used, or secrets that \
             one side does not tell (`textual`, with a note for each). A device that cannot be reached is a failure.",
            r#"try { print(cisco_drift("localhost", "hostname rtr01\nend\n").state) } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_apply,
            &[DEVICE, INTENDED],
            CHANGING,
            Some(on_device("cisco.apply", Kind::Ensure)),
            "A map `.changed .commands .blocks .risks .notes .notices .way_back`.",
            "Brings a device to an intended configuration.\n\nWhat runs is read anew and the commands are worked out from that; a plan shows \
             them, and applying a plan stops when the device or the commands are others by then. Before the first line there is a way back: the \
             device's revert timer (IOS with an `archive`), else commands that undo what is there. Lines are sent one by one; the first refusal \
             ends it. Then a new login has to work and a new reading has to be what was intended; only then it is confirmed and saved. What \
             fails is taken back: a failure `rolled_back` says that the device is as it was, `left_changed` that it is not, and what is left.\n\n\
             What is intended is a text, or a secret such as `cisco_read(path)`, which keeps its hashes out of the record. Secrets that are \
             `*****` there stay as they are on the device.",
            r#"try {
    let done = cisco_apply("localhost", cisco_read("network/rtr01"), #{ confirm: "3m" });
    print(done.commands);
} catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_revert,
            &[DEVICE, param("before", Type::Content)],
            CHANGING,
            Some(on_device("cisco.revert", Kind::Ensure)),
            "A map `.changed .commands .blocks .risks .notes .notices .way_back`.",
            "Brings a device back to an earlier configuration, such as `.content` of a `cisco_backup`.\n\nA change that waits for its confirmation \
             is taken back by the device first; what differs then is undone as `cisco_apply` would do it.",
            r#"try {
    let backup = cisco_backup("localhost");
    defer(|| cisco_revert("localhost", backup.content));
} catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_exec_config,
            &[DEVICES, param("lines", Type::Any)],
            READING,
            Some(on_device("cisco.exec_config", Kind::Act)),
            "An outcome with `.changed .notices`; with an array of devices a result for each.",
            "Types lines in configuration mode, such as a port's `power inline never` and then `auto`.\n\nThe first line that is refused ends it; \
             what went before stays. Nothing is saved, and a plan only lists it: for what should stay there is `cisco_apply`. A line that is a \
             secret as a whole is given as one, and recorded by its name.",
            r#"try {
    cisco_exec_config("localhost", ["interface GigabitEthernet0/5", "power inline never"]);
} catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_save,
            &[DEVICES],
            READING,
            Some(on_device("cisco.save", Kind::Ensure)),
            "A map `.changed`; with an array of devices a result for each.",
            "Has what runs also as what the device starts with.\n\nOnly what the device itself says counts as saved.",
            r#"try { cisco_save("localhost") } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_read,
            &[Param { name: "path", ty: Type::LocalPath, optional: false }],
            &[REVISION],
            Some(Performs { effect: "project.read", kind: Kind::Read, touches: Touches::Text(0) }),
            "A secret: the configuration, for every function here that takes one; `()` where the commit of `revision` has no such file.",
            "Reads a configuration of the project: what `project_read` reads, with its secrets kept out of the record.\n\nLines without a \
             secret stay in sight, in logs and plans. `cisco_filter` shows what of it may be shown.",
            r#"try { print(cisco_filter(cisco_read("network/rtr01"), "ios")) } catch (e) { print(e.message) }"#
        ),
        function!(
            cisco_filter,
            &[param("text", Type::Content), OS],
            &[],
            None,
            "Text; of a secret it is without secrets.",
            "Drops what a device prints beside its configuration, and what changes by itself: heads, counters, times, checksums.",
            r#"print(cisco_filter("Building configuration...\n\nhostname rtr01\nend\n", "ios"));"#
        ),
        function!(
            cisco_parse,
            &[param("text", Type::Content), OS],
            &[],
            None,
            "An array of maps `.line .children .body`; `.body` is the text of a banner or a certificate.",
            "Reads a configuration into a tree.",
            r#"for node in cisco_parse("interface Gi0/1\n description core\n", "ios") { print(node.line) }"#
        ),
        function!(
            cisco_diff,
            &[RUNNING, INTENDED, OS],
            &[],
            None,
            "A map `.changes .commands .blocks .risks .notes .running .one_way`; commands are without secrets.",
            "Works out the commands from one configuration to another, in an order that a device accepts.\n\nA model of the device is fed with \
             them: they are given out only when it ends in what is intended. `.one_way` says why no commands take them back, where that is so.",
            r#"let plan = cisco_diff("hostname a\nend\n", "hostname b\nend\n", "ios");
print(plan.commands);"#
        ),
        function!(
            cisco_simulate,
            &[RUNNING, param("commands", Type::Any), OS],
            &[],
            None,
            "The configuration afterwards; of a secret it is without secrets.",
            "Enters commands on a model of a device; what a device would refuse is a failure `rejected`.",
            r#"print(cisco_simulate("hostname a\nend\n", ["hostname b"], "ios"));"#
        ),
        function!(
            cisco_validate,
            &[param("text", Type::Content), OS],
            &[Opt {
                name: "rules",
                ty: Type::Array,
                doc: "Rules of the site, as `nlrun cisco validate --rules` reads them: maps with `name` and `require`, `forbid`, `every` or `nat_sources`.",
            }],
            None,
            "An array of maps `.rule .severity .line .message`.",
            "Looks for what is wrong with a configuration: names that lead nowhere, addresses that are there twice, lines that must never be \
             sent, and what the site's rules want.",
            r#"for finding in cisco_validate("hostname a\nend\n", "ios", #{ rules: [#{ name: "clock", require: #{ line: "ntp server *" } }] }) {
    print(finding.message);
}"#
        ),
        function!(
            cisco_policy,
            &[param("text", Type::Content), OS, param("rule", Type::Function(1))],
            &[Opt {
                name: "name",
                ty: Type::String,
                doc: "The rule's name in what it finds; `policy` by default."
            }],
            None,
            "An array of maps `.rule .severity .line .message`.",
            "Asks a function about a configuration.\n\nThe function gets the whole as a line: `.lines` are those below it, `.text`, `.words` and \
             `.number` are its own, `.above` is the one that it belongs to; `find(\"interface *\")` returns lines below by a glob and `has` whether there \
             is one, `value(\"nameif\")` what stands behind words, `members(group)` what an object group comes to. It answers with what is wrong: \
             nothing, a text, a line, a map `#{ message, line, severity }`, or an array of these. A rule that fails is a finding, too.",
            r#"let found = cisco_policy("hostname a\ninterface Gi0/1\n shutdown\nend\n", "ios", |config| {
    config.find("interface *").filter(|port| port.has("shutdown"))
});
print(found);"#
        ),
    ],
};
