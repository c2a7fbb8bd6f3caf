#!/usr/bin/env python3
"""How long the server takes for its pages with a million runs in the log, one of which has a million events.

usage: bench/pages.py [--runs N] [--events N] [--rounds N] [--binary PATH]

Rows are put into the run log as they are, without what makes them trustworthy (hashes, events of every run): only their number matters
here. Times are those of a client on loopback, from request to the last byte, as median and worst of the rounds.
"""

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request

STATUSES = ["done"] * 90 + ["failed"] * 6 + ["partial", "cancelled", "stopped", "timed_out"]


def fill(file, runs, events):
    base = sqlite3.connect(file)
    base.execute("PRAGMA synchronous = OFF")
    begun = 1_750_000_000_000_000
    counts = dict(events=9, reads=1, ensures=2, acts=1, changed=1, failed=0, output=100, checks=0, warnings=0)

    def rows():
        for number in range(1, runs + 1):
            status = STATUSES[number * 7919 % 100]
            runbook = f"runbooks/area-{number % 20}/book-{number % 100}.rhai" if number % 5000 else "runbooks/rare.rhai"
            at = begun + number * 30_000_000
            summary = json.dumps(dict(status=status, mode="apply", runbook=runbook, counts=counts, hosts={f"web-{number % 300}": "ok"}))
            yield number, runbook, status, at, at + 20_000_000 + number % 1000 * 10_000, summary

    base.executemany(
        "INSERT INTO runs (id, runbook, status, mode, started_at, ended_at, last_seq, last_hash, summary)"
        " VALUES (?, ?, ?, 'apply', ?, ?, 9, zeroblob(32), ?)",
        rows(),
    )
    start = json.dumps(
        dict(event="started", runbook="x", sources={}, commit=None, dirty=False, params=None, inventory="", grants=[],
             trigger=dict(by="schedule", schedule="every-minute", scheduled_at=0), mode="apply", version="0")
    )
    base.execute("INSERT INTO events (id, at, body, hash) SELECT id << 32 | 1, started_at, ?, zeroblob(32) FROM runs", [start])
    base.execute("INSERT INTO run_hosts (run, host, verdict) SELECT id, 'web-' || (id % 300), 'ok' FROM runs")
    base.execute(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
        " INSERT INTO events (id, at, body, hash) SELECT ?2 << 32 | i, ?3 + i * 10,"
        " '{\"event\":\"message\",\"level\":\"info\",\"text\":\"line ' || i || '\",\"site\":null,\"branch\":\"\"}', zeroblob(32) FROM n",
        [events, runs, begun + runs * 30_000_000],
    )
    base.execute("UPDATE runs SET last_seq = ? WHERE id = ?", [events, runs])
    many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
    base.execute(
        many + "INSERT INTO audit (at, who, address, action, target, allowed, reason)"
        " SELECT ? + i * 1000000, 'person op' || (i % 40), '192.0.2.7', 'runs.create', 'runs/' || i || ' apply runbooks/rare.rhai', 1, '' FROM n",
        [begun],
    )
    base.execute(
        many + "INSERT INTO decisions (schedule, instant, until, count, state, reason, at)"
        " SELECT 'nightly', ?1 + i * 60000000, ?1 + i * 60000000, 1, 'missed', 'no server was there', ?1 FROM n",
        [int(time.time() * 1e6) - 200_000 * 60_000_000],
    )
    base.commit()


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=1_000_000)
    words.add_argument("--events", type=int, default=1_000_000)
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--binary", default="target/release/nlrun")
    options = words.parse_args()
    binary = os.path.abspath(options.binary)
    with tempfile.TemporaryDirectory(prefix="nlrun-pages") as folder:
        os.makedirs(f"{folder}/runbooks")
        for name in ["nlrun.yaml", "runbooks/rare.rhai"]:
            with open(f"{folder}/{name}", "w") as file:
                file.write("//! Rare.\nconst NEEDS = [];\n" if name.endswith("rhai") else "")
        for name, text in [
            ("inventory/hosts.yaml", "hosts:\n" + "".join(f"  web-{number}: {{address: 192.0.2.{number % 250}}}\n" for number in range(300))),
            ("schedules/all.yaml", "schedules:\n  nightly: {runbook: rare, cron: '* * * * *', tz: Europe/Amsterdam, enabled: false}\n"),
        ]:
            os.makedirs(os.path.dirname(f"{folder}/{name}"))
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)
        call = lambda *more: subprocess.run([binary, *more], cwd=folder, check=True, capture_output=True, text=True).stdout
        token = call("token", "add", "bench", "--role", "admin").strip()
        begun = time.monotonic()
        fill(f"{folder}/.nlrun/nlrun.db", options.runs, options.events)
        size = os.path.getsize(f"{folder}/.nlrun/nlrun.db") >> 20
        print(f"{options.runs} runs, one of {options.events} events, {size} MiB, made in {time.monotonic() - begun:.0f} s")
        server = subprocess.Popen([binary, "serve", "--listen", "127.0.0.1:0"], cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            url = server.stderr.readline().split("serves ")[1].split()[0]
            last = options.runs
            pages = [
                "/runs", "/runs?status=bad", "/runs?status=timed_out", "/runs?runbook=rare", "/runs?runbook=book-17",
                "/runs?runbook=rare&status=failed", "/runs?host=web-17", "/runs?host=web-17&status=failed",
                "/runs?since=2025-07-01&until=2025-07-02", "/runs?until=2025-07-01", f"/runs?before={last // 2}", "/runs?runbook=none",
                f"/runs/{last}", f"/api/v1/runs/{last}/log?before={options.events}&limit=500",
                f"/api/v1/runs/{last}/log?after={options.events // 2}&limit=500", "/runbooks", "/runbook/runbooks/rare.rhai", "/queue", "/inventory",
                "/inventory/host/web-17", f"/runs/{last}/changes", "/schedules", "/schedule/nightly", "/schedules/calendar",
                "/audit", "/audit?q=runs/177", "/editor", "/editor/runbooks/rare.rhai",
            ]
            worst = 0
            for page in pages:
                times = []
                for _ in range(options.rounds):
                    ask = urllib.request.Request(url + page, headers={"authorization": f"Bearer {token}", "accept": "text/html"})
                    begun = time.monotonic()
                    with urllib.request.urlopen(ask) as answer:
                        answer.read()
                    times.append((time.monotonic() - begun) * 1000)
                worst = max(worst, statistics.median(times))
                print(f"{page:50} {statistics.median(times):7.1f} ms   worst {max(times):7.1f} ms")
            print(f"the slowest page has a median of {worst:.1f} ms; the goal is 100 ms")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=10)


main()
