/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A watcher's patience: what failed is tried again after 2 seconds, 4, 8 and
 * so on, and one look holds the guest's lock for seconds only, so that the
 * commands of a person come through.  It is in the watcher's memory alone.
 */
#include <stdlib.h>
#include <string.h>

#include "hostdev/hostdev.h"

#define FIRST_MS 2000
#define LONGEST_MS 240000
#define LEAST_MS 5000               /* to take back what has been begun */

static struct xlx__hostdev_tried *
find_tried(const struct xlx__hostdev_patience *p, const char *key)
{
    int i;

    for (i = 0; i < p->num; i++)
        if (!strcmp(p->list[i].key, key))
            return &p->list[i];
    return NULL;
}

static void drop(struct xlx__hostdev_patience *p,
                 struct xlx__hostdev_tried *t)
{
    free(t->key);
    free(t->facts);
    *t = p->list[--p->num];
}

int64_t xlx__hostdev_backoff(unsigned int failures)
{
    int64_t ms = FIRST_MS;

    while (failures-- > 1 && ms < LONGEST_MS)
        ms *= 2;
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

void xlx__hostdev_patience_begin(struct xlx__hostdev_patience *p,
                                 int64_t deadline)
{
    int i;

    p->deadline = deadline;
    p->next = INT64_MAX;
    for (i = 0; i < p->num; i++)
        p->list[i].seen = false;
}

void xlx__hostdev_patience_end(struct xlx__hostdev_patience *p)
{
    int i = p->num;

    while (i--)
        if (!p->list[i].seen)
            drop(p, &p->list[i]);
}

void xlx__hostdev_patience_dispose(struct xlx__hostdev_patience *p)
{
    while (p->num)
        drop(p, p->list);
    free(p->list);
    memset(p, 0, sizeof(*p));
}

static void try_at(struct xlx__hostdev_patience *p, int64_t when)
{
    if (when < p->next)
        p->next = when;
}

bool xlx__hostdev_may_try(struct xlx__hostdev_patience *p, const char *key,
                          const char *facts)
{
    struct xlx__hostdev_tried *t;

    if (!p)
        return true;
    t = find_tried(p, key);
    if (t)
        t->seen = true;
    if (xlx__now_ms() >= p->deadline) {     /* the next look begins with it */
        try_at(p, p->deadline);
        return false;
    }
    if (!t || strcmp(t->facts, facts) || xlx__now_ms() >= t->next)
        return true;
    try_at(p, t->next);
    return false;
}

/* Without memory it is only tried again too early. */
static struct xlx__hostdev_tried *
add_tried(struct xlx__hostdev_patience *p, const char *key)
{
    size_t size = (size_t)p->num + 1;
    struct xlx__hostdev_tried *list, *t;
    char *copy = strdup(key);

    list = copy ? realloc(p->list, size * sizeof(*list)) : NULL;
    if (!list) {
        free(copy);
        return NULL;
    }
    p->list = list;
    t = &list[p->num++];
    *t = (struct xlx__hostdev_tried){ .key = copy };
    return t;
}

void xlx__hostdev_tried(struct xlx__hostdev_patience *p, const char *key,
                        const char *facts, bool failed)
{
    struct xlx__hostdev_tried *t;
    char *copy;

    if (!p)
        return;
    t = find_tried(p, key);
    if (!failed) {
        if (t)
            drop(p, t);
        return;
    }
    copy = strdup(facts);
    if (copy && !t)
        t = add_tried(p, key);
    if (!copy || !t) {
        free(copy);
        try_at(p, xlx__now_ms() + FIRST_MS);
        return;
    }
    if (!t->facts || strcmp(t->facts, copy))
        t->failures = 0;
    free(t->facts);
    t->facts = copy;
    t->seen = true;
    t->next = xlx__now_ms() + xlx__hostdev_backoff(++t->failures);
    try_at(p, t->next);
}

void xlx__hostdev_put_off(struct xlx__hostdev_patience *p)
{
    if (p)
        try_at(p, xlx__now_ms() + FIRST_MS);
}

int64_t xlx__hostdev_deadline(const struct xlx__hostdev_patience *p,
                              int64_t usual)
{
    int64_t least = xlx__now_ms() + LEAST_MS;

    if (!p || usual <= p->deadline)
        return usual;
    return p->deadline > least ? p->deadline : least;
}
