/*
 * WebSocket framing (RFC 6455, version 13, with permessage-deflate of RFC 7692 where it was agreed
 * on), both roles, without I/O or memory of its own. The decoder holds the state of a fragmented
 * message only; the bytes of a partial frame stay with the caller, so a connection between frames
 * owns no buffer.
 *
 * Reading: call ws_decode on the unread bytes, again and again.
 *     WS_FRAME  the frame is ret->payload, unmasked in place; drop ret->consumed bytes, go on
 *     WS_MORE   keep the bytes and call again when there are ret->wanted (or at least more) of them
 *     WS_ERROR  send a close frame with ret->close_code, then drop the connection
 *     WS_ENDED  a close frame or an error came before: drop the input
 * A message in one frame (first && fin) is never copied. Fragments are checked and counted here,
 * and joined by the caller. Calls with a partial frame cost the reading of its header, whatever
 * the frame's size.
 */
#ifndef CONFAB_PROTO_WS_H
#define CONFAB_PROTO_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define WS_HEADER_MAX  14U  /* 2 + 8 + mask key */
#define WS_CONTROL_MAX 125U /* payload of a control frame */
#define WS_KEY_TEXT    24U  /* Sec-WebSocket-Key */
#define WS_ACCEPT_TEXT 28U  /* Sec-WebSocket-Accept */

enum ws_role { WS_SERVER = 0, WS_CLIENT = 1 }; /* which end this one is */

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE = 1005,     /* never sent: the close frame had no code */
    WS_CLOSE_ABNORMAL = 1006, /* never sent: no close frame came */
    WS_CLOSE_NOT_UTF8 = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_LATER = 1013,
    /* Confab's own, see docs/api/socket.md. */
    WS_CLOSE_BAD_JSON = 4400,
    WS_CLOSE_TOKEN = 4401,
    WS_CLOSE_AUTH_TIMEOUT = 4408,
    WS_CLOSE_TOO_MANY = 4429,
};

/* 16 bytes; may be copied freely. */
struct ws_decoder {
    uint32_t message_max;   /* payload bytes of one message, over all of its frames */
    uint32_t message_bytes; /* of the fragmented message under way */
    uint32_t utf8;          /* streaming state, see utf8.h */
    uint8_t role;           /* enum ws_role */
    uint8_t opcode;         /* of the fragmented message under way, 0 for none */
    bool ended;
    uint8_t deflate; /* enum ws_deflate_state */
};

enum ws_deflate_state {
    WS_DEFLATE_AGREED = 1,   /* messages may be compressed */
    WS_DEFLATE_UNDER_WAY = 2 /* the fragmented message under way is */
};

enum ws_result { WS_MORE = 0, WS_FRAME, WS_ERROR, WS_ENDED };

struct ws_frame {
    enum ws_opcode opcode; /* that of the message: a continuation says WS_TEXT or WS_BINARY */
    bool first;            /* the message starts here; true for control frames */
    bool fin;              /* the message ends here; true for control frames */
    bool deflated;         /* the message is compressed: what it holds is not checked */
    uint8_t *payload;      /* in the caller's input */
    size_t len;
    size_t consumed; /* WS_FRAME: header and payload */
    size_t wanted;   /* WS_MORE: bytes from the start of the input, more than were given */
    /* WS_CLOSE: the peer's code (WS_CLOSE_NONE when empty). WS_ERROR: the code to close with. */
    uint16_t close_code;
    struct span reason; /* WS_CLOSE: the peer's, UTF-8, may be empty. WS_ERROR: static text */
};

/* message_max: larger messages end with 1009. */
void ws_decoder_init(struct ws_decoder *d, enum ws_role role, uint32_t message_max);
/* permessage-deflate was agreed on: a message may come compressed, and then has at most message_max
 * bytes compressed; inflate_message bounds the rest. */
void ws_decoder_deflate(struct ws_decoder *d);
/*
 * Reads one frame from the first of `n` bytes at `p`, which it may modify (unmasking) only when it
 * returns WS_FRAME. Strict: see the cases of tests/unit/proto/test_ws.c. `ret` is always written.
 */
enum ws_result ws_decode(struct ws_decoder *d, uint8_t *p, size_t n, struct ws_frame *ret);

/* May an endpoint send this code in a close frame? */
bool ws_close_code_valid(uint16_t code);

