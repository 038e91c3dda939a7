"""Secrets in a config, recognised by their keys; their values are never written to a file or the terminal."""

from typing import Any

WORDS = ("token", "secret", "password", "api_key")


def is_secret(key: Any) -> bool:
    """True if the name of a key, dotted or not, suggests that its value is a secret."""
    return any(word in str(key).lower() for word in WORDS)


def mask_secrets(node: Any) -> Any:
    """Copy nested dictionaries and lists with *** in place of every secret that is set."""
    if isinstance(node, dict):
        return {
            key: "***" if is_secret(key) and value is not None else mask_secrets(value) for key, value in node.items()
        }
    return [mask_secrets(value) for value in node] if isinstance(node, list) else node
