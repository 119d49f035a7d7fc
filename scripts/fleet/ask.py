"""The questions in questions/, asked of a fleet's rows by three engines; none needs a cluster, and two no Spark.

    target/fleet/bin/python scripts/fleet/ask.py OUT/partials [NAME...]     prints what DuckDB says
"""

import pathlib
import sys

QUESTIONS = pathlib.Path(__file__).parent / "questions"


def question(name):
    """The SQL of a question, with the words that explain it."""
    return (QUESTIONS / f"{name}.sql").read_text()


def names():
    return sorted(path.stem for path in QUESTIONS.glob("*.sql"))


def duckdb(partials):
    """How to ask DuckDB: a function from SQL to its table. Days stay texts."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"""
        CREATE VIEW partials AS
        FROM read_parquet('{partials}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)""")
    return connection.sql


def polars(partials):
    """How to ask polars."""
    import polars

    texts = {"service": polars.String, "day": polars.String}
    rows = polars.scan_parquet(f"{partials}/**/*.parquet", hive_partitioning=True, hive_schema=texts)
    return polars.SQLContext(partials=rows, eager=True).execute


def spark(partials):
    """How to ask Spark."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.sources.partitionColumnTypeInference.enabled", "false").getOrCreate()
    session.read.parquet(str(partials)).createOrReplaceTempView("partials")
    return session.sql


def main():
    partials, *chosen = sys.argv[1:]
    ask = duckdb(partials)
    for name in chosen or names():
        table = ask(question(name))
        lines = [table.columns, *(["NULL" if cell is None else str(cell) for cell in row] for row in table.fetchall())]
        widths = [max(map(len, column)) for column in zip(*lines)]
        print(f"\n{name}")
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


if __name__ == "__main__":
    main()
