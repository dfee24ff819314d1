/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The QEMU that serves a guest's controllers.  An HVM guest has one; for a PV
 * or PVH guest libxl starts one only if its config needs it, and adds no
 * paravirtual controller to a guest without.  Here the same program is started
 * in the same role: its sockets are where libxl and we look for them, and its
 * number is where libxl finds the device model that it ends with the domain.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/child.h"
#include "core/process.h"
#include "core/xs.h"
#include "guest/qmp.h"
#include "usb/usb.h"

#define START_MS 60000              /* as long as libxl waits for one */
#define STOP_MS 10000
#define KNOWN_MS 10000              /* udevd may have much to do */
#define NAP_MS 50
#define LOG_LINE 400                /* of a log, for a message */

/* ---- which process ------------------------------------------------------ */

static void pid_node(uint32_t domid, char path[64])
{
    snprintf(path, 64, "/local/domain/%u/image/device-model-pid", domid);
}

/* The number that xenstore has for the domain's device model; 0 when there is
 * none.  Once that has ended, any process may have the number. */
static pid_t noted_pid(xlx_ctx *ctx, uint32_t domid)
{
    uint64_t pid = 0;
    char path[64];

    pid_node(domid, path);
    if (xlx__xs_read_uint(ctx, XBT_NULL, path, INT_MAX, &pid))
        xlx__error_clear();
    return (pid_t)pid;
}

/* Was that process started with these two arguments, and does it run? */
static bool has_argument(pid_t pid, const char *argument, const char *value)
{
    char *arguments;
    size_t size = 0;
    bool has;

    if (!xlx__process_start(pid))
        return false;
    arguments = xlx__process_arguments(pid, &size);
    has = arguments &&
          xlx__process_argument(arguments, size, argument, value);
    free(arguments);
    return has;
}

/* The QEMU that is the domain's device model; 0 when it does not run.  libxl
 * starts each QEMU with the number of its domain, and so do we. */
static pid_t model_pid(xlx_ctx *ctx, uint32_t domid)
{
    pid_t pid = noted_pid(ctx, domid);
    char number[16];

    snprintf(number, sizeof(number), "%u", domid);
    return pid && has_argument(pid, "-xen-domid", number) ? pid : 0;
}

bool xlx__usb_backend_runs(xlx_ctx *ctx, uint32_t domid)
{
    return model_pid(ctx, domid);
}

/* Has the process that file open? */
static bool has_open(pid_t pid, const char *node)
{
    char directory[64], to[PATH_MAX];
    struct dirent *entry;
    bool found = false;
    ssize_t len;
    DIR *dir;

    snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)pid);
    dir = opendir(directory);
    while (dir && !found && (entry = readdir(dir))) {
        len = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1);
        if (len < 0)
            continue;
        to[len] = '\0';
        found = !strcmp(to, node);
    }
    if (dir)
        closedir(dir);
    return found;
}

bool xlx__usb_held(xlx_ctx *ctx, uint32_t domid, const xlx_usb_host_device *d)
{
    pid_t pid = model_pid(ctx, domid);
    char *node = pid ? xlx__usb_node(d) : NULL;
    bool held = node && has_open(pid, node);

    free(node);
    return held;
}

/* ---- its files ---------------------------------------------------------- */

/* of is "pid" or "log". */
static char *file_path(xlx_ctx *ctx, uint32_t domid, const char *of)
{
    return xlx__printf("%s/usb-backend-%u.%s", ctx->run_dir, domid, of);
}

/* The number that QEMU wrote there when it was started here; 0 for none. */
static int recorded_pid(const char *path)
{
    FILE *f = path ? fopen(path, "re") : NULL;
    int pid = 0;

    if (f) {
        if (fscanf(f, "%d", &pid) != 1 || pid <= 1)
            pid = 0;
        fclose(f);
    }
    return pid;
}

