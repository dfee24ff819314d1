/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xlxvirtd: command line, sockets, and what is refused before anything is
 * relayed.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay.h"

#define RUN "/run/libvirt/"
#define FIRST_ACTIVATED 3               /* sd_listen_fds(3) */

struct settings {
    const char *sockets[2];             /* to listen on; [1] is read-only */
    const char *group;
    const char *config;                 /* of libvirtd; NULL: where it is */
    bool check;
};

static int fail(const char *what, const char *why)
{
    lv_say("%s: %s", what, why);
    return 1;
}

/* ---- sockets ------------------------------------------------------------ */

static int set_name(const char *path, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(name->sun_path))
        return fail(path, "the path of a socket has at most 107 bytes");
    strcpy(name->sun_path, path);
    return 0;
}

/* Does anybody answer there? */
static bool is_served(const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (!connect(fd, (const struct sockaddr *)name,
                                       sizeof(*name)) || errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return served;
}

static int give_to_group(const char *path, const char *group)
{
    struct group *g = getgrnam(group);

    if (!g)
        return fail(group, "there is no such group");
    if (chown(path, (uid_t)-1, g->gr_gid) || chmod(path, 0660))
        return fail(path, strerror(errno));
    return 0;
}

/* The mode is right before anybody can connect: nobody can until listen(). */
static int listen_on(struct lv_relay *relay, const char *path, bool read_only,
                     const char *group)
{
    struct lv_listener *l = &relay->listeners[relay->num_listeners];
    struct sockaddr_un name;
    mode_t mask;
    int r;

    if (set_name(path, &name))
        return 1;
    if (is_served(&name))
        return fail(path, "another program listens there; if it is libvirt's "
                    "virtxend, give its socket another path: see "
                    "xlxvirtd(8)");
    unlink(path);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0177);
    r = l->fd < 0 || bind(l->fd, (struct sockaddr *)&name, sizeof(name));
    umask(mask);
    if (r)
        return fail(path, strerror(errno));
    l->path = strdup(path);
    l->read_only = read_only;
    relay->num_listeners++;
    if (read_only && chmod(path, 0666))
        return fail(path, strerror(errno));
    if (!read_only && group && give_to_group(path, group))
        return 1;
    return listen(l->fd, SOMAXCONN) ? fail(path, strerror(errno)) : 0;
}

/* A socket of systemd's whose name ends in "-ro" is the read-only one. */
static int take_activated(struct lv_relay *relay)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    struct sockaddr_un name;
    struct lv_listener *l;
    socklen_t len;
    long i, num;

    if (!fds)
        return 0;
    if (!pid || strtol(pid, NULL, 10) != getpid())
        return fail("LISTEN_FDS", "the sockets are another process's");
    num = strtol(fds, NULL, 10);
    if (num < 1 || num > (long)(sizeof(relay->listeners) / sizeof(*l)))
        return fail("LISTEN_FDS", "that number of sockets is not possible");
    for (i = 0; i < num; i++) {
        l = &relay->listeners[relay->num_listeners++];
        l->fd = FIRST_ACTIVATED + (int)i;
        memset(&name, 0, sizeof(name));
        len = sizeof(name) - 1;
        if (getsockname(l->fd, (struct sockaddr *)&name, &len) ||
            name.sun_family != AF_UNIX)
            return fail("LISTEN_FDS", "a socket is not a UNIX socket");
        len = (socklen_t)strlen(name.sun_path);
        l->read_only = len > 3 && !strcmp(name.sun_path + len - 3, "-ro");
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return 0;
}

