/*
 * Output. Text of others never reaches the terminal as it is: names and messages may hold escape
 * sequences, and characters that make one line look like another.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void print_error(const char *fmt, ...)
{
    char line[2048];
    char safe[8192];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    confab_escape(safe, sizeof(safe), (struct confab_text){line, strlen(line)});
    fprintf(stderr, "confab: %s\n", safe);
}

static void print_line(FILE *out, const char *p, size_t n)
{
    char safe[1024];
    /* In pieces, cut between characters. */
    while (n > 0) {
        size_t piece = n < 100 ? n : 100;
        while (piece < n && piece > 1 && ((unsigned char)p[piece] & 0xc0) == 0x80) {
            piece--;
        }
        confab_escape(safe, sizeof(safe), (struct confab_text){p, piece});
        fputs(safe, out);
        p += piece;
        n -= piece;
    }
}

void print_text(FILE *out, struct confab_text text, unsigned indent)
{
    const char *p = text.p;
    size_t left = text.n;
    while (left > 0) {
        const char *end = memchr(p, '\n', left);
        size_t n = end ? (size_t)(end - p) : left;
        print_line(out, p, n);
        if (!end) {
            return;
        }
        fprintf(out, "\n%*s", (int)indent, "");
        p += n + 1;
        left -= n + 1;
    }
}

void print_word(FILE *out, const char *text)
{
    print_line(out, text, strlen(text));
}

static void print_start(struct cli *cli, const char *conv, uint64_t at_ms, bool with_conv)
{
    char time[CONFAB_TIME_SIZE];
    confab_time_local(at_ms, time);
    printf("%s ", time);
    if (with_conv) {
        putchar('[');
        print_word(stdout, conv_label(cli, conv));
        fputs("] ", stdout);
    }
}

void print_message(struct cli *cli, const struct confab_message *m, bool with_conv, bool ids)
{
    print_start(cli, m->conv, m->sent_at_ms, with_conv);
    if (ids) {
        printf("%" PRIu64 " ", m->message_id);
    }
    print_word(stdout, name_of(cli, m->from));
    fputs(": ", stdout);
    if (m->deleted) {
        fputs("(deleted)", stdout);
    } else {
        print_text(stdout, m->content, 4);
        if (m->edited_at_ms) {
            fputs(" (edited)", stdout);
        }
    }
    putchar('\n');
}

static void print_members(struct cli *cli, const struct confab_event *e)
{
    size_t shown = e->nmembers < 10 ? e->nmembers : 10;
    for (size_t i = 0; i < shown; i++) {
        fputs(i ? ", " : " ", stdout);
        print_word(stdout, name_of(cli, e->members[i].user_id));
    }
    if (shown < e->nmembers) {
        printf(" and %zu more", e->nmembers - shown);
    }
}

static void print_membership(struct cli *cli, const struct confab_event *e)
{
    static const char *const verbs[] = {
        [CONFAB_MEMBERS_UNKNOWN] = "changed the members",
        [CONFAB_MEMBERS_CREATE] = "began with",
        [CONFAB_MEMBERS_ADD] = "added",
        [CONFAB_MEMBERS_REMOVE] = "removed",
        [CONFAB_MEMBERS_LEAVE] = "left",
        [CONFAB_MEMBERS_ROLE] = "gave a role to",
    };
    fputs(verbs[e->membership], stdout);
    if (e->membership != CONFAB_MEMBERS_LEAVE && e->membership != CONFAB_MEMBERS_UNKNOWN) {
        print_members(cli, e);
    }
}

void print_event(struct cli *cli, const struct confab_event *e, bool with_conv)
{
    /* One's own settings, and that a direct conversation exists: in --json only. */
    if (e->kind == CONFAB_EVENT_SELF ||
        (e->kind == CONFAB_EVENT_MEMBERSHIP && e->conv_kind == CONFAB_CONV_DIRECT)) {
        return;
    }
    print_start(cli, e->conv, e->sent_at_ms, with_conv);
    fputs("* ", stdout);
    print_word(stdout, name_of(cli, e->from));
    putchar(' ');
    switch (e->kind) {
    case CONFAB_EVENT_EDITED:
        printf("edited message %" PRIu64 ": ", e->message_id);
        print_text(stdout, e->content, 4);
        break;
    case CONFAB_EVENT_DELETED:
        printf("deleted message %" PRIu64, e->message_id);
        break;
    case CONFAB_EVENT_MEMBERSHIP:
        print_membership(cli, e);
        break;
    case CONFAB_EVENT_CHANGED:
        if (e->name.p) {
            fputs("named it ", stdout);
            print_text(stdout, e->name, 4);
        } else {
            fputs("changed the settings", stdout);
        }
        break;
    default:
        fputs("did something this version does not know", stdout);
        break;
    }
    putchar('\n');
}

