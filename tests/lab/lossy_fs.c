/*
 * A file system that loses power, for tests of whole processes: everything is in memory, and it
 * remembers what had been synced. On an order, what had not been is forgotten as a real disk would:
 * each page of 4 KiB that was written and not synced is as before, as after, or torn between two
 * sectors of 512 bytes; a file's new length may have been kept or not; of the changes to a
 * directory since its last fsync, the first few are kept.
 *
 *      lossy_fs MOUNTPOINT          serves in the foreground until unmounted
 *
 * Orders are extended attributes of the mount point:
 *      user.lose = SEED             loses power; nothing may be open then
 *      user.kill = OP PART N WHEN   the N-th OP from now on of a path that contains PART ends its
 *                                   process with SIGKILL; OP is write, sync, syncdir, create,
 *                                   rename, unlink, resize or any; WHEN is before or after the
 *                                   operation; an empty value takes the order back
 *      user.nosync = PART           an fsync of a path that contains PART does nothing: a planted
 *                                   fault, which a lab must find
 *      user.state                   read: what has happened, as JSON
 *
 * Strict where file systems differ: an fsync of a file does not make its name durable.
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE      4096U
#define SECTOR    512U
#define NAME_SIZE 256U
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* The contents of a file at one time, by page; a NULL page is zeros. */
struct page {
    uint8_t *now;
    uint8_t *synced; /* what is on the disk; meant only while `dirty` */
    bool dirty;
};

struct node;
struct entry {
    struct entry *next;
    char name[NAME_SIZE];
    struct node *node; /* NULL in a journal: the name went */
};

struct node {
    uint32_t refs; /* entries of all lists, and open handles */
    uint64_t ino;
    mode_t mode;
    struct timespec mtime;
    /* A file. */
    struct page *pages;
    size_t npages;
    off_t size;
    off_t synced_size;
    /* A directory: what it holds, what of it is on the disk, and the changes between, oldest first.
     */
    struct entry *now;
    struct entry *synced;
    struct entry *journal;
};

enum op {
    OP_NONE = 0,
    OP_WRITE,
    OP_SYNC,
    OP_SYNCDIR,
    OP_CREATE,
    OP_RENAME,
    OP_UNLINK,
    OP_RESIZE,
    OP_ANY
};

static const char *const OPS[] = {
    [OP_WRITE] = "write",   [OP_SYNC] = "sync",     [OP_SYNCDIR] = "syncdir",
    [OP_CREATE] = "create", [OP_RENAME] = "rename", [OP_UNLINK] = "unlink",
    [OP_RESIZE] = "resize", [OP_ANY] = "any"};

static struct {
    struct node *root;
    uint64_t next_ino;
    uint64_t random;
    uint64_t bytes; /* of pages */
    uint64_t losses;
    uint64_t kills;
    uint64_t ops[OP_ANY];
    uint64_t pages_old; /* over all losses */
    uint64_t pages_new;
    uint64_t pages_torn;
    uint64_t names_lost;
    enum op kill_op;
    char kill_part[128];
    unsigned long kill_n;
    bool kill_before;
    char last_killed[512];
    char no_sync[128]; /* empty: none */
} fs;

