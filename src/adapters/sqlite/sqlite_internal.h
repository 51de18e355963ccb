/* The database connection behind directory_sqlite; for the files of this folder and their tests. */
#ifndef CONFAB_ADAPTERS_SQLITE_INTERNAL_H
#define CONFAB_ADAPTERS_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "adapters/sqlite/sqlite_statements.h"
#include "ports/directory.h"

/* One connection; one thread at a time. */
struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[ST_COUNT];
    bool sync_failed; /* sticky: what the disk holds is unknown, no further write is confirmed */
};

/* CONFAB_VERSION and so on as directory_sqlite_open. On an error nothing stays open. */
CONFAB_NODISCARD enum confab_err sqlite_db_open(struct sqlite_db *db, const char *path,
                                                size_t cache_bytes);
void sqlite_db_close(struct sqlite_db *db); /* accepts a zeroed one */

/* Translates a result code; SQLITE_OK, ROW and DONE are CONFAB_OK. */
enum confab_err sqlite_err(int rc);
/* The same; also logs an error of the engine, and notes a failed sync. `call` is a literal. */
enum confab_err sqlite_db_err(struct sqlite_db *db, int rc, const char *call);
/* Runs SQL without parameters and results. */
CONFAB_NODISCARD enum confab_err sqlite_db_exec(struct sqlite_db *db, const char *sql);
/* The number that is the first row of this query. */
CONFAB_NODISCARD enum confab_err sqlite_db_get_int(struct sqlite_db *db, const char *sql,
                                                   int64_t *ret);

/*
 * What runs statements. Their parameters are bound before; they are reset after, so what was bound
 * may go.
 */

/* Without results. */
CONFAB_NODISCARD enum confab_err sqlite_db_run(struct sqlite_db *db, enum sqlite_statement st);
/* Is there a row? */
CONFAB_NODISCARD enum confab_err sqlite_db_any(struct sqlite_db *db, enum sqlite_statement st,
                                               bool *ret);
/* The number in the first column of the first row; 0 when there is no row. */
CONFAB_NODISCARD enum confab_err sqlite_db_number(struct sqlite_db *db, enum sqlite_statement st,
                                                  uint64_t *ret);
/* Reads one row. CONFAB_CORRUPT when it cannot be what was written, CONFAB_NOMEM. */
typedef enum confab_err (*sqlite_on_row)(sqlite3_stmt *st, struct dir_request *req);
/* Calls on_row for every row, which may be NULL, and counts them. */
CONFAB_NODISCARD enum confab_err sqlite_db_rows(struct sqlite_db *db, enum sqlite_statement st,
                                                struct dir_request *req, sqlite_on_row on_row,
                                                uint32_t *ret_n);
/* For a statement with one row at most: without a row *ret_result becomes CONFAB_NOT_FOUND. */
CONFAB_NODISCARD enum confab_err sqlite_db_row(struct sqlite_db *db, enum sqlite_statement st,
                                               struct dir_request *req, sqlite_on_row on_row,
                                               enum confab_err *ret_result);

/* Brings the schema up to date (sqlite_schema.c). CONFAB_VERSION: newer, or not ours. */
CONFAB_NODISCARD enum confab_err sqlite_schema_migrate(struct sqlite_db *db);

/* Makes all words anew when others would be made now (sqlite_words.c). */
CONFAB_NODISCARD enum confab_err sqlite_words_refresh(struct sqlite_db *db);
/* Adds the words under which the account is found, or removes them. */
CONFAB_NODISCARD enum confab_err sqlite_words_add(struct sqlite_db *db, const char *username_key,
                                                  const struct dir_account *a);
CONFAB_NODISCARD enum confab_err sqlite_words_remove(struct sqlite_db *db, const char *username_key,
                                                     const struct dir_account *a);
/* Stores the uses and the end of the invite. */
CONFAB_NODISCARD enum confab_err sqlite_invite_store(struct sqlite_db *db,
                                                     const struct dir_invite *i);
/* Removes with a purging statement of (before_ms, limit); sets ret_count and ret_more. */
CONFAB_NODISCARD enum confab_err sqlite_db_purge(struct sqlite_db *db, enum sqlite_statement st,
                                                 struct dir_request *req);
/* Revokes the devices of req->user_id but `spared`, at now_ms, into ret_ids. */
CONFAB_NODISCARD enum confab_err sqlite_devices_end(struct sqlite_db *db, struct dir_request *req,
                                                    uint64_t spared);
/* Reads a row of ACCOUNT_COLUMNS into account and username_key. */
CONFAB_NODISCARD enum confab_err sqlite_read_account(sqlite3_stmt *st, struct dir_request *req);

/*
 * Runs one request, in whatever transaction is open. What the request itself may meet (see
 * ports/directory.h) comes by ret_result, with nothing changed; the return value is the engine's.
 * So does each of the functions below, with *ret_result being CONFAB_OK before.
 */
CONFAB_NODISCARD enum confab_err sqlite_run_request(struct sqlite_db *db, struct dir_request *req,
                                                    enum confab_err *ret_result);

#define SQLITE_AREA(f)                                                                             \
    CONFAB_NODISCARD enum confab_err f(struct sqlite_db *db, struct dir_request *req,              \
                                       enum confab_err *ret_result)
SQLITE_AREA(sqlite_account_create);
SQLITE_AREA(sqlite_account_by_name);
SQLITE_AREA(sqlite_account_by_id); /* by req->user_id */
SQLITE_AREA(sqlite_accounts_exist);
SQLITE_AREA(sqlite_account_change); /* update and delete */
SQLITE_AREA(sqlite_accounts_list);
SQLITE_AREA(sqlite_admins_count);
SQLITE_AREA(sqlite_accounts_leaving);
SQLITE_AREA(sqlite_account_left);
SQLITE_AREA(sqlite_names);
SQLITE_AREA(sqlite_device_create);
SQLITE_AREA(sqlite_device_by_token);
SQLITE_AREA(sqlite_device_by_id);
SQLITE_AREA(sqlite_device_list);
SQLITE_AREA(sqlite_device_rename);
SQLITE_AREA(sqlite_device_rotate);
SQLITE_AREA(sqlite_device_revoke);
SQLITE_AREA(sqlite_devices_revoke_all);
SQLITE_AREA(sqlite_devices_revoked);
SQLITE_AREA(sqlite_devices_purge);
SQLITE_AREA(sqlite_conversations_project);
SQLITE_AREA(sqlite_conversations_list);
SQLITE_AREA(sqlite_projected_lsn);
SQLITE_AREA(sqlite_audit_append); /* req->audit, whatever the operation */
SQLITE_AREA(sqlite_audit_list);
SQLITE_AREA(sqlite_audit_purge);
SQLITE_AREA(sqlite_invite_create);
SQLITE_AREA(sqlite_invite_by_code);
SQLITE_AREA(sqlite_invites_list);
SQLITE_AREA(sqlite_invite_revoke);
SQLITE_AREA(sqlite_invites_purge);
SQLITE_AREA(sqlite_setting_get);
SQLITE_AREA(sqlite_setting_set);
SQLITE_AREA(sqlite_idem_claim);
SQLITE_AREA(sqlite_idem_finish);
SQLITE_AREA(sqlite_idem_release);
SQLITE_AREA(sqlite_idem_purge);
SQLITE_AREA(sqlite_hidden_list);
SQLITE_AREA(sqlite_seen_write);
SQLITE_AREA(sqlite_seen_read);
#undef SQLITE_AREA

#endif
