/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The world of hostdev-random.c, see there: devices in sysfs, and in place of
 * the library's own (--wrap) the hypervisor, the kernel's target, the guests'
 * drivers and QEMU.  They stop the test when a guest is given another device
 * than its own, or something is taken from another guest's domain.
 */
#include <ftw.h>
#include <sys/stat.h>

#include "core/number.h"
#include "core/xs.h"
#include "guest/guest.h"
#include "hostdev-world.h"

char *root;
uint64_t seed;

/* ---- the world ---------------------------------------------------------- */

static const struct disk new_disks[DISKS] = {
    { "naa.5000000000000001", "S1", "Disk", 4, 1, false },
    { "naa.5000000000000001", "S2", "Disk", 4, 2, false },
    { "naa.3000000100000001", "beaf11", "Virtual", 4, 3, false },
    { "naa.3000000100000001", "beaf11", "Virtual", 8, 4, false },
    { "", "T1", "Stick", 1, 5, false },
    { "", "", "Stick", 1, 6, false },
    { "", "", "DVD", 2, 7, false },
    { "naa.5000000000000002", "", "Disk", 4, 8, false },
    /* nothing tells these two apart but where they are */
    { "naa.3000000100000007", "beaf17", "Virtual", 4, 9, false },
    { "naa.3000000100000007", "beaf17", "Virtual", 4, 10, false },
};
struct disk disks[DISKS];

static const struct stick new_sticks[STICKS] = {
    { "0951", "1666", "A1", 1, 2 },
    { "0951", "1666", "A2", 2, 3 },
    { "072f", "90cc", "", 3, 4 },
    { "18d1", "4ee7", "P1", 4, 5 },
    { "072f", "0001", "R1", 5, 6 },
    { "0781", "5583", "", 6, 7 },
};
struct stick sticks[STICKS];
int next_address;

struct guest guests[2];
int runs_in[DOMIDS];             /* which guest, or NOBODY */
int lun[DOMIDS][SLOTS];          /* the disk that a domain has */
int port[DOMIDS][SLOTS + 1];     /* the stick */
int made[2][SLOTS];              /* the disk behind a target */
int current;                     /* the guest that is worked on */
int giving;                      /* what the user asks for, or NOBODY */
int boot;

