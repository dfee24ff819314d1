/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded into the real xl on a machine without Xen: what the hypervisor
 * and xenstored answer while xl starts, lists domains and reads a config
 * file.  All the rest is the installed xl and libxl.  There are Domain-0 and,
 * when FAKE_RUNNING=NAME,UUID is set, a guest with the domid 7, until the file
 * FAKE_GONE is there.  FAKE_DISK=MODE,PARAMS is its disk xvda, which QEMU
 * serves.  With FAKE_XENSTORE=EIO no disk of a guest can be read.
 *
 * FAKE_ATTACH=FILE: the library's calls that attach devices do not, but append
 * a line each to the file, with what they were given; a device whose name is
 * in the file FAKE_FAIL makes the call fail.
 *
 * FAKE_RECORD=FILE: stock xl, which is FAKE_STOCK, begins by appending to the
 * file what reached it: arguments and environment, a line each, in which a
 * NUL byte ends each string.  With FAKE_EXIT=N it then exits.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libxl.h>
#include <xenctrl.h>
#include <xenstore.h>

#include "libxlx.h"

#define GUEST_DOMID 7
#define PAGES_OF_64_MIB (64 << 8)

static void append_strings(FILE *file, char *const *strings)
{
    for (; *strings; strings++)
        fwrite(*strings, 1, strlen(*strings) + 1, file);
    fputc('\n', file);
}

/* The C library calls constructors with the arguments of main(). */
__attribute__((constructor))
static void record(int argc, char **argv, char **env)
{
    const char *path = getenv("FAKE_RECORD"), *stock = getenv("FAKE_STOCK");
    const char *code = getenv("FAKE_EXIT");
    char self[4096];
    FILE *file;
    ssize_t len;

    (void)argc;
    len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (!path || !stock || len < 0)
        return;
    self[len] = '\0';
    if (strcmp(self, stock))
        return;
    file = fopen(path, "a");
    if (!file) {
        perror(path);
        _exit(125);
    }
    append_strings(file, argv);
    append_strings(file, env);
    fclose(file);
    if (code)
        _exit(atoi(code));
}

static char handle;                 /* handles are only passed back to us */

