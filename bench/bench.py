#!/usr/bin/env python3
"""Runs the same jobs with nlrun, the floor and the peers, and prints wall, CPU and memory of each as ratios.

    bench.py [--cases noop,hostname,steps,copy] [--hosts 1,10,50,200] [--rows REGEX] [--rounds 5] [--json FILE]

Before: hosts.sh up 200, peers.sh, cargo build --release --bins --examples. A row whose program is missing is left out.
Rounds are interleaved, each row once, so that a busy spell of the machine hits all alike; numbers are medians.
  wall    until the command itself ends
  cpu     user and system time of the client: the command, its children, and daemons it leaves (ended after wall is read)
  peak    the largest process, or the sum over the tree (PSS, sampled in a round that is not timed) where that is more
A run counts only if its output shows each command, or the files have arrived byte for byte.
"""
import argparse
import collections
import contextlib
import ctypes
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
WORK = os.environ.get("BENCH_WORK") or os.path.join(os.environ.get("TMPDIR", "/tmp"), "nlrun-bench")
USER, PORT = os.environ.get("BENCH_USER", "nlbench"), os.environ.get("BENCH_PORT", "2222")
TARGET = os.environ.get("CARGO_TARGET_DIR") or f"{os.path.dirname(HERE)}/target"
PROJECT = f"{WORK}/nlrun"  # nlrun's project, whose files/ all rows send
FILES, DEST = f"{PROJECT}/files", f"{WORK}/home/dest"
STEPS = 20
CHANGED = r"^changed: \["
DONE = r"\] +(?:Success|No changes)"
NAME = rf"\b{re.escape(socket.gethostname())}\b"

# name: (what a finished command looks like in the output, {case: command}); {parallel}, {hosts} and {tmp} are filled in.
floor = f"{TARGET}/release/examples/floor {{case}} --hosts {{hosts}} --port {PORT} --user {USER} --key {WORK}/id_ed25519" \
        f" --parallel {{parallel}} --files {FILES} --dest {DEST}"
nlrun = f"{TARGET}/release/nlrun --project {PROJECT} run {PROJECT}/{{case}}.rhai --inventory {{tmp}}/inventory.yaml --state {WORK}/state --yes"
ansible = f"{WORK}/venv/ansible-core/bin/ansible-playbook -i {{tmp}}/inventory.ini -f {{parallel}} {HERE}/jobs/ansible/{{case}}.yml"
pyinfra = f"{WORK}/venv/pyinfra/bin/pyinfra -y {HERE}/jobs/pyinfra/inventory.py {HERE}/jobs/pyinfra/{{case}}.py"
pssh = f"{WORK}/venv/parallel-ssh/bin/python {HERE}/jobs/parallel-ssh/job.py {{case}} {{parallel}}"
ROWS = {
    "floor": (NAME, dict.fromkeys(("hostname", "steps", "copy"), floor)
              | {"noop": f"{TARGET}/release/examples/floor noop"}),
    "floor, ahead": (NAME, {"steps": floor + " --ahead"}),
    "nlrun": (NAME, dict.fromkeys(("hostname", "steps", "noop"), nlrun) | {"copy": f"{nlrun} --set dest={DEST}"}),
    "ansible": (CHANGED, dict.fromkeys(("hostname", "steps", "copy", "noop"), ansible)),
    "pyinfra": (DONE, dict.fromkeys(("hostname", "steps", "copy"), pyinfra)
                | {"noop": f"{WORK}/venv/pyinfra/bin/pyinfra -y @local exec -- true"}),
    "parallel-ssh": (NAME, dict.fromkeys(("hostname", "steps", "copy"), pssh)
                     | {"noop": f"{WORK}/venv/parallel-ssh/bin/python -c 'import pssh.clients'"}),
}
# What a careful user of Ansible sets for speed.
ANSIBLE = {"ANSIBLE_PIPELINING": "True", "ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
           "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o LogLevel=ERROR"}


def children(pid):
    """All processes below this one."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *children(child)]
    except OSError:
        pass  # ended meanwhile
    return found


def memory(pids):
    """Sum of the processes' proportional set sizes, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1])
        except (OSError, TypeError):
            pass  # ended meanwhile
    return total


