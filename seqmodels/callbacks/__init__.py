"""Callbacks of Hydra and of the trainer; imports none of them, so that each one loads only what it needs."""
