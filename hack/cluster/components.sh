# Sourced: how each component is started. See README.md for the settings' reasons.

start() { # NAME
  local name=$1 current="$CACHE/bin/current"
  case "$name" in
    etcd)
      # Without fsync a start is fast on any disk; a power failure can cost the last seconds, which a test cluster can bear.
      start_component etcd "$current/etcd" --name tunewright --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "https://127.0.0.1:$ETCD_PORT" --advertise-client-urls "https://127.0.0.1:$ETCD_PORT" \
        --listen-peer-urls "http://127.0.0.1:$((ETCD_PORT + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$((ETCD_PORT + 1))" \
        --initial-cluster "tunewright=http://127.0.0.1:$((ETCD_PORT + 1))" --auto-compaction-retention 1h \
        --cert-file "$PKI/etcd.crt" --key-file "$PKI/etcd.key" --trusted-ca-file "$PKI/etcd-ca.crt" --client-cert-auth
      ;;
    kube-apiserver)
      start_component kube-apiserver "$current/kube-apiserver" \
        --bind-address "$NODE_IP" --advertise-address "$NODE_IP" --secure-port 6443 --service-cluster-ip-range "$SERVICE_CIDR" \
        --etcd-servers "https://127.0.0.1:$ETCD_PORT" --etcd-cafile "$PKI/etcd-ca.crt" \
        --etcd-certfile "$PKI/etcd-client.crt" --etcd-keyfile "$PKI/etcd-client.key" \
        --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt" \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --profiling=false \
        --service-account-issuer "https://kubernetes.default.svc.$CLUSTER_DOMAIN" \
        --service-account-key-file "$PKI/service-account.pub" --service-account-signing-key-file "$PKI/service-account.key" \
        --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-client-certificate "$PKI/apiserver-to-kubelet.crt" \
        --kubelet-client-key "$PKI/apiserver-to-kubelet.key" --kubelet-preferred-address-types InternalIP \
        --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --requestheader-allowed-names front-proxy-client \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra- --enable-aggregator-routing \
        --proxy-client-cert-file "$PKI/front-proxy-client.crt" --proxy-client-key-file "$PKI/front-proxy-client.key" \
        --audit-policy-file "$ETC/audit-policy.yaml" --audit-log-path "$AUDIT_LOG" --audit-log-maxsize 20 --audit-log-maxbackup 2
      ;;
    kube-controller-manager)
      start_component kube-controller-manager "$current/kube-controller-manager" --kubeconfig "$ETC/kube-controller-manager.kubeconfig" \
        --bind-address 127.0.0.1 --leader-elect=false --use-service-account-credentials --profiling=false \
        --service-account-private-key-file "$PKI/service-account.key" --root-ca-file "$PKI/ca.crt" \
        --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key"
      ;;
    kube-scheduler)
      start_component kube-scheduler "$current/kube-scheduler" --kubeconfig "$ETC/kube-scheduler.kubeconfig" \
        --bind-address 127.0.0.1 --leader-elect=false --profiling=false
      ;;
    containerd)
      start_component containerd containerd --config "$ETC/containerd.toml" --log-level warn
      ;;
    kubelet)
      start_component kubelet "$current/kubelet" --config "$ETC/kubelet.yaml" --kubeconfig "$ETC/kubelet.kubeconfig" \
        --hostname-override "$NODE" --node-ip "$NODE_IP" --root-dir "$STATE/kubelet"
      ;;
    kube-proxy) start_component kube-proxy "$current/kube-proxy" --config "$ETC/kube-proxy.yaml" ;;
    coredns) start_component coredns "$current/coredns" -conf "$ETC/Corefile" -quiet ;;
    volume-recycler) start_component volume-recycler "$HERE/volume-recycler" ;;
    *) die "no component $name" ;;
  esac
}

api_answers() { admin_kubectl get --raw /readyz; }
containerd_answers() { containerd_ctl version; }
dns_answers() { curl -fsS --noproxy '*' -m 2 "http://127.0.0.1:$DNS_READY_PORT/ready"; }
node_ready() {
  [ "$(admin_kubectl get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}{.spec.taints}' 2>/dev/null)" = True ]
}

# After a restart the node's old status says Ready until the kubelet speaks for itself.
node_reported_since() { # SECONDS-SINCE-1970
  local heard
  heard=$(admin_kubectl get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}' 2>/dev/null) || return 1
  [ -n "$heard" ] && [ "$(date -d "$heard" +%s)" -ge "$1" ] && node_ready && kubelet_answers
}
kubelet_answers() { curl -fsS --noproxy '*' -m 2 http://127.0.0.1:10248/healthz; }

cluster_healthy() {
  local name
  [ -e "$MARKER" ] && [ -e "$RUN/complete" ] && ip link show "$BRIDGE" >/dev/null 2>&1 || return 1
  for name in "${COMPONENTS[@]}"; do component_runs "$name" || return 1; done
  node_ready && dns_answers >/dev/null 2>&1
}
