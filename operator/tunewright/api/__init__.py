"""The four kinds of `tunewright.dev/v1alpha1` as pydantic types; `crd.py` turns them into `crds/`."""

from typing import Final

GROUP: Final = "tunewright.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
