/*
 * The few fields that the load tool wants of a server's frame, found without parsing all of it: it
 * has to be much cheaper than the server that it measures. Frames of servers other than ours, in
 * another order or with blanks, are understood too; strings with escapes in them are not needed.
 */
#ifndef BENCH_SCAN_H
#define BENCH_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum scan_event {
    SCAN_OTHER = 0,
    SCAN_ACK,
    SCAN_MESSAGE,
    SCAN_RECEIPT,
    SCAN_ERROR,
    SCAN_HELLO,
    SCAN_CONVERSATIONS,
    SCAN_CAUGHT_UP,
    SCAN_RESYNC,
    SCAN_PRESENCE,
    SCAN_HEARTBEAT,
};

enum scan_member {
    SCAN_EVENT = 0,
    SCAN_CONTENT,
    SCAN_CONVERSATION_ID,
    SCAN_SEQ,
    SCAN_CLIENT_MSG_ID,
    SCAN_RETRY_AFTER_MS,
    SCAN_REF,
    SCAN_STATUS,
    SCAN_USER_ID,
    SCAN_SINCE,
    SCAN_MEMBERS
};

/* Where each member was in the frame before: most of a load's frames are alike, and then it is not
 * searched for. Of a member that a frame has twice either may be found. Zero to begin with; of one
 * thread. */
struct scanner {
    uint16_t at[SCAN_MEMBERS];
};

enum scan_event scan_event(struct scanner *s, struct span frame);
/* The text of a string member, escapes and all; empty when there is none. */
struct span scan_string(struct scanner *s, struct span frame, enum scan_member member);
/* A number, 0 when there is none. */
uint64_t scan_number(struct scanner *s, struct span frame, enum scan_member member);

/* ~tttttttttttttttt-ssssss-nnnnnnnn: when it should have been sent, slot, use of the slot. */
#define MARK_BYTES 33U
struct mark {
    uint64_t intended_ns;
    uint32_t slot;
    uint32_t number;
};
void mark_write(const struct mark *m, char out[MARK_BYTES + 1]);
bool mark_read(const uint8_t *p, size_t n, struct mark *ret);
/* The next mark at or behind *io_at, which then stands behind it; false when there is none. */
bool mark_next(struct span frame, size_t *io_at, struct mark *ret);

#endif
