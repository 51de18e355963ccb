/* What the operations of the directory require and decide, the same for every adapter. */
#include "ports/dir_adapter.h"

#include <string.h>

#include "base/utf8.h"
#include "ports/dir_words.h"

bool dir_op_writes(enum dir_op op)
{
    switch (op) {
    case DIR_ACCOUNT_CREATE:
    case DIR_DEVICE_CREATE:
    case DIR_DEVICE_REVOKE:
    case DIR_CONVERSATIONS_PROJECT:
    case DIR_ACCOUNT_UPDATE:
    case DIR_ACCOUNT_DELETE:
    case DIR_DEVICE_RENAME:
    case DIR_DEVICE_ROTATE:
    case DIR_DEVICES_REVOKE_ALL:
    case DIR_DEVICES_PURGE:
    case DIR_INVITE_CREATE:
    case DIR_INVITE_REVOKE:
    case DIR_INVITES_PURGE:
    case DIR_SETTING_SET:
    case DIR_AUDIT_APPEND:
    case DIR_AUDIT_PURGE:
    case DIR_IDEM_CLAIM:
    case DIR_IDEM_FINISH:
    case DIR_IDEM_RELEASE:
    case DIR_IDEM_PURGE:
    case DIR_ACCOUNT_LEFT:
    case DIR_SEEN_WRITE:
        return true;
    case DIR_ACCOUNT_BY_NAME:
    case DIR_ACCOUNT_BY_ID:
    case DIR_ACCOUNTS_EXIST:
    case DIR_DEVICE_BY_TOKEN:
    case DIR_DEVICE_LIST:
    case DIR_CONVERSATIONS_LIST:
    case DIR_PROJECTED_LSN:
    case DIR_PING:
    case DIR_ACCOUNTS_LIST:
    case DIR_ADMINS_COUNT:
    case DIR_DEVICE_BY_ID:
    case DIR_DEVICES_REVOKED:
    case DIR_INVITE_BY_CODE:
    case DIR_INVITES_LIST:
    case DIR_SETTING_GET:
    case DIR_AUDIT_LIST:
    case DIR_ACCOUNTS_LEAVING:
    case DIR_NAMES:
    case DIR_HIDDEN_LIST:
    case DIR_SEEN_READ:
        return false;
    }
    return false;
}

/* ---- what a request must hold ---- */

#define TEXT_OK(array)     (memchr((array), 0, sizeof(array)) != NULL)
#define UTF8_OK(array)     (TEXT_OK(array) && utf8_valid((array), strlen(array)))
#define TEXT_FILLED(array) (TEXT_OK(array) && (array)[0] != 0)

static bool number_ok(uint64_t v)
{
    return v <= INT64_MAX;
}

static bool id_ok(uint64_t id)
{
    return id > 0 && number_ok(id);
}

static bool hash_ok(const uint8_t hash[DIR_TOKEN_HASH])
{
    static const uint8_t zero[DIR_TOKEN_HASH];
    return memcmp(hash, zero, sizeof(zero)) != 0;
}

static bool role_ok(enum dir_role role)
{
    return role == DIR_ROLE_MEMBER || role == DIR_ROLE_ADMIN;
}

static bool profile_ok(const struct dir_account *a)
{
    return UTF8_OK(a->display_name) && TEXT_OK(a->about) && TEXT_OK(a->email) &&
           TEXT_OK(a->password_hash) && role_ok(a->role);
}

static bool account_ok(const struct dir_request *req)
{
    const struct dir_account *a = &req->account;
    return id_ok(a->user_id) && number_ok(a->created_ms) && TEXT_FILLED(a->username) &&
           TEXT_FILLED(req->username_key) && profile_ok(a) &&
           (!req->use_invite || (hash_ok(req->invite.code_hash) && id_ok(req->now_ms)));
}

