/*
 * draft: what a user has begun to write in a conversation. conv; text, empty: none any more;
 * target_seq = the event of the draft that this replaces, whose text goes; value = 1: ended by a
 * message that the user sent there. The conversation learns of it by a follow-up, so that a message
 * knows that it ends one.
 */
#include <string.h>

#include "base/utf8.h"
#include "core/kinds/common.h"

static enum confab_err check_text(const struct conv *c, const struct self_draft *old,
                                  struct span text)
{
    if (text.n > EVENT_TEXT_MAX) {
        return CONFAB_TOO_LARGE;
    }
    if (text.n > 0 && (!utf8_valid(text.p, text.n) || memchr(text.p, 0, text.n))) {
        return CONFAB_INVALID;
    }
    size_t bytes = c->draft_bytes - (old ? old->len : 0) + text.n;
    if (text.n > 0 && (bytes > CONV_DRAFTS_BYTES || (!old && c->ndrafts >= CONV_DRAFTS_MAX))) {
        return CONFAB_LIMIT;
    }
    return CONFAB_OK;
}

/* CONFAB_EXISTS: it is so already. */
static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    const struct event *in = &cmd->in;
    const struct self_entry *e = conv_entry(c, in->conv);
    const struct self_draft *old = conv_draft(c, in->conv);
    if (in->value != DRAFT_SENT && !conv_id_eq(in->conv, c->id) && !(e && e->joined)) {
        return CONFAB_NOT_FOUND;
    }
    enum confab_err err = check_text(c, old, in->text);
    if (err) {
        *ret_field = "draft";
        return err;
    }
    if (old ? old->len == in->text.n && memcmp(old->text, in->text.p, old->len) == 0
            : in->text.n == 0) {
        return CONFAB_EXISTS;
    }
    if (c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->conv = in->conv;
    out->text = in->text;
    out->value = in->value;
    out->target_seq = old ? old->seq : 0;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    enum confab_err err = kinds_open_self(c, ev);
    if (!err) {
        err = conv_set_draft(c, ev->conv, ev->seq, ev->text);
    }
    if (err || ev->value == DRAFT_SENT) {
        return err;
    }
    struct followup f = {.seq = ev->seq,
                         .user = ev->actor,
                         .target = ev->conv,
                         .type = FOLLOWUP_DRAFT,
                         .on = ev->text.n > 0};
    return conv_followup_add(c, &f);
}

const struct event_kind kind_draft = {.id = EVENT_DRAFT,
                                      .name = "draft",
                                      .flags = KIND_SELF | KIND_PATCHES,
                                      .decide = decide,
                                      .fold = fold};
