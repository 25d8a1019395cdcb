"""The options that all commands share, and the ledger that they open, with a Spark session where that takes one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from foreachonce.address import (
    PASSWORD,
    AddressOptions,
    LedgerAddress,
    Operation,
    is_from_environment,
    read_settings,
    refuse_plain_secrets,
)
from foreachonce.delta.address import DeltaAddress
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.address import KafkaAddress
from foreachonce.ledger import Ledger
from foreachonce.sql.address import SqlAddress

# SqlAddress takes whatever has a scheme, so it comes last.
_KINDS: tuple[type[LedgerAddress], ...] = (KafkaAddress, DeltaAddress, SqlAddress)
FORMS = " or ".join(", ".join(kind.forms for kind in reversed(_KINDS)).rsplit(", ", 1))
# The settings that Spark itself keeps out of its logs: spark.redaction.regex.
_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")


def address_of(text: str, options: AddressOptions) -> LedgerAddress:
    """The address that a text stands for.

    Raises:
        ConfigurationError: the text is no address; the message does not repeat it, for it may hold a secret.
    """
    for kind in _KINDS:
        address = kind.parse(text, options)
        if address is not None:
            return address
    raise ConfigurationError(f"--ledger {'is not an address' if text else 'is empty'}: it takes {FORMS}.")


@contextmanager
def opened(
    address: LedgerAddress, packages: Sequence[str], conf: Sequence[str], operation: Operation = "read"
) -> Iterator[Ledger]:
    """The ledger at an address; a Spark session runs meanwhile if the operation needs one.

    Raises:
        LedgerError: there is no ledger.
        SinkUnavailable: Spark did not start, or the ledger cannot be reached.
    """
    with ExitStack() as stack:
        if address.needs_spark(operation):
            stack.enter_context(spark_session(address, packages, conf))
        yield address.ledger()


@contextmanager
def spark_session(address: LedgerAddress, packages: Sequence[str], conf: Sequence[str]) -> Iterator[None]:
    """A Spark session with what the ledger needs."""
    from foreachonce.spark.session import running

    refuse_spark_secrets(conf)
    secrets = read_settings("--conf", [pair for pair in conf if is_from_environment(pair)])
    with running(packages, plain_settings(conf), secrets, address.extension):
        yield


def refuse_spark_secrets(conf: Sequence[str]) -> None:
    """Refuse a secret of Spark's that stands on the command line itself."""
    refuse_plain_secrets("--conf", conf, _SECRET.search)


def plain_settings(conf: Sequence[str]) -> dict[str, str]:
    """Spark's settings, but for those from the environment."""
    return read_settings("--conf", [pair for pair in conf if not is_from_environment(pair)])


def require_stream(ledger: Ledger, address: LedgerAddress, stream: str) -> None:
    """Refuse a stream that the ledger does not have: its name may be misspelt.

    Raises:
        ConfigurationError: naming the streams that it has.
    """
    if ledger.head(stream) is None:
        raise ConfigurationError(unknown_stream(ledger, address, stream))


def unknown_stream(ledger: Ledger, address: LedgerAddress, stream: str) -> str:
    """The message for a stream that the ledger does not have."""
    names = ", ".join(map(repr, ledger.streams())) or "none at all"
    return f"the ledger at {address.shown} has no entry of a stream {stream!r}; it has {names}."


LEDGER = "FOREACHONCE_LEDGER"

Stream = Annotated[str, typer.Argument(help="The stream's name.", show_default=False)]
Checkpoint = Annotated[
    str, typer.Option("--checkpoint", metavar="PATH", show_default=False, help="The query's checkpointLocation.")
]
Source = Annotated[
    str | None,
    typer.Option("--kafka", metavar="SERVERS", help="The Kafka that the query reads: expired offsets are then reported."),
]
Address = Annotated[
    str,
    typer.Option(
        "--ledger",
        envvar=LEDGER,
        metavar="ADDRESS",
        show_default=False,
        help=f"{FORMS}; a database's password also in {PASSWORD}.",
    ),
]
Schema = Annotated[str | None, typer.Option("--ledger-schema", help="For a database: the schema of foreachonce_ledger.")]
Prefix = Annotated[str, typer.Option("--ledger-prefix", help="For Kafka: how the names of ledger topics begin.")]
Client = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        metavar="NAME=VALUE",
        help="A setting of the Kafka client, such as sasl.username=app or sasl.password=env:NAME; repeatable.",
    ),
]
Packages = Annotated[
    list[str] | None,
    typer.Option("--packages", metavar="GROUP:ARTIFACT:VERSION", help="A package for Spark, where Spark is needed."),
]
Conf = Annotated[
    list[str] | None,
    typer.Option("--conf", metavar="NAME=VALUE", help="A setting of Spark, where Spark is needed; a value may be env:NAME."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value, and nothing else.")]


# No repr: the address may hold a password.
@dataclass(frozen=True, repr=False)
class Shared:
    """The options of every command: they name the ledger, say how to reach it, and how to print."""

    ledger: Address
    ledger_schema: Schema = None
    ledger_prefix: Prefix = AddressOptions.prefix
    client: Client = None
    packages: Packages = None
    conf: Conf = None
    as_json: Json = False

    @cached_property
    def address(self) -> LedgerAddress:
        """The ledger's address."""
        return address_of(self.ledger, AddressOptions(self.ledger_schema, self.ledger_prefix, self.client or ()))

    @contextmanager
    def opened(self, operation: Operation = "read") -> Iterator[Ledger]:
        """The ledger; a Spark session runs meanwhile if the operation needs one."""
        with opened(self.address, self.packages or (), self.conf or (), operation) as ledger:
            yield ledger


def with_shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give Typer the fields of :class:`Shared` as options, in place of the command's parameter ``shared``."""
    fields = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in signature(Shared, eval_str=True).parameters.values()]
    own = signature(command, eval_str=True)
    before = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own.parameters.values() if each.name != "shared"]

    @wraps(command)
    def run(**given: Any) -> None:
        shared = Shared(**{field.name: given.pop(field.name) for field in fields})
        command(shared=shared, **given)

    run.__signature__ = own.replace(parameters=[*before, *fields])  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {each.name: each.annotation for each in (*before, *fields)}
    return run
