/* Drafts in the state of a user's own conversation: what was begun, and not sent yet. */
#include <stdlib.h>
#include <string.h>

#include "core/conv.h"

/* First index whose conversation is not below the given one. */
static uint32_t place(const struct conv *c, struct conv_id id)
{
    uint32_t i = 0;
    while (i < c->ndrafts && conv_id_cmp(c->drafts[i].conv, id) < 0) {
        i++;
    }
    return i;
}

struct self_draft *conv_draft(const struct conv *c, struct conv_id id)
{
    uint32_t i = place(c, id);
    return i < c->ndrafts && conv_id_eq(c->drafts[i].conv, id) ? &c->drafts[i] : NULL;
}

static void draft_remove(struct conv *c, uint32_t i)
{
    c->draft_bytes -= c->drafts[i].len;
    free(c->drafts[i].text);
    c->ndrafts--;
    memmove(&c->drafts[i], &c->drafts[i + 1], (c->ndrafts - i) * sizeof(*c->drafts));
}

static bool room(struct conv *c)
{
    if (c->ndrafts < c->cap_drafts) {
        return true;
    }
    uint32_t want = c->cap_drafts < 2 ? 2 : c->cap_drafts + c->cap_drafts / 2;
    struct self_draft *p = realloc(c->drafts, want * sizeof(*p));
    if (!p) {
        return false;
    }
    c->drafts = p;
    c->cap_drafts = want;
    return true;
}

enum confab_err conv_set_draft(struct conv *c, struct conv_id id, uint64_t seq, struct span text)
{
    uint32_t i = place(c, id);
    bool there = i < c->ndrafts && conv_id_eq(c->drafts[i].conv, id);
    uint8_t *copy = text.n > 0 ? malloc(text.n) : NULL;
    if (text.n > 0 && (!copy || (!there && !room(c)))) {
        free(copy);
        return CONFAB_NOMEM;
    }
    if (there) {
        draft_remove(c, i);
    }
    if (copy) {
        memcpy(copy, text.p, text.n);
        memmove(&c->drafts[i + 1], &c->drafts[i], (c->ndrafts - i) * sizeof(*c->drafts));
        c->drafts[i] =
            (struct self_draft){.conv = id, .seq = seq, .len = (uint32_t)text.n, .text = copy};
        c->ndrafts++;
        c->draft_bytes += (uint32_t)text.n;
    }
    return CONFAB_OK;
}

void conv_encode_drafts(struct buf *out, const struct conv *c)
{
    for (uint32_t i = 0; i < c->ndrafts; i++) {
        uint8_t raw[16];
        conv_id_write(c->drafts[i].conv, raw);
        buf_put(out, raw, sizeof(raw));
        buf_put_varint(out, c->drafts[i].seq);
        buf_put_blob(out, c->drafts[i].text, c->drafts[i].len);
    }
}

bool conv_draft_next(struct reader *r, struct conv_id *ret_conv, uint64_t *ret_seq,
                     struct span *ret_text)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    struct span raw = reader_bytes(r, 16);
    *ret_seq = reader_varint(r);
    *ret_text = reader_blob(r);
    if (r->bad || ret_text->n == 0) {
        r->bad = true;
        return false;
    }
    *ret_conv = conv_id_read(raw.p);
    return true;
}

enum confab_err conv_decode_drafts(struct conv *c, struct reader *r)
{
    uint64_t n = reader_varint_max(r, CONV_DRAFTS_MAX);
    enum confab_err err = CONFAB_OK;
    for (uint64_t i = 0; i < n && !err; i++) {
        struct conv_id id;
        uint64_t seq;
        struct span text;
        err = conv_draft_next(r, &id, &seq, &text) ? conv_set_draft(c, id, seq, text)
                                                   : CONFAB_CORRUPT;
    }
    return r->bad ? CONFAB_CORRUPT : err;
}
