#include "adapters/acme/acme_client.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/acme/acme_files.h"
#include "base/diag.h"
#include "proto/json.h"

#define NONCE_TRIES 10
#define POLLS_MAX   60 /* of one resource, with a second or what the authority asks between */
#define POLL_MAX_S  30U
#define PATH_SIZE   4352

/* ---- JSON ---- */

/* A member of the outermost object as text, or the text of what is no string. False: not there. */
static bool member(struct span in, const char *name, struct span *ret)
{
    struct json j;
    struct span key;
    bool found = false;
    json_init(&j, in, NULL);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        struct span raw = {0};
        json_raw(&j, &raw);
        if (span_is(key, name)) {
            *ret = raw;
            found = true;
        }
    }
    return found && json_end(&j);
}

/* A string member, decoded; false when it is none, or too long. */
static bool member_text(struct span in, const char *name, char *ret, size_t size)
{
    struct span raw;
    struct span text;
    uint8_t block[2048];
    struct scratch scratch;
    struct json j;
    scratch_init(&scratch, block, sizeof(block));
    if (!member(in, name, &raw)) {
        return false;
    }
    json_init(&j, raw, &scratch);
    if (!json_string(&j, &text) || !json_end(&j) || text.n >= size) {
        return false;
    }
    memcpy(ret, text.p, text.n);
    ret[text.n] = '\0';
    return true;
}

static struct span body_of(const struct acme_client *c)
{
    return span_of(c->http.body.data, c->http.body.len);
}

static bool status_is(const struct acme_client *c, const char *want)
{
    char status[32];
    return member_text(body_of(c), "status", status, sizeof(status)) && strcmp(status, want) == 0;
}

/* ---- Requests ---- */

/* What the authority says is wrong, from a problem document (RFC 7807). */
static void explain(struct acme_client *c, const char *what, struct span problem)
{
    char type[100] = "";
    char detail[160] = "";
    (void)member_text(problem, "type", type, sizeof(type));
    (void)member_text(problem, "detail", detail, sizeof(detail));
    const char *kind = strrchr(type, ':');
    (void)snprintf(c->why, sizeof(c->why), "%s: %.40s %.120s", what,
                   kind ? kind + 1 : "the authority says", detail);
    for (char *p = c->why; *p; p++) {
        *p = *p == '"' || *p == '\n' ? ' ' : *p; /* it goes to a line of the log */
    }
}

static enum confab_err request(struct acme_client *c, const char *url, const struct buf *body)
{
    enum confab_err err = acme_http_request(&c->http, url, body);
    if (err != CONFAB_OK) {
        (void)snprintf(c->why, sizeof(c->why), "%s", c->http.why);
    }
    return err;
}

static bool nonce_is_bad(const struct acme_client *c)
{
    char type[100];
    return c->http.status == 400 && member_text(body_of(c), "type", type, sizeof(type)) &&
           strcmp(type, "urn:ietf:params:acme:error:badNonce") == 0;
}

/* A signed request; its answer is in c->http. Nonces may be refused at any time. */
static enum confab_err post(struct acme_client *c, const char *what, const char *url,
                            struct span payload)
{
    enum confab_err err = CONFAB_OK;
    for (int i = 0; i < NONCE_TRIES; i++) {
        struct buf body = {0};
        if (c->http.nonce[0] == '\0') {
            err = request(c, c->new_nonce, NULL);
        }
        if (err == CONFAB_OK) {
            err = acme_put_jws(&body, c->account, c->kid[0] ? c->kid : NULL, c->http.nonce, url,
                               payload);
        }
        if (err == CONFAB_OK) {
            err = request(c, url, &body);
        }
        buf_deinit(&body);
        if (err != CONFAB_OK) {
            return err;
        }
        if (c->http.status / 100 == 2) {
            return CONFAB_OK;
        }
        if (!nonce_is_bad(c)) {
            break;
        }
    }
    c->wait_s = c->http.retry_after_s;
    explain(c, what, body_of(c));
    return CONFAB_FORBIDDEN;
}

static enum confab_err get(struct acme_client *c, const char *what, const char *url)
{
    return post(c, what, url, span_of(NULL, 0));
}

