/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a repair decides about USB devices, for each situation that a killed
 * command, a hand at the plug, another tool, a restart of the guest or its end
 * can leave.
 */
#include "unit.h"
#include "usb/usb.h"

#define NONE XLX_DOMID_NONE
#define RECOVER XLX__HOSTDEV_RECOVER
#define SETTLE XLX__HOSTDEV_SETTLE
#define RETURN XLX__HOSTDEV_RETURN
#define EMPTY XLX__USB_PORT_EMPTY
#define OWN XLX__USB_PORT_OWN
#define OTHER XLX__USB_PORT_OTHER

/* What the host has: as bits, to keep the lines short. */
enum {
    PLUGGED = 1, SAME = 2, HELD = 4, ONCE = 8, MOVE = 16,
    EARLIER = 32,                   /* not since the host was started */
    TREE = 64 | ONCE,               /* it was found in a tree */
};
#define OUT 0                       /* not plugged in */
#define IN (PLUGGED | SAME)         /* as ever */
#define ANEW PLUGGED                /* plugged in again, or elsewhere */

struct situation {
    enum xlx__hostdev_stage stage;
    uint32_t runs;                  /* the guest's domid */
    xlx_usb_status status;
    uint32_t domid;                 /* of the entry */
    int bits;
    enum xlx__usb_port_has port;
    enum xlx__hostdev_step step;
    const char *why;                /* part of it */
    const char *obstacle;
};

