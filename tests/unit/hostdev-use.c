/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who uses a device of the host: in a sysfs and a proc of our own, where char
 * devices that every host has represent those of the device; and on this host,
 * as root, with loop devices, mounts and swap.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>

#include "core/kernfs.h"
#include "disk/block.h"
#include "gen-calls.h"
#include "gen-records.h"
#include "hostdev-rig.h"
#include "hostdev/hostdev-use.h"
#include "hostdev/hostdev.h"

/* ---- asking ------------------------------------------------------------- */

static int ask_dir(const char *dir, bool shared, char **use_r)
{
    struct xlx__hostdev_question q = { .shared = shared };
    struct xlx__hostdev_world *world = NULL;
    struct xlx__hostdev_tree tree;
    int rc;

    *use_r = NULL;
    rc = xlx__hostdev_tree_read(dir, &tree);
    q.tree = &tree;
    if (!rc)
        rc = xlx__hostdev_world_open(ctx, &world);
    if (!rc)
        rc = xlx__hostdev_host_use(world, &q, use_r);
    xlx__hostdev_world_close(world);
    xlx__hostdev_tree_dispose(&tree);
    return rc;
}

static void is_used(const char *dir, const char *says)
{
    char *use;

    assert_ok(ask_dir(dir, false, &use));
    if (*says ? !use || !strstr(use, says) : use != NULL)
        fail_msg("%s: \"%s\", wanted \"%s\"", dir, use ? use : "", says);
    free(use);
}

static void uses(const char *name, const char *says)
{
    is_used(path_of(name), says);
}

static void cannot_tell(const char *name, const char *says)
{
    char *dir = path_of(name), *use;
    int rc = ask_dir(dir, false, &use);

    if (!rc || !strstr(xlx_error_get(), says))
        fail_msg("%s: %d, \"%s\" (%s), wanted \"%s\"", name, rc,
                 use ? use : "", xlx_error_get(), says);
    free(use);
}

/* ---- programs ----------------------------------------------------------- */

static void programs(void **state)
{
    static const struct {
        const char *dir, *name;     /* below the interface */
    } nodes[] = {
        { "ttyUSB0/tty/ttyUSB0", "ttyUSB0" }, { "tty/ttyACM0", "ttyACM0" },
        { "0003:1.1/hidraw/hidraw2", "hidraw2" },
        { "input/input5/event3", "input/event3" },
        { "video4linux/video0", "video0" }, { "usbmisc/lp0", "usb/lp0" },
        { "sound/card1/controlC1", "snd/controlC1" },
        { "host7/7:0:0:0/scsi_tape/nst0", "nst0" },
        { "host7/7:0:0:0/bsg/7:0:0:0", "bsg/7:0:0:0" },
        { "host7/7:0:0:0/scsi_changer/sch0", "sch0" },
    };
    char *at, *text, *node;
    size_t i;
    (void)state;

    process("100", "picocom", "/dev/zero");
    for (i = 0; i < XLX__ARRAY_SIZE(nodes); i++) {
        uses(OTHER, "");
        node = xlx__printf(OTHER "1-2:1.0/%s/dev", nodes[i].dir);
        put(node, "1:5\n");
        at = xlx__printf(OTHER "1-2:1.0/%s/uevent", nodes[i].dir);
        text = xlx__printf("MAJOR=1\nMINOR=5\nDEVNAME=%s\n", nodes[i].name);
        put(at, text);
        free(text);
        text = xlx__printf("process 100 (picocom) has /dev/%s open",
                           nodes[i].name);
        uses(OTHER, text);
        drop(node);
        free(text);
        free(at);
        free(node);
    }
    uses(STICK, "process 100 (picocom) has sg3 open");
    uses("sys/class/scsi_device/6:0:0:0/device", "has sg3 open");
    process("100", "picocom", NULL);
    uses(STICK, "");
}

