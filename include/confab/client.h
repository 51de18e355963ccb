/*
 * A client of a Confab server: one signed-in device, its connection, what it has received and what
 * it has to send. Connects by itself and again after every interruption, takes up where it was,
 * hands out every event once and in order, and keeps messages until the server has stored them.
 *
 * There is no thread and no global state: things happen inside confab_client_run (or _process). A
 * client belongs to one thread at a time; several clients may be used in several threads. Nothing
 * is logged and nothing aborts: failing allocations are CONFAB_E_NOMEM.
 *
 *     struct confab_options o;
 *     confab_options_init(&o);
 *     o.server = "http://127.0.0.1:8008";
 *     o.token = token;
 *     o.handlers.on_message = print;
 *     struct confab_client *c;
 *     if (confab_client_new(&o, &c) != CONFAB_E_OK) …
 *     confab_client_start(c);
 *     while (confab_client_run(c, -1) == CONFAB_E_OK) {
 *     }
 *     confab_client_free(c);
 */
#ifndef CONFAB_CLIENT_H
#define CONFAB_CLIENT_H

#include <confab/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pollfd; /* of <poll.h> */
struct confab_client;

enum confab_flags {
    /* Only send: nothing live, no conversations, no positions. */
    CONFAB_NO_FOLLOW = 1,
    /* Do not tell others that messages have been delivered to this device. */
    CONFAB_NO_DELIVERED = 2,
    /* Ask the server to compress (its option websocket-compression), and compress to it. */
    CONFAB_COMPRESS = 4
};

struct confab_options {
    size_t size; /* set by confab_options_init */
    /* http://host[:port] or https://, ports 80 and 443 without one; ws and wss are the same. A path
     * may follow, below which a proxy has the server. */
    const char *server;
    /*
     * Which certificate to trust with https: NULL for both, the system's authorities and the host's
     * name; ca_file, those of a file in PEM form instead, which may be the server's own
     * certificate; fingerprint, the one with that SHA-256 (hex digits, with or without colons)
     * whatever it says.
     */
    const char *ca_file;
    const char *fingerprint;
    const char *token; /* NULL: only confab_register and confab_login work until then */
    /*
     * Tokens are short-lived. With a refresh token the client renews them by itself: in time, and
     * when one is refused; without, it ends when the token does. token_expires_at_ms: 0 when not
     * known.
     */
    const char *refresh_token;
    uint64_t token_expires_at_ms;
    /*
     * A refresh token is good for one use, and all processes of a device share the chain of them.
     * tokens_begin is called before a renewal: keep the others out, and fill in what was stored
     * last (by whichever process). CONFAB_E_BUSY: another one is at it, it is asked again soon.
     * tokens_end follows: `fresh` is to be stored durably, NULL when there is nothing new; then
     * let the others in. Both may be NULL: this client is the only one.
     */
    enum confab_error (*tokens_begin)(void *arg, struct confab_tokens *io);
    enum confab_error (*tokens_end)(void *arg, const struct confab_tokens *fresh);
    void *tokens_arg; /* for these two */
    struct confab_handlers handlers;
    void *arg; /* for the handlers and save */
    unsigned flags;

    /*
     * Persistence: `state` is what `save` got last, in this or an earlier process; it holds
     * positions and unsent messages, and no secret. save must be atomic (write a new file, rename
     * it). It is called before confab_send returns, before on_sent tells a failure, and at most
     * once a second for anything else. While it fails, a message that the server refused is sent
     * again, up to send_attempts_max times, and not told of. NULL: none.
     */
    const void *state;
    size_t state_len;
    enum confab_error (*save)(void *arg, const void *data, size_t n);

    uint64_t fill_max;          /* events of one gap to fetch; larger ones are skipped: on_gap */
    uint32_t outbox_max;        /* messages waiting */
    uint32_t outbox_bytes_max;  /* their size */
    uint32_t send_attempts_max; /* refusals with "try again" before a message fails */
    uint32_t held_bytes_max;    /* events kept while a gap before them is filled */
    uint32_t conversations_max; /* positions kept; events of others are not handed out */
    uint32_t frame_bytes_max;   /* larger frames of the server end the connection */
    uint32_t backoff_min_ms;    /* first wait is up to this, doubling */
    uint32_t backoff_max_ms;
    uint32_t timeout_ms; /* for connecting, signing in and each REST call */
    /*
     * How to get events. AUTO: a WebSocket; after two handshakes that failed, a stream, or polls if
     * nothing of the stream arrives within 10 s; after 10 minutes a WebSocket is tried again.
     * Nothing is lost or handed out twice at a change. The others: this one and no other.
     */
    enum confab_transport transport;
};
/* Defaults for everything; server, token and handlers are NULL. */
void confab_options_init(struct confab_options *options);

/*
 * Copies what it needs of the options. CONFAB_E_ARGUMENT (also: an unusable ca_file or
 * fingerprint), CONFAB_E_DAMAGED (start over without `state`), CONFAB_E_NOMEM.
 */
enum confab_error confab_client_new(const struct confab_options *options,
                                    struct confab_client **ret);
/* Saves the state if there is something new; NULL is fine. */
void confab_client_free(struct confab_client *c);

/* From now on wants to be connected. CONFAB_E_STATE without a token. */
enum confab_error confab_client_start(struct confab_client *c);
/*
 * Disconnects; the next run writes the goodbye. Unsent messages stay. Called from a handler,
 * nothing is handed out behind that event: it comes after the next start, or in the next process.
 */
