/*
 * Inside of the engine. Included by the engine's own files only: engine.c (life, turns), decide.c
 * (commands, log), fold.c (durable records and their effects), dedup.c (retries), load.c
 * (residents), target.c (the event a command points at), read.c (ranges out of memory and store),
 * people.c (members, receipts), inbox.c, resume.c, cursors.c, followup.c, flush.c, flush_write.c,
 * recover.c.
 */
#ifndef CONFAB_CORE_ENGINE_INTERNAL_H
#define CONFAB_CORE_ENGINE_INTERNAL_H

#include "base/hash.h"
#include "base/list.h"
#include "base/mpsc.h"
#include "core/chunk.h"
#include "core/engine.h"
#include "core/keys.h"
#include "core/kind.h"
#include "core/recent_keys.h"
#include "core/rows.h"

/* Kinds of log records. Stored: never renumber. docs/formats/event.md has the payloads. */
enum logrec {
    LOGREC_EVENT = 1,   /* conversation, event */
    LOGREC_CURSORS = 2, /* time, then (conversation, user, delivered, read, read_ord) … */
    LOGREC_CONFIRM = 3, /* (conversation, seq, user) …: follow-ups that have arrived */
    LOGREC_MEMBER = 4,  /* conversation and what a member's own log says about it */
};
enum { LOGREC_VERSION = 1 };
/* An event's record begins with its conversation. */
enum { CONV_ID_BYTES = 16 };

/* A turn's submission is sealed early above this size. */
enum { TURN_BYTES = 1 << 20 };

/* An encoded event in memory. */
struct slot {
    uint8_t *bytes;
    uint64_t actor;
    uint32_t len;
    uint8_t kind;
    bool own; /* an allocation of its own, not a part of a piece */
};

/* Memory of events that follow each other in a conversation; freed with the last of them. */
struct event_piece {
    struct event_piece *next;
    uint32_t size;
    uint32_t used;
    uint32_t nslots;
    uint8_t data[];
};

/* A change to an event that is in the store already; applied to what is read until it is flushed.
 */
struct overlay {
    uint64_t target_seq;
    struct slot cause;
    bool flushing; /* belongs to the flush under way */
};

struct pending_cursor {
    uint64_t user;
    uint64_t delivered;
    uint64_t read;
    uint64_t read_ord;
};

enum resident_state { RESIDENT_LOADING = 0, RESIDENT_READY, RESIDENT_BROKEN };

/*
 * A conversation in memory. It may be freed when it is clean, nothing waits for it and nobody pins
 * it. Events with seq in [mem_first, mem_first + nslots) are in `slots`; those up to flushed_seq
 * are in the store as well.
 */
struct resident {
    struct conv c;
    struct partition *p;
    struct list lru;
    struct list dirty;   /* in p->dirty */
    struct list follow;  /* in e->follow */
    struct list cursors; /* in p->cursors */
    struct list loadq;   /* in e->loadq or e->tailq */
    struct list waiting; /* commands, in order of arrival */
    uint32_t nwaiting;
    uint32_t inflight; /* records decided, not durable */
    uint32_t pins;     /* reads and loads under way */
    uint8_t state;
    enum confab_err broken;
    bool busy;    /* the first waiting command waits for the store */
    bool barrier; /* an event in flight that others must wait for */
    bool pumping;
    bool wanted;            /* in e->loadq, not in e->tailq */
    bool tail;              /* counted in e->tail_left */
    bool followup_row;      /* the store has a follow-up row for it */
    bool followup_row_next; /* … will have after the flush under way */
    bool members_external;  /* the members' rows are in the store */
    uint64_t next_seq;
    uint64_t next_ord;

