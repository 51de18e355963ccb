#include "confabd/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "confabd/front.h"
#include "gateway/auth_state.h"
#include "gateway/origin.h"
#include "gateway/proxies.h"

#define FILE_BYTES_MAX (1U << 20)
#define FLAG_COLUMN    28
#define PORT_UNSET     UINT64_MAX
#define PORT_HTTPS     443
#define PORT_HTTP      80

enum kind { KIND_TEXT, KIND_COUNT, KIND_BYTES, KIND_MS, KIND_BOOL };

struct option {
    const char *name;
    const char *doc;
    const char *def_text;
    enum kind kind;
    size_t offset;
    size_t size; /* of a text's field */
    uint64_t def;
    uint64_t min;
    uint64_t max;
};

static const struct option OPTIONS[] = {
#define OPT_TEXT(field, name, def, bytes_max, doc)                                                 \
    {name, doc, def, KIND_TEXT, offsetof(struct config, field), (bytes_max) + 1, 0, 0, 0},
#define OPT_COUNT(field, name, def, min, max, doc)                                                 \
    {name, doc, NULL, KIND_COUNT, offsetof(struct config, field), 0, def, min, max},
#define OPT_BYTES(field, name, def, min, max, doc)                                                 \
    {name, doc, NULL, KIND_BYTES, offsetof(struct config, field), 0, def, min, max},
#define OPT_MS(field, name, def, min, max, doc)                                                    \
    {name, doc, NULL, KIND_MS, offsetof(struct config, field), 0, def, min, max},
#define OPT_BOOL(field, name, def, doc)                                                            \
    {name, doc, NULL, KIND_BOOL, offsetof(struct config, field), 0, def, 0, 1},
#include "confabd/config.def"
};

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit BYTES_UNITS[] = {
    {"G", 1U << 30}, {"M", 1U << 20}, {"k", 1U << 10}, {"", 1}};
static const struct unit MS_UNITS[] = {
    {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}, {"", 1}};
static const struct unit COUNT_UNITS[] = {{"", 1}};

static const struct unit *units_of(enum kind kind)
{
    return kind == KIND_BYTES ? BYTES_UNITS : kind == KIND_MS ? MS_UNITS : COUNT_UNITS;
}

static enum confab_err problem(struct config_problem *why, enum confab_err err, const char *fmt,
                               ...) CONFAB_PRINTF(3, 4);
static enum confab_err problem(struct config_problem *why, enum confab_err err, const char *fmt,
                               ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    return err;
}

static const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        if (strcmp(OPTIONS[i].name, name) == 0) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

/* The number in its largest unit that divides it. */
static void number_put(char *out, size_t size, enum kind kind, uint64_t value)
{
    const struct unit *u = units_of(kind);
    while (u->factor > 1 && (value == 0 || value % u->factor != 0)) {
        u++;
    }
    (void)snprintf(out, size, "%" PRIu64 "%s", value / u->factor, u->name);
}

static bool number_parse(const char *text, enum kind kind, uint64_t *ret)
{
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    for (const struct unit *u = units_of(kind);; u++) {
        if (strcmp(end, u->name) == 0) {
            return !__builtin_mul_overflow((uint64_t)value, u->factor, ret);
        }
        if (u->name[0] == '\0') {
            return false;
        }
    }
}

static bool bool_parse(const char *text, bool *ret)
{
    static const char *const YES[] = {"true", "yes", "on", "1"};
    static const char *const NO[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(YES); i++) {
        if (strcmp(text, YES[i]) == 0 || strcmp(text, NO[i]) == 0) {
            *ret = strcmp(text, YES[i]) == 0;
            return true;
        }
    }
    return false;
}

void config_defaults(struct config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        const struct option *o = &OPTIONS[i];
        char *at = (char *)cfg + o->offset;
        if (o->kind == KIND_TEXT) {
            (void)snprintf(at, o->size, "%s", o->def_text);
        } else if (o->kind == KIND_BOOL) {
            *(bool *)at = o->def != 0;
        } else {
            *(uint64_t *)(void *)at = o->def;
        }
    }
}

