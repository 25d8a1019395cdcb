"""What the JDBC drivers of MySQL and MariaDB call a parameter, and what PyMySQL does. Pure.

Source: Connector/J's "Configuration Properties", MariaDB Connector/J's "Optional URL parameters".
"""

from __future__ import annotations

from foreachonce.errors import ConfigurationError

# About statements, pools and time zones of Java's; the session's are set by foreachonce.
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
# With a certificate to check by, PyMySQL checks; without one it only encrypts.
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


def from_connector(query: dict[str, str]) -> dict[str, str]:
    """PyMySQL's parameters, as SQLAlchemy takes them in an address.

    Raises:
        ConfigurationError: a parameter has no counterpart; names it, never its value.
    """
    given = {name: value for name, value in query.items() if name not in _LEFT_OUT}
    found = _tls(given)
    milliseconds = given.pop("connectTimeout", "")
    if milliseconds.isdigit() and milliseconds != "0":
        found["connect_timeout"] = str(max(1, int(milliseconds) // 1000))
    if given:
        raise ConfigurationError(
            f"url= has the JDBC parameter {min(given)!r}, which has no counterpart here; write the address as mysql://…, "
            "with PyMySQL's parameters."
        )
    return found


def _tls(given: dict[str, str]) -> dict[str, str]:
    """Take the parameters about TLS out of ``given``."""
    asked = [given.pop(name, "false").lower() == "true" for name in ("useSSL", "useSsl", "requireSSL")]
    mode = given.pop("sslMode", "required" if any(asked) else "disabled").lower().replace("_", "-")
    authority = given.pop("serverSslCert", None)
    if mode not in _TLS:
        raise ConfigurationError(f"url= has an sslMode= that is none of {', '.join(_TLS)}.")
    if mode.startswith("verify") and authority is None:
        raise ConfigurationError(
            f"url= has sslMode={mode}, which needs the authority's certificate: write the address as "
            "mysql://…?ssl_ca=/path/to/ca.pem."
        )
    return _TLS[mode] | ({"ssl_ca": authority} if authority is not None and mode.startswith("verify") else {})
