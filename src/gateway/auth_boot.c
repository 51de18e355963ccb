/*
 * What shard 0 does for all: at the start it reads from the directory what the shards have to know
 * before any token is trusted (devices revoked within the life of a token, who hides what, the
 * settings), and makes
 * the code of the link for the first administrator while there is none; later it signs out devices
 * that were not used for long and drops what is over.
 *
 *     REVOKED ─ page by page ─► HIDDEN ─ page by page ─► REGISTRATION ─► NAME ─► ADMINS ─► (SETUP)
 * ─► DONE ─ hourly: purges
 *
 * An error begins the step again after a second; until DONE sign-ins are answered as busy.
 */
#include <stdio.h>

#include "base/diag.h"
#include "gateway/internal.h"
#include "gateway/privacy.h"

#define RETRY_MS      1000U
#define PAGE          1000U
#define PURGE_MS      (60U * 60U * 1000U)
#define SETUP_LIFE_MS (24ULL * 60 * 60 * 1000)

enum boot_state {
    BOOT_REVOKED = 0,
    BOOT_HIDDEN,
    BOOT_REGISTRATION,
    BOOT_NAME,
    BOOT_ADMINS,
    BOOT_SETUP,
    BOOT_DONE,
    BOOT_WAITS = 16, /* for the directory; beside one of the others */
};

struct boot_call {
    struct dir_call dir;
    char code[INVITE_CODE_LEN + 1];
};

static void boot_to(struct shard *s, enum boot_state to)
{
    s->auth.boot = (uint8_t)to;
    s->busy = true;
    if (to == BOOT_DONE) {
        auth_state_set_loaded(s->deps.auth);
        s->auth.purge_at_ms = s->now_ms + PURGE_MS;
    }
}

static void boot_failed(struct shard *s, enum confab_err err)
{
    if (s->auth.boot_at_ms == 0) {
        diag_warn(DIAG_SERVER, "the directory does not answer; trying again | err=%s",
                  err_wire(err));
    }
    s->auth.boot &= (uint8_t)~BOOT_WAITS;
    s->auth.boot_at_ms = s->now_ms + RETRY_MS;
}

static void take_registration(struct shard *s, const struct dir_request *req)
{
    enum registration r;
    if (registration_parse(span_of(req->ret_text, req->ret_text_len), &r)) {
        auth_state_set_registration(s->deps.auth, r);
    }
}

static void take_page(struct shard *s, enum boot_state this, enum boot_state next, bool more)
{
    s->auth.boot_after = more ? s->auth.boot_after : 0;
    boot_to(s, more ? this : next);
}

static void boot_on_done(struct shard *s, struct dir_call *dir)
{
    struct boot_call *b = CONTAINER_OF(dir, struct boot_call, dir);
    struct dir_request *req = &dir->req;
    bool absent = req->op == DIR_SETTING_GET && req->ret_err == CONFAB_NOT_FOUND;
    if (req->ret_err && !absent) {
        boot_failed(s, req->ret_err);
        return;
    }
    switch (s->auth.boot & ~BOOT_WAITS) {
    case BOOT_REVOKED:
        auth_state_revoke(s->deps.auth, 0, req->ret_ids, req->ret_nids, s->wall_ms / 1000,
                          s->metrics);
        if (req->ret_nids > 0) {
            s->auth.boot_after = req->ret_ids[req->ret_nids - 1];
        }
        take_page(s, BOOT_REVOKED, BOOT_HIDDEN, req->ret_more);
        break;
    case BOOT_HIDDEN:
        if (privacy_load(auth_state_privacy(s->deps.auth), req->ret_hidden, req->ret_nhidden)) {
            boot_failed(s, CONFAB_NOMEM);
            return;
        }
        if (req->ret_nhidden > 0) {
            s->auth.boot_after = req->ret_hidden[req->ret_nhidden - 1].user_id;
        }
        take_page(s, BOOT_HIDDEN, BOOT_REGISTRATION, req->ret_more);
        break;
    case BOOT_REGISTRATION:
        if (!absent) {
            take_registration(s, req);
        }
        boot_to(s, BOOT_NAME);
        break;
    case BOOT_NAME:
        if (!absent) {
            auth_state_set_name(s->deps.auth, span_of(req->ret_text, req->ret_text_len));
        }
        boot_to(s, s->cfg.setup_link ? BOOT_ADMINS : BOOT_DONE);
        break;
    case BOOT_ADMINS:
        boot_to(s, req->ret_count == 0 ? BOOT_SETUP : BOOT_DONE);
        break;
    default:
        auth_state_set_setup_code(s->deps.auth, b->code);
        boot_to(s, BOOT_DONE);
        break;
    }
}

static enum dir_op boot_op(uint8_t state)
{
    switch (state) {
    case BOOT_REVOKED:
        return DIR_DEVICES_REVOKED;
    case BOOT_HIDDEN:
        return DIR_HIDDEN_LIST;
    case BOOT_ADMINS:
        return DIR_ADMINS_COUNT;
    case BOOT_SETUP:
        return DIR_INVITE_CREATE;
    default:
        return DIR_SETTING_GET;
    }
}

