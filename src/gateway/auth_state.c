#include "gateway/auth_state.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "gateway/privacy.h"
#include "gateway/shard.h"

#define RECENT_MAX       1024U /* revocations that shards learn one by one */
#define TICKET_PREFIX    "cft_"
#define TICKET_RAW       24U
#define OPERATOR_PREFIX  "cfo_"
#define WAIT_MAX_MS      (15U * 60U * 1000U)
#define FORGIVE_MS       (15U * 60U * 1000U)
#define PENDING_MAX_MS   (60U * 1000U)
#define FREE_ACCOUNT     5U
#define FREE_ADDRESS     20U
#define UNDER_WAY_MAX    16U /* tries of one account or address at the same time */
#define FAILURES_COUNTED 64U
#define PRIVACY_MAX      1000000U

_Static_assert(TICKET_TEXT_LEN == 4 + TICKET_RAW / 3 * 4, "a ticket's length");

struct ticket_slot {
    uint8_t hash[crypto_hash_sha256_BYTES];
    struct ticket ticket;
    uint64_t until_ms;
    bool used;
};

struct attempts {
    struct list lru;
    uint64_t key; /* 0: free */
    uint64_t last_ms;
    uint64_t until_ms; /* nothing before it */
    uint64_t begun_ms; /* the last that was let through */
    uint32_t count;
    uint32_t pending;
};

struct auth_state {
    struct auth_state_config cfg;
    struct privacy *privacy;
    uint64_t run;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    atomic_bool loaded;
    atomic_int registration;
    atomic_uint_fast64_t number;     /* of the newest revocation */
    atomic_uint_fast64_t not_before; /* tokens issued up to it are refused, s */
    atomic_uint_fast64_t seen[SHARDS_MAX];
    atomic_uint_fast64_t deletions;

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t changed;
    struct u64map revoked; /* device → until when it is kept, s */
    struct revocation recent[RECENT_MAX];
    struct ticket_slot *tickets; /* a ring: they end in the order in which they were made */
    uint32_t ticket_first;
    uint32_t ntickets;
    struct attempts *attempts;
    uint32_t nattempts;
    struct u64map attempts_by_key;
    struct list attempts_lru; /* least recent first */
    char name[SERVER_NAME_BYTES + 1];
    char setup_code[SETUP_CODE_LEN + 1];
};

static void lock(struct auth_state *st)
{
    CHECK(pthread_mutex_lock(&st->lock) == 0);
}

static void unlock(struct auth_state *st)
{
    CHECK(pthread_mutex_unlock(&st->lock) == 0);
}

static const char *const REGISTRATIONS[] = {"invite", "open", "closed"};

bool registration_parse(struct span text, enum registration *ret)
{
    for (int i = 0; i < (int)ARRAY_LEN(REGISTRATIONS); i++) {
        if (span_is(text, REGISTRATIONS[i])) {
            *ret = (enum registration)i;
            return true;
        }
    }
    return false;
}

const char *registration_text(enum registration r)
{
    return REGISTRATIONS[r];
}

enum confab_err auth_state_new(const struct auth_state_config *cfg, struct random_source *random,
                               struct auth_state **ret)
{
    pthread_condattr_t attr;
    if (cfg->secrets.keys.n == 0 || cfg->secrets.keys.n > JWT_KEYS_MAX || cfg->access_s == 0 ||
        cfg->access_s > JWT_LIFE_MAX_S || cfg->revoked_max == 0 || cfg->tickets_max == 0 ||
        cfg->throttle_max == 0 || cfg->shards == 0 || cfg->shards > SHARDS_MAX) {
        return CONFAB_INVALID;
    }
    struct auth_state *st = calloc(1, sizeof(*st));
    if (!st) {
        return CONFAB_NOMEM;
    }
    st->cfg = *cfg;
    CHECK(pthread_mutex_init(&st->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&attr) == 0);
    CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&st->changed, &attr) == 0);
    (void)pthread_condattr_destroy(&attr);
    random_fill(random, st->hash_key, sizeof(st->hash_key));
    st->run = (random_u64(random) >> 2) | 1;
    u64map_init(&st->revoked, random_u64(random));
    u64map_init(&st->attempts_by_key, random_u64(random));
    list_init(&st->attempts_lru);
    atomic_init(&st->registration, (int)cfg->registration);
    auth_state_set_name(st, span_str(cfg->server_name ? cfg->server_name : ""));
    st->tickets = calloc(cfg->tickets_max, sizeof(*st->tickets));
    st->attempts = calloc(cfg->throttle_max, sizeof(*st->attempts));
    uint32_t privacy_max = cfg->privacy_max ? cfg->privacy_max : PRIVACY_MAX;
    if (!st->tickets || !st->attempts ||
        privacy_new(random_u64(random), privacy_max, &st->privacy) != CONFAB_OK ||
        u64map_reserve(&st->attempts_by_key, MIN(cfg->throttle_max, 64U)) != CONFAB_OK) {
        auth_state_free(st);
        return CONFAB_NOMEM;
    }
    *ret = st;
    return CONFAB_OK;
}