static uint64_t draw(uint64_t below)
{
    fs.random += 0x9e3779b97f4a7c15ULL;
    uint64_t z = fs.random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

static void *need(void *p)
{
    if (!p) {
        (void)fprintf(stderr, "lossy_fs: out of memory\n");
        _exit(1);
    }
    return p;
}

/* ---- Nodes ---- */

static struct node *node_new(mode_t mode)
{
    struct node *n = need(calloc(1, sizeof(*n)));
    n->ino = ++fs.next_ino;
    n->mode = mode;
    (void)clock_gettime(CLOCK_REALTIME, &n->mtime);
    return n;
}

static void page_set(uint8_t **slot, uint8_t *p)
{
    if (*slot) {
        fs.bytes -= PAGE;
    }
    free(*slot);
    *slot = p;
    if (p) {
        fs.bytes += PAGE;
    }
}

static uint8_t *page_copy(const uint8_t *p)
{
    return p ? memcpy(need(malloc(PAGE)), p, PAGE) : NULL;
}

static void entries_free(struct entry **list);

static void node_unref(struct node *n)
{
    if (--n->refs > 0) {
        return;
    }
    for (size_t i = 0; i < n->npages; i++) {
        page_set(&n->pages[i].now, NULL);
        page_set(&n->pages[i].synced, NULL);
    }
    free(n->pages);
    entries_free(&n->now);
    entries_free(&n->synced);
    entries_free(&n->journal);
    free(n);
}

/* ---- Directories ---- */

static void entries_free(struct entry **list)
{
    while (*list) {
        struct entry *e = *list;
        *list = e->next;
        if (e->node) {
            node_unref(e->node);
        }
        free(e);
    }
}

static struct entry **entry_find(struct entry **list, const char *name)
{
    while (*list && strcmp((*list)->name, name) != 0) {
        list = &(*list)->next;
    }
    return list;
}

static struct entry *entry_new(const char *name, struct node *node)
{
    struct entry *e = need(calloc(1, sizeof(*e)));
    (void)snprintf(e->name, sizeof(e->name), "%s", name);
    e->node = node;
    if (node) {
        node->refs++;
    }
    return e;
}

/* Puts a name into the list, in the place of what had it; a NULL node takes it out. */
static void entries_set(struct entry **list, const char *name, struct node *node)
{
    struct entry **at = entry_find(list, name);
    struct entry *old = *at;
    if (node) {
        struct entry *e = entry_new(name, node);
        e->next = old ? old->next : NULL;
        *at = e;
    } else if (old) {
        *at = old->next;
    }
    if (old) {
        node_unref(old->node);
        free(old);
    }
}

static void dir_set(struct node *dir, const char *name, struct node *node)
{
    struct entry **end = &dir->journal;
    while (*end) {
        end = &(*end)->next;
    }
    *end = entry_new(name, node);
    entries_set(&dir->now, name, node);
    (void)clock_gettime(CLOCK_REALTIME, &dir->mtime);
}

static void dir_synced(struct node *dir)
{
    for (struct entry *e = dir->journal; e; e = e->next) {
        entries_set(&dir->synced, e->name, e->node);
    }
    entries_free(&dir->journal);
}

/* The node of a path, NULL when there is none. */
static struct node *lookup(const char *path)
{
    struct node *n = fs.root;
    char name[NAME_SIZE];
    while (*path == '/') {
        path++;
    }
    while (*path && n) {
        size_t len = strcspn(path, "/");
        if (len >= sizeof(name)) {
            return NULL;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        struct entry *e = *entry_find(&n->now, name);
        n = e ? e->node : NULL;
        path += len;
        while (*path == '/') {
            path++;
        }
    }
    return n;
}

/* The directory that a path lies in, and the last name of the path; NULL when there is none. */
static struct node *parent_of(const char *path, const char **ret_name)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t len = (size_t)(slash - path);
    if (len >= sizeof(folder) || strlen(slash + 1) >= NAME_SIZE) {
        return NULL;
    }
    memcpy(folder, path, len);
    folder[len] = '\0';
    *ret_name = slash + 1;
    return lookup(folder);
}

/* ---- Files ---- */

static struct page *file_page(struct node *n, size_t index)
{
    if (index >= n->npages) {
        size_t npages = n->npages ? n->npages : 16;
        while (npages <= index) {
            npages *= 2;
        }
        n->pages = need(realloc(n->pages, npages * sizeof(*n->pages)));
        memset(n->pages + n->npages, 0, (npages - n->npages) * sizeof(*n->pages));
        n->npages = npages;
    }
    return &n->pages[index];
}

/* About to change: what the disk has is put aside. */
static struct page *file_page_dirty(struct node *n, size_t index)
{
    struct page *p = file_page(n, index);
    if (!p->dirty) {
        p->dirty = true;
        page_set(&p->synced, p->now); /* counted once more: there are two of it now */
        p->now = page_copy(p->synced);
    }
    return p;
}

static void file_resize(struct node *n, off_t size)
{
    for (size_t i = (size_t)((size + PAGE - 1) / PAGE); size < n->size && i < n->npages; i++) {
        if (n->pages[i].now) {
            page_set(&file_page_dirty(n, i)->now, NULL);
        }
    }
    if (size < n->size && size % PAGE != 0) {
        struct page *p = file_page_dirty(n, (size_t)(size / PAGE));
        if (p->now) {
            memset(p->now + size % PAGE, 0, (size_t)(PAGE - size % PAGE));
        }
    }
    n->size = size;
    (void)clock_gettime(CLOCK_REALTIME, &n->mtime);
}

static void file_synced(struct node *n)
{
    for (size_t i = 0; i < n->npages; i++) {
        if (n->pages[i].dirty) {
            page_set(&n->pages[i].synced, NULL);
            n->pages[i].dirty = false;
        }
    }
    n->synced_size = n->size;
}

/* ---- Losing power ---- */

static void page_lose(struct page *p)
{
    uint64_t fate = draw(4);
    if (fate == 0) {
        fs.pages_new++;
    } else if (fate == 1 && p->now && p->synced) {
        size_t keep = SECTOR * (1 + draw(PAGE / SECTOR - 1)); /* new up to here */
        memcpy(p->now + keep, p->synced + keep, PAGE - keep);
        fs.pages_torn++;
    } else {
        uint8_t *old = p->synced;
        p->synced = NULL;
        if (old) {
            fs.bytes -= PAGE;
        }
        page_set(&p->now, old);
        fs.pages_old++;
    }
    page_set(&p->synced, NULL);
    p->dirty = false;
}

static void file_lose(struct node *n)
{
    off_t size = n->size;
    for (size_t i = 0; i < n->npages; i++) {
        if (n->pages[i].dirty) {
            page_lose(&n->pages[i]);
        }
    }
    if (n->synced_size != size && draw(2) == 0) {
        size = n->synced_size;
    }
    /* Pages behind the end may have come back with what they held: no growth shows that. */
    n->size = MAX(n->size, (off_t)(n->npages * PAGE));
    file_resize(n, size);
    file_synced(n);
}

static void dir_lose(struct node *dir)
{
    uint64_t changes = 0;
    for (const struct entry *e = dir->journal; e; e = e->next) {
        changes++;
    }
    uint64_t kept = changes ? draw(changes + 1) : 0;
    fs.names_lost += changes - kept;
    struct entry *e = dir->journal;
    for (uint64_t i = 0; i < kept; i++, e = e->next) {
        entries_set(&dir->synced, e->name, e->node);
    }
    entries_free(&dir->journal);
    entries_free(&dir->now);
    for (e = dir->synced; e; e = e->next) {
        entries_set(&dir->now, e->name, e->node);
    }
    for (e = dir->now; e; e = e->next) {
        if (S_ISDIR(e->node->mode)) {
            dir_lose(e->node);
        } else {
            file_lose(e->node);
        }
    }
}

/* ---- Orders ---- */

static bool is_path_of(const char *path)
{
    return strstr(path, fs.kill_part) != NULL;
}

/* Counts an operation; true when its process was just killed and it must not happen. */
static bool killed_before(enum op op, const char *path)
{
    fs.ops[op]++;
    /* Pages of mapped memory are written by the kernel itself, as process 0: nobody to be killed,
     * and kill(0) would be the lab's own group. */
    if (fuse_get_context()->pid <= 0 || !fs.kill_op || (fs.kill_op != op && fs.kill_op != OP_ANY) ||
        !is_path_of(path) || fs.kill_n == 0 || --fs.kill_n > 0) {
        return false;
    }
    (void)snprintf(fs.last_killed, sizeof(fs.last_killed), "%s %s %.300s",
                   fs.kill_before ? "before" : "after", OPS[op], path);
    return fs.kill_before;
}

static int kill_caller(void)
{
    fs.kill_op = OP_NONE;
    fs.kills++;
    (void)kill(fuse_get_context()->pid, SIGKILL);
    return -EIO;
}

/* After the operation: is it the one? The process is killed before it hears of the result. */
static int finish(int result)
{
    if (fs.kill_op && fs.kill_n == 0) {
        (void)kill_caller();
    }
    return result;
}

static int order_kill(const char *text)
{
    char op[16];
    char when[16];
    fs.kill_op = OP_NONE;
    if (!*text) {
        return 0;
    }
    if (sscanf(text, "%15s %127s %lu %15s", op, fs.kill_part, &fs.kill_n, when) != 4 ||
        fs.kill_n == 0) {
        return -EINVAL;
    }
    for (enum op o = OP_WRITE; o <= OP_ANY; o++) {
        fs.kill_op = strcmp(op, OPS[o]) == 0 ? o : fs.kill_op;
    }
    fs.kill_before = strcmp(when, "before") == 0;
    return fs.kill_op && (fs.kill_before || strcmp(when, "after") == 0) ? 0 : -EINVAL;
}

static int do_setxattr(const char *path, const char *name, const char *value, size_t size,
                       int flags)
{
    char text[256];
    (void)flags;
    if (strcmp(path, "/") != 0 || size >= sizeof(text)) {
        return -ENOTSUP;
    }
    memcpy(text, value, size);
    text[size] = '\0';
    if (strcmp(name, "user.kill") == 0) {
        return order_kill(text);
    }
    if (strcmp(name, "user.nosync") == 0) {
        (void)snprintf(fs.no_sync, sizeof(fs.no_sync), "%.127s", text);
        return 0;
    }
    if (strcmp(name, "user.lose") != 0) {
        return -ENOTSUP;
    }
    fs.random = strtoull(text, NULL, 10);
    fs.losses++;
    dir_lose(fs.root);
    return 0;
}

static int do_getxattr(const char *path, const char *name, char *value, size_t size)
{
    char text[2048];
    if (strcmp(path, "/") != 0 || strcmp(name, "user.state") != 0) {
        return -ENODATA;
    }
    int n =
        snprintf(text, sizeof(text),
                 "{\"losses\":%llu,\"kills\":%llu,\"pages_old\":%llu,\"pages_new\":%llu,"
                 "\"pages_torn\":%llu,\"names_lost\":%llu,\"bytes\":%llu,\"last_killed\":\"%s\"",
                 (unsigned long long)fs.losses, (unsigned long long)fs.kills,
                 (unsigned long long)fs.pages_old, (unsigned long long)fs.pages_new,
                 (unsigned long long)fs.pages_torn, (unsigned long long)fs.names_lost,
                 (unsigned long long)fs.bytes, fs.last_killed);
    for (enum op o = OP_WRITE; o < OP_ANY; o++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"%s\":%llu", OPS[o],
                      (unsigned long long)fs.ops[o]);
    }
    n += snprintf(text + n, sizeof(text) - (size_t)n, "}");
    if (size == 0) {
        return n + 64; /* it may have grown by the next call */
    }
    if ((size_t)n > size) {
        return -ERANGE;
    }
    memcpy(value, text, (size_t)n);
    return n;
}

