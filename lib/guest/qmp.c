/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's monitor: where libxl puts its sockets, who may use one when, and the
 * dialogue of QMP.  Its framing is wire.c's.
 *
 * A monitor serves one client.  QEMU takes further connections only off the
 * kernel's queue, when the one before has gone; all that we can see of a
 * client before us is that no greeting comes.  A client that leaves the queue
 * without having been served does no harm: QEMU greets it, finds it gone and
 * turns to the next.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/lock.h"
#include "core/wire.h"
#include "guest/qmp.h"

/* A monitor that is free greets within a few milliseconds, unless QEMU's main
 * loop is busy.  The second socket is worth only a short wait: it is there to
 * spare us the lock. */
#define GREETING_TIMEOUT_MS         1000
#define GREETING_TIMEOUT_SHORT_MS   250

/* Between a command and its answer.  QEMU limits the rate of most events. */
#define MAX_EVENTS 10000

/* query-named-block-nodes of 500 disks with long chains is some 20 MiB. */
static const struct xlx__json_limits qmp_limits = {
    .bytes = 64 << 20,
    .depth = 300,                   /* query-block nests a chain of images */
};

struct xlx__qmp {
    xlx_ctx *ctx;
    struct xlx__wire wire;
    struct xlx__lock lock;
    char *version;
    int64_t id;                     /* of the last command */
    bool broken;                    /* the dialogue is out of step */
    struct xlx__json_doc *answer;   /* to the last command */
    unsigned int commands;
};

const char *xlx__qmp_version(const struct xlx__qmp *qmp)
{
    return qmp->version;
}

pid_t xlx__qmp_pid(const struct xlx__qmp *qmp)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(qmp->wire.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)
           ? 0 : peer.pid;
}

void xlx__qmp_traffic(const struct xlx__qmp *qmp,
                      struct xlx__qmp_traffic *traffic_r)
{
    traffic_r->commands = qmp->commands;
    traffic_r->bytes_sent = qmp->wire.bytes_sent;
    traffic_r->bytes_received = qmp->wire.bytes_received;
}

void xlx__qmp_close(struct xlx__qmp *qmp)
{
    if (!qmp)
        return;
    xlx__wire_close(&qmp->wire);
    xlx__unlock(&qmp->lock);        /* only after the socket is free */
    xlx__json_free(qmp->answer);
    free(qmp->version);
    free(qmp);
}

/* ---- a command and its answer ------------------------------------------- */

static int send_command(struct xlx__qmp *qmp, int64_t deadline,
                        const char *command, struct xlx__json_out *args)
{
    char *args_text = NULL, *text = NULL;
    int rc;

    if (args) {
        rc = xlx__json_out_finish(args, &args_text, NULL);
        if (rc) goto out;
    }
    text = xlx__printf("{\"execute\": \"%s\", \"arguments\": %s, "
                       "\"id\": %lld}\r\n", command,
                       args_text ? args_text : "{}",
                       (long long)++qmp->id);
    if (!text) {
        rc = xlx__error(ERROR_NOMEM, "%s: no memory", command);
        goto out;
    }
    xlx__debug(qmp->ctx, "qmp: \"%s\": %s", qmp->wire.peer, command);
    qmp->commands++;
    rc = xlx__wire_send(&qmp->wire, deadline, text, strlen(text));
    if (rc) qmp->broken = true;

 out:
    free(args_text);
    free(text);
    return rc;
}

/* Receives until something other than an event comes. */
static int receive_answer(struct xlx__qmp *qmp, int64_t deadline,
                          struct xlx__json_doc **doc_r)
{
    struct xlx__json_doc *doc;
    unsigned int events;
    int rc;

    for (events = 0; events < MAX_EVENTS; events++) {
        rc = xlx__wire_receive(&qmp->wire, deadline, &doc);
        if (rc) return rc;
        if (!xlx__json_member(xlx__json_root(doc), "event")) {
            *doc_r = doc;
            return 0;
        }
        xlx__json_free(doc);
    }
    return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                      "\"%s\": %d events came, and no answer",
                      qmp->wire.peer, MAX_EVENTS);
}

static int check_id(const struct xlx__qmp *qmp, const struct xlx__json *root)
{
    const struct xlx__json *v = xlx__json_member(root, "id");
    int64_t id;
    int rc;

    if (!v)
        return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                          "\"%s\": got an answer without an id",
                          qmp->wire.peer);
    rc = xlx__json_int64(v, INT64_MIN, INT64_MAX, &id);
    if (rc) return ERROR_PROTOCOL_ERROR_QMP;
    if (id != qmp->id)
        return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                          "\"%s\": got the answer to %lld instead of %lld",
                          qmp->wire.peer, (long long)id, (long long)qmp->id);
    return 0;
}

