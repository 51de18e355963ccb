#include "confabd/front.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define DETAIL_MAX  512
#define RENEW_S     (30L * 86400)
#define ADDRESSES   16
#define NAME_BYTES  65 /* as gethostname gives it */
#define FALLBACK_V4 "127.0.0.1"

bool front_is_loopback(const char *address)
{
    struct in_addr in;
    struct in6_addr in6;
    if (inet_pton(AF_INET, address, &in) == 1) {
        return ntohl(in.s_addr) >> 24 == 127;
    }
    return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* ---- Addresses ---- */

/* The interface that the rest of the world is behind; empty: none. */
static void default_interface(char ret[IF_NAMESIZE])
{
    FILE *f = fopen("/proc/net/route", "re");
    char line[256];
    ret[0] = '\0';
    while (f && ret[0] == '\0' && fgets(line, sizeof(line), f)) {
        char *save = NULL;
        const char *name = strtok_r(line, " \t", &save);
        const char *target = name ? strtok_r(NULL, " \t", &save) : NULL;
        if (target && strcmp(target, "00000000") == 0) {
            (void)snprintf(ret, IF_NAMESIZE, "%s", name);
        }
    }
    if (f) {
        (void)fclose(f);
    }
}

/* Of containers and virtual machines: nobody else in the house is behind them. */
static bool is_virtual(const char *interface)
{
    static const char *const names[] = {"docker", "br-", "virbr", "lxc", "cni", "podman"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strncmp(interface, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool address_text(const struct sockaddr *sa, char *out, size_t size)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        return inet_ntop(AF_INET, &in->sin_addr, out, (socklen_t)size) != NULL;
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        return !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) &&
               inet_ntop(AF_INET6, &in6->sin6_addr, out, (socklen_t)size) != NULL;
    }
    return false;
}

/* Lower is better: what somebody in the same network would type first. */
static int rank_of(const struct ifaddrs *a, const char *preferred)
{
    int rank = a->ifa_addr->sa_family == AF_INET ? 0 : 2;
    return rank + (strcmp(a->ifa_name, preferred) == 0 ? 0 : 1);
}

static void addresses_collect(bool v6, struct tls_names *ret)
{
    struct ifaddrs *all = NULL;
    char preferred[IF_NAMESIZE];
    if (getifaddrs(&all) != 0) {
        return;
    }
    default_interface(preferred);
    for (int rank = 0; rank < (v6 ? 4 : 2); rank++) {
        for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
            char text[INET6_ADDRSTRLEN];
            bool other = is_virtual(a->ifa_name) && strcmp(a->ifa_name, preferred) != 0;
            if (other || !a->ifa_addr || !(a->ifa_flags & IFF_UP) ||
                (a->ifa_flags & IFF_LOOPBACK) || !address_text(a->ifa_addr, text, sizeof(text)) ||
                rank_of(a, preferred) != rank || ret->n >= ADDRESSES) {
                continue;
            }
            (void)tls_names_add(ret, text);
        }
    }
    freeifaddrs(all);
}

/* The machine's name, as itself and as mDNS spells it. */
static void host_names_add(struct tls_names *ret)
{
    char name[NAME_BYTES] = "";
    char local[NAME_BYTES + 8];
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0' ||
        strspn(name, allowed) != strlen(name)) {
        return;
    }
    (void)tls_names_add(ret, name);
    if (!strchr(name, '.')) {
        (void)snprintf(local, sizeof(local), "%s.local", name);
        (void)tls_names_add(ret, local);
    }
}

/* ---- The certificate ---- */

/*
 * Addresses of IPv6 do not count: many are temporary, and every new certificate is one that people
 * have to trust again.
 */
static bool covers(const struct tls_cert *cert, const struct tls_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        if (!strchr(names->at[i], ':') && !tls_names_have(&cert->names, names->at[i])) {
            return false;
        }
    }
    return true;
}

