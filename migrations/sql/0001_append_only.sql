-- What the triggers of append-only tables call: entries, postings, events and the audit log can be
-- added to, nothing else. A mistake in money is mended by a further entry.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;