enum confab_err config_set(struct config *cfg, const char *name, const char *value,
                           struct config_problem *why)
{
    const struct option *o = option_find(name);
    if (!o) {
        return problem(why, CONFAB_NOT_FOUND, "there is no option %s; confabd --help lists them",
                       name);
    }
    char *at = (char *)cfg + o->offset;
    if (o->kind == KIND_TEXT) {
        size_t n = strlen(value);
        if (n >= o->size) {
            return problem(why, CONFAB_INVALID, "%s is too long: at most %zu bytes", name,
                           o->size - 1);
        }
        memcpy(at, value, n + 1);
        return CONFAB_OK;
    }
    if (o->kind == KIND_BOOL) {
        if (!bool_parse(value, (bool *)at)) {
            return problem(why, CONFAB_INVALID, "%s is \"%s\", not one of true, false", name,
                           value);
        }
        return CONFAB_OK;
    }
    uint64_t number = 0;
    if (!number_parse(value, o->kind, &number) || number < o->min || number > o->max) {
        char min[32];
        char max[32];
        number_put(min, sizeof(min), o->kind, o->min);
        number_put(max, sizeof(max), o->kind, o->max);
        return problem(why, CONFAB_INVALID, "%s is \"%s\", not a number from %s to %s", name, value,
                       min, max);
    }
    *(uint64_t *)(void *)at = number;
    return CONFAB_OK;
}

/* ---- File ---- */

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1])) {
        text[--n] = '\0';
    }
    return text;
}

/* Cuts a comment and takes the quotes off; false when they do not match. */
static bool value_clean(char **value)
{
    char *v = trim(*value);
    if (v[0] == '"') {
        char *close = strchr(v + 1, '"');
        if (!close) {
            return false;
        }
        char *rest = trim(close + 1);
        *close = '\0';
        *value = v + 1;
        return rest[0] == '\0' || rest[0] == '#';
    }
    char *comment = strstr(v, " #");
    if (comment) {
        *comment = '\0';
    }
    *value = trim(v);
    return true;
}

static enum confab_err line_apply(struct config *cfg, const char *path, unsigned number, char *line,
                                  struct config_problem *why)
{
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#') {
        return CONFAB_OK;
    }
    char *equals = strchr(line, '=');
    if (!equals) {
        return problem(why, CONFAB_INVALID, "%s:%u: not a line of the form name = value", path,
                       number);
    }
    *equals = '\0';
    char *value = equals + 1;
    if (!value_clean(&value)) {
        return problem(why, CONFAB_INVALID, "%s:%u: the quotes do not match", path, number);
    }
    struct config_problem inner;
    enum confab_err err = config_set(cfg, trim(line), value, &inner);
    if (err != CONFAB_OK) {
        return problem(why, err, "%s:%u: %s", path, number, inner.text);
    }
    return CONFAB_OK;
}

enum confab_err config_read_file(struct config *cfg, const char *path, struct config_problem *why)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return problem(why, CONFAB_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    struct config changed = *cfg;
    enum confab_err err = CONFAB_OK;
    char line[4096];
    size_t total = 0;
    for (unsigned number = 1; err == CONFAB_OK && fgets(line, sizeof(line), f); number++) {
        size_t n = strlen(line);
        total += n;
        if ((n == sizeof(line) - 1 && line[n - 1] != '\n') || total > FILE_BYTES_MAX) {
            err = problem(why, CONFAB_TOO_LARGE, "%s:%u: too long", path, number);
        } else {
            err = line_apply(&changed, path, number, line, why);
        }
    }
    if (err == CONFAB_OK && ferror(f)) {
        err = problem(why, CONFAB_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    (void)fclose(f);
    if (err == CONFAB_OK) {
        *cfg = changed;
    }
    return err;
}

/* ---- Environment and flags ---- */

/* CONFAB_CACHE_BYTES for cache-bytes. */
static void environment_name(const char *name, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "CONFAB_%s", name);
    for (size_t i = 0; i < n && i < size; i++) {
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
    }
}

static const char *environment_get(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=') {
            return *environment + n + 1;
        }
    }
    return NULL;
}

enum confab_err config_read_environment(struct config *cfg, char *const *environment,
                                        struct config_problem *why)
{
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        char name[64];
        environment_name(OPTIONS[i].name, name, sizeof(name));
        const char *value = environment_get(environment, name);
        if (!value) {
            continue;
        }
        struct config_problem inner;
        enum confab_err err = config_set(cfg, OPTIONS[i].name, value, &inner);
        if (err != CONFAB_OK) {
            return problem(why, err, "%s: %s", name, inner.text);
        }
    }
    return CONFAB_OK;
}

struct flag {
    char name[64];
    const char *value;
};

