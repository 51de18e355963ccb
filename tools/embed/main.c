/*
 * confab-embed OUT-DIR [--tree URL DIR | --file URL FILE]...
 *
 * Turns files into a part of a program: OUT-DIR gets files.bin (their bytes, and those of their
 * compressed forms where these are smaller), files.S (the same as an object file) and files.c (a
 * struct static_set over it, see gateway/static.h). A tree's files get the URL that is their path
 * in it; its index.html answers for the folder too. Runs while building, never later.
 *
 * Immutable are names that a bundler made from the content: assets/NAME-XXXXXXXX.EXT.
 */
#include <brotli/encode.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/compiler.h"

#define FILES_MAX 4096U
#define FILE_MAX  (64U << 20)
#define URL_MAX   512
#define PATH_SIZE 4096
#define ALIGNED   16U

enum { PLAIN, GZIP, BROTLI, FORMS };

struct entry {
    char url[URL_MAX];
    char tag[17];
    const char *type;
    bool immutable;
    size_t at[FORMS]; /* in the blob */
    size_t len[FORMS];
};

struct embed {
    struct buf blob;
    struct entry *entries;
    size_t n;
};

struct type {
    const char *suffix;
    const char *name;
};
static const struct type TYPES[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".webmanifest", "application/manifest+json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".jpg", "image/jpeg"},
    {".webp", "image/webp"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".wasm", "application/wasm"},
    {".mp3", "audio/mpeg"},
    {".ogg", "audio/ogg"},
    {".wav", "audio/wav"},
    {".txt", "text/plain; charset=utf-8"},
};

static void fail(const char *fmt, ...) CONFAB_PRINTF(1, 2);
static void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fputs("confab-embed: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static const char *type_of(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        if (ends_with(path, TYPES[i].suffix)) {
            return TYPES[i].name;
        }
    }
    fail("%s: no media type is known for this name", path);
    return NULL;
}

static bool is_immutable(const char *url)
{
    const char *name = strrchr(url, '/');
    const char *dash = name ? strchr(name, '-') : NULL;
    if (!dash || !strstr(url, "/assets/")) {
        return false;
    }
    /* The last dot ends the hash, which may itself hold dashes. */
    const char *dot = strrchr(dash, '.');
    return dot && dot - dash > 8 &&
           strspn(dash, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") >=
               (size_t)(dot - dash);
}

static void read_file(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail("%s: %s", path, strerror(errno));
    }
    char block[65536];
    size_t n;
    buf_init(ret);
    while ((n = fread(block, 1, sizeof(block), f)) > 0) {
        buf_put(ret, block, n);
    }
    if (ferror(f) || !buf_ok(ret) || ret->len > FILE_MAX) {
        fail("%s: cannot be read, or is too large", path);
    }
    (void)fclose(f);
}

static void blob_put(struct embed *e, struct entry *entry, int form, const void *p, size_t n)
{
    static const uint8_t zeros[ALIGNED];
    buf_put(&e->blob, zeros, (ALIGNED - e->blob.len % ALIGNED) % ALIGNED);
    entry->at[form] = e->blob.len;
    entry->len[form] = n;
    buf_put(&e->blob, p, n);
}

static void put_gzip(struct embed *e, struct entry *entry, const struct buf *content)
{
    z_stream z = {0};
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        fail("zlib");
    }
    uLong room = deflateBound(&z, content->len);
    uint8_t *out = malloc(room);
    z.next_in = content->data;
    z.avail_in = (uInt)content->len;
    z.next_out = out;
    z.avail_out = (uInt)room;
    if (!out || deflate(&z, Z_FINISH) != Z_STREAM_END) {
        fail("zlib");
    }
    if (z.total_out < content->len) {
        blob_put(e, entry, GZIP, out, z.total_out);
    }
    (void)deflateEnd(&z);
    free(out);
}

static void put_brotli(struct embed *e, struct entry *entry, const struct buf *content)
{
    size_t n = BrotliEncoderMaxCompressedSize(content->len);
    uint8_t *out = malloc(n);
    if (!out || !BrotliEncoderCompress(BROTLI_MAX_QUALITY, BROTLI_MAX_WINDOW_BITS, BROTLI_MODE_TEXT,
                                       content->len, content->data, &n, out)) {
        fail("brotli");
    }
    if (n < content->len) {
        blob_put(e, entry, BROTLI, out, n);
    }
    free(out);
}

static struct entry *add_entry(struct embed *e, const char *url)
{
    if (e->n == FILES_MAX || strlen(url) >= URL_MAX) {
        fail("%s: too many files, or too long a name", url);
    }
    for (size_t i = 0; i < e->n; i++) {
        if (strcmp(e->entries[i].url, url) == 0) {
            fail("%s is there twice", url);
        }
    }
    /* What would have to be percent-encoded or escaped is not needed. */
    if (url[0] != '/' ||
        strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                    "-_./") != strlen(url)) {
        fail("%s: not a name for a URL", url);
    }
    struct entry *entry = &e->entries[e->n++];
    (void)snprintf(entry->url, sizeof(entry->url), "%s", url);
    return entry;
}

