# Sourced by every script under hack/: where things are cached, and how a script speaks.
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$REPO/hack/versions.env"

# Downloads and builds, by version; safe to delete, shared by every checkout.
CACHE=${TUNEWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tunewright}
# What the running cluster owns; `cluster-down` removes it whole.
STATE=${TUNEWRIGHT_STATE:-/var/lib/tunewright}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The commit that results are of; `-dirty` when the checkout has changes.
commit() { git -C "$REPO" describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || echo unknown; }

# with_progress LABEL COMMAND...: runs it with its output in a log, shows the elapsed time, prints the log's end if it fails.
with_progress() {
  local label=$1 log started pid
  shift
  mkdir -p "$CACHE/logs"
  log="$CACHE/logs/$(tr -c 'a-zA-Z0-9\n' - <<<"$label").log"
  started=$SECONDS
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ -t 2 ]; then
      printf '\r  %-44s %4ds  %.60s\033[K' "$label" $((SECONDS - started)) "$(tail -n 1 "$log" 2>/dev/null | tr -cd '[:print:]')" >&2
    fi
    sleep 1
  done
  [ -t 2 ] && printf '\r\033[K' >&2
  if ! wait "$pid"; then
    printf '  %-44s failed after %ds; the end of %s:\n' "$label" $((SECONDS - started)) "$log" >&2
    tail -n 40 "$log" >&2
    return 1
  fi
  printf '  %-44s %4ds\n' "$label" $((SECONDS - started)) >&2
}