    struct event_piece *pieces; /* oldest first; each has slots */
    struct event_piece *last_piece;
    struct slot *slots;
    uint32_t slots_at;
    uint32_t nslots;
    uint32_t cap_slots;
    uint64_t mem_first;
    uint64_t flushed_seq;
    uint64_t flushing_seq; /* = flushed_seq when no flush is under way */
    bool flushing;
    struct overlay *overlays; /* by target, those of one target in the order of their causes */
    uint32_t noverlays;
    uint32_t cap_overlays;
    uint32_t overlay_gen; /* rises when overlays are dropped after a flush */
    struct slot *garbage; /* bytes that the flush under way may still read */
    uint32_t ngarbage;
    uint32_t cap_garbage;
    struct row_header row;

    struct recent_keys recent_keys; /* of (user, client_msg_id), of what is not in the store yet */
    struct keys *keys; /* filters over those in the store; NULL until they are asked for */
    struct pending_cursor *pending;
    uint32_t npending;
    uint32_t cap_pending;
    struct member_set *set;
    struct buf replay;
    size_t slot_bytes;  /* of pieces, and of slots with bytes of their own */
    size_t patch_bytes; /* of overlays and garbage */
    size_t extra_bytes; /* of member_extra, when it was loaded or flushed */
    size_t bytes;       /* as accounted in e->cache_bytes */
};

struct flush;
struct flush_tools;

struct partition {
    uint64_t last_ms;
    uint32_t counter;
    uint16_t number;
    bool flushing;
    enum confab_err stopped;      /* fold failed: nothing more is decided here */
    enum confab_err *any_stopped; /* the engine's: the first of them, for engine_health */
    uint64_t flushed_lsn;
    uint64_t folded_lsn;      /* just above the highest folded record */
    uint64_t first_dirty_lsn; /* UINT64_MAX: clean */
    uint64_t flushing_lsn;    /* first dirty LSN of the flush under way */
    uint64_t dirty_bytes;
    uint64_t flushing_bytes;
    uint64_t dirty_since_ms;
    uint64_t retry_ms;
    struct flush *unwritten;  /* its batch failed, nobody knows how: written again as it is */
    struct list cursor_link;  /* in e->cursor_parts while there are pending cursors */
    struct list confirm_link; /* in e->confirm_parts while there are confirms */
    struct list dirty;
    struct list cursors; /* residents with pending cursors */
    uint64_t cursors_due_ms;
    struct list durable_acks; /* commands that wait for the next cursor record */
    struct buf confirms;      /* payload of the next confirm record */
    uint64_t confirms_due_ms;
    struct feed_entry *feed; /* not in the store yet, rising id */
    uint32_t nfeed;
    uint32_t cap_feed;
    uint32_t feed_flushing;
    struct dir_conv_row *project; /* rows for the directory */
    uint32_t nproject;
    uint32_t cap_project;
    uint32_t project_flushing;
    size_t bytes; /* of feed and project, as accounted in e->cache_bytes */
};

/* One record under way to the log. */
struct inflight {
    struct list link;
    struct resident *r; /* EVENT, MEMBER */
    struct partition *p;
    struct command *cmd; /* may be NULL */
    uint64_t ms;
    uint32_t offset;    /* in the submission, where an event's bytes are until it is folded */
    uint32_t event_len; /* EVENT */
    uint8_t kind;       /* enum logrec */
    uint8_t event_kind; /* EVENT */

    /* Not of EVENT, which is one line of the processor's cache so. */
    struct buf payload; /* as logged */
    struct list acks;   /* CURSORS: commands to complete */
};
enum { CACHE_LINE = 64, INFLIGHT_BYTES = 2 * CACHE_LINE };
_Static_assert(offsetof(struct inflight, payload) <= CACHE_LINE &&
                   sizeof(struct inflight) <= INFLIGHT_BYTES,
               "an event in flight is to be one cache line");

/* One submission: what was decided in a turn. */
struct turn {
    struct log_submission sub;
    struct list link;
    struct list records;
    uint64_t floor_lsn;
    uint64_t submitted_ns;
};

