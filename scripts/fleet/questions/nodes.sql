-- On which nodes is a VM's heap largest.
SELECT service, node,
    SUM(CASE WHEN metric = 'heaps' THEN value ELSE 0 END) AS heaps,
    ROUND(CAST(SUM(CASE WHEN metric = 'used_bytes' THEN value ELSE 0 END) AS DOUBLE)
        / SUM(CASE WHEN metric = 'heaps' THEN value END)) AS used_bytes_a_heap
FROM partials
WHERE vm > 0
GROUP BY service, node
ORDER BY used_bytes_a_heap DESC, node
LIMIT 5
