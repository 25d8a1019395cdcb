"""Database addresses are taken as people have them, and their secrets are shown nowhere."""

from __future__ import annotations

import os
import traceback

import pytest
from sqlalchemy.engine import make_url

from foreachonce.errors import ConfigurationError
from foreachonce.sql.url import parse_url, scrub, shown

SECRET = "hunter2"  # in every address below that holds a password


@pytest.mark.parametrize(("text", "expected"), [
    ("postgresql://app@db/shop", "postgresql+psycopg://app@db/shop"),
    ("postgres://app@db/shop", "postgresql+psycopg://app@db/shop"),
    ("postgresql+psycopg2://app@db/shop", "postgresql+psycopg://app@db/shop"),
    ("postgresql://app:hunter2@db:5433/shop?sslmode=require", "postgresql+psycopg://app:hunter2@db:5433/shop?sslmode=require"),
    ("postgresql:///shop?host=/run/postgresql", "postgresql+psycopg:///shop?host=/run/postgresql"),
    ("jdbc:postgresql://db/shop", "postgresql+psycopg://db/shop"),
    ("jdbc:postgresql://db:5433/shop?user=app&password=hunter2", "postgresql+psycopg://app:hunter2@db:5433/shop"),
    ("jdbc:postgresql://[::1]:5433/shop", "postgresql+psycopg://[::1]:5433/shop"),
    ("jdbc:postgresql://db/shop?user=app&password=p%40%2F%26%20w", "postgresql+psycopg://app:p%40%2F%26%20w@db/shop"),
    ("jdbc:postgresql://db/shop?sslmode=require", "postgresql+psycopg://db/shop?sslmode=require"),
    ("jdbc:postgresql://db/shop?ApplicationName=a&connectTimeout=9",
     "postgresql+psycopg://db/shop?application_name=a&connect_timeout=9"),
    ("postgresql://app@a:5432,b:5433/shop?sslmode=require",
     "postgresql+psycopg://app@/shop?sslmode=require&host=a%2Cb&port=5432%2C5433"),
    ("jdbc:postgresql://a:5432,b/shop?user=app&targetServerType=primary",
     "postgresql+psycopg://app@/shop?target_session_attrs=read-write&host=a%2Cb&port=5432%2C"),
    ("jdbc:postgresql://[::1]:5432,b/shop?targetServerType=preferSecondary",
     "postgresql+psycopg:///shop?target_session_attrs=prefer-standby&host=%3A%3A1%2Cb&port=5432%2C"),
    ("mysql://app:hunter2@db:3307/shop?ssl_ca=/ca.pem", "mysql+pymysql://app:hunter2@db:3307/shop?ssl_ca=/ca.pem"),
    ("mariadb://app@db/shop", "mysql+pymysql://app@db/shop"),
    ("mysql+mysqldb://app@db/shop", "mysql+pymysql://app@db/shop"),
    ("jdbc:mysql://db:3307/shop?user=app&password=hunter2", "mysql+pymysql://app:hunter2@db:3307/shop"),
    ("jdbc:mariadb://db/shop?user=app&password=p%40w", "mysql+pymysql://app:p%40w@db/shop"),
    ("jdbc:mysql://db/shop?connectTimeout=9500", "mysql+pymysql://db/shop?connect_timeout=9"),
    ("jdbc:mysql://db/shop?connectTimeout=1", "mysql+pymysql://db/shop?connect_timeout=1"),
    ("jdbc:mysql://db/shop?rewriteBatchedStatements=true&serverTimezone=UTC&useSSL=false", "mysql+pymysql://db/shop"),
    ("jdbc:mysql://db/shop?useSSL=true", "mysql+pymysql://db/shop?ssl_check_hostname=false"),
    ("jdbc:mysql://db/shop?sslMode=REQUIRED", "mysql+pymysql://db/shop?ssl_check_hostname=false"),
    ("jdbc:mariadb://db/shop?sslMode=verify-ca&serverSslCert=/ca.pem",
     "mysql+pymysql://db/shop?ssl_check_hostname=false&ssl_ca=/ca.pem"),
    ("jdbc:mariadb://db/shop?sslMode=verify-full&serverSslCert=/ca.pem",
     "mysql+pymysql://db/shop?ssl_check_hostname=true&ssl_ca=/ca.pem"),
    ("sqlite:////data/shop.db", "sqlite+pysqlite:////data/shop.db"),
    ("jdbc:sqlite:/data/shop.db", "sqlite+pysqlite:////data/shop.db"),
    ("jdbc:sqlite:////data/shop.db", "sqlite+pysqlite:////data/shop.db"),
])  # fmt: skip
def test_address_is_understood(text, expected):
    assert parse_url(text) == make_url(expected)