static bool update_ok(const struct dir_request *req)
{
    const struct dir_account *a = &req->account;
    const uint32_t all = DIR_FIELD_DISPLAY_NAME | DIR_FIELD_ABOUT | DIR_FIELD_EMAIL |
                         DIR_FIELD_ROLE | DIR_FIELD_STATUS | DIR_FIELD_PASSWORD_HASH |
                         DIR_FIELD_HIDES;
    bool texts = (!(req->mask & DIR_FIELD_DISPLAY_NAME) || UTF8_OK(a->display_name)) &&
                 (!(req->mask & DIR_FIELD_ABOUT) || TEXT_OK(a->about)) &&
                 (!(req->mask & DIR_FIELD_EMAIL) || TEXT_OK(a->email)) &&
                 (!(req->mask & DIR_FIELD_PASSWORD_HASH) || TEXT_OK(a->password_hash));
    bool role = !(req->mask & DIR_FIELD_ROLE) || role_ok(a->role);
    bool status = !(req->mask & DIR_FIELD_STATUS) || a->status == DIR_STATUS_ACTIVE ||
                  a->status == DIR_STATUS_SUSPENDED;
    bool hides = !(req->mask & DIR_FIELD_HIDES) ||
                 ((a->hides | req->hides_mask) & ~(uint32_t)DIR_HIDES_ALL) == 0;
    return req->mask != 0 && (req->mask & ~all) == 0 && texts && role && status && hides &&
           id_ok(req->now_ms);
}

static bool accounts_list_ok(const struct dir_request *req)
{
    struct dir_query q;
    return TEXT_OK(req->query) && (req->query[0] == 0 || dir_query_of(req->query, &q)) &&
           TEXT_OK(req->after_key) && number_ok(req->after_id) && req->limit > 0 &&
           (req->status <= DIR_STATUS_DELETED || req->status == DIR_STATUS_ANY);
}

static bool device_ok(const struct dir_request *req)
{
    const struct dir_device *d = &req->device;
    return id_ok(d->device_id) && id_ok(d->user_id) && number_ok(d->created_ms) &&
           TEXT_OK(d->name) && TEXT_OK(d->last_address) && TEXT_OK(req->account.password_hash);
}

static bool rotation_ok(const struct dir_request *req)
{
    return hash_ok(req->chain_hash) && hash_ok(req->token_hash) && hash_ok(req->next_hash) &&
           id_ok(req->now_ms) && number_ok(req->grace_ms) && TEXT_OK(req->address);
}

static bool devices_purge_ok(const struct dir_request *req)
{
    return id_ok(req->now_ms) && number_ok(req->idle_before_ms) &&
           number_ok(req->revoked_before_ms) && req->limit > 0;
}

static bool projection_ok(const struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nconv_rows; i++) {
        const struct dir_conv_row *row = &req->conv_rows[i];
        if (!id_ok(row->user_id) || !number_ok(row->lsn) || !number_ok(row->since_ms) ||
            conv_id_is_zero(row->conv)) {
            return false;
        }
    }
    return req->partition < ID_PARTITIONS && number_ok(req->lsn);
}

static bool invite_ok(const struct dir_invite *i)
{
    return id_ok(i->invite_id) && hash_ok(i->code_hash) && number_ok(i->created_by) &&
           id_ok(i->created_ms) && number_ok(i->expires_ms) && i->uses_max > 0 &&
           (i->kind == DIR_INVITE_MEMBER || i->kind == DIR_INVITE_SETUP) && TEXT_OK(i->note);
}

static bool setting_ok(const struct dir_request *req)
{
    bool value =
        !req->text || (req->text_len <= DIR_SETTING_BYTES && !memchr(req->text, 0, req->text_len) &&
                       utf8_valid(req->text, req->text_len));
    return TEXT_FILLED(req->setting_key) && value && number_ok(req->now_ms);
}

