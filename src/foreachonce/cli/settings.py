"""``name=value`` as a command line has it; ``env:NAME`` stands for what the environment holds, which is shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from foreachonce.errors import ConfigurationError

ENVIRONMENT = "env:"


def settings(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Names and values; a pair that is wrong is named without its value, which may be a secret.

    Raises:
        ConfigurationError: it is no pair, or the environment lacks the variable.
    """
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign:
            raise ConfigurationError(f"{option} takes name=value; {'what stands there' if sign else repr(name)} is none.")
        found[name] = _value(option, name, value)
    return found


def refuse_plain_secrets(option: str, pairs: Sequence[str], is_secret: Callable[[str], object]) -> None:
    """Refuse a secret that stands on the command line itself, where every user of the machine sees it.

    Raises:
        ConfigurationError: naming the setting, and what to write.
    """
    for pair in pairs:
        name = pair.partition("=")[0]
        if is_secret(name) and not is_hidden(pair):
            raise ConfigurationError(
                f"{option} {name}=…: a command line is no place for a secret. Put it into a variable of the environment and "
                f"say {option} {name}=env:NAME."
            )


def is_hidden(pair: str) -> bool:
    """Whether a pair's value comes from the environment."""
    return pair.partition("=")[2].startswith(ENVIRONMENT)


def _value(option: str, name: str, value: str) -> str:
    if not value.startswith(ENVIRONMENT):
        return value
    variable = value.removeprefix(ENVIRONMENT)
    if variable not in os.environ:
        raise ConfigurationError(f"{option} {name}={value}: the environment has no variable {variable!r}.")
    return os.environ[variable]