static const struct situation situations[] = {
    /* a killed attachment */
    { RECOVER, 7, XLX_USB_STATUS_ATTACHING, 7, IN | HELD, OWN,
      XLX__HOSTDEV_KEEP, "not recorded as finished", NULL },
    { RECOVER, 7, XLX_USB_STATUS_ATTACHING, 7, IN, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    { RECOVER, 7, XLX_USB_STATUS_ATTACHING, 7, IN, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    { RECOVER, 7, XLX_USB_STATUS_ATTACHING, 7, OUT, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    { RECOVER, 7, XLX_USB_STATUS_ATTACHING, 7, ANEW, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    { RECOVER, 8, XLX_USB_STATUS_ATTACHING, 7, IN | HELD, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    { RECOVER, NONE, XLX_USB_STATUS_ATTACHING, 7, IN, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    /* a killed detachment, also of one that still works */
    { RECOVER, 7, XLX_USB_STATUS_DETACHING, 7, IN | HELD, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", NULL },
    { RECOVER, NONE, XLX_USB_STATUS_DETACHING, 7, OUT, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", NULL },
    /* killed while it was set aside, or attached again */
    { RECOVER, 7, XLX_USB_STATUS_ASIDE, 7, IN | HELD, OWN,
      XLX__HOSTDEV_KEEP, "left halfway", NULL },
    { RECOVER, 7, XLX_USB_STATUS_ASIDE, 7, IN, EMPTY,
      XLX__HOSTDEV_RETRY, "left halfway", NULL },
    { RECOVER, NONE, XLX_USB_STATUS_ASIDE, 7, IN, EMPTY,
      XLX__HOSTDEV_RETRY, "left halfway", NULL },
    /* nothing was killed: recovering leaves alone even what is lost */
    { RECOVER, 7, XLX_USB_STATUS_ASIDE, NONE, IN, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { RECOVER, 7, XLX_USB_STATUS_ATTACHED, 7, OUT, OWN,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { RECOVER, 8, XLX_USB_STATUS_MISSING, 7, IN, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    /* the guest runs as ever */
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | HELD, OWN,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | HELD | ONCE, OWN,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "another tool took it off", NULL },
    /* its QEMU has ended */
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN, OWN,
      XLX__HOSTDEV_ATTACH, "QEMU does not have it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | ONCE, OWN,
      XLX__HOSTDEV_ATTACH, "QEMU does not have it", NULL },
    /* it is pulled out, and plugged in again */
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, OUT, OWN,
      XLX__HOSTDEV_WAIT, "not plugged in", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, OUT, EMPTY,
      XLX__HOSTDEV_WAIT, "not plugged in", NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, OUT, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, OUT, OWN,
      XLX__HOSTDEV_WAIT, "not plugged in", NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, ANEW, EMPTY,
      XLX__HOSTDEV_ATTACH, "plugged in again", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, ANEW, OWN,
      XLX__HOSTDEV_ATTACH, "plugged in again", NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, IN, EMPTY,
      XLX__HOSTDEV_ATTACH, "QEMU does not have it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, OUT | ONCE, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "pulled out", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, ANEW | ONCE, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "pulled out", NULL },
    /* the guest was started again */
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, IN, EMPTY,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, ANEW, EMPTY,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, OUT, EMPTY,
      XLX__HOSTDEV_WAIT, "not plugged in", NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, IN | ONCE, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "started again, and it was", NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, IN, EMPTY,
      XLX__HOSTDEV_PUT_OFF, "being started", "the guest is being started" },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN, EMPTY,
      XLX__HOSTDEV_PUT_OFF, "ending", "the guest is ending" },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, OUT, OTHER,
      XLX__HOSTDEV_PUT_OFF, "ending", "the guest is ending" },
    /* one that was found in a tree goes when it is pulled out */
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, IN | TREE, EMPTY,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, ANEW | TREE, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "pulled out", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, OUT | TREE, OWN,
      XLX__HOSTDEV_TAKE_AWAY, "pulled out", NULL },
    { SETTLE, NONE, XLX_USB_STATUS_ATTACHED, NONE, IN | EARLIER | TREE, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "the host was started again", NULL },
    /* another tool uses the port */
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, ANEW | MOVE, OTHER,
      XLX__HOSTDEV_ATTACH, "plugged in again", NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, 7, OUT | MOVE, OTHER,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, 8, XLX_USB_STATUS_ATTACHED, 7, IN | MOVE, OTHER,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | MOVE, OTHER,
      XLX__HOSTDEV_TAKE_AWAY, "another tool took it off", NULL },
    /* the guest has ended */
    { SETTLE, NONE, XLX_USB_STATUS_ATTACHED, 7, IN, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", NULL },
    { SETTLE, NONE, XLX_USB_STATUS_MISSING, 7, OUT, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", NULL },
    { SETTLE, NONE, XLX_USB_STATUS_DETACHING, 7, IN, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", NULL },
    /* one that was saved waits for its restore */
    { SETTLE, NONE, XLX_USB_STATUS_ASIDE, NONE, IN, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, 8, XLX_USB_STATUS_ASIDE, NONE, IN, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { RETURN, 8, XLX_USB_STATUS_ASIDE, NONE, IN, EMPTY,
      XLX__HOSTDEV_ATTACH, "set aside", NULL },
    { RETURN, 8, XLX_USB_STATUS_ASIDE, NONE, ANEW, EMPTY,
      XLX__HOSTDEV_ATTACH, "set aside", NULL },
    { RETURN, 8, XLX_USB_STATUS_ASIDE, NONE, OUT, EMPTY,
      XLX__HOSTDEV_WAIT, "is not plugged in", NULL },
    { RETURN, NONE, XLX_USB_STATUS_ASIDE, NONE, IN, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { RETURN, 8, XLX_USB_STATUS_ATTACHED, 8, IN | HELD, OWN,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    /* the host was started again, and the guest was not yet */
    { SETTLE, NONE, XLX_USB_STATUS_ATTACHED, NONE, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, NONE, XLX_USB_STATUS_MISSING, NONE, OUT | EARLIER, EMPTY,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
    { SETTLE, NONE, XLX_USB_STATUS_ATTACHED, NONE, IN | EARLIER | ONCE, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "the host was started again", NULL },
    { SETTLE, NONE, XLX_USB_STATUS_DETACHING, NONE, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", NULL },
    { RECOVER, NONE, XLX_USB_STATUS_ATTACHING, NONE, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", NULL },
    /* and now it is, also with the number and at the address of before */
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, NONE, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_MISSING, NONE, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_ATTACH, "started again without it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, NONE, OUT | EARLIER, EMPTY,
      XLX__HOSTDEV_WAIT, "not plugged in", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, NONE, IN | EARLIER | ONCE, EMPTY,
      XLX__HOSTDEV_TAKE_AWAY, "started again, and it was", NULL },
    /* an older version recorded it, and not when */
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | EARLIER, EMPTY,
      XLX__HOSTDEV_ATTACH, "QEMU does not have it", NULL },
    { SETTLE, 7, XLX_USB_STATUS_ATTACHED, 7, IN | HELD | EARLIER, OWN,
      XLX__HOSTDEV_NOTHING, NULL, NULL },
};

static void look_at(const struct situation *s, xlx_usb_entry *e,
                    struct xlx__usb_seen *seen)
{
    static char tree[] = "pci-0000:00:14.0";

    xlx_usb_entry_init(e);
    e->status = s->status;
    e->domid = s->domid;
    e->once = s->bits & ONCE;
    if ((s->bits & TREE) == TREE)
        e->tree = tree;
    *seen = (struct xlx__usb_seen){
        .domid = s->runs, .plugged = s->bits & PLUGGED,
        .same = s->bits & SAME, .held = s->bits & HELD, .port = s->port,
        .earlier = s->bits & EARLIER,
        .obstacle = s->obstacle,
    };
}

static void check(size_t i, const xlx_usb_entry *e,
                  const struct xlx__usb_seen *seen)
{
    const struct situation *s = &situations[i];
    struct xlx__hostdev_action action;
    const char *why;

    action = xlx__usb_plan(s->stage, e, seen);
    why = xlx__text(action.why);
    if (action.step != s->step || action.move != !!(s->bits & MOVE) ||
        (s->why ? !strstr(why, s->why) : *why))
        fail_msg("situation %zu: step %d%s (\"%s\"), wanted %d (\"%s\")", i,
                 (int)action.step, action.move ? " and a move" : "", why,
                 (int)s->step, xlx__text(s->why));
}

static void each(void **state)
{
    struct xlx__usb_seen seen;
    xlx_usb_entry e;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        look_at(&situations[i], &e, &seen);
        check(i, &e, &seen);
    }
}

/* Where the port is not looked at, nothing depends on it. */
static void unseen(void **state)
{
    struct xlx__usb_seen seen;
    xlx_usb_entry e;
    size_t i, num = 0;
    int port, held;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        look_at(&situations[i], &e, &seen);
        if (xlx__usb_must_look(situations[i].stage, &e, situations[i].runs))
            continue;
        num++;
        for (port = EMPTY; port <= OTHER; port++)
            for (held = 0; held < 2; held++) {
                seen.port = (enum xlx__usb_port_has)port;
                seen.held = held;
                check(i, &e, &seen);
            }
    }
    assert_true(num > 5);
}

/* A tree attaches again what it finds, but for what somebody took off. */
static void on_purpose(void **state)
{
    struct xlx__hostdev_action action;
    struct xlx__usb_seen seen;
    xlx_usb_entry e;
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        look_at(&situations[i], &e, &seen);
        action = xlx__usb_plan(situations[i].stage, &e, &seen);
        assert_int_equal(action.on_purpose,
                         !strcmp(xlx__text(action.why),
                                 "another tool took it off"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each),
        cmocka_unit_test(unseen),
        cmocka_unit_test(on_purpose),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
