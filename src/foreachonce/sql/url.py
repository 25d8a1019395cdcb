"""Database addresses, as SQLAlchemy and JDBC write them, and the secrets in them. Pure."""

from __future__ import annotations

import os
import re
from itertools import zip_longest

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from foreachonce.errors import ConfigurationError, scrub_texts

DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "sqlite": "sqlite+pysqlite",
    # SQLAlchemy asks the server which of the two it is.
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}

# pgjdbc's names of parameters and libpq's; None where COPY has no use for it.
# Source: https://jdbc.postgresql.org/documentation/use/ and libpq's "Parameter Key Words".
PGJDBC = {
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "reWriteBatchedInserts": None,
    "stringtype": None,
    "prepareThreshold": None,
    "defaultRowFetchSize": None,
    "tcpKeepAlive": None,
    "loginTimeout": None,
    "socketTimeout": None,
}
# Which of several servers is taken: pgjdbc's targetServerType, and libpq's target_session_attrs.
_SERVERS = {
    "any": "any",
    "primary": "read-write",
    "master": "read-write",
    "secondary": "standby",
    "slave": "standby",
    "preferSecondary": "prefer-standby",
    "preferSlave": "prefer-standby",
    "preferPrimary": "any",
}
# Several hosts with commas between, which libpq and pgjdbc take; SQLAlchemy has a parameter for each of them.
_HOSTS = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+\w+)?://)(?P<user>[^@]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>.*)", re.DOTALL
)
# What stands before an @ that belongs to a parameter: host, port, database and the parameter's name.
_PARAMETER = re.compile(r"[^/?:]*:\d*(?:/[^?]*)?\?\w+=", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>\d*))?")
_NO_BRACKETS = str.maketrans("", "", "[]")
# The parameters of MySQL's and MariaDB's Connector/J that only concern Java; foreachonce sets its own sessions up.
# Source: Connector/J's "Configuration Properties", MariaDB Connector/J's "Optional URL parameters".
_LEFT_OUT = {
    "allowLoadLocalInfile",
    "allowLocalInfile",
    "allowPublicKeyRetrieval",
    "autoReconnect",
    "cachePrepStmts",
    "characterEncoding",
    "connectionTimeZone",
    "prepStmtCacheSize",
    "prepStmtCacheSqlLimit",
    "rewriteBatchedStatements",
    "serverTimezone",
    "socketTimeout",
    "tcpKeepAlive",
    "tinyInt1isBit",
    "useBulkStmts",
    "useServerPrepStmts",
    "useUnicode",
    "zeroDateTimeBehavior",
}
# PyMySQL checks the server's certificate where ssl_ca names an authority; else it only encrypts.
_TLS = {
    "disable": {},
    "disabled": {},
    "preferred": {},
    "trust": {"ssl_check_hostname": "false"},
    "required": {"ssl_check_hostname": "false"},
    "verify-ca": {"ssl_check_hostname": "false"},
    "verify-full": {"ssl_check_hostname": "true"},
    "verify-identity": {"ssl_check_hostname": "true"},
}


def parse_url(text: object, *, generic: bool = False) -> URL:
    """Parse an address of ``postgresql:``, ``postgres:``, ``mysql:``, ``mariadb:`` or ``sqlite:``, or any after ``jdbc:``.

    Args:
        text: the address.
        generic: accept any other address that SQLAlchemy knows.

    Raises:
        ConfigurationError: it is not a text, not an address, or its database is not supported. Never shows a secret.
    """
    if not isinstance(text, str) or not text:
        given = "empty" if text == "" else type(text).__name__
        raise ConfigurationError(f"url= must be a database address such as postgresql://user@host/db, not {given}.")
    is_jdbc = text.startswith("jdbc:")
    plain = _plain(text.removeprefix("jdbc:")) if is_jdbc else text
    _refuse_second_at(plain)
    try:
        url = make_url(_each_host(plain))
    except (ArgumentError, ValueError) as error:
        # The parser's own message would repeat the text, and with it the password.
        raise ConfigurationError(f"url= is not a database address: {_unreadable(error)}.") from None
    name = url.drivername.split("+")[0]
    if name not in DRIVERS:
        return _of_any(url, name, is_jdbc=is_jdbc, generic=generic)
    url = url.set(drivername=DRIVERS[name])
    if name == "sqlite":
        return _of_sqlite(url, generic=generic)
    url = _several_hosts(url)
    if not is_jdbc:
        return url
    return _from_jdbc(url) if name == "postgresql" else _from_connector(url)


