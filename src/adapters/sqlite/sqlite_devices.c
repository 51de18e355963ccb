/*
 * Devices and their chains of refresh tokens. Rows of revoked devices stay for a while, so that a
 * start can tell which access tokens are not valid any more.
 */
#include "adapters/sqlite/sqlite_internal.h"
#include "adapters/sqlite/sqlite_row.h"
#include "ports/dir_adapter.h"

static enum confab_err device_taken(struct sqlite_db *db, uint64_t id, const uint8_t *token,
                                    const uint8_t *chain, bool *ret)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_TAKEN];
    bind_id(st, 1, id);
    bind_blob(st, 2, token, DIR_TOKEN_HASH);
    bind_hash(st, 3, chain);
    return sqlite_db_any(db, ST_DEVICE_TAKEN, ret);
}

static enum confab_err insert_device(struct sqlite_db *db, struct dir_device *d)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_INSERT];
    bind_id(st, 1, d->device_id);
    bind_id(st, 2, d->user_id);
    bind_text(st, 3, d->name);
    bind_blob(st, 4, d->token_hash, sizeof(d->token_hash));
    bind_id(st, 5, d->created_ms);
    bind_hash(st, 6, d->chain_hash);
    bind_text(st, 7, d->last_address);
    return sqlite_db_run(db, ST_DEVICE_INSERT);
}

/* Nothing else writes between the checks and the insertion: this is inside a transaction. */
enum confab_err sqlite_device_create(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    struct dir_device *d = &req->device;
    struct dir_request owner = {.op = DIR_ACCOUNT_BY_ID, .user_id = d->user_id};
    enum confab_err err = sqlite_account_by_id(db, &owner, ret_result);
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        *ret_result = dir_account_signs_in(&owner.account, req->account.password_hash);
    }
    bool taken = false;
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        err = device_taken(db, d->device_id, d->token_hash, d->chain_hash, &taken);
    }
    uint64_t n = 0;
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        bind_id(db->statements[ST_DEVICE_COUNT], 1, d->user_id);
        err = sqlite_db_number(db, ST_DEVICE_COUNT, &n);
    }
    if (err == CONFAB_OK && *ret_result == CONFAB_OK && (taken || n >= req->devices_max)) {
        *ret_result = taken ? CONFAB_EXISTS : CONFAB_LIMIT;
    }
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    dir_device_begin(d);
    return insert_device(db, d);
}

static enum confab_err read_device(sqlite3_stmt *st, struct dir_device *d)
{
    d->device_id = column_id(st, 0);
    d->user_id = column_id(st, 1);
    d->created_ms = column_id(st, 4);
    d->generation = column_id(st, 8);
    d->rotated_ms = column_id(st, 9);
    d->last_used_ms = column_id(st, 10);
    d->revoked_ms = column_id(st, 12);
    bool ok = column_text(st, 2, d->name, sizeof(d->name)) &&
              column_blob(st, 3, d->token_hash, sizeof(d->token_hash)) &&
              column_hash(st, 5, d->chain_hash) && column_hash(st, 6, d->previous_hash) &&
              column_hash(st, 7, d->salt) &&
              column_text(st, 11, d->last_address, sizeof(d->last_address));
    return ok ? CONFAB_OK : CONFAB_CORRUPT;
}

static enum confab_err on_device(sqlite3_stmt *st, struct dir_request *req)
{
    return read_device(st, &req->device);
}

static enum confab_err on_listed_device(sqlite3_stmt *st, struct dir_request *req)
{
    struct dir_device device = {.device_id = 0};
    enum confab_err err = read_device(st, &device);
    return err == CONFAB_OK ? dir_results_add_device(req, &device) : err;
}

static enum confab_err on_id(sqlite3_stmt *st, struct dir_request *req)
{
    return dir_results_add_id(req, column_id(st, 0));
}

enum confab_err sqlite_device_by_token(struct sqlite_db *db, struct dir_request *req,
                                       enum confab_err *ret_result)
{
    bind_blob(db->statements[ST_DEVICE_BY_TOKEN], 1, req->token_hash, sizeof(req->token_hash));
    return sqlite_db_row(db, ST_DEVICE_BY_TOKEN, req, on_device, ret_result);
}

/* Into a request of its own: what fails must leave the caller's as it was. */
static enum confab_err find_device(struct sqlite_db *db, const struct dir_request *req,
                                   struct dir_device *ret, enum confab_err *ret_result)
{
    struct dir_request found = {.op = DIR_DEVICE_BY_ID};
    bind_id(db->statements[ST_DEVICE_BY_ID], 1, req->device_id);
    enum confab_err err = sqlite_db_row(db, ST_DEVICE_BY_ID, &found, on_device, ret_result);
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        if (req->user_id != 0 && req->user_id != found.device.user_id) {
            *ret_result = CONFAB_NOT_FOUND;
        } else {
            *ret = found.device;
        }
    }
    return err;
}

enum confab_err sqlite_device_by_id(struct sqlite_db *db, struct dir_request *req,
                                    enum confab_err *ret_result)
{
    return find_device(db, req, &req->device, ret_result);
}

enum confab_err sqlite_device_list(struct sqlite_db *db, struct dir_request *req,
                                   enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint32_t n;
    bind_id(db->statements[ST_DEVICE_LIST], 1, req->user_id);
    return sqlite_db_rows(db, ST_DEVICE_LIST, req, on_listed_device, &n);
}