static enum confab_err wrong(struct acme_client *c, const char *what)
{
    (void)snprintf(c->why, sizeof(c->why), "%s: not an answer as RFC 8555 has it", what);
    return CONFAB_INVALID;
}

/* Between two looks; false when stopping. */
static bool rest(const struct acme_client *c)
{
    uint32_t seconds = MIN(MAX(c->http.retry_after_s, 1), POLL_MAX_S);
    for (uint32_t i = 0; i < seconds * 10; i++) {
        const struct timespec tenth = {.tv_nsec = 100000000};
        if (atomic_load(c->http.stop)) {
            return false;
        }
        (void)nanosleep(&tenth, NULL);
    }
    return true;
}

/* Looks until the status is none of those in which something is under way. */
static enum confab_err poll_settled(struct acme_client *c, const char *what, const char *url)
{
    for (int i = 0; i < POLLS_MAX; i++) {
        enum confab_err err = get(c, what, url);
        if (err != CONFAB_OK) {
            return err;
        }
        if (!status_is(c, "pending") && !status_is(c, "processing")) {
            return CONFAB_OK;
        }
        if (!rest(c)) {
            return CONFAB_CLOSED;
        }
    }
    (void)snprintf(c->why, sizeof(c->why), "%s: the authority does not come to an end", what);
    return CONFAB_TIMEOUT;
}

/* ---- Account ---- */

static enum confab_err directory_read(struct acme_client *c)
{
    enum confab_err err = request(c, c->cfg->directory, NULL);
    if (err != CONFAB_OK) {
        return err;
    }
    struct span body = body_of(c);
    if (c->http.status != 200 ||
        !member_text(body, "newNonce", c->new_nonce, sizeof(c->new_nonce)) ||
        !member_text(body, "newAccount", c->new_account, sizeof(c->new_account)) ||
        !member_text(body, "newOrder", c->new_order, sizeof(c->new_order))) {
        return wrong(c, "directory");
    }
    return CONFAB_OK;
}

/* Finds the account of the key, or makes it: the same call. */
static enum confab_err account_open(struct acme_client *c)
{
    struct buf payload = {0};
    struct json_writer w;
    c->kid[0] = '\0';
    json_w_init(&w, &payload);
    json_w_object(&w);
    json_w_kbool(&w, "termsOfServiceAgreed", true);
    if (c->cfg->contact) {
        char mail[ACME_TEXT_MAX + 8];
        (void)snprintf(mail, sizeof(mail), "mailto:%s", c->cfg->contact);
        json_w_key(&w, "contact");
        json_w_array(&w);
        json_w_cstr(&w, mail);
        json_w_array_end(&w);
    }
    json_w_object_end(&w);
    enum confab_err err =
        buf_ok(&payload) ? post(c, "account", c->new_account, span_of(payload.data, payload.len))
                         : CONFAB_NOMEM;
    buf_deinit(&payload);
    if (err == CONFAB_OK && c->http.location[0] == '\0') {
        return wrong(c, "account");
    }
    if (err == CONFAB_OK) {
        memcpy(c->kid, c->http.location, sizeof(c->kid));
    }
    return err;
}

/* ---- Order ---- */

static void path_of(const struct acme_client *c, const char *name, char ret[PATH_SIZE])
{
    (void)snprintf(ret, PATH_SIZE, "%s/%s", c->cfg->folder, name);
}

/* What an order was for, so that another directory or other names do not go on with it. */
static void put_purpose(const struct acme_client *c, struct json_writer *w)
{
    json_w_kcstr(w, "directory", c->cfg->directory);
    json_w_key(w, "identifiers");
    json_w_array(w);
    for (size_t i = 0; i < c->cfg->names_n; i++) {
        json_w_object(w);
        json_w_kcstr(w, "type", "dns");
        json_w_kcstr(w, "value", c->cfg->names[i]);
        json_w_object_end(w);
    }
    json_w_array_end(w);
}