def _refuse_second_at(text: str) -> None:
    """The part of a password behind an @ would be taken for the host: shown, and asked of the name service."""
    authority, at, rest = text.partition("://")[2].partition("@")
    if at and (("@" in rest and ":" in authority) or _PARAMETER.match(authority)):
        raise ConfigurationError(
            "url= has an @ that is not the one before its host. If it belongs to the password, write it as %40, and the "
            'password\'s other special characters percent-encoded too: urllib.parse.quote(password, safe="").'
        )


def _each_host(text: str) -> str:
    several = _HOSTS.fullmatch(text)
    if several is None:
        return text
    hosts = "&".join(f"host={host}" for host in several["hosts"].split(","))
    rest, _, query = several["rest"].partition("?")
    return f"{several['scheme']}{several['user'] or ''}{rest or '/'}?{'&'.join(filter(None, (query, hosts)))}"


def _several_hosts(url: URL) -> URL:
    """``host=a:1&host=[::1]:2`` as libpq takes it, ``host=a,::1&port=1,2``: SQLAlchemy would take an IPv6 host apart."""
    hosts = url.query.get("host", ())
    if not isinstance(hosts, tuple) or not hosts:
        return url
    parts = [_HOST.fullmatch(host) for host in hosts]
    if None in parts or "port" in url.query:
        raise ConfigurationError("url= has several hosts, and one is not HOST, HOST:PORT or [IPV6]:PORT.")
    found = [part for part in parts if part is not None]
    names, ports = (",".join(part[of] or "" for part in found) for of in ("host", "port"))
    return url.update_query_dict({"host": names.translate(_NO_BRACKETS)} | ({"port": ports} if ports.strip(",") else {}))


