-- What did a release change: what a VM holds, and what it asks for in a second.
SELECT service, build,
    SUM(CASE WHEN metric = 'vms' THEN value ELSE 0 END) AS vms,
    ROUND(CAST(SUM(CASE WHEN metric = 'used_bytes' THEN value ELSE 0 END) AS DOUBLE)
        / SUM(CASE WHEN metric = 'heaps' THEN value END)) AS used_bytes_a_heap,
    ROUND(CAST(SUM(CASE WHEN metric = 'asked_bytes' THEN value ELSE 0 END) AS DOUBLE)
        / SUM(CASE WHEN metric = 'observed_us' THEN value END), 1) AS asked_mb_a_second
FROM partials
WHERE vm > 0
GROUP BY service, build
ORDER BY service, build
