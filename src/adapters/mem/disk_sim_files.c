/*
 * Replaying an inode's changes over its durable bytes gives every version that a sector had; a
 * crash picks one for each.
 */
#include "disk_sim_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { SECTOR = 512 };

struct change {
    struct list node;
    bool is_size; /* a new size; otherwise a write */
    bool lost;    /* a sync of it failed: never durable, though reads still see it */
    uint64_t off; /* or the size */
    size_t n;
    uint8_t data[];
};

enum name_change_kind { NAME_LINK, NAME_UNLINK, NAME_RENAME };

struct name_change {
    struct list node;
    enum name_change_kind kind;
    char name[SIM_NAME_BYTES];
    char to[SIM_NAME_BYTES];
    struct sim_inode *inode; /* NAME_LINK: held */
};

static void *must(void *p)
{
    CHECK(p);
    return p;
}

/* Images */

static void image_resize(struct sim_image *im, size_t size)
{
    if (size > im->cap) {
        size_t cap = MAX(size, im->cap * 2);
        uint8_t *p = must(calloc(1, cap)); /* not realloc: untouched zero pages cost nothing */
        if (im->size > 0) {
            memcpy(p, im->bytes, im->size);
        }
        free(im->bytes);
        im->bytes = p;
        im->cap = cap;
    } else if (size < im->size) {
        memset(im->bytes + size, 0, im->size - size);
    }
    im->size = size;
}

static void image_write(struct sim_image *im, uint64_t off, const uint8_t *data, size_t n)
{
    if (off + n > im->size) {
        image_resize(im, (size_t)off + n);
    }
    memcpy(im->bytes + off, data, n);
}

static void image_apply(struct sim_image *im, const struct change *c)
{
    if (c->is_size) {
        image_resize(im, (size_t)c->off);
    } else {
        image_write(im, c->off, c->data, c->n);
    }
}

static struct sim_image image_copy(const struct sim_image *im)
{
    struct sim_image copy = {0};
    if (im->size > 0) {
        image_resize(&copy, im->size);
        memcpy(copy.bytes, im->bytes, im->size);
    }
    return copy;
}

static void image_deinit(struct sim_image *im)
{
    free(im->bytes);
    *im = (struct sim_image){0};
}

/* Inodes and names */

static void inode_forget_changes(struct sim_inode *inode)
{
    for (struct list *n; (n = list_pop_front(&inode->changes));) {
        free(LIST_ENTRY(n, struct change, node));
    }
}

void sim_inode_unref(struct sim_files *fs, struct sim_inode *inode)
{
    if (--inode->refs > 0) {
        return;
    }
    fs->used -= inode->now.size;
    inode_forget_changes(inode);
    image_deinit(&inode->now);
    image_deinit(&inode->durable);
    free(inode);
}

static struct sim_entry *dir_find(struct sim_names *dir, const char *name)
{
    for (size_t i = 0; i < dir->count; i++) {
        if (strcmp(dir->at[i].name, name) == 0) {
            return &dir->at[i];
        }
    }
    return NULL;
}

static void dir_unlink(struct sim_files *fs, struct sim_names *dir, const char *name)
{
    struct sim_entry *e = dir_find(dir, name);
    if (e) {
        struct sim_inode *inode = e->inode;
        *e = dir->at[--dir->count];
        sim_inode_unref(fs, inode);
    }
}

static void dir_link(struct sim_files *fs, struct sim_names *dir, const char *name,
                     struct sim_inode *inode)
{
    inode->refs++;
    dir_unlink(fs, dir, name);
    if (dir->count == dir->cap) {
        dir->cap = dir->cap ? dir->cap * 2 : 16;
        dir->at = must(realloc(dir->at, dir->cap * sizeof(*dir->at)));
    }
    struct sim_entry *e = &dir->at[dir->count++];
    snprintf(e->name, sizeof(e->name), "%s", name);
    e->inode = inode;
}

static void dir_rename(struct sim_files *fs, struct sim_names *dir, const char *from,
                       const char *to)
{
    struct sim_entry *e = dir_find(dir, from);
    const struct sim_entry *there = dir_find(dir, to);
    /* As POSIX has it: of two names of one file, none goes. */
    if (e && !(there && there->inode == e->inode)) {
        struct sim_inode *inode = e->inode;
        inode->refs++;
        dir_unlink(fs, dir, from);
        dir_link(fs, dir, to, inode);
        sim_inode_unref(fs, inode);
    }
}

static void dir_deinit(struct sim_files *fs, struct sim_names *dir)
{
    while (dir->count > 0) {
        dir_unlink(fs, dir, dir->at[0].name);
    }
    free(dir->at);
    *dir = (struct sim_names){0};
}

