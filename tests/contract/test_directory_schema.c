/*
 * The schema of the directory in SQLite: files of each earlier version open, keep their rows and
 * work; and no statement reads a table from end to end that must not.
 */
#include "dir_rig.h"

#include <sqlite3.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "store_bench.h"

/* The migrations as they were; a copy, since what was released must not change. */
static const char *const VERSIONS[] = {
    /* 1 */
    "CREATE TABLE accounts (user_id INTEGER PRIMARY KEY, username_key TEXT NOT NULL UNIQUE,"
    " username TEXT NOT NULL, display_name TEXT NOT NULL, password_hash TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE devices (device_id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES accounts (user_id), name TEXT NOT NULL,"
    " token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),"
    " created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id);"
    "CREATE TABLE conversations (user_id INTEGER NOT NULL,"
    " conversation BLOB NOT NULL CHECK (length(conversation) = 16), lsn INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, kind INTEGER NOT NULL, joined INTEGER NOT NULL,"
    " PRIMARY KEY (user_id, conversation)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE projections (partition INTEGER PRIMARY KEY, lsn INTEGER NOT NULL) STRICT;",
    /* 2 */
    "ALTER TABLE devices ADD COLUMN chain_hash BLOB;"
    "ALTER TABLE devices ADD COLUMN previous_hash BLOB;"
    "ALTER TABLE devices ADD COLUMN salt BLOB;"
    "ALTER TABLE devices ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN rotated_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN last_used_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE devices ADD COLUMN last_address TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE devices ADD COLUMN revoked_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE devices SET last_used_ms = created_ms; DROP INDEX devices_of_user;"
    "CREATE INDEX devices_of_user ON devices (user_id, device_id) WHERE revoked_ms = 0;"
    "CREATE UNIQUE INDEX devices_by_chain ON devices (chain_hash);"
    "CREATE INDEX devices_revoked ON devices (revoked_ms) WHERE revoked_ms > 0;"
    "CREATE INDEX devices_used ON devices (last_used_ms) WHERE revoked_ms = 0;"
    "CREATE TABLE audit (audit_id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
    " actor INTEGER NOT NULL, target INTEGER NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL,"
    " address TEXT NOT NULL) STRICT;",
    /* 3 */
    "ALTER TABLE accounts ADD COLUMN about TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE accounts ADD COLUMN role INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE accounts ADD COLUMN status INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE accounts ADD COLUMN updated_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE accounts SET updated_ms = created_ms;"
    "CREATE INDEX accounts_by_status ON accounts (status, username_key);"
    "CREATE INDEX accounts_admins ON accounts (user_id) WHERE role = 1 AND status = 0;"
    "CREATE TABLE account_words (word TEXT NOT NULL, user_id INTEGER NOT NULL,"
    " status INTEGER NOT NULL, PRIMARY KEY (word, user_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX account_words_suspended ON account_words (word, user_id) WHERE status = 1;"
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    /* 4 */
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
    /* 5 */
    "ALTER TABLE accounts ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;"
    "UPDATE accounts SET leaving = 1 WHERE status = 2;"
    "CREATE INDEX accounts_leaving ON accounts (user_id) WHERE leaving = 1;",
};

/* Somebody who was deleted when nobody left their conversations for them; from version 3 on. */
static const char GONE[] =
    "INSERT INTO accounts (user_id, username_key, username, display_name, password_hash,"
    " created_ms, status) VALUES (7, 'gone', 'gone', '', '', 1, 2)";

/* Rows that version 1 could hold, of the texts and hashes that dir_rig.h makes. */
static const char ROWS[] =
    "INSERT INTO accounts VALUES (1, 'key-anna', 'anna', 'The anna', 'hash-anna', 1001),"
    " (2, 'key-berta', 'berta', 'The berta', 'hash-berta', 1002);"
    "INSERT INTO devices VALUES"
    " (10, 1, 'device 10', CAST(replace(hex(zeroblob(16)), '0', char(10)) AS BLOB), 2010),"
    " (20, 1, 'device 20', CAST(replace(hex(zeroblob(16)), '0', char(20)) AS BLOB), 2020);"
    "INSERT INTO conversations VALUES (1, x'00000000000000000000000000000005', 11, 110, 2, 1);"
    "INSERT INTO projections VALUES (3, 11);";

