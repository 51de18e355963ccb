/*
 * The files of the simulated disk: what reads see, what is durable, and how a crash settles the
 * difference. Included by disk_sim.c only, which serialises the calls. Running out of memory
 * aborts: a simulation that goes on without it would mean nothing.
 */
#ifndef CONFAB_ADAPTERS_DISK_SIM_FILES_H
#define CONFAB_ADAPTERS_DISK_SIM_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/random.h"

enum { SIM_NAME_BYTES = 64 };

struct sim_image {
    uint8_t *bytes;
    size_t size;
    size_t cap; /* bytes beyond size are zero */
};

struct sim_inode {
    struct sim_image now;
    struct sim_image durable;
    struct list changes; /* since the last sync, in order */
    uint32_t refs;       /* names in either directory, and open files */
};

struct sim_entry {
    char name[SIM_NAME_BYTES];
    struct sim_inode *inode;
};

struct sim_names {
    struct sim_entry *at;
    size_t count;
    size_t cap;
};

struct sim_files {
    uint64_t capacity; /* 0: no bound */
    uint64_t used;     /* sizes of all inodes */
    struct sim_names now;
    struct sim_names durable;
    struct list changes; /* of names, since the last sync_names, in order */
};

void sim_files_init(struct sim_files *fs, uint64_t capacity);
void sim_files_deinit(struct sim_files *fs);
/* All files as they are now, durable, into an empty one. */
void sim_files_copy(struct sim_files *to, const struct sim_files *from);
struct sim_inode *sim_files_find(struct sim_files *fs, const char *name); /* NULL: none */
struct sim_inode *sim_files_create(struct sim_files *fs, const char *name);
/* The names must be there. */
void sim_files_unlink(struct sim_files *fs, const char *name);
void sim_files_rename(struct sim_files *fs, const char *from, const char *to);
void sim_files_sync_names(struct sim_files *fs);
void sim_files_crash(struct sim_files *fs, struct random_source *random);

void sim_inode_ref(struct sim_inode *inode);
void sim_inode_unref(struct sim_files *fs, struct sim_inode *inode);
/* CONFAB_NO_SPACE, and nothing done. */
CONFAB_NODISCARD enum confab_err sim_inode_write(struct sim_files *fs, struct sim_inode *inode,
                                                 const void *data, size_t n, uint64_t off);
CONFAB_NODISCARD enum confab_err sim_inode_resize(struct sim_files *fs, struct sim_inode *inode,
                                                  uint64_t size);
void sim_inode_sync(struct sim_inode *inode);
/* As kernels do: the pages count as clean from now on, a later sync will not write them. */
void sim_inode_sync_failed(struct sim_inode *inode);

#endif