/* What a command waits for or has found; freed with it or when it is decided. */
struct command_work {
    uint64_t target_seq;
    bool looked_up;      /* target_id was looked for in the feed */
    bool fetched;        /* the target event was looked for */
    uint64_t dedup_seq;  /* a stored message whose key has the same hash; 0: none */
    uint64_t below;      /* what is in the store from here on has not the key; 0: not looked */
    uint64_t next_below; /* the same, once nothing was found where it is being looked for */
    struct buf original; /* that message, encoded */
    struct buf target;   /* encoded, patched */
};

/* A request to the store on behalf of the engine; finish runs on the shard's thread. */
struct engine_job {
    struct mpsc_node node;
    struct store_request req;
    struct engine *e;
    void (*finish)(struct engine *e, struct engine_job *job);
    struct resident *r;
    struct command *cmd;
    void *arg;
    bool owns_arg; /* it is freed with the job */
    bool decode;   /* the rows are chunks: decode them in the done callback into `records` */
    struct buf records;
    uint32_t gen; /* overlay_gen when the chunks were asked for */
    enum confab_err err;
    uint64_t started_ns;
    struct row_key *keys; /* owned */
    struct store_key *key_list;
};

struct engine {
    struct engine_config cfg;
    struct engine_host *host;
    struct engine_shared *shared;
    struct log_store *log;
    struct message_store *store;
    struct directory *directory;
    struct clock *clock;
    struct metrics *metrics;

    uint64_t now_ms;
    uint64_t floor_ms; /* no stamp is below */
    bool floor_shared; /* nothing was stamped since recovery: the floor is that of all engines */
    struct u64map late[2]; /* keys of messages stored by a repeated attempt: new ones, older ones */
    uint64_t late_ns;      /* when the new ones were begun */
    uint64_t unknown_ms;   /* earliest time of a record that a failed log left open, or fold */
    struct partition *parts;
    uint16_t part_first;
    uint16_t part_count;
    struct idmap residents;
    struct list lru;     /* most recently used first; not those that wait for a flush */
    struct list loadq;   /* to be loaded, a command waits */
    struct list tailq;   /* to be loaded for recovery's sake */
    struct list follow;  /* with follow-ups to be sent */
    struct list answers; /* commands whose event is durable: they wait for the actor's follow-up */
    struct list spare_inflight; /* to be used again, as these come and go by the batch */
    struct list spare_turns;    /* with their buffers */
    uint32_t nspare_inflight;
    uint32_t nspare_turns;
    size_t spare_turns_bytes;
    uint32_t nloadq;
    uint32_t tail_left;  /* conversations that recovery has still to load and fold */
    uint64_t tail_bytes; /* what it brought; admitted on top of the bounds until it is flushed */
    struct list cursor_parts;
    struct list confirm_parts;
    uint32_t loading;
    uint32_t followups_sent;
    uint64_t followup_retry_ms;
    uint64_t load_retry_ms; /* recovery's loads rest until then: the store failed */
    uint64_t followups_pending;
    size_t cache_bytes;
    uint64_t dirty_bytes;
    struct buf rec;        /* the record being encoded */
    struct turn *turn;     /* being filled */
    struct list turns;     /* submitted, not all folded */
    struct turn *durable;  /* the one of them that is being folded */
    size_t unsynced_bytes; /* of them */
    uint64_t inflight;
    uint64_t jobs; /* store and directory requests under way */
    enum confab_err failed;
    enum confab_err stopped;   /* of the first partition that stopped */
    enum confab_err store_err; /* of the latest flush of a partition */
    uint64_t nospace_until_ms;
    uint64_t refused; /* submissions that the log did not take */
    struct mpsc inbox;
    struct chunk_codec *_Atomic spare_codec; /* of whoever decodes chunks next */
    atomic_uint_fast64_t clean_lsn;
    uint32_t flushes;
    struct flush_tools *flush_tools; /* kept for the next one; NULL: none */
    bool flush_all;
    bool pinned;    /* the cache is over its bound with what cannot be dropped now */
    bool following; /* follow-ups are being sent further up the stack */
    bool recovering;
    bool recover_ended; /* every record was handed over */
    bool replaying;     /* a fold of recovery is running */
    uint64_t clean_check_ms;
    uint64_t flush_check_ms;
};