@pytest.mark.parametrize("password", ["to@psecret/word?x", "a@b", "p@ss#1", "@", "x@y@z"])
@pytest.mark.parametrize("scheme", ["postgresql://", "mysql://", "jdbc:postgresql://", "jdbc:mariadb://"])
def test_raw_password_with_an_at_is_shown_nowhere(scheme, password):
    with pytest.raises(ConfigurationError, match="not the one before its host") as caught:
        parse_url(f"{scheme}app:{password}@db.example/shop")
    assert "psecret" not in str(caught.value)


@pytest.mark.parametrize("address", [
    "jdbc:postgresql://127.0.0.1:1/shop?user=app&password=abc@psecret",
    "postgresql://db:5432/shop?user=app&password=abc@psecret",
    "jdbc:mariadb://db:3306/shop?user=app&password=abc@psecret",
    "postgresql://db:5432?password=abc@psecret",
])  # fmt: skip
def test_parameter_with_an_at_is_not_taken_for_a_host(address):
    with pytest.raises(ConfigurationError, match="%40") as caught:
        parse_url(address)
    assert "psecret" not in str(caught.value)


def test_at_in_a_parameter_without_a_port_belongs_to_the_parameter():
    url = parse_url("jdbc:postgresql://db/shop?user=app&password=abc@psecret")
    assert (url.host, url.password) == ("db", "abc@psecret")
    assert "psecret" not in shown(url)


@pytest.mark.parametrize("hosts", ["a:5432,b:5433", "[::1]:5432,b", "a,b", "a,[fe80::1]:1,c"])
def test_several_hosts_are_shown(hosts):
    assert shown(parse_url(f"postgresql://app:hunter2@{hosts}/shop")) == f"postgresql://app:***@{hosts}/shop"


@pytest.mark.parametrize("hosts", ["a:x,b", "::1,b", "[::1,b", "a:1:2,b"])
def test_several_hosts_of_which_one_cannot_be_read_are_refused(hosts):
    with pytest.raises(ConfigurationError, match="several hosts"):
        parse_url(f"postgresql://app:hunter2@{hosts}/shop")


@pytest.mark.parametrize("value", [
    "true",
    "TRUE",
    "",
])  # fmt: skip
def test_jdbcs_ssl_checks_the_server_as_pgjdbc_does(value):
    assert parse_url(f"jdbc:postgresql://db/shop?ssl={value}").query["sslmode"] == "verify-full"


def test_jdbcs_sslmode_wins_over_ssl():
    assert parse_url("jdbc:postgresql://db/shop?ssl=true&sslmode=require").query["sslmode"] == "require"


def test_jdbcs_ssl_can_be_switched_off():
    assert "sslmode" not in parse_url("jdbc:postgresql://db/shop?ssl=false").query


def test_jdbcs_current_schema_is_the_search_path():
    assert parse_url("jdbc:postgresql://db/shop?currentSchema=x").query["options"] == "-csearch_path=x"


def test_jdbcs_parameters_of_its_own_driver_are_left_out():
    found = parse_url("jdbc:postgresql://db/shop?reWriteBatchedInserts=true&stringtype=unspecified&loginTimeout=5")
    assert dict(found.query) == {}


def test_all_of_a_jdbc_address_at_once():
    found = parse_url("jdbc:postgresql://db:5433/shop?user=app&password=hunter2&ssl=true&currentSchema=x")
    assert (found.username, found.password, found.host, found.port, found.database) == ("app", SECRET, "db", 5433, "shop")
    assert dict(found.query) == {"sslmode": "verify-full", "options": "-csearch_path=x"}