/* ---- JSON ---- */

/* The output is one stream, so this is its state: the CLI writes one object at a time. */
static void out_key(const char *key)
{
    printf(",\"%s\":", key);
}

/* A character beyond ASCII, escaped where the terminal might obey or hide it. Returns its length.
 */
static size_t out_wide(struct confab_text rest)
{
    char safe[16];
    size_t n = 1;
    while (n < rest.n && n < 4 && ((unsigned char)rest.p[n] & 0xc0) == 0x80) {
        n++;
    }
    confab_escape(safe, sizeof(safe), (struct confab_text){rest.p, n});
    if (safe[0] != '\\') {
        fputs(safe, stdout);
        return n;
    }
    /* "\u{hex}", or "\x.." for what is not UTF-8 and therefore not from the server. */
    unsigned long code = safe[1] == 'u' ? strtoul(safe + 3, NULL, 16) : 0xfffd;
    if (code > 0xffff) {
        printf("\\u%04lx", 0xd800 + ((code - 0x10000) >> 10));
        code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    printf("\\u%04lx", code);
    return n;
}

/* Bytes from the start of p that are ASCII and need no escape. */
static size_t plain_run(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (unsigned char)p[i] >= 0x20 && (unsigned char)p[i] < 0x7f && p[i] != '"' &&
           p[i] != '\\') {
        i++;
    }
    return i;
}

static void out_quoted(struct confab_text text)
{
    putchar('"');
    for (size_t i = 0; i < text.n;) {
        size_t plain = plain_run(text.p + i, text.n - i);
        (void)fwrite(text.p + i, 1, plain, stdout);
        i += plain;
        if (i == text.n) {
            break;
        }
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x80) {
            i += out_wide((struct confab_text){text.p + i, text.n - i});
            continue;
        }
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c == '\n') {
            fputs("\\n", stdout);
        } else {
            printf("\\u%04x", c);
        }
        i++;
    }
    putchar('"');
}

void out_text(const char *key, struct confab_text value)
{
    out_key(key);
    out_quoted(value);
}

void out_str(const char *key, const char *value)
{
    out_text(key, (struct confab_text){value, strlen(value)});
}

void out_num(const char *key, uint64_t value)
{
    out_key(key);
    printf("%" PRIu64, value);
}

void out_id(const char *key, uint64_t id)
{
    out_key(key);
    if (id) {
        printf("\"%" PRIu64 "\"", id);
    } else {
        fputs("null", stdout);
    }
}

void out_flag(const char *key, bool value)
{
    out_key(key);
    fputs(value ? "true" : "false", stdout);
}

void out_time(const char *key, uint64_t ms)
{
    char time[CONFAB_TIME_SIZE];
    if (ms) {
        confab_time_utc(ms, time);
        out_str(key, time);
    }
}

/* Each object begins with its `event`, so that every other member is written with a comma. */
static void out_open(const char *event)
{
    printf("{\"event\":\"%s\"", event);
}

void out_begin(const char *event)
{
    out_open(event);
}

void out_end(void)
{
    fputs("}\n", stdout);
}

void out_message(const struct confab_message *m)
{
    out_open("new_message");
    out_str("conversation_id", m->conv);
    out_num("seq", m->seq);
    out_id("message_id", m->message_id);
    out_id("from", m->from);
    out_time("sent_at", m->sent_at_ms);
    out_text("type", m->type);
    out_text("content", m->content);
    if (m->client_msg_id.n > 0) {
        out_text("client_msg_id", m->client_msg_id);
    }
    if (m->reply_to) {
        out_id("reply_to", m->reply_to);
    }
    out_time("edited_at", m->edited_at_ms);
    if (m->deleted) {
        out_flag("deleted", true);
    }
    out_end();
}

