-- Which sizes of blocks hold the memory of the whole fleet.
SELECT bucket AS size_from,
    SUM(CASE WHEN metric = 'used_count' THEN value ELSE 0 END) AS chunks,
    SUM(CASE WHEN metric = 'used_bytes' THEN value ELSE 0 END) AS bytes
FROM partials
WHERE metric IN ('used_count', 'used_bytes')
GROUP BY bucket
ORDER BY bytes DESC
LIMIT 5