def execute(argv, env, log, sampled):
    """Runs one command and accounts for everything it started, which falls to this process when it is orphaned."""
    # time(1) is small: a child forked from here would begin with this interpreter's peak.
    argv = ["/usr/bin/time", "-q", "-o", f"{log}.rss", "-f", "%M", *argv]
    start, peak = time.monotonic(), 0
    with open(log, "wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=WORK)
    if sampled:
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak = max(peak, memory(children(process.pid)))
            time.sleep(0.01)
    _, status, usage = os.wait4(process.pid, 0)
    wall, cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    for pid in children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        while True:
            _, _, usage = os.wait3(0)
            cpu += usage.ru_utime + usage.ru_stime
    except ChildProcessError:
        pass
    with open(f"{log}.rss") as file:
        peak = max(peak, int(file.read().split()[-1]))
    return {"code": process.returncode, "wall": wall, "cpu": cpu, "peak": peak / 1024}


def wait_idle(limit=10):
    """Waits until the sshds have no session left: theirs is the machine that the next row needs."""
    listeners = [int(open(f"{WORK}/sshd/{name}").read()) for name in os.listdir(f"{WORK}/sshd") if name.endswith(".pid")]
    end = time.monotonic() + limit
    while any(children(pid) for pid in listeners) and time.monotonic() < end:
        time.sleep(0.02)


def prepare():
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(f"{HERE}/jobs/nlrun", PROJECT)
    open(f"{PROJECT}/nlrun.yaml", "w").close()
    os.makedirs(FILES)
    with open(f"{FILES}/blob", "wb") as file:
        file.write(os.urandom(1 << 20))
    with open(f"{FILES}/conf.j2", "w") as file:
        file.writelines(f"# line {number:02} for {{{{ inventory_hostname }}}} {'.' * 28}\n" for number in range(64))


def inventories(tmp, hosts):
    """The same hosts in the form of each row."""
    with open(f"{tmp}/hosts", "w") as file:
        file.writelines(f"{host}\n" for host in hosts)
    with open(f"{tmp}/inventory.ini", "w") as file:
        file.write(f"[all:vars]\nansible_user={USER}\nansible_port={PORT}\nansible_ssh_private_key_file={WORK}/id_ed25519\n")
        file.writelines(["[all]\n", *(f"{host}\n" for host in hosts)])
    with open(f"{tmp}/inventory.yaml", "w") as file:
        file.write("hosts:\n")
        file.writelines(f"  {host}: {{address: {host}, port: {PORT}, user: {USER}, identity_files: [{WORK}/id_ed25519]}}\n"
                        for host in hosts)


def arrived(hosts):
    """Says what is wrong with the copied files, or nothing."""
    with open(f"{FILES}/blob", "rb") as file:
        blob = hashlib.sha256(file.read()).digest()
    with open(f"{FILES}/conf.j2") as file:
        conf = file.read()
    for host in hosts:
        try:
            with open(f"{DEST}/{host}/blob", "rb") as file:
                if hashlib.sha256(file.read()).digest() != blob:
                    return f"{host}: the blob differs"
            with open(f"{DEST}/{host}/conf") as file:
                if file.read() != conf.replace("{{ inventory_hostname }}", host):
                    return f"{host}: the rendered template differs"
        except OSError as error:
            return str(error)
    return None


def run(row, case, hosts, parallel, sampled):
    """One run of one row, with `wrong` set if it did not do its job."""
    pattern, commands = ROWS[row]
    # Short, because a socket's path may have no more than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="nlb", dir="/tmp") as tmp:
        inventories(tmp, hosts)
        env = {**os.environ, **ANSIBLE, "HOME": f"{WORK}/client", "ANSIBLE_HOME": f"{tmp}/a", "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{tmp}/c",
               "BENCH_WORK": WORK, "BENCH_USER": USER, "BENCH_PORT": PORT, "BENCH_HOSTS": f"{tmp}/hosts",
               "BENCH_FILES": FILES, "BENCH_DEST": DEST, "BENCH_TMP": tmp}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        argv = shlex.split(commands[case].format(case=case, hosts=f"{tmp}/hosts", parallel=parallel, tmp=tmp))
        wait_idle()
        result = execute(argv, env, f"{tmp}/log", sampled)
        with open(f"{tmp}/log", errors="replace") as file:
            log = file.read()
    want = {"hostname": 1, "steps": STEPS}.get(case, 0) * len(hosts)
    got = len(re.findall(pattern, log, re.M))
    if result["code"]:
        result["wrong"] = f"exit code {result['code']}"
    elif want and got != want:
        result["wrong"] = f"{got} of {want} commands"
    elif case == "copy":
        result["wrong"] = arrived(hosts)
    if result.get("wrong"):
        print(f"{row}: {result['wrong']}; the end of its output:\n{log[-2000:]}", file=sys.stderr)
    return result


def measure(case, hosts, rows, options):
    """All rounds of one case: {title: {row: [result]}}."""
    titles = {"noop": ["start-up"], "hostname": [f"`hostname` on {len(hosts)}"], "steps": [f"{STEPS} commands on {len(hosts)}"],
              "copy": [f"1 MiB and a template to {len(hosts)}, first", f"1 MiB and a template to {len(hosts)}, again"]}[case]
    results = {title: collections.defaultdict(list) for title in titles}
    for number in range(options.rounds + 1):
        sampled = number == options.rounds
        for row in rows:
            if case not in ROWS[row][1]:
                continue
            if case == "copy":
                shutil.rmtree(DEST, ignore_errors=True)
                os.makedirs(DEST)
                shutil.chown(DEST, USER)
            for title in titles:
                result = run(row, case, hosts, options.parallel, sampled)
                runs = results[title][row]
                if sampled:
                    for timed in runs:
                        timed["peak"] = max(timed["peak"], result["peak"])
                else:
                    runs.append(result)
                    print(f"{title}: round {number + 1}, {row}: {result['wall']:.3f} s", file=sys.stderr)
    return results


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "peak")}