static enum confab_err own_cert(struct front *f, const struct datadir *dir, bool make, char *detail)
{
    char folder[PATH_MAX];
    struct tls_names names = f->reach;
    static const char *const always[] = {"127.0.0.1", "::1", "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        (void)tls_names_add(&names, always[i]);
    }
    host_names_add(&names);
    datadir_file(dir, "tls/cert.pem", f->cert_path);
    datadir_file(dir, "tls/key.pem", f->key_path);
    f->own_cert = true;
    bool found = tls_cert_look(f->cert_path, &f->cert) == CONFAB_OK;
    if (found && f->cert.seconds_left > RENEW_S && covers(&f->cert, &names)) {
        return CONFAB_OK;
    }
    if (!make) {
        return found ? CONFAB_OK : CONFAB_NOT_FOUND;
    }
    enum confab_err err = datadir_subdir(dir, "tls", folder);
    if (err) {
        (void)snprintf(detail, DETAIL_MAX, "%.300s: %s", f->cert_path, strerror(errno));
        return err;
    }
    /* Devices come back to the networks they were in. */
    for (size_t i = 0; found && i < f->cert.names.n; i++) {
        (void)tls_names_add(&names, f->cert.names.at[i]);
    }
    err = tls_cert_make(f->cert_path, f->key_path, &names, detail);
    if (err == CONFAB_OK) {
        f->made = true;
        err = tls_cert_look(f->cert_path, &f->cert);
    }
    return err;
}

/* ---- Domains ---- */

static bool host_take(const char *p, size_t n, char ret[256])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    if (n == 0 || n > 253 || p[0] == '.' || p[0] == '-' || p[n - 1] == '.' || p[n - 1] == '-') {
        return false;
    }
    bool letter = false; /* an address is no name */
    for (size_t i = 0; i < n; i++) {
        ret[i] = (char)tolower((unsigned char)p[i]);
        letter = letter || isalpha((unsigned char)ret[i]);
        if (!strchr(allowed, ret[i]) || (i > 0 && ret[i] == '.' && ret[i - 1] == '.')) {
            return false;
        }
    }
    ret[n] = '\0';
    return letter;
}

bool front_domains_parse(const char *text, struct front_domains *ret)
{
    memset(ret, 0, sizeof(*ret));
    while (*text != '\0') {
        text += strspn(text, " ");
        size_t n = strcspn(text, ", ");
        if (ret->n == FRONT_DOMAINS_MAX || !host_take(text, n, ret->at[ret->n])) {
            return false;
        }
        ret->n++;
        text += n;
        text += strspn(text, " ");
        if (*text == ',') {
            text++;
        }
    }
    return true;
}

/* What is shown until the authority has issued one: clients that insist on TLS find a port. */
static enum confab_err waiting_cert(struct front *f, const struct datadir *dir, char *detail)
{
    struct tls_names names = {0};
    char cert[PATH_MAX];
    char key[PATH_MAX];
    datadir_file(dir, "tls/acme/waiting.pem", cert);
    datadir_file(dir, "tls/acme/waiting.key", key);
    for (size_t i = 0; i < f->domains.n; i++) {
        (void)tls_names_add(&names, f->domains.at[i]);
    }
    (void)tls_names_add(&names, "localhost");
    enum confab_err err = tls_cert_make(cert, key, &names, detail);
    const struct tls_server_config cfg = {cert, key};
    if (err == CONFAB_OK) {
        err = tls_server_open(&cfg, detail, &f->tls);
    }
    if (err == CONFAB_OK) {
        err = tls_cert_look(cert, &f->cert);
    }
    f->waiting = err == CONFAB_OK;
    return err;
}