/* Programs that look at everything that comes. */
static void listeners(void **state)
{
    (void)state;

    put(OTHER "1-2:1.0/input/input5/event3/dev", "1:5\n");
    process("100", "systemd-logind", "/dev/zero");
    uses(OTHER, "");
    process("100", "(udev-worker)", "/dev/zero");
    uses(OTHER, "");
    process("100", "Xorg", "/dev/zero");
    uses(OTHER, "process 100 (Xorg) has /dev/input/event3 open");
    drop(OTHER "1-2:1.0/input/input5/event3/dev");
    put(OTHER "1-2:1.0/hidraw/hidraw2/dev", "1:5\n");
    process("100", "systemd-logind", "/dev/zero");
    uses(OTHER, "process 100 (systemd-logind) has hidraw2 open");
    drop(OTHER "1-2:1.0/hidraw/hidraw2/dev");
    process("100", "picocom", NULL);
}

/* The node with which a program takes the stick from usb-storage. */
static void usb_node(void **state)
{
    (void)state;

    put_usb(STICK, "1:7\n");
    process("100", "qemu", "/dev/full");
    uses("sys/class/scsi_device/6:0:0:0/device", "process 100 (qemu) has 1-1");
    put_usb(STICK, "189:1\n");
    process("100", "picocom", NULL);
    put(OTHER "1-2:1.0/net/eth7/ifindex", "7\n");
    put(OTHER "1-2:1.0/net/eth7/flags", "0x1003\n");
    uses(OTHER, "its network card eth7 is up");
    put(OTHER "1-2:1.0/net/eth7/flags", "0x1002\n");
    uses(OTHER, "");
    put_link(OTHER "1-2:1.0/driver", "../drivers/usbfs");
    uses(OTHER, "a program has its interface 1-2:1.0");
    drop(OTHER "1-2:1.0/driver");
}

/* ---- the kernel --------------------------------------------------------- */

static void kernel(void **state)
{
    (void)state;

    uses(STICK, "");
    put(LUN "block/sdx/holders/dm-0/x", "");
    uses(STICK, "sdx is part of dm-0");
    unlink(path_of(LUN "block/sdx/holders/dm-0/x"));
    rmdir(path_of(LUN "block/sdx/holders/dm-0"));
    uses(STICK, "");
    /* in a namespace of its own */
    put_link("proc/100/ns/mnt", "mnt:[2]");
    put("proc/100/mountinfo",
        "36 35 8:113 / /mnt rw,noatime - ext4 /dev/sdx1 rw\n");
    uses(STICK, "sdx1 is mounted on /mnt, as process 100 sees it");
    uses("sys/class/scsi_device/6:0:0:0/device", "sdx1 is mounted");
    put("proc/100/mountinfo", "");
    put("proc/self/mountinfo", "36 35 8:112 / /here rw - ext4 /dev/sdx rw\n");
    uses(STICK, "sdx is mounted on /here");
    put("proc/self/mountinfo", "");
    uses(STICK, "");
    put("sys/fs/btrfs/0ea7/devices/sdx/dev", "8:112\n");
    uses(STICK, "sdx is a member of a mounted btrfs");
    drop("sys/fs/btrfs/0ea7/devices/sdx/dev");
    /* a tape that another tool gives to others */
    put("config/target/core/pscsi_0/tape/udev_path", "/dev/zero\n");
    uses(STICK, "sg3 is served by the target's backstore");
    put("config/target/core/pscsi_0/xlx-5e1c/udev_path", "/dev/zero\n");
    drop("config/target/core/pscsi_0/tape/udev_path");
    uses(STICK, "");
}

/* ---- what cannot be found out ------------------------------------------- */

/* At each limit of open files the answer is the right one, or none. */
static void limits(void **state)
{
    struct rlimit before, limit;
    char *dir = path_of(STICK), *use;
    bool told = false;
    rlim_t n;
    int rc;
    (void)state;

    put(LUN "block/sdx/holders/dm-0/x", "");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    for (n = 3; n < 64 && !told; n++) {
        limit.rlim_cur = n;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        rc = ask_dir(dir, false, &use);
        setrlimit(RLIMIT_NOFILE, &before);
        told = !rc;
        if (rc ? !strstr(xlx_error_get(), "Too many open files")
               : !use || strcmp(use, "sdx is part of dm-0"))
            fail_msg("%d files: %d, \"%s\" (%s)", (int)n, rc, use ? use : "",
                     xlx_error_get());
        free(use);
    }
    assert_true(told);
    unlink(path_of(LUN "block/sdx/holders/dm-0/x"));
    rmdir(path_of(LUN "block/sdx/holders/dm-0"));
}

