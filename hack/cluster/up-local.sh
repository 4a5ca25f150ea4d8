# Sourced by `up`: brings the local cluster to life, or what is missing of it.
. "$HERE/processes.sh"
. "$HERE/certificates.sh"
. "$HERE/host.sh"
. "$HERE/configuration.sh"
. "$HERE/components.sh"
. "$HERE/manifests.sh"

prepare_state() {
  if [ ! -e "$MARKER" ]; then
    [ -z "$(ls -A "$STATE" 2>/dev/null)" ] || die "$STATE is not empty and no cluster of ours; set TUNEWRIGHT_STATE to another folder"
    mkdir -p "$STATE"
    touch "$MARKER"
  fi
  chmod 0711 "$STATE"
  local boot
  boot=$(cat /proc/sys/kernel/random/boot_id)
  if [ "$(cat "$STATE/boot-id" 2>/dev/null)" != "$boot" ]; then
    # First time since the machine started: what others keep in /run is stale, and so are all pod addresses.
    rm -rf --one-file-system "$RUN" "$STATE/containerd/state" "$STATE/cni"
    echo "$boot" >"$STATE/boot-id"
  fi
  mkdir -p "$RUN" "$LOGS/pods" "$ETC"
  chmod 0700 "$ETC" "$LOGS" "$RUN"
  local number
  mkdir -p "$STATE/volumes"
  for number in $(seq -w "$VOLUMES"); do
    [ -d "$STATE/volumes/$number" ] || mkdir -m 0777 "$STATE/volumes/$number"
  done
}

pause_archive() { # builds it once and prints its path
  local archive="$CACHE/images/pause.tar" context
  if [ ! -e "$archive" ]; then
    . "$REPO/hack/images/buildah.sh"
    context=$(mktemp -d)
    gcc -Os -static -s -o "$context/pause" "$HERE/pause.c"
    printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' >"$context/Dockerfile"
    mkdir -p "$CACHE/images"
    bud --quiet -t "$PAUSE_IMAGE" "$context" >/dev/null
    export_image "$PAUSE_IMAGE" "$archive.new" >&2
    mv "$archive.new" "$archive"
    rm -rf "$context"
  fi
  echo "$archive"
}

load_pause_image() {
  [ -n "$(containerd_ctl images list -q "name==$PAUSE_IMAGE")" ] || containerd_ctl images import "$1" >/dev/null
}

apply_manifests() {
  print_rbac | admin_kubectl apply -f - >/dev/null
  # Once only: applied again, it would not know of claims that were bound since.
  [ "$(admin_kubectl get pv -l tunewright.dev/premade -o name | wc -l)" = "$VOLUMES" ] || print_storage | admin_kubectl apply -f - >/dev/null
}

up_local() {
  local started=$SECONDS pause name kubelet_started=0
  need_root
  take_lock
  cluster_healthy && return
  "$REPO/hack/bootstrap.sh" host
  "$HERE/build" all
  link_current
  pause=$(pause_archive)
  say "Starting the local Kubernetes $KUBERNETES_VERSION in $STATE"
  prepare_state
  remember_host
  make_certificates
  set_up_network
  set_up_cgroups
  write_configuration
  start etcd
  start containerd
  start kube-apiserver
  wait_for 30 "containerd answers" containerd_answers
  load_pause_image "$pause"
  wait_for 90 "the API server answers" api_answers
  component_runs kubelet || kubelet_started=$(date +%s)
  for name in "${COMPONENTS[@]}"; do start "$name"; done
  apply_manifests
  wait_for 90 "the node is ready" node_reported_since "$kubelet_started"
  wait_for 30 "DNS answers" dns_answers
  wait_for 30 "the default service account" admin_kubectl get serviceaccount default -n default
  touch "$RUN/complete"
  say "The cluster is up after $((SECONDS - started))s"
}