/* Reads the flag at argv[*at] and moves *at past it. */
static enum confab_err flag_next(int argc, char *const *argv, int *at, struct flag *ret,
                                 struct config_problem *why)
{
    const char *arg = argv[*at];
    if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
        return problem(why, CONFAB_INVALID, "unknown argument %s; confabd --help lists the options",
                       arg);
    }
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    if (n - 2 >= sizeof(ret->name)) {
        return problem(why, CONFAB_NOT_FOUND, "unknown option %.40s...", arg);
    }
    memcpy(ret->name, arg + 2, n - 2);
    ret->name[n - 2] = '\0';
    const struct option *o = option_find(ret->name);
    if (!o && strcmp(ret->name, "config") != 0) {
        return problem(why, CONFAB_NOT_FOUND, "unknown option --%s; confabd --help lists them",
                       ret->name);
    }
    (*at)++;
    if (equals) {
        ret->value = equals + 1;
    } else if (o && o->kind == KIND_BOOL) {
        ret->value = "true";
    } else if (*at < argc) {
        ret->value = argv[(*at)++];
    } else {
        return problem(why, CONFAB_INVALID, "--%s needs a value", ret->name);
    }
    return CONFAB_OK;
}

static enum confab_err flags_read(struct config *cfg, int argc, char *const *argv,
                                  const char **ret_file, struct config_problem *why)
{
    int at = 0;
    while (at < argc) {
        struct flag flag;
        enum confab_err err = flag_next(argc, argv, &at, &flag, why);
        if (err != CONFAB_OK) {
            return err;
        }
        if (strcmp(flag.name, "config") == 0) {
            *ret_file = flag.value;
            continue;
        }
        struct config_problem inner;
        err = config_set(cfg, flag.name, flag.value, &inner);
        if (err != CONFAB_OK) {
            return problem(why, err, "--%s", inner.text);
        }
    }
    return CONFAB_OK;
}

enum confab_err config_check(const struct config *cfg, struct config_problem *why)
{
    if (strcmp(cfg->password_cost, "normal") != 0 && strcmp(cfg->password_cost, "low") != 0) {
        return problem(why, CONFAB_INVALID, "password-cost is \"%s\", not one of normal, low",
                       cfg->password_cost);
    }
    if ((cfg->tls_cert[0] != '\0') != (cfg->tls_key[0] != '\0')) {
        return problem(why, CONFAB_INVALID, "%s is there and %s is not: both are needed",
                       cfg->tls_cert[0] ? "tls-cert" : "tls-key",
                       cfg->tls_cert[0] ? "tls-key" : "tls-cert");
    }
    bool tls = cfg->lan || cfg->tls_cert[0] != '\0';
    if (tls && cfg->plain_http) {
        return problem(why, CONFAB_INVALID, "plain-http does not go together with %s",
                       cfg->lan ? "--lan" : "tls-cert");
    }
    if (cfg->domain[0] != '\0' && (tls || cfg->plain_http)) {
        return problem(why, CONFAB_INVALID, "domain does not go together with %s",
                       cfg->lan          ? "--lan"
                       : cfg->plain_http ? "--plain-http"
                                         : "tls-cert");
    }
    tls = tls || cfg->domain[0] != '\0';
    if (cfg->redirect_port != 0 && !tls) {
        return problem(why, CONFAB_INVALID,
                       "redirect-port sends people on to https, which is not served: add --domain, "
                       "--lan, or --tls-cert and --tls-key");
    }
    if (cfg->redirect_port != 0 && cfg->redirect_port == cfg->port) {
        return problem(why, CONFAB_INVALID, "redirect-port and port are the same");
    }
    struct front_domains domains;
    if (!front_domains_parse(cfg->domain, &domains)) {
        return problem(why, CONFAB_INVALID,
                       "domain is \"%.200s\": not up to 12 host names, separated by commas",
                       cfg->domain);
    }
    if (strncmp(cfg->acme_directory, "https://", 8) != 0) {
        return problem(why, CONFAB_INVALID,
                       "acme-directory is no URL of the form https://name/path");
    }
    if (!tls && !cfg->plain_http && cfg->listen[0] != '\0' && !front_is_loopback(cfg->listen)) {
        return problem(
            why, CONFAB_INVALID,
            "listen is \"%s\", where passwords would cross the network in the clear: add "
            "--lan, or --tls-cert and --tls-key, or --plain-http when something in front "
            "of it adds TLS",
            cfg->listen);
    }
    struct origin_rules rules = {0};
    enum registration registration;
    const char *bad;
    if (strcmp(cfg->registration, "auto") != 0 &&
        !registration_parse(span_str(cfg->registration), &registration)) {
        return problem(why, CONFAB_INVALID,
                       "registration is \"%s\", not one of auto, invite, open, closed",
                       cfg->registration);
    }
    if (origin_rules_parse(&rules, cfg->public_url, cfg->hosts, cfg->cors_origins, &bad) !=
        CONFAB_OK) {
        return problem(why, CONFAB_INVALID,
                       "%s: not a URL of the form http(s)://name, a list of names or of such URLs, "
                       "or too many",
                       bad);
    }
    struct proxy_rules proxies;
    if (proxy_rules_parse(&proxies, cfg->trusted_proxies, cfg->proxy_header, &bad) != CONFAB_OK) {
        return problem(why, CONFAB_INVALID,
                       strcmp(bad, "proxy-header") == 0
                           ? "%s is not one of x-forwarded-for, forwarded"
                           : "%s: not up to 32 addresses, or networks such as 10.0.0.0/8",
                       bad);
    }
    if (cfg->access_token_ms % 1000 != 0) {
        return problem(why, CONFAB_INVALID, "access-token is not in whole seconds");
    }
    if (cfg->log_segment_bytes % 4096 != 0) {
        return problem(why, CONFAB_INVALID, "log-segment-bytes is not a multiple of 4k");
    }
    if (cfg->dead_after_ms <= cfg->heartbeat_ms) {
        return problem(why, CONFAB_INVALID, "dead-after must be longer than heartbeat");
    }
    return CONFAB_OK;
}

