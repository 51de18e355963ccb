/* Accounts, tokens and groups over REST. Accounts are made by several threads: each costs two
 * hashes. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/json.h"
#include "replay.h"

#define THREADS     8
#define PASSWORD    "a password of the replay"
#define ADD_MAX     1000U
#define BUSY_PAUSES 200

struct making {
    struct replay *r;
    atomic_uint next;
    atomic_bool failed;
};

static void put_credentials(struct buf *json, const char *username)
{
    struct json_writer w;
    buf_clear(json);
    json_w_init(&w, json);
    json_w_object(&w);
    json_w_kcstr(&w, "username", username);
    json_w_kcstr(&w, "password", PASSWORD);
    json_w_object_end(&w);
}

/* A server with a bounded queue of hashing says 503 or 429: again, a bit later. */
static enum confab_err call_patiently(struct rest *rest, const char *path, const char *token,
                                      const struct buf *json)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    enum confab_err err = CONFAB_OK;
    for (int i = 0; i < BUSY_PAUSES; i++) {
        err = rest_call(rest, "POST", path, token, json);
        if (err != CONFAB_OK || (rest->status != 503 && rest->status != 429)) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    return err;
}

static bool make_token(struct rest *rest, struct buf *json, const char *username, char *token,
                       char *user_id, size_t user_id_size)
{
    put_credentials(json, username);
    if (call_patiently(rest, "/api/v1/tokens", NULL, json) != CONFAB_OK || rest->status >= 300 ||
        !rest_member(rest, "token", token, TOKEN_BYTES) ||
        !rest_member(rest, "user_id", user_id, user_id_size)) {
        (void)fprintf(stderr, "no token for %s: status %d %.*s\n", username, rest->status,
                      (int)MIN(rest->body.len, 200U), (const char *)rest->body.data);
        return false;
    }
    return true;
}

static bool make_person(struct replay *r, struct rest *rest, struct buf *json, uint32_t index)
{
    const char *username = r->input.people[index].username;
    struct person *p = &r->people[index];
    char id[32] = "";
    put_credentials(json, username);
    /* 409: an earlier run made it, with the same password. */
    if (call_patiently(rest, "/api/v1/accounts", NULL, json) != CONFAB_OK ||
        (rest->status != 201 && rest->status != 409)) {
        (void)fprintf(stderr, "no account for %s: status %d %.*s\n", username, rest->status,
                      (int)MIN(rest->body.len, 200U), (const char *)rest->body.data);
        return false;
    }
    return make_token(rest, json, username, p->token, id, sizeof(id)) &&
           id_parse(span_str(id), &p->user_id);
}

static void *make_people(void *arg)
{
    struct making *m = arg;
    struct rest rest;
    struct buf json = {0};
    rest_init(&rest, m->r->opt.port);
    for (;;) {
        uint32_t index = atomic_fetch_add(&m->next, 1);
        if (index >= m->r->npeople || atomic_load(&m->failed)) {
            break;
        }
        if (!make_person(m->r, &rest, &json, index)) {
            atomic_store(&m->failed, true);
        }
    }
    rest_deinit(&rest);
    buf_deinit(&json);
    return NULL;
}

enum confab_err setup_accounts(struct replay *r)
{
    struct making m = {.r = r};
    pthread_t threads[THREADS];
    int started = 0;
    r->npeople = r->input.npeople;
    r->people = calloc(r->npeople, sizeof(*r->people));
    if (!r->people) {
        return CONFAB_NOMEM;
    }
    while (started < THREADS && pthread_create(&threads[started], NULL, make_people, &m) == 0) {
        started++;
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    if (started == 0 || atomic_load(&m.failed)) {
        return CONFAB_NET;
    }
    for (uint32_t i = 0; i < r->npeople; i++) {
        if (u64map_put(&r->by_user, r->people[i].user_id, i) != CONFAB_OK) {
            return CONFAB_NOMEM;
        }
    }
    return CONFAB_OK;
}

enum confab_err setup_device(struct replay *r, uint32_t person, char **ret_token)
{
    struct buf json = {0};
    char id[32];
    char *token = malloc(TOKEN_BYTES);
    if (!token) {
        return CONFAB_NOMEM;
    }
    bool ok = make_token(&r->rest, &json, r->input.people[person].username, token, id, sizeof(id));
    buf_deinit(&json);
    if (!ok) {
        free(token);
        return CONFAB_NET;
    }
    *ret_token = token;
    return CONFAB_OK;
}

static enum confab_err group_add(struct replay *r, uint32_t owner, const char *group,
                                 const uint32_t *members, uint32_t n)
{
    struct buf json = {0};
    struct json_writer w;
    char path[128];
    (void)snprintf(path, sizeof(path), "/api/v1/groups/%s/members", group);
    json_w_init(&w, &json);
    json_w_object(&w);
    json_w_key(&w, "user_ids");
    json_w_array(&w);
    for (uint32_t i = 0; i < n; i++) {
        json_w_id(&w, r->people[members[i]].user_id);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    enum confab_err err = call_patiently(&r->rest, path, r->people[owner].token, &json);
    buf_deinit(&json);
    if (err == CONFAB_OK && r->rest.status != 200) {
        (void)fprintf(stderr, "members were not added: status %d %.*s\n", r->rest.status,
                      (int)MIN(r->rest.body.len, 200U), (const char *)r->rest.body.data);
        err = CONFAB_NET;
    }
    return err;
}

enum confab_err setup_group(struct replay *r, uint32_t owner, const uint32_t *members, uint32_t n,
                            struct conv **ret)
{
    struct buf json = {0};
    char group[64];
    struct conv_id id;
    buf_put_str(&json, "{\"name\":\"replay\",\"members\":[]}");
    enum confab_err err = call_patiently(&r->rest, "/api/v1/groups", r->people[owner].token, &json);
    buf_deinit(&json);
    if (err != CONFAB_OK || r->rest.status != 201 ||
        !rest_member(&r->rest, "group_id", group, sizeof(group)) ||
        !conv_id_parse(span_str(group), &id)) {
        (void)fprintf(stderr, "no group: status %d\n", r->rest.status);
        return CONFAB_NET;
    }
    for (uint32_t at = 0; at < n && err == CONFAB_OK; at += ADD_MAX) {
        err = group_add(r, owner, group, members + at, MIN(ADD_MAX, n - at));
    }
    if (err != CONFAB_OK) {
        return err;
    }
    struct conv *c = conv_add(r, id);
    c->group = true;
    c->members = replay_realloc(NULL, (n + 1) * sizeof(*c->members));
    memcpy(c->members, members, n * sizeof(*members));
    c->members[n] = owner;
    c->nmembers = n + 1;
    *ret = c;
    return CONFAB_OK;
}
