/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watchers: what they show of themselves, and what they go on after.  libxl is
 * played here.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libxl_utils.h>

#include "core/process.h"
#include "core/report.h"
#include "core/xs.h"
#include "guest/domain.h"
#include "hostdev/hostdev.h"
#include "peer.h"

static const char uuid_text[] = "5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10";
static libxl_uuid uuid;

/* ---- libxl: domain 5 is the guest --------------------------------------- */

static int a_libxl;
static bool name_is_used;

int libxl_ctx_alloc(libxl_ctx **ctx_r, int version, unsigned int flags,
                    xentoollog_logger *logger)
{
    (void)version;
    (void)flags;
    (void)logger;
    *ctx_r = (libxl_ctx *)&a_libxl;
    return 0;
}

int libxl_ctx_free(libxl_ctx *libxl)
{
    (void)libxl;
    return 0;
}

void libxl_childproc_setmode(libxl_ctx *libxl,
                             const libxl_childproc_hooks *hooks, void *user)
{
    (void)libxl;
    (void)hooks;
    (void)user;
}

int libxl_domain_info(libxl_ctx *libxl, libxl_dominfo *info, uint32_t domid)
{
    (void)libxl;
    info->domid = domid;
    info->uuid = uuid;
    return domid == 5 ? 0 : ERROR_DOMAIN_NOTFOUND;
}

libxl_dominfo *libxl_list_domain(libxl_ctx *libxl, int *num_r)
{
    libxl_dominfo *list = calloc(1, sizeof(*list));

    *num_r = 1;
    libxl_domain_info(libxl, list, 5);
    return list;
}

void libxl_dominfo_list_free(libxl_dominfo *list, int num)
{
    (void)num;
    free(list);
}

char *libxl_domid_to_name(libxl_ctx *libxl, uint32_t domid)
{
    (void)libxl;
    (void)domid;
    return strdup("web");
}

int libxl_name_to_domid(libxl_ctx *libxl, const char *name, uint32_t *domid)
{
    (void)libxl;
    (void)name;
    *domid = 5;
    return name_is_used ? 0 : ERROR_INVAL;
}

/* ---- health ------------------------------------------------------------- */

