-- An account's newest entry is the last that there is: its sequence does not go back, to an earlier balance, either.
CREATE OR REPLACE FUNCTION ledger_check_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM accounts a LEFT JOIN entries e ON e.account_id = a.id AND e.sequence = a.sequence
    WHERE a.id = NEW.id
      AND (
        CASE WHEN a.sequence = 0 THEN a.balance <> 0 ELSE a.balance IS DISTINCT FROM e.balance_after END
        OR EXISTS (SELECT FROM entries later WHERE later.account_id = a.id AND later.sequence > a.sequence)
      )
  ) THEN
    PERFORM ledger_violation('accounts_balance_entries', format('the balance of account %s is not that of its entries', NEW.id));
  END IF;
  RETURN NULL;
END $$;
