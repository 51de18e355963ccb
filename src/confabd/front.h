/*
 * How people reach the server: with TLS or without, under which addresses, and which certificate
 * they will meet.
 *
 *   (nothing)        plain HTTP on the loopback address
 *   --tls-cert/-key  TLS with a certificate of the operator's
 *   --domain         TLS with certificates of an authority, in DATA/tls/acme
 * (adapters/acme/acme.h); until the first one is there, with one of our own making that nobody
 * trusts
 *   --lan            TLS on all addresses, with a certificate of our own making in DATA/tls:
 *                    cert.pem and key.pem. It is kept as long as it is good for a month more and
 *                    names the host and all present addresses of IPv4. Made again, it has
 *                    the same key and keeps the names that it had.
 */
#ifndef CONFAB_CONFABD_FRONT_H
#define CONFAB_CONFABD_FRONT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/tls/tls_cert.h"
#include "confabd/config.h"
#include "confabd/datadir.h"

#define FRONT_URL_MAX 300U

#define FRONT_DOMAINS_MAX 12U

/* The names of --domain, in lower case. */
struct front_domains {
    size_t n;
    char at[FRONT_DOMAINS_MAX][256];
};
/* False: something in it is no host name, or there are too many. */
bool front_domains_parse(const char *text, struct front_domains *ret);

struct front {
    struct tls_server *tls; /* NULL: plain HTTP */
    char listen[72];
    const int *sockets; /* borrowed: to be served instead of one of our own, when there are any */
    int nsockets;
    char cert_path[PATH_MAX];
    char key_path[PATH_MAX];
    struct tls_cert cert; /* with tls: the one in use */
    bool own_cert;        /* of our own making */
    bool waiting;         /* with --domain: `cert` is one that nobody trusts, until another comes */
    struct front_domains domains;
    char acme_folder[PATH_MAX];
    bool made;              /* just now */
    struct tls_names reach; /* addresses of this machine that others can use, the best first */
};

/*
 * Reads the certificate, or makes one with `make`. CONFAB_INVALID, CONFAB_IO, CONFAB_NOMEM: one
 * line in `detail` (512 bytes).
 */
CONFAB_NODISCARD enum confab_err front_open(const struct config *cfg, const struct datadir *dir,
                                            bool make, char *detail, struct front *ret);
void front_close(struct front *f);

/* scheme://host:port/ with a slash at the end, for a host name or a numeric address. */
void front_url_of(const struct front *f, const char *host, uint16_t port, char *ret, size_t size);
/* For programs on this machine. */
void front_local_url(const struct front *f, uint16_t port, char *ret, size_t size);
/* For people: the first address of `reach`, or the local one. */
void front_url(const struct front *f, uint16_t port, char *ret, size_t size);

/* Is it an address of this machine alone? */
bool front_is_loopback(const char *address);

#endif