/* The last line of a file that is not empty; "" when there is none. */
static void last_line(const char *path, char line[LOG_LINE])
{
    FILE *f = path ? fopen(path, "re") : NULL;
    char next[LOG_LINE];

    line[0] = '\0';
    while (f && fgets(next, sizeof(next), f)) {
        next[strcspn(next, "\r\n")] = '\0';
        if (*next)
            memcpy(line, next, sizeof(next));
    }
    if (f)
        fclose(f);
}

static int ended(xlx_ctx *ctx, const xlx_guest *guest)
{
    char *pidfile = file_path(ctx, guest->domid, "pid");
    char *log = file_path(ctx, guest->domid, "log");
    pid_t pid = recorded_pid(pidfile);
    char line[LOG_LINE];
    int rc;

    last_line(log, line);
    if (pid && pid == noted_pid(ctx, guest->domid))
        rc = xlx__error(ERROR_FAIL, "the guest's QEMU has ended%s%s",
                        *line ? ": " : "", line);
    else
        rc = xlx__error(ERROR_FAIL, "the guest's QEMU has ended: why is in "
                        "its log, qemu-dm-%s.log", xlx__text(guest->name));
    free(pidfile);
    free(log);
    return rc;
}

int xlx__usb_backend_check(xlx_ctx *ctx, const xlx_guest *guest, int rc)
{
    if (!xlx__usb_backend_runs(ctx, guest->domid))
        return ended(ctx, guest);
    if (rc == ERROR_NOT_READY) {
        xlx__error_clear();
        return 0;
    }
    return rc;
}

/* ---- what it says ------------------------------------------------------- */

/* A line of "info usb" ends with ", ID: NAME", whatever the device calls
 * itself in the middle of it. */
static bool names_id(const char *text, const char *id)
{
    const char *line, *end;
    char tail[64];
    size_t len;

    len = (size_t)snprintf(tail, sizeof(tail), ", ID: %s", id);
    for (line = text; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\r\n");
        if ((size_t)(end - line) >= len && !strncmp(end - len, tail, len))
            return true;
    }
    return false;
}

/* The answer of its monitor to a line; the caller's to free. */
static int ask(xlx_ctx *ctx, const xlx_guest *guest, const char *line,
               char **answer_r)
{
    struct xlx__json_out *args;
    const struct xlx__json *result;
    struct xlx__qmp *qmp = NULL;
    const char *text;
    int rc;

    rc = xlx__qmp_open(ctx, guest, &qmp);
    if (rc) return rc;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "command-line", line);
    xlx__json_out_end(args);
    rc = xlx__qmp_call(qmp, "human-monitor-command", args, &result);
    if (rc) goto out;
    rc = xlx__json_string(result, &text);
    if (rc) goto out;
    rc = xlx__set_string(answer_r, text);

 out:
    xlx__qmp_close(qmp);
    return rc;
}

/* The name that libxl, or QEMU itself, gives it. */
static void device_id(const xlx_usb_entry *e, char id[32])
{
    if (e->type == XLX_USB_TYPE_DEVICEMODEL)
        snprintf(id, 32, "xenusb-%u-%u", e->bus, e->address);
    else
        snprintf(id, 32, "xen-qusb-%u-%u", e->ctrl, e->port);
}

int xlx__usb_listed(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_entry *e, bool *listed_r)
{
    char id[32], *text = NULL;
    int rc;

    device_id(e, id);
    rc = ask(ctx, guest, "info usb", &text);
    if (rc) goto out;
    *listed_r = names_id(text, id);

 out:
    free(text);
    return rc;
}

int xlx__usb_unplug(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_entry *e)
{
    struct xlx__json_out *args;
    struct xlx__qmp *qmp = NULL;
    char id[32];
    int rc;

    device_id(e, id);
    rc = xlx__qmp_open(ctx, guest, &qmp);
    if (rc) return rc;
    args = xlx__json_out_new(false);
    xlx__json_out_object(args);
    xlx__json_out_kv(args, "id", id);
    xlx__json_out_end(args);
    rc = xlx__qmp_call(qmp, "device_del", args, NULL);
    xlx__qmp_close(qmp);
    return xlx__forgive(rc, ERROR_QMP_DEVICE_NOT_FOUND);
}

