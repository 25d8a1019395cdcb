"""Which columns of MariaDB and MySQL hold Spark's values; what would lose one is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from foreachonce.sql.databases.base import SqlType
from foreachonce.sql.types import INTEGER_BYTES, NESTED, decimal_holds, digits, name_of

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

_SCALARS: dict[str, SqlType] = {
    "tinyint": mysql.TINYINT(),
    "smallint": mysql.SMALLINT(),
    "int": mysql.INTEGER(),
    "bigint": mysql.BIGINT(),
    # A FLOAT is shown with six digits: 16777215 comes back as 16777200.
    "float": mysql.DOUBLE(),
    "double": mysql.DOUBLE(),
    "boolean": mysql.TINYINT(display_width=1),
    "string": mysql.LONGTEXT(),
    "binary": mysql.LONGBLOB(),
    "date": sa.Date(),
    "timestamp": mysql.DATETIME(fsp=6),
    "timestamp_ntz": mysql.DATETIME(fsp=6),
}
_DECIMAL_SCALE = 30
# Of the names that the server gives its types; each is also a class of SQLAlchemy's.
_TEXTS = (mysql.VARCHAR, mysql.TINYTEXT, sa.Text, mysql.MEDIUMTEXT, mysql.LONGTEXT, sa.JSON)
_BLOBS = (sa.VARBINARY, sa.BLOB, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB)
_KEY_LENGTH = 255


def column_type(data_type: DataType) -> SqlType | None:
    """The type of a new column; None where none loses nothing."""
    name = name_of(data_type)
    if name == "decimal":
        precision, scale = sum(digits(data_type)), digits(data_type)[1]
        return None if scale > _DECIMAL_SCALE else mysql.DECIMAL(precision, scale)
    return mysql.JSON() if name in NESTED else _SCALARS.get(name)


def key_type(column: SqlType) -> SqlType:
    """The same for a new column of a key: a long text can be none."""
    if isinstance(column, mysql.LONGTEXT):
        return mysql.VARCHAR(_KEY_LENGTH)
    return mysql.VARBINARY(_KEY_LENGTH) if isinstance(column, mysql.LONGBLOB) else column


def holds(column: SqlType, data_type: DataType) -> bool:
    """Whether an existing column keeps every value that the server takes; what is too long is refused by the load."""
    name = name_of(data_type)
    if getattr(column, "unsigned", False):
        return False
    if name in INTEGER_BYTES or name == "decimal":
        return _holds_exact(column, data_type)
    if name in ("float", "double"):
        # FLOAT(7,2) and DOUBLE(7,2) round.
        is_rounding = getattr(column, "scale", None) is not None
        wide = sa.Float if name == "float" else mysql.DOUBLE
        return isinstance(column, wide) and not is_rounding
    if name in ("timestamp", "timestamp_ntz"):
        # A TIMESTAMP ends in 2038, and LOAD DATA makes a NULL the present time where the column is NOT NULL.
        return isinstance(column, mysql.DATETIME) and column.fsp == 6
    if name == "string" or name in NESTED:
        # CHAR drops blanks at the end; ENUM and SET do not tell upper case from lower.
        return isinstance(column, _TEXTS)
    own: dict[str, type | tuple[type, ...]] = {"boolean": mysql.TINYINT, "binary": _BLOBS, "date": sa.Date}
    return name in own and isinstance(column, own[name])


def _holds_exact(column: SqlType, data_type: DataType) -> bool:
    if isinstance(column, sa.Integer):
        return name_of(data_type) in INTEGER_BYTES and INTEGER_BYTES[name_of(data_type)] <= _bytes(column)
    return decimal_holds(column, data_type)


def _bytes(column: sa.Integer) -> int:
    widths = ((mysql.TINYINT, 1), (mysql.MEDIUMINT, 3), (sa.SmallInteger, 2), (sa.BigInteger, 8))
    return next((width for kind, width in widths if isinstance(column, kind)), 4)
