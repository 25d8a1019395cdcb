"""The options that commands share, so that each means the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from foreachonce.address import PASSWORD, AddressOptions, LedgerAddress, Operation
from foreachonce.cli.opening import FORMS, address_of, opened
from foreachonce.ledger import Ledger

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
