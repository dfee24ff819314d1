/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virsh domstats: what libvirtd says of each domain by other calls, gathered
 * for those who ask for all of it again and again.  A group of statistics that
 * nobody has is left out, as the client asks for, or refused if it insists.
 */
#include <stdlib.h>
#include <string.h>

#include "worker.h"

enum { STATE = 1, CPU_TOTAL = 2, BALLOON = 4, VCPU = 8,
       KNOWN = STATE | CPU_TOTAL | BALLOON | VCPU };
#define LIST_FLAGS 0xffu                /* as of a list of domains */
#define NOWAIT (1u << 29)
#define BACKING (1u << 30)
#define ENFORCE (1u << 31)
#define MOST_PARAMS 8

enum { TYPE_INT = 1, TYPE_UINT = 2, TYPE_ULLONG = 4 };

static int add(struct lv_worker *w, struct lv_stats_record *record,
               const char *name, int32_t type, uint64_t value)
{
    struct lv_typed_param *p = &record->params[record->num_params++];

    p->value.type = type;
    if (type == TYPE_ULLONG)
        p->value.u.ul = value;
    else
        p->value.u.ui = (uint32_t)value;
    p->field = strdup(name);
    return p->field ? 0 : lv_no_memory(w);
}

static int add_state(struct lv_worker *w, struct lv_stats_record *record)
{
    struct lv_domain_get_state_args args = { .dom = record->dom };
    struct lv_domain_get_state_ret ret;

    if (lv_back_call(w, LV_DOMAIN_GET_STATE, &args, &ret) ||
        add(w, record, "state.state", TYPE_INT, (uint32_t)ret.state))
        return -1;
    return add(w, record, "state.reason", TYPE_INT, (uint32_t)ret.reason);
}

static int add_info(struct lv_worker *w, struct lv_stats_record *record,
                    uint32_t stats)
{
    struct lv_domain_get_info_args args = { .dom = record->dom };
    struct lv_domain_get_info_ret ret;
    bool runs = record->dom.id != -1;
    int r = 0;

    if (lv_back_call(w, LV_DOMAIN_GET_INFO, &args, &ret))
        return -1;
    if (runs && stats & CPU_TOTAL)
        r = add(w, record, "cpu.time", TYPE_ULLONG, ret.cpu_time);
    if (!r && stats & BALLOON && runs)
        r = add(w, record, "balloon.current", TYPE_ULLONG, ret.memory);
    if (!r && stats & BALLOON)
        r = add(w, record, "balloon.maximum", TYPE_ULLONG, ret.max_memory);
    if (!r && stats & VCPU)
        r = add(w, record, "vcpu.current", TYPE_UINT, ret.vcpus);
    return r;
}

static int fill(struct lv_worker *w, const struct lv_domain *dom,
                uint32_t stats, struct lv_stats_record *record)
{
    memcpy(record->dom.uuid, dom->uuid, sizeof(dom->uuid));
    record->dom.id = dom->id;
    record->dom.name = strdup(dom->name);
    record->params = calloc(MOST_PARAMS, sizeof(*record->params));
    if (!record->dom.name || !record->params)
        return lv_no_memory(w);
    if (stats & STATE && add_state(w, record))
        return -1;
    return stats & ~(uint32_t)STATE ? add_info(w, record, stats) : 0;
}

/* A domain that has gone since it was listed is left out. */
static int fill_all(struct lv_worker *w, const struct lv_domain *doms,
                    uint32_t num, uint32_t stats,
                    struct lv_connect_get_all_domain_stats_ret *ret)
{
    struct lv_stats_record *record;
    uint32_t i;
    int r = 0;

    ret->records = calloc((size_t)num + 1, sizeof(*ret->records));
    if (!ret->records)
        return lv_no_memory(w);
    for (i = 0; i < num && !r; i++) {
        record = &ret->records[ret->num_records++];
        r = fill(w, &doms[i], stats, record);
        if (r && w->code == LV_NO_DOMAIN) {
            lv_free(&lv_stats_record_type, record);
            ret->num_records--;
            r = 0;
        }
    }
    return r;
}

int lv_answer_connect_get_all_domain_stats(
    struct lv_worker *w,
    const struct lv_connect_get_all_domain_stats_args *args,
    struct lv_connect_get_all_domain_stats_ret *ret)
{
    struct lv_connect_list_all_domains_args list = {
        .need_results = 1, .flags = args->flags & LIST_FLAGS,
    };
    struct lv_connect_list_all_domains_ret all;
    uint32_t stats = args->stats ? args->stats & KNOWN : KNOWN;
    int r;

    if (lv_check_flags(w, args->flags,
                       LIST_FLAGS | NOWAIT | BACKING | ENFORCE))
        return -1;
    if (args->flags & ENFORCE && args->stats & ~(uint32_t)KNOWN)
        return lv_fail(w, LV_ARGUMENT_UNSUPPORTED, LV_FROM_LIBXL,
                       "Stats types bits 0x%x are not supported by this "
                       "daemon", args->stats & ~(uint32_t)KNOWN);
    if (args->num_doms)
        return fill_all(w, args->doms, args->num_doms, stats, ret);
    if (lv_back_call(w, LV_CONNECT_LIST_ALL_DOMAINS, &list, &all))
        return -1;
    r = fill_all(w, all.domains, all.num_domains, stats, ret);
    lv_free(&lv_connect_list_all_domains_ret_type, &all);
    return r;
}
