-- What the application's role may do. `npm run db:migrate` runs this after the migrations, as the owner, with :"app"
-- replaced by the user of DATABASE_URL. It may run any number of times. Statements end at a semicolon, comments begin at two
-- hyphens, wherever they are: there is no place for either in a string or a function.

-- In a database that comes from PostgreSQL 14 or older everybody may make tables here, and functions, which a trigger would call
-- in place of the right ones.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"app";

-- Tables of today and of tomorrow: rows, not definitions. Those in a schema of your own, a pgSchema, need the same, and
-- the USAGE on it.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"app";

-- The ledger: less than that.
REVOKE UPDATE, DELETE ON transfers, entries, idempotency_keys FROM :"app";
REVOKE UPDATE, DELETE ON accounts FROM :"app";
GRANT UPDATE (balance, sequence) ON accounts TO :"app";
-- What the checks call to refuse a row, as the role that wrote it. Not everybody's where functions are closed to PUBLIC.
GRANT EXECUTE ON FUNCTION ledger_violation(text, text) TO :"app";
