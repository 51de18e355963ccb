#include "core/command.h"

#include <stdlib.h>
#include <string.h>

#include "core/circle.h"
#include "core/engine_internal.h"

void snapshot_deinit(struct snapshot *s)
{
    buf_deinit(&s->name);
    buf_deinit(&s->preview);
    buf_deinit(&s->events);
}

/*
 * Behind the struct: a text of the usual length with its key needs no further allocation. Together
 * no more than what a pool keeps.
 */
enum { BODY_ROOM = 336, COMMAND_BYTES = sizeof(struct command) + BODY_ROOM };
_Static_assert((size_t)COMMAND_BYTES <= POOL_SIZE_MAX, "a command would be allocated the slow way");

struct command *command_new(enum command_type type)
{
    return command_take(NULL, type);
}

struct command *command_take(struct pool *pool, enum command_type type)
{
    struct command *cmd = pool_take(pool, COMMAND_BYTES);
    if (cmd) {
        *cmd = (struct command){.type = type};
        list_init(&cmd->link);
        buf_lend(&cmd->body, cmd + 1, BODY_ROOM);
    }
    return cmd;
}

void command_free(struct command *cmd)
{
    command_give(NULL, cmd);
}

void command_give(struct pool *pool, struct command *cmd)
{
    if (!cmd) {
        return;
    }
    if (cmd->shrunk) {
        pool_give(pool, cmd, COMMAND_SHRUNK_BYTES + cmd->key.n);
        return;
    }
    for (uint32_t i = 0; i < cmd->nsnaps; i++) {
        snapshot_deinit(&cmd->snaps[i]);
    }
    if (cmd->work) {
        buf_deinit(&cmd->work->target);
        buf_deinit(&cmd->work->original);
        free(cmd->work);
    }
    free(cmd->snaps);
    free(cmd->items);
    free(cmd->entries);
    member_set_unref(cmd->ret_members);
    circle_unref(cmd->ret_circle);
    buf_deinit(&cmd->body);
    buf_deinit(&cmd->ret);
    pool_give(pool, cmd, COMMAND_BYTES);
}

struct command *command_shrink(struct pool *pool, struct command *cmd)
{
    struct span key = cmd->in.cmid;
    bool may = cmd->answer_only && !cmd->work && cmd->nsnaps == 0;
    struct command *small = may ? pool_take(pool, COMMAND_SHRUNK_BYTES + key.n) : NULL;
    if (!small) {
        return cmd;
    }
    uint8_t *bytes = (uint8_t *)small + COMMAND_SHRUNK_BYTES;
    memcpy(small, cmd, COMMAND_SHRUNK_BYTES);
    if (key.n > 0) {
        memcpy(bytes, key.p, key.n);
    }
    list_init(&small->link);
    small->shrunk = true;
    small->key = span_of(bytes, key.n);
    command_give(pool, cmd);
    return small;
}

enum confab_err command_set_span(struct command *cmd, struct span *field, struct span bytes)
{
    const uint8_t *old = cmd->body.data;
    size_t at = cmd->body.len;
    if (!buf_reserve(&cmd->body, bytes.n)) {
        return CONFAB_NOMEM;
    }
    if (old && old != cmd->body.data) {
        struct span *spans[] = {&cmd->in.cmid, &cmd->in.text, &cmd->in.members, &cmd->in.mentions};
        for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
            if (spans[i]->n > 0) {
                spans[i]->p = cmd->body.data + (spans[i]->p - old);
            }
        }
    }
    buf_put(&cmd->body, bytes.p, bytes.n);
    *field = span_of(cmd->body.data + at, bytes.n);
    return CONFAB_OK;
}

bool command_record_next(struct reader *r, struct event *ret)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    struct span bytes = reader_blob(r);
    if (r->bad || event_decode(bytes, ret)) {
        r->bad = true;
        return false;
    }
    return true;
}

bool command_view_next(struct reader *r, struct member_view *ret)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    ret->user = reader_varint(r);
    ret->delivered_ms = reader_varint(r);
    ret->read_ms = reader_varint(r);
    return !r->bad;
}

uint16_t command_partition(struct command *cmd)
{
    if (conv_id_is_zero(cmd->conv)) {
        const struct event_kind *k =
            cmd->type == COMMAND_EVENT ? event_kind_of(cmd->in.kind) : NULL;
        if (cmd->type == COMMAND_LIST || cmd->type == COMMAND_BLOCKS ||
            (k && (k->flags & KIND_SELF))) {
            cmd->conv = conv_id_self(cmd->actor);
        } else if (cmd->peer != 0) {
            cmd->conv = cmd->peer == cmd->actor ? conv_id_self(cmd->actor)
                                                : conv_id_direct(cmd->actor, cmd->peer);
        } else if (cmd->type == COMMAND_RESUME && cmd->nitems > 0) {
            return conv_id_partition(cmd->items[0].conv);
        } else {
            return message_id_partition(cmd->in.target_id);
        }
    }
    return conv_id_partition(cmd->conv);
}
