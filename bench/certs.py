#!/usr/bin/env python3
"""certs/sync in the lab: eleven hosts and four appliances, one of which serves 114 proxy hosts.

    bench/certs.py [--rounds N] [--json FILE] [--nlrun PROGRAM]

Each round is a new lab: the first pass takes the new certificate to every target, the second one changes nothing, the third is a plan.
There is no peer that speaks to these servers; wall is seconds, cpu the client's user and system time, peak its memory in MiB.
"""

import argparse, json, os, pathlib, signal, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def measure(argv, cwd, env, ok):
    begun = time.monotonic()
    child = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = child.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    wall, code = time.monotonic() - begun, os.waitstatus_to_exitcode(status)
    if code != ok:
        sys.exit(f"{' '.join(map(str, argv))} ended with {code}:\n{words[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--nlrun", type=pathlib.Path, default=ROOT / "target/release/nlrun")
    options = parser.parse_args()
    nlrun = options.nlrun.resolve()
    if not nlrun.exists():
        sys.exit(f"{nlrun} is not there: cargo build --release")
    rows = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="nlrun-bench-certs-") as work:
            env = {**os.environ, "HOME": work}
            lab = subprocess.Popen([nlrun, "lab", "--hosts", "11", "--port-base", "0", "--json"], cwd=work, env=env,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if not lab.stdout.readline():
                sys.exit("the lab does not start")
            project = pathlib.Path(work, "lab")
            targets = len(json.loads((project / "certs.json").read_text())["targets"])
            for case, verb, ok in (("first", ["run", "certs/sync"], 0), ("again", ["run", "certs/sync"], 0),
                                   ("plan", ["plan", "certs/sync", "--exit-code"], 0)):
                rows.setdefault(case, []).append(measure([nlrun, *verb, "-q"], project, env, ok))
            lab.send_signal(signal.SIGINT)
            lab.wait()
    print(f"{targets} targets, {options.rounds} rounds, medians\n")
    print(f"{'case':8}{'wall s':>9}{'cpu s':>9}{'peak MiB':>10}")
    result = []
    for case, values in rows.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*values))
        print(f"{case:8}{wall:9.2f}{cpu:9.2f}{peak:10.0f}")
        result.append({"case": case, "wall": wall, "cpu": cpu, "peak_mib": peak})
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


main()
