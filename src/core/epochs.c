/* File: u32 magic, u32 version, u32 count, count × (u64 id, u64 clock), u32 CRC32C of all before.
 */
#include "core/epochs.h"

#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/diag.h"

#define EPOCHS_NAME "EPOCHS"
#define EPOCHS_TEMP "EPOCHS.new"

enum {
    MAGIC = 0x48434f45,
    VERSION = 1,
    HEAD = 12,
    ROW = 16,
    FILE_MAX = HEAD + ROW * EPOCHS_MAX + 4
};

static enum confab_err parse(struct epochs *e, struct span file)
{
    if (file.n < HEAD + 4) {
        return CONFAB_CORRUPT;
    }
    struct reader r = reader_of(file.p, file.n);
    uint32_t magic = reader_u32(&r);
    uint32_t version = reader_u32(&r);
    uint32_t n = reader_u32(&r);
    if (magic != MAGIC || n > EPOCHS_MAX || file.n != HEAD + (size_t)n * ROW + 4) {
        return CONFAB_CORRUPT;
    }
    for (uint32_t i = 0; i < n; i++) {
        e->at[i].id = reader_u64(&r);
        e->at[i].from_ms = reader_u64(&r);
    }
    if (reader_u32(&r) != crc32c(0, file.p, file.n - 4)) {
        return CONFAB_CORRUPT;
    }
    e->n = n;
    return version == VERSION ? CONFAB_OK : CONFAB_VERSION;
}

static enum confab_err load(struct epochs *e, struct disk *disk)
{
    struct disk_file *f;
    enum confab_err err = disk_open(disk, EPOCHS_NAME, DISK_READ, &f);
    if (err) {
        return err == CONFAB_NOT_FOUND ? CONFAB_OK : err;
    }
    uint8_t raw[FILE_MAX + 1];
    size_t n = 0;
    err = disk_pread(f, raw, sizeof(raw), 0, &n);
    disk_close(f);
    return err ? err : parse(e, span_of(raw, n));
}

static enum confab_err save(const struct epochs *e, struct disk *disk)
{
    struct buf b = {0};
    buf_put_u32(&b, MAGIC);
    buf_put_u32(&b, VERSION);
    buf_put_u32(&b, e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        buf_put_u64(&b, e->at[i].id);
        buf_put_u64(&b, e->at[i].from_ms);
    }
    buf_put_u32(&b, buf_ok(&b) ? crc32c(0, b.data, b.len) : 0);
    enum confab_err err = CONFAB_NOMEM;
    if (buf_ok(&b)) {
        err = disk_replace(disk, EPOCHS_TEMP, EPOCHS_NAME, b.data, b.len);
    }
    buf_deinit(&b);
    return err;
}

void epochs_begin(struct epochs *e, struct disk *disk, uint64_t id, uint64_t clock_ms)
{
    e->n = 0;
    enum confab_err err = load(e, disk);
    if (err) {
        e->n = 0;
        diag_warn(DIAG_SERVER,
                  "EPOCHS cannot be read: everybody resumes from the beginning | err=%s",
                  err_wire(err));
    }
    if (e->n == EPOCHS_MAX) {
        e->n--;
        memmove(&e->at[0], &e->at[1], e->n * sizeof(e->at[0]));
    }
    e->at[e->n++] = (struct epoch){.id = id, .from_ms = clock_ms};
    err = save(e, disk);
    e->written = !err;
    if (err) {
        diag_warn(DIAG_SERVER,
                  "EPOCHS cannot be written: after the next start everybody resumes from the "
                  "beginning | err=%s",
                  err_wire(err));
    }
}

bool epochs_know(const struct epochs *e, uint64_t id, uint64_t ms)
{
    for (uint32_t i = e->n; id != 0 && i > 0; i--) {
        if (e->at[i - 1].id == id) {
            return i == e->n || ms <= e->at[i].from_ms;
        }
    }
    return false;
}