/* ---- What a file system does ---- */

static struct node *node_of(const char *path, const struct fuse_file_info *fi)
{
    return fi && fi->fh ? (struct node *)(uintptr_t)fi->fh : lookup(path);
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    const struct node *n = node_of(path, fi);
    if (!n) {
        return -ENOENT;
    }
    memset(st, 0, sizeof(*st));
    st->st_ino = n->ino;
    st->st_mode = n->mode;
    st->st_nlink = 1;
    st->st_uid = getuid();
    st->st_gid = getgid();
    st->st_size = n->size;
    st->st_blksize = PAGE;
    st->st_blocks = (n->size + 511) / 512;
    st->st_mtim = st->st_ctim = st->st_atim = n->mtime;
    return 0;
}

static int do_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t at,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    const struct node *n = node_of(path, fi);
    (void)at;
    (void)flags;
    if (!n) {
        return -ENOENT;
    }
    fill(out, ".", NULL, 0, 0);
    fill(out, "..", NULL, 0, 0);
    for (const struct entry *e = n->now; e; e = e->next) {
        fill(out, e->name, NULL, 0, 0);
    }
    return 0;
}

static void hold(struct node *n, struct fuse_file_info *fi)
{
    n->refs++;
    fi->fh = (uintptr_t)n;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
    struct node *n = lookup(path);
    if (!n) {
        return -ENOENT;
    }
    if (fi->flags & O_TRUNC) {
        file_resize(n, 0);
    }
    hold(n, fi);
    return 0;
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    node_unref((struct node *)(uintptr_t)fi->fh);
    return 0;
}