static enum confab_err order_keep(const struct acme_client *c, const char *url)
{
    char path[PATH_SIZE];
    struct buf text = {0};
    struct json_writer w;
    path_of(c, "order.json", path);
    json_w_init(&w, &text);
    json_w_object(&w);
    json_w_kcstr(&w, "url", url);
    put_purpose(c, &w);
    json_w_object_end(&w);
    enum confab_err err =
        buf_ok(&text) ? acme_file_put(path, span_of(text.data, text.len)) : CONFAB_NOMEM;
    buf_deinit(&text);
    return err;
}

static void order_forget(const struct acme_client *c)
{
    char path[PATH_SIZE];
    path_of(c, "order.json", path);
    acme_file_remove(path);
    path_of(c, "order.key", path);
    acme_file_remove(path);
}

/* The URL of an order that was under way, for the same purpose. */
static bool order_kept(const struct acme_client *c, char url[ACME_URL_MAX])
{
    char path[PATH_SIZE];
    struct buf text = {0};
    struct buf same = {0};
    struct json_writer w;
    path_of(c, "order.json", path);
    bool ok = acme_file_get(path, &text) == CONFAB_OK &&
              member_text(span_of(text.data, text.len), "url", url, ACME_URL_MAX);
    if (ok) {
        json_w_init(&w, &same);
        json_w_object(&w);
        json_w_kcstr(&w, "url", url);
        put_purpose(c, &w);
        json_w_object_end(&w);
        ok = buf_ok(&same) && same.len == text.len && memcmp(same.data, text.data, text.len) == 0;
    }
    buf_deinit(&text);
    buf_deinit(&same);
    return ok;
}

