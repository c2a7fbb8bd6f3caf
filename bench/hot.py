#!/usr/bin/env python3
"""Writes `engine/hot.txt`: the functions that short runs call, in the order in which the program should have them.

    hot.py

Before: hosts.sh up 4. It needs valgrind, and builds the program once more, with its symbols. Do it when a compiler or a big dependency has
changed, and compare `bench.py --cases noop,hostname` before and after.

Names stand without the hash that ends a mangled name, so that they outlive a change. Of a name that stands for many functions (a generic one)
only a few may be called: those stand with their hash, and after all others the name alone, should the hashes have changed.
"""
import collections
import os
import re
import subprocess
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(HERE)
WORK = os.environ.get("BENCH_WORK") or os.path.join(os.environ.get("TMPDIR", "/tmp"), "nlrun-bench")
USER, PORT = os.environ.get("BENCH_USER", "nlbench"), os.environ.get("BENCH_PORT", "2222")
TARGET = os.environ.get("CARGO_TARGET_DIR") or f"{ROOT}/target"
BINARY = f"{TARGET}/release/nlrun"
HASH = re.compile(r"17h[0-9a-f]{16}E$")


def sizes():
    """The bytes of each function of the program."""
    table = {}
    for line in subprocess.run(["nm", "-S", BINARY], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTwW":
            table[fields[3]] = int(fields[1], 16)
    return table


def called(arguments, tmp):
    """The functions that a run calls."""
    out = f"{tmp}/calls"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--demangle=no", BINARY, *arguments]
    subprocess.run(command, env={**os.environ, "HOME": f"{WORK}/client"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    with open(out) as file:
        found = (re.match(r"c?fn=\(\d+\)\s+(.+)", line) for line in file)
        return {match[1].split("'")[0].strip() for match in found if match}


def main():
    subprocess.run(["cargo", "rustc", "--locked", "--release", "--bin", "nlrun", "--", "-C", "strip=none"], cwd=ROOT, check=True)
    size = sizes()
    with tempfile.TemporaryDirectory(prefix="nlh", dir="/tmp") as tmp:
        project, dest = f"{tmp}/project", f"{WORK}/home/dest"
        subprocess.run(["cp", "-r", f"{HERE}/jobs/nlrun", project], check=True)
        os.makedirs(f"{project}/files")
        open(f"{project}/nlrun.yaml", "w").close()
        with open(f"{project}/files/blob", "wb") as file:
            file.write(os.urandom(1 << 20))
        with open(f"{project}/files/conf.j2", "w") as file:
            file.write("for {{ inventory_hostname }}\n" * 64)
        with open(f"{WORK}/hosts") as hosts, open(f"{tmp}/inventory.yaml", "w") as file:
            file.write("hosts:\n")
            file.writelines(f"  {host.strip()}: {{address: {host.strip()}, port: {PORT}, user: {USER}, identity_files: [{WORK}/id_ed25519]}}\n"
                            for host in list(hosts)[:4])  # under valgrind more would wait too long
        common = ["--project", project, "--inventory", f"{tmp}/inventory.yaml", "--state", f"{tmp}/state"]
        start = called([*common, "run", f"{project}/noop.rhai"], tmp)
        hot = set(start)
        for verb, case, more in [("run", "hostname", []), ("run", "steps", []), ("run", "copy", ["--set", f"dest={dest}"]),
                                 ("run", "copy", ["--set", f"dest={dest}"]), ("plan", "copy", ["--set", f"dest={dest}"])]:
            yes = ["--yes"] if verb == "run" else []
            hot |= called([*common, verb, f"{project}/{case}.rhai", *yes, *more], tmp)
    bare = lambda name: HASH.sub("", name)
    whole, part = collections.Counter(), collections.Counter()
    for name, size_of in size.items():
        whole[bare(name)] += size_of
        part[bare(name)] += size_of if name in hot else 0
    first = {bare(name) for name in start}
    rank = lambda name: (bare(name) not in first, name)
    single = sorted((name for name in part if part[name] * 2 >= whole[name] and part[name]), key=rank)
    many = sorted((name for name in part if 0 < part[name] * 2 < whole[name]), key=rank)
    exact = sorted((name for name in hot & size.keys() if bare(name) in many), key=rank)
    with open(f"{ROOT}/engine/hot.txt", "w") as file:
        file.write("# Functions that short runs call; written by bench/hot.py, read by build.rs.\n")
        file.writelines(f"{name}\n" for name in [*single, *exact, *many])
    print(f"{len(single)} names, {len(exact)} of {sum(1 for name in size if bare(name) in many)} functions of {len(many)} more; "
          f"{sum(part.values()) >> 10} KiB of {sum(size.values()) >> 10} are called")


if __name__ == "__main__":
    main()