static void add_file(struct embed *e, const char *url, const char *path)
{
    struct buf content;
    uint8_t hash[EVP_MAX_MD_SIZE];
    struct entry *entry = add_entry(e, url);
    read_file(path, &content);
    if (!EVP_Digest(content.data, content.len, hash, NULL, EVP_sha256(), NULL)) {
        fail("sha256");
    }
    for (size_t i = 0; i < 8; i++) {
        (void)snprintf(entry->tag + 2 * i, 3, "%02x", hash[i]);
    }
    entry->type = type_of(path);
    entry->immutable = is_immutable(url);
    blob_put(e, entry, PLAIN, content.data, content.len);
    put_gzip(e, entry, &content);
    put_brotli(e, entry, &content);
    buf_deinit(&content);
}

static void add_tree(struct embed *e, const char *url, const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        fail("%s: %s", folder, strerror(errno));
    }
    struct dirent *d;
    while ((d = readdir(dir)) != NULL) {
        char path[PATH_SIZE];
        char at[PATH_SIZE];
        struct stat st;
        if (d->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
        (void)snprintf(at, sizeof(at), "%s%s", url, d->d_name);
        if (stat(path, &st) != 0) {
            fail("%s: %s", path, strerror(errno));
        }
        if (S_ISDIR(st.st_mode)) {
            (void)snprintf(at, sizeof(at), "%s%s/", url, d->d_name);
            add_tree(e, at, path);
        } else if (strcmp(d->d_name, "index.html") == 0) {
            add_file(e, url, path);
        } else {
            add_file(e, at, path);
        }
    }
    (void)closedir(dir);
}

/* ---- Output ---- */

static FILE *create(const char *folder, const char *name)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        fail("%s: %s", path, strerror(errno));
    }
    return f;
}

static void close_written(FILE *f)
{
    bool ok = !ferror(f);
    if (fclose(f) != 0 || !ok) {
        fail("writing: %s", strerror(errno));
    }
}

static int by_url(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->url, ((const struct entry *)b)->url);
}

static void write_table(const struct embed *e, FILE *f)
{
    (void)fputs("/* Made by tools/embed. */\n"
                "#include \"confabd/files.h\"\n\n"
                "extern const unsigned char confab_files_blob[];\n\n"
                "static const struct static_file FILES[] = {\n",
                f);
    for (size_t i = 0; i < e->n; i++) {
        const struct entry *entry = &e->entries[i];
        (void)fprintf(f, "    {\"%s\", \"%s\", \"%s\", %s, {", entry->url, entry->type, entry->tag,
                      entry->immutable ? "true" : "false");
        for (int form = PLAIN; form < FORMS; form++) {
            if (form == PLAIN || entry->len[form] > 0) {
                (void)fprintf(f, "{confab_files_blob + %zu, %zu}, ", entry->at[form],
                              entry->len[form]);
            } else {
                (void)fputs("{0, 0}, ", f);
            }
        }
        (void)fputs("}},\n", f);
    }
    (void)fputs("};\n\nconst struct static_set confab_files = {FILES, sizeof(FILES) / "
                "sizeof(FILES[0])};\n",
                f);
}

static void write_all(const struct embed *e, const char *folder)
{
    FILE *f = create(folder, "files.bin");
    (void)fwrite(e->blob.data, 1, e->blob.len, f);
    close_written(f);
    f = create(folder, "files.S");
    (void)fputs("    .section .rodata\n    .balign 64\n    .globl confab_files_blob\n"
                "confab_files_blob:\n    .incbin \"files.bin\"\n"
                "    .section .note.GNU-stack,\"\",%progbits\n",
                f);
    close_written(f);
    f = create(folder, "files.c");
    write_table(e, f);
    close_written(f);
}

int main(int argc, char **argv)
{
    struct embed e = {0};
    e.entries = calloc(FILES_MAX, sizeof(*e.entries));
    if (argc < 2 || (argc - 2) % 3 != 0 || !e.entries) {
        fail("usage: confab-embed OUT-DIR [--tree URL DIR | --file URL FILE]...");
    }
    for (int i = 2; i < argc; i += 3) {
        if (strcmp(argv[i], "--tree") == 0) {
            add_tree(&e, argv[i + 1], argv[i + 2]);
        } else if (strcmp(argv[i], "--file") == 0) {
            add_file(&e, argv[i + 1], argv[i + 2]);
        } else {
            fail("%s: --tree or --file", argv[i]);
        }
    }
    if (e.n == 0 || !buf_ok(&e.blob)) {
        fail("nothing to embed, or out of memory");
    }
    qsort(e.entries, e.n, sizeof(*e.entries), by_url);
    write_all(&e, argv[1]);
    buf_deinit(&e.blob);
    free(e.entries);
    return 0;
}