static int rc_of_class(const char *class)
{
    static const struct {
        const char *class;
        int rc;
    } classes[] = {
        { "GenericError", ERROR_QMP_GENERIC_ERROR },
        { "CommandNotFound", ERROR_QMP_COMMAND_NOT_FOUND },
        { "DeviceNotActive", ERROR_QMP_DEVICE_NOT_ACTIVE },
        { "DeviceNotFound", ERROR_QMP_DEVICE_NOT_FOUND },
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(classes); i++)
        if (!strcmp(class, classes[i].class))
            return classes[i].rc;
    return ERROR_UNKNOWN_QMP_ERROR;
}

/* Sets *refused_r when the answer was in order and says no. */
static int read_answer(const struct xlx__qmp *qmp, const char *command,
                       const struct xlx__json *root,
                       const struct xlx__json **result_r, bool *refused_r)
{
    const struct xlx__json *error, *result;
    const char *class, *desc;
    int rc;

    rc = check_id(qmp, root);
    if (rc) return rc;

    result = xlx__json_member(root, "return");
    error = xlx__json_member(root, "error");
    if (!result == !error)
        return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                          "\"%s\": got an answer that says neither yes nor no",
                          qmp->wire.peer);
    if (result) {
        *result_r = result;
        return 0;
    }
    rc = xlx__json_member_string(error, "class", &class);
    if (!rc) rc = xlx__json_member_string(error, "desc", &desc);
    if (rc) return ERROR_PROTOCOL_ERROR_QMP;
    *refused_r = true;
    return xlx__error(rc_of_class(class), "%s: %s", command, desc);
}

int xlx__qmp_call_within(struct xlx__qmp *qmp, int timeout_ms,
                         const char *command, struct xlx__json_out *args,
                         const struct xlx__json **result_r)
{
    int64_t deadline = xlx__now_ms() + timeout_ms;
    const struct xlx__json *result = NULL;
    bool refused = false;
    int rc;

    xlx__json_free(qmp->answer);
    qmp->answer = NULL;
    if (qmp->broken) {
        xlx__json_out_free(args);
        return xlx__error(ERROR_FAIL,
                          "%s: \"%s\": given up after an earlier error",
                          command, qmp->wire.peer);
    }

    rc = send_command(qmp, deadline, command, args);
    if (rc) goto out;
    rc = receive_answer(qmp, deadline, &qmp->answer);
    if (!rc)
        rc = read_answer(qmp, command, xlx__json_root(qmp->answer), &result,
                         &refused);
    /* A late answer must never be taken for that of the next command. */
    qmp->broken = rc && !refused;
    if (rc) goto out;
    if (result_r)
        *result_r = result;

 out:
    return rc && !refused ? xlx__error_prefix(rc, "%s", command) : rc;
}

int xlx__qmp_call(struct xlx__qmp *qmp, const char *command,
                  struct xlx__json_out *args,
                  const struct xlx__json **result_r)
{
    return xlx__qmp_call_within(qmp, XLX__QMP_TIMEOUT_MS, command, args,
                                result_r);
}

/* ---- the greeting ------------------------------------------------------- */

static int read_greeting(struct xlx__qmp *qmp, const struct xlx__json *root)
{
    const struct xlx__json *v;
    int64_t major, minor, micro;
    int rc;

    v = xlx__json_member(root, "QMP");
    v = v ? xlx__json_member(v, "version") : NULL;
    v = v ? xlx__json_member(v, "qemu") : NULL;
    if (!v)
        return xlx__error(ERROR_PROTOCOL_ERROR_QMP,
                          "\"%s\": no QEMU monitor: it greets in another way",
                          qmp->wire.peer);
    rc = xlx__json_member_int64(v, "major", &major);
    if (!rc) rc = xlx__json_member_int64(v, "minor", &minor);
    if (!rc) rc = xlx__json_member_int64(v, "micro", &micro);
    if (rc) return ERROR_PROTOCOL_ERROR_QMP;

    qmp->version = xlx__printf("%lld.%lld.%lld", (long long)major,
                               (long long)minor, (long long)micro);
    if (!qmp->version)
        return xlx__error(ERROR_NOMEM, "no memory for a version");
    return 0;
}

static int greet(struct xlx__qmp *qmp, int timeout_ms)
{
    struct xlx__json_doc *doc = NULL;
    int rc;

    rc = xlx__wire_receive(&qmp->wire, xlx__now_ms() + timeout_ms, &doc);
    if (rc == ERROR_TIMEDOUT)
        rc = xlx__error(ERROR_NOT_READY, "\"%s\": QEMU does not answer there: "
                        "another program is connected, or QEMU is busy; "
                        "try again", qmp->wire.peer);
    if (rc) goto out;
    rc = read_greeting(qmp, xlx__json_root(doc));
    if (rc) goto out;
    rc = xlx__qmp_call(qmp, "qmp_capabilities", NULL, NULL);

 out:
    xlx__json_free(doc);
    return rc;
}

/* Takes over the contents of wire and lock in any case. */
static int open_wire(xlx_ctx *ctx, struct xlx__wire *wire,
                     struct xlx__lock *lock, int greeting_timeout_ms,
                     struct xlx__qmp **qmp_r)
{
    static const struct xlx__lock no_lock = XLX__LOCK_NONE;
    struct xlx__qmp *qmp;
    int rc;

