/* The public codes, their texts, and the way between them and those of base/err.h. */
#include <confab/error.h>

#include <string.h>

#include "client/session_internal.h"

struct row {
    enum confab_error error;
    const char *name;
    const char *text;
};

static const struct row rows[] = {
    {CONFAB_E_OK, "ok", "success"},
    {CONFAB_E_INVALID, "invalid", "the request is not valid"},
    {CONFAB_E_NOT_FOUND, "not_found", "not found"},
    {CONFAB_E_EXISTS, "exists", "exists already"},
    {CONFAB_E_FORBIDDEN, "forbidden", "not allowed"},
    {CONFAB_E_UNAUTHENTICATED, "unauthenticated", "not signed in, or no longer"},
    {CONFAB_E_CONFLICT, "conflict", "in conflict with the present state"},
    {CONFAB_E_TOO_LARGE, "too_large", "too large"},
    {CONFAB_E_LIMIT, "limit_reached", "a limit is reached"},
    {CONFAB_E_BUSY, "busy", "the server is busy, try again later"},
    {CONFAB_E_STORAGE, "storage_failed", "the server's storage failed"},
    {CONFAB_E_STORAGE_FULL, "storage_full", "the server's storage is full"},
    {CONFAB_E_DUPLICATE_KEY, "duplicate_key", "the same key was used for other content"},
    {CONFAB_E_BLOCKED, "blocked", "this person does not take messages from you"},
    {CONFAB_E_UNSUPPORTED, "unsupported", "not supported"},
    {CONFAB_E_SERVER, "server", "the server failed"},
    {CONFAB_E_NOMEM, "nomem", "out of memory"},
    {CONFAB_E_NETWORK, "network", "the server cannot be reached"},
    {CONFAB_E_TIMEOUT, "no_answer", "no answer in time"},
    {CONFAB_E_PROTOCOL, "protocol", "what answers there is not a Confab server of this version"},
    {CONFAB_E_ARGUMENT, "argument", "an argument is not valid"},
    {CONFAB_E_FULL, "full", "too many already"},
    {CONFAB_E_STATE, "state", "not possible now"},
    {CONFAB_E_DAMAGED, "damaged", "the saved state is damaged or belongs to another user"},
    {CONFAB_E_CERTIFICATE, "certificate", "the server's certificate is not trusted"},
    {CONFAB_E_SAVE, "save", "the state could not be saved"},
};

static const struct row *find(enum confab_error error)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].error == error) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *confab_error_text(enum confab_error error)
{
    const struct row *r = find(error);
    return r ? r->text : "unknown error";
}

const char *confab_error_name(enum confab_error error)
{
    const struct row *r = find(error);
    return r ? r->name : "unknown";
}

enum confab_error cerror_of_wire(struct span code)
{
    for (size_t i = 0; i < ARRAY_LEN(rows) && rows[i].error < CONFAB_E_LOCAL; i++) {
        if (span_is(code, rows[i].name)) {
            return rows[i].error;
        }
    }
    return CONFAB_E_SERVER;
}

enum confab_error confab_error_of_name(const char *name)
{
    return cerror_of_wire(span_str(name));
}

bool cerror_passes(struct span code)
{
    static const char *const names[] = {"again", "out_of_memory", "closed", "timeout", "network"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (span_is(code, names[i])) {
            return true;
        }
    }
    return false;
}

enum confab_error cerror_of(enum confab_err err)
{
    switch (err) {
    case CONFAB_OK:
        return CONFAB_E_OK;
    case CONFAB_NOMEM:
        return CONFAB_E_NOMEM;
    case CONFAB_NET:
    case CONFAB_CLOSED:
        return CONFAB_E_NETWORK;
    case CONFAB_TIMEOUT:
        return CONFAB_E_TIMEOUT;
    case CONFAB_CORRUPT:
        return CONFAB_E_DAMAGED;
    case CONFAB_LIMIT:
        return CONFAB_E_FULL;
    case CONFAB_FORBIDDEN: /* of io_conn.h only: the server's own arrives by its wire name */
        return CONFAB_E_CERTIFICATE;
    case CONFAB_UNSUPPORTED:
        return CONFAB_E_UNSUPPORTED;
    default:
        return CONFAB_E_PROTOCOL;
    }
}
