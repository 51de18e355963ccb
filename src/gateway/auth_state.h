/*
 * What the shards of a server share about identity, and the only thing that they share: which
 * devices were signed out, tickets, failed attempts, who hides what (privacy.h), and the settings
 * that may change at run time.
 * Each of these has to hold at once and everywhere (a second shard that still takes a revoked
 * token, or counts guesses by itself, would be a hole), all are touched rarely compared with
 * messages, and each hold of the lock is short and does no I/O. What every request needs, the keys
 * and whether anything is revoked at all, is read without it.
 *
 * All tables are bounded. A full table of revocations falls back to refusing every token issued up
 * to now, which costs honest clients a refresh and keeps nobody in; a full table of attempts
 * forgets those that are oldest.
 *
 * Revocations have numbers. A shard ends its sessions for those that it has not seen and says so;
 * who has revoked waits until all have (auth_state_all_seen) before the answer goes out.
 *
 * Any thread. Time is the caller's: now_ms of a clock that only rises, now_s since 1970.
 */
#ifndef CONFAB_GATEWAY_AUTH_STATE_H
#define CONFAB_GATEWAY_AUTH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/random.h"
#include "proto/jwt.h"

#define OPERATOR_KEY_LEN     47U /* "cfo_" and 32 bytes in base64url */
#define TICKET_TEXT_LEN      36U /* "cft_" and 24 bytes */
#define TICKET_LIFE_MS       30000U
#define TICKETS_PER_USER_MAX 16U
#define SETUP_CODE_LEN       32U /* 24 bytes in base64url */
#define SERVER_NAME_BYTES    200U

enum registration { REGISTRATION_INVITE = 0, REGISTRATION_OPEN, REGISTRATION_CLOSED };
/* "invite", "open", "closed"; false for others. */
bool registration_parse(struct span text, enum registration *ret);
const char *registration_text(enum registration r);

/* Made by whoever has the data directory; fixed ones in tests. */
struct auth_secrets {
    struct jwt_keys keys;
    char operator_key[OPERATOR_KEY_LEN + 1]; /* empty: there is none */
};

struct auth_state_config {
    struct auth_secrets secrets;
    uint16_t shards;
    uint32_t access_s;     /* life of an access token, at most JWT_LIFE_MAX_S */
    uint32_t revoked_max;  /* devices, each kept for access_s */
    uint32_t tickets_max;  /* unused ones */
    uint32_t throttle_max; /* accounts and addresses with failed attempts */
    uint32_t privacy_max;  /* users who hide something; 0: a million */
    enum registration registration;
    const char *server_name;
};

struct privacy;
struct auth_state;
/* `random` is used only now. CONFAB_NOMEM, CONFAB_INVALID. */
CONFAB_NODISCARD enum confab_err auth_state_new(const struct auth_state_config *cfg,
                                                struct random_source *random,
                                                struct auth_state **ret);
void auth_state_free(struct auth_state *st); /* NULL is fine */

/* Who hides what; lives as long. */
struct privacy *auth_state_privacy(const struct auth_state *st);

/* Names this run of the server, not 0: see DIR_SEEN_WRITE. */
uint64_t auth_state_run(const struct auth_state *st);

/* ---- Access tokens ---- */

/* Until what the directory knows was put in, nobody's token can be trusted. */
bool auth_state_is_loaded(const struct auth_state *st);
void auth_state_set_loaded(struct auth_state *st);
/* Waits for it, for the program's main thread, until a time of the system's monotonic clock. */
bool auth_state_wait_loaded(struct auth_state *st, uint64_t until_ns);

/* A token of that device, valid from now on; sets claims' times. */
size_t auth_state_token(struct auth_state *st, uint64_t user, uint64_t device, uint64_t now_s,
                        char ret_text[JWT_TEXT_MAX + 1], struct jwt_claims *ret);
/* As jwt_check, and CONFAB_FORBIDDEN when it was revoked, CONFAB_BUSY until loaded. */
CONFAB_NODISCARD enum confab_err auth_state_check(struct auth_state *st, struct span token,
                                                  uint64_t now_s, struct jwt_claims *ret);