static void exec_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) {
        fail_msg("%s: %s", sql, text);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Makes a file of that version, with ROWS, in place of the rig's. */
static void make_version(unsigned version)
{
    char path[100];
    char sql[100];
    (void)snprintf(path, sizeof(path), "%.60s/old.db", dir_rig.tmp);
    for (unsigned i = 0; i < version; i++) {
        exec_sql(path, VERSIONS[i]);
        if (i == 0) {
            exec_sql(path, ROWS);
        }
        if (i == 2) {
            exec_sql(path, GONE);
        }
    }
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %u; PRAGMA application_id = %d",
                   version, 0x436f6e66);
    exec_sql(path, sql);
    (void)snprintf(dir_rig.path, sizeof(dir_rig.path), "%s", path);
}

static void expect_old_rows(void)
{
    struct dir_account a;
    assert_int_equal(dir_find_name("anna", &a), CONFAB_OK);
    assert_int_equal(a.user_id, 1);
    assert_int_equal(a.created_ms, 1001);
    assert_string_equal(a.display_name, "The anna");
    assert_string_equal(a.password_hash, "hash-anna");
    assert_string_equal(a.about, "");
    assert_int_equal(a.role, DIR_ROLE_MEMBER);
    assert_int_equal(a.status, DIR_STATUS_ACTIVE);
    assert_int_equal(a.updated_ms, 1001);
    assert_int_equal(a.hides, 0);
    struct dir_request people = {.op = DIR_ACCOUNTS_LIST, .query = "BERT", .limit = 5};
    assert_int_equal(dir_run(&people), CONFAB_OK);
    assert_int_equal(people.ret_naccounts, 1);
    assert_int_equal(people.ret_accounts[0].user_id, 2);
    dir_request_deinit(&people);
    struct dir_device d;
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    assert_int_equal(d.last_used_ms, 2010);
    assert_int_equal(d.generation, 0);
    assert_string_equal(d.last_address, "");
    struct dir_request by_token = {.op = DIR_DEVICE_BY_TOKEN};
    memset(by_token.token_hash, 20, sizeof(by_token.token_hash));
    assert_int_equal(dir_run(&by_token), CONFAB_OK);
    assert_int_equal(by_token.device.device_id, 20);
    dir_expect_devices(1, (const uint64_t[]){10, 20, 0});
    struct dir_request lsn = {.op = DIR_PROJECTED_LSN, .partition = 3};
    assert_int_equal(dir_run(&lsn), CONFAB_OK);
    assert_int_equal(lsn.lsn, 11);
    struct dir_request convs = {.op = DIR_CONVERSATIONS_LIST, .user_id = 1, .limit = 9};
    assert_int_equal(dir_run(&convs), CONFAB_OK);
    assert_int_equal(convs.nconv_rows, 1);
    assert_int_equal(convs.conv_rows[0].conv.lo, 5);
    dir_request_deinit(&convs);
}

static void expect_it_works(void)
{
    assert_int_equal(dir_create(3, "anna"), CONFAB_EXISTS);
    assert_int_equal(dir_create(3, "clara"), CONFAB_OK);
    assert_int_equal(dir_add_device(3, 30), CONFAB_OK);
    struct dir_request rotate = {.op = DIR_DEVICE_ROTATE, .now_ms = 5000};
    memset(rotate.chain_hash, 30, sizeof(rotate.chain_hash));
    memset(rotate.token_hash, 30, sizeof(rotate.token_hash));
    memset(rotate.next_hash, 31, sizeof(rotate.next_hash));
    assert_int_equal(dir_run(&rotate), CONFAB_OK);
    assert_int_equal(dir_revoke(1, 10, 5000), CONFAB_OK);
    dir_expect_devices(1, (const uint64_t[]){20, 0});
    struct dir_seen seen = {1, 4000};
    struct dir_request write = {
        .op = DIR_SEEN_WRITE, .run = 1, .now_ms = 5000, .seen = &seen, .nseen = 1};
    assert_int_equal(dir_run(&write), CONFAB_OK);
    struct dir_request set = {
        .op = DIR_SETTING_SET, .setting_key = "registration", .text = "open", .text_len = 4};
    assert_int_equal(dir_run(&set), CONFAB_OK);
}