void confab_client_stop(struct confab_client *c);

/*
 * Waits up to timeout_ms (-1: for ever) for something to do and does it. Returns early on a signal.
 * CONFAB_E_UNAUTHENTICATED once this device is signed out, CONFAB_E_DAMAGED when the state is that
 * of another user: it will not connect again. Else CONFAB_E_OK, also while there is no connection.
 */
enum confab_error confab_client_run(struct confab_client *c, int timeout_ms);

/*
 * The same in a loop of the application's own: fills up to `max` entries (5 are enough) to poll for
 * and sets how long to wait at most (-1: for ever), then call _process after the wait, whatever
 * woke it. _process never blocks, except for looking up the server's address.
 */
size_t confab_client_pollfds(struct confab_client *c, struct pollfd *fds, size_t max,
                             int *ret_timeout_ms);
enum confab_error confab_client_process(struct confab_client *c);

void confab_client_status(const struct confab_client *c, struct confab_status *ret);
/* "auto", "ws", "sse" or "poll"; static. */
const char *confab_transport_name(enum confab_transport transport);

struct confab_outgoing {
    const char *to;   /* user id or username, or NULL */
    const char *conv; /* conversation id, for groups; or NULL */
    struct confab_text content;
    const char *client_msg_id; /* NULL: one is made */
    uint64_t reply_to;
    const uint64_t *mentions;
    size_t nmentions;
};
/*
 * Queues a message; it is sent when connected, in order with the others to the same `to` or `conv`,
 * and repeated with the same client_msg_id until the server has stored or refused it: on_sent.
 * ret_cmid may be NULL. CONFAB_E_ARGUMENT, CONFAB_E_FULL, CONFAB_E_NOMEM, CONFAB_E_SAVE: not
 * queued.
 */
enum confab_error confab_send(struct confab_client *c, const struct confab_outgoing *message,
                              char ret_cmid[CONFAB_CMID_SIZE]);
/* Messages waiting or under way. */
size_t confab_outbox_len(const struct confab_client *c);
/* Takes a message back that was never sent; CONFAB_E_NOT_FOUND, CONFAB_E_STATE (may be stored). */
enum confab_error confab_unsend(struct confab_client *c, const char *client_msg_id);
/*
 * Runs until the outbox is empty. CONFAB_E_TIMEOUT; CONFAB_E_UNAUTHENTICATED; what became of each
 * message is told by on_sent.
 */
enum confab_error confab_client_wait_sent(struct confab_client *c, int timeout_ms);

#define CONFAB_VIEW_MAX   20
#define CONFAB_FOLLOW_MAX 500
/*
 * What is on the screen now, in place of what was before: who types there is told by on_typing.
 * Said again with each connect. CONFAB_E_ARGUMENT: above CONFAB_VIEW_MAX, or no conversation id.
 */
enum confab_error confab_view(struct confab_client *c, const char *const *convs, size_t n);
/*
 * Tells who looks that one types, or that the text was cleared: to a user's id or name, or in a
 * conversation; the other is NULL. To be repeated every 4 s while keys are pressed. CONFAB_E_STATE:
 * not connected, which is no reason to do anything.
 */
enum confab_error confab_typing_set(struct confab_client *c, const char *to, const char *conv,
                                    bool active);
/*
 * Whose presence on_presence tells, once at first and then each change; in place of those before.
 * Said again with each connect. CONFAB_E_ARGUMENT: above CONFAB_FOLLOW_MAX. CONFAB_E_NOMEM.
 */
enum confab_error confab_presence_follow(struct confab_client *c, const uint64_t *user_ids,
                                         size_t n);

/* Everything up to seq is read; told to the server soon. */
enum confab_error confab_mark_read(struct confab_client *c, const char *conv, uint64_t seq);
/* Seq of the last event handed out; CONFAB_E_NOT_FOUND. */
enum confab_error confab_position(const struct confab_client *c, const char *conv,
                                  uint64_t *ret_seq);
/* Calls save now if there is something new. */
enum confab_error confab_client_save(struct confab_client *c);

struct confab_stats {
    uint64_t connects;     /* attempts */
    uint64_t caught_up;    /* of them, up to live */
    uint64_t messages;     /* handed out */
    uint64_t events;       /* handed out */
    uint64_t repeated;     /* events that came again, and were ignored */
    uint64_t held;         /* events kept for a gap before them */
    uint64_t held_dropped; /* of them, not kept for lack of room: fetched later */
    uint64_t fetches;      /* of history, to fill gaps */
    uint64_t fetches_failed;
    uint64_t gaps_skipped;
    uint64_t resets;
    uint64_t resyncs;
    uint64_t sent;
    uint64_t sent_duplicate; /* of them, recognised by the server as repeated */
    uint64_t send_retries;
    uint64_t send_failed;
    uint64_t outbox_refused; /* outbox_max or outbox_bytes_max reached */
    uint64_t conv_refused;   /* conversations_max reached */
    uint64_t protocol_errors;
    uint64_t renewals; /* of the token */
    uint64_t renewals_failed;
    uint64_t deflated; /* messages compressed, and */
    uint64_t inflated; /* read compressed, with CONFAB_COMPRESS */
    uint64_t counters; /* of large conversations that had moved */
};
void confab_client_stats(const struct confab_client *c, struct confab_stats *ret);

#ifdef __cplusplus
}
#endif

#endif
