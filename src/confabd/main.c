/*
 * confabd: the server program. Without a command it serves until SIGINT or SIGTERM.
 *
 * Exit codes: 0 ended as asked; 1 could not start, the check found something, or nothing serves; 2
 * wrong usage.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "confabd/certs.h"
#include "confabd/config.h"
#include "confabd/datadir.h"
#include "confabd/domain.h"
#include "confabd/front.h"
#include "confabd/greet.h"
#include "confabd/instance.h"
#include "confabd/log_tool.h"
#include "confabd/service.h"

#ifndef CONFABD_VERSION
#define CONFABD_VERSION "0"
#endif
#define DETAIL_MAX 512
#define TICK_MS    1000

static const char USAGE[] =
    "usage: confabd [option...]                 serves until SIGINT or SIGTERM\n"
    "       confabd check [option...]           checks options and data directory, starts nothing\n"
    "       confabd where [option...]           shows the server that has the data directory\n"
    "       confabd log inspect [--data DIR]    shows what the event log holds\n"
    "       confabd log replay [--data DIR]     folds the event log again and shows the outcome\n"
    "       confabd log repair [--data DIR]     cuts damage out of the log and names what is lost\n"
    "       confabd --help | --version\n"
    "\n"
    "Options may stand in a file too (--config FILE: lines of name = value) and in the "
    "environment\n"
    "(CONFAB_CACHE_BYTES for --cache-bytes). Flags win over the environment, that over the file.\n"
    "\n";

static int print_help(void)
{
    struct buf out;
    buf_init(&out);
    config_put_help(&out);
    (void)fputs(USAGE, stdout);
    if (buf_ok(&out)) {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    buf_deinit(&out);
    return 0;
}

static int refuse(int code, const char *text)
{
    (void)fprintf(stderr, "confabd: %s\n", text);
    return code;
}

/* Reads the options and opens the data directory for `path`; prints what is wrong. 0 or exit code.
 */
static int read_options(struct config *cfg, int argc, char **argv, char path[PATH_MAX])
{
    struct config_problem why;
    config_defaults(cfg);
    if (config_read(cfg, argc, argv, environ, &why) != CONFAB_OK) {
        return refuse(2, why.text);
    }
    if (diag_configure(cfg->log_level) != CONFAB_OK) {
        return refuse(2, "log-level: not a level, or not a category; see --help");
    }
    if (datadir_choose(cfg->data, path) != CONFAB_OK) {
        return refuse(2, "neither HOME nor XDG_DATA_HOME is set: say where the data goes with "
                         "--data DIR");
    }
    return 0;
}

static int open_data(const char *path, struct datadir *dir)
{
    char detail[DETAIL_MAX] = "";
    struct datadir_owner owner = {0};
    enum confab_err err = datadir_open(path, dir, &owner, detail);
    if (err == CONFAB_OK) {
        return 0;
    }
    if (err == CONFAB_LOCKED && owner.url[0] != '\0') {
        (void)fprintf(stderr, "confabd: %s\nIt serves at %s\n", detail, owner.url);
        return 1;
    }
    return refuse(1, detail);
}

/* Makes and locks nothing: the server may run meanwhile. */
static int check_data(const char *path, struct datadir *ret, bool *ret_found)
{
    char detail[DETAIL_MAX] = "";
    struct stat st;
    memset(ret, 0, sizeof(*ret));
    ret->lock_fd = -1;
    (void)snprintf(ret->path, sizeof(ret->path), "%s", path);
    *ret_found = stat(path, &st) == 0;
    if (!*ret_found && errno == ENOENT) {
        return 0;
    }
    if (!*ret_found || access(path, R_OK | W_OK | X_OK) != 0 || !S_ISDIR(st.st_mode)) {
        (void)snprintf(detail, sizeof(detail), "%.300s cannot be used as the data directory: %s",
                       path,
                       *ret_found && !S_ISDIR(st.st_mode) ? "not a directory" : strerror(errno));
        return refuse(1, detail);
    }
    enum confab_err err = datadir_look(path, ret, detail);
    /* An empty one is as good as none. */
    return err == CONFAB_OK || err == CONFAB_NOT_FOUND ? 0 : refuse(1, detail);
}