bool auth_state_is_operator(const struct auth_state *st, struct span key);

/* ---- Revocation ---- */

struct revocation {
    uint64_t user;
    uint64_t device;
};
/* Returns its number. `m` counts when the table was full. */
uint64_t auth_state_revoke(struct auth_state *st, uint64_t user, const uint64_t *devices,
                           uint32_t n, uint64_t now_s, struct metrics *m);
bool auth_state_is_revoked(struct auth_state *st, uint64_t device, uint64_t issued_s);
/*
 * Those after number `seen`, up to `max`; *ret_n of them, and the number of the last. False: they
 * are not remembered one by one any more; look at every session with auth_state_is_revoked.
 */
bool auth_state_revocations(struct auth_state *st, uint64_t seen, struct revocation *ret,
                            uint32_t max, uint32_t *ret_n, uint64_t *ret_last);
uint64_t auth_state_last(const struct auth_state *st); /* number of the newest */
void auth_state_seen(struct auth_state *st, uint16_t shard, uint64_t number);
bool auth_state_all_seen(const struct auth_state *st, uint64_t number);

/* ---- Deletions ---- */

/* Counts one: an account was deleted, and is to leave its conversations. */
void auth_state_deleted(struct auth_state *st);
uint64_t auth_state_deletions(const struct auth_state *st);

/* ---- Tickets ---- */

struct ticket {
    uint64_t user;
    uint64_t device;
    uint64_t issued_s; /* of the token that it was made with */
    uint64_t expires_s;
};
/* CONFAB_LIMIT: the user has too many. CONFAB_BUSY: all have. */
CONFAB_NODISCARD enum confab_err auth_state_ticket(struct auth_state *st, const struct ticket *t,
                                                   const uint8_t raw[24], uint64_t now_ms,
                                                   char ret_text[TICKET_TEXT_LEN + 1]);
/* Takes it: a second time it is CONFAB_UNAUTHENTICATED, as unknown and late ones. */
CONFAB_NODISCARD enum confab_err auth_state_redeem(struct auth_state *st, struct span text,
                                                   uint64_t now_ms, struct ticket *ret);

/* ---- Attempts ---- */

enum throttle_kind { THROTTLE_ACCOUNT = 0, THROTTLE_ADDRESS, THROTTLE_REGISTRATION };

/*
 * May there be a try? 0: yes, and it counts as under way until auth_state_tried. Otherwise the
 * milliseconds to wait. Five tries of an account and twenty of an address are free, then waiting
 * doubles with each failure, from 1 s to 15 min; 15 min without any forgive all.
 */
uint32_t auth_state_try(struct auth_state *st, enum throttle_kind kind, struct span who,
                        uint64_t now_ms);
/*
 * A success forgives an account, not an address: one account of one's own opens no others. Given
 * up: there was no try after all.
 */
enum try_outcome { TRY_FAILED = 0, TRY_SUCCEEDED, TRY_GIVEN_UP };
void auth_state_tried(struct auth_state *st, enum throttle_kind kind, struct span who,
                      enum try_outcome outcome, uint64_t now_ms);
/* Counts one of at most `max` in window_ms; 0, or the milliseconds until there is room. */
uint32_t auth_state_count(struct auth_state *st, enum throttle_kind kind, struct span who,
                          uint32_t max, uint32_t window_ms, uint64_t now_ms);
/* Address as it is counted: IPv6 by its /64. Loopback is empty: it is this machine, or a proxy. */
size_t throttle_address(const char *address, char ret[48]);

/* ---- Settings that change at run time ---- */

enum registration auth_state_registration(const struct auth_state *st);
void auth_state_set_registration(struct auth_state *st, enum registration r);
void auth_state_name(struct auth_state *st, char ret[SERVER_NAME_BYTES + 1]);
void auth_state_set_name(struct auth_state *st, struct span name);

/* The code of the link that makes the first administrator; empty when there is one. */
void auth_state_setup_code(struct auth_state *st, char ret[SETUP_CODE_LEN + 1]);
void auth_state_set_setup_code(struct auth_state *st, const char *code);

#endif
