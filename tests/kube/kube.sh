#!/usr/bin/env bash
# A real API server, its store and its controllers, on loopback: for tests, benchmarks and trying things by hand.
#
#   kube.sh build        builds the programs once into a cache, where Go is installed
#   kube.sh where        prints the folder of the programs; code 1 where there are none
#   kube.sh run FOLDER   runs them until standard input ends; prints `ready` and writes FOLDER/kubeconfig
#
# The API server and etcd come from $KUBEBUILDER_ASSETS where that is set; then there are no controllers and no nodes. What Go
# builds has the controllers, too, and two nodes without containers (`node/`): pods become ready, `exec` runs on this machine.
# With KUBE_REMOVE set, the folder goes in the end. Contexts of the kubeconfig: `lab` (may do everything), `viewer` (may read everything but secrets), `nobody`, `stale` (a token that
# nobody knows), `keeper` (everything, by a client's certificate).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
fail() { echo "kube: $1" >&2; exit 1; }

cache() { printf '%s/nlrun-kube/%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}" "$(cat "$here/go.mod" "$here/go.sum" "$here/node/main.go" | sha256sum | cut -c1-16)"; }

where() {
    local folder
    for folder in "${KUBEBUILDER_ASSETS:-}" "$(cache)"; do
        if [ -n "$folder" ] && [ -x "$folder/kube-apiserver" ] && [ -x "$folder/etcd" ]; then
            printf '%s\n' "$folder"
            return 0
        fi
    done
    return 1
}

build() {
    local folder
    where > /dev/null && return 0
    command -v go > /dev/null || fail "neither KUBEBUILDER_ASSETS nor Go is here"
    folder=$(cache)
    rm -rf "$folder.new"
    mkdir -p "$folder.new"
    cd "$here"
    echo "kube: building the API server once (several minutes)" >&2
    go build -mod=readonly -trimpath -ldflags '-s -w' -o "$folder.new/" \
        k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
    go build -mod=readonly -trimpath -ldflags '-s -w' -o "$folder.new/etcd" go.etcd.io/etcd/server/v3
    go build -mod=readonly -trimpath -ldflags '-s -w' -o "$folder.new/node" ./node
    rm -rf "$folder"
    mv "$folder.new" "$folder"
}

free_ports() { python3 -c '
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))' "$1"; }

certificates() {
    local dir=$1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lab-ca \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2> /dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kube-apiserver \
        -keyout "$dir/api.key" -out "$dir/api.csr" 2> /dev/null
    openssl x509 -req -in "$dir/api.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 -out "$dir/api.pem" \
        -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc") 2> /dev/null
    openssl genrsa -out "$dir/accounts.key" 2048 2> /dev/null
    openssl req -newkey rsa:2048 -nodes -subj /O=system:masters/CN=keeper -keyout "$dir/keeper.key" -out "$dir/keeper.csr" 2> /dev/null
    openssl x509 -req -in "$dir/keeper.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
        -out "$dir/keeper.pem" -extfile <(echo extendedKeyUsage=clientAuth) 2> /dev/null
}

kubeconfig() {
    local dir=$1 port=$2 user
    echo 'apiVersion: v1'
    echo 'kind: Config'
    echo 'current-context: lab'
    echo "clusters: [{name: lab, cluster: {server: 'https://127.0.0.1:$port', certificate-authority: '$dir/ca.pem'}}]"
    echo 'contexts:'
    for user in lab viewer nobody stale keeper; do echo "- {name: $user, context: {cluster: lab, user: $user}}"; done
    echo 'users:'
    for user in lab viewer nobody stale; do echo "- {name: $user, user: {token: token-of-$user}}"; done
    echo "- {name: keeper, user: {client-certificate: '$dir/keeper.pem', client-key: '$dir/keeper.key'}}"
}

