/* Accounts, tokens and groups, over the same interfaces that an administrator uses. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "proto/json.h"
#include "proto/jwt.h"

#define BATCH       1000U
#define GROUP       100U
#define PASSWORD    "the password of a load test"
#define PATH_SIZE   4096
#define PATIENCE    600
#define TOKEN_LIFE  86400U
#define OWN_DEVICES (UINT64_C(1) << 62) /* device ids that no server gives out */

static bool read_file(const char *dir, const char *name, void *out, size_t size, size_t *ret_n)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size);
    if (n < 0) {
        (void)fprintf(stderr, "confab-bench: %s: %s\n", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    *ret_n = n < 0 ? 0 : (size_t)n;
    return n >= 0;
}

/* 503 and 429 mean: a bit later. Anything else but 2xx is told and is CONFAB_NET. */
static enum confab_err call(struct world *w, const char *method, const char *path,
                            const char *token, const struct buf *json)
{
    for (int i = 0; i < PATIENCE; i++) {
        if (rest_call(&w->rest, method, path, token, json) != CONFAB_OK) {
            (void)fprintf(stderr, "confab-bench: no server answers on port %u\n", w->rest.port);
            return CONFAB_NET;
        }
        if (w->rest.status != 503 && w->rest.status != 429) {
            break;
        }
        pause_ms(50);
    }
    if (w->rest.status / 100 != 2) {
        (void)fprintf(stderr, "confab-bench: %s %s: %d %.*s\n", method, path, w->rest.status,
                      (int)MIN(w->rest.body.len, 300U), (const char *)w->rest.body.data);
        return CONFAB_NET;
    }
    return CONFAB_OK;
}

static void name_of(const struct world *w, uint32_t i, char out[40])
{
    (void)snprintf(out, 40, "bench.%s.%" PRIu32, w->run, i);
}

/* {"results":[{"username","user_id"}…]}, in the order of the request. */
static enum confab_err take_results(struct world *w, uint32_t first, uint32_t n)
{
    struct json j;
    struct span key;
    uint32_t at = 0;
    json_init(&j, span_of(w->rest.body.data, w->rest.body.len), NULL);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (!span_is(key, "results")) {
            json_skip(&j);
            continue;
        }
        json_array_begin(&j);
        while (json_array_next(&j)) {
            struct span field;
            uint64_t id = 0;
            json_object_begin(&j);
            while (json_object_next(&j, &field)) {
                if (span_is(field, "user_id")) {
                    json_id(&j, &id);
                } else {
                    json_skip(&j);
                }
            }
            if (at < n) {
                w->people[first + at].user_id = id;
            }
            at += id != 0;
        }
    }
    if (!json_end(&j) || at != n) {
        (void)fprintf(stderr, "confab-bench: %" PRIu32 " of %" PRIu32 " accounts were made: %.*s\n",
                      at, n, (int)MIN(w->rest.body.len, 300U), (const char *)w->rest.body.data);
        return CONFAB_NET;
    }
    return CONFAB_OK;
}

static enum confab_err make_accounts(struct world *w, const char *hash)
{
    struct buf json = {0};
    enum confab_err err = CONFAB_OK;
    for (uint32_t at = 0; at < w->npeople && !err; at += BATCH) {
        uint32_t n = MIN(BATCH, w->npeople - at);
        struct json_writer jw;
        buf_clear(&json);
        json_w_init(&jw, &json);
        json_w_object(&jw);
        json_w_key(&jw, "users");
        json_w_array(&jw);
        for (uint32_t i = 0; i < n; i++) {
            char name[40];
            name_of(w, at + i, name);
            json_w_object(&jw);
            json_w_kcstr(&jw, "username", name);
            json_w_kcstr(&jw, "password_hash", hash);
            json_w_object_end(&jw);
        }
        json_w_array_end(&jw);
        json_w_object_end(&jw);
        err = call(w, "POST", "/api/v1/admin/users", w->operator_key, &json);
        err = err ? err : take_results(w, at, n);
    }
    buf_deinit(&json);
    return err;
}

static enum confab_err sign_in_all(struct world *w)
{
    struct buf json = {0};
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < w->npeople && !err; i++) {
        char name[40];
        struct json_writer jw;
        name_of(w, i, name);
        buf_clear(&json);
        json_w_init(&jw, &json);
        json_w_object(&jw);
        json_w_kcstr(&jw, "username", name);
        json_w_kcstr(&jw, "password", PASSWORD);
        json_w_object_end(&jw);
        err = call(w, "POST", "/api/v1/tokens", NULL, &json);
        if (!err && !rest_member(&w->rest, "token", w->people[i].token, TOKEN_BYTES)) {
            err = CONFAB_NET;
        }
    }
    buf_deinit(&json);
    return err;
}

static enum confab_err sign_own(struct world *w)
{
    struct jwt_keys keys = {.n = 1};
    size_t n = 0;
    if (!read_file(w->opt->data, "keys/token.key", keys.key[0], JWT_KEY_BYTES, &n) ||
        n != JWT_KEY_BYTES) {
        return CONFAB_IO;
    }
    uint64_t now_s = clock_wall_ms(clock_system()) / 1000;
    for (uint32_t i = 0; i < w->npeople; i++) {
        struct jwt_claims claims = {.user = w->people[i].user_id,
                                    .device = OWN_DEVICES + i,
                                    .issued_s = now_s,
                                    .expires_s = now_s + TOKEN_LIFE};
        (void)jwt_make(&keys, &claims, w->people[i].token);
    }
    sodium_memzero(&keys, sizeof(keys));
    return CONFAB_OK;
}

