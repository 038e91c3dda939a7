"""Which configuration keys hold secrets; their values are never written anywhere."""

from typing import Any

WORDS = ("token", "secret", "password", "api_key")


def is_secret(key: Any) -> bool:
    """Whether a key, dotted or not, sounds as if its value were a secret."""
    return any(word in str(key).lower() for word in WORDS)


def mask_secrets(node: Any) -> Any:
    """The same nested dictionaries and lists, with *** for every secret that is set."""
    if isinstance(node, dict):
        return {
            key: "***" if is_secret(key) and value is not None else mask_secrets(value) for key, value in node.items()
        }
    return [mask_secrets(value) for value in node] if isinstance(node, list) else node
