/*
 * A flush under way. Included by flush.c, which collects on the shard what has changed, and by
 * flush_write.c, which makes the batch of it off the shard.
 */
#ifndef CONFAB_CORE_FLUSH_INTERNAL_H
#define CONFAB_CORE_FLUSH_INTERNAL_H

#include "core/engine_internal.h"

/* A chunk as read: to be merged, or patched in place. */
struct loaded_chunk {
    struct buf records;
    uint64_t first_seq;
    uint64_t last_seq;
    uint16_t day; /* of the last event */
};

struct flush_conv {
    struct resident *r;
    struct conv_id id;
    struct slot *slots; /* merged chunks' events, then the new ones; bytes stay the resident's */
    uint32_t nslots;
    uint64_t first_seq;       /* of slots[0] */
    uint64_t new_seq;         /* of the first new one */
    struct key_days days;     /* of the first and the last new one */
    struct overlay *overlays; /* the resident's bytes */
    uint32_t noverlays;
    struct row_header row;
    struct buf header; /* canonical encoding, to stand behind the row header */
    uint64_t head_seq;
    struct loaded_chunk loaded[HEADER_CHUNKS_MAX]; /* to be merged and not in slots, oldest first */
    uint32_t nloaded;
    uint64_t patched_from; /* the chunk that was patched last */
    uint64_t patched_to;
    uint32_t merge;  /* how many of row.chunks, from the end, are merged */
    uint32_t nknown; /* how many of these, from the end, are in slots */
    uint32_t next_overlay;
};

/* Chunks that are asked for at once, and the events in them: what there is in memory of it. */
enum { MERGE_KEYS_MAX = 32, MERGE_EVENTS_MAX = 512 };

/* What forming chunks needs: used by one flush at a time, and then by the next. */
struct flush_tools {
    struct chunk_codec *codec;
    struct buf records; /* of the chunk that is being formed */
    struct buf keys;    /* its dedup row */
    struct buf value;   /* what the chunk becomes */
    struct row_key merge_rows[MERGE_KEYS_MAX];
    struct store_key merge_keys[MERGE_KEYS_MAX];
};

struct flush {
    struct engine *e;
    struct partition *p;
    struct flush_conv *convs;
    uint32_t nconvs;
    size_t bytes;   /* of new events */
    uint32_t at;    /* conversation being worked on */
    uint32_t ahead; /* those before it have what they merge */
    uint64_t asked_seq;
    uint32_t sealed;    /* chunks written in full */
    uint32_t rewritten; /* chunks written again for their overlays */
    struct store_request req;
    struct dir_request dir;
    struct row_key keys[2];
    struct buf batch;
    struct flush_tools *tools;
    uint64_t lsn;
    enum confab_err err;
    uint64_t started_ns;
    bool hurry;   /* more is logged than can be stored in good order */
    bool writing; /* the batch was handed to the store */
    void (*then)(struct flush *f);
};

static inline uint16_t flush_day_of(const struct event *ev)
{
    return (uint16_t)(event_time_ms(ev) / 86400000U);
}

/* flush_write.c: any thread */

/* How many of the latest chunks so many new events take in. */
uint32_t flush_plan_merge(const struct row_header *row, uint32_t nnew);
/* Reads what is needed and makes the batch, a conversation after the other; then writes it. */
void flush_work(struct flush *f);
/* The same on a thread of the store's. */
void flush_work_there(struct flush *f);
/* Frees what was read for a conversation. */
void flush_unload(struct flush_conv *fc);
/* Hands the finished batch to the store, or hands it over again. */
void flush_write(struct flush *f);
/* The directory's answer; goes on with flush_work. */
void flush_projected(struct dir_request *req);
void flush_request_done(struct store_request *req);
/* Hands the flush back to the shard through the engine's inbox. */
void flush_hand_back(struct flush *f, enum confab_err err);

#endif
