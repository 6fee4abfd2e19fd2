"""Give a service's database role what it needs and no more; run by the owner of the database before each migration.

The owner (the migrations' role) makes the tables; the service's role may read and write rows in them. Default
privileges do that for tables to come, the plain GRANTs for those that are there. Running it again changes nothing.
"""

import os
from pathlib import Path

import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import make_url

STATEMENTS = (
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role}",
)


def main() -> None:
    """Read the URL from the file that the only `…_DATABASE_URL_FILE` names, the role from `APP_ROLE`."""
    (file,) = [path for name, path in os.environ.items() if name.endswith("_DATABASE_URL_FILE")]
    url = make_url(Path(file).read_text().strip())
    connection = psycopg2.connect(
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        password=url.password,
        dbname=url.database,
        connect_timeout=10,
        **{name: str(value) for name, value in url.query.items()},
    )
    names = {
        "database": sql.Identifier(url.database or ""),
        "role": sql.Identifier(os.environ["APP_ROLE"]),
    }
    with connection, connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(sql.SQL(statement).format(**names))
    connection.close()
    print(f"role {os.environ['APP_ROLE']} may read and write rows in database {url.database}")


if __name__ == "__main__":
    main()