run() {
    local bin api peer store tries
    # Not local: the trap runs when the function is over.
    pids=()
    dir=$(realpath -m "$1")
    bin=$(where) || fail "there is no API server here: run \`$0 build\`"
    mkdir -p "$dir"
    read -r api store peer <<< "$(free_ports 3)"
    certificates "$dir"
    printf '%s\n' 'token-of-lab,lab,1,system:masters' 'token-of-viewer,viewer,2,' 'token-of-nobody,nobody,3,' \
        'token-of-controllers,system:kube-controller-manager,4,system:masters' > "$dir/tokens.csv"
    # They end with this script, however that ends. An API server that is asked to end waits for its store, which is gone.
    trap 'kill -KILL "${pids[@]}" 2> /dev/null; wait "${pids[@]}" 2> /dev/null || true
        [ -z "${KUBE_REMOVE:-}" ] || rm -rf "$dir"' EXIT
    "$bin/etcd" --data-dir "$dir/etcd" --listen-client-urls "http://127.0.0.1:$store" \
        --advertise-client-urls "http://127.0.0.1:$store" --listen-peer-urls "http://127.0.0.1:$peer" \
        --unsafe-no-fsync --log-level error > "$dir/etcd.log" 2>&1 < /dev/null &
    pids+=($!)
    "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$store" --bind-address 127.0.0.1 --secure-port "$api" \
        --tls-cert-file "$dir/api.pem" --tls-private-key-file "$dir/api.key" --token-auth-file "$dir/tokens.csv" \
        --client-ca-file "$dir/ca.pem" \
        --authorization-mode RBAC --service-cluster-ip-range 10.0.0.0/24 --disable-admission-plugins ServiceAccount \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$dir/accounts.key" \
        --service-account-signing-key-file "$dir/accounts.key" --allow-privileged > "$dir/api.log" 2>&1 < /dev/null &
    pids+=($!)
    kubeconfig "$dir" "$api" > "$dir/kubeconfig"
    local curl=(curl -sS --cacert "$dir/ca.pem" -H 'Authorization: Bearer token-of-lab' --max-time 5)
    for ((tries = 0; ; tries++)); do
        [ "$("${curl[@]}" "https://127.0.0.1:$api/readyz" 2> /dev/null)" = ok ] && break
        ((tries < 600)) || fail "the API server is not ready; see $dir/api.log"
        kill -0 "${pids[1]}" 2> /dev/null || { tail -3 "$dir/api.log" >&2; fail "the API server ended"; }
        sleep 0.1
    done
    if [ -x "$bin/kube-controller-manager" ]; then
        sed 's/token-of-lab/token-of-controllers/' "$dir/kubeconfig" > "$dir/controllers.kubeconfig"
        "$bin/kube-controller-manager" --kubeconfig "$dir/controllers.kubeconfig" --leader-elect=false --secure-port 0 \
            --service-account-private-key-file "$dir/accounts.key" \
            --controllers '*,-node-lifecycle-controller,-node-ipam-controller' \
            > "$dir/controllers.log" 2>&1 < /dev/null &
        pids+=($!)
    fi
    if [ -x "$bin/node" ]; then
        "$bin/node" "$dir/kubeconfig" worker-1 worker-2 > "$dir/node.log" 2>&1 < /dev/null &
        pids+=($!)
    fi
    local rbac=https://127.0.0.1:$api/apis/rbac.authorization.k8s.io/v1/clusterrolebindings
    "${curl[@]}" -o /dev/null -X POST -H 'Content-Type: application/json' "$rbac" -d '{"metadata":{"name":"viewer"},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
        "subjects":[{"kind":"User","name":"viewer","apiGroup":"rbac.authorization.k8s.io"}]}'
    echo ready
    cat > /dev/null
}

case ${1:-} in
    build) build ;;
    where) where ;;
    run) [ $# = 2 ] || fail "run wants a folder"; run "$2" ;;
    *) sed -n '2,12p' "$0" >&2; exit 64 ;;
esac
