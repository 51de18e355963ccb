/*
 * Every statement, prepared once: X(symbol, SQL). Parameters are bound by position. For the files
 * of this folder and their tests.
 */
#ifndef CONFAB_ADAPTERS_SQLITE_STATEMENTS_H
#define CONFAB_ADAPTERS_SQLITE_STATEMENTS_H

#define ACCOUNT_COLUMNS                                                                            \
    "user_id, username_key, username, display_name, about, email, password_hash, role, status,"    \
    " created_ms, updated_ms, hides"
#define DEVICE_COLUMNS                                                                             \
    "device_id, user_id, name, token_hash, created_ms, chain_hash, previous_hash, salt,"           \
    " generation, rotated_ms, last_used_ms, last_address, revoked_ms"

#define INVITE_COLUMNS                                                                             \
    "invite_id, code_hash, kind, uses_max, uses, created_by, created_ms, expires_ms, revoked_ms,"  \
    " ended_ms, note"

#define SQLITE_STATEMENTS(X)                                                                       \
    X(ST_BEGIN, "BEGIN IMMEDIATE")                                                                 \
    X(ST_COMMIT, "COMMIT")                                                                         \
    X(ST_ACCOUNT_INSERT, "INSERT INTO accounts (" ACCOUNT_COLUMNS ")"                              \
                         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")            \
    X(ST_ACCOUNT_UPDATE,                                                                           \
      "UPDATE accounts SET display_name = ?4, about = ?5, email = ?6, password_hash = ?7,"         \
      " role = ?8, status = ?9, updated_ms = ?11, hides = ?12 WHERE user_id = ?1")                 \
    X(ST_ADMINS_COUNT, "SELECT count(*) FROM accounts INDEXED BY accounts_admins"                  \
                       " WHERE role = 1 AND status = 0")                                           \
    X(ST_ACCOUNTS_PAGE, "SELECT user_id FROM accounts WHERE username_key > ?1"                     \
                        " ORDER BY username_key LIMIT ?2")                                         \
    X(ST_ACCOUNTS_PAGE_OF, "SELECT user_id FROM accounts WHERE status = ?3 AND username_key > ?1"  \
                           " ORDER BY username_key LIMIT ?2")                                      \
    X(ST_WORDS, "SELECT word, user_id FROM account_words WHERE (word, user_id) > (?1, ?2)"         \
                " AND word < ?3 ORDER BY word, user_id LIMIT ?4")                                  \
    X(ST_WORDS_ACTIVE, "SELECT word, user_id FROM account_words"                                   \
                       " WHERE (word, user_id) > (?1, ?2) AND word < ?3 AND status = 0"            \
                       " ORDER BY word, user_id LIMIT ?4")                                         \
    X(ST_WORDS_SUSPENDED,                                                                          \
      "SELECT word, user_id FROM account_words INDEXED BY account_words_suspended"                 \
      " WHERE (word, user_id) > (?1, ?2) AND word < ?3 AND status = 1"                             \
      " ORDER BY word, user_id LIMIT ?4")                                                          \
    X(ST_WORD_INSERT,                                                                              \
      "INSERT OR REPLACE INTO account_words (word, user_id, status) VALUES (?1, ?2, ?3)")          \
    X(ST_WORD_DELETE, "DELETE FROM account_words WHERE word = ?1 AND user_id = ?2")                \
    X(ST_WORDS_CLEAR, "DELETE FROM account_words")                                                 \
    X(ST_WORDS_SOURCE, "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE status <> 2")               \
    X(ST_META_GET, "SELECT value FROM meta WHERE key = ?1")                                        \
    X(ST_META_SET, "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")                     \
    X(ST_ACCOUNT_BY_NAME, "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE username_key = ?1")      \
    X(ST_ACCOUNT_BY_ID, "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE user_id = ?1")             \
    X(ST_ACCOUNT_EXISTS, "SELECT 1 FROM accounts WHERE user_id = ?1")                              \
    X(ST_ACCOUNT_DELETED, "SELECT 1 FROM accounts WHERE user_id = ?1 AND status = 2")              \
    X(ST_ACCOUNT_LEAVING, "UPDATE accounts SET leaving = 1 WHERE user_id = ?1")                    \
    X(ST_ACCOUNT_LEFT, "UPDATE accounts SET leaving = 0 WHERE user_id = ?1 AND leaving = 1")       \
    X(ST_ACCOUNTS_LEAVING, "SELECT user_id FROM accounts INDEXED BY accounts_leaving"              \
                           " WHERE leaving = 1 AND user_id > ?1 ORDER BY user_id LIMIT ?2")        \
    X(ST_DEVICE_COUNT, "SELECT count(*) FROM devices WHERE user_id = ?1 AND revoked_ms = 0")       \
    X(ST_DEVICE_TAKEN,                                                                             \
      "SELECT 1 FROM devices WHERE device_id = ?1 OR token_hash = ?2 OR chain_hash = ?3 LIMIT 1")  \
    X(ST_DEVICE_INSERT,                                                                            \
      "INSERT INTO devices (device_id, user_id, name, token_hash, created_ms, chain_hash,"         \
      " last_used_ms, last_address) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?7)")                      \
    X(ST_DEVICE_BY_TOKEN,                                                                          \
      "SELECT " DEVICE_COLUMNS " FROM devices WHERE token_hash = ?1 AND revoked_ms = 0")           \
    X(ST_DEVICE_BY_CHAIN,                                                                          \
      "SELECT " DEVICE_COLUMNS " FROM devices WHERE chain_hash = ?1 AND revoked_ms = 0")           \
    X(ST_DEVICE_BY_ID,                                                                             \
      "SELECT " DEVICE_COLUMNS " FROM devices WHERE device_id = ?1 AND revoked_ms = 0")            \
    X(ST_DEVICE_LIST, "SELECT " DEVICE_COLUMNS                                                     \
                      " FROM devices WHERE user_id = ?1 AND revoked_ms = 0 ORDER BY device_id")    \
    X(ST_DEVICE_RENAME, "UPDATE devices SET name = ?2 WHERE device_id = ?1")                       \
    X(ST_DEVICE_ROTATE,                                                                            \
      "UPDATE devices SET previous_hash = ?2, token_hash = ?3, salt = ?4, generation = ?5,"        \
      " rotated_ms = ?6, last_used_ms = ?6, last_address = ?7 WHERE device_id = ?1")               \
    X(ST_DEVICE_REVOKE, "UPDATE devices SET revoked_ms = ?2 WHERE device_id = ?1")                 \
    X(ST_DEVICES_REVOKE_ALL,                                                                       \
      "UPDATE devices SET revoked_ms = ?3 WHERE user_id = ?1 AND device_id <> ?2"                  \
      " AND revoked_ms = 0 RETURNING device_id")                                                   \
    X(ST_DEVICES_REVOKED,                                                                          \
      "SELECT device_id FROM devices INDEXED BY devices_revoked WHERE revoked_ms > 0"              \
      " AND revoked_ms >= ?1 AND device_id > ?2 ORDER BY device_id LIMIT ?3")                      \
    X(ST_DEVICES_REMOVE,                                                                           \
      "DELETE FROM devices WHERE device_id IN (SELECT device_id FROM devices"                      \
      " INDEXED BY devices_revoked WHERE revoked_ms > 0 AND revoked_ms < ?1 LIMIT ?2)")            \
    X(ST_DEVICES_IDLE,                                                                             \
      "UPDATE devices SET revoked_ms = ?3 WHERE device_id IN (SELECT device_id FROM devices"       \
      " INDEXED BY devices_used WHERE revoked_ms = 0 AND last_used_ms < ?1 LIMIT ?2)"              \
      " RETURNING device_id")                                                                      \
    X(ST_CONV_UPSERT,                                                                              \
      "INSERT INTO conversations (user_id, conversation, lsn, since_ms, kind, joined)"             \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (user_id, conversation) DO UPDATE SET"         \
      " lsn = excluded.lsn, since_ms = excluded.since_ms, kind = excluded.kind,"                   \
      " joined = excluded.joined WHERE excluded.lsn > conversations.lsn")                          \
    X(ST_CONV_LIST, "SELECT conversation, lsn, since_ms, kind, joined FROM conversations"          \
                    " WHERE user_id = ?1 AND conversation > ?2 ORDER BY conversation LIMIT ?3")    \
    X(ST_PROJECTED_SET,                                                                            \
      "INSERT INTO projections (partition, lsn) VALUES (?1, ?2) ON CONFLICT (partition)"           \
      " DO UPDATE SET lsn = max(lsn, excluded.lsn)")                                               \
    X(ST_PROJECTED_GET, "SELECT lsn FROM projections WHERE partition = ?1")                        \
    X(ST_AUDIT_INSERT, "INSERT INTO audit (at_ms, actor, target, action, detail, address)"         \
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                         \
    X(ST_AUDIT_LIST, "SELECT audit_id, at_ms, actor, target, action, detail, address FROM audit"   \
                     " WHERE audit_id < ?1 ORDER BY audit_id DESC LIMIT ?2")                       \
    X(ST_AUDIT_PURGE,                                                                              \
      "DELETE FROM audit WHERE at_ms < ?1 AND audit_id <= coalesce((SELECT audit_id FROM audit"    \
      " WHERE audit_id > 0 ORDER BY audit_id LIMIT 1 OFFSET ?2 - 1), 9223372036854775807)")        \
    X(ST_INVITE_TAKEN, "SELECT 1 FROM invites WHERE invite_id = ?1 OR code_hash = ?2 LIMIT 1")     \
    X(ST_INVITES_OPEN, "SELECT count(*) FROM invites WHERE created_by = ?1 AND revoked_ms = 0"     \
                       " AND uses < uses_max AND (expires_ms = 0 OR expires_ms > ?2)")             \
    X(ST_INVITE_INSERT, "INSERT INTO invites (" INVITE_COLUMNS ")"                                 \
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")                  \
    X(ST_INVITES_REPLACE,                                                                          \
      "UPDATE invites INDEXED BY invites_setup SET revoked_ms = ?1, ended_ms ="                    \
      " CASE WHEN ended_ms BETWEEN 1 AND ?1 THEN ended_ms ELSE ?1 END"                             \
      " WHERE kind = 1 AND revoked_ms = 0 AND uses < uses_max")                                    \
    X(ST_INVITE_BY_CODE, "SELECT " INVITE_COLUMNS " FROM invites WHERE code_hash = ?1")            \
    X(ST_INVITE_BY_ID, "SELECT " INVITE_COLUMNS " FROM invites WHERE invite_id = ?1")              \
    X(ST_INVITES_ALL, "SELECT " INVITE_COLUMNS " FROM invites WHERE invite_id < ?1"                \
                      " ORDER BY invite_id DESC LIMIT ?2")                                         \
    X(ST_INVITES_OF, "SELECT " INVITE_COLUMNS " FROM invites WHERE created_by = ?3"                \
                     " AND invite_id < ?1 ORDER BY invite_id DESC LIMIT ?2")                       \
    X(ST_INVITE_STATE, "UPDATE invites SET uses = ?2, revoked_ms = ?3, ended_ms = ?4"              \
                       " WHERE invite_id = ?1")                                                    \
    X(ST_INVITES_PURGE,                                                                            \
      "DELETE FROM invites WHERE invite_id IN (SELECT invite_id FROM invites"                      \
      " INDEXED BY invites_ended WHERE ended_ms > 0 AND ended_ms < ?1 LIMIT ?2)")                  \
    X(ST_SETTING_GET, "SELECT value FROM settings WHERE key = ?1")                                 \
    X(ST_SETTINGS_COUNT, "SELECT count(*) FROM settings WHERE key <> ?1")                          \
    X(ST_SETTING_SET,                                                                              \
      "INSERT OR REPLACE INTO settings (key, value, updated_ms) VALUES (?1, ?2, ?3)")              \
    X(ST_SETTING_DELETE, "DELETE FROM settings WHERE key = ?1")                                    \
    X(ST_IDEM_GET, "SELECT request_hash, claimed_ms, status, body FROM idempotency"                \
                   " WHERE user_id = ?1 AND key = ?2")                                             \
    X(ST_IDEM_COUNT, "SELECT count(*) FROM idempotency WHERE user_id = ?1")                        \
    X(ST_IDEM_INSERT, "INSERT INTO idempotency (user_id, key, request_hash, claimed_ms, status,"   \
                      " body) VALUES (?1, ?2, ?3, ?4, 0, x'')")                                    \
    X(ST_IDEM_TAKE, "UPDATE idempotency SET claimed_ms = ?3 WHERE user_id = ?1 AND key = ?2")      \
    X(ST_IDEM_FINISH, "UPDATE idempotency SET status = ?4, body = ?5"                              \
                      " WHERE user_id = ?1 AND key = ?2 AND claimed_ms = ?3 AND status = 0")       \
    X(ST_IDEM_RELEASE, "DELETE FROM idempotency"                                                   \
                       " WHERE user_id = ?1 AND key = ?2 AND claimed_ms = ?3 AND status = 0")      \
    X(ST_IDEM_PURGE, "DELETE FROM idempotency WHERE id IN (SELECT id FROM idempotency"             \
                     " INDEXED BY idempotency_claimed WHERE claimed_ms < ?1 LIMIT ?2)")            \
    X(ST_HIDDEN_LIST, "SELECT user_id, hides FROM accounts INDEXED BY accounts_hiding"             \
                      " WHERE hides <> 0 AND user_id > ?1 ORDER BY user_id LIMIT ?2")              \
    X(ST_SEEN_SET, "INSERT INTO seen (user_id, last_seen_ms, run) SELECT ?1, ?2, ?3"               \
                   " WHERE EXISTS (SELECT 1 FROM accounts WHERE user_id = ?1 AND status <> 2)"     \
                   " ON CONFLICT (user_id) DO UPDATE SET last_seen_ms = excluded.last_seen_ms,"    \
                   " run = excluded.run")                                                          \
    X(ST_SEEN_GET, "SELECT CASE WHEN last_seen_ms > 0 THEN last_seen_ms"                           \
                   " ELSE (SELECT alive_ms FROM runs WHERE runs.run = seen.run) END"               \
                   " FROM seen WHERE user_id = ?1")                                                \
    X(ST_SEEN_DELETE, "DELETE FROM seen WHERE user_id = ?1")                                       \
    X(ST_RUN_ALIVE, "INSERT INTO runs (run, alive_ms) VALUES (?1, ?2) ON CONFLICT (run)"           \
                    " DO UPDATE SET alive_ms = max(alive_ms, excluded.alive_ms)")                  \
    X(ST_RUNS_PURGE, "DELETE FROM runs WHERE run <> ?1 AND NOT EXISTS (SELECT 1 FROM seen"         \
                     " INDEXED BY seen_online WHERE seen.run = runs.run AND last_seen_ms = 0)")    \
    X(ST_PING, "SELECT count(*) FROM (SELECT 1 FROM accounts LIMIT 1)")

enum sqlite_statement {
#define X(symbol, sql) symbol,
    SQLITE_STATEMENTS(X)
#undef X
        ST_COUNT
};

#endif