enum confab_err config_read(struct config *cfg, int argc, char *const *argv,
                            char *const *environment, struct config_problem *why)
{
    /* Flags are read twice: first for the file's name, since the file comes before them. */
    struct config scratch = *cfg;
    const char *file = environment_get(environment, "CONFAB_CONFIG");
    enum confab_err err = flags_read(&scratch, argc, argv, &file, why);
    if (err != CONFAB_OK) {
        return err;
    }
    scratch = *cfg;
    scratch.port = PORT_UNSET;
    scratch.redirect_port = PORT_UNSET;
    if (file) {
        err = config_read_file(&scratch, file, why);
    }
    if (err == CONFAB_OK) {
        err = config_read_environment(&scratch, environment, why);
    }
    if (err == CONFAB_OK) {
        err = flags_read(&scratch, argc, argv, &file, why);
    }
    if (scratch.port == PORT_UNSET) {
        scratch.port = scratch.domain[0] != '\0' ? PORT_HTTPS : cfg->port;
    }
    if (scratch.redirect_port == PORT_UNSET) {
        bool named = scratch.domain[0] != '\0' && scratch.port != PORT_HTTP;
        scratch.redirect_port = named ? PORT_HTTP : cfg->redirect_port;
    }
    if (err == CONFAB_OK) {
        err = config_check(&scratch, why);
    }
    if (err == CONFAB_OK) {
        *cfg = scratch;
    }
    return err;
}

/* ---- Printing ---- */

static void value_put(struct buf *out, const struct option *o, const struct config *cfg)
{
    const char *at = (const char *)cfg + o->offset;
    char number[32];
    switch (o->kind) {
    case KIND_TEXT:
        buf_printf(out, "\"%s\"", at);
        break;
    case KIND_BOOL:
        buf_put_str(out, *(const bool *)at ? "true" : "false");
        break;
    case KIND_COUNT:
    case KIND_BYTES:
    case KIND_MS:
        number_put(number, sizeof(number), o->kind, *(const uint64_t *)(const void *)at);
        buf_put_str(out, number);
        break;
    }
}

void config_put(struct buf *out, const struct config *cfg)
{
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        buf_printf(out, "%s = ", OPTIONS[i].name);
        value_put(out, &OPTIONS[i], cfg);
        buf_put_str(out, "\n");
    }
}

void config_put_help(struct buf *out)
{
    static const char *const PLACE[] = {"TEXT", "N", "BYTES", "TIME", ""};
    struct config cfg;
    config_defaults(&cfg);
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
        const struct option *o = &OPTIONS[i];
        char flag[64];
        (void)snprintf(flag, sizeof(flag), "--%s %s", o->name, PLACE[o->kind]);
        buf_printf(out, "  %-*s %s", FLAG_COLUMN, flag, o->doc);
        if (o->kind != KIND_TEXT || o->def_text[0] != '\0') {
            buf_put_str(out, " [");
            value_put(out, o, &cfg);
            buf_put_str(out, "]");
        }
        buf_put_str(out, "\n");
    }
}
