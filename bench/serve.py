#!/usr/bin/env python3
"""Measures `nlrun serve`, and prints each number beside its goal.

    serve.py [--cases trigger,rest,late,watch,list] [--json FILE] [--small] [--nlrun FILE]

Before: cargo build --release. `--small` only shows that every case works; its numbers say nothing. Everything happens on loopback, in a folder that goes away. There is no peer that could run here (AWX wants a
cluster and 2.85 GB at rest), so the numbers stand against the goals of the project.

  trigger  from the request to the run's `started` event, one after the other (p50, p99), on an otherwise idle server
  rest     memory of the server with 200 schedules, after 20 s
  late     10,000 schedules that fire once a minute, spread over its seconds: from the instant to the run in the queue (p50, p99)
  watch    100 clients follow one run: events a second that reach them, and the server's CPU
  list     1,000,000 runs in the database: the list of runs, filtered and not (median of 20)
"""
import argparse
import asyncio
import contextlib
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR") or f"{os.path.dirname(HERE)}/target"
NLRUN = f"{TARGET}/release/nlrun"
QUICK = "//! Nothing.\nconst NEEDS = [];\n1\n"
MANY = '//! Many events.\nconst NEEDS = [];\nsleep("3s");\nfor number in 0..20000 { print(`line ${number}`); }\n'


class Server:
    """A server of a project that goes away with it."""

    def __init__(self, project):
        self.project = project
        command = [NLRUN, "--project", project, "token", "add", f"bench-{time.time_ns()}", "--role", "operator"]
        self.token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        # A file and no pipe: one that nobody reads would hold up the server.
        with open(f"{project}/server.log", "w") as log:
            self.process = subprocess.Popen([NLRUN, "--project", project, "serve", "--listen", "127.0.0.1:0"],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        self.port = None
        while self.port is None:
            assert self.process.poll() is None, open(f"{project}/server.log").read()
            time.sleep(0.02)
            lines = [line for line in open(f"{project}/server.log") if "serves http://" in line and line.endswith("\n")]
            self.port = int(lines[0].strip().rsplit(":", 1)[1]) if lines else None

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, (answer.status, text[:300])
        return text

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def project(runbooks, more=None):
    with tempfile.TemporaryDirectory(prefix="nls", dir="/tmp") as folder:
        os.makedirs(f"{folder}/runbooks")
        os.makedirs(f"{folder}/schedules")
        files = {"nlrun.yaml": ""} | {f"runbooks/{name}.rhai": text for name, text in runbooks.items()} | (more or {})
        for name, text in files.items():
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)
        yield folder