static void test_directory_schema__earlier_versions_open_and_work(void **state)
{
    (void)state;
    char fresh[sizeof(dir_rig.path)];
    memcpy(fresh, dir_rig.path, sizeof(fresh));
    for (unsigned version = 1; version <= ARRAY_LEN(VERSIONS); version++) {
        make_version(version);
        dir_rig_reopen();
        expect_old_rows();
        dir_rig_reopen();
        expect_old_rows();
        expect_it_works();
        struct dir_request leaving = {.op = DIR_ACCOUNTS_LEAVING, .limit = 9};
        assert_int_equal(dir_run(&leaving), CONFAB_OK);
        dir_expect_ids(&leaving, version < 3 ? (const uint64_t[]){0} : (const uint64_t[]){7, 0});
        dir_request_deinit(&leaving);
        memcpy(dir_rig.path, fresh, sizeof(fresh));
        dir_rig_reopen();
        char old[100];
        (void)snprintf(old, sizeof(old), "%.60s/old.db", dir_rig.tmp);
        assert_int_equal(remove(old), 0);
    }
}

/* As after an update of the library that knows Unicode: the words are made anew at the open. */
static void test_directory_schema__words_of_other_rules_are_made_anew(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    const char *const spoilt[] = {
        "DELETE FROM account_words; UPDATE meta SET value = 'rules 0'",
        "UPDATE account_words SET word = 'x' || word; DELETE FROM meta",
    };
    for (unsigned i = 0; i < ARRAY_LEN(spoilt); i++) {
        exec_sql(dir_rig.path, spoilt[i]);
        dir_rig_reopen();
        struct dir_request people = {.op = DIR_ACCOUNTS_LIST, .query = "ann", .limit = 5};
        assert_int_equal(dir_run(&people), CONFAB_OK);
        assert_int_equal(people.ret_naccounts, 1);
        dir_request_deinit(&people);
    }
    exec_sql(dir_rig.path, "DELETE FROM account_words"); /* not while the version is the same */
    dir_rig_reopen();
    struct dir_request people = {.op = DIR_ACCOUNTS_LIST, .query = "ann", .limit = 5};
    assert_int_equal(dir_run(&people), CONFAB_OK);
    assert_int_equal(people.ret_naccounts, 0);
}

/* The page that says which words there are is junk: people cannot be trusted to be found, the rest
 * works. */
