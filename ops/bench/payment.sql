\set payer random(1, 10000)
\set merchant random(10001, 10100)
\set amount random(100, 1000)
BEGIN;
INSERT INTO base.idempotency VALUES (gen_random_uuid()::text, repeat('x', 500));
SELECT id, balance FROM base.wallets WHERE id IN (:payer, :merchant) ORDER BY id FOR UPDATE;
INSERT INTO base.payments (payer, merchant, amount, status) VALUES (:payer, :merchant, :amount, 'succeeded') RETURNING id AS payment \gset
INSERT INTO base.entries (payment_id) VALUES (:payment) RETURNING id AS entry \gset
INSERT INTO base.postings (entry_id, wallet_id, amount) VALUES (:entry, :payer, - :amount::bigint), (:entry, :merchant, :amount::bigint - 10), (:entry, 0, 10);
UPDATE base.wallets SET balance = balance - :amount::bigint WHERE id = :payer;
UPDATE base.wallets SET balance = balance + :amount::bigint - 10 WHERE id = :merchant;
INSERT INTO base.outbox (type, body) VALUES ('payment.succeeded', repeat('x', 500));
COMMIT;