static bool idem_key_ok(const struct dir_request *req)
{
    return number_ok(req->user_id) && TEXT_FILLED(req->idem_key) && id_ok(req->now_ms);
}

static bool idem_answer_ok(const struct dir_request *req)
{
    return req->idem_status > 0 && req->text_len <= DIR_IDEM_BODY_BYTES &&
           (req->text || req->text_len == 0);
}

static bool seen_ok(const struct dir_request *req)
{
    for (uint32_t i = 0; i < req->nseen; i++) {
        if (!id_ok(req->seen[i].user_id) || !number_ok(req->seen[i].last_seen_ms)) {
            return false;
        }
    }
    return id_ok(req->run) && id_ok(req->now_ms);
}

static bool audit_ok(const struct dir_audit *a)
{
    return number_ok(a->at_ms) && number_ok(a->actor) && number_ok(a->target) &&
           TEXT_FILLED(a->action) && TEXT_OK(a->detail) && TEXT_OK(a->address);
}

static bool request_ok(const struct dir_request *req)
{
    switch (req->op) {
    case DIR_ACCOUNT_CREATE:
        return account_ok(req);
    case DIR_ACCOUNT_BY_NAME:
        return TEXT_OK(req->username_key);
    case DIR_DEVICE_CREATE:
        return device_ok(req);
    case DIR_ACCOUNT_UPDATE:
        return update_ok(req);
    case DIR_ACCOUNTS_LIST:
        return accounts_list_ok(req);
    case DIR_ACCOUNT_DELETE:
    case DIR_DEVICE_REVOKE:
    case DIR_DEVICES_REVOKE_ALL:
        return id_ok(req->now_ms);
    case DIR_DEVICE_RENAME:
        return TEXT_OK(req->device.name);
    case DIR_DEVICE_ROTATE:
        return rotation_ok(req);
    case DIR_DEVICES_REVOKED:
        return number_ok(req->since_ms) && number_ok(req->after_id) && req->limit > 0;
    case DIR_DEVICES_PURGE:
        return devices_purge_ok(req);
    case DIR_CONVERSATIONS_PROJECT:
        return projection_ok(req);
    case DIR_CONVERSATIONS_LIST:
        return req->limit > 0;
    case DIR_PROJECTED_LSN:
        return req->partition < ID_PARTITIONS;
    case DIR_AUDIT_APPEND:
        return req->audit != NULL;
    case DIR_AUDIT_LIST:
    case DIR_INVITES_LIST:
    case DIR_ACCOUNTS_LEAVING:
    case DIR_HIDDEN_LIST:
        return number_ok(req->after_id) && req->limit > 0;
    case DIR_NAMES:
        return req->nids <= DIR_NAMES_MAX && (req->ids || req->nids == 0);
    case DIR_ACCOUNT_BY_ID:
    case DIR_ACCOUNTS_EXIST:
    case DIR_DEVICE_BY_TOKEN:
    case DIR_DEVICE_BY_ID:
    case DIR_DEVICE_LIST:
    case DIR_PING:
    case DIR_ADMINS_COUNT:
    case DIR_ACCOUNT_LEFT:
    case DIR_SEEN_READ:
        return true;
    case DIR_SEEN_WRITE:
        return seen_ok(req);
    case DIR_INVITE_CREATE:
        return invite_ok(&req->invite);
    case DIR_INVITE_BY_CODE:
        return true;
    case DIR_INVITE_REVOKE:
        return id_ok(req->now_ms);
    case DIR_INVITES_PURGE:
    case DIR_AUDIT_PURGE:
    case DIR_IDEM_PURGE:
        return number_ok(req->before_ms) && req->limit > 0;
    case DIR_SETTING_GET:
        return TEXT_FILLED(req->setting_key);
    case DIR_SETTING_SET:
        return setting_ok(req);
    case DIR_IDEM_CLAIM:
        return idem_key_ok(req) && number_ok(req->pending_ms) && req->keys_max > 0;
    case DIR_IDEM_FINISH:
        return idem_key_ok(req) && idem_answer_ok(req);
    case DIR_IDEM_RELEASE:
        return idem_key_ok(req);
    }
    return false;
}

