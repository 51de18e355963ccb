#include "input.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/hash64.h"
#include "base/utf8.h"

#define TEXT_MAX 16384U

struct reading {
    struct input *in;
    struct u64map by_nick;     /* hash of the nick -> person */
    struct u64map by_username; /* hash of the username in lower case -> 1 */
    uint32_t people_cap;
    uint32_t messages_cap;
};

static bool username_char(unsigned char c)
{
    return isalnum(c) || strchr("_-.[]\\^{|}`", c) != NULL;
}

static uint64_t username_key(const char *name)
{
    char lower[sizeof(((struct input_person *)NULL)->username)];
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        lower[i] = (char)tolower((unsigned char)name[i]);
    }
    return hash64(lower, n, 1);
}

/* At most 40 characters of the nick, then a suffix until nobody has it. */
static void username_make(struct reading *r, const char *nick, char *out, size_t size)
{
    char base[41];
    size_t n = 0;
    bool digits = true;
    for (const char *p = nick; *p != '\0' && n < sizeof(base) - 1; p++) {
        base[n] = username_char((unsigned char)*p) ? *p : '_';
        digits = digits && isdigit((unsigned char)base[n]);
        n++;
    }
    base[n] = '\0';
    (void)snprintf(out, size, digits ? "u%s" : "%s", base);
    for (unsigned suffix = 2; u64map_has(&r->by_username, username_key(out)); suffix++) {
        (void)snprintf(out, size, "%s_%u", base, suffix);
    }
}

static enum confab_err person_add(struct reading *r, const char *nick, uint32_t *ret)
{
    struct input *in = r->in;
    if (in->npeople == r->people_cap) {
        uint32_t cap = MAX(256U, r->people_cap * 2);
        struct input_person *people = realloc(in->people, cap * sizeof(*people));
        if (!people) {
            return CONFAB_NOMEM;
        }
        in->people = people;
        r->people_cap = cap;
    }
    struct input_person *p = &in->people[in->npeople];
    (void)snprintf(p->nick, sizeof(p->nick), "%s", nick);
    username_make(r, nick, p->username, sizeof(p->username));
    enum confab_err err = u64map_put(&r->by_username, username_key(p->username), 1);
    if (err == CONFAB_OK) {
        err = u64map_put(&r->by_nick, hash64(nick, strlen(nick), 0), in->npeople);
    }
    if (err == CONFAB_OK) {
        *ret = in->npeople++;
    }
    return err;
}

static enum confab_err person_of(struct reading *r, const char *nick, uint32_t *ret)
{
    uint64_t found;
    if (u64map_get(&r->by_nick, hash64(nick, strlen(nick), 0), &found)) {
        *ret = (uint32_t)found;
        return CONFAB_OK;
    }
    return person_add(r, nick, ret);
}

/* Appends the text with its escapes undone; offsets, since the buffer moves while it grows. */
static void text_add(struct input *in, const char *text, struct span *ret)
{
    size_t start = in->texts.len;
    for (const char *p = text; *p != '\0'; p++) {
        if (p[0] == '\\' && p[1] == 'n') {
            buf_put_u8(&in->texts, '\n');
            p++;
        } else {
            buf_put_u8(&in->texts, (uint8_t)*p);
        }
    }
    size_t n = in->texts.len - start;
    if (n > TEXT_MAX) {
        n = TEXT_MAX;
        while (n > 0 && (in->texts.data[start + n] & 0xC0) == 0x80) {
            n--;
        }
        in->texts.len = start + n;
        in->cut++;
    }
    *ret = (struct span){(const uint8_t *)start, n}; /* an offset until all is read */
}

static enum confab_err line_add(struct reading *r, char *line, unsigned long number)
{
    struct input *in = r->in;
    char *nick = strchr(line, '\t');
    char *text = nick ? strchr(nick + 1, '\t') : NULL;
    char *end = NULL;
    unsigned long long when = strtoull(line, &end, 10);
    if (!text || end != nick || nick + 1 == text || text[1] == '\0' ||
        !utf8_valid(line, strlen(line))) {
        (void)fprintf(stderr, "line %lu is not `time<tab>nick<tab>text` in UTF-8\n", number);
        return CONFAB_INVALID;
    }
    *nick++ = '\0';
    *text++ = '\0';
    if (in->nmessages == r->messages_cap) {
        uint32_t cap = MAX(4096U, r->messages_cap * 2);
        struct input_message *messages = realloc(in->messages, cap * sizeof(*messages));
        if (!messages) {
            return CONFAB_NOMEM;
        }
        in->messages = messages;
        r->messages_cap = cap;
    }
    struct input_message *m = &in->messages[in->nmessages];
    m->time = when;
    enum confab_err err = person_of(r, nick, &m->person);
    if (err != CONFAB_OK) {
        return err;
    }
    text_add(in, text, &m->text);
    in->nmessages++;
    return buf_ok(&in->texts) ? CONFAB_OK : CONFAB_NOMEM;
}

enum confab_err input_read(const char *path, uint32_t limit, struct input *ret)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!f) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        return CONFAB_IO;
    }
    memset(ret, 0, sizeof(*ret));
    struct reading r = {.in = ret};
    u64map_init(&r.by_nick, 0);
    u64map_init(&r.by_username, 0);
    enum confab_err err = CONFAB_OK;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    for (unsigned long number = 1; err == CONFAB_OK && (n = getline(&line, &cap, f)) > 0;
         number++) {
        if (line[n - 1] == '\n') {
            line[--n] = '\0';
        }
        if (strlen(line) != (size_t)n) {
            (void)fprintf(stderr, "line %lu holds a zero byte\n", number);
            err = CONFAB_INVALID;
        } else if (n > 0) {
            err = line_add(&r, line, number);
        }
        if (limit != 0 && ret->nmessages == limit) {
            break;
        }
    }
    free(line);
    if (f != stdin) {
        (void)fclose(f);
    }
    u64map_deinit(&r.by_nick);
    u64map_deinit(&r.by_username);
    for (uint32_t i = 0; i < ret->nmessages; i++) {
        ret->messages[i].text.p = ret->texts.data + (size_t)ret->messages[i].text.p;
    }
    if (err == CONFAB_OK && ret->nmessages == 0) {
        (void)fprintf(stderr, "%s holds no messages\n", path);
        err = CONFAB_INVALID;
    }
    if (err != CONFAB_OK) {
        input_deinit(ret);
    }
    return err;
}

enum confab_err input_add_listeners(struct input *in, uint32_t n)
{
    if (n <= in->npeople) {
        return CONFAB_OK;
    }
    struct input_person *people = realloc(in->people, n * sizeof(*people));
    if (!people) {
        return CONFAB_NOMEM;
    }
    in->people = people;
    for (; in->npeople < n; in->npeople++) {
        struct input_person *p = &people[in->npeople];
        /* No nick of a file has this form: it would have been given to a sender as it is. */
        (void)snprintf(p->username, sizeof(p->username), "listener-%u.replay", in->npeople);
        (void)snprintf(p->nick, sizeof(p->nick), "%s", p->username);
    }
    return CONFAB_OK;
}

void input_deinit(struct input *in)
{
    free(in->people);
    free(in->messages);
    buf_deinit(&in->texts);
    memset(in, 0, sizeof(*in));
}
