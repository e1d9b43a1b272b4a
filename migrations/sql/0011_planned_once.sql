-- What travels with a payment's BEGIN or COMMIT by the simple protocol would be planned at each call,
-- which takes longer than doing it. In a function it is planned once for each connection; and since
-- the table may have been all but empty then, never as a walk through all of it.

-- Whether a session has neither ended nor run out.
CREATE FUNCTION session_stands(p_id text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM sessions WHERE id = p_id AND status = 'active' AND expires_at > p_now
    );
END
$$;

-- Keep the answer under the key that this transaction claimed.
CREATE FUNCTION keep_answer(p_scope text, p_key text, p_status integer, p_body text) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    UPDATE idempotency_keys SET status = p_status, body = p_body
    WHERE scope = p_scope AND key = p_key;
END
$$;