def _unreadable(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "its port is no number, or a password's special characters are not percent-encoded"
    return (
        "it takes postgresql://user@host:port/database, mysql://user@host:port/database or sqlite:///path, and the special "
        "characters of a password percent-encoded"
    )


def _of_sqlite(url: URL, *, generic: bool) -> URL:
    if generic:
        raise ConfigurationError("spark_jdbc= is not for SQLite, which has one writer at a time; leave it out.")
    if url.host is not None:
        raise ConfigurationError("url= has a host, and SQLite has none: a path takes three slashes, sqlite:///path.")
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError("url= names an SQLite database in memory; exactly once needs a file: sqlite:///path.")
    # A relative path would mean another file in a process that was started elsewhere.
    return url.set(database=os.path.abspath(str(url.database)))


def _of_any(url: URL, name: str, *, is_jdbc: bool, generic: bool) -> URL:
    if not generic:
        raise ConfigurationError(
            f"url= names the database {name!r}; those with a way of their own are postgresql, mysql, mariadb "
            "and sqlite. Any other that both SQLAlchemy and a JDBC driver know is written by Spark's JDBC writer: give its "
            "options as spark_jdbc=."
        )
    if is_jdbc:
        raise ConfigurationError(f"url= must be the address of {name!r} as SQLAlchemy takes it; spark_jdbc= has JDBC's.")
    try:
        url.get_dialect()
    except (NoSuchModuleError, ImportError):
        raise ConfigurationError(
            f"url= names the database {name!r}, for which SQLAlchemy has no dialect here: install the package that has it, "
            "or is one of postgresql, mysql, mariadb and sqlite spelt wrong?"
        ) from None
    return url


def _plain(text: str) -> str:
    """``sqlite:path`` is how JDBC spells ``sqlite:///path``; a bare ``ssl``, which no URL parser keeps, is ``ssl=true``."""
    text = re.sub(r"([?&])ssl=?(?=&|$)", r"\1ssl=true", text)
    rest = text.removeprefix("sqlite:")
    if rest == text:
        return text
    # Xerial's driver opens what follows as a path; to SQLAlchemy ///path would be a relative one.
    return f"sqlite:///{'/' + rest.lstrip('/') if rest.startswith('/') else rest}"


def _from_jdbc(url: URL) -> URL:
    query = dict(url.query)
    user, password = query.pop("user", url.username), query.pop("password", url.password)
    # pgjdbc's ssl means TLS with the server's certificate checked.
    if str(_one(query.pop("ssl", "false"))).lower() == "true":
        query.setdefault("sslmode", "verify-full")
    schema = query.pop("currentSchema", None)
    wanted = _one(query.pop("targetServerType", None))
    several = {name: value for name, value in query.items() if name in ("host", "port")}
    query = {name: value for name, value in query.items() if name not in several}
    if wanted is not None and wanted not in _SERVERS:
        raise ConfigurationError(f"url= has a targetServerType= that is none of {', '.join(_SERVERS)}.")
    unknown = sorted(query.keys() - PGJDBC.keys())
    if unknown:
        raise ConfigurationError(
            f"url= has the JDBC parameter {unknown[0]!r}, which has no counterpart here; write the address as "
            "postgresql://…, with libpq's parameters."
        )
    known = {new: query[old] for old, new in PGJDBC.items() if new is not None and old in query}
    known |= {} if wanted is None else {"target_session_attrs": _SERVERS[wanted]}
    known |= several
    if schema is not None:
        known["options"] = f"-csearch_path={schema}"
    return url.set(username=_one(user), password=_one(password), query=known)


def _from_connector(url: URL) -> URL:
    query = {name: str(_one(value)) for name, value in url.query.items()}
    user, password = query.pop("user", url.username), query.pop("password", url.password)
    return url.set(username=user, password=password, query=_connector_query(query))


def _connector_query(query: dict[str, str]) -> dict[str, str]:
    """PyMySQL's parameters, as SQLAlchemy takes them in an address.

    Raises:
        ConfigurationError: a parameter has no counterpart; names it, never its value.
    """
    given = {name: value for name, value in query.items() if name not in _LEFT_OUT}
    parameters = _tls(given)
    milliseconds = given.pop("connectTimeout", "")
    if milliseconds.isdigit() and milliseconds != "0":
        parameters["connect_timeout"] = str(max(1, int(milliseconds) // 1000))
    if given:
        raise ConfigurationError(
            f"url= has the JDBC parameter {min(given)!r}, which has no counterpart here; write the address as mysql://…, "
            "with PyMySQL's parameters."
        )
    return parameters


def _tls(given: dict[str, str]) -> dict[str, str]:
    """Take the parameters about TLS out of ``given``."""
    flags = [given.pop(name, "false").lower() == "true" for name in ("useSSL", "useSsl", "requireSSL")]
    mode = given.pop("sslMode", "required" if any(flags) else "disabled").lower().replace("_", "-")
    authority = given.pop("serverSslCert", None)
    if mode not in _TLS:
        raise ConfigurationError(f"url= has an sslMode= that is none of {', '.join(_TLS)}.")
    if mode.startswith("verify") and authority is None:
        raise ConfigurationError(
            f"url= has sslMode={mode}, which needs the authority's certificate: write the address as "
            "mysql://…?ssl_ca=/path/to/ca.pem."
        )
    return _TLS[mode] | ({"ssl_ca": authority} if authority is not None and mode.startswith("verify") else {})


def _one(value: str | tuple[str, ...] | None) -> str | None:
    return value[-1] if isinstance(value, tuple) else value


def shown(url: URL) -> str:
    """The address as messages show it: without password, parameters and driver."""
    plain = url.set(drivername=url.drivername.split("+")[0], query={}).render_as_string(hide_password=True)
    hosts, ports = str(_one(url.query.get("host")) or "").split(","), str(_one(url.query.get("port")) or "").split(",")
    if len(hosts) == 1:
        return plain
    each = ",".join(_authority(host, port) for host, port in zip_longest(hosts, ports, fillvalue=""))
    return re.sub("://[^/]*", lambda match: match[0] + each, plain, count=1)


def _authority(host: str, port: str) -> str:
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def scrub(text: str, url: URL) -> str:
    """Remove the address's secrets from a driver's text, however they are encoded there."""
    secrets = [url.password, *(value for key, value in url.query.items() if "password" in key.lower())]
    given = [part for secret in secrets for part in (secret if isinstance(secret, tuple) else (secret,)) if part]
    return scrub_texts(text, given)