enum confab_err sqlite_device_rename(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    struct dir_device d;
    enum confab_err err = find_device(db, req, &d, ret_result);
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    memcpy(d.name, req->device.name, sizeof(d.name));
    req->device = d;
    bind_id(db->statements[ST_DEVICE_RENAME], 1, d.device_id);
    bind_text(db->statements[ST_DEVICE_RENAME], 2, req->device.name);
    return sqlite_db_run(db, ST_DEVICE_RENAME);
}

static enum confab_err revoke(struct sqlite_db *db, uint64_t device, uint64_t now_ms)
{
    bind_id(db->statements[ST_DEVICE_REVOKE], 1, device);
    bind_id(db->statements[ST_DEVICE_REVOKE], 2, now_ms);
    return sqlite_db_run(db, ST_DEVICE_REVOKE);
}

static enum confab_err store_rotation(struct sqlite_db *db, const struct dir_device *d)
{
    sqlite3_stmt *st = db->statements[ST_DEVICE_ROTATE];
    bind_id(st, 1, d->device_id);
    bind_blob(st, 2, d->previous_hash, sizeof(d->previous_hash));
    bind_blob(st, 3, d->token_hash, sizeof(d->token_hash));
    bind_blob(st, 4, d->salt, sizeof(d->salt));
    bind_id(st, 5, d->generation);
    bind_id(st, 6, d->rotated_ms);
    bind_text(st, 7, d->last_address);
    return sqlite_db_run(db, ST_DEVICE_ROTATE);
}

enum confab_err sqlite_device_rotate(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    struct dir_request found = {.op = DIR_ACCOUNT_BY_ID};
    struct dir_device *d = &found.device;
    bool taken = false;
    bind_blob(db->statements[ST_DEVICE_BY_CHAIN], 1, req->chain_hash, sizeof(req->chain_hash));
    enum confab_err err = sqlite_db_row(db, ST_DEVICE_BY_CHAIN, &found, on_device, ret_result);
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        found.user_id = d->user_id;
        err = sqlite_account_by_id(db, &found, ret_result);
    }
    if (err == CONFAB_OK && *ret_result == CONFAB_OK) {
        static const uint8_t none[DIR_TOKEN_HASH];
        err = device_taken(db, 0, req->next_hash, none, &taken);
    }
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    req->ret_rotated = dir_device_present(d, req);
    if (req->ret_rotated == DIR_ROTATED) {
        if (taken) {
            *ret_result = CONFAB_EXISTS;
            return CONFAB_OK;
        }
        dir_device_rotate(d, req);
        err = store_rotation(db, d);
    } else if (req->ret_rotated == DIR_ROTATE_REUSED) {
        d->revoked_ms = req->now_ms;
        err = revoke(db, d->device_id, req->now_ms);
    }
    req->device = *d;
    req->account = found.account;
    return err;
}

enum confab_err sqlite_device_revoke(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    struct dir_device d;
    enum confab_err err = find_device(db, req, &d, ret_result);
    if (err != CONFAB_OK || *ret_result != CONFAB_OK) {
        return err;
    }
    return revoke(db, d.device_id, req->now_ms);
}

enum confab_err sqlite_devices_end(struct sqlite_db *db, struct dir_request *req, uint64_t spared)
{
    uint32_t n;
    sqlite3_stmt *st = db->statements[ST_DEVICES_REVOKE_ALL];
    bind_id(st, 1, req->user_id);
    bind_id(st, 2, spared);
    bind_id(st, 3, req->now_ms);
    return sqlite_db_rows(db, ST_DEVICES_REVOKE_ALL, req, on_id, &n);
}

enum confab_err sqlite_devices_revoke_all(struct sqlite_db *db, struct dir_request *req,
                                          enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    return sqlite_devices_end(db, req, req->device_id);
}

enum confab_err sqlite_devices_revoked(struct sqlite_db *db, struct dir_request *req,
                                       enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    uint32_t n;
    sqlite3_stmt *st = db->statements[ST_DEVICES_REVOKED];
    bind_id(st, 1, req->since_ms);
    bind_id(st, 2, req->after_id);
    bind_id(st, 3, (uint64_t)req->limit + 1); /* the one more tells whether there is more */
    enum confab_err err = sqlite_db_rows(db, ST_DEVICES_REVOKED, req, on_id, &n);
    if (err == CONFAB_OK && n > req->limit) {
        req->ret_more = true;
        req->ret_nids--;
    }
    return err;
}

enum confab_err sqlite_devices_purge(struct sqlite_db *db, struct dir_request *req,
                                     enum confab_err *ret_result)
{
    *ret_result = CONFAB_OK;
    sqlite3_stmt *st = db->statements[ST_DEVICES_REMOVE];
    bind_id(st, 1, req->revoked_before_ms);
    bind_id(st, 2, req->limit);
    enum confab_err err = sqlite_db_run(db, ST_DEVICES_REMOVE);
    if (err != CONFAB_OK) {
        return err;
    }
    uint32_t removed = (uint32_t)sqlite3_changes(db->handle);
    uint32_t revoked = 0;
    st = db->statements[ST_DEVICES_IDLE];
    bind_id(st, 1, req->idle_before_ms);
    bind_id(st, 2, req->limit);
    bind_id(st, 3, req->now_ms);
    err = sqlite_db_rows(db, ST_DEVICES_IDLE, req, on_id, &revoked);
    req->ret_more = removed == req->limit || revoked == req->limit;
    return err;
}