def rank(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def database(folder):
    return sqlite3.connect(f"{folder}/.nlrun/nlrun.db", timeout=60)


def trigger(rounds=300):
    with project({"quick": QUICK}) as folder:
        server, times = Server(folder), []
        for _ in range(rounds):
            begun = time.time()
            run = json.loads(server.call("POST", "/api/v1/runs", {"runbook": "quick"}))["run"]
            while True:
                events = server.call("GET", f"/api/v1/runs/{run}/events").decode()
                if "event: end" in events:
                    break
            started = next(json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ") and '"started"' in line)
            times.append(started["at"] / 1e3 - begun * 1e3)
        server.end()
    return {"p50 ms": statistics.median(times), "p99 ms": rank(times, .99), "goal p99 ms": 50}


def rest(seconds=20):
    schedules = {f"schedules/s{number}.yaml": f"runbook: quick\ncron: '{number % 60} {number % 24} * * *'\ntz: Europe/Amsterdam\n"
                 for number in range(200)}
    with project({"quick": QUICK}, schedules) as folder:
        server = Server(folder)
        time.sleep(seconds)
        found = server.rss()
        server.end()
    return {"MiB": found, "goal MiB": 40}


def late(count=10_000, seconds=90):
    lines = ["schedules:\n"]
    lines += [f"  s{number}: {{runbook: quick, cron: '{number % 60} * * * * *', tz: UTC, queue: none, overlap: allow}}\n" for number in range(count)]
    more = {"schedules/all.yaml": "".join(lines), "nlrun.yaml": "server: {queues: {none: 0}}\n"}
    with project({"quick": QUICK}, more) as folder:
        server = Server(folder)
        time.sleep(10)
        begun, cpu = time.time(), server.cpu()
        time.sleep(seconds)
        cpu = (server.cpu() - cpu) / (time.time() - begun)
        rows = database(folder).execute("SELECT at - instant FROM decisions WHERE state = 'run' AND at > ?", [int(begun * 1e6)]).fetchall()
        memory = server.rss()
        server.end()
    times = [row[0] / 1e3 for row in rows]
    return {"fired a second": len(times) / seconds, "p50 ms": statistics.median(times), "p99 ms": rank(times, .99), "goal p99 ms": 100,
            "CPU share": cpu, "MiB": memory}


async def follow(server, run, counts, index):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /api/v1/runs/{run}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    while True:
        piece = await reader.read(1 << 16)
        counts[index] += piece.count(b"\nevent: event\n")
        if not piece or b"event: end" in piece:
            writer.close()
            return


def watch(clients=100):
    with project({"many": MANY}) as folder:
        server = Server(folder)
        run = json.loads(server.call("POST", "/api/v1/runs", {"runbook": "many"}))["run"]
        counts = [0] * clients

        async def all_of_them():
            await asyncio.gather(*(follow(server, run, counts, index) for index in range(clients)))

        cpu, begun = server.cpu(), time.time()
        asyncio.run(all_of_them())
        # The run itself waits for three seconds first.
        took, cpu = time.time() - begun - 3, server.cpu() - cpu
        memory = server.rss()
        server.end()
    return {"events a second": sum(counts) / took, "all seen": min(counts), "seconds": took, "server CPU s": cpu, "MiB": memory}


def listed(rows=1_000_000):
    with project({"quick": QUICK}) as folder:
        subprocess.run([NLRUN, "--project", folder, "run", "quick"], capture_output=True, check=True)
        base = database(folder)
        run = base.execute("SELECT runbook, status, mode, started_at, ended_at, last_seq, last_hash, summary FROM runs").fetchone()
        event = base.execute("SELECT at, body, hash FROM events WHERE id & 4294967295 = 1").fetchone()
        base.execute("PRAGMA synchronous = OFF")
        words = ["done"] * 97 + ["failed", "partial", "cancelled"]
        base.executemany("INSERT INTO runs (id, runbook, status, mode, started_at, ended_at, last_seq, last_hash, summary) VALUES (?,?,?,?,?,?,?,?,?)",
                         ((number, run[0], words[number % 100], *run[2:]) for number in range(2, rows + 1)))
        base.executemany("INSERT INTO events (id, at, body, hash) VALUES (?,?,?,?)", ((number << 32 | 1, *event) for number in range(2, rows + 1)))
        base.commit()
        base.close()
        server, found = Server(folder), {}
        for name, query in {"newest": "", "failed": "?status=failed", "a runbook": "?runbook=quick", "deep": "?before=500000"}.items():
            times = []
            for _ in range(20):
                begun = time.perf_counter()
                server.call("GET", f"/api/v1/runs{query}")
                times.append((time.perf_counter() - begun) * 1e3)
            found[f"{name} ms"] = statistics.median(times)
        found["MiB"] = server.rss()
        server.end()
    return found | {"goal ms": 100}


SMALL = {"trigger": {"rounds": 10}, "rest": {"seconds": 3}, "late": {"count": 300, "seconds": 15}, "watch": {"clients": 5}, "list": {"rows": 3000}}
CASES = {"trigger": trigger, "rest": rest, "late": late, "watch": watch, "list": listed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--nlrun")
    options = parser.parse_args()
    global NLRUN
    NLRUN = options.nlrun or NLRUN
    results = {}
    for case in options.cases.split(","):
        results[case] = CASES[case](**(SMALL[case] if options.small else {}))
        print(f"{case}: " + ", ".join(f"{name} {value:,.1f}" for name, value in results[case].items()), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