void wrong(const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fail_msg("LIBXLX_SEED=%llu: %s (%s)", (unsigned long long)seed, text,
             xlx_error_get());
    abort();
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void remove_below(const char *name)
{
    char *path = xlx__printf("%s/%s", root, name);

    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

static void put(const char *dir, const char *name, const char *value,
                size_t len)
{
    char path[300], *p;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
    for (p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0755);
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fwrite(value, 1, len, f);
    fclose(f);
}

static void put_text(const char *dir, const char *name, const char *value)
{
    put(dir, name, value, strlen(value));
}

static void show_disk(const struct disk *d)
{
    char dir[100], page[64] = { 0, (char)0x80, 0, 0 }, text[32];

    snprintf(dir, sizeof(dir), "class/scsi_device/%d:0:0:0/device", d->host);
    put_text(dir, "type", "0");
    put_text(dir, "vendor", "ACME");
    put_text(dir, "model", d->model);
    put_text(dir, "wwid", d->wwid);
    put_text(dir, "state", d->offline ? "transport-offline" : "running");
    page[3] = (char)strlen(d->serial);
    memcpy(page + 4, d->serial, strlen(d->serial));
    put(dir, "vpd_pg80", page, 4 + strlen(d->serial));
    snprintf(dir, sizeof(dir), "class/scsi_device/%d:0:0:0/device/block",
             d->host);
    snprintf(text, sizeof(text), "sd%c/x", 'a' + d->host);
    put_text(dir, text, "");
    snprintf(dir, sizeof(dir), "class/block/sd%c", 'a' + d->host);
    snprintf(text, sizeof(text), "%d", d->gib * 2097152);
    put_text(dir, "size", text);
    put_text(dir, "partition", "");     /* it is not a candidate */
}

static void show_stick(const struct stick *s)
{
    char dir[100], text[16];

    snprintf(dir, sizeof(dir), "bus/usb/devices/1-%d", s->port);
    put_text(dir, "busnum", "1");
    snprintf(text, sizeof(text), "%d", s->address);
    put_text(dir, "devnum", text);
    put_text(dir, "idVendor", s->vendor);
    put_text(dir, "idProduct", s->product);
    put_text(dir, "serial", s->serial);
    put_text(dir, "speed", "480");
}

void show_host(void)
{
    char id[40];
    int i;

    remove_below("class");
    remove_below("bus");
    for (i = 0; i < DISKS; i++)
        if (disks[i].host)
            show_disk(&disks[i]);
    for (i = 0; i < STICKS; i++)
        if (sticks[i].port)
            show_stick(&sticks[i]);
    snprintf(id, sizeof(id), "boot-%d", boot);
    setenv("LIBXLX_BOOT_ID", id, 1);
}

int disk_at(const char *hctl)
{
    int i, host = atoi(hctl);

    for (i = 0; i < DISKS; i++)
        if (disks[i].host == host)
            return i;
    return NOBODY;
}

int stick_at(const char *path)
{
    int i;

    for (i = 0; i < STICKS; i++)
        if (sticks[i].port && sticks[i].port == atoi(path + 2))
            return i;
    return NOBODY;
}

uint32_t domid_of(int g)
{
    uint32_t i;

    for (i = 0; i < DOMIDS; i++)
        if (runs_in[i] == g)
            return i;
    return XLX_DOMID_NONE;
}

static int guest_of(const libxl_uuid *uuid)
{
    return libxl_uuid_compare(uuid, &guests[0].id.uuid) ? 1 : 0;
}

static int slot_of(const char *vdev)
{
    struct xlx__scsi_hctl hctl = { 0 };

    assert_true(xlx__scsi_parse_hctl(vdev, &hctl));
    return (int)hctl.target;
}

void new_devices(void)
{
    memcpy(disks, new_disks, sizeof(disks));
    memcpy(sticks, new_sticks, sizeof(sticks));
}

/* ---- the hypervisor, the kernel's target, QEMU ----------------------------
 */

int __wrap_xlx__guest_refresh(xlx_ctx *c, xlx_guest *guest);
int __wrap_xlx__xs_read(xlx_ctx *c, xs_transaction_t t, const char *path,
                        char **value_r);
int __wrap_xlx__scsi_target_make(xlx_ctx *c, const xlx_scsi_entry *e,
                                 const struct xlx__scsi_pdev *p);
int __wrap_xlx__scsi_target_check(const xlx_scsi_entry *e);
int __wrap_xlx__scsi_target_remove(xlx_ctx *c, const xlx_scsi_entry *e);
int __wrap_xlx__scsi_target_ours(xlx_scsi_entry **e, libxl_uuid **uuids,
                                 int *num);
int __wrap_xlx__scsi_mend_targets(struct xlx__scsi_repair *r);
int __wrap_xlx__scsi_luns(xlx_ctx *c, xs_transaction_t t,
                          const struct xlx__device *dev,
                          struct xlx__scsi_lun **luns_r, int *num_r);
int __wrap_xlx__scsi_entry_lun(xlx_ctx *c, const xlx_scsi_entry *e,
                               struct xlx__scsi_lun *l);
int __wrap_xlx__scsi_bus_add(xlx_ctx *c, const struct xlx__device *dev,
                             const xlx_scsi_entry *const *entries, int num,
                             int64_t deadline);
int __wrap_xlx__scsi_bus_wait(xlx_ctx *c, const struct xlx__device *dev,
                              const xlx_scsi_entry *const *entries, int num,
                              bool no_wait, int64_t deadline);
bool __wrap_xlx__scsi_bus_is_connected(xlx_ctx *c,
                                       const struct xlx__device *dev,
                                       const xlx_scsi_entry *e);
int __wrap_xlx__scsi_bus_remove(xlx_ctx *c, const struct xlx__device *dev,
                                const xlx_scsi_entry *const *entries, int num,
                                int64_t deadline);
int __wrap_xlx__scsi_check_use(struct xlx__scsi_change *c,
                               const xlx_scsi_entry *e,
                               const struct xlx__scsi_pdev *p, bool exclusive);
int __wrap_xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                            const xlx_usb_host_device *d, bool no_wait,
                            int64_t deadline);
int __wrap_xlx__usb_disconnect(struct xlx__usb_change *c,
                               const xlx_usb_entry *e, int64_t deadline);
int __wrap_xlx__usb_on_port(xlx_ctx *c, uint32_t domid, const xlx_usb_entry *e,
                            char **path_r);
bool __wrap_xlx__usb_held(xlx_ctx *c, uint32_t domid,
                          const xlx_usb_host_device *d);
int __wrap_xlx__usb_choose_port(struct xlx__usb_change *c,
                                const xlx_usb_binding *b,
                                const xlx_usb_host_device *d,
                                xlx_usb_entry *e);
int __wrap_xlx__usb_ctrls(xlx_ctx *c, uint32_t domid, xlx_usb_ctrls *list);
int __wrap_xlx__usb_holder(xlx_ctx *c, const char *path, uint32_t *domid_r,
                           uint32_t *ctrl_r, uint32_t *port_r);
int __wrap_xlx__usb_release(struct xlx__usb_change *c,
                            const xlx_usb_entry *e);
void __wrap_xlx__usb_backend_stop(xlx_ctx *c, uint32_t domid);
int __wrap_xlx__device_remove(xlx_ctx *c, const struct xlx__device *dev,
                              int64_t deadline);
bool __wrap_xlx__domain_is_made(xlx_ctx *c, uint32_t domid);
bool __wrap_xlx__domain_is_ending(xlx_ctx *c, uint32_t domid);
int __wrap_xlx__usb_judge(const xlx_usb_policy *policy,
                          const xlx_usb_host_device *d, char **denied_r);
int __wrap_xlx__hostdev_world_open(xlx_ctx *c,
                                   struct xlx__hostdev_world **world_r);
void __wrap_xlx__hostdev_world_close(struct xlx__hostdev_world *world);
int __wrap_xlx__usb_check_host(xlx_ctx *c, struct xlx__hostdev_world *world,
                               const xlx_guest *guest,
                               const xlx_usb_host_device *d);
int __wrap_xlx__usb_disk_use(struct xlx__hostdev_world *world,
                             const xlx_usb_host_device *d, char **use_r);

int __wrap_xlx__guest_refresh(xlx_ctx *c, xlx_guest *guest)
{
    (void)c;
    guest->domid = domid_of(guest_of(&guest->uuid));
    return 0;
}

/* A domain's UUID, and whether it is there. */
int __wrap_xlx__xs_read(xlx_ctx *c, xs_transaction_t t, const char *path,
                        char **value_r)
{
    uint32_t domid;
    const char *p = path;
    (void)c;
    (void)t;

    if (!xlx__take_word(&p, "/local/domain/") ||
        !xlx__take_u32(&p, DOMIDS - 1, &domid) || runs_in[domid] == NOBODY)
        return xlx__error(ERROR_NOTFOUND, "%s", path);
    *value_r = !strcmp(p, "/vm")
        ? xlx__printf("/vm/" LIBXL_UUID_FMT,
                      LIBXL_UUID_BYTES(guests[runs_in[domid]].id.uuid))
        : strdup("");
    return 0;
}

static void may_touch(uint32_t domid, const char *what)
{
    if (domid < DOMIDS && runs_in[domid] != NOBODY &&
        runs_in[domid] != current)
        wrong("%s of domain %u, which is another guest's", what, domid);
}

int __wrap_xlx__scsi_target_make(xlx_ctx *c, const xlx_scsi_entry *e,
                                 const struct xlx__scsi_pdev *p)
{
    int slot = slot_of(e->dev.vdev), disk = disk_at(p->unit.hctl);
    int want = giving != NOBODY ? giving : guests[current].disk[slot];
    (void)c;

    if (disk != want)
        wrong("guest %d is given disk %d on %d, and not %d", current, disk,
              slot, want);
    if (disks[disk].offline)
        wrong("guest %d is given disk %d, which is offline", current, disk);
    made[current][slot] = disk;
    return 0;
}

int __wrap_xlx__scsi_target_check(const xlx_scsi_entry *e)
{
    return made[current][slot_of(e->dev.vdev)] == NOBODY
           ? xlx__error(ERROR_FAIL, "no target") : 0;
}

int __wrap_xlx__scsi_target_remove(xlx_ctx *c, const xlx_scsi_entry *e)
{
    (void)c;
    made[current][slot_of(e->dev.vdev)] = NOBODY;
    return 0;
}

int __wrap_xlx__scsi_target_ours(xlx_scsi_entry **e, libxl_uuid **uuids,
                                 int *num)
{
    *e = NULL;
    *uuids = NULL;
    *num = 0;
    return 0;
}

int __wrap_xlx__scsi_mend_targets(struct xlx__scsi_repair *r)
{
    (void)r;
    return 0;
}

int __wrap_xlx__scsi_luns(xlx_ctx *c, xs_transaction_t t,
                          const struct xlx__device *dev,
                          struct xlx__scsi_lun **luns_r, int *num_r)
{
    (void)c;
    (void)t;
    (void)dev;
    *luns_r = NULL;
    *num_r = 0;
    return 0;
}

int __wrap_xlx__scsi_entry_lun(xlx_ctx *c, const xlx_scsi_entry *e,
                               struct xlx__scsi_lun *l)
{
    (void)c;
    memset(l, 0, sizeof(*l));
    return e->domid < DOMIDS &&
           lun[e->domid][slot_of(e->dev.vdev)] != NOBODY ? 0 : ERROR_NOTFOUND;
}

int __wrap_xlx__scsi_bus_add(xlx_ctx *c, const struct xlx__device *dev,
                             const xlx_scsi_entry *const *entries, int num,
                             int64_t deadline)
{
    int i, slot;
    (void)c;
    (void)deadline;

    if (dev->domid >= DOMIDS || runs_in[dev->domid] != current)
        wrong("a LUN for domain %u, which is not the guest's", dev->domid);
    for (i = 0; i < num; i++) {
        slot = slot_of(entries[i]->dev.vdev);
        lun[dev->domid][slot] = made[current][slot];
    }
    return 0;
}

int __wrap_xlx__scsi_bus_wait(xlx_ctx *c, const struct xlx__device *dev,
                              const xlx_scsi_entry *const *entries, int num,
                              bool no_wait, int64_t deadline)
{
    (void)c;
    (void)dev;
    (void)entries;
    (void)num;
    (void)no_wait;
    (void)deadline;
    return 0;
}

bool __wrap_xlx__scsi_bus_is_connected(xlx_ctx *c,
                                       const struct xlx__device *dev,
                                       const xlx_scsi_entry *e)
{
    (void)c;
    return dev->domid < DOMIDS &&
           lun[dev->domid][slot_of(e->dev.vdev)] != NOBODY;
}

int __wrap_xlx__scsi_bus_remove(xlx_ctx *c, const struct xlx__device *dev,
                                const xlx_scsi_entry *const *entries, int num,
                                int64_t deadline)
{
    int i;
    (void)c;
    (void)deadline;

    may_touch(dev->domid, "a LUN is taken");
    for (i = 0; dev->domid < DOMIDS && i < num; i++)
        lun[dev->domid][slot_of(entries[i]->dev.vdev)] = NOBODY;
    return 0;
}

int __wrap_xlx__scsi_check_use(struct xlx__scsi_change *c,
                               const xlx_scsi_entry *e,
                               const struct xlx__scsi_pdev *p, bool exclusive)
{
    (void)c;
    (void)e;
    (void)p;
    (void)exclusive;
    return 0;
}

int __wrap_xlx__usb_connect(struct xlx__usb_change *c, const xlx_usb_entry *e,
                            const xlx_usb_host_device *d, bool no_wait,
                            int64_t deadline)
{
    int stick = stick_at(d->path), want;
    (void)no_wait;
    (void)deadline;

    want = giving != NOBODY ? giving : guests[current].stick[e->port - 1];
    if (stick != want)
        wrong("guest %d is given stick %d on port %u, and not %d", current,
              stick, e->port, want);
    if (c->guest.domid >= DOMIDS || runs_in[c->guest.domid] != current)
        wrong("a port of domain %u, which is not the guest's",
              c->guest.domid);
    port[c->guest.domid][e->port] = sticks[stick].port;
    return 0;
}

int __wrap_xlx__usb_disconnect(struct xlx__usb_change *c,
                               const xlx_usb_entry *e, int64_t deadline)
{
    (void)deadline;
    if (c->guest.domid >= DOMIDS)
        return 0;
    may_touch(c->guest.domid, "a port is emptied");
    if (e->path && port[c->guest.domid][e->port] == atoi(e->path + 2))
        port[c->guest.domid][e->port] = 0;
    return 0;
}

int __wrap_xlx__usb_on_port(xlx_ctx *c, uint32_t domid, const xlx_usb_entry *e,
                            char **path_r)
{
    int on = port[domid][e->port];
    (void)c;

    *path_r = on ? xlx__printf("1-%d", on) : strdup("");
    return 0;
}

bool __wrap_xlx__usb_held(xlx_ctx *c, uint32_t domid,
                          const xlx_usb_host_device *d)
{
    int i;
    (void)c;

    for (i = 1; i <= SLOTS; i++)
        if (domid < DOMIDS && port[domid][i] == atoi(d->path + 2))
            return true;
    return false;
}

int __wrap_xlx__usb_choose_port(struct xlx__usb_change *c,
                                const xlx_usb_binding *b,
                                const xlx_usb_host_device *d,
                                xlx_usb_entry *e)
{
    (void)d;
    (void)c;
    e->port = b->port;
    e->type = XLX_USB_TYPE_QUSB;
    e->version = 2;
    return 0;
}

int __wrap_xlx__usb_ctrls(xlx_ctx *c, uint32_t domid, xlx_usb_ctrls *list)
{
    (void)c;
    (void)domid;
    (void)list;
    return 0;
}

int __wrap_xlx__usb_holder(xlx_ctx *c, const char *path, uint32_t *domid_r,
                           uint32_t *ctrl_r, uint32_t *port_r)
{
    (void)c;
    (void)path;
    (void)domid_r;
    (void)ctrl_r;
    (void)port_r;
    return ERROR_NOTFOUND;
}

int __wrap_xlx__usb_release(struct xlx__usb_change *c,
                            const xlx_usb_entry *e)
{
    (void)c;
    (void)e;
    return 0;
}

void __wrap_xlx__usb_backend_stop(xlx_ctx *c, uint32_t domid)
{
    (void)c;
    may_touch(domid, "QEMU is ended");
}

int __wrap_xlx__device_remove(xlx_ctx *c, const struct xlx__device *dev,
                              int64_t deadline)
{
    (void)c;
    (void)deadline;
    may_touch(dev->domid, "a controller is removed");
    return 0;
}

bool __wrap_xlx__domain_is_made(xlx_ctx *c, uint32_t domid)
{
    (void)c;
    (void)domid;
    return true;
}

bool __wrap_xlx__domain_is_ending(xlx_ctx *c, uint32_t domid)
{
    (void)c;
    (void)domid;
    return false;
}

int __wrap_xlx__usb_judge(const xlx_usb_policy *policy,
                          const xlx_usb_host_device *d, char **denied_r)
{
    (void)policy;
    (void)d;
    return xlx__set_string(denied_r, "");
}

int __wrap_xlx__hostdev_world_open(xlx_ctx *c,
                                   struct xlx__hostdev_world **world_r)
{
    (void)c;
    *world_r = NULL;
    return 0;
}

void __wrap_xlx__hostdev_world_close(struct xlx__hostdev_world *world)
{
    (void)world;
}

int __wrap_xlx__usb_check_host(xlx_ctx *c, struct xlx__hostdev_world *world,
                               const xlx_guest *guest,
                               const xlx_usb_host_device *d)
{
    (void)c;
    (void)world;
    (void)guest;
    (void)d;
    return 0;
}

int __wrap_xlx__usb_disk_use(struct xlx__hostdev_world *world,
                             const xlx_usb_host_device *d, char **use_r)
{
    (void)world;
    (void)d;
    (void)use_r;
    return 0;
}
