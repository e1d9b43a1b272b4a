-- What moves money on Postgres, each in one round trip. What the functions have in common:
--
-- * Accounts are locked by rank (customer, agent, merchant, fees, external), then by id, whatever
--   moves between them, so no two of these ever wait for each other.
-- * Funds are judged on rows that are locked, by a statement that began after the lock was had (each
--   statement of a plpgsql function sees what was committed before it): a hold, a freeze, a fold or
--   a credit that was under way is either waited for or comes later, never half seen.
-- * They are planned once for each connection (force_generic_plan, also in what they call): a plan for
--   each call would cost more than all the rest of it.
-- * A refusal is a row in the answer and comes before anything is written; no row: it is done.

-- Whether a line lies beside its account's row instead of in it: a credit of an account that collects
-- can't overdraw it, so it needs no lock and nobody waits; without a floor, nor does a debit. This
-- is the one place that decides it. `collects` may be switched by a transaction that is under way:
-- nothing depends on the answer, since a side row counts in every read, and whoever folds or falls
-- short takes side rows of any account.
CREATE FUNCTION lies_aside(p_collects boolean, p_floor bigint, p_amount bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_collects AND (p_amount > 0 OR p_floor IS NULL)
$$;

-- Take an account's side rows into its row; gives the balance then. The row is locked first, always
-- and without SKIP LOCKED, and the DELETE is a statement of its own after it: so it finds all that
-- was committed before the lock was had, and no other folder is at them.
CREATE FUNCTION fold_account(p_account_id text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_balance bigint;
BEGIN
    PERFORM FROM accounts WHERE id = p_account_id FOR NO KEY UPDATE;
    WITH taken AS (
        DELETE FROM unfolded_postings WHERE account_id = p_account_id RETURNING amount
    )
    UPDATE accounts SET balance = balance + folded.amount
    FROM (SELECT sum(amount) AS amount FROM taken) AS folded
    WHERE id = p_account_id AND folded.amount IS NOT NULL;
    SELECT balance INTO v_balance FROM accounts WHERE id = p_account_id;
    RETURN v_balance;
END
$$;

-- Lock accounts, in order, and judge what each would gain: its amount, and what a hold on it that
-- this uses up gives free. One that would lose must not be frozen and must stay at its floor or
-- above; what lies beside the row is taken into it only where the row alone falls short. Answers
-- with the first that refuses: `frozen` or `short`, and what it has available.
CREATE FUNCTION lock_accounts(p_account_ids text[], p_gains bigint[])
RETURNS TABLE (status text, account_id text, kind text, currency text, available bigint)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
BEGIN
    FOR a IN
        SELECT accounts.*, g.gain
        FROM unnest(p_account_ids, p_gains) AS g (id, gain) JOIN accounts ON accounts.id = g.id
        ORDER BY accounts.rank, accounts.id
        FOR NO KEY UPDATE OF accounts
    LOOP
        CONTINUE WHEN a.gain >= 0 OR a.floor IS NULL;
        IF a.balance - a.held + a.gain < a.floor THEN
            a.balance := fold_account(a.id);
        END IF;
        IF a.frozen_at IS NOT NULL OR a.balance - a.held + a.gain < a.floor THEN
            RETURN QUERY SELECT
                CASE WHEN a.frozen_at IS NULL THEN 'short' ELSE 'frozen' END,
                a.id::text, a.kind::text, a.currency::text, a.balance - a.held - a.floor;
            RETURN;
        END IF;
    END LOOP;
END
$$;

-- Write one entry with its postings, and move what they say.
--
-- The arrays are the lines: posting ids, accounts, amounts. p_held_on and p_released: the account
-- whose hold this captures, and the hold's whole amount; else null and 0. Answers with a refusal of
-- `lock_accounts`, or `no_entry` for lines that can't be one: fewer than two, of 0, on an account
-- that is not there or is named twice, or with a sum in some currency that is not 0.
CREATE FUNCTION post_entry(
    p_entry_id text, p_kind text, p_subject_id text, p_caller text, p_request_id text,
    p_posting_ids text[], p_account_ids text[], p_amounts bigint[],
    p_held_on text, p_released bigint
) RETURNS TABLE (status text, account_id text, kind text, currency text, available bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_is_entry boolean;
    v_aside text[];
    v_rows text[];
    v_gains bigint[];
BEGIN
    SELECT
        count(*) = cardinality(p_account_ids) AND count(DISTINCT l.id) = count(*) AND count(*) >= 2
            AND bool_and(l.total = 0 AND l.amount <> 0),
        coalesce(array_agg(l.id) FILTER (WHERE l.aside), '{}'),
        coalesce(array_agg(l.id) FILTER (WHERE NOT l.aside), '{}'),
        array_agg(l.gain) FILTER (WHERE NOT l.aside)
    INTO v_is_entry, v_aside, v_rows, v_gains
    FROM (
        SELECT a.id, given.amount, sum(given.amount) OVER (PARTITION BY a.currency) AS total,
            given.amount + CASE WHEN a.id = p_held_on THEN p_released ELSE 0 END AS gain,
            a.id IS DISTINCT FROM p_held_on
                AND lies_aside(a.collects, a.floor, given.amount) AS aside
        FROM unnest(p_account_ids, p_amounts) AS given (id, amount)
        JOIN accounts AS a ON a.id = given.id
    ) AS l;
    IF v_is_entry IS NOT TRUE THEN
        RETURN QUERY SELECT 'no_entry', NULL::text, NULL::text, NULL::text, NULL::bigint;
        RETURN;
    END IF;
    RETURN QUERY SELECT refused.* FROM lock_accounts(v_rows, v_gains) AS refused;
    IF FOUND THEN
        RETURN;
    END IF;
    WITH entry AS (
        INSERT INTO entries (id, kind, subject_id, caller, request_id, created_at)
        VALUES (p_entry_id, p_kind, p_subject_id, p_caller, p_request_id, now())
    ), lines AS (
        INSERT INTO postings (id, entry_id, account_id, amount, created_at)
        SELECT l.posting_id, p_entry_id, l.id, l.amount, now()
        FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS l (posting_id, id, amount)
    ), aside AS (
        INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)
        SELECT l.posting_id, l.id, l.amount, now()
        FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS l (posting_id, id, amount)
        WHERE l.id = ANY (v_aside)
    )
    UPDATE accounts AS a SET
        balance = a.balance + l.amount,
        held = a.held - CASE WHEN a.id = p_held_on THEN p_released ELSE 0 END
    FROM unnest(p_account_ids, p_amounts) AS l (id, amount)
    WHERE a.id = l.id AND a.id <> ALL (v_aside);
END
$$;

-- Set an amount aside on an account. Answers with a refusal of `lock_accounts`, or `no_account`.
CREATE FUNCTION place_hold(
    p_hold_id text, p_account_id text, p_amount bigint, p_subject_id text, p_expires_at timestamptz
) RETURNS TABLE (status text, account_id text, kind text, currency text, available bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
        SELECT refused.* FROM lock_accounts(ARRAY[p_account_id], ARRAY[-p_amount]) AS refused;
    IF FOUND THEN
        RETURN;
    END IF;
    UPDATE accounts SET held = held + p_amount WHERE id = p_account_id;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'no_account', p_account_id, NULL::text, NULL::text, NULL::bigint;
        RETURN;
    END IF;
    INSERT INTO holds (id, account_id, subject_id, amount, captured, status, version, created_at,
        expires_at, ended_at)
    VALUES (p_hold_id, p_account_id, p_subject_id, p_amount, 0, 'held', 1, now(),
        p_expires_at, NULL);
END
$$;

-- Side rows are few accounts' (fees, external, hot ones), and asked for by any. Counted as they are,
-- the planner would take every account to have a third of them, and read all for each balance.
ALTER TABLE unfolded_postings ALTER COLUMN account_id SET (n_distinct = -1);