/* One id a line. What is missing is CONFAB_NOT_FOUND, anything else that is wrong CONFAB_IO. */
static enum confab_err people_read(struct world *w, const char *path)
{
    FILE *f = fopen(path, "re");
    uint32_t n = 0;
    unsigned long long id = 0;
    if (!f) {
        return errno == ENOENT ? CONFAB_NOT_FOUND : CONFAB_IO;
    }
    while (n < w->npeople && fscanf(f, "%llu", &id) == 1) {
        w->people[n++].user_id = id;
    }
    (void)fclose(f);
    if (n < w->npeople) {
        (void)fprintf(stderr, "confab-bench: %s has %" PRIu32 " of %" PRIu32 " accounts\n", path, n,
                      w->npeople);
        return CONFAB_IO;
    }
    w->known = true;
    return CONFAB_OK;
}

static enum confab_err people_write(const struct world *w, const char *path)
{
    FILE *f = fopen(path, "we");
    bool ok = f != NULL;
    for (uint32_t i = 0; i < w->npeople && ok; i++) {
        ok = fprintf(f, "%" PRIu64 "\n", w->people[i].user_id) > 0;
    }
    ok = f && fclose(f) == 0 && ok;
    if (!ok) {
        (void)fprintf(stderr, "confab-bench: %s: %s\n", path, strerror(errno));
    }
    return ok ? CONFAB_OK : CONFAB_IO;
}

enum confab_err world_make(struct world *w, const struct options *o, uint32_t n)
{
    char hash[crypto_pwhash_STRBYTES];
    size_t got = 0;
    memset(w, 0, sizeof(*w));
    w->opt = o;
    rest_init(&w->rest, (uint16_t)o->port);
    if (sodium_init() < 0 ||
        crypto_pwhash_str(hash, PASSWORD, strlen(PASSWORD), crypto_pwhash_OPSLIMIT_MIN,
                          crypto_pwhash_MEMLIMIT_MIN) != 0) {
        return CONFAB_NOMEM;
    }
    (void)snprintf(w->run, sizeof(w->run), "%08" PRIx32, (uint32_t)random_u64(random_system()));
    if (!read_file(o->data, "operator.key", w->operator_key, sizeof(w->operator_key) - 1, &got)) {
        return CONFAB_IO;
    }
    w->operator_key[strcspn(w->operator_key, "\r\n")] = '\0';
    w->npeople = n;
    w->people = bench_alloc(n * sizeof(*w->people));
    enum confab_err err = o->people ? people_read(w, o->people) : CONFAB_NOT_FOUND;
    if (err == CONFAB_NOT_FOUND) {
        err = make_accounts(w, hash);
        err = err || !o->people ? err : people_write(w, o->people);
    }
    return err ? err : o->own_tokens ? sign_own(w) : sign_in_all(w);
}

static enum confab_err group_add(struct world *w, const char *path, const uint32_t *people,
                                 uint32_t n, const char *token)
{
    struct buf json = {0};
    struct json_writer jw;
    json_w_init(&jw, &json);
    json_w_object(&jw);
    json_w_key(&jw, "user_ids");
    json_w_array(&jw);
    for (uint32_t i = 0; i < n; i++) {
        json_w_id(&jw, w->people[people[i]].user_id);
    }
    json_w_array_end(&jw);
    json_w_object_end(&jw);
    enum confab_err err = call(w, "POST", path, token, &json);
    buf_deinit(&json);
    return err;
}

enum confab_err world_group(struct world *w, const uint32_t *people, uint32_t n,
                            struct conv_id *ret)
{
    struct buf json = {0};
    char id[64];
    char path[128];
    const char *token = w->people[people[0]].token;
    buf_put_str(&json, "{\"name\":\"bench\",\"members\":[]}");
    enum confab_err err = call(w, "POST", "/api/v1/groups", token, &json);
    buf_deinit(&json);
    if (err) {
        return err;
    }
    if (!rest_member(&w->rest, "group_id", id, sizeof(id)) || !conv_id_parse(span_str(id), ret)) {
        return CONFAB_NET;
    }
    (void)snprintf(path, sizeof(path), "/api/v1/groups/%s/members", id);
    for (uint32_t at = 1; at < n && !err; at += BATCH) {
        err = group_add(w, path, people + at, MIN(BATCH, n - at), token);
    }
    return err;
}

enum confab_err world_groups(struct world *w)
{
    uint32_t people[GROUP];
    uint32_t each = MIN(GROUP, w->npeople);
    uint64_t wanted = w->known ? 0 : ((uint64_t)w->npeople * w->opt->groups + each - 1) / each;
    uint32_t at = 0;
    for (uint64_t g = 0; g < wanted; g++) {
        struct conv_id conv;
        for (uint32_t i = 0; i < each; i++) {
            people[i] = at++ % w->npeople;
        }
        enum confab_err err = world_group(w, people, each, &conv);
        if (err) {
            return err;
        }
    }
    return CONFAB_OK;
}

void world_deinit(struct world *w)
{
    rest_deinit(&w->rest);
    free(w->people);
}

double world_metric(struct world *w, const char *name)
{
    double sum = 0;
    if (rest_call(&w->rest, "GET", "/metrics", NULL, NULL) != CONFAB_OK || w->rest.status != 200) {
        return 0;
    }
    buf_put_u8(&w->rest.body, 0);
    if (!buf_ok(&w->rest.body)) {
        return 0;
    }
    size_t n = strlen(name);
    char *rest = NULL;
    for (char *line = strtok_r((char *)w->rest.body.data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '{')) {
            const char *value = strrchr(line, ' ');
            sum += value ? strtod(value, NULL) : 0;
        }
    }
    return sum;
}
