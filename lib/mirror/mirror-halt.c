/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest stands still while a job begins that gets each of its writes
 * (copy-mode write-blocking).
 *
 * QEMU (7.2 to 10: block/mirror.c) puts such a job under the disk before it
 * has made the bitmap that a write looks into, and ends with a segmentation
 * fault when the guest writes between the two; then the guest has lost its
 * disks.  With the CPUs of the guest halted nothing new comes.  The requests
 * that are in the ring are waited for: "stop" lets QEMU drain what it has
 * begun, and what was behind that in the ring begins at once, so when the
 * counts stay the same from one drain to the next the ring is empty.  QEMU
 * without Xen stops the guest with "stop" itself.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/store.h"
#include "guest/domain.h"
#include "mirror/mirror.h"

#define LOOK_MS 20
#define REST_MS 10000
#define BEGIN_MS 1000               /* it begins at once */

static void nap(void)
{
    const struct timespec t = { .tv_nsec = LOOK_MS * 1000000L };

    nanosleep(&t, NULL);
}

/* ---- requests ----------------------------------------------------------- */

static int add_counts(const struct xlx__json *stats, int64_t *sum)
{
    static const char *const counts[] = {
        "rd_operations", "wr_operations", "flush_operations",
        "unmap_operations",
    };
    int64_t count;
    size_t i;
    int rc;

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        rc = xlx__json_member_int64(stats, counts[i], &count);
        if (rc) return rc;
        *sum += count;
    }
    return 0;
}

/* All requests that the guest's disks have served. */
static int count_requests(struct xlx__mirror *m, int64_t *sum_r)
{
    const struct xlx__json *result, *v;
    int rc;

    *sum_r = 0;
    rc = xlx__qmp_call(m->c.qmp, "query-blockstats", NULL, &result);
    for (v = rc ? NULL : xlx__json_first(result); !rc && v;
         v = xlx__json_next(v))
        rc = add_counts(xlx__json_member(v, "stats"), sum_r);
    return rc;
}

static int await_rest(struct xlx__mirror *m)
{
    const int64_t deadline = xlx__now_ms() + REST_MS;
    int64_t before = -1, now;
    int same = 0, rc;

    while (same < 2) {
        if (xlx__now_ms() > deadline)
            return xlx__error(ERROR_TIMEDOUT, "the guest's disks do not come "
                              "to rest within %d s", REST_MS / 1000);
        rc = xlx__qmp_call_within(m->c.qmp, REST_MS, "stop", NULL, NULL);
        if (!rc)
            rc = count_requests(m, &now);
        if (rc) return rc;
        same = now == before ? same + 1 : 0;
        before = now;
        nap();
    }
    return 0;
}

/* ---- CPUs --------------------------------------------------------------- */

int xlx__mirror_halt(struct xlx__mirror *m, xlx_disk_job *entry)
{
    const struct xlx__json *result;
    bool running;
    int rc;

    rc = xlx__qmp_call(m->c.qmp, "query-status", NULL, &result);
    if (!rc)
        rc = xlx__json_member_bool(result, "running", &running);
    if (rc) return rc;
    if (m->c.guest->domid == XLX_DOMID_NONE && !running)
        return 0;                   /* QEMU is stopped, and stays so */
    rc = xlx__mirror_qemu(&m->c, &entry->halted);
    if (!rc)
        rc = xlx__mirror_save(m);
    if (rc) return rc;
    xlx__fault("disk-mirror.halting");
    if (m->c.guest->domid != XLX_DOMID_NONE) {
        rc = xlx__domain_pause(m->c.ctx, m->c.guest);
        if (rc) {
            *entry->halted = '\0';
            return rc;
        }
    }
    rc = await_rest(m);
    xlx__fault("disk-mirror.halted");
    return rc;
}

/* Has QEMU entered the job's coroutine?  By then the bitmap is there. */
static void await_begin(const struct xlx__job *job)
{
    const int64_t deadline = xlx__now_ms() + BEGIN_MS;
    struct xlx__job_state seen;

    do {
        nap();
        if (xlx__job_query(job, &seen))
            break;
    } while (seen.there && !seen.total && !xlx__job_is(&seen, "ready") &&
             !xlx__job_is(&seen, "concluded") && xlx__now_ms() < deadline);
    xlx__error_clear();
}

static int go_on(struct xlx__mirror *m)
{
    int rc, cpus = 0;

    rc = xlx__qmp_call(m->c.qmp, "cont", NULL, NULL);
    if (m->c.guest->domid != XLX_DOMID_NONE)
        cpus = xlx__domain_unpause(m->c.ctx, m->c.guest);
    return cpus ? cpus : rc;
}

int xlx__mirror_go_on(struct xlx__mirror *m, xlx_disk_job *entry,
                      const struct xlx__job *begun)
{
    char *qemu = NULL;
    int rc;

    if (!*xlx__text(entry->halted))
        return 0;
    if (begun)
        await_begin(begun);
    rc = xlx__snapshot_connect(&m->c);
    if (!rc)
        rc = xlx__mirror_qemu(&m->c, &qemu);
    /* the guest may have been started again since */
    if (!rc && !strcmp(qemu, entry->halted))
        rc = go_on(m);
    free(qemu);
    if (rc) return rc;
    *entry->halted = '\0';
    return xlx__mirror_save(m);
}
