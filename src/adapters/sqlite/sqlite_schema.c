/*
 * The schema: application id 0x436f6e66, user_version = number of migrations applied. A migration
 * is never changed once released; a new one is added at the end.
 */
#include <inttypes.h>
#include <stdio.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "base/diag.h"

enum { APPLICATION_ID = 0x436f6e66 };

static const char *const MIGRATIONS[] = {
    /* 1 */
    "CREATE TABLE accounts ("
    " user_id INTEGER PRIMARY KEY,"
    " username_key TEXT NOT NULL UNIQUE,"
    " username TEXT NOT NULL,"
    " display_name TEXT NOT NULL,"
    " password_hash TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE devices ("
    " device_id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES accounts (user_id),"
    " name TEXT NOT NULL,"
    " token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id);"
    /* A projection of the log: no reference to accounts, which must not be able to stop it. */
    "CREATE TABLE conversations ("
    " user_id INTEGER NOT NULL,"
    " conversation BLOB NOT NULL CHECK (length(conversation) = 16),"
    " lsn INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " joined INTEGER NOT NULL,"
    " PRIMARY KEY (user_id, conversation)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE projections ("
    " partition INTEGER PRIMARY KEY,"
    " lsn INTEGER NOT NULL) STRICT;",
    /* 2: refresh tokens in chains; what the rows held until now is never rotated. */
    "ALTER TABLE devices ADD COLUMN chain_hash BLOB;"
    "ALTER TABLE devices ADD COLUMN previous_hash BLOB;"
    "ALTER TABLE devices ADD COLUMN salt BLOB;"
    "ALTER TABLE devices ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN rotated_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN last_used_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN last_address TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE devices ADD COLUMN revoked_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE devices SET last_used_ms = created_ms;"
    "DROP INDEX devices_of_user;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id) WHERE revoked_ms = 0;"
    "CREATE UNIQUE INDEX devices_by_chain ON devices (chain_hash);"
    "CREATE INDEX devices_revoked ON devices (revoked_ms) WHERE revoked_ms > 0;"
    "CREATE INDEX devices_used ON devices (last_used_ms) WHERE revoked_ms = 0;"
    "CREATE TABLE audit ("
    " audit_id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " at_ms INTEGER NOT NULL,"
    " actor INTEGER NOT NULL,"
    " target INTEGER NOT NULL,"
    " action TEXT NOT NULL,"
    " detail TEXT NOT NULL,"
    " address TEXT NOT NULL) STRICT;",
    /* 3: profiles, roles and states; words by which people are found, filled by sqlite_words.c. */
    "ALTER TABLE accounts ADD COLUMN about TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE accounts ADD COLUMN role INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE accounts ADD COLUMN status INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE accounts ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE accounts SET updated_ms = created_ms;"
    "CREATE INDEX accounts_by_status ON accounts (status, username_key);"
    "CREATE INDEX accounts_admins ON accounts (user_id) WHERE role = 1 AND status = 0;"
    "CREATE TABLE account_words ("
    " word TEXT NOT NULL,"
    " user_id INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " PRIMARY KEY (word, user_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX account_words_suspended ON account_words (word, user_id) WHERE status = 1;"
    "CREATE TABLE meta ("
    " key TEXT PRIMARY KEY,"
    " value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    /* 4: invites, settings, repeated requests. */
    "CREATE TABLE invites ("
    " invite_id INTEGER PRIMARY KEY,"
    " code_hash BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32),"
    " kind INTEGER NOT NULL,"
    " uses_max INTEGER NOT NULL,"
    " uses INTEGER NOT NULL,"
    " created_by INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL,"
    " revoked_ms INTEGER NOT NULL,"
    " ended_ms INTEGER NOT NULL,"
    " note TEXT NOT NULL) STRICT;"
    "CREATE INDEX invites_of_creator ON invites (created_by, invite_id);"
    "CREATE INDEX invites_open ON invites (created_by) WHERE revoked_ms = 0 AND uses < uses_max;"
    "CREATE INDEX invites_setup ON invites (invite_id)"
    " WHERE kind = 1 AND revoked_ms = 0 AND uses < uses_max;"
    "CREATE INDEX invites_ended ON invites (ended_ms) WHERE ended_ms > 0;"
    "CREATE TABLE settings ("
    " key TEXT PRIMARY KEY,"
    " value TEXT NOT NULL,"
    " updated_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE idempotency ("
    " id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL,"
    " key TEXT NOT NULL,"
    " request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),"
    " claimed_ms INTEGER NOT NULL,"
    " status INTEGER NOT NULL," /* 0: pending */
    " body BLOB NOT NULL,"
    " UNIQUE (user_id, key)) STRICT;"
    "CREATE INDEX idempotency_claimed ON idempotency (claimed_ms);",
    /* 5: deleted accounts whose memberships are still to be ended; until now nobody did. */
    "ALTER TABLE accounts ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;"
    "UPDATE accounts SET leaving = 1 WHERE status = 2;"
    "CREATE INDEX accounts_leaving ON accounts (user_id) WHERE leaving = 1;",
    /* 6: who hides what; when people were last online (0: they are, in that run of the server). */
    "ALTER TABLE accounts ADD COLUMN hides INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX accounts_hiding ON accounts (user_id, hides) WHERE hides <> 0;"
    "CREATE TABLE seen ("
    " user_id INTEGER PRIMARY KEY,"
    " last_seen_ms INTEGER NOT NULL,"
    " run INTEGER NOT NULL) STRICT;"
    "CREATE INDEX seen_online ON seen (run) WHERE last_seen_ms = 0;"
    "CREATE TABLE runs ("
    " run INTEGER PRIMARY KEY,"
    " alive_ms INTEGER NOT NULL) STRICT;",
};

static enum confab_err apply_migration(struct sqlite_db *db, int64_t number)
{
    char set[100];
    (void)snprintf(set, sizeof(set),
                   "PRAGMA user_version = %" PRId64 "; PRAGMA application_id = %d;", number,
                   APPLICATION_ID);
    enum confab_err err = sqlite_db_exec(db, "BEGIN IMMEDIATE");
    if (err != CONFAB_OK) {
        return err;
    }
    err = sqlite_db_exec(db, MIGRATIONS[number - 1]);
    if (err == CONFAB_OK) {
        err = sqlite_db_exec(db, set); /* the database header is part of the transaction */
    }
    if (err == CONFAB_OK) {
        err = sqlite_db_exec(db, "COMMIT");
    }
    if (err != CONFAB_OK && !sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

enum confab_err sqlite_schema_migrate(struct sqlite_db *db)
{
    int64_t id = 0;
    int64_t version = 0;
    int64_t tables = 0;
    enum confab_err err = sqlite_db_get_int(db, "PRAGMA application_id", &id);
    if (err == CONFAB_OK) {
        err = sqlite_db_get_int(db, "PRAGMA user_version", &version);
    }
    if (err == CONFAB_OK) {
        err = sqlite_db_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    bool fresh = id == 0 && version == 0 && tables == 0;
    if ((!fresh && id != APPLICATION_ID) || version < 0 ||
        version > (int64_t)ARRAY_LEN(MIGRATIONS)) {
        diag_error(DIAG_DIR,
                   "the database is newer or not ours | application=%" PRId64 " version=%" PRId64,
                   id, version);
        return CONFAB_VERSION;
    }
    while (err == CONFAB_OK && version < (int64_t)ARRAY_LEN(MIGRATIONS)) {
        err = apply_migration(db, ++version);
    }
    return err;
}