/* Key and chain are one file. One that is expired or damaged is as good as none. */
static enum confab_err domain_open(struct front *f, const struct datadir *dir, bool make,
                                   char *detail)
{
    char folder[PATH_MAX];
    datadir_file(dir, "tls/acme", f->acme_folder);
    datadir_file(dir, "tls/acme/current.pem", f->cert_path);
    (void)snprintf(f->key_path, sizeof(f->key_path), "%s", f->cert_path);
    const struct tls_server_config cfg = {f->cert_path, f->key_path};
    enum confab_err err = tls_server_open(&cfg, detail, &f->tls);
    if (err == CONFAB_OK) {
        return tls_cert_look(f->cert_path, &f->cert);
    }
    if (!make) {
        return CONFAB_OK; /* the first start will ask for one */
    }
    err = datadir_subdir(dir, "tls", folder);
    if (err == CONFAB_OK) {
        err = datadir_subdir(dir, "tls/acme", folder);
    }
    if (err != CONFAB_OK) {
        (void)snprintf(detail, DETAIL_MAX, "%.300s: %s", f->acme_folder, strerror(errno));
        return err;
    }
    return waiting_cert(f, dir, detail);
}

/* ---- Opening ---- */

static void listen_choose(struct front *f, const struct config *cfg)
{
    bool everywhere = cfg->lan || cfg->domain[0] != '\0';
    const char *otherwise = everywhere ? "0.0.0.0" : FALLBACK_V4;
    (void)snprintf(f->listen, sizeof(f->listen), "%s", cfg->listen[0] ? cfg->listen : otherwise);
    if (is_any(f->listen)) {
        addresses_collect(strcmp(f->listen, "::") == 0, &f->reach);
    } else if (!front_is_loopback(f->listen)) {
        (void)tls_names_add(&f->reach, f->listen);
    }
}

enum confab_err front_open(const struct config *cfg, const struct datadir *dir, bool make,
                           char *detail, struct front *ret)
{
    struct front f;
    memset(&f, 0, sizeof(f));
    listen_choose(&f, cfg);
    enum confab_err err = CONFAB_OK;
    if (cfg->domain[0] != '\0') {
        CHECK(front_domains_parse(cfg->domain, &f.domains));
        err = domain_open(&f, dir, make, detail);
        if (err != CONFAB_OK) {
            tls_server_close(f.tls);
            return err;
        }
        *ret = f;
        return CONFAB_OK;
    }
    if (cfg->tls_cert[0] != '\0') {
        (void)snprintf(f.cert_path, sizeof(f.cert_path), "%s", cfg->tls_cert);
        (void)snprintf(f.key_path, sizeof(f.key_path), "%s", cfg->tls_key);
    } else if (cfg->lan) {
        err = own_cert(&f, dir, make, detail);
        if (err == CONFAB_NOT_FOUND && !make) {
            *ret = f; /* the first start will make one */
            return CONFAB_OK;
        }
    } else {
        *ret = f;
        return CONFAB_OK;
    }
    if (err == CONFAB_OK) {
        const struct tls_server_config tls = {f.cert_path, f.key_path};
        err = tls_server_open(&tls, detail, &f.tls);
    }
    if (err == CONFAB_OK && !f.own_cert) {
        err = tls_cert_look(f.cert_path, &f.cert);
    }
    if (err != CONFAB_OK) {
        if (detail[0] == '\0') {
            (void)snprintf(detail, DETAIL_MAX, "TLS cannot be set up: %s", err_text(err));
        }
        tls_server_close(f.tls);
        return err;
    }
    *ret = f;
    return CONFAB_OK;
}

void front_close(struct front *f)
{
    tls_server_close(f->tls);
    f->tls = NULL;
}

/* ---- URLs ---- */

void front_url_of(const struct front *f, const char *host, uint16_t port, char *ret, size_t size)
{
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(ret, size, "%s://%s%s%s:%u/", f->tls ? "https" : "http", v6 ? "[" : "", host,
                   v6 ? "]" : "", port);
}

void front_local_url(const struct front *f, uint16_t port, char *ret, size_t size)
{
    const char *host = f->listen;
    if (strcmp(host, "0.0.0.0") == 0) {
        host = FALLBACK_V4;
    } else if (strcmp(host, "::") == 0) {
        host = "::1";
    }
    front_url_of(f, host, port, ret, size);
}

void front_url(const struct front *f, uint16_t port, char *ret, size_t size)
{
    if (f->reach.n > 0) {
        front_url_of(f, f->reach.at[0], port, ret, size);
    } else {
        front_local_url(f, port, ret, size);
    }
}
