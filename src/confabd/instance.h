/*
 * A server with its engines: opens the adapters that the configuration asks for in the order in
 * which they need each other, and closes them in the other. The only code that names concrete
 * adapters.
 */
#ifndef CONFAB_CONFABD_INSTANCE_H
#define CONFAB_CONFABD_INSTANCE_H

#include <stdint.h>

#include "confabd/config.h"
#include "confabd/datadir.h"
#include "confabd/front.h"
#include "gateway/server.h"

struct instance;

/*
 * Listens, opens everything and recovers; `ret` then serves as soon as it is started. What went
 * wrong is in `detail` (at least 512 bytes), one or two lines for people. CONFAB_EXISTS: the port
 * is taken. Directory and front must be open and stay so.
 */
CONFAB_NODISCARD enum confab_err instance_open(const struct config *cfg, const struct datadir *dir,
                                               const struct front *front, char *detail,
                                               struct instance **ret);
CONFAB_NODISCARD enum confab_err instance_start(struct instance *in);
/* Drains, within drain-timeout, and stops the threads. */
void instance_stop(struct instance *in);
/* Any thread, during instance_stop: cuts what is still open. */
void instance_hurry(struct instance *in);
/* About once a second, by the main thread: the numbers of the log, the disk and the process. */
void instance_sample(struct instance *in);
/* Closes all; NULL is fine. */
void instance_close(struct instance *in);

/*
 * The link that makes the first administrator; false when there is one. After instance_start;
 * `size` at least 400.
 */
bool instance_setup_link(struct instance *in, char *ret, size_t size);
/* Under which people reach it; ends with a slash. */
const char *instance_url(const struct instance *in);
uint16_t instance_port(const struct instance *in);
struct server *instance_server(struct instance *in);
/* The main thread's own. */
struct metrics *instance_metrics(struct instance *in);

#endif