static void test_directory_schema__a_damaged_word_version_stops_no_start(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    dir_rig_reopen();
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(dir_rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'",
                                        -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    long page = sqlite3_column_int(st, 0);
    assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    FILE *f = fopen(dir_rig.path, "r+");
    assert_non_null(f);
    static const char junk[4096] = {0x77};
    assert_int_equal(fseek(f, (page - 1) * (long)sizeof(junk), SEEK_SET), 0);
    assert_int_equal(fwrite(junk, sizeof(junk), 1, f), 1);
    assert_int_equal(fclose(f), 0);
    dir_rig_reopen();
    struct dir_account a;
    assert_int_equal(dir_find_id(1, &a), CONFAB_OK);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
}

/* A record that cannot be written takes its change back, and nothing else. */
static void test_directory_schema__no_change_without_its_record(void **state)
{
    (void)state;
    struct dir_audit audit = dir_audit("account_created", 1);
    exec_sql(dir_rig.path, "DROP TABLE audit");
    struct dir_request req = dir_account_request(1, "anna");
    req.audit = &audit;
    assert_int_equal(dir_run(&req), CONFAB_IO);
    struct dir_account a;
    assert_int_equal(dir_find_id(1, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    struct dir_request people = {.op = DIR_ACCOUNTS_LIST, .query = "anna", .limit = 5};
    assert_int_equal(dir_run(&people), CONFAB_OK);
    assert_int_equal(people.ret_naccounts, 0);
}

/* ---- plans ---- */

struct statement {
    const char *name;
    const char *sql;
};
static const struct statement STATEMENTS[] = {
#define X(symbol, sql) {#symbol, sql},
    SQLITE_STATEMENTS(X)
#undef X
};

/* These read a whole table, for the reason given. */
static bool may_scan(const char *name)
{
    return strcmp(name, "ST_RUNS_PURGE") == 0 ||     /* a start of the server each, while needed */
           strcmp(name, "ST_WORDS_SOURCE") == 0 ||   /* makes all words anew */
           strcmp(name, "ST_SETTINGS_COUNT") == 0 || /* of DIR_SETTINGS_MAX */
           strcmp(name, "ST_PING") == 0;             /* stops at the first row */
}

/* One step of a plan is a line such as "SEARCH devices USING INDEX devices_used (last_used_ms<?)".
 */
static bool step_is_quick(const char *step)
{
    bool scans = strncmp(step, "SCAN ", 5) == 0 && strstr(step, "CONSTANT ROW") == NULL;
    bool partial = strstr(step, "accounts_admins") != NULL || /* holds the administrators only */
                   strstr(step, "invites_setup") != NULL;     /* one, or none */
    return (!scans || partial) && strstr(step, "AUTOMATIC") == NULL;
}

static void test_directory_schema__no_statement_reads_a_whole_table(void **state)
{
    (void)state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(dir_rig.path, &db), SQLITE_OK);
    unsigned searches = 0;
    for (unsigned i = 0; i < ARRAY_LEN(STATEMENTS); i++) {
        char sql[1000];
        int n = snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", STATEMENTS[i].sql);
        assert_in_range(n, 1, sizeof(sql) - 1);
        sqlite3_stmt *st = NULL;
        if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) {
            fail_msg("%s: %s", STATEMENTS[i].name, sqlite3_errmsg(db));
        }
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(st, 3);
            if (!step_is_quick(step) && !may_scan(STATEMENTS[i].name)) {
                fail_msg("%s: %s", STATEMENTS[i].name, step);
            }
            searches += strncmp(step, "SEARCH ", 7) == 0;
        }
        assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    }
    assert_true(searches > 20);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A page of people is read in the order of an index: nothing is sorted. */
static void test_directory_schema__people_are_not_sorted(void **state)
{
    (void)state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(dir_rig.path, &db), SQLITE_OK);
    unsigned seen = 0;
    for (unsigned i = 0; i < ARRAY_LEN(STATEMENTS); i++) {
        const char *name = STATEMENTS[i].name;
        if (strncmp(name, "ST_WORDS", 8) != 0 && strncmp(name, "ST_ACCOUNTS_PAGE", 16) != 0) {
            continue;
        }
        char sql[1000];
        (void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", STATEMENTS[i].sql);
        sqlite3_stmt *st = NULL;
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(st, 3);
            if (strstr(step, "TEMP B-TREE")) {
                fail_msg("%s: %s", name, step);
            }
            seen++;
        }
        assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    }
    assert_true(seen >= 5);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory_schema__words_of_other_rules_are_made_anew),
    DIR_CASE(test_directory_schema__a_damaged_word_version_stops_no_start),
    DIR_CASE(test_directory_schema__no_change_without_its_record),
    DIR_CASE(test_directory_schema__no_statement_reads_a_whole_table),
    DIR_CASE(test_directory_schema__people_are_not_sorted),
    DIR_CASE(test_directory_schema__earlier_versions_open_and_work),
};

int main(void)
{
    return dir_rig_main_sqlite(CASES, ARRAY_LEN(CASES));
}
