"""Pure functions from (resource, resolved inputs, settings) to Kubernetes objects."""

from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object in its JSON form."""
