#include "gateway/credentials.h"

#include <sodium.h>
#include <stdlib.h>

#include "gateway/internal.h"

const char *credentials_member(struct json *j, struct span key, struct credentials *cr)
{
    struct span v;
    if (span_is(key, "username")) {
        if (json_string(j, &v)) {
            if (!username_canonical(v, cr->key)) {
                return "username";
            }
            memcpy(cr->username, v.p, v.n);
            cr->username[v.n] = 0;
        }
    } else if (span_is(key, "password")) {
        if (json_string(j, &v)) {
            if (v.n < PASSWORD_MIN || v.n > PASSWORD_MAX || memchr(v.p, 0, v.n)) {
                return "password";
            }
            memcpy(cr->password, v.p, v.n);
            cr->password_len = v.n;
        }
    } else if (span_is(key, "display_name")) {
        return api_text(j, DISPLAY_CHARS_MAX, cr->display_name, sizeof(cr->display_name))
                   ? NULL
                   : "display_name";
    } else if (span_is(key, "email")) {
        return api_email(j, cr->email) ? NULL : "email";
    } else if (span_is(key, "device_name")) {
        return api_text(j, DEVICE_CHARS_MAX, cr->device_name, sizeof(cr->device_name))
                   ? NULL
                   : "device_name";
    } else if (span_is(key, "invite")) {
        if (!json_try_null(j) && json_string(j, &v)) {
            /* A code of another length is none of ours, and is told so like any other. */
            size_t n = MIN(v.n, INVITE_CODE_LEN);
            memcpy(cr->invite, v.p, n);
            cr->invite[v.n == INVITE_CODE_LEN ? n : 0] = 0;
            cr->has_invite = true;
        }
    } else if (span_is(key, "cookie")) {
        json_bool(j, &cr->cookie);
    } else {
        json_skip(j);
    }
    return NULL;
}

const char *credentials_expected(const char *field)
{
    if (strcmp(field, "username") == 0) {
        return "1 to 50 letters, digits or _-.[]\\^{|}`, not only digits, nor 32 digits of an id";
    }
    if (strcmp(field, "email") == 0) {
        return "an e-mail address is expected";
    }
    return strcmp(field, "password") == 0 ? "8 to 256 bytes"
                                          : "too long, or has control characters";
}

void credentials_free(struct credentials *cr)
{
    if (cr) {
        sodium_memzero(cr, CREDENTIALS_SECRET);
        free(cr);
    }
}

struct credentials *credentials_read(struct api_request *r)
{
    struct credentials *cr = calloc(1, sizeof(*cr));
    struct json j;
    struct span key;
    const char *bad = NULL;
    if (!cr) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    if (!api_body_begin(r, &j)) {
        free(cr);
        return NULL;
    }
    while (json_object_next(&j, &key)) {
        const char *b = credentials_member(&j, key, cr);
        bad = bad ? bad : b;
    }
    bool ok = api_body_end(r, &j);
    if (ok && !bad && cr->key[0] == 0) {
        bad = "username";
    }
    if (ok && !bad && cr->password_len == 0) {
        bad = "password";
    }
    if (ok && bad) {
        api_fail(r, CONFAB_INVALID, credentials_expected(bad), bad);
    }
    if (!ok || bad) {
        credentials_free(cr);
        return NULL;
    }
    return cr;
}

struct api_call *credentials_call(struct api_request *r, struct credentials *cr)
{
    struct api_call *call = api_call_new(r);
    if (!call) {
        credentials_free(cr);
        return NULL;
    }
    call->data = cr;
    call->wipe = CREDENTIALS_SECRET;
    api_call_address(r, call);
    return call;
}