/* XORs n bytes with the key, the first byte with key[offset % 4]. */
void ws_mask(uint8_t *p, size_t n, const uint8_t key[4], size_t offset);

/*
 * Writes the shortest header for a payload of `len` bytes, returns its size. `key` is NULL for the
 * server's role; else the payload is to be masked with it.
 */
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, bool fin, uint64_t len,
                 const uint8_t key[4]);
/* Says in the first byte of a header that the message is compressed. */
static inline void ws_header_deflated(uint8_t *header)
{
    header[0] |= 0x40;
}
/* Header and (masked) payload in one. `key` as above. */
void ws_put_frame(struct buf *b, enum ws_opcode opcode, struct span payload, const uint8_t key[4]);
/* The reason is cut at a character's boundary to fit; WS_CLOSE_NONE writes an empty frame. */
void ws_put_close(struct buf *b, uint16_t code, struct span reason, const uint8_t key[4]);
/*
 * Frame around text that is still to be written: append the payload between the two calls.
 *     size_t mark = ws_frame_begin(b, false);  …append…  ws_frame_end(b, mark, WS_TEXT, NULL);
 * The size guess costs a move of the payload when it is below 126 or above 65,535 bytes.
 */
size_t ws_frame_begin(struct buf *b, bool masked);
/* Bytes from the mark to the payload meanwhile. */
size_t ws_frame_room(bool masked);
void ws_frame_end(struct buf *b, size_t mark, enum ws_opcode opcode, const uint8_t key[4]);

/* ---- Handshake ---- */

struct http_request;
struct http_response;

/* Sec-WebSocket-Accept for a key; not terminated. */
void ws_accept_key(struct span key, char out[WS_ACCEPT_TEXT]);

/*
 * What was agreed on. Neither side keeps anything from one message to the next: a server of ours
 * asks for that both ways, so that a connection between messages owns no state of zlib.
 */
struct ws_deflate {
    bool on;
    uint8_t server_bits; /* window of what the server sends, 9 to 15 */
    bool tell_bits;      /* the client asked for a smaller one: the answer names it */
};

struct ws_upgrade {
    struct span key;
    struct span protocols;     /* the offered list, for ws_protocol_next; may be empty */
    struct ws_deflate deflate; /* what can be agreed on, of what the client offers */
};
/*
 * Does the request ask for an upgrade to WebSocket? CONFAB_OK; CONFAB_NOT_FOUND: it is an ordinary
 * request (no Upgrade: websocket); CONFAB_METHOD: not GET; CONFAB_VERSION: another version than 13
 * (answer 426 with ws_put_version_refused); CONFAB_INVALID: anything else (answer 400). `ret_why`
 * gets static text for every error.
 */
CONFAB_NODISCARD enum confab_err ws_upgrade_check(const struct http_request *req,
                                                  struct ws_upgrade *ret, const char **ret_why);
/* Takes the next token of a comma-separated list; false at its end. */
bool ws_protocol_next(struct span *list, struct span *ret_token);
/* The 101 answer; an empty `protocol` selects none; `deflate` may be NULL: not agreed on. */
void ws_put_upgrade_reply(struct buf *b, struct span key, struct span protocol,
                          const struct ws_deflate *deflate);
/* 426 with the supported version; closes. */
void ws_put_version_refused(struct buf *b);

/*
 * The client's request. `protocols` may be empty; `deflate`: offers compression; `nonce` is 16
 * random bytes; ret_accept is what the server has to answer. `host` includes the port where it is
 * not the default.
 */
void ws_put_upgrade_request(struct buf *b, struct span host, struct span target,
                            struct span protocols, bool deflate, const uint8_t nonce[16],
                            char ret_accept[WS_ACCEPT_TEXT]);
/*
 * Checks the server's answer to ws_put_upgrade_request. `offered` is the list sent; the selected
 * protocol must be one of it. `io_deflate`: was compression offered; is it agreed on?
 * CONFAB_INVALID with static text in ret_why.
 */
CONFAB_NODISCARD enum confab_err ws_upgrade_verify(const struct http_response *res,
                                                   const char accept[WS_ACCEPT_TEXT],
                                                   struct span offered, struct span *ret_protocol,
                                                   bool *io_deflate, const char **ret_why);

#endif