def table(title, rows):
    """Each row's numbers, and as multiples of the floor's and of nlrun's: wall / cpu / peak."""
    middle = {row: medians(runs) for row, runs in rows.items()}
    bases = [base for base in ("floor", "nlrun") if base in middle]
    print(f"\n### {title}\n\n| row | wall s | min..max | cpu s | peak MiB |" + "".join(f" x {base} |" for base in bases))
    print("|---|--:|--:|--:|--:|" + "--:|" * len(bases))
    for row, own in middle.items():
        walls = [run["wall"] for run in rows[row]]
        ratios = [" / ".join(f"{own[key] / max(middle[base][key], 0.001):.3g}" for key in own) for base in bases]
        wrong = sorted({run["wrong"] for run in rows[row] if run.get("wrong")})
        print(f"| {row} | {own['wall']:.3f} | {min(walls):.3f}..{max(walls):.3f} | {own['cpu']:.3f} | {own['peak']:.0f} |"
              + "".join(f" {ratio} |" for ratio in ratios) + (f" not done: {', '.join(wrong)} |" if wrong else ""))
    if len(bases) == 2:
        base, own = middle["floor"], middle["nlrun"]
        goals = {"wall": (0.010, "s"), "cpu": (0.008, "s"), "peak": (15, "MiB")} if title == "start-up" else {
            "wall": (1.15 * base["wall"] + 0.005, "s"), "cpu": (2 * base["cpu"] + 0.010, "s"), "peak": (30, "MiB")}
        print("\nGoals: " + ", ".join(f"{key} {'met' if own[key] <= goal else 'MISSED'} ({own[key]:.3f} of {goal:.3f} {unit})"
                                      for key, (goal, unit) in goals.items()))


def available(pattern):
    for row in ROWS:
        program = shlex.split(next(iter(ROWS[row][1].values())))[0]
        if not re.search(pattern, row):
            continue
        if not os.access(program, os.X_OK):
            print(f"{row} is left out: there is no {program}", file=sys.stderr)
        elif row == "nlrun" and subprocess.run([program, "run", "--help"], capture_output=True).returncode:
            print(f"{row} is left out: {program} has no `run`", file=sys.stderr)
        else:
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="noop,hostname,steps,copy")
    parser.add_argument("--hosts", default="1,10,50,200", help="numbers of hosts for `hostname`")
    parser.add_argument("--steps-hosts", default="1,10")
    parser.add_argument("--copy-hosts", default="50")
    parser.add_argument("--rows", default=".", help="regular expression on the rows' names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--list", default=f"{WORK}/hosts", help="file of addresses, for hosts behind delayproxy")
    parser.add_argument("--json", help="saves every run there")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    with open(options.list) as file:
        hosts = file.read().split()
    prepare()
    rows, results = list(available(options.rows)), {}
    counts = {"noop": "1", "hostname": options.hosts, "steps": options.steps_hosts, "copy": options.copy_hosts}
    for case in options.cases.split(","):
        for count in map(int, counts[case].split(",")):
            if count > len(hosts):
                sys.exit(f"{count} hosts are needed, {len(hosts)} are up: hosts.sh up {count}")
            results |= measure(case, hosts[:count], rows, options)
            if options.json:
                with open(options.json, "w") as file:
                    json.dump(results, file, indent=1)
    for title, row in results.items():
        table(title, row)


if __name__ == "__main__":
    main()