/* A device may call itself whatever it likes: in the middle of a line. */
static bool has_line(const char *text, const char *start)
{
    for (; text; text = strchr(text, '\n')) {
        text += strspn(text, "\r\n");
        if (!strncmp(text, start, strlen(start)))
            return true;
    }
    return false;
}

static int is_known(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_usb_host_device *d, bool *known_r)
{
    char title[64], *text = NULL;
    int rc;

    snprintf(title, sizeof(title), "  Bus %u, Addr %u, Port ", d->bus,
             d->address);
    rc = ask(ctx, guest, "info usbhost", &text);
    if (rc) goto out;
    *known_r = has_line(text, title);

 out:
    free(text);
    return rc;
}

int xlx__usb_wait_known(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_host_device *d, int64_t deadline)
{
    int64_t end = xlx__now_ms() + KNOWN_MS;
    bool known = false;
    int rc;

    for (;;) {
        rc = is_known(ctx, guest, d, &known);
        rc = xlx__usb_backend_check(ctx, guest, rc);
        if (rc || known)
            return rc;
        if (xlx__now_ms() >= (end < deadline ? end : deadline))
            return xlx__error(ERROR_TIMEDOUT, "%s: the guest's QEMU has not "
                              "heard of it, at bus %u, address %u: does udevd "
                              "run?", xlx__text(d->path), d->bus, d->address);
        usleep(NAP_MS * 1000);
    }
}

/* ---- starting ----------------------------------------------------------- */

/* Xen's QEMU is where the installed Xen was built to have it, and no public
 * call tells. */
static const char *qemu_path(void)
{
    const char *paths[] = {
        secure_getenv("LIBXLX_XEN_QEMU"),
        "/usr/libexec/xen-qemu-system-i386",        /* Debian */
        "/usr/lib/xen/bin/qemu-system-i386",        /* Xen's own build */
        "/usr/libexec/xen/bin/qemu-system-i386",
        "/usr/local/lib/xen/bin/qemu-system-i386",
        "/usr/local/libexec/xen/bin/qemu-system-i386",
        "/usr/bin/qemu-system-i386",
        "/usr/bin/qemu-system-x86_64",
    };
    size_t i;

    for (i = 0; i < XLX__ARRAY_SIZE(paths); i++)
        if (paths[i] && !access(paths[i], X_OK))
            return paths[i];
    return NULL;
}

/* The QEMU that was started here for the domain; 0 when it does not run. */
static pid_t our_pid(xlx_ctx *ctx, uint32_t domid)
{
    char *path = file_path(ctx, domid, "pid");
    pid_t pid = recorded_pid(path);

    if (!pid || !has_argument(pid, "-pidfile", path))
        pid = 0;
    free(path);
    return pid;
}

#define SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny," \
                "resourcecontrol=deny"

/* sandbox: may it do no more than serve devices? */
static int run_qemu(xlx_ctx *ctx, uint32_t domid, const char *pidfile,
                    bool sandbox, pid_t *pid_r)
{
    char number[16], name[32], *log = file_path(ctx, domid, "log");
    char *cmd = xlx__printf("socket,id=libxl-cmd,path=%s/qmp-libxl-%u,"
                            "server=on,wait=off", xlx__xen_run_dir(), domid);
    char *stat = xlx__printf("socket,id=libxenstat-cmd,path=%s/"
                             "qmp-libxenstat-%u,server=on,wait=off",
                             xlx__xen_run_dir(), domid);
    const char *const argv[] = {
        qemu_path(), "-xen-domid", number, "-xen-attach", "-name", name,
        "-no-user-config", "-nodefaults", "-no-shutdown",
        "-machine", "xenpv", "-m", "1", "-display", "none",
        "-chardev", cmd, "-mon", "chardev=libxl-cmd,mode=control",
        "-chardev", stat, "-mon", "chardev=libxenstat-cmd,mode=control",
        "-pidfile", pidfile, sandbox ? "-sandbox" : NULL, SANDBOX, NULL,
    };
    int rc;

    snprintf(number, sizeof(number), "%u", domid);
    snprintf(name, sizeof(name), "usb-backend-%u", domid);
    if (!argv[0])
        rc = xlx__error(ERROR_NOTFOUND, "the guest needs a QEMU for its USB "
                        "controller, and there is none for Xen: install"
                        " qemu-system-xen, or set LIBXLX_XEN_QEMU");
    else if (!cmd || !stat || !log)
        rc = xlx__nomem();
    else
        rc = xlx__usb_qemu_run(argv, log, pid_r);
    free(log);
    free(cmd);
    free(stat);
    return rc;
}

