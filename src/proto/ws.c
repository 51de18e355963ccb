/*
 * WebSocket frames.
 *
 * The decoder keeps no state about a partial frame: until the whole frame is there it reads the
 * header anew at each call, which is at most 14 bytes, and refuses what the header alone makes
 * wrong. State changes only with a whole frame, so that any chunking of the input gives the same
 * frames.
 */
#include "proto/ws.h"

#include "base/check.h"
#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    BIT_FIN = 0x80,
    BITS_RSV = 0x70,
    BIT_DEFLATED = 0x40,
    BITS_OPCODE = 0x0f,
    BIT_MASKED = 0x80,
    BITS_LEN = 0x7f,
    LEN_16 = 126,
    LEN_64 = 127,
};

struct header {
    uint8_t opcode;
    bool fin;
    bool masked;
    bool deflated;
    size_t size; /* of the header itself */
    uint64_t len;
    const uint8_t *key;
};

void ws_decoder_init(struct ws_decoder *d, enum ws_role role, uint32_t message_max)
{
    *d = (struct ws_decoder){.message_max = message_max, .role = (uint8_t)role};
}

void ws_decoder_deflate(struct ws_decoder *d)
{
    d->deflate = WS_DEFLATE_AGREED;
}

bool ws_close_code_valid(uint16_t code)
{
    if (code >= 3000) {
        return code <= 4999;
    }
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

static enum ws_result fail(struct ws_decoder *d, struct ws_frame *ret, uint16_t code,
                           const char *why)
{
    d->ended = true;
    ret->close_code = code;
    ret->reason = span_str(why);
    return WS_ERROR;
}

static enum ws_result want(struct ws_frame *ret, size_t bytes)
{
    ret->wanted = bytes;
    return WS_MORE;
}

/* What the first two bytes alone make wrong; NULL when nothing. */
static const char *check_start(const struct ws_decoder *d, uint8_t b0, uint8_t b1)
{
    uint8_t opcode = b0 & BITS_OPCODE;
    /* Said once, where a message of data begins, and only where it was agreed on. */
    bool may_be_deflated = d->deflate != 0 && (opcode == WS_TEXT || opcode == WS_BINARY);
    if (b0 & BITS_RSV & (may_be_deflated ? ~BIT_DEFLATED : ~0)) {
        return "reserved bits are set";
    }
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG) {
        return "reserved opcode";
    }
    if (d->role == WS_SERVER && !(b1 & BIT_MASKED)) {
        return "frame is not masked";
    }
    if (d->role == WS_CLIENT && (b1 & BIT_MASKED)) {
        return "frame is masked";
    }
    if (opcode >= WS_CLOSE) {
        if (!(b0 & BIT_FIN)) {
            return "fragmented control frame";
        }
        return (b1 & BITS_LEN) > WS_CONTROL_MAX ? "control frame is too long" : NULL;
    }
    if (opcode == WS_CONTINUATION && d->opcode == 0) {
        return "continuation without a message";
    }
    if (opcode != WS_CONTINUATION && d->opcode != 0) {
        return "new message inside a fragmented one";
    }
    return NULL;
}

static uint64_t get_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = (v << 8) | p[i];
    }
    return v;
}

/* WS_FRAME: the header is whole and `h` set. */
static enum ws_result read_header(struct ws_decoder *d, const uint8_t *p, size_t n,
                                  struct header *h, struct ws_frame *ret)
{
    if (n < 2) {
        return want(ret, 2);
    }
    const char *why = check_start(d, p[0], p[1]);
    if (why) {
        return fail(d, ret, WS_CLOSE_PROTOCOL, why);
    }
    h->opcode = p[0] & BITS_OPCODE;
    h->fin = (p[0] & BIT_FIN) != 0;
    h->masked = (p[1] & BIT_MASKED) != 0;
    h->deflated = (p[0] & BIT_DEFLATED) != 0;
    h->len = p[1] & BITS_LEN;
    size_t ext = h->len == LEN_16 ? 2 : h->len == LEN_64 ? 8 : 0;
    h->size = 2 + ext + (h->masked ? 4 : 0);
    if (ext > 0) {
        if (n < 2 + ext) {
            return want(ret, h->size);
        }
        h->len = get_be(p + 2, ext);
        if (h->len < (ext == 2 ? LEN_16 : 65536U)) {
            return fail(d, ret, WS_CLOSE_PROTOCOL, "length is not in its shortest form");
        }
        if (h->len >> 63) {
            return fail(d, ret, WS_CLOSE_PROTOCOL, "length has its highest bit set");
        }
    }
    if (h->opcode < WS_CLOSE && h->len > d->message_max - d->message_bytes) {
        return fail(d, ret, WS_CLOSE_TOO_BIG, "message is too big");
    }
    if (n < h->size) {
        return want(ret, h->size);
    }
    h->key = h->masked ? p + h->size - 4 : NULL;
    return WS_FRAME;
}