enum confab_err dir_request_check(const struct dir_request *req)
{
    bool ok = request_ok(req) && (!req->audit || (dir_op_writes(req->op) && audit_ok(req->audit)));
    return ok ? CONFAB_OK : CONFAB_INVALID;
}

/* ---- the audit record ---- */

bool dir_audit_due(const struct dir_request *req)
{
    if (!req->audit) {
        return false;
    }
    switch ((int)req->op) {
    case DIR_DEVICE_ROTATE:
        return req->ret_rotated == DIR_ROTATE_REUSED;
    case DIR_DEVICES_REVOKE_ALL:
    case DIR_DEVICES_PURGE:
        return req->ret_nids > 0;
    case DIR_INVITES_PURGE:
    case DIR_IDEM_PURGE:
        return req->ret_count > 0;
    case DIR_IDEM_CLAIM:
        return req->ret_claim == DIR_CLAIMED;
    default:
        return dir_op_writes(req->op);
    }
}

struct dir_audit dir_audit_of(const struct dir_request *req)
{
    struct dir_audit a = *req->audit;
    if (req->op == DIR_DEVICE_ROTATE) { /* whose token it was, the caller could not know */
        a.actor = a.actor ? a.actor : req->device.user_id;
        a.target = a.target ? a.target : req->device.device_id;
    }
    return a;
}

/* ---- accounts ---- */

void dir_account_begin(struct dir_account *a)
{
    a->updated_ms = a->created_ms;
    a->status = DIR_STATUS_ACTIVE;
    a->ndevices = 0;
    a->hides = 0;
}

void dir_account_change(struct dir_account *a, const struct dir_request *req)
{
    static const struct dir_account wiped = {.status = DIR_STATUS_DELETED};
    bool delete = req->op == DIR_ACCOUNT_DELETE;
    const struct dir_account *to = delete ? &wiped : &req->account;
    uint32_t mask = delete ? UINT32_MAX : req->mask;
    if (mask & DIR_FIELD_DISPLAY_NAME) {
        memcpy(a->display_name, to->display_name, sizeof(a->display_name));
    }
    if (mask & DIR_FIELD_ABOUT) {
        memcpy(a->about, to->about, sizeof(a->about));
    }
    if (mask & DIR_FIELD_EMAIL) {
        memcpy(a->email, to->email, sizeof(a->email));
    }
    if (mask & DIR_FIELD_PASSWORD_HASH) {
        memcpy(a->password_hash, to->password_hash, sizeof(a->password_hash));
    }
    /* Who is deleted goes on hiding what they hid. */
    if (!delete &&(mask & DIR_FIELD_HIDES)) {
        a->hides = (a->hides & ~req->hides_mask) | (to->hides & req->hides_mask);
    }
    a->role = mask & DIR_FIELD_ROLE ? to->role : a->role;
    a->status = mask & DIR_FIELD_STATUS ? to->status : a->status;
    a->updated_ms = req->now_ms;
}

enum confab_err dir_account_may_become(const struct dir_account *before,
                                       const struct dir_account *after, uint64_t admins)
{
    if (before->status == DIR_STATUS_DELETED) {
        return CONFAB_NOT_FOUND;
    }
    bool last = dir_account_is_admin(before) && !dir_account_is_admin(after) && admins <= 1;
    return last ? CONFAB_LAST_ADMIN : CONFAB_OK;
}

bool dir_account_is_as_verified(const struct dir_account *before, const struct dir_request *req)
{
    return req->op != DIR_ACCOUNT_UPDATE || !req->verified_hash ||
           strcmp(req->verified_hash, before->password_hash) == 0;
}

