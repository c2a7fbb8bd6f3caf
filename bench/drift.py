#!/usr/bin/env python3
"""Drift of many virtual devices at once, beside the slowest one alone: the whole should take hardly longer than that.

    bench/drift.py [--devices 50] [--slow 300] [--rounds 3] [--nlrun PROGRAM]

Every device is a process of `nlrun cisco device` on loopback that takes 20 ms for each answer, and the last one takes `--slow` of them. A
run asks each for its configuration and compares it with what is intended. Wall is seconds of the run; the ratio is to a run on the slowest
device alone. Before: cargo build --release.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUICK = 20
CONFIGURATION = "hostname {name}\n" + "".join(
    f"interface GigabitEthernet0/{n}\n description port {n}\n switchport access vlan {n + 1}\n!\n" for n in range(200)) + "end\n"
RUNBOOK = """const PARAMS = #{ devices: #{ type: "hosts", doc: "which" } };
const NEEDS = ["cisco.drift:@network", "project.read"];
each(params.devices, |device| {
    let drift = cisco_drift(device, cisco_read(`network/${device.name}`));
    if drift.state != "same" { throw `${device.name} is ${drift.state}`; }
});
"""


def start(program, folder, number, wait):
    name = f"sw{number}"
    path = folder / "network" / name
    path.write_text(CONFIGURATION.format(name=name))
    words = [program, "cisco", "device", "--os", "ios", "--config", path, "--enable", "", "--fault", f"slow={wait}"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    port = process.stdout.readline().strip().rsplit(":", 1)[1]
    line = f"  {name}: {{address: 127.0.0.1, port: {port}, os: ios, user: admin, password: login, known_hosts: accept-new}}\n"
    return process, name, line


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--devices", type=int, default=50)
    words.add_argument("--slow", type=int, default=300)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--nlrun", default=str(ROOT / "target/release/nlrun"))
    options = words.parse_args()
    processes = []
    with tempfile.TemporaryDirectory(prefix="nld", dir="/tmp") as name:
        folder = pathlib.Path(name)
        for part in ["network", "inventory", "runbooks", "home"]:
            (folder / part).mkdir()
        try:
            lines = []
            for number in range(options.devices):
                wait = options.slow if number == options.devices - 1 else QUICK
                process, slowest, line = start(options.nlrun, folder, number, wait)
                processes.append(process)
                lines.append(line)
            hosts = ", ".join(f"sw{number}" for number in range(options.devices))
            (folder / "inventory/hosts.yaml").write_text(f"hosts:\n{''.join(lines)}groups:\n  network: {{hosts: [{hosts}]}}\n")
            (folder / "runbooks/drift.rhai").write_text(RUNBOOK)
            (folder / "nlrun.yaml").write_text("secrets:\n  sources: [{env: {prefix: NLRUN_SECRET_}}]\n")
            settings = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "NLRUN_SECRET_LOGIN": "cisco"}

            def seconds(devices):
                begin = time.perf_counter()
                run = [options.nlrun, "run", "drift", "--set", f"devices={devices}", "--yes"]
                subprocess.run(run, cwd=folder, env=settings, check=True, capture_output=True)
                return time.perf_counter() - begin

            seconds("network")
            alone = statistics.median(seconds(slowest) for _ in range(options.rounds))
            whole = statistics.median(seconds("network") for _ in range(options.rounds))
            print(f"the slowest alone {alone:.2f} s, all {options.devices} {whole:.2f} s, ratio {whole / alone:.2f}")
        finally:
            for process in processes:
                process.kill()


if __name__ == "__main__":
    main()