static enum ws_result take_close(struct ws_decoder *d, struct ws_frame *ret)
{
    if (ret->len == 0) {
        ret->close_code = WS_CLOSE_NONE;
        d->ended = true;
        return WS_FRAME;
    }
    if (ret->len == 1) {
        return fail(d, ret, WS_CLOSE_PROTOCOL, "close frame with half a code");
    }
    uint16_t code = (uint16_t)get_be(ret->payload, 2);
    if (!ws_close_code_valid(code)) {
        return fail(d, ret, WS_CLOSE_PROTOCOL, "close code is not valid");
    }
    if (!utf8_valid(ret->payload + 2, ret->len - 2)) {
        return fail(d, ret, WS_CLOSE_NOT_UTF8, "close reason is not UTF-8");
    }
    ret->close_code = code;
    ret->reason = span_of(ret->payload + 2, ret->len - 2);
    d->ended = true;
    return WS_FRAME;
}

static enum ws_result take_data(struct ws_decoder *d, const struct header *h, struct ws_frame *ret)
{
    uint8_t opcode = h->opcode;
    if (opcode == WS_CONTINUATION) {
        opcode = d->opcode;
        ret->first = false;
    }
    ret->opcode = (enum ws_opcode)opcode;
    ret->deflated = ret->first ? h->deflated : (d->deflate & WS_DEFLATE_UNDER_WAY) != 0;
    if (d->deflate != 0) {
        d->deflate =
            (uint8_t)(WS_DEFLATE_AGREED | (ret->deflated && !h->fin ? WS_DEFLATE_UNDER_WAY : 0));
    }
    if (opcode == WS_TEXT && !ret->deflated) {
        uint32_t state = ret->first ? UTF8_ACCEPT : d->utf8;
        state = utf8_step(state, ret->payload, ret->len);
        if (state == UTF8_REJECT || (h->fin && state != UTF8_ACCEPT)) {
            return fail(d, ret, WS_CLOSE_NOT_UTF8, "text is not UTF-8");
        }
        d->utf8 = state;
    }
    if (h->fin) {
        d->opcode = 0;
        d->message_bytes = 0;
    } else {
        d->opcode = opcode;
        d->message_bytes += (uint32_t)h->len;
    }
    return WS_FRAME;
}

enum ws_result ws_decode(struct ws_decoder *d, uint8_t *p, size_t n, struct ws_frame *ret)
{
    *ret = (struct ws_frame){.first = true};
    if (d->ended) {
        return WS_ENDED;
    }
    struct header h;
    enum ws_result r = read_header(d, p, n, &h, ret);
    if (r != WS_FRAME) {
        return r;
    }
    /* INVARIANT: len is at most message_max or 125 here, so the sum cannot overflow. */
    if (n - h.size < h.len) {
        return want(ret, h.size + (size_t)h.len);
    }
    ret->payload = p + h.size;
    ret->len = (size_t)h.len;
    ret->consumed = h.size + ret->len;
    ret->fin = h.fin;
    ret->opcode = (enum ws_opcode)h.opcode;
    if (h.masked) {
        ws_mask(ret->payload, ret->len, h.key, 0);
    }
    if (h.opcode == WS_CLOSE) {
        return take_close(d, ret);
    }
    return h.opcode < WS_CLOSE ? take_data(d, &h, ret) : WS_FRAME;
}