void auth_state_free(struct auth_state *st)
{
    if (!st) {
        return;
    }
    privacy_free(st->privacy);
    u64map_deinit(&st->revoked);
    u64map_deinit(&st->attempts_by_key);
    (void)pthread_cond_destroy(&st->changed);
    (void)pthread_mutex_destroy(&st->lock);
    sodium_memzero(&st->cfg.secrets, sizeof(st->cfg.secrets));
    free(st->tickets);
    free(st->attempts);
    free(st);
}

struct privacy *auth_state_privacy(const struct auth_state *st)
{
    return st->privacy;
}

uint64_t auth_state_run(const struct auth_state *st)
{
    return st->run;
}

/* ---- Access tokens ---- */

bool auth_state_is_loaded(const struct auth_state *st)
{
    return atomic_load_explicit(&st->loaded, memory_order_acquire);
}

void auth_state_set_loaded(struct auth_state *st)
{
    lock(st);
    atomic_store_explicit(&st->loaded, true, memory_order_release);
    (void)pthread_cond_broadcast(&st->changed);
    unlock(st);
}

bool auth_state_wait_loaded(struct auth_state *st, uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000U),
                                   .tv_nsec = (long)(until_ns % 1000000000U)};
    int rc = 0;
    lock(st);
    while (!auth_state_is_loaded(st) && rc == 0) {
        rc = pthread_cond_timedwait(&st->changed, &st->lock, &until);
    }
    unlock(st);
    return auth_state_is_loaded(st);
}

size_t auth_state_token(struct auth_state *st, uint64_t user, uint64_t device, uint64_t now_s,
                        char ret_text[JWT_TEXT_MAX + 1], struct jwt_claims *ret)
{
    uint64_t not_before = atomic_load_explicit(&st->not_before, memory_order_acquire);
    uint64_t issued = now_s > not_before ? now_s : not_before + 1;
    *ret = (struct jwt_claims){user, device, issued, issued + st->cfg.access_s};
    return jwt_make(&st->cfg.secrets.keys, ret, ret_text);
}

bool auth_state_is_revoked(struct auth_state *st, uint64_t device, uint64_t issued_s)
{
    if (issued_s <= atomic_load_explicit(&st->not_before, memory_order_acquire)) {
        return true;
    }
    if (atomic_load_explicit(&st->number, memory_order_acquire) == 0) {
        return false;
    }
    lock(st);
    bool found = u64map_has(&st->revoked, device);
    unlock(st);
    return found;
}

enum confab_err auth_state_check(struct auth_state *st, struct span token, uint64_t now_s,
                                 struct jwt_claims *ret)
{
    struct jwt_claims claims;
    if (!auth_state_is_loaded(st)) {
        return CONFAB_BUSY;
    }
    enum confab_err err = jwt_check(&st->cfg.secrets.keys, token, now_s, &claims);
    if (err) {
        return err;
    }
    if (auth_state_is_revoked(st, claims.device, claims.issued_s)) {
        return CONFAB_FORBIDDEN;
    }
    *ret = claims;
    return CONFAB_OK;
}

bool auth_state_is_operator(const struct auth_state *st, struct span key)
{
    const char *own = st->cfg.secrets.operator_key;
    return key.n == OPERATOR_KEY_LEN && strlen(own) == OPERATOR_KEY_LEN &&
           sodium_memcmp(own, key.p, OPERATOR_KEY_LEN) == 0;
}

/* ---- Revocation ---- */