void auth_setup_invite(struct shard *s, struct dir_invite *invite,
                       char ret_code[INVITE_CODE_LEN + 1])
{
    invite_code_make(s, ret_code);
    *invite = (struct dir_invite){
        .invite_id = (random_u64(s->deps.random) >> 2) | 1,
        .created_ms = s->wall_ms,
        .expires_ms = s->wall_ms + SETUP_LIFE_MS,
        .uses_max = 1,
        .kind = DIR_INVITE_SETUP,
    };
    CHECK(invite_code_hash(span_of(ret_code, INVITE_CODE_LEN), invite->code_hash));
}

static void boot_step(struct shard *s)
{
    uint8_t state = s->auth.boot;
    struct dir_call *dir = dir_call_new(sizeof(struct boot_call), boot_op(state));
    if (!dir) {
        boot_failed(s, CONFAB_NOMEM);
        return;
    }
    struct boot_call *b = CONTAINER_OF(dir, struct boot_call, dir);
    struct dir_request *req = &dir->req;
    uint64_t life_ms = (uint64_t)s->cfg.access_ms + JWT_SKEW_S * 1000ULL;
    dir->on_done = boot_on_done;
    req->since_ms = s->wall_ms > life_ms ? s->wall_ms - life_ms : 0;
    req->after_id = s->auth.boot_after;
    req->limit = PAGE;
    if (state == BOOT_SETUP) {
        auth_setup_invite(s, &req->invite, b->code);
    } else if (boot_op(state) == DIR_SETTING_GET) {
        (void)snprintf(req->setting_key, sizeof(req->setting_key), "%s",
                       state == BOOT_NAME ? SETTING_SERVER_NAME : SETTING_REGISTRATION);
    }
    s->auth.boot |= BOOT_WAITS;
    enum confab_err err = dir_call_submit(s, dir);
    if (err) {
        boot_failed(s, err);
    }
}

/* ---- Cleaning up ---- */

static void on_purged_audit(struct shard *s, struct dir_call *dir)
{
    s->auth.purging = false;
    if (!dir->req.ret_err) { /* else the next hour tries again */
        metrics_add(s->metrics, METRIC_AUDIT_PURGED, dir->req.ret_count);
        s->auth.purge_at_ms = dir->req.ret_more ? s->now_ms : s->auth.purge_at_ms;
    }
}

static void on_purged_invites(struct shard *s, struct dir_call *dir)
{
    (void)dir; /* the next hour tries again */
    s->auth.purging = false;
    if (s->cfg.audit_ms == 0) {
        return;
    }
    struct dir_call *next = dir_call_new(sizeof(*next), DIR_AUDIT_PURGE);
    if (next) {
        next->on_done = on_purged_audit;
        next->req.before_ms = s->wall_ms - MIN(s->wall_ms, s->cfg.audit_ms);
        next->req.limit = PAGE;
        s->auth.purging = dir_call_submit(s, next) == CONFAB_OK;
    }
}

static void on_purged_devices(struct shard *s, struct dir_call *dir)
{
    const struct dir_request *req = &dir->req;
    s->auth.purging = false;
    if (req->ret_err) {
        return;
    }
    if (req->ret_nids > 0) {
        auth_revoke(s, 0, req->ret_ids, req->ret_nids, NULL, NULL);
    }
    if (req->ret_more) {
        s->auth.purge_at_ms = s->now_ms;
        return;
    }
    struct dir_call *next = dir_call_new(sizeof(*next), DIR_INVITES_PURGE);
    if (next) {
        next->on_done = on_purged_invites;
        next->req.before_ms = s->wall_ms - MIN(s->wall_ms, s->cfg.refresh_ms);
        next->req.limit = PAGE;
        s->auth.purging = dir_call_submit(s, next) == CONFAB_OK;
    }
}

/* Rows of revoked devices stay as long as an idle one: a stolen token is told from a stranger's. */
static void purge(struct shard *s)
{
    uint64_t before = s->wall_ms - MIN(s->wall_ms, s->cfg.refresh_ms);
    struct dir_call *dir = dir_call_new(sizeof(*dir), DIR_DEVICES_PURGE);
    s->auth.purge_at_ms = s->now_ms + PURGE_MS;
    if (dir) {
        dir->on_done = on_purged_devices;
        dir->req.now_ms = s->wall_ms;
        dir->req.idle_before_ms = before;
        dir->req.revoked_before_ms = before;
        dir->req.limit = PAGE;
        s->auth.purging = dir_call_submit(s, dir) == CONFAB_OK;
    }
}

void auth_boot_turn(struct shard *s)
{
    if (s->auth.boot < BOOT_DONE && s->now_ms >= s->auth.boot_at_ms) {
        boot_step(s);
    } else if (s->auth.boot == BOOT_DONE && !s->auth.purging && !s->draining &&
               s->now_ms >= s->auth.purge_at_ms) {
        purge(s);
    }
}

uint64_t auth_next_ms(const struct shard *s)
{
    if (s->cfg.shard != 0 || s->auth.purging || (s->auth.boot & BOOT_WAITS)) {
        return UINT64_MAX;
    }
    return s->auth.boot == BOOT_DONE ? s->auth.purge_at_ms : s->auth.boot_at_ms;
}