bool dir_account_ends_devices(const struct dir_request *req, const struct dir_account *after,
                              uint64_t *ret_spared)
{
    bool active = after->status == DIR_STATUS_ACTIVE;
    *ret_spared = active ? req->device_id : 0;
    return !active || req->revoke_devices;
}

/* ---- devices ---- */

enum confab_err dir_account_signs_in(const struct dir_account *a, const char *verified_hash)
{
    if (a->status != DIR_STATUS_ACTIVE) {
        return a->status == DIR_STATUS_DELETED ? CONFAB_NOT_FOUND : CONFAB_FORBIDDEN;
    }
    bool stale = verified_hash[0] != 0 && strcmp(verified_hash, a->password_hash) != 0;
    return stale ? CONFAB_UNAUTHENTICATED : CONFAB_OK;
}

void dir_device_begin(struct dir_device *d)
{
    d->rotated_ms = 0;
    d->last_used_ms = d->created_ms;
    d->revoked_ms = 0;
    d->generation = 0;
    memset(d->previous_hash, 0, sizeof(d->previous_hash));
    memset(d->salt, 0, sizeof(d->salt));
}

enum dir_rotated dir_device_present(const struct dir_device *d, const struct dir_request *req)
{
    if (memcmp(d->token_hash, req->token_hash, sizeof(d->token_hash)) == 0) {
        return DIR_ROTATED;
    }
    /* A clock that was set back must not sign anybody out. */
    bool soon = req->now_ms < d->rotated_ms || req->now_ms - d->rotated_ms <= req->grace_ms;
    bool predecessor = d->generation > 0 &&
                       memcmp(d->previous_hash, req->token_hash, sizeof(d->previous_hash)) == 0;
    return predecessor && soon ? DIR_ROTATE_AGAIN : DIR_ROTATE_REUSED;
}

void dir_device_rotate(struct dir_device *d, const struct dir_request *req)
{
    memcpy(d->previous_hash, d->token_hash, sizeof(d->previous_hash));
    memcpy(d->token_hash, req->next_hash, sizeof(d->token_hash));
    memcpy(d->salt, req->next_salt, sizeof(d->salt));
    memcpy(d->last_address, req->address, sizeof(d->last_address));
    d->generation++;
    d->rotated_ms = req->now_ms;
    d->last_used_ms = req->now_ms;
}

/* ---- invites ---- */

void dir_invite_begin(struct dir_invite *i)
{
    i->uses = 0;
    i->revoked_ms = 0;
    i->ended_ms = i->expires_ms;
}

bool dir_invite_is_open(const struct dir_invite *i, uint64_t now_ms)
{
    return i->revoked_ms == 0 && i->uses < i->uses_max &&
           (i->expires_ms == 0 || now_ms < i->expires_ms);
}

static void end_invite(struct dir_invite *i, uint64_t now_ms)
{
    if (i->ended_ms == 0 || now_ms < i->ended_ms) {
        i->ended_ms = now_ms;
    }
}

void dir_invite_use(struct dir_invite *i, uint64_t now_ms)
{
    if (++i->uses == i->uses_max) {
        end_invite(i, now_ms);
    }
}

void dir_invite_revoke(struct dir_invite *i, uint64_t now_ms)
{
    i->revoked_ms = now_ms;
    end_invite(i, now_ms);
}

/* ---- repeated requests ---- */

enum dir_claim dir_idem_claim_of(const struct dir_request *req, const uint8_t *stored_hash,
                                 uint64_t claimed_ms, uint32_t status)
{
    if (memcmp(stored_hash, req->request_hash, sizeof(req->request_hash)) != 0) {
        return DIR_CLAIM_OTHER;
    }
    if (status != 0) {
        return DIR_CLAIM_DONE;
    }
    bool left = req->now_ms > claimed_ms && req->now_ms - claimed_ms > req->pending_ms;
    return left ? DIR_CLAIMED : DIR_CLAIM_PENDING;
}
