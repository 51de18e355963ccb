#include "scan.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum scan_event event;
} EVENTS[] = {
    {"new_message", SCAN_MESSAGE}, {"ack", SCAN_ACK},       {"delivery_receipt", SCAN_RECEIPT},
    {"error", SCAN_ERROR},         {"hello", SCAN_HELLO},   {"conversations", SCAN_CONVERSATIONS},
    {"caught_up", SCAN_CAUGHT_UP}, {"resync", SCAN_RESYNC}, {"presence_update", SCAN_PRESENCE},
    {"heartbeat", SCAN_HEARTBEAT},
};

#define MEMBER(name)                                                                               \
    {                                                                                              \
        "\"" name "\"", sizeof(name) + 1                                                           \
    }

static const struct {
    const char *quoted;
    size_t n;
} MEMBERS[SCAN_MEMBERS] = {
    [SCAN_EVENT] = MEMBER("event"),
    [SCAN_CONTENT] = MEMBER("content"),
    [SCAN_CONVERSATION_ID] = MEMBER("conversation_id"),
    [SCAN_SEQ] = MEMBER("seq"),
    [SCAN_CLIENT_MSG_ID] = MEMBER("client_msg_id"),
    [SCAN_RETRY_AFTER_MS] = MEMBER("retry_after_ms"),
    [SCAN_REF] = MEMBER("ref"),
    [SCAN_STATUS] = MEMBER("status"),
    [SCAN_USER_ID] = MEMBER("user_id"),
    [SCAN_SINCE] = MEMBER("since"),
};

static const uint8_t *find(struct scanner *s, struct span in, enum scan_member member)
{
    const char *quoted = MEMBERS[member].quoted;
    size_t n = MEMBERS[member].n;
    size_t at = s->at[member];
    if (at + n <= in.n && memcmp(in.p + at, quoted, n) == 0) {
        return in.p + at;
    }
    const uint8_t *p = memmem(in.p, in.n, quoted, n);
    if (p && p - in.p <= UINT16_MAX) {
        s->at[member] = (uint16_t)(p - in.p);
    }
    return p;
}

/* Behind the colon of a member, blanks skipped; NULL when it is not there. */
static const uint8_t *value_of(struct scanner *s, struct span in, enum scan_member member)
{
    const uint8_t *end = in.p + in.n;
    const uint8_t *p = find(s, in, member);
    p = p ? p + MEMBERS[member].n : NULL;
    while (p && p < end && (*p == ':' || *p == ' ')) {
        p++;
    }
    return p && p < end ? p : NULL;
}

struct span scan_string(struct scanner *s, struct span frame, enum scan_member member)
{
    const uint8_t *p = value_of(s, frame, member);
    if (!p || *p != '"') {
        return span_of("", 0);
    }
    const uint8_t *end = memchr(p + 1, '"', (size_t)(frame.p + frame.n - p - 1));
    return end ? span_of(p + 1, (size_t)(end - p - 1)) : span_of("", 0);
}

uint64_t scan_number(struct scanner *s, struct span frame, enum scan_member member)
{
    const uint8_t *p = value_of(s, frame, member);
    uint64_t v = 0;
    for (; p && p < frame.p + frame.n && *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (uint64_t)(*p - '0');
    }
    return v;
}

enum scan_event scan_event(struct scanner *s, struct span frame)
{
    struct span name = scan_string(s, frame, SCAN_EVENT);
    for (size_t i = 0; i < sizeof(EVENTS) / sizeof(EVENTS[0]); i++) {
        if (span_is(name, EVENTS[i].name)) {
            return EVENTS[i].event;
        }
    }
    return SCAN_OTHER;
}

static void put_hex(char *out, uint64_t v, unsigned digits)
{
    while (digits-- > 0) {
        out[digits] = "0123456789abcdef"[v & 15];
        v >>= 4;
    }
}

static bool take_hex(const uint8_t *p, unsigned digits, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < digits; i++) {
        unsigned c = p[i];
        unsigned d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
        if (d > 15) {
            return false;
        }
        v = v << 4 | d;
    }
    *ret = v;
    return true;
}

void mark_write(const struct mark *m, char out[MARK_BYTES + 1])
{
    out[0] = '~';
    put_hex(out + 1, m->intended_ns, 16);
    out[17] = '-';
    put_hex(out + 18, m->slot, 6);
    out[24] = '-';
    put_hex(out + 25, m->number, 8);
    out[MARK_BYTES] = '\0';
}

bool mark_read(const uint8_t *p, size_t n, struct mark *ret)
{
    uint64_t slot = 0;
    uint64_t number = 0;
    if (n < MARK_BYTES || p[0] != '~' || p[17] != '-' || p[24] != '-' ||
        !take_hex(p + 1, 16, &ret->intended_ns) || !take_hex(p + 18, 6, &slot) ||
        !take_hex(p + 25, 8, &number)) {
        return false;
    }
    ret->slot = (uint32_t)slot;
    ret->number = (uint32_t)number;
    return true;
}

bool mark_next(struct span frame, size_t *io_at, struct mark *ret)
{
    while (*io_at < frame.n) {
        const uint8_t *p = memchr(frame.p + *io_at, '~', frame.n - *io_at);
        if (!p) {
            break;
        }
        *io_at = (size_t)(p - frame.p) + 1;
        if (mark_read(p, frame.n - (size_t)(p - frame.p), ret)) {
            *io_at += MARK_BYTES - 1;
            return true;
        }
    }
    *io_at = frame.n;
    return false;
}