/* A relay that is its own libvirtd would connect to itself without end. */
static int check_no_loop(const struct lv_relay *relay)
{
    struct sockaddr_un name;
    struct stat ours, theirs;
    socklen_t len;
    unsigned int i, j;

    for (i = 0; i < relay->num_listeners; i++) {
        memset(&name, 0, sizeof(name));
        len = sizeof(name) - 1;
        if (getsockname(relay->listeners[i].fd, (struct sockaddr *)&name,
                        &len) || stat(name.sun_path, &ours))
            continue;
        for (j = 0; j < 2; j++)
            if (!stat(relay->backend[j], &theirs) &&
                ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
                return fail(relay->backend[j], "it is the relay's own socket; "
                            "--backend must name libvirtd's");
    }
    return 0;
}

/* ---- libvirtd's access control ------------------------------------------ */

/* With access drivers (polkit) libvirtd has rules for each user and call, and
 * would not be asked about ours: nothing of ours is answered then.  A file
 * that cannot be read may have them. */
static bool has_access_drivers(const char *path)
{
    char line[1024], *p;
    bool found = false;
    FILE *f = fopen(path, "re");

    if (!f)
        return errno != ENOENT;
    while (fgets(line, sizeof(line), f)) {
        p = line + strspn(line, " \t");
        found |= !strncmp(p, "access_drivers", strlen("access_drivers"));
    }
    found |= ferror(f) != 0;
    fclose(f);
    return found;
}

/* Where libvirt has a daemon for Xen alone, that has a file of its own. */
static bool is_judged(const struct settings *s)
{
    if (s->config)
        return has_access_drivers(s->config);
    return has_access_drivers("/etc/libvirt/libvirtd.conf") ||
           has_access_drivers("/etc/libvirt/virtxend.conf");
}

/* ---- --check ------------------------------------------------------------ */

static int check(const struct lv_relay *relay, const struct settings *s)
{
    struct sockaddr_un name;
    unsigned int i;
    int status = 0;

    for (i = 0; i < 2; i++) {
        if (set_name(relay->backend[i], &name))
            return 1;
        printf("libvirtd%s: %s: %s\n", i ? ", read-only" : "",
               relay->backend[i],
               is_served(&name) ? "answers" : "does not answer");
        status |= !is_served(&name);
        if (set_name(s->sockets[i], &name))
            return 1;
        printf("relay%s: %s: %s\n", i ? ", read-only" : "", s->sockets[i],
               is_served(&name) ? "in use" : "free");
    }
    printf("answered by the relay:%s\n", relay->answer ? "" : " nothing, "
           "because libvirtd has access drivers");
    for (i = 0; relay->answer && i < LV_NUM_CALLS; i++)
        if (lv_calls[i].answer)
            printf("  %3d %s%s\n", lv_calls[i].number, lv_calls[i].api,
                   lv_calls[i].write ? "" : " (read-only clients as well)");
    return status;
}

/* ---- the command line --------------------------------------------------- */

static void usage(FILE *to)
{
    fputs("Usage: xlxvirtd [OPTION]...\n"
          "Answers libvirt's calls that its driver for Xen refuses, and\n"
          "relays all others to libvirtd.  See xlxvirtd(8).\n\n"
          "  --socket PATH        listen there [" RUN "virtxend-sock]\n"
          "  --socket-ro PATH     the same, for clients that may only read\n"
          "                       [" RUN "virtxend-sock-ro]\n"
          "  --group GROUP        who may use --socket, besides root\n"
          "  --backend PATH       socket of libvirtd [" RUN "libvirt-sock]\n"
          "  --backend-ro PATH    its read-only one [" RUN "libvirt-sock-ro]\n"
          "  --open URI           have libvirtd open URI instead of the\n"
          "                       client's xen:...\n"
          "  --config FILE        of libvirtd [libvirtd.conf, virtxend.conf]\n"
          "  --idle SECONDS       end when there was no client for so long\n"
          "  --check              say what would be relayed, and end\n"
          "  --foreground         accepted; it never goes to the background\n"
          "  -h, --help           show this\n"
          "  --version            show the version\n", to);
}

enum {
    OPT_SOCKET = 256, OPT_SOCKET_RO, OPT_GROUP, OPT_BACKEND, OPT_BACKEND_RO,
    OPT_OPEN, OPT_CONFIG, OPT_IDLE, OPT_CHECK, OPT_FOREGROUND, OPT_VERSION
};
static const struct option options[] = {
    { "socket", required_argument, NULL, OPT_SOCKET },
    { "socket-ro", required_argument, NULL, OPT_SOCKET_RO },
    { "group", required_argument, NULL, OPT_GROUP },
    { "backend", required_argument, NULL, OPT_BACKEND },
    { "backend-ro", required_argument, NULL, OPT_BACKEND_RO },
    { "open", required_argument, NULL, OPT_OPEN },
    { "config", required_argument, NULL, OPT_CONFIG },
    { "idle", required_argument, NULL, OPT_IDLE },
    { "check", no_argument, NULL, OPT_CHECK },
    { "foreground", no_argument, NULL, OPT_FOREGROUND },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 }
};

