"""The fleet's answers, as Spark SQL over the rows that `analyze partial` gives: one view, `partials`.

What is asked for each VM is exact, from its own rows; quantiles over many come from the counts by class, and are the
lower end of their class, at most an eighth below.
"""

# Copies of a recording, of which the largest is kept, as `analyze batch` does it.
COPIES = """
WITH traces AS (
    SELECT recording, trace, SUM(CASE WHEN metric = 'file_bytes' THEN value ELSE 0 END) AS bytes
    FROM analysed GROUP BY recording, trace
), ranked AS (
    SELECT trace,
        FIRST_VALUE(trace) OVER (PARTITION BY recording ORDER BY bytes DESC, trace) AS of
    FROM traces
)
SELECT trace, of FROM ranked WHERE trace <> of ORDER BY trace
"""

TOTALS = """
SELECT service, build, day,
    COUNT(DISTINCT CASE WHEN metric <> 'traces_failed' THEN node END) AS nodes,
    {sums},
    MIN(CASE WHEN first_ns > 0 THEN first_ns END) AS first_ns, MAX(last_ns) AS last_ns
FROM partials GROUP BY service, build, day ORDER BY service, day, build
"""
SUMMED = """
traces_verified traces_consistent traces_incomplete traces_contradicted traces_failed
file_bytes duration_us trace_calls calls_replayed calls_lost chunks_compared chunks_differing
processes pauses paused_us elapsed_us cost_us resident_bytes vms heaps
used_bytes free_bytes segments_bytes direct_bytes overhead_bytes gc_total growth_bytes asked_count asked_bytes observed_us
"""

# Of the classes of each figure, the first by which so many of a hundred are counted.
QUANTILES = """
WITH classes AS (
    SELECT service, build, day, metric, bucket, SUM(value) AS n FROM partials
    WHERE metric LIKE 'vms_by_%' OR metric LIKE 'processes_by_%'
    GROUP BY service, build, day, metric, bucket
), counted AS (
    SELECT *,
        SUM(n) OVER (PARTITION BY service, build, day, metric ORDER BY bucket) AS up_to,
        SUM(n) OVER (PARTITION BY service, build, day, metric) AS of
    FROM classes
)
SELECT service, build, day, metric, MAX(of) AS n,
    MIN(CASE WHEN up_to * 100 >= of * 50 THEN bucket END) AS p50,
    MIN(CASE WHEN up_to * 100 >= of * 90 THEN bucket END) AS p90,
    MIN(CASE WHEN up_to * 100 >= of * 99 THEN bucket END) AS p99,
    MAX(bucket) AS most
FROM counted GROUP BY service, build, day, metric ORDER BY service, metric, day, build
"""

# The heaps that are known, one row each.
HEAPS = """
SELECT service, build, program, role, label, luajit, node, trace, pid, vm,
    SUM(CASE WHEN metric = 'used_bytes' THEN value ELSE 0 END) AS used_bytes,
    SUM(CASE WHEN metric = 'free_bytes' THEN value ELSE 0 END) AS free_bytes,
    SUM(CASE WHEN metric = 'segments_bytes' THEN value ELSE 0 END) AS segments_bytes,
    SUM(CASE WHEN metric = 'direct_bytes' THEN value ELSE 0 END) AS direct_bytes,
    SUM(CASE WHEN metric = 'gc_total' THEN value ELSE 0 END) AS gc_total
FROM partials WHERE vm > 0
GROUP BY service, build, program, role, label, luajit, node, trace, pid, vm
HAVING SUM(CASE WHEN metric = 'heaps' THEN value ELSE 0 END) > 0
"""

# Nodes as if each had one heap: the mean one.
NODES = """
SELECT service, build, node, SUM(used_bytes) DIV COUNT(*) AS used_bytes, SUM(free_bytes) DIV COUNT(*) AS free_bytes,
    SUM(segments_bytes) DIV COUNT(*) AS segments_bytes, SUM(direct_bytes) DIV COUNT(*) AS direct_bytes,
    SUM(gc_total) DIV COUNT(*) AS gc_total
FROM heaps WHERE node <> '' GROUP BY service, build, node
"""

# The figures that are compared, as rows.
FIGURES = """
SELECT *, STACK(5, 'used_bytes', used_bytes,
    'free_ppm', CAST(LEAST(free_bytes * 1000000D / GREATEST(segments_bytes, 1), 9e18D) AS BIGINT),
    'segments_bytes', segments_bytes, 'direct_bytes', direct_bytes, 'gc_total', gc_total) AS (measure, value)
FROM {of}
"""