    qmp = calloc(1, sizeof(*qmp));
    if (!qmp) {
        xlx__wire_close(wire);
        xlx__unlock(lock);
        return xlx__error(ERROR_NOMEM, "no memory for a QMP connection");
    }
    qmp->ctx = ctx;
    qmp->wire = *wire;
    qmp->lock = *lock;
    *lock = no_lock;

    rc = greet(qmp, greeting_timeout_ms);
    if (rc) {
        xlx__qmp_close(qmp);
        return rc;
    }
    *qmp_r = qmp;
    return 0;
}

int xlx__qmp_open_fd(xlx_ctx *ctx, int fd, const char *peer,
                     struct xlx__qmp **qmp_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    struct xlx__wire wire;
    int rc;

    rc = xlx__wire_adopt(fd, peer, &qmp_limits, &wire);
    if (rc) return rc;
    return open_wire(ctx, &wire, &lock, GREETING_TIMEOUT_MS, qmp_r);
}

/* ---- which socket ------------------------------------------------------- */

/* Takes over the contents of lock in any case. */
static int open_path(xlx_ctx *ctx, const char *path, struct xlx__lock *lock,
                     int greeting_timeout_ms, struct xlx__qmp **qmp_r)
{
    struct xlx__wire wire;
    int rc;

    rc = xlx__wire_connect(path, &qmp_limits, &wire);
    if (rc) {
        xlx__unlock(lock);
        return rc;
    }
    return open_wire(ctx, &wire, lock, greeting_timeout_ms, qmp_r);
}

int xlx__qmp_open_socket(xlx_ctx *ctx, const char *path,
                         struct xlx__qmp **qmp_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;

    return open_path(ctx, path, &lock, GREETING_TIMEOUT_MS, qmp_r);
}

/* Xen's run directory depends on how the installed Xen was built, and no
 * public call tells; in doubt, the one that exists. */
const char *xlx__xen_run_dir(void)
{
    const char *dirs[] = {
        secure_getenv("LIBXLX_XEN_RUN_DIR"),
        XEN_RUN_DIR, "/run/xen", "/var/run/xen",
    };
    struct stat st;
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(dirs); i++)
        if (dirs[i] && !stat(dirs[i], &st) && S_ISDIR(st.st_mode))
            return dirs[i];
    return XEN_RUN_DIR;
}

static int open_under_lock(xlx_ctx *ctx, const xlx_guest *guest,
                           const char *path, struct xlx__qmp **qmp_r)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    int rc;

    rc = xlx__lock_libxl(ctx, guest->domid, &guest->uuid, "qmp-socket-lock",
                         xlx__now_ms() + XLX__QMP_TIMEOUT_MS, &lock);
    if (rc == ERROR_LOCK_FAIL)
        return xlx__error_prefix(ERROR_NOT_READY, "\"%s\"", path);
    if (rc) return rc;
    return open_path(ctx, path, &lock, GREETING_TIMEOUT_MS, qmp_r);
}

/* The socket that libxl makes for xentop is not under its lock; a domain with
 * a stub domain has only the other one. */
static int open_domain(xlx_ctx *ctx, const xlx_guest *guest,
                       struct xlx__qmp **qmp_r)
{
    struct xlx__lock no_lock = XLX__LOCK_NONE;
    const char *dir = xlx__xen_run_dir();
    char *stat_path = NULL, *libxl_path = NULL;
    int rc;

    stat_path = xlx__printf("%s/qmp-libxenstat-%lu", dir,
                            (unsigned long)guest->domid);
    libxl_path = xlx__printf("%s/qmp-libxl-%lu", dir,
                             (unsigned long)guest->domid);
    if (!stat_path || !libxl_path) {
        rc = xlx__error(ERROR_NOMEM, "no memory for a path");
        goto out;
    }

    rc = open_path(ctx, stat_path, &no_lock, GREETING_TIMEOUT_SHORT_MS,
                   qmp_r);
    if (!rc) goto out;
    xlx__error_clear();
    if (access(libxl_path, F_OK) < 0 && errno == ENOENT) {
        rc = xlx__error(ERROR_NOTFOUND, "domain %lu: no QEMU serves it: "
                        "there is no \"%s\"", (unsigned long)guest->domid,
                        libxl_path);
        goto out;
    }
    rc = open_under_lock(ctx, guest, libxl_path, qmp_r);

 out:
    free(stat_path);
    free(libxl_path);
    return rc;
}

int xlx__qmp_open(xlx_ctx *ctx, const xlx_guest *guest,
                  struct xlx__qmp **qmp_r)
{
    if (guest->qmp_socket && *guest->qmp_socket)
        return xlx__qmp_open_socket(ctx, guest->qmp_socket, qmp_r);
    if (guest->domid == XLX_DOMID_NONE)
        return xlx__error(ERROR_NOTFOUND, "\"%s\": no QEMU serves it: "
                          "it is shut down", guest->name ? guest->name : "");
    return open_domain(ctx, guest, qmp_r);
}
