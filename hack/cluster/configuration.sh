# Sourced: the configuration files of the components, written anew by each `up` that starts something.

write_containerd_config() {
  cat >"$ETC/containerd.toml" <<EOF
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
# The "opt" plugin would make /opt/containerd; the snapshotters are not used.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "$CONTAINERD_SOCKET"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  # Without CAP_SYS_RESOURCE no process may ask for a lower score than its parent's: every sandbox would die.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$ETC/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$STATE/containerd/state/runc"
      SystemdCgroup = false
EOF
}

# overlayfs where the file system under $STATE carries it (an overlay does not), else plain copies.
snapshotter() {
  local trial="$STATE/overlay-trial" answer=native
  mkdir -p "$trial"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$trial/lower,upperdir=$trial/upper,workdir=$trial/work" "$trial/merged" 2>/dev/null; then
    answer=overlayfs
    umount "$trial/merged"
  fi
  rm -rf "$trial"
  echo "$answer"
}

write_cni_config() {
  local device mtu
  device=$(ip -o route show default | sed -nE 's/.* dev ([^ ]+).*/\1/p' | head -n 1)
  mtu=$(cat "/sys/class/net/${device:-lo}/mtu")
  [ "$mtu" -le 9000 ] || mtu=1500
  mkdir -p "$ETC/cni"
  # Masquerading is host.sh's one rule.
  cat >"$ETC/cni/10-tunewright.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "tunewright", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true, "mtu": $mtu,
   "ipam": {"type": "host-local", "dataDir": "$STATE/cni", "ranges": [[{"subnet": "$POD_CIDR", "gateway": "$NODE_IP"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

write_kubelet_config() {
  # systemd-resolved's stub listens on loopback, which is another one in a pod: pods with dnsPolicy Default need the real servers.
  local resolv=/etc/resolv.conf
  [ ! -e /run/systemd/resolve/resolv.conf ] || resolv=/run/systemd/resolve/resolv.conf
  cat >"$ETC/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failSwapOn: false
oomScoreAdj: 0
maxPods: 110
clusterDNS: [$NODE_IP]
clusterDomain: $CLUSTER_DOMAIN
resolvConf: $resolv
podLogsDir: $LOGS/pods
volumePluginDir: $STATE/kubelet/volume-plugins
containerLogMaxSize: 20Mi
serializeImagePulls: false
# A developer's disk is often nearly full; and an image that is collected cannot be pulled again, so none ever is (100).
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%, imagefs.inodesFree: 1%}
EOF
}

write_kube_proxy_config() {
  # Pods on one bridge answer each other directly. Unless bridged packets pass iptables too, the answer would miss the
  # translation back from the service's address; masquerading sends it through the node.
  local masquerade=true
  [ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" != 1 ] || masquerade=false
  cat >"$ETC/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $ETC/kube-proxy.kubeconfig}
hostnameOverride: $NODE
mode: iptables
clusterCIDR: $POD_CIDR
bindAddress: $NODE_IP
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
# Node ports on the bridge only: nothing of the cluster is reachable from outside the machine.
nodePortAddresses: [$POD_CIDR]
iptables: {masqueradeAll: $masquerade, localhostNodePorts: false}
# 0: leave the machine's conntrack settings alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF
}

write_coredns_config() {
  # It runs on the host, so it can ask the host's resolver even if that one listens on loopback. It is not in
  # /etc/resolv.conf itself, so nothing goes round in circles. Without a nameserver there, only the cluster's names resolve.
  local forward=""
  if grep -qE '^\s*nameserver' /etc/resolv.conf; then forward="forward . /etc/resolv.conf"; fi
  cat >"$ETC/Corefile" <<EOF
.:53 {
    bind $NODE_IP
    errors
    ready 127.0.0.1:$DNS_READY_PORT
    kubernetes $CLUSTER_DOMAIN in-addr.arpa ip6.arpa {
        kubeconfig $ETC/coredns.kubeconfig tunewright
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    $forward
    cache 30
}
EOF
}

write_audit_policy() {
  # What the operator's service account asks, by name only: the end-to-end tests compare it with what the chart grants.
  cat >"$ETC/audit-policy.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - {level: Metadata, users: ["system:serviceaccount:tunewright-system:tunewright"]}
  - {level: None}
EOF
}

write_configuration() {
  mkdir -p "$ETC"
  write_containerd_config
  write_cni_config
  write_kubelet_config
  write_kube_proxy_config
  write_coredns_config
  write_audit_policy
}
