#include "adapters/tls/tls_watch.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/compiler.h"

static void stamps_take(const struct tls_watch *w, struct tls_stamp ret[2])
{
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        ret[i] = (struct tls_stamp){.size = -1};
        if (stat(w->paths[i], &st) == 0) {
            ret[i].device = st.st_dev;
            ret[i].inode = st.st_ino;
            ret[i].size = st.st_size;
            ret[i].modified_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
        }
    }
}

static bool stamps_equal(const struct tls_stamp a[2], const struct tls_stamp b[2])
{
    for (size_t i = 0; i < 2; i++) {
        if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].size != b[i].size ||
            a[i].modified_ns != b[i].modified_ns) {
            return false;
        }
    }
    return true;
}

void tls_watch_init(struct tls_watch *w, const char *cert_path, const char *key_path)
{
    (void)snprintf(w->paths[0], sizeof(w->paths[0]), "%s", cert_path);
    (void)snprintf(w->paths[1], sizeof(w->paths[1]), "%s", key_path);
    stamps_take(w, w->known);
    memcpy(w->seen, w->known, sizeof(w->seen));
}

bool tls_watch_look(struct tls_watch *w)
{
    struct tls_stamp now[2];
    stamps_take(w, now);
    bool rests = stamps_equal(now, w->seen);
    memcpy(w->seen, now, sizeof(now));
    if (!rests || stamps_equal(now, w->known)) {
        return false;
    }
    memcpy(w->known, now, sizeof(now));
    return true;
}