static void revoked_sweep(struct auth_state *st, uint64_t now_s)
{
    struct u64map_iter it = {0};
    while (u64map_next(&st->revoked, &it)) {
        if (*it.value <= now_s) {
            u64map_del(&st->revoked, it.key, NULL);
        }
    }
}

/* False: no room, or no memory. */
static bool revoked_add(struct auth_state *st, uint64_t device, uint64_t now_s)
{
    uint64_t until = now_s + st->cfg.access_s + JWT_SKEW_S;
    if (u64map_len(&st->revoked) >= st->cfg.revoked_max) {
        revoked_sweep(st, now_s);
    }
    return (u64map_len(&st->revoked) < st->cfg.revoked_max || u64map_has(&st->revoked, device)) &&
           u64map_put(&st->revoked, device, until) == CONFAB_OK;
}

uint64_t auth_state_revoke(struct auth_state *st, uint64_t user, const uint64_t *devices,
                           uint32_t n, uint64_t now_s, struct metrics *m)
{
    lock(st);
    uint64_t number = atomic_load_explicit(&st->number, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++) {
        if (!revoked_add(st, devices[i], now_s)) {
            /* One second on: what was issued in this one, on any shard, is covered too. */
            atomic_store_explicit(&st->not_before, now_s + 1, memory_order_release);
            u64map_deinit(&st->revoked);
            metrics_inc(m, METRIC_BOUND_REVOKED);
        }
        number++;
        st->recent[number % RECENT_MAX] = (struct revocation){user, devices[i]};
    }
    if (atomic_load_explicit(&st->not_before, memory_order_relaxed) > now_s) {
        number += RECENT_MAX; /* everybody has to look at everything */
    }
    atomic_store_explicit(&st->number, number, memory_order_release);
    unlock(st);
    return number;
}

bool auth_state_revocations(struct auth_state *st, uint64_t seen, struct revocation *ret,
                            uint32_t max, uint32_t *ret_n, uint64_t *ret_last)
{
    lock(st);
    uint64_t last = atomic_load_explicit(&st->number, memory_order_relaxed);
    bool known = last - seen < RECENT_MAX;
    uint32_t n = 0;
    while (known && n < max && seen < last) {
        ret[n++] = st->recent[++seen % RECENT_MAX];
    }
    *ret_n = n;
    *ret_last = known ? seen : last;
    unlock(st);
    return known;
}

uint64_t auth_state_last(const struct auth_state *st)
{
    return atomic_load_explicit(&st->number, memory_order_acquire);
}

void auth_state_deleted(struct auth_state *st)
{
    atomic_fetch_add_explicit(&st->deletions, 1, memory_order_release);
}

uint64_t auth_state_deletions(const struct auth_state *st)
{
    return atomic_load_explicit(&st->deletions, memory_order_acquire);
}

void auth_state_seen(struct auth_state *st, uint16_t shard, uint64_t number)
{
    atomic_store_explicit(&st->seen[shard], number, memory_order_release);
}

bool auth_state_all_seen(const struct auth_state *st, uint64_t number)
{
    for (uint16_t i = 0; i < st->cfg.shards; i++) {
        if (atomic_load_explicit(&st->seen[i], memory_order_acquire) < number) {
            return false;
        }
    }
    return true;
}

/* ---- Tickets ---- */

static struct ticket_slot *ticket_at(struct auth_state *st, uint32_t i)
{
    return &st->tickets[(st->ticket_first + i) % st->cfg.tickets_max];
}

