/* Names of users and conversations, and from what was typed to ids. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define NAMES_MAX 65536U
#define LINGER_MS 700U

static size_t name_slot(const struct cli *cli, uint64_t id)
{
    size_t low = 0;
    size_t high = cli->nnames;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cli->names[mid].id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void name_set(struct cli *cli, uint64_t user_id, const char *text, size_t n)
{
    size_t at = name_slot(cli, user_id);
    if ((at < cli->nnames && cli->names[at].id == user_id) || cli->nnames >= NAMES_MAX) {
        return;
    }
    char *copy = strndup(text, n);
    struct name *more = realloc(cli->names, (cli->nnames + 1) * sizeof(*more));
    cli->names = more ? more : cli->names;
    if (!copy || !more) {
        free(copy);
        return;
    }
    memmove(&more[at + 1], &more[at], (cli->nnames - at) * sizeof(*more));
    more[at] = (struct name){user_id, copy};
    cli->nnames++;
}

const char *name_of(struct cli *cli, uint64_t user_id)
{
    for (int i = 0; i < 2; i++) {
        size_t at = name_slot(cli, user_id);
        if (at < cli->nnames && cli->names[at].id == user_id) {
            return cli->names[at].text;
        }
        char id[32];
        struct confab_user u;
        snprintf(id, sizeof(id), "%llu", (unsigned long long)user_id);
        if (i == 0 && user_id != 0 && cli_open(cli, true) &&
            confab_user_get(cli->client, id, &u) == CONFAB_E_OK) {
            name_set(cli, user_id, u.username, strlen(u.username));
        } else if (i == 0) {
            char text[48];
            snprintf(text, sizeof(text), "user %s", id);
            name_set(cli, user_id, text, strlen(text));
        }
    }
    return "someone";
}

static struct conv_name *conv_find(struct cli *cli, const char *conv)
{
    for (size_t i = 0; i < cli->nconvs; i++) {
        if (strcmp(cli->convs[i].conv, conv) == 0) {
            return &cli->convs[i];
        }
    }
    return NULL;
}

struct conv_name *conv_note(struct cli *cli, const char *conv, enum confab_conv_kind kind,
                            struct confab_text name, uint64_t with)
{
    struct conv_name *c = conv_find(cli, conv);
    if (!c) {
        struct conv_name *more =
            cli->nconvs < NAMES_MAX ? realloc(cli->convs, (cli->nconvs + 1) * sizeof(*more)) : NULL;
        if (!more) {
            return NULL;
        }
        cli->convs = more;
        c = &more[cli->nconvs++];
        memset(c, 0, sizeof(*c));
        snprintf(c->conv, sizeof(c->conv), "%s", conv);
    }
    c->kind = kind ? kind : c->kind;
    c->with = with ? with : c->with;
    if (name.p) {
        char *copy = strndup(name.p, name.n);
        if (copy) {
            free(c->text);
            c->text = copy;
        }
    }
    return c;
}

const char *conv_label(struct cli *cli, const char *conv)
{
    const struct conv_name *c = conv_find(cli, conv);
    if (c && c->text && c->text[0]) {
        return c->text;
    }
    if (c && c->with) {
        return name_of(cli, c->with);
    }
    return conv;
}

void names_free(struct cli *cli)
{
    for (size_t i = 0; i < cli->nnames; i++) {
        free(cli->names[i].text);
    }
    for (size_t i = 0; i < cli->nconvs; i++) {
        free(cli->convs[i].text);
    }
    free(cli->names);
    free(cli->convs);
}

/* ---- What was typed ---- */

bool is_conv_id(const char *text)
{
    return strlen(text) == CONFAB_CONV_SIZE - 1 && strspn(text, "0123456789abcdef") == 32;
}

int resolve_user(struct cli *cli, const char *text, uint64_t *ret_id)
{
    struct confab_user u;
    const char *name = text[0] == '@' ? text + 1 : text;
    if (confab_user_get(cli->client, name, &u) != CONFAB_E_OK) {
        return cli_failed(cli, text);
    }
    name_set(cli, u.user_id, u.username, strlen(u.username));
    *ret_id = u.user_id;
    return EXIT_DONE;
}

/* NULL: none, or ret_many. */
static const struct conv_name *find_group(struct cli *cli, const char *name, bool *ret_many)
{
    const struct conv_name *found = NULL;
    *ret_many = false;
    for (size_t i = 0; i < cli->nconvs; i++) {
        const struct conv_name *c = &cli->convs[i];
        if (c->kind != CONFAB_CONV_GROUP || !c->text || strcmp(c->text, name) != 0) {
            continue;
        }
        *ret_many = found != NULL;
        if (found) {
            return NULL;
        }
        found = c;
    }
    return found;
}

int resolve_group(struct cli *cli, const char *text, char ret_conv[CONFAB_CONV_SIZE])
{
    if (is_conv_id(text)) {
        memcpy(ret_conv, text, CONFAB_CONV_SIZE);
        return EXIT_DONE;
    }
    const char *name = text[0] == '#' ? text + 1 : text;
    const struct conv_name *found = NULL;
    bool many = false;
    /* A group made a moment ago comes into its members' lists a moment later. */
    static const unsigned linger_ms[] = {0, LINGER_MS, 0};
    for (size_t i = 0; i < sizeof(linger_ms) / sizeof(linger_ms[0]) && !found && !many; i++) {
        int code = cli_snapshot(cli, NULL, NULL, linger_ms[i]);
        if (code != EXIT_DONE) {
            return code;
        }
        found = find_group(cli, name, &many);
    }
    if (!found) {
        print_error(many             ? "several groups are called %s: use the id "
                                       "(`confab conversations`)"
                    : text[0] == '#' ? "%s: no such group"
                                     : "%s: no such user or group",
                    name);
        return EXIT_FAILED;
    }
    memcpy(ret_conv, found->conv, CONFAB_CONV_SIZE);
    return EXIT_DONE;
}

int resolve_conv(struct cli *cli, const char *text, char ret_conv[CONFAB_CONV_SIZE])
{
    if (is_conv_id(text)) {
        memcpy(ret_conv, text, CONFAB_CONV_SIZE);
        return EXIT_DONE;
    }
    if (text[0] == '#') {
        return resolve_group(cli, text, ret_conv);
    }
    bool user_only = text[0] == '@';
    enum confab_error error = confab_direct_id(cli->client, user_only ? text + 1 : text, ret_conv);
    if ((error == CONFAB_E_NOT_FOUND || error == CONFAB_E_INVALID) && !user_only) {
        return resolve_group(cli, text, ret_conv);
    }
    return error ? cli_failed(cli, text) : EXIT_DONE;
}
