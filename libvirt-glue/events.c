/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events about jobs on disks.  A client asks libvirtd for events and gets a
 * number for each; libvirtd knows of no job of ours, so the relay remembers
 * these numbers and sends the events itself.  Clients would wait without end
 * for an event that never comes.
 */
#include <signal.h>
#include <string.h>

#include "relay.h"

enum { BLOCK_JOB = 8, BLOCK_JOB_2 = 16 };       /* VIR_DOMAIN_EVENT_ID_ */
enum { COMPLETED, FAILED, CANCELED, READY, WATCHING = -1 };

/* ---- who wants which ---------------------------------------------------- */

bool lv_event_concerns_call(const struct lv_header *h)
{
    return h->program == LV_PROGRAM && h->version == LV_PROGRAM_VERSION &&
           h->type == LV_TYPE_CALL &&
           (h->procedure == LV_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY ||
            h->procedure == LV_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY);
}

static void forget(struct lv_client *c, unsigned int i)
{
    c->wanted[i] = c->wanted[--c->num_wanted];
}

static void deregister(struct lv_client *c, const uint8_t *payload, size_t len)
{
    struct lv_connect_domain_event_callback_deregister_any_args args;
    const char *why;
    unsigned int i;

    if (lv_decode(&lv_connect_domain_event_callback_deregister_any_args_type,
                  payload, len, &args, &why) < 0)
        return;
    for (i = 0; i < c->num_wanted; i++)
        if (c->wanted[i].registered &&
            c->wanted[i].callback == args.callback) {
            forget(c, i);
            return;
        }
}

void lv_event_called(struct lv_client *c, const struct lv_header *h,
                     const uint8_t *frame)
{
    struct lv_connect_domain_event_callback_register_any_args args;
    const uint8_t *payload = frame + LV_HEADER_SIZE;
    size_t len = h->length - LV_HEADER_SIZE;
    struct lv_event_wanted *w;
    const char *why;

    if (h->procedure == LV_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY) {
        deregister(c, payload, len);
        return;
    }
    if (lv_decode(&lv_connect_domain_event_callback_register_any_args_type,
                  payload, len, &args, &why) < 0)
        return;
    if ((args.event == BLOCK_JOB || args.event == BLOCK_JOB_2) &&
        c->num_wanted < LV_MAX_WANTED) {
        w = &c->wanted[c->num_wanted++];
        *w = (struct lv_event_wanted){ .serial = h->serial,
                                       .event = args.event,
                                       .of_domain = args.num_dom };
        if (args.num_dom)
            memcpy(w->uuid, args.dom->uuid, sizeof(w->uuid));
    }
    lv_free(&lv_connect_domain_event_callback_register_any_args_type, &args);
}

static struct lv_event_wanted *awaiting(const struct lv_client *c,
                                        const struct lv_header *h)
{
    const struct lv_event_wanted *w;
    unsigned int i;

    if (h->program != LV_PROGRAM || h->type != LV_TYPE_REPLY ||
        h->procedure != LV_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY)
        return NULL;
    for (i = 0; i < c->num_wanted; i++) {
        w = &c->wanted[i];
        if (!w->registered && w->serial == h->serial)
            return (struct lv_event_wanted *)w;
    }
    return NULL;
}

bool lv_event_awaits(const struct lv_client *c, const struct lv_header *h)
{
    return c->phase == LV_OPEN && awaiting(c, h);
}

void lv_event_replied(struct lv_client *c, const struct lv_header *h,
                      const uint8_t *frame)
{
    struct lv_connect_domain_event_callback_register_any_ret ret;
    struct lv_event_wanted *w = awaiting(c, h);
    const char *why;

    if (h->status == LV_STATUS_OK &&
        lv_decode(&lv_connect_domain_event_callback_register_any_ret_type,
                  frame + LV_HEADER_SIZE, h->length - LV_HEADER_SIZE, &ret,
                  &why) >= 0) {
        w->registered = true;
        w->callback = ret.callback;
    } else {
        forget(c, (unsigned int)(w - c->wanted));
    }
}

/* ---- sending ------------------------------------------------------------ */

/* The end of a job is told once: the processes that watch it are done. */
static void end_watchers(struct lv_relay *relay, const struct lv_child *from,
                         const uint8_t uuid[16], const char *disk)
{
    struct lv_child *child;
    unsigned int i;

    for (i = 0; i < relay->num_children; i++) {
        child = &relay->children[i];
        if (child == from || !child->answered || child->ended ||
            memcmp(child->uuid, uuid, 16) || strcmp(child->disk, disk))
            continue;
        child->ended = true;
        kill(child->pid, SIGTERM);
    }
}

static void send_to(struct lv_client *c, int32_t event, const uint8_t *uuid,
                    const struct lv_header *h, const uint8_t *frame)
{
    const struct lv_event_wanted *w;
    struct lv_buffer out;
    unsigned int i;

    for (i = 0; i < c->num_wanted && !c->dead; i++) {
        w = &c->wanted[i];
        if (!w->registered || w->event != event ||
            (w->of_domain && memcmp(w->uuid, uuid, sizeof(w->uuid))))
            continue;
        out = (struct lv_buffer){ 0 };
        lv_put(&out, frame, LV_HEADER_SIZE);
        lv_put_u32(&out, (uint32_t)w->callback);
        lv_put(&out, frame + LV_HEADER_SIZE + 4,
               h->length - LV_HEADER_SIZE - 4);
        if (out.failed)
            c->dead = true;
        else
            lv_client_reply(c, out.data, out.len);
        lv_buffer_free(&out);
    }
}

/* Both messages have the same members. */
void lv_event_send(struct lv_relay *relay, struct lv_child *from,
                   const struct lv_header *h, const uint8_t *frame)
{
    bool second = h->procedure == LV_DOMAIN_EVENT_BLOCK_JOB_2;
    struct lv_domain_event_block_job_2_msg m;
    const char *why;
    unsigned int i;

    if (from->ended ||
        lv_decode(&lv_domain_event_block_job_2_msg_type,
                  frame + LV_HEADER_SIZE, h->length - LV_HEADER_SIZE, &m,
                  &why) < 0)
        return;
    if (m.status == WATCHING) {
        memcpy(from->uuid, m.dom.uuid, sizeof(from->uuid));
        from->disk[0] = '\0';
        strncat(from->disk, m.dst, sizeof(from->disk) - 1);
    } else {
        for (i = 0; i < relay->num_clients; i++)
            send_to(relay->clients[i], second ? BLOCK_JOB_2 : BLOCK_JOB,
                    m.dom.uuid, h, frame);
        if (second && m.status != READY)
            end_watchers(relay, from, m.dom.uuid, m.dst);
    }
    lv_free(&lv_domain_event_block_job_2_msg_type, &m);
}
