/*
 * Error codes of libconfab. Those below CONFAB_E_LOCAL are the codes of the wire, as the server
 * sends them in {"error":{"code":…}}; the others arise on this side. Values never change.
 */
#ifndef CONFAB_ERROR_H
#define CONFAB_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

enum confab_error {
    CONFAB_E_OK = 0,

    /* From the server; confab_error_name gives the name on the wire. */
    CONFAB_E_INVALID = 1,         /* the request is not valid */
    CONFAB_E_NOT_FOUND = 2,       /* does not exist, or may not be seen */
    CONFAB_E_EXISTS = 3,          /* exists already */
    CONFAB_E_FORBIDDEN = 4,       /* may not be done by this user */
    CONFAB_E_UNAUTHENTICATED = 5, /* wrong password, or the token is refused */
    CONFAB_E_CONFLICT = 6,        /* in conflict with the present state */
    CONFAB_E_TOO_LARGE = 7,
    CONFAB_E_LIMIT = 8,    /* too many requests, or another limit; see retry_after_ms */
    CONFAB_E_BUSY = 9,     /* try again later */
    CONFAB_E_STORAGE = 10, /* the server's storage failed */
    CONFAB_E_STORAGE_FULL = 11,
    CONFAB_E_DUPLICATE_KEY = 12, /* the client_msg_id was used for other content */
    CONFAB_E_BLOCKED = 13,       /* this person does not take messages from you */
    CONFAB_E_UNSUPPORTED = 14,   /* not known to the server, or to this library */
    CONFAB_E_SERVER = 15,        /* any other failure of the server */

    CONFAB_E_LOCAL = 100,
    CONFAB_E_NOMEM = 101,
    CONFAB_E_NETWORK = 102, /* not reachable, or the connection broke */
    CONFAB_E_TIMEOUT = 103,
    CONFAB_E_PROTOCOL = 104,   /* what answered does not speak this protocol */
    CONFAB_E_ARGUMENT = 105,   /* an argument of the call is not valid; nothing was done */
    CONFAB_E_FULL = 106,       /* a bound of this client is reached */
    CONFAB_E_STATE = 107,      /* not possible in this state, such as without a token */
    CONFAB_E_DAMAGED = 108,    /* the saved state is damaged, or of another user or version */
    CONFAB_E_SAVE = 109,       /* the application's save function failed */
    CONFAB_E_CERTIFICATE = 110 /* the server's certificate is not trusted; nothing was sent */
};

/* Static text for people; never NULL, also for unknown values. */
const char *confab_error_text(enum confab_error error);
/* Static short name such as "not_found": for codes of the server the one on the wire. */
const char *confab_error_name(enum confab_error error);
/* Code of a name on the wire; CONFAB_E_SERVER for unknown ones. */
enum confab_error confab_error_of_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif
