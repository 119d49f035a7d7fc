-- The heap of the median VM of each service, and of one in a hundred: the class it is in, known to an eighth.
WITH classes AS (
    SELECT service, bucket, SUM(value) AS n
    FROM partials
    WHERE metric = 'vms_by_used_bytes'
    GROUP BY service, bucket
), counted AS (
    SELECT upper.service AS service, upper.bucket AS bucket, SUM(lower.n) AS up_to
    FROM classes AS upper JOIN classes AS lower ON upper.service = lower.service
    WHERE lower.bucket <= upper.bucket
    GROUP BY upper.service, upper.bucket
), wholes AS (
    SELECT service, SUM(n) AS vms FROM classes GROUP BY service
)
SELECT wholes.service AS service, MAX(wholes.vms) AS vms,
    MIN(CASE WHEN counted.up_to * 2 >= wholes.vms THEN counted.bucket END) AS p50,
    MIN(CASE WHEN counted.up_to * 100 >= wholes.vms * 99 THEN counted.bucket END) AS p99
FROM counted JOIN wholes ON counted.service = wholes.service
GROUP BY wholes.service
ORDER BY service
