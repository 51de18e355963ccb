/*
 * What the simulated engines stand on. The real local log runs on disk_sim and the memory store and
 * directory stand for their engines; in front of each is a decorator of the simulator's, which
 * decides when a request is executed and when it is answered, keeps the journal of everything that
 * the log called durable, ends what is under way when the process dies, and plays planted bugs.
 */
#ifndef CONFAB_TESTS_SIM_PORTS_H
#define CONFAB_TESTS_SIM_PORTS_H

#include "adapters/local_log/local_log.h"
#include "adapters/mem/disk_sim.h"
#include "adapters/mem/store_mem.h"
#include "base/list.h"
#include "ports/directory.h"
#include "ports/executor.h"
#include "ports/log.h"
#include "ports/message_store.h"
#include "sim.h"

/* One durable record, in order of LSN. */
struct journal_record {
    uint64_t lsn;
    uint16_t partition;
    uint8_t kind;
    uint8_t version;
    uint8_t *bytes;
    uint32_t len;
};
struct journal {
    struct journal_record *at;
    size_t count;
    size_t cap;
};

struct sim_store {
    struct message_store base;
    struct sim *sim;
    struct message_store *inner;
    struct list pending; /* struct pending */
    uint32_t npending;
    bool direct; /* answers at once: recovery blocks on it */
    bool dead;   /* every request fails */
    bool failing;
};
struct sim_dir {
    struct directory base;
    struct sim *sim;
    struct directory *inner;
    struct list pending;
    uint32_t npending;
    bool dead;
};
struct sim_log {
    struct log_store base;
    struct sim *sim;
    struct log_store *inner;
    struct list lanes[SIM_SHARDS_MAX]; /* struct flight: submitted, not polled */
    bool dead;
    uint64_t read_from; /* as the last read asked */
    uint64_t trimmed;   /* highest LSN that trim was given */
};
struct lying_disk {
    struct disk base;
    struct sim *sim;
    struct disk *inner;
};

struct ports {
    struct disk_sim *disk;
    struct lying_disk lying;
    struct random_seeded segment_ids;
    struct executor *inline_ex; /* under store and directory */
    struct executor *file_ex;   /* checkpoint files, stepped */
    struct sim_store store;
    struct sim_dir dir;
    struct sim_log log;
    struct local_log *local;
    struct journal journal;
};

struct ports *ports_new(struct sim *s);
void ports_free(struct ports *p);

/* The disk that the log and the checkpoint use. */
struct disk *ports_disk(struct ports *p);
/* CONFAB_CLOSED when the disk has halted. */
CONFAB_NODISCARD enum confab_err ports_open_log(struct ports *p, uint16_t lanes, uint64_t from_lsn);
/* One step of the log's writer; false when it had nothing to do. */
bool ports_step_log(struct ports *p);
/* Executes or answers one request of the store, the directory or the file executor, if any. */
bool ports_step_store(struct ports *p);
bool ports_step_dir(struct ports *p);
bool ports_step_file(struct ports *p);
bool ports_is_idle(const struct ports *p);

/*
 * The process dies: what is under way ends with an error, and so does all that is asked from now
 * on. Then, when the engines are gone, ports_lose lets the disk and the store forget.
 */
void ports_kill(struct ports *p);
/* Ends what is under way; false when there was nothing. */
bool ports_fail_all(struct ports *p);
void ports_lose(struct ports *p, bool power);

/* A copy of all files. While no process runs: nothing is under way. NULL is fine to free. */
struct ports_backup;
struct ports_backup *ports_backup_new(struct ports *p);
void ports_backup_free(struct ports_backup *b);
/* Puts it in place of what there is; the journal ends where it did then. */
void ports_restore(struct ports *p, const struct ports_backup *b);

/*
 * Reads the log again and compares it with the journal: what was called durable is there,
 * unchanged. Records that are durable and were not known are appended to the journal and given to
 * on_new.
 */
void ports_check_log(struct ports *p, void (*on_new)(void *arg, const struct journal_record *rec),
                     void *arg);

#endif
