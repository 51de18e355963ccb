/*
 * /proc/net/tcp names the socket's inode, /proc/<pid>/fd the process that has it. Both are read
 * with bounds: this runs once, at a failed start.
 */
#include "confabd/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define STATE_LISTEN 0x0A

/* Splits a line at blanks; returns how many fields there are, at most `max`. */
static int fields_of(char *line, char **fields, int max)
{
    int n = 0;
    char *save = NULL;
    for (char *f = strtok_r(line, " \t\n", &save); f && n < max;
         f = strtok_r(NULL, " \t\n", &save)) {
        fields[n++] = f;
    }
    return n;
}

/* sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ... */
static unsigned long listener_inode(const char *table, uint16_t port)
{
    FILE *f = fopen(table, "re");
    if (!f) {
        return 0;
    }
    char line[512];
    unsigned long inode = 0;
    while (inode == 0 && fgets(line, sizeof(line), f)) {
        char *fields[10];
        if (fields_of(line, fields, 10) < 10) {
            continue;
        }
        const char *colon = strrchr(fields[1], ':');
        if (colon && strtoul(colon + 1, NULL, 16) == port &&
            strtoul(fields[3], NULL, 16) == STATE_LISTEN) {
            inode = strtoul(fields[9], NULL, 10);
        }
    }
    (void)fclose(f);
    return inode;
}

static bool process_has(const char *pid, const char *socket_name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir) {
        return false;
    }
    bool found = false;
    struct dirent *entry;
    while (!found && (entry = readdir(dir)) != NULL) {
        char target[64];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, socket_name) == 0;
        }
    }
    (void)closedir(dir);
    return found;
}

static void process_name(const char *pid, char *out, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    out[0] = '\0';
    FILE *f = fopen(path, "re");
    if (f) {
        if (fgets(out, (int)size, f)) {
            out[strcspn(out, "\n")] = '\0';
        }
        (void)fclose(f);
    }
}

bool port_owner_find(uint16_t port, struct port_owner *ret)
{
    unsigned long inode = listener_inode("/proc/net/tcp", port);
    if (inode == 0) {
        inode = listener_inode("/proc/net/tcp6", port);
    }
    DIR *proc = inode != 0 ? opendir("/proc") : NULL;
    if (!proc) {
        return false;
    }
    char socket_name[64];
    (void)snprintf(socket_name, sizeof(socket_name), "socket:[%lu]", inode);
    bool found = false;
    struct dirent *entry;
    while (!found && (entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && process_has(entry->d_name, socket_name)) {
            found = true;
            ret->pid = strtol(entry->d_name, NULL, 10);
            process_name(entry->d_name, ret->name, sizeof(ret->name));
        }
    }
    (void)closedir(proc);
    return found;
}
