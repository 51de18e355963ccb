/*
 * What the driver of the scale runs knows: who talks to whom, what the nth message of a
 * conversation says, and, in a file that outlives a killed process, how far each active
 * conversation was submitted and acknowledged.
 */
#ifndef CONFAB_TESTS_SCALE_MODEL_H
#define CONFAB_TESTS_SCALE_MODEL_H

#include "core/command.h"

/* Every EDIT_EVERYth message of an active conversation is edited once, EDIT_LAG messages later. */
enum { EDIT_EVERY = 16, EDIT_LAG = 8 };

struct talk {
    uint64_t conv;      /* number of the conversation */
    uint32_t base;      /* messages that the fill had put there */
    uint32_t submitted; /* messages after those */
    uint32_t acked;
    uint32_t edit_of; /* the message to be edited next, 0 for none */
    uint32_t edited;  /* the latest one whose edit was acknowledged */
    uint64_t edit_id;
};
/* How a child started, in milliseconds from before its exec; read by its parent. */
struct start_figures {
    double open_ms;       /* all adapters open, the log read: turns begin */
    double cold_ms;       /* first answer about a conversation outside the tail */
    double answer_ms[3];  /* to the active conversations: the first, half of them, the last */
    double folded_ms;     /* all of the tail folded */
    double open_cpu_ms;   /* CPU of the starting thread until open_ms: others disturb that less */
    double folded_cpu_ms; /* the same until folded_ms, the driver's own work included */
    double log_ms;        /* parts of open_ms */
    double store_ms;
    double read_ms;
    uint64_t records;
    uint64_t bytes;
    uint64_t replayed;
    uint64_t tail_convs;
    uint64_t rss;
};
struct model {
    uint64_t conversations;
    uint64_t users;
    uint32_t messages; /* by the fill, in each conversation */
    uint32_t active;
    uint64_t seed;
    struct start_figures start;
    _Atomic(uint32_t) serving; /* the child answers: it may be killed */
    struct talk talks[];
};

/* Maps the file, made with `active` conversations chosen by `seed` when it is not there. */
struct model *model_open(const char *path, uint64_t conversations, uint64_t users,
                         uint32_t messages, uint32_t active, uint64_t seed);
/* Each user talks to the next MODEL_FRIENDS users, and so to as many before: conv < users times it.
 */
#define MODEL_FRIENDS 10U
void model_users(uint64_t conv, uint64_t users, uint64_t ret[2]);
struct conv_id model_conv(uint64_t conv, uint64_t users);
/* The nth message (from 1) of a conversation. */
struct command *model_message(uint64_t conv, uint64_t users, uint32_t n, bool fresh);
struct command *model_edit(uint64_t conv, uint64_t users, uint32_t n, uint64_t id);
/*
 * 20 to 120 bytes of a few words; or, after model_texts, exactly `bytes` (up to MODEL_TEXT_MAX) out
 * of a file: as compressible as what people write.
 */
#define MODEL_TEXT_MAX 4000U
#define MODEL_TEXT     (MODEL_TEXT_MAX + 1U)
size_t model_text(uint64_t conv, uint32_t n, bool edited, char out[MODEL_TEXT]);
/* Reads the file whole; ends the program when it cannot be read or is not longer than a text. */
void model_texts(const char *path, size_t bytes);

#endif
