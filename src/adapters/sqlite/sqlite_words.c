/*
 * People by name: account_words holds a row for each word of each account (ports/dir_words.h), so
 * that a prefix is a range of its key. One that has several such words is shown at the first of
 * them; which that is, its row tells, so no second index is needed.
 *
 * The words of a text may change with the version of Unicode: the version they were made with is in
 * meta, and an open that would make others makes all of them anew.
 */
#include "ports/dir_words.h"

#include <stdio.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

/* Rows looked at in one call: most of those that begin with a common word may fail on another. */
enum { LOOK_MAX = 2000 };

static enum confab_err each_word(struct sqlite_db *db, enum sqlite_statement statement,
                                 const char *username_key, const struct dir_account *a)
{
    struct dir_words words;
    enum confab_err err = CONFAB_OK;
    sqlite3_stmt *st = db->statements[statement];
    dir_words_of_account(username_key, a->display_name, &words);
    for (uint32_t i = 0; i < words.n && err == CONFAB_OK; i++) {
        bind_text(st, 1, words.word[i]);
        bind_id(st, 2, a->user_id);
        if (statement == ST_WORD_INSERT) {
            bind_id(st, 3, a->status);
        }
        err = sqlite_db_run(db, statement);
    }
    return err;
}

enum confab_err sqlite_words_add(struct sqlite_db *db, const char *username_key,
                                 const struct dir_account *a)
{
    return a->status == DIR_STATUS_DELETED ? CONFAB_OK
                                           : each_word(db, ST_WORD_INSERT, username_key, a);
}

enum confab_err sqlite_words_remove(struct sqlite_db *db, const char *username_key,
                                    const struct dir_account *a)
{
    return each_word(db, ST_WORD_DELETE, username_key, a);
}

/* ---- made anew ---- */

static const char VERSION_KEY[] = "account_words";

static enum confab_err rebuild(struct sqlite_db *db, const char *version)
{
    struct dir_request row = {.op = DIR_ACCOUNT_BY_ID};
    sqlite3_stmt *source = db->statements[ST_WORDS_SOURCE];
    enum confab_err err = sqlite_db_run(db, ST_WORDS_CLEAR);
    while (err == CONFAB_OK) {
        int rc = sqlite3_step(source);
        if (rc == SQLITE_ROW) {
            err = sqlite_read_account(source, &row);
        } else {
            err = sqlite_db_err(db, rc, "read names");
            break;
        }
        if (err == CONFAB_OK) {
            err = sqlite_words_add(db, row.username_key, &row.account);
        }
    }
    (void)sqlite3_reset(source);
    if (err == CONFAB_OK) {
        bind_text(db->statements[ST_META_SET], 1, VERSION_KEY);
        bind_text(db->statements[ST_META_SET], 2, version);
        err = sqlite_db_run(db, ST_META_SET);
    }
    return err;
}

static enum confab_err same_version(struct sqlite_db *db, const char *version, bool *ret)
{
    char stored[DIR_WORDS_VERSION_BYTES];
    sqlite3_stmt *st = db->statements[ST_META_GET];
    bind_text(st, 1, VERSION_KEY);
    int rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW && column_text(st, 0, stored, sizeof(stored)) &&
           strcmp(stored, version) == 0;
    (void)sqlite3_reset(st);
    return sqlite_db_err(db, rc, "read version of words");
}

