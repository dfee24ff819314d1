/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measures how much of a guest's memory is on which node of the host.  No call
 * of Xen's tells; the debug key 'u' makes Xen count the pages of all domains
 * and print the result to its console ring, which is read back and understood
 * here.  Other lines may come between those of the count, and the ring may
 * have lost its beginning: a count is taken only when its nodes add up to its
 * total.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>

#include "core/number.h"
#include "vnuma/vnuma.h"

#define PAGE 4096
#define PAGES_MAX (UINT64_C(1) << 40)   /* so that no sum overflows */
/* A guest whose memory changes while it is counted is counted again. */
#define TRIES 3
/* More than any console ring that Xen makes room for. */
#define TEXT_MAX (64u << 20)
#define CHUNK 16384u

/* ---- understanding the text --------------------------------------------- */

/* Past "(XEN) " and the time that console_timestamps= puts behind it.  NULL:
 * not Xen's; a guest's lines have "(d1) " there. */
static const char *past_prefix(const char *line, const char *end)
{
    static const char prefix[] = "(XEN) ";
    const char *p;

    if ((size_t)(end - line) < sizeof(prefix) - 1 ||
        memcmp(line, prefix, sizeof(prefix) - 1))
        return NULL;
    line += sizeof(prefix) - 1;
    if (line < end && *line == '[') {
        p = memchr(line, ']', (size_t)(end - line));
        if (p && end - p >= 2 && p[1] == ' ')
            line = p + 2;
    }
    return line;
}

/* One line, ended by a NUL; what is longer is none of these. */
#define LONGEST 128

/* Xen 4.17 says "Domain 1 (total: 65536):", from 4.18 on it is "d1 (...". */
static bool is_header(const char *line, uint32_t *domid_r, uint64_t *total_r)
{
    return (xlx__take_word(&line, "Domain ") || xlx__take_word(&line, "d")) &&
           xlx__take_u32(&line, UINT32_MAX, domid_r) &&
           xlx__take_word(&line, " (total: ") &&
           xlx__take_u64(&line, UINT64_MAX, total_r) &&
           xlx__take_word(&line, "):") && !*line;
}

static int add_place(xlx_vnuma_topology *t, uint32_t node, uint64_t pages)
{
    xlx_vnuma_place *longer;

    longer = reallocarray(t->places, (size_t)t->num_places + 1,
                          sizeof(*longer));
    if (!longer)
        return xlx__nomem();
    t->places = longer;
    longer[t->num_places++] = (xlx_vnuma_place){ node, pages * PAGE };
    return 0;
}

static void forget(xlx_vnuma_topology *t)
{
    free(t->places);
    t->places = NULL;
    t->num_places = 0;
}

/* A line of the guest's own part: a node and its pages, or a vnode and the
 * node that its memory was asked for on. */
static int take_line(const char *line, xlx_vnuma_topology *t, uint64_t *sum)
{
    uint32_t vnode, node;
    uint64_t pages;

    line += strspn(line, " \t");
    if (xlx__take_word(&line, "Node ")) {
        if (!xlx__take_u32(&line, UINT32_MAX, &node) ||
            !xlx__take_word(&line, ": ") ||
            !xlx__take_u64(&line, UINT64_MAX, &pages) || *line)
            return 0;
        if (t->num_places >= XLX__VNUMA_MAX_NODES || pages > PAGES_MAX)
            return 0;
        *sum += pages;
        return add_place(t, node, pages);
    }
    if (xlx__take_u32(&line, UINT32_MAX, &vnode) &&
        xlx__take_word(&line, ": pnode ") &&
        (line += strspn(line, " "),         /* it is in a column */
         xlx__take_u32(&line, UINT32_MAX, &node)) &&
        xlx__take_word(&line, ",") && vnode < (uint32_t)t->num_vnodes) {
        t->vnodes[vnode].pnode = node;
        t->vnodes[vnode].pnode_source = XLX_VNUMA_SOURCE_MEASURED;
    }
    return 0;
}

int xlx__vnuma_parse_count(const char *text, uint32_t domid,
                           xlx_vnuma_topology *t)
{
    uint64_t total = 0, sum = 0, other_total;
    bool found = false, inside = false;
    const char *p, *end, *start;
    char line[LONGEST];
    uint32_t other;
    int rc = 0;

    for (p = text; !rc && *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '\n');
        start = past_prefix(p, end);
        if (!start || (size_t)(end - start) >= sizeof(line))
            continue;
        memcpy(line, start, (size_t)(end - start));
        line[end - start] = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (is_header(line, &other, &other_total)) {
            inside = other == domid;
            if (!inside)
                continue;
            found = true;               /* the last one counts */
            total = other_total;
            sum = 0;
            forget(t);
        } else if (inside) {
            rc = take_line(line, t, &sum);
        }
    }
    if (rc)
        return rc;
    if (found && sum == total)
        return 0;
    forget(t);
    return found ? xlx__error(ERROR_NOT_READY, "domain %u: its nodes have %"
                              PRIu64 " pages together, but it has %" PRIu64,
                              domid, sum, total)
                 : xlx__error(ERROR_NOTFOUND, "domain %u: not in what Xen "
                              "printed of each domain's memory", domid);
}

/* ---- asking Xen --------------------------------------------------------- */

/* All that the ring has from *index on, the caller's to free, and with it
 * where it ends.  *lost_r: the ring has come round since. */
static int read_ring(xc_interface *xc, uint32_t *index, char **text_r,
                     bool *lost_r)
{
    uint32_t start = *index;
    size_t size = 0;
    char *text = NULL, *longer;
    unsigned int n;

    do {
        longer = realloc(text, size + CHUNK + 1);
        if (!longer || size > TEXT_MAX) {
            free(longer ? longer : text);
            return xlx__nomem();
        }
        text = longer;
        n = CHUNK;
        if (xc_readconsolering(xc, text + size, &n, 0, 1, index)) {
            free(text);
            return xlx__error(ERROR_FAIL, "Xen's console ring cannot be "
                              "read: %s", strerror(errno));
        }
        size += n < CHUNK ? n : CHUNK;
    } while (n);
    text[size] = '\0';
    *text_r = text;
    *lost_r = *index - start != size;
    return 0;
}

/* Xen has printed all when the key's hypercall returns. */
static int count_once(xc_interface *xc, uint32_t domid, xlx_vnuma_topology *t)
{
    char *text = NULL;
    uint32_t index = 0;
    bool lost;
    int rc;

    rc = read_ring(xc, &index, &text, &lost);
    if (rc)
        return rc;
    free(text);
    text = NULL;
    if (xc_send_debug_keys(xc, "u"))
        return xlx__error(ERROR_FAIL, "Xen does not count its domains' "
                          "memory: %s", strerror(errno));
    rc = read_ring(xc, &index, &text, &lost);
    if (!rc)
        rc = xlx__vnuma_parse_count(text, domid, t);
    free(text);
    if (rc == ERROR_NOTFOUND && lost)
        return xlx__error(ERROR_FAIL, "domain %u: Xen printed more of its "
                          "domains' memory than its console ring keeps; start "
                          "Xen with a larger conring_size=", domid);
    return rc;
}

int xlx__vnuma_measure(xc_interface *xc, uint32_t domid,
                       xlx_vnuma_topology *t)
{
    int tries, rc;

    for (tries = 0; tries < TRIES; tries++) {
        rc = count_once(xc, domid, t);
        if (rc != ERROR_NOT_READY)
            return rc;
    }
    return xlx__error_prefix(rc, "the guest's memory changes while it is "
                             "counted");
}
