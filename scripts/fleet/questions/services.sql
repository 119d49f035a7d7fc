-- What is there of each service: traces, VMs, their segments, and how much of the segments is free.
SELECT service, day,
    SUM(CASE WHEN metric = 'files' THEN value ELSE 0 END) AS files,
    SUM(CASE WHEN metric = 'traces_failed' THEN value ELSE 0 END) AS failed,
    SUM(CASE WHEN metric = 'vms' THEN value ELSE 0 END) AS vms,
    SUM(CASE WHEN metric = 'segments_bytes' THEN value ELSE 0 END) AS segments_bytes,
    ROUND(CAST(SUM(CASE WHEN metric = 'free_bytes' THEN value ELSE 0 END) AS DOUBLE) * 100
        / SUM(CASE WHEN metric = 'segments_bytes' THEN value END), 1) AS free_percent
FROM partials
GROUP BY service, day
ORDER BY service, day
