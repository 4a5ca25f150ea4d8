# Sourced: what the cluster changes on the machine outside $STATE, and how that is put back.

# The kubelet, kube-proxy and this file change these.
SYSCTLS=(net/ipv4/ip_forward net/ipv4/conf/all/route_localnet net/bridge/bridge-nf-call-iptables vm/overcommit_memory
  vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)
HOST_FOLDERS=(/var/lib/kubelet/device-plugins /var/lib/kubelet /var/log/containers /var/log/pods /run/containerd/s /run/containerd
  /var/lib/cni/results /var/lib/cni)

our_chains() { # COMMAND TABLE: what kube-proxy, the kubelet, the CNI plugins and this file made
  "$1"-save -t "$2" 2>/dev/null | sed -nE 's/^:((KUBE|CNI|TUNEWRIGHT)-[^ ]*) .*/\1/p'
}

remember_host() {
  [ -e "$BEFORE/folders" ] && return
  mkdir -p "$BEFORE"
  local name command table
  for name in "${SYSCTLS[@]}"; do
    if [ -r "/proc/sys/$name" ]; then echo "$name $(cat "/proc/sys/$name")"; fi
  done >"$BEFORE/sysctls"
  for command in iptables ip6tables; do
    for table in filter nat mangle; do our_chains "$command" "$table" >"$BEFORE/$command-$table"; done
  done
  for name in "${HOST_FOLDERS[@]}"; do
    if [ -e "$name" ]; then echo "$name"; fi
  done >"$BEFORE/folders"
}

set_up_network() {
  if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
    # A fixed address: a bridge without one takes its ports' and changes it as pods come and go.
    ip link add "$BRIDGE" address "$BRIDGE_MAC" type bridge
  fi
  ip addr replace "$NODE_IP/${POD_CIDR#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  modprobe -q br_netfilter 2>/dev/null || true
  # One rule for all pods instead of the bridge plugin's chain for each, and leave to forward where the policy is DROP.
  replace_chain nat TUNEWRIGHT-MASQUERADE POSTROUTING "-s $POD_CIDR ! -o $BRIDGE -j MASQUERADE"
  replace_chain filter TUNEWRIGHT-FORWARD FORWARD "-i $BRIDGE -j ACCEPT" "-o $BRIDGE -j ACCEPT"
}

replace_chain() { # TABLE CHAIN FROM RULE...
  local table=$1 chain=$2 from=$3 rule
  shift 3
  iptables -w -t "$table" -N "$chain" 2>/dev/null || iptables -w -t "$table" -F "$chain"
  for rule in "$@"; do iptables -w -t "$table" -A "$chain" $rule; done
  iptables -w -t "$table" -C "$from" -j "$chain" 2>/dev/null || iptables -w -t "$table" -I "$from" -j "$chain"
}

cgroup_hierarchies() { findmnt -rn -t cgroup,cgroup2 -o TARGET; }

set_up_cgroups() { # the kubelet wants its root to exist
  local folder
  for folder in $(cgroup_hierarchies); do mkdir -p "$folder/$CGROUP" 2>/dev/null || true; done
}

remove_cgroups() {
  local folder
  for folder in $(cgroup_hierarchies); do
    if [ -d "$folder/$CGROUP" ]; then find "$folder/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}

container_pids() {
  local folder
  for folder in $(cgroup_hierarchies); do
    if [ -d "$folder/$CGROUP" ]; then find "$folder/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true; fi
  done | sort -un
}

# Every process that a supervisor started carries this in its environment, and hands it on (containerd to its shims). So
# what no record speaks of any more is found too.
process_mark() { echo "TUNEWRIGHT_CLUSTER_OF=$STATE"; }

marked_pids() {
  local folder
  for folder in /proc/[0-9]*; do
    if { tr '\0' '\n' <"$folder/environ" | grep -qxF -- "$(process_mark)"; } 2>/dev/null; then echo "${folder#/proc/}"; fi
  done
}

mounts_in_state() { # the deepest first
  findmnt -rn -o TARGET | sed 's/\\x20/ /g' | awk -v base="$STATE/" 'index($0, base) == 1' | tac
}

remove_network() {
  local link command table kept chains
  for link in $(ip -o link show master "$BRIDGE" 2>/dev/null | sed -E 's/^[0-9]+: ([^:@]+).*/\1/'); do ip link delete "$link" 2>/dev/null || true; done
  ip link delete "$BRIDGE" 2>/dev/null || true
  for command in iptables ip6tables; do
    for table in filter nat mangle; do
      kept="$BEFORE/$command-$table"
      [ -e "$kept" ] || kept=/dev/null
      chains=$(our_chains "$command" "$table" | grep -vxF -f "$kept" || true)
      [ -z "$chains" ] || remove_chains "$command" "$table" "$chains"
    done
  done
}

# First the rules that lead to the chains, then what is in them, then the chains; all in one transaction.
remove_chains() { # COMMAND TABLE CHAINS
  local names
  names=$(paste -sd'|' <<<"$3")
  {
    echo "*$2"
    "$1"-save -t "$2" | sed -nE "/ -[jg] ($names)( |\$)/s/^-A/-D/p"
    sed 's/^/-F /' <<<"$3"
    sed 's/^/-X /' <<<"$3"
    echo COMMIT
  } | "$1-restore" -w --noflush || say "some $1 chains of table $2 are left: $(echo $3)"
}

restore_host() {
  local name value
  if [ -e "$BEFORE/sysctls" ]; then
    while read -r name value; do echo "$value" >"/proc/sys/$name" 2>/dev/null || true; done <"$BEFORE/sysctls"
  fi
  # Links to the logs of our containers, the CNI results of our network, the socket for device plugins: their places are fixed.
  find /var/log/containers -lname "$STATE/*" -delete 2>/dev/null || true
  for name in /var/lib/cni/results/tunewright-*-eth0; do
    value=${name#*/tunewright-} # the sandbox
    rm -f "$name" "/var/lib/cni/results/cni-loopback-${value%-eth0}-lo"
  done
  [ -e "$BEFORE/folders" ] || return 0
  grep -qx /var/lib/kubelet/device-plugins "$BEFORE/folders" || rm -rf /var/lib/kubelet/device-plugins
  for name in "${HOST_FOLDERS[@]}"; do
    grep -qx "$name" "$BEFORE/folders" || rmdir "$name" 2>/dev/null || true
  done
}
