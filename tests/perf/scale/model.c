#include "model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

struct model *model_open(const char *path, uint64_t conversations, uint64_t users,
                         uint32_t messages, uint32_t active, uint64_t seed)
{
    size_t size = sizeof(struct model) + active * sizeof(struct talk);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    struct stat st;
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && active <= conversations);
    bool fresh = st.st_size == 0;
    CHECK(fresh ? ftruncate(fd, (off_t)size) == 0 : (size_t)st.st_size == size);
    struct model *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED);
    close(fd);
    if (fresh) {
        m->conversations = conversations;
        m->users = users;
        m->messages = messages;
        m->active = active;
        m->seed = seed;
        /* One from each stretch, so that none is chosen twice. */
        for (uint64_t i = 0; i < active; i++) {
            uint64_t from = i * conversations / active;
            uint64_t to = (i + 1) * conversations / active;
            m->talks[i] =
                (struct talk){.conv = from + mix(seed ^ i) % (to - from), .base = messages};
        }
    }
    CHECK(m->conversations == conversations && m->active == active);
    return m;
}

void model_users(uint64_t conv, uint64_t users, uint64_t ret[2])
{
    uint64_t first = conv / MODEL_FRIENDS % users;
    ret[0] = 1 + first;
    ret[1] = 1 + (first + 1 + conv % MODEL_FRIENDS) % users;
}

struct conv_id model_conv(uint64_t conv, uint64_t users)
{
    uint64_t u[2];
    model_users(conv, users, u);
    return conv_id_direct(u[0], u[1]);
}

/* The file of texts; set once, before anything is asked for. */
static struct {
    char *data;
    size_t len;
    size_t bytes;
} texts;

void model_texts(const char *path, size_t bytes)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0 || (size_t)st.st_size <= bytes || bytes > MODEL_TEXT_MAX ||
        bytes < 20) {
        (void)fprintf(stderr, "%s: cannot be read, or is too short\n", path);
        exit(2);
    }
    texts.data = malloc((size_t)st.st_size);
    CHECK(texts.data);
    texts.len = fread(texts.data, 1, (size_t)st.st_size, f);
    (void)fclose(f);
    CHECK(texts.len > bytes);
    texts.bytes = bytes;
    for (size_t i = 0; i < texts.len; i++) {
        /* Only what needs no care about characters cut in two. */
        texts.data[i] = texts.data[i] >= ' ' && texts.data[i] < 127 ? texts.data[i] : ' ';
    }
}

size_t model_text(uint64_t conv, uint32_t n, bool edited, char out[MODEL_TEXT])
{
    /* Words, so that chunks compress about as people's talk does; 20 to 120 bytes. */
    static const char *const words[] = {
        "when",     "the",   "boat",  "is",  "late",   "we",    "still",   "wait",
        "for",      "bread", "and",   "a",   "letter", "from",  "north",   "maybe",
        "tomorrow", "you",   "know",  "yes", "no",     "her",   "brother", "said",
        "it",       "rains", "again", "ok",  "see",    "there", "thirty",  "meters"};
    int len =
        snprintf(out, MODEL_TEXT, "%llu/%u%s", (unsigned long long)conv, n, edited ? "*" : "");
    uint64_t h = mix(conv * 1000003 + n);
    if (texts.data) {
        memcpy(out + len, texts.data + h % (texts.len - texts.bytes), texts.bytes - (size_t)len);
        return texts.bytes;
    }
    int want = 20 + (int)(h % 101);
    while (len < want) {
        h = mix(h);
        len += snprintf(out + len, MODEL_TEXT - (size_t)len, " %s", words[h % 32]);
    }
    return (size_t)len;
}

struct command *model_message(uint64_t conv, uint64_t users, uint32_t n, bool fresh)
{
    struct command *cmd = command_new(COMMAND_EVENT);
    CHECK(cmd);
    uint64_t u[2];
    char text[MODEL_TEXT];
    char key[64];
    model_users(conv, users, u);
    cmd->actor = u[n % 2];
    cmd->peer = u[(n + 1) % 2];
    cmd->conv = conv_id_direct(u[0], u[1]);
    cmd->in.kind = EVENT_MESSAGE;
    cmd->fresh = fresh;
    size_t len = model_text(conv, n, false, text);
    int k = snprintf(key, sizeof(key), "%016llx-%u", (unsigned long long)mix(conv), n);
    cmd->in.content_hash = mix(conv ^ (uint64_t)n << 40);
    CHECK(!command_set_span(cmd, &cmd->in.cmid, span_of(key, (size_t)k)));
    CHECK(!command_set_span(cmd, &cmd->in.text, span_of(text, len)));
    return cmd;
}

struct command *model_edit(uint64_t conv, uint64_t users, uint32_t n, uint64_t id)
{
    struct command *cmd = command_new(COMMAND_EVENT);
    CHECK(cmd);
    uint64_t u[2];
    char text[MODEL_TEXT];
    model_users(conv, users, u);
    cmd->actor = u[n % 2];
    cmd->conv = conv_id_direct(u[0], u[1]);
    cmd->in.kind = EVENT_EDIT;
    cmd->in.target_id = id;
    size_t len = model_text(conv, n, true, text);
    CHECK(!command_set_span(cmd, &cmd->in.text, span_of(text, len)));
    return cmd;
}
