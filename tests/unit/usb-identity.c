/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of the devices that are plugged in is the recorded one: a socket that
 * holds another device now, a second one that is alike, another serial number.
 */
#include "unit.h"
#include "usb/usb.h"

struct plugged {
    const char *path;
    uint32_t vendor, product;
    const char *serial;
};

struct situation {
    const char *selector;
    struct plugged was, is[2];
    const char *found;              /* its path, NULL for none */
    const char *why;                /* part of it */
};

#define STICK 0x0951, 0x1666
#define READER 0x072f, 0x90cc
#define PHONE 0x18d1, 0x4ee7

static const struct situation situations[] = {
    /* by its place */
    { "1-2", { "1-2", READER, "" }, { { "1-2", READER, "" } }, "1-2", "" },
    { "1-2", { "1-2", READER, "" }, { { "1-2", PHONE, "P1" } }, NULL,
      "another device is in its place: 1-2 (18d1:4ee7)" },
    { "1-2", { "1-2", STICK, "S1" }, { { "1-2", STICK, "S2" } }, NULL,
      "another device is in its place" },
    { "1-2", { "1-2", STICK, "S1" }, { { "1-2", STICK, "" } }, NULL,
      "another device is in its place" },
    { "1-2", { "1-2", STICK, "S1" }, { { "1-3", STICK, "S1" } }, NULL, "" },
    /* one that was never plugged in may be anything */
    { "1-2", { NULL, 0, 0, NULL }, { { "1-2", PHONE, "P1" } }, "1-2", "" },
    /* an old record has no serial number */
    { "1-2", { "1-2", STICK, NULL }, { { "1-2", STICK, "S1" } }, "1-2", "" },
    /* by its ID */
    { "0951:1666:S1", { "1-2", STICK, "S1" },
      { { "1-2", STICK, "S2" }, { "3-1", STICK, "S1" } }, "3-1",
      "another device is in its place" },
    { "0951:1666", { "1-2", STICK, "S1" },
      { { "1-2", STICK, "S2" }, { "3-1", STICK, "S1" } }, "3-1", "" },
    { "0951:1666", { "1-2", STICK, "S1" }, { { "1-2", STICK, "S2" } }, NULL,
      "another device is in its place" },
    { "0951:1666", { "1-2", STICK, "" },
      { { "1-1", STICK, "" }, { "1-2", STICK, "" } }, "1-2", "" },
    { "0951:1666", { "1-2", STICK, "" },
      { { "1-2", STICK, "" }, { "1-1", STICK, "" } }, "1-2", "" },
    { "0951:1666", { "1-2", STICK, "" },
      { { "1-1", STICK, "" }, { "1-3", STICK, "" } }, NULL,
      "1-1 (0951:1666) and 1-3 (0951:1666) both may be it" },
    { "0951:1666", { "1-2", STICK, "" }, { { "1-9", STICK, "" } }, "1-9",
      "" },
};

static void plug(const struct plugged *p, xlx_usb_host_device *d)
{
    const char *path = xlx__text(p->path);

    xlx_usb_host_device_init(d);
    d->bus = (uint32_t)strtoul(path, NULL, 10);
    d->vendor = p->vendor;
    d->product = p->product;
    assert_ok(xlx__set_string(&d->path, path));
    assert_ok(xlx__set_string(&d->serial, xlx__text(p->serial)));
}

static void check(size_t i)
{
    const struct situation *s = &situations[i];
    const xlx_usb_host_device *found;
    xlx_usb_host_device list[2], was;
    xlx_usb_host_devices devices;
    char *why = NULL;
    xlx_usb_entry e;
    bool several;
    int j;

    plug(&s->was, &was);
    plug(&s->is[0], &list[0]);
    plug(&s->is[1], &list[1]);
    xlx_usb_host_devices_init(&devices);
    devices.devices = list;
    devices.num_devices = s->is[1].path ? 2 : 1;
    xlx_usb_entry_init(&e);
    assert_ok(xlx__usb_entry_is_at(&e, &was));
    assert_ok(xlx__set_string(&e.selector, s->selector));
    e.status = XLX_USB_STATUS_MISSING;
    assert_ok(xlx__usb_find_again(&e, &devices, &found, &several, &why));
    if (s->found ? !found || strcmp(found->path, s->found) : found != NULL)
        fail_msg("situation %zu: %s", i, found ? found->path : "nothing");
    if (!strstr(why, s->why) || (several && found))
        fail_msg("situation %zu: \"%s\"", i, why);
    /* it is kept for the guest, and only it */
    for (j = 0; !several && j < devices.num_devices; j++)
        if (found && xlx__usb_is_for(&e, &list[j]) != (found == &list[j]) &&
            *xlx__text(s->was.serial))
            fail_msg("situation %zu: whose is %s?", i, list[j].path);
    if (!found && !several)
        assert_false(xlx__usb_is_for(&e, &list[0]));
    free(why);
    xlx_usb_entry_dispose(&e);
    xlx_usb_host_device_dispose(&was);
    for (j = 0; j < 2; j++)
        xlx_usb_host_device_dispose(&list[j]);
}

static void each(void **state)
{
    size_t i;
    (void)state;

    for (i = 0; i < XLX__ARRAY_SIZE(situations); i++)
        check(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
