-- Write an event, and a delivery of it for each endpoint of the merchant that wants it; gives the
-- deliveries' states. A disabled endpoint is owed the event too, as `canceled`: a resend can revive it.
-- p_stamp: the event's own time as the 48 bits in hex that begin a UUIDv7 (RFC 9562); then come the
-- version and random bits with the variant in its place, which gen_random_uuid() has: only its head
-- is replaced. p_only: the one endpoint it is owed to, whatever that subscribed to.
CREATE FUNCTION record_event(
    p_id text, p_type text, p_merchant_id text, p_object_id text, p_body text, p_request_id text,
    p_stamp text, p_only text
) RETURNS TABLE (status text) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    canceled integer := 0;
BEGIN
    INSERT INTO events (id, type, merchant_id, object_id, body, request_id, created_at)
    VALUES (p_id, p_type, p_merchant_id, p_object_id, p_body, p_request_id, now());
    FOR status IN
        INSERT INTO deliveries AS d (id, event_id, endpoint_id, merchant_id, status, attempts, tries,
            next_attempt_at, version, created_at, ended_at)
        SELECT 'dlv_' || p_stamp || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14),
            p_id, e.id, e.merchant_id,
            CASE e.status WHEN 'enabled' THEN 'pending' ELSE 'canceled' END, 0, 0,
            CASE e.status WHEN 'enabled' THEN now() END, 1, now(),
            CASE e.status WHEN 'enabled' THEN NULL ELSE now() END
        FROM webhook_endpoints AS e
        WHERE e.merchant_id = p_merchant_id AND e.status <> 'deleted'
            AND CASE WHEN p_only IS NULL
                THEN e.events = ',*,' OR e.events LIKE '%,' || p_type || ',%'
                ELSE e.id = p_only END
        RETURNING d.status::text
    LOOP
        canceled := canceled + (status = 'canceled')::integer;
        RETURN NEXT;
    END LOOP;
    IF canceled > 0 THEN -- the unit's other totals come later, in shards of their own
        PERFORM grow_totals(json_build_array(json_build_object(
            'name', 'payments_webhook_deliveries_total', 'labels', '{"outcome":"canceled"}',
            'by', canceled))::text, 32);
    END IF;
END
$$;