/* engine.c */
void engine_complete(struct engine *e, struct command *cmd, enum confab_err err, const char *field);
void engine_pump(struct engine *e, struct resident *r);
struct partition *engine_partition(struct engine *e, uint16_t number);
struct command_work *command_work_get(struct command *cmd); /* NULL: out of memory */
struct engine_job *engine_job_new(struct engine *e, struct resident *r, struct command *cmd,
                                  void (*finish)(struct engine *e, struct engine_job *job));
void engine_job_free(struct engine_job *job);
/* Submits the job's request. On an error the job is the caller's still. */
CONFAB_NODISCARD enum confab_err engine_job_submit(struct engine *e, struct engine_job *job);

/* decide.c. What a step does with the first waiting command: */
enum step { STEP_DONE, STEP_BLOCKED };
enum step engine_step_event(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_followup(struct engine *e, struct resident *r, struct command *cmd);
/* Puts the record at the end of the open submission and takes `payload` over, if that works. */
CONFAB_NODISCARD enum confab_err engine_log_payload(struct engine *e, enum logrec kind,
                                                    struct partition *p, struct resident *r,
                                                    struct command *cmd, uint64_t ms,
                                                    struct buf *payload, struct inflight **ret);
uint64_t engine_stamp_ms(struct engine *e, struct partition *p);
void inflight_free(struct engine *e, struct inflight *in);
/* Whose records are all gone. */
void engine_turn_done(struct engine *e, struct turn *t);

/* fold.c */
/* False: nothing more is durable for now. What lies in between is for the effects of what was
 * taken, while it is in the processor's cache. */
bool engine_take_durable(struct engine *e);
/* Folds one logged record into a loaded conversation, in a run or in recovery; keeps a copy of the
 * bytes, of which ev is the decoded form. */
CONFAB_NODISCARD enum confab_err engine_fold_event(struct engine *e, struct resident *r,
                                                   struct span bytes, uint64_t lsn,
                                                   const struct event *ev);
CONFAB_NODISCARD enum confab_err engine_fold_member(struct resident *r, struct span payload);
CONFAB_NODISCARD enum confab_err engine_fold_confirm(struct engine *e, struct resident *r,
                                                     uint64_t seq, uint64_t user);
CONFAB_NODISCARD enum confab_err engine_feed_add(struct partition *p, const struct event *ev,
                                                 struct conv_id conv);
void resident_mark_dirty(struct resident *r);
void engine_part_folded(struct engine *e, struct partition *p, uint64_t lsn, size_t bytes,
                        uint64_t ms);
/* Fold failed: nothing more is decided or answered in this partition. */
void partition_stop(struct partition *p, enum confab_err err);

/* dedup.c */
uint64_t engine_dedup_hash(uint64_t user, struct span cmid);
/* The same of a command, which keeps it. */
uint64_t engine_key_hash(struct command *cmd);
/* A repeated attempt is stored: should the first one come after all, it is looked for. */
void engine_dedup_late(struct engine *e, struct resident *r, uint64_t dedup_hash);
/* The messages from `from` to flushed_seq, of these days, are in the store now. */
void engine_dedup_flushed(struct engine *e, struct resident *r, uint64_t from,
                          struct key_days days);
/*
 * Looks for an earlier message with the same key. CONFAB_OK: there is none. CONFAB_AGAIN: wait.
 * CONFAB_EXISTS: answered.
 */
enum confab_err engine_check_duplicate(struct engine *e, struct resident *r, struct command *cmd);

/* load.c */
struct resident *engine_resident(struct engine *e, struct conv_id id); /* NULL: not in memory */
/* Finds it or starts loading it; NULL with *ret_err. */
struct resident *engine_want(struct engine *e, struct conv_id id, enum confab_err *ret_err);
void engine_touch(struct engine *e, struct resident *r);
void engine_account(struct engine *e, struct resident *r);
void engine_account_part(struct engine *e, struct partition *p);
void engine_evict(struct engine *e);
void engine_start_loads(struct engine *e);
/* A command waits for this one: it is loaded before what is only recovered. */
void engine_load_soon(struct engine *e, struct resident *r);
void engine_tail_done(struct engine *e, struct resident *r);
void resident_free(struct engine *e, struct resident *r);
struct member_set *resident_set(struct resident *r); /* borrowed; NULL: out of memory */
void resident_set_changed(struct resident *r);

/* slots.c */
/* What the C library adds to an allocation, about. */
enum { RESIDENT_ALLOC_EXTRA = 16 };
struct slot *resident_slot(struct resident *r, uint64_t seq); /* NULL: not in memory */
/* Asks the memory for what appending looks at first. */
void resident_expect(const struct resident *r);
/* A copy of the bytes, as the event after the last. */
CONFAB_NODISCARD enum confab_err resident_append(struct resident *r, struct span bytes,
                                                 const struct event *ev);
/* Takes the new bytes over; the caller looks after those that a slot had of its own. */
void resident_slot_replace(struct resident *r, struct slot *s, uint8_t *bytes, uint32_t len);
/* Drops flushed events beyond the newest `keep`. */
void resident_trim(struct resident *r, uint32_t keep);
/* All of them, flushed or not. */
void resident_slots_free(struct resident *r);

/* target.c */
/*
 * Finds where target_id lives: work->target_seq and cmd->conv. STEP_BLOCKED with the command kept
 * when the store is asked; `again` then runs on the shard's thread.
 */
enum confab_err engine_feed_find(struct engine *e, struct partition *p, uint64_t id,
                                 struct feed_entry *ret); /* AGAIN: ask the store */
CONFAB_NODISCARD enum confab_err engine_feed_ask(struct engine *e, struct command *cmd);
/* Puts the patched bytes of the event at `seq` into work->target; AGAIN: the store is asked. */
enum confab_err engine_fetch_target(struct engine *e, struct resident *r, struct command *cmd);

/* read.c */
/*
 * Asks for the chunk that holds `seq` and, with a higher limit, for those before it that begin at
 * `from` or later.
 */
CONFAB_NODISCARD enum confab_err engine_chunks_ask(struct engine *e, struct engine_job *job,
                                                   struct conv_id conv, uint64_t from, uint64_t seq,
                                                   uint32_t limit);
enum step engine_step_history(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_members(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_lookup(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_receipts(struct engine *e, struct resident *r, struct command *cmd);
/* Is what `user` reads hidden from `to`, or the other way round? Never from oneself. */
bool engine_hides_reading(const struct engine *e, uint64_t user, uint64_t to);
/*
 * Fills ret_delivered and ret_read of the command, as its actor may see them: where the reading of
 * one member is hidden from the actor, nothing counts as read by all.
 */
void engine_lowest_cursors(const struct engine *e, const struct conv *c, struct command *cmd);
/* In a direct conversation with a block nobody learns what the other does. */
bool engine_has_block(const struct conv *c);
enum step engine_step_circle(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_audience(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_blocks(struct engine *e, struct resident *r, struct command *cmd);
/* The first overlay of this target or a later one; n when there is none. */
uint32_t overlay_place(const struct overlay *list, uint32_t n, uint64_t seq);
/* Appends the event to `out` as a record, with overlays applied. */
enum confab_err resident_patched(const struct resident *r, struct span bytes, struct buf *out);

/* What a member may see of a range of events, collected from memory and store. */
struct collect {
    struct engine *e;
    struct resident *r; /* pinned */
    void (*done)(struct collect *c, enum confab_err err);
    void *arg;
    uint64_t user;
    uint64_t lo;
    uint64_t hi;
    uint64_t at;        /* next seq to look at */
    uint64_t before_id; /* reverse: stop below, as soon as an id is not above; 0: no bound */
    uint32_t limit;
    uint32_t count;
    size_t bytes_max; /* 0: no bound; it ends early at the first event above */
    size_t bytes;
    bool reverse;
    bool plain;  /* upwards: only the chunk that holds `at` is asked for */
    bool unseen; /* also what the user may not see */
    bool messages_only;
    bool with_changes; /* messages_only: what event_is_change says too */
    bool stopped_at_id;
    uint32_t gen;
    struct buf *parts; /* reverse: pieces in falling order */
    uint32_t nparts;
    struct buf out; /* records in rising order, when done */
    uint64_t covered_from;
    uint64_t covered_to;
};
/* Runs until done is called, now or later; the collect lives until then. */
void engine_collect(struct collect *c);
void collect_deinit(struct collect *c);

/* resume.c */
void engine_resume(struct engine *e, struct command *cmd);
enum step engine_step_snapshot(struct engine *e, struct resident *r, struct command *cmd);
enum step engine_step_list(struct engine *e, struct resident *r, struct command *cmd);
void engine_heads(struct engine *e, struct command *cmd);

/* cursors.c */
enum step engine_step_ack(struct engine *e, struct resident *r, struct command *cmd);
void engine_log_cursors(struct engine *e, bool all);
/* The conversations of a cursor record need not stay in memory for it any more. */
void engine_cursors_unpin(struct engine *e, struct span payload);
/* The log did not take the record: what it said is pending again. */
void engine_cursors_rejected(struct engine *e, struct span payload);
void engine_cursors_durable(struct engine *e, struct inflight *in);
/* Completes the commands that wait for a cursor record. */
void engine_acks_done(struct engine *e, struct inflight *in, enum confab_err err);
struct cursor_entry {
    struct conv_id conv;
    uint64_t user;
    uint64_t delivered;
    uint64_t read;
    uint64_t read_ord;
};
bool cursor_entry_next(struct reader *r, struct cursor_entry *ret);
void cursor_entry_put(struct buf *out, const struct cursor_entry *entry);
CONFAB_NODISCARD enum confab_err engine_fold_cursor(struct engine *e, struct resident *r,
                                                    const struct cursor_entry *entry, uint64_t ms,
                                                    bool live);
/* What a member's cursors were before. */
struct cursors_before {
    uint64_t delivered;
    uint64_t read;
};
/* Tells those whom it concerns how far they are now, at most up to `to`. */
void engine_receipt_moved(struct engine *e, struct resident *r, uint64_t user,
                          struct cursors_before before, uint64_t to, uint64_t ms);

/* followup.c */
bool engine_followup_concerns(const struct resident *r, uint64_t seq, uint64_t actor);
/* Answers when the actor's follow-up of ret_seq has arrived, or soon. Takes the command over. */
void engine_answer_later(struct engine *e, struct command *cmd);
void engine_answers_due(struct engine *e);
void engine_followups_kick(struct engine *e, struct resident *r);
/* Sends what waits, up to the bound on what is under way. */
void engine_followups_run(struct engine *e);
void engine_log_confirms(struct engine *e, bool all);
/* The log did not take the record: it is written again, later. */
void engine_confirms_rejected(struct engine *e, struct inflight *in);

/* flush.c */
void engine_flush_due(struct engine *e);
/* Frees what is kept from one flush to the next. */
void engine_flush_rest(struct engine *e);
/* Frees what waits to be written again; only when the engine goes. */
void engine_flush_drop(struct partition *p);

/* recover.c */
void engine_replay(struct engine *e, struct resident *r);

#endif