static void out_self(const struct confab_event *e)
{
    static const char *const actions[] = {
        [CONFAB_SELF_UNKNOWN] = "unknown", [CONFAB_SELF_JOINED] = "joined",
        [CONFAB_SELF_LEFT] = "left",       [CONFAB_SELF_MUTE] = "mute",
        [CONFAB_SELF_PIN] = "pin",         [CONFAB_SELF_BLOCK] = "block",
        [CONFAB_SELF_HIDE] = "hide",       [CONFAB_SELF_CLOSED] = "closed",
        [CONFAB_SELF_DRAFT] = "draft",
    };
    out_str("action", actions[e->self]);
    if (e->target[0]) {
        out_str("target", e->target);
    }
    if (e->self == CONFAB_SELF_BLOCK) {
        out_id("user_id", e->user_id);
    }
    if (e->self == CONFAB_SELF_DRAFT) {
        out_text("content", e->content);
    }
    if (e->self == CONFAB_SELF_BLOCK || e->self == CONFAB_SELF_PIN) {
        out_flag("on", e->on);
    }
    out_time("until", e->until_ms);
}

static void out_members(const struct confab_event *e)
{
    static const char *const actions[] = {
        [CONFAB_MEMBERS_UNKNOWN] = "unknown", [CONFAB_MEMBERS_CREATE] = "create",
        [CONFAB_MEMBERS_ADD] = "add",         [CONFAB_MEMBERS_REMOVE] = "remove",
        [CONFAB_MEMBERS_LEAVE] = "leave",     [CONFAB_MEMBERS_ROLE] = "role",
    };
    static const char *const roles[] = {"", "member", "admin", "owner", "moderator", "guest"};
    out_str("action", actions[e->membership]);
    out_key("members");
    putchar('[');
    for (size_t i = 0; i < e->nmembers; i++) {
        printf("%s{\"user_id\":\"%" PRIu64 "\",\"role\":\"%s\"}", i ? "," : "",
               e->members[i].user_id, roles[e->members[i].role]);
    }
    putchar(']');
}

void out_event(const struct confab_event *e)
{
    static const char *const names[] = {
        [CONFAB_EVENT_EDITED] = "message_edited",
        [CONFAB_EVENT_DELETED] = "message_deleted",
        [CONFAB_EVENT_MEMBERSHIP] = "membership",
        [CONFAB_EVENT_CHANGED] = "conversation",
        [CONFAB_EVENT_SELF] = "self",
    };
    out_open(names[e->kind]);
    out_str("conversation_id", e->conv);
    out_num("seq", e->seq);
    out_id("event_id", e->event_id);
    out_id("from", e->from);
    out_time("sent_at", e->sent_at_ms);
    switch (e->kind) {
    case CONFAB_EVENT_EDITED:
        out_text("content", e->content);
        out_id("message_id", e->message_id);
        out_num("target_seq", e->target_seq);
        break;
    case CONFAB_EVENT_DELETED:
        out_id("message_id", e->message_id);
        out_num("target_seq", e->target_seq);
        break;
    case CONFAB_EVENT_MEMBERSHIP:
        out_members(e);
        break;
    case CONFAB_EVENT_SELF:
        out_self(e);
        break;
    default:
        break;
    }
    if (e->name.p) {
        out_text("name", e->name);
    }
    out_end();
}

void out_conversation(const struct confab_conversation *c)
{
    static const char *const kinds[] = {"unknown", "direct", "group", "self"};
    static const char *const roles[] = {"", "member", "admin", "owner", "moderator", "guest"};
    out_open("conversation");
    out_str("conversation_id", c->conv);
    out_str("type", kinds[c->kind]);
    if (c->name.p) {
        out_text("name", c->name);
    }
    if (c->with) {
        out_id("with", c->with);
    }
    out_str("role", roles[c->role]);
    out_num("members", c->members);
    out_num("head", c->head);
    out_num("unread", c->unread);
    out_num("mentions", c->mentions);
    out_flag("muted", c->muted);
    out_flag("pinned", c->pinned);
    if (c->draft.p) {
        out_text("draft", c->draft);
    }
    out_time("last_message_at", c->last_message_ms);
    out_end();
}