static enum confab_err order_new(struct acme_client *c, char url[ACME_URL_MAX])
{
    struct buf payload = {0};
    struct json_writer w;
    json_w_init(&w, &payload);
    json_w_object(&w);
    json_w_key(&w, "identifiers");
    json_w_array(&w);
    for (size_t i = 0; i < c->cfg->names_n; i++) {
        json_w_object(&w);
        json_w_kcstr(&w, "type", "dns");
        json_w_kcstr(&w, "value", c->cfg->names[i]);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    enum confab_err err = buf_ok(&payload)
                              ? post(c, "order", c->new_order, span_of(payload.data, payload.len))
                              : CONFAB_NOMEM;
    buf_deinit(&payload);
    if (err == CONFAB_OK && c->http.location[0] == '\0') {
        return wrong(c, "order");
    }
    if (err == CONFAB_OK) {
        memcpy(url, c->http.location, ACME_URL_MAX);
        err = order_keep(c, url);
    }
    return err;
}

/* The one under way when the authority still knows it and it can be gone on with, or a new one. */
static enum confab_err order_open(struct acme_client *c, char url[ACME_URL_MAX], bool *kept)
{
    *kept = order_kept(c, url);
    if (*kept) {
        enum confab_err err = get(c, "order", url);
        if (err == CONFAB_OK && !status_is(c, "invalid")) {
            return CONFAB_OK;
        }
        if (err != CONFAB_OK && err != CONFAB_FORBIDDEN) {
            return err;
        }
    }
    *kept = false;
    order_forget(c);
    return order_new(c, url);
}

/* ---- Challenges ---- */

struct challenge {
    char url[ACME_URL_MAX];
    char token[200];
};

/* The TLS-ALPN-01 challenge of an authorization. */
static bool challenge_find(struct span authorization, struct challenge *ret)
{
    struct span all;
    struct json j;
    bool found = false;
    if (!member(authorization, "challenges", &all)) {
        return false;
    }
    json_init(&j, all, NULL);
    json_array_begin(&j);
    while (json_array_next(&j)) {
        struct span one = {0};
        char type[32];
        json_raw(&j, &one);
        if (!found && member_text(one, "type", type, sizeof(type)) &&
            strcmp(type, "tls-alpn-01") == 0) {
            found = member_text(one, "url", ret->url, sizeof(ret->url)) &&
                    member_text(one, "token", ret->token, sizeof(ret->token));
        }
    }
    return found && json_end(&j);
}

/* The reason of a failed authorization stands in its challenge. */
static void explain_refusal(struct acme_client *c, const char *name)
{
    struct span all;
    struct span problem;
    struct json j;
    char what[120];
    (void)snprintf(what, sizeof(what), "%.100s is not proven", name);
    (void)snprintf(c->why, sizeof(c->why), "%s", what);
    if (!member(body_of(c), "challenges", &all)) {
        return;
    }
    json_init(&j, all, NULL);
    json_array_begin(&j);
    while (json_array_next(&j)) {
        struct span one = {0};
        json_raw(&j, &one);
        if (member(one, "error", &problem)) {
            explain(c, what, problem);
        }
    }
}

static enum confab_err authorize(struct acme_client *c, const char *url)
{
    char name[256];
    struct span identifier;
    struct challenge challenge;
    enum confab_err err = get(c, "authorization", url);
    if (err != CONFAB_OK || status_is(c, "valid")) {
        return err;
    }
    if (!member(body_of(c), "identifier", &identifier) ||
        !member_text(identifier, "value", name, sizeof(name))) {
        return wrong(c, "authorization");
    }
    if (!challenge_find(body_of(c), &challenge)) {
        (void)snprintf(c->why, sizeof(c->why), "%.100s: the authority offers no tls-alpn-01", name);
        return CONFAB_UNSUPPORTED;
    }
    char proof[300];
    unsigned char digest[crypto_hash_sha256_BYTES];
    (void)snprintf(proof, sizeof(proof), "%s.%s", challenge.token, c->thumbprint);
    (void)crypto_hash_sha256(digest, (const unsigned char *)proof, strlen(proof));
    err = c->cfg->challenge(c->cfg->arg, name, digest);
    if (err == CONFAB_OK) {
        err = post(c, "challenge", challenge.url, span_str("{}"));
    }
    if (err == CONFAB_OK) {
        err = poll_settled(c, "authorization", url);
    }
    (void)!c->cfg->challenge(c->cfg->arg, name, NULL);
    if (err == CONFAB_OK && !status_is(c, "valid")) {
        explain_refusal(c, name);
        err = CONFAB_FORBIDDEN;
    }
    return err;
}

/* Those of the order that c->http holds. */
static enum confab_err authorize_all(struct acme_client *c)
{
    struct span raw;
    struct buf list = {0};
    struct json j;
    enum confab_err err = CONFAB_OK;
    if (!member(body_of(c), "authorizations", &raw)) {
        return wrong(c, "order");
    }
    buf_put(&list, raw.p, raw.n); /* the next answer takes its place */
    if (!buf_ok(&list)) {
        return CONFAB_NOMEM;
    }
    json_init(&j, span_of(list.data, list.len), NULL);
    json_array_begin(&j);
    while (err == CONFAB_OK && json_array_next(&j)) {
        struct span text;
        char url[ACME_URL_MAX];
        if (!json_string(&j, &text) || text.n >= sizeof(url)) {
            break;
        }
        (void)snprintf(url, sizeof(url), "%.*s", (int)text.n, (const char *)text.p);
        err = authorize(c, url);
    }
    if (err == CONFAB_OK && !json_end(&j)) {
        err = wrong(c, "order");
    }
    buf_deinit(&list);
    return err;
}

/* ---- The certificate ---- */

static enum confab_err finalize(struct acme_client *c, const char *url, EVP_PKEY *key)
{
    struct buf payload = {0};
    char where[ACME_URL_MAX];
    if (!member_text(body_of(c), "finalize", where, sizeof(where))) {
        return wrong(c, "order");
    }
    buf_put_str(&payload, "{\"csr\":\"");
    enum confab_err err = acme_put_csr(&payload, key, c->cfg->names, c->cfg->names_n);
    buf_put_str(&payload, "\"}");
    if (err == CONFAB_OK) {
        err = post(c, "finalize", where, span_of(payload.data, payload.len));
    }
    buf_deinit(&payload);
    return err == CONFAB_OK ? poll_settled(c, "order", url) : err;
}

/* Is it a certificate of that key? */
static bool chain_fits(struct span pem, EVP_PKEY *key)
{
    BIO *mem = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *cert = mem ? PEM_read_bio_X509(mem, NULL, NULL, NULL) : NULL;
    bool ok = cert && X509_check_private_key(cert, key) == 1;
    X509_free(cert);
    (void)BIO_free(mem);
    return ok;
}

static enum confab_err chain_get(struct acme_client *c, EVP_PKEY *key, struct buf *ret)
{
    char where[ACME_URL_MAX];
    if (!status_is(c, "valid") || !member_text(body_of(c), "certificate", where, sizeof(where))) {
        struct span problem;
        if (member(body_of(c), "error", &problem)) {
            explain(c, "order", problem);
            return CONFAB_FORBIDDEN;
        }
        return wrong(c, "order");
    }
    enum confab_err err = get(c, "certificate", where);
    if (err != CONFAB_OK) {
        return err;
    }
    if (!chain_fits(body_of(c), key)) {
        return wrong(c, "certificate");
    }
    err = acme_put_key(ret, key);
    buf_put(ret, c->http.body.data, c->http.body.len);
    return err == CONFAB_OK && !buf_ok(ret) ? CONFAB_NOMEM : err;
}

/*
 * The certificate of the order that c->http holds. The key of an order is there before the order is
 * finalized: after a restart it is the one that the certificate was made for. An order that is past
 * that without our key is of no use.
 */
static enum confab_err order_finish(struct acme_client *c, const char *url, struct buf *ret)
{
    char path[PATH_SIZE];
    EVP_PKEY *key = NULL;
    enum confab_err err = CONFAB_OK;
    if (status_is(c, "pending")) {
        err = authorize_all(c);
        if (err == CONFAB_OK) {
            err = poll_settled(c, "order", url);
        }
    }
    path_of(c, "order.key", path);
    if (err == CONFAB_OK) {
        err = acme_key_get(path, &key);
    }
    if (err == CONFAB_OK && status_is(c, "ready")) {
        err = finalize(c, url, key);
    } else if (err == CONFAB_OK && status_is(c, "processing")) {
        err = poll_settled(c, "order", url);
    }
    if (err == CONFAB_OK) {
        err = chain_get(c, key, ret);
    }
    EVP_PKEY_free(key);
    return err;
}

/* Asked after a refusal: what that one said is still there when it is not. */
static bool is_void(struct acme_client *c, const char *url)
{
    char why[sizeof(c->why)];
    uint32_t wait_s = c->wait_s;
    memcpy(why, c->why, sizeof(why));
    bool is = get(c, "order", url) == CONFAB_OK && status_is(c, "invalid");
    memcpy(c->why, why, sizeof(why));
    c->wait_s = wait_s;
    return is;
}

/*
 * An order of before a restart may be void because nobody was there when the authority looked: that
 * is no failure to be waited out, another one is asked for.
 */
static enum confab_err order_run(struct acme_client *c, struct buf *ret)
{
    char url[ACME_URL_MAX];
    bool kept;
    enum confab_err err = order_open(c, url, &kept);
    if (err == CONFAB_OK) {
        err = order_finish(c, url, ret);
    }
    if ((err == CONFAB_FORBIDDEN || err == CONFAB_INVALID) && kept && is_void(c, url)) {
        order_forget(c);
        err = order_new(c, url);
        if (err == CONFAB_OK) {
            err = order_finish(c, url, ret);
        }
    }
    return err;
}

enum confab_err acme_client_obtain(struct acme_client *c, struct buf *ret)
{
    char path[PATH_SIZE];
    path_of(c, "account.key", path);
    c->why[0] = '\0';
    c->wait_s = 0;
    enum confab_err err = acme_key_get(path, &c->account);
    if (err == CONFAB_OK) {
        err = acme_thumbprint(c->account, c->thumbprint);
    }
    if (err == CONFAB_OK) {
        err = directory_read(c);
    }
    if (err == CONFAB_OK) {
        err = account_open(c);
    }
    if (err == CONFAB_OK) {
        err = order_run(c, ret);
        if (err == CONFAB_FORBIDDEN || err == CONFAB_INVALID || err == CONFAB_UNSUPPORTED) {
            order_forget(c); /* what was refused is not to be gone on with */
        }
    }
    EVP_PKEY_free(c->account);
    c->account = NULL;
    if (err != CONFAB_OK && c->why[0] == '\0') {
        (void)snprintf(c->why, sizeof(c->why), "%s", err_text(err));
    }
    return err;
}