static void ready_node(uint32_t domid, char path[64])
{
    snprintf(path, 64, "/local/domain/0/device-model/%u/backends/qusb", domid);
}

struct ready {
    xlx_ctx *ctx;
    char path[64];
    pid_t pid;
    uint64_t start;                 /* of that process */
};

static int is_ready(void *user)
{
    const struct ready *ready = user;
    char *value = NULL;
    int rc;

    rc = xlx__xs_read(ready->ctx, XBT_NULL, ready->path, &value);
    free(value);
    if (rc == ERROR_NOTFOUND) {
        xlx__error_clear();
        return !ready->start || xlx__process_start(ready->pid) != ready->start
               ? ERROR_NOT_READY : 0;
    }
    return rc ? rc : 1;
}

/* QEMU says which backends it has when it watches for their devices.
 * ERROR_NOT_READY: it has ended. */
static int wait_ready(xlx_ctx *ctx, uint32_t domid, pid_t pid,
                      int64_t deadline)
{
    struct ready ready = {
        .ctx = ctx, .pid = pid, .start = xlx__process_start(pid),
    };
    char line[LOG_LINE], *log;
    int rc;

    ready_node(domid, ready.path);
    rc = xlx__xs_wait(ctx, ready.path, deadline, is_ready, &ready);
    if (rc == ERROR_TIMEDOUT)
        rc = xlx__error(rc, "the QEMU for the guest's USB controller does not"
                        " offer one: is it built with Xen's USB backend?");
    if (rc != ERROR_NOT_READY)
        return rc;
    log = file_path(ctx, domid, "log");
    last_line(log, line);
    free(log);
    return xlx__error(rc, "the QEMU for the guest's USB controller has ended "
                      "at once%s%s", *line ? ": " : "", line);
}

static int start_qemu(xlx_ctx *ctx, uint32_t domid, const char *pidfile,
                      bool sandbox, int64_t deadline)
{
    char name[32], ready[64];
    pid_t pid;
    int rc;

    unlink(pidfile);
    /* one that was killed left it, and the new one seems ready before it is */
    ready_node(domid, ready);
    rc = xlx__forgive(xlx__xs_remove(ctx, XBT_NULL, ready), ERROR_NOTFOUND);
    if (rc) return rc;
    rc = run_qemu(ctx, domid, pidfile, sandbox, &pid);
    if (rc) return rc;
    rc = wait_ready(ctx, domid, pid, deadline);
    if (rc) return rc;
    snprintf(name, sizeof(name), "xl-usb-qemu-%u", domid);
    xlx__scope_take(ctx, name, pid);
    return 0;
}

struct publication {
    uint32_t domid;
    pid_t pid;
};

/* Not for a domain that is gone: the node would be found by the next with that
 * number. */
static int publish_step(xlx_ctx *ctx, xs_transaction_t t, void *user)
{
    const struct publication *p = user;
    char path[64], number[16], *value;
    int rc;

    snprintf(path, sizeof(path), "/local/domain/%u/domid", p->domid);
    rc = xlx__xs_read(ctx, t, path, &value);
    if (rc == ERROR_NOTFOUND)
        return xlx__error(ERROR_DOMAIN_NOTFOUND, "domain %u has ended",
                          p->domid);
    if (rc) return rc;
    free(value);
    pid_node(p->domid, path);
    snprintf(number, sizeof(number), "%d", (int)p->pid);
    return xlx__xs_write(ctx, t, path, number);
}