/* A new name; *ret is its node. */
static int add(const char *path, mode_t mode, struct node **ret)
{
    const char *name;
    struct node *dir = parent_of(path, &name);
    if (!dir) {
        return -ENOENT;
    }
    if (*entry_find(&dir->now, name)) {
        return -EEXIST;
    }
    if (killed_before(OP_CREATE, path)) {
        return kill_caller();
    }
    *ret = node_new(mode);
    dir_set(dir, name, *ret);
    return finish(0);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct node *n = NULL;
    int err = add(path, S_IFREG | (mode & 07777), &n);
    if (!err) {
        hold(n, fi);
    }
    return err;
}

static int do_mkdir(const char *path, mode_t mode)
{
    struct node *n;
    return add(path, S_IFDIR | (mode & 07777), &n);
}

static int remove_name(const char *path, bool directory)
{
    const char *name;
    struct node *dir = parent_of(path, &name);
    const struct node *n = lookup(path);
    if (!dir || !n) {
        return -ENOENT;
    }
    if (directory && n->now) {
        return -ENOTEMPTY;
    }
    if (killed_before(OP_UNLINK, path)) {
        return kill_caller();
    }
    dir_set(dir, name, NULL);
    return finish(0);
}

static int do_unlink(const char *path)
{
    return remove_name(path, false);
}

