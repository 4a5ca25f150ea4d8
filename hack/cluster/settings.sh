# Sourced by the scripts beside it: names, addresses and paths of the local cluster, and which cluster is meant.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

HERE="$REPO/hack/cluster"
STATE=$(realpath -m "$STATE")
export PATH="$CACHE/bin/current:$PATH:/usr/sbin:/sbin"

NODE=tunewright           # fixed, so that certificates and volumes outlive a change of the machine's host name
BRIDGE=tunewright0        # the pods' bridge; its address is the node's: the kubelet refuses loopback
BRIDGE_MAC=02:54:57:00:00:01
NODE_IP=10.244.0.1
POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
API_URL="https://$NODE_IP:6443"
CLUSTER_DOMAIN=cluster.local
ETCD_PORT=23790           # not 2379: tests start an etcd of their own
DNS_READY_PORT=18181
CGROUP=tunewright         # every pod lives below it, in each cgroup hierarchy
VOLUMES=48
VOLUME_SIZE=16Gi
PAUSE_IMAGE=localhost/tunewright/pause:1

# In the order in which they start; they stop in the reverse order.
COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy coredns volume-recycler)

PKI="$STATE/pki"
ETC="$STATE/etc"
RUN="$STATE/run"
LOGS="$STATE/logs"
AUDIT_LOG="$LOGS/audit.log"           # what the operator asked of the API server
BEFORE="$STATE/host-before"           # what `down` puts back
MARKER="$STATE/.tunewright-cluster"   # `down` removes only a folder that `up` made
KUBECONFIG_ADMIN="$ETC/admin.kubeconfig"
CONTAINERD_SOCKET="$STATE/containerd/state/containerd.sock"
CONTAINERD_TASKS="$STATE/containerd/state/io.containerd.runtime.v2.task/k8s.io"
KIND_NAME=tunewright
KIND_KUBECONFIG="$CACHE/kubeconfig/kind.yaml"

engine_answers() {
  local engine
  for engine in docker podman; do
    command -v "$engine" >/dev/null && timeout 10 "$engine" info >/dev/null 2>&1 && return 0
  done
  return 1
}

# current, kind or local. A local cluster that exists is not forgotten because a container engine was installed since.
chosen_cluster() {
  case "${TUNEWRIGHT_CLUSTER:-}" in
    current | kind | local) echo "$TUNEWRIGHT_CLUSTER" ;;
    "") if [ ! -e "$MARKER" ] && command -v kind >/dev/null && engine_answers; then echo kind; else echo local; fi ;;
    *) die "TUNEWRIGHT_CLUSTER is '$TUNEWRIGHT_CLUSTER'; it can be current, kind or local" ;;
  esac
}

need_root() { [ "$(id -u)" = 0 ] || die "the local cluster needs root (or set TUNEWRIGHT_CLUSTER=current for a cluster of yours)"; }

# One `up` or `down` at a time. The lock lies outside $STATE because `down` removes that.
take_lock() {
  exec 8>/run/tunewright-cluster.lock
  flock -w 1800 8 || die "another up or down has been running for half an hour"
}

admin_kubectl() { kubectl --kubeconfig "$KUBECONFIG_ADMIN" --request-timeout=10s "$@"; }
containerd_ctl() { ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_for() {
  local limit=$1 what=$2 started=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $((SECONDS - started)) -lt "$limit" ] || die "$what: not after ${limit}s; see $LOGS"
    sleep 0.3
  done
}