@pytest.mark.parametrize("text", ["sqlite:///shop.db", "jdbc:sqlite:shop.db", "sqlite:///./shop.db"])
def test_relative_file_means_the_same_file_in_every_process(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_url(text).database == os.path.join(os.getcwd(), "shop.db")


@pytest.mark.parametrize("text", [
    "sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:", "jdbc:sqlite::memory:", "jdbc:sqlite:"
])  # fmt: skip
def test_database_in_memory_is_refused(text):
    with pytest.raises(ConfigurationError, match=r"^url= names an SQLite database in memory.*sqlite:///path"):
        parse_url(text)


def test_forgotten_slash_is_told_as_such():
    with pytest.raises(ConfigurationError, match=r"three slashes, sqlite:///path"):
        parse_url("sqlite://shop.db")


@pytest.mark.parametrize(("text", "name"), [
    ("mssql+pymssql://app:hunter2@db/shop", "mssql"),
    ("oracle://app:hunter2@db/shop", "oracle"),
    ("https://app:hunter2@example.com/", "https"),
])  # fmt: skip
def test_unknown_database_is_named_beside_those_that_work(text, name):
    with pytest.raises(
        ConfigurationError, match=f"^url= names the database '{name}'; .*postgresql, mysql, mariadb and sqlite"
    ):
        parse_url(text)


@pytest.mark.parametrize("parameter", ["sslpassword", "socketFactory", "options"])
def test_unknown_jdbc_parameter_is_named_without_its_value(parameter):
    with pytest.raises(ConfigurationError, match=f"^url= has the JDBC parameter '{parameter}'") as caught:
        parse_url(f"jdbc:postgresql://db/shop?user=app&{parameter}={SECRET}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("parameter", ["allowMultiQueries", "trustCertificateKeyStorePassword", "init_command"])
def test_unknown_parameter_of_connector_j_is_named_without_its_value(parameter):
    with pytest.raises(ConfigurationError, match=f"^url= has the JDBC parameter '{parameter}'.*mysql://") as caught:
        parse_url(f"jdbc:mysql://db/shop?user=app&{parameter}={SECRET}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("mode", ["VERIFY_CA", "VERIFY_IDENTITY", "verify-full"])
def test_connector_j_that_would_check_by_javas_store_is_refused(mode):
    """Without the authority's certificate PyMySQL would check nothing."""
    with pytest.raises(ConfigurationError, match="ssl_ca="):
        parse_url(f"jdbc:mysql://db/shop?sslMode={mode}")


def test_unknown_mode_of_tls_is_refused():
    with pytest.raises(ConfigurationError, match="sslMode="):
        parse_url("jdbc:mysql://db/shop?sslMode=hunter2")


@pytest.mark.parametrize("text", [
    "hunter2",
    "postgresql//app:hunter2@db/shop",
    "postgresql:app:hunter2@db/shop",
    "postgresql://app:hunter2@db:port/shop",
    "postgresql://app@db:hunter2/shop",
    "://app:hunter2@db",
    "host=db user=app password=hunter2",
    "jdbc:postgresql:shop?password=hunter2",
    "jdbc:mysql:replication://app:hunter2@db/shop",
    "jdbc:oracle:thin:app/hunter2@db:1521:x",
    "jdbc:jdbc:postgresql://app:hunter2@db/shop",
])  # fmt: skip
def test_garbage_is_refused_without_showing_it(text):
    with pytest.raises(ConfigurationError, match=r"^url= is not a database address: ") as caught:
        parse_url(text)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "value", [None, "", 5, b"postgresql://app:hunter2@db/shop", make_url("postgresql://app:hunter2@db/shop")]
)
def test_what_is_no_text_is_refused_by_its_type(value):
    with pytest.raises(
        ConfigurationError, match=f"^url= must be .* not {type(value).__name__ if value != '' else 'empty'}"
    ) as caught:
        parse_url(value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [
    ("postgresql://app:hunter2@db:5433/shop?sslpassword=hunter2", "postgresql://app:***@db:5433/shop"),
    ("postgresql://db/shop?user=app&password=hunter2", "postgresql://db/shop"),
    ("jdbc:postgresql://db/shop?user=app&password=hunter2", "postgresql://app:***@db/shop"),
    ("jdbc:mariadb://db/shop?user=app&password=hunter2", "mysql://app:***@db/shop"),
    ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
])  # fmt: skip
def test_address_is_shown_without_its_secrets(text, expected):
    assert shown(parse_url(text)) == expected


def test_password_is_taken_out_of_a_drivers_text():
    url = parse_url("postgresql://app:hunter2@db/shop")
    assert scrub(" cannot log in as app:hunter2 (hunter2)\n", url) == "cannot log in as app:*** (***)"


@pytest.mark.parametrize("parameter", ["password", "sslpassword"])
def test_passwords_among_the_parameters_are_taken_out_too(parameter):
    url = parse_url(f"postgresql://app:other@db/shop?{parameter}=hunter2&sslmode=require")
    assert scrub("other hunter2 require", url) == "*** *** require"


@pytest.mark.parametrize("form", [
    "p w/d@",
    "p+w%2Fd%40",
    "p%20w%2Fd%40",
    "p w%2Fd%40",
    "p%20w%2fd%40",
])  # fmt: skip
def test_encoded_password_is_taken_out_too(form):
    assert scrub(f"refused: {form}.", parse_url("postgresql://app:p%20w%2Fd%40@db/shop")) == "refused: ***."


def test_password_that_was_given_twice_is_taken_out():
    url = parse_url("postgresql://app@db/shop?sslpassword=hunter2&sslpassword=other")
    assert scrub("hunter2 other", url) == "*** ***"


@pytest.mark.parametrize("text", ["postgresql://app@db/shop", "postgresql://app:@db/shop", "sqlite:////data/shop.db"])
def test_text_stays_as_it_is_where_there_is_no_password(text):
    assert scrub("relation x does not exist", parse_url(text)) == "relation x does not exist"


def test_jdbc_path_is_absolute_however_many_slashes_it_has():
    assert {parse_url(f"jdbc:sqlite:{slashes}data/x.db").database for slashes in ("/", "//", "///")} == {"/data/x.db"}