static int do_rmdir(const char *path)
{
    return remove_name(path, true);
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    const char *old_name;
    const char *new_name;
    struct node *old_dir = parent_of(from, &old_name);
    struct node *new_dir = parent_of(to, &new_name);
    struct node *n = lookup(from);
    if (!old_dir || !new_dir || !n) {
        return -ENOENT;
    }
    if (flags & ~1U /* RENAME_NOREPLACE */) {
        return -EINVAL;
    }
    if ((flags & 1U) && lookup(to)) {
        return -EEXIST;
    }
    if (killed_before(OP_RENAME, to)) {
        return kill_caller();
    }
    /* The new name first: whatever prefix is kept, the file has one of the two. */
    dir_set(new_dir, new_name, n);
    dir_set(old_dir, old_name, NULL);
    return finish(0);
}

static int do_link(const char *from, const char *to)
{
    const char *name;
    struct node *dir = parent_of(to, &name);
    struct node *n = lookup(from);
    if (!dir || !n) {
        return -ENOENT;
    }
    if (lookup(to)) {
        return -EEXIST;
    }
    if (killed_before(OP_CREATE, to)) {
        return kill_caller();
    }
    dir_set(dir, name, n);
    return finish(0);
}

static int do_read(const char *path, char *out, size_t size, off_t at, struct fuse_file_info *fi)
{
    const struct node *n = node_of(path, fi);
    if (at >= n->size) {
        return 0;
    }
    size = (off_t)size > n->size - at ? (size_t)(n->size - at) : size;
    for (size_t done = 0; done < size;) {
        size_t index = (size_t)((at + (off_t)done) / PAGE);
        size_t offset = (size_t)((at + (off_t)done) % PAGE);
        size_t part = PAGE - offset < size - done ? PAGE - offset : size - done;
        const uint8_t *page = index < n->npages ? n->pages[index].now : NULL;
        if (page) {
            memcpy(out + done, page + offset, part);
        } else {
            memset(out + done, 0, part);
        }
        done += part;
    }
    return (int)size;
}

