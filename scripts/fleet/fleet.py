"""A fleet's traces on Spark: `analyze partial` on every one of them, merged.

    spark-submit scripts/fleet/fleet.py --analyze out/analyze TRACES... -o OUT

TRACES are files, directories or globs on any file system that Spark reads. OUT is replaced as a whole:

    OUT/partials/service=S/day=D/   the rows of all traces, as `analyze partial` gives them
    OUT/answers/NAME/               the fleet's answers, a table each: see README.md beside this file

See `--help`, and the README for YARN, Kubernetes and a standalone cluster.
"""

import argparse
import re
import sys

from pyspark.sql import SparkSession

import answers
import hadoop
import traces


def arguments():
    parser = argparse.ArgumentParser(prog="fleet.py", description="Analyses a fleet's traces on Spark.")
    parser.add_argument("traces", nargs="+", help="files, directories and globs; of directories all *.ljt, however deep")
    parser.add_argument("-o", "--output", required=True, help="the directory to write to; it is replaced")
    parser.add_argument("--analyze", default="analyze",
                        help="the program, which is sent to the executors; local:/PATH is one that every node has")
    parser.add_argument("--pattern", help="a regular expression that finds (?P<service>), (?P<node>) and (?P<build>) in paths")
    parser.add_argument("--seconds", type=int, default=600, help="the most time for one trace [default: 600]")
    parser.add_argument("--memory", type=int, default=2048, help="the most MiB for one trace [default: 2048]")
    said = parser.parse_args()
    if said.pattern and not set(re.compile(said.pattern).groupindex) <= {"service", "node", "build"}:
        parser.error("--pattern: the names of its groups are service, node and build")
    return said


def find(spark, paths):
    """Length of every trace by its path. The driver lists, and nobody opens a file."""
    context, found = spark.sparkContext, {}
    for path in map(context._jvm.org.apache.hadoop.fs.Path, paths):
        system = path.getFileSystem(context._jsc.hadoopConfiguration())
        for start in system.globStatus(path) or []:
            files = system.listFiles(start.getPath(), True)
            while files.hasNext():
                file = files.next()
                name = file.getPath().toString()
                if start.isFile() or name.endswith(".ljt"):
                    found[name] = file.getLen()
    return list(found.items())


def configuration(spark):
    """That of the driver's file systems, connectors and credentials included, as XML."""
    context = spark.sparkContext
    writer = context._jvm.java.io.StringWriter()
    context._jsc.hadoopConfiguration().writeXml(writer)
    return writer.toString()


def analyse(spark, said, files):
    """The rows of all traces. Only here is a trace opened, and `analyze` run."""
    context = spark.sparkContext
    # The modules travel as well, where they were not sent with --py-files.
    for module in (hadoop, traces):
        context.addPyFile(module.__file__)
    analyze = re.sub("^local:/*", "/", said.analyze)
    if analyze == said.analyze:
        context.addFile(analyze)
        analyze = analyze.rpartition("/")[2]
    task = traces.Task(analyze, said.seconds, said.memory << 20, said.pattern, configuration(spark))
    task = context.broadcast(task)
    # Some partitions for each processor, and where there are many traces, some traces in each.
    partitions = traces.spread(files, most=max(1, min(8, len(files) // (4 * context.defaultParallelism))))
    lines = context.parallelize(partitions, len(partitions)).flatMap(
        lambda paths: (line for path in paths for line in traces.rows(task.value, path))
    )
    return spark.read.schema(traces.SCHEMA).option("mode", "FAILFAST").json(lines)


def delete(spark, path):
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(path)
    path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).delete(path, True)


def main():
    said = arguments()
    spark = SparkSession.builder.appName("ljscope fleet").getOrCreate()
    spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")  # a day is a text, and so is a build
    spark.conf.set("spark.sql.sources.partitionOverwriteMode", "static")
    spark.conf.set("spark.sql.parquet.compression.codec", "zstd")
    files = find(spark, said.traces)
    if not files:
        sys.exit("fleet: no traces found")
    print(f"fleet: {len(files)} files, {sum(length for _, length in files)} bytes", flush=True)

    # Kept until the end: what comes later reads it again, and no executor that is lost makes a trace be analysed twice.
    analysed = f"{said.output}/analysed"
    analyse(spark, said, files).write.mode("overwrite").parquet(analysed)
    rows = spark.read.parquet(analysed)
    rows.createOrReplaceTempView("analysed")
    copies = spark.sql(answers.COPIES)
    kept = rows.join(copies.select("trace"), "trace", "left_anti").select(rows.columns)
    partials = f"{said.output}/partials"
    kept.hint("rebalance", "service", "day").write.mode("overwrite").partitionBy("service", "day").parquet(partials)

    spark.read.schema(rows.schema).parquet(partials).createOrReplaceTempView("partials")
    tables = {"copies": copies}
    for name, query in answers.answers().items():
        tables[name] = spark.sql(query)
        tables[name].createOrReplaceTempView(name)
    for name, table in tables.items():
        if name not in answers.VIEWS:
            table.coalesce(1).write.mode("overwrite").parquet(f"{said.output}/answers/{name}")
    delete(spark, analysed)

    failed = spark.read.parquet(f"{said.output}/answers/failed").where("outcome = 'failed'")
    for row in failed.orderBy("trace").limit(10).collect():
        print(f"fleet: failed: {row.trace}: {row.reason}")
    print(f"fleet: {failed.count()} traces failed; all others are in {partials}")
    spark.stop()


if __name__ == "__main__":
    main()
