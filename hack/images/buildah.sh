# Sourced after hack/lib.sh: buildah with a storage of its own, so that every script sees the same images and
# removing the cache removes them. Works without user namespaces and without a container runtime (chroot).
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay
BUILDAH_ROOT="$CACHE/containers/storage"
BUILDAH_RUNROOT=/run/tunewright-buildah

BASE_IMAGE="localhost/tunewright/base:$DEBIAN_SUITE"

buildah() { command buildah --root "$BUILDAH_ROOT" --runroot "$BUILDAH_RUNROOT" "$@"; }

# bud ARGUMENTS...: builds from a Dockerfile, keeping layers for the next time.
bud() { buildah bud --layers "$@"; }

image_exists() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# export_image NAME ARCHIVE: what `hack/cluster/load` takes. It only travels over this disk, so it is not compressed:
# that would take minutes for the large images. `push` compresses every oci-archive, whatever it is told; not this format.
export_image() {
  rm -f "$2"
  buildah push --quiet "$1" "docker-archive:$2:$1"
}