/* A process that plays the watcher until it is killed. */
static pid_t play_watcher(const struct xlx__hostdev_health *h)
{
    struct xlx__lock lock = XLX__LOCK_NONE;
    char *path, byte = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (!pid) {
        path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
        if (xlx__lock_file(path, 0, &lock))
            _exit(1);
        xlx__hostdev_health_write(&lock, h);
        if (write(fds[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    assert_true(pid > 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void health(void **state)
{
    struct xlx__hostdev_health h, said = {
        .since = 1000, .last = 1060, .times = 3, .error = "no \"memory\"",
    };
    char *path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
    pid_t pid;
    (void)state;

    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_false(h.alive);
    assert_string_equal(h.error, "");

    pid = play_watcher(&said);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_true(h.alive);
    assert_int_equal(h.pid, pid);
    assert_int_equal(h.since, 1000);
    assert_int_equal(h.last, 1060);
    assert_int_equal(h.times, 3);
    assert_string_equal(h.error, "no \"memory\"");
    /* one of the other concept */
    assert_ok(xlx__hostdev_health(peer_ctx(), "scsi", &uuid, &h));
    assert_false(h.alive);

    /* what it said last stays, but there is none */
    kill(pid, SIGKILL);
    peer_wait(pid);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_false(h.alive);
    assert_int_equal(h.pid, 0);
    assert_string_equal(h.error, "no \"memory\"");

    /* the next says less */
    said = (struct xlx__hostdev_health){ .error = "" };
    pid = play_watcher(&said);
    assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
    assert_int_equal(h.pid, pid);
    assert_string_equal(h.error, "");
    kill(pid, SIGKILL);
    peer_wait(pid);
    unlink(path);
    free(path);
}

/* A file of that name that is not a watcher's is nobody's. */
static void strange_files(void **state)
{
    static const char *const texts[] = {
        "", "\n", "1", "-5 1 2 3 4\nx\n", "1 999999 1 2 3", "x\ny\n",
    };
    char *path = xlx__hostdev_watch_path(peer_ctx(), "usb", &uuid);
    struct xlx__hostdev_health h;
    size_t i;
    FILE *f;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(texts); i++) {
        f = fopen(path, "w");
        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
        assert_ok(xlx__hostdev_health(peer_ctx(), "usb", &uuid, &h));
        assert_false(h.alive);
        assert_int_equal(h.pid, 0);
    }
    unlink(path);
    free(path);
}

/* ---- processes ---------------------------------------------------------- */

static void processes(void **state)
{
    char *arguments;
    size_t size;
    pid_t pid;
    (void)state;

    assert_true(xlx__process_start(getpid()));
    assert_int_equal(xlx__process_start(getpid()),
                     xlx__process_start(getpid()));
    assert_int_equal(xlx__process_start(0), 0);
    assert_int_equal(xlx__process_start(-1), 0);
    arguments = xlx__process_arguments(getpid(), &size);
    assert_non_null(arguments);
    assert_false(xlx__process_argument(arguments, size, "-xen-domid", NULL));
    free(arguments);

    static const char line[] = "qemu\0-xen-domid\0" "5\0-name\0x -xen-domid 6";
    assert_true(xlx__process_argument(line, sizeof(line), "-xen-domid", "5"));
    assert_true(xlx__process_argument(line, sizeof(line), "-xen-domid",
                                      NULL));
    assert_false(xlx__process_argument(line, sizeof(line), "-xen-domid",
                                       "6"));
    assert_false(xlx__process_argument(line, sizeof(line), "-xen-domid", ""));

    /* nobody has waited for it, and yet it is not there any more */
    pid = fork();
    if (!pid)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 },
                            WEXITED | WNOWAIT), 0);
    assert_int_equal(xlx__process_start(pid), 0);
    peer_wait(pid);
}

/* ---- xl of a guest ------------------------------------------------------ */

/* A process of that name with that file as its output. */
static pid_t play_program(const char *name, const char *output)
{
    char *path = xlx__printf("%s", peer_path(name));
    char *out = xlx__printf("%s", peer_path(output));
    char byte;
    int fds[2];
    pid_t pid;

    unlink(path);
    assert_int_equal(symlink("/bin/sleep", path), 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        dup2(open(out, O_WRONLY | O_CREAT, 0600), 1);
        execl(path, name, "600", NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 0);    /* it is that program */
    close(fds[0]);
    free(path);
    free(out);
    return pid;
}

static void end_program(pid_t pid)
{
    kill(pid, SIGKILL);
    peer_wait(pid);
}

/* While its xl is there a guest that has gone will come back. */
static void kept(void **state)
{
    static const struct {
        const char *program, *output;
        bool kept;
    } cases[] = {
        { "xl", "xl-web.log", true },
        { "xl", "xl-web.log.3", true },
        { "xl", "xl-web--incoming.log", true },
        { "xl", "xl-web2.log", false },
        { "xl", "xl-we.log", false },
        { "xl", "xl-web.logs", false },
        { "xl", "web.log", false },
        { "xls", "xl-web.log", false },
    };
    xlx_guest guest = { .name = (char *)"web" };
    size_t i;
    pid_t pid;
    (void)state;

    assert_false(xlx__domain_is_kept(peer_ctx(), &guest, 60000));
    for (i = 0; i < XLX__ARRAY_SIZE(cases); i++) {
        pid = play_program(cases[i].program, cases[i].output);
        if (xlx__domain_is_kept(peer_ctx(), &guest, 0) != cases[i].kept)
            fail_msg("%s with %s", cases[i].program, cases[i].output);
        end_program(pid);
    }
    /* another guest of that name runs, and the xl is that one's */
    pid = play_program("xl", "xl-web.log");
    name_is_used = true;
    assert_false(xlx__domain_is_kept(peer_ctx(), &guest, 0));
    guest.uuid = uuid;
    assert_true(xlx__domain_is_kept(peer_ctx(), &guest, 0));
    name_is_used = false;
    end_program(pid);
    guest.name = NULL;
    assert_false(xlx__domain_is_kept(peer_ctx(), &guest, 0));
}

/* ---- patience ----------------------------------------------------------- */

static void patience(void **state)
{
    struct xlx__hostdev_patience p = { NULL, 0, 0, 0 };
    int64_t now = xlx__now_ms();
    (void)state;

    assert_int_equal(xlx__hostdev_backoff(1), 2000);
    assert_int_equal(xlx__hostdev_backoff(2), 4000);
    assert_int_equal(xlx__hostdev_backoff(3), 8000);
    assert_int_equal(xlx__hostdev_backoff(8), 240000);
    assert_int_equal(xlx__hostdev_backoff(UINT_MAX), 240000);
    /* a command has none */
    assert_true(xlx__hostdev_may_try(NULL, "0/1", "a"));
    xlx__hostdev_tried(NULL, "0/1", "a", true);
    assert_int_equal(xlx__hostdev_deadline(NULL, 77), 77);

    xlx__hostdev_patience_begin(&p, now + 60000);
    assert_true(xlx__hostdev_may_try(&p, "0/1", "a"));
    xlx__hostdev_tried(&p, "0/1", "a", true);
    assert_true(p.next >= now + 2000);
    assert_false(xlx__hostdev_may_try(&p, "0/1", "a"));
    /* another device, and this one in another situation */
    assert_true(xlx__hostdev_may_try(&p, "0/2", "a"));
    assert_true(xlx__hostdev_may_try(&p, "0/1", "b"));
    xlx__hostdev_tried(&p, "0/1", "a", true);
    assert_int_equal(p.list[0].failures, 2);
    assert_true(p.list[0].next >= now + 4000);
    xlx__hostdev_tried(&p, "0/1", "b", true);
    assert_int_equal(p.list[0].failures, 1);
    xlx__hostdev_patience_end(&p);
    assert_int_equal(p.num, 1);

    /* the next look says when it is its turn */
    xlx__hostdev_patience_begin(&p, now + 60000);
    assert_false(xlx__hostdev_may_try(&p, "0/1", "b"));
    assert_int_equal(p.next, p.list[0].next);
    xlx__hostdev_tried(&p, "0/1", "b", false);
    assert_int_equal(p.num, 0);
    xlx__hostdev_tried(&p, "0/1", "b", true);
    xlx__hostdev_patience_end(&p);
    /* one that is not there any more is forgotten */
    xlx__hostdev_patience_begin(&p, now + 60000);
    xlx__hostdev_patience_end(&p);
    assert_int_equal(p.num, 0);

    /* a look that has taken its time leaves the rest for the next */
    xlx__hostdev_patience_begin(&p, now - 1);
    assert_false(xlx__hostdev_may_try(&p, "0/3", "a"));
    assert_int_equal(p.next, now - 1);
    assert_true(xlx__hostdev_deadline(&p, now + 600000) <
                xlx__now_ms() + 10000);
    assert_int_equal(xlx__hostdev_deadline(&p, 5), 5);
    xlx__hostdev_patience_dispose(&p);
}

/* ---- watching ----------------------------------------------------------- */

/* The kernel's events come from here. */
static int kernel = -1;
static bool no_events;

int socket(int domain, int type, int protocol)
{
    int fds[2];

    if (domain != AF_NETLINK)
        return (int)syscall(SYS_socket, domain, type, protocol);
    if (no_events) {
        errno = EMFILE;
        return -1;
    }
    if (kernel >= 0)
        close(kernel);
    assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
    kernel = fds[1];
    return fds[0];
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    return addr->sa_family == AF_NETLINK
           ? 0 : (int)syscall(SYS_bind, fd, addr, len);
}

static void event(const char *action, const char *subsystem)
{
    char text[200];
    int len;

    len = snprintf(text, sizeof(text), "%s@/devices/x%cACTION=%s%c"
                   "SUBSYSTEM=%s%cSEQNUM=1%c", action, 0, action, 0,
                   subsystem, 0, 0);
    assert_int_equal(send(kernel, text, (size_t)len, 0), len);
}

static pid_t xenstored;

static void start_xenstored(void)
{
    xenstored = peer_start("fake-xenstored.py", peer_path("xenstored"),
                           "/local/domain/5/domid=5", NULL);
}

static void stop_xenstored(void)
{
    kill(xenstored, SIGKILL);
    waitpid(xenstored, NULL, 0);
    unlink(peer_path("xenstored"));
}

static int end_xenstored(void **state)
{
    (void)state;
    xlx__xs_close(peer_ctx());
    stop_xenstored();
    return 0;
}

/* What the looks of a test do, one after the other. */
static int looks;
static int (*script)(const struct xlx__hostdev_look *l, bool *left_r);
static struct xlx__hostdev_health shown;

static int look(xlx_ctx *ctx, const struct xlx__hostdev_look *l,
                bool *left_r)
{
    looks++;
    assert_ok(xlx__hostdev_health(ctx, "usb", &uuid, &shown));
    assert_true(shown.alive);
    assert_int_equal(shown.pid, getpid());
    return script(l, left_r);
}

static void watch(int (*how)(const struct xlx__hostdev_look *l,
                             bool *left_r))
{
    static const char *const subsystems[] = { "usb", NULL };
    static const struct xlx__hostdev_watch w = {
        .name = "usb", .subsystems = subsystems, .look = look,
    };
    xlx_guest guest;

    xlx_guest_init(&guest);
    guest.uuid = uuid;
    guest.domid = 5;
    assert_ok(xlx__set_string(&guest.name, "web"));
    looks = 0;
    script = how;
    assert_ok(xlx__hostdev_watch(peer_ctx(), &guest, &w));
    xlx_guest_dispose(&guest);
}

static int fail_once(const struct xlx__hostdev_look *l, bool *left_r)
{
    (void)l;
    if (looks == 1)
        return xlx__error(ERROR_NOMEM, "out of memory");
    assert_string_equal(shown.error, "out of memory");
    assert_int_equal(shown.times, 1);
    *left_r = false;
    return 0;
}

/* It goes on, and says what it could not do. */
static void outlives_errors(void **state)
{
    (void)state;
    start_xenstored();
    watch(fail_once);
    assert_int_equal(looks, 2);
}

static int restart_xenstored(const struct xlx__hostdev_look *l, bool *left_r)
{
    (void)l;
    *left_r = looks == 1;
    if (looks > 1) {
        assert_string_not_equal(shown.error, "");
        return 0;
    }
    stop_xenstored();
    start_xenstored();
    return 0;
}

static void outlives_xenstored(void **state)
{
    char *value;
    (void)state;

    start_xenstored();
    /* its connection is one to the old one */
    assert_ok(xlx__xs_read(peer_ctx(), XBT_NULL, "/local/domain/5/domid",
                           &value));
    free(value);
    watch(restart_xenstored);
    assert_int_equal(looks, 2);
}

/* A device fails, and then works. */
static int fail_device(const struct xlx__hostdev_look *l, bool *left_r)
{
    bool due = xlx__hostdev_may_try(l->patience, "0/1", "5");

    *left_r = looks < 3;
    if (looks == 1) {
        xlx__hostdev_tried(l->patience, "0/1", "5", true);
        assert_ok(xlx__report(l->report, false, "it hangs", "1-1"));
        event("add", "usb");
    } else if (looks == 2) {
        /* the event of another device is no reason to try it */
        assert_false(due);
        assert_string_equal(shown.error, "1-1: it hangs");
    } else {
        assert_true(due);
        assert_string_equal(shown.error, "1-1: it hangs");
    }
    return 0;
}

static void backs_off(void **state)
{
    int64_t begin = xlx__now_ms();
    (void)state;

    start_xenstored();
    watch(fail_device);
    assert_int_equal(looks, 3);
    assert_true(xlx__now_ms() - begin >= 2000);
    assert_true(xlx__now_ms() - begin < 50000);     /* and not at LOOK_MS */
}

static pid_t helper;

static int await_event(const struct xlx__hostdev_look *l, bool *left_r)
{
    (void)l;
    *left_r = looks == 1;
    if (looks > 1)
        return 0;
    event("add", "net");
    event("change", "usb");
    helper = fork();
    if (!helper) {
        sleep(2);
        event("bind", "usb");
        _exit(0);
    }
    return 0;
}

static void hears_events(void **state)
{
    int64_t begin = xlx__now_ms();
    (void)state;

    start_xenstored();
    watch(await_event);
    assert_int_equal(looks, 2);
    assert_true(xlx__now_ms() - begin >= 2000);
    assert_true(xlx__now_ms() - begin < 50000);
    peer_wait(helper);
}

static int see_no_events(const struct xlx__hostdev_look *l, bool *left_r)
{
    (void)l;
    *left_r = looks == 1;
    assert_non_null(strstr(shown.error, "the kernel's events: "));
    no_events = false;
    return 0;
}

/* At the limit of open files it looks from time to time. */
static void no_descriptors(void **state)
{
    int64_t begin = xlx__now_ms();
    (void)state;

    start_xenstored();
    no_events = true;
    watch(see_no_events);
    assert_int_equal(looks, 2);
    assert_true(xlx__now_ms() - begin < 50000);
}

static int setup(void **state)
{
    libxl_uuid_from_string(&uuid, uuid_text);
    return peer_setup(state);
}

int main(void)
{
    const struct CMUnitTest hostdev_watch[] = {
        cmocka_unit_test(health),
        cmocka_unit_test(strange_files),
        cmocka_unit_test(processes),
        cmocka_unit_test(kept),
        cmocka_unit_test(patience),
        cmocka_unit_test_teardown(outlives_errors, end_xenstored),
        cmocka_unit_test_teardown(outlives_xenstored, end_xenstored),
        cmocka_unit_test_teardown(backs_off, end_xenstored),
        cmocka_unit_test_teardown(hears_events, end_xenstored),
        cmocka_unit_test_teardown(no_descriptors, end_xenstored),
    };

    return cmocka_run_group_tests(hostdev_watch, setup, peer_teardown);
}
