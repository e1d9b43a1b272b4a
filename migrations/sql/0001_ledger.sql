-- What moves money on Postgres, each in one round trip. What the functions have in common:
--
-- * Accounts are locked by rank (customer, agent, merchant, fees, external), then by id, whatever
--   moves between them, so no two of these ever wait for each other.
-- * Funds are judged by the UPDATE that takes them: where it waited for the row's lock, it judges the
--   row as that left it. Side rows are looked for by a statement that began after the lock was had
--   (each statement of a plpgsql function sees what was committed before it). So a hold, a freeze, a
--   fold or a credit that was under way is either waited for or comes later, never half seen.
-- * They are planned once for each connection (force_generic_plan, also in what they call): a plan for
--   each call would cost more than all the rest of it.
-- * A refusal is a row in the answer and comes before anything is written; no row: it is done.
-- * No balance goes further than 10^18 from 0 (`payments.money.MAX_BALANCE`), and a sum of 64 bits goes
--   nine times as far. That is what it takes for the bound to need no lock, nor side rows for small
--   lines: it would take 800 million of those beside one account, or 8,000 large ones at one moment.

-- Whether a line lies beside its account's row instead of in it: a credit of an account that collects
-- can't overdraw it, so it needs no lock and nobody waits; without a floor, nor does a debit. This
-- is the one place that decides it. `collects` may be switched by a transaction that is under way:
-- nothing depends on the answer, since a side row counts in every read, and whoever folds or falls
-- short takes side rows of any account.
CREATE FUNCTION lies_aside(p_collects boolean, p_floor bigint, p_amount bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_collects AND (p_amount > 0 OR p_floor IS NULL)
$$;

-- Take at most `p_limit` of an account's side rows into its row, those after `p_after` by their id.
-- Gives how many it took and the last one's id; fewer than the limit: no more were there. The limit
-- is what one statement can surely take within its time, however far the account fell behind; and who
-- goes on from the last id does not walk over what was just deleted. The account's row is locked first,
-- always and without SKIP LOCKED, and the DELETE is a statement of its own after it: so it finds all
-- that was committed before the lock was had, and no other folder is at them.
CREATE FUNCTION fold_account(
    p_account_id text, p_after text, p_limit integer, OUT folded integer, OUT reached text
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_amount numeric;
BEGIN
    PERFORM FROM accounts WHERE id = p_account_id FOR NO KEY UPDATE;
    WITH taken AS (
        DELETE FROM unfolded_postings WHERE posting_id = ANY (ARRAY(
            SELECT u.posting_id FROM unfolded_postings AS u
            WHERE u.account_id = p_account_id AND u.posting_id > p_after
            ORDER BY u.posting_id LIMIT p_limit
        )) RETURNING posting_id, amount
    )
    SELECT count(*), max(posting_id), sum(amount) INTO folded, reached, v_amount FROM taken;
    IF folded > 0 THEN
        UPDATE accounts SET balance = balance + v_amount WHERE id = p_account_id;
    END IF;
END
$$;

-- Move an amount on an account's row, and give free what a hold on it that this uses up had set aside.
-- Who would lose by both must not be frozen and must stay at the floor or above. What lies beside the
-- row is looked at only where the row alone falls short: a batch of it is taken into the row; then some
-- of the rest is summed up and counts as it lies, so that the row may go below the floor; at last all of
-- it. This is under the row's lock, where side rows can only be added, and only credits, since there is
-- a floor: so a part of them is enough to say yes.
-- Gives a status of null, or why nothing was moved, `frozen`, `short` or `limit` (too much would be
-- held), and what there is available.
CREATE FUNCTION move_on(
    p_account_id text, p_amount bigint, p_freed bigint, p_set_aside bigint,
    OUT status text, OUT account_id text, OUT kind text, OUT currency text, OUT available bigint
) LANGUAGE plpgsql AS $$
DECLARE
    a record;
    v_gain bigint := p_amount + p_freed - p_set_aside;
    v_most CONSTANT bigint := 1000000000000000000;
    v_batch CONSTANT integer := 10000;
    v_some CONSTANT integer := 100000;
    v_more boolean := true;
    v_beside bigint := 0;
BEGIN
    FOR turn IN 1 .. 4 LOOP
        IF turn = 2 THEN
            SELECT f.folded = v_batch INTO v_more FROM fold_account(p_account_id, '', v_batch) AS f;
        ELSIF turn > 2 THEN
            SELECT coalesce(sum(s.amount), 0), count(*) = v_some INTO v_beside, v_more FROM (
                SELECT u.amount FROM unfolded_postings AS u WHERE u.account_id = p_account_id
                ORDER BY u.posting_id LIMIT CASE turn WHEN 3 THEN v_some END
            ) AS s;
        END IF;
        UPDATE accounts AS t SET balance = t.balance + p_amount,
            held = t.held - p_freed + p_set_aside, version = t.version + 1
        WHERE t.id = p_account_id AND t.held <= v_most - p_set_aside AND (v_gain >= 0 OR t.floor IS NULL
            OR (t.frozen_at IS NULL AND t.balance - t.held + v_gain >= t.floor - v_beside));
        IF FOUND THEN
            RETURN;
        END IF;
        EXIT WHEN NOT v_more;
    END LOOP;
    SELECT * INTO a FROM accounts AS t WHERE t.id = p_account_id;
    status := CASE WHEN a.id IS NULL THEN 'no_account'
        WHEN a.held > v_most - p_set_aside THEN 'limit'
        WHEN a.frozen_at IS NULL THEN 'short' ELSE 'frozen' END;
    account_id := p_account_id;
    kind := a.kind;
    currency := a.currency;
    available := a.balance + v_beside - a.held - a.floor;
END
$$;

-- Whether a line leads an account too far from 0: too high for a credit; for a debit too low, where
-- there is no floor that judges it.
CREATE FUNCTION leads_too_far(p_balance bigint, p_floor bigint, p_amount bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_amount > 0 THEN p_balance > 1000000000000000000 - p_amount
        ELSE p_floor IS NULL AND p_balance < -1000000000000000000 - p_amount END
$$;

-- Write one entry with its postings, and move what they say.
--
-- The arrays are the lines: posting ids, accounts, amounts; a line of 0 is dropped. p_held_on and
-- p_released: the account whose hold this captures, and the hold's whole amount; else null and 0. Answers
-- with a refusal of `move_on`, or `no_entry` for lines that can't be one: fewer than two, on an account
-- that is not there or is named twice, or with a sum in some currency that is not 0; or `limit` for a line
-- that leads its account too far from 0. A refusal takes back what was moved before it. Small statements
-- on the primary key take half the time of one that does all; and the first thing that `move_on` would
-- try, which is nearly always enough, stands here as well, since calling it costs more than doing it.
CREATE FUNCTION post_entry(
    p_entry_id text, p_kind text, p_subject_id text, p_caller text, p_request_id text,
    p_posting_ids text[], p_account_ids text[], p_amounts bigint[],
    p_held_on text, p_released bigint
) RETURNS TABLE (status text, account_id text, kind text, currency text, available bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    l record;
    r record;
    v_count integer := 0;
    v_currency text;
    v_sum numeric := 0;
    v_is_entry boolean := true;
    v_last text;
    v_large CONSTANT bigint := 10000000000;
    v_full text;
    v_aside text[] := '{}';
    v_rows text[] := '{}';
    v_moves bigint[] := '{}';
    v_freed bigint[] := '{}';
BEGIN
    IF 0 = ANY (p_amounts) THEN
        SELECT array_agg(given.posting_id), array_agg(given.id), array_agg(given.amount)
        INTO p_posting_ids, p_account_ids, p_amounts
        FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS given (posting_id, id, amount)
        WHERE given.amount <> 0;
    END IF;
    FOR l IN
        SELECT a.id, a.currency, a.balance, a.floor, given.amount,
            given.amount NOT BETWEEN -v_large AND v_large
                OR leads_too_far(a.balance, a.floor, given.amount) AS matters,
            CASE WHEN a.id = p_held_on THEN p_released ELSE 0 END AS freed,
            a.id IS DISTINCT FROM p_held_on
                AND lies_aside(a.collects, a.floor, given.amount) AS aside
        FROM unnest(p_account_ids, p_amounts) AS given (id, amount)
        JOIN accounts AS a ON a.id = given.id
        ORDER BY a.rank, a.id
    LOOP
        v_is_entry := v_is_entry AND l.id IS DISTINCT FROM v_last;
        v_last := l.id;
        v_count := v_count + 1;
        v_currency := coalesce(v_currency, l.currency);
        IF l.currency = v_currency THEN
            v_sum := v_sum + l.amount;
        ELSE
            v_currency := '';
        END IF;
        IF l.matters AND leads_too_far(
            l.balance + (SELECT coalesce(sum(u.amount), 0)::bigint FROM unfolded_postings AS u
                WHERE u.account_id = l.id),
            l.floor, l.amount
        ) THEN
            v_full := coalesce(v_full, l.id);
        END IF;
        IF l.aside THEN
            v_aside := v_aside || l.id;
        ELSE
            v_rows := v_rows || l.id;
            v_moves := v_moves || l.amount;
            v_freed := v_freed || l.freed;
        END IF;
    END LOOP;
    IF v_currency = '' THEN
        v_is_entry := v_is_entry AND (
            SELECT bool_and(s.total = 0) FROM (
                SELECT sum(given.amount) AS total
                FROM unnest(p_account_ids, p_amounts) AS given (id, amount)
                JOIN accounts AS a ON a.id = given.id GROUP BY a.currency
            ) AS s
        );
    ELSE
        v_is_entry := v_is_entry AND v_sum = 0;
    END IF;
    IF NOT v_is_entry OR v_count < 2 OR v_count <> cardinality(p_account_ids) THEN
        RETURN QUERY SELECT 'no_entry', NULL::text, NULL::text, NULL::text, NULL::bigint;
        RETURN;
    END IF;
    IF v_full IS NOT NULL THEN
        RETURN QUERY SELECT 'limit', v_full, NULL::text, NULL::text, NULL::bigint;
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(v_rows) LOOP
        UPDATE accounts AS t SET balance = t.balance + v_moves[i], held = t.held - v_freed[i],
            version = t.version + 1
        WHERE t.id = v_rows[i] AND (v_moves[i] + v_freed[i] >= 0 OR t.floor IS NULL OR (
            t.frozen_at IS NULL AND t.balance - t.held + v_moves[i] + v_freed[i] >= t.floor));
        CONTINUE WHEN FOUND;
        r := move_on(v_rows[i], v_moves[i], v_freed[i], 0);
        IF r.status IS NOT NULL THEN
            FOR j IN 1 .. i - 1 LOOP
                UPDATE accounts SET balance = balance - v_moves[j], held = held + v_freed[j],
                    version = version - 1
                WHERE id = v_rows[j];
            END LOOP;
            RETURN QUERY SELECT r.status, r.account_id, r.kind, r.currency, r.available;
            RETURN;
        END IF;
    END LOOP;
    INSERT INTO entries (id, kind, subject_id, caller, request_id, created_at)
    VALUES (p_entry_id, p_kind, p_subject_id, p_caller, p_request_id, now());
    INSERT INTO postings (id, entry_id, account_id, amount, created_at)
    SELECT given.posting_id, p_entry_id, given.id, given.amount, now()
    FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS given (posting_id, id, amount);
    IF cardinality(v_aside) > 0 THEN
        INSERT INTO unfolded_postings (posting_id, account_id, amount, created_at)
        SELECT given.posting_id, given.id, given.amount, now()
        FROM unnest(p_posting_ids, p_account_ids, p_amounts) AS given (posting_id, id, amount)
        WHERE given.id = ANY (v_aside);
    END IF;
END
$$;

-- Set an amount aside on an account. Answers with a refusal of `move_on`, or `no_account`.
CREATE FUNCTION place_hold(
    p_hold_id text, p_account_id text, p_amount bigint, p_subject_id text, p_expires_at timestamptz
) RETURNS TABLE (status text, account_id text, kind text, currency text, available bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    r record;
BEGIN
    r := move_on(p_account_id, 0, 0, p_amount);
    IF r.status IS NOT NULL THEN
        RETURN QUERY SELECT r.status, r.account_id, r.kind, r.currency, r.available;
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
