/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a repair decides about SCSI devices, for each situation that a killed
 * command, a restart of the guest or its end can leave.
 */
#include "scsi/scsi.h"
#include "unit.h"

#define NONE XLX_DOMID_NONE
#define RECOVER XLX__HOSTDEV_RECOVER
#define SETTLE XLX__HOSTDEV_SETTLE

struct situation {
    enum xlx__hostdev_stage stage;
    uint32_t runs;                  /* the guest's domid */
    xlx_scsi_status status;
    uint32_t domid;                 /* of the entry */
    bool works, there;
    enum xlx__hostdev_step step;
    const char *why;                /* part of it */
    bool earlier;                   /* not since the host was started */
};

static const struct situation situations[] = {
    /* a killed attachment */
    { RECOVER, 7, XLX_SCSI_STATUS_ATTACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    { RECOVER, 7, XLX_SCSI_STATUS_ATTACHING, 7, true, true,
      XLX__HOSTDEV_KEEP, "not recorded as finished", false },
    { RECOVER, 8, XLX_SCSI_STATUS_ATTACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    { RECOVER, NONE, XLX_SCSI_STATUS_ATTACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    /* a killed detachment, also of one that still works */
    { RECOVER, 7, XLX_SCSI_STATUS_DETACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", false },
    { RECOVER, 7, XLX_SCSI_STATUS_DETACHING, 7, true, true,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", false },
    { RECOVER, NONE, XLX_SCSI_STATUS_DETACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", false },
    { RECOVER, 7, XLX_SCSI_STATUS_DETACHING, NONE, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", false },
    /* killed while it was set aside, or attached again */
    { RECOVER, 7, XLX_SCSI_STATUS_ASIDE, 7, true, true,
      XLX__HOSTDEV_KEEP, "not recorded as finished", false },
    { RECOVER, 7, XLX_SCSI_STATUS_ASIDE, 7, false, true,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    { RECOVER, 8, XLX_SCSI_STATUS_ASIDE, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    { RECOVER, NONE, XLX_SCSI_STATUS_ASIDE, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    /* nothing was killed: recovering leaves alone even what is lost */
    { RECOVER, 7, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { RECOVER, 8, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { RECOVER, NONE, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { RECOVER, 7, XLX_SCSI_STATUS_ASIDE, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { RECOVER, NONE, XLX_SCSI_STATUS_ASIDE, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    /* the guest runs as ever, or was started again */
    { SETTLE, 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { SETTLE, 7, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_ATTACH, "started again without it", false },
    { SETTLE, 8, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_ATTACH, "started again without it", false },
    { SETTLE, 8, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_ATTACH, "started again without it", false },
    { SETTLE, 8, XLX_SCSI_STATUS_ASIDE, NONE, false, false,
      XLX__HOSTDEV_ATTACH, "set aside", false },
    /* recovering could not take these away */
    { SETTLE, 8, XLX_SCSI_STATUS_DETACHING, 7, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    { SETTLE, 8, XLX_SCSI_STATUS_ASIDE, 8, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    /* the guest has ended */
    { SETTLE, NONE, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", false },
    { SETTLE, NONE, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more", false },
    { SETTLE, NONE, XLX_SCSI_STATUS_DETACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", false },
    { SETTLE, NONE, XLX_SCSI_STATUS_ATTACHING, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    { SETTLE, NONE, XLX_SCSI_STATUS_ASIDE, 7, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", false },
    /* one that was saved waits for its restore */
    { SETTLE, NONE, XLX_SCSI_STATUS_ASIDE, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, false },
    /* the host was started again, and the guest was not yet */
    { SETTLE, NONE, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, true },
    { SETTLE, NONE, XLX_SCSI_STATUS_ATTACHED, 7, false, false,
      XLX__HOSTDEV_NOTHING, NULL, true },
    { SETTLE, NONE, XLX_SCSI_STATUS_ASIDE, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, true },
    { SETTLE, NONE, XLX_SCSI_STATUS_DETACHING, NONE, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "detachment was not finished", true },
    { RECOVER, NONE, XLX_SCSI_STATUS_ATTACHING, NONE, false, false,
      XLX__HOSTDEV_TAKE_AWAY, "attachment was not finished", true },
    { RECOVER, NONE, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, true },
    /* and now it is */
    { RECOVER, 7, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_NOTHING, NULL, true },
    { SETTLE, 7, XLX_SCSI_STATUS_ATTACHED, NONE, false, false,
      XLX__HOSTDEV_ATTACH, "started again without it", true },
    { SETTLE, 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true,
      XLX__HOSTDEV_NOTHING, NULL, true },
};

/* What the host still has of the device. */
static const struct {
    uint32_t runs;
    xlx_scsi_status status;
    uint32_t domid;
    bool shared, there;
    enum xlx__scsi_place place;
    enum xlx__hostdev_step step;
    const char *why;
} on_host[] = {
    { 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true, XLX__SCSI_SAME,
      XLX__HOSTDEV_NOTHING, "" },
    { 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true, XLX__SCSI_OFFLINE,
      XLX__HOSTDEV_NOTHING, "" },
    { 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true, XLX__SCSI_GONE,
      XLX__HOSTDEV_WAIT, "gone from the host" },
    /* the guest was started again while it was gone */
    { 8, XLX_SCSI_STATUS_ATTACHED, 7, false, false, XLX__SCSI_GONE,
      XLX__HOSTDEV_WAIT, "gone from the host" },
    { 8, XLX_SCSI_STATUS_ATTACHED, 7, false, false, XLX__SCSI_MOVED,
      XLX__HOSTDEV_ATTACH, "started again without it" },
    { 7, XLX_SCSI_STATUS_ATTACHED, 7, false, true, XLX__SCSI_MOVED,
      XLX__HOSTDEV_ATTACH, "plugged in again" },
    { 7, XLX_SCSI_STATUS_ATTACHED, 7, true, true, XLX__SCSI_MOVED,
      XLX__HOSTDEV_WAIT, "plugged in again" },
    { 7, XLX_SCSI_STATUS_MISSING, NONE, false, false, XLX__SCSI_GONE,
      XLX__HOSTDEV_NOTHING, "" },
    { 8, XLX_SCSI_STATUS_MISSING, NONE, false, false, XLX__SCSI_GONE,
      XLX__HOSTDEV_NOTHING, "" },
    { 7, XLX_SCSI_STATUS_MISSING, NONE, false, false, XLX__SCSI_MOVED,
      XLX__HOSTDEV_ATTACH, "is back" },
    { 7, XLX_SCSI_STATUS_MISSING, NONE, true, false, XLX__SCSI_SAME,
      XLX__HOSTDEV_ATTACH, "is back" },
    { NONE, XLX_SCSI_STATUS_MISSING, NONE, false, false, XLX__SCSI_UNSEEN,
      XLX__HOSTDEV_TAKE_AWAY, "does not run any more" },
    /* it is for the one who saved the guest, or who took it away */
    { 7, XLX_SCSI_STATUS_ASIDE, 7, false, true, XLX__SCSI_GONE,
      XLX__HOSTDEV_NOTHING, "" },
    { 7, XLX_SCSI_STATUS_DETACHING, 7, false, true, XLX__SCSI_GONE,
      XLX__HOSTDEV_NOTHING, "" },
};

static void host(void **state)
{
    struct xlx__hostdev_action action;
    struct xlx__scsi_seen seen = { .works = false };
    xlx_scsi_record record;
    xlx_scsi_entry e;
    size_t i;
    (void)state;

    xlx_scsi_record_init(&record);
    record.entries = &e;
    record.num_entries = 1;
    xlx_scsi_entry_init(&e);
    for (i = 0; i < XLX__ARRAY_SIZE(on_host); i++) {
        e.status = on_host[i].status;
        e.domid = on_host[i].domid;
        e.dev.shared = on_host[i].shared;
        seen.there = on_host[i].there;
        seen.place = on_host[i].place;
        xlx__scsi_plan(SETTLE, &record, on_host[i].runs, &seen, &action);
        if (action.step != on_host[i].step ||
            !strstr(xlx__text(action.why), on_host[i].why))
            fail_msg("situation %zu: step %d (\"%s\")", i, (int)action.step,
                     xlx__text(action.why));
        /* killed commands have nothing to do with it */
        if (e.status == XLX_SCSI_STATUS_MISSING) {
            xlx__scsi_plan(XLX__HOSTDEV_RECOVER, &record, on_host[i].runs,
                           &seen, &action);
            assert_int_equal(action.step, XLX__HOSTDEV_NOTHING);
        }
    }
}

static xlx_scsi_entry entry_of(const struct situation *s)
{
    xlx_scsi_entry e;

    xlx_scsi_entry_init(&e);
    e.status = s->status;
    e.domid = s->domid;
    return e;
}

static void check(size_t i, const struct xlx__hostdev_action *action)
{
    const struct situation *s = &situations[i];
    const char *why = xlx__text(action->why);

    if (action->step != s->step || action->move ||
        (s->why ? !strstr(why, s->why) : *why))
        fail_msg("situation %zu: step %d (\"%s\"), wanted %d (\"%s\")", i,
                 (int)action->step, why, (int)s->step, xlx__text(s->why));
}

static void each_alone(void **state)
{
    struct xlx__hostdev_action action;
    struct xlx__scsi_seen seen;
    xlx_scsi_record record;
    xlx_scsi_entry e;
    size_t i;
    (void)state;

    xlx_scsi_record_init(&record);
    record.entries = &e;
    record.num_entries = 1;
    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        e = entry_of(&situations[i]);
        seen.works = situations[i].works;
        seen.there = situations[i].there;
        seen.earlier = situations[i].earlier;
        seen.place = XLX__SCSI_UNSEEN;
        xlx__scsi_plan(situations[i].stage, &record, situations[i].runs,
                       &seen, &action);
        check(i, &action);
    }
}

/* Entries of one record do not change each other's fate. */
static void together(void **state)
{
    struct xlx__hostdev_action actions[XLX__ARRAY_SIZE(situations)];
    struct xlx__scsi_seen seen[XLX__ARRAY_SIZE(situations)];
    xlx_scsi_entry entries[XLX__ARRAY_SIZE(situations)];
    size_t of[XLX__ARRAY_SIZE(situations)], i, j, num;
    xlx_scsi_record record;
    (void)state;

    xlx_scsi_record_init(&record);
    record.entries = entries;
    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        for (j = num = 0; j < XLX__ARRAY_SIZE(situations); j++) {
            const struct situation *s = &situations[j];

            if (s->stage != situations[i].stage ||
                s->runs != situations[i].runs)
                continue;
            entries[num] = entry_of(s);
            seen[num] = (struct xlx__scsi_seen){
                .works = s->works, .there = s->there, .earlier = s->earlier
            };
            of[num++] = j;
        }
        record.num_entries = (int)num;
        xlx__scsi_plan(situations[i].stage, &record, situations[i].runs, seen,
                       actions);
        for (j = 0; j < num; j++)
            check(of[j], &actions[j]);
    }
}

/* Where the world is not looked at, nothing depends on it: it counts as not
 * working and not there. */
static void unseen(void **state)
{
    const struct situation *s;
    xlx_scsi_entry e;
    size_t i, num = 0;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++) {
        s = &situations[i];
        e = entry_of(s);
        if (xlx__scsi_must_look(s->stage, &e, s->runs)) {
            num++;
            continue;
        }
        if (s->step == XLX__HOSTDEV_KEEP)
            fail_msg("situation %zu: kept unseen", i);
        if (s->stage == SETTLE && s->runs != NONE &&
            s->status == XLX_SCSI_STATUS_ATTACHED)
            assert_int_equal(s->step, XLX__HOSTDEV_ATTACH);
    }
    assert_true(num > 5);
}

static void no_entries(void **state)
{
    xlx_scsi_record record;
    (void)state;

    xlx_scsi_record_init(&record);
    xlx__scsi_plan(SETTLE, &record, 7, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_alone),
        cmocka_unit_test(together),
        cmocka_unit_test(host),
        cmocka_unit_test(unseen),
        cmocka_unit_test(no_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
