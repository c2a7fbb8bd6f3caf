#!/usr/bin/env python3
"""Compares two configurations with nlrun and with hier_config, on the same texts, and prints milliseconds and ratios.

    cisco.py [--rounds 5]

Before: cargo build --release --examples. hier_config comes from PyPI into a venv below $BENCH_WORK. The first pair has the shape of the
largest firewall of the team (2,100 lines, 257 entries of access lists, 144 rows of NAT) with one entry and one row more in the middle; the
others are a switch of 1,000, 10,000 and 100,000 lines with a few other descriptions. Both read two texts and make commands; the
first 100,000 lines of hier_config take it a minute, so it gets that pair once.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
WORK = os.environ.get("BENCH_WORK") or os.path.join(os.environ.get("TMPDIR", "/tmp"), "nlrun-bench")
TARGET = os.environ.get("CARGO_TARGET_DIR") or f"{os.path.dirname(HERE)}/target"
VENV = f"{WORK}/venv/hier_config"

PEER = """
import sys, time
from hier_config import Platform, WorkflowRemediation, get_hconfig
platform, running, intended, rounds = sys.argv[1:]
platform = Platform.CISCO_IOS if platform == "ios" else Platform.GENERIC
running, intended = open(running).read(), open(intended).read()
for _ in range(int(rounds)):
    begin = time.perf_counter()
    work = WorkflowRemediation(get_hconfig(platform, running), get_hconfig(platform, intended))
    count = len(list(work.remediation_config.all_children()))
    print(time.perf_counter() - begin, count)
"""


def firewall(changed):
    lines = ["hostname fw01"]
    for n in range(20):
        lines += [f"interface GigabitEthernet1/{n}", f" nameif if{n}", " security-level 50", f" ip address 10.{n}.0.1 255.255.255.0"]
    for n in range(300):
        lines += [f"object network OBJ{n}", f" host 10.1.{n // 250}.{n % 250}"]
    for n in range(78):
        lines += [f"object-group network GRP{n}", *(f" network-object object OBJ{(n * 5 + m) % 300}" for m in range(8))]
    for n in range(257):
        if changed and n == 100:
            lines.append("access-list outside_in extended permit tcp any object OBJ299 eq 9999")
        lines.append(f"access-list outside_in extended permit tcp any object OBJ{n} eq {1000 + n}")
    for n in range(144):
        if changed and n == 50:
            lines.append("nat (if0,if1) source static OBJ299 OBJ298")
        lines.append(f"nat (if0,if1) source static OBJ{n} OBJ{n} destination static OBJ{n + 1} OBJ{n + 1}")
    lines += [f"access-group outside_in in interface if{n}" for n in range(1)]
    lines += [f"route if1 10.{n}.0.0 255.255.0.0 10.1.0.254 1" for n in range(50)]
    for n in range(60):
        lines += [f"tunnel-group 192.0.2.{n} type ipsec-l2l", f"tunnel-group 192.0.2.{n} ipsec-attributes", " ikev1 pre-shared-key *****"]
    return "\n".join(lines) + "\n"


def switch(count, changed):
    lines = ["hostname sw01"]
    for n in range(count // 4):
        other = " (moved)" if changed and n % (count // 16) == 7 else ""
        lines += [f"interface Vlan{n}", f" description network {n}{other}", f" ip address 10.{n // 250 % 250}.{n % 250}.1 255.255.255.0", "!"]
    return "\n".join(lines) + "\n"


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=5)
    options = words.parse_args()
    if not os.path.exists(f"{VENV}/bin/python"):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([f"{VENV}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "hier_config==3.7.1"], check=True)
    with tempfile.TemporaryDirectory(prefix="nlc", dir="/tmp") as folder:
        pairs = {"asa": (firewall(False), firewall(True))}
        pairs |= {f"ios-{count}": (switch(count, False), switch(count, True)) for count in (1000, 10_000, 100_000)}
        for name, (running, intended) in pairs.items():
            open(f"{folder}/{name}.running", "w").write(running)
            open(f"{folder}/{name}.intended", "w").write(intended)
        ours = subprocess.run([f"{TARGET}/release/examples/cisco", folder], capture_output=True, text=True, check=True).stdout
        print(f"{'pair':12} {'lines':>7} {'nlrun ms':>9} {'reading':>8} {'hier_config ms':>15} {'ratio':>7}  commands, lines")
        for line in ours.splitlines():
            name, whole, tree, commands = line.split()
            rounds = 1 if name == "ios-100000" else options.rounds
            command = [f"{VENV}/bin/python", "-c", PEER, name.split("-")[0], f"{folder}/{name}.running", f"{folder}/{name}.intended", str(rounds)]
            theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            times = [float(row.split()[0]) * 1000 for row in theirs.splitlines()]
            peer, ms = statistics.median(times), int(whole) / 1e6
            count = pairs[name][0].count("\n")
            print(f"{name:12} {count:7} {ms:9.3f} {int(tree) / 1e6:8.3f} {peer:15.1f} {ms / peer:7.4f}  {commands}, {theirs.split()[-1]}")


if __name__ == "__main__":
    main()