xc_interface *xc_interface_open(xentoollog_logger *logger,
                                xentoollog_logger *dombuild_logger,
                                unsigned open_flags)
{
    (void)logger;
    (void)dombuild_logger;
    (void)open_flags;
    return (xc_interface *)&handle;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

/* A host of FAKE_NODES nodes, each with two cpus and 8 GiB, half of it
 * free. */
static unsigned int num_nodes(void)
{
    const char *s = getenv("FAKE_NODES");

    return s ? (unsigned int)atoi(s) : 1;
}

int xc_get_max_cpus(xc_interface *xch)
{
    (void)xch;
    return 2 * (int)num_nodes();
}

int xc_get_max_nodes(xc_interface *xch)
{
    (void)xch;
    return (int)num_nodes();
}

int xc_numainfo(xc_interface *xch, unsigned *max_nodes, xc_meminfo_t *memory,
                uint32_t *distances)
{
    unsigned int num = num_nodes(), i, j;

    (void)xch;
    for (i = 0; memory && distances && i < num; i++) {
        memory[i].memsize = UINT64_C(8) << 30;
        memory[i].memfree = UINT64_C(4) << 30;
        for (j = 0; j < num; j++)
            distances[i * num + j] = i == j ? 10 : 21;
    }
    *max_nodes = num;
    return 0;
}

int xc_cputopoinfo(xc_interface *xch, unsigned *max_cpus, xc_cputopo_t *cpus)
{
    unsigned int num = 2 * num_nodes(), i;

    (void)xch;
    for (i = 0; cpus && i < num; i++)
        cpus[i] = (xc_cputopo_t){ .core = i % 2, .socket = i / 2,
                                  .node = i / 2 };
    *max_cpus = num;
    return 0;
}

int xc_pcitopoinfo(xc_interface *xch, unsigned num,
                   physdev_pci_device_t *devices, uint32_t *nodes)
{
    (void)xch;
    (void)num;
    (void)devices;
    (void)nodes;
    errno = ENOSYS;
    return -1;
}

int xc_physinfo(xc_interface *xch, xc_physinfo_t *info)
{
    (void)xch;
    memset(info, 0, sizeof(*info));
    info->nr_cpus = 2 * num_nodes();
    info->max_cpu_id = info->nr_cpus - 1;
    info->nr_nodes = num_nodes();
    info->capabilities = XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_pv;
    return 0;
}

long xc_sharing_freed_pages(xc_interface *xch)
{
    (void)xch;
    return 0;
}

long xc_sharing_used_frames(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_version(xc_interface *xch, int cmd, void *arg)
{
    (void)xch;
    switch (cmd) {
    case XENVER_version:
        return 4 << 16 | 17;
    case XENVER_pagesize:
        return 4096;
    case XENVER_extraversion:
        memset(arg, 0, sizeof(xen_extraversion_t));
        return 0;
    case XENVER_compile_info:
        memset(arg, 0, sizeof(xen_compile_info_t));
        return 0;
    case XENVER_capabilities:
        strcpy(arg, "xen-3.0-x86_64 hvm-3.0-x86_64 ");
        return 0;
    case XENVER_changeset:
        memset(arg, 0, sizeof(xen_changeset_info_t));
        return 0;
    case XENVER_platform_parameters:
        memset(arg, 0, sizeof(xen_platform_parameters_t));
        return 0;
    case XENVER_commandline:
        memset(arg, 0, sizeof(xen_commandline_t));
        return 0;
    default:
        errno = ENOSYS;
        return -1;
    }
}

int xc_flask_sid_to_context(xc_interface *xch, int sid, char *buf,
                            uint32_t size)
{
    (void)xch;
    (void)sid;
    (void)buf;
    (void)size;
    errno = ENOSYS;
    return -1;
}

/* The name of the guest in FAKE_RUNNING, or NULL when there is none. */
static char *guest_name(libxl_uuid *uuid_r)
{
    const char *guest = getenv("FAKE_RUNNING");
    const char *comma = guest ? strrchr(guest, ',') : NULL;

    const char *gone = getenv("FAKE_GONE");

    if (!comma || libxl_uuid_from_string(uuid_r, comma + 1) ||
        (gone && !access(gone, F_OK)))
        return NULL;
    return strndup(guest, (size_t)(comma - guest));
}

static void fill_info(xc_domaininfo_t *info, uint32_t domid,
                      const libxl_uuid *uuid)
{
    memset(info, 0, sizeof(*info));
    info->domain = (domid_t)domid;
    info->flags = XEN_DOMINF_running;
    info->tot_pages = info->max_pages = PAGES_OF_64_MIB;
    info->nr_online_vcpus = 1;
    memcpy(info->handle, uuid, sizeof(info->handle));
}

int xc_domain_getinfolist(xc_interface *xch, uint32_t first_domain,
                          unsigned int max_domains, xc_domaininfo_t *info)
{
    libxl_uuid uuid = { .uuid = { 0 } };
    int num = 0;
    char *name;

    (void)xch;
    if (first_domain == 0 && max_domains > 0)
        fill_info(&info[num++], 0, &uuid);
    name = guest_name(&uuid);
    if (name && first_domain <= GUEST_DOMID && (unsigned)num < max_domains)
        fill_info(&info[num++], GUEST_DOMID, &uuid);
    free(name);
    return num;
}

/* With XENSTORED_PATH the functions of libxenstore go there, all of them. */
static void *real_xs(const char *name)
{
    return getenv("XENSTORED_PATH") ? dlsym(RTLD_NEXT, name) : NULL;
}

struct xs_handle *xs_open(unsigned long flags)
{
    __typeof__(&xs_open) real = (__typeof__(real))real_xs("xs_open");

    return real ? real(flags) : (struct xs_handle *)&handle;
}

void xs_close(struct xs_handle *xsh)
{
    __typeof__(&xs_close) real = (__typeof__(real))real_xs("xs_close");

    if (real)
        real(xsh);
}

#define BACKENDS "/local/domain/0/backend/qdisk"
#define BACKEND BACKENDS "/7/51712"

/* The node of that name of the disk in FAKE_DISK. */
static char *disk_node(const char *name)
{
    const char *disk = getenv("FAKE_DISK");

    if (!disk)
        return NULL;
    if (!strcmp(name, "mode"))
        return strndup(disk, strcspn(disk, ","));
    if (!strcmp(name, "params"))
        return strdup(disk + strcspn(disk, ",") + 1);
    return strcmp(name, "dev") ? NULL : strdup("xvda");
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path,
              unsigned int *len)
{
    __typeof__(&xs_read) real = (__typeof__(real))real_xs("xs_read");
    libxl_uuid uuid;
    char *value = NULL;
    unsigned int domid;

    if (real)
        return real(h, t, path, len);
    if (!strncmp(path, BACKEND "/", strlen(BACKEND "/")))
        value = disk_node(path + strlen(BACKEND "/"));
    else if (sscanf(path, "/local/domain/%u/name", &domid) == 1)
        value = domid == 0 ? strdup("Domain-0") : guest_name(&uuid);
    if (!value)
        errno = ENOENT;
    else if (len)
        *len = (unsigned int)strlen(value);
    return value;
}

/* xs_directory() returns one piece of memory. */
static char **one_name(const char *name, unsigned int *num)
{
    char **names = malloc(sizeof(*names) + strlen(name) + 1);

    if (!names)
        return NULL;
    names[0] = (char *)(names + 1);
    strcpy(names[0], name);
    *num = 1;
    return names;
}

/* Nobody has any other device. */
char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path,
                    unsigned int *num)
{
    __typeof__(&xs_directory) real =
        (__typeof__(real))real_xs("xs_directory");

    if (real)
        return real(h, t, path, num);
    if (getenv("FAKE_DISK") && !strcmp(path, BACKENDS))
        return one_name("7", num);
    if (getenv("FAKE_DISK") && !strcmp(path, BACKENDS "/7"))
        return one_name("51712", num);
    errno = getenv("FAKE_XENSTORE") ? EIO : ENOENT;
    return NULL;
}

/* ---- libxlx ------------------------------------------------------------- */

static bool must_fail(const char *name)
{
    const char *path = getenv("FAKE_FAIL");
    char word[256] = "";
    FILE *file = path ? fopen(path, "r") : NULL;

    if (file && fscanf(file, "%255s", word) != 1)
        word[0] = '\0';
    if (file)
        fclose(file);
    return !strcmp(word, name);
}

int xlx_scsi_attach(xlx_ctx *ctx, const xlx_guest *guest,
                    const xlx_scsi_devs *devs,
                    const xlx_scsi_wait *wait,
                    xlx_scsi_devs *attached_r)
{
    const char *path = getenv("FAKE_ATTACH");
    __typeof__(&xlx_scsi_attach) real;
    const xlx_scsi_dev *dev;
    int i, rc = 0;
    FILE *file;

    real = (__typeof__(real))dlsym(RTLD_NEXT, "xlx_scsi_attach");
    file = path ? fopen(path, "a") : NULL;
    if (!file)
        return real(ctx, guest, devs, wait, attached_r);
    fprintf(file, "vscsidev_add %s%s", guest->name,
            wait && wait->no_wait ? " no-wait" : "");
    for (i = 0; i < devs->num_devs; i++) {
        dev = &devs->devs[i];
        fprintf(file, " %s=%s,%s%s%s", dev->vdev, dev->pdev,
                xlx_scsi_backstore_to_string(dev->backstore),
                dev->readonly ? ",read-only" : "",
                dev->shared ? ",shared" : "");
        if (must_fail(dev->pdev))
            rc = ERROR_FAIL;
    }
    fputc('\n', file);
    fclose(file);
    return rc ? rc : xlx_scsi_devs_copy(ctx, attached_r, devs);
}

int xlx_usb_tree_attach(xlx_ctx *ctx, const xlx_guest *guest,
                        const xlx_usb_binding *b, const xlx_usb_wait *wait,
                        xlx_usb_tree_devices *found)
{
    const char *path = getenv("FAKE_ATTACH");
    FILE *file = path ? fopen(path, "a") : NULL;

    (void)ctx;
    if (!file)
        return ERROR_FAIL;
    fprintf(file, "usb_tree_attach %s%s %s ctrl=%d type=%s%s%s\n",
            guest->name, wait && wait->no_wait ? " no-wait" : "", b->selector,
            (int)b->ctrl, xlx_usb_type_to_string(b->type),
            b->reset ? " reset" : "", b->force ? " force" : "");
    fclose(file);
    if (must_fail(b->selector))
        return ERROR_FAIL;
    found->tree.selector = strdup(b->selector);
    return 0;
}

int xlx_usb_attach(xlx_ctx *ctx, const xlx_guest *guest,
                   const xlx_usb_binding *b, const xlx_usb_wait *wait,
                   xlx_usb_entry *entry_r)
{
    const char *path = getenv("FAKE_ATTACH");
    __typeof__(&xlx_usb_attach) real;
    FILE *file;

    real = (__typeof__(real))dlsym(RTLD_NEXT, "xlx_usb_attach");
    file = path ? fopen(path, "a") : NULL;
    if (!file)
        return real(ctx, guest, b, wait, entry_r);
    fprintf(file, "usb_attach %s%s %s ctrl=%d port=%u type=%s version=%u"
            "%s%s%s%s\n", guest->name, wait && wait->no_wait ? " no-wait" : "",
            b->selector, (int)b->ctrl, b->port,
            xlx_usb_type_to_string(b->type), b->version,
            b->once ? " once" : "", b->optional ? " optional" : "",
            b->reset ? " reset" : "", b->force ? " force" : "");
    fclose(file);
    if (must_fail(b->selector))
        return ERROR_FAIL;
    entry_r->path = strdup(b->selector);
    entry_r->status = XLX_USB_STATUS_ATTACHED;
    return 0;
}