static void name_change_apply(struct sim_files *fs, struct sim_names *dir,
                              const struct name_change *c)
{
    switch (c->kind) {
    case NAME_LINK:
        dir_link(fs, dir, c->name, c->inode);
        break;
    case NAME_UNLINK:
        dir_unlink(fs, dir, c->name);
        break;
    case NAME_RENAME:
        dir_rename(fs, dir, c->name, c->to);
        break;
    }
}

static void name_change_add(struct sim_files *fs, enum name_change_kind kind, const char *name,
                            const char *to, struct sim_inode *inode)
{
    struct name_change *c = must(calloc(1, sizeof(*c)));
    c->kind = kind;
    snprintf(c->name, sizeof(c->name), "%s", name);
    snprintf(c->to, sizeof(c->to), "%s", to);
    c->inode = inode;
    if (inode) {
        inode->refs++;
    }
    list_push_back(&fs->changes, &c->node);
}

static void name_change_free(struct sim_files *fs, struct name_change *c)
{
    if (c->inode) {
        sim_inode_unref(fs, c->inode);
    }
    free(c);
}

/* Crashes */

/* Replays the changes on a scratch image; after each, every sector it touched may be taken over. */
static void settle_inode(struct sim_inode *inode, struct random_source *random)
{
    if (inode->changes.next == &inode->changes) {
        return;
    }
    uint64_t mode = random_below(random, 4);
    struct sim_image scratch = image_copy(&inode->durable);
    struct sim_image result = image_copy(&inode->durable);
    uint64_t torn = UINT64_MAX;
    bool size_settled = false;
    LIST_EACH(&inode->changes, n)
    {
        const struct change *c = LIST_ENTRY(n, struct change, node);
        size_t size_before = scratch.size;
        image_apply(&scratch, c);
        if (mode == 0) { /* nothing survives */
            continue;
        }
        /* The size first: what stands behind it cannot survive. */
        if (scratch.size != size_before && !size_settled) {
            if (mode == 3 || random_below(random, 4) != 0) {
                image_resize(&result, scratch.size);
            } else {
                size_settled = true;
            }
        }
        if (c->is_size || c->n == 0) {
            continue;
        }
        for (uint64_t s = c->off / SECTOR; s <= (c->off + c->n - 1) / SECTOR; s++) {
            size_t at = (size_t)s * SECTOR;
            size_t len = MIN((size_t)SECTOR, scratch.size - at);
            if (at >= result.size || (mode != 3 && random_below(random, 2) == 0)) {
                continue;
            }
            len = MIN(len, result.size - at);
            memcpy(result.bytes + at, scratch.bytes + at, len);
            torn = at;
        }
    }
    if (torn < result.size && mode == 2) {
        size_t len = MIN((size_t)SECTOR, result.size - (size_t)torn);
        size_t from = (size_t)random_below(random, len);
        random_fill(random, result.bytes + torn + from, len - from);
    }
    image_deinit(&scratch);
    image_deinit(&inode->durable);
    inode->durable = result;
}

static void settle_names(struct sim_files *fs, struct random_source *random)
{
    /* Without random: all of them. Otherwise a change survives if nothing it builds on was lost:
     * names of lost changes are remembered, and later changes of those are lost too. */
    struct sim_names lost = {0};
    struct sim_inode marker = {.refs = 1, .changes = {&marker.changes, &marker.changes}};
    uint64_t mode = random ? random_below(random, 4) : 3;
    for (struct list *n; (n = list_pop_front(&fs->changes));) {
        struct name_change *c = LIST_ENTRY(n, struct name_change, node);
        bool keep = mode == 3 || (mode != 0 && random_below(random, 2) == 0);
        if (dir_find(&lost, c->name) || (c->kind == NAME_RENAME && dir_find(&lost, c->to))) {
            keep = false;
        }
        if (mode == 1 && lost.count > 0) {
            keep = false; /* in order, as a journal does */
        }
        if (keep && random && c->kind == NAME_RENAME && dir_find(&fs->durable, c->name) &&
            random_below(random, 4) == 0) {
            /* Half of it: not every file system has both parts of a rename in one write. */
            dir_link(fs, &fs->durable, c->to, dir_find(&fs->durable, c->name)->inode);
            dir_link(fs, &lost, c->name, &marker);
        } else if (keep) {
            name_change_apply(fs, &fs->durable, c);
        } else {
            dir_link(fs, &lost, c->name, &marker);
            if (c->kind == NAME_RENAME) {
                dir_link(fs, &lost, c->to, &marker);
            }
        }
        name_change_free(fs, c);
    }
    dir_deinit(fs, &lost);
}

/* Interface */

