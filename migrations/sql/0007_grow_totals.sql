-- What a unit of work has counted, as JSON: [{"name": ..., "labels": ..., "by": ...}, ...].
-- A shard belongs to one server process at a time, nearly: two that share one wait for each other.
-- p_first: where other shards begin, for what is counted in the middle of a unit.
CREATE FUNCTION grow_totals(p_grown text, p_first integer DEFAULT 0) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO metric_totals AS t (name, labels, shard, value)
    SELECT g.name, g.labels, p_first + mod(pg_backend_pid(), 32), g.by
    FROM json_to_recordset(p_grown::json) AS g (name text, labels text, by bigint)
    ORDER BY g.name, g.labels
    ON CONFLICT (name, labels, shard) DO UPDATE SET value = t.value + excluded.value;
END
$$;