enum confab_err sqlite_words_refresh(struct sqlite_db *db)
{
    char version[DIR_WORDS_VERSION_BYTES];
    bool same = false;
    dir_words_version(version);
    enum confab_err err = same_version(db, version, &same);
    if (err == CONFAB_CORRUPT) {
        return CONFAB_OK; /* one damaged page must not stop a start; what needs it will tell */
    }
    if (err != CONFAB_OK || same) {
        return err;
    }
    err = sqlite_db_run(db, ST_BEGIN);
    if (err == CONFAB_OK) {
        err = rebuild(db, version);
    }
    if (err == CONFAB_OK) {
        err = sqlite_db_run(db, ST_COMMIT);
    }
    if (err != CONFAB_OK && !sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

/* ---- looked up ---- */

struct page {
    struct dir_request *req;
    const struct dir_query *query; /* NULL: all */
    struct dir_request found;
    uint32_t looked;
    bool stopped; /* before the end */
};

/* Sets where the next page begins: after this row. */
static void set_cursor(struct dir_request *req, const char *key, uint64_t id)
{
    memcpy(req->ret_after_key, key, strlen(key) + 1);
    req->ret_after_id = id;
}

/*
 * One row, that of `word` (NULL: of the list of all). When the page is full and there is one more,
 * the page ends.
 */
static enum confab_err look_at(struct sqlite_db *db, struct page *p, const char *word, uint64_t id)
{
    struct dir_request *req = p->req;
    enum confab_err missing = CONFAB_OK;
    p->found.user_id = id;
    enum confab_err err = sqlite_account_by_id(db, &p->found, &missing);
    if (err != CONFAB_OK || missing != CONFAB_OK) {
        return err;
    }
    if (p->query) {
        struct dir_words words;
        dir_words_of_account(p->found.username_key, p->found.account.display_name, &words);
        const char *shown_at = dir_query_match(p->query, &words);
        if (!shown_at || strcmp(shown_at, word) != 0) {
            return CONFAB_OK;
        }
    }
    if (req->ret_naccounts == req->limit) {
        p->stopped = true;
        return CONFAB_OK;
    }
    uint64_t n = 0;
    bind_id(db->statements[ST_DEVICE_COUNT], 1, id);
    err = sqlite_db_number(db, ST_DEVICE_COUNT, &n);
    p->found.account.ndevices = (uint32_t)n;
    return err == CONFAB_OK ? dir_results_add_account(req, &p->found.account) : err;
}

/* Steps a statement of (word, id), or of (id), as far as a page goes. */
static enum confab_err run_page(struct sqlite_db *db, sqlite3_stmt *st, struct page *p)
{
    struct dir_request *req = p->req;
    enum confab_err err = CONFAB_OK;
    while (err == CONFAB_OK && !p->stopped) {
        int rc = sqlite3_step(st);
        if (rc != SQLITE_ROW) {
            err = sqlite_db_err(db, rc, "list accounts");
            break;
        }
        char word[DIR_WORD_BYTES + 1] = "";
        if (p->query && !column_text(st, 0, word, sizeof(word))) {
            err = CONFAB_CORRUPT;
            break;
        }
        uint64_t id = column_id(st, p->query ? 1 : 0);
        err = look_at(db, p, word, id);
        if (err == CONFAB_OK && !p->stopped) {
            set_cursor(req, p->query ? word : p->found.username_key, id);
            p->stopped = ++p->looked == LOOK_MAX;
        }
    }
    (void)sqlite3_reset(st);
    req->ret_more = p->stopped;
    return err;
}

static enum confab_err list_all(struct sqlite_db *db, struct dir_request *req)
{
    struct page p = {.req = req};
    bool any = req->status == DIR_STATUS_ANY;
    sqlite3_stmt *st = db->statements[any ? ST_ACCOUNTS_PAGE : ST_ACCOUNTS_PAGE_OF];
    bind_text(st, 1, req->after_key);
    bind_id(st, 2, (uint64_t)req->limit + 1);
    if (!any) {
        bind_id(st, 3, req->status);
    }
    return run_page(db, st, &p);
}

enum confab_err sqlite_accounts_list(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    struct dir_query query;
    if (req->query[0] == 0) {
        return list_all(db, req);
    }
    if (!dir_query_of(req->query, &query) || req->status == DIR_STATUS_DELETED) {
        return CONFAB_OK;
    }
    struct page p = {.req = req, .query = &query};
    const char *lead = dir_query_lead(&query);
    char end[DIR_WORD_BYTES + 5];
    (void)snprintf(end, sizeof(end), "%s\xf4\x8f\xbf\xbf", lead); /* above all that begin so */
    enum sqlite_statement statement = req->status == DIR_STATUS_ANY      ? ST_WORDS
                                      : req->status == DIR_STATUS_ACTIVE ? ST_WORDS_ACTIVE
                                                                         : ST_WORDS_SUSPENDED;
    sqlite3_stmt *st = db->statements[statement];
    bool first = strcmp(req->after_key, lead) < 0;
    bind_text(st, 1, first ? lead : req->after_key);
    bind_id(st, 2, first ? 0 : req->after_id);
    bind_text(st, 3, end);
    bind_id(st, 4, LOOK_MAX);
    return run_page(db, st, &p);
}
