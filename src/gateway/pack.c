/*
 * Which window: that of the session, and of several that would do, the smallest that the message
 * fits into. Clearing its tables is most of what a short message costs, and what all sessions with
 * a window of 4 KiB or more can take is compressed once for all of them.
 */
#include "gateway/pack.h"

#include "gateway/internal.h"

void packs_deinit(struct shard *s)
{
    for (int i = 0; i < DEFLATE_SIZES; i++) {
        deflater_free(s->packs.deflaters[i]);
        s->packs.deflaters[i] = NULL;
    }
    inflater_free(s->packs.inflater);
    s->packs.inflater = NULL;
    buf_deinit(&s->packs.out);
    buf_deinit(&s->packs.in);
}

static void states_gauge(struct shard *s)
{
    int64_t n = s->packs.inflater ? 1 : 0;
    for (int i = 0; i < DEFLATE_SIZES; i++) {
        n += s->packs.deflaters[i] ? 1 : 0;
    }
    metrics_gauge_set(s->metrics, METRIC_DEFLATE_STATES, n);
}

/* NULL: no memory. */
static struct deflater *deflater_of(struct shard *s, enum deflate_size size)
{
    struct deflater **d = &s->packs.deflaters[size];
    if (!*d) {
        if (deflater_new(size, d)) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
            return NULL;
        }
        states_gauge(s);
    }
    return *d;
}

void pack_agree(struct shard *s, struct ws_deflate *io)
{
    if (io->on && s->cfg.ws_deflate && !s->packs.inflater) {
        /* Without it nothing is promised. */
        if (inflater_new(&s->packs.inflater)) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        }
        states_gauge(s);
    }
    io->on = io->on && s->cfg.ws_deflate && s->packs.inflater;
    if (io->on) {
        metrics_inc(s->metrics, METRIC_WS_DEFLATE_AGREED);
    }
}

uint8_t pack_window(uint8_t bits)
{
    return bits < DEFLATE_BITS_MIDDLE ? WIRE_NARROW
           : bits < DEFLATE_BITS_MAX  ? WIRE_MIDDLE
                                      : WIRE_WIDE;
}

static enum deflate_size size_for(uint8_t window, size_t n)
{
    if (window == WIRE_NARROW) {
        return DEFLATE_NARROW;
    }
    bool fits = n <= 1U << DEFLATE_BITS_MIDDLE;
    return fits || window == WIRE_MIDDLE ? DEFLATE_MIDDLE : DEFLATE_WIDE;
}

/* NULL: it stays as it is. */
static struct frame *compress(struct shard *s, enum deflate_size size, const struct frame *f)
{
    struct span text = frame_payload(f);
    struct buf *out = &s->packs.out;
    struct deflater *d = deflater_of(s, size);
    static const uint8_t room[WS_HEADER_MAX];
    if (!d) {
        return NULL;
    }
    buf_clear(out);
    buf_put(out, room, sizeof(room));
    if (!buf_ok(out) || deflate_message(d, text, out)) {
        metrics_inc(s->metrics, METRIC_WS_DEFLATE_KEPT);
        return NULL;
    }
    uint8_t head[WS_HEADER_MAX];
    size_t len = out->len - sizeof(room);
    size_t n = ws_header(head, WS_TEXT, true, len, NULL);
    uint8_t *at = out->data + sizeof(room) - n;
    ws_header_deflated(head);
    memcpy(at, head, n);
    struct frame *packed = frame_new(&s->pool, span_of(at, n + len));
    if (!packed) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return NULL;
    }
    frame_event(packed);
    packed->plain_len = (uint32_t)text.n;
    packed->deflated = true;
    packed->kind = f->kind;
    metrics_inc(s->metrics, METRIC_WS_DEFLATE_MADE);
    return packed;
}

struct frame *pack_frame(struct shard *s, const struct conn *c, struct frame *f)
{
    uint8_t window = c->wire & WIRE_WINDOW;
    if (window == 0 || f->deflated || f->plain_len < s->cfg.ws_deflate_min) {
        return f;
    }
    enum deflate_size size = size_for(window, f->plain_len);
    if (!(f->tried & 1U << size)) {
        f->tried |= (uint8_t)(1U << size);
        f->packed[size] = compress(s, size, f);
    } else if (f->packed[size]) {
        metrics_inc(s->metrics, METRIC_WS_DEFLATE_SHARED);
    }
    if (!f->packed[size]) {
        return f;
    }
    metrics_add(s->metrics, METRIC_WS_DEFLATE_SAVED, f->len - f->packed[size]->len);
    return f->packed[size];
}

enum confab_err pack_open(struct shard *s, struct span in, struct span *ret)
{
    CHECK(s->packs.inflater);
    enum confab_err err =
        inflate_message(s->packs.inflater, in, s->cfg.frame_bytes_max, &s->packs.in);
    if (err) {
        metrics_inc(s->metrics, METRIC_WS_INFLATE_REFUSED);
        return err;
    }
    metrics_inc(s->metrics, METRIC_WS_INFLATED);
    *ret = span_of(s->packs.in.data, s->packs.in.len);
    return CONFAB_OK;
}

bool pack_gzip(struct shard *s, struct span body, struct span *ret)
{
    struct deflater *d = deflater_of(s, DEFLATE_WIDE);
    buf_clear(&s->packs.out);
    if (!d || deflate_gzip(d, body, &s->packs.out)) {
        return false;
    }
    *ret = span_of(s->packs.out.data, s->packs.out.len);
    metrics_inc(s->metrics, METRIC_HTTP_GZIP);
    metrics_add(s->metrics, METRIC_HTTP_GZIP_SAVED, body.n - ret->n);
    return true;
}