/* Each of the questions on its own. */
static void no_files(void **state)
{
    struct rlimit before, limit;
    char *text, *use = NULL;
    char **names = NULL;
    int rc, rc_holder, num;
    (void)state;

    put(LUN "block/sdx/holders/dm-0/x", "");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rc_holder = xlx__block_holder("sdx", path_of(LUN "block/sdx"), &use);
    rc = xlx__attr_list(&names, &num, NULL, "%s", path_of(LUN "block/sdx"));
    text = xlx__attr_text("%s", path_of(LUN "block/sdx/dev"));
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc_holder, ERROR_FAIL);
    assert_int_equal(rc, ERROR_FAIL);
    assert_null(text);
    assert_int_equal(xlx__attr_failure(), ERROR_FAIL);
    assert_null(use);
    unlink(path_of(LUN "block/sdx/holders/dm-0/x"));
    rmdir(path_of(LUN "block/sdx/holders/dm-0"));
}

static void unknown(void **state)
{
    (void)state;

    /* proc mounted with hidepid */
    rename(path_of("proc/1"), path_of("proc/one"));
    cannot_tell(STICK, "hidepid");
    rename(path_of("proc/one"), path_of("proc/1"));
    put(LUN "state", "offline\n");
    cannot_tell(STICK, "sdx: its state is \"offline\"");
    put(LUN "state", "running\n");
    drop("dev/sdx");
    cannot_tell(STICK, "sdx: cannot open: No such file");
    put("dev/sdx", "");
    put(LUN "block/sdx/sdx1/dev", "x\n");
    cannot_tell(STICK, "not MAJOR:MINOR");
    put(LUN "block/sdx/sdx1/dev", "8:113\n");
    uses(STICK, "");
}

