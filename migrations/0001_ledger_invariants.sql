-- What the ledger promises across rows. Whoever writes to these tables, with or without the application, keeps to it.
-- The checks run at COMMIT, when all of a transfer has been written.

CREATE FUNCTION ledger_violation(name text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', message USING ERRCODE = 'check_violation', CONSTRAINT = name;
END $$;
--> statement-breakpoint
-- A transfer has two entries: minus its amount on one account, plus its amount on the other.
CREATE FUNCTION ledger_check_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  checked uuid;
BEGIN
  IF TG_TABLE_NAME = 'transfers' THEN checked := NEW.id; ELSE checked := NEW.transfer_id; END IF;
  IF (
    SELECT count(*) <> 2
      OR count(*) FILTER (WHERE e.account_id = t.from_account_id AND e.amount = -t.amount) <> 1
      OR count(*) FILTER (WHERE e.account_id = t.to_account_id AND e.amount = t.amount) <> 1
    FROM transfers t JOIN entries e ON e.transfer_id = t.id
    WHERE t.id = checked
  ) THEN
    PERFORM ledger_violation('transfers_entries', format('the entries of transfer %s are not its two sides', checked));
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE CONSTRAINT TRIGGER transfers_entries AFTER INSERT ON transfers
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_transfer();
--> statement-breakpoint
CREATE CONSTRAINT TRIGGER entries_transfer AFTER INSERT ON entries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_transfer();
--> statement-breakpoint
-- An entry follows the one before it without a gap, and its account knows of it.
CREATE FUNCTION ledger_check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  balance_before bigint;
BEGIN
  IF NEW.sequence = 1 THEN
    balance_before := 0;
  ELSE
    SELECT balance_after INTO balance_before FROM entries
    WHERE account_id = NEW.account_id AND sequence = NEW.sequence - 1;
  END IF;
  IF balance_before IS NULL OR balance_before + NEW.amount <> NEW.balance_after THEN
    PERFORM ledger_violation('entries_chain',
      format('entry %s of account %s does not follow the one before it', NEW.sequence, NEW.account_id));
  END IF;
  IF NOT EXISTS (SELECT FROM accounts WHERE id = NEW.account_id AND sequence >= NEW.sequence) THEN
    PERFORM ledger_violation('entries_account',
      format('account %s does not count its entry %s', NEW.account_id, NEW.sequence));
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE CONSTRAINT TRIGGER entries_chain AFTER INSERT ON entries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_entry();
--> statement-breakpoint
-- An account's balance is the one after its newest entry: with the chain above, the sum of all of them.
CREATE FUNCTION ledger_check_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM accounts a LEFT JOIN entries e ON e.account_id = a.id AND e.sequence = a.sequence
    WHERE a.id = NEW.id
      AND CASE WHEN a.sequence = 0 THEN a.balance <> 0 ELSE a.balance IS DISTINCT FROM e.balance_after END
  ) THEN
    PERFORM ledger_violation('accounts_balance_entries', format('the balance of account %s is not that of its entries', NEW.id));
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE CONSTRAINT TRIGGER accounts_balance_entries AFTER INSERT OR UPDATE OF balance, sequence ON accounts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_account();
--> statement-breakpoint
-- What has happened stays: a mistake is put right by another transfer.
CREATE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM ledger_violation('append_only', format('rows of %s are never changed nor deleted', TG_TABLE_NAME));
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only();
--> statement-breakpoint
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only();
--> statement-breakpoint
-- An account keeps its kind and currency, and is deleted only while nothing refers to it.
CREATE FUNCTION ledger_check_account_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.id, NEW.kind, NEW.currency) IS DISTINCT FROM (OLD.id, OLD.kind, OLD.currency) THEN
    PERFORM ledger_violation('accounts_kept', format('account %s keeps its id, kind and currency', OLD.id));
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER accounts_kept AFTER UPDATE OF id, kind, currency ON accounts
  FOR EACH ROW EXECUTE FUNCTION ledger_check_account_kept();