static void change_add(struct sim_inode *inode, bool is_size, uint64_t off, const void *data,
                       size_t n)
{
    struct change *c = must(malloc(sizeof(*c) + n));
    c->is_size = is_size;
    c->lost = false;
    c->off = off;
    c->n = n;
    if (n > 0) {
        memcpy(c->data, data, n);
    }
    list_push_back(&inode->changes, &c->node);
    image_apply(&inode->now, c);
}

static enum confab_err take_room(struct sim_files *fs, const struct sim_inode *inode, uint64_t size)
{
    if (size > inode->now.size && fs->capacity > 0 &&
        fs->used + (size - inode->now.size) > fs->capacity) {
        return CONFAB_NO_SPACE;
    }
    fs->used = fs->used - inode->now.size + size;
    return CONFAB_OK;
}

enum confab_err sim_inode_write(struct sim_files *fs, struct sim_inode *inode, const void *data,
                                size_t n, uint64_t off)
{
    if (n == 0) {
        return CONFAB_OK;
    }
    enum confab_err err = take_room(fs, inode, MAX(inode->now.size, off + n));
    if (!err) {
        change_add(inode, false, off, data, n);
    }
    return err;
}

enum confab_err sim_inode_resize(struct sim_files *fs, struct sim_inode *inode, uint64_t size)
{
    enum confab_err err = take_room(fs, inode, size);
    if (!err) {
        change_add(inode, true, size, NULL, 0);
    }
    return err;
}

void sim_inode_sync(struct sim_inode *inode)
{
    LIST_EACH(&inode->changes, n)
    {
        const struct change *c = LIST_ENTRY(n, struct change, node);
        if (!c->lost) {
            image_apply(&inode->durable, c);
        }
    }
    inode_forget_changes(inode);
}

void sim_inode_sync_failed(struct sim_inode *inode)
{
    LIST_EACH(&inode->changes, n)
    {
        LIST_ENTRY(n, struct change, node)->lost = true;
    }
}

void sim_inode_ref(struct sim_inode *inode)
{
    inode->refs++;
}

void sim_files_init(struct sim_files *fs, uint64_t capacity)
{
    *fs = (struct sim_files){.capacity = capacity};
    list_init(&fs->changes);
}

void sim_files_deinit(struct sim_files *fs)
{
    for (struct list *n; (n = list_pop_front(&fs->changes));) {
        name_change_free(fs, LIST_ENTRY(n, struct name_change, node));
    }
    dir_deinit(fs, &fs->now);
    dir_deinit(fs, &fs->durable);
    CHECK(fs->used == 0); /* a file is still open */
}

static struct sim_inode *inode_new(void)
{
    struct sim_inode *inode = must(calloc(1, sizeof(*inode)));
    list_init(&inode->changes);
    return inode;
}

void sim_files_copy(struct sim_files *to, const struct sim_files *from)
{
    for (size_t i = 0; i < from->now.count; i++) {
        const struct sim_entry *e = &from->now.at[i];
        struct sim_inode *inode = inode_new();
        inode->now = image_copy(&e->inode->now);
        inode->durable = image_copy(&e->inode->now);
        to->used += inode->now.size;
        dir_link(to, &to->now, e->name, inode);
        dir_link(to, &to->durable, e->name, inode);
    }
}

struct sim_inode *sim_files_find(struct sim_files *fs, const char *name)
{
    struct sim_entry *e = dir_find(&fs->now, name);
    return e ? e->inode : NULL;
}

struct sim_inode *sim_files_create(struct sim_files *fs, const char *name)
{
    struct sim_inode *inode = inode_new();
    dir_link(fs, &fs->now, name, inode);
    name_change_add(fs, NAME_LINK, name, "", inode);
    return inode;
}

void sim_files_unlink(struct sim_files *fs, const char *name)
{
    dir_unlink(fs, &fs->now, name);
    name_change_add(fs, NAME_UNLINK, name, "", NULL);
}

void sim_files_rename(struct sim_files *fs, const char *from, const char *to)
{
    dir_rename(fs, &fs->now, from, to);
    name_change_add(fs, NAME_RENAME, from, to, NULL);
}

void sim_files_sync_names(struct sim_files *fs)
{
    settle_names(fs, NULL);
}

void sim_files_crash(struct sim_files *fs, struct random_source *random)
{
    settle_names(fs, random);
    dir_deinit(fs, &fs->now);
    for (size_t i = 0; i < fs->durable.count; i++) {
        struct sim_inode *inode = fs->durable.at[i].inode;
        settle_inode(inode, random);
        inode_forget_changes(inode);
        fs->used -= inode->now.size;
        image_deinit(&inode->now);
        inode->now = image_copy(&inode->durable);
        fs->used += inode->now.size;
        dir_link(fs, &fs->now, fs->durable.at[i].name, inode);
    }
}
