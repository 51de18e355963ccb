/* What an engine asks of its shard: answers on their way back, publications, follow-ups, waking. */
#include "gateway/internal.h"

static struct shard *shard_of(struct engine_host *host)
{
    return CONTAINER_OF(host, struct shard, host);
}

static void host_complete(struct engine_host *host, struct command *cmd)
{
    link_complete(shard_of(host), cmd);
}

/* The frame in the shard's buffer, to be shared; NULL when out of memory. */
static struct frame_bytes *frame_end(struct shard *s, size_t mark)
{
    ws_frame_end(&s->text, mark, WS_TEXT, NULL);
    struct frame_bytes *bytes =
        buf_ok(&s->text) ? frame_bytes_new(&s->pool, span_of(s->text.data, s->text.len)) : NULL;
    if (!bytes) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
    }
    return bytes;
}

static void host_publish(struct engine_host *host, const struct publication *pub)
{
    struct shard *s = shard_of(host);
    presence_published(s, pub);
    if (!pub->members || pub->members->n == 0) {
        return;
    }
    struct render_about about = {.conv = pub->conv, .conv_kind = pub->conv_kind};
    about.name = span_of(pub->name.p, pub->name.n); /* see link_deliver */
    buf_clear(&s->text);
    size_t mark = ws_frame_begin(&s->text, false);
    render_event(&s->render, &s->text, &about, &pub->ev);
    struct frame_bytes *bytes = frame_end(s, mark);
    struct delivery what = {.kind = DELIVERY_EVENT,
                            .conv = pub->conv,
                            .origin = pub->origin,
                            .sent_ms = event_time_ms(&pub->ev),
                            .bytes = bytes,
                            .members = pub->members};
    if (bytes && channel_is_large(s, pub)) {
        channel_fill(s, &what, pub);
    }
    link_publish(s, &what, pub->members);
    channel_unfill(s, &what);
    frame_bytes_unref(&s->pool, bytes);
}

static void host_publish_receipt(struct engine_host *host, const struct receipt *rc)
{
    struct shard *s = shard_of(host);
    if (!rc->members || rc->members->n == 0 || rc->members->n > s->cfg.receipt_members_max) {
        return;
    }
    struct wire_receipt m = {
        .conv = rc->conv,
        .from_seq = rc->from_seq,
        .seq = rc->seq,
        .message_id = rc->id,
        .user_id = rc->user,
        .status = rc->read ? WIRE_READ : WIRE_DELIVERED,
        .at_ms = rc->at_ms,
    };
    buf_clear(&s->text);
    size_t mark = ws_frame_begin(&s->text, false);
    wire_put_receipt(&s->text, &m);
    struct frame_bytes *bytes = frame_end(s, mark);
    /* Not in any sequence: one that is lost is told by the next, or by a resume. */
    if (bytes) {
        struct delivery what = {
            .kind = DELIVERY_RECEIPT, .conv = rc->conv, .bytes = bytes, .members = rc->members};
        link_publish(s, &what, rc->all);
    }
    frame_bytes_unref(&s->pool, bytes);
}

static void followup_done(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    (void)sink;
    engine_followup_done(s->engine, cmd);
}

static enum confab_err host_send(struct engine_host *host, struct command *cmd)
{
    static struct command_sink sink = {.on_done = followup_done};
    cmd->context = &sink;
    return link_request(shard_of(host), cmd);
}

static void host_wake(struct engine_host *host)
{
    shard_wake(shard_of(host));
}

const struct engine_host_ops shard_host_ops = {
    .complete = host_complete,
    .publish = host_publish,
    .publish_receipt = host_publish_receipt,
    .send = host_send,
    .wake = host_wake,
};