static int command_check(int argc, char **argv)
{
    struct config cfg;
    char path[PATH_MAX];
    struct datadir dir;
    int code = read_options(&cfg, argc, argv, path);
    if (code != 0) {
        return code;
    }
    bool found;
    code = check_data(path, &dir, &found);
    if (code != 0) {
        return code;
    }
    struct front front;
    char detail[DETAIL_MAX] = "";
    if (front_open(&cfg, &dir, false, detail, &front) != CONFAB_OK) {
        return refuse(1, detail);
    }
    front_close(&front);
    struct buf out;
    buf_init(&out);
    config_put(&out, &cfg);
    if (buf_ok(&out)) {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    buf_deinit(&out);
    if (front.cert.fingerprint[0] != '\0') {
        (void)printf("# certificate: %s, %lld days left\n", front.cert.fingerprint,
                     (long long)(front.cert.seconds_left / 86400));
    }
    (void)printf("# ok; the data directory is %s%s\n", path, found ? "" : " and will be made");
    return 0;
}

static int command_where(int argc, char **argv)
{
    struct config cfg;
    char path[PATH_MAX];
    struct datadir_owner owner;
    int code = read_options(&cfg, argc, argv, path);
    if (code != 0) {
        return code;
    }
    if (datadir_served_by(path, &owner) != CONFAB_OK || owner.url[0] == '\0') {
        (void)fprintf(stderr, "confabd: no server has %s\n", path);
        return 1;
    }
    (void)printf("Confab %s serves at %s (pid %ld)\nData: %s\n", owner.version, owner.url,
                 owner.pid, path);
    return 0;
}

/* As many connections as the machine allows, not as few as shells set by default. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Blocked in every thread: they are taken by serve_until_signal, those that end it by stop, too. */
static void block_signals(sigset_t *all, sigset_t *ending)
{
    sigemptyset(ending);
    sigaddset(ending, SIGINT);
    sigaddset(ending, SIGTERM);
    *all = *ending;
    sigaddset(all, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, all, NULL);
    /* Writes to a closed socket or pipe are answered by their error. */
    (void)signal(SIGPIPE, SIG_IGN);
}

/*
 * A program in a terminal ends with it, though SIGHUP means something else to a server: the
 * terminal that was there at the start and is no terminal any more is gone.
 */
static bool terminal_gone(bool had_one)
{
    return had_one && !isatty(STDERR_FILENO);
}

static void announce(const struct instance *in, const struct datadir *dir,
                     const struct front *front, const struct service *service)
{
    char url[FRONT_URL_MAX];
    front_local_url(front, instance_port(in), url, sizeof(url));
    enum confab_err err = datadir_announce(dir, url, front->cert.fingerprint, CONFABD_VERSION);
    if (err != CONFAB_OK) {
        diag_warn(DIAG_SERVER, "server.json cannot be written | err=%s", err_text(err));
    }
    service_ready(service, url);
}

/* Until the main thread looks after everything again. */
static struct timespec tick_of(const struct service *service)
{
    if (service->watchdog_ms == 0 || service->watchdog_ms >= 2 * TICK_MS) {
        return (struct timespec){.tv_sec = TICK_MS / 1000};
    }
    return (struct timespec){.tv_nsec = (long)(service->watchdog_ms / 2) * 1000000};
}

static void serve_until_signal(struct instance *in, const struct datadir *dir, struct front *front,
                               struct domain *domain, const struct service *service,
                               const sigset_t *set)
{
    const struct timespec tick = tick_of(service);
    struct certs certs;
    bool had_terminal = isatty(STDERR_FILENO);
    bool reload = false;
    certs_init(&certs, front);
    for (;;) {
        uint64_t wall_ms = clock_wall_ms(clock_system());
        if (certs_tick(&certs, reload, clock_mono_ns(clock_system()) / 1000000, wall_ms)) {
            announce(in, dir, front, service);
        }
        if (service->watchdog_ms > 0 && server_is_turning(instance_server(in))) {
            service_alive(service);
        }
        certs_tell(&certs, wall_ms, instance_metrics(in), server_notices(instance_server(in)));
        domain_tell(domain, instance_metrics(in), server_notices(instance_server(in)));
        instance_sample(in);
        int sig = sigtimedwait(set, NULL, &tick);
        reload = sig == SIGHUP;
        if (reload) {
            domain_poke(domain);
        }
        if (sig > 0 && (sig != SIGHUP || terminal_gone(had_terminal))) {
            diag_info(DIAG_SERVER, "stopping | signal=%d", sig);
            return;
        }
        diag_flush();
    }
}

struct watcher {
    const sigset_t *set;
    pthread_mutex_t lock;
    struct instance *in; /* under the lock; NULL: its threads have ended */
    atomic_bool done;    /* the signal that comes next is ours, to end the thread */
};

/*
 * A second signal while draining cuts the connections, a third one ends the process at once: what
 * is acknowledged is durable. The thread is ended by a signal too, not by cancelling, which
 * sanitizers take for a broken stack.
 */
static void *further_signals(void *arg)
{
    struct watcher *w = arg;
    int sig;
    bool hurried = false;
    while (sigwait(w->set, &sig) == 0 && !atomic_load(&w->done)) {
        (void)pthread_mutex_lock(&w->lock);
        if (hurried) {
            (void)fputs("confabd: stopped at once\n", stderr);
            _exit(1);
        }
        diag_info(DIAG_SERVER, "stopping without waiting | signal=%d", sig);
        if (w->in) {
            instance_hurry(w->in);
        }
        (void)pthread_mutex_unlock(&w->lock);
        hurried = true;
    }
    return NULL;
}

static void stop(struct instance *in, const sigset_t *set)
{
    pthread_t thread;
    struct watcher watcher = {.set = set, .lock = PTHREAD_MUTEX_INITIALIZER, .in = in};
    bool watched = pthread_create(&thread, NULL, further_signals, &watcher) == 0;
    instance_stop(in);
    (void)pthread_mutex_lock(&watcher.lock);
    watcher.in = NULL;
    (void)pthread_mutex_unlock(&watcher.lock);
    instance_close(in);
    if (watched) {
        atomic_store(&watcher.done, true);
        (void)pthread_kill(thread, SIGINT);
        (void)pthread_join(thread, NULL);
    }
}

static int serve(const char *program, const struct config *cfg, const struct datadir *dir,
                 struct front *front, const struct service *service)
{
    char detail[DETAIL_MAX] = "";
    sigset_t all;
    sigset_t ending;
    uint64_t began = clock_mono_ns(clock_system());
    block_signals(&all, &ending);
    raise_descriptors();
    struct instance *in;
    if (instance_open(cfg, dir, front, detail, &in) != CONFAB_OK) {
        return refuse(1, detail);
    }
    enum confab_err err = instance_start(in);
    if (err != CONFAB_OK) {
        instance_close(in);
        return refuse(1, "the threads cannot be started");
    }
    struct domain *domain = NULL;
    if (domain_open(cfg, front, &domain) != CONFAB_OK) {
        diag_error(DIAG_SERVER, "certificates cannot be asked for: no thread");
    }
    announce(in, dir, front, service);
    char link[512];
    const struct greeting greeting = {
        .program = program,
        .version = CONFABD_VERSION,
        .data = dir->path,
        .front = front,
        .port = instance_port(in),
        .public_url = cfg->public_url[0] || cfg->domain[0] ? instance_url(in) : "",
        .admin_link = instance_setup_link(in, link, sizeof(link)) ? link : NULL,
        .start_ms = (double)(clock_mono_ns(clock_system()) - began) / 1e6,
    };
    greet(&greeting);
    serve_until_signal(in, dir, front, domain, service, &all);
    domain_close(domain);
    service_stopping(service);
    stop(in, &ending);
    diag_flush();
    return 0;
}

static int command_serve(int argc, char **argv)
{
    struct config cfg;
    char path[PATH_MAX];
    struct datadir dir;
    struct service service;
    struct config_problem why;
    int code = read_options(&cfg, argc - 1, argv + 1, path);
    if (code != 0) {
        return code;
    }
    if (service_open(&service, &cfg, &why) != CONFAB_OK) {
        return refuse(2, why.text);
    }
    code = open_data(path, &dir);
    if (code != 0) {
        service_close(&service);
        return code;
    }
    struct front front;
    char detail[DETAIL_MAX] = "";
    if (front_open(&cfg, &dir, true, detail, &front) != CONFAB_OK) {
        code = refuse(1, detail);
    } else {
        front.sockets = service.sockets;
        front.nsockets = service.nsockets;
        code = serve(argv[0], &cfg, &dir, &front, &service);
        front_close(&front);
    }
    datadir_close(&dir);
    service_close(&service);
    return code;
}

int main(int argc, char **argv)
{
    (void)umask(077); /* whatever is made, only its owner may read */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return print_help();
        }
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        (void)printf("confabd %s\n", CONFABD_VERSION);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "check") == 0) {
        return command_check(argc - 2, argv + 2);
    }
    if (argc > 1 && strcmp(argv[1], "where") == 0) {
        return command_where(argc - 2, argv + 2);
    }
    if (argc > 1 && strcmp(argv[1], "log") == 0) {
        return log_tool(argc - 2, argv + 2);
    }
    return command_serve(argc, argv);
}