void ws_mask(uint8_t *p, size_t n, const uint8_t key[4], size_t offset)
{
    uint8_t k[8];
    for (size_t i = 0; i < sizeof(k); i++) {
        k[i] = key[(offset + i) & 3];
    }
    uint64_t wide;
    memcpy(&wide, k, sizeof(wide));
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i pair = _mm_set1_epi64x((long long)wide);
    for (; i + 16 <= n; i += 16) {
        __m128i *at = (__m128i *)(void *)(p + i);
        _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), pair));
    }
#endif
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, sizeof(v));
        v ^= wide;
        memcpy(p + i, &v, sizeof(v));
    }
    for (size_t j = 0; i < n; i++, j++) {
        p[i] ^= k[j];
    }
}

static size_t header_size(uint64_t len, bool masked)
{
    size_t ext = len < LEN_16 ? 0 : len <= UINT16_MAX ? 2 : 8;
    return 2 + ext + (masked ? 4 : 0);
}

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, bool fin, uint64_t len,
                 const uint8_t key[4])
{
    size_t size = header_size(len, key != NULL);
    size_t ext = size - 2 - (key ? 4 : 0);
    out[0] = (uint8_t)((fin ? BIT_FIN : 0) | (int)opcode);
    uint8_t small = ext == 0 ? (uint8_t)len : ext == 2 ? LEN_16 : LEN_64;
    out[1] = (uint8_t)(small | (key ? BIT_MASKED : 0));
    for (size_t i = 0; i < ext; i++) {
        out[2 + i] = (uint8_t)(len >> (8 * (ext - 1 - i)));
    }
    if (key) {
        memcpy(out + 2 + ext, key, 4);
    }
    return size;
}

void ws_put_frame(struct buf *b, enum ws_opcode opcode, struct span payload, const uint8_t key[4])
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_header(head, opcode, true, payload.n, key);
    if (!buf_reserve(b, n + payload.n)) {
        return;
    }
    buf_put(b, head, n);
    buf_put(b, payload.p, payload.n);
    if (key) {
        ws_mask(b->data + b->len - payload.n, payload.n, key, 0);
    }
}

void ws_put_close(struct buf *b, uint16_t code, struct span reason, const uint8_t key[4])
{
    if (code == WS_CLOSE_NONE) {
        ws_put_frame(b, WS_CLOSE, span_of(NULL, 0), key);
        return;
    }
    uint8_t t[WS_CONTROL_MAX];
    size_t n = MIN(reason.n, sizeof(t) - 2);
    if (n < reason.n) {
        while (n > 0 && (reason.p[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    t[0] = (uint8_t)(code >> 8);
    t[1] = (uint8_t)code;
    if (n > 0) {
        memcpy(t + 2, reason.p, n);
    }
    ws_put_frame(b, WS_CLOSE, span_of(t, n + 2), key);
}

/* Room for the header of 126 to 65,535 bytes: most messages of a chat, and all big enough to
 * matter. */
size_t ws_frame_room(bool masked)
{
    return header_size(LEN_16, masked);
}

size_t ws_frame_begin(struct buf *b, bool masked)
{
    static const uint8_t room[WS_HEADER_MAX];
    size_t mark = b->len;
    buf_put(b, room, ws_frame_room(masked));
    return mark;
}

void ws_frame_end(struct buf *b, size_t mark, enum ws_opcode opcode, const uint8_t key[4])
{
    size_t room = ws_frame_room(key != NULL);
    if (!buf_ok(b)) {
        b->len = mark;
        return;
    }
    CHECK(b->len >= mark + room);
    size_t len = b->len - mark - room;
    uint8_t head[WS_HEADER_MAX];
    size_t size = ws_header(head, opcode, true, len, key);
    if (size > room && !buf_reserve(b, size - room)) {
        b->len = mark;
        return;
    }
    uint8_t *at = b->data + mark;
    if (size != room) {
        memmove(at + size, at + room, len);
        b->len = mark + size + len;
    }
    memcpy(at, head, size);
    if (key) {
        ws_mask(at + size, len, key, 0);
    }
}