static int take_idle(struct lv_relay *relay, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*end || !*text || value < 0 || value > 1000000)
        return fail(text, "--idle takes seconds, 0 to 1000000"), 2;
    relay->idle_s = (int)value;
    return -1;
}

/* Exit status, or -1 to go on. */
static int take_option(int option, struct lv_relay *relay, struct settings *s)
{
    switch (option) {
    case OPT_SOCKET: s->sockets[0] = optarg; break;
    case OPT_SOCKET_RO: s->sockets[1] = optarg; break;
    case OPT_GROUP: s->group = optarg; break;
    case OPT_BACKEND: relay->backend[0] = optarg; break;
    case OPT_BACKEND_RO: relay->backend[1] = optarg; break;
    case OPT_OPEN: relay->open_uri = optarg; break;
    case OPT_CONFIG: s->config = optarg; break;
    case OPT_IDLE: return take_idle(relay, optarg);
    case OPT_CHECK: s->check = true; break;
    case OPT_FOREGROUND: break;
    case 'h':
        usage(stdout);
        return 0;
    case OPT_VERSION:
        puts("xlxvirtd " PACKAGE_VERSION);
        return 0;
    default:
        fputs("Try 'xlxvirtd --help'.\n", stderr);
        return 2;
    }
    return -1;
}

/* Two descriptors for each client. */
static unsigned int most_clients(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 100;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 400)
        return 100;
    if (limit.rlim_cur >= 2 * LV_MAX_CLIENTS + 200)
        return LV_MAX_CLIENTS;
    return (unsigned int)(limit.rlim_cur - 200) / 2;
}

static int start(struct lv_relay *relay, const struct settings *s)
{
    bool activated = getenv("LISTEN_FDS") != NULL;
    struct sockaddr_un name;
    int i, r;

    for (i = 0; i < 2; i++)
        if (set_name(relay->backend[i], &name))
            return 1;
    r = take_activated(relay);
    for (i = 0; i < 2 && !r && !activated; i++)
        r = listen_on(relay, s->sockets[i], i == 1, s->group);
    if (!r)
        r = check_no_loop(relay);
    if (!r)
        return lv_relay_run(relay);
    for (i = 0; i < (int)relay->num_listeners; i++)
        if (relay->listeners[i].path)
            unlink(relay->listeners[i].path);
    return r;
}

int main(int argc, char **argv)
{
    static struct lv_relay relay = {
        .backend = { RUN "libvirt-sock", RUN "libvirt-sock-ro" },
    };
    struct settings s = {
        .sockets = { RUN "virtxend-sock", RUN "virtxend-sock-ro" },
    };
    int option, r;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        r = take_option(option, &relay, &s);
        if (r >= 0)
            return r;
    }
    if (optind < argc)
        return fail(argv[optind], "xlxvirtd takes no arguments"), 2;
    relay.answer = !is_judged(&s);
    relay.max_clients = most_clients();
    if (s.check)
        return check(&relay, &s);
    if (!relay.answer)
        lv_say("libvirtd's configuration sets access_drivers: all calls are "
               "passed to libvirtd, and none is answered here");
    return start(&relay, &s);
}
