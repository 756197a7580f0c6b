"""What the two psycopg scripts share."""
import psycopg


def connect(where, **options):
    return psycopg.connect(host=where.host, port=where.port, user=where.user, dbname=where.database, connect_timeout=20,
                           **{"autocommit": True, **options})


def value(connection, query, *parameters, **options):
    return connection.execute(query, parameters or None, **options).fetchone()[0]


def make_schema(where, schema):
    with connect(where) as c:
        c.execute(f"""
            drop schema if exists {schema} cascade;
            create schema {schema};
            create type {schema}.pair as (a int, b text);
            create type {schema}.mood as enum ('sad', 'ok');
            create table {schema}.item (id int primary key, name text, at timestamptz default now());
            create table {schema}.copied (id int, name text, amount numeric)""")
