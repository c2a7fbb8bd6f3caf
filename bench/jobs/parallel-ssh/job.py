"""The jobs with parallel-ssh, which is a library: job.py hostname|steps|copy PARALLEL"""
import os
import sys

from gevent import joinall
from pssh.clients import ParallelSSHClient

case, parallel = sys.argv[1], int(sys.argv[2])
files, dest = os.environ["BENCH_FILES"], os.environ["BENCH_DEST"]
with open(os.environ["BENCH_HOSTS"]) as file:
    hosts = file.read().split()
client = ParallelSSHClient(hosts, user=os.environ["BENCH_USER"], port=int(os.environ["BENCH_PORT"]),
                           pkey=os.environ["BENCH_WORK"] + "/id_ed25519", pool_size=parallel, allow_agent=False)


def run(command, **arguments):
    for output in client.run_command(command, **arguments):
        for line in output.stdout:
            print(line)
        if output.exit_code:
            sys.exit(f"{output.host}: exit code {output.exit_code}")


def send(sources, name):
    joinall(client.copy_file("%(from)s", "%(to)s", copy_args=[
        {"from": source, "to": f"{dest}/{host}/{name}"} for host, source in zip(hosts, sources)]), raise_error=True)


if case == "copy":  # writes each time: the library compares nothing
    template = open(f"{files}/conf.j2").read()
    rendered = [f"{os.environ['BENCH_TMP']}/{host}" for host in hosts]
    for host, path in zip(hosts, rendered):
        with open(path, "w") as file:
            file.write(template.replace("{{ inventory_hostname }}", host))
    run("%s", host_args=[(f"mkdir -p {dest}/{host}",) for host in hosts])
    send([f"{files}/blob"] * len(hosts), "blob")
    send(rendered, "conf")
else:
    for _ in range(20 if case == "steps" else 1):
        run("hostname")
