"""Tunewright: fine-tuning as four Kubernetes resources."""

__version__ = "0.1.0"
