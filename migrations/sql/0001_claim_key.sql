-- Claim an idempotency key in the open transaction, or give the answer that stands under it.
--
-- While another transaction that inserted the same key is open, the INSERT waits for it, at most
-- 1 s; then SQLSTATE 55P03 (lock_not_available). If that one rolled back, the key is free and this
-- claims it; if it committed, its row is read, since each statement here sees what was committed
-- before it. The loop is for a row that is pruned between the two.
CREATE FUNCTION claim_key(p_scope text, p_key text, p_fingerprint text)
RETURNS TABLE (claimed boolean, fingerprint text, status integer, body text)
LANGUAGE plpgsql
SET lock_timeout = '1s'
AS $$
BEGIN
    LOOP
        INSERT INTO idempotency_keys AS k (scope, key, fingerprint, created_at)
        VALUES (p_scope, p_key, p_fingerprint, now())
        ON CONFLICT ON CONSTRAINT pk_idempotency_keys DO NOTHING;
        IF FOUND THEN
            RETURN QUERY SELECT true, p_fingerprint, NULL::integer, NULL::text;
            RETURN;
        END IF;
        RETURN QUERY
            SELECT false, k.fingerprint::text, k.status, k.body
            FROM idempotency_keys k WHERE k.scope = p_scope AND k.key = p_key;
        IF FOUND THEN
            RETURN;
        END IF;
    END LOOP;
END
$$;
