-- Take an account's side rows into its balance. The caller holds the account's row lock, taken by
-- an earlier statement: so the DELETE sees every side row that was committed before the lock was
-- had, and no other folder can be at them.
CREATE FUNCTION fold_account(p_account_id text) RETURNS void LANGUAGE sql AS $$
    WITH taken AS (
        DELETE FROM unfolded_postings WHERE account_id = p_account_id RETURNING amount
    )
    UPDATE accounts SET balance = balance + folded.amount
    FROM (SELECT sum(amount) AS amount FROM taken) AS folded
    WHERE id = p_account_id AND folded.amount IS NOT NULL
$$;

-- Set funds aside, or give them back (a negative amount): true when it could be done.
CREATE FUNCTION hold_funds(p_account_id text, p_amount bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    FOR try IN 1..2 LOOP
        UPDATE accounts SET held = held + p_amount
        WHERE id = p_account_id AND (p_amount < 0 OR (frozen_at IS NULL
            AND (floor IS NULL OR balance - held - p_amount >= floor)));
        IF FOUND THEN
            RETURN true;
        END IF;
        EXIT WHEN try = 2;
        PERFORM FROM accounts WHERE id = p_account_id FOR NO KEY UPDATE;
        PERFORM fold_account(p_account_id);
    END LOOP;
    RETURN false;
END
$$;

-- Put an amount on an account, or take it. This is the one place that decides where a credit goes:
-- beside the row where the account collects, so that nobody waits for it, else into the row. An
-- account without a floor has nothing to check, so its debits go beside it as well. A debit of an
-- account with a floor takes the row, and, where that falls short, what lies beside it too.
--
-- p_released: how much of what was held this debit uses up; a capture needs no check of funds, and a
-- freeze does not stop it. True when it could be done.
CREATE FUNCTION move_amount(
    p_account_id text, p_posting_id text, p_amount bigint, p_released bigint,
    p_collects boolean, p_floor bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_collects AND p_released = 0 AND (p_amount > 0 OR p_floor IS NULL) THEN
        INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)
        VALUES (p_posting_id, p_account_id, p_amount, now());
        RETURN true;
    END IF;
    FOR try IN 1..2 LOOP
        UPDATE accounts SET balance = balance + p_amount, held = held - p_released
        WHERE id = p_account_id AND (p_amount > 0 OR p_released > 0 OR floor IS NULL
            OR (frozen_at IS NULL AND balance - held + p_amount >= floor));
        IF FOUND THEN
            RETURN true;
        END IF;
        EXIT WHEN try = 2;
        PERFORM FROM accounts WHERE id = p_account_id FOR NO KEY UPDATE;
        PERFORM fold_account(p_account_id);
    END LOOP;
    RETURN false;
END
$$;

-- Write one entry with its postings and move what they say, in one round trip.
--
-- The arrays are the lines: posting ids, accounts, amounts. p_held_on and p_released: the account
-- whose hold this captures, and the hold's whole amount. Accounts are locked by rank, then by id.
-- Answers with no row when it is done, or with the one account that refuses: nothing may be kept
-- then, and the caller rolls back. Raises for lines that can't be an entry.
CREATE FUNCTION post_entry(
    p_entry_id text, p_kind text, p_subject_id text, p_caller text, p_request_id text,
    p_posting_ids text[], p_account_ids text[], p_amounts bigint[],
    p_held_on text, p_released bigint
) RETURNS TABLE (
    account_id text, kind text, currency text, available bigint, needed bigint, frozen boolean
) LANGUAGE plpgsql AS $$
DECLARE
    line record;
BEGIN
    IF (SELECT count(*) FROM unnest(p_account_ids)) < 2 OR EXISTS (
        SELECT FROM unnest(p_account_ids, p_amounts) AS l (account_id, amount)
        LEFT JOIN accounts a ON a.id = l.account_id
        GROUP BY a.currency HAVING sum(l.amount) <> 0 OR a.currency IS NULL
    ) THEN
        RAISE EXCEPTION 'the lines are no entry' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO entries (id, kind, subject_id, caller, request_id, created_at)
    VALUES (p_entry_id, p_kind, p_subject_id, p_caller, p_request_id, now());
    INSERT INTO postings (id, entry_id, account_id, amount, created_at)
    SELECT l.id, p_entry_id, l.account_id, l.amount, now()
    FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS l (id, account_id, amount);
    FOR line IN
        SELECT l.*, a.collects, a.floor,
            CASE WHEN l.account_id = p_held_on THEN p_released ELSE 0 END AS released
        FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS l (id, account_id, amount)
        JOIN accounts a ON a.id = l.account_id
        ORDER BY a.rank, a.id
    LOOP
        IF NOT move_amount(
            line.account_id, line.id, line.amount, line.released, line.collects, line.floor
        ) THEN
            RETURN QUERY SELECT a.id::text, a.kind::text, a.currency::text,
                a.balance - a.held - a.floor, -line.amount, a.frozen_at IS NOT NULL
            FROM accounts a WHERE a.id = line.account_id;
            RETURN;
        END IF;
    END LOOP;
END
$$;
