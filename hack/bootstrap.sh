#!/usr/bin/env bash
# Installs what a bare Debian 12 machine lacks. Each part is a no-op when it is there already.
#   bootstrap.sh python    uv and the locked virtual environment (.venv)
#   bootstrap.sh host      Debian packages for the local cluster and for building images (root)
#   bootstrap.sh go        a Go toolchain, taken from the Go module proxy when none is installed; prints its bin folder
. "$(dirname "$0")/lib.sh"

HOST_PACKAGES=(containerd runc containernetworking-plugins iptables conntrack buildah skopeo debootstrap socat jq
  ca-certificates curl iproute2 gcc libc6-dev unzip git libnuma1 python3-venv)

install_host() {
  local missing=() package
  for package in "${HOST_PACKAGES[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them: ${missing[*]}"
  with_progress "Debian packages (${#missing[@]})" \
    sh -c "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ${missing[*]}"
  # Debian starts a containerd of its own; the cluster runs one with its own root and socket, so that one is not needed.
  if command -v systemctl >/dev/null && systemctl is-active -q containerd 2>/dev/null; then systemctl disable --now -q containerd; fi
}

install_go() {
  local have=""
  PATH="$PATH:/usr/local/go/bin"
  command -v go >/dev/null && have=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
  if [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$GO_VERSION" "$have" | sort -V | head -1)" = "$GO_VERSION" ]; then
    dirname "$(command -v go)"
    return
  fi
  local home="$CACHE/go/$GO_VERSION" arch proxy
  if [ ! -x "$home/bin/go" ]; then
    arch=$(dpkg --print-architecture)
    proxy=${GOPROXY:-https://proxy.golang.org}
    proxy=${proxy%%[,|]*}
    mkdir -p "$CACHE/go"
    rm -rf "$CACHE/go/unpack"
    with_progress "Go $GO_VERSION" sh -c "
      curl -fsSL '$proxy/golang.org/toolchain/@v/v0.0.1-go$GO_VERSION.linux-$arch.zip' -o '$CACHE/go/toolchain.zip' &&
      unzip -q '$CACHE/go/toolchain.zip' -d '$CACHE/go/unpack'"
    chmod -R u+x "$CACHE"/go/unpack/golang.org/toolchain*/bin "$CACHE"/go/unpack/golang.org/toolchain*/pkg/tool
    mv "$CACHE"/go/unpack/golang.org/toolchain* "$home"
    rm -rf "$CACHE/go/unpack" "$CACHE/go/toolchain.zip"
  fi
  echo "$home/bin"
}

# uv is the one tool that must come before the lock file can be read; it lives in a small environment of its own.
install_uv() {
  local home="$CACHE/uv/$UV_VERSION"
  if [ ! -x "$home/bin/uv" ]; then
    command -v python3 >/dev/null || die "python3 (3.11 or newer, with venv) is needed"
    with_progress "uv $UV_VERSION" sh -c "rm -rf '$home' && python3 -m venv '$home' && '$home/bin/pip' install -q 'uv==$UV_VERSION'"
  fi
  echo "$home/bin/uv"
}

install_python() {
  local uv
  uv=$(install_uv)
  cd "$REPO"
  # The stamp makes the second run free: uv is asked only when the lock has changed.
  if [ ! -e .venv/.locked ] || ! cmp -s uv.lock .venv/.locked; then
    with_progress "Python packages of uv.lock" "$uv" sync --locked --extra operator --extra dev
    cp uv.lock .venv/.locked
  fi
}

case "${1:-}" in
  host) install_host ;;
  go) install_go ;;
  uv) install_uv ;;
  python) install_python ;;
  *) die "usage: bootstrap.sh python|host|go|uv" ;;
esac