/* Nobody answers for that directory: open() waits, until it is interrupted. */
static void hung(void **state)
{
    int ends[2], answer, status;
    char *options, *dir = path_of("dev/");
    int64_t begin;
    pid_t pid;
    (void)state;

    dir[strlen(dir) - 1] = '\0';
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (!pid) {
        setpgid(0, 0);
        options = xlx__printf("fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect",
                              ends[1], (int)getpid());
        answer = unshare(CLONE_NEWNS) ||
                 mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
                 mount("none", dir, "autofs", 0, options);
        free(options);
        if (answer)
            _exit(77);
        pid = fork();
        if (pid) {
            waitpid(pid, &status, 0);
            _exit(WEXITSTATUS(status));
        }
        setpgid(0, 0);
        begin = xlx__now_ms();
        cannot_tell(STICK, "the disk does not answer within 10 seconds");
        _exit(xlx__now_ms() - begin > 30000);
    }
    waitpid(pid, &status, 0);
    close(ends[0]);
    close(ends[1]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();                         /* not root, or no autofs */
    assert_int_equal(status, 0);
}

/* ---- SCSI and USB ask each other ---------------------------------------- */

static void guest_has(enum xlx__hostdev_concept asking, const char *name,
                      const char *says)
{
    struct xlx__hostdev_tree tree;
    char *dir = path_of(name), *use = NULL;

    assert_ok(xlx__hostdev_tree_read(dir, &tree));
    assert_ok(xlx__hostdev_recorded_use(ctx, asking == XLX__HOSTDEV_SCSI
                                        ? XLX__HOSTDEV_USB
                                        : XLX__HOSTDEV_SCSI, &tree, &use));
    if (*says ? !use || strcmp(use, says) : use != NULL)
        fail_msg("%s: \"%s\", wanted \"%s\"", name, use ? use : "", says);
    free(use);
    xlx__hostdev_tree_dispose(&tree);
}

static xlx_guest *web(void)
{
    static xlx_guest guest;
    static char name[] = "web";

    xlx_guest_init(&guest);
    guest.name = name;
    libxl_uuid_from_string(&guest.uuid,
                           "77777777-7d1e-4c5a-9a43-0d5d4f5e6a02");
    return &guest;
}

static void put_scsi(const char *identity)
{
    xlx_scsi_record record;
    xlx_scsi_entry *e;

    xlx_scsi_record_init(&record);
    e = xlx__scsi_record_entries_append(&record);
    assert_ok(xlx__set_string(&e->dev.vdev, "0:0:0:0"));
    assert_ok(xlx__set_string(&e->dev.pdev, "sdx"));
    assert_ok(xlx__set_string(&e->identity, identity));
    assert_ok(xlx__set_string(&e->hctl, "6:0:0:0"));
    assert_ok(xlx__hostdev_boot(&e->boot));
    assert_ok(xlx__scsi_record_save(ctx, web(), &record));
    xlx_scsi_record_dispose(&record);
}

static void put_usb_entry(xlx_usb_status status, const char *selector,
                          const char *path)
{
    xlx_usb_record record;
    xlx_usb_entry *e;

    xlx_usb_record_init(&record);
    e = xlx__usb_record_entries_append(&record);
    e->status = status;
    assert_ok(xlx__set_string(&e->selector, selector));
    assert_ok(xlx__set_string(&e->path, path));
    assert_ok(xlx__usb_record_save(ctx, web(), &record));
    xlx_usb_record_dispose(&record);
}

static void each_other(void **state)
{
    static const char by_scsi[] =
        "guest \"web\" has its disk as SCSI device 0:0:0:0";
    static const char lun[] = "sys/class/scsi_device/6:0:0:0/device";
    (void)state;

    guest_has(XLX__HOSTDEV_USB, STICK, "");
    put_scsi("wwid naa.5000000000000001");
    guest_has(XLX__HOSTDEV_USB, STICK, by_scsi);
    guest_has(XLX__HOSTDEV_USB, OTHER, "");
    /* the hub into which it is plugged */
    guest_has(XLX__HOSTDEV_USB, "sys/devices/pci0/0000:00:1d.0/usb1", by_scsi);
    drop(LUN "wwid");
    put_scsi("hctl 6:0:0:0");
    guest_has(XLX__HOSTDEV_USB, STICK, by_scsi);
    put(LUN "wwid", "naa.5000000000000001\n");
    put_scsi("wwid naa.5000000000000002");
    guest_has(XLX__HOSTDEV_USB, STICK, "");
    assert_ok(xlx__scsi_record_remove(ctx, web()));

    guest_has(XLX__HOSTDEV_SCSI, lun, "");
    put_usb_entry(XLX_USB_STATUS_ATTACHED, "0951:1666", "1-1");
    guest_has(XLX__HOSTDEV_SCSI, lun,
              "guest \"web\" has the USB device 1-1 that it is on");
    guest_has(XLX__HOSTDEV_SCSI, "sys/class/block/sdx",
              "guest \"web\" has the USB device 1-1 that it is on");
    put_usb_entry(XLX_USB_STATUS_MISSING, "0951:1666:AB12", "1-5");
    guest_has(XLX__HOSTDEV_SCSI, lun,
              "guest \"web\" waits for the USB device 1-1 that it is on");
    put_usb_entry(XLX_USB_STATUS_ASIDE, "1-1", "");
    guest_has(XLX__HOSTDEV_SCSI, lun,
              "guest \"web\" has the USB device 1-1 that it is on");
    put_usb_entry(XLX_USB_STATUS_MISSING, "pci-0000:00:14.0-usb-0:1", "");
    guest_has(XLX__HOSTDEV_SCSI, lun, "");
    put_usb_entry(XLX_USB_STATUS_MISSING, "pci-0000:00:1d.0-usb-0:1", "");
    guest_has(XLX__HOSTDEV_SCSI, lun,
              "guest \"web\" waits for the USB device 1-1 that it is on");
    put_usb_entry(XLX_USB_STATUS_MISSING, "0951:1666:AB13", "1-1");
    guest_has(XLX__HOSTDEV_SCSI, lun, "");
    assert_ok(xlx__usb_record_remove(ctx, web()));
}

/* ---- this host, as root ------------------------------------------------- */

/* A loop device over a new file, or over the device of that name. */
static char *loop_over(const char *name, int *fd_r)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, file;
    char *loop = NULL;

    if (control < 0)
        return NULL;
    file = open(*name == '/' ? name : path_of(name),
                O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    if (*name != '/')
        assert_int_equal(ftruncate(file, 8 << 20), 0);
    number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number >= 0)
        loop = xlx__printf("/dev/loop%d", number);
    *fd_r = loop ? open(loop, O_RDWR | O_CLOEXEC) : -1;
    if (*fd_r < 0 || ioctl(*fd_r, LOOP_SET_FD, file)) {
        free(loop);
        loop = NULL;
    }
    close(file);
    close(control);
    return loop;
}