/* From here on libxl ends it. */
static int publish(xlx_ctx *ctx, uint32_t domid, pid_t pid)
{
    struct publication p = { domid, pid };

    return xlx__xs_transact(ctx, publish_step, &p);
}

/* Ends the QEMU that was started here for the domain, and no process that gets
 * its number at this moment: it is looked at again through a descriptor that
 * is this process's alone. */
static void end_ours(xlx_ctx *ctx, uint32_t domid)
{
    pid_t pid = our_pid(ctx, domid);
    struct pollfd fd = { .fd = -1, .events = POLLIN };

    if (pid)
        fd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd.fd < 0)
        return;
    if (our_pid(ctx, domid) == pid &&
        !syscall(SYS_pidfd_send_signal, fd.fd, SIGTERM, NULL, 0) &&
        poll(&fd, 1, STOP_MS) <= 0) {
        syscall(SYS_pidfd_send_signal, fd.fd, SIGKILL, NULL, 0);
        poll(&fd, 1, STOP_MS);
    }
    close(fd.fd);
}

/* A QEMU that was built without the sandbox ends at once, as Debian's for Xen
 * is, and one that needs more than it allows: only that is worth a notice. */
static int start_any(xlx_ctx *ctx, uint32_t domid, const char *pidfile,
                     int64_t deadline)
{
    struct xlx__error_text why;
    int rc;

    rc = start_qemu(ctx, domid, pidfile, true, deadline);
    if (rc != ERROR_NOT_READY)
        return rc;
    xlx__error_save(&why);
    rc = start_qemu(ctx, domid, pidfile, false, deadline);
    if (!rc && !strstr(why.line, "support is not enabled"))
        xlx__notice(ctx, "%s: it runs without its sandbox now", why.line);
    return rc == ERROR_NOT_READY ? ERROR_FAIL : rc;
}

int xlx__usb_backend_start(xlx_ctx *ctx, uint32_t domid,
                           const struct xlx__hostdev_patience *patience)
{
    char *pidfile = NULL;
    int64_t deadline;
    pid_t pid;
    int rc;

    if (xlx__usb_backend_runs(ctx, domid))
        return 0;
    pidfile = file_path(ctx, domid, "pid");
    if (!pidfile)
        return xlx__nomem();
    rc = xlx__make_directory(ctx->run_dir);
    if (rc) goto out;
    pid = our_pid(ctx, domid);          /* a killed command left it */
    deadline = xlx__hostdev_deadline(patience, xlx__now_ms() + START_MS);
    rc = pid ? wait_ready(ctx, domid, pid, deadline)
             : start_any(ctx, domid, pidfile, deadline);
    if (!rc && !our_pid(ctx, domid))
        rc = xlx__error(ERROR_FAIL, "the QEMU for the guest's USB controller "
                        "has ended at once");
    if (!rc)
        rc = publish(ctx, domid, our_pid(ctx, domid));
    /* a watcher that has no more time waits on in its next look */
    if (rc && !(patience && rc == ERROR_TIMEDOUT))
        end_ours(ctx, domid);

 out:
    free(pidfile);
    return rc;
}

void xlx__usb_backend_stop(xlx_ctx *ctx, uint32_t domid)
{
    static const char *const files[] = { "pid", "log" };
    pid_t pid = our_pid(ctx, domid);
    char path[64], *file;
    size_t i;

    if (pid && (pid == noted_pid(ctx, domid) || !noted_pid(ctx, domid))) {
        pid_node(domid, path);
        xlx__xs_remove(ctx, XBT_NULL, path);
        end_ours(ctx, domid);
        snprintf(path, sizeof(path), "/local/domain/0/device-model/%u",
                 domid);
        xlx__xs_remove(ctx, XBT_NULL, path);
        xlx__error_clear();
    }
    for (i = 0; !our_pid(ctx, domid) && i < XLX__ARRAY_SIZE(files); i++) {
        file = file_path(ctx, domid, files[i]);
        if (file)
            unlink(file);
        free(file);
    }
}