static int do_write(const char *path, const char *in, size_t size, off_t at,
                    struct fuse_file_info *fi)
{
    struct node *n = node_of(path, fi);
    if (killed_before(OP_WRITE, path)) {
        return kill_caller();
    }
    for (size_t done = 0; done < size;) {
        size_t index = (size_t)((at + (off_t)done) / PAGE);
        size_t offset = (size_t)((at + (off_t)done) % PAGE);
        size_t part = PAGE - offset < size - done ? PAGE - offset : size - done;
        struct page *p = file_page_dirty(n, index);
        if (!p->now) {
            page_set(&p->now, need(calloc(1, PAGE)));
        }
        memcpy(p->now + offset, in + done, part);
        done += part;
    }
    if (at + (off_t)size > n->size) {
        n->size = at + (off_t)size;
    }
    (void)clock_gettime(CLOCK_REALTIME, &n->mtime);
    return finish((int)size);
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    struct node *n = node_of(path, fi);
    if (!n) {
        return -ENOENT;
    }
    if (killed_before(OP_RESIZE, path)) {
        return kill_caller();
    }
    file_resize(n, size);
    return finish(0);
}

static int do_fallocate(const char *path, int mode, off_t at, off_t len, struct fuse_file_info *fi)
{
    struct node *n = node_of(path, fi);
    if (mode & ~FALLOC_FL_KEEP_SIZE) {
        return -EOPNOTSUPP;
    }
    if (killed_before(OP_RESIZE, path)) {
        return kill_caller();
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE) && at + len > n->size) {
        file_resize(n, at + len);
    }
    return finish(0);
}

static int do_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    if (killed_before(OP_SYNC, path)) {
        return kill_caller();
    }
    if (!fs.no_sync[0] || !strstr(path, fs.no_sync)) {
        file_synced(node_of(path, fi));
    }
    return finish(0);
}

static int do_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    if (killed_before(OP_SYNCDIR, path)) {
        return kill_caller();
    }
    dir_synced(node_of(path, fi));
    return finish(0);
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct node *n = node_of(path, fi);
    if (!n) {
        return -ENOENT;
    }
    n->mode = (n->mode & S_IFMT) | (mode & 07777);
    return 0;
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    (void)uid;
    (void)gid;
    return node_of(path, fi) ? 0 : -ENOENT;
}

static int do_utimens(const char *path, const struct timespec t[2], struct fuse_file_info *fi)
{
    struct node *n = node_of(path, fi);
    if (!n) {
        return -ENOENT;
    }
    n->mtime = t[1];
    return 0;
}

static int do_statfs(const char *path, struct statvfs *st)
{
    (void)path;
    memset(st, 0, sizeof(*st));
    st->f_bsize = st->f_frsize = PAGE;
    st->f_blocks = 1U << 22;
    st->f_bfree = st->f_bavail = (1U << 22) - fs.bytes / PAGE;
    st->f_namemax = NAME_SIZE - 1;
    return 0;
}

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->use_ino = 1;
    config->hard_remove = 1;
    /* What is forgotten here must not live on in the kernel: nothing is kept across an open. */
    config->entry_timeout = 0;
    config->attr_timeout = 0;
    config->negative_timeout = 0;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .init = do_init,
        .getattr = do_getattr,
        .readdir = do_readdir,
        .opendir = do_open,
        .releasedir = do_release,
        .open = do_open,
        .release = do_release,
        .create = do_create,
        .mkdir = do_mkdir,
        .unlink = do_unlink,
        .rmdir = do_rmdir,
        .rename = do_rename,
        .link = do_link,
        .read = do_read,
        .write = do_write,
        .truncate = do_truncate,
        .fallocate = do_fallocate,
        .fsync = do_fsync,
        .fsyncdir = do_fsyncdir,
        .chmod = do_chmod,
        .chown = do_chown,
        .utimens = do_utimens,
        .statfs = do_statfs,
        .setxattr = do_setxattr,
        .getxattr = do_getxattr,
    };
    if (argc != 2) {
        (void)fprintf(stderr, "usage: lossy_fs MOUNTPOINT\n");
        return 2;
    }
    fs.root = node_new(S_IFDIR | 0755);
    fs.root->refs = 1;
    char *arguments[] = {argv[0], argv[1], "-f", "-s", NULL};
    return fuse_main(4, arguments, &operations, NULL);
}