enum confab_err auth_state_ticket(struct auth_state *st, const struct ticket *t,
                                  const uint8_t raw[TICKET_RAW], uint64_t now_ms,
                                  char ret_text[TICKET_TEXT_LEN + 1])
{
    enum confab_err err = CONFAB_OK;
    uint32_t own = 0;
    lock(st);
    while (st->ntickets > 0 && (ticket_at(st, 0)->used || ticket_at(st, 0)->until_ms <= now_ms)) {
        st->ticket_first = (st->ticket_first + 1) % st->cfg.tickets_max;
        st->ntickets--;
    }
    for (uint32_t i = 0; i < st->ntickets; i++) {
        own += !ticket_at(st, i)->used && ticket_at(st, i)->ticket.user == t->user;
    }
    if (own >= TICKETS_PER_USER_MAX) {
        err = CONFAB_LIMIT;
    } else if (st->ntickets == st->cfg.tickets_max) {
        err = CONFAB_BUSY;
    } else {
        struct ticket_slot *slot = ticket_at(st, st->ntickets++);
        memcpy(ret_text, TICKET_PREFIX, 4);
        (void)sodium_bin2base64(ret_text + 4, TICKET_TEXT_LEN + 1 - 4, raw, TICKET_RAW,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        *slot = (struct ticket_slot){.ticket = *t, .until_ms = now_ms + TICKET_LIFE_MS};
        crypto_hash_sha256(slot->hash, (const uint8_t *)ret_text, TICKET_TEXT_LEN);
    }
    unlock(st);
    return err;
}

enum confab_err auth_state_redeem(struct auth_state *st, struct span text, uint64_t now_ms,
                                  struct ticket *ret)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    enum confab_err err = CONFAB_UNAUTHENTICATED;
    if (!auth_state_is_loaded(st)) {
        return CONFAB_BUSY;
    }
    if (text.n != TICKET_TEXT_LEN) {
        return err;
    }
    crypto_hash_sha256(hash, text.p, text.n);
    lock(st);
    for (uint32_t i = 0; i < st->ntickets && err; i++) {
        struct ticket_slot *slot = ticket_at(st, i);
        if (!slot->used && slot->until_ms > now_ms &&
            sodium_memcmp(slot->hash, hash, sizeof(hash)) == 0) {
            slot->used = true;
            *ret = slot->ticket;
            err = CONFAB_OK;
        }
    }
    unlock(st);
    if (!err && auth_state_is_revoked(st, ret->device, ret->issued_s)) {
        err = CONFAB_UNAUTHENTICATED;
    }
    return err;
}

/* ---- Attempts ---- */

static uint64_t attempts_key(const struct auth_state *st, enum throttle_kind kind, struct span who)
{
    uint8_t text[1 + 255];
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t key;
    size_t n = MIN(who.n, sizeof(text) - 1);
    text[0] = (uint8_t)kind;
    memcpy(text + 1, who.p, n);
    crypto_shorthash(out, text, n + 1, st->hash_key);
    memcpy(&key, out, sizeof(key));
    return key | 1; /* never 0 */
}

static struct attempts *attempts_find(struct auth_state *st, uint64_t key)
{
    uint64_t at;
    return u64map_get(&st->attempts_by_key, key, &at) ? &st->attempts[at] : NULL;
}

/* The oldest makes room. NULL: no memory; then nothing is counted. */
static struct attempts *attempts_get(struct auth_state *st, uint64_t key)
{
    struct attempts *a = attempts_find(st, key);
    if (a) {
        list_remove(&a->lru);
        list_push_back(&st->attempts_lru, &a->lru);
        return a;
    }
    if (st->nattempts < st->cfg.throttle_max) {
        a = &st->attempts[st->nattempts];
    } else {
        a = LIST_ENTRY(st->attempts_lru.next, struct attempts, lru);
        list_remove(&a->lru);
        u64map_del(&st->attempts_by_key, a->key, NULL);
        list_push_back(&st->attempts_lru, &a->lru);
        a->key = 0;
    }
    if (u64map_put(&st->attempts_by_key, key, (uint64_t)(a - st->attempts)) != CONFAB_OK) {
        return NULL;
    }
    if (st->nattempts < st->cfg.throttle_max) {
        st->nattempts++;
        list_init(&a->lru);
        list_push_back(&st->attempts_lru, &a->lru);
    }
    struct list lru = a->lru;
    *a = (struct attempts){.lru = lru, .key = key};
    return a;
}

static uint32_t free_tries(enum throttle_kind kind)
{
    return kind == THROTTLE_ACCOUNT ? FREE_ACCOUNT : FREE_ADDRESS;
}

uint32_t auth_state_try(struct auth_state *st, enum throttle_kind kind, struct span who,
                        uint64_t now_ms)
{
    uint32_t wait = 0;
    if (who.n == 0) {
        return 0;
    }
    lock(st);
    struct attempts *a = attempts_get(st, attempts_key(st, kind, who));
    if (a) {
        if (a->count > 0 && now_ms >= MAX(a->last_ms, a->until_ms) + FORGIVE_MS) {
            a->count = 0;
        }
        if (now_ms >= a->begun_ms + PENDING_MAX_MS) {
            a->pending = 0; /* of requests that ended without saying so, for want of memory */
        }
        bool spent = a->count > 0 && a->pending > 0 && a->count + a->pending >= free_tries(kind);
        if (now_ms < a->until_ms) {
            wait = (uint32_t)(a->until_ms - now_ms);
        } else if (kind == THROTTLE_ACCOUNT && (spent || a->pending >= UNDER_WAY_MAX)) {
            wait = 1000; /* one at a time */
        } else {
            a->pending++;
            a->begun_ms = now_ms;
        }
    }
    unlock(st);
    return wait;
}

