-- Whether an operator has stopped writes: each unit of work asks, with its BEGIN.
CREATE FUNCTION writes_are_stopped() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM runtime_settings WHERE name = 'read_only' AND value_json IS NOT NULL
    );
END
$$;
