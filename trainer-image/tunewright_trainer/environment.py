"""Makes libraries that expect a home directory and a user name work in a restricted Pod.

The Pod's root filesystem is read-only and its uid has no passwd entry; only /tmp and the output volumes can be written.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from tunewright.contract.secrets import SECRET_PREFIX, SECRET_VARIABLES

SCRATCH_ENV = "TUNEWRIGHT_SCRATCH"


def scratch(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for downloads and caches: TUNEWRIGHT_SCRATCH, or /tmp/tunewright."""
    return Path(environ.get(SCRATCH_ENV, "/tmp/tunewright"))


def defaults(environ: Mapping[str, str], home_is_writable: bool, directory: Path) -> dict[str, str]:
    """Return the variables to add; what is set already is never changed, except a HOME that cannot be written."""
    wanted = {
        # getpass.getuser (torch's inductor calls it) raises KeyError for a uid without passwd entry unless one of these is set.
        "USER": "tunewright",
        "LOGNAME": "tunewright",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if not home_is_writable:
        wanted |= {
            "HF_HOME": str(directory / "hf"),
            "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor"),
            "TRITON_CACHE_DIR": str(directory / "triton"),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "MPLCONFIGDIR": str(directory / "matplotlib"),
        }
    added = {name: value for name, value in wanted.items() if name not in environ}
    return added if home_is_writable else added | {"HOME": str(directory)}


def adopt_secrets(environ: MutableMapping[str, str]) -> list[str]:
    """Give the keys of the user's Secrets that are known their own names; return those that are not used.

    What the chart set is never replaced. The content of a hub that the user names is fetched by the client in Python alone, whose connections are
    checked (endpoints.py).
    """
    unused = []
    for name in sorted(name for name in environ if name.startswith(SECRET_PREFIX)):
        key, value = name.removeprefix(SECRET_PREFIX), environ.pop(name)
        if key not in SECRET_VARIABLES or key in environ:
            unused.append(key)
            continue
        environ[key] = value
        if key == "HF_ENDPOINT":
            environ["HF_HUB_DISABLE_XET"] = "1"
    return unused


def prepare_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Add the defaults to `environ`; call it before any of the libraries is imported, they read it at import."""
    home = environ.get("HOME", "")
    directory = scratch(environ)
    directory.mkdir(parents=True, exist_ok=True)
    environ.update(defaults(environ, bool(home) and os.access(home, os.W_OK), directory))
