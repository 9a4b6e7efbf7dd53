-- A temporary table of the same name comes first where a name has no schema: the checks would look at that instead.
ALTER FUNCTION ledger_check_transfer() SET search_path = public, pg_temp;
--> statement-breakpoint
ALTER FUNCTION ledger_check_entry() SET search_path = public, pg_temp;
--> statement-breakpoint
ALTER FUNCTION ledger_check_account() SET search_path = public, pg_temp;
