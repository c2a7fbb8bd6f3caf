import os

with open(os.environ["BENCH_HOSTS"]) as file:
    bench = (
        file.read().split(),
        {
            "ssh_user": os.environ["BENCH_USER"],
            "ssh_port": int(os.environ["BENCH_PORT"]),
            "ssh_key": os.environ["BENCH_WORK"] + "/id_ed25519",
            "ssh_known_hosts_file": os.environ["BENCH_WORK"] + "/client/.ssh/known_hosts",
        },
    )