static void real(const char *loop, const char *says)
{
    char *dir = xlx__printf("/sys/class/block/%s", loop + 5);

    is_used(dir, says);
    free(dir);
}

static bool run(const char *program, const char *device)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        freopen("/dev/null", "w", stdout);
        execlp(program, program, "-q", device, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return !status;
}

/* A process that does that and waits until it is killed. */
static pid_t start(bool (*act)(const char *loop), const char *loop)
{
    int ends[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (!pid) {
        close(ends[0]);
        c = act(loop) ? 'y' : 'n';
        if (write(ends[1], &c, 1) == 1)
            pause();
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &c, 1), 1);
    close(ends[0]);
    assert_int_equal(c, 'y');
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static bool open_it(const char *loop)
{
    return open(loop, O_RDONLY) >= 0;
}

static bool mount_it(const char *loop)
{
    return !unshare(CLONE_NEWNS) &&
           !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount(loop, "/mnt", "ext4", 0, NULL);
}

/* So that no other can, and by nobody that is seen. */
static bool claim_it(const char *loop)
{
    return open(loop, O_RDONLY | O_EXCL) >= 0;
}

/* The real process in our proc: a container may not let us look at all. */
static pid_t start_seen(bool (*act)(const char *loop), const char *loop)
{
    pid_t pid = start(act, loop);
    char at[64], to[64];

    snprintf(at, sizeof(at), "proc/%d", (int)pid);
    snprintf(to, sizeof(to), "/proc/%d", (int)pid);
    put_link(at, to);
    return pid;
}

static void this_host(void **state)
{
    char *loop, *over, *text;
    int fd, fd_over;
    pid_t pid;
    (void)state;

    if (geteuid() || !(loop = loop_over("disk", &fd)))
        skip();
    unsetenv("LIBXLX_SYSFS_DIR");
    unsetenv("LIBXLX_DEV_DIR");
    unsetenv("LIBXLX_CONFIGFS_DIR");
    put_link("proc/swaps", "/proc/swaps");
    put_link("proc/self/ns/mnt", "mnt:[4]");
    real(loop, "");
    pid = start_seen(open_it, loop);
    text = xlx__printf("process %d (hostdev-use) has %s open", (int)pid, loop);
    real(loop, text);
    free(text);
    stop(pid);
    real(loop, "");
    pid = start(claim_it, loop);
    real(loop, "open exclusively");
    stop(pid);
    over = loop_over(loop, &fd_over);
    assert_non_null(over);
    text = xlx__printf("%s is behind %s", loop + 5, over + 5);
    real(loop, text);
    free(text);
    assert_int_equal(ioctl(fd_over, LOOP_CLR_FD), 0);
    close(fd_over);
    free(over);
    real(loop, "");
    if (run("mkfs.ext4", loop)) {
        pid = start_seen(mount_it, loop);
        text = xlx__printf("%s is mounted on /mnt, as process %d sees it",
                           loop + 5, (int)pid);
        real(loop, text);
        free(text);
        stop(pid);
    }
    if (run("mkswap", loop) && !swapon(loop, 0)) {
        real(loop, "is used for swap");
        assert_int_equal(swapoff(loop), 0);
    }
    real(loop, "");
    ioctl(fd, LOOP_CLR_FD);
    close(fd);
    free(loop);
}

int main(void)
{
    const struct CMUnitTest hostdev_use[] = {
        cmocka_unit_test(programs),
        cmocka_unit_test(listeners),
        cmocka_unit_test(usb_node),
        cmocka_unit_test(kernel),
        cmocka_unit_test(limits),
        cmocka_unit_test(no_files),
        cmocka_unit_test(unknown),
        cmocka_unit_test(each_other),
        cmocka_unit_test(hung),
        cmocka_unit_test(this_host),
    };

    return cmocka_run_group_tests(hostdev_use, make_host, remove_host);
}