# As `analyze batch` judges, and the page of the fleet: so many median absolute deviations from the median of at least
# four peers; the deviation is no less than 2 % of their median segments and 16 KiB, or a hundredth of a share
# (metrics/batch/outliers.rs).
OUTLIERS = """
WITH figures AS ({figures}), middles AS (
    SELECT *, COUNT(*) OVER peers AS peers,
        CAST(MEDIAN(value) OVER peers AS BIGINT) AS median, CAST(MEDIAN(segments_bytes) OVER peers AS BIGINT) AS segments
    FROM figures WINDOW peers AS (PARTITION BY {peers}, measure)
), spreads AS (
    SELECT *, CAST(MEDIAN(ABS(value - median)) OVER peers AS BIGINT) AS deviation
    FROM middles WINDOW peers AS (PARTITION BY {peers}, measure)
), judged AS (
    SELECT *, (value - median) / GREATEST(deviation * 1.4826D,
        CASE WHEN measure = 'free_ppm' THEN 10000D ELSE GREATEST(segments * 0.02D, 16384D) END) AS deviations
    FROM spreads
)
SELECT {peers}, {who}, measure, value, median, deviation, peers, deviations
FROM judged WHERE peers >= 4 AND ABS(deviations) > 3.5
ORDER BY ABS(deviations) DESC, measure, {peers}, {who}
"""

# Builds of a service follow each other by when they were first seen. A build regresses where its median heap has a tenth
# more than that of the build before, of four heaps each at least, and is the larger one in three of four pairs of heaps
# (Mann and Whitney's statistic, from the sum of ranks; metrics/partial/fleet/builds.rs).
REGRESSIONS = """
WITH figures AS ({figures}), seen AS (
    SELECT service, build, MIN(first_ns) AS since FROM partials WHERE build <> 'unknown' AND first_ns > 0
    GROUP BY service, build
), steps AS (
    SELECT service, build, LAG(build) OVER (PARTITION BY service ORDER BY since, build) AS build_before FROM seen
), both AS (
    SELECT steps.*, measure, value, figures.build = steps.build AS newer
    FROM steps JOIN figures ON figures.service = steps.service AND figures.build IN (steps.build, build_before)
), ranked AS (
    SELECT *, RANK() OVER (PARTITION BY service, build, measure ORDER BY value)
        + (COUNT(*) OVER (PARTITION BY service, build, measure, value) - 1) / 2D AS place
    FROM both
), counted AS (
    SELECT service, build, build_before, measure, COUNT_IF(newer) AS heaps, COUNT_IF(NOT newer) AS heaps_before,
        CAST(MEDIAN(CASE WHEN newer THEN value END) AS BIGINT) AS median,
        CAST(MEDIAN(CASE WHEN NOT newer THEN value END) AS BIGINT) AS median_before,
        SUM(CASE WHEN newer THEN place END) AS places
    FROM ranked GROUP BY service, build, build_before, measure
), judged AS (
    SELECT *, (places - heaps * (heaps + 1) / 2D) / heaps / heaps_before AS larger
    FROM counted WHERE heaps >= 4 AND heaps_before >= 4
)
SELECT service, build, build_before, measure, median, median_before, heaps, heaps_before, larger
FROM judged WHERE (median - median_before) * 10 >= GREATEST(median_before, 1) AND larger >= 0.75
ORDER BY median / GREATEST(median_before, 1) DESC, service, build, measure
"""

# Traces that are not wholly to be trusted, the worst first.
FAILED = """
SELECT trace, REPLACE(metric, 'traces_', '') AS outcome, name AS reason, service, node, build, day
FROM partials WHERE metric IN ('traces_failed', 'traces_contradicted', 'traces_incomplete')
ORDER BY CASE metric WHEN 'traces_failed' THEN 1 WHEN 'traces_contradicted' THEN 2 ELSE 3 END, trace
"""


# Not written: what others ask.
VIEWS = "heaps", "nodes"


def answers():
    """Name and query of each table, in an order in which they can be asked."""
    sums = ",\n    ".join(f"SUM(CASE WHEN metric = '{one}' THEN value ELSE 0 END) AS {one}" for one in SUMMED.split())
    heaps, nodes = FIGURES.format(of="heaps"), FIGURES.format(of="nodes")
    worker = "program, luajit, node, trace, pid, vm"
    return {
        "heaps": HEAPS,
        "nodes": NODES,
        "totals": TOTALS.format(sums=sums),
        "quantiles": QUANTILES,
        "workers_that_differ": OUTLIERS.format(figures=heaps, peers="service, build, role, label", who=worker),
        "nodes_that_differ": OUTLIERS.format(figures=nodes, peers="service, build", who="node"),
        "builds_that_regress": REGRESSIONS.format(figures=heaps),
        "failed": FAILED,
    }