void auth_state_tried(struct auth_state *st, enum throttle_kind kind, struct span who,
                      enum try_outcome outcome, uint64_t now_ms)
{
    if (who.n == 0) {
        return;
    }
    lock(st);
    struct attempts *a = attempts_find(st, attempts_key(st, kind, who));
    if (a) {
        uint32_t freely = free_tries(kind);
        a->pending -= a->pending > 0 ? 1 : 0;
        if (outcome == TRY_FAILED) {
            a->count = MIN(a->count + 1, FAILURES_COUNTED);
            a->last_ms = now_ms;
            if (a->count >= freely) {
                uint64_t wait = 1000ULL << MIN(a->count - freely, 20U);
                a->until_ms = now_ms + MIN(wait, WAIT_MAX_MS);
            }
        } else if (outcome == TRY_SUCCEEDED && kind == THROTTLE_ACCOUNT) {
            a->count = 0;
            a->until_ms = 0;
        }
    }
    unlock(st);
}

uint32_t auth_state_count(struct auth_state *st, enum throttle_kind kind, struct span who,
                          uint32_t max, uint32_t window_ms, uint64_t now_ms)
{
    uint32_t wait = 0;
    if (who.n == 0) {
        return 0;
    }
    lock(st);
    struct attempts *a = attempts_get(st, attempts_key(st, kind, who));
    if (a) {
        if (a->count == 0 || now_ms >= a->last_ms + window_ms) {
            a->count = 0;
            a->last_ms = now_ms; /* when the window began */
        }
        if (a->count >= max) {
            wait = (uint32_t)(a->last_ms + window_ms - now_ms);
        } else {
            a->count++;
        }
    }
    unlock(st);
    return wait;
}

size_t throttle_address(const char *address, char ret[48])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    uint8_t v6[16];
    uint8_t v4[4];
    ret[0] = 0;
    if (inet_pton(AF_INET6, address, v6) == 1) {
        if (memcmp(v6, mapped, sizeof(mapped)) != 0) {
            static const uint8_t loopback[16] = {[15] = 1};
            if (memcmp(v6, loopback, sizeof(v6)) == 0) {
                return 0;
            }
            memset(v6 + 8, 0, 8);
            (void)inet_ntop(AF_INET6, v6, ret, 48);
            return strlen(ret);
        }
        memcpy(v4, v6 + 12, sizeof(v4));
    } else if (inet_pton(AF_INET, address, v4) != 1) {
        return 0;
    }
    if (v4[0] == 127) {
        return 0;
    }
    return (size_t)snprintf(ret, 48, "%u.%u.%u.%u", v4[0], v4[1], v4[2], v4[3]);
}

/* ---- Settings ---- */

enum registration auth_state_registration(const struct auth_state *st)
{
    return (enum registration)atomic_load_explicit(&st->registration, memory_order_relaxed);
}

void auth_state_set_registration(struct auth_state *st, enum registration r)
{
    atomic_store_explicit(&st->registration, (int)r, memory_order_relaxed);
}

void auth_state_name(struct auth_state *st, char ret[SERVER_NAME_BYTES + 1])
{
    lock(st);
    memcpy(ret, st->name, sizeof(st->name));
    unlock(st);
}

void auth_state_set_name(struct auth_state *st, struct span name)
{
    size_t n = MIN(name.n, SERVER_NAME_BYTES);
    lock(st);
    memcpy(st->name, name.p, n);
    st->name[n] = 0;
    unlock(st);
}

void auth_state_setup_code(struct auth_state *st, char ret[SETUP_CODE_LEN + 1])
{
    lock(st);
    memcpy(ret, st->setup_code, sizeof(st->setup_code));
    unlock(st);
}

void auth_state_set_setup_code(struct auth_state *st, const char *code)
{
    lock(st);
    (void)snprintf(st->setup_code, sizeof(st->setup_code), "%s", code);
    unlock(st);
}
