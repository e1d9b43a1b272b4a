-- The base that payments are measured against: a bare wallet and merchant schema, no triggers, no
-- checks beyond keys, so that nothing of ours slows it down.
CREATE SCHEMA base;
CREATE TABLE base.idempotency (key text PRIMARY KEY, answer text NOT NULL);
CREATE TABLE base.wallets (id bigint PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE base.payments (
    id bigserial PRIMARY KEY, payer bigint NOT NULL, merchant bigint NOT NULL,
    amount bigint NOT NULL, status text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE base.entries (
    id bigserial PRIMARY KEY, payment_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE base.postings (
    id bigserial PRIMARY KEY, entry_id bigint NOT NULL, wallet_id bigint NOT NULL,
    amount bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON base.postings (wallet_id, created_at, id);
CREATE TABLE base.outbox (
    id bigserial PRIMARY KEY, type text NOT NULL, body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
-- Wallet 0 keeps the fees; 1 to 10,000 are customers; 10,001 to 10,100 are merchants.
INSERT INTO base.wallets SELECT n, 1000000000 FROM generate_series(0, 10100) AS n;
