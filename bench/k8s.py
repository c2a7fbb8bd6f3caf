#!/usr/bin/env python3
"""Manifests of the size of Argo CD's (59 documents, 2 MB, a definition of 1.4 MB) on a real API server: nlrun beside kubectl.

    bench/k8s.py [--rounds N] [--json FILE] [--nlrun PROGRAM]

Each client gets manifests of its own (other names, the same shape), applies them for the first time and again, and shows what would
change (nlrun: `k8s diff`, kubectl: `diff --server-side`). Needs kubectl, and tests/kube/kube.sh to have an API server.
Wall is seconds, cpu is the client's user and system time, peak its memory in MiB; ratios are to kubectl.
"""

import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = "the resource is reconciled by its controller until its state is the one that was declared for it "


def schema(size, depth=3):
    """Returns an OpenAPI schema of about `size` bytes."""
    if depth == 0:
        return {"type": "string", "description": (WORDS * (size // len(WORDS) + 1))[: max(size - 60, 20)]}
    width = 12
    each = size // width
    return {"type": "object", "properties": {f"field{i}": schema(each - 40, depth - 1) for i in range(width)}}


def definition(name, kind, size):
    spec = {
        "group": f"{name}.example.com", "scope": "Namespaced",
        "names": {"kind": kind, "plural": kind.lower() + "s", "singular": kind.lower()},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": schema(size)}}}}],
    }
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind.lower()}s.{name}.example.com"}, "spec": spec}


def documents(name):
    meta = lambda thing, **more: {"name": f"{name}-{thing}", "namespace": name, "labels": {"app": name}, **more}
    alone = lambda thing: {"name": f"{name}-{thing}", "labels": {"app": name}}
    docs = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            definition(name, "Set", 1_400_000), definition(name, "Application", 400_000), definition(name, "Project", 20_000)]
    for i in range(8):
        docs.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(f"account{i}")})
        docs.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta(f"role{i}"), "rules": [
            {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch"]}]})
        docs.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta(f"binding{i}"),
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{name}-role{i}"},
                     "subjects": [{"kind": "ServiceAccount", "name": f"{name}-account{i}", "namespace": name}]})
    for i in range(3):
        docs.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": alone(f"role{i}"), "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}]})
    for i in range(7):
        docs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(f"config{i}"), "data": {
            f"key{j}": WORDS * 8 for j in range(6)}})
        docs.append({"apiVersion": "v1", "kind": "Service", "metadata": meta(f"service{i}"), "spec": {
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}], "selector": {"app": f"{name}-{i}"}}})
        docs.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(f"server{i}"), "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": f"{name}-{i}"}}, "template": {
                "metadata": {"labels": {"app": f"{name}-{i}"}}, "spec": {"containers": [{
                    "name": "server", "image": "example.com/server:1", "env": [
                        {"name": f"VARIABLE_{j}", "value": WORDS} for j in range(40)]}]}}}})
    for i in range(6):
        docs.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(f"policy{i}"), "spec": {
            "podSelector": {"matchLabels": {"app": f"{name}-{i}"}}, "policyTypes": ["Ingress"], "ingress": [{}]}})
    docs.append({"apiVersion": "v1", "kind": "Secret", "metadata": meta("secret"), "type": "Opaque"})
    return docs


def write(path, docs):
    # Block style, as people and tools write it.
    def lines(value, indent):
        pad = " " * indent
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, (dict, list)) and item:
                    yield f"{pad}{key}:"
                    yield from lines(item, indent + 2)
                else:
                    yield f"{pad}{key}: {json.dumps(item)}"
        else:
            for item in value:
                if isinstance(item, (dict, list)) and item:
                    inner = list(lines(item, indent + 2))
                    yield pad + "- " + inner[0].lstrip()
                    yield from inner[1:]
                else:
                    yield f"{pad}- {json.dumps(item)}"
    text = "\n---\n".join("\n".join(lines(doc, 0)) for doc in docs)
    path.write_text(text + "\n")
    return len(text)


def measure(argv, env, ok):
    begun = time.monotonic()
    child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = child.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    wall, code = time.monotonic() - begun, os.waitstatus_to_exitcode(status)
    if code not in ok:
        sys.exit(f"{' '.join(map(str, argv))} ended with {code}:\n{words[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--nlrun", type=pathlib.Path, default=ROOT / "target/release/nlrun")
    options = parser.parse_args()
    kubectl = shutil.which("kubectl") or sys.exit("kubectl is not installed")
    if not options.nlrun.exists():
        sys.exit(f"{options.nlrun} is not there: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="nlrun-bench-k8s-") as work:
        work = pathlib.Path(work)
        # The server ends when its standard input does.
        server = subprocess.Popen([ROOT / "tests/kube/kube.sh", "run", work / "kube"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if server.stdout.readline() != b"ready\n":
            sys.exit("the API server does not start")
        env = {**os.environ, "KUBECONFIG": str(work / "kube/kubeconfig"), "HOME": str(work)}
        (work / "project").mkdir()
        (work / "project/nlrun.yaml").write_text("")
        nlrun = [options.nlrun, "--project", work / "project", "k8s"]
        rows = {}
        for number in range(options.rounds):
            # Who is first changes, for the server grows warm.
            for who in ("kubectl", "nlrun") if number % 2 == 0 else ("nlrun", "kubectl"):
                name = f"{who}{number}"
                path = work / f"{name}.yaml"
                docs = documents(name)
                size = write(path, docs)
                if who == "kubectl":
                    apply = [kubectl, "apply", "--server-side", "-f", path]
                    plan = [kubectl, "diff", "--server-side", "-f", path]
                else:
                    apply = [*nlrun, "apply", "-f", path, "--cluster", "lab", "-q"]
                    plan = [*nlrun, "diff", "-f", path, "--cluster", "lab", "-q"]
                for case, argv in (("first", apply), ("again", apply), ("plan", plan)):
                    rows.setdefault((case, who), []).append(measure(argv, env, (0,)))
                    time.sleep(0.5)
                subprocess.run([kubectl, "delete", "-f", path, "--wait=false"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(2)
        server.stdin.close()
        server.wait()
    print(f"{len(docs)} documents, {size / 1e6:.2f} MB, {options.rounds} rounds, medians\n")
    print(f"{'case':8}{'client':10}{'wall s':>9}{'cpu s':>9}{'peak MiB':>10}{'wall ratio':>12}{'cpu ratio':>11}")
    result = []
    for case in ("first", "again", "plan"):
        peer = [statistics.median(values) for values in zip(*rows[case, "kubectl"])]
        for who in ("kubectl", "nlrun"):
            wall, cpu, peak = (statistics.median(values) for values in zip(*rows[case, who]))
            print(f"{case:8}{who:10}{wall:9.2f}{cpu:9.2f}{peak:10.0f}{wall / peer[0]:12.2f}{cpu / peer[1]:11.2f}")
            result.append({"case": case, "client": who, "wall": wall, "cpu": cpu, "peak_mib": peak})
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


main()
