"""The options that commands share, so that each means the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

LEDGER = "FOREACHONCE_LEDGER"

Stream = Annotated[str, typer.Argument(help="The stream's name.", show_default=False)]
Address = Annotated[
    str,
    typer.Option(
        "--ledger",
        envvar=LEDGER,
        metavar="ADDRESS",
        show_default=False,
        help="postgresql://user@host/db, mariadb://…, sqlite:///path, delta:/path, delta:catalog.table or "
        "kafka://host:port,…; a database's password also in FOREACHONCE_LEDGER_PASSWORD.",
    ),
]
Schema = Annotated[str | None, typer.Option("--ledger-schema", help="A database's: the schema of foreachonce_ledger.")]
Prefix = Annotated[str, typer.Option("--ledger-prefix", help="Kafka's: how the names of ledger topics begin.")]
Client = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        metavar="NAME=VALUE",
        help="A setting of the Kafka client, as sasl.username=app or sasl.password=env:NAME; repeat it for others.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value, and nothing else.")]
Checkpoint = Annotated[
    str, typer.Option("--checkpoint", metavar="PATH", show_default=False, help="The query's checkpointLocation.")
]
Source = Annotated[
    str | None,
    typer.Option("--kafka", metavar="SERVERS", help="The Kafka that the query reads: expired offsets are then reported."),
]
Packages = Annotated[
    list[str] | None,
    typer.Option("--packages", metavar="GROUP:ARTIFACT:VERSION", help="A package for Spark, where Spark is needed."),
]
Conf = Annotated[
    list[str] | None,
    typer.Option("--conf", metavar="NAME=VALUE", help="A setting of Spark, where Spark is needed; a value may be env:NAME."),
]
