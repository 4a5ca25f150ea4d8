"""What of a user's Secret reaches a trainer container: keys under a prefix that means nothing to any program, of which the trainer takes those it knows.

Without the prefix every key would be a variable of the process: LD_PRELOAD or PYTHONPATH would run code in the Pod, and a list of what is
dangerous never ends. With it, whoever may write a Secret but make no Pods gains nothing by it.
"""

from typing import Final

SECRET_PREFIX: Final = "TUNEWRIGHT_SECRET_"

SECRET_VARIABLES: Final = frozenset(
    {
        "HF_TOKEN", "HF_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    }
)  # fmt: skip
"""Keys that become variables of the same name, unless the chart's values have set them."""
